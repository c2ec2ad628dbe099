"""What a benchmark found, and the Markdown that says so."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.benchmark import Comparison, described, machine

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parent.parent


@dataclass
class Figure:
    """A single number that has no peer."""

    title: str
    value: str


def markdown(found: Iterable[Comparison | Figure]) -> str:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    lines = [f"- {described(machine())}"]
    lines += [f"- commit {_commit()}; load average at the end {load}", ""]
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
            times = "" if side is one.ours else f"**{_three_digits(one.ratio(side))}×**"
            lines.append(
                f"| {title} | {side.name} | {side.rounds[0].rows:,} | {side.rate:,.0f} | {side.cpu:.2f} "
                f"| {len(side.rounds)}, {side.spread:.0f}% | {times} |"
            )
    if figures:
        lines += ["", "| what | found |", "|---|--:|"]
        lines += [f"| {one.title} | {one.value} |" for one in figures]
    return "\n".join(lines)


def _three_digits(ratio: float) -> str:
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
