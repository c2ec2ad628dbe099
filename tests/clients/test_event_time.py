"""Stream processors of others count a load by event time: Kafka Streams, Flink SQL and Spark.

Each is a Java program beside this file, run from its source, with the jars of a profile of pom.xml.
A load in order of time must be counted whole; of one by entity, the same program loses events.
"""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from client_programs import command

from command import DATAGEN, run
from datagen import Plan
from own_topics import OwnTopics
from services.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The jars of a client may have to be fetched first.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1_500)]

PLAN = Plan(seed=42, customers=20_000)
STREAM = "banking.transactions"
EVENTS = PLAN.rows(STREAM)
ORDERS = ("time", "entity")
#: How long a client may take, in seconds; on two cores that do nothing else it needs a thirtieth.
PATIENCE = 900


@pytest.fixture(scope="module")
def sent() -> Iterator[dict[str, OwnTopics]]:
    """The topics of a fast load, for each order."""
    # Not by `running`: where the broker cannot be had, these tests fail, they are not skipped.
    with KafkaBroker() as broker:
        loads = {order: OwnTopics(broker.bootstrap) for order in ORDERS}
        for order, topics in loads.items():
            outcome = run(
                *(*DATAGEN, "load-parallel", *topics.options, "--create-topics"),
                *("--skip-postgres", "--no-avro", "--seed", PLAN.seed),
                *("--customers", PLAN.customers),
                # The default is what is held to its word.
                *(() if order == "time" else ("--order", order)),
                timeout=PATIENCE,
            )
            assert outcome.code == 0, str(outcome)
            assert topics.ends()[STREAM] == EVENTS
        yield loads


def counts(client: str, scratch: Path, *args: object) -> dict[str, int]:
    """What a client prints, by name."""
    program = subprocess.Popen(
        command(client, scratch, *args),
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = program.communicate(timeout=PATIENCE + 30)
    except subprocess.TimeoutExpired:
        # What each thread waits for, in the output.
        program.send_signal(signal.SIGQUIT)
        with suppress(subprocess.TimeoutExpired):
            program.communicate(timeout=10)
        program.kill()
        out, err = program.communicate(timeout=30)
        pytest.fail(f"{client} did not end in time\n{out}{err[-5_000:]}")
    finally:
        program.kill()
    assert program.returncode == 0, f"{client}: {program.returncode}\n{out}{err[-5_000:]}"
    found = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", out)}
    print(f"{client}: {found} of {EVENTS}")
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_kafka_streams(sent: dict[str, OwnTopics], order: str, tmp_path: Path) -> None:
    topics = sent[order]
    args = (topics.bootstrap, topics.name(STREAM), EVENTS, PATIENCE)
    found = counts("Streams", tmp_path, *args)
    assert found["counted"] + found["dropped"] == EVENTS
    assert (found["dropped"] == 0) is (order == "time")


@pytest.mark.parametrize("order", ORDERS)
def test_flink_sql(sent: dict[str, OwnTopics], order: str, tmp_path: Path) -> None:
    topics = sent[order]
    found = counts("Flink", tmp_path, topics.bootstrap, topics.name(STREAM))
    assert found["counted"] <= EVENTS
    assert (found["counted"] == EVENTS) is (order == "time")


@pytest.mark.parametrize("order", ORDERS)
def test_spark(sent: dict[str, OwnTopics], order: str, tmp_path: Path) -> None:
    topics = sent[order]
    found = counts("Spark", tmp_path, topics.bootstrap, topics.name(STREAM), PATIENCE)
    assert found["batches"] > 10
    assert found["counted"] <= EVENTS
    assert (found["counted"] == EVENTS) is (order == "time")
    assert (found["dropped"] == 0) is (order == "time")
