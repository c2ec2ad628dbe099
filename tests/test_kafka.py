"""The Kafka sink against a real broker and registry, and against what goes wrong with them."""

from __future__ import annotations

import io
import json
import logging
import signal
import threading
import time
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import fastavro
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
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
from answering import answering
from datagen import Batch, Plan
from datagen.errors import (
    ConfigurationError,
    DatagenError,
    OptionError,
    RejectedError,
    UnreachableError,
)
from datagen.sinks import kafka as sinks
from datagen.sinks.kafka import (
    BULK,
    EVENT_BY_EVENT,
    FAST,
    PRESETS,
    RELIABLE,
    KafkaSink,
    ProducerConfig,
    check_url,
    flush_timeout,
)
from datagen.types import catalogue
from murmur2 import murmur2, partition
from running import running
from services._net import free_port
from services.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines import Engine
    from services.kafka import Kafka
    from services.registry import Registry

TRANSACTIONS = "banking.transactions"
STREAMS = (TRANSACTIONS, "banking.card-transactions", "banking.trades", "banking.installments")
PLAN = Plan(seed=7, customers=20)
#: Fields of a configuration unless a test says otherwise.
USUAL: dict[str, Any] = {"schema_registry_url": None}


def batch_of(stream: str = TRANSACTIONS) -> Batch:
    (batch,) = PLAN.batches(stream)
    return batch


@pytest.fixture
def each_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has what `to` configures sent by one engine and then by the other."""
    monkeypatch.setitem(USUAL, "engine", engine.name)


def to(bootstrap: str, base: ProducerConfig = BULK, **changes: Any) -> ProducerConfig:
    return replace(base, bootstrap_servers=bootstrap, **{**USUAL, **changes})


def consume(bootstrap: str, topic: str) -> list[Message]:
    """Every record of a topic, by partition and offset."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests"})
    try:
        found = consumer.list_topics(timeout=10).topics[topic].partitions
        parts = [TopicPartition(topic, number, 0) for number in sorted(found)]
        ends = [consumer.get_watermark_offsets(part, timeout=10) for part in parts]
        expected = sum(high - low for low, high in ends)
        consumer.assign(parts)
        records: list[Message] = []
        deadline = time.monotonic() + 30
        while len(records) < expected and time.monotonic() < deadline:
            records += consumer.consume(1_000, timeout=0.5)
        assert [record.error() for record in records if record.error()] == []
        assert len(records) == expected
        return sorted(records, key=lambda record: (record.partition() or 0, record.offset() or 0))
    finally:
        consumer.close()


def headers_of(record: Message) -> dict[str, bytes]:
    headers = record.headers() or []
    assert isinstance(headers, list)
    return {name: value for name, value in headers if isinstance(value, bytes)}


@pytest.fixture
def topics(clean_kafka: str) -> str:
    """The bootstrap address of a cluster with the four topics, three partitions each, empty."""
    KafkaSink(to(clean_kafka)).create_topics(dict.fromkeys(STREAMS, 3), 8)
    return clean_kafka


@pytest.fixture
def broker(kafka: Kafka) -> Iterator[KafkaBroker]:
    """The broker as something to be stopped; it goes on afterwards."""
    if not isinstance(kafka, KafkaBroker):
        pytest.skip("the broker is not the tests' own to stop")
    yield kafka
    kafka.resume()


# --- what arrives


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_delivers(name: str, topics: str, registry: Registry) -> None:
    config = to(topics, PRESETS[name], schema_registry_url=registry.url)
    batch = batch_of()
    with KafkaSink(config) as sink:
        before = sink.end_offsets(STREAMS)
        sink.register_schemas()
        assert sink.write(batch) == len(batch)
        report = sink.flush()
        after = sink.end_offsets(STREAMS)

    assert report.complete
    assert report.attempted == report.acknowledged == len(batch)
    assert report.failed == {}
    counted = {n: one.acknowledged for n, one in report.topics[TRANSACTIONS].partitions.items()}
    assert sum(counted.values()) == len(batch)
    # With acks=0 the client does not wait for the broker.
    records = consume(topics, TRANSACTIONS)
    while name == "FAST" and len(records) < len(batch):
        records = consume(topics, TRANSACTIONS)
    assert Counter(record.partition() for record in records) == counted
    if name != "FAST":
        assert {n: after[TRANSACTIONS][n] - before[TRANSACTIONS][n] for n in counted} == counted
    assert {record.value() for record in records} == set(
        batch.encode("avro", schema_id=sink.register_schemas()[f"{TRANSACTIONS}-value"])
    )


