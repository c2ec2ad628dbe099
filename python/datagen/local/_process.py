"""Processes that outlive the command which started them, told apart by pid and start time."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Account:
    """The operating-system user a service runs as when it cannot run as us."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to run: ``env`` is the whole environment, ``account`` is None for our own user."""

    argv: Sequence[str | Path]
    env: Mapping[str, str]
    account: Account | None = None


def spawn(command: Command, cwd: Path, log: Path) -> int:
    """Start a process in a session of its own, writing to a fresh ``log``; return its pid."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(command.env),
            start_new_session=True,
            **run_as(command.account),
        )
    # From here on the service belongs to nobody: without a return code, Popen would warn that
    # it still runs when the object is collected. `stop` reaps it if we are still the parent.
    process.returncode = 0
    return process.pid


class Identity(TypedDict):
    """The arguments by which ``subprocess`` changes user."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


def run_as(account: Account | None) -> Identity:
    """Run as ``account`` and without our own groups; None changes nothing."""
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def started_at(pid: int) -> str | None:
    """When the process ``pid`` began, as an opaque text; None if it is gone (or a zombie).

    Two processes that had the same pid differ in it, also across a reboot.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_at_by_ps(pid)
    except ProcessLookupError:
        return None
    # proc(5): the name in field 2 may hold spaces, so count from the last parenthesis;
    # field 3 is the state, field 22 the start time in clock ticks since the boot.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def _started_at_by_ps(pid: int) -> str | None:
    """The same where there is no /proc (macOS): a start time to the second."""
    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, start = done.stdout.strip().partition(" ")
    return start.strip() if start and not state.startswith("Z") else None


def stop(pid: int, started: str, signals: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn, with its patience in seconds, until the process is gone.

    Nothing is ever sent to a process which only shares the pid. False means that it outlived
    every signal.
    """
    for number, patience in signals:
        if started_at(pid) != started:
            return True
        os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            _reap(pid)
            if started_at(pid) != started:
                return True
            time.sleep(0.01)
    return False


def _reap(pid: int) -> None:
    """Collect the exit of our own child, so that no zombie keeps the pid."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def is_listening(port: int) -> bool:
    """Whether anything accepts a connection at 127.0.0.1:``port``."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def choose_port(preferred: int) -> int:
    """``preferred`` if nobody has it, else a free port that the system picks."""
    if not is_listening(preferred):
        try:
            return _bind(preferred)
        except OSError:
            pass
    return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as probe:
        # Connections of an earlier run in TIME_WAIT do not make a port busy; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        return int(probe.getsockname()[1])


def last_line(log: Path) -> str:
    """The line of a log to show in an error: the last FATAL one, else the last that is not empty.

    PostgreSQL says why it gives up before it says that it has shut down.
    """
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    fatal = [line for line in lines if "FATAL:" in line]
    return (fatal or lines or ["(the log is empty)"])[-1]
