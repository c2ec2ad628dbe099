"""One run: a plan, checked row by row, into its sinks, and what became of it.

Everything that can be found wrong is found first: options, then connections, topics and schemas.
Then master data is committed, and only then is the first event sent, so that no consumer meets
an event whose account, card or loan is not there.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from ._memory import available
from ._prefetch import Prefetch
from ._words import spoken
from .check import FinancialDataStore, MasterDataStore, memory_in_time, memory_needed
from .errors import ConfigurationError, DatagenError, OptionError, UnreachableError
from .receipts import Recorder, as_text
from .settlement import Settlement, attach
from .sinks.base import (
    Order,
    Part,
    ResumingTarget,
    Stage,
    StageReport,
    Window,
    labels,
    streams,
    tables,
)
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from ._core import Batch, Plan
    from .receipts import Ending, Receipt
    from .sinks.base import Check, Progress, Sink, Target, Transfer

__all__ = [
    "FAST_CUSTOMERS",
    "MAX_WORKERS",
    "Load",
    "RunReport",
    "Running",
    "carry_out",
    "load",
    "shard",
]

Result = TypeVar("Result")

#: From so many customers on, a load is fast without being asked.
FAST_CUSTOMERS: Final = 10_000
#: More threads than any machine has cores.
MAX_WORKERS: Final = 1_024

#: The stage of a run that only makes rows.
GENERATE: Final = Stage("generate", title="Generating", unit="rows", summary="Generation")

#: Rows of a batch: few enough to stay in the processor's cache on the way to a sink.
_BATCH_ROWS: Final = 8192
#: Batches of master rows that are made before a sink takes them: made while clients are imported,
#: connect and wait.
_PREFETCHED: Final = 32
#: Customers times days of a load whose rows fit into any memory: some 300 MB of them.
_SMALL: Final = 2_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to load, and where to.

    ``from_customer`` is the first customer of the plan to load, counted from 0: a bank grows by
    ranges of one seed, whose ids never collide. Reference rows (stocks) belong to every range.

    ``targets`` has what is asked of each sink that takes part, by the sink's name.

    ``fast`` forgets events once they are sent (``MasterDataStore``); otherwise the whole load is
    made and checked in memory before the first row leaves (``FinancialDataStore``). ``workers`` is
    the number of threads that make events of a fast load, 0 for one a core; the events do not
    depend on it.

    In ``order="time"`` no event comes before an earlier one of its partition, and all streams advance
    together; in ``order="entity"`` all events of an account, card or loan follow one another.

    A ``recorder`` writes the receipt of the run, which says what ``verify`` has to find.

    With ``resume``, the receipt of an earlier attempt at the same load, what is there of that stays: rows and events
    that have arrived are not written again, whatever ended it. The receipt is written anew.

    A load that is ``shared`` is one shard of several, each of its own customers (``shard``) and at work whenever it likes, at
    the same time as others too. What is there of it stays, with a receipt or without, so that it may be begun again. A
    stream goes on from its position.
    """

    plan: Plan
    from_customer: int = 0
    targets: Mapping[str, Target] = field(default_factory=dict)
    fast: bool = False
    workers: int = 1
    order: Order = "time"
    recorder: Recorder | None = field(default=None, compare=False)
    resume: Receipt | None = field(default=None, compare=False)
    shared: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= MAX_WORKERS:
            raise OptionError("workers", self.workers, f"0 (one a core) to {MAX_WORKERS}")
        if self.order not in get_args(Order):
            raise OptionError("order", self.order, " or ".join(get_args(Order)))
        if not 0 <= self.from_customer < self.plan.customers:
            raise OptionError(
                "from_customer", self.from_customer, f"0 to {self.plan.customers - 1}"
            )
        if self.resume is not None:
            self._check_resumed(self.resume)
            object.__setattr__(self, "recorder", Recorder.again(self.resume))

    @property
    def customers(self) -> int:
        """How many customers are loaded."""
        return self.plan.customers - self.from_customer

    @property
    def stays(self) -> bool:
        """Whether what is there of the load stays, without a receipt of an earlier attempt."""
        targets = self.targets.values()
        return self.shared or any(
            isinstance(one, ResumingTarget) and one.goes_on for one in targets
        )

    def _check_resumed(self, receipt: Receipt) -> None:
        """Refuses the receipt of another load."""
        if receipt.command == "stream" or receipt.stream is not None:
            raise ConfigurationError(
                f"{receipt.path} is of a stream, which goes on from its position "
                "and not by a receipt"
            )
        if receipt.shards > 1:
            raise ConfigurationError(
                f"{receipt.path} is of {receipt.shards} shards: begin each of them again, what is there of it stays"
            )
        same = {
            "another plan": receipt.as_plan() == self.plan
            and receipt.plan.get("from_customer") == self.from_customer,
            "another order of events": receipt.order == self.order,
            "other targets": {*receipt.sinks} == {*self.targets},
        }
        for what, is_same in same.items():
            if not is_same:
                raise ConfigurationError(
                    f"{receipt.path} is of a load with {what}; resume it as it was begun"
                )

    def takes(self, name: str) -> bool:
        """Whether a sink takes the rows of a table or stream."""
        return any(name in target.relations for target in self.targets.values())

    def needs(self, name: str) -> bool:
        """Whether rows of a table are made: a sink takes them, or rows that refer to them are made."""
        referring = (
            one for one in catalogue() if any(key.table == name for key in one.foreign_keys)
        )
        return self.takes(name) or any(
            self.takes(one.name) if one.is_stream else self.needs(one.name) for one in referring
        )


