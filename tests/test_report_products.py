"""Rules between products, on a customer made by hand: each holds, and each notices what is wrong.

So they are tested whatever the catalogue has.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from datagen import Plan
from datagen.report import _people, _rules, products
from datagen.report._reading import Portion

PLAN = Plan(1, 20, as_of="2026-07-01T03:00:00Z", days=90)
TRANSACTIONS, PURCHASES = "banking.transactions", "banking.card-transactions"
TRADES, INSTALLMENTS = "banking.trades", "banking.installments"
OWN, OTHER = "99860010", "60701190"


def at(text: str) -> datetime:
    """By clocks in Brasília."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(hours=3)


ACCOUNTS = [
    {"account_id": f"{owner}{kind[0]}", "customer_id": owner, "account_type": kind}
    for owner in ("ana", "rui")
    for kind in ("CORRENTE", "POUPANCA", "INVESTIMENTOS")
]


def movement(
    number: str, account: str, kind: str, way: str, amount: int, when: str, **more: Any
) -> dict[str, Any]:
    return {
        "transaction_id": number,
        "account_id": account,
        "transaction_type": kind,
        "direction": way,
        "amount": amount,
        "occurred_at": at(when),
        "status": "COMPLETED",
        **more,
    }


MOVEMENTS = [
    movement("bill", "anaC", "CARD_BILL", "DEBIT", 15_001, "2026-06-10T09:00"),
    movement("part", "anaC", "LOAN_INSTALLMENT", "DEBIT", 30_000, "2026-06-15T10:30:05"),
    movement("loan", "anaC", "LOAN_DISBURSEMENT", "CREDIT", 900_000, "2026-05-11T14:00"),
    movement("sold", "anaI", "SETTLEMENT", "CREDIT", 9_990, "2026-06-05T08:00"),
    movement("save", "anaC", "TRANSFER", "DEBIT", 5_000, "2026-06-03T12:00:01"),
    movement("keep", "anaP", "TRANSFER", "CREDIT", 5_000, "2026-06-03T12:00:02"),
    movement(
        "sent",
        *("anaC", "PIX", "DEBIT", 700, "2026-06-04T12:00"),
        end_to_end_id=f"E{OWN}1",
        counterparty_ispb=OWN,
    ),
    movement(
        "came",
        *("ruiC", "PIX", "CREDIT", 700, "2026-06-04T12:00"),
        end_to_end_id=f"E{OWN}1",
        counterparty_ispb=OWN,
    ),
    movement(
        "alone",
        *("ruiC", "PIX", "DEBIT", 900, "2026-06-05T12:00"),
        end_to_end_id=f"E{OWN}2",
        counterparty_ispb=OWN,
    ),
    movement(
        "away",
        *("ruiC", "PIX", "DEBIT", 400, "2026-06-06T12:00"),
        end_to_end_id=f"E{OWN}3",
        counterparty_ispb=OTHER,
    ),
    movement(
        "back",
        *("ruiC", "PIX", "CREDIT", 400, "2026-06-07T12:00"),
        end_to_end_id=f"D{OTHER}3",
        counterparty_ispb=OTHER,
        original_transaction_id="away",
    ),
]
PURCHASE = {"card_id": "card", "status": "APPROVED"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "accounts": [
        {
            "status": "ACTIVE",
            "status_reason": None,
            "opened_at": at("2024-01-02T10:00"),
            "status_changed_at": at("2024-01-02T10:00"),
            **account,
        }
        for account in ACCOUNTS
    ],
    "credit_cards": [
        {
            "card_id": "card",
            "customer_id": "ana",
            "issued_at": at("2026-04-20T10:00"),
            "closing_day": 3,
            "due_day": 10,
            "status": "BLOCKED",
            "status_changed_at": at("2026-06-20T10:00"),
        }
    ],
    # A cycle has half of 200.01, with its rest, and all of 50; the other half is of the next.
    PURCHASES: [
        {**PURCHASE, "card_transaction_id": "1", "amount": 20_001, "installments": 2,
         "occurred_at": at("2026-05-20T10:00")},
        {**PURCHASE, "card_transaction_id": "2", "amount": 5_000, "installments": 1,
         "occurred_at": at("2026-06-03T23:00")},
        {**PURCHASE, "card_transaction_id": "3", "amount": 70, "installments": 1,
         "occurred_at": at("2026-06-04T00:30")},
    ],
    "loans": [
        {"loan_id": "car", "customer_id": "ana", "loan_type": "VEHICLE", "principal": 900_000,
         "status": "ACTIVE",
         "contracted_at": at("2026-05-10T11:00")},
        {"loan_id": "pay", "customer_id": "rui", "loan_type": "PAYROLL", "principal": 100_000,
         "contracted_at": at("2020-05-10T11:00")},
    ],
    # Due on a Sunday and paid on the Monday.
    INSTALLMENTS: [
        {"installment_event_id": "i1", "loan_id": "car", "due_date": date(2026, 6, 14),
         "paid_at": at("2026-06-15T10:30:40"), "amount_paid": 30_000, "late_fee": 0,
         "days_late": 1},
        {"installment_event_id": "i2", "loan_id": "pay", "due_date": date(2026, 6, 5),
         "paid_at": at("2026-06-05T05:00"), "amount_paid": 12_000, "late_fee": 0, "days_late": 0},
    ],
    # 200 − 0.05 come in and 100 − and 0.05 of fees go out.
    TRADES: [
        {"trade_id": "t1", "account_id": "anaI", "side": "SELL", "gross_amount": 20_000, "fees": 5,
         "settlement_date": date(2026, 6, 5)},
        {"trade_id": "t2", "account_id": "anaI", "side": "BUY", "gross_amount": 10_000, "fees": 5,
         "settlement_date": date(2026, 6, 5)},
        {"trade_id": "t3", "account_id": "anaI", "side": "BUY", "gross_amount": 10_000, "fees": 5,
         "settlement_date": date(2026, 7, 1)},
    ],
    TRANSACTIONS: [
        {"end_to_end_id": None, "counterparty_ispb": None, "original_transaction_id": None, **row}
        for row in MOVEMENTS
    ],
}  # fmt: skip


