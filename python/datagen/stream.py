"""A bank that lives: its history at full speed, then each event when its time comes.

History and live come from one window of the plan, asked for the events before one instant after the other, so
that no event is missing or doubled where one becomes the other. A position is written while all that
was sent is there for good; what a process sent after its last position is found by the marks of its sinks.
Tables are loaded as they are at the start of live, and follow from there on.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import loader
from ._claims import claimed
from ._core import Batch
from .ahead import Ahead
from .errors import ConfigurationError, OptionError
from .following import Following
from .pace import Delays, Rate, Speed
from .position import Position, instant_text, millis_of, moment
from .settlement import Settlement, settlement_of
from .sinks.base import Part, streams
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from ._core import Plan
    from .loader import Load, Running, RunReport
    from .sinks.base import Sink

__all__ = ["MAX_RATE", "MAX_SPEED", "Clock", "Outcome", "Status", "Stream", "stream"]

#: More events than any machine makes, and ten years in half a minute.
MAX_RATE: Final = 10_000_000.0
MAX_SPEED: Final = 10_000_000.0

#: Seconds between two looks at the clock, so that events that are due within them leave together.
_TICK: Final = 0.05
#: Seconds after which the clock is looked at, whether an event is due or not.
_NAP: Final = 1.0
#: Seconds between two positions while events are sent, and while none is.
_SETTLED_EVERY: Final = 1.0
_IDLE: Final = 10.0
#: Seconds between two receipts, which are written with a position.
_RECORDED_EVERY: Final = 3.0
#: Events that are asked for at once: some hundredths of a second of work.
_AT_ONCE: Final = 25_000
_DAY: Final = 86_400_000
#: Milliseconds of event time that are asked for first.
_FIRST_STRIDE: Final = 3_600_000
#: The same at a rate, so that what is sent at once begins small.
_FIRST_AT_A_RATE: Final = 1_000
#: Rows of a batch.
_BATCH_ROWS: Final = 8192
#: Seconds of the clock in a slice, whose tables are written before its events.
_SLICE: Final = 1.0
#: Seconds without an answer after which it is said, and those for a stream that ends.
_SILENT: Final = 1.0
_LAST_ANSWERS: Final = 10.0
#: Seconds for which a sink is waited for before the stream looks around.
_PATIENCE: Final = 0.1


class Clock(Protocol):
    """Time as it passes, which does not jump, and whether the stream should end."""

    @property
    def ended(self) -> bool:
        """Whether the stream should come to its end now."""

    def begin(self) -> None:
        """Called once the first event may leave: what would have interrupted is said by ``ended``."""

    def now(self) -> float:
        """Seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Waits so long, or until the stream should end."""


@dataclass(frozen=True)
class Status:
    """How a stream goes.

    ``time`` is the event time up to which all was sent, ``lag`` the seconds by which the next event is late, ``rate``
    the events and ``speed`` the seconds of event time for each second since the status before. ``waiting``
    says for how long a sink has not answered, and what it said last.
    """

    live: bool
    time: datetime
    lag: float
    rate: float
    speed: float
    events: Mapping[str, int]
    delays: Delays
    waiting: str = ""

    @property
    def total(self) -> int:
        return sum(self.events.values())


class StreamProgress(Protocol):
    """What a stream says: as a load does of its tables, and then how it goes."""

    @property
    def every(self) -> float:
        """Seconds between two statuses."""

    def goes(self, status: Status) -> None:
        """Takes a status."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What to stream, and when.

    ``start`` is the event time at which live begins: events before it are sent at once, or with
    ``backfill=False`` not at all. ``until`` is where it ends, by default with the plan. ``speed`` is event
    time for each second of the wall clock; ``rate`` are events a second instead, whatever their times.
    ``duration`` are seconds of live after which it ends.

    ``behind`` are seconds by which the clock is ahead of ``start`` at the beginning of the run; None has
    live begin at ``start`` once the history is sent. Options for a resumed stream come with its position
    ``from_position``; ``options`` are kept in the position that is written to ``file``.
    """

    run: Load
    start: datetime
    until: datetime | None = None
    speed: float = 1.0
    rate: float | None = None
    duration: float | None = None
    backfill: bool = True
    behind: float | None = None
    file: Path | None = None
    from_position: Position | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    #: More of them, that say how tables are loaded: a position keeps them until they are.
    options_of_loading: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        if not 0 < self.speed <= MAX_SPEED:
            raise OptionError("speed", self.speed, f"more than 0, up to {MAX_SPEED:.0f}")
        if self.rate is not None and not 0 < self.rate <= MAX_RATE:
            raise OptionError("rate", self.rate, f"more than 0, up to {MAX_RATE:.0f}")
        if self.duration is not None and not 0 < self.duration < math.inf:
            raise OptionError("duration", self.duration, "a time of more than 0 s")
        end = instant_text(plan.as_of)
        if self.start > plan.as_of:
            raise OptionError("start", instant_text(self.start), f"an instant up to {end}")
        if self.until is not None and not self.start <= self.until <= plan.as_of:
            first = instant_text(self.start)
            raise OptionError("until", instant_text(self.until), f"{first} (the start) to {end}")

    @property
    def plan(self) -> Plan:
        return self.run.plan

    @property
    def end(self) -> datetime:
        """The event time at which the stream ends; no event is at it."""
        return self.until or self.plan.as_of


@dataclass(frozen=True)
class Outcome:
    """How a stream ended: ``report`` is None where sinks were not counted, since it was told to end.

    ``position`` is that of the file, and ``settled`` whether all that was sent is there.
    """

    report: RunReport | None
    status: Status
    position: Position
    settled: bool
    settlement: Settlement


def stream(asked: Stream, progress: Any, clock: Clock) -> Outcome:
    """Loads the tables as they are at the start, sends the history, and goes on as time passes.

    ``progress`` is a ``Progress`` and a ``StreamProgress``. Returns once the plan, ``until`` or ``duration``
    is at its end, or ``clock`` says so. Raises as ``load`` does.
    """
    began = clock.now()

    def work(running: Running) -> Outcome:
        for sink in running.senders:
            _check(asked, sink)
        senders = running.load_tables(before_arrival=lambda: _begin(asked, running))
        clock.begin()
        return _Sending(asked, running, senders, progress, clock, began).outcome()

    before = asked.from_position
    try:
        with claimed(asked.file, wait=False) if asked.file else nullcontext():
            return loader.carry_out(
                asked.run,
                progress,
                work,
                tables_at=max(asked.start, before.time) if before else asked.start,
                tables_there=before is not None and before.loaded,
                begun=before.marks if before is not None and not before.loaded else None,
                events_from=None if asked.backfill else asked.start,
            )
    except _Unanswered as end:
        settlement = settlement_of(end) or Settlement(())
        return Outcome(None, end.status, end.position, settled=False, settlement=settlement)


def _begin(asked: Stream, running: Running) -> None:
    """Writes a position before the first row of a table can be seen, so that whatever ends the process, the next goes on."""
    if asked.file is None or asked.from_position is not None or not running.holders:
        return
    both = [sink for sink in running.holders if sink in running.senders]
    Position(
        plan=asked.plan,
        from_customer=asked.run.from_customer,
        time=moment(_first_instant(asked)),
        start=asked.start,
        marks={sink.stage.name: sink.mark() for sink in both},
        events=dict.fromkeys(streams(), 0),
        options={**asked.options, **asked.options_of_loading},
        follows=tuple(sink.stage.name for sink in running.holders),
        loaded=False,
    ).write(asked.file)


def _first_instant(asked: Stream) -> int:
    """An instant that no event to be sent is before."""
    if asked.from_position is not None:
        return millis_of(asked.from_position.time)
    start = millis_of(asked.start)
    days = max(catalogue()[name].history_days or asked.plan.days for name in streams())
    first = millis_of(asked.plan.as_of) - days * _DAY
    return min(first, start) if asked.backfill else start


def _check(asked: Stream, sink: Sink) -> None:
    """Refuses a position of a sink that does not say what has arrived."""
    if asked.file is not None and not sink.confirmed:
        raise ConfigurationError(
            f"{sink.stage.title} confirms nothing with these settings, so that no position can be kept"
        )


class _Unanswered(loader.Ended):
    """A stream that is to end has waited for a sink's answers in vain."""

    def __init__(self, status: Status, position: Position) -> None:
        super().__init__()
        self.status = status
        self.position = position