def shard(customers: range, number: int, of: int) -> range:
    """The customers of one of so many shards, the first of which is 1: blocks of a size, or one more.

    Raises ``OptionError`` where there is no such shard, or more shards than customers.
    """
    if not 1 <= of <= len(customers):
        raise OptionError("shard", f"{number}/{of}", f"at most {len(customers)}, one a customer")
    if not 1 <= number <= of:
        raise OptionError("shard", f"{number}/{of}", f"1/{of} to {of}/{of}")
    return customers[len(customers) * (number - 1) // of : len(customers) * number // of]


@dataclass(frozen=True)
class RunReport:
    """What a run did, by stage. Rows of tables that no sink takes are in the stage ``generate``.

    A fast load makes master rows before the stage that takes them, and meanwhile.
    """

    stages: tuple[StageReport, ...]
    settlement: Settlement
    seconds: float

    def __getitem__(self, name: str) -> StageReport:
        return next(one for one in self.stages if one.stage.name == name)

    @property
    def rows(self) -> int:
        """Rows and events that sinks have taken."""
        return sum(one.rows for one in self.stages if one.stage is not GENERATE)

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.stages)

    @property
    def uncounted(self) -> str:
        """Why services could not be counted after everything had arrived, or nothing."""
        return "; ".join(one.uncounted for one in reversed(self.stages) if one.uncounted)

    def as_json(self, unused: Mapping[str, Any]) -> dict[str, Any]:
        """Checks, times and how rows were sent, as values that JSON has.

        ``unused`` are the facts of sinks that took no part.
        """
        checks = {
            check.name: {"expected": check.expected, "found": check.found, "ok": check.ok}
            for one in self.stages
            for check in one.checks
        }
        used = {name: value for one in self.stages for name, value in one.facts.items()}
        return {
            "ok": self.ok,
            "checks": checks,
            "uncounted": self.uncounted or None,
            **unused,
            **used,
            "seconds": round(self.seconds, 3),
            "seconds_of": {one.stage.name: round(one.seconds, 3) for one in self.stages},
        }


