"""What a reader of a bank's data expects of its customers, as ranges that the data catalogue promises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from datagen._core import Plan

from . import _people as people
from ._association import Comovement, Correlation, Separation
from ._measures import (
    ALL,
    Dispersion,
    Figure,
    Means,
    Median,
    Range,
    Shares,
    between,
    each_row,
    labelled,
    ranges,
)
from ._people import APPROVED, MOVED, PERSON, PIX, SENT
from ._reading import Portion, has
from .figures import PROMISE

_TRANSACTIONS = "banking.transactions"
_PURCHASES = "banking.card-transactions"
_CORRENTE = pl.col("account_type") == "CORRENTE"


def _dormant(part: Portion) -> pl.DataFrame:
    frame = part.once(people.movements)
    return frame.select(label=labelled(pl.col("value") == 0), entity="account_id")


def _balances(part: Portion) -> pl.DataFrame:
    """Of accounts that were there when the history began: what they had, and have in the end."""
    start = part.plan.as_of - timedelta(part.plan.days)
    accounts = part["accounts"].filter(_CORRENTE & (pl.col("opened_at") < start))
    return accounts.select(label=pl.lit(ALL), y="balance", n="opening_balance")


def _come_and_go(part: Portion) -> pl.DataFrame:
    """Customers by whether they have joined within the history, or left."""
    start = part.plan.as_of - timedelta(part.plan.days)
    left = part["accounts"].filter(
        _CORRENTE & (pl.col("status") == "CLOSED") & (pl.col("status_reason") == "HOLDER_REQUEST")
    )
    gone = pl.col("customer_id").is_in(left["customer_id"].implode())
    came = pl.col("created_at") >= start
    label = pl.when(came).then(pl.lit("join")).when(gone).then(pl.lit("leave"))
    return part["customers"].select(label=label.otherwise(None), entity="customer_id")


def _coming_and_going(plan: Plan) -> Mapping[str, Range]:
    """Of histories of more than a month, up to a year: no customer leaves in the first ten days."""
    months, later = plan.days / 30, (plan.days - 10) / 30
    if not 30 < plan.days <= 366:
        return {}
    return {"join": Range(months, months), "leave": Range(0.28 * later, 0.42 * later)}


def _above_income(part: Portion) -> pl.DataFrame:
    frame = part.once(people.spending)
    return frame.select(label=labelled(pl.col("value") > 100), entity="card_id")


def _pair(x: str, y: str) -> Correlation:
    return Correlation(lambda part: part.once(people.people).select(x=x, y=y))


def _away(part: Portion) -> pl.DataFrame:
    """Purchases in person by whether they are in the holder's city."""
    homes = part["customers"].select("customer_id", "city", "state")
    holders = part["credit_cards"].select("card_id", "customer_id").join(homes, on="customer_id")
    seen = part[_PURCHASES].filter(APPROVED & (pl.col("entry_mode") != "ECOMMERCE"))
    joined = seen.join(holders, on="card_id")
    away = (pl.col("merchant_city") != pl.col("city")) | (
        pl.col("merchant_state") != pl.col("state")
    )
    return joined.select(label=labelled(away), entity="card_id")


def _rolls(part: Portion) -> pl.DataFrame:
    """Of loans that were late at the end of a month: how many are later at the end of the next."""
    pairs = part.once(people.rolls).filter(pl.col("before").is_between(1, 2))
    name = pl.col("before").replace_strict({1: "30 to 60", 2: "60 to 90"})
    worse = (pl.col("after") > pl.col("before")).sum()
    return pairs.group_by("loan_id", label=name).agg(y=worse, n=pl.len())


_INSTALLMENT = pl.col("principal_amount") + pl.col("interest_amount")


