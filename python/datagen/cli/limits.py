"""What the system lets a process have: errors that come of it are told as that, whatever they look like."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING, Final

from ..errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lack", "remark"]

#: Descriptors with which every command has enough for a small cluster.
_FEW: Final = 64
_DESCRIPTORS: Final = "Too many open files"


def lack(error: BaseException) -> UnreachableError | None:
    """What the process did not get, if an error or what it came of says so.

    Clients and servers are reached again once there is more of it, so that it is no mistake of ours or of an option's.
    """
    for one in _chain(error):
        number = one.errno if isinstance(one, OSError) else None
        text = str(one)
        if number == errno.EMFILE or (_DESCRIPTORS in text and "in system" not in text):
            return UnreachableError(f"{_DESCRIPTORS}: {_allowed()} (ulimit -n); raise the limit")
        if isinstance(one, MemoryError) or number == errno.ENOMEM:
            return UnreachableError(
                "Out of memory: the system gives this process no more (ulimit -v, a limit of its container); "
                "raise the limit, or ask for fewer --customers or --workers"
            )
        if "can't start new thread" in text or (number == errno.EAGAIN and "os error" in text):
            return UnreachableError(
                "Cannot start a thread: the system gives this process no more (ulimit -u and -v, pids of its container); "
                "raise the limit"
            )
    return None


def remark() -> str:
    """What is said behind an error that a lack may have caused, where its own text does not tell."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f" ({_allowed()} open files, ulimit -n, which may be too few)" if 0 <= soft < _FEW else ""
    )


def _allowed() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"this process may have {soft}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it came of or met, each once."""
    ahead: list[BaseException | None] = [error]
    seen: set[int] = set()
    while ahead:
        one = ahead.pop(0)
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            ahead += [one.__cause__, one.__context__]
