"""Loads in Kafka transactions: each event once for readers of committed records, whatever ends the process."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from command import DATAGEN, LOAD, Outcome, assert_failed, load, run, started, wait_until
from datagen import Plan
from datagen.errors import RejectedError
from datagen.presets import RELIABLE
from datagen.sinks.kafka import KafkaSink
from datagen.types import catalogue
from records import TOPICS
from sending import TRANSACTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from own_topics import OwnTopics

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
    with pytest.raises(RejectedError, match="another process has begun the same load"):
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


def test_a_stream_goes_on_by_its_position() -> None:
    command = (*DATAGEN, "stream", "--exactly-once", "--kafka-bootstrap", "127.0.0.1:1")
    assert_failed(run(*command), 2, "--exactly-once", "--resume")
