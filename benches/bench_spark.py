"""Rows that Spark reads and throws away: ours, and dbldatagen's with as many columns of the same types.

    pip install "pyspark>=4" "dbldatagen==0.4.0.post1" jmespath pyparsing

It needs Java 17 or 21. Its CPU is Java's and that of Python workers, which is not counted.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from harness import Way

from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Contest, Sizes

    from datagen.types import Field

#: Of both sides: two for each core.
PARTITIONS = 4


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    pytest.importorskip("pyspark")
    pytest.importorskip("dbldatagen")
    from pyspark.sql import SparkSession

    from datagen.spark import register

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "3g")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.ui.enabled", "false")
    session = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    register(session)
    try:
        yield session
    finally:
        session.stop()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("relation", ["banking.transactions", "banking.trades", "customers"])
def test_read(relation: str, spark: Any, contest: Contest, sizes: Sizes) -> None:
    plan = sizes.plan
    rows = plan.rows(relation)
    reader = spark.read.format("datagen").option("relation", relation).option("seed", plan.seed)
    ours = reader.option("customers", plan.customers).option("partitions", PARTITIONS).load()
    # A fifth of the rows is steady enough.
    peer = _peer(spark, relation, rows // 5)
    assert [one.dataType for one in peer.schema] == [one.dataType for one in ours.schema]
    columns = len(ours.columns)
    contest(
        f"{relation}, {columns} columns, to `noop`",
        Way('`spark.read.format("datagen")`', rows, lambda: _throw_away(ours)),
        Way("dbldatagen", rows // 5, lambda: _throw_away(peer)),
        rounds=sizes.rounds,
        warm_up=1,
    )


def _throw_away(frame: Any) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _peer(spark: Any, relation: str, rows: int) -> Any:
    """Columns of the same types, each in the way that dbldatagen makes it fastest: none by a template."""
    import dbldatagen

    made = dbldatagen.DataGenerator(
        spark, name="peer", rows=rows, partitions=PARTITIONS, randomSeed=42
    )
    for field in catalogue()[relation].fields:
        options = _column(field)
        if field.nullable:
            options["percentNulls"] = 0.2
        made = made.withColumn(field.name, options.pop("type"), **options)
    return made.build()


def _column(field: Field) -> dict[str, Any]:
    drawn = {"random": True}
    match field.type:
        case "uuid":
            return {"type": "string", "expr": "uuid()"}
        case "enum":
            return {"type": "string", "values": [*field.symbols], **drawn}
        case "text":
            return {"type": "string", "uniqueValues": 10_000, "prefix": field.name, **drawn}
        case "char":
            most = min(10 ** (field.length or 1), 2**62) - 1
            return {"type": "string", "minValue": 0, "maxValue": most, **drawn}
        case "decimal":
            most = {"minValue": 1, "maxValue": 100_000, "step": 0.01}
            if (field.precision or 0) - (field.scale or 0) < 6:
                most = {"minValue": 0, "maxValue": 1, "step": 0.001}
            return {"type": f"decimal({field.precision},{field.scale})", **most, **drawn}
        case "smallint" | "int":
            kind = "short" if field.type == "smallint" else "int"
            return {"type": kind, "minValue": 1, "maxValue": 1000, **drawn}
        case "bool":
            return {"type": "boolean", "expr": "rand() < 0.5"}
        case "date":
            span = {"begin": "1950-01-01", "end": "2026-07-01", "interval": "1 day"}
            return {"type": "date", **span, **drawn}
        case "instant":
            span = {"begin": "2026-04-02 00:00:00", "end": "2026-07-01 00:00:00"}
            return {"type": "timestamp", **span, "interval": "1 second", **drawn}
    raise AssertionError(field.type)
