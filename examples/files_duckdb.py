"""SQL on Parquet files by DuckDB: what customers of each state spend.

    datagen files parquet --customers 1000 -o bank
    python examples/files_duckdb.py

The folder `bank` is looked for where the program is run.
"""

import duckdb

QUESTION = """
SELECT state, count(*), sum(amount) AS spent
FROM 'bank/banking.card-transactions.parquet' AS purchases
JOIN 'bank/credit_cards.parquet' USING (card_id)
JOIN 'bank/customers.parquet' USING (customer_id)
WHERE purchases.status = 'APPROVED'
GROUP BY state ORDER BY spent DESC LIMIT 3
"""

for state, count, total in duckdb.sql(QUESTION).fetchall():
    print(f"{state}: {count} purchases for R$ {total:,.2f}")
