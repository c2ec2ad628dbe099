"""The Kafka sink against a real broker and registry: what arrives, and in which topics."""

from __future__ import annotations

import io
import json
import time
from collections import Counter, defaultdict
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import RESOURCE_TOPIC
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

import data_gen.sinks.kafka
from datagen.errors import ConfigurationError, OptionError
from datagen.sinks import kafka as sinks
from datagen.sinks.kafka import (
    BULK,
    EVENT_BY_EVENT,
    FAST,
    PRESETS,
    RELIABLE,
    KafkaSink,
    check_url,
    flush_timeout,
)
from datagen.sinks.kafka.cluster import Cluster
from datagen.sinks.kafka.end_offsets import EndOffsets
from datagen.types import catalogue
from murmur2 import murmur2, partition
from records import TOPICS
from sending import TRANSACTIONS, batch_of, to
from services.kafka import KafkaBroker

if TYPE_CHECKING:
    from own_topics import OwnTopics
    from running import Running
    from services.registry import Registry

# --- what arrives


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_delivers(name: str, topics: OwnTopics, registry: Registry) -> None:
    config = topics.config(PRESETS[name], schema_registry_url=registry.url)
    batch = batch_of()
    with KafkaSink(config) as sink:
        before = sink.end_offsets(topics.names)
        sink.register_schemas()
        assert sink.write(batch) == len(batch)
        report = sink.flush()
        after = sink.end_offsets(topics.names)

    assert report.complete
    assert report.attempted == report.acknowledged == len(batch)
    assert report.failed == {}
    counted = {
        n: one.acknowledged
        for n, one in report.topics[topics.name(TRANSACTIONS)].partitions.items()
    }
    assert sum(counted.values()) == len(batch)
    # With acks=0 the client does not wait for the broker.
    records = topics.records(TRANSACTIONS)
    deadline = time.monotonic() + 30
    while name == "FAST" and len(records) < len(batch) and time.monotonic() < deadline:
        records = topics.records(TRANSACTIONS)
    assert Counter(record.partition for record in records) == counted
    if name != "FAST":
        name = topics.name(TRANSACTIONS)
        assert {n: after[name][n] - before[name][n] for n in counted} == counted
    assert {record.value for record in records} == set(
        batch.encode(
            "avro", schema_id=sink.register_schemas()[f"{topics.name(TRANSACTIONS)}-value"]
        )
    )


@pytest.mark.parametrize("stream", TOPICS)
def test_records_are_what_the_guide_says(
    stream: str, topics: OwnTopics, registry: Registry
) -> None:
    relation = next(one for one in catalogue().streams if one.name == stream)
    batch = batch_of(stream)
    rows = {str(row[relation.primary_key]): row for row in map(batch.row, range(len(batch)))}
    config = topics.config(schema_registry_url=registry.url)
    started = int(time.time() * 1_000)
    with KafkaSink(config) as sink:
        ids = sink.register_schemas()
        sink.send_batch(batch)
    assert set(ids) == {f"{one}-value" for one in topics.names}
    subject = f"{topics.name(stream)}-value"

    records = topics.records(stream)
    with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
        latest = client.get_latest_version(subject)
        schema = fastavro.parse_schema(json.loads(latest.schema.schema_str or ""))
        deserialize = AvroDeserializer(client)
        context = SerializationContext(topics.name(stream), MessageField.VALUE)
        for record in records:
            headers = record.headers or ()
            assert [name for name, _ in headers] == [
                "ce_specversion",
                "ce_type",
                "ce_source",
                "ce_id",
                "ce_time",
                "ce_subject",
            ]
            values = {name: record.header(name) for name, _ in headers}
            row = rows.pop(values["ce_id"].decode())
            when = row[relation.time].isoformat(timespec="milliseconds")
            assert values["ce_specversion"] == b"1.0"
            assert values["ce_type"] == (relation.ce_type or "").encode()
            assert values["ce_source"] == b"data-gen/financial"
            assert values["ce_time"].decode() == when.replace("+00:00", "Z")

            key, value = record.key, record.value
            assert key == values["ce_subject"] == str(row[relation.key]).encode()
            assert record.partition == partition(key, 3)
            assert started - 60_000 < record.timestamp < started + 600_000

            assert value[:5] == b"\0" + ids[subject].to_bytes(4, "big")
            assert fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None) == row
            assert deserialize(value, context) == row
    assert rows == {}


@pytest.mark.usefixtures("each_engine")
def test_events_of_one_key_keep_their_order(topics: OwnTopics) -> None:
    batch = batch_of()
    with KafkaSink(topics.config()) as sink:
        sink.send_batch(batch)
    sent, arrived = defaultdict(list), defaultdict(list)
    for key, ident in zip(batch.text("account_id"), batch.text("transaction_id"), strict=True):
        sent[key].append(ident)
    for record in topics.records(TRANSACTIONS):
        arrived[record.key].append(record.header("ce_id"))
    assert arrived == sent