def load(run: Load, progress: Progress, *, prefetch: bool = True) -> RunReport:
    """Carries out a run.

    A fast one makes master rows from its first moment on; with ``prefetch=False`` rows are made only
    once the sinks are ready, so that the seconds of a stage have all that it takes.

    Raises ``ConfigurationError`` and ``UnreachableError`` before anything is loaded; a sink's
    ``RejectedError`` or ``UnreachableError`` while it is, and then a sink that takes all rows or none
    holds either all of the run's rows or none. The exception that ends a run which had begun to load
    (also Ctrl-C) carries its settlement: see ``settlement_of``. What the sinks hold in the end is
    compared in the report, not raised, and so is that they could not be counted.
    """
    return carry_out(run, progress, Running.load, prefetch=prefetch)


def carry_out(
    run: Load,
    progress: Progress,
    work: Callable[[Running], Result],
    *,
    prefetch: bool = True,
    tables_at: datetime | None = None,
    tables_there: bool = False,
) -> Result:
    """Opens the sinks of a run, has the work done, and closes them; raises as ``load`` does.

    With ``tables_at`` tables have the balances of that instant, not of the plan's end, and what is sent to
    streams is only known once it is. With ``tables_there`` an earlier process has loaded them.
    """
    began = time.perf_counter()
    _log.debug(
        "plan: seed %d, customers %d to %d, %d days up to %s; %s mode, %d workers, order of %s; into %s",
        run.plan.seed,
        run.from_customer,
        run.plan.customers - 1,
        run.plan.days,
        run.plan.as_of.isoformat(),
        "fast" if run.fast else "standard",
        run.workers or _cores(),
        run.order,
        ", ".join(run.targets),
    )
    _check_memory(run, streaming=tables_at is not None)
    running: Running | None = None
    done: list[Result] = []
    try:
        with ExitStack() as stack:
            store = MasterDataStore() if run.fast else FinancialDataStore()
            workers = run.workers or _cores()
            taken = any(map(run.takes, _before_events()))
            window = Window(
                run.plan,
                run.from_customer,
                run.fast,
                workers,
                run.order,
                store.parents,
                store.check_batch,
                open_ended=tables_at is not None,
                # Where nothing follows, the keys of all rows are known from the beginning.
                tables_at=tables_at if taken else None,
                tables_there=tables_there,
                # What has arrived of a stream says its position.
                before=run.resume.sinks
                if run.resume
                else ({} if run.stays and tables_at is None else None),
                shared=run.shared,
            )
            master = None
            if run.fast:
                needed = [*filter(run.needs, _before_events())]
                master = _Master(window, store, needed, taken=taken and not tables_there)
                stack.enter_context(master.prefetch)
                if prefetch:
                    master.prefetch.start()
            sinks = _sinks(run, window)
            _open(stack, sinks)
            for sink in sinks:
                sink.prepare()
            running = Running(run, window, store, master, sinks, progress, began)
            if run.resume is None:
                running.record("unfinished")
            done.append(work(running))
    except BaseException as error:
        if done and isinstance(error, DatagenError) and running is not None:
            # Everything is there and counted: a farewell that fails is no failure of the run.
            _log.warning("%s", error)
            running.record_end()
            return done[0]
        # The sinks are closed by now, and what they say is final.
        if running is not None:
            settled = running.settlement()
            if isinstance(error, DatagenError) and not isinstance(error, UnreachableError):
                settled = replace(settled, objection=True)
            attach(error, settled)
            if run.resume is None or running.began_to_arrive:
                # What refuses to resume leaves the receipt of the attempt before as it was.
                running.record(*_ending(error))
        raise
    running.record_end()
    return done[0]


def _ending(error: BaseException) -> tuple[Ending, str]:
    """How an exception has ended a run, and what it says."""
    if isinstance(error, DatagenError):
        return "failed", str(error)
    # A mistake of ours, or an error of a driver, may hold a password.
    interrupted = not isinstance(error, Exception) or isinstance(error, Ended)
    said = str(error) or "interrupted" if interrupted else f"unexpected {type(error).__name__}"
    return ("interrupted" if interrupted else "failed"), said


