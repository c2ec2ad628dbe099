"""A bank that lives: history and live are one sequence, at its time, and goes on after any end."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from command import DATAGEN, run, started
from datagen import Plan
from datagen.cli.command import group
from datagen.errors import ConfigurationError, OptionError
from datagen.loader import Load
from datagen.position import Position, millis_of, moment
from datagen.settlement import Delivered, TopicSettlement
from datagen.sinks.base import Check, Sink, Stage, streams
from datagen.stream import Delays, Stream, stream
from datagen.types import catalogue
from records import read_topics
from services._net import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from datagen import Batch
    from datagen.sinks.base import Part, Window
    from datagen.stream import Outcome, Status
    from own_topics import OwnTopics
    from running import Running

PLAN = Plan(7, 60, as_of="2026-07-01T00:00:00Z", days=30)
START = datetime(2026, 6, 20, 15, tzinfo=UTC)
STREAM = (*DATAGEN, "stream")
KEPT = Stage("kept", title="Kept", unit="events")


# --- pace, by a clock that passes when the stream sleeps


@dataclass
class FakeClock:
    """Time passes in sleep, and ``cost`` seconds with each event that is written."""

    time: float = 1_000.0
    ends_at: float = float("inf")
    sleeps: list[float] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.time >= self.ends_at

    def begin(self) -> None:
        pass

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.time += seconds


@dataclass
class Quiet:
    """What a stream says, kept."""

    every: float = 1.0
    statuses: list[Status] = field(default_factory=list)

    def goes(self, status: Status) -> None:
        self.statuses.append(status)

    def start(self, stage: Stage, name: str, rows: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def finish(self, stage: Stage, part: Part) -> None: ...


@dataclass(frozen=True)
class Keeping:
    """Keeps each event with the moment at which it was written."""

    clock: FakeClock
    cost: float = 0.0
    events: list[tuple[float, int, str]] = field(default_factory=list)
    #: Seconds of the clock in which nothing is acknowledged.
    silent: range = range(0)

    @property
    def relations(self) -> tuple[str, ...]:
        return streams()

    def sink(self, window: Window) -> Sink:
        return _Keeper(self)

    @property
    def ids(self) -> list[str]:
        return [ident for _, _, ident in self.events]


class _Keeper(Sink):
    stage = KEPT
    relations = streams()

    def __init__(self, target: Keeping) -> None:
        self._target = target

    def open(self) -> None: ...
    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def close(self, error: BaseException | None) -> None: ...

    def write(self, batch: Batch) -> None:
        target = self._target
        target.events.extend((target.clock.time, *event) for event in events_of(batch))
        target.clock.time += target.cost * len(batch)

    def settle(self, seconds: float) -> bool:
        silent = self._target.silent
        if silent and silent.start <= self._target.clock.time < silent.stop:
            self._target.clock.time += seconds
            return False
        return True

    def trouble(self) -> str:
        return "it is away"

    def mark(self) -> dict[str, Any]:
        return {"events": len(self._target.events)}

    def written_since(self, mark: Mapping[str, Any]) -> set[bytes]:
        return {ident.encode() for ident in self._target.ids[mark["events"] :]}

    def verify(self) -> Iterable[Check]:
        return ()

    def settlement(self) -> Delivered:
        count = len(self._target.events)
        return Delivered("kept", "Kept", (TopicSettlement("kept", count, count),))


def events_of(batch: Batch) -> Iterator[tuple[int, str]]:
    """Time and id of each event."""
    relation = catalogue()[batch.name]
    times = memoryview(batch.column(relation.time or "")).tolist()
    idents = (bytes(ident).decode() for ident in batch.text(relation.primary_key))
    return zip(times, idents, strict=True)


def planned(plan: Plan = PLAN, **part: Any) -> dict[str, int]:
    """The times of the events, by their ids."""
    return {
        ident: when
        for batch in plan.window(order="entity", **part)
        for when, ident in events_of(batch)
    }


def streamed(clock: FakeClock, kept: Keeping, **asked: Any) -> tuple[Outcome, Quiet]:
    progress = Quiet()
    load = Load(plan=PLAN, targets={"kept": kept}, fast=True)
    settings: dict[str, Any] = {"start": START, **asked}
    return stream(Stream(run=load, **settings), progress, clock), progress


@pytest.mark.parametrize("speed", [30.0, 3_600.0, 1e6])
def test_history_comes_at_once_and_each_event_after_it_when_its_time_comes(speed: float) -> None:
    clock = FakeClock()
    kept = Keeping(clock)
    outcome, _ = streamed(clock, kept, speed=speed)
    assert len(kept.ids) == len(set(kept.ids))
    assert dict(zip(kept.ids, (when for _, when, _ in kept.events), strict=True)) == planned()
    start = millis_of(START)
    assert {at for at, when, _ in kept.events if when < start} == {1_000.0}
    late = [
        at - 1_000 - (when - start) / 1000 / speed for at, when, _ in kept.events if when >= start
    ]
    assert len(late) > 300
    assert min(late) > -1e-6, "before its time"
    assert max(late) < 0.06
    assert outcome.status.delays.quantile(0.99) <= 0.1
    assert outcome.status.time == PLAN.as_of
    assert outcome.report is not None


def test_a_quiet_stream_sleeps_until_an_event_is_due() -> None:
    clock = FakeClock()
    kept = Keeping(clock)
    streamed(clock, kept, duration=3_600.0)
    assert clock.time == pytest.approx(4_600.0, abs=0.1)
    live = [event for event in kept.events if event[1] >= millis_of(START)]
    assert 1 <= len(live) < 100
    # A nap is a second; each event may wake it twice.
    assert len(clock.sleeps) <= 3_601 + 2 * len(live)
    assert max(clock.sleeps) <= 1.0


def test_events_leave_at_a_rate_whatever_their_times() -> None:
    clock = FakeClock()
    kept = Keeping(clock)
    outcome, progress = streamed(clock, kept, rate=50.0)
    live = [at - 1_000 for at, when, _ in kept.events if when >= millis_of(START)]
    assert len(kept.ids) == len(planned())
    for number, at in enumerate(live, 1):
        assert -0.06 <= at - number / 50 <= 0.06
    assert progress.statuses[0].total > 1_000, "that the history is sent"
    assert progress.statuses[1].rate == pytest.approx(50, abs=2)
    assert progress.statuses[1].speed > 100
    assert outcome.status.lag == 0


def test_a_rate_that_is_too_much_leaves_no_event_out() -> None:
    clock = FakeClock()
    kept = Keeping(clock, cost=0.01)
    outcome, progress = streamed(clock, kept, rate=1_000.0)
    assert {*kept.ids} == {*planned()}
    assert progress.statuses[-1].rate == pytest.approx(100, rel=0.2)
    assert max(status.lag for status in progress.statuses) > 1
    assert outcome.status.delays.quantile(0.99) > 1


def test_a_sink_that_is_away_is_waited_for_and_then_caught_up_with() -> None:
    clock = FakeClock()
    kept = Keeping(clock, silent=range(1_010, 1_040))
    outcome, progress = streamed(clock, kept, speed=3_600.0)
    assert {*kept.ids} == {*planned()}
    assert len(kept.ids) == len(planned())
    waiting = [status.waiting for status in progress.statuses if status.waiting]
    assert "Kept has not answered for 29 s: it is away" in waiting
    assert [when for _, when, _ in kept.events] != []
    by_stream = [when for at, when, _ in kept.events if 1_040 <= at < 1_041]
    assert by_stream, "nothing was caught up with"
    assert outcome.settled


def test_nothing_before_the_start_without_backfill() -> None:
    clock = FakeClock()
    kept = Keeping(clock)
    until = START + timedelta(days=3)
    outcome, _ = streamed(clock, kept, speed=3_600.0, backfill=False, until=until)
    assert {*kept.ids} == {*planned(since=START, until=until)}
    assert outcome.status.time == until


def test_a_clock_that_was_ahead_stays_ahead() -> None:
    # As a stream that started at the wall clock's time, and was stopped for an hour.
    clock = FakeClock()
    kept = Keeping(clock)
    streamed(clock, kept, behind=3_600.0, duration=60.0)
    times = [when for _, when, _ in kept.events]
    assert max(times) <= millis_of(START + timedelta(seconds=3_661))
    missed = planned(since=START, until=START + timedelta(hours=1))
    assert missed.keys() <= {ident for at, _, ident in kept.events if at < 1_000.2}


@pytest.mark.parametrize("end", [1_000.0, 1_003.0, 1_017.7])
def test_a_stream_goes_on_exactly_where_it_ended(end: float, tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    clock = FakeClock(ends_at=end)
    kept = Keeping(clock)
    outcome, _ = streamed(clock, kept, speed=3_600.0, file=file)
    assert outcome.report is None
    assert outcome.settled
    before = Position.read(file)
    assert before == outcome.position
    assert before.plan == PLAN
    assert sum(before.events.values()) == len(kept.ids)
    later = FakeClock()
    more = replace(kept, clock=later)
    streamed(later, more, speed=1e6, file=file, from_position=before)
    assert len(more.ids) == len(planned())
    assert {*more.ids} == {*planned()}
    assert Position.read(file).time == PLAN.as_of
    assert sum(Position.read(file).events.values()) == len(planned())


def test_a_stream_that_ends_without_an_answer_keeps_the_position_before(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    clock = FakeClock(ends_at=1_012.0)
    kept = Keeping(clock, silent=range(1_010, 1_000_000))
    outcome, _ = streamed(clock, kept, speed=3_600.0, file=file)
    assert not outcome.settled
    assert 1_020 <= clock.time < 1_024
    before = Position.read(file)
    assert before.time <= START + timedelta(hours=10)
    assert max(when for _, when, _ in kept.events) >= millis_of(before.time)
    later = FakeClock()
    more = replace(kept, clock=later)
    streamed(later, more, speed=1e6, from_position=before)
    assert len(more.ids) == len(planned())
    assert {*more.ids} == {*planned()}


def test_events_that_a_lost_process_has_sent_are_not_sent_again(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    clock = FakeClock(ends_at=1_007.0)
    kept = Keeping(clock)
    streamed(clock, kept, speed=3_600.0, file=file)
    early = Position.read(file)
    clock.ends_at = 1_009.0
    # Its position is lost, and it is resumed from the one before; that again, and then to the end.
    for ends in (1_009.0, 1_009.5, float("inf")):
        clock.ends_at = ends
        streamed(clock, kept, speed=3_600.0, from_position=early)
    assert len(kept.ids) == len(planned())
    assert {*kept.ids} == {*planned()}


def test_delays_have_quantiles() -> None:
    delays = Delays()
    assert delays.quantile(0.99) == 0
    delays.add(0.02, 98)
    delays.add(0.3, 1)
    delays.add(1e9, 1)
    assert delays.quantile(0.5) == 0.025
    assert delays.quantile(0.99) == 0.5
    assert delays.quantile(1.0) == float("inf")


# --- what the core gives


def test_a_window_asked_for_instants_is_the_window() -> None:
    whole = [event for batch in PLAN.window() for event in events_of(batch)]
    window = PLAN.window()
    found: list[tuple[int, str]] = []
    for day in range(40):
        instant = PLAN.as_of + timedelta(days=day - 35, seconds=day)
        found += [event for batch in window.until(instant) for event in events_of(batch)]
        assert all(when < millis_of(instant) for when, _ in found)
        following = [when for when, _ in whole if when >= millis_of(instant)]
        assert window.peek() == (moment(min(following)) if following else None)
    assert sorted(found) == sorted(whole)
    assert [*window] == []
    with pytest.raises(OptionError, match="order"):
        PLAN.window(order="entity").until(PLAN.as_of)
    with pytest.raises(OptionError, match="instant"):
        PLAN.window().until("2026-07-01")


def rows(plan: Plan, name: str, **part: Any) -> list[dict[str, Any]]:
    return [batch.row(row) for batch in plan.batches(name, **part) for row in range(len(batch))]


def test_tables_at_an_instant_have_what_the_events_before_it_come_to() -> None:
    plan = Plan(11, 300, days=60)
    until = datetime(2026, 6, 3, 12, 34, tzinfo=UTC)
    moved = {
        row["account_id"]: row["balance_after"]
        for row in rows(plan, "banking.transactions", until=until, order="time")
    }
    accounts = rows(plan, "accounts", until=until)
    for row in accounts:
        assert row["balance"] == moved.get(row["account_id"], row["opening_balance"])
    at_the_end = {row["account_id"]: row["balance"] for row in rows(plan, "accounts")}
    assert sum(at_the_end[row["account_id"]] != row["balance"] for row in accounts) > 200
    paid: dict[Any, Any] = {}
    for row in rows(plan, "banking.installments", until=until, order="time"):
        if row["amount_paid"]:
            paid[row["loan_id"]] = row["remaining_balance"]
    loans = rows(plan, "loans", until=until)
    assert len(paid) > 50
    for row in loans:
        if row["loan_id"] in paid:
            assert row["outstanding_balance"] == paid[row["loan_id"]]
    # Before the first event nothing is spent.
    for row in rows(plan, "credit_cards", until="2026-05-01T00:00:00Z"):
        assert row["available_limit"] == row["credit_limit"]
    assert rows(plan, "credit_cards", until=plan.as_of) == rows(plan, "credit_cards")


# --- what cannot be


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"speed": 0.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"rate": 0.0}, "rate"),
        ({"duration": -1.0}, "duration"),
        ({"start": PLAN.as_of + timedelta(seconds=1)}, "start"),
        ({"until": START - timedelta(milliseconds=1)}, "until"),
        ({"until": PLAN.as_of + timedelta(milliseconds=1)}, "until"),
    ],
)
def test_what_is_out_of_range_is_refused(settings: dict[str, Any], option: str) -> None:
    load = Load(plan=PLAN, fast=True)
    with pytest.raises(OptionError) as error:
        Stream(run=load, **{"start": START, **settings})
    assert error.value.option == option


#: No port, so that a connection would be seen.
NOWHERE = ("--kafka-bootstrap", "127.0.0.1:1", "--skip-postgres", "--start", "2026-06-20T15:00:00Z")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--speed", "0"], "--speed"),
        (["--speed", "-1"], "--speed"),
        (["--rate", "0"], "--rate"),
        (["--rate", "5", "--speed", "2"], "--rate and --speed"),
        (["--duration", "-5"], "--duration"),
        (["--duration", "5 weeks"], "write seconds, or 90s, 5m or 2h"),
        (["--until", "2026-06-20T14:59:59Z"], "--until"),
        (["--until", "2026-06-20"], "write 2026-07-01T00:00:00Z"),
        (["--as-of", "2026-06-01T00:00:00Z"], "--start"),
        (["--resume"], "--position"),
        (["--position", "/no/such/folder/file"], "--position"),
        (["--skip-kafka"], "No events are sent anywhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_connected(options: list[str], said: str) -> None:
    done = run(*STREAM, *NOWHERE, *options, timeout=20)
    assert done.code == 2, done
    assert said in done.err
    assert done.out == ""


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def idents(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [row[catalogue()[row["stream"]].primary_key] for row in rows]


SMALL = ("--customers", "40", "--as-of", "2026-07-01T00:00:00Z", "--days", "20")
SMALL_PLAN = Plan(42, 40, days=20)


def test_stdout_has_the_events_of_the_plan_and_nothing_else() -> None:
    start = ("--start", "2026-06-25T12:00:00Z", "--speed", "1e6")
    done = run(*STREAM, "--stdout", *SMALL, *start, timeout=60)
    assert done.code == 0, done
    rows = lines_of(done.out)
    expected = {
        name: [
            json.loads(bytes(row))
            for batch in SMALL_PLAN.batches(name, order="time")
            for row in batch.encode("json")
        ]
        for name in streams()
    }
    for name, wanted in expected.items():
        assert [row for row in rows if row["stream"] == name] == [
            {"stream": name, **row} for row in wanted
        ]
    assert len(rows) == sum(map(len, expected.values()))
    assert "the plan is at its end" in done.err


def test_stdout_alone_needs_no_service_whatever_the_environment_says(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    nowhere = {
        "DATAGEN_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "DATAGEN_POSTGRES_URL": "postgresql://127.0.0.1:1/x",
    }
    times = ("--start", "2026-06-20T00:00:00Z", "--speed", "1e7", "--until")
    first = (*times, "2026-06-21T00:00:00Z", "--position", file)
    done = run(*STREAM, "--stdout", *SMALL, *first, timeout=60, **nowhere)
    assert done.code == 0, done
    more = ("--resume", "--position", file, "--until", "2026-07-01T00:00:00Z")
    later = run(*STREAM, *more, timeout=60, **nowhere)
    assert later.code == 0, later
    found = idents(lines_of(done.out + later.out))
    assert sorted(found) == sorted(planned(SMALL_PLAN))


def test_a_reader_of_stdout_may_go() -> None:
    with started(*STREAM, "--stdout", *SMALL, "--start", "2026-06-25T12:00:00Z") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["stream"]
        process.stdout.close()
        assert process.wait(timeout=20) in {0, 1}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The position of a stream to stdout that has come to its end by ``--until``."""
    file = tmp_path / "position.json"
    times = ("--start", "2026-06-20T00:00:00Z", "--until", "2026-06-20T00:00:00Z")
    done = run(*STREAM, "--stdout", *SMALL, *times, "--position", file, timeout=60)
    assert done.code == 0, done
    return file


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", "43"],
        ["--customers", "41"],
        ["--from-customer", "1"],
        ["--as-of", "2026-07-02T00:00:00Z"],
        ["--days", "21"],
        ["--start", "2026-06-21T00:00:00Z"],
        ["--topic-prefix", "other."],
        ["--no-backfill"],
    ],
)
def test_what_contradicts_a_position_is_refused(begun: Path, options: list[str]) -> None:
    done = run(*STREAM, "--position", begun, "--resume", *options, timeout=20)
    assert done.code == 2, done
    assert options[0] in done.err


