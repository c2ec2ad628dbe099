"""Events into Kafka: encoded by the core, sent by one of two engines, counted one by one."""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from .._core import Batch
from ..errors import ConfigurationError, DatagenError, OptionError, RejectedError, UnreachableError
from ..presets import BULK, EVENT_BY_EVENT, FAST, PRESETS, RELIABLE, ProducerConfig, check_url
from ..types import Relation, catalogue
from . import _formats, _registry
from ._cluster import TIMEOUT, Cluster, Topic
from ._confluent import ConfluentEngine
from ._delivery import DeliveryReport, PartitionDelivery, Stalled, TopicDelivery
from ._librdkafka import kind_of
from ._native import NativeEngine, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from .._core import KeySet, Plan

__all__ = [
    "BULK",
    "EVENT_BY_EVENT",
    "FAST",
    "PRESETS",
    "RELIABLE",
    "DeliveryReport",
    "KafkaSink",
    "PartitionDelivery",
    "ProducerConfig",
    "Sending",
    "Topic",
    "TopicDelivery",
    "check_url",
    "flush_timeout",
]

_log = logging.getLogger(__name__)

_GRACE: Final = 2.0  # seconds for what is on its way to a broker when a run breaks off
_TURN: Final = 0.1  # seconds between two looks at what a run in the background does


