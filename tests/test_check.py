"""The stores refuse rows whose parents were not handed over, and stay as they were."""

from __future__ import annotations

import subprocess
import sys
import time
import types
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from datagen._core import Batch, Plan
from datagen.check import FinancialDataStore, MasterDataStore, memory_in_time, memory_needed
from datagen.errors import OptionError, ReferentialIntegrityError, RejectedError
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

STRANGER = uuid.UUID("00000000-0000-4000-8000-00000000002a")

#: The method that takes a single row of each relation.
ADD = {
    "customers": "add_customer",
    "properties": "add_property",
    "stocks": "add_stock",
    "accounts": "add_account",
    "credit_cards": "add_credit_card",
    "loans": "add_loan",
    "banking.transactions": "add_transaction",
    "banking.card-transactions": "add_card_transaction",
    "banking.trades": "add_trade",
    "banking.installments": "add_installment",
}

FOREIGN_KEYS = [
    pytest.param(name, field, parent, id=f"{name}.{field}")
    for name, field, parent in [
        ("accounts", "customer_id", "customer"),
        ("credit_cards", "customer_id", "customer"),
        ("loans", "customer_id", "customer"),
        ("loans", "property_id", "property"),
        ("banking.transactions", "account_id", "account"),
        ("banking.card-transactions", "card_id", "credit card"),
        ("banking.trades", "account_id", "INVESTIMENTOS account"),
        ("banking.trades", "stock_id", "stock"),
        ("banking.installments", "loan_id", "loan"),
    ]
]

STORES = pytest.mark.parametrize("new_store", [MasterDataStore, FinancialDataStore])


def plan() -> Plan:
    return Plan(7, 40, days=10)


def rows(name: str) -> list[dict[str, Any]]:
    return [batch.row(i) for batch in plan().batches(name) for i in range(len(batch))]


def filled(new_store: type[MasterDataStore], upto: str | None = None) -> MasterDataStore:
    """A store with all relations before `upto`."""
    store = new_store()
    for relation in catalogue():
        if relation.name == upto:
            break
        for batch in plan().batches(relation.name):
            store.add_batch(batch)
    return store


def content(store: FinancialDataStore) -> dict[str, list[dict[str, Any]]]:
    return {
        relation.name: [b.row(i) for b in store.batches(relation.name) for i in range(len(b))]
        for relation in catalogue()
    }


def test_every_foreign_key_of_the_catalogue_is_tested() -> None:
    listed = {(name, field) for name, field, _ in (param.values for param in FOREIGN_KEYS)}
    assert listed == {(r.name, key.field) for r in catalogue() for key in r.foreign_keys}
    assert set(ADD) == {relation.name for relation in catalogue()}


@STORES
def test_a_whole_plan_is_taken(new_store: type[MasterDataStore]) -> None:
    store = filled(new_store)
    assert store.counts == {r.name: plan().rows(r.name) for r in catalogue()}
    assert [*store.counts] == [relation.name for relation in catalogue()]


@STORES
@pytest.mark.parametrize(("name", "field", "parent"), FOREIGN_KEYS)
def test_an_unknown_parent_is_refused(
    new_store: type[MasterDataStore], name: str, field: str, parent: str
) -> None:
    store = filled(new_store, upto=name)
    before = store.counts
    wrong = rows(name)
    # The first row that has the field set, and one after it.
    first = next(i for i, row in enumerate(wrong) if i > 0 and row[field] is not None)
    for row in wrong[first:]:
        if row[field] is not None:
            row[field] = STRANGER
    with pytest.raises(ReferentialIntegrityError) as caught:
        store.add_batch(Batch.from_rows(name, wrong))
    error = caught.value
    assert (error.stream, error.field, error.value) == (name, field, str(STRANGER))
    assert (error.row, error.parent) == (first, parent)
    assert str(error) == (
        f"{name} row {first}: {field} = {STRANGER} is not a known {parent}; add the {parent} first"
    )
    assert store.counts == before
    with pytest.raises(ReferentialIntegrityError) as caught:
        getattr(store, ADD[name])(wrong[first])
    assert caught.value.row == 0
    # Nothing of the refused batch was kept: the right rows are new.
    store.add_batch(Batch.from_rows(name, rows(name)))


