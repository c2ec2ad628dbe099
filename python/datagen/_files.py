"""Files written whole, by their name and never through a link; and names that the system would not take."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "is_there",
    "named",
    "open_own",
    "read_own",
    "read_start",
    "read_whole",
    "reason",
    "refusal",
    "unfit",
    "write_whole",
]

#: More than any file of settings has, and less than a device that never ends.
_MOST: Final = 64 << 20


def unfit(text: str, encode: Callable[[str], bytes] = str.encode) -> str:
    """Why no file, program or service takes a text of a user; nothing if they may.

    C ends a text at a NUL, and half of a surrogate pair has no bytes.
    """
    if "\0" in text:
        return "has a NUL"
    try:
        encode(text)
    except UnicodeEncodeError:
        return "has a character that cannot be encoded"
    return ""


def named(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a user has named.

    Each such name passes here before the system has it, which answers some with errors that are no OSError. Raises
    OSError where no file can have the name, also where it is relative to a folder that is gone.
    """
    text = os.fspath(path)
    if why := unfit(text, os.fsencode):
        raise OSError(errno.EINVAL, f"its name {why}")
    try:
        return Path(text).absolute()
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "the folder that it is relative to is gone") from None


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is something of this name, as far as can be seen."""
    try:
        named(path).stat()
    except OSError:
        return False
    return True


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """The content of a file; raises OSError where there is none, or one that is larger than any of settings."""
    content = read_start(path, _MOST + 1)
    if len(content) > _MOST:
        raise OSError(errno.EFBIG, f"it has more than {_MOST >> 20} MiB")
    return content


def read_start(path: str | os.PathLike[str], size: int) -> bytes:
    """The first bytes of a file; raises OSError as ``read_whole``."""
    with named(path).open("rb") as file:
        return file.read(size)


def refusal(path: Path) -> str | None:
    """Why :func:`write_whole` would not write to ``path``; None if it can be tried.

    A file is made beside it and removed, since no right of a folder tells that it takes files.
    """
    try:
        named(path)
        if (objection := _objection(path)) is not None:
            return objection
        descriptor, unfinished = _begun(path, 0o600)
        os.close(descriptor)
        unfinished.unlink()
    except OSError as error:
        return f"{path}: {reason(error)}"
    return None


def _objection(path: Path) -> str | None:
    """What is wrong with what has the name, or with its folder."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"{path.parent} is no folder to write to"
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        return f"{path} is a link; name the file itself"
    return None if stat.S_ISREG(mode) else f"{path} is there and no file"


def _begun(path: Path, mode: int) -> tuple[int, Path]:
    """A new file in the folder of another, open, and its name."""
    unfinished = path.with_name(f".datagen-{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.open(unfinished, flags, mode), unfinished


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replaces a file, or makes it; a reader never sees half of it.

    What is written is another file until it takes the name, so that a link which somebody puts
    there meanwhile is replaced and not followed. ``mode`` is that of a new file, less the umask.
    Raises OSError; FileExistsError for what has the name and is not replaced.
    """
    named(path)
    refused = _objection(path)
    if refused is not None:
        raise FileExistsError(refused)
    descriptor, unfinished = _begun(path, mode)
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
