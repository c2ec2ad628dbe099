"""Most memory that a load into both services holds, also of as many as ``--customers`` says."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Stack


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "customers" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--customers")
        metafunc.parametrize("customers", sorted({10_000, 100_000, asked}))


def test_peak(
    customers: int, benchmark: Any, stack: Stack, note: Callable[[str, str], None]
) -> None:
    command = stack.command(customers, "--create-topics", "--truncate")
    peak = benchmark.pedantic(lambda: _peak_of(command), rounds=1)
    note(f"peak memory of a load of {customers} customers", f"{peak / 1024:.0f} MiB")


def _peak_of(command: list[str]) -> int:
    """The command's largest resident set in KiB.

    Read while it runs: `ru_maxrss` of a child starts at the size of the process that started it.
    """
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak = max(peak, int(line.split()[1]))
            time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"datagen load ended with status {process.returncode}")
    return peak
