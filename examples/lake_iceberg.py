"""Trades into an Iceberg table, by two appends, and read back.

    python examples/lake_iceberg.py [FOLDER]

FOLDER is `lake` unless it is given. A second run appends the same trades again.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog

from datagen import Plan

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "lake").absolute()
folder.mkdir(exist_ok=True)
plan = Plan(seed=42, customers=1_000)

catalog = SqlCatalog("bank", uri=f"sqlite:///{folder}/catalog.db", warehouse=folder.as_uri())
catalog.create_namespace_if_not_exists("bank")
# A bank grows by ranges of customers, a snapshot of the table each.
for first, last in ((0, 500), (500, 1_000)):
    trades = pa.table(plan.batches("banking.trades", first, last, uuids="text", enums="text"))
    table = catalog.create_table_if_not_exists("bank.trades", trades.schema)
    table.append(trades)

rows = table.scan(selected_fields=("gross_amount",)).to_arrow()
print(f"{len(rows)} trades for R$ {pc.sum(rows['gross_amount']).as_py():,.2f}")
print(f"{len(table.snapshots())} snapshots")
