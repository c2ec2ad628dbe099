"""Processes that outlive the command which started them, distinguished by pid and start time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen._files import open_own

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Command:
    """What to run: ``env`` is the whole environment.

    ``call`` takes the place of ``argv`` where the program cannot be read by who runs it; it is
    then run in a copy of this process, which must have one thread only.
    """

    argv: Sequence[str | Path]
    env: Mapping[str, str]
    call: Callable[[], None] | None = None


def spawn(command: Command, cwd: Path, log: Path) -> int:
    """Start a process in a session of its own, writing to a fresh ``log``; return its pid."""
    output = open_own(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        if command.call is not None:
            return _fork(command.call, cwd, output)
        process = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(command.env),
            start_new_session=True,
        )
    finally:
        os.close(output)
    # From here on the service has no owner here: without a return code, Popen would warn that
    # it still runs when the object is collected. `stop` reaps it if we are still the parent.
    process.returncode = 0
    return process.pid


def run(
    argv: Sequence[str | Path], text: str, cwd: Path, env: Mapping[str, str], patience: float
) -> tuple[int, str]:
    """The exit code and the output of a program that reads ``text``.

    It ends with all that it has started when this is broken off, or takes longer than
    ``patience`` seconds (TimeoutExpired).
    """
    process: subprocess.Popen[str] | None = None
    try:
        with held_signals():
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
                text=True,
            )
        output, _ = process.communicate(text, timeout=patience)
    except BaseException:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        raise
    return process.returncode, output


def _fork(call: Callable[[], None], cwd: Path, output: int) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.chdir(cwd)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 65_536)
        _be_seen()
        call()
    except BaseException as error:  # noqa: BLE001 - nothing of the caller's may run here
        os.write(2, f"FATAL: {error}\n".encode(errors="replace"))
    finally:
        os._exit(1)


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Signals that would raise an exception do so at the end.

    Otherwise one that comes while a process is started could leave it running, unknown to us.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # exceptions of signals are raised in the main thread
        return
    came: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        handler = signal.getsignal(number)
        if callable(handler):
            handlers[number] = handler
            signal.signal(number, lambda its_number, _: came.append(its_number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for its_number in came:
        signal.raise_signal(its_number)


def _be_seen() -> None:
    """Lets this process be seen as its account's; one that was root is kept hidden by Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


def started_at(pid: int) -> str | None:
    """When the process ``pid`` began, as an opaque text; None if it is gone (or a zombie).

    Two processes that had the same pid differ in it, also across a reboot.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
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
    with _handle(pid) as send:
        for number, patience in signals:
            if started_at(pid) != started:
                return True
            with contextlib.suppress(ProcessLookupError):
                send(number)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                _reap(pid)
                if started_at(pid) != started:
                    return True
                time.sleep(0.01)
    return False


@contextlib.contextmanager
def _handle(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """What sends signals to the process that has the pid now, and to none that gets it later."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # no Linux, an old kernel, or the process is gone
        yield lambda number: os.kill(pid, number)
        return
    try:
        yield lambda number: signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


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


def choose_port(preferred: int, taken: Collection[int] = ()) -> int:
    """``preferred`` if it is free, else a free port that the system picks; none of ``taken``."""
    if preferred not in taken and not is_listening(preferred):
        try:
            return _bind(preferred)
        except OSError:
            pass
    while True:
        port = _bind(0)
        if port not in taken:
            return port


def _bind(port: int) -> int:
    with socket.socket() as probe:
        # Connections of an earlier run in TIME_WAIT do not make a port busy; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        return int(probe.getsockname()[1])


def last_line(log: Path) -> str:
    """The line of a log to show in an error: the last FATAL one, else the last that is not empty.

    PostgreSQL says why it gives up before it says that it has shut down. A client can have text
    of its own written into a log, so what would steer a terminal is left out.
    """
    try:
        with os.fdopen(open_own(log, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65_536))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    fatal = [line for line in lines if "FATAL:" in line]
    return printable((fatal or lines or ["(the log is empty)"])[-1])


def printable(text: str) -> str:
    """The text without colours and other sequences for terminals."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    return "".join(char if char.isprintable() else "?" for char in text)
