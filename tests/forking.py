"""Processes of the command that begin with its modules imported, forked from one that has done nothing else.

Most of what a command takes that fails at its options is to start an interpreter and to import. These are processes all the
same, with memory, descriptors, signals and an exit code of their own.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Variables that only count as a process starts.
_AT_START: Final = ("PYTHON", "LD_", "DYLD_", "LC_", "LANG", "MALLOC_", "TZ", "POLARS_")


_fsync: Final = os.fsync


def fsync(descriptor: int) -> None:
    """In place of ``os.fsync``: files of tests need not outlive the machine, so that no test waits for a disk."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        _fsync(descriptor)


class Forking:
    """A process that has imported the command, and forks one for each call of ``run`` and ``start``, from any thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._at_start = _at_start(environment)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=dict(environment),
            )
        atexit.register(self._close)

    def _close(self) -> None:
        # Also where a process that a test has forked has it open.
        self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        self._process.wait()

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with these variables would be like one that starts with them."""
        return _at_start(environment) == self._at_start

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end, as ``subprocess.run`` does that captures what it says."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        with self._start(arguments, environment, nothing) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            finally:
                process.kill()
        return subprocess.CompletedProcess(arguments, process.wait(), out, err)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
        """Starts the command, as ``subprocess.Popen`` does with a pipe for each of its files."""
        read, written = os.pipe()
        return self._start(arguments, environment, read, os.fdopen(written, "w"))

    def _start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        read: int,
        stdin: IO[str] | None = None,
    ) -> Forked:
        asked, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        pipes = [os.pipe() for _ in range(2)]
        given = [read, *(written for _, written in pipes)]
        socket.send_fds(asked, [b"."], given)
        for one in given:
            os.close(one)
        request = {
            "arguments": arguments,
            "environment": environment,
            "folder": str(Path.cwd()),
        }
        asked.sendall(json.dumps(request).encode())
        asked.shutdown(socket.SHUT_WR)
        return Forked(
            arguments, asked, stdin, *(os.fdopen(out, encoding="utf-8") for out, _ in pipes)
        )


class Forked:
    """A process of the command, with what tests use of a ``subprocess.Popen``."""

    def __init__(
        self,
        arguments: Sequence[str],
        asked: socket.socket,
        stdin: IO[str] | None,
        stdout: IO[str],
        stderr: IO[str],
    ) -> None:
        self._arguments, self._asked = arguments, asked
        self.stdin = stdin
        self.stdout: IO[str] | None = stdout
        self.stderr: IO[str] | None = stderr
        self.returncode: int | None = None
        # Which process it is, on a line, and another with its exit code once it has ended.
        self._said = asked.makefile("r")
        self.pid = int(self._said.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with suppress(BrokenPipeError):
                    file.close()
        self.wait()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._asked], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired([*self._arguments], timeout or 0.0)
            self.returncode = int(self._said.readline())
            self._said.close()
            self._asked.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """What it says until its end."""
        if self.stdin is not None:
            self.stdin.close()
        with ThreadPoolExecutor(2) as pool:
            both = (self.stdout, self.stderr)  # None for one that a test has closed
            files = [pool.submit(file.read if file else str) for file in both]
            _, waiting = wait(files, timeout)
            if waiting:
                self.kill()
                raise subprocess.TimeoutExpired([*self._arguments], timeout or 0.0)
        out, err = (file.result() for file in files)
        self.wait(timeout)
        return out, err


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _serve(control: socket.socket) -> None:
    """Forks a keeper for each call, until the tests are over."""
    _import()
    os.fsync = fsync  # type: ignore[assignment]
    # No collection looks through what is there already, so that its pages stay shared.
    gc.freeze()
    # Keepers are waited for by nobody.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        _, asked, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return
        if os.fork() == 0:
            control.close()
            _keep(socket.socket(fileno=asked[0]))
        os.close(asked[0])


def _import() -> None:
    """Imports the command, and the drivers that it imports when they are used."""
    for name in (
        "confluent_kafka.admin",
        "confluent_kafka.schema_registry",
        "psycopg",
        "pyarrow.csv",
        "pyarrow.fs",
        "pyarrow.parquet",
        "rich.progress",
        "rich.table",
    ):
        import_module(name)
    group = import_module("datagen.cli").group
    context = import_module("click").Context(group)
    for name in group.list_commands(context):
        group.get_command(context, name)


def _keep(asked: socket.socket) -> NoReturn:
    """Forks the command's process, and says its number, and its exit code once it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(asked, 1, 3)
    parts = []
    while data := asked.recv(1 << 16):
        parts.append(data)
    request = json.loads(b"".join(parts))
    number = os.fork()
    if number == 0:
        asked.close()
        _become(request, files)
    for file in files:
        os.close(file)
    asked.sendall(f"{number}\n".encode())
    _, status = os.waitpid(number, 0)
    asked.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: Any, files: Sequence[int]) -> NoReturn:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # Where tests run in a shell's background, it would stay deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["datagen", *request["arguments"]]
    from datagen.cli import main_of_process

    main_of_process()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