def test_what_agrees_with_a_position_is_taken(begun: Path) -> None:
    same = (*SMALL, "--stdout", "--seed", "42", "--start", "2026-06-20T00:00:00Z")
    more = ("--until", "2026-06-23T00:00:00Z", "--speed", "1e6")
    done = run(*STREAM, "--position", begun, "--resume", *same, *more, timeout=60)
    assert done.code == 0, done
    part = {"since": "2026-06-20T00:00:00Z", "until": "2026-06-23T00:00:00Z"}
    assert sorted(idents(lines_of(done.out))) == sorted(planned(SMALL_PLAN, **part))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "position format 99"),
        ({"catalogue": 1}, "version 1 of the catalogue"),
        ({"plan": {}}, "not a whole position"),
        (None, "is not the position of a stream"),
    ],
)
def test_a_position_of_another_kind_is_refused(
    begun: Path, change: dict[str, Any] | None, said: str
) -> None:
    content = json.loads(begun.read_text())
    begun.write_text("[]" if change is None else json.dumps(content | change))
    with pytest.raises(ConfigurationError, match=said):
        Position.read(begun)
    done = run(*STREAM, "--position", begun, "--resume", timeout=20)
    assert done.code == 3, done
    assert said in done.err


def test_a_position_that_is_there_is_not_overwritten(begun: Path) -> None:
    text = begun.read_text()
    done = run(*STREAM, "--stdout", *SMALL, "--position", begun, timeout=20)
    assert done.code == 3, done
    assert "--resume" in done.err
    assert begun.read_text() == text


