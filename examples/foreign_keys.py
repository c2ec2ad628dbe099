"""A store checks your own rows and events against the parents that it was given.

    python examples/foreign_keys.py

Needs no server.
"""

from uuid import UUID

from datagen import FinancialDataStore, Plan, ReferentialIntegrityError

plan = Plan(seed=42, customers=10)
store = FinancialDataStore()
for name in ("customers", "accounts"):
    for batch in plan.batches(name):
        store.add_batch(batch)  # each batch at once, by columns

# One movement of the plan as a dict, taken as it is, and again with an account that nobody has.
movement = next(plan.batches("banking.transactions")).row(0)
store.add_transaction(movement)
try:
    store.add_transaction(movement | {"transaction_id": UUID(int=1), "account_id": UUID(int=2)})
except ReferentialIntegrityError as refused:
    print(f"refused: {refused}")

for name, rows in store.counts.items():
    if rows:
        print(f"{name}: {rows} kept")
