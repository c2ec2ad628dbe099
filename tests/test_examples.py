"""Each program of examples/ as a user runs it, against what plain rows of the same plan say."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from command import Outcome, run
from datagen import Plan
from relations import python_rows

if TYPE_CHECKING:
    from own_topics import OwnTopics
    from services.registry import Registry

EXAMPLES = Path(__file__).parents[1] / "examples"
CUSTOMERS = 60
PLAN = Plan(42, CUSTOMERS)


def example(name: str, *arguments: object, **environment: str) -> list[str]:
    """The lines that an example prints; it must end well and say nothing else."""
    outcome: Outcome = run(
        sys.executable, EXAMPLES / f"{name}.py", *arguments, timeout=120.0, **environment
    )
    assert (outcome.code, outcome.err) == (0, ""), str(outcome)
    return outcome.lines


def rows(name: str, plan: Plan = PLAN) -> list[dict[str, Any]]:
    return [row for batch in plan.batches(name) for row in python_rows(batch)]


def test_every_example_is_run() -> None:
    here = Path(__file__)
    named = set(re.findall(r'example\("(\w+)"', here.read_text("utf-8")))
    # Those of Spark and of docs/consumers.md are run beside what they need.
    clients = here.parent / "clients"
    spark = (clients / "test_spark_source.py").read_text("utf-8")
    named |= set(re.findall(r'"examples" / "(\w+)\.py"', spark))
    recipes = (clients / "test_recipes.py").read_text("utf-8")
    named |= set(re.findall(r'python\("(\w+)"', recipes))
    tests = {"test_with_datagen"}  # tests/test_pytest_plugin.py runs these
    assert named | tests == {path.stem for path in EXAMPLES.glob("*.py")}


def test_spending() -> None:
    state = {one["customer_id"]: one["state"] for one in rows("customers")}
    of_card = {one["card_id"]: state[one["customer_id"]] for one in rows("credit_cards")}
    spent: dict[str, Decimal] = defaultdict(Decimal)
    purchases = rows("banking.card-transactions")
    for one in purchases:
        if one["status"] == "APPROVED":
            spent[f"{of_card[one['card_id']]} {one['merchant_category']}"] += one["amount"]
    first, *rest = example("spending", CUSTOMERS)
    every = len(purchases)
    assert first == f"{every} of {every} purchases have a card and a customer"
    most = sorted(spent.items(), key=lambda one: one[1], reverse=True)[:5]
    assert rest == [f"{what}: R$ {amount:,.2f}" for what, amount in most]


def test_rows_into_postgres(pg_dsn: str) -> None:
    tables = ("customers", "properties", "stocks", "accounts", "credit_cards", "loans")
    counted = [f"{name}: {PLAN.rows(name)} rows" for name in tables]
    state = {one["customer_id"]: one["state"] for one in rows("customers")}
    loans: dict[str, list[Decimal]] = defaultdict(list)
    for one in rows("loans"):
        loans[state[one["customer_id"]]].append(one["principal"])
    most = sorted(loans.items(), key=lambda one: (-sum(one[1]), one[0]))[:3]
    told = [f"{at}: {len(each)} loans of R$ {sum(each):,.2f} in all" for at, each in most]
    for _ in range(2):  # the second time in the place of the first
        lines = example("postgres_rows", pg_dsn, CUSTOMERS)
        assert sorted(lines[:6]) == sorted(counted)
        assert lines[6:] == told
    with psycopg.connect(pg_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM loans").fetchone() == (PLAN.rows("loans"),)


def test_events_into_kafka_and_out(clean_kafka: OwnTopics, registry: Registry) -> None:
    where = (clean_kafka.bootstrap, registry.url)
    prefix = {"DATAGEN_TOPIC_PREFIX": clean_kafka.prefix}
    trades = rows("banking.trades")
    sides = Counter(one["side"] for one in trades)
    bought = sum(one["gross_amount"] for one in trades if one["side"] == "BUY")
    every = len(trades)
    told = f"{every} trades: {dict(sorted(sides.items()))}, bought for R$ {bought:,.2f}"
    for _ in range(2):  # the second time all events are duplicates
        sent = example("kafka_events", *where, CUSTOMERS, **prefix)
        topic = clean_kafka.name("banking.trades")
        assert sent == [f"{topic}: {every} of {every} events acknowledged"]
        assert example("kafka_consumer", *where, **prefix) == [told]


def test_foreign_keys() -> None:
    plan = Plan(42, 10)
    refused = f"banking.transactions row 0: account_id = {UUID(int=2)} is not a known account"
    assert example("foreign_keys") == [
        f"refused: {refused}; add the account first",
        f"customers: {plan.rows('customers')} kept",
        f"accounts: {plan.rows('accounts')} kept",
        "banking.transactions: 1 kept",
    ]
