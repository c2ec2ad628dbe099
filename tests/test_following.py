"""Tables that follow a stream: before its events, in one transaction with where they are, exact after any end."""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from command import DATAGEN, run, started
from datagen import Plan
from datagen.loader import Load
from datagen.position import millis_of, moment
from datagen.settlement import Delivered
from datagen.sinks.base import Sink, Stage, streams, tables
from datagen.sinks.postgres.stage import PostgresTarget
from datagen.stream import Stream, stream
from datagen.types import catalogue
from pgoutput import subscribed
from planned import events_of, planned, rows
from postgres_tables import execute, query
from services.postgres import PostgresServer
from test_stream import FakeClock, Quiet
from test_stream_command import assert_exact, wait_until_written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from datagen import Batch
    from datagen.sinks.base import Check, Window
    from own_topics import OwnTopics
    from running import Running
    from services.postgres import Postgres
    from services.relay import Relay

pytest_plugins = ["postgres_fixtures"]

STREAM = (*DATAGEN, "stream")
# Two loans are contracted while it is streamed, one of them for a home.
PLAN = Plan(11, 120, as_of="2026-07-01T00:00:00Z", days=30)
PLANNED = (
    "--seed",
    "11",
    "--customers",
    "120",
    "--as-of",
    "2026-07-01T00:00:00Z",
    "--days",
    "30",
    "--no-avro",
)


def assert_tables(dsn: str, plan: Plan, until: datetime | None = None) -> None:
    """The tables have the rows of the plan as they are at an instant."""
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as session:
        for table in catalogue().tables:
            found = session.execute(f"SELECT * FROM {table.name}".encode()).fetchall()
            key = table.primary_key
            wanted = {row[key]: row for row in rows(plan, table.name, until=until)}
            assert len(found) == len(wanted), table.name
            for row in found:
                expected = wanted[row[key]]
                assert {**row, "updated_at": row["updated_at"]} == expected


def tables_at(dsn: str) -> datetime:
    [(at,)] = query(dsn, "SELECT tables_at FROM datagen_streams")
    assert isinstance(at, datetime)
    return at


# --- the order of tables and events, by a sink that looks


@dataclass(frozen=True)
class Looking:
    """Looks, with each batch of events, at where the tables are."""

    dsn: str
    leads: list[tuple[int, datetime]] = field(default_factory=list)

    @property
    def relations(self) -> tuple[str, ...]:
        return streams()

    def sink(self, window: Window) -> Sink:
        return _Looker(self)


class _Looker(Sink):
    stage = Stage("looking", title="Looking", unit="events")
    relations = streams()

    def __init__(self, target: Looking) -> None:
        self._target = target
        self._session = psycopg.connect(target.dsn, autocommit=True)

    def open(self) -> None: ...
    def begin(self) -> None: ...
    def commit(self) -> None: ...

    def close(self, error: BaseException | None) -> None:
        self._session.close()

    def write(self, batch: Batch) -> None:
        last = max(when for when, _ in events_of(batch))
        found = self._session.execute("SELECT tables_at FROM datagen_streams").fetchone()
        assert found is not None
        self._target.leads.append((last, found[0]))

    def verify(self) -> Iterable[Check]:
        return ()

    def settlement(self) -> Delivered:
        return Delivered("looking", "Looking", ())


def streamed(target: PostgresTarget, looking: Looking, start: datetime, **asked: Any) -> Any:
    targets: Mapping[str, Any] = {"postgres": target, "looking": looking}
    run = Load(plan=PLAN, targets=targets, fast=True)
    clock = asked.pop("clock", None) or FakeClock()
    asked = {"speed": 50_000.0, "backfill": False, **asked}
    return stream(Stream(run=run, start=start, **asked), Quiet(), clock)


START = moment(1_781_000_000_000)  # 2026-06-09T10:13:20Z


def test_no_event_is_sent_before_its_slice_is_committed(pg_dsn: str) -> None:
    looking = Looking(pg_dsn)
    outcome = streamed(PostgresTarget(url=pg_dsn), looking, START)
    assert outcome.report.ok
    assert len(looking.leads) > 20
    for last, at in looking.leads:
        assert moment(last) < at
    assert_tables(pg_dsn, PLAN)


