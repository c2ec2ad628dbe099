"""Events into Kafka: encoded by the core, sent by one of two engines, counted one by one."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from ..._core import Batch
from ...errors import (
    ConfigurationError,
    CountingError,
    DatagenError,
    OptionError,
    RejectedError,
    UnreachableError,
)
from ...presets import ProducerConfig
from ...types import Relation, catalogue
from . import formats, schemas
from .cluster import TIMEOUT, Cluster
from .confluent import ConfluentEngine
from .delivery import DeliveryReport, Stalled, TopicDelivery
from .librdkafka import hint, kind_of
from .native import NativeEngine, UnsupportedError
from .offsets import Ends
from .topics import Topic, Topics, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from types import TracebackType

    from ..._core import KeySet, Plan

__all__ = ["KafkaSink", "Sending", "flush_timeout"]

_log = logging.getLogger(__name__)

#: Seconds for answers of a broker to requests in flight when a run breaks off.
_GRACE: Final = 0.8
#: Seconds between two looks at what a run in the background does.
_TURN: Final = 0.1
#: How the note of an error begins that says what was acknowledged.
_NOTE: Final = "acknowledged: "
#: What failed, by weight: refused data says more than a user who may not, or a broker that is away.
_WEIGHT: Final[tuple[type[DatagenError], ...]] = (
    RejectedError,
    ConfigurationError,
    UnreachableError,
)


def flush_timeout(events: int) -> float:
    """Seconds without an acknowledgement that end a load: 30, 1 for each 10 000 events, up to 300."""
    return min(30.0 + events / 10_000, 300.0)


class KafkaSink:
    """Sends event streams, one topic each, and counts what became of every event.

    ``with KafkaSink(config) as sink``, then ``send_batch(batch)`` for each batch. Leaving the block
    waits for the acknowledgements and raises if any is missing; after an exception what is still
    queued is dropped instead, so that the exception is not held up.

    Making a sink checks every option and connects to nothing. Raises ``ConfigurationError`` for
    settings and credentials that cannot work, ``UnreachableError`` where nobody answers in time and
    ``RejectedError`` for events that a broker refuses. A sink belongs to one thread at a time.

    With ``acks="0"`` nobody confirms anything: events count as acknowledged once they are sent.
    """

    def __init__(self, config: ProducerConfig | None = None) -> None:
        self._config = config or ProducerConfig()
        for stream in catalogue().streams:
            check_name(self.topic(stream.name))
        self._cluster = Cluster(self._config)
        self._topics = Topics(self._cluster)
        self._ends = Ends(self._cluster)
        self._engine = _engine(self._config, self._cluster)
        self._known: dict[str, int] = {}
        self._closed = False
        self._sending: Sending | None = None
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
    def engine(self) -> Literal["native", "confluent"]:
        """Who sends."""
        return self._engine.name

    @property
    def format(self) -> Literal["avro", "json"]:
        """What the next event is encoded as."""
        return "json" if self._schema_ids is None else "avro"

    @property
    def confirmed(self) -> bool:
        """Whether brokers confirm events; with ``acks="0"`` none does."""
        return self._cluster.acks != "0"

    def topic(self, stream: str) -> str:
        """The topic that a stream is sent to."""
        return f"{self._config.topic_prefix}{_relation(stream).name}"

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
        the topics, which win. Raises ``ConfigurationError`` for topics that events cannot be sent to,
        or would not stay in.
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
        refused is made.
        """
        names = [one.name for one in catalogue().streams] if streams is None else streams
        self._topics.check_event_time(map(self.topic, names), oldest, newest)

    def end_offsets(self, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        """The next offset of each partition of the topics that exist.

        The difference of two snapshots is a hint, not a count: other producers and transaction
        markers take offsets too. Asked for by a client of its own, again and again until no further
        end is told for 30 s. Then it raises ``CountingError`` if events have been sent, whatever the
        cause, for what is acknowledged has arrived all the same.
        """
        try:
            return self._ends.read(topics)
        except DatagenError as error:
            if not self.report().attempted:
                raise
            raise self._counted(CountingError(str(error))) from error

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
            by_subject = {self._subject(name): _relation(name).avro_schema for name in names}
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
        found = formats.formats_of(asked, self._config, self._cluster.events, TIMEOUT)
        other: Literal["avro", "json"] = "json" if self.format == "avro" else "avro"
        mixing = [topic for topic in asked if other in found.get(topic, ())]
        one = len(mixing) == 1
        mixed = f"{'Topic' if one else 'Topics'} {', '.join(mixing)} {'holds' if one else 'hold'}"
        chosen = not self._config.may_be_json or not self._config.avro
        if mixing and other == "avro" and not chosen:
            raise ConfigurationError(
                f"{mixed} Avro; --no-avro to mix. No Schema Registry answers at "
                f"{self._config.schema_registry_url}: start it, or name another by "
                "--schema-registry."
            )
        if mixing and other == "json" and not chosen:
            raise ConfigurationError(
                f"{mixed} JSON; --no-avro to go on with it. A Schema Registry answers at "
                f"the default address: --schema-registry {self._config.schema_registry_url} to mix."
            )
        if mixing:
            held, sent = ("Avro", "JSON") if other == "avro" else ("JSON", "Avro")
            _log.warning("%s %s; %s is added.", mixed, held, sent)
        self._compared.update(asked)

    def delete(self, streams: Iterable[str]) -> None:
        """Deletes the topics of ``streams``, with all that is in them, and their subjects.

        What is not there is no error.
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

    def write(self, batch: Batch) -> int:
        """Sends a batch; how many events it had."""
        self.send_batch(batch)
        return len(batch)

    def send_batch(self, batch: Batch) -> None:
        """Hands every event of a stream's batch to the engine, which sends them on its own time.

        Waits for room while the engine's queue is full. Raises for failures of earlier events.
        """
        topic = self.topic(batch.name)
        self._closed = False
        if topic not in self._known:
            self.require_topics([topic])
        schema_id = self._schema_id(batch.name)
        self._stop_on_failure()
        with self._counting():
            try:
                self._engine.send(batch, topic, schema_id)
            except Stalled as stalled:
                raise self._incomplete(stalled.when) from None

    def begin_plan(
        self,
        plan: Plan,
        parents: Callable[[str], list[KeySet]],
        workers: int,
        first_customer: int = 0,
    ) -> Sending:
        """Begins to make all events of ``plan`` by so many threads, and sends them once told to.

        ``with sink.begin_plan(…) as sending``, then ``sending.finish(…)``. Every event is checked
        against the keys that ``parents`` gives for its stream, one set for each foreign key. What
        is made before ``finish`` waits in the queue; what was sent before is waited for here. Only
        the native engine can do this.
        """
        if not isinstance(self._engine, NativeEngine):
            raise TypeError("the engine confluent takes batches only")
        names = [stream.name for stream in catalogue().streams]
        if unknown := [topic for topic in map(self.topic, names) if topic not in self._known]:
            self.require_topics(unknown)
        # What is still on its way would be held too.
        before = self.flush()
        # Schemas first, so that the last of them cannot be missing when events of another are sent.
        topics = {name: (self.topic(name), self._schema_id(name)) for name in names}
        sending = self._engine.send_plan(plan, topics, parents, workers, first_customer)
        self._sending = Sending(self._engine, sending, before, self._stop_on_failure)
        return self._sending

    def report(self) -> DeliveryReport:
        """What became of the events so far, as far as acknowledgements have come in.

        Without those of a plan that were made and never sent. After the sink is closed, or left by an
        exception, it is the final one.
        """
        return self._sending.report() if self._sending else self._engine.report()

    def flush(self, timeout: float | None = None) -> DeliveryReport:
        """Waits until every event is acknowledged or given up, and raises unless all arrived.

        Waits as long as acknowledgements come, and gives up once none has for ``timeout`` seconds, by
        default ``flush_timeout`` of what was sent.
        """
        report = self._engine.report()
        wait = flush_timeout(report.attempted) if timeout is None else timeout
        if not report.complete:
            _log.info("Kafka: waiting for acknowledgements, %.3g s at most without any", wait)
        quiet_since, settled = time.monotonic(), -1
        with self._counting():
            while not self._flushed(min(_TURN, wait)):
                report = self._engine.report()
                now = time.monotonic()
                done = sum(one.attempted - one.pending for one in report.topics.values())
                if done != settled:
                    quiet_since, settled = now, done
                elif now - max(quiet_since, self._engine.throttled_until) >= wait:
                    raise self._incomplete(f" for {wait:.3g} s")
        report = self._engine.report()
        if not report.complete:
            raise self._incomplete()
        return report

    def close(self) -> DeliveryReport:
        """Flushes and disconnects; does nothing the second time."""
        try:
            return self.report() if self._closed else self.flush()
        finally:
            self._disconnect()

    def _prepare(self, topics: Iterable[str], metadata: Any, made: Iterable[str] = ()) -> None:
        """Makes sure that events can be sent to topics, and tells the engine what they take."""
        names = list(topics)
        self._ends.reach(names, metadata)
        self._topics.check(names, metadata, made)
        self._find(names)
        self._known |= {name: len(metadata.topics[name].partitions) for name in names}

    def _flushed(self, seconds: float) -> bool:
        """Whether nothing is left to wait for, after so many seconds at most."""
        try:
            return self._engine.flush(seconds)
        except DatagenError:
            # What the client meets after the last acknowledgement takes nothing back.
            if self._engine.report().complete:
                return True
            raise

    def _find(self, topics: list[str]) -> None:
        """Has the engine find the leaders of topics, once it knows what the topics take."""
        for name, settings in self._topics.settings.items():
            if settings.max_message_bytes is not None:
                self._engine.limit(name, settings.max_message_bytes)
        try:
            self._engine.find(topics)
        except UnsupportedError as why:
            if self._engine.report().attempted:
                raise
            self._engine.close()
            self._engine = _instead(self._config, self._cluster, why)
            self._find(topics)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Has errors say how many events were acknowledged when they were raised."""
        try:
            yield
        except DatagenError as error:
            self._counted(error)
            raise

    def _counted(self, error: DatagenError) -> DatagenError:
        """``error``, with the report as it is now as its ``delivery`` and as a note."""
        report = self.report()
        if report.attempted:
            notes = getattr(error, "__notes__", [])
            notes[:] = [note for note in notes if not note.startswith(_NOTE)]
            error.delivery = report
            error.add_note(f"{_NOTE}{report}")
        return error

    def _schema_id(self, stream: str) -> int | None:
        if self._schema_ids is not None and self._subject(stream) not in self._schema_ids:
            self.register_schemas([stream])
        if self._config.may_be_json and self._config.avro:  # the format is open
            self.check_formats([self.topic(stream)])
        return None if self._schema_ids is None else self._schema_ids[self._subject(stream)]

    def _subject(self, stream: str) -> str:
        return f"{self.topic(stream)}-value"

    def _stop_on_failure(self) -> None:
        # One event that failed fails the run, so there is no point in sending on.
        if self._engine.has_failures:
            raise self._incomplete()

    def _abandon(self, error: BaseException | None) -> None:
        """Drops what is queued, and gives answers of the broker a moment."""
        try:
            with suppress(DatagenError):  # the exception that got us here says more
                _log.info("Kafka: dropping the queue; %g s for the last answers", _GRACE)
                self._engine.abandon(_GRACE)
        finally:
            self._disconnect()
            if isinstance(error, DatagenError):
                # One end has one set of figures: those after it.
                self._counted(error)

    def _disconnect(self) -> None:
        self._closed = True
        self._known.clear()
        self._engine.close()
        self._ends.close()
        self._cluster.disconnect()

    def _incomplete(self, when: str = "") -> DatagenError:
        """The exception for events that did not arrive, which says why."""
        return self._counted(self._why_incomplete(when))

    def _why_incomplete(self, when: str) -> DatagenError:
        report = self._engine.report()
        if self._engine.failure:
            name, text = self._engine.failure
            return self._cluster.failed(name, text)
        cause = f" Last error: {self._engine.cause}." if self._engine.cause else ""
        failed = [(one, name) for one in report.topics.values() for name in one.failed]
        if not any(kind_of(name) is RejectedError for _, name in failed):
            unsettled = [one.topic for one in report.topics.values() if not _settled(one)]
            if absent := self._cluster.absent(unsettled):
                return self._cluster.deleted(absent)
        if failed:
            topic, name = min(failed, key=lambda one: _WEIGHT.index(kind_of(one[1])))
            if (kind := kind_of(name)) is not UnreachableError:
                advice = hint(name, topic.topic, self._config)
                return kind(
                    f"Kafka at {self._cluster.address} refused events of topic {topic.topic}: {name}"
                    f"{f'; {advice}' if advice else ''}.{cause}"
                )
        late = next((one for one in report.topics.values() if not _settled(one)), None)
        if late is None:
            return UnreachableError(
                f"Kafka at {self._cluster.address} was not sent all events.{cause}"
            )
        names = [name for name in late.failed if not name.startswith("_PURGE")]
        why = f": {names[0]}" if names else ""
        advice = hint(names[0], late.topic, self._config) if names else ""
        return UnreachableError(
            f"Kafka at {self._cluster.address} did not acknowledge events of topic {late.topic}"
            f"{when}{why}{f'; {advice}' if advice else ''}.{cause}"
        )


class Sending:
    """The events of a plan on their way, by threads in the background.

    Leaving the block before ``finish`` has returned makes and sends no more.
    """

    def __init__(
        self,
        engine: NativeEngine,
        sending: Any,
        before: DeliveryReport,
        check: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._sending = sending
        self._before = before
        self._check = check
        self._began = time.perf_counter()
        self._opened = False

    def report(self) -> DeliveryReport:
        """What became of the events, without those that were made and never sent."""
        return self._engine.report() if self._opened else self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sending.cancel()
        if not self._opened:
            self._engine.discard()

    def finish(self, progress: Callable[[int], None]) -> dict[str, tuple[int, float]]:
        """Sends, and returns once all events are handed over; how many of each stream, and when.

        ``progress`` is told how many were handed over since it was told last. The seconds count
        from here to the last event of a stream. Raises ``ReferentialIntegrityError`` for an event
        whose parent is not known, and as ``flush`` does for events that failed.
        """
        before, held = 0, time.perf_counter() - self._began
        self._check()
        self._opened = True
        self._engine.open()
        while True:
            done = self._sending.wait(_TURN)
            total = sum(self._sending.sent().values())
            progress(total - before)
            before = total
            if not (done and self._engine.report().complete):
                self._check()
            if done:
                sent, seconds = self._sending.sent(), self._sending.seconds()
                names = (stream.name for stream in catalogue().streams)
                return {name: (sent[name], max(seconds[name] - held, 0)) for name in names}


def _engine(config: ProducerConfig, cluster: Cluster) -> NativeEngine | ConfluentEngine:
    if config.engine != "confluent":
        try:
            return NativeEngine(config, cluster)
        except UnsupportedError as why:
            return _instead(config, cluster, why)
    return ConfluentEngine(config, cluster)


def _instead(config: ProducerConfig, cluster: Cluster, why: UnsupportedError) -> ConfluentEngine:
    """The engine that is taken where the other cannot do what is asked for."""
    if config.engine == "native":
        raise ConfigurationError(
            f"The engine native cannot do this: {why}. Use --engine confluent."
        ) from None
    _log.warning("Kafka engine: confluent, since native cannot do this: %s", why)
    return ConfluentEngine(config, cluster)


def _settled(topic: TopicDelivery) -> bool:
    return topic.acknowledged == topic.attempted


def _relation(name: str) -> Relation:
    streams = catalogue().streams
    for relation in streams:
        if relation.name == name:
            return relation
    raise OptionError("stream", name, "one of " + ", ".join(one.name for one in streams))