@pytest.mark.parametrize("avro", [False, True])
def test_json_where_avro_is_not_wanted_or_no_registry_is_named(
    avro: bool, topics: OwnTopics, caplog: pytest.LogCaptureFixture
) -> None:
    url = None if avro else "http://127.0.0.1:1"
    batch = batch_of()
    with KafkaSink(topics.config(avro=avro, schema_registry_url=url)) as sink:
        assert sink.format == "json"
        assert sink.register_schemas() == {}
        sink.send_batch(batch)
    assert "Schema Registry" not in caplog.text
    values = [json.loads(record.value) for record in topics.records(TRANSACTIONS)]
    rows = {str(row["transaction_id"]): row for row in map(batch.row, range(len(batch)))}
    assert len(values) == len(rows)
    for value in values:
        row = rows[value["transaction_id"]]
        assert Decimal(str(value["amount"])) == row["amount"]
        assert list(value) == list(row)


def test_headers_and_timestamps_by_choice(topics: OwnTopics) -> None:
    batch = batch_of()
    config = topics.config(cloudevents=False, record_timestamp="event")
    with KafkaSink(config) as sink:
        sink.send_batch(batch)
    records = topics.records(TRANSACTIONS)
    assert {record.headers is None for record in records} == {True}
    times = sorted(int(batch.row(at)["occurred_at"].timestamp() * 1000) for at in range(len(batch)))
    assert sorted(record.timestamp for record in records) == times


@pytest.mark.parametrize("cloudevents", [False, True])
def test_content_type_follows_the_headers(
    cloudevents: bool, topics: OwnTopics, registry: Registry
) -> None:
    url = registry.url if cloudevents else None
    config = topics.config(cloudevents=cloudevents, content_type=True, schema_registry_url=url)
    with KafkaSink(config) as sink:
        sink.send_batch(batch_of())
    kind = b"application/avro" if cloudevents else b"application/json"
    for record in topics.records(TRANSACTIONS):
        headers = record.headers or ()
        assert len(headers) == (7 if cloudevents else 1)
        assert headers[-1] == ("content-type", kind)


def test_one_event_at_a_time_without_connecting_first(
    topics: OwnTopics, registry: Registry
) -> None:
    batch = batch_of()
    sink = KafkaSink(topics.config(EVENT_BY_EVENT, schema_registry_url=registry.url))
    for at in range(3):
        sink.send(TRANSACTIONS, batch.row(at))
    assert sink.close().acknowledged == 3
    assert sink.close().acknowledged == 3
    assert {record.header("ce_id") for record in topics.records(TRANSACTIONS)} == {
        batch.text("transaction_id")[at] for at in range(3)
    }


@pytest.mark.usefixtures("each_engine")
def test_a_full_queue_loses_nothing(topics: OwnTopics) -> None:
    config = topics.config(queue_buffering_max_messages=10)
    batch = batch_of()
    with KafkaSink(config) as sink:
        sink.send_batch(batch)
    assert sink.report().acknowledged == len(batch)
    assert len(topics.records(TRANSACTIONS)) == len(batch)


def test_no_stream_of_that_name(topics: OwnTopics) -> None:
    sink = KafkaSink(topics.config())
    with pytest.raises(OptionError, match=r"banking\.payments.*banking\.transactions"):
        sink.topic("banking.payments")
    sink.close()


def test_a_signal_as_the_producer_is_closed_loses_no_count(topics: OwnTopics) -> None:
    class Closing:
        """The producer, whose close() returns into a signal's handler."""

        def __init__(self, producer: Any) -> None:
            self._producer = producer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._producer, name)

        def close(self) -> None:
            self._producer.close()
            raise KeyboardInterrupt

    sink = KafkaSink(topics.config(engine="native"))
    sink.send_batch(batch_of())
    sink.flush()
    engine: Any = sink._producer.engine
    engine._producer = Closing(engine._producer)
    with pytest.raises(KeyboardInterrupt):
        sink.close()
    assert sink.report().acknowledged == len(batch_of())


# --- topics


def test_topics_are_made_once_and_reused(clean_kafka: OwnTopics) -> None:
    sink = KafkaSink(clean_kafka.config())
    one, other = clean_kafka.name(TRANSACTIONS), clean_kafka.name("banking.trades")
    with pytest.raises(ConfigurationError, match=rf"{other} does not exist.*create_topics"):
        sink.require_topics([other])
    first = sink.create_topics({one: 3}, 8)
    assert [(topic.name, topic.partitions, topic.created) for topic in first] == [(one, 3, True)]
    again = sink.create_topics({one: 6, other: 2}, 9)
    assert [(topic.name, topic.partitions, topic.created) for topic in again] == [
        (one, 3, False),
        (other, 2, True),
    ]
    assert sink.require_topics([one, other]) == {one: 3, other: 2}
    assert sink.end_offsets(clean_kafka.names) == {one: {0: 0, 1: 0, 2: 0}, other: {0: 0, 1: 0}}
    sink.close()
    assert _retention(clean_kafka.bootstrap, one) == 8 * 3_600_000
    assert _retention(clean_kafka.bootstrap, other) == 9 * 3_600_000


