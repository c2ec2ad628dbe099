"""`stream --shard I/N`: parts of a bank that live side by side, are killed and begun again; and what they leave together."""

from __future__ import annotations

import itertools
import json
import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer

from command import DATAGEN, assert_failed, outcome_of, run, started, wait_until
from datagen import Plan
from datagen.loader import shard
from planned import planned
from postgres_tables import query
from records import TOPICS, read_topics
from test_following import assert_tables
from test_master_topics import KEPT, TABLE_TOPICS, assert_in_order, last_of, rows_of
from test_stream_command import lines_of, wait_until_written

if TYPE_CHECKING:
    from pathlib import Path

    from own_topics import OwnTopics

pytest_plugins = ["postgres_fixtures"]

CUSTOMERS, SHARDS = 90, 3
PLAN = Plan(11, CUSTOMERS, days=20)
SAID = ("--seed", 11, "--customers", CUSTOMERS, "--days", 20, "--as-of", "2026-07-01", "--no-avro")
TIMES = ("--start", "2026-06-20T00:00:00Z")


def part(number: int) -> tuple[Plan, int]:
    """The plan of a shard, and its first customer."""
    customers = shard(range(CUSTOMERS), number, SHARDS)
    return Plan(11, customers.stop, days=20), customers.start


def own(number: int) -> dict[str, int]:
    """The times of the events of a shard, by their ids."""
    plan, first = part(number)
    return planned(plan, start=first)


