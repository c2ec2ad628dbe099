"""Kafka as a consumer sees it: every record of a topic, decoded without datagen."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from confluent_kafka import Message

TOPICS = (
    "banking.transactions",
    "banking.card-transactions",
    "banking.trades",
    "banking.installments",
)

_NOT_YET = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
}


@dataclass(frozen=True)
class Record:
    """One record; `headers` is None where it has none."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...] | None

    def header(self, name: str) -> bytes:
        value = dict(self.headers or ())[name]
        assert value is not None
        return value

    @property
    def content(self) -> tuple[Any, ...]:
        """What two runs with the same options have in common: all but offset and timestamp."""
        return self.topic, self.partition, self.key, self.value, self.headers


def read_topics(
    bootstrap: str, topics: Iterable[str] = TOPICS, expected: int | None = None
) -> dict[str, list[Record]]:
    """All records of each topic, by partition and offset.

    `expected` is how many there must be in all, by default as many as the offsets tell.
    """
    names = list(topics)
    found: dict[str, list[Record]] = {name: [] for name in names}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "records"})
    try:
        parts = list(_partitions(consumer, names))
        if expected is None:
            ends = [_ends(consumer, part) for part in parts]
            expected = sum(high - low for low, high in ends)
        consumer.assign(parts)
        left, deadline = expected, time.monotonic() + 60
        while left > 0:
            assert time.monotonic() < deadline, f"{left} of {expected} records did not come"
            for message in consumer.consume(min(left, 10_000), timeout=1.0):
                record = _record(message)
                found[record.topic].append(record)
                left -= 1
    finally:
        consumer.close()
    for records in found.values():
        records.sort(key=lambda record: (record.partition, record.offset))
    return found


def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """All records of one topic, which must exist, by partition and offset."""
    assert topic in AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics
    return read_topics(bootstrap, [topic])[topic]


def committed(bootstrap: str, topic: str) -> list[Record]:
    """The records of a topic, by partition and offset, as a reader of committed records finds them."""
    options = {"isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "records", **options})
    found: list[Record] = []
    try:
        parts = list(_partitions(consumer, [topic]))
        consumer.assign(parts)
        left, deadline = len(parts), time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline, f"{left} partitions have no end"
            for message in consumer.consume(10_000, timeout=0.2):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    found.append(_record(message))
    finally:
        consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def end_offsets(bootstrap: str, topics: Iterable[str] = TOPICS) -> dict[str, int]:
    """The records that were ever written to each topic; 0 for one that does not exist."""
    ends = dict.fromkeys(topics, 0)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "records"})
    try:
        for part in _partitions(consumer, ends):
            ends[part.topic] += _ends(consumer, part)[1]
    finally:
        consumer.close()
    return ends


class AvroReader:
    """Reads values by fastavro alone, with the schemas that the registry has."""

    def __init__(self, registry_url: str) -> None:
        self._url = registry_url
        self._schemas: dict[int, Any] = {}

    def __call__(self, value: bytes) -> dict[str, Any]:
        assert value[0] == 0, "not in Confluent's frame"
        schema = self._schema(int.from_bytes(value[1:5], "big"))
        rest = io.BytesIO(value[5:])
        row = fastavro.schemaless_reader(rest, schema, None)
        assert rest.read() == b"", "bytes behind the record"
        assert isinstance(row, dict)
        return row

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            with SchemaRegistryClient({"url": self._url, "timeout": 10}) as client:
                text = client.get_schema(schema_id).schema_str
            self._schemas[schema_id] = fastavro.parse_schema(json.loads(text or ""))
        return self._schemas[schema_id]


def _partitions(consumer: Consumer, topics: Iterable[str]) -> Iterator[TopicPartition]:
    existing = consumer.list_topics(timeout=10).topics
    for name in topics:
        if name in existing:
            for number in sorted(existing[name].partitions):
                yield TopicPartition(name, number, 0)


def _ends(consumer: Consumer, part: TopicPartition) -> tuple[int, int]:
    """The first offset of a partition, and the next one to be written."""
    deadline = time.monotonic() + 10
    while True:
        try:
            low, high = consumer.get_watermark_offsets(part, timeout=10)
        except KafkaException as error:
            # A leader that has just become one may not know yet.
            if error.args[0].code() not in _NOT_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return int(low), int(high)


def _record(message: Message) -> Record:
    assert message.error() is None, str(message.error())
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    key, value = message.key(), message.value()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    headers: Any = message.headers()
    pairs = None if headers is None else tuple(headers)
    kind, timestamp = message.timestamp()
    return Record(topic, partition, offset, timestamp, kind, key, value, pairs)
