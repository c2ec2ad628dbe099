"""A PostgreSQL server by its connection string: how to reach it, and what its errors mean."""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..._secrets import Secrets
from ...errors import ConfigurationError, DatagenError, OptionError, RejectedError, UnreachableError
from .session import ANSWER, session_class, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

__all__ = ["Server", "Target", "begin", "is_lost", "pooled"]

_log = logging.getLogger(__name__)

_FORM = (
    "write postgresql://user:password@host:port/database, with special characters of the "
    "password percent-encoded (@ is %40, / is %2F, : is %3A, % is %25, space is %20)"
)

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: Nothing that other roles may create is found by a name or an operator.
PINNED: Final = "search_path = pg_catalog, pg_temp"

#: Texts of the server are compared, and rows go in and are counted whatever a role or a database
#: has set.
_SETTINGS: Final = (
    PINNED,
    "quote_all_identifiers = off",
    "standard_conforming_strings = on",
    "DateStyle = ISO",
    "IntervalStyle = postgres",
    "bytea_output = hex",
    "extra_float_digits = 1",
    "xmloption = content",
    "row_security = off",
    "statement_timeout = 0",
    "idle_in_transaction_session_timeout = 0",
)

#: What libpq puts before the reason.
_PREAMBLE = re.compile(
    r"(connection (failed|is bad): )*"
    r"(connection to server (at|on socket) \".*?\"( \(.*?\))?(, port \d+)? failed: )?"
    r"(FATAL:\s+|fe_sendauth: )?"
)

# Classes and codes of PostgreSQL's appendix A, "Error Codes".
#: invalid authorization, invalid catalog (database), invalid schema name
_REFUSED_CLASSES = frozenset({"28", "3D", "3F"})
#: insufficient privilege, read-only transaction (a standby), database dropped, and what a setting
#: of the server forbids
_REFUSED_STATES = frozenset({"42501", "25006", "57P04", "53400"})
#: too many connections, shutdowns and cancellation, lock timeout, deadlock and serialization,
#: time limits on sessions
_LOST_STATES = frozenset({"53300", "57P01", "57P02", "57P03", "57P05", "57014", "55P03"}) | {
    *("40P01", "40001", "25P03", "25P04")
}

#: What to do about an error, by its code or class.
_ADVICE = {
    "42501": "Grant the role what it needs, or use another",
    "25006": "It takes no rows, as a hot standby does: name the primary",
    **dict.fromkeys(
        ("42P07", "42710"),
        "Rename or drop it, or load into another schema with --postgres-schema",
    ),
    "3F": "Create the schema, or name another with --postgres-schema",
    "28": "Check the role and its rights",
    "3D": "Check the name of the database",
    "57P04": "Check the name of the database",
    "53300": "Free connections of the server, or raise the limit of the role",
    "53100": "Free disk space on the server",
    "53200": "Free memory on the server, or lower its work_mem and maintenance_work_mem",
    "53400": "Raise that limit for the role",
    "55P03": "End the session that holds the lock, or wait for it",
    "57014": "An administrator or a time limit of the server ended the statement",
    "57P03": "Check that the server is up",
}

