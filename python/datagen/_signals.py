"""The signals that end a process, turned into an exception that unwinds the run as Ctrl-C does."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Terminated", "listen"]

_NAMES: Final = ("SIGTERM", "SIGHUP")


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
