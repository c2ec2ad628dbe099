"""What a run says: a bar on a terminal, lines in a log, the summary and the validation."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.progress import TaskID

    from .. import loader
    from ..settlement import Settlement
    from ..sinks.base import Check, Part, Stage

__all__ = ["Console"]


def _rate(rows: int, seconds: float) -> str:
    return f"{rows / max(seconds, 1e-6):,.0f}/s"


_log = logging.getLogger(__name__)


class Console:
    """Says how a run goes: a bar on a terminal, a line a part in a log.

    With ``as_json`` all that goes to stderr, and stdout has the one object given to ``result``. A
    reader that goes away (``| head``), or a disk that is full, stops no run: what is left to say goes
    to stderr.
    """

    _QUIET: Final = 5.0  # seconds between two lines about one part, in a log

    def __init__(self, *, as_json: bool = False) -> None:
        self._err = as_json
        self._bar: Any = None
        self._task: TaskID | None = None
        self._title = ""
        self._done = 0
        self._rows = 0
        self._began = self._spoke = 0.0
        self._name = ""

    def head(self, run: loader.Load) -> None:
        plan = run.plan
        mode = "fast" if run.fast else "standard"
        if run.workers != 1:
            mode = f"{mode}, parallel"
        first = f" from customer {run.from_customer} on" if run.from_customer else ""
        self.say(
            f"Loading {run.customers} customers{first} (seed {plan.seed}, {plan.days} days up to "
            f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ}, {mode} mode)"
        )

    def start(self, stage: Stage, name: str, rows: int) -> None:
        self._title, self._name, self._rows, self._done = stage.title, name, rows, 0
        self._began = self._spoke = time.perf_counter()
        stream = self._stream()
        if not stream.isatty():
            return
        from rich.console import Console as Terminal
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Terminal(file=stream),
            transient=True,
        )
        self._task = self._bar.add_task(self._label(), total=rows or None, rate="")
        self._bar.start()

    def advance(self, rows: int) -> None:
        self._done += rows
        now = time.perf_counter()
        rate = _rate(self._done, now - self._began)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=rate)
        elif now - self._spoke >= self._QUIET and self._done < self._rows:
            self._spoke = now
            left = (self._rows - self._done) * (now - self._began) / self._done
            self.say(f"  {self._label()}: {self._done} of {self._rows} ({rate}, {left:.0f} s left)")

    def finish(self, stage: Stage, part: Part) -> None:
        self.close()
        rows = f"{part.rows} in " if self._rows or part.rows else ""
        rate = f" ({_rate(part.rows, part.seconds)})" if part.rows else ""
        # Of several parts that were begun as one, each is printed by its own name.
        self.say(f"  {stage.title} {part.name}: {rows}{part.seconds:.2f} s{rate}")

    def say(self, text: str) -> None:
        """Prints a line."""
        if not self._err:
            try:
                click.echo(text)
            except OSError:
                self._output_is_gone()
            else:
                return
        try:
            click.echo(text, err=True)
        except OSError:
            _forget(sys.stderr)

    def result(self, found: Mapping[str, Any]) -> None:
        """Prints the one JSON object of a run; to stderr where stdout takes nothing any more."""
        text = json.dumps(found, ensure_ascii=False)
        try:
            click.echo(text)
        except OSError:
            self._output_is_gone()
            self.say(text)

    def settle(self, settlement: Settlement) -> None:
        """Says how a run ended that did not come to its validation."""
        self.close()
        for line in settlement.lines():
            self.say(line)

    def _stream(self) -> TextIO:
        return sys.stderr if self._err else sys.stdout

    def _output_is_gone(self) -> None:
        # What is still in the buffer must not fail once more when the process ends.
        _forget(sys.stdout)
        self._err = True
        _log.warning("the output takes no more lines (its reader has gone); the run goes on")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _label(self) -> str:
        return f"{self._title} {self._name}"

    def tail(self, report: loader.RunReport) -> None:
        """The summary and, as the guide shows it, the validation."""
        self.say("Summary:")
        for one in report.stages:
            sent = ", ".join(value for value in one.facts.values() if isinstance(value, str))
            label = (one.stage.summary or one.stage.title) + (f" ({sent})" if sent else "")
            rate = _rate(one.rows, one.seconds)
            self.say(f"  {label}: {one.rows} {one.stage.unit} in {one.seconds:.2f} s ({rate})")
        rate = _rate(report.rows, report.seconds)
        self.say(f"  Total: {report.rows} rows in {report.seconds:.2f} s ({rate})")
        for one in report.stages:
            if one.stage.counted:
                self.say(f"Validating {one.stage.counted}...")
                self._checks(one.checks, one.stage.unit)
        if report.uncounted:
            self.say("Validation: NOT DONE")
        else:
            self.say(f"Validation: {'ALL OK' if report.ok else 'FAILED'}")

    def _checks(self, checks: Sequence[Check], unit: str) -> None:
        if not checks:
            self.say("  not counted")
        for check in sorted(checks, key=lambda one: one.rank):
            note = f" ({check.note})" if check.note else ""
            if check.ok:
                self.say(f"  [OK] {check.name}: {check.found} {unit}{note}")
            else:
                self.say(
                    f"  [FAIL] {check.name}: {check.found} {unit}, expected {check.expected}{note}"
                )


def _forget(stream: TextIO) -> None:
    """Lets all that is still written to a pipe without a reader go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
