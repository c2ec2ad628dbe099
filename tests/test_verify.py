"""`datagen verify`: a load is as planned, and each kind of damage to it has a name and a place."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from command import (
    DATAGEN,
    Outcome,
    assert_failed,
    load,
    outcome_of,
    run,
    started,
    wait_until,
)
from datagen import Plan, verification
from datagen._core import Reconciliation
from datagen.errors import ConfigurationError
from datagen.sinks.kafka.behind import ids_behind, rows_behind
from datagen.sinks.kafka.cluster import Cluster
from datagen.sinks.kafka.end_offsets import EndOffsets
from datagen.sinks.kafka.reader import read
from datagen.sinks.postgres import PostgresTarget
from datagen.types import catalogue
from engines import ENGINES
from records import TOPICS

if TYPE_CHECKING:
    from pathlib import Path

    from own_topics import OwnTopics
    from services.registry import Registry

PLAN = Plan(seed=11, customers=40)
SAID = ("--customers", 40, "--seed", 11)
TRANSACTIONS, TRADES = "banking.transactions", "banking.trades"


@dataclass(frozen=True)
class Loaded:
    """A load into services of its own, with its receipt."""

    receipt: Path
    topics: OwnTopics
    dsn: str

    def verify(self, *options: object) -> Outcome:
        return run(*DATAGEN, "verify", self.receipt, "--postgres-url", self.dsn, *options)

    def judged(self, *options: object) -> dict[str, Any]:
        """What is wrong with one table or topic, by the name of each; the exit code is 6."""
        outcome = self.verify("--json", *options)
        assert outcome.code == 6, str(outcome)
        assert outcome.err.rstrip().endswith("what the services hold is not what the plan says")
        said = json.loads(outcome.out)
        assert not said["ok"]
        return {one["name"]: one for one in said["compared"] if not one["ok"]}

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as session:
            found = session.execute(statement.encode(), values)
            return found.fetchall() if found.description else []

    def message(self, stream: str, partition: int) -> Any:
        """The first message of a partition."""
        options = {"bootstrap.servers": self.topics.bootstrap, "group.id": "test"}
        with closing(Consumer(options)) as consumer:
            consumer.assign([TopicPartition(self.topics.name(stream), partition, 0)])
            message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        return message

    def produce(self, stream: str, **message: Any) -> int:
        """Sends one message; its offset."""
        offsets: list[Any] = []
        producer = Producer({"bootstrap.servers": self.topics.bootstrap})
        producer.produce(
            self.topics.name(stream),
            on_delivery=lambda _, one: offsets.append(one.offset()),
            **message,
        )
        assert producer.flush(30) == 0
        return int(offsets[0])


@pytest.fixture
def loaded(pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path) -> Loaded:
    receipt = tmp_path / "receipt.json"
    options = (*SAID, "--postgres-url", pg_dsn, *clean_kafka.options, "--create-topics")
    outcome = load(*options, "--no-avro", "--receipt", receipt)
    assert outcome.code == 0, str(outcome)
    return Loaded(receipt, clean_kafka, pg_dsn)


def kinds(found: dict[str, Any]) -> dict[str, int]:
    names = ("missing", "double", "altered", "misplaced", "late", "foreign")
    return {kind: found[kind] for kind in names if found[kind]}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--fast",),
        ("--order", "entity", "--engine", "confluent"),
        ("--avro-enums", "string", "--no-cloudevents"),
        ("--record-timestamp", "event", "--retention-hours", -1),
        ("--from-customer", 25, "--master-topics"),
        ("--labels", "--label-rate", "pix-scam=0.2"),
    ],
    ids=lambda options: "".join(map(str, options)) or "plain",
)
def test_a_load_is_as_planned(
    pg_dsn: str,
    clean_kafka: OwnTopics,
    registry: Registry,
    tmp_path: Path,
    options: tuple[Any, ...],
) -> None:
    receipt = tmp_path / "receipt.json"
    where = (*clean_kafka.options, "--postgres-url", pg_dsn, "--schema-registry", registry.url)
    asked = (*SAID, *where, *options)
    outcome = load(*asked, "--create-topics", "--receipt", receipt)
    assert outcome.code == 0, str(outcome)
    verified = run(*DATAGEN, "verify", receipt, "--postgres-url", pg_dsn)
    assert verified.code == 0, str(verified)
    assert verified.lines[-1] == "Verification: ALL OK"
    first = 25 if "--from-customer" in options else 0
    labels = {"pix-scam": 0.2} if "--labels" in options else None
    plan = Plan(seed=11, customers=first + 40, labels=labels)
    assert labels is None or plan != Plan(seed=11, customers=first + 40)
    for name in plan.names:
        rows = plan.rows(name, 0 if name == "stocks" else first)
        place = (
            f"{clean_kafka.name(name)}: {rows} records"
            if name in TOPICS
            else f"{name}: {rows} rows"
        )
        assert f"  [OK] {place}" in verified.lines, str(verified)
    # The options of the load say as much as its receipt.
    again = run(*DATAGEN, "verify", *asked)
    assert again.code == 0, str(again)
    line = run(*DATAGEN, "verify", *asked, "--fingerprint")
    assert (line.code, line.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{32} ok \d+ rows\n", line.out)
    said = next(one for one in again.lines if one.startswith("Fingerprint: "))
    assert said.removeprefix("Fingerprint: ") == line.out[:32]


def test_rows_of_tables_have_names(loaded: Loaded) -> None:
    [(gone,)] = loaded.execute(
        "DELETE FROM loans WHERE loan_id = (SELECT min(loan_id::text)::uuid FROM loans) RETURNING loan_id"
    )
    [(changed, balance)] = loaded.execute(
        "UPDATE accounts SET balance = balance + 1 WHERE account_id = "
        "(SELECT min(account_id::text)::uuid FROM accounts) RETURNING account_id, balance"
    )
    with psycopg.connect(loaded.dsn) as session:
        session.execute("CREATE TEMP TABLE one AS SELECT * FROM properties LIMIT 1")
        session.execute(
            "UPDATE one SET property_id = '00000000-0000-4000-8000-000000000000', registration_number = '1'"
        )
        session.execute("INSERT INTO properties SELECT * FROM one")
    found = loaded.judged("--skip-kafka")
    assert {*found} == {"loans", "accounts", "properties"}
    assert kinds(found["loans"]) == {"missing": 1}
    assert found["loans"]["rows"] == [
        {"kind": "missing", "id": str(gone), "place": "loans", "why": None}
    ]
    assert kinds(found["accounts"]) == {"altered": 1}
    (altered,) = found["accounts"]["rows"]
    assert altered["id"] == str(changed)
    assert altered["why"] == f"balance {balance}, planned {balance - 1}"
    assert kinds(found["properties"]) == {"foreign": 1}
    (foreign,) = found["properties"]["rows"]
    assert foreign["id"] == "00000000-0000-4000-8000-000000000000"
    assert "not of this seed" in foreign["why"]
    shown = loaded.verify("--skip-kafka", "--show", 0)
    assert shown.code == 6
    assert str(gone) not in shown.out
    assert "1 missing" in shown.out
    assert shown.lines[-1] == "Verification: FAILED"


def test_rows_have_names_where_the_plan_is_the_slower_one(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with other work reads faster than it makes rows."""
    real = verification._Comparing._expect

    def slowly(*arguments: Any) -> None:
        time.sleep(1)
        real(*arguments)

    monkeypatch.setattr(verification._Comparing, "_expect", slowly)
    loaded.execute("UPDATE stocks SET reference_price = reference_price + 1 WHERE ticker = 'PETR4'")
    target = PostgresTarget(url=loaded.dsn)
    verdict = verification.verify(
        verification.Verification(plan=PLAN, targets={"postgres": target}), Quiet()
    )
    wrong = {one.name: dict(one.counts) for one in verdict.compared if not one.ok}
    assert {name: kinds(counts) for name, counts in wrong.items()} == {"stocks": {"altered": 1}}