def bank(**changes: Any) -> Portion:
    """The two customers; a change has a table, the place of a row and what is other in it."""
    rows = {table: [dict(row) for row in made] for table, made in ROWS.items()}
    for table, number, values in changes.values():
        rows[table][number].update(values)
    frames = {
        table: pl.DataFrame(made, infer_schema_length=None, strict=False)
        for table, made in rows.items()
    }
    return Portion(PLAN, frames)


def place(transaction: str) -> int:
    return [row["transaction_id"] for row in MOVEMENTS].index(transaction)


def moved(transaction: str, **values: Any) -> tuple[str, int, dict[str, Any]]:
    return TRANSACTIONS, place(transaction), values


#: By what it looks at: the rule, and what it must notice.
CASES: dict[str, tuple[Any, list[tuple[str, int, dict[str, Any]]]]] = {
    "bill": (
        products._bill_is_bought,
        [moved("bill", amount=16_000), (PURCHASES, 1, {"status": "DECLINED"})],
    ),
    "bill of a card": (products._bill_of_a_card, [moved("bill", account_id="ruiC")]),
    "paid": (
        products._paid_is_debited,
        [
            moved("part", amount=30_001),
            moved("part", occurred_at=at("2026-06-15T10:31:05")),
            moved("part", account_id="ruiC"),
            moved("part", status="DECLINED"),
            (INSTALLMENTS, 0, {"amount_paid": 29_999}),
        ],
    ),
    "debited": (products._debited_is_paid, [moved("part", amount=1), (INSTALLMENTS, 0, {"paid_at": at("2026-06-16T10:30")})]),
    "principal": (
        products._paid_out,
        [moved("loan", amount=899_999), moved("loan", occurred_at=at("2026-05-09T14:00"))],
    ),
    "settlement": (
        products._settled,
        [moved("sold", amount=9_991), moved("sold", direction="DEBIT"), (TRADES, 0, {"fees": 6})],
    ),
    "funded": (
        products._funded,
        [moved("save", amount=4_999), moved("save", occurred_at=at("2026-06-03T13:00"))],
    ),
    "reversal": (
        products._names_its_original,
        [
            moved("back", original_transaction_id="nothing"),
            moved("back", original_transaction_id="sent"),
            moved("back", amount=401),
            moved("back", occurred_at=at("2026-06-05T12:00")),
            moved("back", direction="DEBIT"),
        ],
    ),
    "weekend": (products._free_on_weekends, [(INSTALLMENTS, 0, {"late_fee": 1})]),
    "card": (
        products._not_after(
            PURCHASES, "credit_cards", "card_id", _people.APPROVED, ("BLOCKED", "CANCELLED")
        ),
        [(PURCHASES, 0, {"occurred_at": at("2026-06-20T10:01")})],
    ),
    "account": (
        products._not_after(TRANSACTIONS, "accounts", "account_id", _people.MOVED, ("CLOSED",)),
        [("accounts", 0, {"status": "CLOSED"})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_rule_between_products_holds_and_notices(case: str) -> None:
    rows, wrong = CASES[case]
    if case == "account":  # of which nothing is closed
        closed = ("accounts", 0, {"status": "CLOSED", "status_changed_at": at("2026-06-29T10:00")})
        right = rows(bank(closed=closed))
    else:
        right = rows(bank())
    assert right.height
    assert right["holds"].fill_null(value=False).all(), right
    for change in wrong:
        found = rows(bank(change=change))
        assert not found["holds"].fill_null(value=False).all(), change


def test_a_block_says_nothing_of_what_came_before() -> None:
    rows, _ = CASES["card"]
    found = rows(bank())
    assert found.height == 3
    assert found["holds"].all()


def test_who_leaves_leaves_nothing_open() -> None:
    closed = {
        "status": "CLOSED",
        "status_reason": "HOLDER_REQUEST",
        "status_changed_at": at("2026-06-24T12:00"),
    }
    card = {
        "customer_id": "rui",
        "status": "CANCELLED",
        "status_changed_at": at("2026-06-20T12:00"),
    }
    right = {f"account {n}": ("accounts", n, dict(closed)) for n in (3, 4, 5)}
    right |= {"card": ("credit_cards", 0, card), "loan": ("loans", 1, {"customer_id": "ana"})}
    found = products._left(bank(**right))
    assert found.height == 4
    assert found["holds"].all()
    late = {"status_changed_at": at("2026-06-24T12:01")}
    for wrong in [
        ("accounts", 4, {"status": "ACTIVE"}),
        ("accounts", 5, late),
        ("credit_cards", 0, {"status": "ACTIVE"}),
        ("credit_cards", 0, late),
        ("loans", 1, {"customer_id": "rui"}),
    ]:
        found = products._left(bank(**right, wrong=wrong))
        assert not found["holds"].all(), wrong
    assert products._left(bank()).is_empty()


def test_a_closed_account_is_empty() -> None:
    closed = {"status": "CLOSED", "balance": 0}
    assert products._closed_is_empty(bank(change=("accounts", 3, closed)))["holds"].to_list() == [
        True
    ]
    for balance in (1, -1):
        wrong = ("accounts", 3, {**closed, "balance": balance})
        assert products._closed_is_empty(bank(change=wrong))["holds"].to_list() == [False]


def legs(*parts: Portion) -> Any:
    rule = _rules.Legs("Legs", "made by hand", products._inside)
    return rule.check([rule.count(part) for part in parts], PLAN)


def test_the_legs_of_a_pix_are_found_in_any_part() -> None:
    whole = bank()
    ana = pl.col("account_id").str.starts_with("ana")
    apart = [
        Portion(PLAN, {**whole.frames, TRANSACTIONS: whole[TRANSACTIONS].filter(whose)})
        for whose in (ana, ~ana)
    ]
    for found in (legs(whole), legs(*apart)):
        assert str(found.found) == "0 of 1 pairs; of 1 the other is no customer here"
        assert found.holds is not False


@pytest.mark.parametrize(
    "change",
    [
        moved("came", amount=701),
        moved("came", direction="DEBIT"),
        moved("alone", end_to_end_id=f"E{OWN}1"),
    ],
)
def test_legs_that_do_not_agree_are_noticed(change: tuple[str, int, dict[str, Any]]) -> None:
    assert legs(bank(change=change)).holds is False


def test_a_bill_in_full() -> None:
    whole = products._in_full(bank())
    assert whole["label"].to_list() == [""]
    part = products._in_full(bank(change=moved("bill", amount=3_000)))
    assert part["label"].to_list() == [None]


def test_the_fee_of_a_late_bill_comes_with_the_next() -> None:
    late = moved("bill", occurred_at=at("2026-06-15T09:00"))
    found = products.bills(bank(change=late)).select("late", "most").rows()
    # 2% and five days of 1% a month, of 150.01.
    assert found == [(5, 15_001), (0, 10_070 + 15_001 * 65 // 3_000)]
    assert products.bills(bank())["most"].to_list() == [15_001, 10_070]


def test_what_is_left_of_a_bill_bears_interest() -> None:
    part = products.bills(bank(change=moved("bill", amount=5_001)))
    assert part["most"].to_list() == [15_001, 10_070 + 10_000 + 1_500]
    nothing = products.bills(bank(change=moved("bill", status="DECLINED")))
    assert nothing["most"].to_list() == [15_001, 10_070 + 15_001 + 15_001 * 18 // 100]


def test_money_of_the_holder_at_another_bank_is_no_transfer_from_here() -> None:
    away = moved("keep", counterparty_ispb=OTHER)
    assert products._funded(bank(change=away)).is_empty()
    inside = moved("keep", counterparty_ispb=OWN)
    assert products._funded(bank(change=inside)).height == 1


def test_a_blocked_account_pays_no_installments() -> None:
    """In a month in which it does not move, and only if it was blocked at some time."""
    away = moved("part", account_id="ruiC")
    assert not products._paid_is_debited(bank(change=away))["holds"].fill_null(value=False).all()
    quiet = {
        str(number): (TRANSACTIONS, number, {"status": "DECLINED"})
        for number, row in enumerate(MOVEMENTS)
        if row["account_id"] == "anaC"
    }
    assert products._paid_is_debited(bank(**quiet)).is_empty()
    never = ("accounts", 0, {"status_changed_at": None})
    found = products._paid_is_debited(bank(**quiet, never=never))
    assert not found["holds"].fill_null(value=False).any()
    assert found.height == 1


def test_bills_are_those_of_a_reader() -> None:
    found = products.bills(bank()).select("billed", "paid", "unpaid").rows()
    assert found == [(15_001, 15_001, 0), (10_070, 0, 0)]