@STORES
@pytest.mark.parametrize("name", ADD)
def test_a_row_may_be_an_object(new_store: type[MasterDataStore], name: str) -> None:
    store = filled(new_store, upto=name)
    right = rows(name)[0]
    given = types.SimpleNamespace(**right)
    getattr(store, ADD[name])(given)
    # What becomes of it afterwards is no matter.
    vars(given).clear()
    assert store.counts[name] == 1
    if isinstance(store, FinancialDataStore):
        assert [row for batch in store.batches(name) for row in batch] == [right]
    with pytest.raises(OptionError, match=f"^{name} row 0: .*use a row that has "):
        getattr(store, ADD[name])(types.SimpleNamespace(**dict(list(right.items())[:-1])))


@STORES
def test_a_trade_needs_an_investment_account(new_store: type[MasterDataStore]) -> None:
    store = filled(new_store, upto="banking.trades")
    current = next(row for row in rows("accounts") if row["account_type"] == "CORRENTE")
    trade = rows("banking.trades")[0] | {"account_id": current["account_id"]}
    with pytest.raises(ReferentialIntegrityError, match="INVESTIMENTOS account"):
        store.add_trade(trade)
    transaction = rows("banking.transactions")[0] | {"account_id": current["account_id"]}
    filled(new_store, upto="banking.transactions").add_transaction(transaction)


@STORES
@pytest.mark.parametrize("name", [relation.name for relation in catalogue().tables])
def test_a_key_is_taken_once(new_store: type[MasterDataStore], name: str) -> None:
    store = filled(new_store, upto=name)
    right = rows(name)
    key = catalogue()[name].primary_key
    twice = [*right, right[0]]
    with pytest.raises(RejectedError) as caught:
        store.add_batch(Batch.from_rows(name, twice))
    assert type(caught.value) is RejectedError
    assert str(caught.value) == (
        f"{name} row {len(right)}: {key} = {right[0][key]} was handed over before; "
        "hand over each row once"
    )
    assert store.counts[name] == 0
    # The refused batch is forgotten, whole: its rows can be handed over, in any part.
    store.add_batch(Batch.from_rows(name, right[:2]))
    with pytest.raises(RejectedError, match=f"{name} row 1: {key} = {right[1][key]}"):
        store.add_batch(Batch.from_rows(name, [right[2], right[1], *right[3:]]))
    store.add_batch(Batch.from_rows(name, right[2:]))
    with pytest.raises(RejectedError, match=f"{name} row 0"):
        getattr(store, ADD[name])(right[-1])
    assert store.counts[name] == len(right)


@STORES
def test_a_refused_parent_has_no_children(new_store: type[MasterDataStore]) -> None:
    store = filled(new_store, upto="accounts")
    accounts = rows("accounts")
    with pytest.raises(RejectedError):
        store.add_batch(Batch.from_rows("accounts", [*accounts, accounts[0]]))
    for account in accounts[:3]:
        movement = rows("banking.transactions")[0] | {"account_id": account["account_id"]}
        with pytest.raises(ReferentialIntegrityError):
            store.add_transaction(movement)
    investing = next(row for row in accounts if row["account_type"] == "INVESTIMENTOS")
    with pytest.raises(ReferentialIntegrityError):
        store.add_trade(rows("banking.trades")[0] | {"account_id": investing["account_id"]})


def test_the_financial_store_refuses_an_event_that_it_has() -> None:
    store = filled(FinancialDataStore)
    for name in (relation.name for relation in catalogue().streams):
        with pytest.raises(RejectedError, match=f"{name} row 0"):
            store.add_batch(Batch.from_rows(name, rows(name)[3:4]))


