"""Files written whole, by their name and never through a link."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_own", "read_own", "reason", "refusal", "write_whole"]


def refusal(path: Path) -> str | None:
    """Why :func:`write_whole` would not write to ``path``; None if it can be tried."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"{path.parent} is no folder to write to"
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):
        return None  # it is not there, or its name is none
    if stat.S_ISLNK(mode):
        return f"{path} is a link; name the file itself"
    return None if stat.S_ISREG(mode) else f"{path} is there and no file"


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replaces a file, or makes it; a reader never sees half of it.

    What is written is another file until it takes the name, so that a link which somebody puts
    there meanwhile is replaced and not followed. ``mode`` is that of a new file, less the umask.
    Raises OSError; FileExistsError for what :func:`refusal` refuses.
    """
    refused = refusal(path)
    if refused is not None:
        raise FileExistsError(refused)
    unfinished = path.with_name(f".datagen-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(unfinished, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def reason(error: OSError) -> str:
    """What an error of :func:`write_whole` says, without number and path."""
    return error.strerror or str(error)


def open_own(path: Path, flags: int) -> int:
    """Opens a file of ours, made with mode 0600 if ``flags`` say so, and no link to another."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def read_own(path: Path, owner: int, limit: int = 65_536) -> bytes:
    """The content of a small file that ``owner`` has; PermissionError for any other file.

    It neither follows a link nor waits for the other end of a pipe.
    """
    descriptor = open_own(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
            raise PermissionError(f"{path} is no file of uid {owner}")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise PermissionError(f"{path} has more than {limit} bytes")
    return content