class Quiet:
    """Takes no note of how it goes."""

    def start(self, *_: object) -> None: ...
    def advance(self, *_: object) -> None: ...
    def finish(self, *_: object) -> None: ...


def test_a_table_that_is_not_there_has_no_row(loaded: Loaded) -> None:
    loaded.execute("DROP TABLE stocks")
    found = loaded.judged("--skip-kafka")
    assert kinds(found["stocks"]) == {"missing": 42}
    assert found["stocks"]["notes"] == ["there is no table stocks"]


def test_a_table_of_another_shape_cannot_be_compared(loaded: Loaded) -> None:
    loaded.execute("ALTER TABLE customers RENAME COLUMN name TO full_name")
    found = loaded.verify("--skip-kafka")
    assert_failed(found, 6, "table customers", "column name is missing", "cannot be compared")
    loaded.execute("ALTER TABLE customers RENAME COLUMN full_name TO name")
    # What is the user's own is not read.
    loaded.execute("ALTER TABLE customers ADD COLUMN note text DEFAULT 'x'")
    assert loaded.verify("--skip-kafka").code == 0
    loaded.execute("ALTER TABLE accounts ALTER COLUMN balance TYPE double precision")
    assert_failed(loaded.verify("--skip-kafka"), 6, "balance is double precision, not numeric(")


