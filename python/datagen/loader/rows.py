"""Where the rows of a run come from: each is checked by the store before a sink has it.

``KeptRows`` are made before the first sink takes one, and stay in memory. ``PassingRows`` are made as sinks take
them, those of tables ahead of that, and forgotten.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from .._prefetch import Prefetch
from ..check import FinancialDataStore, MasterDataStore
from ..sinks.base import labels, streams, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._core import Batch
    from ..sinks.base import Window
    from .request import Load

__all__ = ["KeptRows", "PassingRows", "Rows", "before_events"]

#: Rows of a batch: few enough to stay in the processor's cache on the way to a sink.
_BATCH_ROWS: Final = 8192
#: Batches of master rows that are made before a sink takes them: made while clients are imported,
#: connect and wait.
_PREFETCHED: Final = 32


def before_events() -> tuple[str, ...]:
    """What is written before the first event: tables, then the labels where a sink takes them."""
    return (*tables(), labels())


class Rows(ABC):
    """The rows of a run, by table and stream.

    Tables are asked for once each, in the order of ``before_events``: as batches, or where no sink takes them as
    numbers of rows (``passed``).
    """

    store: MasterDataStore

    @abstractmethod
    def beforehand(self) -> Iterator[tuple[str, Iterator[Batch]]]:
        """What is made before sinks take anything, by name, to be gone through."""

    @abstractmethod
    def table(self, name: str) -> Iterator[Batch]:
        """The rows of a table, or the labels, for the sinks that take them."""

    @abstractmethod
    def again(self, name: str) -> Iterator[Batch]:
        """The same, after ``table`` or ``passed``, for one more sink."""

    @abstractmethod
    def passed(self, name: str) -> Iterator[int] | None:
        """The rows of each batch of a table that no sink takes now, as it is checked; None where none are made."""

    @abstractmethod
    def seconds(self, name: str) -> float:
        """How long a table that was ``passed`` took to make and check."""

    @abstractmethod
    def stream(self, name: str) -> Iterator[Batch]:
        """The events of a stream, one entity after the other."""

    @abstractmethod
    def in_time(self, names: list[str]) -> Iterator[Batch]:
        """The events of streams, in order of time."""


class KeptRows(Rows):
    """All rows of a run, in a store that keeps them."""

    def __init__(self, run: Load, window: Window, store: FinancialDataStore) -> None:
        self._names = (*tables(), *filter(run.takes, (labels(), *streams())))
        self._window = window
        self.store: FinancialDataStore = store

    def beforehand(self) -> Iterator[tuple[str, Iterator[Batch]]]:
        for name in self._names:
            yield name, map(self.store.add_batch, _whole(self._window, name))

    def table(self, name: str) -> Iterator[Batch]:
        return self.store.batches(name)

    def again(self, name: str) -> Iterator[Batch]:
        return self.store.batches(name)

    def passed(self, name: str) -> None:  # noqa: ARG002
        return None

    def seconds(self, name: str) -> float:  # noqa: ARG002
        return 0.0

    def stream(self, name: str) -> Iterator[Batch]:
        return self.store.batches(name)

    def in_time(self, names: list[str]) -> Iterator[Batch]:
        return self.store.in_time(names)


class PassingRows(Rows):
    """Rows that are made as they are asked for. Those of tables are made and checked by ``prefetch``, on its thread.

    A table that a sink takes is made whole, and the thread waits once a number of its batches are made. Of others only
    the keys are needed: their rows are those of their birth, of which only the numbers come, and where no sink takes any
    table the thread does not wait. The store has the keys of a table once all that comes of it has.
    """

    def __init__(self, run: Load, window: Window, store: MasterDataStore) -> None:
        self._window = window
        self.store = store
        self._seconds: dict[str, float] = {}
        needed = [*filter(run.needs, before_events())]
        taken = [] if window.tables_there else [*filter(run.takes, needed)]
        self._needed = frozenset(needed)
        self.prefetch = Prefetch[Any](self._made(needed, taken), _PREFETCHED if taken else None)
        self._ready = iter(self.prefetch)

    def _made(self, needed: Sequence[str], taken: Sequence[str]) -> Iterator[Batch | int | None]:
        """What comes of each table: batches, or their numbers of rows, and None after the last."""
        for name in needed:
            is_taken = name in taken
            # Where tables follow a stream, what is not there yet has no key either.
            make = _whole if is_taken or self._window.tables_at else _births
            began = time.thread_time()
            for batch in make(self._window, name):
                self.store.add_batch(batch)
                yield batch if is_taken else len(batch)
            self._seconds[name] = time.thread_time() - began
            yield None

    def _next(self) -> Iterator[Any]:
        return iter(self._ready.__next__, None)

    def beforehand(self) -> Iterator[tuple[str, Iterator[Batch]]]:
        return iter(())

    def table(self, name: str) -> Iterator[Batch]:  # noqa: ARG002
        return self._next()

    def again(self, name: str) -> Iterator[Batch]:
        # They were checked as they were made for the first time.
        return _whole(self._window, name)

    def passed(self, name: str) -> Iterator[int] | None:
        if name not in self._needed:
            return None
        return (one if isinstance(one, int) else len(one) for one in self._next())

    def seconds(self, name: str) -> float:
        return self._seconds[name]

    def stream(self, name: str) -> Iterator[Batch]:
        return map(self.store.add_batch, _whole(self._window, name))

    def in_time(self, names: list[str]) -> Iterator[Batch]:
        window = self._window.plan.window(names, self._window.first_customer)
        return map(self.store.add_batch, window)


def _whole(window: Window, name: str) -> Iterator[Batch]:
    until = window.tables_at if name in tables() else None
    first = window.first(name)
    return iter(window.plan.batches(name, first, batch_rows=_BATCH_ROWS, until=until))


def _births(window: Window, name: str) -> Iterator[Batch]:
    return iter(window.plan.births(name, window.first(name), batch_rows=_BATCH_ROWS))
