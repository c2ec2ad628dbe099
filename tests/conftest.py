"""Options, Hypothesis profiles and the servers that tests ask for by fixture.

A server starts when the first test needs it and ends with the run. Where it cannot start because
the machine lacks something, the tests that need it are skipped with the reason; with CI=true they
fail instead.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import sending
from datagen.sinks.kafka import KafkaSink
from engines import ENGINES, Engine
from forking import fsync
from own_topics import OwnTopics
from running import CI, absent, running
from services._errors import ServiceUnavailableError
from services.kafka import ExistingKafka, KafkaBroker
from services.postgres import ExistingPostgres, PostgresServer
from services.registry import ExistingRegistry, SchemaRegistry
from services.shared import SharedServices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Running
    from services.browser import Browser
    from services.kafka import Kafka
    from services.postgres import Postgres
    from services.registry import Registry

#: What each marker stands for: the fixtures of which a test needs one, also by way of others.
MARKERS = {
    "kafka": {"kafka", "own_kafka"},
    "postgres": {"postgres", "own_postgres"},
    "registry": {"registry"},
    "browser": {"browser"},
    # The local stack, a bank of 100 000 customers, and what Apache Kafka says of a file.
    "slow": {"home", "running", "found", "dump"},
}
SHARED = pytest.StashKey[SharedServices]()
#: A test that needs a server, and may be the one to start it, may take as many seconds.
WITH_SERVERS = 300

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=200 if CI else 1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if CI else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("datagen services", "instead of the servers that tests start")
    group.addoption(
        "--pg-dsn",
        metavar="DSN",
        help="PostgreSQL whose user may create databases and roles, for one process of tests at a time",
    )
    group.addoption(
        "--kafka-bootstrap",
        metavar="HOST:PORT",
        help="Kafka cluster for tests alone: they leave their topics in it",
    )
    group.addoption(
        "--schema-registry",
        metavar="URL",
        help="schema registry for tests alone: they leave their subjects in it",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the markers of the fixtures that it needs.

    What the tests of a module have in common is made once: those tests are for one worker.
    """
    for item in items:
        needs = set(getattr(item, "fixturenames", ()))
        markers = [name for name, fixtures in MARKERS.items() if needs & fixtures]
        for marker in markers:
            item.add_marker(marker)
        if markers and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(WITH_SERVERS))
        if _shares_with_its_module(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish() -> None:
    """What is there now stays until the end: no collection of garbage looks through it again."""
    gc.collect()
    gc.freeze()


def _shares_with_its_module(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(found[-1].scope == "module" for found in definitions)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A command that a test runs within this process leaves the signals to it that end a process."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def levels_as_before() -> Iterator[None]:
    """A command that a test runs within this process leaves the levels of logging as they were."""
    loggers = [logging.getLogger(name) for name in (None, "datagen", "psycopg")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def receipts_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of tests write no receipt among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """As in the processes that ``command.run`` starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> SharedServices:
    """The servers that the workers of pytest-xdist have in common."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(pytestconfig, "workerinput"):
        folder = folder.parent  # each worker has a folder of its own in that of the run
    services = pytestconfig.stash[SHARED] = SharedServices(folder)
    return services


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the last fixture, and without a deadline for it: another worker may still need them."""
    services = session.config.stash.get(SHARED, None)
    if services is not None:
        services.close()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config, shared: SharedServices) -> Kafka:
    """A Kafka cluster of one broker, without automatic topic creation unless given from outside."""
    bootstrap = pytestconfig.getoption("--kafka-bootstrap")
    if bootstrap:
        return ExistingKafka(bootstrap)
    with absent(_instead("--kafka-bootstrap")):
        return shared.get(KafkaBroker)


@pytest.fixture(scope="session")
def registry(pytestconfig: pytest.Config, shared: SharedServices) -> Registry:
    """A schema registry with Confluent's API."""
    url = pytestconfig.getoption("--schema-registry")
    if url:
        return ExistingRegistry(url)
    with absent(_instead("--schema-registry")):
        return shared.get(SchemaRegistry)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Postgres]:
    """A PostgreSQL server; most tests want `pg_dsn`."""
    dsn = pytestconfig.getoption("--pg-dsn")
    if dsn:
        yield ExistingPostgres(dsn)
    else:
        with running(PostgresServer({"fsync": "off"}), _instead("--pg-dsn")) as service:
            yield service


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    with absent():
        try:
            from services.browser import Browser
        except ModuleNotFoundError as missing:
            raise ServiceUnavailableError(f"the package {missing.name} is not installed") from None
    with running(Browser()) as service:
        yield service


@pytest.fixture(scope="session")
def own_kafka() -> Running:
    """`running`, for the brokers that a test or a module has to itself."""
    return running


@pytest.fixture(scope="session")
def own_postgres() -> Running:
    """`running`, for the PostgreSQL that a test or a module has to itself."""
    return running


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
def clean_kafka(kafka: Kafka) -> OwnTopics:
    """Names for the four topics of which none exists yet."""
    return OwnTopics(kafka.bootstrap)


@pytest.fixture
def topics(clean_kafka: OwnTopics) -> OwnTopics:
    """The four topics, three partitions each, empty."""
    with KafkaSink(clean_kafka.config()) as sink:
        sink.create_topics(dict.fromkeys(clean_kafka.names, 3), 8)
    return clean_kafka


def _instead(option: str) -> str:
    return f"; or name a running service with {option}"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


@pytest.fixture
def each_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has what `sending.to` configures sent by one engine and then by the other."""
    monkeypatch.setitem(sending.USUAL, "engine", engine.name)