def test_a_table_that_was_put_into_partitions_is_read_whole(loaded: Loaded) -> None:
    loaded.execute("ALTER TABLE stocks RENAME TO before")
    loaded.execute("CREATE TABLE stocks (LIKE before) PARTITION BY HASH (stock_id)")
    for part in (0, 1):
        bounds = f"FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
        loaded.execute(f"CREATE TABLE stocks_{part} PARTITION OF stocks {bounds}")
    loaded.execute("INSERT INTO stocks SELECT * FROM before")
    found = loaded.verify("--skip-kafka")
    assert found.code == 0, str(found)
    assert "  [OK] stocks: 42 rows" in found.lines


@pytest.mark.parametrize("engine", ENGINES)
def test_records_have_names(loaded: Loaded, engine: str) -> None:
    """One double, one altered, one misplaced, and three of another producer."""
    first = loaded.message(TRANSACTIONS, 0)
    same = {"key": first.key(), "headers": first.headers(), "value": first.value()}
    double = loaded.produce(TRANSACTIONS, partition=0, **same)
    values = json.loads(first.value())
    altered = loaded.produce(TRADES, partition=1, **_changed(loaded.message(TRADES, 1)))
    elsewhere = loaded.produce(TRANSACTIONS, partition=1, **same)
    strange = [
        loaded.produce(TRANSACTIONS, partition=2, key=b"k", value=b"hello"),
        loaded.produce(TRANSACTIONS, partition=2, key=b"k"),
        loaded.produce(
            TRANSACTIONS,
            partition=2,
            key=first.key(),
            value=first.value(),
            headers=[
                ("ce_source", b"another/source"),
                ("ce_id", values["transaction_id"].encode()),
            ],
        ),
    ]
    found = loaded.judged("--skip-postgres", "--engine", engine)
    assert {*found} == {TRANSACTIONS, TRADES}
    topic = loaded.topics.name(TRANSACTIONS)
    assert kinds(found[TRANSACTIONS]) == {"double": 1, "misplaced": 1, "foreign": 3}
    places = {
        row["kind"]: row["place"]
        for row in found[TRANSACTIONS]["rows"]
        if row["id"] == values["transaction_id"] and row["kind"] != "foreign"
    }
    assert places == {"double": f"{topic}-0@{double}", "misplaced": f"{topic}-1@{elsewhere}"}
    whys = {
        row["place"]: row["why"] for row in found[TRANSACTIONS]["rows"] if row["kind"] == "foreign"
    }
    assert whys == {
        f"{topic}-2@{strange[0]}": "it has no id",
        f"{topic}-2@{strange[1]}": "a tombstone",
        f"{topic}-2@{strange[2]}": "another ce_source",
    }
    assert kinds(found[TRADES]) == {"altered": 1}
    (row,) = found[TRADES]["rows"]
    assert row["place"] == f"{loaded.topics.name(TRADES)}-1@{altered}"
    assert row["why"].startswith("quantity 7, planned ")