def test_a_position_keeps_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    secret = "hunter-two-and-a-half"
    times = ("--start", "2026-06-20T00:00:00Z", "--until", "2026-06-20T00:00:00Z")
    done = run(
        *(*STREAM, "--stdout", *SMALL, *times, "--position", file),
        *("--registry-user", f"me:{secret}", "--kafka-option", f"sasl.password={secret}"),
        timeout=60,
    )
    assert done.code == 0, done
    assert secret not in file.read_text()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stdout_into_a_file_goes_on_after_any_end(end: signal.Signals, tmp_path: Path) -> None:
    file, out = tmp_path / "position.json", tmp_path / "events.jsonl"
    begin = ("--stdout", *SMALL, "--start", "2026-06-12T00:00:00Z", "--speed", "200000")
    shell = ("sh", "-c", 'exec "$@" >> "$0"', out, *STREAM, "--position", file)
    for options in (begin, ("--resume",)):
        with started(*shell, *options) as process:
            deadline = time.monotonic() + 30
            before = file.read_text() if file.exists() else ""
            while not file.exists() or file.read_text() == before:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.7)
            process.send_signal(end)
            code = process.wait(timeout=20)
            assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[end]
    done = run(*shell, "--resume", "--speed", "1e7", timeout=60)
    assert done.code == 0, done
    found = idents(lines_of(out.read_text()))
    assert len(found) == len({*found})
    assert {*found} == {*planned(SMALL_PLAN)}


