"""`datagen report`: the data of a plan as one page of charts, and checked against published figures.

Plotly draws, since its charts reflow on a narrow screen and show their numbers under the pointer,
its script fits into the page, and equal data gives equal bytes; polars does the sums. Both come
with the extra ``report``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datagen._files import reason, write_whole
from datagen.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl

    from datagen._core import Plan

    from ._charts import Drawn
    from ._checks import Check

__all__ = ["Report", "measure", "write"]


@dataclass(frozen=True)
class Report:
    """What was found in the data of a plan."""

    plan: Plan
    #: Rows by table and stream.
    rows: dict[str, int]
    figures: Sequence[Check]
    invariants: Sequence[Check]
    charts: Sequence[Drawn]
    seconds: float

    @property
    def known(self) -> list[Check]:
        """Checks for which there was something to look at."""
        every = (*self.figures, *self.invariants)
        return [check for check in every if check.holds is not None]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.known if not check.holds]


def measure(plan: Plan, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Makes the data of a plan, part by part, and looks at it; `advance` gets numbers of customers.

    Raises ``ConfigurationError`` without the extra ``report``.
    """
    try:
        from . import _charts, _reading, figures, invariants
        from . import _page as _page  # what it needs is missing before the work, not after
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in {"jinja2", "plotly", "polars"}:
            raise
        raise ConfigurationError(
            "datagen report needs the extra `report`: pip install 'datagen[report]'"
        ) from None
    began = time.perf_counter()
    looks = (*figures.FIGURES, *invariants.INVARIANTS, *_charts.CHARTS)
    counts: list[list[pl.DataFrame]] = [[] for _ in looks]
    for part in _reading.parts(plan):
        for look, counted in zip(looks, counts, strict=True):
            counted.append(look.count(part))
        advance(part["customers"].height)
    every = iter(counts)
    return Report(
        plan,
        {name: plan.rows(name) for name in _reading.NAMES},
        [figure.check(next(every), plan) for figure in figures.FIGURES],
        [rule.check(next(every), plan) for rule in invariants.INVARIANTS],
        [chart.drawn(next(every), plan) for chart in _charts.CHARTS],
        time.perf_counter() - began,
    )


def write(report: Report, path: Path) -> int:
    """Writes the page, and returns how many bytes it has. A reader never sees half of it.

    Raises ``ConfigurationError`` if it cannot be written; a link is not followed.
    """
    from . import _page

    page = _page.render(report).encode()
    try:
        write_whole(path, page)
    except OSError as error:
        raise ConfigurationError(f"--out {path}: cannot be written ({reason(error)})") from None
    return len(page)