def _changed(message: Any) -> dict[str, Any]:
    values = json.loads(message.value())
    text = json.dumps({**values, "quantity": 7}, separators=(",", ":"), ensure_ascii=False)
    return {"key": message.key(), "headers": message.headers(), "value": text.encode()}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_lies_below_the_log_start_is_not_passed(loaded: Loaded, engine: str) -> None:
    topic = loaded.topics.name(TRANSACTIONS)
    admin = AdminClient({"bootstrap.servers": loaded.topics.bootstrap})
    (deleted,) = admin.delete_records([TopicPartition(topic, 1, 20)]).values()
    assert deleted.result().low_watermark == 20
    found = loaded.judged("--skip-postgres", "--engine", engine)
    assert {*found} == {TRANSACTIONS}
    assert f"20 offsets below the log start ({topic}-1)" in found[TRANSACTIONS]["unseen"]
    # They were there, perhaps.
    assert kinds(found[TRANSACTIONS]) == {}
    shown = loaded.verify("--skip-postgres")
    assert f"    cannot verify: 20 offsets below the log start ({topic}-1)" in shown.lines


@pytest.mark.parametrize("engine", ENGINES)
def test_transactions_that_did_not_commit_hold_nothing(loaded: Loaded, engine: str) -> None:
    said = "--skip-postgres", "--engine", engine
    topic = loaded.topics.name(TRANSACTIONS)
    first = loaded.message(TRANSACTIONS, 0)
    # The same client goes on, so that a transaction that another parameter left open is ended.
    options = {"bootstrap.servers": loaded.topics.bootstrap, "transactional.id": topic}
    producer = Producer(options)
    producer.init_transactions(30)

    def begin() -> None:
        producer.begin_transaction()
        producer.produce(
            topic, partition=0, key=first.key(), headers=first.headers(), value=first.value()
        )
        assert producer.flush(30) == 0

    begin()
    producer.abort_transaction(30)
    outcome = loaded.verify(*said)
    assert outcome.code == 0, str(outcome)
    assert "2 offsets have no record" in outcome.out
    begin()
    loaded.produce(TRANSACTIONS, partition=0, key=b"k", value=b"hello")
    found = loaded.judged(*said)
    assert {*found} == {TRANSACTIONS}
    assert found[TRANSACTIONS]["unseen"] == [
        f"2 offsets behind a transaction that is open ({topic}-0)"
    ]
    assert kinds(found[TRANSACTIONS]) == {}
    producer.commit_transaction(30)
    found = loaded.judged(*said)
    assert kinds(found[TRANSACTIONS]) == {"double": 1, "foreign": 1}


