"""Trades into a Delta table, by two appends, and read back.

    python examples/lake_delta.py [FOLDER]

FOLDER is `lake` unless it is given. A second run appends the same trades again.
"""

import sys

import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from datagen import Plan

folder = sys.argv[1] if len(sys.argv) > 1 else "lake"
plan = Plan(seed=42, customers=1_000)

# A bank grows by ranges of customers, a version of the table each.
for first, last in ((0, 500), (500, 1_000)):
    trades = plan.batches("banking.trades", first, last, uuids="text", enums="text")
    write_deltalake(f"{folder}/trades", trades, mode="append")

table = DeltaTable(f"{folder}/trades")
rows = table.to_pyarrow_table(columns=["gross_amount"])
print(f"{len(rows)} trades for R$ {pc.sum(rows['gross_amount']).as_py():,.2f}")
print(f"{table.version() + 1} versions")
