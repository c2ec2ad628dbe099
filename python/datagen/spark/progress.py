"""How far a query of ``readStream`` should be: an offset is an instant of event time, and what it belongs to.

Nothing here needs Spark.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from datagen import Plan, catalogue
from datagen.errors import ConfigurationError

from .options import millis_of, moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .options import Request

__all__ = ["Progress"]

#: Customers whose events say when those of all happen; they are alike in what they have.
_SAMPLE = 5_000


class Progress:
    """The offsets of a query, from the request's begin to its end.

    All that is kept between two calls is when the first was, so that a query goes on from any offset.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._end = millis_of(request.end)
        self._began: tuple[int, float] | None = None
        self._sample: array[int] | None = None

    def initial(self) -> dict[str, Any]:
        return self._offset(min(millis_of(self._request.begin), self._end))

    def millis(self, offset: Mapping[str, Any]) -> int:
        """The instant of an offset; raises ``ConfigurationError`` for one of other events than these."""
        for name, own in self._offset(0).items():
            if name != "time" and offset.get(name) != own:
                raise ConfigurationError(
                    f"the checkpoint is of {name} {offset.get(name)}, and this query asks for {own}; go on "
                    "as it was begun, or give this query a checkpointLocation of its own"
                )
        return millis_of(Plan(as_of=offset["time"]).as_of)

    def next(self, start: Mapping[str, Any], now: float) -> dict[str, Any]:
        """How far to go from an offset, at a moment in seconds of a clock that does not jump."""
        at = self.millis(start)
        if self._began is None:
            self._began = (at, now)
        first, moment_of_first = self._began
        seconds = now - moment_of_first
        if self._request.speed is not None:
            due = first + int(seconds * self._request.speed * 1000)
        elif self._request.rate is not None:
            due = self._after(first, seconds * self._request.rate)
        else:
            due = self._end
        return self._offset(min(max(due, at), self._end))

    def last(self) -> dict[str, Any]:
        """Behind all events."""
        return self._offset(self._end)

    def _after(self, start: int, events: float) -> int:
        """The instant before which about so many events are from another on."""
        request = self._request
        plan, first, name = request.plan, request.first, request.relation
        stop = min(first + _SAMPLE, plan.customers)
        if self._sample is None:
            times: array[int] = array("q")
            for batch in plan.batches(name, first, stop):
                times.frombytes(memoryview(batch.column(request.found.time)).cast("B"))
            self._sample = array("q", sorted(times))
        of_all = plan.rows(name, first) or 1
        place = bisect_left(self._sample, start) + int(events * len(self._sample) / of_all)
        return self._sample[place] if place < len(self._sample) else self._end

    def _offset(self, millis: int) -> dict[str, Any]:
        plan = self._request.plan
        return {
            "relation": self._request.relation,
            "seed": plan.seed,
            "customers": plan.customers - self._request.first,
            "fromCustomer": self._request.first,
            "asOf": _text(millis_of(plan.as_of)),
            "days": plan.days,
            "labels": plan.labels,
            "catalogue": catalogue().version,
            "time": _text(millis),
        }


def _text(millis: int) -> str:
    return moment(millis).isoformat(timespec="milliseconds").replace("+00:00", "Z")
