"""What was traded most in June, by sector of the stock: two relations joined by Spark.

    python examples/spark_read.py [CUSTOMERS]

Needs `pip install 'datagen[spark]'` and Java 17 or 21.
"""

from __future__ import annotations

import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from datagen.spark import register


def main(customers: int = 1_000) -> None:
    spark = SparkSession.builder.master("local[2]").appName("spark_read").getOrCreate()
    register(spark)

    def rows(relation: str) -> DataFrame:
        reader = spark.read.format("datagen").option("relation", relation)
        return reader.option("customers", customers).load()

    # Trades of other months are not made at all.
    june = f.col("executed_at") >= f.lit("2026-06-01T00:00:00Z").cast("timestamp")
    trades = rows("banking.trades").where(june)
    traded = (
        trades.join(f.broadcast(rows("stocks")), "stock_id")
        .groupBy("sector")
        .agg(f.sum("gross_amount").alias("amount"))
        .orderBy(f.desc("amount"), "sector")
    )
    for sector, amount in traded.limit(3).collect():
        print(f"{sector}: R$ {amount:,.2f}")
    spark.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
