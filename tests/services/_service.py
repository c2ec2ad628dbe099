"""What the servers share: a directory, ports, one process, and a clean end."""

import atexit
import os
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from ._errors import ServiceError
from ._net import can_watch, is_free, listening
from ._process import Process

_LOG_LINES = 25


class Startable(ABC):
    """A server, or several that belong together.

    Use it as a context manager, or call `start` and, in a `finally`, `close`.
    """

    @abstractmethod
    def start(self) -> Self:
        """Start what does not run yet and wait until it answers."""

    @abstractmethod
    def close(self) -> None:
        """End it and delete its data."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class Service(Startable):
    """A server on loopback with its data in a temporary directory.

    `stop` and `kill` keep the data and the ports, so that `start` brings the same server back.
    """

    name: str
    start_timeout = 120.0  # seconds; a busy 2-core machine needs a tenth

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.directory = Path(tempfile.mkdtemp(prefix=f"datagen-{self.name}-"))
        self.log = self.directory / f"{self.name}.log"
        self._process: Process | None = None
        self._pid: int | None = None  # of a process that another one started
        self._prepared = False
        self._owner = os.getpid()
        atexit.register(self.close)

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data directory, once."""

    @abstractmethod
    def _launch(self) -> Process:
        """Start the process, without waiting for it."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server answers. Raises ServiceError when another one does."""

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        return self._pid or self._running().pid

    def __getstate__(self) -> dict[str, object]:
        """What another process may know of a server: where it is, but not how to end it."""
        return {**self.__dict__, "_process": None, "_pid": self.pid}

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        self.launch()
        return self.wait_until_ready()

    def prepare(self) -> None:
        """Make what the server needs, unless that is done; `start` does so by itself."""
        if not self._prepared:
            self._prepare()
            self._prepared = True

    def launch(self) -> None:
        """Start the server without waiting for it, as one that needs others has to."""
        if self._process is not None:
            raise ServiceError(f"{self.name} runs already, pid {self._process.pid}")
        self.prepare()
        for port in self.ports:
            if not is_free(port):
                raise ServiceError(f"{self.name} cannot start: port {port} is taken")
        self._process = self._launch()

    def wait_until_ready(self) -> Self:
        """Wait until a launched server answers; it is stopped if it does not."""
        try:
            self._wait_until_ready(self._running())
        except BaseException:  # Ctrl-C too
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server in order; nothing happens when it is not running."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        self._running().kill()
        self._process = None

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: connections stay open, nothing answers."""
        process = self._running()
        process.signal(signal.SIGSTOP)
        # The signal is on its way to each thread, and one that still runs could still answer.
        deadline = time.monotonic() + 5
        while not process.is_stopped() and time.monotonic() < deadline:
            time.sleep(0.002)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running().signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and delete its data."""
        if os.getpid() != self._owner:  # a fork of the test run, ending
            return
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _running(self) -> Process:
        if self._process is None:
            raise ServiceError(f"{self.name} is not running")
        return self._process

    def _wait_until_ready(self, process: Process) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not self._is_ready():
            if process.returncode is not None:
                raise self._failure(f"ended with status {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {self.start_timeout:.0f} s")
            time.sleep(0.05)
        if can_watch():
            missing = set(self.ports) - {port for _, port in listening(process.pid)}
            if missing:
                raise self._failure(f"does not own port {min(missing)}, another process answers")

    def _failure(self, what: str) -> ServiceError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        tail = "\n".join(lines[-_LOG_LINES:])
        return ServiceError(f"{self.name} {what}; the end of its log:\n{tail}")
