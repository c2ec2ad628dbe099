"""What a run says: a bar on a terminal, lines in a log, the summary and the validation."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from .._output import OutputError
from .._secrets import plain
from .outputs import forget_stdout, is_closed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.progress import TaskID

    from .. import loader
    from ..receipts import Recorder
    from ..settlement import Settlement
    from ..sinks.base import Check, Part, Stage

__all__ = ["Console", "width_of_terminal"]


def _rate(rows: int, seconds: float) -> str:
    """Rows a second; nothing of a time so short that it says more of the clock than of the work."""
    return f"{rows / seconds:,.0f}/s" if rows and seconds >= _SHORTEST else ""


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


_log = logging.getLogger(__name__)

#: Seconds that a rate needs at least.
_SHORTEST: Final = 0.1


class Console:
    """Says how a run goes: a bar on a terminal, and a line for each part that took a second or more.

    On a terminal lines are broken at its width, and the marks of checks have colours (unless NO_COLOR is
    set). What the validation counts is written without commas, as scripts read it.

    With ``as_json`` all that goes to stderr, and stdout has the one object given to ``result``. A
    reader that goes away (``| head``), or a disk that is full, stops no run: what is left to say goes
    to stderr.
    """

    _QUIET: Final = 5.0  # seconds between two lines about one part, in a log
    _WORTH_A_LINE: Final = 1.0  # seconds of a part; shorter ones are in the summary

    def __init__(self, *, as_json: bool = False) -> None:
        self._err = as_json
        #: What writes the receipt of the run, where there is one.
        self.recorder: Recorder | None = None
        self._said_receipt = False
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
        first = f" from customer {run.from_customer:,} on" if run.from_customer else ""
        what = "Loading" if run.resume is None else f"Resuming {run.resume.run}:"
        self.say(
            f"{what} {run.customers:,} customers{first} (seed {plan.seed}, {plan.days} days up to "
            f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ}, {mode} mode)"
        )

    def start(self, stage: Stage, name: str, rows: int) -> None:
        self._title, self._name, self._rows, self._done = stage.title, name, rows, 0
        self._began = self._spoke = time.perf_counter()
        if not self._on_a_terminal():
            return
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        width = width_of_terminal()
        # At 60 columns there is room for a name, a count and the time that is left.
        columns = [
            (60, TextColumn("{task.description}")),
            (90, BarColumn(None)),
            (60, TextColumn("{task.fields[count]}")),
            (75, TextColumn("{task.fields[rate]}")),
            (60, TimeRemainingColumn(compact=True)),
        ]
        self._bar = Progress(
            *(column for least, column in columns if width >= least or least == 60),
            console=Terminal(file=self._stream(), width=width),
            transient=True,
            expand=width >= 90,
        )
        self._task = self._bar.add_task(self._label(), total=rows or None, rate="", count="")
        self._bar.start()

    def advance(self, rows: int) -> None:
        self._done += rows
        now = time.perf_counter()
        rate = _rate(self._done, now - self._began)
        if self._bar is not None:
            count = f"{self._done:,}/{self._rows:,}"
            self._bar.update(self._task, completed=self._done, rate=rate, count=count)
        elif now - self._spoke >= self._QUIET and 0 < self._done < self._rows:
            self._spoke = now
            left = (self._rows - self._done) * (now - self._began) / self._done
            self.say(
                f"  {self._label()}: {self._done:,} of {self._rows:,} ({rate}, {left:,.0f} s left)"
            )

    def finish(self, stage: Stage, part: Part) -> None:
        self.close()
        # Parts that were begun as one run side by side: only all of them have a time, and the summary says it.
        if part.name != self._name or part.seconds < self._WORTH_A_LINE:
            return
        rows = f"{part.rows:,} in " if part.rows else ""
        rate = _in_brackets(_rate(part.rows, part.seconds))
        self.say(f"  {stage.title} {part.name}: {rows}{part.seconds:,.2f} s{rate}")

    def say(self, text: str) -> None:
        """Prints a line, and on a terminal as many as it takes."""
        terminal = self._on_a_terminal()
        self.line(_wrapped(text, width_of_terminal()) if terminal else text)

    def line(self, text: str) -> None:
        """Prints a line whole, which is to be copied."""
        terminal = self._on_a_terminal()
        if not self._err:
            try:
                click.echo(text, color=terminal)
            except (BrokenPipeError, OutputError) as error:
                self._output_is_gone(error)
            if not self._err:
                return
        click.echo(text, err=True, color=terminal)

    def result(self, found: Mapping[str, Any]) -> None:
        """Prints the one JSON object of a run; to stderr where stdout takes nothing any more."""
        text = json.dumps(found, ensure_ascii=False)
        try:
            click.echo(text)
        except (BrokenPipeError, OutputError) as error:
            self._output_is_gone(error)
            click.echo(text, err=True)

    def settle(self, settlement: Settlement) -> None:
        """Says how a run ended that did not come to its validation."""
        self.close()
        for line in settlement.lines():
            self.say(line)

    def say_receipt(self) -> str | None:
        """Says once where the receipt of the run is; returns the path, if there is one."""
        if self.recorder is None or not self.recorder.written:
            return None
        path = str(self.recorder.path)
        if not self._said_receipt:
            self._said_receipt = True
            self.line(f"Receipt: {plain(path)}")
        return path

    def _stream(self) -> TextIO:
        return sys.stderr if self._err else sys.stdout

    def _on_a_terminal(self) -> bool:
        """Whether the output is a terminal that can move its cursor."""
        return self._stream().isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}

    def mark(self, mark: str, colour: str) -> str:
        """The mark of a check, in its colour where that can be shown."""
        if not self._on_a_terminal() or os.environ.get("NO_COLOR"):
            return mark
        return click.style(mark, fg=colour)

    def _output_is_gone(self, error: Exception) -> None:
        """Has lines go to stderr, or nowhere if whoever began the run wants none."""
        self._err = not is_closed()
        # What is still in the buffer must not fail once more when the process ends.
        forget_stdout()
        if self._err:
            why = (
                str(error)
                if isinstance(error, OutputError)
                else "The reader of standard output has gone"
            )
            _log.warning("%s: the run goes on, and says the rest here", why)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _label(self) -> str:
        return f"{self._title} {self._name}"

    def tail(self, report: loader.RunReport, look: Sequence[str] = ()) -> None:
        """The summary, how to look at what was loaded and, as the guide shows it, the validation."""
        self.say("Summary:")
        for one in report.stages:
            sent = ", ".join(value for value in one.facts.values() if isinstance(value, str))
            label = (one.stage.summary or one.stage.title) + _in_brackets(sent)
            self._sum(label, one.rows, one.stage.unit, one.seconds)
            for there in (value for name, value in one.facts.items() if name.endswith("_there")):
                self.say(f"    of which {there:,} were there, and stay")
        self._sum("Total", report.rows, "rows", report.seconds)
        if look:
            self.say("Look at it:")
        for line in look:
            self.say(f"  {line}")
        for one in report.stages:
            if one.stage.counted:
                self.say(f"Validating {one.stage.counted}...")
                self._checks(one.checks, one.stage.unit)
        if report.uncounted:
            self.say("Validation: NOT DONE")
        else:
            self.say(f"Validation: {'ALL OK' if report.ok else 'FAILED'}")

    def _sum(self, label: str, rows: int, unit: str, seconds: float) -> None:
        rate = _in_brackets(_rate(rows, seconds))
        self.say(f"  {label}: {rows:,} {unit} in {seconds:,.2f} s{rate}")

    def _checks(self, checks: Sequence[Check], unit: str) -> None:
        if not checks:
            self.say("  not counted")
        for check in sorted(checks, key=lambda one: one.rank):
            note = f" ({check.note})" if check.note else ""
            if check.ok:
                mark = self.mark("[OK]", "green")
                self.say(f"  {mark} {check.name}: {check.found} {unit}{note}")
            else:
                mark = self.mark("[FAIL]", "red")
                self.say(
                    f"  {mark} {check.name}: {check.found} {unit}, expected {check.expected}{note}"
                )


def width_of_terminal() -> int:
    """The columns of the terminal."""
    return max(shutil.get_terminal_size().columns, 20)


def _wrapped(text: str, width: int) -> str:
    """A line, broken between words where it is too long; what follows is set in."""
    if len(click.unstyle(text)) <= width:
        return text
    margin = " " * (len(text) - len(text.lstrip()) + 4)
    return textwrap.fill(
        text,
        width,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
