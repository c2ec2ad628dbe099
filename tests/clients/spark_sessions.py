"""Spark in this process, and what makes its sources and its executors go."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

import datagen
from datagen.spark import register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How long anything may take, in seconds; on two cores it needs a tenth.
PATIENCE = 240


@contextmanager
def session(master: str, folder: Path, **settings: object) -> Iterator[SparkSession]:
    """A session that knows datagen, with a time zone of its own; its files go to a folder."""
    # Executors and planners run what the tests run on.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(master).config("spark.ui.enabled", "false")
    usual = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        # Where executors find what is tested, installed or not.
        "spark.executorEnv.PYTHONPATH": Path(datagen.__file__).parents[1],
        "spark.local.dir": folder / "local",
        "spark.sql.session.timeZone": "America/Sao_Paulo",
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.ui.showConsoleProgress": "false",
    }
    for name, value in {**usual, **settings}.items():
        builder = builder.config(name, str(value))
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    try:
        register(spark)
        yield spark
    finally:
        spark.stop()


def read(spark: SparkSession, relation: str, **options: object) -> Any:
    return _with(spark.read.format("datagen"), relation, options).load()


def stream(spark: SparkSession, relation: str, **options: object) -> Any:
    return _with(spark.readStream.format("datagen"), relation, options).load()


def _with(reader: Any, relation: str, options: dict[str, object]) -> Any:
    for name, value in {"relation": relation, **options}.items():
        reader = reader.option(name, str(value))
    return reader


def begun(frame: Any, folder: Path, **trigger: Any) -> Any:
    """A query that writes Parquet, with its checkpoint beside it."""
    writer = frame.writeStream.format("parquet").option("path", str(folder / "rows"))
    return writer.option("checkpointLocation", str(folder / "at")).trigger(**trigger).start()


def told(error: BaseException, start: str) -> str:
    """The line of ours within what Spark says of an error."""
    [line] = {one.strip() for one in str(error).splitlines() if one.strip().startswith(start)}
    return line


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def batches(folder: Path) -> int:
    """How many batches of a query are done for good."""
    return len(list((folder / "at" / "commits").glob("[0-9]*")))


def until_batches(query: Any, folder: Path, count: int) -> None:
    until(lambda: batches(folder) >= count or not query.isActive)
    assert query.exception() is None
