"""`datagen verify` of tables that follow a stream in topics, whatever compaction has left of them."""

from __future__ import annotations

import io
import json
import re
import time
from collections import Counter
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import fastavro
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from confluent_kafka.cimpl import RESOURCE_TOPIC

from command import DATAGEN, Outcome, outcome_of, run, started, wait_until
from datagen import Plan
from datagen.position import millis_of
from datagen.types import catalogue
from engines import ENGINES
from own_topics import OwnTopics
from records import end_offsets
from services.kafka import KafkaBroker
from test_master_topics import KEPT, TABLE_TOPICS, read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from records import Record
    from running import Running
    from services.registry import Registry

PLAN: Final = Plan(seed=11, customers=120)
START, MIDDLE, END = "2026-06-20T00:00:00Z", "2026-06-24T00:00:00Z", "2026-06-26T00:00:00Z"
SAID: Final = ("--customers", 120, "--seed", 11, "--no-avro", "--start", START)
#: Some nine slices, in each of which rows change.
PACE: Final = ("--speed", 40_000)
KEEPING: Final = [f"--topic-config={name}={value}" for name, value in KEPT.items()]


def streamed(topics: OwnTopics, folder: Path, *options: object) -> Path:
    """The receipt of a stream up to the middle, without a database."""
    receipt = folder / "receipt.json"
    where = (*topics.options, "--create-topics", "--skip-postgres", "--master-topics")
    outcome = run(
        *(*DATAGEN, "stream", *SAID, *PACE, *where, "--until", MIDDLE),
        *("--receipt", receipt, *options),
    )
    assert outcome.code == 0, str(outcome)
    return receipt


def verified(receipt: Path, *options: object) -> dict[str, dict[str, Any]]:
    """What is said of each table, which is all there."""
    outcome = run(*DATAGEN, "verify", receipt, "--json", *options)
    assert outcome.code == 0, str(outcome)
    return of_tables(outcome)


def judged(receipt: Path, *options: object) -> dict[str, dict[str, Any]]:
    """What is said of the tables that are not all right."""
    outcome = run(*DATAGEN, "verify", receipt, "--json", *options)
    assert outcome.code == 6, str(outcome)
    return {name: one for name, one in of_tables(outcome).items() if not one["ok"]}


def of_tables(outcome: Outcome) -> dict[str, dict[str, Any]]:
    compared = json.loads(outcome.out)["compared"]
    return {one["name"]: one for one in compared if one["name"] in TABLE_TOPICS}


def kinds(found: dict[str, Any]) -> dict[str, int]:
    names = ("missing", "double", "altered", "misplaced", "late", "foreign")
    return {kind: found[kind] for kind in names if found[kind]}


def left_of(topics: OwnTopics) -> dict[str, int]:
    """How many records each table's topic has by now: fewer than its offsets say, once it is compacted."""
    tables = {topics.name(topic): table for table, topic in TABLE_TOPICS.items()}
    found = dict.fromkeys(TABLE_TOPICS, 0)
    options = {
        "bootstrap.servers": topics.bootstrap,
        "group.id": "left",
        "enable.partition.eof": "true",
        "auto.offset.reset": "earliest",
    }
    with closing(Consumer(options)) as consumer:
        parts = [
            TopicPartition(topic, number, 0)
            for topic, one in consumer.list_topics(timeout=30).topics.items()
            if topic in tables
            for number in one.partitions
        ]
        consumer.assign(parts)
        ends, deadline = 0, time.monotonic() + 60
        while ends < len(parts):
            assert time.monotonic() < deadline
            for message in consumer.consume(1000, 0.1):
                error, topic = message.error(), message.topic()
                assert topic is not None
                if error is None:
                    found[tables[topic]] += 1
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ends += 1
    return found


