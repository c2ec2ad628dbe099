"""Spark reads tables and streams by the format `datagen`: the rows are those of the plan."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from spark_sessions import (
    PATIENCE,
    batches,
    begun,
    read,
    session,
    stream,
    told,
    until,
    until_batches,
)

from command import environment_of
from datagen import Plan
from datagen.spark import source
from datagen.types import catalogue
from pages import FENCED, ROOT
from planned import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

# PySpark warns of libraries that are newer than itself.
pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(PATIENCE * 2),
    pytest.mark.filterwarnings("default"),
]

PLAN = Plan(seed=9, customers=300)
OPTIONS = {"seed": 9, "customers": 300}
TRADES = rows(PLAN, "banking.trades")
NAMES = [relation.name for relation in catalogue()]
STREAM = "banking.transactions"

pushes = pytest.mark.skipif(source.PUSHDOWN is None, reason="Spark 4.0 gives a source no filters")


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    with session("local[2]", tmp_path_factory.mktemp("spark")) as found:
        yield found


def as_spark(value: Any) -> Any:
    """A value of ours as PySpark gives it: instants in the zone of this process."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone().replace(tzinfo=None)
    return value


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_plan(spark: SparkSession, name: str) -> None:
    found = read(spark, name, **OPTIONS, partitions=5).collect()
    assert [row.asDict() for row in found] == [
        {field: as_spark(value) for field, value in row.items()} for row in rows(PLAN, name)
    ]


def test_labels_are_those_of_the_plan(spark: SparkSession) -> None:
    plan = Plan(seed=9, customers=300, labels={"pix-scam": 0.2})
    options = {**OPTIONS, "labels": "true", "labelRates": "pix-scam=0.2", "partitions": 3}
    expected = rows(plan, "labels")
    assert [row.asDict() for row in read(spark, "labels", **options).collect()] == [
        {field: as_spark(value) for field, value in row.items()} for row in expected
    ]
    # The events are those of the bank that has them.
    events = {row.transaction_id for row in read(spark, STREAM, **options).collect()}
    assert {str(one["event_id"]) for one in expected if one["stream"] == STREAM} <= events


@pytest.mark.parametrize("name", NAMES)
def test_types_and_comments_are_those_of_the_catalogue(spark: SparkSession, name: str) -> None:
    types = {"uuid": "string", "text": "string", "char": "string", "enum": "string"}
    types |= {"smallint": "smallint", "int": "int", "bool": "boolean", "date": "date"}
    types |= {"instant": "timestamp"}
    found = read(spark, name).schema.fields
    assert [
        (one.name, one.dataType.simpleString(), one.nullable, one.metadata["comment"])
        for one in found
    ] == [
        (
            field.name,
            types.get(field.type) or f"decimal({field.precision},{field.scale})",
            field.nullable,
            field.doc,
        )
        for field in catalogue()[name].fields
    ]


def test_a_schema_says_which_fields_are_made(spark: SparkSession) -> None:
    reader = spark.read.format("datagen").option("relation", "banking.trades").options(**OPTIONS)
    found = reader.schema("gross_amount decimal(15,2), trade_id string").load()
    assert found.columns == ["gross_amount", "trade_id"]
    assert [tuple(row) for row in found.collect()] == [
        (one["gross_amount"], str(one["trade_id"])) for one in TRADES
    ]
    for schema, says in (
        ("price int", "schema: 'price' is not allowed; use fields of banking.trades: trade_id, "),
        ("side int", "schema: 'side int' is not allowed; use side string NOT NULL"),
    ):
        with pytest.raises(Exception, match="schema: ") as raised:
            reader.schema(schema).load().collect()
        assert says in told(raised.value, "datagen.errors.OptionError: ")


def test_time_by_time(spark: SparkSession) -> None:
    options = {**OPTIONS, "order": "time", "partitionBy": "time", "partitions": 6}
    found = read(spark, STREAM, **options, since="2026-06-01T00:00:00Z")
    assert found.rdd.getNumPartitions() == 6
    expected = rows(PLAN, STREAM, order="time", since="2026-06-01T00:00:00Z")
    assert [row.transaction_id for row in found.collect()] == [
        str(one["transaction_id"]) for one in expected
    ]


