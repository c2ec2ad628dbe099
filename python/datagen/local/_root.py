"""What root asks for, done by the account that owns the files.

PostgreSQL refuses to run as root, and nothing else of the stack should: a caller who
reaches a service and finds a hole in it has what its account has. And a process of that account can put
a link where root is about to write. So root only finds out whose the folder is, gives one that is
new to an account for it, and starts a process that becomes that account before it touches
anything in there (``_worker``).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen import errors
from datagen.errors import ConfigurationError, UnreachableError

from ._process import held_signals, printable
from ._recipe import plain_environment
from .stack import Service, Stack, account_name, check_own, down_here, is_up, take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._recipe import Report

#: The account that is made for the services; it has no password and no shell.
ACCOUNT = "datagen-local"
#: All that a version which ran the services as root has left in its folder.
_EARLIER = {
    *("lock", "logs", "postgres", "server"),
    *("registry.json", "registry.json.new", "stack.json", "stack.json.new"),
}
_CLEANUP_SECONDS = 60.0
_MAX_LINKS = 40  # as Linux has it


@dataclass(frozen=True)
class Account:
    """A user of the operating system."""

    uid: int
    gid: int


def up(folder: Path, report: Report) -> Stack:
    account, folder = claim(folder, report)
    found = is_up(folder, account.uid)
    if found is not None:
        report("the local stack is already up")
        return found
    said = _have_done("up", folder, account, report)["stack"]
    services = (Service(**{**one, "log": Path(one["log"])}) for one in said["services"])
    return Stack(**{**said, "services": tuple(services)})


def down(folder: Path, report: Report) -> list[str]:
    found = _walk(folder, None)
    if found is None:  # root's own: an earlier version's, or of no account
        return down_here(folder, report)
    account, folder = found
    stopped: list[str] = _have_done("down", folder, account, report)["stopped"]
    return stopped


def claim(folder: Path, report: Report) -> tuple[Account, Path]:
    """The account that has the folder, or shall have it from now on; and where links lead to it.

    That is who owns the first folder on the way to it which is not root's. Where all are root's,
    an empty folder, or a new one, is given to the account for the services; nothing else is
    changed. ConfigurationError says why it cannot be.
    """
    found = _walk(folder, report)
    assert found is not None  # noqa: S101 - it has been given to one
    return found


def _walk(folder: Path, report: Report | None) -> tuple[Account, Path] | None:
    """Finds out whose a folder is; gives it away, where it is root's, if there is a ``report``.

    One folder after another is opened, and a link is followed only where root has put it: who owns
    a folder can put anything in the place of what is below it.
    """
    try:
        return _steps(folder, report)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be used ({error.strerror}); set DATAGEN_HOME to one that "
            "is not there yet"
        ) from error


def _steps(folder: Path, report: Report | None) -> tuple[Account, Path] | None:
    path = Path("/")
    descriptor = _open(path)
    closed = None
    left, links = list(folder.parts[1:]), 0
    try:
        while left:
            part = left.pop(0)
            mode = _check(descriptor, path)
            if not mode & stat.S_IXOTH:
                closed = closed or path
            link = _link(part, descriptor, path)
            if link is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = Path(link)
                left = [*(target.parts[1:] if target.is_absolute() else target.parts), *left]
                if target.is_absolute():
                    os.close(descriptor)
                    path, closed = Path("/"), None
                    descriptor = _open(path)
                continue
            inner = _open(part, descriptor)
            if inner is None:
                if report is None:
                    return None
                _check_open(closed, folder)
                with suppress(FileExistsError):  # another command was quicker
                    os.mkdir(part, 0o700, dir_fd=descriptor)
                inner = _open(part, descriptor)
                if inner is None:
                    raise FileNotFoundError(errno.ENOENT, f"{path / part} has gone")
                if left and os.fstat(inner).st_uid == 0:
                    os.fchmod(inner, 0o755)
            os.close(descriptor)
            descriptor, path = inner, path / part
            owner = os.fstat(descriptor).st_uid
            if owner != 0:
                return _account_of(owner, path), path.joinpath(*left)
        return None if report is None else (_give(descriptor, path, closed, report), path)
    finally:
        os.close(descriptor)


def _link(name: str, above: int, path: Path) -> str | None:
    """Where a link leads that root has put in a folder; None if it is no link."""
    try:
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(found.st_mode):
        return None
    if found.st_uid != 0:
        raise ConfigurationError(
            f"{path / name} is a link of {account_name(found.st_uid)}; set DATAGEN_HOME to a folder"
        )
    return os.readlink(name, dir_fd=above)


def _open(name: str | Path, above: int | None = None) -> Any:
    """A descriptor of a folder that is no link; None if it is not there."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=above)
    except FileNotFoundError:
        return None


def _check(descriptor: int, path: Path) -> int:
    """The mode of a folder of root's in which no other account can replace what is there."""
    found = os.fstat(descriptor)
    shared = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != 0)
    if shared and not found.st_mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"others may write to the folder {path}, and so into what is kept there; "
            f"run: chmod go-w {path}"
        )
    return found.st_mode


