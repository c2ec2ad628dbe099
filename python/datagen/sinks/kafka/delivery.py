"""Delivery outcomes: events acknowledged, failed, and not answered yet."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UnreachableError
from .librdkafka import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    #: Topic, partition (-1: none was chosen yet), events handed over, and those with an outcome.
    Outcome = tuple[str, int, int, "PartitionDelivery"]

__all__ = ["DeliveryReport", "PartitionDelivery", "TopicDelivery"]


@dataclass(frozen=True, slots=True)
class PartitionDelivery:
    """The events of one partition that have an outcome; ``failed`` by librdkafka's error name.

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

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> DeliveryReport:
        """Sums up the outcomes of each partition."""
        attempted: Counter[str] = Counter()
        partitions: defaultdict[str, dict[int, PartitionDelivery]] = defaultdict(dict)
        for topic, number, handed_over, delivery in outcomes:
            attempted[topic] += handed_over
            if delivery.attempted:
                partitions[topic][number] = delivery
        return cls(
            {name: TopicDelivery(name, n, partitions[name]) for name, n in attempted.items()}
        )

    @property
    def attempted(self) -> int:
        return sum(one.attempted for one in self.topics.values())

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged for one in self.topics.values())

    @property
    def pending(self) -> int:
        """Events that are neither acknowledged nor given up."""
        return sum(one.pending for one in self.topics.values())

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
