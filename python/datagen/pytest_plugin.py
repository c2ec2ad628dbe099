"""A bank for a test: fixtures for pytest, on the stack that `pip install 'datagen[local]'` brings.

``datagen_bank`` makes banks that are in PostgreSQL and Kafka for the time of one test::

    def test_accounts(datagen_bank):
        bank = datagen_bank(customers=50, seed=7)
        with psycopg.connect(bank.postgres_url) as connection:
            ...

``datagen_stack`` is where they are: the local stack, which is started if it does not run, and stopped by the
last run of tests that uses it, unless it ran before. Fixtures of another scope can use ``bank`` below.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from ._core import Plan
    from .loader import RunReport
    from .local import Stack

__all__ = ["Bank", "DatagenBank", "bank", "datagen_bank", "datagen_stack"]


@dataclass(frozen=True)
class Bank:
    """One bank in PostgreSQL and Kafka: what is there, and where.

    Connections by ``postgres_url`` find the tables by their plain names; they are in ``schema``. ``topics`` has
    the topic of each stream, and of each table with ``master_topics``; subjects are named after topics.
    ``report`` says what was loaded and counted.
    """

    plan: Plan
    postgres_url: str
    schema: str
    bootstrap_servers: str
    schema_registry_url: str
    topics: Mapping[str, str]
    report: RunReport


class DatagenBank(Protocol):
    """What the fixture ``datagen_bank`` gives: each call makes a bank of its own."""

    def __call__(
        self,
        customers: int = 100,
        seed: int = 42,
        *,
        days: int = 90,
        as_of: datetime | str | None = None,
        labels: bool | Mapping[str, float] = False,
        master_topics: bool = False,
    ) -> Bank: ...


@pytest.fixture(scope="session")
def datagen_stack() -> Iterator[Stack]:
    """The local stack."""
    from .errors import DatagenError

    with ExitStack() as held:
        try:
            stack = held.enter_context(_running_stack())
        except DatagenError as error:
            pytest.fail(f"datagen_stack: {error}", pytrace=False)
        yield stack


@pytest.fixture
def datagen_bank(datagen_stack: Stack) -> Iterator[DatagenBank]:
    """Makes banks, which are gone after the test."""
    from .errors import DatagenError

    with ExitStack() as banks:

        def make(customers: int = 100, seed: int = 42, **more: Any) -> Bank:
            try:
                return banks.enter_context(bank(datagen_stack, customers, seed, **more))
            except DatagenError as error:
                pytest.fail(f"datagen_bank: {error}", pytrace=False)

        yield make


@contextmanager
def bank(
    stack: Stack,
    customers: int = 100,
    seed: int = 42,
    *,
    days: int = 90,
    as_of: datetime | str | None = None,
    labels: bool | Mapping[str, float] = False,
    master_topics: bool = False,
) -> Iterator[Bank]:
    """A bank on a stack, in a schema and topics of its own, which are deleted in the end.

    Raises ``OptionError`` for numbers that no plan has, and what a load raises.
    """
    from . import Plan, loader
    from .errors import VerificationError
    from .sinks.base import streams, tables
    from .sinks.kafka import KafkaSink, KafkaTarget, ProducerConfig
    from .sinks.postgres import PostgresTarget

    end: dict[str, Any] = {} if as_of is None else {"as_of": as_of}
    plan = Plan(seed, customers, days=days, labels=labels, **end)
    name = f"datagen_test_{secrets.token_hex(6)}"
    url = f"{stack.postgres_url}?options=-csearch_path%3D{name}"
    producer = ProducerConfig(
        bootstrap_servers=stack.kafka_bootstrap,
        schema_registry_url=stack.schema_registry,
        json_fallback=False,
        topic_prefix=f"{name}.",
    )
    kafka = KafkaTarget(producer=producer, create_topics=True, master_topics=master_topics)
    sent = [*(tables() if master_topics else ()), *streams()]

    def delete_topics() -> None:
        with KafkaSink(producer) as sink:
            sink.delete(sent)

    with ExitStack() as left:
        _execute(stack, f"CREATE SCHEMA {name}")
        left.callback(_execute, stack, f"DROP SCHEMA {name} CASCADE")
        left.callback(delete_topics)
        report = loader.load(
            loader.Load(
                plan=plan,
                targets={"postgres": PostgresTarget(url=url, schema=name), "kafka": kafka},
                fast=customers >= loader.FAST_CUSTOMERS,
            ),
            _Silent(),
        )
        if not report.ok:
            raise VerificationError(
                f"the bank is not what was loaded: {report.uncounted or report}"
            )
        with KafkaSink(producer) as sink:
            topics = {one: sink.topic(one) for one in sent}
        yield Bank(
            plan=plan,
            postgres_url=url,
            schema=name,
            bootstrap_servers=stack.kafka_bootstrap,
            schema_registry_url=stack.schema_registry,
            topics=topics,
            report=report,
        )


class _Silent:
    """A load's progress, which no test shows."""

    def start(self, *_: object) -> None:
        pass

    def advance(self, *_: object) -> None:
        pass

    def finish(self, *_: object) -> None:
        pass


def _execute(stack: Stack, statement: str) -> None:
    import psycopg

    from .errors import UnreachableError

    try:
        with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
            # The server would tell of each table that goes with its schema.
            connection.execute("SET client_min_messages = warning")
            connection.execute(statement.encode())
    except psycopg.Error as error:
        said = error.diag.message_primary or type(error).__name__
        raise UnreachableError(f"PostgreSQL of the local stack: {statement}: {said}") from None


@contextmanager
def _running_stack() -> Iterator[Stack]:
    """The local stack for a run of tests; several runs and workers of pytest-xdist may share it.

    Who uses it holds a lock, which the system takes from a process that dies. Whoever comes or goes is alone
    meanwhile, so that no stack is stopped that another run has just found.
    """
    import fcntl

    from . import local

    folder = _folder_of_locks()
    with (folder / "door").open("a") as door, (folder / "users").open("a+") as users:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            before = local.status()
            stack = local.up()
            if before is None:
                users.truncate(0)
                users.write(_who(stack))
                users.flush()
            fcntl.flock(users, fcntl.LOCK_SH)
        finally:
            fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield stack
        finally:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            if _is_last(partial(fcntl.flock, users, fcntl.LOCK_EX | fcntl.LOCK_NB)):
                users.seek(0)
                now = local.status()
                if now is not None and users.read() == _who(now):
                    local.down()


def _is_last(lock: Any) -> bool:
    try:
        lock()
    except BlockingIOError:
        return False
    return True


def _who(stack: Stack) -> str:
    """The processes of a stack."""
    return " ".join(f"{service.name}:{service.pid}" for service in stack.services)


def _folder_of_locks() -> Path:
    """A folder of the user's, one for each place of a stack."""
    import hashlib
    import os

    import platformdirs

    home = os.environ.get("DATAGEN_HOME", "").encode()
    name = f"pytest-{hashlib.sha256(home).hexdigest()[:16]}"
    folder = platformdirs.user_cache_path("datagen") / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