def _retention(bootstrap: str, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (future,) = admin.describe_configs([ConfigResource(RESOURCE_TOPIC, topic)]).values()
    return int(future.result(30)["retention.ms"].value)


def test_topics_take_events_as_soon_as_they_are_made(clean_kafka: OwnTopics) -> None:
    """A leader lists its partitions before it serves them; with many it takes a while."""
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    admin.list_topics(timeout=10)
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    sink = KafkaSink(clean_kafka.config())
    names = clean_kafka.names[:2]
    topics = sink.create_topics(dict.fromkeys(names, 40), 8)
    asked = {TopicPartition(one.name, at): latest for one in topics for at in range(one.partitions)}
    answers = admin.list_offsets(asked, request_timeout=10)
    sink.close()
    assert [answer.result(30).offset for answer in answers.values()] == [0] * 80


class _Unheard:
    """A client whose first request for offsets ends as librdkafka's does that has not heard of leaders in time."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self.asked: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._admin, name)

    def list_offsets(self, asked: Any, *, request_timeout: float) -> dict[TopicPartition, Any]:
        self.asked.append(request_timeout)
        if len(self.asked) > 1:
            return self._admin.list_offsets(asked, request_timeout=request_timeout)
        lost: Future[Any] = Future()
        lost.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        return dict.fromkeys(asked, lost)


def test_a_client_that_has_not_heard_of_leaders_is_asked_once_more(
    clean_kafka: OwnTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new client that waits for longer waits in vain."""
    cluster = Cluster(clean_kafka.config())
    client = _Unheard(cluster.new_admin())
    monkeypatch.setattr(cluster, "new_admin", lambda: client)
    sink = KafkaSink(clean_kafka.config())
    name = clean_kafka.names[0]
    [topic] = sink.create_topics({name: 3})
    sink.close()
    assert EndOffsets(cluster).read([topic.name]) == {topic.name: {0: 0, 1: 0, 2: 0}}
    first, second = client.asked
    assert first < 1 < second


def test_delete_takes_topics_and_subjects_and_no_others(
    topics: OwnTopics, registry: Registry
) -> None:
    sink = KafkaSink(topics.config(schema_registry_url=registry.url))
    kept = "banking.installments"
    gone = [name for name in TOPICS if name != kept]
    sink.register_schemas(TOPICS)
    for _ in range(2):  # what is not there is no error
        sink.delete(gone)
        assert sink.end_offsets(topics.names).keys() == {topics.name(kept)}
        with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
            subjects = set(client.get_subjects(deleted=True))
        assert subjects & {f"{name}-value" for name in topics.names} == {
            f"{topics.name(kept)}-value"
        }
    sink.close()


def test_topics_that_cannot_be_made(topics: OwnTopics) -> None:
    sink = KafkaSink(topics.config())
    with pytest.raises(ConfigurationError, match="no/topic"):
        sink.create_topics({"no/topic": 1}, 8)
    with pytest.raises(ConfigurationError, match=r"249.*topic_prefix"):
        sink.create_topics({"x" * 250: 1}, 8)
    with pytest.raises(ConfigurationError, match=r"Number of partitions.*partitions"):
        sink.create_topics({"none": 0}, 8)
    for hours in (0, -2, 2**63):
        with pytest.raises(OptionError, match="retention_hours"):
            sink.create_topics({"none": 1}, hours)
    sink.close()


def test_asking_for_topics_makes_none(own_kafka: Running) -> None:
    with own_kafka(KafkaBroker(auto_create_topics=True, short_lived=True)) as broker:
        sink = KafkaSink(to(broker.bootstrap))
        with pytest.raises(ConfigurationError, match="does not exist"):
            sink.require_topics(["banking.nobody"])
        assert sink.end_offsets(["banking.nobody"]) == {}
        with pytest.raises(ConfigurationError, match="do not exist"):
            sink.require_topics(["banking.nobody", "banking.nothing"])
        sink.close()


# --- without a service


@pytest.mark.parametrize(
    ("events", "seconds"),
    [(1_000, 30.1), (100_000, 40), (500_000, 80), (2_700_000, 300), (10_000_000, 300), (0, 30)],
)
def test_the_flush_timeout_grows_with_the_load(events: int, seconds: float) -> None:
    assert flush_timeout(events) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        # UtilsTest.testMurmur2 of Apache Kafka
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_tests_own_murmur2(key: str, digest: int) -> None:
    assert murmur2(key.encode()) == digest


def test_the_former_names_are_the_same_things() -> None:
    for name in ("KafkaSink", "ProducerConfig", "RELIABLE", "FAST", "BULK", "EVENT_BY_EVENT"):
        assert getattr(data_gen.sinks.kafka, name) is getattr(sinks, name)
    assert {*PRESETS.values()} == {RELIABLE, FAST, BULK, EVENT_BY_EVENT}
    check_url("http://localhost:8081")
