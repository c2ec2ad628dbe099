"""`datagen explain`, `plan.find` and `plan.customer`: from an id back to what has it, and one customer whole."""

from __future__ import annotations

import json
import resource
import uuid
from decimal import Decimal
from typing import Any

import pytest

from command import DATAGEN, assert_failed, run
from datagen import Plan
from datagen.errors import OptionError, UnknownIdError
from datagen.explanation import explain
from datagen.types import catalogue
from terminals import run_on_terminal

EXPLAIN = (*DATAGEN, "explain")
PLAN = Plan()
OWNED = [relation for relation in catalogue() if not relation.is_reference]


def rows(name: str, plan: Plan = PLAN) -> list[dict[str, Any]]:
    return [row for batch in plan.batches(name) for row in batch]


def first(name: str, **wanted: Any) -> dict[str, Any]:
    """The first row of a relation that has these values."""
    return next(row for row in rows(name) if all(row[key] == one for key, one in wanted.items()))


def with_a(product: str) -> int:
    """The first customer who has a product."""
    return next(row for row in range(100) if len(PLAN.customer(row)[product]))


# --- the library


@pytest.mark.parametrize("name", [relation.name for relation in OWNED])
def test_ids_of_every_relation_lead_back(name: str) -> None:
    relation = catalogue()[name]
    for row in rows(name)[::97]:
        found = PLAN.find(row[relation.primary_key])
        assert found.id == row[relation.primary_key]
        assert found.relation is relation
        assert found.customer is not None
        assert (found.k is None) == (not relation.is_stream)
        assert row in list(PLAN.customer(found.customer)[name])
        for given in (str(found.id), str(found.id).upper(), found.id.bytes):
            assert PLAN.find(given).row == found.row


def test_numbers_and_addresses_lead_back() -> None:
    for person in rows("customers"):
        cpf = person["cpf"]
        dotted = f"{cpf[:3]}.{cpf[3:6]}.{cpf[6:9]}-{cpf[9:]}"
        for given in (cpf, dotted, person["email"], person["phone"]):
            assert PLAN.find(given).id == person["customer_id"], given
    for account in rows("accounts"):
        assert PLAN.find(account["account_number"]).id == account["account_id"]
        key = account["pix_key"]
        if key is not None:
            found = PLAN.find(key)
            assert found.id in {account["account_id"], account["customer_id"]}
    for card in rows("credit_cards"):
        assert PLAN.find(card["card_number"]).id == card["card_id"]
    for home in rows("properties"):
        assert PLAN.find(home["registration_number"]).id == home["property_id"]


def test_stocks_and_merchants_are_nobodys() -> None:
    stock = rows("stocks")[7]
    for given in (stock["stock_id"], stock["ticker"]):
        found = PLAN.find(given)
        assert (found.relation, found.customer, found.row) == (catalogue()["stocks"], None, 7)
    assert explain(PLAN, stock["ticker"]).entity == stock
    purchase = rows("banking.card-transactions")[3]
    found = PLAN.find(purchase["merchant_id"])
    assert (found.relation, found.customer, found.k) == (None, None, None)
    assert found.merchant is not None
    assert found.merchant == {name: purchase[name] for name in found.merchant}
    assert set(found.merchant) == {
        name for name in purchase if name.startswith(("merchant", "mcc"))
    }


def test_a_customer_is_whole() -> None:
    person = PLAN.customer(17)
    for relation in OWNED:
        own = [row for batch in PLAN.batches(relation.name, 17, 18) for row in batch]
        assert list(person[relation.name]) == own
        if relation.is_stream:
            assert list(person.versions(relation.name)) == own
    versions = list(person.versions("accounts"))
    last = {row["account_id"]: row for row in versions}
    assert list(last.values()) == list(person["accounts"])
    for name, row in (("accounts", 100), ("accounts", -1), ("nothing", 17)):
        with pytest.raises(OptionError):
            PLAN.customer(row)[name]
    assert (17, "HEAD") in person.household or len(person.household) > 1