def test_a_table_as_of_an_instant(spark: SparkSession) -> None:
    instant = "2026-05-01T00:00:00Z"
    found = read(spark, "accounts", **OPTIONS, until=instant).collect()
    expected = rows(PLAN, "accounts", until=instant)
    assert [row.balance for row in found] == [one["balance"] for one in expected]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"custmers": 5},
            "custmers: '5' is not allowed; use the options relation, customers, seed, ",
        ),
        ({"customers": 0}, "customers: 0 is not allowed; use 1 to 99999990"),
        ({"relation": "trades"}, "relation: 'trades' is not allowed; use one of customers, "),
        ({"partitions": 0}, "partitions: 0 is not allowed; use 1 to 100000"),
    ],
    ids=str,
)
def test_a_wrong_option_is_one_line(
    spark: SparkSession, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(Exception, match="is not allowed") as raised:
        read(spark, **{"relation": "banking.trades", **options})
    found = told(raised.value, "datagen.errors.")
    assert found.startswith(f"datagen.errors.OptionError: {says}")


# --- Filters ----------------------------------------------------------------------------------------


def scanned(frame: Any) -> int:
    """The rows that the source of a collected frame has made."""
    leaves = frame._jdf.queryExecution().executedPlan().collectLeaves()
    [leaf] = [leaves.apply(index) for index in range(leaves.size())]
    return int(leaf.metrics().apply("numOutputRows").value())


EXACT = sorted(TRADES, key=lambda one: one["executed_at"])[len(TRADES) // 2]["executed_at"]
LATER = EXACT + timedelta(days=3, microseconds=1)


@pushes
@pytest.mark.parametrize(
    ("filters", "made", "left"),
    [
        ("t = '{0}'", lambda t: t == EXACT, None),
        ("t <=> '{0}'", lambda t: t == EXACT, None),
        ("t > '{0}'", lambda t: t > EXACT, None),
        ("t >= '{0}'", lambda t: t >= EXACT, None),
        ("t < '{0}'", lambda t: t < EXACT, None),
        ("t <= '{0}'", lambda t: t <= EXACT, None),
        # Instants between those that events may have.
        ("t >= '{1}'", lambda t: t >= LATER, None),
        ("t > '{1}'", lambda t: t > LATER, None),
        ("t <= '{1}'", lambda t: t <= LATER, None),
        ("t < '{1}'", lambda t: t < LATER, None),
        ("t = '{1}'", lambda _: False, None),
        ("t between '{0}' and '{1}'", lambda t: EXACT <= t <= LATER, None),
        ("t > '{1}' and t < '{0}'", lambda _: False, None),
        # Beyond the history, and beyond what a plan can be.
        ("t > '1901-01-01 00:00:00Z' and t < '2990-01-01 00:00:00Z'", lambda _: True, None),
        ("t < '1901-01-01 00:00:00Z'", lambda _: False, None),
        ("t > '2990-01-01 00:00:00Z'", lambda _: False, None),
        ("t <= '9999-12-31 23:59:59.999999Z'", lambda _: True, None),
        ("t is not null", lambda _: True, None),
        # What is Spark's own.
        (
            "t > '{0}' and side = 'BUY'",
            lambda t: t > EXACT,
            lambda one: one["executed_at"] > EXACT and one["side"] == "BUY",
        ),
        (
            "t < '{0}' or side = 'BUY'",
            lambda _: True,
            lambda one: one["executed_at"] < EXACT or one["side"] == "BUY",
        ),
        ("t != '{0}'", lambda _: True, lambda one: one["executed_at"] != EXACT),
    ],
)
def test_filters_of_the_event_time_say_what_is_made(
    spark: SparkSession, filters: str, made: Any, left: Any
) -> None:
    texts = [one.isoformat().replace("+00:00", "Z") for one in (EXACT, LATER)]
    condition = re.sub(r"\bt\b", "executed_at", filters.format(*texts))
    condition = re.sub(r"('\d[^']*')", r"timestamp\1", condition)
    frame = read(spark, "banking.trades", **OPTIONS, partitions=3).where(condition)
    found = {row.trade_id for row in frame.collect()}
    left = left or (lambda one: made(one["executed_at"]))
    assert found == {str(one["trade_id"]) for one in TRADES if left(one)}
    assert scanned(frame) == sum(made(one["executed_at"]) for one in TRADES)


@pushes
def test_filters_and_options_both_hold(spark: SparkSession) -> None:
    options = {"since": "2026-05-01T00:00:00Z", "until": "2026-06-01T00:00:00Z"}
    frame = read(spark, "banking.trades", **OPTIONS, **options)
    for condition, span in (
        ("executed_at > '2026-04-15 00:00:00Z'", options),
        ("executed_at < '2026-06-15 00:00:00Z'", options),
        ("executed_at >= '2026-05-15 00:00:00Z'", {**options, "since": "2026-05-15T00:00:00Z"}),
        ("executed_at < '2026-04-15 00:00:00Z'", {**options, "until": options["since"]}),
    ):
        asked = frame.where(re.sub(r"('.*')", r"timestamp\1", condition))
        count = len(asked.collect())
        assert (count, scanned(asked)) == (len(rows(PLAN, "banking.trades", **span)),) * 2


@pushes
def test_the_time_of_a_table_is_a_field_like_others(spark: SparkSession) -> None:
    frame = read(spark, "accounts", **OPTIONS).where("updated_at < timestamp'2026-06-01 00:00:00Z'")
    expected = [
        one
        for one in rows(PLAN, "accounts")
        if one["updated_at"] < datetime(2026, 6, 1, tzinfo=UTC)
    ]
    assert 0 < len(frame.collect()) == len(expected) < PLAN.rows("accounts")


# --- Streams ----------------------------------------------------------------------------------------


def written(folder: Path) -> Counter[str]:
    """How often each event is in the files that the checkpointed batches have written."""
    log = folder / "rows" / "_spark_metadata"
    names = {
        json.loads(line)["path"]
        for batch in log.glob("[0-9]*")
        for line in batch.read_text("utf-8").splitlines()[1:]
    }
    found: Counter[str] = Counter()
    for name in names:
        table = pq.read_table(name.removeprefix("file://"), columns=["transaction_id"])
        found.update(table["transaction_id"].to_pylist())
    return found


def once(**span: Any) -> Counter[str]:
    return Counter(str(one["transaction_id"]) for one in rows(PLAN, STREAM, **span))


def finish(spark: SparkSession, folder: Path, **options: Any) -> None:
    """Has a query go on to the end of the plan."""
    asked = stream(spark, STREAM, **OPTIONS, **options)
    query = begun(asked, folder, availableNow=True)
    try:
        assert query.awaitTermination(PATIENCE)
    finally:
        query.stop()


def test_a_stream_that_is_stopped_goes_on(spark: SparkSession, tmp_path: Path) -> None:
    span = {"until": "2026-06-25T00:00:00Z"}
    for pace in ({"speed": 60_000}, {"rowsPerSecond": 30}):
        before = batches(tmp_path)
        asked = stream(
            spark, STREAM, **OPTIONS, **pace, **span, start="2026-04-10T00:00:00Z", partitions=3
        )
        query = begun(asked, tmp_path, processingTime="200 milliseconds")
        try:
            until_batches(query, tmp_path, before + 3)
        finally:
            query.stop()
        assert 0 < written(tmp_path).total() < once(since="2026-04-10T00:00:00Z", **span).total()
    # The start is that of the checkpoint, and without a speed the rest is there at once.
    finish(spark, tmp_path, **span)
    assert written(tmp_path) == once(since="2026-04-10T00:00:00Z", **span)
    # At the end of the plan there is no more.
    finish(spark, tmp_path, **span)
    assert written(tmp_path) == once(since="2026-04-10T00:00:00Z", **span)


def test_a_stream_whose_driver_was_killed_goes_on(spark: SparkSession, tmp_path: Path) -> None:
    program = Path(__file__).with_name("spark_stream.py")
    driver = subprocess.Popen(
        [sys.executable, program, tmp_path, STREAM, json.dumps({**OPTIONS, "speed": 60_000})],
        env=environment_of({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: batches(tmp_path) >= 3 or driver.poll() is not None)
    finally:
        # Python, Java and all workers, in whatever they do.
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert driver.returncode == -signal.SIGKILL
    assert 0 < written(tmp_path).total() < PLAN.rows(STREAM)
    finish(spark, tmp_path)
    assert written(tmp_path) == once()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"relation": "accounts"},
            "relation: 'accounts' is not allowed; use spark.read for tables",
        ),
        ({"since": "2026-06-01T00:00:00Z"}, "since: "),
        ({"spede": 5}, "spede: '5' is not allowed; use the options relation, customers, seed, "),
    ],
    ids=str,
)
def test_a_wrong_option_of_a_stream(
    spark: SparkSession, options: dict[str, Any], says: str
) -> None:
    def run() -> None:
        asked = stream(spark, **{"relation": "banking.trades", **options})
        asked.writeStream.format("noop").start().awaitTermination(PATIENCE)

    with pytest.raises(Exception, match="is not allowed") as raised:
        run()
    assert f"datagen.errors.OptionError: {says}" in str(raised.value)


