"""A folder on a disk or in an object store, where files get their names once all are whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
from abc import abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..._files import named, reason, unfit
from ..._output import write_out
from ..._secrets import Secrets
from ...errors import (
    ConfigurationError,
    DatagenError,
    OptionError,
    RejectedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Descriptor", "Output", "Place", "Whole", "check_location", "shown"]

#: Bytes that are written at once to a descriptor.
_PIECE: Final = 1 << 16
#: What pyarrow has file systems for.
_SCHEMES: Final = ("file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: A URL with too few slashes, which would make a folder of that name.
_CUT_URL: Final = re.compile(rf"({'|'.join(_SCHEMES)}):(?!//)", re.IGNORECASE)
#: What the folder of unfinished files begins with, and in it the name of a run in an object store.
_UNFINISHED: Final = ".datagen-"
_UNDER_WAY: Final = "under-way-"
#: A run that has begun before has been broken off.
_GIVEN_UP: Final = timedelta(days=1)
#: Bytes that go to an object store at once.
_BUFFER: Final = 1 << 20

#: Variables that object stores take secrets from.
_SECRET: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY")

#: What object stores say of a caller who may not, and of a bucket that is not there.
_REFUSED: Final = re.compile(
    r"access.?denied|forbidden|invalid.?access.?key|signature.?does.?not.?match|no.?such.?bucket"
    r"|unauthorized|authorization|expired.?token|credentials|bucket.{0,40}not.{0,5}exist|HTTP status 40[0134]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Whole:
    """A file that is written: its path in the folder, its bytes, and their SHA-256."""

    path: str
    bytes: int
    sha256: str


def check_location(location: object) -> None:
    """Raises ``OptionError`` for a location that no file system is known for, or that has more than is used."""
    known = ", ".join(f"{name}://" for name in _SCHEMES)
    if not isinstance(location, str) or not location.strip():
        raise OptionError("location", location, f"a folder, or a URL of {known}")
    if cut := _CUT_URL.match(location):
        raise OptionError("location", f"{cut[0]}...", f"{cut[0].lower()}//, or a folder")
    url = _URL.match(location)
    try:
        if why := unfit(location):
            raise OSError(errno.EINVAL, f"its name {why}")
        if url is None:
            named(location)
    except OSError as error:
        allowed = f"a name that a folder can have: {reason(error)}"
        raise OptionError("location", shown(location), allowed) from None
    if url is None:
        return
    scheme = url[1].lower()
    if scheme not in _SCHEMES:
        raise OptionError("location", shown(location), f"a folder, or a URL of {known}")
    # Pyarrow would leave these out without a word; stores refuse what they do not know of a query.
    unused = "#?" if scheme == "file" else "#"
    for mark in unused:
        if mark in location:
            name = shown(location).partition(mark)[0]
            raise OptionError(
                "location", f"{name}{mark}...", f"%{ord(mark):X} for a {mark} that is of the name"
            )


def shown(location: str) -> str:
    """A location without what it may hold of secrets."""
    return _without_secrets(location.partition("?")[0]) if "://" in location else location


class Place:
    """The folder of a run. What is being written lies in a folder of its own, beside the names to come.

    Raises, in each method, ``ConfigurationError`` where the folder or store refuses, ``RejectedError`` where it
    is full, and ``UnreachableError`` where a store does not answer.
    """

    def __init__(self, location: str) -> None:
        self.name = shown(location).rstrip("/") or "/"
        self._unfinished = f"{_UNFINISHED}{secrets.token_hex(8)}"
        self._begun = self._unsettled = self._is_new = False
        with self._named():
            self._files, self._root = _file_system(location)
            self._disk = self._files.type_name == "local"
            if self._files.get_file_info(self._root).type.name == "File":
                raise ConfigurationError(f"{self.name} is a file; name a folder")
            bucket = self._root.partition("/")[0]
            if not self._disk and self._files.get_file_info(bucket).type.name == "NotFound":
                raise ConfigurationError(f"{self.name}: there is no {bucket}")

    def begin(self, name: str = "run", clashes: Callable[[str], bool] = bool) -> None:
        """Makes the folder of unfinished files.

        An object store has nothing to hold while files get their names. So a run says there from the
        beginning on that it is under way, by its ``name``, and then looks for others: of two, one at least sees
        the other. Raises ``ConfigurationError`` if there is one whose name ``clashes``.
        """
        self._begun = True
        if self._disk:
            with self._named():
                self._is_new = not Path(self._root).exists()
                self._files.create_dir(self._path(self._unfinished), recursive=True)
            return
        with (
            self._named(),
            self._files.open_output_stream(
                self._path(f"{self._unfinished}/{_UNDER_WAY}{name}"), compression=None
            ) as file,
        ):
            file.write(b"{}\n")
        for folder, began in self._others(clashes):
            raise ConfigurationError(
                f"{self.name}: another run writes there since {began:%Y-%m-%dT%H:%M:%SZ}; wait for its end, "
                f"or remove {self.name}/{folder} if that was broken off"
            )

    def _others(self, clashes: Callable[[str], bool]) -> Iterator[tuple[str, datetime]]:
        """The folders of other runs that are under way, and since when they are."""
        from pyarrow.fs import FileSelector

        now = datetime.now(UTC)
        with self._named():
            chosen = FileSelector(self._path("").rstrip("/"), allow_not_found=True)
            folders = {one.base_name for one in self._files.get_file_info(chosen)}
            for folder in sorted(folders - {self._unfinished}):
                if not folder.startswith(_UNFINISHED):
                    continue
                chosen = FileSelector(self._path(folder), allow_not_found=True)
                for one in self._files.get_file_info(chosen):
                    began, name = one.mtime or now, one.base_name
                    if (
                        name.startswith(_UNDER_WAY)
                        and clashes(name.removeprefix(_UNDER_WAY))
                        and now - began < _GIVEN_UP
                    ):
                        yield folder, began

    def listed(self, folder: str, *, below: bool) -> list[str]:
        """The files in a folder, by their paths, and with ``below`` those in its folders too."""
        from pyarrow.fs import FileSelector

        with self._named():
            path = self._path(folder).rstrip("/")
            chosen = FileSelector(path, allow_not_found=True, recursive=below)
            found = self._files.get_file_info(chosen)
        paths = [one.path for one in found if one.type.name == "File"]
        return [path.removeprefix(self._path("")) for path in paths]

    def sizes(self, paths: Sequence[str]) -> list[int | None]:
        """The bytes of each file, and None for one that is not there."""
        with self._named():
            found = self._files.get_file_info([self._path(path) for path in paths])
        return [one.size if one.type.name == "File" else None for one in found]

    def read(self, path: str) -> bytes:
        """A file that is there."""
        with (
            self._named(path),
            self._files.open_input_stream(self._path(path), compression=None) as file,
        ):
            return bytes(file.read())

    def create(self, path: str) -> Unfinished:
        """A file that will have this name."""
        hidden = self._path(f"{self._unfinished}/{path}")
        with self._named(path):
            if self._disk:
                self._files.create_dir(str(Path(hidden).parent), recursive=True)
            # By itself it would compress by the end of the name.
            out = self._files.open_output_stream(hidden, compression=None, buffer_size=_BUFFER)
        return Unfinished(path, out, self._named, hidden if self._disk else "")

    def occupied(self, paths: Iterable[str]) -> list[str]:
        """Those of the names that something has: a file, and on a disk also a link or a folder."""
        wanted = [*paths]
        if self._disk:
            return [path for path in wanted if os.path.lexists(self._path(path))]
        return [
            path for path, size in zip(wanted, self.sizes(wanted), strict=True) if size is not None
        ]

    def folders(self, paths: Iterable[str]) -> list[str]:
        """Those of the names that a folder has, which no file can take over."""
        return [path for path in paths if self._disk and Path(self._path(path)).is_dir()]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run has the folder meanwhile; in an object store ``begin`` has seen to it."""
        if not self._disk:
            yield
            return
        with self._named():
            descriptor = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def publish(self, paths: Sequence[str], stale: Sequence[str]) -> None:
        """Gives files their names, the last of them last; what has these names goes, and what is stale.

        After an error or a signal all is as it was before.
        """
        old = f"{self._unfinished}/old"
        leaving = [*dict.fromkeys([*stale, *self.occupied(paths)])]
        moves = [(path, f"{old}/{path}") for path in leaving]
        moves += [(f"{self._unfinished}/{path}", path) for path in paths]
        begun: list[tuple[str, str]] = []
        try:
            for source, to in moves:
                with self._named(to if source.startswith(self._unfinished) else source):
                    begun.append((source, to))
                    self._move(source, to)
        except BaseException:
            self._unsettled = True
            for source, to in reversed(begun):
                with suppress(FileNotFoundError):  # it had not been moved yet
                    self._move(to, source)
                self._remove_folders_of(to)
            self._unsettled = False
            raise
        for path in leaving:
            self._remove_folders_of(path)

    @property
    def unsettled(self) -> str:
        """Where what was there before is, if it could be put back no more."""
        return f"{self.name}/{self._unfinished}/old" if self._unsettled else ""

    def _move(self, source: str, to: str) -> None:
        if self._disk:
            Path(self._path(to)).parent.mkdir(parents=True, exist_ok=True)
            # The system's own, which takes a link for what it is, and no folder's name.
            Path(self._path(source)).rename(self._path(to))
        else:
            self._files.move(self._path(source), self._path(to))

    def _remove_folders_of(self, path: str) -> None:
        """Removes the folders of a file that are empty now."""
        if self._disk:
            for folder in [*Path(path).parents][:-1]:
                with suppress(OSError):
                    Path(self._path(str(folder))).rmdir()

    def clear(self) -> None:
        """Removes what has no name, and a folder that was made for nothing."""
        if self._begun and not self._unsettled:
            with self._named(), suppress(FileNotFoundError):
                self._files.delete_dir(self._path(self._unfinished))
            if self._is_new:
                with suppress(OSError):
                    Path(self._root).rmdir()

    def _path(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    @contextmanager
    def _named(self, path: str = "") -> Iterator[None]:
        try:
            yield
        except DatagenError:
            raise
        except OSError as error:
            raise _error(error, f"{self.name}/{path}" if path else self.name) from error


class Output(io.RawIOBase):
    """Takes the bytes of one file, and none once it is abandoned."""

    _bytes = 0
    _abandoned = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._bytes

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if not self._abandoned:
            self._put(data)
            self._bytes += size
        return size

    @abstractmethod
    def _put(self, data: Any) -> None: ...

    @abstractmethod
    def finish(self) -> Whole:
        """Returns once all bytes are there for good."""

    def abandon(self) -> None:
        """Lets go of a file that will not be finished."""
        self._abandoned = True


class Descriptor(Output):
    """An open file descriptor, such as standard output: what is written is there at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: Any) -> int:
        # What is out is known as far as that when a signal ends the run.
        rest = memoryview(data).cast("B")
        for first in range(0, len(rest), _PIECE):
            super().write(rest[first : first + _PIECE])
        return len(rest)

    def _put(self, data: Any) -> None:
        write_out(self._descriptor, data)

    def finish(self) -> Whole:
        return Whole("", self._bytes, "")


class Unfinished(Output):
    """A file that has no name yet."""

    def __init__(self, path: str, out: Any, named: Callable[[str], Any], synced: str) -> None:
        self._path, self._out, self._named, self._synced = path, out, named, synced
        self._sum = hashlib.sha256()

    def _put(self, data: Any) -> None:
        with self._named(self._path):
            self._out.write(data)
        self._sum.update(data)

    def finish(self) -> Whole:
        with self._named(self._path):
            self._out.close()
            if self._synced:
                descriptor = os.open(self._synced, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        return Whole(self._path, self._bytes, self._sum.hexdigest())

    def abandon(self) -> None:
        super().abandon()
        with suppress(OSError):
            self._out.close()


def _file_system(location: str) -> tuple[Any, str]:
    """Pyarrow's file system for a location, and the path there."""
    import pyarrow as pa
    from pyarrow import fs

    if _URL.match(location) is None:
        try:
            return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
        except RuntimeError:  # a user whom the system does not know
            raise ConfigurationError(f"{location}: there is no such home") from None
    try:
        # Pyarrow knows schemes in small letters alone.
        scheme, mark, rest = location.partition("://")
        files, path = fs.FileSystem.from_uri(scheme.lower() + mark + rest)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"{shown(location)}: {_words(error)}") from None
    return files, str(path)


def _error(error: OSError, where: str) -> DatagenError:
    """An error of a file system, by what a caller can do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return RejectedError(f"{where}: {error.strerror or 'no space left'}; nothing was kept")
    # ENOTEMPTY is what a folder has that stands where a file should be.
    if error.errno in {
        errno.ENOTEMPTY,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }:
        return ConfigurationError(f"{where}: {error.strerror or _words(error)}")
    if error.errno == errno.ENOENT:
        return ConfigurationError(f"{where}: no such folder")
    if _REFUSED.search(str(error)):
        return ConfigurationError(f"{where}: {_words(error)}")
    return UnreachableError(f"{where}: {_words(error)}")


def _words(error: Exception) -> str:
    """What a library says, on one line and without secrets."""
    return _without_secrets(" ".join(str(error).split()))[:300]


def _without_secrets(text: str) -> str:
    return Secrets(os.environ.get(name, "") for name in _SECRET)(text)
