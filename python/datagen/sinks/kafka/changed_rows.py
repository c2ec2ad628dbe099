"""Rows of tables that follow a stream: those that another process has sent are not sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._core import Batch, Plan
from ...types import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .sink import KafkaSink

__all__ = ["ChangedRows"]


class ChangedRows:
    """The changes of tables, slice by slice; ``topics`` has the topic of each table.

    ``slice_from`` is where each topic was as the slice began whose rows were written last, by topic and partition: to read
    from there finds all of them.
    """

    def __init__(self, topics: Mapping[str, str]) -> None:
        self._topics = topics
        self.slice_from: dict[str, dict[str, int]] = {}
        #: Of an earlier process: by topic, the keys of rows behind its mark, and when each last changed.
        self._there: dict[str, dict[bytes, int]] = {}

    def resume(
        self,
        sink: KafkaSink,
        offsets: Mapping[str, Mapping[int, int]],
        plan: Plan,
        first_customer: int,
    ) -> None:
        """Looks for what an earlier process has sent of these customers, from where its last slice began."""
        for topic, of in offsets.items():
            self.slice_from[topic] = {str(number): at for number, at in of.items()}
        self._there = sink.rows_behind(offsets, plan, first_customer) if offsets else {}

    def begin(self, at: datetime) -> None:
        """Says that what has changed before an instant does not come again."""
        first = round(at.timestamp() * 1000)
        for topic, rows in self._there.items():
            self._there[topic] = {key: time for key, time in rows.items() if time >= first}

    def enter(self, reached: Mapping[str, dict[str, int]]) -> None:
        """Says that a slice begins, and where the topics are."""
        for topic in self._topics.values():
            # As long as a row of an earlier process may come again, it is looked for from where that was.
            if topic in reached and not self._there.get(topic):
                self.slice_from[topic] = reached[topic]

    def missing(self, batch: Batch) -> Batch | None:
        """The rows that have changed since they were sent last; what is there of the others is forgotten."""
        there = self._there.get(self._topics[batch.name])
        if not there:
            return batch
        relation = catalogue()[batch.name]
        times = memoryview(batch.column(relation.time))
        rows = []
        for row, key in enumerate(batch.text(relation.key)):
            if times[row] >= (last := there.get(key, -1)):
                there.pop(key, None)
            if times[row] > last:
                rows.append(batch.row(row))
        return Batch.from_rows(batch.name, rows) if rows else None
