"""Events into Kafka: encoded by the core, sent by librdkafka, counted from delivery reports."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from .._core import Batch
from ..errors import ConfigurationError, DatagenError, OptionError, RejectedError, UnreachableError
from ..presets import BULK, EVENT_BY_EVENT, FAST, PRESETS, RELIABLE, ProducerConfig, check_url
from ..types import Relation, catalogue
from . import _registry
from ._cluster import TIMEOUT, Cluster, Topic
from ._delivery import DeliveryReport, PartitionDelivery, Tally, TopicDelivery
from ._interrupt import HeldInterrupt
from ._librdkafka import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from confluent_kafka import Producer

    Headers = list[tuple[str, str | bytes | None]] | None

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
    "Topic",
    "TopicDelivery",
    "check_url",
    "flush_timeout",
]

_log = logging.getLogger(__name__)

#: Delivery reports are fetched once in so many events.
POLL_EVERY: Final = 10_000
_GRACE: Final = 2.0  # seconds for what is on its way to a broker when a run breaks off


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
        self._cluster = Cluster(self._config)
        # By subject. None: events are JSON.
        wants_avro = _registry.check_options(self._config)
        self._schema_ids: dict[str, int] | None = {} if wants_avro else None
        self._streams: dict[str, _Stream] = {}
        self._until_poll = POLL_EVERY

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
            self._abandon(kind)

    @property
    def config(self) -> ProducerConfig:
        return self._config

    @property
    def format(self) -> Literal["avro", "json"]:
        """What the next event is encoded as."""
        return "json" if self._schema_ids is None else "avro"

    def connect(self, timeout: float = TIMEOUT) -> None:
        """Waits until the cluster has answered once, ``timeout`` seconds at most."""
        self._cluster.connect(timeout)

    def create_topics(
        self, partitions: Mapping[str, int], retention_hours: int
    ) -> tuple[Topic, ...]:
        """Makes the topics that are missing, on one replica each; others stay as they are."""
        prefix = self._config.topic_prefix
        partitions = {prefix + name: count for name, count in partitions.items()}
        return self._cluster.create_topics(partitions, retention_hours)

    def require_topics(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic; raises ``ConfigurationError`` if one is missing.

        Nothing is created, not even where the broker makes topics as they are asked for.
        """
        return self._cluster.require_topics(self._config.topic_prefix + name for name in topics)

    def end_offsets(self, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        """The next offset of each partition of the topics that exist.

        The difference of two snapshots is a hint, not a count: other producers and transaction
        markers take offsets too.
        """
        prefix = self._config.topic_prefix
        found = self._cluster.end_offsets([prefix + name for name in topics])
        return {name.removeprefix(prefix): ends for name, ends in found.items()}

    def register_schemas(self, streams: Iterable[str] | None = None) -> dict[str, int]:
        """Registers the schemas of ``streams`` (all of them by default); their ids by subject.

        Where no registry answers, or none is wanted, events are JSON from here on and the result
        is empty. Done for each stream before its first event if it was not called.
        """
        if self._schema_ids is None:
            return {}
        names = [one.name for one in catalogue().streams] if streams is None else list(streams)
        schemas = {self._subject(name): _relation(name).avro_schema or "" for name in names}
        found = _registry.register(self._config, schemas)
        if found is None and self._schema_ids:
            raise UnreachableError(
                "The Schema Registry was lost between two streams. Repeat the run, or send JSON "
                "with --no-avro."
            )
        if found is None:
            self._schema_ids = None
            return {}
        self._schema_ids.update(found)
        return found

    def delete(self, streams: Iterable[str]) -> None:
        """Deletes the topics of ``streams``, with all that is in them, and their subjects.

        What is not there is no error.
        """
        names = list(streams)
        try:
            if self._schema_ids is not None:
                _registry.delete(self._config, map(self._subject, names))
        finally:
            self._cluster.delete_topics([self._config.topic_prefix + name for name in names])

    def send(self, stream: str, event: Mapping[str, Any]) -> None:
        """Sends one event, given as the values of its fields. For many, ``send_batch``."""
        self.send_batch(Batch.from_rows(stream, [event]))

    def write(self, batch: Batch) -> int:
        """Sends a batch; how many events it had."""
        self.send_batch(batch)
        return len(batch)

    def send_batch(self, batch: Batch) -> None:
        """Hands every event of a stream's batch to the client, which sends them on its own time.

        Waits for room while the client's queue is full. Raises for failures of earlier events.
        """
        from confluent_kafka import KafkaException

        producer = self._cluster.connect()
        stream = self._stream(batch.name)
        self._stop_on_failure()
        values = self._encode(batch)
        keys = batch.text(stream.key)
        stamps: Iterable[int] = repeat(0)  # for librdkafka: now
        if self._config.record_timestamp == "event":
            stamps = memoryview(batch.column(stream.time)).tolist()
        headers: Iterable[Headers] = repeat(stream.constant)
        if self._config.cloudevents:
            idents, times = batch.text(stream.ident), batch.text(stream.time)
            headers = map(stream.headers(), idents, times, keys)

        topic = self._config.topic_prefix + stream.name
        produce, on_delivery = producer.produce, stream.tally.on_delivery
        rows = zip(range(len(batch)), values, keys, stamps, headers, strict=False)
        sent = row = 0
        try:
            while sent < len(batch):
                step = min(self._until_poll, len(batch) - sent)
                with HeldInterrupt() as held:
                    # The one loop per event in Python: locals and positions, no names.
                    for row, value, key, stamp, header in islice(rows, step):  # noqa: B007
                        while True:
                            try:
                                produce(topic, value, key, -1, on_delivery, None, stamp, header)
                            except BufferError:
                                self._wait_for_room(producer, held)
                            else:
                                break
                    sent += step
                    self._until_poll -= step
                    if self._until_poll == 0:
                        self._until_poll = POLL_EVERY
                        producer.poll(0)
        except KafkaException as error:
            stream.tally.refuse(error.args[0])
            what = f"Kafka took {row} events of this batch of {topic} and refused the next"
            raise self._cluster.failure(what, error) from None
        finally:
            stream.tally.attempted += max(row, sent)

    def report(self) -> DeliveryReport:
        """What became of the events so far, as far as delivery reports have come in."""
        return DeliveryReport(
            {name: stream.tally.report() for name, stream in self._streams.items()}
        )

    def flush(self, timeout: float | None = None) -> DeliveryReport:
        """Waits until every event is acknowledged or given up, and raises unless all arrived.

        ``timeout`` is in seconds, by default ``flush_timeout`` of what was sent.
        """
        if self._cluster.producer is not None:
            wait = flush_timeout(self.report().attempted) if timeout is None else timeout
            if self._drain(self._cluster.producer, wait):
                raise self._incomplete(f" within {wait:.3g} s")
        report = self.report()
        if not report.complete:
            raise self._incomplete()
        return report

    def close(self) -> DeliveryReport:
        """Flushes and disconnects; does nothing the second time."""
        try:
            return self.report() if self._cluster.producer is None else self.flush()
        finally:
            self._cluster.disconnect()

    def _stream(self, name: str) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            relation = _relation(name)
            if self._schema_ids is not None and self._subject(name) not in self._schema_ids:
                self.register_schemas([name])
            content_type = f"application/{self.format}" if self._config.content_type else None
            stream = self._streams[name] = _Stream(relation, content_type)
        return stream

    def _subject(self, stream: str) -> str:
        return f"{self._config.topic_prefix}{stream}-value"

    def _encode(self, batch: Batch) -> Iterable[bytes]:
        if self._schema_ids is None:
            return batch.encode("json")
        return batch.encode("avro", schema_id=self._schema_ids[self._subject(batch.name)])

    def _wait_for_room(self, producer: Producer, held: HeldInterrupt) -> None:
        """Serves delivery reports until events have left the queue: sent, or given up in time."""
        full = len(producer)
        timeout = self._config.delivery_timeout
        end = time.monotonic() + timeout + TIMEOUT
        while True:
            producer.poll(1.0)
            held.release()
            self._stop_on_failure()
            if len(producer) < full:
                return
            if time.monotonic() >= end:
                raise self._incomplete(f" within {timeout:.3g} s")

    def _stop_on_failure(self) -> None:
        # One event that failed fails the run, so there is no point in sending on.
        if any(stream.tally.has_failures for stream in self._streams.values()):
            raise self._incomplete()

    def _drain(self, producer: Producer, timeout: float) -> int:
        """Waits for delivery reports; how many are missing. Short turns let Ctrl-C through."""
        from confluent_kafka import KafkaException

        end = time.monotonic() + timeout
        while True:
            try:
                with HeldInterrupt():
                    left = producer.flush(min(0.5, max(end - time.monotonic(), 0.0)))
            except KafkaException as error:
                raise self._cluster.failure("Kafka's client gave up", error) from None
            if not left or time.monotonic() >= end:
                return left

    def _abandon(self, kind: type[BaseException]) -> None:
        """Drops what is queued, gives what is on its way a moment, and says what arrived."""
        producer = self._cluster.producer
        if producer is None:
            return
        queued = len(producer)
        with suppress(DatagenError):  # the exception that got us here says more
            producer.purge(in_queue=True, in_flight=False, blocking=False)
            if self._drain(producer, _GRACE):
                producer.purge(in_queue=True, in_flight=True, blocking=False)
                self._drain(producer, _GRACE)
        if queued and self._streams:  # the queue also holds the client's own requests
            how = "interrupted" if issubclass(kind, KeyboardInterrupt) else "broken off"
            _log.warning("Kafka: %s; acknowledged: %s", how, self.report())
        self._cluster.disconnect()

    def _incomplete(self, when: str = "") -> DatagenError:
        report = self.report()
        cause = (
            f" Last trouble: {self._cluster.events.cause}." if self._cluster.events.cause else ""
        )
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


class _Stream:
    """What is the same for all events of one stream, found once."""

    def __init__(self, relation: Relation, content_type: str | None) -> None:
        self.name = relation.name
        self.key = relation.key or ""
        self.time = relation.time or ""
        self.ident = relation.primary_key
        self.tally = Tally(relation.name)
        self._ce_type = (relation.ce_type or "").encode()
        #: The headers of an event without CloudEvents.
        self.constant: Headers = None
        if content_type:
            self.constant = [("content-type", content_type.encode())]

    def headers(self) -> Callable[[bytes, bytes, bytes], Headers]:
        """What makes an event's headers of its id, time and key (CloudEvents, binary mode)."""
        version = ("ce_specversion", b"1.0")
        kind = ("ce_type", self._ce_type)
        source = ("ce_source", b"data-gen/financial")
        more = self.constant

        def plain(ident: bytes, when: bytes, key: bytes) -> Headers:
            # fmt: off
            return [
                version, kind, source,
                ("ce_id", ident), ("ce_time", when), ("ce_subject", key),
            ]
            # fmt: on

        def longer(ident: bytes, when: bytes, key: bytes) -> Headers:
            return [*(plain(ident, when, key) or ()), *(more or ())]

        return longer if more else plain


def _relation(name: str) -> Relation:
    streams = catalogue().streams
    for relation in streams:
        if relation.name == name:
            return relation
    raise OptionError("stream", name, "one of " + ", ".join(one.name for one in streams))
