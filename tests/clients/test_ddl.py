"""What `datagen schema` prints is carried out by Flink and by Spark as it is, and every value is read by it."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from client_programs import command

from command import DATAGEN, load, run
from datagen import Plan
from datagen.types import catalogue
from own_topics import OwnTopics
from services.kafka import KafkaBroker
from services.postgres import PostgresServer
from services.registry import SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datagen.types import Field

# The jars may have to be fetched first.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1_500)]

PLAN = Plan(customers=60)
#: How long it may take, in seconds.
PATIENCE = 900
STREAMS = [one.name for one in catalogue().streams]
TABLES = [one.name for one in catalogue().tables]


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[str, ...]]:
    """The options that name services which hold the plan, tables as topics too."""
    with (
        KafkaBroker() as broker,
        SchemaRegistry() as registry,
        PostgresServer({"fsync": "off"}) as server,
    ):
        where = (
            *("--postgres-url", server.database("bank"), *OwnTopics(broker.bootstrap).options),
            *("--schema-registry", registry.url),
        )
        done = load(*where, "--customers", PLAN.customers, "--create-topics", "--master-topics")
        assert done.code == 0, done
        yield where


def statements(engine: str, where: tuple[str, ...], *more: str) -> str:
    printed = run(*DATAGEN, "schema", "--for", engine, *where, *more)
    assert printed.code == 0, printed
    # The only thing that is filled in.
    return printed.out.replace("<password>", urlsplit(where[1]).password or "")


def sql_name(name: str) -> str:
    return name.removeprefix("banking.").replace("-", "_")


def read(client: str, profile: str, folder: Path, *args: object) -> dict[str, list[list[str]]]:
    """The rows that a program prints, by table."""
    done = subprocess.run(
        command(client, folder, *args, profile=profile),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    why = [line for line in done.stderr.splitlines() if "Exception" in line]
    assert done.returncode == 0, "\n".join(why)
    found: dict[str, list[list[str]]] = defaultdict(list)
    for line in done.stdout.splitlines():
        name, *values = line.split("\t")
        found[name].append(values)
    return found


def value_of(field: Field, text: Any) -> Any:
    """A value as both sides mean it."""
    if text in {None, "null"}:
        return None
    if field.type == "decimal":
        return Decimal(str(text))
    if field.type == "bool":
        return str(text).lower()
    if field.type == "instant":
        when = datetime.fromisoformat(text)
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return str(text)


def assert_rows(name: str, found: list[list[str]]) -> None:
    """Each row of the plan is there once, with every value."""
    fields = catalogue()[name].fields
    expected = {}
    for batch in PLAN.batches(name):
        for line in batch.encode("json"):
            row = json.loads(line, parse_float=str)
            values = [value_of(field, row[field.name]) for field in fields]
            expected[values[0]] = values
    rows = [
        [value_of(field, text) for field, text in zip(fields, values, strict=True)]
        for values in found
    ]
    assert len(rows) == len(expected)
    assert {row[0]: row for row in rows} == expected


@pytest.mark.parametrize("tables", ["table", "topic"])
def test_flink(places: tuple[str, ...], tables: str, tmp_path: Path) -> None:
    more = ["--master-topics"] if tables == "topic" else []
    file = tmp_path / "flink.sql"
    file.write_text(statements("flink", places, *more))
    # Every relation once, the streams beside the tables in PostgreSQL.
    names = TABLES if tables == "topic" else [*STREAMS, *TABLES]
    asked = [
        word for name in names for word in (sql_name(name), "topic" if name in STREAMS else tables)
    ]
    found = read("FlinkSchema", "flink", tmp_path, file, *asked)
    for name in names:
        assert_rows(name, found[sql_name(name)])


@pytest.mark.parametrize("tables", ["table", "topic"])
def test_spark(places: tuple[str, ...], tables: str, tmp_path: Path) -> None:
    more = ["--master-topics"] if tables == "topic" else []
    file = tmp_path / "spark.sql"
    file.write_text(statements("spark", places, *more))
    names = TABLES if tables == "topic" else [*STREAMS, *TABLES]
    bootstrap, prefix = (
        places[places.index(one) + 1] for one in ("--kafka-bootstrap", "--topic-prefix")
    )
    streamed = (
        ("", "", "") if tables == "topic" else ("trades", bootstrap, f"{prefix}banking.trades")
    )
    found = read("SparkSchema", "spark", tmp_path, file, *streamed, *map(sql_name, names))
    for name in names:
        assert_rows(name, found[sql_name(name)])
    if tables == "table":
        assert found["streamed"] == [[str(PLAN.rows("banking.trades"))]]
