"""Topics that hold one format are not filled with another, unless somebody chose that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from command import assert_failed, load
from datagen import presets
from datagen.errors import ConfigurationError
from datagen.sinks.kafka import KafkaSink
from datagen.sinks.kafka.formats import format_of, formats_of
from datagen.sinks.kafka.librdkafka import ClientEvents
from records import TOPICS, end_offsets
from sending import TRANSACTIONS, batch_of, to
from services._net import free_port

if TYPE_CHECKING:
    from services.registry import Registry


def held(bootstrap: str, *topics: str) -> dict[str, set[Any]]:
    config = to(bootstrap)
    return formats_of(topics, config, ClientEvents(config), 10)


def send(bootstrap: str, **changes: Any) -> None:
    with KafkaSink(to(bootstrap, **changes)) as sink:
        sink.send_batch(batch_of())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"\0\0\0\0\1", "avro"),
        (b"\0\0\0\0", None),
        (b'{"a": 1}', "json"),
        (b"{a", None),
        (b"", None),
        (b"text", None),
    ],
)
def test_formats_by_their_first_bytes(value: bytes, found: str | None) -> None:
    assert format_of(value) == found


@pytest.fixture
def at_default(topics: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Topics, and a default address of the registry at which nothing listens."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(presets, "DEFAULT_REGISTRY", url)
    return topics


def test_avro_is_not_followed_by_json_unasked(
    at_default: str, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    send(at_default, schema_registry_url=registry.url)
    assert held(at_default, *TOPICS, "no.such.topic") == {TRANSACTIONS: {"avro"}}
    before = end_offsets(at_default)
    unnamed = to(at_default, schema_registry_url=presets.DEFAULT_REGISTRY)
    with KafkaSink(unnamed) as sink:
        sink.require_topics(TOPICS)
        with pytest.raises(
            ConfigurationError, match=rf"{TRANSACTIONS} holds Avro; --no-avro to mix"
        ):
            sink.register_schemas()
    assert caplog.text == ""  # no word of JSON that is not sent
    # Nor event by event, nor in topics that are looked for after that.
    with pytest.raises(ConfigurationError, match="holds Avro"):
        send(at_default, schema_registry_url=presets.DEFAULT_REGISTRY)
    with KafkaSink(unnamed) as sink:
        sink.register_schemas()
        with pytest.raises(ConfigurationError, match="holds Avro"):
            sink.send_batch(batch_of())
    assert end_offsets(at_default) == before
    caplog.clear()
    with KafkaSink(to(at_default, avro=False)) as sink:
        sink.require_topics(TOPICS)
        assert sink.register_schemas() == {}
        sink.send_batch(batch_of())
    (warning,) = (one for one in caplog.records if one.levelno == logging.WARNING)
    assert warning.getMessage() == f"Topic {TRANSACTIONS} holds Avro; JSON is added."
    assert end_offsets(at_default) != before


def test_json_is_not_followed_by_avro_unasked(
    topics: str,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(topics, avro=False)
    assert held(topics, TRANSACTIONS) == {TRANSACTIONS: {"json"}}
    before = end_offsets(topics)
    with monkeypatch.context() as inner:
        inner.setattr(presets, "DEFAULT_REGISTRY", registry.url)
        with pytest.raises(ConfigurationError, match=rf"{TRANSACTIONS} holds JSON; --no-avro"):
            send(topics, schema_registry_url=registry.url)
    assert end_offsets(topics) == before
    caplog.clear()
    send(topics, schema_registry_url=registry.url)
    (warning,) = (one for one in caplog.records if one.levelno == logging.WARNING)
    assert warning.getMessage() == f"Topic {TRANSACTIONS} holds JSON; Avro is added."
    assert end_offsets(topics) != before


def test_empty_topics_take_what_comes(at_default: str, caplog: pytest.LogCaptureFixture) -> None:
    assert held(at_default, *TOPICS) == {}
    send(at_default, schema_registry_url=presets.DEFAULT_REGISTRY)
    assert held(at_default, *TOPICS) == {TRANSACTIONS: {"json"}}
    assert [one.levelname for one in caplog.records if one.levelno >= logging.WARNING] == [
        "WARNING"  # no registry
    ]


def test_the_last_records_count_and_not_markers_of_transactions(topics: str) -> None:
    producer = Producer({"bootstrap.servers": topics, "transactional.id": "datagen-test-formats"})
    producer.init_transactions(10)
    for value in (b'{"a": 1}', b"\0\0\0\0\1", None):
        producer.begin_transaction()
        producer.produce(TRANSACTIONS, value, partition=1)
        producer.produce(TRANSACTIONS, b"text", partition=2)
        producer.commit_transaction(10)
    assert held(topics, TRANSACTIONS) == {TRANSACTIONS: {"avro"}}


def test_a_load_by_the_command(pg_dsn: str, clean_kafka: str, registry: Registry) -> None:
    where = ("--postgres-url", pg_dsn, "--kafka-bootstrap", clean_kafka, "--customers", 20)
    avro = load(*where, "--schema-registry", registry.url, "--create-topics")
    assert avro.code == 0, str(avro)
    assert avro.err == ""
    # A registry that was named is not replaced by JSON, whatever the topics hold.
    closed = f"http://127.0.0.1:{free_port()}"
    gone = load(*where, "--schema-registry", closed, "--truncate")
    assert_failed(gone, 5, closed, "cannot be reached")
    mixed = load(*where, "--no-avro", "--truncate")
    assert mixed.code == 0, str(mixed)
    assert mixed.err == f"WARNING: Topics {', '.join(TOPICS)} hold Avro; JSON is added.\n"
