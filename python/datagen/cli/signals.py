"""The signals that end a process, turned into an exception that unwinds the run as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Terminated", "ignore", "last_words", "listen"]

_NAMES: Final = ("SIGTERM", "SIGHUP")
#: Seconds for which a run that is ending is not broken off.
_LAST_WORDS: Final = 2.0


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. ``exit_code`` is 128 and the signal's number, as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def listen() -> None:
    """Has both signals raise ``Terminated`` in the main thread, also in process 1 of a container.

    Only the first one does: a terminal that closes sends several, and the run that is ending has to
    say how. One that the parent process has had ignored stays so: `nohup` means it.
    """
    ended = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended
        if not ended:
            ended = True
            raise Terminated(number)

    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def last_words() -> None:
    """Has further signals wait for a run that is ending to say how, but no longer than it takes.

    After some seconds, when the last lines are not read, they end the process at once.
    """
    began = time.monotonic()

    def end(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - began > _LAST_WORDS:
            os._exit(128 + number)

    _handle(end)


def ignore() -> None:
    """Has signals do nothing any more: all is said, and the exit code stands."""
    _handle(signal.SIG_IGN)


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for name in ("SIGINT", *_NAMES):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
