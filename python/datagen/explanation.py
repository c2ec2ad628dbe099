"""What an id is of, whose it is, and how it came about: the rows of one customer, put together.

All of it is made anew from the plan, in the time of that customer's own rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ._core import Plan
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._core import Customer, Found
    from .types import Relation

__all__ = ["Explanation", "Joined", "Moment", "explain"]

Row = dict[str, Any]

_TRANSACTIONS: Final = "banking.transactions"
_PURCHASES: Final = "banking.card-transactions"
_TRADES: Final = "banking.trades"
_INSTALLMENTS: Final = "banking.installments"
#: Clocks in Brasília are behind UTC by this.
_BRASILIA: Final = timedelta(hours=3)
#: When a row of a table is born, and what is said of it then.
_BIRTHS: Final = {
    "customers": ("created_at", "joined"),
    "accounts": ("opened_at", "opened"),
    "credit_cards": ("issued_at", "issued"),
    "loans": ("contracted_at", "contracted"),
    "properties": ("updated_at", "pledged"),
}
#: Values whose changes are part of a life; balances change with every event.
_STATES: Final = {
    "accounts": ("status", "status_reason"),
    "credit_cards": ("status", "status_reason", "credit_limit"),
    "loans": ("status",),
}


@dataclass(frozen=True)
class Moment:
    """Something that happens in a life: a birth, a change of state, or an event."""

    at: datetime
    #: The kind of account, the brand of a card, the kind of loan, or the table.
    of: str
    what: str
    #: Signed; None where no money moves.
    amount: Decimal | None
    details: str
    #: Of the event; None of what is none.
    event: Any = None


@dataclass(frozen=True)
class Joined:
    """A row of another entity, or of another time, that an event belongs with."""

    how: str
    relation: str
    row: Row


@dataclass(frozen=True)
class Explanation:
    """What an id is of. Rows are dicts by field, as ``Batch.row`` has them."""

    found: Found
    #: The row or event itself, or what is known of a merchant.
    entity: Row
    #: The customer; empty of a stock or a merchant.
    customer: Row = field(default_factory=dict)
    #: Those who live with the customer and are of the plan, each with ``tie`` and ``row``.
    household: list[Row] = field(default_factory=list)
    #: Rows by table, each with ``events``, a dict of counts and sums.
    belongings: dict[str, list[Row]] = field(default_factory=dict)
    #: Of an event those of its own account, card or loan around it.
    before: Row | None = None
    after: Row | None = None
    joined: list[Joined] = field(default_factory=list)
    #: Of what the id is of, or of an event's account, card or loan; of a customer all of it. In order of time.
    life: list[Moment] = field(default_factory=list)


def explain(plan: Plan, given: str) -> Explanation:
    """What an id, a document, a number or an address of a plan is of: see ``Plan.find``, also for its errors."""
    found = plan.find(given)
    relation = found.relation
    if relation is None:
        return Explanation(found, dict(found.merchant or {}))
    if found.customer is None:
        [batch] = plan.batches(relation.name, batch_rows=1_000)
        return Explanation(found, batch[found.row])
    whole = plan.customer(found.customer)
    rows = {one.name: list(whole[one.name]) for one in catalogue() if not one.is_reference}
    entity = _with_id(rows[relation.name], relation, found.id)
    before, after = _around(rows[relation.name], relation, entity)
    return Explanation(
        found=found,
        entity=entity,
        customer=rows["customers"][0],
        household=_household(plan, whole),
        belongings=_belongings(whole, rows),
        before=before,
        after=after,
        joined=list(_joined(plan, whole, rows, relation.name, entity)),
        life=_life(whole, rows, relation, entity),
    )


def _with_id(rows: Iterable[Row], relation: Relation, wanted: Any) -> Row:
    return next(row for row in rows if row[relation.primary_key] == wanted)


def _around(rows: list[Row], relation: Relation, event: Row) -> tuple[Row | None, Row | None]:
    """The events of the same entity before and after one."""
    if not relation.is_stream:
        return None, None
    own = [row for row in rows if row[relation.key] == event[relation.key]]
    at = own.index(event)
    return own[at - 1] if at else None, own[at + 1] if at + 1 < len(own) else None


def _household(plan: Plan, whole: Customer) -> list[Row]:
    others = [(row, tie) for row, tie in whole.household if row < plan.customers]
    return [{"tie": tie, "row": row, **plan.customer(row)["customers"][0]} for row, tie in others]


def _total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal("0.00"))


def _belongings(whole: Customer, rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of each table with their states by date, and the counts and sums of their events."""
    found: dict[str, list[Row]] = {}
    for table in ("accounts", "credit_cards", "loans", "properties"):
        key = catalogue()[table].primary_key
        versions = list(whole.versions(table)) if table in _STATES else []
        found[table] = [
            row
            | {
                "states": _states(table, [one for one in versions if one[key] == row[key]]),
                "events": _events_of(rows, key, row[key]),
            }
            for row in rows[table]
        ]
    return found


