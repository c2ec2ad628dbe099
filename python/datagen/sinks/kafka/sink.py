"""Events into Kafka: topics and schemas are made ready, events encoded, sent and counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self

from ..._core import Batch
from ...errors import (
    ConfigurationError,
    CountingError,
    DatagenError,
    OptionError,
    UnreachableError,
)
from ...presets import ProducerConfig
from ...types import Relation, catalogue
from . import formats, schemas
from .behind import There, begins, ids_behind, rows_behind
from .cluster import TIMEOUT, Cluster
from .end_offsets import EndOffsets
from .event_producer import EventProducer
from .topics import Topic, Topics, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    from ..._core import KeySet, Plan
    from ...presets import EngineName
    from ..base import Order, Window
    from .delivery import DeliveryReport
    from .event_producer import Sending
    from .formats import Format

__all__ = ["KafkaSink"]

_log = logging.getLogger(__name__)


class KafkaSink:
    """Sends event streams, one topic each, and counts the delivery outcome of every event.

    Tables can be sent too, each to a compacted topic whose records are rows by their primary key: what
    is said of a stream and its events here holds for a table and its rows, where nothing else is said.
    They have no CloudEvents headers, and their timestamp is when the row last changed.

    ``with KafkaSink(config) as sink``, then ``send_batch(batch)`` for each batch. Leaving the block
    waits for the acknowledgements and raises if any is missing; after an exception what is still
    queued is dropped instead, so that the exception is not held up.

    Making a sink checks every option and connects to nothing. Raises ``ConfigurationError`` for
    settings and credentials that cannot work, ``UnreachableError`` where no broker answers in time and
    ``RejectedError`` for events that a broker refuses. A sink belongs to one thread at a time.

    With ``acks="0"`` no broker confirms anything: events count as acknowledged once they are sent.

    With a ``transactional_id`` events are sent in Kafka transactions by the engine ``confluent``, each with the number
    of events that it reaches. Another sink of the same id, given the same events in the same order, leaves out those
    that are committed.
    """

    def __init__(
        self, config: ProducerConfig | None = None, *, transactional_id: str | None = None
    ) -> None:
        self._config = config or ProducerConfig()
        for relation in catalogue():
            check_name(self.topic(relation.name))
        self._cluster = Cluster(self._config)
        self._topics = Topics(self._cluster, {self.topic(one.name) for one in catalogue().tables})
        self._end_offsets = EndOffsets(self._cluster)
        self._producer = EventProducer(self._config, self._cluster, transactional_id)
        self._known: dict[str, int] = {}
        self._closed = False
        # By subject. None: events are JSON.
        wants_avro = schemas.check_options(self._config)
        self._schema_ids: dict[str, int] | None = {} if wants_avro else None
        # Topics whose format is known to be that of this sink: new ones, and those that were asked.
        self._compared: set[str] = set()

    def __repr__(self) -> str:
        return f"<KafkaSink {self._cluster.address}>"

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon(error)

    @property
    def config(self) -> ProducerConfig:
        return self._config

    @property
    def engine(self) -> EngineName:
        """The engine that sends."""
        return self._producer.engine.name

    @property
    def format(self) -> Format:
        """The format that the next event is encoded in."""
        return "json" if self._schema_ids is None else "avro"

    @property
    def schema_ids(self) -> dict[str, int]:
        """The id of the schema of each topic that is known by now; empty for JSON."""
        found = self._schema_ids or {}
        return {subject.removesuffix("-value"): ident for subject, ident in found.items()}

    @property
    def confirmed(self) -> bool:
        """Whether brokers confirm events; with ``acks="0"`` none does."""
        return self._config.client.acks != "0"

    def topic(self, stream: str) -> str:
        """The topic that a stream is sent to, or a table."""
        return f"{self._config.topic_prefix}{_relation(stream).topic}"

    def connect(self, timeout: float = TIMEOUT) -> None:
        """Waits until the cluster has answered once, ``timeout`` seconds at most."""
        self._cluster.connect(timeout)

    def create_topics(
        self,
        partitions: Mapping[str, int],
        retention_hours: int | None = 8,
        *,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> tuple[Topic, ...]:
        """Makes the topics that are missing; others stay as they are.

        ``retention_hours`` -1 is without limit, None leaves it to the broker, as
        ``replication_factor`` None leaves the number of replicas. ``config`` are further settings of
        the topics, which win. Topics of tables are compacted, whatever these say, and have no retention.
        Raises ``ConfigurationError`` for topics that events cannot be sent to, or would not stay in.
        """
        made = self._topics.create(partitions, retention_hours, replication_factor, config or {})
        metadata = self._topics.leaders(partitions)
        self._prepare(partitions, metadata, made)
        self._compared.update(made)  # they are empty
        return tuple(Topic(name, self._known[name], name in made) for name in partitions)

    def require_topics(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic; raises ``ConfigurationError`` if one is missing.

        Nothing is created, not even where the broker makes topics as they are asked for. Topics that
        events cannot be sent to, or would not stay in, are refused as by ``create_topics``.
        """
        names = list(topics)
        self._topics.require(names)
        self._prepare(names, self._topics.leaders(names))
        return {name: self._known[name] for name in names}

    def check_event_time(
        self,
        oldest: datetime,
        newest: datetime | None = None,
        *,
        streams: Iterable[str] | None = None,
    ) -> None:
        """Raises ``ConfigurationError`` for topics that delete or refuse events of these times.

        ``streams`` None are all of them. Checked only with ``record_timestamp="event"``. Called before
        topics are created or required, the check is made with them, and no topic that would be
        refused is made. Checked for tables in any case.
        """
        names = [one.name for one in catalogue().streams] if streams is None else streams
        self._topics.check_event_time(map(self.topic, names), oldest, newest)

    def end_offsets(self, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        """The next offset of each partition of the topics that exist.

        The difference of two snapshots is a hint, not a count: other producers and transaction
        markers take offsets too. Asked for by a client of its own, again and again until no further
        one is answered for 30 s. Then it raises ``CountingError`` if events have been sent, whatever the
        cause, for what is acknowledged has arrived all the same.
        """
        try:
            return self._end_offsets.read(topics)
        except DatagenError as error:
            if not self.report().attempted:
                raise
            raise self._producer.add_counts(CountingError(str(error))) from error

    def register_schemas(self, streams: Iterable[str] | None = None) -> dict[str, int]:
        """The ids of the schemas of ``streams`` (all of them by default) by subject.

        Those that the registry lacks are registered. Where no registry is wanted, or none answers
        and the configuration lets events be JSON, they are JSON from here on and the result is
        empty. Done for each stream before its first event if it was not called. Raises as
        ``check_formats`` does, once the sink is connected.
        """
        names = [one.name for one in catalogue().streams] if streams is None else list(streams)
        found: dict[str, int] | None = {}
        if self._schema_ids is not None:
            by_subject = {
                self._subject(name): schemas.avro_schema(_relation(name), self._config.avro_enums)
                for name in names
            }
            found = schemas.register(self._config, by_subject)
            if found is None and self._schema_ids:
                raise UnreachableError(
                    "The Schema Registry was lost between two streams. Start it, or send JSON with "
                    "--no-avro."
                )
            self._schema_ids = None if found is None else {**self._schema_ids, **found}
        self.check_formats(topic for topic in map(self.topic, names) if topic in self._known)
        if found is None:
            schemas.warn(self._config)
        return found or {}

    def check_formats(self, topics: Iterable[str]) -> None:
        """Raises ``ConfigurationError`` where events would be of another format than ``topics`` hold.

        Only where the configuration leaves the format open: JSON since no registry answered at the
        default address, or Avro since one did. A format that was chosen is mixed in with a warning.
        Topics that the user may not read, and those that this sink has created, are not compared.
        """
        asked = [topic for topic in topics if topic not in self._compared]
        if not asked:
            return
        formats.check(asked, self.format, self._config, self._cluster.events)
        self._compared.update(asked)

    def delete(self, streams: Iterable[str]) -> None:
        """Deletes the topics of ``streams``, with all that is in them, and their subjects.

        Those that are missing are no error.
        """
        names = list(streams)
        try:
            if self._schema_ids is not None:
                schemas.delete(self._config, map(self._subject, names))
        finally:
            topics = [self.topic(name) for name in names]
            self._topics.delete(topics)
            for topic in topics:
                self._known.pop(topic, None)

    def send(self, stream: str, event: Mapping[str, Any]) -> None:
        """Sends one event, given as the values of its fields. For many, ``send_batch``."""
        self.send_batch(Batch.from_rows(stream, [event]))

    def write(self, batch: Batch, *, timestamp: int | None = None) -> int:
        """Sends a batch as ``send_batch`` does; how many events it had."""
        self.send_batch(batch, timestamp=timestamp)
        return len(batch)

    def when_waiting(self, call: Callable[[], None]) -> None:
        """Has ``send_batch`` call this ten times a second while the queue is full.

        What it raises breaks ``send_batch`` off, and some of the batch may have been queued.
        """
        self._producer.when_waiting = call

    def send_batch(self, batch: Batch, *, timestamp: int | None = None) -> None:
        """Queues every event of a batch; the engine sends them on its own time.

        With ``timestamp``, in milliseconds, all records bear that and not a time of their own.

        Waits for capacity while the queue is full. Raises for failures of earlier events.
        """
        topic = self.topic(batch.name)
        self._closed = False
        if topic not in self._known:
            self.require_topics([topic])
        self._producer.send(batch, topic, self._schema_id(batch.name), timestamp=timestamp)

    def begin_plan(
        self,
        plan: Plan,
        parents: Callable[[str], list[KeySet]],
        workers: int,
        first_customer: int = 0,
        *,
        order: Order = "time",
        there: KeySet | None = None,
    ) -> Sending:
        """Begins to make all events of ``plan`` by so many threads, and sends them on ``finish``.

        ``with sink.begin_plan(…) as sending``, then ``sending.finish(…)``. Every event is checked
        against the keys that ``parents`` gives for its stream, one set for each foreign key. Events
        made before ``finish`` wait in the queue; those of earlier calls are waited for here. ``order``
        is that of events in each partition. Events whose ids are ``there`` are not sent. Only the native engine can do
        this.
        """
        names = [stream.name for stream in catalogue().streams]
        if unknown := [topic for topic in map(self.topic, names) if topic not in self._known]:
            self.require_topics(unknown)
        # Schemas first, so that the last of them cannot be missing when events of another are sent.
        topics = {name: (self.topic(name), self._schema_id(name)) for name in names}
        return self._producer.begin_plan(
            plan, topics, parents, workers, first_customer, order=order, there=there
        )

    def report(self) -> DeliveryReport:
        """The delivery outcomes of the events so far, as far as acknowledgements have come in.

        Without those of a plan that were made and never sent. After the sink is closed, or left by an
        exception, it is the final one.
        """
        return self._producer.report()

    def flush(self, timeout: float | None = None) -> DeliveryReport:
        """Waits until every event is acknowledged or given up, and raises unless all arrived.

        Waits as long as acknowledgements come, and gives up once none has for ``timeout`` seconds, by
        default ``flush_timeout`` of what was sent.
        """
        return self._producer.flush(timeout)

    def settle(self, seconds: float) -> bool:
        """Whether every event is acknowledged, after so many seconds at most.

        Does not give up, as ``flush`` does, while no acknowledgement comes; raises once an event has
        failed.
        """
        return self._producer.settle(seconds)

    def committed_before(self, topic: str) -> int:
        """Events of a topic that an earlier process has committed under the same transactional id."""
        return self._producer.committed_before(topic)

    def handed(self, topic: str) -> int:
        """Events of a topic that were handed over under the transactional id, by whichever process."""
        return self._producer.transactional.handed(topic)

    def left_out(self, topic: str) -> int:
        """Events of a topic that this sink was given, and that were committed before."""
        return self._producer.transactional.left_out(topic)

    def go_on_from(self, handed: Mapping[str, int]) -> None:
        """Has the next event of each topic be the one behind so many of the transactional id.

        Raises ``ConfigurationError`` where fewer are committed.
        """
        self._producer.transactional.go_on_from(handed)

    def go_on_behind(self, topics: Iterable[str]) -> None:
        """Has no row of these topics be one that was committed under the transactional id before."""
        self._producer.transactional.go_on_behind(topics)

    def changes_before(self, topics: Iterable[str]) -> int | None:
        """The milliseconds before which all changes of tables in these topics are committed, as they followed a stream."""
        return self._producer.transactional.changes_before(topics)

    def follow(self, topics: Iterable[str], reached: int) -> None:
        """Has tables in these topics follow a stream under the transactional id: all changes before ``reached`` are there.

        Returns once the next process would find that.
        """
        self._producer.transactional.follow(topics, reached)
        self.flush()

    def slice(self, until: int) -> AbstractContextManager[None]:
        """A block whose rows are committed together, with the instant before which all changes are there by then."""
        return self._producer.transactional.slice(until)

    def begin_at(self, ends: Mapping[str, Mapping[int, int]]) -> Mapping[str, Mapping[int, int]]:
        """Says where topics end before the first event; where they did for the first process of the transactional id."""
        return self._producer.begin_at(ends)

    @property
    def last_error(self) -> str:
        """The last error of a broker, or an empty text."""
        return self._producer.engine.last_error

    def ids_behind(
        self, offsets: Mapping[str, Mapping[int, int]], plan: Plan, first: int = 0
    ) -> set[bytes]:
        """The ids, as text, of events at and behind these offsets that are of a plan's customers from ``first`` on.

        Raises ``ConfigurationError`` where a partition has fewer records than that.
        """
        streams = {self.topic(one.name): one.name for one in catalogue().streams}
        relations = {topic: streams[topic] for topic in offsets}
        return ids_behind(self._cluster, offsets, self.end_offsets(offsets), relations, plan, first)

    def there(
        self,
        window: Window,
        names: Mapping[str, str],
        offsets: Mapping[str, Mapping[int, int]] | None,
    ) -> There:
        """What topics hold of a window, from the offsets on at which an earlier attempt began.

        ``names`` has the table or stream of each topic; without ``offsets`` topics are read whole. Raises
        ``ConfigurationError`` where a partition has fewer records than that, or where records behind these offsets
        have been deleted, so that nobody knows what was there.
        """
        partitions = {topic: range(self._known[topic]) for topic in names}
        for topic, of in (offsets or {}).items():
            if len(of) != self._known[topic]:
                raise ConfigurationError(
                    f"Kafka topic {topic} had {len(of)} partitions as the run began, and has {self._known[topic]}: keys "
                    "would be in other partitions than before"
                )
        since = "the run began at" if offsets else "what is there is looked for from"
        wanted = offsets or {topic: dict.fromkeys(of, 0) for topic, of in partitions.items()}
        self.check_log_start(wanted, since)
        there = There(window, names)
        there.read(self._cluster, wanted, lambda: self.end_offsets(names))
        return there

    def check_log_start(self, offsets: Mapping[str, Mapping[int, int]], since: str) -> None:
        """Raises ``ConfigurationError`` where records behind these offsets have been deleted."""
        begin = begins(self._cluster, offsets)
        for topic, of in offsets.items():
            for number, offset in of.items():
                if begin[topic][number] > offset:
                    raise ConfigurationError(
                        f"Kafka topic {topic}, partition {number}: records were deleted up to offset "
                        f"{begin[topic][number]}, and {since} {offset}: what is missing cannot be told from "
                        f"what was deleted ({begin[topic][number] - offset:,} offsets). Delete the topics, and load anew; "
                        "or raise their retention before the next load (--retention-hours)"
                    )

    @property
    def cluster_id(self) -> str | None:
        """How the cluster calls itself, once it has answered; None where it does not."""
        return self._cluster.ident

    def rows_behind(
        self, offsets: Mapping[str, Mapping[int, int]], plan: Plan, first: int = 0
    ) -> dict[str, dict[bytes, int]]:
        """The keys of these customers' rows at and behind these offsets of tables' topics, and when each last changed.

        Times are in milliseconds. Raises as ``ids_behind`` does.
        """
        tables = {self.topic(one.name): one.name for one in catalogue().tables}
        return rows_behind(self._cluster, offsets, self.end_offsets(offsets), tables, plan, first)

    def close(self) -> DeliveryReport:
        """Flushes and disconnects; does nothing the second time."""
        try:
            return self.report() if self._closed else self.flush()
        finally:
            self._disconnect()

    def _prepare(self, topics: Iterable[str], metadata: Any, made: Iterable[str] = ()) -> None:
        """Makes sure that events can be sent to topics, and that the engine knows their limits."""
        names = list(topics)
        self._end_offsets.wait_for_leaders(names, metadata)
        self._topics.check(names, metadata, made)
        limits = {
            name: settings.max_message_bytes
            for name, settings in self._topics.settings.items()
            if settings.max_message_bytes is not None
        }
        self._producer.find(names, limits)
        self._known |= {name: len(metadata.topics[name].partitions) for name in names}

    def _schema_id(self, stream: str) -> int | None:
        if self._schema_ids is not None and self._subject(stream) not in self._schema_ids:
            self.register_schemas([stream])
        if self._config.may_be_json and self._config.avro:  # the format is open
            self.check_formats([self.topic(stream)])
        return None if self._schema_ids is None else self._schema_ids[self._subject(stream)]

    def _subject(self, stream: str) -> str:
        return f"{self.topic(stream)}-value"

    def _abandon(self, error: BaseException | None) -> None:
        try:
            self._producer.abandon()
        finally:
            self._disconnect()
            if isinstance(error, DatagenError):
                # One end has one set of figures: those after it.
                self._producer.add_counts(error)

    def _disconnect(self) -> None:
        self._closed = True
        self._known.clear()
        self._producer.close()
        self._end_offsets.close()
        self._cluster.disconnect()


def _relation(name: str) -> Relation:
    for relation in catalogue():
        if relation.name == name:
            return relation
    raise OptionError("stream", name, "one of " + ", ".join(one.name for one in catalogue()))
