"""Parquet files into pandas: what customers of each state spend.

    datagen files parquet --customers 1000 -o bank
    python examples/files_pandas.py

The folder `bank` is looked for where the program is run.
"""

import pandas as pd


def read(name: str, columns: list[str]) -> pd.DataFrame:
    # Arrow's types: decimals stay exact and fast, instants are in UTC.
    return pd.read_parquet(f"bank/{name}.parquet", columns=columns, dtype_backend="pyarrow")


people = read("customers", ["customer_id", "state"])
cards = read("credit_cards", ["card_id", "customer_id"])
purchases = read("banking.card-transactions", ["card_id", "amount", "status"])

approved = purchases[purchases["status"] == "APPROVED"]
joined = approved.merge(cards, validate="many_to_one").merge(people, validate="many_to_one")
spent = joined.groupby("state", observed=True)["amount"].agg(["size", "sum"])

for state, count, total in spent.sort_values("sum", ascending=False).head(3).itertuples():
    print(f"{state}: {count} purchases for R$ {total:,.2f}")
