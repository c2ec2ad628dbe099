"""How a load goes over one connection: into tables that are new or emptied, or behind their rows."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, Self

from ...errors import RejectedError
from ...types import catalogue
from .copy_session import CopyIn
from .counting import count_rows
from .diagnosis import is_lost
from .key_plan import KeyPlan
from .queries import query
from .session import WORK, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._core import Batch
    from .ddl import TableShape
    from .inspection import Found
    from .load_session import LoadSession

__all__ = ["Append", "Fresh", "Strategy", "refuse_fewer"]

_log = logging.getLogger(__name__)

#: Whether the changes of this database are read by subscribers.
_FOLLOWED: Final = """
SELECT EXISTS (SELECT FROM pg_publication) OR EXISTS (
    SELECT FROM pg_replication_slots WHERE database = current_database()
)
"""


class Strategy(ABC):
    """How rows and keys get into the tables, until the load's session commits."""

    def __init__(self, load: LoadSession, plan: KeyPlan, rows_before: dict[str, int]) -> None:
        self._load = load
        self._plan = plan
        #: Tables that have rows of this load alone.
        self.fresh = plan.fresh
        self.rows_before = rows_before
        #: Rows that the server has said that it added.
        self.rows_loaded = dict.fromkeys(rows_before, 0)

    @abstractmethod
    def write(self, table: TableShape, batch: Batch) -> int:
        """Takes rows; how many of them are new to the table."""

    @abstractmethod
    def finish(self, table: TableShape) -> None:
        """A table has all its rows."""

    @abstractmethod
    def complete(self) -> None:
        """All tables have all their rows; adds the keys that are missing. The commit is next."""

    @abstractmethod
    def end_copy(self) -> None:
        """Ends a COPY that keeps the load's session from other statements."""

    @abstractmethod
    def disconnect(self) -> None:
        """Ends sessions other than the load's at once, whatever they are at."""

    def roll_back(self) -> None:
        """Takes back all that was done."""
        self._load.roll_back()


class Fresh(Strategy):
    """One connection, tables that are new or emptied: their keys are added after the rows."""

    truncates: ClassVar[bool] = True

    def __init__(self, load: LoadSession, plan: KeyPlan, rows_before: dict[str, int]) -> None:
        super().__init__(load, plan, rows_before)
        self._copy: CopyIn | None = None

    @classmethod
    def prepare(cls, load: LoadSession, existing: Mapping[str, Found]) -> Self:
        """Empties the tables that exist, where that is the strategy, and creates the others."""
        if cls.truncates and existing:
            # In one statement, so that foreign keys among them do not matter; without CASCADE, and
            # without the tables that inherit from them.
            names = ", ".join(f"ONLY {load.schema}.{name}" for name in existing)
            with waiting("tables to be emptied", load.lock_timeout + WORK):
                load.execute(f"TRUNCATE {names}")
        rows_before = count_rows(load, existing)
        [(followed,)] = load.rows(_FOLLOWED)
        plan = KeyPlan.of(existing, truncate=cls.truncates, followed=followed)
        if any(table.drops for table in plan.tables) and not _drop_keys(load, plan, existing):
            plan = plan.keeping_keys()
        for table in plan.tables:
            for statement in table.create(load.schema):
                load.execute(statement)
        return cls(load, plan, rows_before)

    def write(self, table: TableShape, batch: Batch) -> int:
        copy = self._copy
        if copy is None or copy.table != table:
            copy = self._start_copy(table)
        copy.write(batch)
        return len(batch)

    def finish(self, table: TableShape) -> None:
        if self._copy is not None and self._copy.table == table:
            self.end_copy()

    def complete(self) -> None:
        schema = self._load.schema
        for table in self._plan.tables:
            name = table.shape.name
            with self._load.errors(name, fresh=self.fresh), waiting(f"the keys of {name}", WORK):
                for statement in table.add_keys(schema):
                    self._load.execute(statement)
        for table in self._plan.tables:
            name, what = table.shape.name, f"the foreign keys of {table.shape.name}"
            if table.adds:
                with self._load.errors(name, fresh=self.fresh), waiting(what, WORK):
                    self._load.execute(table.shape.add_foreign_keys(schema))

    def end_copy(self) -> None:
        copy, self._copy = self._copy, None
        if copy is not None:
            name = copy.table.name
            with self._load.errors(name, fresh=self.fresh):
                rows = copy.rows()
                self.rows_loaded[name] += rows
                refuse_fewer(self._load, name, rows, copy.sent)

    def disconnect(self) -> None:
        """There is one session, the load's."""

    def _start_copy(self, table: TableShape) -> CopyIn:
        self.end_copy()
        freeze = table.name in self.fresh
        self._copy = CopyIn(self._load.connection, self._load.schema, table, freeze=freeze)
        return self._copy


