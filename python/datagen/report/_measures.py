"""How a figure is found in the data, and how far chance may take it from what is published.

A figure is a share or a mean, that is a ratio of two sums over entities (customers, accounts, cards,
loans); a median; or a number of rows. The tolerance follows from the size of the sample: `Z` standard
errors, where the events of one entity count as one observation of it, since they are not independent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from datagen._core import Plan

from ._checks import Check, Line
from ._reading import Portion, gather

#: Standard errors. Of the 220 values that are looked at, 4.5 miss one by chance in some 700 seeds.
Z = 4.5
#: Customers among which everything has its exact share.
BLOCK = 20
#: What is said where there are no such rows.
NOTHING = "nothing to count"
#: The label of a figure that has one value.
ALL = ""


@dataclass(frozen=True)
class Range:
    """Anything from `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Found:
    """A value found in a sample, and how far chance may take it from that of all."""

    value: float
    tolerance: float


class Measure(Protocol):
    """How values are found: sums of each part of the data, and an estimate from all sums."""

    def count(self, part: Portion) -> pl.DataFrame:
        """Sums, by label."""

    def found(self, label: str, published: Range, sums: pl.DataFrame, /) -> Found | None:
        """The value of a label, or None if nothing was counted."""


@dataclass(frozen=True)
class Figure:
    """One figure, or several of one kind by label."""

    name: str
    source: str
    measure: Measure
    published: Callable[[Plan], Mapping[str, Range]]
    unit: str = "%"
    digits: int = 2
    slack: float = 0.0
    relative_slack: float = 0.0
    why: str = ""

    def count(self, part: Portion) -> pl.DataFrame:
        return self.measure.count(part)

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        """Holds what was counted against what is published."""
        sums = gather(counts, "label")
        values = [
            self._compare(label, expected, sums) for label, expected in self.published(plan).items()
        ]
        lines = tuple(line for line, _ in values)
        known = [line.holds for line in lines if line.holds is not None]
        source = f"{self.source}; {self.why}" if self.why else self.source
        holds = all(known) if known else None
        if not lines:
            return Check(self.name, "nothing for so long a history", source, "", "", None)
        if len(lines) == 1:
            [line] = lines
            return Check(self.name, line.published, source, line.found, line.tolerance, holds)
        farthest, used = max(values, key=lambda value: value[1])
        words = f"{known.count(False)} of {len(lines)} beyond" if not holds else "all within"
        far = f"{used:.0%} of" if used < 10 else f"{used:.0f} times"
        found = f"{words}; {farthest.label} uses {far} its tolerance"
        if not known:
            found = NOTHING
        elif used == 0:
            found = "all as published"
        return Check(self.name, f"{len(lines)} values", source, found, "each its own", holds, lines)

    def _compare(self, label: str, expected: Range, sums: pl.DataFrame) -> tuple[Line, float]:
        """One value, and which part of the tolerance is used."""
        published = self._text(expected)
        found = self.measure.found(label, expected, sums)
        if found is None:
            return Line(label, published, NOTHING, "", None), -1.0
        tolerance = found.tolerance + self.slack + self.relative_slack * expected.low
        off = max(expected.low - found.value, found.value - expected.high, 0.0)
        used = off / max(tolerance, 1e-9)
        number, around = self._number(found.value), f"± {self._number(tolerance)}"
        return Line(label, published, number, around, used <= 1), used

    def _number(self, value: float) -> str:
        number = f"{value:,.{self.digits}f}"
        if self.unit == "R$":
            return f"R$ {number}"
        return f"{number}{'' if self.unit == '%' else ' '}{self.unit}".strip()

    def _text(self, published: Range) -> str:
        low, high = self._number(published.low), self._number(published.high)
        if published.low == published.high:
            return low
        if math.isinf(published.high):
            return f"at least {low}"
        return f"{low} to {high.removeprefix('R$ ')}"


#: Where shares keep the sums over all labels.
_TOTAL = "of all"


def _sums(frame: pl.DataFrame, label: pl.Expr) -> pl.DataFrame:
    """Sums of what each entity adds to the two sides of a ratio, y and n, and of their products.

    In floating point: sums of squares pass 64 bits. Sums of y and n themselves are exact in it.
    """
    y, n = pl.col("y").cast(pl.Float64), pl.col("n").cast(pl.Float64)
    products = {"y": y, "n": n, "yy": y * y, "yn": y * n, "nn": n * n}
    return frame.group_by(label=label.cast(pl.String)).agg(
        **{name: product.sum() for name, product in products.items()}
    )


def _read(sums: pl.DataFrame, label: str) -> dict[str, float]:
    rows = sums.filter(pl.col("label") == label).to_dicts()
    return rows[0] if rows else dict.fromkeys(("y", "n", "yy", "yn", "nn"), 0.0)


def _variance(sums: Mapping[str, float]) -> float:
    """Of a ratio y / n that is estimated from clusters (Cochran, Sampling Techniques)."""
    ratio = sums["y"] / sums["n"]
    squares = sums["yy"] - 2 * ratio * sums["yn"] + ratio * ratio * sums["nn"]
    return max(squares, 0.0) / sums["n"] ** 2


def each_row(
    relation: str, label: pl.Expr, *, entity: str | None = None, where: pl.Expr | None = None
) -> Callable[[Portion], pl.DataFrame]:
    """Label and entity of the rows of a relation; without `entity` each row is one."""
    who = pl.int_range(pl.len()) if entity is None else pl.col(entity)

    def rows(part: Portion) -> pl.DataFrame:
        frame = part[relation] if where is None else part[relation].filter(where)
        return frame.select(label=label, entity=who)

    return rows


@dataclass(frozen=True)
class Shares:
    """Percentages of the rows that have a label; rows of one entity depend on one another."""

    rows: Callable[[Portion], pl.DataFrame]

    def count(self, part: Portion) -> pl.DataFrame:
        frame = self.rows(part)
        totals = frame.group_by("entity").agg(n=pl.len())
        own = frame.drop_nulls("label").group_by("label", "entity").agg(y=pl.len())
        of_labels = _sums(own.join(totals, on="entity"), pl.col("label"))
        of_all = _sums(totals.with_columns(y=pl.lit(0)), pl.lit(_TOTAL))
        return pl.concat([of_labels.with_columns(n=0.0, nn=0.0), of_all])

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        total = _read(sums, _TOTAL)
        n = total["n"]
        if n == 0:
            return None
        share = _read(sums, label)["y"] / n
        # The error of what is published, since a sample may hold nothing of what is rare.
        nearest = min(max(share, published.low / 100), published.high / 100)
        independent = nearest * (1 - nearest) / n
        alike = self._alike(sums, total)
        # Bernstein's inequality: rare things are skewed, the more so in small samples.
        tolerance = Z * math.sqrt(alike * independent) + alike * Z**2 / (3 * n)
        return Found(100 * share, 100 * tolerance)

    @staticmethod
    def _alike(sums: pl.DataFrame, total: Mapping[str, float]) -> float:
        """By how much the variance is that of clusters, over all labels: 1 for independent rows."""
        n, nn = total["n"], total["nn"]
        clusters = independent = 0.0
        for row in sums.filter(pl.col("label") != _TOTAL).iter_rows(named=True):
            clusters += _variance({**row, "n": n, "nn": nn})
            independent += row["y"] / n * (1 - row["y"] / n) / n
        return max(clusters / independent, 1.0) if independent else 1.0


@dataclass(frozen=True)
class Means:
    """Means by label, of what `rows` gives for each entity: label, y and n, of which y is the sum.

    A small sample of something with a long tail looks more even than it is, so that the deviation
    of one observation is at least `spread` times what is published.
    """

    rows: Callable[[Portion], pl.DataFrame]
    spread: float
    scale: float = 1.0

    def count(self, part: Portion) -> pl.DataFrame:
        return _sums(self.rows(part), pl.col("label"))

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        own = _read(sums, label)
        if own["n"] == 0:
            return None
        least = (self.spread * published.low) ** 2 / own["n"]
        error = math.sqrt(max(_variance(own) / self.scale**2, least))
        return Found(own["y"] / own["n"] / self.scale, Z * error)


@dataclass(frozen=True)
class Median:
    """A median of money, in R$."""

    relation: str
    value: str
    where: pl.Expr

    def count(self, part: Portion) -> pl.DataFrame:
        frame = part[self.relation].filter(self.where)
        # Padded, so that the order of texts is that of numbers.
        label = pl.col(self.value).cast(pl.String).str.zfill(15)
        return frame.group_by(label=label).agg(n=pl.len().cast(pl.Int64))

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        n = int(sums["n"].sum())
        if n == 0:
            return None
        before = sums["n"].cum_sum()

        def at(share: float) -> float:
            rank = min(max(math.ceil(share * n), 1), n)
            return int(sums["label"][int((before < rank).sum())]) / 100

        # As many ranks as chance may move the middle by, whatever the distribution.
        ranks = Z * 0.5 / math.sqrt(n)
        middle = at(0.5)
        return Found(middle, max(middle - at(0.5 - ranks), at(0.5 + ranks) - middle))


@dataclass(frozen=True)
class Rows:
    """Rows for each customer; a label is the table's name, or a type of account."""

    def count(self, part: Portion) -> pl.DataFrame:
        tables = {name: part[name].height for name in ("credit_cards", "loans", "properties")}
        accounts = dict(part["accounts"].group_by("account_type").len().iter_rows())
        customers = part["customers"].height
        counts = [(label, rows, customers) for label, rows in {**tables, **accounts}.items()]
        return pl.DataFrame(counts, schema=["label", "y", "n"], orient="row")

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        customers = int(sums.filter(pl.col("label") == "CORRENTE")["n"].sum())
        rows = int(sums.filter(pl.col("label") == label)["y"].sum())
        if customers == 0:
            return None
        # Which customers of a block have it is drawn, so that only whole blocks have their share;
        # it is rounded where it is no whole number.
        free = 1e-6
        if published.low < 1 and customers % BLOCK:
            free = published.low * BLOCK
        elif published.low * BLOCK % 1:
            free = 1.0
        return Found(rows / customers, free / customers)


@dataclass(frozen=True)
class Disorder:
    """Pairs of labels that are in another order than those of their counts.

    Counts less than `apart` times as large as another may be in any order, and so may what chance
    can swap in the sample.
    """

    rows: Callable[[Portion], pl.DataFrame]
    counts: Mapping[str, float]
    apart: float

    def count(self, part: Portion) -> pl.DataFrame:
        return self.rows(part).group_by("label").agg(n=pl.len())

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        found = dict.fromkeys(self.counts, 0) | dict(sums.select("label", "n").iter_rows())
        if not any(found.values()):
            return None
        wrong = [
            (more, less)
            for more, less in itertools.permutations(self.counts, 2)
            if self.counts[more] >= self.apart * self.counts[less]
            and found[less] - found[more] > Z * math.sqrt(found[less] + found[more])
        ]
        return Found(len(wrong), 0.0)


@dataclass(frozen=True)
class Difference:
    """A percentage among rows labelled `more`, less that among rows labelled `less`."""

    rows: Callable[[Portion], pl.DataFrame]

    def count(self, part: Portion) -> pl.DataFrame:
        return _sums(self.rows(part), pl.col("label"))

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        more, less = _read(sums, "more"), _read(sums, "less")
        if not (more["n"] and less["n"]):
            return None
        error = math.sqrt(_variance(more) + _variance(less))
        smallest = 1 / min(more["n"], less["n"])
        value = more["y"] / more["n"] - less["y"] / less["n"]
        return Found(100 * value, 100 * (Z * error + Z**2 * smallest / 3))
