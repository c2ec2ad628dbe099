"""From command to prompt: 100 customers into services that are up."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import Round, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Stack

    Note = Callable[[str, str], None]

ROUNDS = 7


def test_first_load(benchmark: Any, stack: Stack, note: Note) -> None:
    seconds = _seconds(benchmark, stack, stack.empty)
    note("100 customers, no tables and topics yet: command to prompt", seconds)


def test_repeated_load(benchmark: Any, stack: Stack, note: Note) -> None:
    seconds = _seconds(benchmark, stack, lambda: None)
    note("100 customers, tables and topics there: command to prompt", seconds)


def test_help(benchmark: Any, note: Note) -> None:
    """What the start of the process alone takes."""
    program = str(Path(sys.executable).with_name("datagen"))
    command = [program, "load", "--help"]
    rounds: list[Round] = []

    def show() -> None:
        rounds.append(timed(lambda: subprocess.run(command, check=True, capture_output=True)))

    benchmark.pedantic(show, rounds=ROUNDS)
    note("`datagen load --help`", _text(rounds))


def _seconds(benchmark: Any, stack: Stack, prepare: Callable[[], object]) -> str:
    rounds: list[Round] = []

    def load() -> None:
        rounds.append(timed(lambda: stack.load(100, "--create-topics", "--truncate")))

    # The servers are slow until they have worked.
    stack.load(100, "--create-topics", "--truncate")
    benchmark.pedantic(load, setup=prepare, rounds=ROUNDS)
    return _text(rounds)


def _text(rounds: list[Round]) -> str:
    seconds = [one.seconds for one in rounds]
    cpu = statistics.median(one.cpu for one in rounds)
    return f"{statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s, CPU {cpu:.2f} s"
