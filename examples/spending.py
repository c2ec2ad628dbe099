"""Batches into pyarrow and pandas: what customers of each state spend, by category.

    python examples/spending.py [CUSTOMERS]

Needs pandas and pyarrow, and no server.
"""

import sys

import pandas as pd
import pyarrow as pa

from datagen import Plan

plan = Plan(seed=42, customers=int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)


def frame(name: str, *columns: str) -> pd.DataFrame:
    """Columns of a table or stream. Batches are Arrow: pyarrow takes them without a copy."""
    return pa.table(plan.batches(name)).select(columns).to_pandas()


people = frame("customers", "customer_id", "state")
cards = frame("credit_cards", "card_id", "customer_id")
purchases = frame("banking.card-transactions", "card_id", "merchant_category", "amount", "status")

# Every purchase has a card, and every card a customer: the merges lose none and double none.
joined = purchases.merge(cards, validate="many_to_one").merge(people, validate="many_to_one")
approved = joined[joined["status"] == "APPROVED"]
spent = approved.groupby(["state", "merchant_category"])["amount"].sum()

print(f"{len(joined)} of {len(purchases)} purchases have a card and a customer")
for (state, category), amount in spent.sort_values(ascending=False).head(5).items():
    print(f"{state} {category}: R$ {amount:,.2f}")
