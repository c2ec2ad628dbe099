"""The locks of a load: the advisory lock that loads exclude one another by, and those of tables."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...errors import UnreachableError
from .queries import query
from .session import ANSWER, waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .load_session import LoadSession

__all__ = ["LOAD_LOCK", "lock_tables", "take_load_lock"]

_log = logging.getLogger(__name__)

#: The transaction-level advisory lock that each load into a database holds.
LOAD_LOCK: Final = int.from_bytes(b"datagen")


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
