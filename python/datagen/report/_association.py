"""How values go together: ranks, a score and what it foretells, returns of a day."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from ._measures import Found, Measure, Range, Z
from ._reading import Portion


@dataclass(frozen=True)
class Correlation(Measure):
    """Spearman's correlation of two values of each entity, `x` and `y`."""

    rows: Callable[[Portion], pl.DataFrame]

    def count(self, part: Portion) -> pl.DataFrame:
        frame = self.rows(part).drop_nulls()
        # Pairs are kept, since ranks are among all.
        return frame.select(pl.col("x", "y").cast(pl.Float32))

    def sums(self, counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(counts)

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        if sums.height < 4:
            return None
        value = sums.select(pl.corr("x", "y", method="spearman")).item()
        if value is None or math.isnan(value):
            return None
        # Of ranks; Bonett and Wright (2000).
        error = math.sqrt((1 + value**2 / 2) / (sums.height - 3)) * (1 - value**2)
        return Found(value, Z * error)


@dataclass(frozen=True)
class Separation(Measure):
    """How well a score tells the rows with `y` from the others: the area under the curve.

    The chance that one of each is in the right order: 0.5 for a coin, 1 for a score that knows.
    """

    rows: Callable[[Portion], pl.DataFrame]

    def count(self, part: Portion) -> pl.DataFrame:
        label = pl.col("score").cast(pl.String).str.zfill(6)
        return self.rows(part).group_by(label=label).agg(pl.col("y").sum(), n=pl.len())

    def found(self, _label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        frame = sums.sort("label").select(bad=pl.col("y"), good=pl.col("n") - pl.col("y"))
        bad, good = float(frame["bad"].sum()), float(frame["good"].sum())
        if not (bad and good):
            return None
        above = good - frame["good"].cum_sum() + frame["good"] / 2
        value = float((frame["bad"] * above).sum()) / bad / good
        # Hanley and McNeil (1982), for exponential scores.
        # Of what is published, since a few may be in the right order by chance alone.
        near = min(max(value, published.low), published.high)
        one, two = near / (2 - near), 2 * near**2 / (1 + near)
        error = math.sqrt(
            max(
                near * (1 - near) + (bad - 1) * (one - near**2) + (good - 1) * (two - near**2),
                0.0,
            )
            / (bad * good)
        )
        return Found(value, Z * error)


@dataclass(frozen=True)
class Comovement(Measure):
    """Correlations of daily returns: of two names, `one/other`, or the mean of all pairs."""

    #: Ticker, day, instant and price of the last trade of a day.
    prices: Callable[[Portion], pl.DataFrame]

    def count(self, part: Portion) -> pl.DataFrame:
        return self.prices(part)

    def sums(self, counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        last = pl.concat(counts).sort("executed_at").group_by("ticker", "day").last()
        wide = last.pivot("ticker", index="day", values="unit_price").sort("day")
        prices = wide.select(sorted(set(wide.columns) - {"day"}))
        return prices.select((pl.all().log() - pl.all().log().shift(1)).slice(1))

    def found(self, label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        names = label.split("/") if "/" in label else _whole(sums)
        if not set(names) <= set(sums.columns):
            return None
        days = sums.select(names).drop_nulls()
        pairs = itertools.combinations(names, 2)
        found = days.select(pl.corr(*pair).alias("/".join(pair)) for pair in pairs)
        values = found.row(0) if found.width else ()
        known = [value for value in values if value is not None and not math.isnan(value)]
        if days.height < 20 or not known:
            return None
        value = statistics.fmean(known)
        # Days are the sample; pairs of one market are no sample of their own.
        return Found(value, Z * (1 - value**2) / math.sqrt(days.height))


def _whole(returns: pl.DataFrame) -> list[str]:
    """Names that have traded on every day."""
    return [name for name in returns.columns if returns[name].null_count() == 0]
