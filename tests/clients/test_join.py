"""Kafka Streams joins events with the tables that they refer to: each finds its row, and needs nothing else."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from client_programs import command

from command import DATAGEN, run
from own_topics import OwnTopics
from services.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The jars may have to be fetched first.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1_500)]

#: How long it may take, in seconds.
PATIENCE = 900


@pytest.fixture(scope="module")
def streamed() -> Iterator[OwnTopics]:
    """The topics of a stream: a history, and ten days in which rows change and loans are contracted."""
    with KafkaBroker() as broker:
        topics = OwnTopics(broker.bootstrap)
        done = run(
            *(*DATAGEN, "stream", *topics.options, "--skip-postgres", "--no-avro"),
            *("--customers", "2000", "--as-of", "2026-07-01T00:00:00Z"),
            *("--start", "2026-06-15T00:00:00Z", "--until", "2026-06-25T00:00:00Z"),
            *("--speed", "50000", "--create-topics", "--master-topics"),
            timeout=PATIENCE,
        )
        assert done.code == 0, done
        yield topics


@pytest.mark.parametrize(
    ("stream", "table"),
    [
        ("banking.transactions", "banking.accounts"),
        ("banking.card-transactions", "banking.credit-cards"),
        ("banking.installments", "banking.loans"),
        ("banking.trades", "banking.accounts"),
    ],
)
def test_kafka_streams_joins(streamed: OwnTopics, stream: str, table: str, tmp_path: Path) -> None:
    events = streamed.ends()[stream]
    assert events > 1_000
    args = (streamed.bootstrap, streamed.name(stream), streamed.name(table), events, PATIENCE)
    done = subprocess.run(
        command("Join", tmp_path, *args, profile="streams"),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE + 60,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5_000:]
    found = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", done.stdout)}
    print(f"{stream} with {table}: {found}")
    assert found == {"joined": events, "alone": 0}