class _Sending:
    """The events of one stream, on their way."""

    def __init__(
        self,
        asked: Stream,
        running: Running,
        senders: list[Sink],
        progress: Any,
        clock: Clock,
        began: float,
    ) -> None:
        self._asked = asked
        self._running = running
        self._senders = senders
        self._progress: StreamProgress = progress
        self._clock = clock
        self._began = began
        plan = asked.plan
        #: That of an earlier process which may have sent events.
        self._before = before = _with_events(asked.from_position)
        self._start, self._end = millis_of(asked.start), millis_of(asked.end)
        #: Where the history of accounts begins; contracts are older.
        self._opening = millis_of(plan.as_of) - plan.days * _DAY
        #: All events before are sent.
        self._time = _first_instant(asked)
        window = plan.window(
            None,
            asked.run.from_customer,
            since=moment(self._time),
            until=asked.end,
            batch_rows=_BATCH_ROWS if asked.rate is None else self._at_once(_BATCH_ROWS),
        )
        self._ahead = Ahead(window)
        self._pace: Speed | Rate | None = None
        self._stride = float(_FIRST_STRIDE)
        self._events = dict.fromkeys(streams(), 0) | dict(before.events if before else {})
        self._sent = dict.fromkeys(streams(), 0)
        self._delays = Delays()
        marks = before.marks if before else {}
        #: Ids of events that an earlier process has sent, by sink.
        self._there = {
            sink.stage: sink.written_since(marks[sink.stage.name])
            for sink in senders
            if marks.get(sink.stage.name)
        }
        self._position = self._place()
        #: When it was seen that the stream is to end, while a sink had not answered.
        self._ending_since: float | None = None
        self._writing_since = 0.0
        self._recorded_at = -math.inf
        for sink in senders:
            sink.when_waiting(partial(self._wait, sink))
        #: Whether anything was sent since it was last known to be there.
        self._dirty = True
        holders = running.holders
        #: Tables that follow, if a sink takes any.
        self._following = (
            Following(
                *(asked.run, running.store, holders, senders),
                *(max(self._time, self._start), self._end),
            )
            if holders
            else None
        )
        self._sending_since = self._live_since = self._settled_at = clock.now()
        self._told = self._settled_at, self._total(), self._time

    def _at_once(self, most: int) -> int:
        """Events that are sent at once at a rate."""
        return min(max(int((self._asked.rate or 0) * _TICK), 1), most)

    def outcome(self) -> Outcome:
        self._keep()
        with ExitStack() as stack:
            for stage in {sink.stage for sink in (*self._senders, *self._running.holders)}:
                stack.enter_context(self._running.log.timed(stage))
            while self._goes_on():
                self._step()
            self._complete_slices()
        return self._finish()

    def _total(self) -> int:
        return sum(self._events.values())

    def _goes_on(self) -> bool:
        return not self._clock.ended and self._time < self._end and self._left() > 0

    def _step(self) -> None:
        """Sends what is due, some of it where it is much, and waits for what comes next."""
        if self._pace is None and self._time >= self._start:
            self._go_live()
        now = self._clock.now()
        due = self._start if self._pace is None else self._pace.due(now)
        limit = min(due, self._end, self._time + max(int(self._stride), 1))
        if self._time < self._opening:
            # There are many more events from there on.
            limit = min(limit, self._opening)
        if self._following is not None and self._pace is not None:
            if self._time >= self._following.until:
                self._enter_slice(self._following)
                self._prepare_slice(self._following)
            limit = min(limit, self._following.until)
        if (made := self._ahead.next_end) is not None:
            self._send(made)
            self._time = made
        elif limit > self._time:
            self._adapt(self._send(limit), limit - self._time)
            self._time = limit
        self._look_after()
        if self._pace is None:
            return
        next_event = self._ahead.peek()
        if next_event is None or next_event >= self._end:
            self._time = self._end
        elif due - self._time <= 0:
            self._sleep(self._pace.when(next_event) - self._clock.now())

    def _enter_slice(self, following: Following) -> None:
        """Goes on to the next slice, once its tables are there."""
        if not following.asked:
            following.ask(self._slice_end(following, _SLICE))
        began = self._clock.now()
        while (sink := following.late(_PATIENCE)) is not None:
            self._wait(sink, began)
        self._dirty |= following.enter()
        while (sink := following.late_beside(_PATIENCE)) is not None:
            self._wait(sink, began)

    def _prepare_slice(self, following: Following) -> None:
        """Has the tables of the next slice written, unless the stream is over before it begins."""
        seconds = min(_SLICE, self._left() - _SLICE)
        if seconds > 0 and following.begins < self._end:
            following.ask(self._slice_end(following, seconds))

    def _left(self) -> float:
        """Seconds until the stream is at the end of its duration."""
        if self._asked.duration is None or self._pace is None:
            return math.inf
        return self._live_since + self._asked.duration - self._clock.now()

    def _slice_end(self, following: Following, seconds: float) -> int:
        """Where the next slice ends: so much of the clock on, and more where the stream is behind it.

        At a rate that is a number of events, whatever their times: they are made, to be sent later.
        """
        begins, known = following.begins, following.known_end
        if self._asked.rate is not None:
            stop = known or self._end
            end, left = begins, math.inf if known else self._asked.rate * seconds
            while left > 0 and end < stop:
                span = min(max(int(self._stride), 1), stop - end)
                events = self._ahead.make(end + span)
                self._adapt(events, span)
                end, left = end + span, left - events
            return end
        if known is not None:
            return known
        length = self._asked.speed * 1000 * seconds
        if isinstance(self._pace, Speed):
            behind = self._pace.due(self._clock.now()) - begins
            length = max(length, min(behind, self._stride))
        return min(begins + max(int(length), 1), self._end)

    def _complete_slices(self) -> None:
        """Sends what is left of slices whose tables are there, so that tables and topics agree."""
        following = self._following
        if following is None or self._pace is None:
            return
        # Rows may change after the last event.
        at_end = self._time == self._end
        while True:
            if self._time < following.until:
                self._send(following.until)
                self._time = following.until
            if not following.asked:
                if not at_end or following.until == self._end:
                    return
                following.ask(self._end)
            self._enter_slice(following)

    def _sleep(self, seconds: float) -> None:
        """Until an event is due, and so long that some may leave together; a moment at least."""
        self._clock.sleep(max(min(max(seconds, _TICK), _NAP, self._left()), 0.0))

    def _go_live(self) -> None:
        if any(self._sent.values()):
            # The history is sent.
            self._tell()
        asked = self._asked
        if asked.rate is not None:
            self._stride = float(_FIRST_AT_A_RATE)
        if self._following is not None:
            # The clock begins once the first events may leave.
            self._enter_slice(self._following)
            self._prepare_slice(self._following)
        self._live_since = now = self._clock.now()
        if asked.rate is not None:
            self._pace = Rate(now, asked.rate)
        elif asked.behind is not None:
            self._pace = Speed(self._began - asked.behind / asked.speed, self._start, asked.speed)
        else:
            self._pace = Speed(now, self._time, asked.speed)

    def _adapt(self, events: int, span: int) -> None:
        """Asks for as much event time next as some thousands of events take."""
        live = self._time >= self._start
        aim = self._at_once(_AT_ONCE) if live and self._asked.rate is not None else _AT_ONCE
        stride = span * aim / events if events else math.inf
        self._stride = min(stride, 2.0 * span)

    def _send(self, limit: int) -> int:
        """Sends all events before an instant; how many there were."""
        count = 0
        for batch in self._ahead.until(limit):
            self._running.store.add_batch(batch)
            if self._pace is not None:
                self._delays.add(self._hold_back(batch, self._pace), len(batch))
            self._write(batch)
            self._events[batch.name] += len(batch)
            count += len(batch)
        return count

    def _hold_back(self, batch: Batch, pace: Speed | Rate) -> float:
        """Waits until a batch is due; the seconds by which its first event is late."""
        if isinstance(pace, Speed):
            first = memoryview(batch.column(catalogue()[batch.name].time))[0]
            return self._clock.now() - pace.when(first)
        due = pace.next(len(batch))
        while (left := due - self._clock.now()) > 0 and not self._clock.ended:
            self._clock.sleep(min(left, _NAP))
            self._look_after(settle=False)
        return max(-left, 0.0)

    def _write(self, batch: Batch) -> None:
        for sink in self._senders:
            there = self._there.get(sink.stage)
            rest = _without(batch, there) if there else batch
            if rest is not None:
                self._writing_since = self._clock.now()
                sink.write(rest)
                self._sent[batch.name] += len(rest)
                self._dirty = True

    def _look_after(self, *, settle: bool = True) -> None:
        """Now and then waits for what was sent, keeps the position, and says how it goes."""
        now = self._clock.now()
        if settle and now - self._settled_at >= (_SETTLED_EVERY if self._dirty else _IDLE):
            self._settle()
            self._keep()
            now = self._settled_at = self._clock.now()
            self._dirty = False
        if now - self._told[0] >= self._progress.every:
            self._tell()

    def _settle(self) -> None:
        """Waits until all that was sent is there."""
        began = self._clock.now()
        for sink in self._senders:
            while not sink.settle(_PATIENCE):
                self._wait(sink, began)

    def _wait(self, sink: Sink, began: float | None = None) -> None:
        """Says now and then that a sink has not answered; raises where a stream that ends has waited enough.

        ``began`` None is when the last batch was to be written.
        """
        now = self._clock.now()
        since = self._writing_since if began is None else began
        if self._clock.ended:
            self._ending_since = self._ending_since or now
            if now - self._ending_since >= _LAST_ANSWERS:
                raise _Unanswered(self._status(), self._position)
        if now - since >= _SILENT and now - self._told[0] >= 1.0:
            said = f": {sink.last_error}" if sink.last_error else ""
            self._tell(f"{sink.stage.title} has not answered for {now - since:.0f} s{said}")

    def _keep(self) -> None:
        """Writes the position; all that was sent is there."""
        self._position = self._place()
        if self._asked.file is not None:
            self._position.write(self._asked.file)
        asked, before = self._asked, self._before
        since = before.time if before else None if asked.backfill else asked.start
        self._running.record.notes["stream"] = {
            "since": instant_text(since) if since else None,
            "until": instant_text(self._position.time),
            "start": instant_text(asked.start),
            "position": str(asked.file.absolute()) if asked.file else None,
            "resumed": before is not None,
        }
        # A process that is killed leaves a receipt that says how far it had come.
        if (now := self._clock.now()) >= self._recorded_at + _RECORDED_EVERY:
            self._running.record.write("unfinished")
            self._recorded_at = now

    def _place(self) -> Position:
        asked = self._asked
        marks: dict[str, Mapping[str, Any]] = {}
        before = self._before.marks if self._before else {}
        for sink in self._senders:
            # As long as there may be events of an earlier process, they are looked for from where it was.
            kept = self._there.get(sink.stage)
            marks[sink.stage.name] = before[sink.stage.name] if kept else sink.mark()
        return Position(
            plan=asked.plan,
            from_customer=asked.run.from_customer,
            time=moment(self._time),
            start=asked.start,
            marks=marks,
            events=dict(self._events),
            options=asked.options,
            follows=tuple(sink.stage.name for sink in self._running.holders),
        )

    def _status(self, waiting: str = "") -> Status:
        now, total, instant = self._clock.now(), self._total(), self._time
        seconds = max(now - self._told[0], 1e-6)
        next_event = self._ahead.peek()
        lag = 0.0
        if self._pace is not None and next_event is not None:
            lag = self._pace.lag(now, next_event)
        return Status(
            self._pace is not None,
            moment(instant),
            lag,
            (total - self._told[1]) / seconds,
            (instant - self._told[2]) / 1000 / seconds,
            dict(self._events),
            self._delays,
            waiting,
        )

    def _tell(self, waiting: str = "") -> None:
        self._progress.goes(self._status(waiting))
        self._told = (self._clock.now(), self._total(), self._time)

    def _finish(self) -> Outcome:
        self._settle()
        self._keep()
        status = self._status()
        if self._clock.ended:
            return Outcome(None, status, self._position, True, self._running.record.settlement())
        seconds = self._clock.now() - self._sending_since
        if self._following is not None:
            for sink in self._running.holders:
                changed = Part("changed rows", self._following.rows, seconds)
                self._running.log.finish(sink.stage, changed)
        for sink in self._senders:
            self._running.commit(sink)
            for name in streams():
                self._running.log.finish(sink.stage, Part(name, self._sent[name], seconds))
        report = self._running.report()
        return Outcome(report, status, self._position, True, report.settlement)


def _with_events(position: Position | None) -> Position | None:
    return position if position is not None and position.loaded else None


def _without(batch: Batch, there: set[bytes]) -> Batch | None:
    """The rows whose ids are not there; these are taken out of the set."""
    idents = [bytes(ident) for ident in batch.text(catalogue()[batch.name].primary_key)]
    if there.isdisjoint(idents):
        return batch
    rows = [batch.row(row) for row, ident in enumerate(idents) if ident not in there]
    there.difference_update(idents)
    return Batch.from_rows(batch.name, rows) if rows else None
