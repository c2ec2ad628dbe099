"""`load --resume`: whatever ended a load, the same load goes on, and nothing is lost or there twice."""

from __future__ import annotations

import json
import random
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from command import DATAGEN, assert_failed, outcome_of, run, started, wait_until
from datagen import Plan, catalogue
from datagen.errors import UnreachableError
from datagen.loader import Load
from datagen.loader import load as load_by_library
from datagen.receipts import Receipt, Recorder
from datagen.settlement import settlement_of
from datagen.sinks.postgres.commit import Commit
from own_topics import OwnTopics
from records import TOPICS, read_topics
from services._net import free_port
from services.kafka import KafkaBroker, Listener
from services.proxy import Proxy
from targets import Silent, to_kafka, to_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Process
    from datagen.sinks.base import Stage
    from running import Running
    from services.relay import Relay

pytest_plugins = ["postgres_fixtures"]

CUSTOMERS, SEED = 200, 7
PLAN = Plan(seed=SEED, customers=CUSTOMERS)
SAID = ("--customers", CUSTOMERS, "--seed", SEED, "--no-avro", "--create-topics")
#: One event in a request, so that there is time to be killed in.
SLOW = ("--preset", "EVENT_BY_EVENT")
#: The command, and its options, by what sends in which order.
WAYS = {
    "native in time": ("load", "--fast", "--engine", "native", *SLOW),
    "native by entity": (
        "load-parallel",
        "--workers",
        2,
        "--order",
        "entity",
        "--engine",
        "native",
        *SLOW,
    ),
    "confluent in time": ("load", "--engine", "confluent", *SLOW),
    "confluent by entity": ("load", "--fast", "--order", "entity", "--engine", "confluent", *SLOW),
}


@dataclass(frozen=True)
class Place:
    """Services of a load, and where its receipt is."""

    dsn: str
    topics: OwnTopics
    receipt: Path

    @property
    def database(self) -> tuple[object, ...]:
        return "--postgres-url", self.dsn

    def first(self, *way: object) -> tuple[object, ...]:
        """The command of the first attempt."""
        where = (*self.database, *self.topics.options, "--receipt", self.receipt)
        return (*DATAGEN, *way, *SAID, *where)

    def again(self, *more: object) -> tuple[object, ...]:
        return (*DATAGEN, "load", "--resume", self.receipt, *self.database, *more)

    @property
    def says(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.receipt.read_text("utf-8"))
        return found

    def sent(self) -> int:
        """Records that are in the topics by now."""
        return sum(self.topics.ends().values())

    def wait_for(self, more: int, process: Process) -> None:
        """Waits for more records than so many, or the end of a process that sends them."""
        wait_until(lambda: process.poll() is not None or self.sent() > more, 60)

    def assert_exact(self, *more: object) -> None:
        """Every row and event is there once, as `verify` and a reader of its own see it."""
        outcome = run(*DATAGEN, "verify", self.receipt, *self.database, *more)
        assert outcome.code == 0, str(outcome)
        for name, records in self.topics.read().items():
            idents = {record.header("ce_id") for record in records}
            assert len(records) == len(idents) == PLAN.rows(name)
        with psycopg.connect(self.dsn) as session:
            for table in [name for name in PLAN.names if name not in TOPICS]:
                [(rows,)] = session.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
                assert rows == PLAN.rows(table)
        says = self.says
        assert (says["outcome"], says["error"]) == ("ok", None)
        for name, one in says["sinks"]["kafka"]["topics"].items():
            assert one["acknowledged"] == PLAN.rows(name)
            assert sum(part["acknowledged"] for part in one["partitions"].values()) == PLAN.rows(
                name
            )
        tables = says["sinks"]["postgres"]["tables"]
        assert tables == {name: PLAN.rows(name) for name in tables}


@pytest.fixture
def place(pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path) -> Place:
    return Place(pg_dsn, clean_kafka, tmp_path / "receipt.json")


