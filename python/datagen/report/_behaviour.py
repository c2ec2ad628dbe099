"""What people do, counted for charts and figures: activity, spending, endings, arrears, what goes together."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
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
from ._reading import local

if TYPE_CHECKING:
    from datagen._core import Plan

    from ._language import Language
    from ._reading import Portion

_TRANSACTIONS = "banking.transactions"
_PURCHASES = "banking.card-transactions"
_TRADES = "banking.trades"
_INSTALLMENTS = "banking.installments"
SHARE = Scale()

MOVED = pl.col("status") == "COMPLETED"
APPROVED = pl.col("status") == "APPROVED"
PIX = pl.col("transaction_type") == "PIX"
SENT = pl.col("direction") == "DEBIT"
#: A masked CPF; firms have a CNPJ.
PERSON = pl.col("counterparty_document").str.starts_with("*")


def whole_months(plan: Plan) -> list[date]:
    """First days of the months of which the history misses less than a day."""
    start = local_time(plan.as_of - timedelta(plan.days)) - timedelta(1)
    end = local_time(plan.as_of) + timedelta(1)
    months = [
        date(year, month, 1) for year in range(start.year, end.year + 1) for month in range(1, 13)
    ]
    return [
        month
        for month, after in zip(months, [*months[1:], date(end.year + 1, 1, 1)], strict=True)
        if start <= datetime.combine(month, datetime.min.time())
        and datetime.combine(after, datetime.min.time()) <= end
    ]


def _each_month(part: Portion, entities: pl.DataFrame, since: str) -> pl.DataFrame:
    """Entities with each whole month that began when they were there."""
    months = pl.DataFrame({"month": whole_months(part.plan)}, schema={"month": pl.Date})
    joined = entities.join(months, how="cross")
    return joined.filter(pl.col(since).dt.date() <= pl.col("month"))


def movements(part: Portion) -> pl.DataFrame:
    """Movements of each open CORRENTE account in each whole month, also of none: `value`."""
    accounts = part["accounts"].filter(
        (pl.col("account_type") == "CORRENTE") & (pl.col("status") == "ACTIVE")
    )
    each = _each_month(part, accounts.select("account_id", "customer_id", "opened_at"), "opened_at")
    counts = (
        part[_TRANSACTIONS]
        .filter(MOVED)
        .group_by("account_id", month=local("occurred_at").dt.date().dt.month_start())
        .agg(value=pl.len().cast(pl.Int64))
    )
    joined = each.join(counts, on=["account_id", "month"], how="left")
    return joined.with_columns(pl.col("value").fill_null(0))


def trades(part: Portion) -> pl.DataFrame:
    """Trades of each INVESTIMENTOS account, also of none: `value`."""
    accounts = part["accounts"].filter(pl.col("account_type") == "INVESTIMENTOS")
    counts = part[_TRADES].group_by("account_id").agg(value=pl.len().cast(pl.Int64))
    joined = accounts.select("account_id").join(counts, on="account_id", how="left")
    return joined.with_columns(pl.col("value").fill_null(0))


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
        part[_TRANSACTIONS]
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


def spending(part: Portion) -> pl.DataFrame:
    """Card spending of each holder in each whole month, in percent of income: `value`."""
    cards = part["credit_cards"].filter(pl.col("status") == "ACTIVE")
    incomes = part["customers"].select("customer_id", "monthly_income")
    holders = cards.select("card_id", "customer_id", "issued_at").join(incomes, on="customer_id")
    spent = (
        part[_PURCHASES]
        .filter(APPROVED)
        .group_by("card_id", month=local("occurred_at").dt.date().dt.month_start())
        .agg(spent=pl.col("amount").sum())
    )
    each = _each_month(part, holders, "issued_at").join(spent, on=["card_id", "month"], how="left")
    value = 100 * pl.col("spent").fill_null(0) // pl.col("monthly_income")
    return each.with_columns(value=value)


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


def ending() -> pl.Expr:
    cents = pl.col("amount") % 100
    return (
        pl.when(pl.col("amount") % 1000 == 0)
        .then(pl.lit("tens"))
        .when(cents == 0)
        .then(pl.lit("whole"))
        .when(cents == 90)
        .then(pl.lit("90"))
        .when(cents == 99)
        .then(pl.lit("99"))
        .otherwise(pl.lit("other"))
    )


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
        for stream, kind in ((_TRANSACTIONS, kind), (_PURCHASES, shop))
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


def rolls(part: Portion) -> pl.DataFrame:
    """Loans by what they were late at the end of a month, and at the end of the next: `n`."""
    plan = part.plan
    last = local_time(plan.as_of).date()
    first = (last - timedelta(max(plan.days, 365))).replace(day=1)
    ends = pl.date_range(first, last, "1mo", eager=True).dt.offset_by("-1d").to_frame("end")
    events = part[_INSTALLMENTS].filter(pl.col("due_date") >= first - timedelta(400))
    late = events.filter(pl.col("days_late") > 0).select(
        "loan_id", "due_date", paid=local("paid_at").dt.date()
    )
    open_at = late.join(ends, how="cross").filter(
        (pl.col("due_date") < pl.col("end"))
        & (pl.col("paid").is_null() | (pl.col("paid") > pl.col("end")))
    )
    days = (pl.col("end") - pl.col("due_date").min()).dt.total_days()
    stage = pl.min_horizontal((days + 29) // 30, 4).cast(pl.Int32)
    states = open_at.group_by("loan_id", "end").agg(stage=stage.first())
    # Loans that had begun to fall due at the first of two ends.
    begun = part["loans"].select("loan_id", "first_due_date", "status")
    each = begun.join(ends, how="cross").filter(pl.col("first_due_date") < pl.col("end"))
    pairs = (
        each.join(states, on=["loan_id", "end"], how="left")
        .with_columns(pl.col("stage").fill_null(0))
        .sort("loan_id", "end")
        .with_columns(after=pl.col("stage").shift(-1).over("loan_id"))
        .drop_nulls("after")
    )
    return pairs.group_by(before="stage", after="after").agg(n=pl.len())


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


# --- stocks


def closes(part: Portion) -> pl.DataFrame:
    """The last trade of a stock and day."""
    reference = part["stocks"].select("stock_id", "reference_price")
    trades = part[_TRADES].join(reference, on="stock_id")
    return (
        trades.sort("executed_at")
        .group_by(ticker=pl.col("ticker").str.strip_suffix("F"), day=local("executed_at").dt.date())
        .agg(pl.col("executed_at", "unit_price", "reference_price").last())
        .with_columns(n=1)
    )


# --- what goes together


PAIRS = {
    ("score", "income"): "score, income",
    ("score", "used"): "score, limit used",
    ("score", "late"): "score, arrears",
    ("income", "pix"): "income, mean Pix",
    ("income", "moves"): "income, movements",
    ("income", "products"): "income, products",
    ("income", "spent"): "income, card spending",
    ("age", "online"): "age, online purchases",
    ("age", "moves"): "age, movements",
}


def people(part: Portion) -> pl.DataFrame:
    """What each customer is and does, as numbers; null where there is nothing."""
    accounts = part["accounts"].select("account_id", "customer_id")
    cards = part["credit_cards"]
    holders = cards.select("card_id", "customer_id")
    day = local_time(part.plan.as_of).date()
    moved = part[_TRANSACTIONS].filter(MOVED)
    of_account = moved.group_by("account_id").agg(
        moves=pl.len(),
        pix_sum=pl.col("amount").filter(PIX & SENT).sum(),
        pix_n=(PIX & SENT).sum(),
    )
    of_card = (
        part[_PURCHASES]
        .filter(APPROVED)
        .group_by("card_id")
        .agg(spent=pl.col("amount").sum(), online=(pl.col("entry_mode") == "ECOMMERCE").mean())
    )
    moves = (
        of_account.join(accounts, on="account_id")
        .group_by("customer_id")
        .agg(pl.col("moves", "pix_sum", "pix_n").sum())
    )
    spent = (
        of_card.join(holders, on="card_id")
        .group_by("customer_id")
        .agg(pl.col("spent").sum(), pl.col("online").mean())
    )
    used = (
        cards.filter(pl.col("status") == "ACTIVE")
        .group_by("customer_id")
        .agg(used=1 - pl.col("available_limit").sum() / pl.col("credit_limit").sum())
    )
    owed = (
        part["loans"]
        .filter(pl.col("status") != "SETTLED")
        .group_by("customer_id")
        .agg(late=pl.col("status").is_in(["LATE", "DEFAULTED"]).any())
    )
    products = (
        pl.concat(
            [part[name].select("customer_id") for name in ("accounts", "credit_cards", "loans")]
        )
        .group_by("customer_id")
        .agg(products=pl.len())
    )
    joined = part["customers"].select(
        "customer_id",
        score="credit_score",
        income="monthly_income",
        age=(pl.lit(day) - pl.col("birth_date")).dt.total_days(),
    )
    for frame in (moves, spent, used, owed, products):
        joined = joined.join(frame, on="customer_id", how="left", maintain_order="left")
    joined = joined.with_columns(
        pl.col("moves").fill_null(0),
        pix=pl.when(pl.col("pix_n") > 0).then(pl.col("pix_sum") / pl.col("pix_n")),
    )
    names = sorted({name for pair in PAIRS for name in pair})
    return joined.select(pl.col(names).cast(pl.Float32))


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
        lambda part: part.once(rolls),
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