def test_unknown_ids_say_why() -> None:
    larger = Plan(customers=2_000)
    with pytest.raises(UnknownIdError, match=r"of customer 1,234 .* has 100: give") as beyond:
        PLAN.find(larger.customer(1_234)["customers"][0]["customer_id"])
    assert beyond.value.customer == 1_234
    assert beyond.value.exit_code == 2
    of_another = Plan(seed=43).customer(0)["customers"][0]["customer_id"]
    for stranger in (of_another, uuid.UUID(int=0), uuid.uuid4()):
        with pytest.raises(
            UnknownIdError, match=r"\(seed 42, 100 customers\).* another seed"
        ) as lost:
            PLAN.find(stranger)
        assert lost.value.customer is None
    event = PLAN.customer(17)["banking.transactions"][-1]["transaction_id"]
    with pytest.raises(UnknownIdError, match="no event in the 5 days"):
        Plan(days=5).find(event)
    for text, words in (
        ("958.079.368-93", "no CPF"),
        ("4111111111111112", "no card number"),
        ("nobody@example.com", "nobody's"),
        ("E99860010202606011230abcdef12345", "end-to-end id"),
    ):
        with pytest.raises(UnknownIdError, match=words):
            PLAN.find(text)
    for malformed in ("", "17", "***.456.789-**", "\ud800", "\x00", 17, None, b"short"):
        with pytest.raises(OptionError, match="an id"):
            PLAN.find(malformed)  # type: ignore[arg-type]


# --- what an event belongs with