def _check_open(closed: Path | None, folder: Path) -> None:
    if closed is not None:
        raise ConfigurationError(
            f"the account {ACCOUNT}, which runs the services, cannot enter {closed}, where "
            f"{folder} would be; set DATAGEN_HOME to a folder that everybody can reach"
        )


def _give(descriptor: int, folder: Path, closed: Path | None, report: Report) -> Account:
    """Gives an empty folder of root's to the account for the services."""
    check_own(folder)
    _check_open(closed, folder)
    with _turn(descriptor):
        owner = os.fstat(descriptor).st_uid
        if owner != 0:
            return _account_of(owner, folder)
        found = set(os.listdir(descriptor))
        if not found <= _EARLIER:
            raise ConfigurationError(
                f"{folder} belongs to root and holds other files; the account {ACCOUNT}, which "
                "runs the services, needs a folder of its own: set DATAGEN_HOME to one that is "
                "empty or not there yet"
            )
        account = _service_account(report)
        if found:
            _set_aside(descriptor, folder, found, report)
        os.fchown(descriptor, account.uid, account.gid)
        return account


@contextmanager
def _turn(descriptor: int) -> Iterator[None]:
    """One command of root's at a time looks at a folder and gives it away."""
    take_lock(descriptor, _CLEANUP_SECONDS, lambda _: None)
    yield
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _set_aside(descriptor: int, folder: Path, names: set[str], report: Report) -> None:
    """Stops what an earlier version runs and moves its files out of the way, by name alone."""
    if "stack.json" in names:
        stopped = down_here(folder, report)
        if stopped:
            report(f"stopped {', '.join(stopped)}, which an earlier version has started")
    kept = next(
        name
        for name in ("before", *(f"before-{number}" for number in range(2, 1000)))
        if name not in os.listdir(descriptor)
    )
    os.mkdir(kept, 0o700, dir_fd=descriptor)
    into = _open(kept, descriptor)
    try:
        for name in set(os.listdir(descriptor)) - {kept}:
            os.rename(name, name, src_dir_fd=descriptor, dst_dir_fd=into)
    finally:
        os.close(into)
    report(
        f"the files of an earlier version, which ran as root, are not used any more, and kept in "
        f"{folder / kept}; a new stack is made: load again"
    )


def _account_of(uid: int, path: Path) -> Account:
    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        raise ConfigurationError(
            f"the folder {path} belongs to {account_name(uid)}, and there is no such user here; "
            "set DATAGEN_HOME to another folder"
        ) from None


def _service_account(report: Report) -> Account:
    """The account for the services; it is added if it is not there."""
    problem = ""
    for attempt in range(5):
        try:
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError:
            if attempt == 0:
                report(f"adding the system user {ACCOUNT}, which runs the services")
        else:
            if entry.pw_uid == 0:
                raise ConfigurationError(f"the account {ACCOUNT} is root; it must be a user")
            return Account(entry.pw_uid, entry.pw_gid)
        problem = _add_account()
        # Another command may be adding it, or another account, at the same time.
        time.sleep(0.2 * attempt if problem else 0)
    raise ConfigurationError(
        f"the services do not run as root, and the system user {ACCOUNT} could not be added for "
        f"them ({problem}); add it, or run `datagen local up` as an ordinary user"
    )


def _add_account() -> str:
    """Runs useradd; returns why it failed, or an empty text."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    program = shutil.which("useradd", path=path)
    if program is None:
        return "there is no useradd"
    options = ["--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent"]
    try:
        done = subprocess.run(
            [program, *options, f"--shell={_no_shell()}", ACCOUNT],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return printable((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])


def _no_shell() -> str:
    found = (path for path in ("/usr/sbin/nologin", "/sbin/nologin") if Path(path).exists())
    return next(found, "/bin/false")


def _have_done(verb: str, folder: Path, account: Account, report: Report) -> dict[str, Any]:
    """Starts a process that becomes the account, and hears what it says."""
    # No variable more than it needs: the rest may hold passwords of root's.
    kept = ("CALF_TANSU_BIN", "HOME", "PYTHONHOME")
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    env = {
        **plain_environment(),
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    arguments = [verb, str(folder), str(account.uid), str(account.gid)]
    process: subprocess.Popen[bytes] | None = None
    failed: Exception | None = None
    try:
        with held_signals():
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "datagen.local._worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                cwd="/",
                env=env,
                # Ctrl-C is handed on once, below.
                start_new_session=True,
            )
        for said in _said(process):
            if "report" in said:
                report(printable(str(said["report"])))
            elif "error" in said:
                failed = _error(said)
            else:
                return said
    except OSError as error:
        raise ConfigurationError(f"{sys.executable} cannot be run: {error}") from error
    except BaseException:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
        raise
    finally:
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_CLEANUP_SECONDS)
            if process.stdout is not None:
                process.stdout.close()
    raise failed or UnreachableError(
        f"the process that runs the local stack ended with exit code {process.returncode}"
    )


def _said(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None  # noqa: S101 - asked for above
    for line in process.stdout:
        yield json.loads(line)


def _error(said: dict[str, Any]) -> Exception:
    kind = getattr(errors, str(said["error"]), UnreachableError)
    return kind(printable(str(said["message"]))) if isinstance(kind, type) else UnreachableError()