def _could_pay(part: Portion, accounts: pl.DataFrame, owed: pl.Expr) -> pl.DataFrame:
    """Loans with overdue installments, by whether the balance of accounts is what is owed."""
    overdue = part["banking.installments"].filter(pl.col("payment_status") == "OVERDUE")
    money = accounts.group_by("customer_id").agg(pl.col("balance").sum())
    loans = part["loans"].join(overdue.group_by("loan_id").agg(owed=owed), on="loan_id")
    joined = loans.join(money, on="customer_id")
    return joined.select(label=labelled(pl.col("balance") >= pl.col("owed")), entity="customer_id")


def _separation(part: Portion) -> pl.DataFrame:
    """Open loans in default, by the holder's score."""
    scores = part["customers"].select("customer_id", score="credit_score")
    loans = part["loans"].filter(pl.col("status") != "SETTLED").join(scores, on="customer_id")
    return loans.select("score", y=(pl.col("status") == "DEFAULTED").cast(pl.Int64))


def _salaries(part: Portion) -> pl.DataFrame:
    """Months' salaries, but the thirteenth, by whether they are about the holder's income."""
    incomes = part["customers"].select("customer_id", "monthly_income")
    accounts = part["accounts"].select("account_id", "customer_id").join(incomes, on="customer_id")
    thirteenth = pl.col("description") == "Décimo terceiro salário"
    salary = (pl.col("transaction_type") == "SALARY") & ~thirteenth.fill_null(value=False)
    paid = part[_TRANSACTIONS].filter(MOVED & salary)
    months = (
        paid.join(accounts, on="account_id")
        .group_by(
            "customer_id", "monthly_income", month=pl.col("occurred_at").dt.month_start().dt.date()
        )
        .agg(pl.col("amount").sum())
    )
    whole = months.filter(pl.col("month").is_in(people.whole_months(part.plan)))
    near = (pl.col("amount") / pl.col("monthly_income")).is_between(0.75, 1.25)
    return whole.select(label=labelled(near), entity="customer_id")


def _favourite(part: Portion) -> pl.DataFrame:
    """Visits to supermarkets, by whether it is the one where the card is most often."""
    visits = part[_PURCHASES].filter(
        APPROVED & (pl.col("mcc") == "5411") & (pl.col("entry_mode") != "ECOMMERCE")
    )
    each = visits.group_by("card_id", "merchant_id").agg(n=pl.len())
    often = pl.col("n").sum().over("card_id") >= 5
    sums = (
        each.filter(often)
        .group_by("card_id")
        .agg(y=pl.col("n").max().cast(pl.Int64), n=pl.col("n").sum())
    )
    return sums.with_columns(label=pl.lit(ALL))


def _ending(kind: pl.Expr, among: tuple[str, ...]) -> Shares:
    return Shares(
        each_row(
            _TRANSACTIONS,
            labelled(people.ending().is_in(among)),
            entity="account_id",
            where=kind,
        )
    )