def _states(table: str, versions: list[Row]) -> list[Row]:
    """The versions of a row in which one of its states is another, from its birth on."""
    found: list[Row] = []
    for version in versions:
        state = {name: version[name] for name in _STATES[table]}
        if not found or state != {name: found[-1][name] for name in _STATES[table]}:
            # The first version of an account is that of the last change before the history.
            born = version[_BIRTHS[table][0]]
            changed = version.get("status_changed_at")
            since = version["updated_at"] if found else changed or born
            found.append({"since": since, **state})
    return found


def _events_of(rows: dict[str, list[Row]], key: str, wanted: Any) -> Row:
    """Counts and sums of the events of an account, card or loan."""

    def own(stream: str) -> list[Row]:
        return [row for row in rows[stream] if row.get(key) == wanted]

    if key == "account_id":
        moved, trades = own(_TRANSACTIONS), own(_TRADES)
        done = [row for row in moved if row["status"] == "COMPLETED"]
        sums = {
            "movements": len(moved),
            "in": _total(row["amount"] for row in done if row["direction"] == "CREDIT"),
            "out": _total(row["amount"] for row in done if row["direction"] == "DEBIT"),
        }
        if not trades:
            return sums
        return sums | {
            "trades": len(trades),
            "bought": _total(row["gross_amount"] for row in trades if row["side"] == "BUY"),
            "sold": _total(row["gross_amount"] for row in trades if row["side"] == "SELL"),
        }
    if key == "card_id":
        bought = own(_PURCHASES)
        approved = [row for row in bought if row["status"] == "APPROVED"]
        return {
            "purchases": len(bought),
            "declined": len(bought) - len(approved),
            "spent": _total(row["amount"] for row in approved),
        }
    if key == "loan_id":
        due = own(_INSTALLMENTS)
        paid = [row for row in due if row["paid_at"] is not None]
        return {
            "installments": len(due),
            "overdue": len(due) - len(paid),
            "paid": _total(row["amount_paid"] for row in paid),
        }
    return {}


# --- what an event belongs with


def _day(instant: datetime) -> date:
    return (instant - _BRASILIA).date()


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _cycle(instant: datetime, closing_day: int) -> int:
    """The month, counted from year 0, in which the bill of an instant closes; the closing day belongs to it."""
    day = _day(instant)
    return day.year * 12 + day.month - 1 + (day.day > closing_day)


def _joined(
    plan: Plan, whole: Customer, rows: dict[str, list[Row]], relation: str, event: Row
) -> Iterator[Joined]:
    if relation == _TRANSACTIONS:
        yield from _joined_to_movement(plan, whole, rows, event)
    elif relation == _PURCHASES:
        yield from _bill_of(rows, event)
    elif relation == _TRADES:
        for row in rows[_TRANSACTIONS]:
            same = row["account_id"] == event["account_id"]
            if same and _settles(row) and _day(row["occurred_at"]) == event["settlement_date"]:
                yield Joined("settled by", _TRANSACTIONS, row)
    elif relation == _INSTALLMENTS and event["paid_at"] is not None:
        for row in rows[_TRANSACTIONS]:
            if row["transaction_type"] == "LOAN_INSTALLMENT" and _pays(row, event):
                yield Joined("debited by", _TRANSACTIONS, row)


def _settles(movement: Row) -> bool:
    return bool(movement["transaction_type"] == "SETTLEMENT")


def _pays(movement: Row, installment: Row) -> bool:
    paid_at, amount = installment["paid_at"], installment["amount_paid"]
    at = movement["occurred_at"]
    return paid_at is not None and amount == movement["amount"] and _minute(paid_at) == _minute(at)


def _joined_to_movement(
    plan: Plan, whole: Customer, rows: dict[str, list[Row]], event: Row
) -> Iterator[Joined]:
    own, kind = event["transaction_id"], event["transaction_type"]
    for row in rows[_TRANSACTIONS]:
        if row["transaction_id"] == event["original_transaction_id"]:
            yield Joined("gives back", _TRANSACTIONS, row)
        if row["original_transaction_id"] == own:
            yield Joined("given back by", _TRANSACTIONS, row)
        legs = row["transaction_type"] == kind == "TRANSFER" and row["amount"] == event["amount"]
        if (
            legs
            and row["direction"] != event["direction"]
            and row["account_id"] != event["account_id"]
            and _minute(row["occurred_at"]) == _minute(event["occurred_at"])
        ):
            yield Joined("other leg", _TRANSACTIONS, row)
    if kind == "PIX":
        yield from _other_leg(plan, whole, event)
    elif kind == "CARD_BILL":
        for card in rows["credit_cards"]:
            yield Joined("pays the bill of", "credit_cards", card)
            paid = _cycle(event["occurred_at"], card["closing_day"]) - 1
            for row in rows[_PURCHASES]:
                approved = row["status"] == "APPROVED"
                if approved and _cycle(row["occurred_at"], card["closing_day"]) == paid:
                    yield Joined("bought in the cycle", _PURCHASES, row)
    elif kind == "LOAN_INSTALLMENT":
        for row in rows[_INSTALLMENTS]:
            if _pays(event, row):
                yield Joined("pays", _INSTALLMENTS, row)
    elif kind == "LOAN_DISBURSEMENT":
        for row in rows["loans"]:
            if row["principal"] == event["amount"]:
                yield Joined("pays out", "loans", row)
    elif _settles(event):
        for row in rows[_TRADES]:
            if row["settlement_date"] == _day(event["occurred_at"]):
                yield Joined("settles", _TRADES, row)


