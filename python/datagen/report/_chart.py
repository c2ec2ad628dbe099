"""What all charts have in common: sums of parts, and pictures with words and numbers beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

import polars as pl

from datagen._core import Plan

from ._language import Language, Number, Said, say
from ._reading import Portion, gather
from ._svg import Plot, Tick, digits_of, rounded

if TYPE_CHECKING:
    from markupsafe import Markup

MONTHS: Final = [
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
]


@dataclass(frozen=True)
class Picture:
    """A chart that has been drawn: plots, and the same in words and in numbers."""

    plots: Sequence[Plot]
    #: What a reader who does not see it would be told.
    said: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    #: Style and name of each series.
    legend: Sequence[tuple[str, str]] = ()

    def svg(self) -> list[tuple[str, Markup]]:
        """Heading and SVG of each plot."""
        return [(plot.heading, plot.svg(self._label(plot))) for plot in self.plots]

    def _label(self, plot: Plot) -> str:
        return f"{plot.heading}. {self.said}" if plot.heading else self.said


@dataclass(frozen=True)
class Chart:
    """One chart: its sums have `keys`, beside which they are numbers."""

    name: str
    note: str
    keys: tuple[str, ...]
    count: Callable[[Portion], pl.DataFrame]
    draw: Callable[[pl.DataFrame, Plan, Language], Picture]
    wide: bool = False

    def counted(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Counted:
        return Counted(self, gather(counts, *self.keys) if self.keys else pl.concat(counts), plan)


@dataclass(frozen=True)
class Counted:
    """A chart with its sums, which can be drawn in any language."""

    chart: Chart
    sums: pl.DataFrame
    plan: Plan

    def drawn(self, language: Language) -> Picture:
        return self.chart.draw(self.sums, self.plan, language)


@dataclass(frozen=True)
class Series:
    """Values of one name; None where there is none."""

    name: str
    style: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Scale:
    """How numbers of an axis are written."""

    unit: str = "%"
    digits: int = 1
    #: The axis goes to this at least.
    top: float = 0.0

    def say(self, value: float) -> Number:
        if self.unit == "R$":
            return Number(value, self.digits, before="R$ ")
        return Number(value, self.digits, after=self.unit)


@dataclass
class Axis:
    """The y axis of a plot, from zero or below to a round number."""

    values: Iterable[float | None]
    scale: Scale
    low: float = 0.0
    steps: int = 4
    marks: list[float] = field(init=False)

    def __post_init__(self) -> None:
        known = [value for value in self.values if value is not None]
        high = max([*known, self.scale.top, self.low + 1e-9])
        self.marks = rounded(min([self.low, *known]), high, self.steps)

    def at(self, value: float) -> float:
        first, last = self.marks[0], self.marks[-1]
        return (value - first) / (last - first)

    def ticks(self, language: Language) -> list[Tick]:
        digits = digits_of(self.marks)
        scale = Scale(self.scale.unit, digits)
        return [Tick(self.at(mark), language.say(scale.say(mark))) for mark in self.marks]


def columns(
    labels: Sequence[str],
    series: Sequence[Series],
    language: Language,
    scale: Scale,
    *,
    height: int = 240,
    stacked: bool = False,
    upright: bool = False,
    below: int = 26,
    title: str = "",
    every: int = 1,
    marks: Sequence[float] = (),
) -> Plot:
    """Bars above labels, side by side or one on top of another; `marks` are lines across them."""
    n = max(len(labels), 1)
    tops = [
        sum(one.values[at] or 0 for one in series)
        if stacked
        else max((one.values[at] or 0 for one in series), default=0)
        for at in range(len(labels))
    ]
    axis = Axis([*tops, *marks], scale)
    plot = Plot(height, below=below)
    plot.y_axis(axis.ticks(language))
    ticks = [Tick((at + 0.5) / n, label) for at, label in enumerate(labels)]
    if upright:
        plot.upright(ticks)
    else:
        plot.x_axis([tick for at, tick in enumerate(ticks) if at % every == 0], title)
    slots = 1 if stacked else max(len(series), 1)
    width = 0.76 / n / slots
    for at, label in enumerate(labels):
        base = 0.0
        for slot, one in enumerate(series):
            value = one.values[at]
            if not value:
                continue
            left = (at + 0.12) / n + (0 if stacked else slot * width)
            hint = _hint(label, one.name, language.say(scale.say(value)))
            plot.bar((left, left + width), (axis.at(base), axis.at(base + value)), one.style, hint)
            base += value if stacked else 0
        if marks:
            plot.mark(((at + 0.06) / n, (at + 0.94) / n), axis.at(marks[at]), "census")
    return plot


def rows(
    labels: Sequence[str],
    series: Sequence[Series],
    language: Language,
    scale: Scale,
    *,
    left: int = 150,
    row: int = 30,
    stacked: bool = False,
    low: float = 0.0,
) -> Plot:
    """Bars beside labels, from the top down; of a stack each has the whole height."""
    n = max(len(labels), 1)
    totals = [sum(one.values[at] or 0 for one in series) for at in range(len(labels))]
    every = totals if stacked else [value for one in series for value in one.values]
    axis = Axis(every, scale, low=low)
    plot = Plot(row * n, left=left)
    for tick in axis.ticks(language):
        plot.pole(tick.at, "grid")
        plot.x_axis([tick])
    plot.names([Tick(1 - (at + 0.5) / n, label) for at, label in enumerate(labels)])
    slots = 1 if stacked else max(len(series), 1)
    thick = 0.76 / n / slots
    for at, label in enumerate(labels):
        base = 0.0
        for slot, one in enumerate(series):
            value = one.values[at]
            if not value:
                continue
            top = 1 - (at + 0.12) / n - (0 if stacked else slot * thick)
            ends = sorted((axis.at(base), axis.at(base + value)))
            hint = _hint(label, one.name, language.say(scale.say(value)))
            plot.bar((ends[0], ends[1]), (top - thick, top), one.style, hint)
            base += value if stacked else 0
    return plot


def _hint(label: str, name: str, value: str) -> str:
    place = " ".join(label.split("\n"))
    return f"{place}: {value}" if not name or name == place else f"{place}, {name}: {value}"


def lines(
    xs: Sequence[float],
    series: Sequence[Series],
    language: Language,
    scale: Scale,
    ticks: Iterable[Tick],
    *,
    height: int = 240,
    low: float | None = 0.0,
    title: str = "",
    left: int = 46,
    steps: int = 4,
) -> Plot:
    """Lines over places from 0 to 1; without `low` the axis begins near the lowest value."""
    every = [value for one in series for value in one.values if value is not None]
    least = min(every, default=0.0) if low is None else low
    axis = Axis(every, scale, low=least, steps=steps)
    plot = Plot(height, left=left, below=44 if title else 26)
    plot.y_axis(axis.ticks(language))
    plot.x_axis(ticks, title)
    for one in series:
        points = [(x, axis.at(y)) for x, y in zip(xs, one.values, strict=True) if y is not None]
        plot.line(points, f"line {one.style}")
    return plot


def of_months(first: date, last: date, language: Language) -> list[Tick]:
    """Ticks at the first day of months, few enough to be read."""
    days = max((last - first).days, 1)
    months = [
        date(year, month, 1)
        for year in range(first.year, last.year + 1)
        for month in range(1, 13)
        if first <= date(year, month, 1) <= last
    ]
    step = max(1, -(-len(months) // 8))
    return [
        Tick((day - first).days / days, _day(day, language, years=len(months) > 12), at % 2 == 1)
        for at, day in enumerate(months[::step])
    ] or [Tick(0.5, _day(first, language))]


def _day(day: date, language: Language, *, years: bool = False) -> str:
    month = language.word(MONTHS[day.month - 1])
    return f"{month} {day.year}" if years else f"{day.day} {month}"


def table_of(
    labels: Sequence[str], series: Sequence[Series], language: Language, scale: Scale
) -> list[list[str]]:
    """The same as rows of a table."""
    return [
        [
            " ".join(label.split("\n")),
            *(
                "" if (value := one.values[at]) is None else language.say(scale.say(value))
                for one in series
            ),
        ]
        for at, label in enumerate(labels)
    ]


def most(labels: Sequence[str], series: Sequence[Series], language: Language, scale: Scale) -> str:
    """Where each series is highest, in words."""
    said = []
    for one in series:
        known = [(value, at) for at, value in enumerate(one.values) if value]
        if not known:
            continue
        value, at = max(known, key=lambda pair: (pair[0], -pair[1]))
        place = " ".join(labels[at].split("\n"))
        text: Said = say(
            "{name}: most at {place}, {value}", name=one.name, place=place, value=scale.say(value)
        )
        if not one.name:
            text = say("Most at {place}, {value}", place=place, value=scale.say(value))
        said.append(language.say(text))
    return (
        ". ".join(one[:1].upper() + one[1:] for one in said) + "."
        if said
        else language.say(say("nothing to count"))
    )


def percent(frame: pl.DataFrame, *of: str) -> pl.DataFrame:
    """With the share that each row's n is of all rows alike in the columns `of`, in percent."""
    return frame.with_columns(percent=(100 * pl.col("n") / pl.col("n").sum().over(of)).round(4))


def values_of(frame: pl.DataFrame, key: str, value: str) -> dict[object, float]:
    return dict(frame.select(key, value).iter_rows())