def total() -> int:
    return sum(PLAN.rows(name) for name in TOPICS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("way", "kills"),
    [
        ("native in time", 10),
        ("confluent by entity", 10),
        ("native by entity", 3),
        ("confluent in time", 3),
    ],
)
def test_killed_at_random_moments(place: Place, way: str, kills: int) -> None:
    chance, met = random.Random(f"{way} {kills}"), set()
    for number in range(kills):
        command = place.again() if place.receipt.exists() else place.first(*WAYS[way])
        # Half of them die as soon as so many more events are there, the others at any time.
        seconds, more = chance.uniform(0.2, 2.5), place.sent() + chance.randrange(total() // 6)
        with started(*command) as process:
            if number % 2 == 0:
                place.wait_for(more, process)
            else:
                time.sleep(seconds)
            process.kill()
            process.wait()
        met.add(place.sent())
    # Some came in the midst of the events.
    assert any(0 < sent < total() for sent in met), met
    if not place.receipt.exists():
        pytest.fail("no attempt has come so far as to write a receipt")
    attempts = place.says["attempts"]
    outcome = run(*place.again())
    assert outcome.code == 0, str(outcome)
    assert place.says["attempts"] == attempts + 1
    place.assert_exact()
    # Nothing is left: everything is there, and stays.
    again = run(*place.again("--json"))
    assert again.code == 0, str(again)
    said = json.loads(again.out)
    assert said["events_there"] == total()
    place.assert_exact()


# --- what else ends a load


@pytest.fixture
def proxied(own_kafka: Running) -> Iterator[tuple[KafkaBroker, Proxy]]:
    """A broker of the test's own, and the way to it, which can be cut."""
    port = free_port()
    listeners = [Listener("PROXY", advertised_port=port)]
    broker = KafkaBroker(heap="320m", short_lived=True, listeners=listeners)
    with own_kafka(broker), Proxy(broker.address("PROXY"), port) as proxy:
        yield broker, proxy


@pytest.mark.parametrize("way", ["native in time", "confluent by entity"])
def test_a_broker_that_was_gone(place: Place, proxied: tuple[KafkaBroker, Proxy], way: str) -> None:
    broker, proxy = proxied
    place = replace(place, topics=OwnTopics(broker.bootstrap))
    patience = ("--kafka-option", "message.timeout.ms=2000")
    command = (*place.first(*WAYS[way]), "--kafka-bootstrap", proxy.address, *patience)
    with started(*command) as process:
        place.wait_for(total() // 10, process)
        proxy.refuse()
        outcome = outcome_of(process)
    assert outcome.code == 5, str(outcome)
    assert f"datagen load --resume {place.receipt}" in outcome.out
    assert place.says["outcome"] == "failed"
    assert 0 < place.sent() < total()
    proxy.accept()
    # The value of a property is in no receipt: it is asked for.
    assert_failed(run(*place.again()), 2, "--kafka-option message.timeout.ms")
    patience = ("--kafka-option", "message.timeout.ms=60000")
    outcome = run(*place.again(*patience))
    assert outcome.code == 0, str(outcome)
    place.assert_exact(*patience)


def test_a_session_that_was_ended(place: Place, relay: tuple[str, Relay]) -> None:
    dsn, way = relay
    way.rate = 100_000
    with started(*place.first("load"), "--postgres-url", dsn) as process:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %'"
        with psycopg.connect(place.dsn, autocommit=True) as session:
            assert wait_until(lambda: bool(session.execute(ended).fetchall()))
        outcome = outcome_of(process)
    assert outcome.code == 5, str(outcome)
    assert place.sent() == 0
    outcome = run(*place.again())
    assert outcome.code == 0, str(outcome)
    place.assert_exact()


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize("fast", [False, True], ids=["standard", "fast"])
def test_cut_at_commit(
    place: Place, relay: tuple[str, Relay], lost: Any, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.postgres.commit.PATIENCE", 0.5)
    dsn, way = relay
    commit = Commit.run

    def cut(self: Commit) -> None:
        way.lose = (b"COMMIT\0", lost)
        way.open = False
        commit(self)

    config = place.topics.config()
    with monkeypatch.context() as patched:
        patched.setattr(Commit, "run", cut)
        targets = to_postgres(dsn) | to_kafka(config)
        first = Load(plan=PLAN, targets=targets, fast=fast, recorder=Recorder(place.receipt))
        with pytest.raises(UnreachableError, match="is not known") as failed:
            load_by_library(first, Silent())
    settlement = settlement_of(failed.value)
    assert settlement is not None
    assert f"resume=Receipt.read(Path('{place.receipt}'))" in settlement.advice
    assert place.says["sinks"]["postgres"]["outcome"] == "unknown"
    there = lost == "after"
    targets = to_postgres(place.dsn) | to_kafka(config)
    again = replace(first, targets=targets, resume=Receipt.read(place.receipt))
    report = load_by_library(again, Silent())
    assert report.ok
    assert (report["postgres"].facts["rows_there"] > 0) == there
    assert report["kafka"].facts["events_there"] == 0
    place.assert_exact("--no-avro", "--kafka-bootstrap", config.bootstrap_servers)


@pytest.mark.parametrize("at", [3, 700, 9_000, 13_000])
def test_tables_in_topics_are_there_once(place: Place, at: int) -> None:
    config = place.topics.config()
    targets = to_kafka(config, master_topics=True)
    first = Load(plan=PLAN, targets=targets, recorder=Recorder(place.receipt))
    with pytest.raises(KeyboardInterrupt):
        load_by_library(first, Interrupting(at))
    report = load_by_library(replace(first, resume=Receipt.read(place.receipt)), Silent())
    assert report.ok
    names = [f"{config.topic_prefix}{catalogue()[name].topic}" for name in PLAN.names]
    for name, records in zip(
        PLAN.names, read_topics(config.bootstrap_servers, names).values(), strict=True
    ):
        assert len(records) == PLAN.rows(name), name
    verified = run(*DATAGEN, "verify", place.receipt)
    assert verified.code == 0, str(verified)


class Interrupting(Silent):
    """Progress that is interrupted once so many rows have gone to Kafka."""

    def __init__(self, rows: int) -> None:
        self._left = rows
        self._kafka = False

    def start(self, stage: Stage, name: str, rows: int) -> None:
        self._kafka = stage.name == "kafka"

    def advance(self, rows: int) -> None:
        self._left -= rows if self._kafka else 0
        if self._left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_attempt_that_ends_before_it_has_looked_says_what_the_receipt_does(
    place: Place, end: signal.Signals
) -> None:
    with started(*place.first("load", *SLOW)) as process:
        place.wait_for(total() // 10, process)
        process.send_signal(end)
        process.communicate()
    before = place.receipt.read_bytes()
    topics = place.says["sinks"]["kafka"]["topics"]
    known = sum(one["acknowledged"] for one in topics.values())
    assert (known > 0) == (end == signal.SIGINT)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(place.dsn) as session, psycopg.connect(place.dsn) as watcher:
        watcher.autocommit = True
        session.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        with started(*place.again("--json")) as process:
            assert wait_until(lambda: watcher.execute(waiting).fetchall() != [(0,)], 60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    assert process.returncode == 130, err
    said = json.loads(out)
    assert said["kafka"]["acknowledged"] == known
    assert said["kafka"]["unknown"] == total() - known
    assert f"Kafka: {known} of {total()} planned events acknowledged, as the earlier" in err
    assert said["postgres"]["outcome"] == ("committed" if known else "unknown")
    assert said["repeatable"]
    assert place.receipt.read_bytes() == before
    assert run(*place.again()).code == 0
    place.assert_exact()


def test_nothing_was_done_before(place: Place) -> None:
    with psycopg.connect(place.dsn) as session:
        session.execute("CREATE TABLE customers (other text)")
    outcome = run(*place.first("load"))
    assert outcome.code == 4, str(outcome)
    assert not any(one["partitions"] for one in place.says["sinks"]["kafka"]["topics"].values())
    with psycopg.connect(place.dsn) as session:
        session.execute("DROP TABLE customers")
    outcome = run(*place.again())
    assert outcome.code == 0, str(outcome)
    place.assert_exact()


# --- what is refused


@pytest.fixture
def broken_off(place: Place) -> Place:
    """A load of which tables and some events are there."""
    with started(*place.first("load", *SLOW)) as process:
        place.wait_for(total() // 10, process)
        process.kill()
        process.wait()
    assert 0 < place.sent() < total()
    return place


def test_what_cannot_be_known_is_refused(broken_off: Place) -> None:
    place, receipt = broken_off, json.loads(broken_off.receipt.read_text("utf-8"))
    name = place.topics.name(TOPICS[0])
    sent = place.sent()

    def refused(change: Callable[[dict[str, Any]], None], code: int, *words: str) -> None:
        changed = json.loads(json.dumps(receipt))
        change(changed)
        place.receipt.write_text(json.dumps(changed), "utf-8")
        assert_failed(run(*place.again()), code, *words)
        assert place.sent() == sent

    kafka, topic = "kafka", TOPICS[0]

    def elsewhere(one: dict[str, Any]) -> None:
        one["sinks"][kafka]["cluster"] = "another-cluster"

    def shorter(one: dict[str, Any]) -> None:
        one["sinks"][kafka]["topics"][topic]["partitions"]["0"]["first"] = 10**6

    def fewer(one: dict[str, Any]) -> None:
        del one["sinks"][kafka]["topics"][topic]["partitions"]["2"]

    refused(elsewhere, 3, "another-cluster")
    refused(shorter, 3, f"topic {name}, partition 0", "1000000")
    refused(fewer, 3, "had 2 partitions", "has 3")
    refused(lambda one: one.update(catalogue=1), 3, "version 1 of the catalogue")
    refused(lambda one: one.update(command="stream"), 3, "of a stream")
    refused(lambda one: one.update(command="library"), 3, "library")
    refused(lambda one: one.update(format=99), 3, "receipt format 99")
    refused(lambda one: one.pop("plan"), 3, "not the receipt of a run")
    place.receipt.write_text(json.dumps(receipt), "utf-8")
    for option in (
        ("--seed", 8),
        ("--customers", 10),
        ("--order", "entity"),
        ("--no-cloudevents",),
        ("--truncate",),
    ):
        assert_failed(run(*place.again(*option)), 2, option[0])
    assert_failed(run(*place.again("--receipt", "other.json")), 2, "--receipt")
    assert_failed(run(*DATAGEN, "load", "--resume", place.receipt), 2, "--postgres-url")
    # The same once more is no contradiction.
    outcome = run(*place.again("--seed", SEED, "--customers", CUSTOMERS, "--engine", "confluent"))
    assert outcome.code == 0, str(outcome)
    place.assert_exact()


def test_records_that_were_deleted_are_not_guessed(broken_off: Place) -> None:
    place = broken_off
    topic = TopicPartition(place.topics.name(TOPICS[0]), 1, 5)
    admin = AdminClient({"bootstrap.servers": place.topics.bootstrap})
    for future in admin.delete_records([topic]).values():
        future.result(30)
    sent, said = place.sent(), place.receipt.read_bytes()
    outcome = run(*place.again())
    assert_failed(
        outcome, 3, f"{topic.topic}, partition 1", "up to offset 5", "began at 0", "5 offsets"
    )
    assert (place.sent(), place.receipt.read_bytes()) == (sent, said)


def test_rows_that_are_there_in_part_are_refused_or_replaced(place: Place) -> None:
    database = ("--postgres-url", place.dsn)
    first = (*DATAGEN, "load", *SAID, *database, "--skip-kafka", "--receipt", place.receipt)
    assert run(*first).code == 0
    again = (*DATAGEN, "load", "--resume", place.receipt, *database)
    with psycopg.connect(place.dsn) as session:
        session.execute("UPDATE accounts SET balance = balance + 1")
    assert_failed(run(*again), 4, "with other values in accounts", "--truncate")
    assert run(*first, "--truncate").code == 0
    with psycopg.connect(place.dsn) as session:
        session.execute("UPDATE accounts SET balance = balance + 1")
    # The load has replaced what was there, and does so again.
    outcome = run(*again)
    assert outcome.code == 0, str(outcome)
    verified = run(*DATAGEN, "verify", place.receipt, *database)
    assert verified.code == 0, str(verified)


def test_no_secret_is_in_a_receipt_that_was_resumed(place: Place) -> None:
    secret = urlsplit(place.dsn).password or ""
    option = ("--kafka-option", "sasl.password=Tr0ub4dor")
    with started(*place.first("load", *SLOW), *option) as process:
        place.wait_for(total() // 10, process)
        process.kill()
    outcome = run(*place.again(*option))
    assert outcome.code == 0, str(outcome)
    text = place.receipt.read_text("utf-8")
    assert len(secret) > 8
    for word in (secret, "Tr0ub4dor"):
        assert word not in text + outcome.out + outcome.err


def test_two_at_once_take_turns(broken_off: Place) -> None:
    with started(*broken_off.again()) as one, started(*broken_off.again()) as other:
        outcomes = [outcome_of(one), outcome_of(other)]
    assert [outcome.code for outcome in outcomes] == [0, 0], "\n".join(map(str, outcomes))
    broken_off.assert_exact()
