"""What a benchmark found, and the Markdown that says so."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Round:
    """One run of something: seconds on the clock, and of all our threads and children on a core."""

    seconds: float
    cpu: float


@dataclass
class Side:
    """One way to do the work, and the rounds that it was run for ``rows`` rows each."""

    name: str
    rows: int
    rounds: list[Round] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(one.seconds for one in self.rounds)

    @property
    def rate(self) -> float:
        """Rows per second, of the round in the middle."""
        return self.rows / self.seconds

    @property
    def cpu(self) -> float:
        """Microseconds of CPU per row."""
        return statistics.median(one.cpu for one in self.rounds) / self.rows * 1e6

    @property
    def spread(self) -> float:
        """How far the slowest round is behind the fastest, in percent of the fastest."""
        seconds = [one.seconds for one in self.rounds]
        return (max(seconds) / min(seconds) - 1) * 100


@dataclass
class Comparison:
    """Ours beside peers, run in turns in the same minute."""

    title: str
    ours: Side
    peers: list[Side]


@dataclass
class Figure:
    """A single number that has no peer."""

    title: str
    value: str


def timed(run: Callable[[], object]) -> Round:
    """How long it took; by its own account where it returns one, as a process that stays does."""
    cpu, began = _cpu(), time.perf_counter()
    found = run()
    return found if isinstance(found, Round) else Round(time.perf_counter() - began, _cpu() - cpu)


def markdown(found: Iterable[Comparison | Figure]) -> str:
    lines = [*_machine(), ""]
    comparisons = [one for one in found if isinstance(one, Comparison)]
    figures = [one for one in found if isinstance(one, Figure)]
    if comparisons:
        lines += [
            "| what | way | rows | rows/s | CPU µs/row | rounds, spread | first ÷ this |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
    for one in comparisons:
        for side in (one.ours, *one.peers):
            title = one.title if side is one.ours else ""
            times = "" if side is one.ours else f"**{one.ours.rate / side.rate:.1f}×**"
            lines.append(
                f"| {title} | {side.name} | {side.rows:,} | {side.rate:,.0f} | {side.cpu:.2f} "
                f"| {len(side.rounds)}, {side.spread:.0f}% | {times} |"
            )
    if figures:
        lines += ["", "| what | found |", "|---|--:|"]
        lines += [f"| {one.title} | {one.value} |" for one in figures]
    return "\n".join(lines)


def _cpu() -> float:
    """Seconds of CPU of this process and of the children that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _machine() -> list[str]:
    packages = ("datagen", "confluent-kafka", "fastavro", "psycopg")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    cores, memory = len(os.sched_getaffinity(0)), _memory() / 2**30
    system = f"{platform.system()} {platform.release()}"
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"- {_processor()}, {cores} cores, {memory:.0f} GiB, {system}",
        f"- Python {platform.python_version()}; {versions}",
        f"- commit {_commit()}; load average at the end {load}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
