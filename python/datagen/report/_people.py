"""What people do, counted for charts and figures: movements, spending, arrears, what goes together."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from ._calendar import local_time
from ._reading import local

if TYPE_CHECKING:
    from datagen._core import Plan

    from ._reading import Portion

TRANSACTIONS = "banking.transactions"
PURCHASES = "banking.card-transactions"
TRADES = "banking.trades"
INSTALLMENTS = "banking.installments"

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
        part[TRANSACTIONS]
        .filter(MOVED)
        .group_by("account_id", month=local("occurred_at").dt.date().dt.month_start())
        .agg(value=pl.len().cast(pl.Int64))
    )
    joined = each.join(counts, on=["account_id", "month"], how="left")
    return joined.with_columns(pl.col("value").fill_null(0))


def trades(part: Portion) -> pl.DataFrame:
    """Trades of each INVESTIMENTOS account, also of none: `value`."""
    accounts = part["accounts"].filter(pl.col("account_type") == "INVESTIMENTOS")
    counts = part[TRADES].group_by("account_id").agg(value=pl.len().cast(pl.Int64))
    joined = accounts.select("account_id").join(counts, on="account_id", how="left")
    return joined.with_columns(pl.col("value").fill_null(0))


def spending(part: Portion) -> pl.DataFrame:
    """Card spending of each holder in each whole month, in percent of income: `value`."""
    cards = part["credit_cards"].filter(pl.col("status") == "ACTIVE")
    incomes = part["customers"].select("customer_id", "monthly_income")
    holders = cards.select("card_id", "customer_id", "issued_at").join(incomes, on="customer_id")
    spent = (
        part[PURCHASES]
        .filter(APPROVED)
        .group_by("card_id", month=local("occurred_at").dt.date().dt.month_start())
        .agg(spent=pl.col("amount").sum())
    )
    each = _each_month(part, holders, "issued_at").join(spent, on=["card_id", "month"], how="left")
    value = 100 * pl.col("spent").fill_null(0) // pl.col("monthly_income")
    return each.with_columns(value=value)


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


def rolls(part: Portion) -> pl.DataFrame:
    """Loans with what they were late at the end of a month, and at the end of the next."""
    plan = part.plan
    last = local_time(plan.as_of).date()
    first = (last - timedelta(max(plan.days, 365))).replace(day=1)
    ends = pl.date_range(first, last, "1mo", eager=True).dt.offset_by("-1d").to_frame("end")
    events = part[INSTALLMENTS].filter(pl.col("due_date") >= first - timedelta(400))
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
    return pairs.select("loan_id", before="stage", after="after")


def closes(part: Portion) -> pl.DataFrame:
    """The last trade of a stock and day."""
    reference = part["stocks"].select("stock_id", "reference_price")
    trades = part[TRADES].join(reference, on="stock_id")
    return (
        trades.sort("executed_at")
        .group_by(ticker=pl.col("ticker").str.strip_suffix("F"), day=local("executed_at").dt.date())
        .agg(pl.col("executed_at", "unit_price", "reference_price").last())
        .with_columns(n=1)
    )


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
    moved = part[TRANSACTIONS].filter(MOVED)
    of_account = moved.group_by("account_id").agg(
        moves=pl.len(),
        pix_sum=pl.col("amount").filter(PIX & SENT).sum(),
        pix_n=(PIX & SENT).sum(),
    )
    of_card = (
        part[PURCHASES]
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
