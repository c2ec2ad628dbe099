"""Tables as compacted topics: every row and every change, by primary key, before the events that need it."""

from __future__ import annotations

import itertools
import json
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]
from confluent_kafka.cimpl import RESOURCE_TOPIC, NewTopic

from command import DATAGEN, run, started, wait_until
from datagen import Plan
from datagen.errors import ConfigurationError, RejectedError
from datagen.loader import Load, load
from datagen.position import instant_text, moment
from datagen.sinks.base import streams, tables
from datagen.sinks.kafka import KafkaSink
from datagen.sinks.kafka.stage import KafkaTarget
from datagen.sinks.postgres.stage import PostgresTarget
from datagen.stream import Stream, stream
from datagen.types import catalogue
from postgres_tables import execute
from records import AvroReader, read_topics
from test_following import PLAN, PLANNED, START, STREAM, assert_tables
from test_stream import FakeClock, Quiet
from test_stream_command import assert_exact, wait_until_written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from datagen import Batch
    from engines import Engine
    from own_topics import OwnTopics
    from records import Record
    from services.registry import Registry

pytest_plugins = ["postgres_fixtures"]

TABLE_TOPICS = {
    "customers": "banking.customers",
    "properties": "banking.properties",
    "stocks": "banking.stocks",
    "accounts": "banking.accounts",
    "credit_cards": "banking.credit-cards",
    "loans": "banking.loans",
}
#: The timestamp of the rows that a load sends: 2000-01-01.
BEGINNING = 946_684_800_000
#: Has the broker keep all versions of a row: changes are older than an hour, and segments end by their times.
KEPT = {"min.compaction.lag.ms": "1000000000000"}


def read_tables(topics: OwnTopics) -> dict[str, list[Record]]:
    """The records of each table's topic, by partition and offset."""
    names = {topics.name(topic): table for table, topic in TABLE_TOPICS.items()}
    found = read_topics(topics.bootstrap, names)
    return {table: found[name] for name, table in names.items()}


def rows_of(plan: Plan, table: str, until: datetime | None = None) -> dict[bytes, bytes]:
    """The rows as they are at an instant, as JSON, by primary key."""
    return {
        bytes(key): bytes(value)
        for batch in plan.batches(table, until=until)
        for key, value in zip(
            batch.text(catalogue()[table].primary_key), batch.encode("json"), strict=True
        )
    }


def last_of(records: list[Record]) -> dict[bytes, bytes]:
    """What is left of a topic once it is compacted."""
    return {record.key: record.value for record in records}


def assert_in_order(records: list[Record]) -> None:
    """Each version of a row is there once, after those before it, and in one partition."""
    by_key: dict[bytes, list[tuple[int, int]]] = {}
    for record in records:
        by_key.setdefault(record.key, []).append((record.partition, record.timestamp))
    for versions in by_key.values():
        assert len({partition for partition, _ in versions}) == 1
        times = [when for _, when in versions]
        assert all(before < after for before, after in itertools.pairwise(times))


def target_of(topics: OwnTopics, **changes: Any) -> KafkaTarget:
    producer = topics.config(**changes.pop("producer", {}))
    return KafkaTarget(
        producer=producer,
        **{"create_topics": True, "master_topics": True, "topic_config": KEPT, **changes},
    )


def described(topics: OwnTopics, topic: str) -> Mapping[str, Any]:
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    [future] = admin.describe_configs([ConfigResource(RESOURCE_TOPIC, topics.name(topic))]).values()
    return {name: entry.value for name, entry in future.result(10).items()}


@pytest.mark.parametrize("fast", [False, True])
def test_a_load_sends_every_row_once(
    clean_kafka: OwnTopics, engine: Engine, pg_dsn: str, *, fast: bool
) -> None:
    target = target_of(clean_kafka, producer={"engine": engine.name})
    targets: dict[str, Any] = {"postgres": PostgresTarget(url=pg_dsn), "kafka": target}
    report = load(Load(plan=PLAN, targets=targets, fast=fast), Quiet())
    assert report.ok
    found = read_tables(clean_kafka)
    events = clean_kafka.read()
    for table, records in found.items():
        assert last_of(records) == rows_of(PLAN, table)
        assert len(records) == len(rows_of(PLAN, table))
        [unlike] = {record.headers for record in records}
        assert unlike is None
        assert described(clean_kafka, TABLE_TOPICS[table])["cleanup.policy"] == "compact"
    # A join by time finds an account at its first movement.
    assert {one.timestamp for records in found.values() for one in records} == {BEGINNING}
    # Joins need equal keys in equal partitions.
    place = {one.key: one.partition for one in found["accounts"]}
    assert all(place[one.key] == one.partition for one in events["banking.transactions"])
    place = {one.key: one.partition for one in found["credit_cards"]}
    assert all(place[one.key] == one.partition for one in events["banking.card-transactions"])
    assert_tables(pg_dsn, PLAN)
    assert {check.name.removeprefix(clean_kafka.prefix) for check in report["kafka"].checks} == {
        *TABLE_TOPICS.values(),
        *streams(),
    }


