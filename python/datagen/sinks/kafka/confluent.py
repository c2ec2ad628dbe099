"""The engine that hands events to librdkafka one by one; it knows every option of that client."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from ...errors import UnreachableError
from ...types import catalogue
from .delivery import PartitionDelivery
from .event_records import EventRecords
from .interrupt import HeldInterrupt, held
from .librdkafka import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from confluent_kafka import KafkaError, KafkaException, Message, Producer

    from ..._core import Batch
    from ...errors import DatagenError
    from ...presets import ProducerConfig
    from .cluster import Cluster
    from .delivery import Outcome
    from .event_records import Row

__all__ = ["ConfluentEngine"]

_log = logging.getLogger(__name__)

#: The error for an event that is larger than the topic takes.
_TOO_LARGE: Final = "MSG_SIZE_TOO_LARGE"
#: Delivery reports are fetched once in so many events.
POLL_EVERY: Final = 10_000


class ConfluentEngine:
    """Sends by confluent-kafka and counts its delivery reports."""

    name: Final = "confluent"
    #: A failed call raises the error that makes sending impossible.
    failure: Final = None

    def __init__(self, config: ProducerConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._topics: dict[str, _Topic] = {}
        self._until_poll = POLL_EVERY
        self._producer: Producer | None = None
        self._limits: dict[str, int] = {}

    @property
    def last_error(self) -> str:
        """The event that is too large by itself, else the last error of a broker."""
        for name, topic in self._topics.items():
            if _TOO_LARGE in topic.first_failed:
                key, size = topic.first_failed[_TOO_LARGE]
                return f"{name}: the event of key {key} has a value of {size} bytes"
        return self._cluster.events.last_error

    @property
    def has_failures(self) -> bool:
        return any(topic.failed for topic in self._topics.values())

    @property
    def last_progress(self) -> float:
        """The end of the last pause that a broker asked for; acknowledgements bear no time."""
        return self._cluster.events.throttled_until

    def limit(self, topic: str, max_message_bytes: int) -> None:
        self._limits[topic] = max_message_bytes

    def find(self, topics: Iterable[str]) -> None:
        """Nothing to do: the client finds topics as they are sent to."""

    def send(
        self,
        batch: Batch,
        topic: str,
        schema_id: int | None,
        wait: Callable[[], None],
        *,
        timestamp: int | None = None,
    ) -> None:
        self._send(batch, topic, schema_id, wait, timestamp=timestamp, first=0)

    def _send(
        self,
        batch: Batch,
        topic: str,
        schema_id: int | None,
        wait: Callable[[], None],
        *,
        timestamp: int | None,
        first: int,
    ) -> None:
        """Queues the events of a batch from ``first`` on."""
        from confluent_kafka import KafkaException

        producer, counts = self._connect(), self._topic(batch.name, topic, schema_id)
        produce, on_delivery = producer.produce, counts.on_delivery
        rows = islice(counts.records.rows(batch, timestamp=timestamp), first, None)
        refused: list[Row] = []
        row = first
        while row < len(batch):
            began, full = row, False
            step = min(self._until_poll, len(batch) - began)
            with HeldInterrupt():
                try:
                    # The one loop per event in Python: locals and positions, no names.
                    for row, value, key, stamp, header in islice(chain(refused, rows), step):  # noqa: B007
                        produce(topic, value, key, -1, on_delivery, None, stamp, header)
                    row += 1
                    refused = []
                except BufferError:
                    refused, full = [(row, value, key, stamp, header)], True
                except KafkaException as error:
                    counts.refuse(error.args[0])
                    what = (
                        f"Kafka took {row} events of this batch of {topic} and refused the next, of "
                        f"key {key.decode()} with a value of {len(value)} bytes"
                    )
                    raise self._failure(what, error) from None
                finally:
                    counts.attempted += row - began
                    self._until_poll -= row - began
                if self._until_poll <= 0:
                    self._until_poll = POLL_EVERY
                    producer.poll(0)
            if full:
                wait()

    def wait_for_capacity(self, seconds: float) -> bool:
        """Serves delivery reports; whether events have left the queue, sent or given up."""
        producer = self._connect()
        queued = len(producer)
        with HeldInterrupt():
            producer.poll(seconds)
        return len(producer) < queued

    def flush(self, seconds: float) -> bool:
        from confluent_kafka import KafkaException

        if self._producer is None:
            return True
        try:
            with HeldInterrupt():
                return self._producer.flush(seconds) == 0
        except KafkaException as error:
            raise self._failure("Kafka's client gave up", error) from None

    def _failure(self, what: str, error: KafkaException) -> DatagenError:
        return self._cluster.failure(what, error)

    def purge(self, *, in_flight: bool) -> None:
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=in_flight, blocking=False)

    def outcomes(self) -> Iterator[Outcome]:
        return chain.from_iterable(topic.outcomes() for topic in self._topics.values())

    def close(self) -> None:
        """Drops the client, which ends its threads, and whatever is still queued."""
        if self._producer is not None:
            self._producer.purge(blocking=False)
            self._producer = None

    def _connect(self) -> Producer:
        if self._producer is None:
            self._producer = self._new_producer({})
        return self._producer

    def _new_producer(self, more: Mapping[str, str]) -> Producer:
        from confluent_kafka import Producer

        options = {**self._cluster.options, **more}
        size = self._config.client.batch_size
        # The client splits no batch, and has one size for all topics.
        least = min(self._limits.values(), default=size)
        if least < size:
            options["batch.size"] = str(max(least, 1))
            _log.info("Kafka: batches of %d bytes at most, which every topic takes", least)
        return held(Producer, options)

    def _topic(self, stream: str, topic: str, schema_id: int | None) -> _Topic:
        found = self._topics.get(topic)
        if found is None:
            records = EventRecords(catalogue()[stream], self._config, schema_id)
            found = self._topics[topic] = _Topic(topic, records)
        return found


class _Topic:
    """The records of one topic's stream, and their delivery outcomes."""

    def __init__(self, name: str, records: EventRecords) -> None:
        self._name = name
        self.records = records
        self.attempted = 0
        self.acknowledged: defaultdict[int, int] = defaultdict(int)
        #: By partition (-1: none) and librdkafka's name of the error.
        self.failed: Counter[tuple[int, str]] = Counter()
        #: The key and the size in bytes of the first event that failed, by the name of the error.
        self.first_failed: dict[str, tuple[str, int]] = {}
        self.on_delivery = _counter(self.acknowledged, self.failed, self.first_failed)

    def refuse(self, error: KafkaError) -> None:
        """Counts an event that the client did not even take."""
        self.attempted += 1
        self.failed[-1, error.name()] += 1

    def outcomes(self) -> Iterator[Outcome]:
        settled = 0
        for partition in sorted({*self.acknowledged, *(p for p, _ in self.failed)}):
            failed = {name: n for (p, name), n in self.failed.items() if p == partition}
            # Of events that it gave up, the client reports only whether they were still in its queue.
            given_up = (n for name, n in failed.items() if kind_of(name) is UnreachableError)
            there = sum(given_up) - failed.get("_PURGE_QUEUE", 0)
            acknowledged = self.acknowledged.get(partition, 0)
            one = PartitionDelivery(acknowledged, failed, perhaps_there=there)
            settled += one.attempted
            yield self._name, partition, one.attempted, one
        # While a batch is being sent, its first reports may come before its events are counted.
        yield self._name, -1, max(self.attempted - settled, 0), PartitionDelivery(0, {})


def _counter(
    acknowledged: defaultdict[int, int],
    failed: Counter[tuple[int, str]],
    first_failed: dict[str, tuple[str, int]],
) -> Callable[[KafkaError | None, Message], None]:
    # Called once per event, with the message's key and value copied for it: nothing else in here.
    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged[message.partition()] += 1  # type: ignore[index]  # it has one by now
        else:
            failed[_partition(message), error.name()] += 1
            if error.name() not in first_failed:
                key = (message.key() or b"").decode(errors="replace")
                first_failed[error.name()] = key, len(message.value() or b"")

    return on_delivery


def _partition(message: Message) -> int:
    partition = message.partition()
    return -1 if partition is None else partition
