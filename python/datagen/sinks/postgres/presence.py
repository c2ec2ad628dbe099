"""Whether the rows of a load are in the tables already, as an earlier attempt at it has left them.

A load is one transaction, so that its first and last rows stand for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...types import catalogue
from .load_session import in_query
from .session import WORK, waiting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from ..base import Window
    from .load_session import LoadSession

    Row = Mapping[str, Any]

__all__ = ["Presence", "ends_of", "look"]

#: Customers among whom each product is had by some.
_BLOCK: Final = 20


@dataclass(frozen=True)
class Presence:
    """How many of the rows that were looked for are there, and of these have other values; by table."""

    wanted: Mapping[str, int]
    there: Mapping[str, int]
    other: Mapping[str, int]

    @property
    def all(self) -> bool:
        return self.there == self.wanted and not any(self.other.values())

    @property
    def none(self) -> bool:
        return not any(self.there.values())

    def __str__(self) -> str:
        said = [f"{name} {self.there[name]} of {count}" for name, count in self.wanted.items()]
        others = [name for name, count in self.other.items() if count]
        more = f"; with other values in {', '.join(others)}" if others else ""
        return f"of the first and last rows there are: {', '.join(said)}{more}"


def ends_of(window: Window, at: datetime | None = None) -> dict[str, list[Row]]:
    """The first and the last row of each table that belong to a window's customers, as they are at an instant."""
    plan, start = window.plan, window.first_customer
    ends: dict[str, list[Row]] = {}
    for table in catalogue().tables:
        if table.is_reference:
            continue
        name = table.name
        first = [*plan.batches(name, start, min(start + _BLOCK, plan.customers), until=at)]
        last = [*plan.batches(name, max(start, plan.customers - _BLOCK), until=at)]
        rows = [*(batch.row(0) for batch in first[:1]), *(batch.row(-1) for batch in last[-1:])]
        ends[name] = [row for at, row in enumerate(rows) if row not in rows[:at]]
    return {name: rows for name, rows in ends.items() if rows}


def look(
    load: LoadSession, existing: Collection[str], ends: Mapping[str, Sequence[Row]]
) -> Presence:
    """Looks for rows in the session's transaction; nothing is there in a table that does not exist."""
    there, other = dict.fromkeys(ends, 0), dict.fromkeys(ends, 0)
    for name in filter(existing.__contains__, ends):
        table = catalogue()[name]
        columns = [field.name for field in table.fields]
        wanted = {row[table.primary_key]: row for row in ends[name]}
        with waiting(f"rows of {name}", WORK):
            # The names are the catalogue's own.
            found = load.rows(
                f"SELECT {', '.join(columns)} FROM ONLY {in_query(load.schema)}.{name} "  # noqa: S608
                f"WHERE {table.primary_key} = ANY(%s)",
                [*wanted],
            )
        for row in found:
            values = dict(zip(columns, row, strict=True))
            there[name] += 1
            other[name] += values != wanted[values[table.primary_key]]
    return Presence({name: len(rows) for name, rows in ends.items()}, there, other)