#: A server that answered, but will let us in later; servers may speak Portuguese.
_BUSY = re.compile(
    r"starting up|shutting down|recovery|too many|remaining connection slots|not yet accepting"
    r"|no more connections allowed|query_wait_timeout|pgbouncer cannot connect|server_login_retry"
    r"|inicializando|sendo desligado|recuperação|muitos clientes|não está aceitando",
    re.IGNORECASE,
)
#: Failures of libpq's own that no retry will mend.
_SETTING = re.compile(
    r"no password supplied|SSL(?! SYSCALL)|certificate|: invalid |requirepeer",
    re.IGNORECASE,
)
_UNTRUSTED = re.compile(r"certificate verify failed|unable to get local issuer", re.IGNORECASE)
#: Failures to connect whose cause is not user, password, database or address, and what to do.
_CAUSES = (
    (
        re.compile(r"unsupported startup parameter"),
        (
            "The connection pooler takes no such parameter: leave `options` out of the connection "
            "string (and PGOPTIONS), and name the schema with --postgres-schema"
        ),
    ),
    (
        re.compile(r"statement pooling"),
        "Use a pool in transaction or session mode, or the server itself",
    ),
    (
        re.compile(r"session is (not )?read-only|server is (not )?in hot standby mode"),
        "No server of the connection string is what target_session_attrs asks for",
    ),
    (
        re.compile(r"definition of service|service file"),
        "Check service (PGSERVICE) and the file of services (PGSERVICEFILE, ~/.pg_service.conf)",
    ),
    (
        re.compile(r"weak sslmode"),
        "Write sslmode=verify-full with sslrootcert=system",
    ),
    (
        _UNTRUSTED,
        "Name the file of its certificate authority with sslrootcert=FILE",
    ),
    (
        re.compile(r"no pg_hba\.conf entry|pg_hba\.conf rejects"),
        "The server's pg_hba.conf does not let this role in from here",
    ),
    (
        re.compile(
            r"unrecognized configuration parameter|invalid value for parameter|for option -"
        ),
        "Correct `options` of the connection string (or PGOPTIONS)",
    ),
    (
        re.compile(r"permission denied for database"),
        "Grant the role CONNECT on the database",
    ),
    (
        re.compile(r"not currently accepting connections"),
        "Name another database",
    ),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a transaction finds: the schema where unqualified names would go, and its session."""

    schema: str | None
    search_path: str
    role: str
    replication_role: str


class Server:
    """Where a connection string leads. No error and no text of this class holds a password."""

    def __init__(self, url: str) -> None:
        self._params = _parse(url)
        self._scrub = _secrets(url, self._params)
        #: host:port/database
        self.where = _place(self._params)

    def connect(
        self, beside: psycopg.Connection[Any] | None = None, timeout: int | None = None
    ) -> psycopg.Connection[Any]:
        """A session in autocommit; waits ten seconds at most unless the URL says otherwise.

        Where the URL or the name has several servers, it is that of the session ``beside``.
        """
        import psycopg

        _log.debug("connecting to PostgreSQL at %s", self.where)
        try:
            connection = self._open(beside, timeout)
        except psycopg.Error as error:
            raise self._connection_error(error) from None
        if beside is None:
            self.where = _place(self._params, connection)
        try:
            with waiting("the first answer", ANSWER if timeout is None else timeout):
                row = connection.execute(b"SELECT pg_catalog.pg_backend_pid()").fetchone()
        except psycopg.Error as error:
            connection.close()
            raise self._first_error(error) from None
        except BaseException:
            connection.close()
            raise
        # A connection pooler makes up the number of the server's process.
        if row is not None and row[0] == connection.info.backend_pid:
            connection.observer = self._open_observer  # type: ignore[attr-defined]
        return connection

    def asked(self, connection: psycopg.Connection[Any]) -> dict[str, str]:
        """The settings that the connection string, the environment or a service asks for."""
        options = {one.keyword: one.val for one in connection.pgconn.info}.get(b"options") or b""
        return _options(options.decode(errors="replace"))

    def text(self, error: Exception) -> str:
        """What an error says, on one line."""
        return _shorter(self._scrub(_one_line(error)))

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
        advice = _ADVICE.get(state) or _ADVICE.get(state[:2]) or ""
        if self._advice(str(error)):
            return ConfigurationError(f"{server}: {text}{refused}. {self._advice(str(error))}")
        if "cannot set transaction read-write mode during recovery" in str(error):
            state, advice = "25006", _ADVICE["25006"]
        if "query_wait_timeout" in text:
            advice = (
                "The connection pooler had no connection to give: free one, or enlarge its pool"
            )
        advice = f". {advice}" if advice else ""
        if is_lost(error):
            return UnreachableError(f"{server}: {text}{lost}{advice}")
        if state[:2] in _REFUSED_CLASSES or state in _REFUSED_STATES:
            return ConfigurationError(f"{server}: {text}{refused}{advice}")
        table = error.diag.table_name or table
        subject = f"{server} refused {table or 'the load'}"
        hint = conflict if state == "23505" else advice
        return RejectedError(f"{subject}: {text}{refused}{hint}")

    def _open(
        self, beside: psycopg.Connection[Any] | None, timeout: int | None
    ) -> psycopg.Connection[Any]:
        from psycopg.conninfo import make_conninfo

        params = {
            "fallback_application_name": "datagen",
            # A peer that is gone without a word is given up on within two minutes.
            "keepalives_idle": "60",
            "keepalives_interval": "10",
            "keepalives_count": "6",
            "tcp_user_timeout": "120000",
            **self._params,
        }
        if "PGCONNECT_TIMEOUT" not in os.environ:
            params.setdefault("connect_timeout", "10")
        if timeout is not None:
            params["connect_timeout"] = str(timeout)
        if beside is not None:
            info = beside.info
            params |= {"host": info.host, "port": str(info.port), "hostaddr": info.hostaddr}
        # COPY converts text from the client's encoding, and ours is always UTF-8.
        params["client_encoding"] = "UTF8"
        hosts = 1 + max(params.get(name, "").count(",") for name in ("host", "hostaddr"))
        seconds = _seconds(params.get("connect_timeout") or os.environ.get("PGCONNECT_TIMEOUT"))
        # The name of each host may have several addresses, and its resolver a limit of its own.
        return _connected(make_conninfo(**params), hosts * (4 * seconds + 10))

    def _open_observer(self, of: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        session = self._open(of, 5)
        session.execute(f"SET {PINNED}".encode())
        return session

    def _advice(self, text: str) -> str:
        """What to do about a cause that the text tells; empty for others."""
        if _UNTRUSTED.search(text) and self._setting("sslrootcert", "PGSSLROOTCERT") == "system":
            return (
                "sslrootcert=system means the certificates that this psycopg's OpenSSL knows: set "
                "SSL_CERT_FILE, or name a file with sslrootcert=FILE"
            )
        return next((advice for cause, advice in _CAUSES if cause.search(text)), "")

    def _setting(self, name: str, variable: str) -> str:
        return self._params.get(name) or os.environ.get(variable, "")

    def _first_error(self, error: psycopg.Error) -> DatagenError:
        text = self.text(error)
        if error.sqlstate:
            return self.error(error, None, lost="", refused="", conflict="")
        return UnreachableError(
            f"PostgreSQL at {self.where} lets connections in and does not answer: {text}. Check "
            f"that the server works, and that a connection pooler in front has one to give"
        )

    def _connection_error(self, error: psycopg.Error) -> DatagenError:
        """What a failure to connect means; libpq gives a text but no SQLSTATE."""
        import psycopg

        places = _failures(error)
        if len(places) == 1 and error.pgconn is not None:
            self.where = _place(self._params, error)
        server = f"PostgreSQL at {self.where}"
        if os.environ.get("PGHOSTADDR") and "hostaddr" not in self._params:
            server += " (the address is that of PGHOSTADDR)"
        if isinstance(error, psycopg.errors.ConnectionTimeout) and len(places) == 1:
            return UnreachableError(
                f"{server} did not answer in time; check host and port, and that it is running"
            )
        if not isinstance(error, psycopg.OperationalError):
            return ConfigurationError(f"{server}: a parameter of the connection is not valid")
        full = str(error)
        text = self.text(error)
        if len(places) > 1:
            text = _shorter(self._scrub("; ".join(f"{at}: {why}" for at, why in places.items())))
        advice = self._advice(full)
        if advice:
            return ConfigurationError(f"{server}: {text}. {advice}")
        answered = "FATAL" in full or (error.pgconn is not None and error.pgconn.used_password)
        if answered and not _BUSY.search(full):
            user = self._params.get("user") or os.environ.get("PGUSER") or "the default user"
            return ConfigurationError(
                f"{server} refused {user}: {text}. Check user, password and database name"
            )
        if not answered and _SETTING.search(full):
            return ConfigurationError(f"{server}: {text}. Correct the connection string")
        if answered:
            return UnreachableError(f"{server} takes no connection now: {text}")
        return UnreachableError(
            f"{server} cannot be reached: {text}. Check host and port, and that it is running"
        )


def begin(
    session: psycopg.Connection[Any], lock_timeout: float, *, read_only: bool = False
) -> Target:
    """Starts a transaction that sees what others commit, and lifts limits, as pg_restore does.

    A load may be long and may pause between batches. All settings end with the transaction, and
    are made in each: a pooler may hand each to another session. What of the session's own settings
    decides where a load goes is read before.
    """
    settings = [*_SETTINGS, f"lock_timeout = {max(1, round(lock_timeout * 1000))}"]  # milliseconds
    if session.info.server_version >= 170_000:  # PostgreSQL 17
        settings.append("transaction_timeout = 0")
    # Names are qualified, and no operator is used: the search_path is still the session's.
    find = (
        "SELECT pg_catalog.current_schema(), pg_catalog.current_setting('search_path'), "
        "pg_catalog.current_setting('role'), "
        "pg_catalog.current_setting('session_replication_role')"
    )
    statements = [
        f"BEGIN ISOLATION LEVEL READ COMMITTED {'READ ONLY' if read_only else 'READ WRITE'}",
        find,
        *(f"SET LOCAL {one}" for one in settings),
    ]
    with waiting("a transaction to begin", ANSWER), session.cursor() as cursor:
        cursor.execute("; ".join(statements).encode())
        cursor.nextset()
        row = cursor.fetchone()
    if row is None:
        raise RuntimeError("the server did not say where a load would go")
    return Target(*row)


def pooled(session: psycopg.Connection[Any]) -> bool:
    """Whether a connection pooler is in front, which has no session of one's own to give."""
    return getattr(session, "observer", None) is None


def is_lost(error: psycopg.Error) -> bool:
    """Whether the server is gone or busy, rather than that it objects."""
    state = error.sqlstate or ""
    # Without a SQLSTATE it was not the server that spoke, but the network or the driver.
    return not state or state[:2] == "08" or state in _LOST_STATES


def _connected(conninfo: str, limit: float) -> psycopg.Connection[Any]:
    """Connects on a thread: a resolver of names does not give way to Ctrl-C."""
    import psycopg

    results: queue.SimpleQueue[psycopg.Connection[Any] | BaseException] = queue.SimpleQueue()
    given_up = threading.Event()

    def connect() -> None:
        try:
            # Nothing is prepared: a pooler may hand each transaction to another session.
            connection = session_class().connect(conninfo, autocommit=True, prepare_threshold=None)
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits
            results.put(error)
            return
        results.put(connection)
        if given_up.is_set():
            connection.close()

    threading.Thread(target=connect, name="connect", daemon=True).start()
    try:
        result = results.get(timeout=limit)
    except queue.Empty:
        given_up.set()
        raise psycopg.errors.ConnectionTimeout("connection timeout expired") from None
    except BaseException:
        given_up.set()
        raise
    if isinstance(result, BaseException):
        raise result
    return result


def _seconds(connect_timeout: str | None) -> int:
    with suppress(ValueError):
        if connect_timeout and int(connect_timeout) > 0:
            return max(2, int(connect_timeout))
    return 130  # psycopg's own, where there is no limit


def _options(text: str) -> dict[str, str]:
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
    place = rest[user_part.end() if user_part else 0 :].partition("?")[0]
    return "@" in place


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535)


