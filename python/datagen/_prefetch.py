"""Prefetch: an iterable whose items are made by a thread before they are taken."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Prefetch"]

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates ``items`` on a thread; an error that they raise is raised where its item would come.

    At most ``limit`` items wait to be taken; with None all are made without waiting. The thread
    begins with ``start``, or when the first item is taken, and ends with the ``with`` block,
    whether all items were taken or not.
    """

    def __init__(self, items: Iterable[T], limit: int | None) -> None:
        self._items = items
        # Neither has a lock in Python that an interrupt could leave locked.
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._free: SimpleQueue[None] = SimpleQueue()
        self._limit = limit
        for _ in range(0 if limit is None else limit - 1):
            self._free.put(None)
        self._left = False
        # The end of the process does not wait for it.
        self._thread = Thread(target=self._run, name="datagen-prefetch", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._free.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        """Begins, unless it has."""
        if self._thread.ident is None:
            self._thread.start()

    def __iter__(self) -> Iterator[T]:
        self.start()
        while not isinstance(item := self._ready.get(), _End):
            self._free.put(None)
            yield item
        if item.error is not None:
            raise item.error

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                self._ready.put(item)
                if self._limit is not None:
                    self._free.get()
                if self._left:
                    return
        except BaseException as raised:  # noqa: BLE001  # it is raised again where items are taken
            error = raised
        self._ready.put(_End(error))


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
