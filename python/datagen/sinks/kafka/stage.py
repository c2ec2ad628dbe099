"""The Kafka stage of a load: all streams, a topic each."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from ...errors import DatagenError, OptionError
from ...presets import ProducerConfig
from ...settlement import Delivered, TopicSettlement
from ...types import catalogue
from ..base import Check, Sink, Stage, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ..._core import Batch
    from ..base import Transfer, Window
    from .delivery import TopicDelivery

__all__ = [
    "KAFKA",
    "MAX_PARTITIONS",
    "MAX_REPLICATION",
    "MAX_RETENTION_HOURS",
    "PARALLEL_PARTITIONS",
    "PARTITIONS",
    "KafkaTarget",
    "settled",
]

KAFKA: Final = Stage(
    "kafka",
    title="Kafka",
    unit="events",
    counted="Kafka topic offsets",
    committed="acknowledged",
)

#: A hundred years; Kafka counts milliseconds in 64 bits.
MAX_RETENTION_HOURS: Final = 876_000
#: Partitions of the topics that a run creates.
PARTITIONS: Final = {stream.name: stream.partitions for stream in catalogue().streams}
#: The same for a load by several threads.
PARALLEL_PARTITIONS: Final = {one.name: one.parallel_partitions for one in catalogue().streams}
#: What a cluster of any size can bear, and Kafka's 16 bits.
MAX_PARTITIONS: Final = 10_000
MAX_REPLICATION: Final = 32_767

#: Seconds without a further event after which events without an acknowledgement are not expected.
SETTLE: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KafkaTarget:
    """A cluster to send all streams to.

    ``partitions`` (by stream), ``retention_hours`` (-1: no limit, None: the broker's default),
    ``replication_factor`` (None: the broker's default) and ``topic_config`` are those of topics that
    the run creates.
    """

    producer: ProducerConfig
    create_topics: bool = False
    retention_hours: int | None = 8
    replication_factor: int | None = None
    topic_config: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, int] = field(default_factory=lambda: dict(PARTITIONS))

    def __post_init__(self) -> None:
        hours, factor = self.retention_hours, self.replication_factor
        if hours not in (None, -1) and not 1 <= hours <= MAX_RETENTION_HOURS:
            allowed = f"1 to {MAX_RETENTION_HOURS}, -1 for no limit, or the broker's own"
            raise OptionError("retention_hours", hours, allowed)
        if factor is not None and not 1 <= factor <= MAX_REPLICATION:
            raise OptionError("replication_factor", factor, f"1 to {MAX_REPLICATION}")
        for stream, count in self.partitions.items():
            given = f"{stream}={count}"
            if stream not in PARTITIONS:
                raise OptionError("partitions", given, "one of " + ", ".join(PARTITIONS))
            if not 1 <= count <= MAX_PARTITIONS:
                raise OptionError("partitions", given, f"1 to {MAX_PARTITIONS}")

    @property
    def relations(self) -> tuple[str, ...]:
        return streams()

    def sink(self, window: Window) -> _KafkaStage:
        return _KafkaStage(self, window)


class _KafkaStage(Sink):
    stage = KAFKA
    relations = streams()
    commit_part = "acknowledgements"

    def __init__(self, target: KafkaTarget, window: Window) -> None:
        from .sink import KafkaSink

        self._target = target
        self._window = window
        self._sink = KafkaSink(target.producer)
        self._topics = {stream: self._sink.topic(stream) for stream in streams()}
        #: By topic and partition, where there is one.
        self._ends_before: dict[str, dict[int, int]] = {}
        self._written = dict.fromkeys(streams(), 0)
        #: None before they were made; empty where they could not be.
        self._checks: tuple[Check, ...] | None = None

    def open(self) -> None:
        self._sink.connect()

    def prepare(self) -> None:
        """Makes or requires the topics, and registers the schemas."""
        target = self._target
        for stream in self._topics:
            newest = self._window.plan.as_of
            self._sink.check_event_time(self._oldest(stream), newest, streams=[stream])
        if target.create_topics:
            topics = self._sink.create_topics(
                {topic: target.partitions[stream] for stream, topic in self._topics.items()},
                target.retention_hours,
                replication_factor=target.replication_factor,
                config=target.topic_config,
            )
            for topic in topics:
                _log.info(
                    "topic %s: %s with %d partitions",
                    topic.name,
                    "created" if topic.created else "is there",
                    topic.partitions,
                )
        else:
            self._sink.require_topics(self._topics.values())
        self._sink.register_schemas(self._topics)

    def transfer(self) -> Transfer | None:
        """Events are made in the background where the engine can and they need not be kept."""
        window = self._window
        if not window.fast or self._sink.engine != "native":
            return None
        return self._sink.begin_plan(
            window.plan,
            window.parents,
            window.workers,
            window.first_customer,
            order=window.order,
        )

    def begin(self) -> None:
        self._ends_before = self._sink.end_offsets(self._topics.values())

    def when_waiting(self, call: Callable[[], None]) -> None:
        self._sink.when_waiting(call)

    def write(self, batch: Batch) -> None:
        self._written[batch.name] += self._sink.write(batch)

    def commit(self) -> None:
        self._sink.flush()

    def settle(self, seconds: float) -> bool:
        return self._sink.settle(seconds)

    @property
    def confirmed(self) -> bool:
        return self._sink.confirmed

    @property
    def last_error(self) -> str:
        return self._sink.last_error

    def mark(self) -> dict[str, Any]:
        """The ends before the run, and what was acknowledged since.

        Records of other producers are not counted, so that the end may be further: to read from here finds
        all that is written from now on.
        """
        acknowledged = self._sink.report().topics
        ends: dict[str, dict[str, int]] = {}
        for topic, partitions in self._ends_before.items():
            sent = acknowledged[topic].partitions if topic in acknowledged else {}
            ends[topic] = {
                str(number): end + (sent[number].acknowledged if number in sent else 0)
                for number, end in partitions.items()
            }
        return {"topics": ends}

    def written_since(self, mark: Mapping[str, Any]) -> set[bytes]:
        return self._sink.ids_behind(
            {
                topic: {int(number): offset for number, offset in partitions.items()}
                for topic, partitions in mark["topics"].items()
            }
        )

    def verify(self) -> tuple[Check, ...]:
        try:
            self._checks = tuple(self._counted())
        except DatagenError:
            self._checks = ()
            raise
        return self._checks

    def _counted(self) -> Iterator[Check]:
        acknowledged = {
            stream: one.acknowledged if (one := self._delivery(topic)) else 0
            for stream, topic in self._topics.items()
        }
        moved = self._moved()
        # With acks=0 the last events may arrive after the load, for as long as topics grow.
        end = time.monotonic() + SETTLE
        while time.monotonic() < end and any(moved[one] < acknowledged[one] for one in moved):
            time.sleep(0.1)
            last, moved = moved, self._moved()
            if moved != last:
                end = time.monotonic() + SETTLE
        for stream, count in acknowledged.items():
            # Acknowledgements are the proof; offsets also count other producers' records, but
            # records that are not there at all were lost (acks=0 acknowledges nothing).
            by = moved.get(stream, 0)
            found = max(min(count, by), 0)
            note = f"offsets moved by {by}" if by != count else ""
            if stream not in moved:
                note = "the topic is gone, deleted while the run went on"
            yield Check(self._topics[stream], self._planned(stream), found, note)

    def facts(self) -> Mapping[str, Any]:
        return {
            "doubled": self._doubled(),
            "format": self._sink.format,
            "engine": self._sink.engine,
        }

    def objection(self) -> str:
        doubled = self._doubled()
        if not doubled:
            return ""
        return (
            f"{doubled} events were sent again since their acknowledgements were lost, and "
            "may be there twice (ce_id tells). The preset RELIABLE rules that out."
        )

    def close(self, error: BaseException | None) -> None:
        self._sink.__exit__(None if error is None else type(error), error, None)

    def settlement(self) -> Delivered:
        topics = tuple(
            settled(topic, self._planned(stream), self._delivery(topic))
            for stream, topic in self._topics.items()
        )
        if self._checks is not None and not self._sink.confirmed:
            # Without acknowledgements, events count by being in their topic.
            found = {one.name: one.found for one in self._checks}
            topics = tuple(
                replace(
                    one,
                    acknowledged=found.get(one.topic, 0),
                    unknown=one.unknown + one.acknowledged - found.get(one.topic, 0),
                )
                for one in topics
            )
        return Delivered(KAFKA.name, KAFKA.title, topics)

    def _planned(self, stream: str) -> int:
        window = self._window
        return self._written[stream] if window.open_ended else window.rows(stream)

    def _doubled(self) -> int:
        """Events that may be there twice, in topics that have more than was acknowledged."""
        deliveries = (self._delivery(check.name) for check in self._checks or () if check.note)
        return sum(one.perhaps_twice for one in deliveries if one)

    def _delivery(self, topic: str) -> TopicDelivery | None:
        return self._sink.report().topics.get(topic)

    def _oldest(self, stream: str) -> datetime:
        """A time that no event of a stream is before."""
        plan = self._window.plan
        return plan.as_of - timedelta(days=catalogue()[stream].history_days or plan.days)

    def _ends(self) -> dict[str, int]:
        """The ends of all partitions of each stream's topic, together, where there is one."""
        ends = self._sink.end_offsets(self._topics.values())
        return {
            stream: sum(ends[topic].values())
            for stream, topic in self._topics.items()
            if topic in ends
        }

    def _moved(self) -> dict[str, int]:
        """By how much the end of each stream's topic has moved."""
        before = self._ends_before
        return {
            name: end - sum(before.get(self._topics[name], {}).values())
            for name, end in self._ends().items()
        }


def settled(topic: str, planned: int, delivery: TopicDelivery | None) -> TopicSettlement:
    """What became of the planned events of a topic, by its delivery reports."""
    if delivery is None:
        return TopicSettlement(topic, planned)
    return TopicSettlement(
        topic,
        planned,
        delivery.acknowledged,
        delivery.refused,
        delivery.unknown,
        delivery.perhaps_twice,
    )
