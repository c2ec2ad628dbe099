"""One process at a time goes on from a receipt or a position, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from command import DATAGEN, assert_failed, outcome_of, run, started, wait_until
from datagen._claims import claimed
from datagen.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from own_topics import OwnTopics

HOLD: Final = """
import sys, time
from pathlib import Path
from datagen._claims import claimed
with claimed(Path(sys.argv[1]), wait=False):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holding(path: Path) -> subprocess.Popen[str]:
    """Another process that has a claim until a line comes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("ends", [signal.SIGKILL, None])
def test_a_claim_ends_with_its_process(tmp_path: Path, ends: signal.Signals | None) -> None:
    path = tmp_path / "receipt.json"
    with holding(path) as process:
        refused = pytest.raises(ConfigurationError, match=f"process {process.pid} is at work on ")
        with refused, claimed(path, wait=False):
            pytest.fail("two have it")
        if ends is not None:
            process.send_signal(ends)
        else:
            process.communicate("\n", timeout=30)
        process.wait(30)
    assert (tmp_path / "receipt.json.lock").exists() == (ends is not None)
    with claimed(path, wait=False) as waited:
        assert not waited
        assert (tmp_path / "receipt.json.lock").read_text() == str(os.getpid())
    assert [*tmp_path.iterdir()] == []


def test_a_claim_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "receipt.json"
    code = HOLD.replace("wait=False", "wait=True").replace("print(", "waited = print(")
    with claimed(path, wait=False):
        waiting = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == (
            f"process {os.getpid()} is at work on {path}; waiting for it\n"
        )
    out, _ = waiting.communicate("\n", timeout=30)
    assert (waiting.returncode, out) == (0, "held\n")
    assert not caplog.records


def test_where_no_lock_can_be_made_nothing_is_guarded(tmp_path: Path) -> None:
    for _ in range(2):
        with claimed(tmp_path / "nowhere" / "receipt.json", wait=False) as waited:
            assert not waited


SAID: Final = ("--customers", 300, "--seed", 11, "--no-avro", "--skip-postgres")
#: Slow enough for two processes to meet.
SLOW: Final = ("--preset", "EVENT_BY_EVENT", "--engine", "confluent")


def assert_exact(topics: OwnTopics) -> None:
    for name, records in topics.read().items():
        ids = [record.header("ce_id") for record in records]
        assert len(ids) == len({*ids}), name


def test_two_that_resume_at_once_take_turns(topics: OwnTopics, tmp_path: Path) -> None:
    """Also where no database has a lock for them."""
    receipt = tmp_path / "receipt.json"
    first = (*DATAGEN, "load", *SAID, *topics.options, "--receipt", receipt, *SLOW)
    with started(*first) as process:
        assert wait_until(lambda: sum(topics.ends().values()) > 50)
        process.kill()
        process.wait()
    again = (*DATAGEN, "load", "--resume", receipt)
    with started(*again) as one, started(*again) as other:
        outcomes = [outcome_of(one), outcome_of(other)]
    assert [outcome.code for outcome in outcomes] == [0, 0], "\n".join(map(str, outcomes))
    waits = "".join(outcome.err for outcome in outcomes)
    assert f"is at work on {receipt}; waiting for it" in waits
    assert json.loads(receipt.read_text("utf-8"))["attempts"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["receipt.json"]
    assert_exact(topics)
    verified = run(*DATAGEN, "verify", receipt)
    assert verified.code == 0, str(verified)


def test_two_streams_do_not_go_on_from_one_position(topics: OwnTopics, tmp_path: Path) -> None:
    position = tmp_path / "position.json"
    common = (*DATAGEN, "stream", *topics.options, "--skip-postgres", "--position", position)
    said = ("--customers", 20, "--seed", 11, "--no-avro", "--start", "2026-06-20", "--speed", 100)
    with started(*common, *said) as process:
        assert wait_until(position.exists)
        refused = run(*common, "--resume")
        assert_failed(refused, 3, f"process {process.pid} is at work on {position}")
        process.send_signal(signal.SIGTERM)
        assert outcome_of(process).code == 143
    resumed = run(*common, "--resume", "--duration", "1s")
    assert resumed.code == 0, str(resumed)
    assert_exact(topics)
