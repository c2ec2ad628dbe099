"""The signals that end a process, turned into an exception that unwinds the run as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Postponed", "Terminated", "ignore", "last_words", "listen"]

_NAMES: Final = ("SIGTERM", "SIGHUP")
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
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


class Postponed:
    """Signals that end a process wait for work to come to its end by itself, once it has begun.

    It asks ``ended`` now and then, and sleeps by ``sleep``, which a signal wakes. The second signal ends
    the process at once. ``exception`` is what the first would have raised.
    """

    def __init__(self) -> None:
        self._number = 0
        self._asleep = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _numbers()}
        _handle(self._end)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def ended(self) -> bool:
        return self._number != 0

    @property
    def exception(self) -> KeyboardInterrupt:
        return KeyboardInterrupt() if self._number == signal.SIGINT else Terminated(self._number)

    def now(self) -> float:
        """By a clock that does not jump, and goes on while the machine sleeps where there is one."""
        return time.clock_gettime(_CLOCK)

    def sleep(self, seconds: float) -> None:
        try:
            self._asleep = True
            if not self._number:
                time.sleep(seconds)
            self._asleep = False
        except _Woken:
            self._asleep = False

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self._number:
            os._exit(128 + number)
        self._number = number
        if self._asleep:
            raise _Woken


class _Woken(Exception):  # noqa: N818  # it is no error
    pass


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
    for number in _numbers():
        signal.signal(number, handler)


def _numbers() -> list[int]:
    """The signals that end a process, without those that its parent has had ignored."""
    found = (getattr(signal, name, None) for name in ("SIGINT", *_NAMES))
    return [one for one in found if one is not None and signal.getsignal(one) is not signal.SIG_IGN]