def test_values_are_avro_by_the_rule_of_all_subjects(
    clean_kafka: OwnTopics, registry: Registry
) -> None:
    target = target_of(clean_kafka, producer={"schema_registry_url": registry.url})
    assert load(Load(plan=PLAN, targets={"kafka": target}, fast=True), Quiet()).ok
    reader = AvroReader(registry.url)
    for table, records in read_tables(clean_kafka).items():
        wanted = {row["updated_at"] for batch in PLAN.batches(table) for row in _rows(batch)}
        assert {reader(record.value)["updated_at"] for record in records} == wanted
    with KafkaSink(target.producer) as sink:
        ids = sink.register_schemas(["credit_cards"])
    assert [*ids] == [f"{clean_kafka.prefix}banking.credit-cards-value"]


def _rows(batch: Batch) -> list[dict[str, Any]]:
    return [batch.row(row) for row in range(len(batch))]


@pytest.mark.parametrize("with_database", [False, True])
def test_the_topics_follow_a_stream_in_step(
    clean_kafka: OwnTopics, pg_dsn: str, *, with_database: bool
) -> None:
    end = moment(1_782_000_000_000)
    targets: dict[str, Any] = {"kafka": target_of(clean_kafka)}
    if with_database:
        targets = {"postgres": PostgresTarget(url=pg_dsn), **targets}
    run = Load(plan=PLAN, targets=targets, fast=True)
    asked = Stream(run=run, start=START, until=end, speed=50_000.0)
    outcome = stream(asked, Quiet(), FakeClock())
    assert outcome.report is not None
    assert outcome.report.ok
    found = read_tables(clean_kafka)
    for table, records in found.items():
        assert_in_order(records)
        assert last_of(records) == rows_of(PLAN, table, end)
        born = {one.key for one in records}
        first = rows_of(PLAN, table, START)
        assert {*first} <= born
        for before, record in itertools.pairwise(records):
            if before.key == record.key:
                assert json.loads(record.value)["updated_at"] == instant_text(
                    moment(record.timestamp)
                )
        # The first version of each row is that of the start.
        seen: dict[bytes, bytes] = {}
        for record in records:
            seen.setdefault(record.key, record.value)
        assert {key: seen[key] for key in first} == first
    assert len(found["accounts"]) > 2 * len(rows_of(PLAN, "accounts"))
    if with_database:
        assert_tables(pg_dsn, PLAN, end)