@pytest.mark.timeout(300)
def test_shards_at_once_and_one_after_the_others_each_killed_and_begun_again(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--create-topics")

    def command(number: int, *more: object) -> list[str]:
        files = (
            "--position",
            tmp_path / f"{number}.position",
            "--receipt",
            tmp_path / f"{number}.json",
        )
        said = (*DATAGEN, "stream", "--shard", f"{number}/{SHARDS}", *SAID, *TIMES, *where, *files)
        return [str(word) for word in (*said, *more)]

    def kill(process: Any, number: int) -> None:
        wait_until_written(tmp_path / f"{number}.position", process)
        time.sleep(2.0)
        process.kill()
        process.wait(timeout=10)

    # Two begin at the same time, with tables that are not there yet, and are killed in the midst of live.
    with (
        started(*command(1, "--speed", "50000")) as one,
        started(*command(3, "--speed", "50000")) as three,
    ):
        kill(one, 1)
        kill(three, 3)
    # What others have sent meanwhile is nothing that a shard waits to find again.
    with started(*command(1, "--speed", "50000")) as one:
        kill(one, 1)
    done = run(*command(3, "--speed", "1e7"), timeout=120)
    assert done.code == 0, done
    done = run(*command(2, "--speed", "1e7"), timeout=120)
    assert done.code == 0, done
    done = run(*command(1, "--speed", "1e7"), timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_whole(clean_kafka)
    assert_tables(pg_dsn, PLAN)
    for number in range(1, SHARDS + 1):
        marks = json.loads((tmp_path / f"{number}.position").read_bytes())["marks"]["kafka"][
            "topics"
        ]
        assert {*marks} == {*clean_kafka.names}
    # Together they are the bank, in the events since the last position from which one of them went on.
    merged, receipts = tmp_path / "all.json", [tmp_path / f"{one}.json" for one in (3, 1, 2)]
    done = run(*DATAGEN, "merge-receipts", merged, *receipts)
    assert (done.code, done.out.split(":")[-1].strip()) == (0, "ok"), done
    says = json.loads(merged.read_bytes())
    since = [json.loads(one.read_bytes())["stream"]["since"] for one in receipts]
    assert says["stream"]["since"] == max(one for one in since if one)
    assert says["plan"]["customers"] == CUSTOMERS
    done = run(*DATAGEN, "verify", merged, "--postgres-url", pg_dsn, timeout=120)
    assert done.code == 0, done
    # One that is not as far is not merged.
    content = json.loads(receipts[2].read_bytes())
    content["stream"]["until"] = "2026-06-30T00:00:00.000Z"
    (tmp_path / "early.json").write_text(json.dumps(content))
    done = run(*(*DATAGEN, "merge-receipts", merged, *receipts[:2], tmp_path / "early.json"))
    assert_failed(done, 3, "early.json", "another instant up to which events were sent")
    # Each is right by itself, and the same command finds that its shard is at its end.
    done = run(*DATAGEN, "verify", tmp_path / "2.json", "--postgres-url", pg_dsn, timeout=120)
    assert done.code == 0, done
    done = run(*command(2), timeout=60)
    assert done.code == 0, done
    assert_whole(clean_kafka)
    # Without its position it cannot be begun again.
    (tmp_path / "2.position").unlink()
    done = run(*command(2), timeout=60)
    assert_failed(done, 4, "has rows of this stream's customers already")
    assert_whole(clean_kafka)


@pytest.mark.timeout(300)
def test_shards_in_transactions_whose_tables_follow_in_topics_are_killed_and_exact(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    kept = (word for name, value in KEPT.items() for word in ("--topic-config", f"{name}={value}"))
    sent = (*clean_kafka.options, "--create-topics", "--master-topics", "--exactly-once", *kept)

    def command(number: int, speed: str) -> list[str]:
        files = (tmp_path / f"{number}.position", "--receipt", tmp_path / f"{number}.json")
        said = (*DATAGEN, "stream", "--shard", f"{number}/{SHARDS}", *SAID, *TIMES, *sent)
        where = ("--postgres-url", pg_dsn, "--position", *files, "--speed", speed)
        return [str(word) for word in (*said, *where)]

    with ExitStack() as stack:
        numbers = (1, 3)
        begun = [stack.enter_context(started(*command(one, "50000"))) for one in numbers]
        for number, process in zip(numbers, begun, strict=True):
            wait_until_written(tmp_path / f"{number}.position", process)
        time.sleep(2.0)
        for process in begun:
            process.kill()
            process.wait(timeout=10)
    with ExitStack() as stack:
        again = [stack.enter_context(started(*command(one, "1e7"))) for one in range(1, SHARDS + 1)]
        for process in again:
            outcome = outcome_of(process)
            assert outcome.code == 0, str(outcome)
    assert_tables(pg_dsn, PLAN)
    ids = [ident.decode() for name in TOPICS for ident in clean_kafka.committed_ids(name)]
    assert sorted(ids) == sorted(planned(PLAN))
    for table, topic in TABLE_TOPICS.items():
        assert last_of(clean_kafka.committed(topic)) == rows_of(PLAN, table)
    merged, receipts = (
        tmp_path / "all.json",
        [tmp_path / f"{one}.json" for one in range(1, SHARDS + 1)],
    )
    done = run(*DATAGEN, "merge-receipts", merged, *receipts)
    assert done.code == 0, done
    for receipt in (*receipts, merged):
        done = run(*DATAGEN, "verify", receipt, "--postgres-url", pg_dsn, timeout=120)
        assert done.code == 0, done


def test_shards_that_have_gone_on_since_their_receipts_were_merged(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--create-topics", "--speed", "1e7")
    for day in (23, 25):
        receipts = [tmp_path / f"{day}-{number}.json" for number in (1, 2)]
        for number, receipt in enumerate(receipts, 1):
            said = (*SAID, *TIMES, *where, "--shard", f"{number}/2", "--receipt", receipt)
            until = ("--until", f"2026-06-{day}", "--position", tmp_path / f"{number}.position")
            done = run(*DATAGEN, "stream", *said, *until, timeout=60)
            assert done.code == 0, done
        done = run(*DATAGEN, "merge-receipts", tmp_path / f"{day}.json", *receipts)
        assert done.code == 0, done
    for name, went_on in (("23-1", True), ("23", True), ("25-2", False), ("25", False)):
        done = run(*DATAGEN, "verify", tmp_path / f"{name}.json", "--postgres-url", pg_dsn)
        assert done.code == 0, done
        assert ("which is after the receipt" in done.out) == went_on


def assert_whole(topics: OwnTopics) -> None:
    """The topics have each event of the plan once, those of each shard in order of time."""
    times: dict[str, int] = {}
    of_shard: dict[str, int] = {}
    for number in range(1, SHARDS + 1):
        times |= (events := own(number))
        of_shard |= dict.fromkeys(events, number)
    assert times == planned(PLAN)
    found = read_topics(topics.bootstrap, topics.names)
    everything = []
    for records in found.values():
        last: dict[tuple[int, int], int] = {}
        for record in records:
            ident = record.header("ce_id").decode()
            everything.append(ident)
            place = of_shard[ident], record.partition
            assert times[ident] >= last.get(place, 0)
            last[place] = times[ident]
    assert len(everything) == len(times)
    assert {*everything} == {*times}


def test_shards_have_the_events_of_the_bank_between_them_and_go_on_by_the_same_command(
    tmp_path: Path,
) -> None:
    file = tmp_path / "position"
    begin = (*DATAGEN, "stream", "--stdout", *SAID, *TIMES, "--speed", "1e7")
    command = (*begin, "--shard", "2/3", "--position", file)
    first = run(*command, "--until", "2026-06-22T00:00:00Z", timeout=60)
    assert first.code == 0, first
    # Its options are those of all shards, its events those of its own customers.
    later = run(*command, "--until", "2026-06-24T00:00:00Z", timeout=60)
    assert later.code == 0, later
    last = run(
        *(*DATAGEN, "stream", "--resume", "--position", file, "--until", "2026-07-01T00:00:00Z"),
        timeout=60,
    )
    assert last.code == 0, last
    found = [
        next(str(value) for key, value in row.items() if key.endswith("_id"))
        for row in itertools.chain(*(lines_of(one.out) for one in (first, later, last)))
    ]
    assert sorted(found) == sorted(own(2))
    assert_failed(
        run(*command[:-4], "--shard", "1/3", "--position", file), 2, "--shard is not what"
    )
    more = ("--position", file, "--resume", "--shard", "2/3")
    assert_failed(run(*begin, *more, "--customers", 30), 2, "--customers is not what the position")


def test_what_no_shard_can_do_is_refused(tmp_path: Path) -> None:
    one = (*DATAGEN, "stream", "--stdout", "--customers", 10, *TIMES)
    assert_failed(run(*one, "--shard", "1/11"), 2, "--shard", "at most 10")
    assert_failed(run(*one, "--shard", "0/2"), 2, "--shard", "1/2 to 2/2")
    assert_failed(run(*one, "--shard", "1/2", "--truncate"), 2, "--truncate", "other shards")
    file = tmp_path / "position"
    done = run(*one, "--shard", "1/2", "--until", "2026-06-20T00:00:00Z", "--position", file)
    assert done.code == 0, done
    content = json.loads(file.read_bytes())
    for options in ({"customers": 20}, {"shard": "1/5"}, {"shard": "x"}, {"customers": None}):
        changed = content | {"options": content["options"] | options}
        file.write_text(json.dumps(changed))
        done = run(*DATAGEN, "stream", "--resume", "--position", file)
        assert done.code in {2, 3}, done
        assert "unexpected" not in done.err


@pytest.mark.timeout(300)
def test_a_shard_that_is_killed_between_its_tables_and_its_events_goes_on(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    """Its rows are there, nothing says yet where they are, and the position says that they may be there."""
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--create-topics", "--speed", "1e7")

    def command(number: int) -> list[str]:
        file = tmp_path / f"{number}.position"
        said = (*DATAGEN, "stream", "--shard", f"{number}/{SHARDS}", *SAID, *TIMES, *where)
        return [str(word) for word in (*said, "--position", file)]

    for number in (1, 3):
        done = run(*command(number), timeout=120)
        assert done.code == 0, done
    customers = "SELECT count(*) FROM customers"
    [(others,)] = query(pg_dsn, customers)
    with psycopg.connect(pg_dsn) as session:
        # Where the tables are is what a shard writes next.
        session.execute("LOCK TABLE datagen_streams IN EXCLUSIVE MODE")
        with started(*command(2)) as process:
            assert wait_until(lambda: query(pg_dsn, customers)[0][0] > others, 60)
            assert process.poll() is None
            process.kill()
            process.wait(timeout=10)
    position = json.loads((tmp_path / "2.position").read_bytes())
    assert not position["loaded"]
    assert len(query(pg_dsn, "SELECT FROM datagen_streams")) == SHARDS - 1
    done = run(*command(2), timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_whole(clean_kafka)
    assert_tables(pg_dsn, PLAN)


@pytest.mark.timeout(300)
def test_a_stream_that_is_killed_before_it_replaces_rows_replaces_them_later(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    another = ("--customers", 3, "--seed", 1, "--skip-kafka", "--postgres-url", pg_dsn)
    done = run(*DATAGEN, "load", *another)
    assert done.code == 0, done
    before = query(pg_dsn, "SELECT customer_id FROM customers")
    file = tmp_path / "position"
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--position", file)
    # So many that it takes a while until they are committed.
    bank = ("--customers", 4_000, "--days", 20, "--as-of", "2026-07-01", "--no-backfill")
    until = ("--until", "2026-06-20T01:00:00Z", "--speed", "1e7")
    said = (*bank, *TIMES, *until, "--create-topics", "--truncate")
    with started(*DATAGEN, "stream", *said, *where) as process:
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
        process.wait(timeout=10)
    assert query(pg_dsn, "SELECT customer_id FROM customers") == before
    done = run(*DATAGEN, "stream", "--resume", *where, timeout=120)
    assert done.code == 0, done
    assert "live from 2026-06-20T00:00:00.000Z" in done.out
    there = {*query(pg_dsn, "SELECT customer_id FROM customers")}
    assert len(there) > 3_900
    assert not there & {*before}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("more", [(), ("--exactly-once",)])
def test_a_stream_that_is_killed_again_and_again_as_its_tables_are_sent_is_exact(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path, more: tuple[str, ...]
) -> None:
    file, receipt = tmp_path / "position", tmp_path / "receipt.json"
    kept = (word for name, value in KEPT.items() for word in ("--topic-config", f"{name}={value}"))
    said = (*SAID, *TIMES, "--speed", "1e7", "--master-topics", "--create-topics", *kept, *more)
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--position", file)
    command = (*DATAGEN, "stream", "--shard", "1/1", *said, *where, "--receipt", receipt)
    moments = random.Random(str(more))
    begun = 0
    for number in range(4):
        before = receipt.stat().st_mtime_ns if number else 0
        with started(*command) as process:
            # The receipt is written anew as the sinks are ready, and the first position before the tables are committed.
            deadline = time.monotonic() + 60
            while not (file.exists() and receipt.stat().st_mtime_ns != before):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.3) if number else 0.0)
            process.kill()
            process.wait(timeout=10)
        begun += not json.loads(file.read_bytes())["loaded"]
    assert begun
    done = run(*command, timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_tables(pg_dsn, PLAN)
    for table, topic in TABLE_TOPICS.items():
        records = clean_kafka.committed(topic)
        assert_in_order(records)
        assert last_of(records) == rows_of(PLAN, table)
    ids = [ident.decode() for name in TOPICS for ident in clean_kafka.committed_ids(name)]
    assert sorted(ids) == sorted(planned(PLAN))
    done = run(*DATAGEN, "verify", receipt, "--postgres-url", pg_dsn, timeout=120)
    assert done.code == 0, done


@pytest.mark.parametrize("kind", ["load", "stream"])
def test_reference_rows_are_in_their_topic_for_each_shard(
    clean_kafka: OwnTopics, tmp_path: Path, kind: str
) -> None:
    """Each sends them before its own events, and none waits for another: that is no mistake."""
    where = (*clean_kafka.options, "--skip-postgres", "--create-topics", "--master-topics")
    more = (*TIMES, "--speed", "1e7", "--position") if kind == "stream" else ()
    receipts = [tmp_path / f"{number}.json" for number in (1, 2)]
    for number, receipt in enumerate(receipts, 1):
        own = (*more, tmp_path / f"{number}.position") if more else ()
        said = (*SAID, *where, *own, "--shard", f"{number}/2", "--receipt", receipt)
        done = run(*DATAGEN, kind, *said, timeout=60)
        assert done.code == 0, done
    if kind == "load":
        # Two that began at the same moment have not seen one another.
        topic = clean_kafka.name("banking.stocks")
        producer = Producer({"bootstrap.servers": clean_kafka.bootstrap})
        for one in clean_kafka.committed("banking.stocks"):
            producer.produce(topic, one.value, one.key, one.partition, timestamp=one.timestamp)
        assert producer.flush(20) == 0
    merged = tmp_path / "all.json"
    assert run(*DATAGEN, "merge-receipts", merged, *receipts).code == 0
    for receipt in (receipts[0], merged):
        done = run(*DATAGEN, "verify", receipt, timeout=60)
        assert done.code == 0, done
        stocks = PLAN.rows("stocks")
        assert f"banking.stocks: {stocks} records ({stocks} copies by other shards" in done.out
    # More often than there are shards no row is of a shard each.
    producer = Producer({"bootstrap.servers": clean_kafka.bootstrap})
    one = clean_kafka.committed("banking.stocks")[0]
    topic = clean_kafka.name("banking.stocks")
    producer.produce(topic, one.value, one.key, one.partition, timestamp=one.timestamp)
    assert producer.flush(20) == 0
    options = (*SAID, *where[:-3], "--skip-postgres", "--master-topics", "--shard", "1/2")
    asked: list[tuple[object, ...]] = [(receipts[0],), (merged,)]
    for said in (*asked, *([options] if kind == "load" else [])):
        done = run(*DATAGEN, "verify", *said, "--json", timeout=60)
        assert done.code == 6, done
        wrong = [found for found in json.loads(done.out)["compared"] if not found["ok"]]
        assert [found["name"] for found in wrong] == ["stocks"]
        assert (wrong[0]["double"], wrong[0]["copies"]) == (1, stocks)
        assert [row["id"] for row in wrong[0]["rows"]] == [one.key.decode()]
