"""The plan of a load's keys: which tables are new, emptied or kept, and which keys come and go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .ddl import shapes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .ddl import TableShape

__all__ = ["KeyPlan", "TablePlan"]


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table of a load.

    A new table has primary and unique keys from the start if it is ``keyed``, and else once its
    rows are there, as it has its indexes and foreign keys. So has an emptied table that ``drops``
    all of these; other emptied tables, and those that are kept, have theirs all the time.
    """

    shape: TableShape
    origin: Literal["new", "emptied", "kept"]
    keyed: bool = False
    drops: bool = False

    @property
    def adds(self) -> bool:
        """Whether keys are added once the rows are there."""
        return self.origin == "new" or self.drops

    def create(self, schema: str) -> list[str]:
        """The statements that make the table where it is new."""
        if self.origin != "new":
            return []
        return [self.shape.create(schema), *([self.shape.add_keys(schema)] if self.keyed else [])]

    def add_keys(self, schema: str) -> list[str]:
        """The statements that add keys and indexes, but no foreign keys, once the rows are there."""
        if not self.adds:
            return []
        keys = [] if self.keyed else [self.shape.add_keys(schema)]
        return [*keys, *self.shape.add_indexes(schema)]


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """All tables of a load, parents before children."""

    tables: tuple[TablePlan, ...]

    @classmethod
    def of(cls, existing: Collection[str], *, truncate: bool, followed: bool) -> KeyPlan:
        """The plan for the tables that exist; ``truncate`` empties them.

        With ``followed`` others read the changes of the database, and identify rows by their
        primary keys.
        """
        there: Literal["emptied", "kept"] = "emptied" if truncate else "kept"
        return cls(
            tuple(
                TablePlan(shape, there, drops=truncate and not followed)
                if shape.name in existing
                else TablePlan(shape, "new", keyed=followed)
                for shape in shapes()
            )
        )

    def keeping_keys(self) -> KeyPlan:
        """The same, but emptied tables keep their keys."""
        return KeyPlan(tuple(replace(table, drops=False) for table in self.tables))

    def __getitem__(self, name: str) -> TablePlan:
        return next(table for table in self.tables if table.shape.name == name)

    @property
    def fresh(self) -> frozenset[str]:
        """Tables that have rows of this load alone."""
        return frozenset(table.shape.name for table in self.tables if table.origin != "kept")

    def drop_keys(self, schema: str) -> Iterator[str]:
        """The statements that drop the keys of emptied tables, children first."""
        dropping = [table.shape for table in self.tables if table.drops]
        for shape in reversed(dropping):
            yield shape.drop_foreign_keys(schema)
            yield from shape.drop_indexes(schema)
        for shape in dropping:
            yield shape.drop_keys(schema)