def test_a_checkpoint_of_another_plan_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    finish(spark, tmp_path)
    other = begun(stream(spark, STREAM, seed=10, customers=300), tmp_path, availableNow=True)
    with pytest.raises(Exception, match="the checkpoint is of seed 9, and this query asks for 10"):
        other.awaitTermination(PATIENCE)


# --- What the documents show ------------------------------------------------------------------------


def test_the_block_of_the_readme(spark: SparkSession) -> None:
    [block] = [
        text
        for language, text in FENCED.findall((ROOT / "README.md").read_text("utf-8"))
        if text.startswith("from datagen.spark import register")
    ]
    names: dict[str, Any] = {"spark": spark}
    exec(block.replace("100_000", "300"), names)  # noqa: S102
    expected = rows(Plan(42, 300), "banking.trades", since="2026-06-01T00:00:00Z")
    assert names["june"].count() == len(expected)
    assert names["live"].isStreaming


def test_the_example() -> None:
    customers = 200
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "spark_read.py", str(customers)],
        env=environment_of({"PYSPARK_PYTHON": sys.executable}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-5_000:]
    plan = Plan(42, customers)
    sector = {one["stock_id"]: one["sector"] for one in rows(plan, "stocks")}
    traded: dict[str, Decimal] = defaultdict(Decimal)
    for one in rows(plan, "banking.trades", since="2026-06-01T00:00:00Z"):
        traded[sector[one["stock_id"]]] += one["gross_amount"]
    most = sorted(traded.items(), key=lambda one: (-one[1], one[0]))[:3]
    assert done.stdout.splitlines() == [f"{name}: R$ {amount:,.2f}" for name, amount in most]