def test_the_financial_store_keeps_rows_in_order() -> None:
    store = FinancialDataStore()
    for relation in catalogue():
        given = rows(relation.name)
        add = getattr(store, ADD[relation.name])
        for row in given[:3]:
            add(row)
        store.add_batch(Batch.from_rows(relation.name, given[3:7]))
        for row in given[7:]:
            add(row)
    kept = content(store)
    assert kept == {relation.name: rows(relation.name) for relation in catalogue()}
    assert all(len([*store.batches(r.name)]) <= 3 for r in catalogue())
    # Handing them on takes nothing away.
    assert content(store) == kept


def test_a_refused_batch_is_not_kept() -> None:
    store = filled(FinancialDataStore)
    assert isinstance(store, FinancialDataStore)
    before = content(store)
    for relation in catalogue():
        with pytest.raises(RejectedError):
            store.add_batch(Batch.from_rows(relation.name, rows(relation.name)))
    assert content(store) == before


def handed_over(
    store: MasterDataStore, plan: Plan, start: int = 0
) -> dict[str, dict[bytes, bytes]]:
    """The rows of a load of customers from `start` on, as JSON, by id; its store checks them."""
    rows: dict[str, dict[bytes, bytes]] = {}
    for relation in catalogue():
        rows[relation.name] = {}
        for batch in plan.batches(relation.name, start, batch_rows=1_000):
            assert store.add_batch(batch) is batch
            ids = batch.text(relation.primary_key)
            rows[relation.name].update(zip(ids, batch.encode("json"), strict=True))
    assert store.counts == {name: len(those) for name, those in rows.items()}
    assert store.counts == {name: plan.rows(name, start) for name in rows}
    return rows


@STORES
@pytest.mark.parametrize(("first", "last"), [(1_000, 1_500), (7, 33), (20, 40)])
def test_ranges_of_one_seed_are_loads_of_their_own(
    new_store: type[MasterDataStore], first: int, last: int
) -> None:
    """Each has all parents that its rows need, and together they are the larger load."""
    before = handed_over(new_store(), Plan(7, first, days=30))
    # A store that has seen nothing of the customers before.
    more = handed_over(new_store(), Plan(7, last, days=30), first)
    whole = handed_over(new_store(), Plan(7, last, days=30))
    for name in whole:
        if name == "stocks":
            # They belong to the whole bank, so that every range has all of them.
            assert before[name] == more[name] == whole[name]
            continue
        assert not before[name].keys() & more[name].keys()
        # In the same order, too.
        assert [*(before[name] | more[name]).items()] == [*whole[name].items()]


def test_add_batch_returns_the_batch() -> None:
    def checked(store: MasterDataStore) -> Iterator[Batch]:
        for batch in plan().batches("customers"):
            assert store.add_batch(batch) is batch
            yield batch

    assert sum(map(len, checked(MasterDataStore()))) == 40


def test_single_rows_are_read_as_batches_are() -> None:
    store = MasterDataStore()
    with pytest.raises(OptionError):
        store.add_customer({"customer_id": STRANGER})
    with pytest.raises(OptionError):
        store.add_customer(rows("customers")[0] | {"segment": "GOLD"})
    assert not any(store.counts.values())


def test_parents_are_the_sets_that_the_store_fills() -> None:
    store = MasterDataStore()
    accounts, stocks = store.parents("banking.trades")
    assert (len(accounts), len(stocks)) == (0, 0)
    for name in ("customers", "stocks", "accounts"):
        for batch in plan().batches(name):
            store.add_batch(batch)
    investing = [row for row in rows("accounts") if row["account_type"] == "INVESTIMENTOS"]
    assert len(accounts) == len(investing)
    assert all(row["account_id"] in accounts for row in investing)
    assert len(stocks) == plan().rows("stocks")
    store.count("banking.trades", 7)
    assert store.counts["banking.trades"] == 7


