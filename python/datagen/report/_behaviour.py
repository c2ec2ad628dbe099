"""The charts of behaviour: activity, balances over time, spending, endings, arrears, what goes together."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

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
from ._language import Number, Said, say
from ._people import (
    MOVED,
    PAIRS,
    PERSON,
    PIX,
    PURCHASES,
    SENT,
    TRANSACTIONS,
    ending,
    movements,
    people,
    rolls,
    spending,
    trades,
)
from ._reading import local

if TYPE_CHECKING:
    from datagen._core import Plan

    from ._language import Language
    from ._reading import Portion

SHARE = Scale()


def _activity(part: Portion) -> pl.DataFrame:
    frames = [
        part.once(frame).group_by(what=pl.lit(what), value="value").agg(n=pl.len())
        for what, frame in (("movements", movements), ("trades", trades))
    ]
    return pl.concat(frames)


_TRADE_BANDS = [(0, 0), (1, 5), (6, 10), (11, 20), (21, 40), (41, 80), (81, 10**9)]


def _draw_activity(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:
    plots, said, body = [], [], []
    own = values_of(sums.filter(pl.col("what") == "movements"), "value", "n")
    total = sum(own.values())
    if total:
        mean = sum(int(str(value)) * n for value, n in own.items()) / total
        square = sum(int(str(value)) ** 2 * n for value, n in own.items()) / total
        last = min(max(int(str(value)) for value in own), 40)
        found = [100 * own.get(value, 0) / total for value in range(last)]
        found.append(100 - sum(found))
        chance = [
            100 * math.exp(-mean + n * math.log(mean) - math.lgamma(n + 1)) for n in range(last)
        ]
        chance.append(max(100 - sum(chance), 0.0))
        labels = [*map(str, range(last)), f"{last}+"]
        ours = Series(language.word("accounts"), "s1", found)
        plots.append(
            columns(
                labels,
                [ours],
                language,
                SHARE,
                height=190,
                every=5,
                marks=chance,
                below=44,
                title=language.say(say("movements in a month")),
            )
        )
        spread = (square - mean**2) / mean if mean else 0.0
        said.append(
            say(
                "{mean} movements in a month, variance {spread} times that; {none} without any.",
                mean=Number(mean, 1),
                spread=Number(spread, 1),
                none=Number(found[0], 1, after="%"),
            )
        )
        theirs = Series(language.word("by chance alone (Poisson)"), "census", chance)
        body += table_of(labels, [ours, theirs], language, SHARE)
    counts = values_of(sums.filter(pl.col("what") == "trades"), "value", "n")
    investors = sum(counts.values())
    if investors:
        names = [f"{low}–{high}" if high > low else str(low) for low, high in _TRADE_BANDS]
        names[-1] = "81+"
        found = [
            100
            * sum(n for value, n in counts.items() if low <= int(str(value)) <= high)
            / investors
            for low, high in _TRADE_BANDS
        ]
        one = Series(language.word("investors"), "s3", found)
        title = language.say(say("trades of an INVESTIMENTOS account in {n} days", n=plan.days))
        plots.append(columns(names, [one], language, SHARE, height=130, below=44, title=title))
        share = most(names, [one], language, SHARE)
        said.append(say("{share}", share=share))
        body += [
            [f"{name} {language.word('trades')}", cell, ""]
            for name, cell in table_of(names, [one], language, SHARE)
        ]
    if not plots:
        said.append(say("nothing to count"))
    return Picture(
        plots,
        " ".join(language.say(one) for one in said),
        *(
            [
                language.say(say("movements in a month")),
                language.word("accounts"),
                language.word("by chance alone (Poisson)"),
            ],
            body,
        ),
        [
            ("s1", language.word("accounts")),
            ("census", language.word("by chance alone (Poisson)")),
            ("s3", language.word("investors")),
        ],
    )


# --- balance over time


def _moved(part: Portion) -> pl.DataFrame:
    """What balances began with, and what was added to them on each day."""
    accounts = part["accounts"].select("account_id", "account_type", "opening_balance")
    start = local_time(part.plan.as_of - timedelta(part.plan.days)).date()
    signed = pl.when(SENT).then(-pl.col("amount")).otherwise("amount")
    opening = accounts.select("account_type", day=pl.lit(start - timedelta(1)), n="opening_balance")
    moves = (
        part[TRANSACTIONS]
        .filter(MOVED)
        .join(accounts, on="account_id")
        .select("account_type", day=local("occurred_at").dt.date(), n=signed)
    )
    return pl.concat([opening, moves]).group_by("account_type", "day").agg(pl.col("n").sum())


def _draw_moved(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    days = sorted(set(sums["day"]))
    series, money = [], []
    for at, kind in enumerate(("CORRENTE", "POUPANCA", "INVESTIMENTOS"), 1):
        own = values_of(sums.filter(pl.col("account_type") == kind), "day", "n")
        balance, balances = 0.0, []
        for day in days:
            balance += own.get(day, 0)
            balances.append(balance)
        if not balances or balances[0] <= 0:
            continue
        series.append(Series(kind, f"s{at}", [100 * one / balances[0] for one in balances]))
        money.append(Series(kind, f"s{at}", [one / 100 for one in balances]))
    span = max((days[-1] - days[0]).days, 1) if days else 1
    said = [
        language.say(
            say(
                "{name}: {last} of the beginning.",
                name=one.name,
                last=Number(one.values[-1] or 0, after="%"),
            )
        )
        for one in series
    ]
    step = max(len(days) // 14, 1)
    shown = [at for at in range(len(days)) if at % step == 0 or at == len(days) - 1]
    few = [Series(one.name, one.style, [one.values[at] for at in shown]) for one in money]
    reais = Scale("R$", 0)
    ticks = of_months(days[0], days[-1], language) if days else []
    return Picture(
        [
            lines(
                [(day - days[0]).days / span for day in days],
                *(series, language, Scale("%", 0, top=120), ticks),
            )
        ],
        " ".join(said) or language.say(say("nothing to count")),
        [language.say(say("end of")), *(one.name for one in money)],
        table_of([f"{days[at]:%Y-%m-%d}" for at in shown], few, language, reais),
        [(one.style, one.name) for one in series],
    )


# --- spending


_INCOMES = [200_000, 400_000, 700_000, 1_200_000]
INCOME_NAMES = ["0–2 K", "2–4 K", "4–7 K", "7–12 K", "12 K +"]


def _spending_bands(part: Portion) -> pl.DataFrame:
    band = pl.sum_horizontal((pl.col("monthly_income") > edge).cast(pl.Int32) for edge in _INCOMES)
    value = pl.min_horizontal(pl.col("value"), 300)
    return part.once(spending).group_by(band=band, value=value).agg(n=pl.len())


def _draw_spending(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    middles: list[float] = []
    above: list[float] = []
    for band in range(len(INCOME_NAMES)):
        own = sums.filter(pl.col("band") == band).sort("value")
        n = int(own["n"].sum())
        before = own["n"].cum_sum()
        middles.append(float(own["value"][int((before < n / 2).sum())]) if n else 0.0)
        beyond = int(own.filter(pl.col("value") > 100)["n"].sum())
        above.append(100 * beyond / n if n else 0.0)
    labels = [language.word(name) for name in INCOME_NAMES]
    series = [
        Series(language.word("median, of the income"), "s1", middles),
        Series(language.word("months above the income"), "bad", above),
    ]
    title = language.say(say("income a month, R$"))
    return Picture(
        [columns(labels, series, language, SHARE, title=title, below=44)],
        most(labels, series, language, SHARE),
        [title, *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


# --- endings


ENDINGS = {
    "tens": ("tens of reais", "s1"),
    "whole": ("other whole reais", "s3"),
    "90": ("ending in 90 centavos", "s2"),
    "99": ("ending in 99 centavos", "s4"),
    "other": ("other centavos", "faded"),
}
_SHOPS = {
    "5411": "supermarkets",
    "5541": "fuel",
    "5812": "restaurants",
    "5651": "clothing",
    "5818": "digital goods",
}
KINDS = ("Pix between persons", "Pix to firms", "cash", *_SHOPS.values())


def _endings(part: Portion) -> pl.DataFrame:
    kind = (
        pl.when(PIX & SENT & PERSON)
        .then(pl.lit("Pix between persons"))
        .when(PIX & SENT & ~PERSON)
        .then(pl.lit("Pix to firms"))
        .when(pl.col("transaction_type") == "WITHDRAWAL")
        .then(pl.lit("cash"))
    )
    shop = pl.col("mcc").replace_strict(_SHOPS, default=None)
    frames = [
        part[stream].select(kind=kind, ending=ending()).drop_nulls("kind")
        for stream, kind in ((TRANSACTIONS, kind), (PURCHASES, shop))
    ]
    return pl.concat(frames).group_by("kind", "ending").agg(n=pl.len())


def _draw_endings(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    shares = percent(sums, "kind")
    labels = [language.word(kind) for kind in KINDS]
    series = []
    for ending_of, (name, style) in ENDINGS.items():
        own = values_of(shares.filter(pl.col("ending") == ending_of), "kind", "percent")
        series.append(Series(language.word(name), style, [own.get(kind, 0.0) for kind in KINDS]))
    return Picture(
        [rows(labels, series, language, SHARE, left=126, stacked=True)],
        most(labels, series, language, SHARE),
        [language.say(say("of")), *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


# --- arrears


STAGES = ("in time", "1–30 days", "31–60 days", "61–90 days", "more than 90 days")


def _draw_rolls(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    series = []
    for name, style, chosen in (
        ("worse a month later", "bad", pl.col("after") > pl.col("before")),
        ("the same", "faded", pl.col("after") == pl.col("before")),
        (
            "better, and not yet in time",
            "s2",
            (pl.col("after") < pl.col("before")) & (pl.col("after") > 0),
        ),
        ("in time again", "s3", (pl.col("after") == 0) & (pl.col("before") > 0)),
    ):
        values = []
        for before in range(len(STAGES)):
            own = sums.filter(pl.col("before") == before)
            total = int(own["n"].sum())
            values.append(100 * int(own.filter(chosen)["n"].sum()) / total if total else None)
        series.append(Series(language.word(name), style, values))
    labels = [language.word(stage) for stage in STAGES]
    # Nearly all that were in time are so a month later: the stages begin with those that are late.
    late = [Series(one.name, one.style, one.values[1:]) for one in series]
    return Picture(
        [rows(labels[1:], late, language, SHARE, left=126, stacked=True, row=38)],
        most(labels[1:], [late[0], late[3]], language, SHARE),
        [language.say(say("late at the end of a month")), *(one.name for one in series)],
        table_of(labels, series, language, SHARE),
        [(one.style, one.name) for one in series],
    )


# --- what goes together


def _draw_pairs(sums: pl.DataFrame, plan: Plan, language: Language) -> Picture:  # noqa: ARG001
    values: list[float | None] = []
    for one, other in PAIRS:
        pair = sums.select(one, other).drop_nulls()
        value = (
            pair.select(pl.corr(one, other, method="spearman")).item() if len(pair) > 3 else None
        )
        values.append(None if value is None or math.isnan(value) else value)
    labels = [language.word(name) for name in PAIRS.values()]
    series = [Series("", "s1", values)]
    scale = Scale("", 2)
    known = [
        (value, label) for value, label in zip(values, labels, strict=True) if value is not None
    ]
    said: Said = say("nothing to count")
    if known:
        (low, lowest), (high, highest) = min(known), max(known)
        said = say(
            "Strongest: {highest}, {high}; {lowest}, {low}.",
            highest=highest,
            high=scale.say(high),
            lowest=lowest,
            low=scale.say(low),
        )
    return Picture(
        [rows(labels, series, language, scale, left=142, row=34, low=-0.5)],
        language.say(said),
        [language.say(say("of")), language.say(say("rank correlation"))],
        table_of(labels, series, language, scale),
    )


CHARTS = (
    Chart(
        "Activity",
        "Accounts by movements in a whole month, beside what chance alone would give, and investors by trades.",
        ("what", "value"),
        _activity,
        _draw_activity,
    ),
    Chart(
        "Balance over time",
        "Sum of the balances of each type of account, in percent of what it was at the beginning.",
        ("account_type", "day"),
        _moved,
        _draw_moved,
    ),
    Chart(
        "Card spending by income",
        "Approved purchases in a whole month, in percent of the holder's income.",
        ("band", "value"),
        _spending_bands,
        _draw_spending,
    ),
    Chart(
        "Endings of amounts",
        "How amounts end, where people choose them and where prices do.",
        ("kind", "ending"),
        _endings,
        _draw_endings,
    ),
    Chart(
        "Roll rates",
        "What became of loans that were late at the end of a month, a month later; over the last year.",
        ("before", "after"),
        lambda part: part.once(rolls).group_by("before", "after").agg(n=pl.len()),
        _draw_rolls,
    ),
    Chart(
        "What goes together",
        "Spearman's rank correlation over the customers for whom both are known.",
        (),
        lambda part: part.once(people),
        _draw_pairs,
    ),
)