def flush_timeout(events: int) -> float:
    """Seconds to wait for the last acknowledgements: 30, and 1 for each 10 000 events, up to 300."""
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
        _check_names(self._config.topic_prefix)
        self._cluster = Cluster(self._config)
        self._engine = _engine(self._config, self._cluster)
        # What whoever calls knows already: by a flush, or by an exception that says so.
        self._told = DeliveryReport({})
        self._sending: Sending | None = None
        # By subject. None: events are JSON.
        wants_avro = _registry.check_options(self._config)
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
            self._abandon()

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
        """Makes the topics that are missing; others stay as they are."""
        topics = self._cluster.create_topics(
            partitions, retention_hours, replication_factor=replication_factor, config=config
        )
        self._engine.find(partitions)
        self._compared.update(topic.name for topic in topics if topic.created)  # they are empty
        return topics

    def require_topics(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic; raises ``ConfigurationError`` if one is missing.

        Nothing is created, not even where the broker makes topics as they are asked for.
        """
        found = self._cluster.require_topics(topics)
        self._engine.find(found)
        return found

    def end_offsets(self, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        """The next offset of each partition of the topics that exist.

        The difference of two snapshots is a hint, not a count: other producers and transaction
        markers take offsets too.
        """
        return self._cluster.end_offsets(topics)

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
            schemas = {self._subject(name): _relation(name).avro_schema for name in names}
            found = _registry.register(self._config, schemas)
            if found is None and self._schema_ids:
                raise UnreachableError(
                    "The Schema Registry was lost between two streams. Start it, or send JSON with "
                    "--no-avro."
                )
            self._schema_ids = None if found is None else {**self._schema_ids, **found}
        if self._cluster.producer is not None:
            self.check_formats(map(self.topic, names))
        return found or {}

    def check_formats(self, topics: Iterable[str]) -> None:
        """Raises ``ConfigurationError`` where events would be of another format than ``topics`` hold.

        Only where nobody chose that format: JSON since no registry answered, or Avro since one did
        at the default address. Where somebody did, a warning tells. What may not be read is not
        compared, nor what this sink has created.
        """
        asked = [topic for topic in topics if topic not in self._compared]
        if not asked:
            return
        found = _formats.formats_of(asked, self._config, self._cluster.events, TIMEOUT)
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
                f"{self._config.schema_registry_url}, and nobody named it: name it by "
                "--schema-registry to mix."
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
                _registry.delete(self._config, map(self._subject, names))
        finally:
            self._cluster.delete_topics(map(self.topic, names))

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
        self._cluster.connect()
        schema_id = self._schema_id(batch.name)
        self._stop_on_failure()
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
        self._cluster.connect()
        # What is still on its way would be held too.
        before = self._settled()
        names = [stream.name for stream in catalogue().streams]
        # Schemas first, so that the last of them cannot be missing when events of another are sent.
        topics = {name: (self.topic(name), self._schema_id(name)) for name in names}
        sending = self._engine.send_plan(plan, topics, parents, workers, first_customer)
        self._sending = Sending(self._engine, sending, before, self._stop_on_failure)
        return self._sending

    def report(self) -> DeliveryReport:
        """What became of the events so far, as far as acknowledgements have come in."""
        return self._engine.report()

    def flush(self, timeout: float | None = None) -> DeliveryReport:
        """Waits until every event is acknowledged or given up, and raises unless all arrived.

        ``timeout`` is in seconds, by default ``flush_timeout`` of what was sent.
        """
        self._told = self._settled(timeout)
        return self._told

    def close(self) -> DeliveryReport:
        """Flushes and disconnects; does nothing the second time."""
        try:
            return self.report() if self._cluster.producer is None else self.flush()
        finally:
            self._engine.close()
            self._cluster.disconnect()

    def _settled(self, timeout: float | None = None) -> DeliveryReport:
        """The report once every event has arrived; whoever calls the sink need not see it."""
        wait = flush_timeout(self.report().attempted) if timeout is None else timeout
        if not self._engine.flush(wait):
            raise self._incomplete(f" within {wait:.3g} s")
        report = self.report()
        if not report.complete or self._engine.failure:
            raise self._incomplete()
        return report

    def _schema_id(self, stream: str) -> int | None:
        if self._schema_ids is not None and self._subject(stream) not in self._schema_ids:
            self.register_schemas([stream])
        return None if self._schema_ids is None else self._schema_ids[self._subject(stream)]

    def _subject(self, stream: str) -> str:
        return f"{self.topic(stream)}-value"

    def _stop_on_failure(self) -> None:
        # One event that failed fails the run, so there is no point in sending on.
        if self._engine.has_failures:
            raise self._incomplete()

    def _abandon(self) -> None:
        """Drops what is queued, and gives what is on its way a moment: `report` says what arrived."""
        with suppress(DatagenError):  # the exception that got us here says more
            self._engine.abandon(_GRACE)
        self._engine.close()
        self._cluster.disconnect()

    def _sent(self) -> DeliveryReport:
        """The report, without the events of a plan that were made and never sent."""
        return self._sending.report() if self._sending else self.report()

    def _incomplete(self, when: str = "") -> DatagenError:
        report, self._told = self.report(), self._sent()
        if self._engine.failure:
            name, text = self._engine.failure
            return self._cluster.failed(name, f"{text}; acknowledged: {report}")
        cause = f" Last trouble: {self._engine.cause}." if self._engine.cause else ""
        kinds = {kind_of(name) for name in report.failed}
        if RejectedError in kinds:
            return RejectedError(f"Kafka rejected events; acknowledged: {report}.{cause}")
        unheard = [one.topic for one in report.topics.values() if not one.acknowledged]
        if absent := self._cluster.absent(unheard):
            return self._cluster.missing(absent)
        if ConfigurationError in kinds:
            return ConfigurationError(f"Kafka refused us; acknowledged: {report}.{cause}")
        return UnreachableError(
            f"Kafka at {self._cluster.address} did not acknowledge all events{when}: {report}."
            f"{cause} The run can be repeated."
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
            self._check()
            if done:
                sent, seconds = self._sending.sent(), self._sending.seconds()
                names = (stream.name for stream in catalogue().streams)
                return {name: (sent[name], max(seconds[name] - held, 0)) for name in names}


def _check_names(prefix: str) -> None:
    """What a name of a topic may be: Kafka's ``org.apache.kafka.common.internals.Topic``."""
    for stream in catalogue().streams:
        topic = prefix + stream.name
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
            raise ConfigurationError(
                f"topic {topic[:80]!r}{'…' if len(topic) > 80 else ''} cannot be: a topic has 1 to "
                "249 letters, digits, '.', '_' and '-'; correct --topic-prefix"
            )


def _engine(config: ProducerConfig, cluster: Cluster) -> NativeEngine | ConfluentEngine:
    if config.engine != "confluent":
        try:
            return NativeEngine(config, cluster)
        except UnsupportedError as why:
            if config.engine == "native":
                raise ConfigurationError(
                    f"The engine native cannot do this: {why}. Use --engine confluent."
                ) from None
            _log.warning("Kafka engine: confluent, since native cannot do this: %s", why)
    return ConfluentEngine(config, cluster)


def _relation(name: str) -> Relation:
    streams = catalogue().streams
    for relation in streams:
        if relation.name == name:
            return relation
    raise OptionError("stream", name, "one of " + ", ".join(one.name for one in streams))
