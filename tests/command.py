"""The command as its users run it: a process of its own, judged by its output and exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from forking import Forked, Forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import click

#: A command that runs.
Process = subprocess.Popen[str] | Forked

DATAGEN = (sys.executable, "-m", "datagen")
LOAD = (*DATAGEN, "load")
SCRIPT = (sys.executable, str(Path(__file__).parents[1] / "scripts" / "load_data.py"))

# What of the tests' own environment would change what the command does.
_IN_THE_WAY = ("DATAGEN_", "LOG_LEVEL", "PG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")


@dataclass(frozen=True)
class Outcome:
    """What a run printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def run(*command: object, timeout: float = 120.0, **environment: str) -> Outcome:
    """Run a command to its end; nothing of it is a terminal."""
    words, variables = [str(part) for part in command], environment_of(environment)
    if _can_be_forked(words, variables):
        done = _forking().run(words[len(DATAGEN) :], variables, timeout)
    else:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=variables,
        )
    return Outcome(done.returncode, done.stdout, done.stderr)


def _can_be_forked(words: Sequence[str], variables: Mapping[str, str]) -> bool:
    return tuple(words[: len(DATAGEN)]) == DATAGEN and _forking().can_start(variables)


@cache
def _forking() -> Forking:
    """The one of this process of tests."""
    return Forking(environment_of({}))


def commands() -> dict[str, click.Command]:
    """The commands of ``datagen``, by their names."""
    from click import Context

    from datagen.cli import group

    context = Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def load(*options: object, timeout: float = 120.0, **environment: str) -> Outcome:
    """`datagen load` with these options."""
    return run(*LOAD, *options, timeout=timeout, **environment)


@contextmanager
def started(*command: object, **environment: str) -> Iterator[Process]:
    """A running command, to be signalled and waited for; killed if it is still there."""
    words, variables = [str(part) for part in command], environment_of(environment)
    process: Process
    if _can_be_forked(words, variables):
        process = _forking().start(words[len(DATAGEN) :], variables)
    else:
        process = _started(words, variables)
    with process:
        try:
            yield process
        finally:
            process.kill()


def _started(words: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    # A process that starts with SIGINT ignored, as in a shell's background, would stay deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def outcome_of(process: Process, timeout: float = 60.0) -> Outcome:
    """Wait for a started command."""
    out, err = process.communicate(timeout=timeout)
    return Outcome(process.wait(), out, err)


def assert_failed(outcome: Outcome, code: int, *words: str) -> None:
    """One or two lines on stderr, with `words` in them, and this exit code."""
    assert outcome.code == code, str(outcome)
    lines = outcome.err.splitlines()
    assert len(lines) in {1, 2}, str(outcome)
    assert lines[0].startswith("Error: "), str(outcome)
    assert "Traceback" not in outcome.out + outcome.err, str(outcome)
    for word in words:
        assert word in outcome.err, f"no {word!r} in: {outcome.err}"


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def environment_of(added: Mapping[str, str]) -> dict[str, str]:
    """The tests' own, without what a run must not see, and with what is added."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_IN_THE_WAY)}
    # A debug build warns on stderr when imported, which is no line of the command's own.
    quiet = "ignore:this datagen was built without optimisation:RuntimeWarning"
    return {**kept, "PYTHONWARNINGS": quiet, **added}
