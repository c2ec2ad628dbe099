"""Ways to do the same work, by turns, so that all meet the machine in the same state."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Comparison",
    "Round",
    "Side",
    "Way",
    "Ways",
    "cpu_seconds",
    "described",
    "machine",
    "often",
    "timed",
]

#: Work that takes less than this is repeated: a shorter time says little.
_LEAST: Final = 0.1

_PACKAGES: Final = ("datagen", "confluent-kafka", "fastavro", "psycopg")


@dataclass(frozen=True)
class Round:
    """One run: its rows, seconds on the clock, and seconds of CPU in this process and children."""

    rows: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


class Way(NamedTuple):
    """One way to do the work. ``prepare`` is not timed and comes before every round.

    ``run`` may return a ``Round`` that it has timed itself.
    """

    name: str
    rows: int
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


#: Ours and a peer, made when they are needed: they may hold much.
Ways = Callable[[], tuple[Way, Way]]


@dataclass
class Side:
    """A way, and the rounds that it was run."""

    name: str
    rounds: list[Round] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Rows per second, of the round in the middle."""
        return statistics.median(one.rate for one in self.rounds)

    @property
    def seconds(self) -> float:
        """Of the round in the middle."""
        return statistics.median(one.seconds for one in self.rounds)

    @property
    def cpu(self) -> float:
        """Microseconds of CPU per row."""
        return statistics.median(one.cpu / one.rows for one in self.rounds) * 1e6

    @property
    def spread(self) -> float:
        """How far the slowest round is behind the fastest, in percent of the fastest's time."""
        rates = [one.rate for one in self.rounds]
        return (max(rates) / min(rates) - 1) * 100

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "median": self.rate,
            "spread_percent": self.spread,
            "cpu_microseconds_per_row": self.cpu,
            "rounds": [{"rows": one.rows, "seconds": one.seconds} for one in self.rounds],
        }


@dataclass
class Comparison:
    """Ours beside peers, run by turns in the same minute."""

    title: str
    ours: Side
    peers: list[Side]

    def ratio(self, peer: Side) -> float:
        """How many times faster than a peer ours is."""
        return self.ours.rate / peer.rate


def timed(way: Way) -> Round:
    """One round of a way; by its own account where it gives one."""
    cpu, began = cpu_seconds(), time.perf_counter()
    found = way.run()
    if isinstance(found, Round):
        return found
    return Round(way.rows, time.perf_counter() - began, cpu_seconds() - cpu)


def often(rows: int, run: Callable[[], object]) -> Callable[[], Round]:
    """Short work, repeated within a round for as long as it takes to time it."""

    def repeated() -> Round:
        count, cpu, began = 0, cpu_seconds(), time.perf_counter()
        while count == 0 or time.perf_counter() - began < _LEAST:
            run()
            count += 1
        return Round(rows * count, time.perf_counter() - began, cpu_seconds() - cpu)

    return repeated


def machine() -> dict[str, Any]:
    """What the figures were found on: sizes in bytes, cores that this process may use."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
    }


def described(on: Mapping[str, Any]) -> str:
    """A machine in one line."""
    versions = ", ".join(f"{name} {found}" for name, found in on["versions"].items())
    return (
        f"{on['processor']}, {on['cores']} cores, {on['memory_bytes'] / 2**30:.0f} GiB, "
        f"{on['system']}; {versions}"
    )


def cpu_seconds() -> float:
    """CPU of this process and of the children that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
