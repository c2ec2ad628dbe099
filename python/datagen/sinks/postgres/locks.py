"""The locks of a load: the advisory lock that loads exclude one another by, and those of tables."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from ...errors import ConfigurationError, UnreachableError
from .load_session import LoadSession
from .queries import query
from .server import pooled
from .session import ANSWER, waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .server import Server

__all__ = [
    "LOAD_LOCK",
    "RunLock",
    "lock_tables",
    "share_load_lock",
    "take_load_lock",
    "take_load_lock_patiently",
]

_log = logging.getLogger(__name__)

#: The transaction-level advisory lock that each load into a database holds.
LOAD_LOCK: Final = int.from_bytes(b"datagen")
#: Seconds between two looks at a lock, and between two lines that say that it is waited for.
_POLL: Final = 0.1
_SAY_EVERY: Final = 60.0


def take_load_lock(load: LoadSession) -> None:
    """Waits for other loads into the same database."""
    [(taken,)] = load.rows("SELECT pg_try_advisory_xact_lock(%s)", LOAD_LOCK)
    if not taken:
        _log.warning(
            "another load into %s is running%s; waiting for it",
            load.server.where,
            _holders(load, None),
        )
        with _waiting_for_lock(load, None):
            load.rows("SELECT pg_advisory_xact_lock(%s)", LOAD_LOCK)


def share_load_lock(load: LoadSession) -> None:
    """Waits for loads that will not have others beside them, however long these take."""
    _poll(load, "pg_try_advisory_xact_lock_shared", LOAD_LOCK, "another load")


def take_load_lock_patiently(load: LoadSession) -> None:
    """Waits for all other loads, however long these take."""
    _poll(load, "pg_try_advisory_xact_lock", LOAD_LOCK, "another load")


def _poll(load: LoadSession, function: str, key: int, who: str) -> None:
    """Waits for an advisory lock without a limit, and says so now and then."""
    said, began = -_SAY_EVERY, time.monotonic()
    while not load.rows(f"SELECT {function}(%s)", key)[0][0]:
        waited = time.monotonic() - began
        if waited - said >= _SAY_EVERY:
            said = waited
            holders = _holders(load, None) if key == LOAD_LOCK else ""
            _log.warning("%s into %s is running%s; waiting for it", who, load.server.where, holders)
        time.sleep(_POLL)


class RunLock:
    """A lock of the database that one process at a time has for its run, on a session of its own."""

    def __init__(self, server: Server, lock_timeout: float) -> None:
        self._session = LoadSession(server, lock_timeout)

    def take(self, name: str, *, needed: bool) -> None:
        """Waits for the process that has the lock of this name, however long it takes.

        A pooler, which may hand each statement to another session, leaves no such lock: then raises
        ``ConfigurationError`` where the lock is ``needed``, and does nothing otherwise.
        """
        session = self._session
        session.connect()
        if pooled(session.connection):
            session.close()
            if needed:
                raise ConfigurationError(
                    f"PostgreSQL at {session.server.where}: a connection pooler is in front, through which no lock of "
                    "a shard can be held; give the address of the server itself"
                )
            return
        with session.errors(outcome="; nothing was loaded"):
            if session.connection.info.server_version >= 140_000:
                session.execute("SET idle_session_timeout = 0")
            key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
            _poll(session, "pg_try_advisory_lock", key, "another process of this load")

    def release(self) -> None:
        self._session.close()


def lock_tables(load: LoadSession, names: Iterable[str], *, exclusive: bool) -> None:
    """Locks tables, so that they stay as they are checked.

    Other sessions that write are shut out where rows are added; all are with ``exclusive``.
    """
    import psycopg

    mode = "ACCESS EXCLUSIVE" if exclusive else "ROW EXCLUSIVE"
    for name in names:
        lock = f"LOCK TABLE ONLY {load.schema}.{name} IN {mode} MODE"
        try:
            with load.connection.transaction():
                load.execute(f"{lock} NOWAIT")
        except psycopg.errors.LockNotAvailable:
            _log.info("waiting for %s, which is locked%s", name, _holders(load, name))
            with _waiting_for_lock(load, name):
                load.execute(lock)


@contextmanager
def _waiting_for_lock(load: LoadSession, table: str | None) -> Iterator[None]:
    """A statement that waits for a lock; its error says which session holds that."""
    import psycopg

    what = f"the lock on {table}" if table else "another load"
    try:
        with waiting(what, load.lock_timeout + ANSWER):
            yield
    except psycopg.errors.LockNotAvailable as error:
        load.execute("ROLLBACK")
        load.begin()
        subject = f"{table} is locked" if table else "another load is running"
        raise UnreachableError(
            f"PostgreSQL at {load.server.where}: {load.server.text(error)} after "
            f"{load.lock_timeout:g} s: {subject}{_holders(load, table)}; nothing was loaded. "
            f"End that session, or wait for it"
        ) from error


def _holders(load: LoadSession, table: str | None) -> str:
    """The sessions that hold a table's lock, or the advisory lock, in words."""
    relation = table and f"{load.schema}.{table}"
    found = []
    for pid, user, program, host, state, seconds in load.rows(
        query("lock_holders"), table=relation, lock=LOAD_LOCK
    ):
        of, at = f"of {user}" if user else "", f"from {host}" if host else ""
        since = f"{state} for {seconds} s" if state and seconds is not None else ""
        details = ", ".join(filter(None, (" ".join(filter(None, (program, of, at))), since)))
        found.append(f"{pid} ({details})" if details else str(pid))
    return f" by session {' and '.join(found)}" if found else ""
