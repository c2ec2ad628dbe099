r"""Master data into PostgreSQL, keys included, beside psql's `\\copy` and `executemany`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import classic
import pytest
from harness import Way

from datagen import Plan
from datagen.sinks.postgres import PostgresSink
from datagen.types import catalogue

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Contest, Stack

    from services.postgres import PostgresServer

PLAN = Plan(customers=100_000)


def count(plan: Plan) -> int:
    return sum(plan.rows(table.name) for table in catalogue().tables)


ROWS = count(PLAN)


@pytest.mark.parametrize("customers", [100_000, 400_000])
def test_copy(
    contest: Contest, stack: Stack, postgres: PostgresServer, tmp_path: Path, customers: int
) -> None:
    """Ours makes and checks the rows; the peer has them in files that PostgreSQL reads as is."""
    plan = Plan(customers=customers)
    rows = count(plan)
    classic.write_files(plan, tmp_path)
    psql = postgres.program("psql")
    contest(
        f"master data of {customers:,} customers".replace(",", " "),
        Way(
            "datagen load --skip-kafka",
            rows,
            lambda: stack.load(customers, "--skip-kafka"),
            stack.empty,
        ),
        Way(
            "psql, ready-made files, FREEZE, one transaction",
            rows,
            lambda: classic.copy_files(psql, stack.dsn, tmp_path, freeze=True),
            stack.empty,
        ),
        Way(
            "psql, ready-made files",
            rows,
            lambda: classic.copy_files(psql, stack.dsn, tmp_path, freeze=False),
            stack.empty,
        ),
        rounds=5,
    )


def test_load(contest: Contest, stack: Stack) -> None:
    """Ours: `datagen load --skip-kafka`, its process and validation included."""
    rows = classic.rows(PLAN)

    def tables(*, keys: bool) -> None:
        stack.empty()
        classic.create_tables(stack.dsn, keys=keys)

    contest(
        "master data of 100 000 customers",
        Way(
            "datagen load --skip-kafka",
            ROWS,
            lambda: stack.load(PLAN.customers, "--skip-kafka"),
            stack.empty,
        ),
        Way(
            "executemany, keys there from the start",
            ROWS,
            lambda: classic.insert(stack.dsn, rows, keys_later=False),
            lambda: tables(keys=True),
        ),
        Way(
            "executemany, keys added at the end",
            ROWS,
            lambda: classic.insert(stack.dsn, rows, keys_later=True),
            lambda: tables(keys=False),
        ),
        rounds=2,
    )


def test_sink(contest: Contest, stack: Stack) -> None:
    """What a connection for each table brings."""

    def load(*, parallel: bool) -> None:
        with PostgresSink(stack.dsn, parallel=parallel) as sink:
            sink.begin()
            for table in catalogue().tables:
                for batch in PLAN.batches(table.name):
                    sink.write(batch)
                sink.finish(table.name)
            sink.commit()

    contest(
        "master data of 100 000 customers, sink",
        Way("datagen.sinks.postgres", ROWS, lambda: load(parallel=True), stack.empty),
        Way("the same on one connection", ROWS, lambda: load(parallel=False), stack.empty),
    )
