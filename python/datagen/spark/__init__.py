"""Tables and streams as a data source of Spark, by the extra ``spark``.

    from datagen.spark import register

    register(spark)
    spark.read.format("datagen").option("relation", "banking.trades").option("customers", 100_000).load()
    spark.readStream.format("datagen").option("relation", "banking.trades").option("speed", 3600).load()

Spark's executors make the rows: each partition is a range of customers or a span of time of the same plan, so
that a task that is tried again, or run twice, gives the same rows. They need datagen and pyarrow, and no
service. The options are those of ``datagen.spark.options``; ``.schema(…)`` with some of the fields has only
those made into columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datagen.errors import ConfigurationError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from .source import DatagenDataSource

__all__ = ["DatagenDataSource", "register"]


def register(spark: SparkSession) -> None:
    """Makes the format ``datagen`` known to a session.

    From Spark 4.1 on filters of the event time decide which events are made at all: for that it sets
    ``spark.sql.python.filterPushdown.enabled`` in the session. Raises ``ConfigurationError`` without the
    extra ``spark``.
    """
    source = _source()
    if source.PUSHDOWN is None:
        spark.dataSource.register(source.DatagenDataSource)
    else:
        spark.conf.set(source.PUSHDOWN, "true")
        spark.dataSource.register(source.PushingDataSource)


def __getattr__(name: str) -> Any:
    """``DatagenDataSource``, which needs Spark, once somebody asks for it."""
    if name == "DatagenDataSource":
        return _source().DatagenDataSource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _source() -> Any:
    try:
        from . import source
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in {"pyspark", "pyarrow"}:
            raise
        raise ConfigurationError(
            "datagen.spark needs PySpark 4 and pyarrow: pip install 'datagen[spark]'"
        ) from None
    return source
