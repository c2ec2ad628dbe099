"""`load --shard I/N`: parts of a bank, loaded at once, killed and begun again; and what they leave together."""

from __future__ import annotations

import json
import random
import subprocess
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from command import DATAGEN, assert_failed, environment_of, outcome_of, run, started
from datagen import Plan
from datagen.errors import OptionError
from datagen.loader import Load, shard
from datagen.loader import load as load_by_library
from records import TOPICS
from targets import Silent, to_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from own_topics import OwnTopics

CUSTOMERS, SEED, SHARDS = 240, 9, 8
PLAN = Plan(seed=SEED, customers=CUSTOMERS)
SAID = ("--customers", CUSTOMERS, "--seed", SEED, "--no-avro", "--create-topics")


def test_shards_have_every_customer_once() -> None:
    for customers, of in ((range(100), 8), (range(5, 12), 7), (range(20), 1), (range(3, 103), 9)):
        parts = [shard(customers, number, of) for number in range(1, of + 1)]
        assert [row for part in parts for row in part] == [*customers]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(OptionError, match="at most 3"):
        shard(range(3), 1, 4)
    with pytest.raises(OptionError, match="1/2 to 2/2"):
        shard(range(3), 3, 2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("more", [(), ("--fast", "--order", "entity")], ids=["standard", "fast"])
def test_eight_at_once_each_killed_once_and_one_twice_at_the_same_time(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path, more: tuple[object, ...]
) -> None:
    chance = random.Random(f"shards {more}")
    database = ("--postgres-url", pg_dsn)
    where = (*database, *clean_kafka.options, "--preset", "EVENT_BY_EVENT", *more)

    def command(number: int) -> list[str]:
        own = ("--shard", f"{number}/{SHARDS}", "--receipt", tmp_path / f"{number}.json")
        return [str(word) for word in (*DATAGEN, "load", *SAID, *where, *own)]

    def begun(number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(number),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment_of({}),
        )

    # Each is killed at a moment of its own, and begun again at once.
    ends = sorted((chance.uniform(1.0, 12.0), number) for number in range(1, SHARDS + 1))
    processes = {number: begun(number) for _, number in ends}
    again = []
    start = time.monotonic()
    try:
        for seconds, number in ends:
            time.sleep(max(0.0, start + seconds - time.monotonic()))
            processes[number].kill()
            processes[number].communicate()
            # One is begun twice at the same time: the second waits for the first, and finds all there.
            again += [begun(number) for _ in range(2 if number == 3 else 1)]
        for process in again:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0, out
    finally:
        for process in (*processes.values(), *again):
            process.kill()
            process.wait()
    receipts = [tmp_path / f"{number}.json" for number in range(1, SHARDS + 1)]
    merged = tmp_path / "all.json"
    outcome = run(*DATAGEN, "merge-receipts", merged, *receipts)
    assert outcome.code == 0, str(outcome)
    outcome = run(*DATAGEN, "verify", merged, *database)
    assert outcome.code == 0, str(outcome)
    for name, records in clean_kafka.read().items():
        assert len(records) == len({one.header("ce_id") for one in records}) == PLAN.rows(name)
    says = json.loads(merged.read_text("utf-8"))
    assert says["plan"]["customers"] == CUSTOMERS
    assert says["rows"] == {name: PLAN.rows(name) for name in PLAN.names}
    for name in TOPICS:
        assert says["sinks"]["kafka"]["topics"][name]["acknowledged"] == PLAN.rows(name)
    # Once more, without its receipt: it is there.
    rest = run(*command(2)[:-2], "--json")
    assert rest.code == 0, str(rest)
    part = shard(range(CUSTOMERS), 2, SHARDS)
    planned = sum(Plan(seed=SEED, customers=part.stop).rows(name, part.start) for name in TOPICS)
    assert json.loads(rest.out)["events_there"] == planned
    # Each is right by itself.
    outcome = run(*DATAGEN, "verify", receipts[4], *database)
    assert outcome.code == 0, str(outcome)


def test_what_no_shard_can_do_is_refused(tmp_path: Path) -> None:
    one = (*DATAGEN, "load", "--customers", 10)
    assert_failed(run(*one, "--shard", "1/11"), 2, "--shard", "at most 10")
    assert_failed(run(*one, "--shard", "0/2"), 2, "--shard", "1/2 to 2/2")
    assert_failed(run(*one, "--shard", "1:2"), 2, "write I/N")
    assert_failed(run(*one, "--shard", "1/2", "--truncate"), 2, "--truncate", "other shards")
    assert_failed(run(*one, DATAGEN_SHARD="3/2"), 2, "1/2 to 2/2")
    with pytest.raises(OptionError, match="truncate"):
        load_by_library(
            Load(plan=Plan(customers=4), targets=to_postgres("", truncate=True), shared=True),
            Silent(),
        )


def test_receipts_that_are_no_bank_are_not_merged(pg_dsn: str, tmp_path: Path) -> None:
    where = ("--postgres-url", pg_dsn, "--skip-kafka")
    paths = [tmp_path / f"{number}.json" for number in (1, 2, 3)]
    for number, path in enumerate(paths, 1):
        own = ("--shard", f"{number}/3", "--receipt", path)
        outcome = run(*DATAGEN, "load", "--customers", 10, *where, *own)
        assert outcome.code == 0, str(outcome)
    first, second, third = paths
    out = tmp_path / "out.json"
    merge = (*DATAGEN, "merge-receipts", out)
    assert_failed(run(*merge, first, third), 3, "customers 3 to 5 are in neither", str(third))
    assert_failed(run(*merge, first, second, second), 3, "customers 3 to 5 are in both")
    assert_failed(run(*merge, first, second), 3, f"behind those of {second}", "shard 2/3")
    assert_failed(run(*merge, second, third), 3, f"before those of {second}", "shard 2/3")
    assert_failed(run(*merge[:-1], first, first, second, third), 2, "OUT comes first")
    content = json.loads(second.read_text("utf-8"))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content | {"plan": content["plan"] | {"seed": 1}}), "utf-8")
    assert_failed(run(*merge, first, other, third), 3, str(other), "another plan")
    other.write_text(json.dumps(content | {"order": "entity"}), "utf-8")
    assert_failed(run(*merge, first, other, third), 3, "another order of events")
    other.write_text(json.dumps(content | {"stream": {}}), "utf-8")
    assert_failed(run(*merge, first, other, third), 3, "another kind of run")
    other.write_text(json.dumps(content | {"command": "stream"}), "utf-8")
    assert_failed(run(*merge, first, other, third), 3, "does not say how far its stream came")
    assert not out.exists()
    other.write_text(json.dumps(content | {"outcome": "unfinished", "ended": None}), "utf-8")
    outcome = run(*merge, third, other, first)
    assert outcome.code == 0
    assert "other.json is unfinished" in outcome.out
    outcome = run(*merge, third, second, first)
    assert (outcome.code, outcome.out.split(":")[-1].strip()) == (0, "ok"), str(outcome)
    verified = run(*DATAGEN, "verify", out, "--postgres-url", pg_dsn)
    assert verified.code == 0, str(verified)
    # What several have done, several go on with.
    again = run(*DATAGEN, "load", "--resume", out, *where[:2])
    assert_failed(again, 3, "of 3 shards")


