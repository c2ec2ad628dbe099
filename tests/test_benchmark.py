"""`datagen benchmark`: every figure, on real services, and nothing of it left behind."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from command import DATAGEN, Outcome, assert_failed, outcome_of, run, started, wait_until
from datagen import Plan
from datagen.benchmark import measure
from datagen.benchmark._scratch import own_schema
from datagen.loader import Load
from datagen.presets import BULK
from datagen.sinks.kafka import KafkaSink
from own_topics import is_prefixed
from records import TOPICS, end_offsets
from sending import to
from services.kafka import KafkaBroker, delete_topics
from targets import to_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Running
    from services.postgres import Postgres
    from services.registry import Registry

BENCHMARK = (*DATAGEN, "benchmark")
#: Few customers and one round: what is found is not judged here.
SMALL = ("--scale", "40", "--rounds", "1")
WITHIN = ["generation", "generation and Avro", "key checks", "Avro", "JSON", "binary COPY"]
SECRET = "Senha-Muito5ecreta"
CLOSED = "127.0.0.1:1"
NOWHERE = (
    *("--postgres-url", f"postgresql://user:{SECRET}@{CLOSED}/bank"),
    *("--kafka-bootstrap", CLOSED),
    *("--schema-registry", f"http://{CLOSED}"),
)


def benchmark(*options: object, path: str = os.environ["PATH"]) -> Outcome:
    return run(*BENCHMARK, *options, PATH=path)


class Stack:
    """The services, with things of a user's own in them."""

    def __init__(self, dsn: str, bootstrap: str, registry: str) -> None:
        self.dsn, self.bootstrap, self.registry = dsn, bootstrap, registry
        self.options = (
            *("--postgres-url", dsn),
            *("--kafka-bootstrap", bootstrap),
            *("--schema-registry", registry),
        )

    def schemas(self) -> list[str]:
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1"
            )
            return [name for (name,) in rows]

    def topics(self) -> list[str]:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        return sorted(name for name in admin.list_topics(timeout=10).topics if name[0] != "_")

    def subjects(self) -> list[str]:
        """But those of other tests that use the registry meanwhile."""
        theirs = {f"{name}-value" for name in TOPICS}
        with SchemaRegistryClient({"url": self.registry, "timeout": 10}) as client:
            return sorted(
                name
                for name in client.get_subjects(deleted=True)
                if name not in theirs and not is_prefixed(name)
            )

    def everything(self) -> Any:
        """What there is, the user's rows and events included."""
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute("SELECT * FROM public.customers").fetchall()
        return self.schemas(), rows, self.topics(), end_offsets(self.bootstrap), self.subjects()


@pytest.fixture(scope="module")
def kafka(own_kafka: Running) -> Iterator[KafkaBroker]:
    """A broker of this module, to see all that there is in it."""
    with own_kafka(KafkaBroker(heap="320m", short_lived=True)) as broker:
        yield broker


@pytest.fixture
def stack(pg_dsn: str, kafka: KafkaBroker, registry: Registry) -> Stack:
    """A table and topics with datagen's names, and a subject too."""
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("CREATE TABLE customers (mine text)")
        connection.execute("INSERT INTO customers VALUES ('row')")
    delete_topics(kafka.bootstrap, TOPICS)
    with KafkaSink(to(kafka.bootstrap)) as sink:
        sink.create_topics(dict.fromkeys(TOPICS, 2), 8)
    with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
        client.register_schema("mine-value", Schema('"string"', "AVRO"))
    return Stack(pg_dsn, kafka.bootstrap, registry.url)


@pytest.fixture
def unchanged(stack: Stack) -> Iterator[None]:
    """Fails a test after which the services hold anything else than before."""
    before = stack.everything()
    yield
    # A broker drops a topic from its metadata a moment after it has said so.
    wait_until(lambda: bool(stack.everything() == before), 10)
    assert stack.everything() == before


