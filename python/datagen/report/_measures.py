"""How a figure is found in the data, and how far chance may take it from what is published.

A figure is a share or a mean, that is a ratio of two sums over entities (customers, accounts, cards,
loans); a median; a correlation; or a number of rows. The tolerance follows from the size of the
sample: `Z` standard errors, where the events of one entity count as one observation of it, since they
are not independent. Where the tolerance is so wide that half of what is published would pass, nothing
is claimed: the check says how many customers it takes.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from datagen._core import Plan

from ._checks import Check, Line, Result, enough
from ._language import Number, Said, say
from ._reading import Portion, gather

#: Standard errors. Of the 250 values that are looked at, 4.5 miss one by chance in some 600 seeds.
Z = 4.5
#: Customers among which everything has its exact share.
BLOCK = 20
#: A value has power if its tolerance is at most this part of what is published.
POWER = 0.5
#: What is said where there are no such rows.
NOTHING = say("nothing to count")
#: The label of a figure that has one value.
ALL = ""
NONE = say("")


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
    #: How many times the sample it takes to tell anything; from the tolerance, unless given.
    times: float | None = None


class Measure(Protocol):
    """How values are found: sums of each part of the data, and an estimate from all sums."""

    def count(self, part: Portion) -> pl.DataFrame:
        """Sums, by label."""

    def sums(self, counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Those of all parts."""
        return gather(counts, "label")

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
    #: Where it was read.
    link: str = ""
    #: The smallest departure that has to be seen, if not half of what is published.
    resolves: float | None = None
    #: Whether ours has to be like it; if not, `why` says what differs.
    judged: bool = True

    def count(self, part: Portion) -> pl.DataFrame:
        return self.measure.count(part)

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        """Holds what was counted against what is published."""
        sums = self.measure.sums(counts)
        values = [
            self._compare(label, expected, sums, plan.customers)
            for label, expected in self.published(plan).items()
        ]
        lines = tuple(line for line, _ in values)
        if not lines:
            nothing = say("nothing for so long a history")
            return self._check(nothing, NONE, NONE, Result.NOTHING)
        if len(lines) == 1:
            [line] = lines
            published, found, around = line.published, line.found, line.tolerance
            return self._check(published, found, around, line.result, line.needs)
        result, needs = self._result(lines)
        published = say("{n} values", n=len(lines))
        found = self._several(values)
        return self._check(published, found, say("each its own"), result, needs, lines)

    def _check(
        self,
        published: Said,
        found: Said,
        tolerance: Said,
        result: Result,
        needs: int = 0,
        lines: tuple[Line, ...] = (),
    ) -> Check:
        return Check(
            what=self.name,
            published=published,
            source=self.source,
            found=found,
            tolerance=tolerance,
            result=result,
            needs=needs,
            why=self.why,
            link=self.link,
            lines=lines,
        )

    @staticmethod
    def _result(lines: Sequence[Line]) -> tuple[Result, int]:
        """Of several values: one that fails is enough, and half of them must have power."""
        results = [line.result for line in lines]
        for one in (Result.FAILS, Result.BESIDE):
            if one in results:
                return one, 0
        counted = [line for line in lines if line.result is not Result.NOTHING]
        if not counted:
            return Result.NOTHING, 0
        needs = statistics.median_low(line.needs for line in counted)
        return (Result.POWERLESS, needs) if needs else (Result.HOLDS, 0)

    @staticmethod
    def _several(values: Sequence[tuple[Line, float]]) -> Said:
        counted = [(line, used) for line, used in values if line.result is not Result.NOTHING]
        if not counted:
            return NOTHING
        farthest, used = max(counted, key=lambda value: value[1])
        if used == 0:
            return say("all as published")
        part = Number(round(100 * used), after="%")
        if used >= 10:
            part = Number(round(used), after=" times")
        beyond = [line for line, _ in counted if line.result is Result.FAILS]
        if beyond:
            return say(
                "{n} of {all} beyond; {name} uses {part} of its tolerance",
                n=len(beyond),
                all=len(values),
                name=farthest.label,
                part=part,
            )
        return say(
            "all within; {name} uses {part} of its tolerance", name=farthest.label, part=part
        )

    def _compare(
        self, label: str, expected: Range, sums: pl.DataFrame, customers: int
    ) -> tuple[Line, float]:
        """One value, and which part of the tolerance is used."""
        published = self._text(expected)
        found = self.measure.found(label, expected, sums)
        if found is None:
            return Line(label, published, NOTHING, NONE, Result.NOTHING), -1.0
        slack = self.slack + self.relative_slack * expected.low
        tolerance = found.tolerance + slack
        off = max(expected.low - found.value, found.value - expected.high, 0.0)
        used = off / max(tolerance, 1e-9)
        needs = 0
        if not self.judged:
            result = Result.BESIDE
        elif used > 1:
            result = Result.FAILS
        elif needs := self._needs(expected, found, slack, customers):
            result = Result.POWERLESS
        else:
            result = Result.HOLDS
        around = say("± {number}", number=self._number(tolerance))
        return Line(label, published, self._said(found.value), around, result, needs), used

    def _needs(self, expected: Range, found: Found, slack: float, customers: int) -> int:
        """Customers that it takes to tell what is published from half of it; 0 if these do."""
        around = found.tolerance + slack
        if expected.low + around <= found.value <= expected.high - around:
            return 0  # whatever chance has done, it is within the range
        times = found.times
        if times is None:
            seen = expected.low or (0.0 if math.isinf(expected.high) else expected.high)
            wanted = POWER * abs(seen) if self.resolves is None else self.resolves
            room = wanted - slack
            times = (found.tolerance / room) ** 2 if room > 0 else 0.0
        return enough(customers, times) if times > 1 else 0

    def _number(self, value: float) -> Number:
        # Sums of squares depend on the order of parts in their last digits.
        value = value if math.isinf(value) else round(value, self.digits)
        if self.unit == "R$":
            return Number(value, self.digits, before="R$ ")
        space = "" if self.unit in {"%", ""} else " "
        return Number(value, self.digits, after=f"{space}{self.unit}")

    def _said(self, value: float) -> Said:
        return say("{number}", number=self._number(value))

    def _text(self, published: Range) -> Said:
        low, high = self._number(published.low), self._number(published.high)
        if published.low == published.high:
            return say("{number}", number=low)
        if math.isinf(published.high):
            return say("at least {number}", number=low)
        if math.isinf(published.low):
            return say("at most {number}", number=high)
        low = Number(published.low, self.digits, before=low.before)
        high = Number(published.high, self.digits, after=high.after)
        return say("{low} to {high}", low=low, high=high)


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


