"""Servers that all processes of a test run have in common, as the workers of pytest-xdist do."""

import fcntl
import pickle
import time
from contextlib import ExitStack
from io import BufferedRandom
from pathlib import Path
from typing import TypeVar

from ._errors import ServiceError, ServiceUnavailableError
from ._service import Service

S = TypeVar("S", bound=Service)
#: The longest that the process with a server waits for those that still use it, in seconds.
PATIENCE = 1_800.0


class SharedServices:
    """The servers of a run, found by way of its `folder`.

    The first process to ask for one starts it, and ends it once no other process uses any.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._users: BufferedRandom | None = None
        self._mine = ExitStack()
        #: The files by which other processes find the servers of this one.
        self._published: list[Path] = []

    def get(self, make: type[S]) -> S:
        """The running server: the one that was started, or what another process knows of it."""
        if self._users is None:
            self._users = (self._folder / "users.lock").open("w+b")
            fcntl.flock(self._users, fcntl.LOCK_SH)
        file = self._folder / f"{make.name}.pickle"
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if file.exists():
                found = pickle.loads(file.read_bytes())  # noqa: S301  (written below)
                if isinstance(found, ServiceUnavailableError):
                    raise found
                assert isinstance(found, make)
                return found
            service = make()
            self._mine.callback(service.close)
            try:
                service.start()
            except ServiceUnavailableError as missing:
                file.write_bytes(pickle.dumps(missing))
                raise
            file.write_bytes(pickle.dumps(service))
            self._published.append(file)
            return service

    def close(self) -> None:
        """Use the servers no longer, and end those started here when the others are through."""
        if self._users is None:
            return
        with self._users, self._mine:
            fcntl.flock(self._users, fcntl.LOCK_UN)
            deadline = time.monotonic() + PATIENCE
            while not self._alone(self._users):
                if time.monotonic() > deadline:
                    raise ServiceError(f"servers still used after {PATIENCE:.0f} s")
                time.sleep(0.1)
            # A process that asks from now on waits for this one, and starts its own.
            for file in self._published:
                file.unlink()

    def _alone(self, users: BufferedRandom) -> bool:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
