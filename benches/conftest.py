"""Servers for the benchmarks, rounds in turns with a peer, and the table at the end.

The servers are those of the tests (``tests/services``), with PostgreSQL as it comes: it waits for
its disk. Nothing here asserts how long something took.
"""

from __future__ import annotations

import faulthandler
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from harness import FOUND, Contest, Sizes, Stack
from report import Figure, markdown

from datagen import Plan
from datagen._core import is_debug_build
from services._errors import ServiceUnavailableError
from services.kafka import KafkaBroker
from services.postgres import PostgresServer
from services.registry import SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("datagen benchmarks")
    group.addoption("--customers", type=int, default=10_000, help="customers of the loads (10 000)")
    group.addoption(
        "--peer-customers",
        type=int,
        default=10_000,
        help="customers whose events the clients with ready-made records send (10 000 at most)",
    )
    group.addoption("--rounds", type=int, default=3, help="rounds of the contests (3)")


def pytest_configure() -> None:
    if is_debug_build():
        raise pytest.UsageError(
            "this datagen was built without optimisation, so its speed says nothing; "
            "install it with: pip install --editable '.[dev]'"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes as long as the options say is not a test that hangs."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FOUND:
        terminalreporter.section("for BENCHMARKS.md")
        terminalreporter.write_line(markdown(FOUND))


@pytest.fixture(autouse=True)
def _no_limit() -> None:
    """For pytest's own deadline, behind that of its plugin."""
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def contest(benchmark: Any) -> Contest:
    return Contest(benchmark)


@pytest.fixture
def note(benchmark: Any) -> Callable[[str, str], None]:
    """Adds a number without a peer to the table."""

    def add(title: str, value: str) -> None:
        benchmark.extra_info[title] = value
        FOUND.append(Figure(title, value))

    return add


@pytest.fixture
def sizes(pytestconfig: pytest.Config) -> Sizes:
    customers, peers, rounds = map(
        pytestconfig.getoption, ("--customers", "--peer-customers", "--rounds")
    )
    return Sizes(Plan(customers=customers), min(peers, customers), rounds)


@pytest.fixture
def one_core() -> Iterator[None]:
    """Keeps this process to one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A broker that drops the files of a deleted topic after a second, not after a minute.

    In that minute the disk has to write what is deleted, and the rounds of whoever comes next wait.
    """
    with _started(
        lambda: KafkaBroker(properties={"log.segment.delete.delay.ms": "1000"})
    ) as service:
        yield service


@pytest.fixture(scope="session")
def registry() -> Iterator[SchemaRegistry]:
    with _started(SchemaRegistry) as service:
        yield service


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with _started(PostgresServer) as service:
        yield service


@contextmanager
def _started(make: Callable[[], Any]) -> Iterator[Any]:
    service = make()
    try:
        service.start()
        yield service
    except ServiceUnavailableError as missing:
        pytest.skip(str(missing))
    finally:
        service.close()


@pytest.fixture
def stack(
    postgres: PostgresServer, kafka: KafkaBroker, registry: SchemaRegistry
) -> Iterator[Stack]:
    stack = Stack(postgres, kafka, registry)
    stack.empty()
    try:
        yield stack
    finally:
        stack.drop()
