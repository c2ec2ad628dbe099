"""Bytes to an open descriptor, such as standard output."""

from __future__ import annotations

import os

from ._files import reason
from .errors import RejectedError

__all__ = ["refused", "write_out"]


def write_out(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all bytes.

    Raises ``BrokenPipeError`` where the reader has gone, and ``RejectedError`` for anything else.
    """
    rest = memoryview(data).cast("B")
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise refused(error) from error


def refused(error: OSError) -> RejectedError:
    """What is said of standard output that takes nothing more."""
    return RejectedError(f"standard output: {reason(error)}")
