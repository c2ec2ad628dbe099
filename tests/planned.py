"""The events of a plan as the core makes them, to hold streams against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datagen import Batch, Plan


def events_of(batch: Batch) -> Iterator[tuple[int, str]]:
    """Time and id of each event."""
    relation = catalogue()[batch.name]
    times = memoryview(batch.column(relation.time)).tolist()
    idents = (bytes(ident).decode() for ident in batch.text(relation.primary_key))
    return zip(times, idents, strict=True)


def planned(plan: Plan, **part: Any) -> dict[str, int]:
    """The times of the events, by their ids."""
    return {
        ident: when
        for batch in plan.window(order="entity", **part)
        for when, ident in events_of(batch)
    }


def rows(plan: Plan, name: str, **part: Any) -> list[dict[str, Any]]:
    return [batch.row(row) for batch in plan.batches(name, **part) for row in range(len(batch))]
