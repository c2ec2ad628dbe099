"""The stages of a run, in order: tables are committed before the first event is written."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..errors import DatagenError
from ..sinks.base import Part, StageReport, streams
from ..types import catalogue
from .record import RunRecord
from .report import GENERATE, RunReport, StageLog
from .rows import before_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .._core import Batch
    from ..check import MasterDataStore
    from ..sinks.base import Check, Progress, Sink, Stage, Transfer, Window
    from .request import Load
    from .rows import Rows

__all__ = ["Running"]


class Running:
    """The stages of one run, in order."""

    def __init__(
        self,
        run: Load,
        window: Window,
        rows: Rows,
        sinks: Sequence[Sink],
        progress: Progress,
        began: float,
    ) -> None:
        self._in_time = run.order == "time"
        self._window = window
        self._rows = rows
        self._sinks = sinks
        self._began = began
        #: What the stages have done.
        self.log = StageLog(progress)
        self.record = RunRecord(run, window, sinks, self.log, began)
        #: What the sinks hold, once all has arrived.
        self.reported: RunReport | None = None

    @property
    def store(self) -> MasterDataStore:
        """The check of every row."""
        return self._rows.store

    def load(self) -> RunReport:
        """Loads all tables, then all streams."""
        for name, batches in self._rows.beforehand():
            self._move(name, batches, ())
        with ExitStack() as stack:
            # Events are made while tables get their keys, and sent once these are committed.
            transfers: dict[Stage, Transfer | None] = {}

            def prepare(sink: Sink) -> None:
                transfer = sink.transfer()
                transfers[sink.stage] = transfer and stack.enter_context(transfer)

            for sink in self.load_tables(prepare):
                self._load_streams(sink, transfers[sink.stage])
        return self.report()

    def load_tables(
        self,
        prepare: Callable[[Sink], None] = lambda _: None,
        before_arrival: Callable[[], None] = lambda: None,
    ) -> list[Sink]:
        """Loads and commits all tables; returns the sinks that take streams, which have begun.

        Each of these is prepared once it has its own tables, and before tables of others are committed. What is to be done
        ``before_arrival`` is, once, before any row may be seen by others; sinks of tables and events have begun by then. A
        sink that takes both gets its tables after those that take tables alone have committed theirs. Of
        tables that are there only the keys are taken.
        """
        senders = self.senders
        holders = [] if self._window.tables_there else self.holders
        both = [sink for sink in holders if sink in senders]
        first = [sink for sink in holders if sink not in both] or both
        self._load_tables(first, before_arrival)
        if any(sink.is_first for sink in first):
            for sink in senders:
                sink.nothing_sent()
        for sink in senders:
            if sink not in both:
                prepare(sink)
        # Where a sink cannot begin, nothing is committed and nothing is sent.
        for sink in senders:
            if sink not in first:
                sink.begin()
        if not self.record.began_to_arrive:
            before_arrival()
        self.record.begin()
        for sink in first:
            self.commit(sink)
        for sink in both:
            if sink not in first:
                self._load_again(sink)
            prepare(sink)
        return senders

    def _load_again(self, sink: Sink) -> None:
        """Loads tables that others have."""
        for name in filter(sink.relations.__contains__, before_events()):
            self._move(name, self._rows.again(name), [sink])
            with self.log.timed(sink.stage):
                sink.finish(name)
        self.commit(sink)

    @property
    def senders(self) -> list[Sink]:
        """The sinks that take streams."""
        return self._taking(streams())

    @property
    def holders(self) -> list[Sink]:
        """The sinks that take tables, or the labels."""
        return self._taking(before_events())

    def report(self) -> RunReport:
        """What the sinks hold, once everything has arrived.

        From here on nothing is raised that could be taken for a failure.
        """
        verified = {sink.stage: _verified(sink) for sink in reversed(self._sinks)}
        self.reported = RunReport(
            self.log.reports(verified),
            self.record.settlement(),
            time.perf_counter() - self._began,
        )
        return self.reported

    def _taking(self, names: Iterable[str]) -> list[Sink]:
        """The sinks that take some of these tables or streams."""
        wanted = {*names}
        return [sink for sink in self._sinks if wanted & {*sink.relations}]

    def _load_tables(self, sinks: list[Sink], before_arrival: Callable[[], None]) -> None:
        for sink in sinks:
            with self.log.timed(sink.stage):
                sink.begin()
        if any(sink in self.senders for sink in sinks):
            before_arrival()
            self.record.begin()
        for name in before_events():
            takers = [sink for sink in sinks if name in sink.relations]
            if takers:
                self._move(name, self._rows.table(name), takers)
            else:
                self._pass(name)
            for sink in takers:
                with self.log.timed(sink.stage):
                    sink.finish(name)

    def _load_streams(self, sink: Sink, transfer: Transfer | None) -> None:
        names = [name for name in streams() if name in sink.relations]
        if transfer is not None:
            with self.log.timed(sink.stage):
                self.log.start(sink.stage, "events", sum(map(self._window.about, names)))
                for name, (count, seconds) in transfer.finish(self.log.advance).items():
                    self._rows.store.count(name, count)
                    self._window.made(name, count)
                    self.log.finish(sink.stage, Part(name, count, seconds))
        elif self._in_time:
            with self.log.timed(sink.stage):
                self._send_in_time(names, sink)
        else:
            for name in names:
                self._move(name, self._rows.stream(name), [sink])
        self.commit(sink)

    def _send_in_time(self, names: list[str], sink: Sink) -> None:
        """Sends all topics side by side, in order of time: each one's seconds are to its end."""
        began = time.perf_counter()
        rows, seconds = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
        self.log.start(sink.stage, "events", sum(map(self._window.about, names)))
        for batch in self._rows.in_time(names):
            sink.write(batch)
            rows[batch.name] += len(batch)
            seconds[batch.name] = time.perf_counter() - began
            self.log.advance(len(batch))
        for name in names:
            self._window.made(name, rows[name])
            self.log.finish(sink.stage, Part(name, rows[name], seconds[name]))

    def commit(self, sink: Sink) -> None:
        """Has a sink commit what it was given."""
        with self.log.timed(sink.stage):
            began = time.perf_counter()
            self.log.start(sink.stage, sink.commit_part, 0)
            sink.commit()
            self.log.finish(sink.stage, Part(sink.commit_part, 0, time.perf_counter() - began))

    def _pass(self, name: str) -> None:
        """Counts a table that no sink takes: events are checked against its rows all the same."""
        made = self._rows.passed(name)
        if made is None:
            return
        self.log.start(GENERATE, name, self._window.rows(name))
        rows = 0
        for count in made:
            rows += count
            self.log.advance(count)
        seconds = self._rows.seconds(name)
        self.log.add_seconds(GENERATE, seconds)
        self.log.finish(GENERATE, Part(name, rows, seconds))

    def _move(self, name: str, batches: Iterator[Batch], sinks: Sequence[Sink]) -> None:
        """Writes batches to all of the sinks; without any they are made and kept."""
        began, rows = time.perf_counter(), 0
        stages = [sink.stage for sink in sinks] or [GENERATE]
        writing = dict.fromkeys(stages, 0.0)
        self.log.start(stages[0], name, self._window.about(name))
        for batch in batches:
            for sink in sinks:
                before = time.perf_counter()
                sink.write(batch)
                writing[sink.stage] += time.perf_counter() - before
            rows += len(batch)
            self.log.advance(len(batch))
        if catalogue()[name].is_stream:
            self._window.made(name, rows)
        making = time.perf_counter() - began - sum(writing.values())
        for stage, seconds in writing.items():
            self.log.add_seconds(stage, making + seconds)
            self.log.finish(stage, Part(name, rows, making + seconds))


def _verified(sink: Sink) -> StageReport:
    """What a sink holds in the end, or why it could not be counted."""
    checks: tuple[Check, ...] = ()
    uncounted = ""
    try:
        checks = tuple(sink.verify())
    except DatagenError as error:
        uncounted = str(error)
    except OSError as error:
        # All is there: what the system does not give for counting takes nothing back.
        uncounted = error.strerror or str(error)
    return StageReport(
        sink.stage,
        (),
        0.0,
        checks=checks,
        facts=sink.facts(),
        uncounted=uncounted,
        objection=sink.objection(),
    )
