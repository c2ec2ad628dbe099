"""Rows that figures count, and the sums of those that belong to one entity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import polars as pl

from ._calendar import local_time
from ._measures import ALL, each_row, labelled
from ._people import APPROVED, PURCHASES, TRANSACTIONS
from ._published import SURNAMES
from ._reading import Portion


def given_names(names: Mapping[str, float]) -> Callable[[Portion], pl.DataFrame]:
    """The given name of those who have one of these."""
    given = pl.col("name").str.split(" ").list.first()
    return each_row("customers", given, where=given.is_in(list(names)))


def surnames(part: Portion) -> pl.DataFrame:
    """The last surname, which everybody has."""
    last = part["customers"].select(label=pl.col("name").str.split(" ").list.last())
    return last.filter(pl.col("label").is_in(list(SURNAMES))).with_row_index("entity")


def ages(part: Portion) -> pl.DataFrame:
    """Age bands on the last day on which all could join as adults: 60 days before the history."""
    start = local_time(part.plan.as_of - timedelta(part.plan.days))
    day: date = start.date() - timedelta(60)
    born = pl.col("birth_date").dt.strftime("%Y%m%d").cast(pl.Int32)
    age = (int(f"{day:%Y%m%d}") - born) // 10_000
    first = (age // 5 * 5).clip(18)
    last = age // 5 * 5 + 4
    label = pl.format("{}–{}", first, last)
    return part["customers"].select(label=label).with_row_index("entity")


def of_entities(
    part: Portion, stream: str, entities: pl.DataFrame, weight: pl.Expr | None = None
) -> pl.DataFrame:
    """Events of each entity, also of those that have none; `weight` is what it counts for."""
    key = entities.columns[0]
    events = part[stream].group_by(key).agg(y=pl.len())
    entities = entities.select(key, n=pl.lit(1) if weight is None else weight)
    joined = entities.join(events, on=key, how="left")
    return joined.select("n", y=pl.col("y").fill_null(0), label=pl.lit(ALL))


def amounts(part: Portion, kind: str, where: pl.Expr | None = None) -> pl.DataFrame:
    """What was settled of a type, by account."""
    events = part[TRANSACTIONS].filter((pl.col("transaction_type") == kind) & SETTLED)
    events = events if where is None else events.filter(where)
    sums = events.group_by("account_id").agg(y=pl.col("amount").sum(), n=pl.len())
    return sums.with_columns(label=pl.lit(ALL))


def rates(part: Portion) -> pl.DataFrame:
    """Rates by type; payroll loans of the public and of the private sector are far apart."""
    sector = pl.when(pl.col("monthly_rate") < 28_000).then(pl.lit("public"))
    kind = pl.col("loan_type")
    payroll = pl.format("{} {}", kind, sector.otherwise(pl.lit("private")))
    label = pl.when(kind == "PAYROLL").then(payroll).otherwise(kind)
    return part["loans"].select(label=label, y="monthly_rate", n=pl.lit(1))


OPEN = pl.col("status") != "SETTLED"
DEFAULTED = pl.col("status") == "DEFAULTED"


def late_by_type(part: Portion) -> pl.DataFrame:
    personal = pl.col("loan_type") == "PERSONAL"
    label = pl.when(personal).then(pl.lit("more")).otherwise(pl.lit("less"))
    return part["loans"].filter(OPEN).select(label=label, y=DEFAULTED.cast(pl.Int64), n=1)


def late_by_score(part: Portion) -> pl.DataFrame:
    scores = part["customers"].select("customer_id", "credit_score")
    loans = part["loans"].filter(OPEN).join(scores, on="customer_id")
    label = pl.when(pl.col("credit_score") < 550).then(pl.lit("more")).otherwise(pl.lit("less"))
    return loans.select(label=label, y=DEFAULTED.cast(pl.Int64), n=1)


SETTLED = pl.col("status") != "DECLINED"
IS_PIX = pl.col("transaction_type") == "PIX"
IS_SENT = pl.col("direction") == "DEBIT"
_TEXT = pl.col("description").fill_null("")
#: What falls due for a household every month, by its descriptions.
IS_BILL = _TEXT.is_in(
    ["Aluguel", "Conta de luz", "Conta de água", "Internet e telefone", "Mensalidade escolar"]
)
#: What the bank pays to the seller of what a loan is for.
IS_FINANCED = _TEXT == "Pagamento de bem financiado"
#: What the holder asks for; the rest comes from others, or from the bank.
IS_ORDERED = (pl.col("transaction_type") == "DEPOSIT") | (
    IS_SENT
    & pl.col("transaction_type").is_in(["PIX", "TED", "TRANSFER", "CARD_BILL", "WITHDRAWAL"])
)
FIRM = ~pl.col("counterparty_document").str.starts_with("*")
STOCK = pl.col("ticker").str.strip_suffix("F")
#: Of a Pix that was sent: its id begins with the bank that sent it.
INSIDE = pl.col("counterparty_ispb") == pl.col("end_to_end_id").str.slice(1, 8)


def pix_and_purchases(part: Portion) -> pl.DataFrame:
    """Pix sent and purchases of each customer."""
    sent = part[TRANSACTIONS].filter(IS_PIX & IS_SENT & SETTLED)
    approved = part[PURCHASES].filter(APPROVED)
    sides = [
        events.group_by(key)
        .agg(**{name: pl.len()})
        .join(part[table].select(key, "customer_id"), on=key)
        .group_by("customer_id")
        .agg(pl.col(name).sum())
        for name, events, table, key in (
            ("y", sent, "accounts", "account_id"),
            ("n", approved, "credit_cards", "card_id"),
        )
    ]
    joined = part["customers"].select("customer_id")
    for side in sides:
        joined = joined.join(side, on="customer_id", how="left")
    return joined.fill_null(0).with_columns(label=pl.lit(ALL))


def teds_and_pix(part: Portion) -> pl.DataFrame:
    events = part[TRANSACTIONS].filter(IS_SENT & SETTLED).group_by("account_id")
    sums = events.agg(y=(pl.col("transaction_type") == "TED").sum(), n=IS_PIX.sum())
    return sums.with_columns(label=pl.lit(ALL))


def purchases(part: Portion, n: pl.Expr) -> pl.DataFrame:
    """What was bought by each card."""
    approved = part[PURCHASES].filter(APPROVED).select("card_id", "amount", n=n)
    sums = approved.group_by("card_id").agg(y=pl.col("amount").sum(), n=pl.col("n").sum())
    return sums.with_columns(label=pl.lit(ALL))


def in_installments(part: Portion) -> pl.DataFrame:
    approved = part[PURCHASES].filter(APPROVED).group_by("card_id")
    amount = pl.col("amount")
    sums = approved.agg(y=amount.filter(pl.col("installments") > 1).sum(), n=amount.sum())
    return sums.with_columns(label=pl.lit(ALL))


def incomes(part: Portion) -> pl.DataFrame:
    label = pl.col("state").replace_strict({"DF": "more", "MA": "less"}, default=None)
    incomes = part["customers"].select(label=label, y="monthly_income", n=pl.lit(1))
    return incomes.drop_nulls("label")


def investors(part: Portion, condition: pl.Expr) -> pl.DataFrame:
    """Holders of accounts that have traded."""
    day = local_time(part.plan.as_of).date()
    accounts = part["accounts"].select("account_id", "customer_id")
    traded = part["banking.trades"].select("account_id").unique().join(accounts, on="account_id")
    age = (pl.lit(day) - pl.col("birth_date")).dt.total_days() / 365.25
    holders = part["customers"].join(traded, on="customer_id", how="semi").with_columns(age=age)
    return holders.select(label=labelled(condition), entity="customer_id")


def late_balance(part: Portion) -> pl.DataFrame:
    """Balances of open loans, and of those in default."""
    housing = pl.col("loan_type") == "HOUSING"
    label = pl.when(housing).then(pl.lit("directed")).otherwise(pl.lit("free"))
    owed = pl.col("outstanding_balance")
    late = pl.when(DEFAULTED).then(owed).otherwise(0)
    return part["loans"].filter(OPEN).select(label=label, y=late, n=owed)


def debt_service(part: Portion) -> pl.DataFrame:
    """Installments of the last month, and the income of every customer."""
    start = part.plan.as_of - timedelta(30)
    loans = part["loans"].select("loan_id", "customer_id")
    due = part["banking.installments"].filter(pl.col("due_date") >= local_time(start).date())
    paid = (pl.col("principal_amount") + pl.col("interest_amount")).sum()
    service = due.join(loans, on="loan_id").group_by("customer_id").agg(y=paid)
    joined = part["customers"].join(service, on="customer_id", how="left")
    return joined.select(label=pl.lit(ALL), y=pl.col("y").fill_null(0), n="monthly_income")


def overdue(part: Portion) -> pl.DataFrame:
    late = part["loans"].filter(pl.col("status").is_in(["LATE", "DEFAULTED"]))
    owing = late.select("customer_id", label=pl.lit(ALL)).unique()
    joined = part["customers"].select("customer_id").join(owing, on="customer_id", how="left")
    return joined.select("label", entity="customer_id")


def square_metres(part: Portion, where: pl.Expr) -> pl.DataFrame:
    """Values of flats in centavos, and their areas in hundredths of a square metre."""
    flats = part["properties"].filter((pl.col("property_type") == "APARTMENT") & where)
    return flats.select(label=pl.lit(ALL), y="appraised_value", n="area_m2")