def produce(topics: OwnTopics, table: str, record: Record, **changes: Any) -> int:
    """Sends a record that is there once more, or with changes; its offset."""
    offsets: list[Any] = []
    producer = Producer({"bootstrap.servers": topics.bootstrap})
    sent = {"key": record.key, "value": record.value, "partition": record.partition, **changes}
    producer.produce(
        topics.name(TABLE_TOPICS[table]),
        on_delivery=lambda _, one: offsets.append(one.offset()),
        **sent,
    )
    assert producer.flush(30) == 0
    return int(offsets[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_every_row_and_every_change_is_judged(
    clean_kafka: OwnTopics, tmp_path: Path, engine: str
) -> None:
    receipt = streamed(clean_kafka, tmp_path, *KEEPING, "--engine", engine)
    found = verified(receipt, "--engine", engine)
    there = read_tables(clean_kafka)
    for table, one in found.items():
        rows = PLAN.rows(table, until=MIDDLE)
        assert (one["planned"], one["found"]) == (rows, rows), table
        assert one["earlier"] == len(there[table]) - rows
        assert one["checksum"]
    assert found["accounts"]["earlier"] > 20


def test_a_stream_that_goes_on_is_verified_from_its_position(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    position, second = tmp_path / "position.json", tmp_path / "second.json"
    first = streamed(clean_kafka, tmp_path, *KEEPING, "--position", position)
    outcome = run(
        *(*DATAGEN, "stream", "--resume", "--position", position, "--skip-postgres", *PACE),
        *("--until", END, "--receipt", second, *clean_kafka.options),
    )
    assert outcome.code == 0, str(outcome)
    at = millis_of(datetime.fromisoformat(MIDDLE))
    changed = {
        name: sum(
            time >= at
            for batch in PLAN.batches(name, until=END)
            for time in memoryview(batch.column("updated_at"))
        )
        for name in TABLE_TOPICS
    }
    found = verified(second)
    assert {name: one["planned"] for name, one in found.items()} == changed
    # What came later is no fault of the first one.
    assert any(one["outside"] for one in verified(first).values())


def test_each_kind_of_damage_has_a_name_and_a_place(clean_kafka: OwnTopics, tmp_path: Path) -> None:
    receipt = streamed(clean_kafka, tmp_path, *KEEPING)
    there = read_tables(clean_kafka)
    accounts = Counter(one.key for one in there["accounts"])
    key, _ = accounts.most_common(1)[0]
    versions = [one for one in there["accounts"] if one.key == key]
    first, last = versions[0], versions[-1]
    topic = clean_kafka.name(TABLE_TOPICS["accounts"])

    def wrong(**expected: int) -> dict[str, Any]:
        found = judged(receipt)
        assert {name: kinds(one) for name, one in found.items()} == {"accounts": expected}
        return found["accounts"]

    at = produce(clean_kafka, "accounts", last)
    [row] = wrong(double=1)["rows"]
    assert (row["kind"], row["id"], row["place"]) == (
        *("double", key.decode()),
        f"{topic}-{last.partition}@{at}",
    )
    other = next(one for one in there["accounts"] if accounts[one.key] > 2 and one.key != key)
    others = [one for one in there["accounts"] if one.key == other.key]
    changed = json.loads(others[-1].value) | {"balance": 1}
    produce(
        clean_kafka, "accounts", other, value=json.dumps(changed, separators=(",", ":")).encode()
    )
    [_, row] = wrong(double=1, altered=1)["rows"]
    assert row["id"] == other.key.decode()
    assert re.fullmatch(r"balance 1, planned [0-9.]+", row["why"])
    produce(clean_kafka, "accounts", first)
    assert wrong(double=2, altered=1)
    produce(clean_kafka, "accounts", last, value=None)
    assert wrong(double=2, altered=1, foreign=1)["rows"][-1]["why"] == "a tombstone"


@pytest.mark.parametrize("engine", ENGINES)
def test_options_alone_take_earlier_versions_for_what_they_are(
    clean_kafka: OwnTopics, engine: str
) -> None:
    bank = ("--customers", 120, "--seed", 11, "--no-avro", *clean_kafka.options)
    bank = (*bank, "--skip-postgres", "--master-topics")
    stream = (*DATAGEN, "stream", *bank, "--create-topics", "--start", START, *KEEPING)
    outcome = run(*stream, "--speed", 200_000, timeout=120)
    assert outcome.code == 0, str(outcome)
    asked = (*DATAGEN, "verify", *bank, "--engine", engine)
    outcome = run(*asked, "--json")
    assert outcome.code == 0, str(outcome)
    found, there = of_tables(outcome), read_tables(clean_kafka)
    for table, one in found.items():
        rows = PLAN.rows(table)
        assert (one["planned"], one["found"]) == (rows, rows), table
        assert one["earlier"] == len(there[table]) - rows
    assert found["accounts"]["earlier"] > 20
    assert "taken for a stream's up to 2026-07-01T00:00:00.000Z" in found["accounts"]["notes"][-1]
    # What a row never was is as wrong as ever.
    record = there["accounts"][-1]
    changed = json.loads(record.value) | {"balance": 1}
    produce(clean_kafka, "accounts", record, value=json.dumps(changed, separators=(",", ":")))
    outcome = run(*asked, "--json")
    assert outcome.code == 6, str(outcome)
    wrong = {name: kinds(one) for name, one in of_tables(outcome).items() if not one["ok"]}
    assert wrong == {"accounts": {"altered": 1}}


def test_fields_that_differ_are_named_in_avro(
    clean_kafka: OwnTopics, registry: Registry, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    bank = ("--customers", 120, "--seed", 11, "--start", START, "--until", MIDDLE, *PACE)
    where = (*clean_kafka.options, "--schema-registry", registry.url, "--skip-postgres")
    said = (*bank, *where, "--create-topics", "--master-topics", *KEEPING)
    outcome = run(*DATAGEN, "stream", *said, "--receipt", receipt)
    assert outcome.code == 0, str(outcome)
    assert json.loads(receipt.read_text("utf-8"))["sinks"]["kafka"]["format"] == "avro"
    for one in verified(receipt).values():
        assert one["ok"]
    record = read_tables(clean_kafka)["accounts"][-1]
    schema = fastavro.parse_schema(json.loads(catalogue()["accounts"].avro_schema))
    row = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema, None)
    assert isinstance(row, dict)
    changed = io.BytesIO()
    row |= {"balance": row["balance"] + 1}
    fastavro.schemaless_writer(changed, schema, row)
    produce(clean_kafka, "accounts", record, value=record.value[:5] + changed.getvalue())
    [(name, found)] = judged(receipt).items()
    assert (name, kinds(found)) == ("accounts", {"altered": 1})
    [row] = found["rows"]
    assert row["id"] == record.key.decode()
    assert re.fullmatch(r"balance [0-9.-]+, planned [0-9.-]+", row["why"])


def test_a_change_that_was_not_sent_is_missing(clean_kafka: OwnTopics, tmp_path: Path) -> None:
    """A receipt that says of a later instant that all is there."""
    receipt = streamed(clean_kafka, tmp_path, *KEEPING)
    says = json.loads(receipt.read_text("utf-8"))
    says["stream"]["until"] = END
    receipt.write_text(json.dumps(says))
    missing = dict.fromkeys(TABLE_TOPICS, 0)
    for batch in PLAN.changes(since=MIDDLE).until(END):
        missing[batch.name] += len(batch)
    found = judged(receipt, "--show", 1000)
    assert {name: kinds(one) for name, one in found.items()} == {
        name: {"missing": count} for name, count in missing.items() if count
    }
    assert {row["why"] for one in found.values() for row in one["rows"]} <= {
        "its last change is not there",
        None,
    }


def test_a_stream_that_was_killed_is_verified_up_to_its_position(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt.json"
    where = (
        *clean_kafka.options,
        "--create-topics",
        "--skip-postgres",
        "--master-topics",
        *KEEPING,
    )
    command = (*DATAGEN, "stream", *SAID, "--speed", 10_000, *where, "--receipt", receipt)
    with started(*command) as process:

        def has_gone_on() -> bool:
            assert process.poll() is None, process.communicate()
            says = json.loads(receipt.read_text("utf-8")) if receipt.exists() else {}
            return bool(says.get("stream", {}).get("until", "") > "2026-06-20T12")

        assert wait_until(has_gone_on, 90)
        time.sleep(0.7)
        process.kill()
        process.wait()
    until = json.loads(receipt.read_text("utf-8"))["stream"]["until"]
    for table, one in verified(receipt).items():
        assert one["found"] == one["planned"] == PLAN.rows(table, until=until)


@pytest.fixture(scope="module")
def cleaning(own_kafka: Running) -> Iterator[OwnTopics]:
    """A broker that looks every tenth of a second at what there is to compact or to delete."""
    properties = {
        "log.cleaner.backoff.ms": "100",
        "log.retention.check.interval.ms": "300",
        "log.segment.delete.delay.ms": "100",
        "log.initial.task.delay.ms": "100",
    }
    with own_kafka(KafkaBroker(properties=properties)) as broker:
        yield OwnTopics(broker.bootstrap)


#: Has the broker compact all but the last records of a partition, soon.
EAGER: Final = (
    "--topic-config=segment.ms=500",
    "--topic-config=min.cleanable.dirty.ratio=0.01",
    "--topic-config=delete.retention.ms=100",
)


def test_what_compaction_leaves_is_all_that_has_to_be_there(
    cleaning: OwnTopics, tmp_path: Path
) -> None:
    topics = OwnTopics(cleaning.bootstrap)
    receipt = streamed(topics, tmp_path, *EAGER)
    written = end_offsets(topics.bootstrap, [topics.name(one) for one in TABLE_TOPICS.values()])
    accounts = topics.name(TABLE_TOPICS["accounts"])
    rows = PLAN.rows("accounts", until=MIDDLE)

    def is_compacted() -> bool:
        return left_of(topics)["accounts"] < (written[accounts] + rows) / 2

    assert wait_until(is_compacted, 60)
    time.sleep(2)
    there = left_of(topics)
    for engine in ENGINES:
        for table, one in verified(receipt, "--engine", engine).items():
            assert one["found"] == one["planned"] == PLAN.rows(table, until=MIDDLE)
            assert one["earlier"] == there[table] - one["found"]
            gone = written[topics.name(TABLE_TOPICS[table])] - there[table]
            assert one["notes"][-1:] == ([f"{gone:,} offsets have no record"] if gone else [])


def test_what_retention_deletes_during_a_run_is_not_passed(
    cleaning: OwnTopics, tmp_path: Path
) -> None:
    """Old segments go while events are sent: what they had is said to be unseen, and nothing of it to be right."""
    topics, receipt = OwnTopics(cleaning.bootstrap), tmp_path / "receipt.json"
    where = (*topics.options, "--create-topics", "--skip-postgres")
    short = ("--topic-config=segment.ms=500", "--topic-config=retention.ms=1500")
    outcome = run(
        *(*DATAGEN, "stream", *SAID, *PACE, *where, *short, "--until", MIDDLE),
        *("--receipt", receipt),
    )
    # What was acknowledged has arrived, and what is there is counted by offsets.
    assert outcome.code == 0, str(outcome)
    topic = topics.name("banking.transactions")
    assert wait_until(lambda: begin_offsets(topics.bootstrap, topic)[0] > 0, 30)
    begins = begin_offsets(topics.bootstrap, topic)
    verified = run(*DATAGEN, "verify", receipt, "--json")
    assert verified.code == 6, str(verified)
    found = {one["name"]: one for one in json.loads(verified.out)["compared"]}
    one = found["banking.transactions"]
    assert {name for name in found if not found[name]["ok"]} >= {"banking.transactions"}
    for number, offset in begins.items():
        # More may go meanwhile.
        said = [
            text
            for text in one["unseen"]
            if text.endswith(f"below the log start ({topic}-{number})")
        ]
        assert [int(text.split()[0].replace(",", "")) >= offset for text in said] == [True] * bool(
            offset
        )
    assert kinds(one) == {}
    planned = sum(map(len, PLAN.batches("banking.transactions", until=MIDDLE)))
    assert one["planned"] == planned
    assert one["found"] < planned


def begin_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """The first offset that each partition still has."""
    with closing(Consumer({"bootstrap.servers": bootstrap, "group.id": "begin"})) as consumer:
        parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[0]
            for number in parts
        }


def test_events_that_were_compacted_away_are_missing(cleaning: OwnTopics, tmp_path: Path) -> None:
    """A topic of events that somebody has compacted while they were sent."""
    topics, receipt = OwnTopics(cleaning.bootstrap), tmp_path / "receipt.json"
    where = (*topics.options, "--create-topics", "--skip-postgres")
    topic = topics.name("banking.transactions")
    command = (*DATAGEN, "stream", *SAID, *PACE, *where, *EAGER, "--until", MIDDLE)
    with started(*command, "--receipt", receipt) as process:
        assert wait_until(lambda: topics.ends()["banking.transactions"] > 0)
        admin = AdminClient({"bootstrap.servers": topics.bootstrap})
        entry = ConfigEntry(
            "cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(RESOURCE_TOPIC, topic, incremental_configs=[entry])
        [changed] = admin.incremental_alter_configs([resource]).values()
        changed.result(30)
        outcome = outcome_of(process)
    assert outcome.code == 0, str(outcome)

    def compacted() -> dict[str, Any]:
        verified = run(*DATAGEN, "verify", receipt, "--json", "--show", 0)
        found = {one["name"]: one for one in json.loads(verified.out)["compared"]}
        one: dict[str, Any] = found["banking.transactions"]
        assert (verified.code, one["ok"]) == ((6, False) if one["missing"] else (0, True))
        return one

    assert wait_until(lambda: compacted()["missing"] > 0, 60)
    one = compacted()
    assert {*kinds(one)} == {"missing"}
    assert one["found"] + one["missing"] == one["planned"]
    assert one["notes"] == [f"{one['missing']:,} offsets have no record"]