class Ended(Exception):  # noqa: N818  # it is no error
    """Ends a run that was told to end, where it cannot end in order."""


def _check_memory(run: Load, *, streaming: bool) -> None:
    """Refuses a load that does not fit into the free memory, and warns of a large one."""
    if run.customers * run.plan.days <= _SMALL:
        return
    sent = [*filter(run.takes, streams())]
    smaller = "fewer --customers or fewer --days"
    if not run.fast:
        needed = memory_needed(
            run.plan, run.from_customer, names=[*tables(), *filter(run.takes, [labels()]), *sent]
        )
        kept, way_out = "standard mode keeps every row", f"--fast, {smaller}"
    elif sent and run.order == "time":
        needed = memory_in_time(run.plan, run.from_customer)
        if streaming and any(map(run.takes, tables())):
            # Rows that follow have states of their own.
            needed *= 2
        kept = "order of time keeps the state of each account, card and loan"
        # A stream has no other order.
        way_out = smaller if streaming else f"--order entity, {smaller}"
    else:
        return
    free = available()
    said = f"{kept} in memory: {needed / 1e9:.1f} GB, of which {free / 1e9:.1f} GB are free"
    if needed > free:
        raise ConfigurationError(f"{said}; use {way_out}")
    if needed > free / 4:
        _log.warning("%s; %s would take less", said, spoken(way_out))


def _sinks(run: Load, window: Window) -> list[Sink]:
    """Makes all sinks before any connects, so that all options are checked first."""
    sinks = [target.sink(window) for target in run.targets.values()]
    if len({sink.stage for sink in sinks}) < len(sinks):
        # The report has one stage for each sink.
        raise OptionError("targets", [*run.targets], "one of each kind")
    return sinks


def _open(stack: ExitStack, sinks: Sequence[Sink]) -> None:
    """Opens all, so that one run names every service that cannot be reached."""
    failures: list[DatagenError] = []
    # What holds tables is closed first.
    for sink in reversed(sinks):
        try:
            stack.enter_context(sink)
        except DatagenError as error:
            failures.append(error)
    if len(failures) > 1:
        kinds = {type(error) for error in failures}
        kind = kinds.pop() if len(kinds) == 1 else UnreachableError
        raise kind("\n".join(map(str, failures)))
    if failures:
        raise failures[0]


class _Master:
    """The rows of the named tables, made and checked on a thread of its own, before a sink asks for them.

    Where a sink takes them, they come as batches, and the thread waits once a number of them is made;
    else only their numbers come, the thread does not wait, and rows are those of their birth. The store has the
    keys of a table once all that comes of it has, and ``seconds`` the time that the thread worked on it.
    """

    def __init__(
        self, window: Window, store: MasterDataStore, names: Sequence[str], *, taken: bool
    ) -> None:
        self.seconds: dict[str, float] = {}
        # Of what no sink takes only the keys are needed.
        rows = _batches if taken or window.tables_at else _births
        made = self._made(store, {name: rows(window, name) for name in names})
        self.prefetch = (
            Prefetch[Any](made, _PREFETCHED) if taken else Prefetch[Any](map(_rows, made), None)
        )
        self._counted = not taken
        self._taken = iter(self.prefetch)

    def batches(self) -> Iterator[Batch]:
        """The batches of the next table, in the catalogue's order, where a sink takes them."""
        return iter(self._taken.__next__, None)

    def rows(self) -> Iterator[int]:
        """The number of rows of each batch of the next table, where no sink takes it."""
        rest = iter(self._taken.__next__, None)
        return rest if self._counted else map(len, rest)

    def _made(
        self, store: MasterDataStore, rows: Mapping[str, Iterator[Batch]]
    ) -> Iterator[Batch | None]:
        """Batches, and None after those of each table."""
        for table, batches in rows.items():
            began = time.thread_time()
            for batch in batches:
                yield store.add_batch(batch)
            self.seconds[table] = time.thread_time() - began
            yield None


