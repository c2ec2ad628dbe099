"""`datagen peek`: what topics and tables hold, those of others too."""

from __future__ import annotations

import io
import json
import signal
import struct
import time
from typing import TYPE_CHECKING, Any

import fastavro
import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

import murmur2
from command import DATAGEN, assert_failed, load, outcome_of, run, started
from datagen import Plan
from datagen.types import catalogue
from own_topics import OwnTopics, new_prefix
from terminals import run_on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.kafka import Kafka
    from services.postgres import Postgres
    from services.registry import Registry

PEEK = (*DATAGEN, "peek")
PLAN = Plan(customers=30)
NOWHERE = ("--kafka-bootstrap", "127.0.0.1:1")


@pytest.fixture(scope="module")
def bank(kafka: Kafka, registry: Registry, postgres: Postgres) -> Iterator[dict[str, Any]]:
    """Services that hold the plan, the tables as topics too."""
    topics = OwnTopics(kafka.bootstrap)
    name = f"peek_{new_prefix()[5:-1]}"
    dsn = postgres.database(name)
    where = (*topics.options, "--schema-registry", registry.url)
    done = load(
        *(*where, "--postgres-url", dsn, "--customers", PLAN.customers),
        *(
            "--create-topics",
            "--master-topics",
            "--record-timestamp",
            "event",
            "--retention-hours",
            -1,
        ),
    )
    assert done.code == 0, done
    yield {"topics": topics, "where": where, "dsn": dsn, "registry": registry.url}
    postgres.drop(name)


def planned(name: str) -> list[dict[str, Any]]:
    lines = (line for batch in PLAN.batches(name) for line in batch.encode("json"))
    return [json.loads(line, parse_float=str) for line in lines]


def peeked(*options: object, **environment: Any) -> list[dict[str, Any]]:
    done = run(*PEEK, *options, "--format", "json", **environment)
    assert done.code == 0, done
    return [json.loads(line, parse_float=str) for line in done.lines]


@pytest.mark.parametrize("name", [relation.topic for relation in catalogue()])
def test_a_topic_of_a_load_is_read_whole(bank: dict[str, Any], name: str) -> None:
    [relation] = [one for one in catalogue() if one.topic == name]
    found = peeked(name, "-n", 100_000, *bank["where"])
    by_id = {row[relation.primary_key]: row for row in planned(relation.name)}
    # The bytes of the values are those of the JSON encoder.
    assert {one["value"][relation.primary_key]: one["value"] for one in found} == by_id
    assert len(found) == len(by_id)
    for one in found:
        assert one["topic"] == bank["topics"].name(name)
        assert one["key"] == one["value"][relation.key]
        assert one["partition"] == murmur2.partition(one["key"].encode(), 3)
        assert (one["format"], one["note"]) == ("avro", None)
        if relation.is_stream:
            assert one["headers"]["ce_id"] == one["value"][relation.primary_key]
            assert one["timestamp"] == one["value"][relation.time]
    times = [one["timestamp"] for one in found]
    assert times == sorted(times)


def test_the_last_and_the_first(bank: dict[str, Any]) -> None:
    name = "banking.transactions"
    every = peeked(name, "-n", 100_000, *bank["where"])
    assert peeked(name, "-n", 7, *bank["where"]) == every[-7:]
    assert peeked(name, "-n", 7, "--from-beginning", *bank["where"]) == every[:7]
    key = every[5]["key"]
    of_key = [one for one in every if one["key"] == key]
    assert peeked(name, "-n", 4, "--key", key, *bank["where"]) == of_key[-4:]
    first = peeked(name, "-n", 4, "--key", key, "--from-beginning", *bank["where"])
    assert first == of_key[:4]
    assert peeked(name, "--key", "nobody", *bank["where"]) == []
    # A topic may be named with its prefix.
    assert peeked(bank["topics"].name(name), "-n", 7, *bank["where"]) == every[-7:]


@pytest.mark.parametrize("width", [60, 200])
def test_a_message_on_a_terminal(bank: dict[str, Any], width: int) -> None:
    shown = run_on_terminal(width, *PEEK, "banking.trades", "-n", 2, *bank["where"])
    assert shown.code == 0, shown
    assert max(map(len, shown.lines)) <= width
    together = "".join(shown.out.split())
    for message in peeked("banking.trades", "-n", 2, *bank["where"]):
        for value in (message["key"], *message["headers"].values(), *message["value"].values()):
            assert str(value) in together


