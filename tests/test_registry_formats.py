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
from records import TOPICS
from sending import TRANSACTIONS, batch_of
from services._net import free_port

if TYPE_CHECKING:
    from own_topics import OwnTopics
    from services.registry import Registry


def held(topics: OwnTopics, *streams: str) -> dict[str, set[Any]]:
    config = topics.config()
    names = {topics.name(stream): stream for stream in streams}
    found = formats_of(tuple(names), config, ClientEvents(config), 10)
    return {names[name]: formats for name, formats in found.items()}


def send(topics: OwnTopics, **changes: Any) -> None:
    with KafkaSink(topics.config(**changes)) as sink:
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
def at_default(topics: OwnTopics, monkeypatch: pytest.MonkeyPatch) -> OwnTopics:
    """Topics, and a default address of the registry at which nothing listens."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(presets, "DEFAULT_REGISTRY", url)
    return topics


def test_avro_is_not_followed_by_json_unasked(
    at_default: OwnTopics, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    send(at_default, schema_registry_url=registry.url)
    assert held(at_default, *TOPICS, "no.such.topic") == {TRANSACTIONS: {"avro"}}
    before = at_default.ends()
    unnamed = at_default.config(schema_registry_url=presets.DEFAULT_REGISTRY)
    with KafkaSink(unnamed) as sink:
        sink.require_topics(at_default.names)
        with pytest.raises(
            ConfigurationError,
            match=rf"{at_default.name(TRANSACTIONS)} holds Avro; avro=False to mix",
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
    assert at_default.ends() == before
    caplog.clear()
    with KafkaSink(at_default.config(avro=False)) as sink:
        sink.require_topics(at_default.names)
        assert sink.register_schemas() == {}
        sink.send_batch(batch_of())
    (warning,) = (one for one in caplog.records if one.levelno == logging.WARNING)
    assert (
        warning.getMessage() == f"Topic {at_default.name(TRANSACTIONS)} holds Avro; JSON is added."
    )
    assert at_default.ends() != before


def test_json_is_not_followed_by_avro_unasked(
    topics: OwnTopics,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(topics, avro=False)
    assert held(topics, TRANSACTIONS) == {TRANSACTIONS: {"json"}}
    before = topics.ends()
    with monkeypatch.context() as inner:
        inner.setattr(presets, "DEFAULT_REGISTRY", registry.url)
        with pytest.raises(
            ConfigurationError, match=rf"{topics.name(TRANSACTIONS)} holds JSON; avro=False"
        ):
            send(topics, schema_registry_url=registry.url)
    assert topics.ends() == before
    caplog.clear()
    send(topics, schema_registry_url=registry.url)
    (warning,) = (one for one in caplog.records if one.levelno == logging.WARNING)
    assert warning.getMessage() == f"Topic {topics.name(TRANSACTIONS)} holds JSON; Avro is added."
    assert topics.ends() != before


def test_empty_topics_take_what_comes(
    at_default: OwnTopics, caplog: pytest.LogCaptureFixture
) -> None:
    assert held(at_default, *TOPICS) == {}
    send(at_default, schema_registry_url=presets.DEFAULT_REGISTRY)
    assert held(at_default, *TOPICS) == {TRANSACTIONS: {"json"}}
    assert [one.levelname for one in caplog.records if one.levelno >= logging.WARNING] == [
        "WARNING"  # no registry
    ]


def test_the_last_records_count_and_not_markers_of_transactions(topics: OwnTopics) -> None:
    producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": topics.prefix})
    producer.init_transactions(10)
    for value in (b'{"a": 1}', b"\0\0\0\0\1", None):
        producer.begin_transaction()
        producer.produce(topics.name(TRANSACTIONS), value, partition=1)
        producer.produce(topics.name(TRANSACTIONS), b"text", partition=2)
        producer.commit_transaction(10)
    assert held(topics, TRANSACTIONS) == {TRANSACTIONS: {"avro"}}


def test_a_load_by_the_command(pg_dsn: str, clean_kafka: OwnTopics, registry: Registry) -> None:
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--customers", 20)
    avro = load(*where, "--schema-registry", registry.url, "--create-topics")
    assert avro.code == 0, str(avro)
    assert avro.err == ""
    # A registry that was named is not replaced by JSON, whatever the topics hold.
    closed = f"http://127.0.0.1:{free_port()}"
    gone = load(*where, "--schema-registry", closed, "--truncate")
    assert_failed(gone, 5, closed, "cannot be reached")
    mixed = load(*where, "--no-avro", "--truncate")
    assert mixed.code == 0, str(mixed)
    assert (
        mixed.err == f"WARNING: Topics {', '.join(clean_kafka.names)} hold Avro; JSON is added.\n"
    )