BEHAVIOUR: tuple[Figure, ...] = (
    Figure(
        "Customers who join the bank and who leave it",
        PROMISE,
        Shares(_come_and_go),
        _coming_and_going,
        why="of histories of more than a month, up to a year",
    ),
    Figure(
        "Accounts without a movement in a month",
        PROMISE,
        Shares(_dormant),
        between(5, 15),
        digits=1,
        resolves=5.0,
    ),
    Figure(
        "Movements of an account in a month: variance by mean",
        PROMISE,
        Dispersion(lambda part: part.once(people.movements)),
        between(1, float("inf")),
        unit="",
        why="1 is chance alone; people differ more than that",
    ),
    Figure(
        "Trades of an investor: variance by mean",
        PROMISE,
        Dispersion(lambda part: part.once(people.trades)),
        between(1, float("inf")),
        unit="",
        why="1 is chance alone; people differ more than that",
    ),
    Figure(
        "Balances of CORRENTE accounts, end by beginning",
        PROMISE,
        Means(_balances, spread=1.0, weighted=True, skewed=True),
        between(0.9, 1.15),
        unit="times",
        resolves=0.5,
        why="of accounts that were open when the history began",
    ),
    Figure(
        "Months with card spending above the income",
        PROMISE,
        Shares(_above_income),
        between(0, 8),
        digits=1,
        resolves=5.0,
    ),
    Figure(
        "Median card spending in a month, of the income",
        PROMISE,
        Median(lambda part: part.once(people.spending)),
        between(25, 45),
        digits=0,
    ),
    Figure(
        "Score and used part of a card's limit, rank correlation",
        PROMISE,
        _pair("score", "used"),
        between(-1, -0.3),
        unit="",
        resolves=0.3,
    ),
    Figure(
        "Income and mean Pix, rank correlation",
        PROMISE,
        _pair("income", "pix"),
        between(0.3, 0.6),
        unit="",
        resolves=0.3,
    ),
    Figure(
        "Income and number of movements, rank correlation",
        PROMISE,
        _pair("income", "moves"),
        between(0.2, 0.6),
        unit="",
        resolves=0.2,
    ),
    Figure(
        "Income and number of products, rank correlation",
        PROMISE,
        _pair("income", "products"),
        between(0.1, 0.6),
        unit="",
        resolves=0.2,
        why="rising; the shares of products are given",
    ),
    Figure(
        "Pix between persons in whole reais",
        PROMISE,
        _ending(PIX & SENT & PERSON, ("tens", "whole")),
        between(40, 70),
        digits=1,
        why="about half",
    ),
    Figure(
        "Cash in tens of reais",
        PROMISE,
        _ending(pl.col("transaction_type") == "WITHDRAWAL", ("tens",)),
        between(95, 100),
        digits=1,
        resolves=10.0,
        why="notes that machines have",
    ),
    Figure(
        "Purchases in person away from home",
        PROMISE,
        Shares(_away),
        between(4, 12),
        digits=1,
        resolves=4.0,
        why="about 8%, on trips",
    ),
    Figure(
        "Loans late that are later a month after",
        PROMISE,
        Means(_rolls, spread=1.0, scale=0.01),
        ranges({"30 to 60": (20, 50), "60 to 90": (20, 80)}),
        digits=1,
        why="roll rates by days late",
    ),
    Figure(
        "Borrowers in arrears who could pay",
        PROMISE,
        Shares(
            lambda part: _could_pay(part, part["accounts"].filter(_CORRENTE), _INSTALLMENT.sum())
        ),
        between(0, 20),
        digits=1,
        resolves=10.0,
        why="whose CORRENTE account, which pays the installments, has all that is overdue",
    ),
    Figure(
        "Borrowers in arrears with an installment in any account",
        PROMISE,
        Shares(lambda part: _could_pay(part, part["accounts"], _INSTALLMENT.min())),
        between(0, 10),
        digits=1,
        why="people use their savings before they are late; here savings and investments are kept, "
        "which is not like them",
        judged=False,
    ),
    Figure(
        "Score and default: area under the curve",
        PROMISE,
        Separation(_separation),
        between(0.70, 0.80),
        unit="",
        resolves=0.1,
        why="0.5 is a coin",
    ),
    Figure(
        "Daily returns: correlation",
        PROMISE,
        Comovement(lambda part: part.once(people.closes)),
        ranges({"PETR3/PETR4": (0.9, 1.0), "mean of all pairs": (0.2, 0.4)}),
        unit="",
        resolves=10.0,
        why="of last trades of a day",
    ),
    *(
        [
            Figure(
                "Salaries of a month that are about the income",
                PROMISE,
                Shares(_salaries),
                between(80, 100),
                digits=1,
                why="a fourth off at the most; months of want are not; without the thirteenth",
            )
        ]
        if has(_TRANSACTIONS, "transaction_type", "SALARY")
        else []
    ),
    *(
        [
            Figure(
                "Visits to a card's own supermarket",
                PROMISE,
                Means(_favourite, spread=0.5, scale=0.01),
                between(40, 100),
                digits=1,
                why="of cards with five visits or more",
            )
        ]
        if has(_PURCHASES, "merchant_id")
        else []
    ),
)
