"""A PostgreSQL server by its connection string: how to reach it, and what its errors mean."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from .._secrets import Secrets
from ..errors import ConfigurationError, DatagenError, RejectedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

__all__ = ["Server", "begin"]

_FORM = (
    "write postgresql://user:password@host:port/database, with special characters of the "
    "password percent-encoded (@ is %40, / is %2F, : is %3A, % is %25, space is %20)"
)

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: What libpq puts before the reason.
_PREAMBLE = re.compile(
    r"(connection (failed|is bad): )*"
    r"(connection to server (at|on socket) \".*?\"( \(.*?\))?(, port \d+)? failed: )?"
    r"(FATAL:\s+|fe_sendauth: )?"
)

# Classes and codes of PostgreSQL's appendix A, "Error Codes".
#: invalid authorization, invalid catalog (database), invalid schema name
_REFUSED_CLASSES = frozenset({"28", "3D", "3F"})
#: insufficient privilege, read-only transaction (a standby)
_REFUSED_STATES = frozenset({"42501", "25006"})
#: too many connections, shutdowns and cancellation, lock timeout, deadlock and serialization,
#: time limits on sessions
_LOST_STATES = frozenset({"53300", "57P01", "57P02", "57P03", "57P05", "57014", "55P03"}) | {
    *("40P01", "40001", "25P03", "25P04")
}

#: A server that answered, but will let us in later; servers may speak Portuguese.
_BUSY = re.compile(
    r"starting up|shutting down|recovery|too many|remaining connection slots|not yet accepting"
    r"|inicializando|sendo desligado|recuperação|muitos clientes|não está aceitando",
    re.IGNORECASE,
)
#: Failures of libpq's own that no retry will mend.
_SETTING = re.compile(
    r"no password supplied|SSL(?! SYSCALL)|certificate|: invalid |requirepeer"
    r"|definition of service|service file",
    re.IGNORECASE,
)


class Server:
    """Where a connection string leads. No error and no text of this class holds a password."""

    def __init__(self, url: str) -> None:
        self._params = _parse(url)
        self._scrub = _secrets(url, self._params)
        #: host:port/database
        self.where = _place(self._params)

    def connect(self, beside: psycopg.Connection[Any] | None = None) -> psycopg.Connection[Any]:
        """A session in autocommit; waits ten seconds at most unless the URL says otherwise.

        Where the URL or the name has several servers, it is that of the session ``beside``.
        """
        import psycopg
        from psycopg.conninfo import make_conninfo

        params = {"fallback_application_name": "datagen", "keepalives_idle": "60", **self._params}
        if "PGCONNECT_TIMEOUT" not in os.environ:
            params.setdefault("connect_timeout", "10")
        if beside is not None:
            info = beside.info
            params |= {"host": info.host, "port": str(info.port), "hostaddr": info.hostaddr}
        # COPY converts text from the client's encoding, and ours is always UTF-8.
        params["client_encoding"] = "UTF8"
        try:
            # Nothing is prepared: a pooler may hand each transaction to another session.
            connection = psycopg.connect(
                make_conninfo(**params), autocommit=True, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise self._connection_error(error) from None
        info = connection.info
        self.where = _place({"host": info.host, "port": str(info.port), "dbname": info.dbname})
        return connection

    def text(self, error: Exception) -> str:
        """What an error says, on one line."""
        text = self._scrub(_one_line(error))
        # Cut only now, since of a secret that is cut the rest would not be found.
        return text if len(text) <= 300 else text[:299] + "…"

    def error(
        self, error: psycopg.Error, table: str | None, *, lost: str, refused: str, conflict: str
    ) -> DatagenError:
        """What a failure of a statement means to the caller.

        ``lost`` and ``refused`` say what has become of the load where the server is gone, and where
        it objected; ``conflict`` what to do about a key that is there already.
        """
        state = error.sqlstate or ""
        server = f"PostgreSQL at {self.where}"
        text = self.text(error)
        if _is_lost(state):
            return UnreachableError(f"{server}: {text}{lost}. Try again")
        if state[:2] in _REFUSED_CLASSES or state in _REFUSED_STATES:
            return ConfigurationError(
                f"{server}: {text}{refused}. Grant the role what it needs, or use another"
            )
        table = error.diag.table_name or table
        subject = f"{server} refused {table or 'the load'}"
        hint = conflict if state == "23505" else ""
        return RejectedError(f"{subject}: {text}{refused}{hint}")

    def _connection_error(self, error: psycopg.Error) -> DatagenError:
        """What a failure to connect means; libpq gives a text but no SQLSTATE."""
        import psycopg

        server = f"PostgreSQL at {self.where}"
        if isinstance(error, psycopg.errors.ConnectionTimeout):
            return UnreachableError(
                f"{server} did not answer in time; check host and port, and that it is running"
            )
        if not isinstance(error, psycopg.OperationalError):
            return ConfigurationError(f"{server}: a parameter of the connection is not valid")
        full, text = str(error), self.text(error)
        answered = "FATAL" in full or (error.pgconn is not None and error.pgconn.used_password)
        if answered and not _BUSY.search(full):
            user = self._params.get("user") or "the default user"
            return ConfigurationError(
                f"{server} refused {user}: {text}. Check user, password and database name"
            )
        if not answered and _SETTING.search(full):
            return ConfigurationError(f"{server}: {text}. Correct the connection string")
        return UnreachableError(
            f"{server} cannot be reached: {text}. Check host and port, and that it is running"
        )


def begin(session: psycopg.Connection[Any], lock_timeout: float) -> None:
    """Starts a transaction that sees what others commit, and lifts limits, as pg_restore does.

    A load may be long and may pause between batches. All settings end with the transaction.
    """
    settings = {
        "statement_timeout": 0,
        "idle_in_transaction_session_timeout": 0,
        "lock_timeout": max(1, round(lock_timeout * 1000)),  # milliseconds
    }
    if session.info.server_version >= 170_000:  # PostgreSQL 17
        settings["transaction_timeout"] = 0
    statements = [f"SET LOCAL {name} = {value}" for name, value in settings.items()]
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    session.execute("; ".join([begin, *statements]).encode())


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
    problem = None
    params: dict[str, str] = {}
    if not url.strip() or "\0" in url:
        problem = "it is empty" if not url.strip() else "it holds a zero byte"
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
    place = rest[user_part.end() if user_part else 0 :].partition("?")[0]
    return "@" in place


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535)


def _place(params: Mapping[str, str]) -> str:
    """host:port/database, as far as the connection string tells."""
    host = params.get("host") or params.get("hostaddr") or os.environ.get("PGHOST") or "localhost"
    port = params.get("port") or os.environ.get("PGPORT") or "5432"
    database = params.get("dbname") or os.environ.get("PGDATABASE") or params.get("user") or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}/{database}"


def _secrets(url: str, params: Mapping[str, str]) -> Secrets:
    """What takes secrets out of text that a driver or server wrote."""
    written = re.match(r"postgres(?:ql)?://[^@/:]*:([^@/]*)@", url)
    values = [params.get("password", ""), params.get("sslpassword", "")]
    values += [os.environ.get("PGPASSWORD", ""), written[1] if written else ""]
    # A password that is also the user's name would only garble the message.
    return Secrets(values, public=(params.get(key, "") for key in ("user", "host", "dbname")))


def _one_line(error: Exception) -> str:
    """The server's message and detail, or the driver's text without what we say ourselves."""
    import psycopg

    diag = error.diag if isinstance(error, psycopg.Error) else None
    parts = [part for part in (diag.message_primary, diag.message_detail) if part] if diag else []
    text = " - ".join(parts) or _PREAMBLE.sub("", str(error).partition("\n")[0], count=1)
    return " ".join(text.split()).rstrip(".;: ")


def _is_lost(state: str) -> bool:
    # Without a SQLSTATE it was not the server that spoke, but the network or the driver.
    return not state or state[:2] == "08" or state in _LOST_STATES
