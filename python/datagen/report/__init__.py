"""`datagen report`: the data of a plan as one page of charts, and checked against published figures.

The page is of SVG and needs no script: nothing is fetched, and its style has a light, a dark and a
printed form. It is in English or in Portuguese. polars does the sums, jinja2 the page; both come with
the extra ``report``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from datagen._files import reason, write_whole
from datagen.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl

    from datagen._core import Plan

    from ._chart import Counted
    from ._checks import Check

__all__ = ["Report", "measure", "write"]


@dataclass(frozen=True)
class Report:
    """What was found in the data of a plan."""

    plan: Plan
    #: Rows by table and stream.
    rows: dict[str, int]
    figures: Sequence[Check]
    behaviour: Sequence[Check]
    products: Sequence[Check]
    invariants: Sequence[Check]
    charts: Sequence[Counted]
    seconds: float

    @property
    def checks(self) -> list[Check]:
        return [*self.figures, *self.behaviour, *self.products, *self.invariants]

    @property
    def known(self) -> list[Check]:
        """Checks that claim something: there was enough to look at."""
        return [check for check in self.checks if check.holds is not None]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.known if not check.holds]

    @property
    def powerless(self) -> list[Check]:
        """Checks that need more customers, those that need fewest first."""
        return sorted((check for check in self.checks if check.needs), key=lambda one: one.needs)

    @property
    def unjudged(self) -> list[Check]:
        """Figures beside those of others, which ours need not be like."""
        from ._checks import Result

        return [check for check in self.checks if check.result is Result.BESIDE]

    @property
    def silent(self) -> list[Check]:
        """Checks that found nothing to look at."""
        from ._checks import Result

        return [check for check in self.checks if check.result is Result.NOTHING]


def measure(plan: Plan, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Makes the data of a plan, part by part, and looks at it; `advance` gets numbers of customers.

    Raises ``ConfigurationError`` without the extra ``report``.
    """
    try:
        from . import _charts, _reading, behaviour, figures, invariants, products
        from . import _page as _page  # what it needs is missing before the work, not after
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in {"jinja2", "markupsafe", "polars"}:
            raise
        raise ConfigurationError(
            "datagen report needs the extra `report`: pip install 'datagen[report]'"
        ) from None
    began = time.perf_counter()
    groups = (
        figures.FIGURES,
        (*behaviour.BEHAVIOUR, *products.SHARES),
        products.PRODUCTS,
        invariants.INVARIANTS,
    )
    looks = (*(look for group in groups for look in group), *_charts.CHARTS)
    counts: list[list[pl.DataFrame]] = [[] for _ in looks]
    for part in _reading.parts(plan):
        for look, counted in zip(looks, counts, strict=True):
            counted.append(look.count(part))
        advance(part["customers"].height)
    every = iter(counts)
    published, people, joined, always = [
        [look.check(next(every), plan) for look in group] for group in groups
    ]
    return Report(
        plan=plan,
        rows={name: plan.rows(name) for name in _reading.NAMES},
        figures=published,
        behaviour=people,
        products=joined,
        invariants=always,
        charts=[chart.counted(next(every), plan) for chart in _charts.CHARTS],
        seconds=time.perf_counter() - began,
    )


def write(report: Report, path: Path, language: Literal["en", "pt"] = "en") -> int:
    """Writes the page, and returns how many bytes it has. A reader never sees half of it.

    Raises ``ConfigurationError`` if it cannot be written; a link is not followed.
    """
    from . import _page

    page = _page.render(report, language).encode()
    try:
        write_whole(path, page)
    except OSError as error:
        raise ConfigurationError(f"--out {path}: cannot be written ({reason(error)})") from None
    return len(page)
