"""When the events of a stream are due, by a clock that does not jump, and how late they were."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Delays", "Rate", "Speed"]


class Speed:
    """Event time that goes on with the clock."""

    def __init__(self, began: float, start: int, speed: float) -> None:
        self._began = began
        self._start = start
        self._speed = speed

    def due(self, now: float) -> int:
        """The event time of a moment: what is before it should be sent."""
        return self._start + int((now - self._began) * self._speed * 1000)

    def when(self, instant: int) -> float:
        """The moment of an event time."""
        return self._began + (instant - self._start) / 1000 / self._speed

    def lag(self, now: float, next_event: int) -> float:
        """How late the next event is."""
        return max(now - self.when(next_event), 0.0)


class Rate:
    """So many events a second, whatever their times."""

    def __init__(self, began: float, rate: float) -> None:
        self._began = began
        self._rate = rate
        self._events = 0

    def due(self, now: float) -> int:  # noqa: ARG002
        return 1 << 62

    def when(self, instant: int) -> float:  # noqa: ARG002
        return self._began

    def next(self, events: int) -> float:
        """The moment at which so many more events are due."""
        self._events += events
        return self._began + self._events / self._rate

    def lag(self, now: float, next_event: int) -> float:  # noqa: ARG002
        return max(now - self._began - self._events / self._rate, 0.0)


@dataclass(frozen=True)
class Delays:
    """Events by how late they were sent: at most so many seconds after they were due."""

    #: Upper bounds in seconds; what is later than the last is in a place behind them.
    BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

    counts: list[int] = field(default_factory=lambda: [0] * 12)

    def add(self, seconds: float, events: int) -> None:
        place = next((i for i, bound in enumerate(self.BOUNDS) if seconds <= bound), 11)
        self.counts[place] += events

    def quantile(self, part: float) -> float:
        """A bound below which this part of the events are; 0 if there is none."""
        left = part * sum(self.counts)
        for count, bound in zip(self.counts, (*self.BOUNDS, math.inf), strict=True):
            left -= count
            if left <= 0:
                return bound if sum(self.counts) else 0.0
        return math.inf
