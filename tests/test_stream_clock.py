"""A stream while the machine's clock is set, and while the machine sleeps: its process sees other clocks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from command import DATAGEN, outcome_of, run, started
from datagen import Plan
from datagen.position import Position
from datagen.types import catalogue
from planned import planned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="has no LD_PRELOAD, or no BOOTTIME")

#: Adds the seconds that a file has for the clocks that a jump or a sleep of the machine changes.
_SHIM = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME)) {
        long wall = 0, boot = 0;
        FILE *file = fopen(getenv("CLOCKS_AHEAD"), "r");
        if (file != NULL) {
            if (fscanf(file, "%ld %ld", &wall, &boot) != 2) abort();
            fclose(file);
        }
        now->tv_sec += clock == CLOCK_REALTIME ? wall : boot;
    }
    return (int)failed;
}
"""


@dataclass(frozen=True)
class Clocks:
    """The clocks of the processes that have this environment."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CLOCKS_AHEAD": str(self.file)}

    def put(self, *, wall: int, slept: int = 0) -> None:
        """So many seconds before those of the machine; ``slept`` are those of a sleep since it started."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{wall} {slept}")
        new.replace(self.file)


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    source, library = tmp_path / "clocks.c", tmp_path / "clocks.so"
    source.write_text(_SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    found = Clocks(library, tmp_path / "ahead")
    found.put(wall=0)
    return found


def ids(lines: Iterable[str]) -> list[str]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [row[catalogue()[row["stream"]].primary_key] for row in rows]


#: Events go into the file that is named next.
STREAM = ("sh", "-c", 'exec "$@" >> "$0"')
COMMAND = (*DATAGEN, "stream", "--stdout")


def test_a_clock_that_is_set_changes_neither_pace_nor_events(
    clocks: Clocks, tmp_path: Path
) -> None:
    out = tmp_path / "events.jsonl"
    small = ("--customers", "40", "--as-of", "2026-07-01T00:00:00Z", "--days", "20")
    pace = ("--start", "2026-06-25T00:00:00Z", "--speed", "129600", "--no-backfill")
    with started(*STREAM, out, *COMMAND, *small, *pace, **clocks.environment) as process:
        while not out.exists() or not out.stat().st_size:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        began = time.monotonic()
        for ahead in (3_600, -3_600):
            time.sleep(1.0)
            clocks.put(wall=ahead)
        done = outcome_of(process, timeout=20)
        seconds = time.monotonic() - began
    assert done.code == 0, done
    lines = out.read_text().splitlines()
    plan = Plan(42, 40, days=20)
    part = planned(plan, since="2026-06-25T00:00:00Z")
    found = ids(lines)
    assert sorted(found) == sorted(part)
    for name in {json.loads(line)["stream"] for line in lines}:
        mine = [
            part[one] for one, line in zip(found, lines, strict=True) if f'"{name}"' in line[:60]
        ]
        assert len(mine) > 1
        assert mine == sorted(mine)
    # Six days.
    assert 3.5 < seconds < 6


def test_a_machine_that_slept_catches_up_and_a_clock_set_back_is_waited_for(
    clocks: Clocks, tmp_path: Path
) -> None:
    file, out = tmp_path / "position.json", tmp_path / "events.jsonl"
    begin = ("--customers", "2000", "--no-backfill", "--position", file)
    with started(*STREAM, out, *COMMAND, *begin, **clocks.environment) as process:
        deadline = time.monotonic() + 30
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # A day in which the clock of Python's and Rust's timeouts stood still.
        clocks.put(wall=86_400, slept=86_400)
        while Position.read(file).time < datetime.now(UTC) + timedelta(seconds=86_390):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        done = outcome_of(process)
    assert done.code == 143, done
    sent = ids(out.read_text().splitlines())
    asleep = Position.read(file)
    plan, start = asleep.plan, asleep.start
    assert len(sent) > 100
    assert sorted(sent) == sorted(planned(plan, since=start, until=asleep.time))
    # By the clock that was set back, the position lies ahead.
    clocks.put(wall=0)
    more = ("--position", file, "--resume", "--duration", "2s")
    done = run(*STREAM, out, *COMMAND, *more, timeout=30, **clocks.environment)
    assert done.code == 0, done
    assert ids(out.read_text().splitlines()) == sent
    assert Position.read(file).time == asleep.time
    clocks.put(wall=2 * 86_400)
    done = run(*STREAM, out, *COMMAND, *more, timeout=30, **clocks.environment)
    assert done.code == 0, done
    sent = ids(out.read_text().splitlines())
    assert Position.read(file).time > asleep.time + timedelta(hours=23)
    assert sorted(sent) == sorted(planned(plan, since=start, until=Position.read(file).time))
