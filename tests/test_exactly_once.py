"""Loads and streams in Kafka transactions: each event once for readers of committed records, whatever ends the process."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from command import (
    DATAGEN,
    LOAD,
    Outcome,
    assert_failed,
    load,
    outcome_of,
    run,
    started,
    wait_until,
)
from datagen import Plan
from datagen.errors import RejectedError
from datagen.presets import RELIABLE
from datagen.sinks.kafka import KafkaSink
from datagen.types import catalogue
from own_topics import OwnTopics
from records import TOPICS
from sending import TRANSACTIONS
from services.kafka import KafkaBroker
from test_following import assert_tables
from test_master_topics import KEPT, TABLE_TOPICS, assert_in_order, last_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from running import Running

PLAN = Plan(seed=11, customers=60)
BATCHES = [*PLAN.batches(TRANSACTIONS, batch_rows=100)]
IDS = [
    bytes(ident) for batch in BATCHES for ident in batch.text(catalogue()[TRANSACTIONS].primary_key)
]


def sink(topics: OwnTopics) -> KafkaSink:
    return KafkaSink(topics.config(RELIABLE), transactional_id=f"{topics.prefix}load")


def made(topics: OwnTopics) -> KafkaSink:
    one = sink(topics)
    one.connect()
    one.create_topics({topics.name(TRANSACTIONS): 3})
    return one


def test_events_are_there_once_they_are_committed(topics: OwnTopics) -> None:
    with made(topics) as one:
        for batch in BATCHES:
            one.send_batch(batch)
        assert topics.committed_ids(TRANSACTIONS) == []
        one.flush()
        assert sorted(topics.committed_ids(TRANSACTIONS)) == sorted(IDS)
        assert one.report().acknowledged == len(IDS)
    assert one.report().complete


def test_the_next_process_goes_on_behind_the_last_transaction(topics: OwnTopics) -> None:
    first = made(topics)
    for batch in BATCHES[:5]:
        first.send_batch(batch)
    first.flush()
    for batch in BATCHES[5:8]:
        first.send_batch(batch)
    # It never ends: another takes over while its transaction is open.
    with sink(topics) as second:
        for batch in BATCHES:
            second.send_batch(batch)
    before = second.committed_before(topics.name(TRANSACTIONS))
    assert before == sum(map(len, BATCHES[:5]))
    assert second.report().acknowledged == len(IDS) - before
    assert sorted(topics.committed_ids(TRANSACTIONS)) == sorted(IDS)
    with pytest.raises(RejectedError, match="another process has begun the same run"):
        first.flush()
    first.__exit__(RuntimeError, RuntimeError(), None)
    assert sorted(topics.committed_ids(TRANSACTIONS)) == sorted(IDS)


def test_what_is_all_there_is_not_sent_again(topics: OwnTopics) -> None:
    for sent in (len(IDS), 0):
        with made(topics) as one:
            for batch in BATCHES:
                one.send_batch(batch)
        assert one.report().complete
        assert one.report().acknowledged == sent
    assert sorted(topics.committed_ids(TRANSACTIONS)) == sorted(IDS)


def test_an_exception_takes_the_open_transaction_back(topics: OwnTopics) -> None:
    one = made(topics)
    one.send_batch(BATCHES[0])
    one.flush()
    one.send_batch(BATCHES[1])
    one.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    report = one.report().topics[topics.name(TRANSACTIONS)]
    assert (report.acknowledged, report.unknown) == (len(BATCHES[0]), 0)
    assert sorted(topics.committed_ids(TRANSACTIONS)) == sorted(IDS[: len(BATCHES[0])])


LOADED = Plan(seed=11, customers=400)
SAID = ("--customers", 400, "--seed", 11, "--no-avro", "--exactly-once", "--create-topics")


@pytest.mark.parametrize("more", [(), ("--fast",), ("--order", "entity")])
def test_a_load_that_is_killed_again_and_again_is_exact(
    clean_kafka: OwnTopics, pg_dsn: str, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """The tables too: rows that are committed stay."""
    receipt = tmp_path / "receipt.json"
    command = (*LOAD, *SAID, *more, "--receipt", receipt, *clean_kafka.options)
    command = (*command, "--postgres-url", pg_dsn)
    moments = random.Random("moments")
    for _ in range(4):
        with started(*command) as process:
            assert wait_until(lambda: any(clean_kafka.ends().values()))
            time.sleep(moments.uniform(0.3, 2.5))
            process.kill()
            process.wait()
    outcome = run(*command)
    assert outcome.code == 0, str(outcome)
    for name in TOPICS:
        planned = sorted(
            bytes(ident)
            for batch in LOADED.batches(name)
            for ident in batch.text(catalogue()[name].primary_key)
        )
        assert sorted(clean_kafka.committed_ids(name)) == planned
    verified = run(*DATAGEN, "verify", receipt, "--postgres-url", pg_dsn)
    assert verified.code == 0, str(verified)


def test_the_same_command_again_finds_everything_there(clean_kafka: OwnTopics) -> None:
    command = (*LOAD, *SAID, "--skip-postgres", *clean_kafka.options)
    assert run(*command).code == 0
    before = clean_kafka.ends()
    again = run(*command)
    assert again.code == 0, str(again)
    assert clean_kafka.ends() == before
    planned = sum(map(LOADED.rows, TOPICS))
    assert f"of which {planned:,} were there, and stay" in again.out


def test_what_was_deleted_is_not_taken_for_there(clean_kafka: OwnTopics, tmp_path: Path) -> None:
    command = (*LOAD, *SAID, "--skip-postgres", *clean_kafka.options)
    assert run(*command).code == 0
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    (done,) = admin.delete_records(
        [TopicPartition(clean_kafka.name("banking.trades"), 0, 10)]
    ).values()
    done.result(30)
    assert_refused(run(*command), "banking.trades, partition 0", "deleted up to offset 10")


def assert_refused(outcome: Outcome, *words: str) -> None:
    assert outcome.code == 3, str(outcome)
    assert all(word in outcome.err for word in words), str(outcome)


def test_another_format_is_another_load(clean_kafka: OwnTopics) -> None:
    command = (*LOAD, *SAID, "--skip-postgres", *clean_kafka.options)
    assert run(*command).code == 0
    before = sum(clean_kafka.ends().values())
    again = run(*command, "--no-cloudevents")
    assert again.code == 0, str(again)
    assert "of which 0 were there" in again.out
    assert sum(clean_kafka.ends().values()) >= 2 * before - 24


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--preset", "FAST"), "acks='all'"),
        (("--kafka-option", "acks=1"), "acks='all'"),
        (("--engine", "native"), "confluent"),
    ],
)
def test_what_transactions_cannot_do_is_refused(options: tuple[str, ...], word: str) -> None:
    outcome = load("--exactly-once", "--kafka-bootstrap", "127.0.0.1:1", *options)
    assert_failed(outcome, 2, "--exactly-once", word)


STREAMED = Plan(seed=11, customers=120, as_of="2026-07-01T00:00:00Z", days=30)
STREAM = (
    *(*DATAGEN, "stream", "--customers", 120, "--seed", 11, "--days", 30, "--no-avro"),
    *("--as-of", "2026-07-01T00:00:00Z", "--exactly-once", "--create-topics"),
    *("--start", "2026-06-12T00:00:00Z", "--speed", 100_000),
)
WITH_TABLES = (
    "--master-topics",
    *(word for name, value in KEPT.items() for word in ("--topic-config", f"{name}={value}")),
)


def assert_committed(topics: OwnTopics, since: str | None = None) -> None:
    """Readers of committed records find each event of the plan once."""
    for name in TOPICS:
        planned = sorted(
            bytes(ident)
            for batch in STREAMED.batches(name, since=since)
            for ident in batch.text(catalogue()[name].primary_key)
        )
        assert sorted(topics.committed_ids(name)) == planned


@pytest.mark.parametrize(
    ("with_database", "with_tables"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_a_stream_that_is_killed_again_and_again_is_exact(
    clean_kafka: OwnTopics, pg_dsn: str, tmp_path: Path, *, with_database: bool, with_tables: bool
) -> None:
    """The tables too, which follow it: each side says for itself how far it has come."""
    position, receipt = tmp_path / "position.json", tmp_path / "receipt.json"
    database = ("--postgres-url", pg_dsn) if with_database else ("--skip-postgres",)
    common = (*clean_kafka.options, "--position", position, *database)
    moments = random.Random(str(with_database))
    first = (*STREAM, *WITH_TABLES) if with_tables else STREAM
    for number in range(4):
        before = position.read_bytes() if number else b""
        command = (*DATAGEN, "stream", "--resume") if number else first
        with started(*command, *common) as process:

            def goes_on(before: bytes = before) -> bool:
                return position.exists() and position.read_bytes() != before

            assert wait_until(lambda: process.poll() is not None or goes_on(), 60)
            assert process.poll() is None, process.communicate()
            time.sleep(moments.uniform(0.0, 2.5))
            process.kill()
            process.wait()
    said = (*DATAGEN, "stream", "--resume", *common, "--receipt", receipt, "--speed", 10_000_000)
    outcome = run(*said)
    assert outcome.code == 0, str(outcome)
    assert "Validation: ALL OK" in outcome.out
    assert_committed(clean_kafka)
    if with_database:
        assert_tables(pg_dsn, STREAMED)
    if with_tables:
        assert_versions(clean_kafka)
    verified = run(*DATAGEN, "verify", receipt, *(database if with_database else ()))
    assert verified.code == 0, str(verified)
    # Nothing is left to send.
    ends = clean_kafka.ends()
    assert run(*said).code == 0
    assert clean_kafka.ends() == ends


def test_what_was_committed_behind_the_position_stays(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    """An earlier position of a stream that has gone on, as of a process that was killed before it wrote the next."""
    position = tmp_path / "position.json"
    common = (*clean_kafka.options, "--position", position, "--skip-postgres")
    first = run(*STREAM, "--no-backfill", *common, "--until", "2026-06-14T00:00:00Z")
    assert first.code == 0, str(first)
    kept = position.read_bytes()
    again = (*DATAGEN, "stream", "--resume", *common, "--speed", 10_000_000)
    assert run(*again, "--until", "2026-06-20T00:00:00Z").code == 0
    between = sum(map(len, map(clean_kafka.committed_ids, TOPICS)))
    position.write_bytes(kept)
    outcome = run(*again, "--until", "2026-07-01T00:00:00Z")
    assert outcome.code == 0, str(outcome)
    assert_committed(clean_kafka, since="2026-06-12T00:00:00Z")
    assert between < sum(map(len, map(clean_kafka.committed_ids, TOPICS)))
    # A cluster that knows of fewer events is not the one of the position.
    says = json.loads(kept)
    says["marks"]["kafka"]["handed"][clean_kafka.name(TRANSACTIONS)] = 10**9
    position.write_text(json.dumps(says))
    receipt = tmp_path / "refused.json"
    refused = run(*again, "--receipt", receipt)
    assert_refused(refused, "1,000,000,000 events", "Begin a new stream")
    # Its receipt says what has ended it, and not that its process was killed.
    verified = run(*DATAGEN, "verify", receipt)
    assert_refused(verified, "since it failed before", "1,000,000,000 events")
    assert "killed" not in verified.err
    del says["marks"]["kafka"]["handed"]
    position.write_text(json.dumps(says))
    assert_refused(run(*again), "does not say how many events")


@pytest.fixture
def hanging(own_kafka: Running) -> Iterator[KafkaBroker]:
    """A broker to be paused, which soon gives up transactions that are open for too long."""
    properties = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200"}
    with own_kafka(KafkaBroker(properties=properties)) as broker:
        yield broker


@pytest.mark.parametrize(("seconds", "limit"), [(3, 60_000), (12, 4_000)])
def test_a_stream_and_a_broker_that_hangs(
    hanging: KafkaBroker, tmp_path: Path, seconds: float, limit: int
) -> None:
    """For longer than a transaction may be open, it has to be resumed, and is exact."""
    topics, position = OwnTopics(hanging.bootstrap), tmp_path / "position.json"
    common = (*topics.options, "--position", position, "--skip-postgres")
    option = ("--kafka-option", f"transaction.timeout.ms={limit}")
    with started(*STREAM, *option, *common) as process:
        assert wait_until(position.exists, 60)
        time.sleep(1)
        hanging.pause()
        time.sleep(seconds)
        hanging.resume()
        outcome = outcome_of(process)
    if seconds * 1000 < limit:
        assert outcome.code == 0, str(outcome)
    else:
        assert outcome.code == 4, str(outcome)
        assert "open for longer than transaction.timeout.ms" in outcome.err
        assert f"The position is in {position}: --resume goes on there." in outcome.out
        again = run(*DATAGEN, "stream", "--resume", *common, "--speed", 10_000_000)
        assert again.code == 0, str(again)
    assert_committed(topics)


def test_what_a_position_lacks_of_tables_is_told_from_the_transactions(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    """An earlier position: what was committed of the tables behind it is cut into other slices by the next process."""
    position = tmp_path / "position.json"
    common = (*clean_kafka.options, "--position", position, "--skip-postgres")
    until = ("--until", "2026-06-14T00:00:00Z")
    first = run(*STREAM, *WITH_TABLES, *common, *until)
    assert first.code == 0, str(first)
    kept = position.read_bytes()
    again = (*DATAGEN, "stream", "--resume", *common)
    assert run(*again, "--speed", 300_000, "--until", "2026-06-20T00:00:00Z").code == 0
    rows = sum(len(clean_kafka.committed(one)) for one in TABLE_TOPICS.values())
    position.write_bytes(kept)
    outcome = run(*again, "--speed", 50_000, "--until", "2026-06-20T00:00:00Z")
    assert outcome.code == 0, str(outcome)
    assert sum(len(clean_kafka.committed(one)) for one in TABLE_TOPICS.values()) == rows
    outcome = run(*again, "--speed", 10_000_000, "--until", "2026-07-01T00:00:00Z")
    assert outcome.code == 0, str(outcome)
    assert_committed(clean_kafka)
    assert_versions(clean_kafka)
    # A stream that is begun anew has all rows as of its own start once more, and goes on from these.
    position.unlink()
    receipt = tmp_path / "receipt.json"
    outcome = run(*STREAM, *WITH_TABLES, *common, "--speed", 10_000_000, "--receipt", receipt)
    assert outcome.code == 0, str(outcome)
    outcome = run(*DATAGEN, "verify", receipt)
    assert outcome.code == 0, str(outcome)
    for table, topic in TABLE_TOPICS.items():
        assert last_of(clean_kafka.committed(topic)) == rows_of(STREAMED, table)
    assert_committed(clean_kafka)


def test_a_stream_whose_bank_has_no_row_of_a_table_goes_on(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    common = (*clean_kafka.options, "--position", tmp_path / "position.json", "--skip-postgres")
    bank = ("--customers", 1, "--as-of", "2026-07-01", "--days", 30)
    assert not Plan(customers=1).rows("properties")
    span = ("--start", "2026-06-20T00:00:00Z", "--until", "2026-06-22T00:00:00Z")
    how = ("--exactly-once", "--create-topics", "--no-avro", "--speed", 10_000_000)
    begun = (*DATAGEN, "stream", *bank, *span, *how, *WITH_TABLES)
    outcome = run(*begun, *common)
    assert outcome.code == 0, str(outcome)
    outcome = run(*DATAGEN, "stream", "--resume", *common, "--until", "2026-06-25T00:00:00Z")
    assert outcome.code == 0, str(outcome)


def assert_versions(topics: OwnTopics) -> None:
    """Readers of committed records find each version of a row once, in order, and the last ones."""
    for table, topic in TABLE_TOPICS.items():
        records = topics.committed(topic)
        assert_in_order(records)
        assert last_of(records) == rows_of(STREAMED, table)
