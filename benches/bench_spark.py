"""Rows that Spark reads and throws away: ours, and dbldatagen's with as many columns of the same types.

    pip install "pyspark>=4" "dbldatagen==0.4.0.post1" jmespath pyparsing

It needs Java 17 or 21. The CPU is that of Java and of its Python workers.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import Way

from datagen.benchmark import Round
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
@pytest.mark.parametrize("relation", ["banking.transactions", "banking.trades"])
def test_read(relation: str, spark: Any, contest: Contest, sizes: Sizes) -> None:
    plan = sizes.plan
    rows = plan.rows(relation)
    reader = spark.read.format("datagen").option("relation", relation).option("seed", plan.seed)
    ours = reader.option("customers", plan.customers).option("partitions", PARTITIONS).load()
    peer = _peer(spark, relation, rows)
    assert [one.dataType for one in peer.schema] == [one.dataType for one in ours.schema]
    columns = len(ours.columns)
    contest(
        f"{relation}, {columns} columns, to `noop`",
        Way('`spark.read.format("datagen")`', rows, lambda: _thrown_away(spark, ours, rows)),
        Way("dbldatagen", rows, lambda: _thrown_away(spark, peer, rows)),
        rounds=sizes.rounds,
        warm_up=1,
    )


def _thrown_away(spark: Any, frame: Any, rows: int) -> Round:
    java = spark.sparkContext._gateway.proc.pid  # noqa: SLF001
    cpu, began = _cpu_seconds(java), time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return Round(rows, time.perf_counter() - began, _cpu_seconds(java) - cpu)


def _cpu_seconds(pid: int) -> float:
    """What a process and all that it has started have had, of those that have ended too (proc(5))."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
    family = {pid}
    while more := {one for one, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks[one] for one in family) / os.sysconf("SC_CLK_TCK")


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
        case "text" | "char":
            return {"type": "string", "uniqueValues": 10_000, "prefix": field.name, **drawn}
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