def test_a_load_that_is_no_shard_keeps_shards_waiting(pg_dsn: str) -> None:
    where = ("--postgres-url", pg_dsn, "--skip-kafka")
    shards = [
        (*DATAGEN, "load", "--customers", 20, *where, "--shard", f"{one}/2") for one in (1, 2)
    ]
    with psycopg.connect(pg_dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(b"datagen")])
        with started(*shards[0]) as process:
            assert process.stderr is not None
            assert "another load into" in process.stderr.readline()
            other.rollback()
            assert outcome_of(process).code == 0
    with psycopg.connect(pg_dsn) as other:
        # Another shard at its rows keeps none of the others waiting.
        other.execute("SELECT pg_advisory_xact_lock_shared(%s)", [int.from_bytes(b"datagen")])
        outcome = run(*shards[1])
        assert outcome.code == 0, str(outcome)
        [(rows,)] = other.execute("SELECT count(*) FROM customers").fetchall()
    assert rows == 20


def test_one_shard_of_several_is_verified_by_itself(clean_kafka: OwnTopics, tmp_path: Path) -> None:
    where = (*clean_kafka.options, "--skip-postgres", "--no-avro", "--create-topics")
    said = (*DATAGEN, "load", "--customers", 90, "--seed", SEED, *where)
    receipts = [tmp_path / f"{number}.json" for number in (1, 2, 3)]
    for number, receipt in enumerate(receipts, 1):
        outcome = run(*said, "--shard", f"{number}/3", "--receipt", receipt)
        assert outcome.code == 0, str(outcome)
    plan = Plan(seed=SEED, customers=90)
    sent = dict.fromkeys(TOPICS, 0)
    for number, receipt in enumerate(receipts, 1):
        outcome = run(*DATAGEN, "verify", receipt, "--json")
        assert outcome.code == 0, str(outcome)
        part = shard(range(90), number, 3)
        own = Plan(seed=SEED, customers=part.stop)
        for one in json.loads(outcome.out)["compared"]:
            name = one["name"]
            assert one["found"] == one["planned"] == own.rows(name, part.start)
            others = plan.rows(name) - sent[name] - one["found"]
            sent[name] += one["found"]
            assert one["elsewhere"] == others
            noted = [f"{others:,} of other shards or customers of this seed"] if others else []
            assert one["notes"] == noted
    # By its options the whole is one load, and shards lie side by side.
    whole_load = (*DATAGEN, "verify", "--customers", 90, "--seed", SEED, *where[:-1])
    outcome = run(*whole_load)
    assert outcome.code == 6, str(outcome)
    assert " late (shards of a load are in order each by itself: --order entity asks" in outcome.out
    outcome = run(*whole_load, "--order", "entity")
    assert outcome.code == 0, str(outcome)
