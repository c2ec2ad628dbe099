"""The Kafka stage of a load: all streams, a topic each, and if asked for all tables."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ..._core import Batch
from ..._secrets import without_user
from ...errors import ConfigurationError, DatagenError, OptionError
from ...presets import ProducerConfig
from ...settlement import Delivered, TopicSettlement
from ...types import catalogue
from ..base import Check, Contents, Sink, Stage, streams, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..base import Transfer, Window
    from .behind import There
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
    again goes on behind the last one that was committed: readers of committed records find each event once.
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

        producer = target.producer
        said = (window.before or {}).get(KAFKA.name, {}).get("format")
        if said is not None:
            # What an attempt has begun with is gone on with, whether a registry answers by now or not.
            producer = replace(producer, avro=said == "avro")
        self._target = target
        self._window = window
        if target.exactly_once and window.open_ended:
            raise OptionError("exactly_once", True, "it for a load; a stream goes on with --resume")
        self._sink = KafkaSink(
            producer,
            transactional_id=_identity(target, window) if target.exactly_once else None,
        )
        # Rows of tables are no events.
        self.stage = replace(KAFKA, unit="records") if target.master_topics else KAFKA
        self.relations = target.relations
        self._topics = {name: self._sink.topic(name) for name in self.relations}
        #: By topic and partition, where there is one.
        self._ends_before: dict[str, dict[int, int]] = {}
        #: The same after it, once that was counted, and where an earlier process has begun what this one goes on with.
        self._ends_after: dict[str, dict[int, int]] = {}
        self._begun_before: dict[str, dict[int, int]] = {}
        self._written = dict.fromkeys(self.relations, 0)
        #: Of an earlier process: by topic, the keys of rows behind its mark, and when each last changed.
        self._rows_there: dict[str, dict[bytes, int]] = {}
        #: Where each table's topic was as the slice began whose rows were written last.
        self._slice_from: dict[str, Any] = {}
        #: With an attempt before: what it has left, and how many rows of each topic have been left out for it.
        self._there: There | None = None
        self._left_out = dict.fromkeys(self.relations, 0)
        self._passed = dict.fromkeys(self.relations, 0)
        self._looked = False
        self._sending: Sending | None = None
        if window.before:
            self._take_over(window.before.get(KAFKA.name, {}))
        #: None before they were made; empty where they could not be.
        self._checks: tuple[Check, ...] | None = None

    def _take_over(self, receipt: Mapping[str, Any]) -> None:
        """Takes note of where an attempt before began; refuses one that has sent to other topics, or otherwise."""
        for name, one in receipt.get("topics", {}).items():
            if name not in self._topics or one["topic"] != self._topics[name]:
                raise ConfigurationError(
                    f"The earlier attempt has sent {name} to topic {one['topic']}, and this one would not; check "
                    "--topic-prefix and --master-topics"
                )
            begun = {int(number): int(part["first"]) for number, part in one["partitions"].items()}
            if begun:
                self._begun_before[one["topic"]] = begun
        for made in ("avro_enums", "cloudevents", "content_type", "record_timestamp"):
            now = getattr(self._target.producer, made)
            if receipt.get(made, now) != now:
                raise ConfigurationError(
                    f"The earlier attempt has sent records with {made}={receipt[made]}, and this one would with {now}"
                )

    def open(self) -> None:
        self._sink.connect()
        receipt = (self._window.before or {}).get(KAFKA.name, {})
        before, now = receipt.get("cluster"), self._sink.cluster_id
        if before and now and before != now:
            raise ConfigurationError(
                f"Kafka at {self._target.producer.bootstrap} is the cluster {now}, and the earlier attempt has sent to "
                f"{before} ({receipt.get('bootstrap')}); check --kafka-bootstrap"
            )

    def nothing_sent(self) -> None:
        # Where a receipt says that it began, the topics are looked at all the same.
        self._looked = not self._begun_before

    def _look(self) -> None:
        """Finds out, once, what an attempt before has left."""
        if self._looked or self._window.before is None or self._target.exactly_once:
            # The position of transactions says what is there.
            return
        self._looked = True
        # A receipt that does not say where it began may be older than what another process has sent since.
        names = {topic: name for name, topic in self._topics.items()}
        there = self._sink.there(self._window, names, self._begun_before or None)
        self._there = there
        if not self._begun_before:
            ends = self._sink.end_offsets(names)
            self._begun_before = {
                topic: ends[topic] | there.first.get(topic, {}) for topic in names
            }
        _log.info("Kafka: %d records are there, and stay", len(there.ids))

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
        self._look()
        self._sending = self._sink.begin_plan(
            window.plan,
            window.parents,
            window.workers,
            window.first_customer,
            order=window.order,
            there=self._there.ids if self._there else None,
        )
        return self._sending

    def begin(self) -> None:
        self._look()
        ends = self._sink.end_offsets(self._topics.values())
        if self._target.exactly_once:
            begun = self._sink.begin_at(ends)
            self._sink.check_log_start(
                {topic: of for topic, of in begun.items() if self._sink.committed_before(topic)},
                "the run began at",
            )
            self._begun_before = {topic: dict(offsets) for topic, offsets in begun.items()}
        # Counted is what all attempts have sent.
        self._ends_before = ends | self._begun_before if self._goes_on else ends

    def when_waiting(self, call: Callable[[], None]) -> None:
        self._sink.when_waiting(call)

    def write(self, batch: Batch) -> None:
        timestamp = round(_BEGINNING.timestamp() * 1000) if batch.name in tables() else None
        rest = batch if self._there is None else self._there.ids.missing(batch)
        self._passed[batch.name] += len(batch)
        self._left_out[batch.name] += len(batch) - len(rest)
        if len(rest):
            self._written[batch.name] += self._sink.write(rest, timestamp=timestamp)

    @property
    def _goes_on(self) -> bool:
        """Whether an attempt before has left something."""
        return self._there is not None or any(
            map(self._sink.committed_before, self._topics.values())
        )

    def _found(self, name: str) -> int:
        """Rows of a table or stream that an attempt before has left, as far as is known."""
        if self._target.exactly_once:
            return self._sink.committed_before(self._topics[name])
        if self._there is None:
            return 0
        passed, left_out = self._passed[name], self._left_out[name]
        if self._sending is not None and name in streams():
            sent, left_out = self._sending.made[name]
            passed = sent + left_out
        if passed == self._window.rows(name):
            return left_out
        return min(
            sum(self._there.counts.get(self._topics[name], {}).values()), self._planned(name)
        )

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
        all that is written from now on. Of tables that follow, it is where the slice begins whose rows
        were written last: events of it may be on their way, and its rows come again after a crash.
        """
        return {"topics": self._reached() | self._slice_from}

    def _reached(self) -> dict[str, dict[str, int]]:
        acknowledged = self._sink.report().topics
        ends: dict[str, dict[str, int]] = {}
        for topic, partitions in self._ends_before.items():
            sent = acknowledged[topic].partitions if topic in acknowledged else {}
            ends[topic] = {
                str(number): end + (sent[number].acknowledged if number in sent else 0)
                for number, end in partitions.items()
            }
        return ends

    def written_since(self, mark: Mapping[str, Any]) -> set[bytes]:
        of_tables = {self._topics[name] for name in self.relations if name in tables()}
        found: tuple[dict[str, dict[int, int]], ...] = ({}, {})
        for topic, offsets in _marked(mark).items():
            self._begun_before[topic] = offsets
            found[topic in of_tables][topic] = offsets
            if topic in of_tables:
                self._slice_from[topic] = {str(number): at for number, at in offsets.items()}
        of_events, of_rows = found
        own = self._window.plan, self._window.first_customer
        self._rows_there = self._sink.rows_behind(of_rows, *own) if of_rows else {}
        return self._sink.ids_behind(of_events, *own)

    def begin_following(self, at: datetime) -> datetime:
        first = round(at.timestamp() * 1000)
        for topic, rows in self._rows_there.items():
            # What has changed before does not come again.
            self._rows_there[topic] = {key: time for key, time in rows.items() if time >= first}
        return at

    def follow(self, changes: Sequence[Batch], until: datetime) -> None:  # noqa: ARG002
        reached = self._reached()
        for name, topic in self._topics.items():
            # As long as a row of an earlier process may come again, it is looked for from where that was.
            if name in tables() and topic in reached and not self._rows_there.get(topic):
                self._slice_from[topic] = reached[topic]
        for batch in changes:
            there = self._rows_there.get(self._topics[batch.name])
            rest = _later(batch, there) if there else batch
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
        moved = self._moved()
        # With acks=0 the last events may arrive after the load, for as long as topics grow.
        end = time.monotonic() + SETTLE
        while time.monotonic() < end and any(moved[one] < acknowledged[one] for one in moved):
            time.sleep(0.1)
            last, moved = moved, self._moved()
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
        """The last offsets are those at the end of the run, of other producers' records too."""
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
        before, ends = self._ends_before.get(topic, {}), self._ends_after.get(topic, {})
        sent = delivery.partitions if delivery else {}
        first = {**before, **self._begun_before.get(topic, {})}
        there = self._there.counts.get(topic, {}) if self._there else {}
        return {
            "topic": topic,
            "schema_id": self._sink.schema_ids.get(topic),
            "acknowledged": self._found(name) + (delivery.acknowledged if delivery else 0),
            "partitions": {
                str(number): {
                    "first": first[number],
                    "last": ends[number] - 1 if ends.get(number, 0) > first[number] else None,
                    "acknowledged": there.get(number, 0)
                    + (sent[number].acknowledged if number in sent else 0),
                }
                for number in sorted(first)
            },
        }

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
        return Delivered(KAFKA.name, KAFKA.title, topics)

    def _planned(self, name: str) -> int:
        window = self._window
        return self._written[name] if window.open_ended else window.rows(name)

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

    def _ends(self) -> dict[str, int]:
        """The ends of all partitions of each topic, together, where there is one."""
        self._ends_after = ends = self._sink.end_offsets(self._topics.values())
        return {
            name: sum(ends[topic].values()) for name, topic in self._topics.items() if topic in ends
        }

    def _moved(self) -> dict[str, int]:
        """By how much the end of each topic has moved."""
        before = self._ends_before
        return {
            name: end - sum(before.get(self._topics[name], {}).values())
            for name, end in self._ends().items()
        }


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


def _later(batch: Batch, there: dict[bytes, int]) -> Batch | None:
    """The rows that have changed since they were written last; what is there of the others is forgotten."""
    relation = catalogue()[batch.name]
    times = memoryview(batch.column(relation.time))
    rows = []
    for row, key in enumerate(batch.text(relation.key)):
        if times[row] >= (last := there.get(key, -1)):
            there.pop(key, None)
        if times[row] > last:
            rows.append(batch.row(row))
    return Batch.from_rows(batch.name, rows) if rows else None


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


def _identity(target: KafkaTarget, window: Window) -> str:
    """The transactional id of a load, under which it goes on: the same for the same events in the same order."""
    plan = window.plan
    producer = target.producer
    said = [
        *(producer.avro, producer.avro_enums, producer.cloudevents, producer.content_type),
        producer.record_timestamp,
        *(
            producer.topic_prefix,
            plan.seed,
            plan.customers,
            window.first_customer,
            plan.days,
        ),
        *(
            plan.as_of.isoformat(),
            sorted((plan.labels or {}).items()),
            window.order,
            catalogue().version,
        ),
    ]
    digest = hashlib.sha256(repr(said).encode()).hexdigest()[:16]
    return f"{producer.topic_prefix}datagen-{digest}"
