"""Bytes to an open descriptor, such as standard output."""

from __future__ import annotations

import os
import select

from ._files import reason
from .errors import RejectedError

__all__ = ["OutputError", "write_out"]


class OutputError(RejectedError):
    """Standard output takes nothing more."""

    def __init__(self, why: str) -> None:
        super().__init__(f"Cannot write to standard output: {why}")


def write_out(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all bytes.

    Raises ``BrokenPipeError`` where the reader has gone, and ``OutputError`` for anything else.
    """
    rest = memoryview(data).cast("B")
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Whoever shares it has said that it is not waited for.
            select.select((), (descriptor,), ())
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(reason(error)) from error
