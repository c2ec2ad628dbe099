"""`--avro-enums string`: both engines send strings in place of enumerations, by a schema that says so."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from command import DATAGEN, assert_failed, load, run
from datagen import Plan
from datagen.errors import OptionError
from datagen.sinks.kafka import ProducerConfig
from datagen.types import catalogue
from records import TOPICS, AvroReader

if TYPE_CHECKING:
    from engines import Engine
    from own_topics import OwnTopics
    from services.registry import Registry

PLAN = Plan(customers=20)


def without_enums(schema: Any) -> Any:
    """The schema that is expected: each enumeration is a string, all else is as it was."""
    if isinstance(schema, list):
        return [without_enums(one) for one in schema]
    if isinstance(schema, dict):
        if schema.get("type") == "enum":
            return "string"
        return {name: without_enums(value) for name, value in schema.items()}
    return schema


@pytest.mark.parametrize("name", [relation.name for relation in catalogue()])
def test_the_schema_and_the_bytes(name: str) -> None:
    relation = catalogue()[name]
    schema = json.loads(relation.avro_schema_of_strings)
    assert schema == without_enums(json.loads(relation.avro_schema))
    parsed, usual = (
        fastavro.parse_schema(json.loads(text))
        for text in (relation.avro_schema_of_strings, relation.avro_schema)
    )
    for batch in PLAN.batches(name):
        strings = batch.encode("avro", avro_enums="string")
        for one, other in zip(strings, batch.encode("avro"), strict=True):
            rest = io.BytesIO(one)
            row = fastavro.schemaless_reader(rest, parsed, None)
            assert rest.read() == b""
            assert row == fastavro.schemaless_reader(io.BytesIO(other), usual, None)


def test_other_words_are_refused() -> None:
    batch = next(PLAN.batches("stocks"))
    with pytest.raises(OptionError, match="avro_enums"):
        batch.encode("avro", avro_enums="text")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="avro_enums"):
        ProducerConfig(avro_enums="text")  # type: ignore[arg-type]
    assert_failed(run(*DATAGEN, "load", "--avro-enums", "text"), 2, "--avro-enums")


@pytest.mark.parametrize("command", ["load", "load-parallel"])
def test_a_load(clean_kafka: OwnTopics, registry: Registry, engine: Engine, command: str) -> None:
    options = (
        *(*clean_kafka.options, "--schema-registry", registry.url, "--customers", 20),
        *("--skip-postgres", "--create-topics", "--avro-enums", "string", *engine.options),
    )
    done = run(*DATAGEN, command, *options)
    assert done.code == 0, done
    read = AvroReader(registry.url)
    for topic, records in clean_kafka.read().items():
        relation = catalogue()[topic]
        with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
            subject = f"{clean_kafka.name(topic)}-value"
            registered = client.get_latest_version(subject).schema.schema_str
        assert json.loads(registered or "") == json.loads(relation.avro_schema_of_strings)
        rows = {row[relation.primary_key]: row for row in (read(one.value) for one in records)}
        expected = {
            one[relation.primary_key]: one
            for batch in PLAN.batches(topic)
            for one in map(batch.row, range(len(batch)))
        }
        assert rows == expected
    assert {*clean_kafka.read()} == {*TOPICS}


def test_what_reads_it_is_told() -> None:
    for engine in ("flink", "spark", "avro"):
        printed = run(
            *DATAGEN, "schema", "banking.trades", "--for", engine, "--avro-enums", "string"
        )
        assert catalogue()["banking.trades"].avro_schema_of_strings in printed.out


def test_help_has_it() -> None:
    assert "--avro-enums" in load("--help").out
    assert "--avro-enums" in run(*DATAGEN, "stream", "--help").out
