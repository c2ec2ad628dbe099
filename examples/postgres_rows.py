"""Rows into PostgreSQL, all or nothing, and a question in SQL.

    python examples/postgres_rows.py postgresql://user:password@localhost:5432/database [CUSTOMERS]

The tables are made if they are missing; rows that are there are replaced.
"""

import sys

import psycopg

from datagen import MasterDataStore, Plan
from datagen.sinks.postgres import PostgresSink

TABLES = ("customers", "properties", "stocks", "accounts", "credit_cards", "loans")
QUESTION = """
SELECT c.state, count(*) AS loans, sum(l.principal) AS principal
FROM loans l JOIN customers c USING (customer_id)
GROUP BY c.state ORDER BY principal DESC, c.state LIMIT 3
"""

url = sys.argv[1]
plan = Plan(seed=42, customers=int(sys.argv[2]) if len(sys.argv) > 2 else 1_000)

store = MasterDataStore()  # checks foreign keys before a row leaves
with PostgresSink(url, truncate=True) as sink:
    sink.begin()
    for name in TABLES:
        for batch in plan.batches(name):
            sink.write(store.add_batch(batch))
    sink.commit()
    for name, rows in sink.counts().items():
        print(f"{name}: {rows} rows")

with psycopg.connect(url) as connection:
    for state, loans, principal in connection.execute(QUESTION):
        print(f"{state}: {loans} loans of R$ {principal:,.2f} in all")
