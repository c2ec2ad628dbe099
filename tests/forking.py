"""Processes of the command that begin with its modules imported, forked from one that has done nothing else.

Most of what a command takes that fails at its options is to start an interpreter and to import. These are processes all the
same, with memory, descriptors, signals and an exit code of their own.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

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
    """A process that has imported the command, and forks one for each call of ``run``, from any thread."""

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
        asked, theirs = socket.socketpair()
        with asked, theirs:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
            theirs.close()
            pipes = [os.pipe() for _ in range(2)]
            nothing = os.open(os.devnull, os.O_RDONLY)
            given = [nothing, *(written for _, written in pipes)]
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
            said = _read([asked.fileno(), *(read for read, _ in pipes)], arguments, timeout)
        for read, _ in pipes:
            os.close(read)
        out, err = (_text(one) for one in said[1:])
        return subprocess.CompletedProcess(arguments, int(said[0].split()[1]), out, err)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def _read(files: Sequence[int], arguments: Sequence[str], timeout: float) -> list[bytes]:
    """All that comes of these until each is at its end; the first says which process it is, to be ended if need be."""
    end = time.monotonic() + timeout
    parts: dict[int, list[bytes]] = {file: [] for file in files}
    try:
        with selectors.DefaultSelector() as selector:
            for file in files:
                selector.register(file, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(end - time.monotonic(), 0.0))
                if not ready and time.monotonic() >= end:
                    raise subprocess.TimeoutExpired([*arguments], timeout)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    parts[key.fd].append(data)
                    if not data:
                        selector.unregister(key.fd)
    except BaseException:
        if number := b"".join(parts[files[0]]):
            os.kill(int(number.split()[0]), signal.SIGKILL)
        raise
    return [b"".join(parts[file]) for file in files]


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
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["datagen", *request["arguments"]]
    from datagen.cli import main_of_process

    main_of_process()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
