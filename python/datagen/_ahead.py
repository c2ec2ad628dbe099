"""An iterable that runs ahead of whoever takes from it, on a thread of its own."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterates ``items`` by a thread, so many ahead at most; what it raises is raised in its place.

    Without a ``limit`` it waits for nobody. The thread begins with ``start``, or when the first is
    asked for, and ends when the ``with`` block does, whether all was taken or not.
    """

    def __init__(self, items: Iterable[T], limit: int | None) -> None:
        self._items = items
        # Neither has a lock in Python that an interrupt could leave locked.
        self._ready: SimpleQueue[T | _End] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        self._limit = limit
        for _ in range(0 if limit is None else limit - 1):
            self._room.put(None)
        self._left = False
        # Nobody waits for it where the process has to end.
        self._thread = Thread(target=self._run, name="datagen-ahead", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._room.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def start(self) -> None:
        """Begins, unless it has."""
        if self._thread.ident is None:
            self._thread.start()

    def __iter__(self) -> Iterator[T]:
        self.start()
        while not isinstance(item := self._ready.get(), _End):
            self._room.put(None)
            yield item
        if item.error is not None:
            raise item.error

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                self._ready.put(item)
                if self._limit is not None:
                    self._room.get()
                if self._left:
                    return
        except BaseException as raised:  # noqa: BLE001  # it is raised again where items are taken
            error = raised
        self._ready.put(_End(error))


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
