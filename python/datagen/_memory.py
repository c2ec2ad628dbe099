"""How much memory a process may still take."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["available"]

_KERNEL: Final = Path("/proc/meminfo")
#: A control group's limit and what it has taken of it (cgroup v2, and v1).
_GROUPS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available() -> int:
    """Bytes that can be taken without swapping, by the system and the container's limit.

    Where the system does not tell, as on macOS, it is all that the machine has.
    """
    found = [_free_by_kernel()]
    for limit, taken in _GROUPS:
        with suppress(OSError, ValueError):  # no limit is "max"
            found.append(int(Path(limit).read_text()) - int(Path(taken).read_text()))
    return max(min(found), 0)


def _free_by_kernel() -> int:
    with suppress(OSError, StopIteration):
        lines = _KERNEL.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
