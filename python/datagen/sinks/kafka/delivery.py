"""What became of the events: counted from delivery reports, one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UnreachableError
from .librdkafka import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import KafkaError, Message

__all__ = ["DeliveryReport", "PartitionDelivery", "Stalled", "Tally", "TopicDelivery"]


class Stalled(Exception):  # noqa: N818  # never leaves the sink
    """An engine can take no more: events have failed, or there was no room for so many seconds."""

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__(seconds)
        self.when = "" if seconds is None else f" within {seconds:.3g} s"


@dataclass(frozen=True, slots=True)
class PartitionDelivery:
    """The events of one partition whose fate is known; ``failed`` by librdkafka's error name.

    ``perhaps_twice`` of the acknowledged ones were sent again after an answer got lost, without
    idempotence, which only the native engine can tell. ``perhaps_there`` of the failed ones may have
    arrived all the same.
    """

    acknowledged: int
    failed: Mapping[str, int]
    perhaps_twice: int = 0
    perhaps_there: int = 0

    @property
    def attempted(self) -> int:
        return self.acknowledged + sum(self.failed.values())

    @property
    def refused(self) -> int:
        """Failed events that a broker answered with an error, and does not have."""
        answered = (n for name, n in self.failed.items() if kind_of(name) is not UnreachableError)
        return min(sum(answered), sum(self.failed.values()) - self.perhaps_there)


@dataclass(frozen=True, slots=True)
class TopicDelivery:
    """The events of one topic. Partition -1 has those that failed before they were given one."""

    topic: str
    attempted: int
    partitions: Mapping[int, PartitionDelivery]

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged for one in self.partitions.values())

    @property
    def failed(self) -> Mapping[str, int]:
        """By librdkafka's error name, over all partitions."""
        total: Counter[str] = Counter()
        for one in self.partitions.values():
            total.update(one.failed)
        return dict(total)

    @property
    def perhaps_twice(self) -> int:
        """Acknowledged events that may be in the topic twice."""
        return sum(one.perhaps_twice for one in self.partitions.values())

    @property
    def perhaps_there(self) -> int:
        """Failed events that may be in the topic."""
        return sum(one.perhaps_there for one in self.partitions.values())

    @property
    def pending(self) -> int:
        """Events that are neither acknowledged nor given up."""
        return self.attempted - sum(one.attempted for one in self.partitions.values())

    @property
    def refused(self) -> int:
        """Failed events that a broker answered with an error, and does not have."""
        return sum(one.refused for one in self.partitions.values())

    @property
    def unknown(self) -> int:
        """Events that were sent and not answered: they may be in the topic."""
        return self.pending + self.perhaps_there

    def __str__(self) -> str:
        notes = [f"{name} {count}" for name, count in self.failed.items()]
        if self.pending:
            notes.append(f"no answer {self.pending}")
        if self.perhaps_there:
            notes.append(f"perhaps there {self.perhaps_there}")
        if self.perhaps_twice:
            notes.append(f"perhaps twice {self.perhaps_twice}")
        shown = f"{self.topic} {self.acknowledged} of {self.attempted}"
        return f"{shown} ({', '.join(notes)})" if notes else shown


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The events of every topic that was sent to, in the order of first use."""

    topics: Mapping[str, TopicDelivery]

    @property
    def attempted(self) -> int:
        return sum(one.attempted for one in self.topics.values())

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged for one in self.topics.values())

    @property
    def failed(self) -> Mapping[str, int]:
        total: Counter[str] = Counter()
        for one in self.topics.values():
            total.update(one.failed)
        return dict(total)

    @property
    def complete(self) -> bool:
        """Whether every event was acknowledged."""
        return self.acknowledged == self.attempted

    def __str__(self) -> str:
        return "; ".join(map(str, self.topics.values())) or "nothing sent"


class Tally:
    """The counts of one topic while it is sent to."""

    __slots__ = ("_acknowledged", "_failed", "attempted", "first", "on_delivery", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.attempted = 0
        self._acknowledged: defaultdict[int, int] = defaultdict(int)
        self._failed: Counter[tuple[int, str]] = Counter()
        #: The key and the size in bytes of the first event that failed, by the name of the error.
        self.first: dict[str, tuple[str, int]] = {}
        self.on_delivery = _counter(self._acknowledged, self._failed, self.first)

    @property
    def has_failures(self) -> bool:
        return bool(self._failed)

    def refuse(self, error: KafkaError) -> None:
        """Counts an event that the client did not even take."""
        self.attempted += 1
        self._failed[-1, error.name()] += 1

    def report(self) -> TopicDelivery:
        partitions = {}
        for partition in sorted({*self._acknowledged, *(p for p, _ in self._failed)}):
            failed = {name: n for (p, name), n in self._failed.items() if p == partition}
            acknowledged = self._acknowledged.get(partition, 0)
            # Of what the client gave up it tells no more than whether it was still in its queue.
            lost = (n for name, n in failed.items() if kind_of(name) is UnreachableError)
            there = sum(lost) - failed.get("_PURGE_QUEUE", 0)
            partitions[partition] = PartitionDelivery(acknowledged, failed, perhaps_there=there)
        known = sum(one.attempted for one in partitions.values())
        # While a batch is being sent, its first reports may come before its events are counted.
        return TopicDelivery(self.topic, max(self.attempted, known), partitions)


def _counter(
    acknowledged: defaultdict[int, int],
    failed: Counter[tuple[int, str]],
    first: dict[str, tuple[str, int]],
) -> Callable[[KafkaError | None, Message], None]:
    # Called once per event, with the message's key and value copied for it: nothing else in here.
    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged[message.partition()] += 1  # type: ignore[index]  # it has one by now
        else:
            failed[_partition(message), error.name()] += 1
            if error.name() not in first:
                key = (message.key() or b"").decode(errors="replace")
                first[error.name()] = key, len(message.value() or b"")

    return on_delivery


def _partition(message: Message) -> int:
    partition = message.partition()
    return -1 if partition is None else partition
