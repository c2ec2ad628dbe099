"""A run from its first moment to its last: sinks are opened, work is done, and what ends it is written down."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..check import FinancialDataStore, MasterDataStore
from ..errors import DatagenError, OptionError, UnreachableError
from ..receipts import Receipt
from ..settlement import attach
from ..sinks.base import Window
from .memory import check_memory
from .rows import KeptRows, PassingRows, before_events
from .running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ..receipts import Ending
    from ..sinks.base import Progress, Sink
    from .report import RunReport
    from .request import Load
    from .rows import Rows

__all__ = ["Ended", "carry_out", "load"]

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


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
    begun: Mapping[str, Mapping[str, Any]] | None = None,
    events_from: datetime | None = None,
) -> Result:
    """Opens the sinks of a run, has the work done, and closes them; raises as ``load`` does.

    With ``tables_at`` tables have the balances of that instant, not of the plan's end, and what is sent to
    streams, from ``events_from`` on, is only known once it is. With ``tables_there`` an earlier process has loaded them; it may
    have where ``begun`` has the marks of sinks that it made before.
    """
    with ExitStack() as stack:
        before = _claimed(run, stack, wait=tables_at is None)
        return _carry_out(
            *(run, progress, work, before),
            prefetch=prefetch,
            tables_at=tables_at,
            tables_there=tables_there,
            begun=begun,
            events_from=events_from,
        )


def _carry_out(
    run: Load,
    progress: Progress,
    work: Callable[[Running], Result],
    before: Receipt | None,
    *,
    prefetch: bool,
    tables_at: datetime | None,
    tables_there: bool,
    begun: Mapping[str, Mapping[str, Any]] | None,
    events_from: datetime | None,
) -> Result:
    """The same as ``carry_out``, once no other process is at it."""
    began = time.perf_counter()
    _log.debug(
        "plan: seed %d, customers %d to %d, %d days up to %s; %s mode, %d workers, order of %s; into %s",
        run.plan.seed,
        run.from_customer,
        run.plan.customers - 1,
        run.plan.days,
        run.plan.as_of.isoformat(),
        "fast" if run.fast else "standard",
        run.threads,
        run.order,
        ", ".join(run.targets),
    )
    check_memory(run, streaming=tables_at is not None)
    running: Running | None = None
    done: list[Result] = []
    try:
        with ExitStack() as stack:
            store = MasterDataStore() if run.fast else FinancialDataStore()
            window = Window(
                run.plan,
                run.from_customer,
                run.fast,
                run.threads,
                run.order,
                store.parents,
                store.check_batch,
                open_ended=tables_at is not None,
                events_from=events_from,
                # Where nothing follows, the keys of all rows are known from the beginning.
                tables_at=tables_at if any(map(run.takes, before_events())) else None,
                tables_there=tables_there,
                begun=begun,
                before=before.sinks if before else ({} if run.stays and not tables_at else None),
                shared=run.shared,
            )
            rows: Rows
            if isinstance(store, FinancialDataStore):
                rows = KeptRows(run, window, store)
            else:
                rows = PassingRows(run, window, store)
                stack.enter_context(rows.prefetch)
                if prefetch:
                    rows.prefetch.start()
            sinks = _sinks(run, window)
            _open(stack, sinks)
            for sink in sinks:
                sink.prepare()
            running = Running(run, window, rows, sinks, progress, began)
            if run.resume is None:
                running.record.write("unfinished")
            done.append(work(running))
    except BaseException as error:
        if done and isinstance(error, DatagenError) and running is not None:
            # Everything is there and counted: a farewell that fails is no failure of the run.
            _log.warning("%s", error)
            running.record.end(running.reported)
            return done[0]
        # The sinks are closed by now, and what they say is final.
        if running is not None:
            settled = running.record.settlement()
            if isinstance(error, DatagenError) and not isinstance(error, UnreachableError):
                settled = replace(settled, objection=True)
            attach(error, settled)
            if run.resume is None or running.record.began_to_arrive:
                # What refuses to resume leaves the receipt of the attempt before as it was.
                running.record.write(*_ending(error))
        raise
    running.record.end(running.reported)
    return done[0]


def _claimed(run: Load, stack: ExitStack, *, wait: bool) -> Receipt | None:
    """Keeps other processes from the run's receipt until the stack is left; that of the attempt before, if there is one.

    A stream has no end that could be waited for.
    """
    if run.recorder is None:
        return run.resume
    waited = stack.enter_context(run.recorder.claimed(wait=wait))
    if not waited or run.resume is None:
        return run.resume
    # The process that was waited for has written it anew.
    receipt = Receipt.read(run.resume.path)
    run.check_resumed(receipt)
    run.recorder.go_on(receipt)
    return receipt


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