def _place(
    params: Mapping[str, str], reached: psycopg.Connection[Any] | psycopg.Error | None = None
) -> str:
    """host:port/database: what was tried, or as far as the connection string tells."""
    found: dict[str, str] = {}
    if reached is not None and reached.pgconn is not None:
        with suppress(Exception):  # one that is closed
            found = {
                one.keyword.decode(): one.val.decode(errors="replace")
                for one in reached.pgconn.info
                if one.val
            }
        with suppress(Exception):
            found |= {"host": reached.pgconn.host.decode(errors="replace")}
        with suppress(Exception):
            found |= {"port": reached.pgconn.port.decode()}
    address = params.get("hostaddr") or os.environ.get("PGHOSTADDR")
    host = params.get("host") or os.environ.get("PGHOST")
    service = params.get("service") or os.environ.get("PGSERVICE")
    if found:
        host = found.get("host")
    elif service and not host:
        return f"service {service}"
    host = address or host or "localhost"
    port = found.get("port") or params.get("port") or os.environ.get("PGPORT") or "5432"
    database = found.get("dbname") or params.get("dbname") or os.environ.get("PGDATABASE")
    database = database or found.get("user") or params.get("user") or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}/{database}"


def _secrets(url: str, params: Mapping[str, str]) -> Secrets:
    """What takes secrets out of text that a driver or server wrote."""
    written = re.match(r"postgres(?:ql)?://[^@/:]*:([^@/]*)@", url)
    values = [params.get("password", ""), params.get("sslpassword", "")]
    values += [os.environ.get("PGPASSWORD", ""), written[1] if written else ""]
    # A password that is also the user's name would only garble the message.
    return Secrets(values, public=(params.get(key, "") for key in ("user", "host", "dbname")))


