"""A PostgreSQL connection string: its parameters, its secrets, and where it leads."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..._secrets import Secrets, plain
from ...errors import ConfigurationError, OptionError

if TYPE_CHECKING:
    import psycopg

__all__ = ["PREAMBLE", "ConnectionString", "connect_seconds", "parse_options", "where"]

_FORM = (
    "write postgresql://user:password@host:port/database, with special characters of the "
    "password percent-encoded (@ is %40, / is %2F, : is %3A, % is %25, space is %20)"
)

#: What libpq puts before the reason.
PREAMBLE = re.compile(
    r"(connection (failed|is bad): )*"
    r"(connection to server (at|on socket) \".*?\"( \(.*?\))?(, port \d+)? failed: )?"
    r"(FATAL:\s+|fe_sendauth: )?"
)

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class ConnectionString:
    """What a connection string says, and environment variables and a service besides."""

    def __init__(self, url: str) -> None:
        self.params = _parse(url)
        written = re.match(r"postgres(?:ql)?://[^@/:]*:([^@/]*)@", url)
        values = [self.params.get("password", ""), self.params.get("sslpassword", "")]
        values += [os.environ.get("PGPASSWORD", ""), written[1] if written else ""]
        # A password that is also the user's name would only garble the message.
        public = (self.params.get(key, "") for key in ("user", "host", "dbname"))
        #: Takes secrets out of text that a driver or server wrote.
        self._scrub = Secrets(values, public=public)
        #: host:port/database, of the server that was reached once one was.
        self.where = self.address()

    def text(self, error: Exception) -> str:
        """What an error says, on one line, without a secret."""
        return self.printable(_words(error))

    def printable(self, text: str) -> str:
        """A text on one line, without a secret."""
        return _one_line(self._scrub(text))

    def setting(self, name: str, variable: str) -> str:
        """A parameter, or else an environment variable; empty where neither is set."""
        return self.params.get(name) or os.environ.get(variable, "")

    def without_secrets(self, schema: str | None = None) -> str:
        """A connection string for psql: a URL where one is plain, else names and values.

        A ``schema`` is where the session looks for tables.
        """
        params = {k: v for k, v in self.params.items() if k not in {"password", "sslpassword"}}
        if schema is not None:
            name = re.sub(r"([\\ ])", r"\\\1", '"' + schema.replace('"', '""') + '"')
            params["options"] = f"{params.get('options', '')} -csearch_path={name}".strip()
        if {*params} <= {"host", "port", "user", "dbname"} and re.fullmatch(
            r"[\w.-]+", params.get("host", "")
        ):
            user = f"{quote(params['user'], safe='')}@" if "user" in params else ""
            port = f":{params['port']}" if "port" in params else ""
            database = quote(params.get("dbname", ""), safe="")
            return f"postgresql://{user}{params['host']}{port}/{database}"
        from psycopg.conninfo import make_conninfo

        return make_conninfo("", **params)

    def address(self, reached: psycopg.Connection[Any] | psycopg.Error | None = None) -> str:
        """host:port/database: what was tried, or as far as the connection string tells."""
        found = {} if reached is None else _reached(reached)
        params = self.params
        host = params.get("host") or os.environ.get("PGHOST")
        service = params.get("service") or os.environ.get("PGSERVICE")
        if found:
            host = found.get("host")
        elif service and not host:
            return plain(f"service {service}")
        host = params.get("hostaddr") or os.environ.get("PGHOSTADDR") or host or "localhost"
        port = found.get("port") or params.get("port") or os.environ.get("PGPORT") or "5432"
        database = found.get("dbname") or params.get("dbname") or os.environ.get("PGDATABASE")
        database = database or found.get("user") or params.get("user") or ""
        host = f"[{host}]" if ":" in host else host
        return plain(f"{host}:{port}/{database}")


def where(url: str) -> str:
    """host:port/database of a connection string, as far as it tells."""
    return ConnectionString(url).where


def parse_options(text: str) -> dict[str, str]:
    """The settings in libpq's ``options``: -c NAME=VALUE or --NAME=VALUE."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", text)]
    settings: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word = words.pop(0)
        elif word.startswith(("-c", "--")):
            word = word[2:]
        name, equals, value = word.partition("=")
        if equals:
            settings[name.replace("-", "_").lower()] = value
    return settings


