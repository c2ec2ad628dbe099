"""The events of a window, some of them made before they are asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .position import millis_of, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core import Batch, Window

__all__ = ["Ahead"]


@dataclass(frozen=True)
class _Part:
    """The events before ``end`` and after the part before; the first of them is at ``first``."""

    first: int | None
    end: int
    batches: list[Batch]


class Ahead:
    """A window whose events can be counted before they are sent. Instants are in milliseconds."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._parts: deque[_Part] = deque()

    def make(self, until: int) -> int:
        """Makes the events before an instant and keeps them, as a part; how many there are."""
        first = self._peek_window()
        batches = [*self._window.until(moment(until))]
        self._parts.append(_Part(first if batches else None, until, batches))
        return sum(map(len, batches))

    @property
    def next_end(self) -> int | None:
        """The end of the first part that was made and not taken."""
        return self._parts[0].end if self._parts else None

    def until(self, instant: int) -> Iterator[Batch]:
        """The events before an instant, which is not within a part."""
        while self._parts and self._parts[0].end <= instant:
            yield from self._parts.popleft().batches
        if not self._parts:
            yield from self._window.until(moment(instant))

    def peek(self) -> int | None:
        """When the next event happens."""
        made = (part.first for part in self._parts if part.first is not None)
        return next(made, self._peek_window())

    def _peek_window(self) -> int | None:
        found = self._window.peek()
        return None if found is None else millis_of(found)
