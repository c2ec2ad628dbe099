"""Tables that follow a stream: slice by slice, the rows of each there before its events are sent.

A slice is a span of event time. While the events of one are sent, the rows that change in the next are written, so
that no event waits for a transaction. A sink of tables and events gets them one after the other: the rows of a
slice once all other sinks have them, and its events once those rows are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ConfigurationError
from .position import instant_text, millis_of, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._core import Batch
    from .check import MasterDataStore
    from .loader import Load
    from .sinks.base import Sink

__all__ = ["Following"]


class Following:
    """The changes of all tables from an instant on; all instants are in milliseconds.

    ``until`` is where the slice ends whose changes are there: events before it may be sent. ``rows``
    counts the changed rows.
    """

    def __init__(
        self,
        run: Load,
        store: MasterDataStore,
        holders: Sequence[Sink],
        senders: Sequence[Sink],
        at: int,
        end: int,
    ) -> None:
        """Takes note of where each sink is; raises ``ConfigurationError`` for tables of another stream."""
        self._store = store
        self._ahead = [sink for sink in holders if sink not in senders]
        self._beside = [sink for sink in holders if sink in senders]
        self._changes = run.plan.changes(run.from_customer, since=moment(at), until=moment(end))
        self._end = end
        self.until = at
        self.rows = 0
        #: Whether sinks of events were given rows of the slice.
        self._given = False
        #: The slice whose changes are on their way.
        self._next: tuple[list[Batch], int] | None = None
        # A process that was killed may have committed more than it has sent.
        there = [millis_of(sink.begin_following(moment(at))) for sink in holders]
        for one, sink in zip(there, holders, strict=True):
            if one < at and self._changed(run, one, at):
                raise ConfigurationError(
                    f"{sink.stage.title}: the tables are as of {instant_text(moment(one))}, and the position is "
                    f"of {instant_text(moment(at))}: the database was restored, or left out for a while. Begin a "
                    "new stream"
                )
        self._first_end = max(there)

    @staticmethod
    def _changed(run: Load, since: int, until: int) -> bool:
        changes = run.plan.changes(run.from_customer, since=moment(since), until=moment(until))
        return changes.peek() is not None

    @property
    def begins(self) -> int:
        """Where the slice begins that is asked for next."""
        return self.until if self._next is None else self._next[1]

    @property
    def asked(self) -> bool:
        """Whether the changes of the next slice are on their way."""
        return self._next is not None

    @property
    def known_end(self) -> int | None:
        """Where the next slice ends, if an earlier process has written it: that is a slice of its own."""
        return min(self._first_end, self._end) if self._first_end > self.begins else None

    def ask(self, until: int) -> None:
        """Begins to write the changes of the next slice, up to an instant: ``known_end`` if there is one."""
        changes = [self._store.add_versions(one) for one in self._changes.until(moment(until))]
        self.rows += sum(map(len, changes))
        if changes:
            for sink in self._ahead:
                sink.follow(changes, moment(until))
        self._next = changes, until

    def late(self, seconds: float) -> Sink | None:
        """A sink that does not have the slice which was asked for, after so many seconds at most."""
        return next((sink for sink in self._ahead if not sink.followed(seconds)), None)

    def enter(self) -> bool:
        """Goes on to the slice whose changes are there; whether a sink of events got some of them.

        That one may not have them yet: see ``late_beside``.
        """
        if self._next is None:
            raise RuntimeError("call ask() first")
        changes, self.until = self._next
        self._next = None
        self._given = bool(changes and self._beside)
        if self._given:
            for sink in self._beside:
                sink.follow(changes, moment(self.until))
        return self._given

    def late_beside(self, seconds: float) -> Sink | None:
        """A sink of events that does not have the rows of the slice, after so many seconds at most."""
        if not self._given:
            return None
        return next((sink for sink in self._beside if not sink.followed(seconds)), None)