def _before_events() -> tuple[str, ...]:
    """What is written before the first event: tables, then the labels where a sink takes them."""
    return (*tables(), labels())


def _rows(batch: Batch | None) -> int | None:
    return None if batch is None else len(batch)


def _batches(window: Window, name: str) -> Iterator[Batch]:
    until = window.tables_at if name in tables() else None
    first = window.first(name)
    return iter(window.plan.batches(name, first, batch_rows=_BATCH_ROWS, until=until))


def _births(window: Window, name: str) -> Iterator[Batch]:
    return iter(window.plan.births(name, window.first(name), batch_rows=_BATCH_ROWS))


def _cores() -> int:
    """Cores that this process may use; not every system says which."""
    mine = getattr(os, "sched_getaffinity", None)
    return len(mine(0)) if mine else os.cpu_count() or 1


class Running:
    """The stages of one run, in order."""

    def __init__(
        self,
        run: Load,
        window: Window,
        store: MasterDataStore,
        master: _Master | None,
        sinks: Sequence[Sink],
        progress: Progress,
        began: float,
    ) -> None:
        self._run = run
        self._window = window
        self._store = store
        self.began = began
        self._master = master
        self._sinks = sinks
        self._progress = progress
        self._parts: dict[Stage, list[Part]] = {}
        self._seconds: dict[Stage, float] = {}
        self._report: RunReport | None = None
        #: What the work adds to the receipt.
        self.notes: dict[str, Any] = {}
        #: Whether rows or events may be there from here on.
        self.began_to_arrive = False

    @property
    def store(self) -> MasterDataStore:
        """The check of every row."""
        return self._store

    def load(self) -> RunReport:
        """Loads all tables, then all streams."""
        if isinstance(self._store, FinancialDataStore):
            for name in (*tables(), *filter(self._run.takes, (labels(), *streams()))):
                self._move(name, self._checked(name), ())
        with ExitStack() as stack:
            # Events are made while tables get their keys, and sent once these are committed.
            transfers: dict[Stage, Transfer | None] = {}

            def prepare(sink: Sink) -> None:
                transfers[sink.stage] = self._transfer(sink, stack)

            for sink in self.load_tables(prepare):
                self._load_streams(sink, transfers[sink.stage])
        return self.report()

    def load_tables(self, prepare: Callable[[Sink], None] = lambda _: None) -> list[Sink]:
        """Loads and commits all tables; returns the sinks that take streams, which have begun.

        Each of these is prepared once it has its own tables, and before tables of others are committed. A
        sink that takes both gets its tables after those that take tables alone have committed theirs. Of
        tables that are there only the keys are taken.
        """
        senders = self.senders
        holders = [] if self._window.tables_there else self.holders
        both = [sink for sink in holders if sink in senders]
        first = [sink for sink in holders if sink not in both] or both
        self._load_tables(first)
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
        self._record_begin()
        for sink in first:
            self.commit(sink)
        for sink in both:
            if sink not in first:
                self._load_again(sink)
            prepare(sink)
        return senders

    def _load_again(self, sink: Sink) -> None:
        """Loads tables that others have: rows that the store has not kept are made once more, unchecked."""
        kept = isinstance(self._store, FinancialDataStore)
        for name in filter(sink.relations.__contains__, _before_events()):
            self._move(name, self._source(name) if kept else _batches(self._window, name), [sink])
            with self.timed(sink.stage):
                sink.finish(name)
        self.commit(sink)

    @property
    def senders(self) -> list[Sink]:
        """The sinks that take streams."""
        return self._taking(streams())

    @property
    def holders(self) -> list[Sink]:
        """The sinks that take tables, or the labels."""
        return self._taking(_before_events())

    def report(self) -> RunReport:
        """What the sinks hold, once everything has arrived.

        From here on nothing is raised that could be taken for a failure.
        """
        verified = {sink.stage: self._verified(sink) for sink in reversed(self._sinks)}
        self._report = RunReport(
            tuple(self._stage_report(stage, verified.get(stage)) for stage in self._parts),
            self.settlement(),
            time.perf_counter() - self.began,
        )
        return self._report

    def record_end(self) -> None:
        """Writes the receipt of a run whose work is done."""
        report = self._report
        if report is None:
            self.record("interrupted")
            return
        objection = next((one.objection for one in report.stages if one.objection), "")
        wrong = "" if report.ok else "what the services hold is not what was loaded"
        said = report.uncounted or wrong or objection
        self.record("failed" if said else "ok", said)

    def record(self, outcome: Ending, error: str = "") -> None:
        """Writes the receipt, with what the sinks know by now."""
        recorder, plan = self._run.recorder, self._run.plan
        if recorder is None:
            return
        rows: dict[str, int] = {}
        for parts in self._parts.values():
            for part in parts:
                if part.name in plan.names:
                    rows[part.name] = max(rows.get(part.name, 0), part.rows)
        content = {
            "plan": {
                "seed": plan.seed,
                "customers": plan.customers,
                "from_customer": self._run.from_customer,
                "as_of": as_text(plan.as_of),
                "days": plan.days,
                **({"labels": plan.labels} if plan.labels else {}),
            },
            "order": self._run.order,
            "seconds": round(time.perf_counter() - self.began, 3),
            "rows": {name: rows[name] for name in plan.names if name in rows},
            "sinks": {sink.stage.name: dict(sink.receipt()) for sink in self._sinks},
            **self.notes,
        }
        recorder.write(outcome, content, error)

    def _record_begin(self) -> None:
        """Has the receipt say where the run begins before anything arrives, so that it is enough to resume."""
        self.began_to_arrive = True
        if not self._window.open_ended:
            self.record("unfinished")

    def settlement(self) -> Settlement:
        """What the sinks have of the run, as far as they have said."""
        recorder = self._run.recorder
        resumable = recorder is not None and recorder.written and not self._window.open_ended
        return Settlement(
            tuple(sink.settlement() for sink in self._sinks),
            receipt=str(recorder.path) if recorder and resumable else "",
            stays=self._run.stays and not self._window.open_ended,
        )

    def _taking(self, names: Iterable[str]) -> list[Sink]:
        """The sinks that take some of these tables or streams."""
        wanted = {*names}
        return [sink for sink in self._sinks if wanted & {*sink.relations}]

    def _load_tables(self, sinks: list[Sink]) -> None:
        for sink in sinks:
            with self.timed(sink.stage):
                sink.begin()
        if any(sink in self.senders for sink in sinks):
            self._record_begin()
        for name in _before_events():
            takers = [sink for sink in sinks if name in sink.relations]
            if takers:
                rows = self._master.batches() if self._master else self._source(name)
                self._move(name, rows, takers)
            elif self._master is not None and self._run.needs(name):
                # Events are checked against master rows, so these are made and checked all the same.
                self._skip(name, self._master)
            for sink in takers:
                with self.timed(sink.stage):
                    sink.finish(name)

    def _transfer(self, sink: Sink, stack: ExitStack) -> Transfer | None:
        transfer = sink.transfer()
        return None if transfer is None else stack.enter_context(transfer)

    def _load_streams(self, sink: Sink, transfer: Transfer | None) -> None:
        names = [name for name in streams() if name in sink.relations]
        if transfer is not None:
            with self.timed(sink.stage):
                self._progress.start(sink.stage, "events", sum(map(self._window.rows, names)))
                for name, (count, seconds) in transfer.finish(self._progress.advance).items():
                    self._store.count(name, count)
                    self.finish(sink.stage, Part(name, count, seconds))
        elif self._run.order == "time":
            with self.timed(sink.stage):
                self._send_in_time(names, sink)
        else:
            for name in names:
                self._move(name, self._source(name), [sink])
        self.commit(sink)

    def _send_in_time(self, names: list[str], sink: Sink) -> None:
        """Sends all topics side by side, in order of time: each one's seconds are to its end."""
        began = time.perf_counter()
        rows, seconds = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
        self._progress.start(sink.stage, "events", sum(map(self._window.rows, names)))
        for batch in self._in_time(names):
            sink.write(batch)
            rows[batch.name] += len(batch)
            seconds[batch.name] = time.perf_counter() - began
            self._progress.advance(len(batch))
        for name in names:
            self.finish(sink.stage, Part(name, rows[name], seconds[name]))

    def commit(self, sink: Sink) -> None:
        """Has a sink commit what it was given."""
        with self.timed(sink.stage):
            began = time.perf_counter()
            self._progress.start(sink.stage, sink.commit_part, 0)
            sink.commit()
            self.finish(sink.stage, Part(sink.commit_part, 0, time.perf_counter() - began))

    def _source(self, name: str) -> Iterator[Batch]:
        """Batches to hand to a sink: every one has been through the store."""
        if isinstance(self._store, FinancialDataStore):
            return self._store.batches(name)
        return self._checked(name)

    def _in_time(self, names: list[str]) -> Iterator[Batch]:
        """The events of streams in order of time; every one has been through the store."""
        if isinstance(self._store, FinancialDataStore):
            return self._store.in_time(names)
        window = self._window.plan.window(names, self._window.first_customer)
        return map(self._store.add_batch, window)

    def _checked(self, name: str) -> Iterator[Batch]:
        return map(self._store.add_batch, _batches(self._window, name))

    def _skip(self, name: str, master: _Master) -> None:
        """Counts a table that no sink takes."""
        self._progress.start(GENERATE, name, self._window.rows(name))
        rows = 0
        for made in master.rows():
            rows += made
            self._progress.advance(made)
        self._add_seconds(GENERATE, master.seconds[name])
        self.finish(GENERATE, Part(name, rows, master.seconds[name]))

    def _move(self, name: str, batches: Iterator[Batch], sinks: Sequence[Sink]) -> None:
        """Writes batches to all of the sinks; without any they are made and kept."""
        began, rows = time.perf_counter(), 0
        stages = [sink.stage for sink in sinks] or [GENERATE]
        writing = dict.fromkeys(stages, 0.0)
        self._progress.start(stages[0], name, self._window.rows(name))
        for batch in batches:
            for sink in sinks:
                before = time.perf_counter()
                sink.write(batch)
                writing[sink.stage] += time.perf_counter() - before
            rows += len(batch)
            self._progress.advance(len(batch))
        making = time.perf_counter() - began - sum(writing.values())
        for stage, seconds in writing.items():
            self._add_seconds(stage, making + seconds)
            self.finish(stage, Part(name, rows, making + seconds))

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Counts the seconds of a stage."""
        began = time.perf_counter()
        yield
        self._add_seconds(stage, time.perf_counter() - began)

    def _add_seconds(self, stage: Stage, seconds: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0) + seconds

    def finish(self, stage: Stage, part: Part) -> None:
        """Takes note that a part is done."""
        self._parts.setdefault(stage, []).append(part)
        _log.debug("%s %s: %d rows, %.3f s", stage.title, part.name, part.rows, part.seconds)
        self._progress.finish(stage, part)

    def _stage_report(self, stage: Stage, verified: StageReport | None) -> StageReport:
        parts, seconds = tuple(self._parts[stage]), self._seconds[stage]
        if verified is None:
            return StageReport(stage, parts, seconds)
        return replace(verified, parts=parts, seconds=seconds)

    @staticmethod
    def _verified(sink: Sink) -> StageReport:
        """What a sink holds in the end, or why it could not be counted."""
        checks: tuple[Check, ...] = ()
        uncounted = ""
        try:
            checks = tuple(sink.verify())
        except DatagenError as error:
            uncounted = str(error)
        return StageReport(
            sink.stage,
            (),
            0.0,
            checks=checks,
            facts=sink.facts(),
            uncounted=uncounted,
            objection=sink.objection(),
        )
