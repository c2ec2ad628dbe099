"""An iterable that runs ahead of whoever takes from it, on a thread of its own."""

from __future__ import annotations

from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterates ``items`` by a thread, so many ahead at most; what it raises is raised in its place.

    The thread begins at once, and ends when the ``with`` block does, whether all was taken or not.
    """

    def __init__(self, items: Iterable[T], limit: int) -> None:
        self._items = items
        self._ready: Queue[T | _End] = Queue(limit)
        self._left = Event()
        # Nobody waits for it where the process has to end.
        self._thread = Thread(target=self._run, name="datagen-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        while self._thread.is_alive():
            # Whatever is ready makes room for the last item that the thread had begun.
            while not self._ready.empty():
                self._ready.get()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if self._left.is_set():
                    return
                self._ready.put(item)
        except BaseException as raised:  # noqa: BLE001  # it is raised again where items are taken
            error = raised
        self._ready.put(_End(error))


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
