r"""The designs that datagen is measured against, as an experienced Python programmer writes them.

Kafka: events are dicts, confluent-kafka's ``AvroSerializer`` encodes each, ``Producer.produce()``
takes each with its key and six CloudEvents headers. Not included, in the peer's favour: making the
dicts (ids are text already), its process's start, and PostgreSQL. Client settings, delivery
callback and polling are those of datagen's own sink.

PostgreSQL, by a programmer: rows are tuples of Python values, ``executemany`` inserts them in one
transaction. Not included: making the tuples, the tables, and the process's start.

PostgreSQL, by its administrator: psql's ``\\copy`` of files that are there already, in PostgreSQL's
own binary format, on one connection; then keys, indexes and foreign keys, by the statements that
datagen uses. Not included: making the files. ``FREEZE`` and one transaction are what datagen does;
without them it is what most would type.
"""

from __future__ import annotations

import gc
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from datagen.benchmark._peers import rows_of
from datagen.presets import ProducerConfig
from datagen.sinks.postgres import ddl
from datagen.sinks.postgres.copy_session import COPY_HEADER, COPY_TRAILER
from datagen.types import Relation, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from datagen import Plan


POLL_EVERY = 10_000

Event = dict[str, Any]
#: Topic, value, key and headers.
Record = tuple[str, bytes, bytes, list[tuple[str, bytes]]]


@contextmanager
def kept_apart() -> Iterator[None]:
    """Keeps what is made within from the garbage collector's later rounds.

    They would slow the peer down for nothing but our having made its input in advance.
    """
    gc.disable()
    try:
        yield
        gc.collect()
        gc.freeze()
    finally:
        gc.enable()


def events(plan: Plan, stop: int) -> dict[str, list[Event]]:
    """The events of the first ``stop`` customers by topic: the same mix as that of all."""
    with kept_apart():
        streams = catalogue().streams
        return rows_of(batch for one in streams for batch in plan.batches(one.name, 0, stop))


def rows(plan: Plan) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in the order of insertion."""
    with kept_apart():
        return {
            table.name: [
                tuple(batch.row(row).values())
                for batch in plan.batches(table.name)
                for row in range(len(batch))
            ]
            for table in catalogue().tables
        }


def send(config: ProducerConfig, events: Mapping[str, list[Event]]) -> None:
    """Sends every event and waits for its acknowledgement."""
    with SchemaRegistryClient({"url": config.schema_registry_url, "timeout": 10}) as client:
        produce(config, _records(client, events))


def _records(client: SchemaRegistryClient, events: Mapping[str, list[Event]]) -> Iterator[Record]:
    for stream in catalogue().streams:
        serializer = AvroSerializer(client, stream.avro_schema)
        # A stream has all three; a table has none.
        key_field, time_field = str(stream.key), str(stream.time)
        ce_type = str(stream.ce_type).encode()
        context = SerializationContext(stream.name, MessageField.VALUE)
        for event in events[stream.name]:
            key = event[key_field].encode()
            headers = [
                ("ce_specversion", b"1.0"),
                ("ce_type", ce_type),
                ("ce_source", b"data-gen/financial"),
                ("ce_id", event[stream.primary_key].encode()),
                ("ce_time", event[time_field].isoformat().encode()),
                ("ce_subject", key),
            ]
            yield stream.name, serializer(event, context), key, headers


def produce(config: ProducerConfig, records: Iterable[Record]) -> None:
    """Confluent-kafka's ``produce()`` for each record, and an acknowledgement for each."""
    producer = Producer(config.librdkafka())
    acknowledged = sent = 0

    def on_delivery(error: Any, _message: Any) -> None:
        nonlocal acknowledged
        if error is not None:
            raise RuntimeError(str(error))
        acknowledged += 1

    for topic, value, key, headers in records:
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
        if sent % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush()
    if acknowledged != sent:
        raise RuntimeError(f"{acknowledged} of {sent} events were acknowledged")


def write_files(plan: Plan, folder: Path) -> None:
    """One file for each table, ready for COPY; the page COPY, "Binary Format", says how."""
    for table in catalogue().tables:
        with (folder / table.name).open("wb") as file:
            file.write(COPY_HEADER)
            for batch in plan.batches(table.name):
                file.write(memoryview(batch.encode("pgcopy")))
            file.write(COPY_TRAILER)


def copy_files(psql: Path, dsn: str, folder: Path, *, freeze: bool) -> None:
    """Makes the tables, copies the files into them and adds the keys, as a script for psql."""
    tables = _tables()
    options = "FORMAT binary, FREEZE" if freeze else "FORMAT binary"
    script = [
        *(table.create("public") for table in tables),
        *(f"\\copy {table.name} FROM '{folder / table.name}' ({options})" for table in tables),
        *(line for t in tables for line in (t.add_keys("public"), *t.add_indexes("public"))),
        *(table.add_foreign_keys("public") for table in tables),
    ]
    text = "".join(f"{line}\n" if line.startswith("\\") else f"{line};\n" for line in script)
    subprocess.run(
        [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={dsn}"]
        + ["--single-transaction"] * freeze
        + ["--file=-"],
        input=text,
        text=True,
        check=True,
        capture_output=True,
    )


def create_tables(dsn: str, *, keys: bool) -> None:
    with psycopg.connect(dsn) as connection:
        for table in _tables():
            connection.execute(table.create("public").encode())
        if keys:
            _add_keys(connection)


def insert(dsn: str, rows: Mapping[str, list[tuple[Any, ...]]], *, keys_later: bool) -> None:
    """Inserts every row, adds the keys if they are not there, and commits."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table in catalogue().tables:
            cursor.executemany(_insert(table), rows[table.name])
        if keys_later:
            _add_keys(connection)


def _insert(table: Relation) -> bytes:
    columns = ", ".join(field.name for field in table.fields)
    places = ", ".join(["%s"] * len(table.fields))
    return f"INSERT INTO {table.name} ({columns}) VALUES ({places})".encode()  # noqa: S608


def _tables() -> list[ddl.TableShape]:
    return [ddl.shape(relation) for relation in catalogue().tables]


def _add_keys(connection: psycopg.Connection[Any]) -> None:
    for table in _tables():
        for statement in (table.add_keys("public"), *table.add_indexes("public")):
            connection.execute(statement.encode())
    for table in _tables():
        if statement := table.add_foreign_keys("public"):
            connection.execute(statement.encode())