def always(values: Mapping[str, float]) -> Callable[[Plan], Mapping[str, Range]]:
    return ranges({label: (value, value) for label, value in values.items()})


def ranges(values: Mapping[str, tuple[float, float]]) -> Callable[[Plan], Mapping[str, Range]]:
    ranges = {label: Range(low, high) for label, (low, high) in values.items()}
    return lambda _: ranges


def between(low: float, high: float) -> Callable[[Plan], Mapping[str, Range]]:
    return ranges({ALL: (low, high)})


def labelled(condition: pl.Expr) -> pl.Expr:
    """The label of rows for which something holds."""
    return pl.when(condition).then(pl.lit(ALL))


@dataclass(frozen=True)
class Shares(Measure):
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
        own = _read(sums, label)
        share = own["y"] / n
        # The error of what is published, since a sample may hold nothing of what is rare.
        nearest = min(max(share, published.low / 100), published.high / 100)
        independent = nearest * (1 - nearest) / n
        alike = self._alike(sums, total)
        if 0 < share < 1:  # what comes back is alike more than the rest
            variance = _variance({**own, "n": n, "nn": total["nn"]})
            alike = max(alike, variance * n / (share * (1 - share)))
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
class Means(Measure):
    """Means by label, of what `rows` gives for each entity: label, y and n, of which y is the sum.

    A small sample of something with a long tail looks more even than it is, so that the deviation
    of one observation is at least `spread` times what is published, or, of what is `skewed`, times
    what is found. Where n is no number but money or an area, there are fewer observations: as many
    as would weigh alike (Kish, Survey Sampling).
    """

    rows: Callable[[Portion], pl.DataFrame]
    spread: float
    scale: float = 1.0
    weighted: bool = False
    skewed: bool = False

    def count(self, part: Portion) -> pl.DataFrame:
        return _sums(self.rows(part), pl.col("label"))

    def found(self, label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        own = _read(sums, label)
        if own["n"] == 0:
            return None
        observed = own["n"] ** 2 / own["nn"] if self.weighted else own["n"]
        value = own["y"] / own["n"] / self.scale
        usual = max(published.low, abs(value)) if self.skewed else published.low
        least = (self.spread * usual) ** 2 / observed
        error = math.sqrt(max(_variance(own) / self.scale**2, least))
        return Found(value, Z * error)


@dataclass(frozen=True)
class Median(Measure):
    """The median of `value`, a whole number, over the rows; in units of `scale`."""

    rows: Callable[[Portion], pl.DataFrame]
    scale: float = 1.0

    def count(self, part: Portion) -> pl.DataFrame:
        # Padded, so that the order of texts is that of numbers.
        label = pl.col("value").cast(pl.String).str.zfill(15)
        return self.rows(part).group_by(label=label).agg(n=pl.len().cast(pl.Int64))

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        n = int(sums["n"].sum())
        if n == 0:
            return None
        before = sums["n"].cum_sum()

        def at(share: float) -> float:
            rank = min(max(math.ceil(share * n), 1), n)
            return int(sums["label"][int((before < rank).sum())]) / self.scale

        # As many ranks as chance may move the middle by, whatever the distribution.
        ranks = Z * 0.5 / math.sqrt(n)
        middle = at(0.5)
        around = max(middle - at(0.5 - ranks), at(0.5 + ranks) - middle)
        # Of so few rows the middle may be anywhere.
        return Found(middle, max(around, abs(middle)) if ranks >= 0.5 else around)


@dataclass(frozen=True)
class Rows(Measure):
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
class Disorder(Measure):
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
        apart = [
            (more, less)
            for more, less in itertools.permutations(self.counts, 2)
            if self.counts[more] >= self.apart * self.counts[less]
        ]
        wrong = [
            (more, less)
            for more, less in apart
            if found[less] - found[more] > Z * math.sqrt(found[less] + found[more])
        ]
        # How many times the sample it takes to see a pair in the wrong order.
        each = sum(found.values()) / sum(self.counts.values())
        times = statistics.median(
            Z**2
            * (self.counts[more] + self.counts[less])
            / (each * (self.counts[more] - self.counts[less]) ** 2)
            for more, less in apart
        )
        return Found(len(wrong), 0.0, times)


@dataclass(frozen=True)
class Difference(Measure):
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


@dataclass(frozen=True)
class Ratio(Measure):
    """The mean of rows labelled `more` by that of rows labelled `less`.

    The deviation of one row is at least `spread` times the mean, since a few may be alike by chance.
    """

    rows: Callable[[Portion], pl.DataFrame]
    spread: float

    def count(self, part: Portion) -> pl.DataFrame:
        return _sums(self.rows(part), pl.col("label"))

    def found(self, _label: str, _published: Range, sums: pl.DataFrame) -> Found | None:
        more, less = _read(sums, "more"), _read(sums, "less")
        if not (more["y"] and less["y"]):
            return None
        means = more["y"] / more["n"], less["y"] / less["n"]
        relative = sum(
            max(_variance(side) / mean**2, self.spread**2 / side["n"])
            for side, mean in zip((more, less), means, strict=True)
        )
        value = means[0] / means[1]
        return Found(value, Z * value * math.sqrt(relative))


@dataclass(frozen=True)
class Dispersion(Measure):
    """The variance of `value` over the rows, by their mean: 1 for what comes by chance alone."""

    rows: Callable[[Portion], pl.DataFrame]

    def count(self, part: Portion) -> pl.DataFrame:
        values = self.rows(part).select(value=pl.col("value").cast(pl.Float64))
        value = pl.col("value")
        return values.select(
            label=pl.lit(ALL), n=pl.len().cast(pl.Float64), y=value.sum(), yy=(value * value).sum()
        )

    def found(self, _label: str, published: Range, sums: pl.DataFrame) -> Found | None:
        own = _read(sums, ALL)
        if own["n"] < 2 or own["y"] == 0:
            return None
        mean = own["y"] / own["n"]
        value = (own["yy"] / own["n"] - mean**2) / mean
        return Found(value, Z * max(value, published.low) * math.sqrt(2 / own["n"]))
