"""Events as lines of JSON, written to a file or a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .._output import write_out
from ..errors import ConfigurationError
from ..settlement import Delivered, TopicSettlement
from ..types import catalogue
from .base import Check, Sink, Stage, streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core import Batch
    from .base import Window

__all__ = ["LINES", "LinesTarget"]

LINES: Final = Stage("stdout", title="stdout", unit="events", committed="written")


@dataclass(frozen=True)
class LinesTarget:
    """An open file descriptor, by default standard output."""

    descriptor: int = 1

    @property
    def relations(self) -> tuple[str, ...]:
        return streams()

    def sink(self, window: Window) -> _Lines:  # noqa: ARG002
        return _Lines(self.descriptor)


class _Lines(Sink):
    """One object a line: the event's fields, and before them its stream as ``stream``.

    A file, other than a pipe, has a mark: what was written behind it can be read again.
    """

    stage = LINES
    relations = streams()
    commit_part = "lines"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._events = 0
        self._heads = {name: f'{{"stream":"{name}",'.encode() for name in streams()}

    def open(self) -> None:
        pass

    def begin(self) -> None:
        if self._file() and fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & os.O_APPEND:
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def write(self, batch: Batch) -> None:
        head = self._heads[batch.name]
        text = b"".join([head + bytes(row)[1:] + b"\n" for row in batch.encode("json")])
        write_out(self._descriptor, text)
        self._events += len(batch)

    def commit(self) -> None:
        pass

    def mark(self) -> dict[str, Any]:
        found = self._file()
        if found is None:
            return {}
        # What a stop of the machine leaves must not be less than the position says.
        os.fsync(self._descriptor)
        place = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return {"device": found.st_dev, "inode": found.st_ino, "bytes": place}

    def written_since(self, mark: Mapping[str, Any]) -> set[bytes]:
        found = self._file()
        if found is None:
            return set()
        try:
            device, inode, place = (int(mark[name]) for name in ("device", "inode", "bytes"))
            if place not in range(1 << 63):
                raise ValueError(place)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ConfigurationError(
                "stdout: the position does not say how far the file had come; begin a new stream"
            ) from None
        behind = b""
        if (found.st_dev, found.st_ino) != (device, inode):
            return set()
        if found.st_size > place:
            try:
                with open(f"/dev/fd/{self._descriptor}", "rb") as file:  # noqa: PTH123
                    file.seek(place)
                    behind = file.read()
            except OSError as error:
                raise ConfigurationError(
                    f"stdout: what was written after the position cannot be read ({error.strerror})"
                ) from None
        if behind and not behind.endswith(b"\n"):
            # A line that a kill has broken off.
            whole = behind.rfind(b"\n") + 1
            os.ftruncate(self._descriptor, place + whole)
            behind = behind[:whole]
        if found.st_size >= place:
            os.lseek(self._descriptor, 0, os.SEEK_END)
        return set(_idents(behind))

    def _file(self) -> os.stat_result | None:
        """The file, if it is one."""
        found = os.fstat(self._descriptor)
        return found if stat.S_ISREG(found.st_mode) else None

    def verify(self) -> tuple[Check, ...]:
        return ()

    def settlement(self) -> Delivered:
        written = TopicSettlement("stdout", self._events, self._events)
        return Delivered(LINES.name, LINES.title, (written,))

    def close(self, error: BaseException | None) -> None:
        pass


def _idents(text: bytes) -> list[bytes]:
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found.append(row[catalogue()[row["stream"]].primary_key].encode())
    return found