def test_slices_at_a_rate_have_as_many_events_whatever_their_times(pg_dsn: str) -> None:
    looking = Looking(pg_dsn)
    outcome = streamed(PostgresTarget(url=pg_dsn), looking, START, rate=100.0)
    assert outcome.report.ok
    assert_tables(pg_dsn, PLAN)
    ends = sorted({at for _, at in looking.leads})
    times = sorted(planned(PLAN, since=START).values())
    counts = [
        sum(millis_of(since) <= when < millis_of(until) for when in times)
        for since, until in itertools.pairwise([START, *ends])
    ]
    # A second of events, and at most those more that are at one time.
    assert max(counts) < 125 + max(Counter(times).values())
    assert sum(counts[:-1]) >= 100 * (len(counts) - 1)
    for last, at in looking.leads:
        assert moment(last) < at


def test_no_slice_begins_that_would_be_sent_after_the_duration(pg_dsn: str) -> None:
    looking, clock = Looking(pg_dsn), FakeClock()
    began = clock.now()
    outcome = streamed(
        PostgresTarget(url=pg_dsn), looking, START, rate=100.0, duration=5.0, clock=clock
    )
    assert outcome.report.ok
    assert clock.now() - began < 5.6
    sent = sum(outcome.position.events.values())
    assert 480 <= sent <= 560
    assert_tables(pg_dsn, PLAN, outcome.position.time)


def test_tables_and_events_agree_where_a_stream_ends(pg_dsn: str) -> None:
    looking = Looking(pg_dsn)
    end = moment(1_781_500_000_000)
    outcome = streamed(PostgresTarget(url=pg_dsn), looking, START, until=end)
    assert outcome.position.time == end
    assert tables_at(pg_dsn) <= end
    assert_tables(pg_dsn, PLAN, end)
    checks = {check.name: check for check in outcome.report["postgres"].checks}
    assert checks["loans"].found == len(rows(PLAN, "loans", until=end))


def test_a_stream_that_is_told_to_end_leaves_tables_and_events_at_one_instant(pg_dsn: str) -> None:
    # In the midst of a slice, whose tables and those of the next are there.
    looking, clock = Looking(pg_dsn), FakeClock(ends_at=1_003.3)
    outcome = streamed(PostgresTarget(url=pg_dsn), looking, START, clock=clock)
    assert outcome.report is None
    assert outcome.settled
    end = outcome.position.time
    assert START < end < PLAN.as_of
    assert_tables(pg_dsn, PLAN, end)
    last = max(planned(PLAN, since=START, until=end).values())
    assert max(when for when, _ in looking.leads) == last


# --- what a subscriber sees


@pytest.fixture(scope="module")
def logical(own_postgres: Running) -> Iterator[Postgres]:
    """A server whose log can be subscribed to."""
    with own_postgres(PostgresServer({"fsync": "off", "wal_level": "logical"})) as server:
        yield server


@pytest.mark.parametrize("identity", ["default", "full"])
def test_a_subscriber_sees_every_change_in_order_with_its_key(
    logical: Postgres, identity: str
) -> None:
    pg_dsn = logical.database(identity)
    first = PostgresTarget(url=pg_dsn, replica_identity="full" if identity == "full" else None)
    streamed(first, Looking(pg_dsn), START, until=START)
    with subscribed(pg_dsn, [*tables(), "datagen_streams"]) as subscription:
        kept = {
            table.name: {str(row[table.primary_key]): row for row in _text(pg_dsn, table.name)}
            for table in catalogue().tables
        }
        again = PostgresTarget(url=pg_dsn)
        _resumed(again, Looking(pg_dsn), START)
        slices = subscription.transactions()
        after = {
            table.name: {str(row[table.primary_key]): row for row in _text(pg_dsn, table.name)}
            for table in catalogue().tables
        }
    assert len(slices) > 20
    seen, polled = set(), ""
    for changes in slices:
        # Each slice says where it leads.
        assert changes[0].table == "datagen_streams"
        # Who polls by the time of change misses nothing.
        times = [str(change.row["updated_at"]) for change in changes[1:]]
        assert polled < min(times)
        polled = max(times)
        for change in changes[1:]:
            key = catalogue()[change.table].primary_key
            ident = change.row[key]
            assert ident is not None
            seen.add((change.kind, change.table))
            there = kept[change.table].get(ident)
            assert (change.kind == "U") == (there is not None)
            if identity == "full":
                assert change.before == there
            if there is not None:
                assert str(there["updated_at"]) < str(change.row["updated_at"])
            kept[change.table][ident] = change.row
    assert kept == after
    assert {
        ("U", "accounts"),
        ("U", "credit_cards"),
        ("U", "loans"),
        ("I", "loans"),
        ("I", "properties"),
    } <= seen


