"""Trades into a Delta table, by two appends, and read back.

    python examples/lake_delta.py [FOLDER]

FOLDER is `lake` unless it is given. A second run appends the same trades again.
"""

import sys

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from datagen import Plan

folder = sys.argv[1] if len(sys.argv) > 1 else "lake"
plan = Plan(seed=42, customers=1_000)

# A bank grows by ranges of customers, a version of the table each.
for first, last in ((0, 500), (500, 1_000)):
    trades = plan.batches("banking.trades", first, last, uuids="text", enums="text")
    write_deltalake(f"{folder}/trades", trades, mode="append")

# Its own engine reads: `to_pyarrow_table` leaves threads that may abort a process as it ends.
table = DeltaTable(f"{folder}/trades")
query = "SELECT count(*) AS trades, sum(gross_amount) AS reais FROM trades"
found = QueryBuilder().register("trades", table).execute(query).read_all()
[row] = pa.table(found).to_pylist()
print(f"{row['trades']} trades for R$ {row['reais']:,.2f}")
print(f"{table.version() + 1} versions")