def test_an_unknown_relation_is_named() -> None:
    with pytest.raises(OptionError, match=r"'banking.trade'.*banking.trades"):
        MasterDataStore().parents("banking.trade")
    with pytest.raises(OptionError, match=r"'banking.trade'.*banking.trades"):
        MasterDataStore().count("banking.trade", 1)
    with pytest.raises(OptionError, match=r"banking.trade'.*banking.trades"):
        FinancialDataStore().batches("banking.trade")


MEASURE = """
import sys
from pathlib import Path
from datagen import FinancialDataStore, Plan
from datagen.types import catalogue

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

customers, days, start, stop = map(int, sys.argv[1:])
plan, store = Plan(customers=customers, days=days), FinancialDataStore()
sum(len(batch) for name in ("customers", "loans") for batch in plan.batches(name, 0, 1))
before = resident()
for relation in catalogue():
    for batch in plan.batches(relation.name, start, stop, batch_rows=8192):
        store.add_batch(batch)
order = store.in_time()
next(order)
print(resident() - before)
"""


@pytest.mark.parametrize(
    ("customers", "days", "start", "stop"),
    [
        (2_000, 90, 0, 2_000),
        pytest.param(9_999, 90, 0, 9_999, marks=pytest.mark.slow),
        pytest.param(4_000, 400, 0, 4_000, marks=pytest.mark.slow),
        (50_000, 30, 9_000, 16_000),
    ],
)
def test_memory_is_told_before(customers: int, days: int, start: int, stop: int) -> None:
    arguments = map(str, (customers, days, start, stop))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = memory_needed(Plan(customers=customers, days=days), start, stop)
    assert 0.75 < told / int(run.stdout) < 1.25


@pytest.mark.slow
@pytest.mark.parametrize(("customers", "days"), [(100_000, 90), (20_000, 2_000)])
def test_memory_in_time_is_told_before(customers: int, days: int) -> None:
    script = """
import sys
from pathlib import Path
from datagen import Plan

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

plan = Plan(customers=int(sys.argv[1]), days=int(sys.argv[2]))
before = resident()
window = plan.window(batch_rows=1)
next(window)
print(resident() - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(customers), str(days)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = memory_in_time(Plan(customers=customers, days=days))
    assert 0.75 < told / int(run.stdout) < 1.25


@pytest.mark.timing
def test_memory_of_a_plan_that_is_too_large_is_told_at_once() -> None:
    began = time.perf_counter()
    everything = memory_needed(Plan(customers=99_999_990, days=2_000))
    assert time.perf_counter() - began < 15
    # Of 2 000 days, in the course of which a tenth leave.
    assert 15 * 10**12 < everything < 100 * 10**12
    # In proportion, but for the powers of two of the sets.
    plan = Plan(customers=40_000)
    halves = memory_needed(plan, 0, 20_000) + memory_needed(plan, 20_000)
    assert memory_needed(plan) == pytest.approx(halves, rel=0.1)


def test_memory_of_some_relations() -> None:
    plan = Plan(customers=1_000)
    names = [relation.name for relation in catalogue()]
    alone = [memory_needed(plan, names=[name]) for name in names]
    assert min(alone) > 0
    assert sum(alone) == pytest.approx(memory_needed(plan), abs=len(names))
    assert memory_needed(plan, names=[]) == 0
    assert memory_needed(plan, 1_000) < 10_000  # the stocks alone
    with pytest.raises(OptionError, match="'accountants'"):
        memory_needed(plan, names=["accountants"])
    with pytest.raises(OptionError, match="stop"):
        memory_needed(plan, 7, 1_001)


def test_no_driver_is_imported() -> None:
    script = (
        "import sys, datagen.check, datagen.types, datagen.errors\n"
        "print([m for m in ('psycopg', 'confluent_kafka', 'pyarrow') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"
