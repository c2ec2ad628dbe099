"""From command to prompt: 100 customers into services that are up."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.benchmark import Round, Way, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Stack

    Note = Callable[[str, str], None]

ROUNDS = 7


def test_first_load(benchmark: Any, stack: Stack, note: Note) -> None:
    seconds = _load(benchmark, stack, stack.empty)
    note("100 customers, no tables and topics yet: command to prompt", seconds)


def test_repeated_load(benchmark: Any, stack: Stack, note: Note) -> None:
    seconds = _load(benchmark, stack, lambda: None)
    note("100 customers, tables and topics there: command to prompt", seconds)


def test_help(benchmark: Any, note: Note) -> None:
    """What the start of the process alone takes."""
    program = str(Path(sys.executable).with_name("datagen"))
    command = [program, "load", "--help"]
    seconds = _seconds(benchmark, lambda: subprocess.run(command, check=True, capture_output=True))
    note("`datagen load --help`", seconds)


def _load(benchmark: Any, stack: Stack, prepare: Callable[[], object]) -> str:
    def load() -> None:
        stack.load(100, "--create-topics", "--truncate")

    load()  # the servers are slow until they have worked
    return _seconds(benchmark, load, prepare)


def _seconds(
    benchmark: Any, run: Callable[[], object], prepare: Callable[[], object] = lambda: None
) -> str:
    rounds: list[Round] = []
    benchmark.pedantic(lambda: rounds.append(timed(Way("", 1, run))), setup=prepare, rounds=ROUNDS)
    seconds = [one.seconds for one in rounds]
    cpu = statistics.median(one.cpu for one in rounds)
    return f"{statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s, CPU {cpu:.2f} s"