@pytest.mark.parametrize("stream", STREAMS)
def test_records_are_what_the_guide_says(stream: str, topics: str, registry: Registry) -> None:
    relation = next(one for one in catalogue().streams if one.name == stream)
    batch = batch_of(stream)
    rows = {str(row[relation.primary_key]): row for row in map(batch.row, range(len(batch)))}
    config = to(topics, schema_registry_url=registry.url)
    started = int(time.time() * 1_000)
    with KafkaSink(config) as sink:
        ids = sink.register_schemas()
        sink.send_batch(batch)
    assert set(ids) == {f"{one}-value" for one in STREAMS}

    records = consume(topics, stream)
    with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
        latest = client.get_latest_version(f"{stream}-value")
        schema = fastavro.parse_schema(json.loads(latest.schema.schema_str or ""))
        deserialize = AvroDeserializer(client)
        context = SerializationContext(stream, MessageField.VALUE)
        for record in records:
            headers = record.headers()
            assert isinstance(headers, list)
            assert [name for name, _ in headers] == [
                "ce_specversion",
                "ce_type",
                "ce_source",
                "ce_id",
                "ce_time",
                "ce_subject",
            ]
            values = headers_of(record)
            row = rows.pop(values["ce_id"].decode())
            when = row[relation.time or ""].isoformat(timespec="milliseconds")
            assert values["ce_specversion"] == b"1.0"
            assert values["ce_type"] == (relation.ce_type or "").encode()
            assert values["ce_source"] == b"data-gen/financial"
            assert values["ce_time"].decode() == when.replace("+00:00", "Z")

            key, value = record.key(), record.value()
            assert key is not None
            assert value is not None
            assert key == values["ce_subject"] == str(row[relation.key or ""]).encode()
            assert record.partition() == partition(key, 3)
            assert started - 60_000 < record.timestamp()[1] < started + 600_000

            assert value[:5] == b"\0" + ids[f"{stream}-value"].to_bytes(4, "big")
            assert fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None) == row
            assert deserialize(value, context) == row
    assert rows == {}


@pytest.mark.usefixtures("each_engine")
def test_events_of_one_key_keep_their_order(topics: str) -> None:
    batch = batch_of()
    with KafkaSink(to(topics)) as sink:
        sink.send_batch(batch)
    sent, arrived = defaultdict(list), defaultdict(list)
    for key, ident in zip(batch.text("account_id"), batch.text("transaction_id"), strict=True):
        sent[key].append(ident)
    for record in consume(topics, TRANSACTIONS):
        arrived[record.key()].append(headers_of(record)["ce_id"])
    assert arrived == sent


