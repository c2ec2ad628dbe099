"""The streams of the process: what becomes of text and data that they do not take, the same for every command."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, Final

from .._output import OutputError, write_out

__all__ = ["check_takes_data", "forget_stdout", "is_closed", "own_streams"]

_NAMES: Final = ("stdin", "stdout", "stderr")
_closed: set[str] = set()


def own_streams() -> None:
    """Has both outputs do as this module says where they take nothing.

    Standard output raises ``BrokenPipeError`` where its reader has gone, and ``OutputError`` where it is closed, full or
    fails in another way. What standard error does not take is lost, and changes nothing of how a run ends.
    """
    for name in _NAMES:
        if getattr(sys, name) is None:
            # Closed by the parent (`>&-`). The next connection would take the stream's number, and get its lines.
            _closed.add(name)
            mode = "r" if name == "stdin" else "w"
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    # Those of a test, or of a caller who collects what is said, are left to them.
    for name, raw in (("stdout", _Out), ("stderr", _Err)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _over(stream, raw(stream.fileno(), "wb", closefd=False)))


def _over(stream: io.TextIOWrapper, raw: io.FileIO) -> io.TextIOWrapper:
    """The same stream, whose bytes go another way."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Out(io.FileIO):
    def write(self, data: Any, /) -> int:
        if is_closed():
            raise OutputError("it is closed")
        view = memoryview(data)
        write_out(self.fileno(), view)
        return view.nbytes


class _Err(io.FileIO):
    def write(self, data: Any, /) -> int:
        view = memoryview(data)
        with contextlib.suppress(BrokenPipeError, OutputError):
            write_out(self.fileno(), view)
        return view.nbytes


def is_closed() -> bool:
    """Whether the parent has closed standard output: it wants no lines."""
    return "stdout" in _closed


def check_takes_data() -> None:
    """Raises ``OutputError`` where standard output is closed, before work is done for it."""
    if is_closed():
        raise OutputError("it is closed")


def forget_stdout() -> None:
    """Lets all that is still written to standard output go nowhere, and what its buffer holds with it."""
    _closed.discard("stdout")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
