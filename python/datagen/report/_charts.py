"""The charts of volumes, money and people; those of behaviour are in `_behaviour`."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl

from datagen._core import catalogue

from . import _behaviour, _people, _published, _rows
from ._calendar import local_time
from ._chart import (
    Chart,
    Picture,
    Scale,
    Series,
    columns,
    lines,
    most,
    of_months,
    percent,
    rows,
    table_of,
    values_of,
)
from ._language import Number, say
from ._reading import local
from ._svg import Plot, Tick

if TYPE_CHECKING:
    from datagen._core import Plan

    from ._language import Language
    from ._reading import Portion

STREAMS = {
    "banking.transactions": ("Transactions", "occurred_at", "s1"),
    "banking.card-transactions": ("Card purchases", "occurred_at", "s2"),
    "banking.trades": ("Trades", "executed_at", "s3"),
    "banking.installments": ("Installments", "occurred_at", "s4"),
}
#: The states on a map of squares.
MAP = """
    .  RR .  AP .  .  .
    AM .  PA MA PI CE RN
    AC RO .  TO BA PE PB
    .  .  MT GO DF SE AL
    .  .  MS .  MG ES .
    .  .  .  SP RJ .  .
    .  .  .  PR .  .  .
    .  .  .  SC .  .  .
    .  .  .  RS .  .  .