def _text(dsn: str, table: str) -> list[dict[str, Any]]:
    """The rows of a table as a subscriber has them: as text."""
    columns = ", ".join(f"{field.name}::text" for field in catalogue()[table].fields)
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as session:
        return session.execute(f"SELECT {columns} FROM {table}".encode()).fetchall()


def _resumed(target: PostgresTarget, looking: Looking, at: datetime) -> Any:
    from datagen.position import Position

    position = Position(plan=PLAN, from_customer=0, time=at, start=START, follows=("postgres",))
    return streamed(target, looking, START, from_position=position)


# --- outages and ends


def test_a_session_that_is_ended_again_and_again_costs_nothing(pg_dsn: str) -> None:
    class Ending(Looking):
        def sink(self, window: Window) -> Sink:
            return _Ender(self)

    class _Ender(_Looker):
        def write(self, batch: Batch) -> None:
            super().write(batch)
            query(
                pg_dsn,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND application_name = 'datagen'",
            )

    looking = Ending(pg_dsn)
    end = moment(1_781_200_000_000)
    streamed(PostgresTarget(url=pg_dsn), looking, START, until=end)
    for last, at in looking.leads:
        assert moment(last) < at
    assert_tables(pg_dsn, PLAN, end)


def test_tables_topics_and_position_agree_whatever_ends_the_stream(
    topics: OwnTopics, pg_dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    common = (*STREAM, *topics.options, "--postgres-url", pg_dsn, "--position", file)
    first = (*PLANNED, "--start", "2026-06-12T00:00:00Z", "--speed", "100000")
    for number in range(3):
        with started(*common, *(("--resume",) if number else first)) as process:
            wait_until_written(file, process)
            time.sleep(1.3 + number / 3)
            process.kill()
            process.wait(timeout=10)
        # Whatever was committed is a state that the tables have at one instant.
        assert_tables(pg_dsn, PLAN, tables_at(pg_dsn))
    with started(*common, "--resume") as process:
        wait_until_written(file, process)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 143, out + err
    done = run(*common, "--resume", "--speed", "1e7", timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_exact(topics, PLAN)
    assert_tables(pg_dsn, PLAN)


@pytest.mark.slow
def test_a_database_that_is_away_for_long_is_waited_for(
    topics: OwnTopics, relay: tuple[str, Relay], pg_dsn: str
) -> None:
    dsn, way = relay
    options = (*topics.options, "--postgres-url", dsn, *PLANNED)
    times = ("--start", "2026-06-12T00:00:00Z", "--speed", "100000")
    with started(*STREAM, *options, *times) as process:
        deadline = time.monotonic() + 60
        while sum(topics.ends().values()) < len(planned(PLAN, until="2026-06-13T00:00:00Z")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
        way.refuse()
        time.sleep(30)
        assert process.poll() is None, process.communicate()
        way.open = True
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert "PostgreSQL has not answered for" in out
    assert_exact(topics, PLAN)
    assert_tables(pg_dsn, PLAN)


def test_tables_that_were_loaded_anew_are_no_place_to_go_on(
    topics: OwnTopics, pg_dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    common = (*topics.options, "--postgres-url", pg_dsn)
    begin = ("--start", "2026-06-12T00:00:00Z", "--until", "2026-06-13T00:00:00Z", "--speed", "1e6")
    done = run(*STREAM, *common, *PLANNED, *begin, "--position", file, timeout=60)
    assert done.code == 0, done
    load = (*DATAGEN, "load", "--postgres-url", pg_dsn, "--skip-kafka", "--truncate")
    assert run(*load, "--customers", "20", timeout=60).code == 0
    resume = (*STREAM, *common, "--position", file, "--resume", "--until", PLAN.as_of.isoformat())
    done = run(*resume, timeout=60)
    assert done.code == 3, done
    assert "no tables of this stream" in done.err
    done = run(*resume, "--skip-postgres", "--speed", "1e7", timeout=60)
    assert done.code == 0, done
    assert_exact(topics, PLAN)


def test_one_stream_at_a_time_has_the_tables(
    topics: OwnTopics, pg_dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    common = (*STREAM, *topics.options, "--postgres-url", pg_dsn)
    begin = (*PLANNED, "--start", "2026-06-12T00:00:00Z", "--speed", "50000")
    with started(*common, *begin, "--position", file) as process:
        deadline = time.monotonic() + 60
        while not file.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)
        execute(pg_dsn, "UPDATE datagen_streams SET tables_at = tables_at + interval '1 day'")
        out, err = process.communicate(timeout=30)
    assert process.returncode == 4, out + err
    assert "another process streams into them" in err
