"""`load --resume`: whatever ended a load, the same load goes on, and nothing is lost or there twice."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from command import DATAGEN, run, started, wait_until
from datagen import Plan
from records import TOPICS

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from own_topics import OwnTopics

CUSTOMERS, SEED = 200, 7
PLAN = Plan(seed=SEED, customers=CUSTOMERS)
SAID = ("--customers", CUSTOMERS, "--seed", SEED, "--no-avro", "--create-topics")
#: One event in a request, so that there is time to be killed in.
SLOW = ("--preset", "EVENT_BY_EVENT")
#: The command, and its options, by what sends in which order.
WAYS = {
    "native in time": ("load", "--fast", "--engine", "native", *SLOW),
    "native by entity": (
        "load-parallel",
        "--workers",
        2,
        "--order",
        "entity",
        "--engine",
        "native",
        *SLOW,
    ),
    "confluent in time": ("load", "--engine", "confluent", *SLOW),
    "confluent by entity": ("load", "--fast", "--order", "entity", "--engine", "confluent", *SLOW),
}


@dataclass(frozen=True)
class Place:
    """Services of a load, and where its receipt is."""

    dsn: str
    topics: OwnTopics
    receipt: Path

    @property
    def database(self) -> tuple[object, ...]:
        return "--postgres-url", self.dsn

    def first(self, *way: object) -> tuple[object, ...]:
        """The command of the first attempt."""
        where = (*self.database, *self.topics.options, "--receipt", self.receipt)
        return (*DATAGEN, *way, *SAID, *where)

    def again(self, *more: object) -> tuple[object, ...]:
        return (*DATAGEN, "load", "--resume", self.receipt, *self.database, *more)

    @property
    def says(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.receipt.read_text("utf-8"))
        return found

    def sent(self) -> int:
        """Records that are in the topics by now."""
        return sum(self.topics.ends().values())

    def wait_for(self, more: int, process: subprocess.Popen[str]) -> None:
        """Waits for more records than so many, or the end of a process that sends them."""
        wait_until(lambda: process.poll() is not None or self.sent() > more, 10)

    def assert_exact(self) -> None:
        """Every row and event is there once, as `verify` and a reader of its own see it."""
        outcome = run(*DATAGEN, "verify", self.receipt, *self.database)
        assert outcome.code == 0, str(outcome)
        for name, records in self.topics.read().items():
            idents = {record.header("ce_id") for record in records}
            assert len(records) == len(idents) == PLAN.rows(name)
        with psycopg.connect(self.dsn) as session:
            for table in [name for name in PLAN.names if name not in TOPICS]:
                [(rows,)] = session.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
                assert rows == PLAN.rows(table)
        says = self.says
        assert (says["outcome"], says["error"]) == ("ok", None)
        for name, one in says["sinks"]["kafka"]["topics"].items():
            assert one["acknowledged"] == PLAN.rows(name)
            assert sum(part["acknowledged"] for part in one["partitions"].values()) == PLAN.rows(
                name
            )
        tables = says["sinks"]["postgres"]["tables"]
        assert tables == {name: PLAN.rows(name) for name in tables}


@pytest.fixture
def place(pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path) -> Place:
    return Place(pg_dsn, clean_kafka, tmp_path / "receipt.json")


def total() -> int:
    return sum(PLAN.rows(name) for name in TOPICS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("way", "kills"),
    [
        ("native in time", 10),
        ("confluent by entity", 10),
        ("native by entity", 3),
        ("confluent in time", 3),
    ],
)
def test_killed_at_random_moments(place: Place, way: str, kills: int) -> None:
    chance, met = random.Random(f"{way} {kills}"), set()
    for number in range(kills):
        command = place.again() if place.receipt.exists() else place.first(*WAYS[way])
        # Half of them die as soon as so many more events are there, the others at any time.
        seconds, more = chance.uniform(0.2, 2.5), place.sent() + chance.randrange(total() // 6)
        with started(*command) as process:
            if number % 2:
                place.wait_for(more, process)
            else:
                time.sleep(seconds)
            process.kill()
            process.wait()
        met.add(place.sent())
    # Some came in the midst of the events.
    assert any(0 < sent < total() for sent in met), met
    if not place.receipt.exists():
        pytest.fail("no attempt has come so far as to write a receipt")
    attempts = place.says["attempts"]
    outcome = run(*place.again())
    assert outcome.code == 0, str(outcome)
    assert place.says["attempts"] == attempts + 1
    place.assert_exact()
    # Nothing is left: everything is there, and stays.
    again = run(*place.again("--json"))
    assert again.code == 0, str(again)
    said = json.loads(again.out)
    assert said["events_there"] == total()
    place.assert_exact()