def test_no_event_is_sent_before_the_rows_of_its_slice_are_there(
    clean_kafka: OwnTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    send, settle = KafkaSink.send_batch, KafkaSink.settle

    def sent(self: KafkaSink, batch: Batch, *, timestamp: int | None) -> None:
        calls.append("row" if batch.name in tables() else "event")
        send(self, batch, timestamp=timestamp)

    def settled(self: KafkaSink, seconds: float) -> bool:
        done = settle(self, seconds)
        calls.append("all there" if done else "not there")
        return done

    monkeypatch.setattr(KafkaSink, "send_batch", sent)
    monkeypatch.setattr(KafkaSink, "settle", settled)
    monkeypatch.setattr(KafkaSink, "flush", lambda self: settled(self, 10) and self.report())
    run = Load(plan=PLAN, targets={"kafka": target_of(clean_kafka)}, fast=True)
    stream(Stream(run=run, start=START, speed=50_000.0, backfill=False), Quiet(), FakeClock())
    pairs = [*itertools.pairwise(calls)]
    assert ("row", "event") not in pairs
    assert ("not there", "event") not in pairs
    assert pairs.count(("all there", "event")) > 20


@pytest.mark.parametrize("engine_name", ["native", "confluent"])
def test_the_topics_are_exact_whatever_ends_the_stream(
    topics: OwnTopics, engine_name: str, pg_dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    common = (*STREAM, *topics.options, "--position", file)
    database = ("--postgres-url", pg_dsn) if engine_name == "native" else ("--skip-postgres",)
    first = (
        *(*PLANNED, "--master-topics", "--create-topics", "--engine", engine_name),
        *(word for name, value in KEPT.items() for word in ("--topic-config", f"{name}={value}")),
        *("--start", "2026-06-12T00:00:00Z", "--speed", "100000"),
    )
    for number in range(3):
        begun = ("--resume",) if number else first
        with started(*common, *database, *begun) as process:
            wait_until_written(file, process)
            time.sleep(1.3 + number / 3)
            process.kill()
            process.wait(timeout=10)
    written = file.stat().st_mtime_ns
    with started(*common, *database, "--resume") as process:
        assert wait_until(lambda: file.stat().st_mtime_ns != written, 60)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 143, out + err
    done = run(*common, *database, "--resume", "--speed", "1e7", timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_exact(topics, PLAN)
    for table, records in read_tables(topics).items():
        assert_in_order(records)
        assert last_of(records) == rows_of(PLAN, table)


def test_nothing_is_sent_where_the_database_refuses(clean_kafka: OwnTopics, pg_dsn: str) -> None:
    load(Load(plan=PLAN, targets={"postgres": PostgresTarget(url=pg_dsn)}), Quiet())
    execute(pg_dsn, "DELETE FROM loans")
    targets: dict[str, Any] = {
        "postgres": PostgresTarget(url=pg_dsn),
        "kafka": target_of(clean_kafka),
    }
    with pytest.raises(RejectedError):
        load(Load(plan=PLAN, targets=targets), Quiet())
    assert not any(read_tables(clean_kafka).values())
    assert not any(clean_kafka.ends().values())


@pytest.mark.parametrize(
    ("table_config", "said"),
    [
        ({"cleanup.policy": "delete"}, "set its cleanup.policy to compact"),
        ({"cleanup.policy": "compact,delete"}, "set its cleanup.policy to compact"),
        (
            {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"},
            "leave out master_topics",
        ),
        (
            {"cleanup.policy": "compact", "message.timestamp.before.max.ms": "3600000"},
            "leave out master_topics",
        ),
    ],
)
def test_topics_that_would_lose_rows_are_refused(
    clean_kafka: OwnTopics, table_config: dict[str, str], said: str
) -> None:
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    name = clean_kafka.name("banking.customers")
    for future in admin.create_topics([NewTopic(name, 3, 1, config=table_config)]).values():
        future.result(10)
    # What is asked for of events does not matter.
    target = target_of(clean_kafka, producer={"record_timestamp": "production"})
    with pytest.raises(ConfigurationError, match=f"(?s){name}.*{said}"):
        load(Load(plan=PLAN, targets={"kafka": target}), Quiet())
    assert not any(clean_kafka.ends().values())


def test_partitions_are_those_of_the_stream_with_the_same_keys(clean_kafka: OwnTopics) -> None:
    asked = {"banking.transactions": 5, "banking.loans": 2, "banking.customers": 1}
    target = target_of(clean_kafka)
    target = replace(target, partitions={**target.partitions, **asked})
    assert load(Load(plan=PLAN, targets={"kafka": target}), Quiet()).ok
    metadata = AdminClient({"bootstrap.servers": clean_kafka.bootstrap}).list_topics(timeout=10)
    assert {
        topic: len(metadata.topics[clean_kafka.name(topic)].partitions)
        for topic in TABLE_TOPICS.values()
    } == {
        "banking.customers": 1,
        "banking.properties": 3,
        "banking.stocks": 3,
        "banking.accounts": 5,
        "banking.credit-cards": 3,
        "banking.loans": 2,
    }


def test_topics_that_are_missing_are_named(topics: OwnTopics) -> None:
    command = (*DATAGEN, "load", *topics.options, "--skip-postgres", "--master-topics", "--no-avro")
    done = run(*command, "--customers", "20", timeout=60)
    assert done.code == 3, done
    assert "banking.customers" in done.err
    assert "--create-topics" in done.err
    assert not any(topics.ends().values())


def test_a_stream_does_not_become_one_with_tables_in_topics(
    topics: OwnTopics, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    common = (*STREAM, *topics.options, "--skip-postgres", "--position", file)
    begin = ("--start", "2026-06-12T00:00:00Z", "--until", "2026-06-12T01:00:00Z", "--speed", "1e6")
    assert run(*common, *PLANNED, *begin, timeout=60).code == 0
    done = run(*common, "--resume", "--master-topics", "--create-topics", timeout=60)
    assert done.code == 2, done
    assert "--master-topics" in done.err
