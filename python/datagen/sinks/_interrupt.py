"""Ctrl-C, held back while the Kafka client runs."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["HeldInterrupt"]


class HeldInterrupt:
    """While it is entered, SIGINT waits; ``release`` and leaving deliver it to its handler.

    A signal's handler may run, and raise, inside any call of confluent-kafka that reads Python
    objects or calls back, and the client then loses the exception or turns it into another. Only the
    main thread handles signals, so in others this does nothing. May be nested.
    """

    def __enter__(self) -> Self:
        self._pressed = False
        self._before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        self._holds = main and callable(self._before)
        if self._holds:
            signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, self._before)
        self.release()

    def release(self) -> None:
        """Delivers a Ctrl-C that came in the meantime, which usually raises KeyboardInterrupt."""
        if self._pressed and callable(self._before):
            self._pressed = False
            self._before(signal.SIGINT, None)

    def _hold(self, _number: int, _frame: FrameType | None) -> None:
        self._pressed = True
