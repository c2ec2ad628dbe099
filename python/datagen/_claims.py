"""A file that one process at a time has to itself: a receipt, or a position.

A claim is a lock on a file beside it, which the system drops with the process, whatever ends that. It guards one machine, and
file systems that keep locks.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from ._files import open_own, reason
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["claimed"]

_log = logging.getLogger(__name__)

#: Seconds between two looks at a claim, and between two lines that say that it is waited for.
_POLL: Final = 0.1
_SAY_EVERY: Final = 60.0


@contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Has a file for as long as the block lasts; whether another process had it before.

    With ``wait`` that one's end is waited for, however long it takes; else raises ``ConfigurationError``. Where
    no lock can be made, such as in a folder that is only read, nothing is guarded.
    """
    lock = path.with_name(f"{path.name}.lock")
    began, said, waited = time.monotonic(), -_SAY_EVERY, False
    try:
        found = _take(lock)
        while isinstance(found, str):
            whose = f"{found} is at work on {path}"
            if not wait:
                raise ConfigurationError(
                    f"{whose}; two at once would send the same events twice. End that one first, or wait for it"
                )
            waited = True
            if time.monotonic() - began - said >= _SAY_EVERY:
                said = time.monotonic() - began
                _log.warning("%s; waiting for it", whose)
            time.sleep(_POLL)
            found = _take(lock)
    except OSError as error:
        _log.info("%s cannot be locked (%s)", path, reason(error))
        yield waited
        return
    try:
        yield waited
    finally:
        # While the lock is held, so that no other takes one that has no name any more.
        with suppress(OSError):
            lock.unlink()
        os.close(found)


def _take(lock: Path) -> int | str:
    """The descriptor of the lock once it is taken, or who has it."""
    import fcntl

    while True:
        descriptor = open_own(lock, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there, mine = lock.stat(), os.fstat(descriptor)
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                return descriptor
        except BlockingIOError:
            number = os.pread(descriptor, 20, 0)
            os.close(descriptor)
            return f"process {int(number)}" if number.isdigit() else "another process"
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        # Its process has ended meanwhile, and taken it away.
        os.close(descriptor)
