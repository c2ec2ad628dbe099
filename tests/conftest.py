"""Options, Hypothesis profiles and the servers that tests ask for by fixture.

A server starts when the first test needs it and ends with the run. Where it cannot start because
the machine lacks something, the tests that need it are skipped with the reason; with CI=true they
fail instead.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings

from services._errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services._service import Service
    from services.kafka import Kafka
    from services.postgres import Postgres
    from services.registry import Registry

    S = TypeVar("S", bound=Service)

TOPICS = (
    "banking.transactions",
    "banking.card-transactions",
    "banking.trades",
    "banking.installments",
)

_CI = os.environ.get("CI", "").lower() in {"1", "true"}

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=200 if _CI else 1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if _CI else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("datagen services", "instead of the servers that tests start")
    group.addoption(
        "--pg-dsn",
        metavar="DSN",
        help="PostgreSQL whose user may create databases; tests make their own and drop them",
    )
    group.addoption(
        "--kafka-bootstrap",
        metavar="HOST:PORT",
        help="Kafka cluster for tests alone: they delete its four banking.* topics",
    )
    group.addoption(
        "--schema-registry",
        metavar="URL",
        help="schema registry for tests alone: they leave their subjects in it",
    )


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[Kafka]:
    """A Kafka cluster of one broker, without automatic topic creation unless given from outside."""
    from services.kafka import ExistingKafka, KafkaBroker

    bootstrap = pytestconfig.getoption("--kafka-bootstrap")
    if bootstrap:
        yield ExistingKafka(bootstrap)
    else:
        yield from _run(KafkaBroker(), "--kafka-bootstrap")


@pytest.fixture(scope="session")
def registry(pytestconfig: pytest.Config) -> Iterator[Registry]:
    """A schema registry with Confluent's API."""
    from services.registry import ExistingRegistry, SchemaRegistry

    url = pytestconfig.getoption("--schema-registry")
    if url:
        yield ExistingRegistry(url)
    else:
        yield from _run(SchemaRegistry(), "--schema-registry")


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Postgres]:
    """A PostgreSQL server; most tests want `pg_dsn`."""
    from services.postgres import ExistingPostgres, PostgresServer

    dsn = pytestconfig.getoption("--pg-dsn")
    if dsn:
        yield ExistingPostgres(dsn)
    else:
        yield from _run(PostgresServer({"fsync": "off"}), "--pg-dsn")


@pytest.fixture
def pg_dsn(postgres: Postgres) -> Iterator[str]:
    """The DSN of an empty database of this test's own."""
    name = f"datagen_test_{secrets.token_hex(6)}"
    dsn = postgres.database(name)
    try:
        yield dsn
    finally:
        postgres.drop(name)


@pytest.fixture
def clean_kafka(kafka: Kafka) -> str:
    """The bootstrap address of a cluster in which the tool's four topics do not exist."""
    from services.kafka import delete_topics

    delete_topics(kafka.bootstrap, TOPICS)
    return kafka.bootstrap


def _run(service: S, option: str) -> Iterator[S]:
    try:
        service.start()
        yield service
    except ServiceUnavailableError as missing:
        if _CI:
            raise
        pytest.skip(f"{missing}; or name a running service with {option}")
    finally:
        service.close()