def test_a_table(bank: dict[str, Any]) -> None:
    where = ("--postgres-url", bank["dsn"])
    found = peeked("accounts", "-n", 1000, *where)
    key = {row["account_id"]: row for row in planned("accounts")}
    assert {row["account_id"]: row for row in found} == key
    times = [row["updated_at"] for row in found]
    assert times == sorted(times)
    assert peeked("accounts", "-n", 3, *where) == found[-3:]
    assert peeked("accounts", "-n", 3, "--from-beginning", *where) == found[:3]
    assert peeked("accounts", "--key", found[0]["account_id"], *where) == found[:1]
    shown = run(*PEEK, "accounts", "-n", 3, *where)
    assert len(shown.out.strip().splitlines()) == 5
    assert_failed(run(*PEEK, "accounts", "--key", "x", *where), 2, "--key", "UUID")
    missing = run(*PEEK, "accounts", *where, "--postgres-schema", "pg_toast")
    assert_failed(missing, 2, "--postgres-schema")
    with psycopg.connect(bank["dsn"], autocommit=True) as session:
        session.execute("CREATE SCHEMA bare")
    missing = run(*PEEK, "loans", *where, "--postgres-schema", "bare")
    assert_failed(missing, 3, "table loans does not exist")


def framed(ident: int, value: bytes) -> bytes:
    return struct.pack(">bI", 0, ident) + value


def test_messages_of_others(kafka: Kafka, registry: Registry) -> None:
    """Keys in Avro, schemas with references, JSON by a schema, text, bytes, nothing, and schemas that are not there."""
    topic = f"{new_prefix()}others"
    inner = {"type": "record", "name": "test.In", "fields": [{"name": "day", "type": "int"}]}
    outer = {"type": "record", "name": "test.Out", "fields": [{"name": "in", "type": "test.In"}]}
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema(f"{topic}-in", Schema(json.dumps(inner), "AVRO"))
        reference = SchemaReference("test.In", f"{topic}-in", 1)
        schema = Schema(json.dumps(outer), "AVRO", [reference])
        avro = client.register_schema(f"{topic}-value", schema)
        kind = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'
        by_json = client.register_schema(f"{topic}-json", Schema(kind, "JSON"))
        proto = 'syntax = "proto3"; message M { int32 a = 1; }'
        by_proto = client.register_schema(f"{topic}-proto", Schema(proto, "PROTOBUF"))
        text = client.register_schema(f"{topic}-key", Schema('{"type": "string"}', "AVRO"))
    both: dict[str, Any] = {}
    fastavro.parse_schema(inner, named_schemas=both)
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out, fastavro.parse_schema(outer, named_schemas=both), {"in": {"day": 7}}
    )
    sent: list[tuple[bytes | None, bytes | None]] = [
        (framed(text, b"\x04ab"), framed(avro, out.getvalue())),
        (b"k", framed(by_json, b'{"a": 1.10}')),
        (b"k", framed(by_proto, b"\0\x08\x01")),
        (b"k", b'{"a": [1, null, "\\u00e7"]}'),
        (b"\xff\x00", "três\x1b[31m".encode()),
        (None, "três".encode()),
        (b"k", b"\x01\xfe"),
        (b"k", None),
        (b"k", framed(2**31 - 2, b"x")),
        (b"k", framed(avro, b"")),
        (b"k", b""),
    ]
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    for key, value in sent:
        producer.produce(
            topic, value=value, key=key, headers=[("h", b"1"), ("h", b"\xff"), ("n", None)]
        )
    assert producer.flush(30) == 0
    where = ("--kafka-bootstrap", kafka.bootstrap, "--schema-registry", registry.url)
    found = peeked(topic, "-n", 100, *where)
    assert [(one["format"], one["value"]) for one in found] == [
        ("avro", {"in": {"day": 7}}),
        ("json", {"a": "1.10"}),
        ("bytes", framed(by_proto, b"\0\x08\x01").hex()),
        ("json", {"a": [1, None, "ç"]}),
        ("bytes", "três\x1b[31m".encode().hex()),
        ("text", "três"),
        ("bytes", "01fe"),
        ("none", None),
        ("bytes", framed(2**31 - 2, b"x").hex()),
        ("bytes", framed(avro, b"").hex()),
        ("text", ""),
    ]
    assert [one["key"] for one in found[:6]] == ["ab", "k", "k", "k", "ff00", None]
    assert found[0]["headers"] == {"h": ["1", "ff"], "n": None}
    assert "PROTOBUF" in found[2]["note"]
    assert f"no schema {2**31 - 2}" in found[8]["note"]
    assert f"not of schema {avro}" in found[9]["note"]
    shown = run(*PEEK, topic, *where)
    assert shown.code == 0, shown
    assert "\x1b" not in shown.out
    # The default address is asked, and need not answer.
    unread = peeked(topic, "-n", 100, "--kafka-bootstrap", kafka.bootstrap)
    assert unread[0]["format"] == "bytes"
    assert unread[3] == found[3]
    named = run(
        *PEEK,
        topic,
        "--kafka-bootstrap",
        kafka.bootstrap,
        "--schema-registry",
        "http://127.0.0.1:1",
    )
    assert_failed(named, 5, "Schema Registry")