@pytest.mark.parametrize("engine", ENGINES)
def test_ids_and_keys_are_read_by_either_engine(loaded: Loaded, engine: str) -> None:
    config = loaded.topics.config(**ENGINES[engine].fields)
    cluster = Cluster(config)
    ends = EndOffsets(cluster).read([loaded.topics.name(TRADES)])
    relations = dict.fromkeys(ends, TRADES)
    starts = {topic: dict.fromkeys(parts, 0) for topic, parts in ends.items()}
    rows = [row for batch in PLAN.batches(TRADES) for row in batch]
    found = ids_behind(cluster, starts, ends, relations, PLAN)
    assert found == {str(row["trade_id"]).encode() for row in rows}
    key = catalogue()[TRADES].key
    of_keys = dict.fromkeys(ends, "accounts")
    (keys,) = rows_behind(cluster, starts, ends, of_keys, PLAN).values()
    assert {*keys} == {str(row[key]).encode() for row in rows}
    # Those of some customers alone, where others' are there too.
    half = PLAN.customers // 2
    own = [row for batch in PLAN.batches(TRADES, half) for row in batch]
    assert 0 < len(own) < len(rows)
    found = ids_behind(cluster, starts, ends, relations, PLAN, half)
    assert found == {str(row["trade_id"]).encode() for row in own}
    (keys,) = rows_behind(cluster, starts, ends, of_keys, PLAN, half).values()
    assert {*keys} == {str(row[key]).encode() for row in own}
    # Behind the end there is nothing, and what a topic does not have is no position.
    assert ids_behind(cluster, ends, ends, relations, PLAN) == set()
    further = {topic: {0: parts[0] + 1} for topic, parts in ends.items()}
    with pytest.raises(ConfigurationError, match="and the position is at"):
        ids_behind(cluster, further, ends, relations, PLAN)


@pytest.mark.parametrize(
    ("options", "engine"),
    [
        ({}, "native"),
        ({"socket.keepalive.enable": "true"}, "confluent"),
        ({"ssl.ca.location": "/nowhere", "security.protocol": "ssl"}, "confluent"),
    ],
    ids=["plain", "unknown", "unreadable"],
)
def test_a_reader_is_chosen_as_an_engine_is(
    clean_kafka: OwnTopics, options: dict[str, str], engine: str
) -> None:
    config = clean_kafka.config(client_options=options)
    cluster = Cluster(clean_kafka.config())
    assert read(config, cluster, lambda reader: reader.name) == engine
    if engine == "confluent":
        with pytest.raises(ConfigurationError, match=r"Use engine=.confluent."):
            read(replace(config, engine="native"), cluster, lambda reader: reader.name)


def test_two_loads_are_each_event_twice(loaded: Loaded) -> None:
    options = (*SAID, *loaded.topics.options, "--skip-postgres", "--no-avro")
    second = loaded.receipt.with_name("second.json")
    assert load(*options, "--receipt", second).code == 0
    found = loaded.judged("--skip-postgres")
    for name in TOPICS:
        assert kinds(found[name]) == {"double": PLAN.rows(name)}
        assert (found[name]["planned"], found[name]["found"]) == (
            PLAN.rows(name),
            2 * PLAN.rows(name),
        )
    # The second one alone begins where the first has ended.
    outcome = run(*DATAGEN, "verify", second)
    assert outcome.code == 0, str(outcome)


def test_other_customers_of_the_seed_are_no_mistake(loaded: Loaded) -> None:
    options = ("--seed", 11, "--from-customer", 40, "--customers", 10, "--no-avro")
    where = ("--postgres-url", loaded.dsn, *loaded.topics.options)
    assert load(*options, *where).code == 0
    outcome = loaded.verify()
    assert outcome.code == 0, str(outcome)
    assert "of other customers of this seed" in outcome.out


def test_events_out_of_order_are_late(loaded: Loaded, clean_kafka: OwnTopics) -> None:
    """A load in the order of entities, verified as if it had been in the order of time."""
    del clean_kafka
    path = loaded.receipt
    says = json.loads(path.read_text("utf-8"))
    assert says["order"] == "time"
    options = (*SAID, *loaded.topics.options, "--skip-postgres", "--no-avro", "--order", "entity")
    other = path.with_name("entity.json")
    assert load(*options, "--receipt", other).code == 0
    assert run(*DATAGEN, "verify", other).code == 0
    claims = json.loads(other.read_text("utf-8"))
    claims["order"] = claims["options"]["order"] = "time"
    other.write_text(json.dumps(claims))
    outcome = run(*DATAGEN, "verify", other, "--json")
    assert outcome.code == 6
    found = {one["name"]: one for one in json.loads(outcome.out)["compared"]}
    assert {*kinds(found[TRANSACTIONS])} == {"late"}
    assert "@" in found[TRANSACTIONS]["rows"][0]["place"]


