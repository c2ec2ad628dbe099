"""``python -m datagen.local._worker``: a command of the stack that root gives, done as another.

What only root may read is read first: modules are imported, and programs that the account cannot
run are offered to it through a pipe. Then the process becomes the account, for good, and from
there on does what an ordinary user's command does. It says one JSON object a line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import ConfigurationError, DatagenError

# They may have to run in a copy of this process.
from . import proxy as _proxy  # noqa: F401
from . import registry as _registry  # noqa: F401
from .stack import account_name, down_here, find_programs, up_here

if TYPE_CHECKING:
    from ._recipe import Program

#: What is imported later on, by functions.
_MODULES = (
    *("confluent_kafka", "confluent_kafka.admin", "psycopg", "urllib.request"),
    *("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8"),
    *("importlib.metadata", "pwd", "fcntl", "traceback", "linecache"),
)
#: Python 3.11.0 to 3.11.3 have no filters for archives.
_FILTER: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def report(text: str) -> None:
    say(report=text)


def main() -> None:
    verb, home, uid, gid = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    os.umask(0o077)
    try:
        if verb == "up":
            _up(home, uid, gid)
        else:
            become(uid, gid, home)
            say(stopped=down_here(home, report))
    except DatagenError as error:
        say(error=type(error).__name__, message=str(error))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)  # root's command has been ended, and no process reads the answer
    except OSError as error:
        say(error="ConfigurationError", message=f"the local stack cannot be run: {error}")


def _up(home: Path, uid: int, gid: int) -> None:
    programs = find_programs()
    for name in _MODULES:
        importlib.import_module(name)
    offers = {
        name: offer(program)
        for name, program in programs.items()
        if not can_run(program.path, uid, gid)
    }
    become(uid, gid, home)
    paths = {name: program.path for name, program in programs.items()}
    for name, descriptor in offers.items():
        with os.fdopen(descriptor, "rb") as stream:
            paths[name] = take(programs[name], stream, home / "server")
    stack = asdict(up_here(home, paths, report))
    for service in stack["services"]:
        service["log"] = str(service["log"])
    say(stack=stack)


def can_run(program: Path, uid: int, gid: int) -> bool:
    """Whether the account may run a program and finds the libraries for it."""
    try:
        done = subprocess.run(
            [program, "--version"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=30,
            user=uid,
            group=gid,
            extra_groups=[],
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode not in (126, 127)  # as shells and loaders say it


def offer(program: Program) -> int:
    """What reads a tar of the program's parts; it is root who packs them, if it is read."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return reading
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(writing, 3)
        os.closerange(4, 65_536)
        with os.fdopen(3, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as archive:
            for part in program.parts:
                archive.add(part, arcname=part.name)
    except BaseException:  # noqa: BLE001 - nothing of the caller's may run here
        os._exit(1)
    finally:
        os._exit(0)


def take(program: Program, stream: Any, folder: Path) -> Path:
    """The copy of a program in ``folder``, made from the stream if it is not there."""
    target = folder / program.name
    if not target.exists():
        report(f"copying {program.path.name}, which {account_name(os.geteuid())} cannot run")
        unfinished = folder / f"{program.name}.{secrets.token_hex(4)}"
        unfinished.mkdir(mode=0o700, parents=True)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:  # which root has packed
                    archive.extract(member, unfinished, **_FILTER)
            unfinished.rename(target)
        except (OSError, tarfile.TarError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not target.exists():  # which another command may have made meanwhile
                raise ConfigurationError(
                    f"{program.path} cannot be copied to {folder} ({error})"
                ) from error
    return program.within(target).path


def become(uid: int, gid: int, home: Path) -> None:
    """Becomes the account, with no way back and no group or setting of root's."""
    try:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    except OSError as error:
        raise ConfigurationError(
            f"root cannot become {account_name(uid)} here ({error.strerror}); run `datagen local` "
            "as an ordinary user"
        ) from error
    if 0 in (os.getuid(), os.geteuid()):
        raise ConfigurationError("the services do not run as root")
    os.environ["HOME"] = str(home)
    with contextlib.suppress(OSError):
        os.chdir(home)


if __name__ == "__main__":
    main()
