"""Loads into PostgreSQL, and what the server says of them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg

from datagen._core import Plan
from datagen.sinks.postgres import PostgresSink
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Roles of tests, and the password of both.
OTHER_ROLE = "datagen_other"
READER = "datagen_reader"
SECRET = "Senha-Muito5ecreta"

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


def fill(sink: PostgresSink, customers: int = 60, start: int = 0) -> None:
    sink.begin()
    for name in TABLES:
        for batch in plan(customers).batches(name, start, batch_rows=64):
            sink.write(batch)


def fill_and_commit(sink: PostgresSink, customers: int = 60, start: int = 0) -> None:
    fill(sink, customers, start)
    sink.commit()


def rows(customers: int) -> dict[str, int]:
    return {name: plan(customers).rows(name) for name in TABLES}


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


@contextmanager
def login(dsn: str, role: str, *grants: str) -> Iterator[str]:
    """The DSN of a role of its own, with what is granted to it."""
    execute(
        dsn,
        f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'",
        *(f"GRANT {grant} TO {role}" for grant in grants),
    )
    at = urlsplit(dsn)
    yield at._replace(netloc=f"{role}:{SECRET}@{at.hostname}:{at.port}").geturl()
    assert eventually(lambda: sessions(dsn) == 0)
    execute(dsn, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")
