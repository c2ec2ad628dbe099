"""The engine that hands events to librdkafka one by one; it knows every option of that client."""

from __future__ import annotations

import logging
import time
from itertools import islice, repeat
from typing import TYPE_CHECKING, Final

from ...types import catalogue
from .cluster import TIMEOUT
from .delivery import DeliveryReport, Stalled, Tally
from .interrupt import HeldInterrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Producer

    from ..._core import Batch
    from ...presets import ProducerConfig
    from .cluster import Cluster

    Headers = list[tuple[str, str | bytes | None]] | None

__all__ = ["ConfluentEngine"]

_log = logging.getLogger(__name__)

#: How client and broker say that an event is larger than the topic takes.
_TOO_LARGE: Final = "MSG_SIZE_TOO_LARGE"
#: Delivery reports are fetched once in so many events.
POLL_EVERY: Final = 10_000
#: Seconds for which Ctrl-C may be held back.
_TURN: Final = 0.25


class ConfluentEngine:
    """Sends by confluent-kafka and counts its delivery reports."""

    name: Final = "confluent"

    def __init__(self, config: ProducerConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._streams: dict[str, _Stream] = {}
        self._until_poll = POLL_EVERY
        self._producer: Producer | None = None
        self._limits: dict[str, int] = {}

    @property
    def cause(self) -> str:
        """The event that is too large by itself, else the last error of a broker, or nothing."""
        for topic, stream in self._streams.items():
            if _TOO_LARGE in stream.tally.first:
                key, size = stream.tally.first[_TOO_LARGE]
                return f"{topic}: the event of key {key} has a value of {size} bytes"
        return self._cluster.events.cause

    @property
    def failure(self) -> tuple[str, str] | None:
        """The name and the text of what makes sending impossible; here a failed call says so."""
        return None

    @property
    def has_failures(self) -> bool:
        return any(stream.tally.has_failures for stream in self._streams.values())

    @property
    def throttled_until(self) -> float:
        """The moment, by ``time.monotonic``, up to which a broker holds answers back by a quota."""
        return self._cluster.events.throttled_until

    def limit(self, topic: str, max_message_bytes: int) -> None:
        """Keeps batches below what a topic takes; called before the first event is sent."""
        self._limits[topic] = max_message_bytes

    def find(self, topics: Iterable[str]) -> None:
        """Nothing to do: the client finds topics as they are sent to."""

    def send(self, batch: Batch, topic: str, schema_id: int | None) -> None:
        """Hands every event to the client; waits for room while its queue is full."""
        from confluent_kafka import KafkaException

        producer = self._connect()
        stream = self._stream(batch.name, topic, schema_id)
        if schema_id is None:
            values = batch.encode("json")
        else:
            values = batch.encode("avro", schema_id=schema_id)
        keys = batch.text(stream.key)
        stamps: Iterable[int] = repeat(0)  # for librdkafka: now
        if self._config.record_timestamp == "event":
            stamps = memoryview(batch.column(stream.time)).tolist()
        headers: Iterable[Headers] = repeat(stream.constant)
        if self._config.cloudevents:
            idents, times = batch.text(stream.ident), batch.text(stream.time)
            headers = map(stream.headers(), idents, times, keys)

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
            what = (
                f"Kafka took {row} events of this batch of {topic} and refused the next, of key "
                f"{key.decode()} with a value of {len(value)} bytes"
            )
            raise self._cluster.failure(what, error) from None
        finally:
            stream.tally.attempted += max(row, sent)

    def report(self) -> DeliveryReport:
        return DeliveryReport({topic: one.tally.report() for topic, one in self._streams.items()})

    def flush(self, timeout: float) -> bool:
        """Waits for delivery reports; whether none is missing. Short turns let Ctrl-C through."""
        from confluent_kafka import KafkaException

        producer = self._producer
        if producer is None:
            return True
        end = time.monotonic() + timeout
        while True:
            try:
                with HeldInterrupt():
                    left = producer.flush(min(_TURN, max(end - time.monotonic(), 0.0)))
            except KafkaException as error:
                raise self._cluster.failure("Kafka's client gave up", error) from None
            if not left or time.monotonic() >= end:
                return not left

    def abandon(self, grace: float) -> None:
        """Drops what is queued, and gives what is on its way a moment."""
        producer = self._producer
        if producer is None:
            return
        producer.purge(in_queue=True, in_flight=False, blocking=False)
        if not self.flush(grace):
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            self.flush(grace)

    def close(self) -> None:
        """Drops the client, which ends its threads, and whatever is still queued."""
        if self._producer is not None:
            self._producer.purge(blocking=False)
            self._producer = None

    def _connect(self) -> Producer:
        from confluent_kafka import Producer

        if self._producer is None:
            options = dict(self._cluster.options)
            size = int(options["batch.size"], 0)
            # The client splits no batch, and has one size for all topics.
            least = min(self._limits.values(), default=size)
            if least < size:
                options["batch.size"] = str(max(least, 1))
                _log.info("Kafka: batches of %d bytes at most, which every topic takes", least)
            self._producer = Producer(options)
        return self._producer

    def _stream(self, name: str, topic: str, schema_id: int | None) -> _Stream:
        stream = self._streams.get(topic)
        if stream is None:
            kind = "json" if schema_id is None else "avro"
            content_type = f"application/{kind}" if self._config.content_type else None
            stream = self._streams[topic] = _Stream(name, topic, content_type)
        return stream

    def _wait_for_room(self, producer: Producer, held: HeldInterrupt) -> None:
        """Serves delivery reports until events have left the queue: sent, or given up in time."""
        full = len(producer)
        timeout = self._config.delivery_timeout
        quiet_since = time.monotonic()
        while True:
            producer.poll(_TURN)
            held.release()
            if self.has_failures:
                raise Stalled
            if len(producer) < full:
                return
            if time.monotonic() - max(quiet_since, self.throttled_until) >= timeout + TIMEOUT:
                raise Stalled(timeout)


class _Stream:
    """What is the same for all events of one stream, found once."""

    def __init__(self, name: str, topic: str, content_type: str | None) -> None:
        relation = catalogue()[name]
        self.key = relation.key or ""
        self.time = relation.time or ""
        self.ident = relation.primary_key
        self.tally = Tally(topic)
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