def _other_leg(plan: Plan, whole: Customer, event: Row) -> Iterator[Joined]:
    """That of a Pix within the bank, whose customer may be beyond the plan."""
    partner = whole.partner_at(event["occurred_at"])
    if partner is None:
        return
    wide = plan
    if partner >= plan.customers:
        wide = Plan(plan.seed, partner + 1, as_of=plan.as_of, days=plan.days, labels=plan.labels)
    for row in wide.customer(partner)[_TRANSACTIONS]:
        if row["end_to_end_id"] == event["end_to_end_id"]:
            beyond = ", beyond the plan" if wide is not plan else ""
            yield Joined(f"other leg, of customer {partner}{beyond}", _TRANSACTIONS, row)


def _bill_of(rows: dict[str, list[Row]], purchase: Row) -> Iterator[Joined]:
    """Payments of the bill of a purchase, or of its first installment."""
    for card in rows["credit_cards"]:
        if card["card_id"] != purchase["card_id"] or purchase["status"] != "APPROVED":
            continue
        closes = _cycle(purchase["occurred_at"], card["closing_day"])
        for row in rows[_TRANSACTIONS]:
            is_bill = row["transaction_type"] == "CARD_BILL" and row["status"] == "COMPLETED"
            if is_bill and _cycle(row["occurred_at"], card["closing_day"]) == closes + 1:
                yield Joined("its bill is paid by", _TRANSACTIONS, row)


# --- a life


def _life(
    whole: Customer, rows: dict[str, list[Row]], relation: Relation, entity: Row
) -> list[Moment]:
    """Births, changes of state and events of one account, card or loan, or of the customer."""
    everything = relation.name == "customers"
    if relation.name == "properties":
        # What a property secures is its life.
        key, own = "property_id", entity["property_id"]
        loans = [row["loan_id"] for row in rows["loans"] if row["property_id"] == own]
        key, own = "loan_id", loans[0]
    else:
        key = relation.key
        own = entity[key]
    names = {
        row[key_of]: row[kind]
        for table, key_of, kind in (
            ("accounts", "account_id", "account_type"),
            ("credit_cards", "card_id", "brand"),
            ("loans", "loan_id", "loan_type"),
        )
        for row in rows[table]
    }
    moments: list[Moment] = []
    for table, (born, what) in _BIRTHS.items():
        own_key = catalogue()[table].primary_key
        of = [row for row in rows[table] if everything or row.get(key) == own]
        for row in of:
            name = names.get(row[own_key], catalogue()[table].singular)
            moments.append(Moment(row[born], name, what, None, ""))
    for table, states in _STATES.items():
        own_key = catalogue()[table].primary_key
        for row in rows[table]:
            if everything or row.get(key) == own:
                versions = [one for one in whole.versions(table) if one[own_key] == row[own_key]]
                for state in _states(table, versions)[1:]:
                    text = ", ".join(str(state[name]) for name in states if state[name] is not None)
                    moments.append(Moment(state["since"], names[row[own_key]], "state", None, text))
    for stream in catalogue().streams:
        mine = [row for row in rows[stream.name] if everything or row.get(key) == own]
        moments += [_moment(stream.name, row, names[row[stream.key]]) for row in mine]
    # What an instant changes comes after what happens in it.
    return sorted(moments, key=lambda moment: (moment.at, moment.what == "state"))


def _moment(stream: str, row: Row, name: str) -> Moment:
    if stream == _TRANSACTIONS:
        signed = row["amount"] if row["direction"] == "CREDIT" else -row["amount"]
        done = row["status"] == "COMPLETED"
        details = [
            None if done else row["status"],
            f"balance {row['balance_after']:,}",
            row["description"],
            row["counterparty_name"],
        ]
        what, amount = row["transaction_type"], signed if done else None
    elif stream == _PURCHASES:
        done = row["status"] == "APPROVED"
        times = f"{row['installments']} installments" if row["installments"] > 1 else None
        reason = None if done else f"{row['amount']:,} {row['decline_reason']}"
        details = [row["merchant_name"], row["merchant_category"], times, reason]
        what, amount = ("PURCHASE", -row["amount"]) if done else ("DECLINED", None)
    elif stream == _TRADES:
        signed = row["gross_amount"] if row["side"] == "SELL" else -row["gross_amount"]
        details = [row["ticker"], f"{row['quantity']} at {row['unit_price']:,}"]
        what, amount = row["side"], signed
    else:
        number = f"installment {row['installment_number']}"
        details = [number, f"{row['remaining_balance']:,} left"]
        paid = row["paid_at"] is not None
        what, amount = row["payment_status"], -row["amount_paid"] if paid else None
    relation = catalogue()[stream]
    text = " · ".join(one for one in details if one)
    return Moment(row[relation.time], name, what, amount, text, row[relation.primary_key])
