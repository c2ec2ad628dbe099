"""Rows of the tables by ``SELECT count(*)``, within a load and after its commit."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ...errors import ConfigurationError, CountingError, DatagenError, UnreachableError
from .ddl import shapes
from .diagnosis import is_lost
from .inspection import find_tables
from .session import PATIENCE, WORK, waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .load_session import LoadSession

__all__ = ["count_committed", "count_rows"]

_log = logging.getLogger(__name__)


def count_rows(load: LoadSession, existing: Iterable[str]) -> dict[str, int]:
    """Rows of each table in the session's transaction; 0 for a table that does not exist."""
    return {table.name: 0 for table in shapes()} | {name: _count(load, name) for name in existing}


def count_committed(load: LoadSession) -> dict[str, int]:
    """Rows of each table after the commit, over a fresh connection.

    Raises ``CountingError`` once there was no progress for half a minute.
    """
    import psycopg

    counts: dict[str, int] = {}
    moved = time.monotonic()
    while True:
        done = len(counts)
        try:
            load.renew()
            load.begin(read_only=True)
            [(standby,)] = load.rows("SELECT pg_is_in_recovery()")
            if standby:
                raise UnreachableError("a standby may not have all rows yet")
            existing = find_tables(load)
            for table in shapes():
                if table.name not in counts:
                    counts[table.name] = _count(load, table.name) if table.name in existing else 0
            load.execute("ROLLBACK")
        except (DatagenError, psycopg.Error) as error:
            final = isinstance(error, ConfigurationError) or (
                isinstance(error, psycopg.Error) and not is_lost(error)
            )
            if len(counts) > done:
                moved = time.monotonic()
            if final or time.monotonic() - moved > PATIENCE:
                raise CountingError(
                    f"rows in PostgreSQL at {load.server.where} are committed and could not be "
                    f"counted: {load.server.text(error)}"
                ) from error
            _log.info("counting again: %s", load.server.text(error))
        else:
            return counts
        time.sleep(0.5)


def _count(load: LoadSession, name: str) -> int:
    """The rows of one table, without those of tables that inherit from it."""
    with waiting(f"the rows of {name} to be counted", WORK):
        [(rows,)] = load.rows(f"SELECT count(*) FROM ONLY {load.schema}.{name}")  # noqa: S608
    return int(rows)
