"""Rows of tables that follow a stream: those that another process has sent are not sent again."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ..._core import Batch, Plan
from ...errors import ConfigurationError
from ...types import catalogue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from .sink import KafkaSink

__all__ = ["ChangedRows", "CommittedRows"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
        self.slice_from = _as_json(offsets)
        self._there = sink.rows_behind(offsets, plan, first_customer) if offsets else {}

    def begin(self, at: datetime, *, resumed: bool) -> datetime:  # noqa: ARG002
        """Says that what has changed before an instant does not come again; that from which on all changes are to come."""
        first = _millis(at)
        for topic, rows in self._there.items():
            self._there[topic] = {key: time for key, time in rows.items() if time >= first}
        return at

    @contextmanager
    def slice(self, until: datetime, reached: Mapping[str, dict[str, int]]) -> Iterator[None]:  # noqa: ARG002
        """A slice whose rows are sent in the block; ``reached`` is where the topics are."""
        for topic in self._topics.values():
            # As long as a row of an earlier process may come again, it is looked for from where that was.
            if topic in reached and not self._there.get(topic):
                self.slice_from[topic] = reached[topic]
        yield

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


class CommittedRows:
    """The same in transactions, whose position says itself before which instant all changes of ``topics`` are there."""

    def __init__(self, sink: KafkaSink, topics: Collection[str]) -> None:
        self._sink = sink
        self._topics = topics
        self.slice_from: dict[str, dict[str, int]] = {}
        #: In milliseconds: all changes before are there, and where the slice begins that comes next.
        self._before = self._next = 0

    def resume(self, offsets: Mapping[str, Mapping[int, int]]) -> None:
        """Takes note of where the last slice of an earlier process began."""
        self.slice_from = _as_json(offsets)

    def begin(self, at: datetime, *, resumed: bool) -> datetime:
        """Says from which instant on changes are sent: where it is ``resumed``, the one that was committed last."""
        found = self._sink.changes_before(self._topics) if resumed else _millis(at)
        if found is None:
            raise ConfigurationError(
                "Kafka: the transactions of this stream do not say which changes of the tables they have. Begin a new stream"
            )
        self._before, self._next = found, _millis(at)
        self._sink.follow(self._topics, found)
        return _EPOCH + timedelta(milliseconds=found)

    @contextmanager
    def slice(self, until: datetime, reached: Mapping[str, dict[str, int]]) -> Iterator[None]:
        """A slice whose rows are sent in the block, and committed together; ``reached`` is where the topics are."""
        if self._next >= self._before:
            # Else an earlier process has committed some of its rows.
            self.slice_from = {topic: reached[topic] for topic in self._topics if topic in reached}
        with self._sink.slice(_millis(until)):
            yield
        self._next = _millis(until)
        self._before = max(self._before, self._next)

    def missing(self, batch: Batch) -> Batch | None:
        """The rows whose last change is not there."""
        times = memoryview(batch.column(catalogue()[batch.name].time))
        if min(times) >= self._before:
            return batch
        rows = [batch.row(row) for row, time in enumerate(times) if time >= self._before]
        return Batch.from_rows(batch.name, rows) if rows else None


def _as_json(offsets: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    return {topic: {str(number): at for number, at in of.items()} for topic, of in offsets.items()}


def _millis(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
