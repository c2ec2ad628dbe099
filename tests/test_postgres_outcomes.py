"""What became of a load where sessions end, commits get lost, or a server hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from datagen import Plan
from datagen.errors import CountingError, RejectedError, UnreachableError
from datagen.sinks.postgres import PostgresSink
from datagen.sinks.postgres.commit import Commit
from postgres_tables import (
    OTHER_ROLE,
    TABLES,
    eventually,
    execute,
    fill,
    fill_and_commit,
    load,
    plan,
    query,
    rows,
    sessions,
    tables,
)
from services.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["postgres_fixtures"]

# What has arrived is never called a failure


def test_an_idle_session_that_is_ended_is_not_missed(pg_dsn: str, parallel: bool) -> None:
    database = urlsplit(pg_dsn).path[1:]
    execute(pg_dsn, f"ALTER DATABASE {database} SET idle_session_timeout = '500ms'")
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        time.sleep(1)
        fill_and_commit(sink)
        time.sleep(1)
        assert sink.counts() == rows(60)
        time.sleep(1)
    assert sink.outcome == "committed"


def test_sessions_that_are_ended_after_the_commit(pg_dsn: str, parallel: bool) -> None:
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        fill_and_commit(sink)
        execute(
            pg_dsn,
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert sink.counts() == rows(60)


def test_a_role_that_has_one_connection_is_counted_over_it(pg_dsn: str, role: str) -> None:
    execute(pg_dsn, f"ALTER ROLE {OTHER_ROLE} CONNECTION LIMIT 1")
    with PostgresSink(role, parallel=True) as sink:
        fill_and_commit(sink)
        assert sink.counts() == rows(60)


def test_rows_that_cannot_be_counted_are_committed_all_the_same(
    relay: tuple[str, Relay], pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.postgres.counting.PATIENCE", 1.0)
    dsn, way = relay
    with PostgresSink(dsn) as sink:
        fill_and_commit(sink)
        way.refuse()
        with pytest.raises(CountingError, match="committed and could not be counted"):
            sink.counts()
    assert sink.outcome == "committed"
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(60,)]


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_commit_whose_answer_gets_lost_is_looked_up(
    relay: tuple[str, Relay],
    pg_dsn: str,
    parallel: bool,
    lost: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dsn, way = relay
    run = Commit.run

    def cut(self: Commit) -> None:
        way.lose = (b"COMMIT\0", lost)
        run(self)

    # Only the load's own COMMIT: those of tables built apart come before.
    monkeypatch.setattr(Commit, "run", cut)
    with PostgresSink(dsn, parallel=parallel) as sink:
        fill(sink)
        if lost == "after":
            sink.commit()
            assert sink.outcome == "committed"
            assert sink.counts() == rows(60)
        else:
            with pytest.raises(UnreachableError, match="nothing was loaded"):
                sink.commit()
            assert sink.outcome == "nothing"
    assert tables(pg_dsn) == (set(TABLES) if lost == "after" else set())


def test_an_outcome_that_nobody_can_tell_is_unknown(
    relay: tuple[str, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.postgres.commit.PATIENCE", 1.0)
    dsn, way = relay

    def commit(sink: PostgresSink) -> None:
        way.lose = (b"COMMIT\0", "after")
        way.open = False
        sink.commit()

    with PostgresSink(dsn) as sink:
        fill(sink)
        with pytest.raises(UnreachableError, match="whether the load was committed is not known"):
            commit(sink)
    assert sink.outcome == "unknown"


def test_a_commit_after_a_refusal_that_was_caught(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    batch = next(plan(20).batches("customers"))

    def write_twice(sink: PostgresSink) -> None:
        sink.write(batch)
        sink.write(batch)

    with PostgresSink(pg_dsn) as sink:
        sink.begin()
        with pytest.raises(RejectedError):
            write_twice(sink)
        with pytest.raises(RejectedError, match="nothing was loaded"):
            sink.commit()
    assert sink.outcome == "nothing"


# Slow is not dead, and what is dead is found out


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Processes of the server that are there and do nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def pids(dsn: str) -> list[int]:
    found = query(
        dsn,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'datagen'",
    )
    return [pid for (pid,) in found]


@pytest.mark.parametrize("enough", [True, False], ids=["while-sending", "at-the-end"])
def test_a_server_that_hangs_in_a_copy(
    pg_dsn: str, parallel: bool, short_limits: None, enough: bool
) -> None:
    batch = next(Plan(42, 20_000, days=30).batches("customers", batch_rows=8192))

    def go_on(sink: PostgresSink) -> None:
        for _ in range(40 if enough else 0):
            sink.write(batch)
        sink.commit()

    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        sink.write(next(plan().batches("customers", 199)))
        with stopped(pids(pg_dsn)):
            began = time.monotonic()
            with pytest.raises(UnreachableError, match=r"nothing has moved.*nothing was loaded"):
                go_on(sink)
            assert 2 < time.monotonic() - began < 20
            sink.close()
            assert time.monotonic() - began < 25
    assert eventually(lambda: sessions(pg_dsn) == 0)
    load(pg_dsn, 20)  # drops what could not be dropped then


@pytest.mark.timing
def test_ctrl_c_while_a_server_hangs(pg_dsn: str, parallel: bool) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        fill(sink)
        with stopped(pids(pg_dsn)):
            timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
            timer.start()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                sink.commit()
            assert time.monotonic() - began < 0.5 + 1.5
            timer.join()
            sink.close()
            assert time.monotonic() - began < 8
    assert eventually(lambda: sessions(pg_dsn) == 0)
    load(pg_dsn, 20)  # drops what could not be dropped then


def test_a_slow_way_is_not_a_dead_one(
    relay: tuple[str, Relay], pg_dsn: str, short_limits: None
) -> None:
    dsn, way = relay
    way.rate = 50_000
    began = time.monotonic()
    with PostgresSink(dsn) as sink:
        sink.begin()
        for name in TABLES:
            for batch in plan(800).batches(name):
                sink.write(batch)
        sink.commit()
        assert sink.counts() == rows(800)
    assert time.monotonic() - began > 5  # several times the limit


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_connections_that_lead_nowhere_are_not_waited_for(
    relay: tuple[str, Relay], caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level("INFO")
    dsn, way = relay
    with PostgresSink(dsn, parallel=True) as sink:
        way.open, way.silent = how != "refused", how == "silent"
        began = time.monotonic()
        fill_and_commit(sink)
        assert time.monotonic() - began < 15
        way.open, way.silent = True, False
        assert sink.counts() == rows(60)
    assert "one connection has to do" in caplog.text


@pytest.mark.timing
def test_ctrl_c_while_connections_do_not_come(relay: tuple[str, Relay]) -> None:
    dsn, way = relay
    main = threading.main_thread().ident
    assert main is not None
    with PostgresSink(dsn, parallel=True) as sink:
        way.silent = True
        timer = threading.Timer(0.7, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            sink.begin()
        assert time.monotonic() - began < 0.7 + 1
        timer.join()
