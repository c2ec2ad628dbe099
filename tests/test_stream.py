"""A bank that lives: history and live are one sequence, at its time, and goes on after any end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from datagen import Plan
from datagen.ahead import Ahead
from datagen.errors import OptionError
from datagen.loader import Load
from datagen.pace import Delays
from datagen.position import Position, millis_of, moment
from datagen.settlement import Delivered, TopicSettlement
from datagen.sinks.base import Check, Sink, Stage, streams
from datagen.stream import Stream, stream
from planned import events_of, planned, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from datagen import Batch
    from datagen.sinks.base import Part, Window
    from datagen.stream import Outcome, Status

PLAN = Plan(7, 60, as_of="2026-07-01T00:00:00Z", days=30)
START = datetime(2026, 6, 20, 15, tzinfo=UTC)
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
    #: Whether it takes no events meanwhile.
    full: bool = False

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
        while target.full and not self.settle(0.1):
            self._waiting()
        target.events.extend((target.clock.time, *event) for event in events_of(batch))
        target.clock.time += target.cost * len(batch)

    def when_waiting(self, call: Callable[[], None]) -> None:
        self._waiting = call

    def settle(self, seconds: float) -> bool:
        silent = self._target.silent
        if silent and silent.start <= self._target.clock.time < silent.stop:
            self._target.clock.time += seconds
            return False
        return True

    @property
    def last_error(self) -> str:
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
    assert dict(zip(kept.ids, (when for _, when, _ in kept.events), strict=True)) == planned(PLAN)
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
    assert len(kept.ids) == len(planned(PLAN))
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
    assert {*kept.ids} == {*planned(PLAN)}
    assert progress.statuses[-1].rate == pytest.approx(100, rel=0.2)
    assert max(status.lag for status in progress.statuses) > 1
    assert outcome.status.delays.quantile(0.99) > 1


@pytest.mark.parametrize("full", [False, True])
def test_a_sink_that_is_away_is_waited_for_and_then_caught_up_with(*, full: bool) -> None:
    clock = FakeClock()
    kept = Keeping(clock, silent=range(1_010, 1_040), full=full)
    outcome, progress = streamed(clock, kept, speed=3_600.0)
    assert {*kept.ids} == {*planned(PLAN)}
    assert len(kept.ids) == len(planned(PLAN))
    waiting = [status.waiting for status in progress.statuses if status.waiting]
    # From the first event on that it does not take.
    assert "Kept has not answered for 28 s: it is away" in waiting
    assert [when for _, when, _ in kept.events] != []
    by_stream = [when for at, when, _ in kept.events if 1_040 <= at < 1_041]
    assert by_stream, "nothing was caught up with"
    assert outcome.settled


def test_nothing_before_the_start_without_backfill() -> None:
    clock = FakeClock()
    kept = Keeping(clock)
    until = START + timedelta(days=3)
    outcome, _ = streamed(clock, kept, speed=3_600.0, backfill=False, until=until)
    assert {*kept.ids} == {*planned(PLAN, since=START, until=until)}
    assert outcome.status.time == until


def test_a_clock_that_was_ahead_stays_ahead() -> None:
    # As a stream that started at the wall clock's time, and was stopped for an hour.
    clock = FakeClock()
    kept = Keeping(clock)
    streamed(clock, kept, behind=3_600.0, duration=60.0)
    times = [when for _, when, _ in kept.events]
    assert max(times) <= millis_of(START + timedelta(seconds=3_661))
    missed = planned(PLAN, since=START, until=START + timedelta(hours=1))
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
    assert len(more.ids) == len(planned(PLAN))
    assert {*more.ids} == {*planned(PLAN)}
    assert Position.read(file).time == PLAN.as_of
    assert sum(Position.read(file).events.values()) == len(planned(PLAN))


@pytest.mark.parametrize("full", [False, True])
def test_a_stream_that_ends_without_an_answer_keeps_the_position_before(
    *, full: bool, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    clock = FakeClock(ends_at=1_012.0)
    kept = Keeping(clock, silent=range(1_010, 1_000_000), full=full)
    outcome, _ = streamed(clock, kept, speed=3_600.0, file=file)
    assert not outcome.settled
    assert outcome.position == Position.read(file)
    assert 1_022 <= clock.time < 1_023
    before = Position.read(file)
    assert before.time <= START + timedelta(hours=10)
    if not full:
        assert max(when for _, when, _ in kept.events) >= millis_of(before.time)
    later = FakeClock()
    more = replace(kept, clock=later)
    streamed(later, more, speed=1e6, from_position=before)
    assert len(more.ids) == len(planned(PLAN))
    assert {*more.ids} == {*planned(PLAN)}


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
    assert len(kept.ids) == len(planned(PLAN))
    assert {*kept.ids} == {*planned(PLAN)}


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


def test_events_that_are_made_ahead_are_those_of_the_window() -> None:
    wanted = [event for batch in PLAN.window(None) for event in events_of(batch)]
    choose = random.Random(7)
    for _ in range(5):
        ahead, found, time = Ahead(PLAN.window(None)), list[tuple[int, str]](), 0
        time, made = ahead.peek() or 0, 0
        while (first := ahead.peek()) is not None:
            assert first == min({*wanted} - {*found})[0]
            for _ in range(choose.randrange(4)):
                time += choose.randrange(200_000_000)
                made += ahead.make(time)
            while (end := ahead.next_end) is not None and choose.random() < 0.8:
                found += [event for batch in ahead.until(end) for event in events_of(batch)]
            if ahead.next_end is None:
                assert len(found) == made
                time += choose.randrange(200_000_000)
                found += [event for batch in ahead.until(time) for event in events_of(batch)]
                made = len(found)
        assert sorted(found) == sorted(wanted)


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
    # Before the first event there are bills of what was bought before the history.
    for row in rows(plan, "credit_cards", until="2026-05-01T00:00:00Z"):
        assert row["available_limit"] <= row["credit_limit"]
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


def test_moments_are_milliseconds() -> None:
    assert moment(millis_of(START)) == START