class Append(Fresh):
    """One connection, tables that have rows: their keys stay on, and only new stocks are added.

    Tables that are missing are made, and filled as fresh ones.
    """

    truncates = False

    def write(self, table: TableShape, batch: Batch) -> int:
        if table.name in self.fresh:
            return super().write(table, batch)
        # They are the same for every seed: those that are there already are no conflict.
        if catalogue()[table.name].is_reference and self.rows_before[table.name]:
            added = self._merge(table, batch)
            self.rows_loaded[table.name] += added
            return added
        copy = self._start_copy(table)
        copy.write(batch)
        # The server checks keys, and frees the memory of that, at the end of a COPY.
        copy.end()
        return len(batch)

    def _merge(self, table: TableShape, batch: Batch) -> int:
        """Adds the rows that are not there, by way of a temporary table; how many."""
        self.end_copy()
        load, temporary = self._load, replace(table, name=f"datagen_{table.name}")
        target, given = f"{load.schema}.{table.name}", f"pg_temp.{temporary.name}"
        load.execute(f"CREATE TEMPORARY TABLE {temporary.name} (LIKE {target}) ON COMMIT DROP")
        copy = CopyIn(load.connection, "pg_temp", temporary, freeze=False)
        copy.write(batch)
        copy.rows()
        missing = f"SELECT * FROM {given} EXCEPT SELECT * FROM ONLY {target}"  # noqa: S608 - our names
        added = load.connection.execute(f"INSERT INTO {target} {missing}".encode()).rowcount
        [(left,)] = load.rows(f"SELECT count(*) FROM ({missing}) AS missing")  # noqa: S608
        refuse_fewer(load, table.name, len(batch) - left, len(batch))
        load.execute(f"DROP TABLE {given}")
        return added


def refuse_fewer(load: LoadSession, name: str, rows: int, sent: int) -> None:
    """Refuses a table that does not keep what it is given: events would miss their parents."""
    if rows != sent:
        raise RejectedError(
            f"PostgreSQL at {load.server.where}: table {name} took {rows} of {sent} rows, as "
            f"a trigger or a rule can have it; nothing was loaded. Disable that, or load into "
            f"another schema with --postgres-schema"
        )


def _drop_keys(load: LoadSession, plan: KeyPlan, existing: Mapping[str, Found]) -> bool:
    """Whether the keys of all emptied tables could be dropped; if not, all are still there."""
    import psycopg

    if not all(found.ours for found in existing.values()):
        return False
    indexes = [name for table in plan.tables if table.drops for name in table.shape.index_names]
    [(more,)] = load.rows(
        query("keys_have_more"), schema=load.schema, tables=[*existing], indexes=indexes
    )
    if more:
        return False
    try:
        with load.connection.transaction():
            for statement in plan.drop_keys(load.schema):
                load.execute(statement)
    except psycopg.Error as error:
        if is_lost(error):
            raise
        # A view that groups by a primary key, for example.
        _log.info("keys stay on: %s", load.server.text(error))
        return False
    return True
