"""The Kafka stage of a load: all streams, a topic each, and if asked for all tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ..._secrets import without_user
from ...errors import ConfigurationError, DatagenError, OptionError
from ...presets import ProducerConfig
from ...settlement import Delivered, TopicSettlement
from ...types import catalogue
from ..base import Check, Contents, Sink, Stage, streams, tables
from .changed_rows import ChangedRows, CommittedRows
from .earlier_attempt import EarlierAttempt
from .topic_ends import TopicEnds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..._core import Batch
    from ..base import Transfer, Window
    from .delivery import TopicDelivery
    from .event_producer import Sending

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
_TOPICS: Final = tuple(relation.topic for relation in catalogue())
#: Partitions of the topics that a run creates. A table that has the keys of a stream has its partitions.
PARTITIONS: Final = {one.topic: one.partitions for one in catalogue() if not one.keyed_as}
#: The same for a load by several threads.
PARALLEL_PARTITIONS: Final = {
    one.topic: one.parallel_partitions for one in catalogue() if not one.keyed_as
}
#: What a cluster of any size can bear, and Kafka's 16 bits.
MAX_PARTITIONS: Final = 10_000
MAX_REPLICATION: Final = 32_767

#: Before all rows and events. The rows that a load sends bear it, so that a join by time, which takes the
#: records of all partitions in the order of their timestamps, has a row before the first event that it belongs to.
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
#: Seconds without a further event after which events without an acknowledgement are not expected.
SETTLE: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KafkaTarget:
    """A cluster to send all streams to, and with ``master_topics`` all tables: each to a compacted topic.

    With ``exactly_once`` events are sent in Kafka transactions by the engine ``confluent``, and a load that is begun
    again, or a stream that is resumed, goes on behind the last one that was committed: readers of committed records find
    each event once.
    ``partitions`` (by topic, without the prefix), ``retention_hours`` (-1: no limit, None: the broker's default),
    ``replication_factor`` (None: the broker's default) and ``topic_config`` are those of topics that
    the run creates.
    """

    producer: ProducerConfig
    master_topics: bool = False
    create_topics: bool = False
    retention_hours: int | None = 8
    replication_factor: int | None = None
    topic_config: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, int] = field(default_factory=lambda: dict(PARTITIONS))
    exactly_once: bool = False

    def __post_init__(self) -> None:
        if self.exactly_once and self.producer.client.acks not in ("all", "-1"):
            raise OptionError("exactly_once", True, "it with acks='all' only")
        if self.exactly_once and self.producer.engine == "native":
            raise OptionError("exactly_once", True, "it with the engine confluent or auto")
        hours, factor = self.retention_hours, self.replication_factor
        if hours not in (None, -1) and not 1 <= hours <= MAX_RETENTION_HOURS:
            allowed = f"1 to {MAX_RETENTION_HOURS}, -1 for no limit, or the broker's own"
            raise OptionError("retention_hours", hours, allowed)
        if factor is not None and not 1 <= factor <= MAX_REPLICATION:
            raise OptionError("replication_factor", factor, f"1 to {MAX_REPLICATION}")
        for topic, count in self.partitions.items():
            given = f"{topic}={count}"
            if topic not in _TOPICS:
                raise OptionError("partitions", given, "one of " + ", ".join(_TOPICS))
            if not 1 <= count <= MAX_PARTITIONS:
                raise OptionError("partitions", given, f"1 to {MAX_PARTITIONS}")

    @property
    def relations(self) -> tuple[str, ...]:
        return (*tables(), *streams()) if self.master_topics else streams()

    @property
    def goes_on(self) -> bool:
        return self.exactly_once

    def partitions_of(self, name: str) -> int:
        """The partitions of the topic of a table or stream: equal keys are in equal partitions."""
        relation = catalogue()[name]
        shared = relation.keyed_as or relation.topic
        return self.partitions.get(relation.topic, self.partitions.get(shared, relation.partitions))

    def sink(self, window: Window) -> _KafkaStage:
        return _KafkaStage(self, window)

    def contents(self, receipt: Mapping[str, Any]) -> Contents:
        from .contents import KafkaContents

        return KafkaContents(self.producer, self.relations, receipt)


class _KafkaStage(Sink):
    commit_part = "acknowledgements"

    def __init__(self, target: KafkaTarget, window: Window) -> None:
        from .sink import KafkaSink
        from .transactional import identity_of

        producer = target.producer
        receipt = (window.before or {}).get(KAFKA.name, {})
        if (said := receipt.get("format")) is not None:
            # What an attempt has begun with is gone on with, whether a registry answers by now or not.
            producer = replace(producer, avro=said == "avro")
        self._target = target
        self._window = window
        self._sink = KafkaSink(
            producer,
            transactional_id=identity_of(target.producer, window) if target.exactly_once else None,
        )
        # Rows of tables are no events.
        self.stage = replace(KAFKA, unit="records") if target.master_topics else KAFKA
        self.relations = target.relations
        self._topics = {name: self._sink.topic(name) for name in self.relations}
        self._ends = TopicEnds(self._sink, self._topics)
        self._earlier = EarlierAttempt(
            self._sink, window, receipt, self._topics, exactly_once=target.exactly_once
        )
        self._of_tables = {name: one for name, one in self._topics.items() if name in tables()}
        self._changed = (
            CommittedRows(self._sink, self._of_tables.values())
            if target.exactly_once
            else ChangedRows(self._of_tables)
        )
        self._written = dict.fromkeys(self.relations, 0)
        self._sending: Sending | None = None
        #: None before they were made; empty where they could not be.
        self._checks: tuple[Check, ...] | None = None

    def open(self) -> None:
        self._sink.connect()
        self._earlier.check_cluster()

    def nothing_sent(self) -> None:
        self._earlier.nothing_sent()

    def prepare(self) -> None:
        """Makes or requires the topics, and registers the schemas."""
        target = self._target
        for name in self._topics:
            newest = self._window.plan.as_of
            self._sink.check_event_time(self._oldest(name), newest, streams=[name])
        if target.create_topics:
            topics = self._sink.create_topics(
                {topic: target.partitions_of(name) for name, topic in self._topics.items()},
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
        self._earlier.look()
        self._sending = self._sink.begin_plan(
            window.plan,
            window.parents,
            window.workers,
            window.first_customer,
            order=window.order,
            there=self._earlier.ids,
        )
        return self._sending

    def begin(self) -> None:
        self._earlier.look()
        ends = self._ends.read()
        self._earlier.begin_at(ends)
        if self._target.exactly_once and self._window.open_ended:
            of_tables = self._of_tables.values()
            # Rows of another start are others, in whatever order they come.
            self._sink.go_on_behind(of_tables)
            if not self._window.tables_there:
                # What an earlier stream has sent of them is not of this one.
                self._earlier.begun |= {one: dict(ends[one]) for one in of_tables if one in ends}
        # Counted is what all attempts have sent.
        self._ends.before = ends | self._earlier.begun if self._earlier.is_there else ends
        if mark := (self._window.begun or {}).get(KAFKA.name):
            self._go_on_loading(mark)

    def _go_on_loading(self, mark: Mapping[str, Any]) -> None:
        """Leaves out rows of tables that an earlier process has sent, which began at a mark and has sent no event."""
        begun = {one: of for one, of in _marked(mark).items() if one in self._of_tables.values()}
        self._earlier.begun |= begun
        if self._target.exactly_once:
            handed = _handed(mark)
            self._sink.go_on_from({one: handed[one] for one in begun if one in handed})
        elif begun:
            self._earlier.look_for_rows(begun)

    def when_waiting(self, call: Callable[[], None]) -> None:
        self._sink.when_waiting(call)

    def write(self, batch: Batch) -> None:
        timestamp = round(_BEGINNING.timestamp() * 1000) if batch.name in tables() else None
        rest = self._earlier.missing(batch)
        if len(rest):
            self._written[batch.name] += self._sink.write(rest, timestamp=timestamp)

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
        """The ends that were reached, and of tables that follow where the last slice began.

        Events of that slice may be on their way, and its rows come again after a crash.
        """
        mark: dict[str, Any] = {"topics": self._ends.reached() | self._changed.slice_from}
        if self._target.exactly_once:
            handed = {topic: self._sink.handed(topic) for topic in self._topics.values()}
            # What an earlier process has committed behind its position lies where that one says.
            behind = (one for one in handed if handed[one] < self._sink.committed_before(one))
            mark["topics"] |= {one: self._earlier.begun[one] for one in behind}
            mark["handed"] = handed
        return mark

    def written_since(self, mark: Mapping[str, Any]) -> set[bytes]:
        of_tables = {*self._of_tables.values()}
        begun = _marked(mark)
        self._earlier.begun |= begun
        of_rows = {one: begun[one] for one in begun if one in of_tables}
        if isinstance(self._changed, CommittedRows):
            # Of what was sent since then the transactions tell how much there is.
            self._sink.go_on_from(_handed(mark))
            self._sink.go_on_behind(of_tables)
            self._changed.resume(of_rows)
            return set()
        own = self._window.plan, self._window.first_customer
        self._changed.resume(self._sink, of_rows, *own)
        return self._sink.ids_behind(
            {one: begun[one] for one in begun if one not in of_tables}, *own
        )

    def begin_following(self, at: datetime) -> datetime:
        return self._changed.begin(at, resumed=self._window.tables_there)

    def follow(self, changes: Sequence[Batch], until: datetime) -> None:
        with self._changed.slice(until, self._ends.reached()):
            for batch in changes:
                rest = self._changed.missing(batch)
                if rest is not None:
                    self._written[batch.name] += self._sink.write(rest)

    def followed(self, seconds: float) -> bool:
        return self._sink.settle(seconds)

    def verify(self) -> tuple[Check, ...]:
        try:
            self._checks = tuple(self._counted())
        except DatagenError:
            self._checks = ()
            raise
        return self._checks

    def _counted(self) -> Iterator[Check]:
        acknowledged = {
            name: self._found(name) + (one.acknowledged if (one := self._delivery(topic)) else 0)
            for name, topic in self._topics.items()
        }
        moved = self._ends.moved()
        # With acks=0 the last events may arrive after the load, for as long as topics grow.
        end = time.monotonic() + SETTLE
        while time.monotonic() < end and any(moved[one] < acknowledged[one] for one in moved):
            time.sleep(0.1)
            last, moved = moved, self._ends.moved()
            if moved != last:
                end = time.monotonic() + SETTLE
        for name, count in acknowledged.items():
            # Acknowledgements are the proof; offsets also count other producers' records, but
            # records that are not there at all were lost (acks=0 acknowledges nothing).
            by = moved.get(name, 0)
            found = max(min(count, by), 0)
            # Each transaction adds a record of its own to every partition.
            note = f"offsets moved by {by}" if by != count and not self._target.exactly_once else ""
            if name not in moved:
                note = "the topic is gone, deleted while the run went on"
            yield Check(self._topics[name], self._planned(name), found, note)

    def facts(self) -> Mapping[str, Any]:
        there = (
            {}
            if self._window.before is None
            else {"events_there": sum(map(self._found, self._topics))}
        )
        return {
            **there,
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

    def receipt(self) -> dict[str, Any]:
        producer = self._target.producer
        return {
            "bootstrap": producer.bootstrap_servers,
            "cluster": self._sink.cluster_id,
            "registry": without_user(producer.schema_registry_url or "") if producer.avro else None,
            "format": self._sink.format,
            "avro_enums": producer.avro_enums,
            "cloudevents": producer.cloudevents,
            "content_type": producer.content_type,
            "record_timestamp": producer.record_timestamp,
            "engine": self._sink.engine,
            "follows": self._window.tables_at is not None,
            "topics": {
                name: self._topic_receipt(name, topic) for name, topic in self._topics.items()
            },
        }

    def _topic_receipt(self, name: str, topic: str) -> dict[str, Any]:
        delivery = self._delivery(topic)
        begun, there = self._earlier.begun.get(topic, {}), self._earlier.partitions(topic)
        return {
            "topic": topic,
            "schema_id": self._sink.schema_ids.get(topic),
            "acknowledged": self._found(name) + (delivery.acknowledged if delivery else 0),
            "partitions": self._ends.receipt(topic, begun, there, delivery),
        }

    def _found(self, name: str) -> int:
        """Rows of a table or stream that an attempt before has left, as far as is known."""
        return self._earlier.rows(name, self._sending)

    def close(self, error: BaseException | None) -> None:
        self._sink.__exit__(None if error is None else type(error), error, None)

    def settlement(self) -> Delivered:
        topics = tuple(
            settled(topic, self._planned(name), self._delivery(topic), self._found(name))
            for name, topic in self._topics.items()
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
        if by_receipt := self._earlier.unseen:
            # An attempt that was killed may have sent more than its receipt says.
            topics = tuple(replace(one, unknown=one.planned - one.acknowledged) for one in topics)
        return Delivered(KAFKA.name, KAFKA.title, topics, by_receipt)

    def _planned(self, name: str) -> int:
        window = self._window
        if not window.open_ended:
            return window.rows(name)
        there = self._sink.left_out(self._topics[name]) if self._target.exactly_once else 0
        return self._written[name] - there

    def _doubled(self) -> int:
        """Events that may be there twice, in topics that have more than was acknowledged."""
        deliveries = (self._delivery(check.name) for check in self._checks or () if check.note)
        return sum(one.perhaps_twice for one in deliveries if one)

    def _delivery(self, topic: str) -> TopicDelivery | None:
        return self._sink.report().topics.get(topic)

    def _oldest(self, name: str) -> datetime:
        """A time that no event of a stream is before, or no change of a table's row."""
        relation, plan = catalogue()[name], self._window.plan
        if not relation.is_stream:
            return _BEGINNING
        return plan.as_of - timedelta(days=relation.history_days or plan.days)


def _marked(mark: Mapping[str, Any]) -> dict[str, dict[int, int]]:
    """The offsets of a mark, by topic and partition; raises ``ConfigurationError`` where it has none."""
    try:
        found = {
            topic: {int(number): int(offset) for number, offset in partitions.items()}
            for topic, partitions in mark["topics"].items()
        }
        for number, offset in (one for offsets in found.values() for one in offsets.items()):
            if number not in range(1 << 31) or offset not in range(1 << 63):
                raise ValueError(number, offset)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise ConfigurationError(
            "Kafka: the position does not say how far the topics had come; begin a new stream"
        ) from None
    return found


def _handed(mark: Mapping[str, Any]) -> dict[str, int]:
    """The events of each topic before a mark; raises ``ConfigurationError`` where it does not say."""
    try:
        return {topic: int(count) for topic, count in mark["handed"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigurationError(
            "Kafka: the position does not say how many events transactions had committed; begin a new stream"
        ) from None


def settled(
    topic: str, planned: int, delivery: TopicDelivery | None, there: int = 0
) -> TopicSettlement:
    """What became of the planned events of a topic, by its delivery reports; some were ``there`` before."""
    if delivery is None:
        return TopicSettlement(topic, planned, there)
    return TopicSettlement(
        topic,
        planned,
        there + delivery.acknowledged,
        delivery.refused,
        delivery.unknown,
        delivery.perhaps_twice,
    )