def test_only_what_is_committed(kafka: Kafka) -> None:
    topic = f"{new_prefix()}committed"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for number, ends in enumerate(["commit", "abort", "commit", "stays open"]):
        producer.begin_transaction()
        producer.produce(topic, str(number))
        producer.flush(30)
        if ends == "commit":
            producer.commit_transaction(30)
        elif ends == "abort":
            producer.abort_transaction(30)
    found = peeked(topic, "-n", 2, "--kafka-bootstrap", kafka.bootstrap)
    producer.abort_transaction(30)
    assert [one["value"] for one in found] == ["0", "2"]


def test_follow_goes_on_until_ctrl_c(kafka: Kafka) -> None:
    topic = f"{new_prefix()}followed"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    groups = {one.group_id for one in admin.list_consumer_groups().result(10).valid}
    producer.produce(topic, "before", key="k", partition=murmur2.partition(b"k", 2))
    producer.flush(30)
    command = (*PEEK, topic, "--follow", "--key", "k", "--format", "json")
    with started(*command, "--kafka-bootstrap", kafka.bootstrap) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["value"] == "before"
        for key in ("k", "other", "k"):
            producer.produce(topic, key, key=key)
        # As Java's producer would: librdkafka's own choice of a partition is another.
        producer.produce(topic, "after", key="k", partition=murmur2.partition(b"k", 2))
        producer.flush(30)
        line = ""
        while "after" not in line:
            line = process.stdout.readline()
            assert json.loads(line)["key"] == "k"
        process.send_signal(signal.SIGINT)
        ended = outcome_of(process)
    assert (ended.code, ended.err.strip()) == (130, "Error: interrupted")
    after = {one.group_id for one in admin.list_consumer_groups().result(10).valid}
    assert after <= groups


def test_follow_a_table(pg_dsn: str) -> None:
    done = load("--skip-kafka", "--customers", 5, "--postgres-url", pg_dsn)
    assert done.code == 0, done
    command = (*PEEK, "accounts", "--follow", "-n", 1, "--format", "json")
    with (
        started(*command, "--postgres-url", pg_dsn) as process,
        psycopg.connect(pg_dsn, autocommit=True) as session,
    ):
        assert process.stdout is not None
        last = json.loads(process.stdout.readline())
        session.execute(
            "UPDATE accounts SET updated_at = '2030-01-01T00:00:00Z' WHERE account_id = %s",
            [last["account_id"]],
        )
        changed = json.loads(process.stdout.readline())
        assert changed == {**last, "updated_at": "2030-01-01T00:00:00.000Z"}
        process.send_signal(signal.SIGINT)
        assert outcome_of(process).code == 130


def test_what_is_not_there(bank: dict[str, Any]) -> None:
    missing = run(*PEEK, "banking.trade", *bank["where"])
    topic = bank["topics"].name("banking.trade")
    assert_failed(missing, 3, f"topic {topic} does not exist", "did you mean")
    began = time.monotonic()
    assert_failed(run(*PEEK, "banking.trades", *NOWHERE), 5, "127.0.0.1:1")
    assert time.monotonic() - began < 30
    nowhere = "postgresql://postgres@127.0.0.1:1/bank"
    assert_failed(run(*PEEK, "loans", "--postgres-url", nowhere), 5, "127.0.0.1:1")
    assert_failed(run(*PEEK, "loans", "-n", 0), 2, "-n")
    both = run(*PEEK, "x", "--follow", "--from-beginning")
    assert_failed(both, 2, "--from-beginning")
