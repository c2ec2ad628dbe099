"""PostgreSQL behind a connection pooler."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from datagen import Plan
from datagen.errors import ConfigurationError, UnreachableError
from datagen.loader import Load
from datagen.loader import load as load_by_library
from datagen.sinks.postgres import PostgresSink
from postgres_tables import fill_and_commit, load, query, rows, session, snapshot
from running import running
from services.pgbouncer import PgBouncer
from targets import Silent, to_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.postgres import Postgres

pytest_plugins = ["postgres_fixtures"]


@contextmanager
def pool(postgres: Postgres, **settings: str) -> Iterator[PgBouncer]:
    with running(PgBouncer(postgres.dsn, {"pool_mode": "transaction", **settings})) as pooler:
        yield pooler


def test_a_pooler_that_drops_the_search_path(postgres: Postgres, bank: str, parallel: bool) -> None:
    before = snapshot(bank)
    with pool(postgres, ignore_startup_parameters="options") as pooler:
        dsn = f"{pooler.dsn(bank)}?options={quote('-csearch_path=bank')}"
        with pytest.raises(ConfigurationError, match=r"search_path is .*schema=NAME"):
            load(dsn, 60, truncate=True, parallel=parallel)
        with PostgresSink(dsn, schema="bank", truncate=True, parallel=parallel) as sink:
            fill_and_commit(sink)
            assert sink.counts() == rows(60)
    assert snapshot(bank) == before
    assert query(bank, "SELECT count(*) FROM bank.customers") == [(60,)]


def test_a_pooler_that_refuses_options(postgres: Postgres, bank: str) -> None:
    with pool(postgres) as pooler:
        dsn = f"{pooler.dsn(bank)}?options={quote('-csearch_path=bank')}"
        with pytest.raises(ConfigurationError, match=r"unsupported startup.*schema=NAME"):
            PostgresSink(dsn).connect()


def test_a_search_path_that_another_client_of_the_pool_left(postgres: Postgres, bank: str) -> None:
    before = snapshot(bank)
    with pool(postgres, default_pool_size="1") as pooler:
        with session(pooler.dsn(bank)) as other:
            other.execute("SET search_path = bank")
        with pytest.raises(ConfigurationError, match=r"search_path 'bank'.*schema=NAME"):
            load(pooler.dsn(bank), 60, truncate=True)
        with PostgresSink(pooler.dsn(bank), schema="public", truncate=True) as sink:
            fill_and_commit(sink, 20)
    assert snapshot(bank) == before


@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pool_is_loaded_through_over_one_connection(
    postgres: Postgres, bank: str, caplog: pytest.LogCaptureFixture, mode: str, size: int
) -> None:
    caplog.set_level("INFO")
    with pool(postgres, pool_mode=mode, default_pool_size=str(size)) as pooler:
        began = time.monotonic()
        with PostgresSink(pooler.dsn(bank), truncate=True, parallel=True) as sink:
            fill_and_commit(sink)
            assert sink.counts() == rows(60)
        assert time.monotonic() - began < 15
    assert "one connection has to do: a connection pooler is in front" in caplog.text


@pytest.mark.timing
def test_a_pool_that_is_busy(
    postgres: Postgres, bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.postgres.server.ANSWER", 2.0)
    main = threading.main_thread().ident
    assert main is not None
    with (
        pool(postgres, default_pool_size="1") as pooler,
        session(pooler.dsn(bank)) as other,
    ):
        other.execute("BEGIN")
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"does not answer.*pooler"):
            PostgresSink(pooler.dsn(bank)).connect()
        assert time.monotonic() - began < 8
        timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            PostgresSink(pooler.dsn(bank)).connect()
        assert time.monotonic() - began < 2
        timer.join()
        other.execute("COMMIT")
        load(pooler.dsn(bank), 60, truncate=True, parallel=True)


def test_a_pool_of_statements_is_refused(postgres: Postgres, bank: str) -> None:
    with (
        pool(postgres, pool_mode="statement") as pooler,
        pytest.raises(ConfigurationError, match=r"statement pooling.*transaction or session mode"),
    ):
        PostgresSink(pooler.dsn(bank)).connect()


def test_a_shard_needs_a_session_of_its_own(postgres: Postgres, pg_dsn: str) -> None:
    with pool(postgres) as pooler:
        targets = to_postgres(pooler.dsn(pg_dsn), schema="public")
        shard = Load(plan=Plan(customers=4), targets=targets, shared=True)
        with pytest.raises(
            ConfigurationError, match="pooler is in front, through which no lock of a shard"
        ):
            load_by_library(shard, Silent())
        assert query(pg_dsn, "SELECT count(*) FROM pg_class WHERE relname = 'customers'") == [(0,)]
