"""Master data of 100 000 customers into PostgreSQL, keys included, beside `executemany`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import classic
from harness import Way

from datagen import Plan
from datagen.sinks.postgres import PostgresSink
from datagen.types import catalogue

if TYPE_CHECKING:
    from harness import Contest, Stack

PLAN = Plan(customers=100_000)
ROWS = sum(PLAN.rows(table.name) for table in catalogue().tables)


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
    """Where the time goes: rows made and copied into tables without keys, and with all of it."""

    def load(*, commit: bool) -> None:
        with PostgresSink(stack.dsn) as sink:
            sink.begin()
            for table in catalogue().tables:
                for batch in PLAN.batches(table.name):
                    sink.write(batch)
            if commit:
                sink.commit()

    contest(
        "master data of 100 000 customers, sink",
        Way("datagen.sinks.postgres", ROWS, lambda: load(commit=True), stack.empty),
        Way("the same without keys and commit", ROWS, lambda: load(commit=False), stack.empty),
    )