@pytest.mark.parametrize("avro", [False, True])
def test_json_where_avro_is_not_wanted_or_no_registry_is_named(
    avro: bool, topics: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = None if avro else "http://127.0.0.1:1"
    batch = batch_of()
    with KafkaSink(to(topics, avro=avro, schema_registry_url=url)) as sink:
        assert sink.format == "json"
        assert sink.register_schemas() == {}
        sink.send_batch(batch)
    assert "Schema Registry" not in caplog.text
    values = [json.loads(record.value() or b"") for record in consume(topics, TRANSACTIONS)]
    rows = {str(row["transaction_id"]): row for row in map(batch.row, range(len(batch)))}
    assert len(values) == len(rows)
    for value in values:
        row = rows[value["transaction_id"]]
        assert Decimal(str(value["amount"])) == row["amount"]
        assert list(value) == list(row)


def test_headers_and_timestamps_by_choice(topics: str) -> None:
    batch = batch_of()
    config = to(topics, cloudevents=False, record_timestamp="event")
    with KafkaSink(config) as sink:
        sink.send_batch(batch)
    records = consume(topics, TRANSACTIONS)
    assert {record.headers() is None for record in records} == {True}
    times = sorted(int(batch.row(at)["occurred_at"].timestamp() * 1000) for at in range(len(batch)))
    assert sorted(record.timestamp()[1] for record in records) == times


@pytest.mark.parametrize("cloudevents", [False, True])
def test_content_type_follows_the_headers(
    cloudevents: bool, topics: str, registry: Registry
) -> None:
    url = registry.url if cloudevents else None
    config = to(topics, cloudevents=cloudevents, content_type=True, schema_registry_url=url)
    with KafkaSink(config) as sink:
        sink.send_batch(batch_of())
    kind = b"application/avro" if cloudevents else b"application/json"
    for record in consume(topics, TRANSACTIONS):
        headers = record.headers() or []
        assert isinstance(headers, list)
        assert len(headers) == (7 if cloudevents else 1)
        assert headers[-1] == ("content-type", kind)


def test_one_event_at_a_time_without_connecting_first(topics: str, registry: Registry) -> None:
    batch = batch_of()
    sink = KafkaSink(to(topics, EVENT_BY_EVENT, schema_registry_url=registry.url))
    for at in range(3):
        sink.send(TRANSACTIONS, batch.row(at))
    assert sink.close().acknowledged == 3
    assert sink.close().acknowledged == 3
    assert {headers_of(record)["ce_id"] for record in consume(topics, TRANSACTIONS)} == {
        batch.text("transaction_id")[at] for at in range(3)
    }


@pytest.mark.usefixtures("each_engine")
def test_a_full_queue_loses_nothing(topics: str) -> None:
    config = to(topics, queue_buffering_max_messages=10)
    batch = batch_of()
    with KafkaSink(config) as sink:
        sink.send_batch(batch)
    assert sink.report().acknowledged == len(batch)
    assert len(consume(topics, TRANSACTIONS)) == len(batch)


def test_no_stream_of_that_name(topics: str) -> None:
    sink = KafkaSink(to(topics))
    with pytest.raises(OptionError, match=r"customers.*banking\.transactions"):
        sink.send_batch(batch_of("customers"))
    sink.close()


# --- topics


def test_topics_are_made_once_and_reused(clean_kafka: str) -> None:
    sink = KafkaSink(to(clean_kafka))
    with pytest.raises(ConfigurationError, match=r"banking\.trades does not exist.*create-topics"):
        sink.require_topics(["banking.trades"])
    first = sink.create_topics({TRANSACTIONS: 3}, 8)
    assert [(topic.name, topic.partitions, topic.created) for topic in first] == [
        (TRANSACTIONS, 3, True)
    ]
    again = sink.create_topics({TRANSACTIONS: 6, "banking.trades": 2}, 9)
    assert [(topic.name, topic.partitions, topic.created) for topic in again] == [
        (TRANSACTIONS, 3, False),
        ("banking.trades", 2, True),
    ]
    assert sink.require_topics([TRANSACTIONS, "banking.trades"]) == {
        TRANSACTIONS: 3,
        "banking.trades": 2,
    }
    assert sink.end_offsets(STREAMS) == {
        TRANSACTIONS: {0: 0, 1: 0, 2: 0},
        "banking.trades": {0: 0, 1: 0},
    }
    sink.close()
    assert _retention(clean_kafka, TRANSACTIONS) == 8 * 3_600_000
    assert _retention(clean_kafka, "banking.trades") == 9 * 3_600_000


def _retention(bootstrap: str, topic: str) -> int:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (future,) = admin.describe_configs([ConfigResource(RESOURCE_TOPIC, topic)]).values()
    return int(future.result()["retention.ms"].value)


def test_topics_take_events_as_soon_as_they_are_made(clean_kafka: str) -> None:
    """A leader lists its partitions before it serves them; with many it takes a while."""
    admin = AdminClient({"bootstrap.servers": clean_kafka})
    admin.list_topics(timeout=10)
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    sink = KafkaSink(to(clean_kafka))
    topics = sink.create_topics({TRANSACTIONS: 40, "banking.trades": 40}, 8)
    asked = {TopicPartition(one.name, at): latest for one in topics for at in range(one.partitions)}
    answers = admin.list_offsets(asked, request_timeout=10)
    sink.close()
    assert [answer.result().offset for answer in answers.values()] == [0] * 80


def test_delete_takes_topics_and_subjects_and_no_others(topics: str, registry: Registry) -> None:
    sink = KafkaSink(to(topics, schema_registry_url=registry.url))
    kept = "banking.installments"
    gone = [name for name in STREAMS if name != kept]
    sink.register_schemas(STREAMS)
    for _ in range(2):  # what is not there is no error
        sink.delete(gone)
        assert sink.end_offsets(STREAMS).keys() == {kept}
        with SchemaRegistryClient({"url": registry.url}) as client:
            subjects = set(client.get_subjects(deleted=True))
        assert subjects & {f"{name}-value" for name in STREAMS} == {f"{kept}-value"}
    sink.close()


def test_topics_that_cannot_be_made(topics: str) -> None:
    sink = KafkaSink(to(topics))
    with pytest.raises(RejectedError, match="no/topic"):
        sink.create_topics({"no/topic": 1}, 8)
    with pytest.raises(DatagenError, match="none"):
        sink.create_topics({"none": 0}, 8)
    for hours in (0, -1, 2**63):
        with pytest.raises(OptionError, match="retention_hours"):
            sink.create_topics({"none": 1}, hours)
    sink.close()


def test_asking_for_topics_makes_none() -> None:
    with running(KafkaBroker(auto_create_topics=True, short_lived=True)) as broker:
        sink = KafkaSink(to(broker.bootstrap))
        with pytest.raises(ConfigurationError, match="does not exist"):
            sink.require_topics(["banking.nobody"])
        assert sink.end_offsets(["banking.nobody"]) == {}
        with pytest.raises(ConfigurationError, match="do not exist"):
            sink.require_topics(["banking.nobody", "banking.nothing"])
        sink.close()


# --- the registry


def test_json_with_a_warning_where_no_registry_answers(
    topics: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://me:hunter2@127.0.0.1:{free_port()}"
    batch = batch_of()
    started = time.monotonic()
    with KafkaSink(to(topics, schema_registry_url=url)) as sink:
        sink.send_batch(batch)
        sink.send_batch(batch_of("banking.trades"))
        assert sink.format == "json"
    assert time.monotonic() - started < 10
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["datagen.sinks._registry"]
    assert "not available. Using JSON serialization." in warnings[0].getMessage()
    assert "hunter2" not in caplog.text
    assert json.loads(consume(topics, TRANSACTIONS)[0].value() or b"")


def test_json_with_a_warning_where_the_extra_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka.schema_registry", None)
    sink = KafkaSink()
    assert sink.format == "json"
    assert "confluent-kafka[avro] not installed. Using JSON serialization." in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b'{"error_code":50001,"message":"hunter2 of me"}', UnreachableError),
        (503, b"<html>busy</html>", UnreachableError),
        (401, b'{"error_code":40101,"message":"no"}', ConfigurationError),
        (403, b'{"error_code":40301,"message":"no"}', ConfigurationError),
        (404, b"<html>", ConfigurationError),
        (409, b'{"error_code":409,"message":"incompatible"}', RejectedError),
        (422, b'{"error_code":42201,"message":"invalid"}', RejectedError),
        (200, b"<html>", ConfigurationError),
        (200, b"{}", ConfigurationError),
        (200, b"[]", ConfigurationError),
    ],
)
def test_a_registry_that_answers_with_an_error_is_not_absent(
    status: int,
    body: bytes,
    error: type[DatagenError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with answering(status, body) as (address, seen):
        config = to("localhost:1", schema_registry_url=f"http://me:hunter2@{address}")
        started = time.monotonic()
        with pytest.raises(error) as caught:
            KafkaSink(config).register_schemas()
        assert time.monotonic() - started < 10
    assert address in str(caught.value)
    if status >= 400:
        assert "banking.transactions-value" in str(caught.value)
        assert str(status) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    assert set(seen) == {"Basic bWU6aHVudGVyMg=="}


def test_a_registry_that_stops_answering_is_not_absent(topics: str) -> None:
    with answering(200, b'{"id": 1}', answers=1) as (address, seen):
        config = to(topics, schema_registry_url=f"http://{address}")
        with pytest.raises(UnreachableError, match="stopped answering"), KafkaSink(config) as sink:
            sink.register_schemas(STREAMS)
    assert len(seen) > 1


def test_a_registry_of_another_protocol_is_a_wrong_setting() -> None:
    with answering(200, b"{}") as (address, _):
        config = to("localhost:1", schema_registry_url=f"https://{address}")
        with pytest.raises(ConfigurationError, match="SSL"):
            KafkaSink(config).register_schemas()


@pytest.mark.parametrize(
    "options",
    [
        {"no.such.option": "1"},
        {"timeout": "soon"},
        {"ssl.ca.location": "/no/such/file.pem"},
        {"basic.auth.user.info": "hunter2"},
    ],
)
def test_wrong_registry_options_are_found_before_anything_is_connected(
    options: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match="Schema Registry") as caught:
        KafkaSink(ProducerConfig(registry_options=options))
    assert "hunter2" not in str(caught.value)


def test_two_users_for_one_registry() -> None:
    options = {"basic.auth.user.info": "me:hunter2"}
    with pytest.raises(ConfigurationError, match="twice"):
        KafkaSink(ProducerConfig(schema_registry_url="http://a:b@c", registry_options=options))


# --- what goes wrong with the broker


def test_a_closed_port(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}.*refused") as caught:
        KafkaSink(to(f"127.0.0.1:{port}")).connect(timeout=3)
    assert time.monotonic() - started < 5
    assert "datagen local up" in str(caught.value)
    # librdkafka's own lines are in the log, a few of them, and nowhere else.
    lines = [one for one in caplog.records if one.name == "datagen.sinks._librdkafka"]
    assert 1 <= len(lines) <= 5
    assert {one.levelno for one in lines} == {logging.DEBUG}
    assert capfd.readouterr() == ("", "")


def test_a_port_of_something_else(registry: Registry) -> None:
    bootstrap = urlsplit(registry.url).netloc
    started = time.monotonic()
    with pytest.raises(ConfigurationError, match=bootstrap) as caught:
        KafkaSink(to(bootstrap)).connect()
    assert time.monotonic() - started < 10
    assert "security.protocol" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"no.such.option": "hunter2"},
        {"socket.timeout.ms": "hunter2"},
        {"acks": "1", "enable.idempotence": "true"},
        {"security.protocol": "SSL", "ssl.ca.location": "/no/such/file.pem"},
        {"security.protocol": "SSL", "ssl.key.pem": "hunter2"},
        {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.password": "x"},
        {"transactional.id": "mine"},
        {"delivery.report.only.error": "true"},
        {"on_delivery": "print"},
    ],
)
def test_wrong_client_options_are_found_before_anything_is_connected(
    options: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match="Kafka option") as caught:
        KafkaSink(ProducerConfig(schema_registry_url=None, client_options=options))
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_making_a_sink_connects_to_nothing() -> None:
    with answering(200, b"{}") as (address, seen):
        KafkaSink(
            ProducerConfig(bootstrap_servers=address, schema_registry_url=f"http://{address}")
        )
        time.sleep(0.3)
    assert seen == []


