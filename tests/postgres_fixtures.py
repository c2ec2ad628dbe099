"""Fixtures of the tests of PostgreSQL: both ways to load, roles, and a way that can be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from datagen.sinks.postgres import copy_session
from datagen.sinks.postgres import session as postgres_session
from postgres_tables import OTHER_ROLE, READER, eventually, execute, load, login, sessions, staging
from services.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator


def assert_nothing_stays(dsn: str) -> None:
    assert eventually(lambda: sessions(dsn) == 0)
    assert staging(dsn) == []


@pytest.fixture(params=[False, True], ids=["one-connection", "parallel"])
def parallel(request: pytest.FixtureRequest, pg_dsn: str) -> Iterator[bool]:
    """Both ways to load; neither leaves anything behind."""
    yield request.param
    assert_nothing_stays(pg_dsn)


@pytest.fixture
def nothing_stays(pg_dsn: str) -> Iterator[None]:
    """Neither sessions nor tables apart stay behind."""
    yield
    assert_nothing_stays(pg_dsn)


@pytest.fixture
def relay(pg_dsn: str) -> Iterator[tuple[str, Relay]]:
    """A way to the database whose faults are the test's."""
    at = urlsplit(pg_dsn)
    with Relay((str(at.hostname), int(at.port or 5432))) as relay:
        user = at.netloc.rpartition("@")[0]
        yield at._replace(netloc=f"{user}@127.0.0.1:{relay.port}").geturl(), relay


@pytest.fixture
def role(pg_dsn: str) -> Iterator[str]:
    """The DSN of a role that may create in public, and no more."""
    with login(pg_dsn, OTHER_ROLE, "CREATE, USAGE ON SCHEMA public") as dsn:
        yield dsn


@pytest.fixture
def reader(pg_dsn: str) -> Iterator[str]:
    """The DSN of a role that may connect, and no more."""
    with login(pg_dsn, READER) as dsn:
        yield dsn


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (postgres_session, copy_session):
        monkeypatch.setattr(module, "STALLED", 2.5)
    monkeypatch.setattr(postgres_session, "_OBSERVE_AFTER", 1.0)


@pytest.fixture
def bank(pg_dsn: str) -> str:
    """A database with rows in public, and an empty schema beside it."""
    load(pg_dsn, 20)
    execute(pg_dsn, "CREATE SCHEMA bank")
    return pg_dsn
