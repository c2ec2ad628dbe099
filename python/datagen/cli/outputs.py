"""Streams that the parent has closed, and standard output where it takes data."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .._output import refused
from ..errors import RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_takes_data", "data_to_stdout", "open_closed_streams"]

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_closed: set[str] = set()
#: What a file or a terminal answers that takes no more.
_OF_FILES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def open_closed_streams() -> None:
    """Has lines for a stream that the parent has closed (``>&-``) go nowhere.

    Otherwise the next connection would take the stream's number, and get them.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            _closed.add(name)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def check_takes_data() -> None:
    """Raises ``RejectedError`` where the parent has closed standard output, which data are for.

    Lines about a run may go nowhere; data may not.
    """
    if "stdout" in _closed:
        raise RejectedError("standard output is closed: nothing can be written to it")


@contextmanager
def data_to_stdout() -> Iterator[None]:
    """Has a command that prints data end where standard output does not take them, with a line that says so.

    A reader that has gone (``| head``) ends it without a word.
    """
    check_takes_data()
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # Any other is of a service.
        if error.errno in _OF_FILES:
            raise refused(error) from error
        raise
