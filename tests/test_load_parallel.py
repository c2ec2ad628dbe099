"""`datagen load-parallel`, and its script: the same bank, by several threads."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from command import DATAGEN, LOAD, load, run
from datagen import Plan
from datagen.sinks.kafka import KafkaSink
from records import TOPICS
from test_cli import GUIDE, described
from test_load import assert_ends_with, per_key, snapshot, to, validation

if TYPE_CHECKING:
    from own_topics import OwnTopics
    from services.postgres import Postgres
    from services.registry import Registry

PARALLEL = (*DATAGEN, "load-parallel")
SCRIPT = (
    sys.executable,
    str(Path(__file__).parents[1] / "scripts" / "load_data_parallel.py"),
)
#: Two whole ranges of customers and a part of one.
PLAN = Plan(seed=5, customers=2_100)
SAME = ("--seed", PLAN.seed, "--customers", PLAN.customers)


def partitions(topics: OwnTopics) -> dict[str, int]:
    there = AdminClient({"bootstrap.servers": topics.bootstrap}).list_topics(timeout=10).topics
    return {name: len(there[topics.name(name)].partitions) for name in TOPICS}


def test_help_has_the_guides_options_and_defaults() -> None:
    """As the guide's second table: no --fast, and --workers."""
    guide = {name: default for name, default in GUIDE.items() if name != "--fast"}
    guide["--customers"] = "10000"
    guide["--workers"] = "0"
    options = described(*PARALLEL)
    assert guide.keys() <= options.keys()
    for name, default in guide.items():
        shown = re.search(r"default:([^;\]]+)", options[name])
        assert (shown and shown[1]) == default, options[name]
    assert described(*SCRIPT) == options
    assert options.keys() - {"--workers"} == described(*LOAD).keys() - {"--fast"}


def test_the_script_loads_the_same_as_a_load(
    pg_dsn: str, postgres: Postgres, clean_kafka: OwnTopics, registry: Registry
) -> None:
    where = to(pg_dsn, clean_kafka, registry)
    outcome = run(*SCRIPT, *where, *SAME, "--workers", 3, "--create-topics")
    assert_ends_with(outcome, validation(PLAN, clean_kafka))
    assert "fast, parallel mode" in outcome.lines[0]
    assert partitions(clean_kafka) == {
        "banking.transactions": 6,
        "banking.card-transactions": 6,
        "banking.trades": 3,
        "banking.installments": 3,
    }
    found, tables = clean_kafka.read(), snapshot(pg_dsn)

    # The same again, one after the other, into the same topics.
    assert_ends_with(load(*where, *SAME, "--truncate"), validation(PLAN, clean_kafka))
    assert snapshot(pg_dsn) == tables
    for topic, both in clean_kafka.read().items():
        once = per_key(found[topic])
        assert per_key(both) == {key: values + values for key, values in once.items()}
        assert sum(map(len, once.values())) == PLAN.rows(topic)


def test_topics_that_exist_are_used_as_they_are(clean_kafka: OwnTopics) -> None:
    with KafkaSink(clean_kafka.config()) as sink:
        sink.create_topics(dict.fromkeys(clean_kafka.names, 2), 8)
    options = (*clean_kafka.options, "--skip-postgres", "--no-avro", "--create-topics")
    outcome = run(*PARALLEL, *options, "--customers", 50)
    assert_ends_with(outcome, validation(Plan(customers=50), clean_kafka, tables=False))
    assert partitions(clean_kafka) == dict.fromkeys(TOPICS, 2)


def test_one_sender_does_where_native_cannot(clean_kafka: OwnTopics) -> None:
    options = (*clean_kafka.options, "--skip-postgres", "--no-avro", "--create-topics")
    more = ("--customers", 50, "--kafka-option", "compression.level=1")
    outcome = run(*PARALLEL, *options, *more)
    assert_ends_with(outcome, validation(Plan(customers=50), clean_kafka, tables=False))
    assert "Kafka (json, confluent)" in outcome.out
    assert outcome.err == (
        "WARNING: Kafka engine: confluent, since native cannot do this: "
        "it does not know compression.level\n"
    )


@pytest.mark.parametrize("workers", [-1, 1_025, 10**6])
def test_a_number_of_threads_that_cannot_be(workers: int) -> None:
    outcome = run(*PARALLEL, "--workers", workers)
    assert outcome.code == 2, str(outcome)
    said = f"Invalid value for --workers: {workers} is not allowed; use 0 (one a core) to 1024"
    assert said in outcome.err