def test_a_stream_is_verified_up_to_its_position(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    receipt, position = tmp_path / "stream.json", tmp_path / "position.json"
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--no-avro")
    options = (*SAID, *where, "--create-topics", "--position", position, "--receipt", receipt)
    span = ("--start", "2026-06-20", "--until", "2026-06-23T12:00:00Z", "--speed", 1_000_000)
    first = run(*DATAGEN, "stream", *options, *span)
    assert first.code == 0, str(first)
    verified = run(*DATAGEN, "verify", receipt, "--postgres-url", pg_dsn)
    assert verified.code == 0, str(verified)
    sent = sum(map(len, PLAN.batches(TRANSACTIONS, until="2026-06-23T12:00:00Z")))
    assert f"  [OK] {clean_kafka.name(TRANSACTIONS)}: {sent} records" in verified.lines
    # The rest of it is of a second process.
    shutil.copy(receipt, tmp_path / "before.json")
    rest = (*where, "--position", position, "--resume", "--receipt", tmp_path / "rest.json")
    second = run(*DATAGEN, "stream", *rest, "--until", "2026-06-25", "--speed", 1_000_000)
    assert second.code == 0, str(second)
    verified = run(*DATAGEN, "verify", tmp_path / "rest.json", "--postgres-url", pg_dsn)
    assert verified.code == 0, str(verified)
    earlier = run(*DATAGEN, "verify", tmp_path / "before.json", "--skip-postgres")
    assert earlier.code == 0, str(earlier)
    assert "of other instants" in earlier.out
    # Of the tables that have gone on with it, too: they say themselves as of when they are.
    earlier = run(*DATAGEN, "verify", tmp_path / "before.json", "--postgres-url", pg_dsn)
    assert earlier.code == 0, str(earlier)
    assert "which is after the receipt" in earlier.out
    with psycopg.connect(pg_dsn) as session:
        session.execute("UPDATE loans SET term_months = 7")
    changed = Loaded(tmp_path / "before.json", clean_kafka, pg_dsn).judged()
    assert {*changed} == {"loans"}


def test_a_stream_that_was_killed_is_verified_up_to_its_last_position(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    """What it sent after that is no mistake; its tables are as of where they say themselves."""
    receipt = tmp_path / "killed.json"
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--no-avro", "--create-topics")
    span = ("--start", "2026-06-12", "--speed", 20_000)
    options = ("--customers", 400, "--seed", 11, *where, *span)
    with started(*DATAGEN, "stream", *options, "--receipt", receipt) as process:

        def has_gone_on() -> bool:
            assert process.poll() is None, process.communicate()
            says = json.loads(receipt.read_text("utf-8")) if receipt.exists() else {}
            return bool(says.get("stream", {}).get("until", "") > "2026-06-12T12")

        assert wait_until(has_gone_on, 90)
        time.sleep(1)
        process.kill()
        process.wait()
    says = json.loads(receipt.read_text("utf-8"))
    assert (says["outcome"], says["ended"]) == ("unfinished", None)
    until = says["stream"]["until"]
    verified = run(*DATAGEN, "verify", receipt, "--postgres-url", pg_dsn)
    assert verified.code == 0, str(verified)
    assert f"Events are verified up to {until}, its last position" in verified.lines
    topic = clean_kafka.name(TRANSACTIONS)
    plan = Plan(seed=11, customers=400)
    before = sum(map(len, plan.batches(TRANSACTIONS, until=until)))
    [line] = [line for line in verified.lines if line.startswith(f"  [OK] {topic}: ")]
    assert line.startswith(f"  [OK] {topic}: {before} records")
    assert clean_kafka.ends()[TRANSACTIONS] > before
    assert "sent after the last position, not judged" in line
    # What lies before it is judged as ever.
    with psycopg.connect(pg_dsn) as session:
        session.execute(
            "UPDATE accounts SET balance = balance + 1 WHERE account_id = (SELECT min(account_id::text)::uuid FROM accounts)"
        )
    found = Loaded(receipt, clean_kafka, pg_dsn).judged()
    assert {name: kinds(one) for name, one in found.items()} == {"accounts": {"altered": 1}}


def test_a_receipt_of_another_version_is_refused(loaded: Loaded) -> None:
    says = json.loads(loaded.receipt.read_text("utf-8"))
    loaded.receipt.write_text(json.dumps({**says, "catalogue": 1}))
    outcome = loaded.verify()
    assert outcome.code == 3
    assert "version 1 of the catalogue" in outcome.err


def test_what_a_receipt_says_is_not_said_again(loaded: Loaded) -> None:
    outcome = loaded.verify("--seed", 3)
    assert outcome.code == 2
    assert "--seed" in outcome.err
    outcome = run(*DATAGEN, "verify", loaded.receipt)
    assert outcome.code == 2, str(outcome)
    assert "--postgres-url" in outcome.err


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_ends_it_in_one_line(
    topics: OwnTopics, engine: str, number: signal.Signals, code: int, said: str
) -> None:
    options = ("--customers", 2_000_000, "--skip-postgres", "--no-avro", "--engine", engine)
    with started(*DATAGEN, "verify", *options, *topics.options) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Verifying 2,000,000 customers")
        time.sleep(1)
        process.send_signal(number)
        began = time.monotonic()
        outcome = outcome_of(process)
    # The first, empty one ends that in which a terminal shows ^C.
    assert (outcome.code, outcome.err) == (code, f"\nError: {said}\n"), str(outcome)
    assert "Verification" not in outcome.out
    # Rows that are being made are not waited for much longer.
    assert time.monotonic() - began < 20


def test_services_that_are_away_are_not_passed(loaded: Loaded) -> None:
    outcome = run(
        *DATAGEN, "verify", loaded.receipt, "--postgres-url", "postgresql://127.0.0.1:1/x"
    )
    assert outcome.code == 5, str(outcome)


def tuples(rows: int | None = None) -> bytes:
    (batch,) = PLAN.batches("customers")
    encoded = list(batch.encode("pgcopy"))[:rows]
    return b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0" + b"".join(encoded) + b"\xff\xff"


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_a_copy_may_be_cut_anywhere(step: int) -> None:
    held, data = Reconciliation(PLAN, "customers"), tuples()
    for batch in PLAN.batches("customers"):
        held.expect(batch)
    for at in range(0, len(data), step):
        held.find_copied(data[at : at + step])
    assert held.found == held.expected == (40, held.expected[1])
    assert not held.next_exact(1)


def test_rows_that_differ_are_gone_through_in_parts() -> None:
    held = Reconciliation(PLAN, "customers", show=100)
    times = -1
    while times < 0 or held.next_exact(10):
        for batch in PLAN.batches("customers"):
            held.expect(batch)
        held.find_copied(tuples(5))
        held.finish()
        times += 1
    assert times == 4
    assert held.counts["missing"] == 35
    assert held.unexamined == 0
    named = {ident for kind, ident, *_ in held.findings if kind == "missing"}
    rows = [row["customer_id"] for batch in PLAN.batches("customers") for row in batch]
    assert named == {*rows[5:]}
    assert [held.customer_of(ident) for ident in rows] == [*range(40)]


def test_an_instant_that_was_not_asked_about_is_no_mistake() -> None:
    until = PLAN.as_of - timedelta(days=30)
    held = Reconciliation(PLAN, "customers", until=until)
    for batch in PLAN.batches("customers"):
        held.expect(batch)
    held.find_copied(tuples())
    assert held.counts == dict.fromkeys(held.counts, 0)