def _failures(error: psycopg.Error) -> dict[str, str]:
    """What was tried and why it failed, by host and port; psycopg lists it line by line."""
    one = re.compile(r"- host: (.+?), port: (.+?), hostaddr: (.+?): (.*)")
    found = {}
    for line in str(error).splitlines():
        parts = one.match(line)
        if parts:
            host, port, address, why = parts.groups()
            names = [text.strip("'") for text in (host, address) if text != "None"]
            at = f"{names[0] if names else 'localhost'}:{port.strip(chr(39))}"
            found[at] = _PREAMBLE.sub("", why, count=1).rstrip(".;: ")
    return found or {"": str(error)}


def _one_line(error: Exception) -> str:
    """The server's message and detail, or the driver's text without what we say ourselves."""
    import psycopg

    diag = error.diag if isinstance(error, psycopg.Error) else None
    parts = [part for part in (diag.message_primary, diag.message_detail) if part] if diag else []
    return " - ".join(parts) or _PREAMBLE.sub("", str(error).partition("\n")[0], count=1)


def _shorter(text: str) -> str:
    """A text on one line. It has no secret any more: of one that is cut the rest would stay."""
    text = " ".join(text.split()).rstrip(".;: ")
    return text if len(text) <= 300 else text[:299] + "…"