def figures(text: str) -> dict[str, Any]:
    return {one["name"]: one for one in json.loads(text)["figures"]}


def lines_of_table(text: str) -> list[list[str]]:
    """The cells of each line but the first two, which are names and a rule."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def number(text: str) -> float:
    found = re.match(r"[\d,.]+", text)
    assert found, text
    return float(found[0].replace(",", ""))


# --- what is found


@pytest.mark.usefixtures("unchanged")
def test_every_stage_beside_its_peer(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    outcome = benchmark(*SMALL, "--rounds", 2, *stack.options, "--json", file)
    assert outcome.code == 0, str(outcome)
    assert outcome.err == ""
    found = figures(file.read_text(encoding="utf-8"))
    assert [*found] == [*WITHIN, "PostgreSQL", "Kafka"]
    for one in found.values():
        assert one["unit"] == ("events/s" if one["name"] == "Kafka" else "rows/s")
        for side in (one["datagen"], one["peer"]):
            assert side["median"] > 0
            assert side["spread_percent"] >= 0
            assert len(side["rounds"]) == 2
            assert all(each["rows"] > 0 and each["seconds"] > 0 for each in side["rounds"])
        assert one["ratio"] == pytest.approx(one["datagen"]["median"] / one["peer"]["median"])
    # All rows and events of the same customers, on both sides.
    for name in ("PostgreSQL", "Kafka"):
        assert (
            found[name]["datagen"]["rounds"][0]["rows"] == found[name]["peer"]["rounds"][0]["rows"]
        )

    table = lines_of_table(outcome.out)
    assert [line[0] for line in table] == [*found]
    for line, one in zip(table, found.values(), strict=True):
        stage, rate, seconds, _, peer, peer_rate, peer_seconds, _, ratio = line
        assert rate == f"{one['datagen']['median']:,.0f} {one['unit']}", stage
        assert peer == one["peer"]["name"]
        assert number(peer_rate) == round(one["peer"]["median"])
        assert number(seconds) >= 0
        assert number(peer_seconds) >= 0
        assert ratio == f"{one['ratio']:.1f}×"
    assert not list(tmp_path.glob(".*")), "a half-written file"


def test_json_tells_of_the_machine() -> None:
    outcome = benchmark(*SMALL, "--seed", 7, "--skip-postgres", "--skip-kafka", "--json", "-")
    assert outcome.code == 0, str(outcome)
    found = json.loads(outcome.out)
    assert (found["scale"], found["seed"]) == (40, 7)
    machine = found["machine"]
    assert machine["processor"]
    assert machine["cores"] == len(os.sched_getaffinity(0))
    assert machine["memory_bytes"] > 2**20
    assert {"python", "datagen", "confluent-kafka", "psycopg"} <= machine["versions"].keys()
    # The table is with the messages then.
    assert [line[0] for line in lines_of_table(outcome.err)] == WITHIN


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("skipped", "left"), [("postgres", "Kafka"), ("kafka", "PostgreSQL")])
def test_a_service_that_is_skipped_is_not_reached(stack: Stack, skipped: str, left: str) -> None:
    broken = {"postgres": ("--postgres-url", NOWHERE[1]), "kafka": ("--kafka-bootstrap", CLOSED)}
    outcome = benchmark(*SMALL, *stack.options, *broken[skipped], f"--skip-{skipped}")
    assert outcome.code == 0, str(outcome)
    assert [line[0] for line in lines_of_table(outcome.out)] == [*WITHIN, left]


def test_without_psql_psycopg_copies_the_files(pg_dsn: str, tmp_path: Path) -> None:
    options = *SMALL, "--postgres-url", pg_dsn, "--skip-kafka"
    outcome = benchmark(*options, path=str(tmp_path))
    assert outcome.code == 0, str(outcome)
    assert lines_of_table(outcome.out)[-1][4] == "psycopg COPY of binary files"


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not on PATH")
def test_with_psql_psql_does(pg_dsn: str) -> None:
    outcome = benchmark(*SMALL, "--postgres-url", pg_dsn, "--skip-kafka")
    assert outcome.code == 0, str(outcome)
    assert lines_of_table(outcome.out)[-1][4] == r"psql \copy of binary files"


@pytest.mark.usefixtures("unchanged")
def test_without_a_registry_both_send_json(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    producer = replace(
        BULK,
        bootstrap_servers=stack.bootstrap,
        schema_registry_url=f"http://{CLOSED}",
        json_fallback=True,
    )
    run = Load(plan=Plan(seed=1, customers=40), targets=to_kafka(producer), fast=True, workers=0)
    measure(run, 1, lambda _: None)
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "Using JSON serialization" in warnings[0]


@pytest.mark.usefixtures("unchanged")
def test_a_registry_that_was_named_is_not_done_without(stack: Stack) -> None:
    options = *SMALL, *stack.options, "--schema-registry", f"http://{CLOSED}", "--skip-postgres"
    outcome = benchmark(*options)
    assert outcome.code == 5, str(outcome)
    assert f"Schema Registry at http://{CLOSED} cannot be reached" in outcome.err


@pytest.mark.usefixtures("unchanged")
def test_a_named_registry_that_does_not_answer_ends_it_in_one_line(stack: Stack) -> None:
    options = *SMALL, *stack.options, "--schema-registry", f"http://{CLOSED}", "--skip-postgres"
    outcome = benchmark(*options)
    assert_failed(outcome, 5, "Schema Registry", CLOSED)
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.usefixtures("unchanged")
def test_a_search_path_of_the_users_does_not_lead_to_their_tables(stack: Stack) -> None:
    dsn = f"{stack.dsn}?options=-csearch_path%3Dpublic"
    outcome = benchmark(*SMALL, "--postgres-url", dsn, "--skip-kafka")
    assert outcome.code == 0, str(outcome)


def test_the_script_is_the_same_command() -> None:
    script = Path(__file__).parents[1] / "scripts" / "benchmark.py"
    outcome = run(sys.executable, script, "--help")
    assert outcome.code == 0, str(outcome)
    assert outcome.out == run(*BENCHMARK, "--help").out


# --- what goes wrong


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scale", "0"], ["--scale", "0 ", "1 to 99999990"]),
        (["--scale", "-1"], ["--scale", "-1 ", "1 to 99999990"]),
        (["--scale", str(2**64)], ["--scale", f"{2**64} ", "1 to 99999990"]),
        (["--scale", "many"], ["--scale", "'many'"]),
        (["--seed", "-1"], ["--seed", "-1 ", "0 to 18446744073709551615"]),
        (["--seed", str(2**64)], ["--seed", f"{2**64} ", "0 to 18446744073709551615"]),
        (["--rounds", "0"], ["--rounds", "0 ", "1<=x<=1000"]),
        (["--rounds", "1001"], ["--rounds", "1001 ", "1<=x<=1000"]),
        (["--kafka-option", "acks"], ["--kafka-option", "KEY=VALUE"]),
        (["--kafka-config", "nowhere.properties"], ["--kafka-config", "nowhere.properties"]),
        (["--kafka-bootstrap", "host:0"], ["--kafka-bootstrap", "host:0", "HOST:PORT"]),
        (["--schema-registry", "host"], ["--schema-registry", "host", "http://HOST:PORT"]),
        (["--json", "nowhere/found.json"], ["--json", "nowhere"]),
        (["--json", os.devnull], ["--json", "no file"]),
        (["--json", "/dev/stdout"], ["--json", "is a link"]),
        (["--local"], ["--local", "--postgres-url"]),
        (["--customers", "1"], ["--customers"]),
    ],
)
def test_wrong_usage(options: list[str], words: list[str]) -> None:
    assert_failed(benchmark(*NOWHERE, *options), 2, *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--postgres-url", f"postgresql://u:{SECRET}@h:0/d"], ["connection string", "port"]),
        (["--kafka-option", "no.such=1"], ["no.such"]),
    ],
)
def test_settings_that_cannot_work(options: list[str], words: list[str]) -> None:
    outcome = benchmark(*NOWHERE, *options)
    assert_failed(outcome, 3, *words)
    assert SECRET not in outcome.out + outcome.err


def test_postgres_that_does_not_answer() -> None:
    outcome = benchmark(*SMALL, *NOWHERE)
    assert_failed(outcome, 5, CLOSED)
    assert SECRET not in outcome.out + outcome.err
    assert "Measuring" not in outcome.out, "found only after minutes of work"


@pytest.mark.usefixtures("unchanged")
def test_kafka_that_does_not_answer(stack: Stack) -> None:
    outcome = benchmark(*SMALL, *stack.options, "--kafka-bootstrap", CLOSED)
    assert_failed(outcome, 5, CLOSED)


def test_other_options_of_the_connection_string_hold(pg_dsn: str) -> None:
    dsn = f"{pg_dsn}?options=-cdefault_transaction_read_only%3Don"
    outcome = benchmark(*SMALL, "--postgres-url", dsn, "--skip-kafka")
    assert_failed(outcome, 3, "read-only transaction")


def test_a_role_that_may_not_make_schemas(pg_dsn: str) -> None:
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS datagen_test_guest")
        connection.execute(f"CREATE ROLE datagen_test_guest LOGIN PASSWORD '{SECRET}'")
        try:
            host = pg_dsn.rpartition("@")[2]
            guest = f"postgresql://datagen_test_guest:{SECRET}@{host}"
            outcome = benchmark(*SMALL, "--skip-kafka", "--postgres-url", guest)
        finally:
            connection.execute("DROP ROLE datagen_test_guest")
    assert_failed(outcome, 3, "permission denied", "Grant the role CREATE")
    assert SECRET not in outcome.out + outcome.err


def test_what_cannot_be_removed_is_named(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    name = "datagen_test_gone"
    with own_schema(postgres.database(name)) as schema:
        postgres.drop(name)
    [record] = caplog.records
    assert f"DROP SCHEMA {schema.name} CASCADE" in record.getMessage()
    assert "the connection was lost" in record.getMessage()


@pytest.mark.usefixtures("unchanged")
def test_psql_gets_no_password_on_its_command_line(stack: Stack, tmp_path: Path) -> None:
    psql = tmp_path / "psql"
    psql.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho broken >&2\nexit 3\n')
    psql.chmod(0o755)
    password = psycopg.conninfo.conninfo_to_dict(stack.dsn)["password"]
    outcome = benchmark(
        *SMALL, *stack.options, "--skip-kafka", path=f"{tmp_path}:{os.environ['PATH']}"
    )
    assert_failed(outcome, 4, "psql", "broken")
    arguments = (tmp_path / "arguments").read_text()
    assert "search_path" in arguments
    assert str(password) not in arguments


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("stage", ["Avro", "PostgreSQL", "Kafka"])
def test_ctrl_c_leaves_nothing(stack: Stack, stage: str) -> None:
    with started(*BENCHMARK, "--scale", 20_000, *stack.options) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == f"Measuring {stage}\n":
                break
        assert any(map(_is_ours, stack.schemas()))
        assert any(map(_is_ours, stack.subjects()))
        time.sleep(0.5)  # somewhere within
        process.send_signal(signal.SIGINT)
        outcome = outcome_of(process)
    assert outcome.code == 130, str(outcome)
    assert outcome.err.splitlines()[-1].startswith("Error: interrupted"), str(outcome)


def _is_ours(name: str) -> bool:
    return name.startswith(("datagen_benchmark_", "datagen-benchmark-"))
