"""Executors that die, and tasks that run twice, in a cluster of Spark: the rows are those of the plan, each once."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from spark_cluster import Cluster, workers
from spark_sessions import PATIENCE, begun, read, session, stream, until, until_batches

from datagen import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(PATIENCE * 2),
    pytest.mark.filterwarnings("default"),
]

PLAN = Plan(seed=11, customers=6_000)
OPTIONS = {"seed": 11, "customers": 6_000}
STREAM = "banking.transactions"
PARTITIONS = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster") / "work")
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def spark(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    settings = {
        "spark.executor.memory": "512m",
        "spark.task.maxFailures": 10,
        "spark.speculation": "true",
        "spark.speculation.interval": "100ms",
        "spark.speculation.multiplier": 1.5,
        "spark.speculation.quantile": 0.5,
    }
    with session(cluster.master, tmp_path_factory.mktemp("driver"), **settings) as found:
        yield found


@pytest.fixture(autouse=True)
def both(cluster: Cluster, spark: SparkSession) -> None:
    """With one executor alone, that would do all of the work."""
    known = spark.sparkContext._jsc.sc().getExecutorMemoryStatus
    # The driver is counted too.
    until(lambda: len(cluster.executors()) == 2 and known().size() == 3)


class Job(threading.Thread):
    """A read that writes Parquet, while the test does what it does to executors."""

    def __init__(self, spark: SparkSession, target: Path, **options: object) -> None:
        super().__init__()
        self._spark, self._target, self._options = spark, target, options
        self._before = set(self._ids())
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            frame = read(self._spark, STREAM, **OPTIONS, partitions=PARTITIONS, **self._options)
            frame.write.parquet(str(self._target))
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = error

    def _ids(self) -> list[int]:
        return list(self._spark.sparkContext.statusTracker().getJobIdsForGroup())

    def tasks(self) -> tuple[int, int]:
        """How many are done, and how many have failed."""
        tracker = self._spark.sparkContext.statusTracker()
        known = [one for one in map(tracker.getStageInfo, self._stages()) if one]
        return sum(one.numCompletedTasks for one in known), sum(one.numFailedTasks for one in known)

    def speculated(self) -> int:
        """How many tasks are done by their second try, while the first went on."""
        store = self._spark.sparkContext._jsc.sc().statusStore()
        lists = [store.taskList(stage, 0, 1_000) for stage in self._stages()]
        tries = [each.apply(index) for each in lists for index in range(each.size())]
        return sum(one.speculative() and one.status() == "SUCCESS" for one in tries)

    def _stages(self) -> list[int]:
        tracker = self._spark.sparkContext.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in set(self._ids()) - self._before]
        return [stage for job in jobs for stage in job.stageIds]

    def wait_for(self, done: int) -> None:
        until(lambda: self.tasks()[0] >= done or not self.is_alive())
        assert self.is_alive(), "the job ended before anything was done to it"

    def finish(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.error:
            raise self.error


def check(target: Path, plan: Plan = PLAN) -> None:
    """The files of a folder have the events of the plan: ids, sums, and nothing twice."""
    found = ds.dataset(target, format="parquet").to_table()
    expected = pa.table(plan.batches(STREAM))
    assert found.num_rows == expected.num_rows == plan.rows(STREAM)
    ids = sorted(map(str, expected["transaction_id"].to_pylist()))
    assert sorted(found["transaction_id"].to_pylist()) == ids
    for field in ("amount", "balance_after"):
        assert pc.sum(found[field]) == pc.sum(expected[field])
    times = found["occurred_at"].cast(pa.timestamp("ms", "UTC"))
    assert pc.sum(times.cast(pa.int64())) == pc.sum(expected["occurred_at"].cast(pa.int64()))


def test_executors_that_are_killed(cluster: Cluster, spark: SparkSession, tmp_path: Path) -> None:
    job = Job(spark, tmp_path / "rows")
    killed: set[int] = set()
    try:
        for done in (2, 6):
            job.wait_for(done)
            pid = next(iter(set(cluster.executors()) - killed))
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    finally:
        job.finish()
    assert len(killed) == 2
    assert not killed & set(cluster.executors())
    # Tasks were lost with them, and were run again.
    assert job.tasks()[1] > 0
    check(tmp_path / "rows")


def test_tasks_that_run_twice(cluster: Cluster, spark: SparkSession, tmp_path: Path) -> None:
    executor = max(cluster.executors())
    # What hangs may have been between two tasks.
    for rows in (tmp_path / str(number) for number in range(5)):
        job = Job(spark, rows)
        job.wait_for(2)
        until(lambda: bool(workers(executor)))
        hung = workers(executor)
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        try:
            job.finish()
        finally:
            for pid in hung:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        check(rows)
        # None has failed.
        assert job.tasks() == (PARTITIONS, 0)
        if job.speculated():
            return
    pytest.fail("no task was done by a second try")


def test_a_stream_whose_executors_are_killed(
    cluster: Cluster, spark: SparkSession, tmp_path: Path
) -> None:
    asked = stream(spark, STREAM, **OPTIONS, speed=30_000, partitions=4)
    query = begun(asked, tmp_path, processingTime="100 milliseconds")
    killed: set[int] = set()
    try:
        for done in (2, 4):
            until_batches(query, tmp_path, done)
            pid = next(iter(set(cluster.executors()) - killed))
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        until_batches(query, tmp_path, 6)
    finally:
        query.stop()
    query = begun(stream(spark, STREAM, **OPTIONS), tmp_path, availableNow=True)
    try:
        assert query.awaitTermination(PATIENCE)
    finally:
        query.stop()
    rows = spark.read.parquet(str(tmp_path / "rows"))
    assert rows.count() == PLAN.rows(STREAM)
    assert rows.select("transaction_id").distinct().count() == PLAN.rows(STREAM)
