"""That the products of a customer know one another: what one says, another has.

A bill is what was bought; what a loan says was paid left the account; trades are settled in money; a
block ends what it blocks. Rules are there where the catalogue has what they need.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from ._calendar import business_days, in_time, local_time
from ._measures import Figure, Shares, between, labelled
from ._people import APPROVED, MOVED, PIX, SENT
from ._reading import Portion, has, local
from ._rules import (
    CATALOGUE,
    INSTALLMENTS,
    PURCHASES,
    TRADES,
    TRANSACTIONS,
    AnyRule,
    Legs,
    Rows,
    Rule,
    cycle,
)

_MINUTE = "1m"
#: Business days that a bank may take to pay out a loan.
_PAID_OUT = 5


def _is(kind: str) -> pl.Expr:
    return pl.col("transaction_type") == kind


def _start(part: Portion) -> datetime:
    return part.plan.as_of - timedelta(part.plan.days)


def _movements(part: Portion, kind: str, *types: str) -> pl.DataFrame:
    """COMPLETED movements of a type with their customer; `types` are those of the accounts."""
    accounts = part["accounts"].filter(pl.col("account_type").is_in(types or ("CORRENTE",)))
    owners = accounts.select("account_id", "customer_id")
    return part[TRANSACTIONS].filter(_is(kind) & MOVED).join(owners, on="account_id")


def _idle(events: pl.DataFrame, part: Portion, instant: str) -> pl.DataFrame:
    """Events of customers whose CORRENTE account has been blocked, in months in which it does not move.

    Of the blocks of an account a reader sees the last alone, and that of the end of each.
    """
    accounts = part["accounts"].filter(
        (pl.col("account_type") == "CORRENTE") & pl.col("status_changed_at").is_not_null()
    )
    owners = accounts.select("account_id", "customer_id")
    moved = (
        part[TRANSACTIONS]
        .filter(MOVED)
        .join(owners, on="account_id")
        .select("customer_id", month=local("occurred_at").dt.date().dt.month_start())
        .unique()
    )
    return (
        events.join(owners, on="customer_id", how="semi")
        .with_columns(month=local(instant).dt.date().dt.month_start())
        .join(moved, on=["customer_id", "month"], how="anti")
    )


def _pairs(left: pl.DataFrame, right: pl.DataFrame, *on: str) -> pl.DataFrame:
    """Rows of `left` and whether there is one alike in `right`, each counted as often as it is there."""
    keys = list(on)

    def numbered(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(nth=pl.int_range(pl.len()).over(keys))

    there = numbered(right).select(*keys, "nth", holds=pl.lit(value=True))
    return numbered(left).join(there, on=[*keys, "nth"], how="left").select("id", "holds")


# --- loans


def _installments_paid(part: Portion) -> pl.DataFrame:
    """Installments that were paid within the history, but those that an employer keeps back.

    An account that is blocked pays nothing: in that month the money comes from elsewhere.
    """
    loans = part["loans"].filter(pl.col("loan_type") != "PAYROLL").select("loan_id", "customer_id")
    corrente = part["accounts"].filter(pl.col("account_type") == "CORRENTE")
    opened = corrente.select("customer_id", "opened_at")
    paid = part[INSTALLMENTS].filter(pl.col("paid_at") >= _start(part))
    joined = paid.join(loans, on="loan_id").join(opened, on="customer_id")
    idle = _idle(joined, part, "paid_at").select("installment_event_id")
    joined = joined.join(idle, on="installment_event_id", how="anti")
    return joined.filter(pl.col("paid_at") >= pl.col("opened_at")).select(
        "customer_id",
        id="installment_event_id",
        amount="amount_paid",
        minute=pl.col("paid_at").dt.truncate(_MINUTE),
    )


def _installment_debits(part: Portion, *, payroll: bool) -> pl.DataFrame:
    debits = _movements(part, "LOAN_INSTALLMENT").select(
        "customer_id",
        "amount",
        id="transaction_id",
        minute=pl.col("occurred_at").dt.truncate(_MINUTE),
    )
    if payroll:
        return debits
    kept = part["loans"].filter(pl.col("loan_type") == "PAYROLL").select("customer_id")
    return debits.join(kept, on="customer_id", how="anti")


def _paid_is_debited(part: Portion) -> pl.DataFrame:
    debits = _installment_debits(part, payroll=True)
    return _pairs(_installments_paid(part), debits, "customer_id", "amount", "minute")


def _debited_is_paid(part: Portion) -> pl.DataFrame:
    debits = _installment_debits(part, payroll=False)
    return _pairs(debits, _installments_paid(part), "customer_id", "amount", "minute")


def _paid_out(part: Portion) -> pl.DataFrame:
    """Loans contracted in the history, but in its last days, with what came into the account.

    Those of an account that is blocked are paid out elsewhere.
    """
    last = part.plan.as_of - timedelta(_PAID_OUT + 4)
    new = part["loans"].filter(pl.col("contracted_at").is_between(_start(part), last))
    new = new.join(_idle(new, part, "contracted_at"), on="loan_id", how="anti")
    paid_out = _movements(part, "LOAN_DISBURSEMENT").select(
        "customer_id", principal="amount", paid=local("occurred_at").dt.date()
    )
    joined = new.join(paid_out, on=["customer_id", "principal"], how="left")
    wait = (pl.col("paid") - local("contracted_at").dt.date()).dt.total_days()
    return joined.select(id="loan_id", holds=wait.is_between(0, _PAID_OUT + 4))


def _free_on_weekends(part: Portion) -> pl.DataFrame:
    """Installments due on a day without banks and paid by the next business day, by their fee."""
    first = local_time(part.plan.as_of).date() - timedelta(part.plan.days + 16 * 366)
    days = business_days(first, local_time(part.plan.as_of).date())
    closed = ~pl.col("due_date").is_in(days)
    paid = local("paid_at").dt.date()
    late = part[INSTALLMENTS].filter(
        closed & (paid > pl.col("due_date")) & in_time(pl.col("due_date"), paid)
    )
    return late.select(id="installment_event_id", holds=pl.col("late_fee") == 0)


# --- cards


def bills(part: Portion) -> pl.DataFrame:
    """Billed and paid, by card and cycle, of cards of which every purchase is in the history.

    An installment of a purchase is billed in each of so many cycles; the first has the rest of the
    division. What is paid is of the last cycle that has closed.
    """
    cards = (
        part["credit_cards"]
        .filter(pl.col("issued_at") >= _start(part))
        .select("card_id", "customer_id", "closing_day", "due_day")
    )
    bought = part[PURCHASES].filter(APPROVED).join(cards, on="card_id")
    times = pl.col("installments").cast(pl.Int64)
    each = bought.select(
        "card_id",
        amount=pl.col("amount"),
        times=times,
        cycle=cycle(local("occurred_at").dt.date()),
        nth=pl.int_ranges(0, times),
    ).explode("nth")
    share = pl.col("amount") // pl.col("times")
    rest = pl.when(pl.col("nth") == 0).then(pl.col("amount") % pl.col("times")).otherwise(0)
    billed = (
        each.select(
            "card_id", cycle=(pl.col("cycle") + pl.col("nth")).cast(pl.Int64), billed=share + rest
        )
        .group_by("card_id", "cycle")
        .agg(pl.col("billed").sum())
    )
    paid = (
        _movements(part, "CARD_BILL")
        .join(cards, on="customer_id")
        .with_columns(cycle=(cycle(local("occurred_at").dt.date()) - 1).cast(pl.Int64))
        .group_by("card_id", "cycle")
        .agg(paid=pl.col("amount").sum(), late=_late(pl.col("cycle")).max())
    )
    order = ["card_id", "cycle"]
    joined = billed.join(paid, on=order, how="full", coalesce=True).fill_null(0).sort(order)
    # What is paid beyond the bills is interest and fees, and leaves nothing for the next.
    left = (pl.col("billed") - pl.col("paid")).cum_sum()
    unpaid = left - left.cum_min().clip(upper_bound=0)
    joined = joined.with_columns(unpaid=unpaid.shift(1).over("card_id").fill_null(0))
    return joined.with_columns(most=pl.Series(_most(joined), dtype=pl.Int64))


def _most(cycles: pl.DataFrame) -> list[int]:
    """What is open at most when each bill is paid: with what was left, interest and fees.

    Interest is 15% a month of what was left, and 3% more where nothing was paid. A bill that was paid
    late brings 2% and 1% a month by the day to the next.
    """
    found: list[int] = []
    of, left, fee, nothing = None, 0, 0, False
    for card, billed, paid, late in cycles.select("card_id", "billed", "paid", "late").iter_rows():
        if card != of:
            of, left, fee, nothing = card, 0, 0, False
        bill = billed + left + left * (18 if nothing else 15) // 100 + fee
        found.append(bill)
        fee = bill * (60 + late) // 3_000 if late else 0
        nothing = paid == 0
        # Less than R$ 1 is what was rounded.
        left = bill - paid if bill - paid > 100 else 0
    return found


def _late(cycle_of: pl.Expr) -> pl.Expr:
    """Days by which a bill is paid after its due day."""
    month = cycle_of + (pl.col("due_day") <= pl.col("closing_day")).cast(pl.Int64) - 1
    due = pl.date(month // 12, month % 12 + 1, pl.col("due_day"))
    days = (local("occurred_at").dt.date() - due).dt.total_days()
    return days.fill_null(0).clip(0)


def _bill_is_bought(part: Portion) -> pl.DataFrame:
    """Nobody pays more than what was bought, what was not paid before, its interest and fees."""
    paid = bills(part).filter(pl.col("paid") > 0)
    return paid.select(id="card_id", holds=pl.col("paid") <= pl.col("most") + 100)


def _in_full(part: Portion) -> pl.DataFrame:
    """Bills of which something was paid and nothing was left before, by whether all was paid."""
    paid = bills(part).filter((pl.col("paid") > 0) & (pl.col("unpaid") == 0))
    whole = (pl.col("paid") - pl.col("billed")).abs() <= 100
    return paid.select(label=labelled(whole), entity="card_id")


def _bill_of_a_card(part: Portion) -> pl.DataFrame:
    holders = part["credit_cards"].select("customer_id", holds=pl.lit(value=True)).unique()
    paid = _movements(part, "CARD_BILL").join(holders, on="customer_id", how="left")
    return paid.select("holds", id="transaction_id")


# --- investments


def _settled(part: Portion) -> pl.DataFrame:
    """Trades of each account and day of settlement, with the money that moved on it."""
    signed = (
        pl.when(pl.col("side") == "SELL")
        .then(pl.col("gross_amount") - pl.col("fees"))
        .otherwise(-pl.col("gross_amount") - pl.col("fees"))
    )
    today = local_time(part.plan.as_of).date()
    due = (
        part[TRADES]
        .filter(pl.col("settlement_date") < today)
        .group_by("account_id", day="settlement_date")
        .agg(due=signed.sum())
    )
    moved = pl.when(SENT).then(-pl.col("amount")).otherwise("amount")
    money = (
        _movements(part, "SETTLEMENT", "INVESTIMENTOS")
        .group_by("account_id", day=local("occurred_at").dt.date())
        .agg(money=moved.sum())
    )
    joined = due.join(money, on=["account_id", "day"], how="left")
    return joined.select(id="account_id", holds=pl.col("money").fill_null(0) == pl.col("due"))


def _own_bank(part: Portion) -> str | None:
    """The number of the bank itself, which begins what its customers send."""
    sent = part[TRANSACTIONS].filter(PIX & MOVED & SENT)
    numbers = sent["end_to_end_id"].str.slice(1, 8).mode().sort()
    return str(numbers[0]) if len(numbers) else None


def _funded(part: Portion) -> pl.DataFrame:
    """Transfers into savings and investments, with what left the own CORRENTE account.

    But those from an account of the holder at another bank.
    """
    own = _own_bank(part)
    inside = pl.col("counterparty_ispb").fill_null(own or "") == (own or "")

    def legs(direction: str, *types: str) -> pl.DataFrame:
        moves = _movements(part, "TRANSFER", *types).filter(
            (pl.col("direction") == direction) & inside
        )
        return moves.select(
            "customer_id",
            "amount",
            id="transaction_id",
            minute=pl.col("occurred_at").dt.truncate(_MINUTE),
        )

    into = legs("CREDIT", "POUPANCA", "INVESTIMENTOS")
    return _pairs(into, legs("DEBIT", "CORRENTE"), "customer_id", "amount", "minute")


# --- Pix and reversals


def _inside(part: Portion) -> pl.DataFrame:
    """Pix between customers of the bank: its own number begins what its customers send."""
    pix = part[TRANSACTIONS].filter(PIX & MOVED)
    payer = pl.col("end_to_end_id").str.slice(1, 8)
    own = _own_bank(part)
    ours = (payer == own) & (pl.col("counterparty_ispb") == own) if own else pl.lit(value=False)
    return pix.filter(ours).select("amount", shared="end_to_end_id", sent=SENT)


def _names_its_original(part: Portion) -> pl.DataFrame:
    """What is given back is of the same account, came later and is not more."""
    events = part[TRANSACTIONS]
    first = events.select(
        original_transaction_id="transaction_id",
        of_account="account_id",
        at="occurred_at",
        most="amount",
        way="direction",
    )
    back = events.drop_nulls("original_transaction_id")
    joined = back.join(first, on="original_transaction_id", how="left")
    holds = (
        (pl.col("of_account") == pl.col("account_id"))
        & (pl.col("at") <= pl.col("occurred_at"))
        & (pl.col("amount") <= pl.col("most"))
        & (pl.col("way") != pl.col("direction"))
    )
    return joined.select(id="transaction_id", holds=holds)


# --- blocks


def _not_after(stream: str, table: str, key: str, done: pl.Expr, over: tuple[str, ...]) -> Rows:
    """Nothing happens after the block or the end of what it happens to."""

    def rows(part: Portion) -> pl.DataFrame:
        ended = part[table].filter(pl.col("status").is_in(over)).select(key, "status_changed_at")
        frame = part[stream].filter(done).join(ended, on=key)
        holds = pl.col("occurred_at") <= pl.col("status_changed_at")
        # Every row of what has ended, as it was before and after.
        return frame.select(id=frame.columns[0], holds=holds)

    return rows


# --- what ends


def _closed_is_empty(part: Portion) -> pl.DataFrame:
    closed = part["accounts"].filter(pl.col("status") == "CLOSED")
    return closed.select(id="account_id", holds=pl.col("balance") == 0)


def _left(part: Portion) -> pl.DataFrame:
    """What customers have who have left: their CORRENTE account was closed as they asked.

    With it ends all else, and no customer with a loan leaves.
    """
    accounts = part["accounts"]
    asked = (pl.col("status") == "CLOSED") & (pl.col("status_reason") == "HOLDER_REQUEST")
    left = accounts.filter((pl.col("account_type") == "CORRENTE") & asked).select(
        "customer_id", left="status_changed_at"
    )
    ended = pl.col("status_changed_at") <= pl.col("left")

    def of(table: str, key: str, holds: pl.Expr) -> pl.DataFrame:
        return part[table].join(left, on="customer_id").select(id=key, holds=holds)

    return pl.concat(
        [
            of("accounts", "account_id", (pl.col("status") == "CLOSED") & ended),
            of("credit_cards", "card_id", (pl.col("status") == "CANCELLED") & ended),
            of("loans", "loan_id", pl.lit(value=False)),
        ]
    )


def _has(*kinds: str) -> bool:
    return all(has(TRANSACTIONS, "transaction_type", kind) for kind in kinds)


def _products() -> list[AnyRule]:
    """The rules for which the catalogue has what they need."""
    rules: list[tuple[bool, AnyRule]] = [
        (
            _has("CARD_BILL"),
            Rule("A card bill is never more than what was bought", CATALOGUE, _bill_is_bought),
        ),
        (
            _has("CARD_BILL"),
            Rule("Who pays a card bill has a card", CATALOGUE, _bill_of_a_card),
        ),
        (
            _has("LOAN_INSTALLMENT"),
            Rule("An installment that was paid left the account", CATALOGUE, _paid_is_debited),
        ),
        (
            _has("LOAN_INSTALLMENT"),
            Rule("What left for an installment is one that was paid", CATALOGUE, _debited_is_paid),
        ),
        (
            _has("LOAN_DISBURSEMENT"),
            Rule("The principal of a new loan came into the account", CATALOGUE, _paid_out),
        ),
        (
            _has("SETTLEMENT"),
            Rule("Money of a day of settlement is that of its trades", CATALOGUE, _settled),
        ),
        (
            _has("TRANSFER"),
            Rule(
                "Transfers into savings and investments left the CORRENTE account",
                CATALOGUE,
                _funded,
            ),
        ),
        (
            True,
            Legs("A Pix inside the bank has two legs of one amount", CATALOGUE, _inside),
        ),
        (
            has(TRANSACTIONS, "original_transaction_id"),
            Rule("A reversal names what it gives back", CATALOGUE, _names_its_original),
        ),
        (
            has("credit_cards", "status_changed_at"),
            Rule(
                "No approved purchase after the block of a card",
                CATALOGUE,
                _not_after(
                    PURCHASES, "credit_cards", "card_id", APPROVED, ("BLOCKED", "CANCELLED")
                ),
            ),
        ),
        (
            has("accounts", "status_changed_at"),
            Rule(
                "No movement after the block of an account",
                CATALOGUE,
                _not_after(TRANSACTIONS, "accounts", "account_id", MOVED, ("BLOCKED", "CLOSED")),
            ),
        ),
        (
            has("accounts", "status", "CLOSED"),
            Rule("A closed account is empty", CATALOGUE, _closed_is_empty),
        ),
        (
            has("accounts", "status_reason", "HOLDER_REQUEST"),
            Rule("Who leaves the bank leaves nothing open", CATALOGUE, _left),
        ),
        (
            True,
            Rule(
                "No late fee where the due day has no banks and the next business day paid",
                "Lei 7.089/1983",
                _free_on_weekends,
            ),
        ),
    ]
    return [rule for there, rule in rules if there]


PRODUCTS: tuple[AnyRule, ...] = tuple(_products())
#: Figures of the same.
SHARES: tuple[Figure, ...] = (
    (
        Figure(
            "Card bills paid in full",
            CATALOGUE,
            Shares(_in_full),
            between(65, 95),
            digits=1,
            why="about 80%; of cards of which every purchase is in the history",
        ),
    )
    if _has("CARD_BILL")
    else ()
)
