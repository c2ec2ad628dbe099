"""Loads into PostgreSQL, and what the server says of them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from datagen._core import Plan
from datagen.sinks.postgres import PostgresSink
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLES = [relation.name for relation in catalogue().tables]


def plan(customers: int = 200, seed: int = 42) -> Plan:
    return Plan(seed, customers, days=30)


def load(
    dsn: str,
    customers: int = 200,
    *,
    seed: int = 42,
    start: int = 0,
    truncate: bool = False,
    parallel: bool = False,
) -> PostgresSink:
    with PostgresSink(dsn, truncate=truncate, parallel=parallel) as sink:
        sink.begin()
        for name in TABLES:
            for batch in plan(customers, seed).batches(name, start, batch_rows=64):
                assert sink.write(batch) <= len(batch)
        sink.commit()
    return sink


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def tables(dsn: str) -> set[str]:
    return {
        name
        for (name,) in query(
            dsn, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        )
    }


def snapshot(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    return {name: query(dsn, f"SELECT * FROM {name} ORDER BY 1") for name in TABLES}


def constraints(dsn: str) -> list[tuple[Any, ...]]:
    """Constraints and indexes, as the server describes them."""
    return query(
        dsn,
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = current_schema()::regnamespace "
        "UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes "
        "WHERE schemaname = current_schema() ORDER BY 1, 2, 3",
    )


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def sessions(dsn: str) -> int:
    [(count,)] = query(
        dsn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'datagen'",
    )
    return int(count)


@contextmanager
def session(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def staging(dsn: str) -> list[str]:
    """Schemas in which loads build their tables."""
    rows = query(dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'datagen!_%' ESCAPE '!'")
    return [name for (name,) in rows]
