"""Parquet files into polars: what customers of each state spend.

    datagen files parquet --customers 1000 -o bank
    python examples/files_polars.py

The folder `bank` is looked for where the program is run.
"""

import polars as pl

people = pl.scan_parquet("bank/customers.parquet")
cards = pl.scan_parquet("bank/credit_cards.parquet")
purchases = pl.scan_parquet("bank/banking.card-transactions.parquet")

# Only the columns that are asked for are read.
spent = (
    purchases.filter(pl.col("status") == "APPROVED")
    .join(cards, on="card_id", validate="m:1")
    .join(people, on="customer_id", validate="m:1")
    .group_by("state")
    .agg(pl.len(), pl.col("amount").sum())
    .sort("amount", descending=True)
    .head(3)
    .collect()
)

for state, count, total in spent.iter_rows():
    print(f"{state}: {count} purchases for R$ {total:,.2f}")