def test_too_large_for_the_client(topics: str) -> None:
    row = batch_of().row(0) | {"description": "x" * 5_000}
    config = to(topics, client_options={"message.max.bytes": 1_000})
    with pytest.raises(RejectedError, match="MSG_SIZE_TOO_LARGE"), KafkaSink(config) as sink:
        sink.send_batch(Batch.from_rows(TRANSACTIONS, [batch_of().row(0), row]))
    report = sink.report()
    assert report.attempted == 2
    assert report.failed == {"MSG_SIZE_TOO_LARGE": 1, "_PURGE_QUEUE": 1}
    assert report.topics[TRANSACTIONS].partitions[-1].failed == {"MSG_SIZE_TOO_LARGE": 1}


@pytest.mark.usefixtures("each_engine")
def test_a_broker_that_stops_answering(topics: str, broker: KafkaBroker) -> None:
    config = to(topics, RELIABLE, message_timeout_ms=2_000)
    batch = batch_of()
    started = time.monotonic()
    with pytest.raises(UnreachableError) as caught, KafkaSink(config) as sink:  # noqa: PT012
        sink.send_batch(batch)
        sink.flush()
        broker.pause()
        sink.send_batch(batch)
    assert time.monotonic() - started < 20
    report = sink.report()
    assert report.attempted == 2 * len(batch)
    assert report.acknowledged == len(batch)
    assert report.topics[TRANSACTIONS].pending == 0
    assert f"{TRANSACTIONS} {len(batch)} of {2 * len(batch)} (" in str(caught.value)


