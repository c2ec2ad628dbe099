"""Ctrl-C and the signals that end a run, held back while the Kafka client runs."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["HeldInterrupt", "held"]

Given = ParamSpec("Given")
Made = TypeVar("Made")

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class HeldInterrupt:
    """While it is entered, signals with a handler wait; ``release`` and leaving deliver them.

    A signal's handler may run, and raise, inside any call of confluent-kafka that reads Python
    objects or calls back, and the client then loses the exception or turns it into another. Only the
    main thread handles signals, so in others this does nothing. May be nested.
    """

    def __enter__(self) -> Self:
        self._came: int | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.release()

    def release(self) -> None:
        """Delivers the signal that came in the meantime, whose handler usually raises."""
        if self._came is not None:
            number, self._came = self._came, None
            self._before[number](number, None)

    def _hold(self, number: int, _frame: FrameType | None) -> None:
        self._came = number


def held(call: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
    """What a call of confluent-kafka gives, such as of a client's class: that, too, makes a TypeError of a signal."""
    with HeldInterrupt():
        return call(*args, **kwargs)
