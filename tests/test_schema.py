"""`datagen schema`: DDL and schemas for those who read what a load writes.

Flink, Spark and Debezium carry theirs out in tests/clients.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import avro.schema
import fastavro
import psycopg
import pytest
from click.testing import CliRunner

from command import DATAGEN, assert_failed, load, run
from datagen import Plan
from datagen.cli import schemas
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = (*DATAGEN, "schema")
TABLES = [table.name for table in catalogue().tables]
STREAMS = [stream.name for stream in catalogue().streams]
ENGINES = ("flink", "spark", "ksqldb", "debezium", "postgres", "avro")


def schema(engine: str, *options: str, **environment: Any) -> str:
    printed = run(*SCHEMA, "--for", engine, *options, **environment)
    assert printed.code == 0, printed
    assert printed.err == ""
    return printed.out


def statements(text: str) -> list[str]:
    return [one for one in re.split(r";\s*(?:\n|$)", text) if one]


def test_avro_reads_what_the_encoder_writes() -> None:
    names = [relation.name for relation in catalogue()]
    lines = schema("avro").splitlines()
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        avro.schema.parse(line)
        parsed = fastavro.parse_schema(json.loads(line))
        batch = next(Plan().batches(name))
        row = fastavro.schemaless_reader(io.BytesIO(batch.encode("avro")[0]), parsed, None)
        assert isinstance(row, dict)
        assert [*row] == batch.column_names
    assert schema("avro", "loans", "banking.trades").splitlines() == [
        lines[names.index(name)] for name in ("loans", "banking.trades")
    ]


@pytest.mark.parametrize("name", [None, 'The "Bank"'])
def test_postgres_makes_the_tables_that_a_load_takes(pg_dsn: str, name: str | None) -> None:
    options = () if name is None else ("--postgres-schema", name)
    with psycopg.connect(pg_dsn, autocommit=True) as session:
        if name is not None:
            session.execute('CREATE SCHEMA "The ""Bank"""')
        session.execute(schema("postgres", *options).encode())
    # It refuses tables of another shape.
    done = load("--skip-kafka", "--postgres-url", pg_dsn, *options)
    assert done.code == 0, done


def test_postgres_of_some_tables(pg_dsn: str) -> None:
    with psycopg.connect(pg_dsn, autocommit=True) as session:
        for names in (["properties", "customers"], ["loans"]):
            session.execute(schema("postgres", *names).encode())
        found = session.execute("SELECT relname FROM pg_class WHERE relkind = 'r'").fetchall()
    assert {"customers", "properties", "loans"} <= {one for (one,) in found}


@pytest.mark.parametrize("engine", ENGINES)
def test_no_password_is_printed(engine: str) -> None:
    text = schema(
        *(
            engine,
            "--postgres-url",
            "postgresql://reader:hunter2@db.example:6432/bank?sslmode=require",
        ),
        *(
            "--schema-registry",
            "http://someone:hunter3@registry.example:8081,http://other.example?apikey=hunter5",
        ),
        *("--kafka-bootstrap", "kafka.example:9092", "--topic-prefix", "team."),
        PGPASSWORD="hunter4",
    )
    assert "hunter" not in text
    assert "someone" not in text
    for place, engines in {
        "kafka.example:9092": {"flink", "spark"},
        "http://registry.example:8081,http://other.example": {"flink"},
        "team.banking": {"flink", "spark", "ksqldb", "debezium"},
        "jdbc:postgresql://db.example:6432/bank?sslmode=require": {"flink", "spark"},
        "<password>": {"flink", "spark", "debezium"},
        "reader": {"flink", "spark", "debezium"},
    }.items():
        assert (place in text) == (engine in engines), place


def test_debezium_gets_a_publication_of_the_six_tables() -> None:
    connector = json.loads(schema("debezium", "--postgres-schema", "a.b"))
    config = connector["config"]
    assert config["table.include.list"].split(",") == [f"a\\.b.{name}" for name in TABLES]
    assert config["publication.autocreate.mode"] == "filtered"
    assert all(isinstance(value, str) for value in config.values())
    # It leaves truncate events out unless told otherwise.
    assert "skipped.operations" not in config


@pytest.mark.parametrize("more", [(), ("--master-topics",)])
def test_ksqldb_reads_topics_alone(more: Sequence[str]) -> None:
    """No ksqlDB is to be had from package registries: what is known of its grammar is held here."""
    made = statements(schema("ksqldb", *more))
    assert len(made) == (10 if more else 4)
    for statement in made:
        kind, name = re.match(r"CREATE (STREAM|TABLE) (\S+) \(\n", statement).groups()  # type: ignore[union-attr]
        [key] = re.findall(r"^  (\w+) VARCHAR (?:PRIMARY )?KEY,$", statement, re.MULTILINE)
        [topic] = re.findall(r"KAFKA_TOPIC = '(.*)'", statement)
        [relation] = [one for one in catalogue() if one.topic == topic]
        assert (kind, key) == ("STREAM" if relation.is_stream else "TABLE", relation.key)
        columns = re.findall(r"^  ([a-z_0-9]+) [A-Z]", statement, re.MULTILINE)
        assert sorted(columns) == sorted(field.name for field in relation.fields)
        # The one of our names that is a word of its grammar.
        assert (name == "`PROPERTIES`") == (relation.name == "properties")


def test_statements_come_with_every_field() -> None:
    for engine in ("flink", "spark"):
        for relation in catalogue():
            options = ["--for", engine, relation.name, "--master-topics"]
            printed = CliRunner().invoke(schemas.schema, options)
            assert printed.exit_code == 0, printed.output
            for field in relation.fields:
                assert field.name in printed.output


def test_names_that_cannot_be_read() -> None:
    assert_failed(run(*SCHEMA, "custmers", "--for", "flink"), 2, "did you mean customers?")
    assert_failed(run(*SCHEMA, "loans", "--for", "ksqldb"), 2, "add --master-topics")
    assert_failed(run(*SCHEMA, "banking.trades", "--for", "debezium"), 2, "a stream")
    assert_failed(run(*SCHEMA, "--for", "hive"), 2, "--for")
    assert_failed(run(*SCHEMA), 2, "--for")
    assert_failed(
        run(*SCHEMA, "--for", "flink", "--kafka-bootstrap", "x y"), 2, "--kafka-bootstrap"
    )
    assert_failed(run(*SCHEMA, "--for", "flink", "--postgres-url", "postgresql://a@b@c"), 3, "@")
    assert_failed(run(*SCHEMA, "--for", "postgres", "--postgres-schema", "pg_x"), 2, "schema")