def test_a_second_signal_ends_it_at_once() -> None:
    # A pipe that nothing reads: the first signal waits for what is being written.
    options = ("--stdout", "--customers", "3000", "--start", "2026-06-25T12:00:00Z")
    with started(*STREAM, *options) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=2) == 143


def test_the_plan_ends_in_the_future_by_default() -> None:
    done = run(*STREAM, "--stdout", "--customers", "5", "--duration", "0.1", timeout=30)
    assert done.code == 0, done
    end = (datetime.now(UTC).replace(hour=0, minute=0, second=0) + timedelta(days=365)).date()
    usual = "(seed 42, 90 days up to 2026-07-01T00:00:00Z)"
    assert f"455 days up to {end}" in done.err or usual in done.err


def test_metrics_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    runner = CliRunner()
    done = runner.invoke(group, ["stream", "--stdout", "--customers", "5", "--metrics", "9"])
    assert isinstance(done.exception, ConfigurationError)
    assert "pip install 'datagen[metrics]'" in str(done.exception)


def test_metrics_are_served_on_this_machine() -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    options = ("--stdout", *SMALL, "--start", "2026-06-20T12:00:00Z", "--metrics", port)
    with started(*STREAM, *options) as process:
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()
        deadline, text = time.monotonic() + 20, ""
        while "datagen_live 1.0" not in text:
            assert process.poll() is None
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                text = page.read().decode()
        process.terminate()
        assert process.wait(timeout=10) == 143
    sent = re.findall(r'^datagen_events_total\{stream="[a-z.-]+"\} ([0-9.]+)$', text, re.MULTILINE)
    assert sum(map(float, sent)) == len(planned(SMALL_PLAN, until="2026-06-20T12:00:00Z"))