@pytest.mark.usefixtures("each_engine")
def test_a_queue_that_stays_full(topics: str, broker: KafkaBroker) -> None:
    config = to(topics, message_timeout_ms=2_000, queue_buffering_max_messages=10)
    started = time.monotonic()
    first = Batch.from_rows(TRANSACTIONS, [batch_of().row(0)])
    with pytest.raises(UnreachableError), KafkaSink(config) as sink:  # noqa: PT012
        sink.send_batch(first)
        sink.flush()
        broker.pause()
        while True:
            sink.send_batch(batch_of())
    assert time.monotonic() - started < 20
    assert sink.report().acknowledged == 1
    # The native engine takes whole batches, and the last of them goes over the limit.
    assert 10 <= sink.report().attempted < 2 * len(batch_of())


@pytest.mark.usefixtures("each_engine")
def test_a_flush_that_takes_too_long(topics: str, broker: KafkaBroker) -> None:
    sink = KafkaSink(to(topics))
    sink.send_batch(batch_of())
    sink.flush()
    broker.pause()
    sink.send_batch(batch_of())
    with pytest.raises(UnreachableError, match=r"within 1 s.*no answer"):
        sink.flush(timeout=1.0)
    broker.resume()
    assert sink.close().complete
    assert len(consume(topics, TRANSACTIONS)) == 2 * len(batch_of())


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_an_exception_is_not_held_up(
    kind: type[BaseException],
    topics: str,
    broker: KafkaBroker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = batch_of()
    with pytest.raises(kind), KafkaSink(to(topics)) as sink:  # noqa: PT012
        sink.send_batch(batch)
        sink.flush()
        broker.pause()
        sink.send_batch(batch)
        started = time.monotonic()
        raise kind
    assert time.monotonic() - started < 6
    assert f"{TRANSACTIONS} {len(batch)} of {2 * len(batch)} (" in caplog.text
    assert ("interrupted" in caplog.text) == (kind is KeyboardInterrupt)


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("flushed", [False, True])
def test_what_arrived_is_told_unless_all_was_known_to_have(
    topics: str, caplog: pytest.LogCaptureFixture, flushed: bool
) -> None:
    """Nothing is left to drop, but only whoever has flushed has been told so."""
    batch = batch_of()
    with pytest.raises(KeyboardInterrupt), KafkaSink(to(topics)) as sink:  # noqa: PT012
        sink.send_batch(batch)
        assert sink._engine.flush(30)
        if flushed:
            sink.flush()
        raise KeyboardInterrupt
    told = f"Kafka: interrupted; acknowledged: {TRANSACTIONS} {len(batch)} of {len(batch)}"
    assert (told in caplog.text) is not flushed


@pytest.mark.usefixtures("each_engine")
def test_nothing_is_told_where_nothing_was_sent(
    topics: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt), KafkaSink(to(topics)) as sink:  # noqa: PT012
        sink.require_topics([TRANSACTIONS])
        raise KeyboardInterrupt
    assert "interrupted" not in caplog.text


@pytest.mark.usefixtures("each_engine")
def test_ctrl_c_in_the_middle(topics: str, caplog: pytest.LogCaptureFixture) -> None:
    batch = batch_of()
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt), KafkaSink(to(topics)) as sink:  # noqa: PT012
        timer.start()
        while True:
            sink.send_batch(batch)
    timer.join()
    report = sink.report()
    assert 0 < report.acknowledged <= report.attempted
    assert f"interrupted; acknowledged: {report}" in caplog.text
    assert len(consume(topics, TRANSACTIONS)) == report.acknowledged
    assert report.topics[TRANSACTIONS].pending == 0


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