"""
BANDS = [-1_000_000, -100_000, 0, 100_000, 1_000_000, 10_000_000, 100_000_000]
BAND_NAMES = [
    *("below −10 K", "−10 K to −1 K", "−1 K to 0", "0 to 1 K", "1 K to 10 K", "10 K to 100 K"),
    *("100 K to 1 M", "1 M and more"),
]
SHARE, COUNT = Scale(), Scale("", 0)
ACCOUNTS = {"CORRENTE": "s1", "POUPANCA": "s2", "INVESTIMENTOS": "s3"}
LOANS = {"HOUSING": "s1", "PAYROLL": "s2", "VEHICLE": "s3", "PERSONAL": "s4"}


# --- when


def _by_day(part: Portion) -> pl.DataFrame:
    start = part.plan.as_of - timedelta(part.plan.days)
    frames = [
        part[stream]
        .filter(pl.col(at) >= start)
        .group_by(stream=pl.lit(stream), day=local(at).dt.date())
        .agg(n=pl.len())
        for stream, (_, at, _) in STREAMS.items()
    ]
    return pl.concat(frames)


def _draw_days(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:
    first, last = (local_time(at).date() for at in (plan.as_of - timedelta(plan.days), plan.as_of))
    # Of a long history one place stands for some days.
    step = 1 + plan.days // 400
    starts = [first + timedelta(n) for n in range(0, (last - first).days + 1, step)]
    span = max((last - first).days, 1)
    series = []
    for stream, (name, _, style) in STREAMS.items():
        own = dict(sums.filter(pl.col("stream") == stream).select("day", "n").iter_rows())
        values = [
            sum(own.get(start + timedelta(n), 0) for n in range(step)) / step for start in starts
        ]
        series.append(Series(language.word(name), style, values))
    ticks = of_months(first, last, language)
    plots = []
    for one in series:
        xs = [(start - first).days / span for start in starts]
        plot = lines(xs, [one], language, COUNT, ticks, height=110, left=56, steps=2)
        plot.heading = one.name
        plots.append(plot)
    weeks = _weekly(starts, series)
    return Picture(
        plots,
        most([f"{day:%Y-%m-%d}" for day in starts], series, language, COUNT),
        [language.say(say("week of")), *(one.name for one in series)],
        table_of([label for label, _ in weeks], _transposed(series, weeks), language, COUNT),
    )


def _weekly(starts: list[date], series: list[Series]) -> list[tuple[str, list[float]]]:
    """Means of the days of each week, or of each month of a long history."""
    form = "%Y-%m" if len(starts) > 200 else "%G-W%V"
    groups: dict[str, list[int]] = {}
    for at, day in enumerate(starts):
        groups.setdefault(day.strftime(form), []).append(at)
    return [
        (label, [sum(one.values[at] or 0 for at in places) / len(places) for one in series])
        for label, places in groups.items()
    ]


def _transposed(series: list[Series], weeks: list[tuple[str, list[float]]]) -> list[Series]:
    return [
        Series(one.name, one.style, [values[at] for _, values in weeks])
        for at, one in enumerate(series)
    ]


def _by_hour(part: Portion) -> pl.DataFrame:
    frames = [
        part[stream].group_by(stream=pl.lit(stream), hour=local(at).dt.hour()).agg(n=pl.len())
        for stream, (_, at, _) in STREAMS.items()
    ]
    return pl.concat(frames)


def _draw_hours(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    shares = percent(sums, "stream")
    series = []
    for stream, (name, _, style) in STREAMS.items():
        own = values_of(shares.filter(pl.col("stream") == stream), "hour", "percent")
        series.append(
            Series(language.word(name), style, [own.get(hour, 0.0) for hour in range(24)])
        )
    ticks = [Tick(hour / 23, f"{hour}h", hour % 6 == 3) for hour in range(0, 24, 3)]
    title = language.say(say("hour, in Brasília"))
    xs = [hour / 23 for hour in range(24)]
    hours = [f"{hour}h" for hour in range(24)]
    return Picture(
        [lines(xs, series, language, SHARE, ticks, title=title)],
        most(hours, series, language, SHARE),
        [language.say(say("hour")), *(one.name for one in series)],
        table_of(hours, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


# --- how much


_STEPS = 6  # buckets to a decade


def _amounts(part: Portion) -> pl.DataFrame:
    bucket = (pl.col("amount").log10() * _STEPS).floor().cast(pl.Int32)
    events = part["banking.transactions"].filter(pl.col("amount") > 0)
    return events.group_by("transaction_type", bucket=bucket).agg(n=pl.len())


def _draw_amounts(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    shares = percent(sums, "transaction_type")
    buckets = range(int(sums["bucket"].min() or 0), int(sums["bucket"].max() or 0) + 1)  # type: ignore[arg-type]
    symbols = catalogue()["banking.transactions"].field("transaction_type").symbols or ()
    totals = values_of(
        sums.group_by("transaction_type").agg(pl.col("n").sum()), "transaction_type", "n"
    )
    kinds = [kind for kind in symbols if kind in totals]
    # As many as can be told from one another.
    drawn = sorted(kinds, key=lambda kind: -totals[kind])[:8]
    series = []
    for at, kind in enumerate((kind for kind in kinds if kind in drawn), 1):
        own = values_of(shares.filter(pl.col("transaction_type") == kind), "bucket", "percent")
        values = [own.get(bucket, 0.0) for bucket in buckets]
        series.append(Series(kind, f"s{at}", values))
    span = max(len(buckets) - 1, 1)
    decades = {"1": 0, "10": 1, "100": 2, "1 K": 3, "10 K": 4, "100 K": 5, "1 M": 6, "10 M": 7}
    ticks = [
        Tick(place, language.word(name), decade % 2 == 0)
        for name, decade in decades.items()
        if 0 <= (place := ((decade + 2) * _STEPS - 0.5 - buckets[0]) / span) <= 1
    ]
    # The middle of a bucket, in R$.
    labels = [
        language.say(Number(10 ** ((bucket + 0.5) / _STEPS - 2), 0, before="R$ "))
        for bucket in buckets
    ]
    xs = [at / span for at in range(len(buckets))]
    title = language.say(say("amount, R$"))
    return Picture(
        [lines(xs, series, language, SHARE, ticks, title=title)],
        most(labels, series, language, SHARE),
        [language.say(say("amount, R$")), *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


def _balances(part: Portion) -> pl.DataFrame:
    band = pl.sum_horizontal((pl.col("balance") >= edge).cast(pl.Int32) for edge in BANDS)
    return part["accounts"].group_by("account_type", band=band).agg(n=pl.len())


def _draw_balances(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    shares = percent(sums, "account_type")
    series = []
    for kind, style in ACCOUNTS.items():
        own = values_of(shares.filter(pl.col("account_type") == kind), "band", "percent")
        series.append(Series(kind, style, [own.get(band, 0.0) for band in range(8)]))
    labels = [language.word(name) for name in BAND_NAMES]
    return Picture(
        [rows(labels, series, language, SHARE, left=110, row=40)],
        most(labels, series, language, SHARE),
        [language.say(say("balance, R$")), *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


def _categories(part: Portion) -> pl.DataFrame:
    events = part["banking.card-transactions"]
    return events.group_by("merchant_category").agg(n=pl.len(), value=pl.col("amount").sum())


def _draw_categories(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    value = (100 * pl.col("value") / pl.col("value").sum()).round(4)
    frame = percent(sums.with_columns(value=value, all=0), "all").sort(
        "n", "merchant_category", descending=[True, False]
    )
    labels = frame["merchant_category"].to_list()
    series = [
        Series(language.word("of the purchases"), "s2", frame["percent"].to_list()),
        Series(language.word("of the money"), "grey", frame["value"].to_list()),
    ]
    return Picture(
        [rows(labels, series, language, SHARE, row=26, left=172)],
        most(labels, series, language, SHARE),
        [language.say(say("category")), *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


# --- who


def _states(part: Portion) -> pl.DataFrame:
    return part["customers"].group_by("state").agg(n=pl.len())


def _draw_map(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:
    counts = values_of(sums, "state", "n")
    grid = [line.split() for line in MAP.strip().splitlines()]
    plot = Plot(430, left=0, below=4)
    high, wide = 1 / len(grid), 1 / len(grid[0])
    shares = {}
    for row, line in enumerate(grid):
        for column, state in enumerate(line):
            if state == ".":
                continue
            share = shares[state] = 100 * counts.get(state, 0) / plan.customers
            # By logarithm, since São Paulo has seventy times the people of Roraima.
            shade = min(max(round(math.log2(max(share, 0.4) / 0.4)), 0), 5)
            left, top = column * wide, 1 - row * high
            plot.bar(
                (left + 0.004, left + wide - 0.004),
                (top - high + 0.005, top - 0.005),
                f"tile t{shade}",
            )
            middle = left + wide / 2
            plot.write(middle, top - high / 2, state, "tile-name", "-.1em")
            number = language.say(SHARE.say(share))
            plot.write(middle, top - high / 2, number, "tile-number", "1.05em")
    ordered = sorted(shares, key=lambda state: (-shares[state], state))
    one = Series("", "s1", [shares[state] for state in ordered])
    return Picture(
        [plot],
        most(ordered, [one], language, SHARE),
        [language.say(say("state")), language.say(say("customers"))],
        table_of(ordered, [one], language, SHARE),
    )


def _against_census(
    labels: list[str], found: list[float], census: list[float], style: str, language: Language
) -> Picture:
    scale = Scale("%", 2)
    ours = Series(language.word("customers"), style, found)
    theirs = Series(language.word("Census 2022"), "census", census)
    return Picture(
        [columns(labels, [ours], language, scale, upright=True, marks=census, below=50)],
        most(labels, [ours, theirs], language, scale),
        ["", ours.name, theirs.name],
        table_of(labels, [ours, theirs], language, scale),
        [(ours.style, ours.name), ("census", theirs.name)],
    )


def _draw_states(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:
    counts = values_of(sums, "state", "n")
    people = _published.STATES
    states = sorted(people, key=lambda state: -people[state])
    found = [100 * counts.get(state, 0) / plan.customers for state in states]
    return _against_census(states, found, [people[state] for state in states], "s1", language)


def _ages(part: Portion) -> pl.DataFrame:
    return _rows.ages(part).group_by("label").agg(n=pl.len())


def _draw_ages(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:
    counts, all_adults = values_of(sums, "label", "n"), sum(_published.AGES.values())
    found = [100 * counts.get(band, 0) / plan.customers for band in _published.AGES]
    census = [100 * count / all_adults for count in _published.AGES.values()]
    return _against_census(list(_published.AGES), found, census, "s3", language)


# --- stocks


def _draw_prices(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    last = sums.sort("executed_at").group_by("ticker", "day", maintain_order=True).last()
    price = (100 * pl.col("unit_price") / pl.col("reference_price")).round(2)
    paths = last.with_columns(price=price).sort("ticker", "day")
    days = sorted(set(paths["day"]))
    heavy = sorted(_published.STOCKS, key=lambda ticker: -_published.STOCKS[ticker])[:5]
    styles = {ticker: f"thick s{at}" for at, ticker in enumerate(heavy, 1)}
    span = max((days[-1] - days[0]).days, 1) if days else 1
    series = []
    # Those with a colour come last and lie on top.
    for ticker in sorted(_published.STOCKS, key=lambda ticker: (ticker in heavy, ticker)):
        own = values_of(paths.filter(pl.col("ticker") == ticker), "day", "price")
        values = [own.get(day) for day in days]
        series.append(Series(ticker, styles.get(ticker, "faint"), values))
    xs = [(day - days[0]).days / span for day in days]
    ticks = of_months(days[0], days[-1], language) if days else []
    scale = Scale("%", 1)
    plot = lines(xs, series, language, scale, ticks, height=320, low=None)
    known = [
        (one.name, [value for value in one.values if value is not None])
        for one in sorted(series, key=lambda one: one.name)
    ]
    body = [
        [name, *(language.say(scale.say(value)) for value in (own[0], own[-1], min(own), max(own)))]
        for name, own in known
        if own
    ]
    coloured = [one for one in series if one.name in heavy]
    names = (say("first"), say("last"), say("lowest"), say("highest"))
    return Picture(
        [plot],
        most([f"{day:%Y-%m-%d}" for day in days], coloured, language, scale),
        [language.say(say("stock")), *(language.say(name) for name in names)],
        body,
        [(one.style, one.name) for one in coloured],
    )


# --- loans


def _loan_book(part: Portion) -> pl.DataFrame:
    return (
        part["loans"]
        .group_by("loan_type")
        .agg(pl.col("principal", "outstanding_balance").sum(), n=pl.len())
    )


def _draw_loan_book(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    series = []
    for column, name, style in (
        ("n", "of the contracts", "grey"),
        ("principal", "of the principal", "s2"),
        ("outstanding_balance", "of what is outstanding", "s1"),
    ):
        found = values_of(sums, "loan_type", column)
        whole = sum(found.values())
        values = [100 * found.get(kind, 0) / whole if whole else 0.0 for kind in LOANS]
        series.append(Series(language.word(name), style, values))
    labels = list(LOANS)
    return Picture(
        [columns(labels, series, language, SHARE)],
        most(labels, series, language, SHARE),
        [language.say(say("type")), *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


def _rates(part: Portion) -> pl.DataFrame:
    bucket = pl.col("monthly_rate") // 1_000
    return part["loans"].group_by("loan_type", bucket=bucket).agg(n=pl.len())


def _draw_rates(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    last = int(sums["bucket"].max() or 0) + 1  # type: ignore[arg-type]
    series = []
    for kind, style in LOANS.items():
        own = values_of(sums.filter(pl.col("loan_type") == kind), "bucket", "n")
        series.append(Series(kind, style, [own.get(bucket, 0) for bucket in range(last)]))
    labels = [language.say(Number(bucket / 10, 1, after="%")) for bucket in range(last)]
    title = language.say(say("rate, % a month"))
    return Picture(
        [columns(labels, series, language, COUNT, stacked=True, title=title, below=44, every=10)],
        most(labels, series, language, COUNT),
        [language.say(say("rate from")), *(one.name for one in series)],
        [
            row
            for row in table_of(labels, series, language, COUNT)
            if any(cell != "0" for cell in row[1:])
        ],
        [(one.style, one.name) for one in series],
    )


def _arrears(part: Portion) -> pl.DataFrame:
    scores = part["customers"].select("customer_id", score="credit_score")
    loans = part["loans"].filter(pl.col("status") != "SETTLED").join(scores, on="customer_id")
    band = pl.min_horizontal(pl.col("score") // 100, 9)
    return loans.group_by("status", band=band).agg(n=pl.len())


def _draw_arrears(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    shares = percent(sums, "band")
    bands = sorted(set(sums["band"]))
    series = []
    for status, name, style in (
        ("DEFAULTED", "more than 90 days late", "bad"),
        ("LATE", "up to 90 days late", "s2"),
    ):
        own = values_of(shares.filter(pl.col("status") == status), "band", "percent")
        series.append(Series(language.word(name), style, [own.get(band, 0.0) for band in bands]))
    labels = [f"{100 * band}–{100 * band + 99 + band // 9}" for band in bands]
    title = language.say(say("credit score of the customer"))
    totals = sums.group_by("band").agg(pl.col("n").sum())
    loans = values_of(totals, "band", "n")
    body = table_of(labels, series, language, SHARE)
    for row, band in zip(body, bands, strict=True):
        row.append(language.number(loans[band]))
    return Picture(
        [
            columns(
                [label.partition("–")[0] for label in labels],
                *(series, language, SHARE),
                stacked=True,
                title=title,
                below=44,
            )
        ],
        most(labels, series, language, SHARE),
        [language.say(say("score")), *(one.name for one in series), language.say(say("loans"))],
        body,
        [(one.style, one.name) for one in series],
    )


CHARTS = (
    Chart(
        "Events by day",
        "Events in each local day of the history, whose first and last need not be whole. "
        "Installments that are overdue are reported at the end.",
        ("stream", "day"),
        _by_day,
        _draw_days,
        wide=True,
    ),
    Chart(
        "Events by hour",
        "Percentage of the events of each stream, by hour in Brasília.",
        ("stream", "hour"),
        _by_hour,
        _draw_hours,
    ),
    Chart(
        "Amounts by transaction type",
        "Percentage of the events of each of the commonest types, in six steps to a power of ten.",
        ("transaction_type", "bucket"),
        _amounts,
        _draw_amounts,
    ),
    *_behaviour.CHARTS,
    Chart(
        "Customers by state",
        "Percentage of the customers who live in each state; north is up.",
        ("state",),
        _states,
        _draw_map,
    ),
    Chart(
        "Customers by state, and the census",
        "Percentage of the customers, and of the population.",
        ("state",),
        _states,
        _draw_states,
    ),
    Chart(
        "Customers by age, and the census",
        "Percentage of the customers by age 60 days before the history, and of all adults.",
        ("label",),
        _ages,
        _draw_ages,
    ),
    Chart(
        "Balances",
        "Percentage of the accounts of each type, by balance at the end.",
        ("account_type", "band"),
        _balances,
        _draw_balances,
    ),
    Chart(
        "Card purchases by category",
        "Percentage of the purchases, and of what they cost.",
        ("merchant_category",),
        _categories,
        _draw_categories,
        wide=True,
    ),
    Chart(
        "Prices of stocks",
        "Last trade of a day, in percent of the reference price; in colour the five stocks that "
        "weigh most in the index.",
        ("ticker", "day", "executed_at", "unit_price", "reference_price"),
        lambda part: part.once(_people.closes),
        _draw_prices,
        wide=True,
    ),
    Chart(
        "Loan book",
        "Percentage of contracts and money by type of loan.",
        ("loan_type",),
        _loan_book,
        _draw_loan_book,
    ),
    Chart(
        "Rates of loans",
        "Contracts by monthly rate, in steps of 0.1 points.",
        ("loan_type", "bucket"),
        _rates,
        _draw_rates,
    ),
    Chart(
        "Arrears by credit score",
        "Percentage of the open loans of customers with such a score.",
        ("status", "band"),
        _arrears,
        _draw_arrears,
    ),
)
