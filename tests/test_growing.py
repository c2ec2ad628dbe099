"""A bank that grows by ranges of one seed, and keeps to its schema and its topics' prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from command import DATAGEN, load, run
from datagen.types import catalogue
from own_topics import new_prefix
from records import TOPICS, read_topics

if TYPE_CHECKING:
    from services.kafka import Kafka
    from services.registry import Registry

TABLES = [table.name for table in catalogue().tables]


def rows(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(dsn) as connection:
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}".encode()).fetchall(), key=str)
            for name in TABLES
        }


@pytest.mark.parametrize(
    ("engine", "mode"), [("native", "standard"), ("native", "fast"), ("confluent", "fast")]
)
def test_ranges_together_are_the_larger_load(
    kafka: Kafka, registry: Registry, pg_dsn: str, engine: str, mode: str
) -> None:
    where = ("--postgres-url", pg_dsn, "--kafka-bootstrap", kafka.bootstrap)
    services = (*where, "--schema-registry", registry.url, "--create-topics")
    options = [*services, "--engine", engine, *(["--fast"] if mode == "fast" else [])]
    parts, whole = new_prefix(), new_prefix()
    done = load(*options, "--truncate", "--topic-prefix", whole, "--customers", 70)
    assert done.code == 0, str(done)
    expected = rows(pg_dsn)
    first = load(*options, "--truncate", "--topic-prefix", parts, "--customers", 40)
    assert first.code == 0, str(first)
    more = ("--from-customer", 40, "--customers", 30)
    second = load(*options, "--topic-prefix", parts, *more)
    assert second.code == 0, str(second)
    assert second.lines[0].startswith("Loading 30 customers from customer 40 on (seed 42")
    assert rows(pg_dsn) == expected
    of = {
        prefix: read_topics(kafka.bootstrap, [prefix + topic for topic in TOPICS])
        for prefix in (parts, whole)
    }
    for topic in TOPICS:
        made, wanted = (
            # Behind the schema's id, which is that of the prefix's own subject.
            sorted(
                (one.partition, one.key, one.value[5:], str(one.headers))
                for one in of[prefix][prefix + topic]
            )
            for prefix in (parts, whole)
        )
        assert made == wanted
        assert len(set(made)) == len(made)
    # The same range once more is refused, and says how a bank grows.
    again = load(*options, "--topic-prefix", parts, *more, "--skip-kafka")
    assert again.code == 4
    assert "--from-customer" in again.err


def test_the_range_goes_by_threads_too(kafka: Kafka, registry: Registry, pg_dsn: str) -> None:
    where = ("--postgres-url", pg_dsn, "--kafka-bootstrap", kafka.bootstrap)
    options = (*where, "--schema-registry", registry.url, "--create-topics", "--truncate")
    more = (
        "--topic-prefix",
        new_prefix(),
        "--from-customer",
        1500,
        "--customers",
        1000,
        "--workers",
        3,
    )
    done = run(*DATAGEN, "load-parallel", *options, *more)
    assert done.code == 0, str(done)
    assert done.lines[-1] == "Validation: ALL OK"
    assert done.err == "WARNING: --truncate removes the rows of customers before 1500 too\n"
