"""A PostgreSQL server: how to reach it, and how a transaction begins there."""

from __future__ import annotations

import logging
import os
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .conninfo import ConnectionString, connect_seconds, parse_options
from .diagnosis import connection_failure, first_answer_failure
from .session import ANSWER, session_class, waiting

if TYPE_CHECKING:
    import psycopg

__all__ = ["Server", "Target", "begin", "pooled"]

_log = logging.getLogger(__name__)

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
        self.conninfo = ConnectionString(url)

    @property
    def where(self) -> str:
        """The server as host:port/database."""
        return self.conninfo.where

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
            raise connection_failure(self.conninfo, error) from None
        if beside is None:
            self.conninfo.where = self.conninfo.address(connection)
        try:
            with waiting("the first answer", ANSWER if timeout is None else timeout):
                row = connection.execute(b"SELECT pg_catalog.pg_backend_pid()").fetchone()
        except psycopg.Error as error:
            connection.close()
            raise first_answer_failure(self.conninfo, error) from None
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
        return parse_options(options.decode(errors="replace"))

    def text(self, error: Exception) -> str:
        """What an error says, on one line."""
        return self.conninfo.text(error)

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
            **self.conninfo.params,
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
        seconds = connect_seconds(
            params.get("connect_timeout") or os.environ.get("PGCONNECT_TIMEOUT")
        )
        # The name of each host may have several addresses, and its resolver a limit of its own.
        return _connected(make_conninfo(**params), hosts * (4 * seconds + 10))

    def _open_observer(self, of: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        session = self._open(of, 5)
        session.execute(f"SET {PINNED}".encode())
        return session


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


def _connected(conninfo: str, limit: float) -> psycopg.Connection[Any]:
    """Connects on a thread: a resolver of names does not give way to Ctrl-C."""
    import psycopg

    results: queue.SimpleQueue[psycopg.Connection[Any] | BaseException] = queue.SimpleQueue()
    given_up = threading.Event()

    def connect() -> None:
        try:
            # Nothing is prepared: a pooler may hand each transaction to another session.
            connection = session_class().connect(conninfo, autocommit=True, prepare_threshold=None)
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
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