def joined(event: dict[str, Any], relation: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in explain(PLAN, event[catalogue()[relation].primary_key]).joined:
        found.setdefault(one.how, []).append(one.row)
    return found


def pairs_of_legs() -> list[list[dict[str, Any]]]:
    """Movements of customers of the plan that have one end-to-end id."""
    legs: dict[str, list[dict[str, Any]]] = {}
    for row in rows("banking.transactions"):
        if row["end_to_end_id"]:
            legs.setdefault(row["end_to_end_id"], []).append(row)
    return [both for both in legs.values() if len(both) == 2]


def test_both_legs_of_a_pix_inside() -> None:
    pairs = pairs_of_legs()
    assert pairs
    for one, other in pairs[:5]:
        owner = PLAN.find(other["transaction_id"]).customer
        assert joined(one, "banking.transactions") == {f"other leg, of customer {owner}": [other]}


def test_the_other_leg_may_be_beyond_the_plan() -> None:
    legs = pairs_of_legs()
    assert legs
    for both in legs[:5]:
        owners = [PLAN.find(leg["transaction_id"]).customer or 0 for leg in both]
        (near, leg), (far, other) = sorted(zip(owners, both, strict=True), key=lambda one: one[0])
        small = Plan(customers=near + 1)
        [found] = explain(small, leg["transaction_id"]).joined
        assert found.how == f"other leg, of customer {far}, beyond the plan"
        assert found.row == other


def test_an_installment_and_its_debit() -> None:
    debit = first("banking.transactions", transaction_type="LOAN_INSTALLMENT")
    [paid] = joined(debit, "banking.transactions")["pays"]
    assert paid["amount_paid"] == debit["amount"]
    assert debit in joined(paid, "banking.installments")["debited by"]


def test_a_bill_and_what_was_bought() -> None:
    bill = first("banking.transactions", transaction_type="CARD_BILL", status="COMPLETED")
    found = joined(bill, "banking.transactions")
    [card] = found["pays the bill of"]
    assert all(row["card_id"] == card["card_id"] for row in found.get("bought in the cycle", []))
    bills = [
        (bill, row)
        for bill in rows("banking.transactions")
        if bill["transaction_type"] == "CARD_BILL" and bill["status"] == "COMPLETED"
        for row in joined(bill, "banking.transactions").get("bought in the cycle", [])[:1]
    ][:3]
    assert bills
    for paid, purchase in bills:
        assert paid in joined(purchase, "banking.card-transactions")["its bill is paid by"]


def test_what_is_given_back_and_what_settles() -> None:
    back = next(row for row in rows("banking.transactions") if row["original_transaction_id"])
    [original] = joined(back, "banking.transactions")["gives back"]
    assert original["transaction_id"] == back["original_transaction_id"]
    assert back in joined(original, "banking.transactions")["given back by"]
    settled = first("banking.transactions", transaction_type="SETTLEMENT")
    trades = joined(settled, "banking.transactions")["settles"]
    assert settled in joined(trades[0], "banking.trades")["settled by"]


def test_what_is_before_and_after() -> None:
    own = list(PLAN.customer(5)["banking.transactions"])
    own = [row for row in own if row["account_id"] == own[0]["account_id"]]
    for at in (0, 5, len(own) - 1):
        found = explain(PLAN, own[at]["transaction_id"])
        assert found.entity == own[at]
        assert found.before == (own[at - 1] if at else None)
        assert found.after == (own[at + 1] if at + 1 < len(own) else None)
        assert len(found.life) >= len(own)


def test_sums_and_states_are_those_of_the_rows() -> None:
    for row in range(40):
        person = PLAN.customer(row)
        found = explain(PLAN, person["customers"][0]["customer_id"])
        times = [moment.at for moment in found.life]
        assert times == sorted(times)
        events = sum(len(person[stream.name]) for stream in catalogue().streams)
        assert sum(1 for moment in found.life if moment.event is not None) == events
        for account in found.belongings["accounts"]:
            assert account["states"][-1]["status"] == account["status"]
            if account["status_changed_at"] is not None:
                assert account["states"][-1]["since"] == account["status_changed_at"]
            moved = account["events"]["in"] - account["events"]["out"]
            assert account["opening_balance"] + moved == account["balance"]
        for table in ("credit_cards", "loans"):
            for one in found.belongings[table]:
                assert one["states"][-1]["status"] == one["status"]
                since = [state["since"] for state in one["states"]]
                assert since == sorted(since)


# --- the command


def test_json_has_all_of_it() -> None:
    done = run(*EXPLAIN, "moreira.m@example.org", "--format", "json")
    assert done.code == 0, done
    [line] = done.lines
    found = json.loads(line, parse_float=Decimal)
    assert found["relation"] == "customers"
    assert found["customer"]["row"] == found["row"] == 5
    assert found["customer"]["cpf"] == "95807936892"
    assert {account["account_id"] for account in found["accounts"]} == {
        str(account["account_id"]) for account in PLAN.customer(5)["accounts"]
    }
    assert found["life"][0]["what"] == "joined"


@pytest.mark.parametrize("name", ["customers", "accounts", "credit_cards", "loans", "properties"])
def test_a_table_fits_a_terminal(name: str) -> None:
    row = PLAN.customer(with_a(name))[name][0]
    given = row[catalogue()[name].primary_key]
    done = run_on_terminal(80, *EXPLAIN, given)
    assert done.code == 0, done
    assert max(map(len, done.lines)) <= 80
    piped = run(*EXPLAIN, given)
    assert max(map(len, piped.lines)) <= 80, max(piped.lines, key=len)
    for value in row.values():
        if isinstance(value, str | uuid.UUID):
            assert str(value) in piped.out


@pytest.mark.parametrize("name", [stream.name for stream in catalogue().streams])
def test_an_event_is_shown_with_its_neighbours(name: str) -> None:
    event = rows(name)[2]
    done = run(*EXPLAIN, event[catalogue()[name].primary_key])
    assert done.code == 0, done
    assert max(map(len, done.lines)) <= 80
    assert "before" in done.lines
    assert "after" in done.lines
    assert str(event[catalogue()[name].key]) in done.out


def test_a_timeline_is_a_line_each() -> None:
    done = run(*EXPLAIN, "958.079.368-92", "--format", "timeline")
    life = explain(PLAN, "95807936892").life
    assert [line[:19] for line in done.lines] == [f"{one.at:%Y-%m-%d %H:%M:%S}" for one in life]


def test_a_merchant_and_a_stock_are_shown() -> None:
    purchase = rows("banking.card-transactions")[0]
    merchant = run(*EXPLAIN, purchase["merchant_id"])
    assert merchant.code == 0, merchant
    assert purchase["merchant_name"] in merchant.out
    assert run(*EXPLAIN, "PETR4", "--format", "json").code == 0


def test_the_command_refuses_by_name() -> None:
    beyond = Plan(customers=2_000).customer(1_234)["customers"][0]["customer_id"]
    assert_failed(run(*EXPLAIN, beyond), 2, "of customer 1,234", "--customers 1235 or more")
    assert run(*EXPLAIN, beyond, "--customers", 2_000).code == 0
    assert_failed(run(*EXPLAIN, beyond, "--seed", 43), 2, "(seed 43, 100 customers)")
    assert_failed(run(*EXPLAIN, "17"), 2, "ID", "a CPF")
    assert_failed(run(*EXPLAIN), 2, "ID")
    assert_failed(run(*EXPLAIN, "95807936892", "--days", 0), 2, "--days")


def test_the_last_customer_takes_as_long_as_the_first() -> None:
    most = 99_999_990
    plan = Plan(customers=most)
    for row in (0, most - 1):
        given = plan.customer(row)["customers"][0]["email"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(*EXPLAIN, given, "--customers", most, "--format", "json")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert json.loads(done.out)["row"] == row
        # Most of it is to start Python; a bank of that size takes hours.
        assert after.ru_utime - before.ru_utime < 5