# --- with a broker


def records_of(topics: OwnTopics) -> dict[str, list[tuple[int, str, str]]]:
    """Partition, time and id of each record by an independent reader, in their order."""
    found = read_topics(topics.bootstrap, topics.names)
    return {
        name: [
            (one.partition, one.header("ce_time").decode(), one.header("ce_id").decode())
            for one in found[name]
        ]
        for name in topics.names
    }


def assert_exact(topics: OwnTopics, plan: Plan) -> None:
    found = records_of(topics)
    everything = [ident for records in found.values() for _, _, ident in records]
    wanted = planned(plan)
    assert len(everything) == len(wanted)
    assert {*everything} == {*wanted}
    for records in found.values():
        for _, partition in itertools.groupby(records, key=lambda record: record[0]):
            times = [when for _, when, _ in partition]
            assert times == sorted(times)


@pytest.mark.parametrize("engine_name", ["native", "confluent"])
def test_kafka_has_every_event_once_whatever_ends_the_stream(
    topics: OwnTopics, engine_name: str, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    plan = Plan(42, 400, days=20)
    common = (*STREAM, *topics.options, "--skip-postgres", "--position", file)
    first = (
        *("--customers", "400", "--as-of", "2026-07-01T00:00:00Z", "--days", "20", "--no-avro"),
        *("--start", "2026-06-12T00:00:00Z", "--rate", "400", "--engine", engine_name),
    )
    for number in range(3):
        with started(*common, *(("--resume",) if number else first)) as process:
            before = file.read_text() if file.exists() else ""
            deadline = time.monotonic() + 60
            while not file.exists() or file.read_text() == before:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(1.3 + number / 3)
            process.kill()
            process.wait(timeout=10)
    with started(*common, "--resume") as process:
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    done = run(*common, "--resume", "--rate", "1000000", timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_exact(topics, plan)


def test_tables_are_committed_first_and_as_of_the_start(
    topics: OwnTopics, pg_dsn: str, tmp_path: Path
) -> None:
    import psycopg

    file, start = tmp_path / "position.json", "2026-06-24T00:00:00Z"
    options = (*topics.options, "--no-avro", "--postgres-url", pg_dsn, *SMALL)
    times = ("--start", start, "--until", "2026-06-25T00:00:00Z", "--speed", "1e6")
    done = run(*STREAM, *options, *times, "--position", file, timeout=60)
    assert done.code == 0, done
    assert "they do not follow the events" in done.out
    with psycopg.connect(pg_dsn) as connection:
        query = "SELECT account_id, balance FROM accounts"
        found: list[Any] = connection.execute(query).fetchall()
    accounts = rows(SMALL_PLAN, "accounts", until=start)
    assert dict(found) == {row["account_id"]: row["balance"] for row in accounts}
    # The tables are there: to go on it needs no PostgreSQL.
    more = (*topics.options, "--postgres-url", "postgresql://127.0.0.1:1/x", "--until")
    done = run(*STREAM, *more, SMALL_PLAN.as_of.isoformat(), "--resume", "--position", file)
    assert done.code == 0, done
    assert_exact(topics, SMALL_PLAN)


def test_a_topic_that_was_made_anew_is_no_place_to_go_on(topics: OwnTopics, tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    common = (*STREAM, *topics.options, "--skip-postgres", "--position", file)
    times = ("--start", "2026-06-12T00:00:00Z", "--until", "2026-06-12T00:00:00Z", "--no-avro")
    done = run(*common, *SMALL, *times, timeout=60)
    assert done.code == 0, done
    content = json.loads(file.read_text())
    mark = content["marks"]["kafka"]["topics"][topics.name("banking.transactions")]
    mark["0"] += 1
    file.write_text(json.dumps(content))
    done = run(*common, "--resume", timeout=60)
    assert done.code == 3, done
    assert "Was the topic deleted" in done.err


@pytest.mark.slow
def test_a_broker_that_is_away_for_long_is_waited_for(own_kafka: Running) -> None:
    from own_topics import OwnTopics
    from services.kafka import KafkaBroker

    with own_kafka(KafkaBroker(heap="320m", short_lived=True)) as broker:
        topics = OwnTopics(broker.bootstrap)
        options = (
            *("--customers", "400", "--as-of", "2026-07-01T00:00:00Z", "--days", "20", "--no-avro"),
            *("--start", "2026-06-12T00:00:00Z", "--rate", "800", "--create-topics"),
        )
        with started(*STREAM, *topics.options, "--skip-postgres", *options) as process:
            deadline = time.monotonic() + 60
            while sum(topics.ends().values()) < 4_000:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
            broker.kill()
            time.sleep(30)
            assert process.poll() is None, process.communicate()
            broker.start()
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, out + err
        assert "Kafka has not answered for" in out
        assert_exact(topics, Plan(42, 400, days=20))


def test_moments_are_milliseconds() -> None:
    assert moment(millis_of(START)) == START