def connect_seconds(connect_timeout: str | None) -> int:
    """Seconds that libpq and psycopg wait for a connection to one address."""
    with suppress(ValueError):
        if connect_timeout and int(connect_timeout) > 0:
            return max(2, int(connect_timeout))
    return 130  # psycopg's own, where there is no limit


def _parse(url: str) -> dict[str, str]:
    """The parameters of a connection string, as libpq reads it.

    No text of libpq and no part of the string gets into an error: both may hold the password.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ConfigurationError(
            "psycopg cannot be imported; run: pip install 'psycopg[binary]'"
        ) from None
    if not url.strip():
        raise OptionError("postgres_url", url, _FORM.removeprefix("write "))
    problem = None
    params: dict[str, str] = {}
    if "\0" in url:
        problem = "it holds a zero byte"
    elif _misplaced_at(url):
        problem = "there is an @ too many"
    else:
        try:
            params = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        except (psycopg.Error, ValueError):
            problem = "it does not parse"
    if not problem and re.search("=|://", params.get("dbname", "")):
        problem = "the database is a connection string of its own"
    if not problem and re.search(".@", params.get("host", "")):
        problem = "the host holds an @"
    if not problem and not all(map(_is_port, params.get("port", "").split(","))):
        problem = "the port is not a number from 1 to 65535"
    if not problem and params.get("sslmode", "prefer") not in _SSL_MODES:
        problem = f"sslmode is not one of {', '.join(_SSL_MODES)}"
    if not problem and not re.fullmatch(r"-?\d+", params.get("connect_timeout", "10")):
        problem = "connect_timeout is not a whole number of seconds"
    if problem:
        raise ConfigurationError(
            f"the PostgreSQL connection string is not valid: {problem}; {_FORM}"
        )
    return params


def _misplaced_at(url: str) -> bool:
    """Whether libpq would take part of a password for host or database.

    It ends the user's part at the first @, and sees none if a / comes before.
    """
    scheme = re.match(r"postgres(ql)?://", url)
    if not scheme:
        return False
    rest = url[scheme.end() :]
    user_part = re.match(r"[^@/]*@", rest)
    behind = rest[user_part.end() if user_part else 0 :].partition("?")[0]
    return "@" in behind


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535)


def _reached(reached: psycopg.Connection[Any] | psycopg.Error) -> dict[str, str]:
    """The parameters of a connection that was made or tried; empty where it is closed."""
    found: dict[str, str] = {}
    if reached.pgconn is not None:
        with suppress(Exception):
            found = {
                one.keyword.decode(): one.val.decode(errors="replace")
                for one in reached.pgconn.info
                if one.val
            }
        with suppress(Exception):
            found |= {"host": reached.pgconn.host.decode(errors="replace")}
        with suppress(Exception):
            found |= {"port": reached.pgconn.port.decode()}
    return found


def _words(error: Exception) -> str:
    """The server's message and detail, or the driver's text without what we say ourselves."""
    import psycopg

    diag = error.diag if isinstance(error, psycopg.Error) else None
    parts = [part for part in (diag.message_primary, diag.message_detail) if part] if diag else []
    return " - ".join(parts) or PREAMBLE.sub("", str(error).partition("\n")[0], count=1)


def _one_line(text: str) -> str:
    """A text on one line. It has no secret any more: of one that is cut the rest would stay."""
    text = " ".join(text.split()).rstrip(".;: ")
    return text if len(text) <= 300 else text[:299] + "…"
