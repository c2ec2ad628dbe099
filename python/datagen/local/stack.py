"""Start, describe and stop the local stack.

What runs is written in ``HOME/stack.json``: for each service its pid, the start time of that
process and its port. A process is ours only if both pid and start time still match. The ports stay
in ``HOME/ports.json``, so that a stack which was down comes up where it was.

Everything below HOME is done by the account that owns HOME, and each service runs as it. Root
is no exception: what it is asked for, it has done by that account (see ``_root``).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datagen._files import open_own, read_own, write_whole
from datagen.errors import ConfigurationError, UnreachableError

from . import _broker, _postgres, _registry
from ._process import choose_port, held_signals, is_listening, last_line, spawn, started_at, stop
from ._recipe import Program, Recipe, Report, Started

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES: tuple[Recipe, ...] = (_postgres.Postgres(), _broker.Broker(), _registry.Registry())
Programs = Mapping[str, Path]
"""The executable of each service that has one."""
#: How ``stack.json`` is laid out. Those of earlier versions say nothing of it.
_FORMAT = 2
_PORTS = "ports.json"
_PATIENCE = 60.0  # seconds until a service must answer
_LOCK_PATIENCE = 300.0  # seconds until another command must have ended
_ATTEMPTS = 3  # ports that are tried, when others take them first


@dataclass(frozen=True)
class Service:
    """One server of the stack; ``address`` is host:port, a URL for the schema registry."""

    name: str
    address: str
    pid: int
    running: bool
    log: Path


@dataclass(frozen=True)
class Stack:
    """Where the local services are, in the form that clients want."""

    postgres_url: str
    kafka_bootstrap: str
    schema_registry: str
    services: tuple[Service, ...]

    @property
    def whole(self) -> bool:
        """Whether every service runs."""
        names = {service.name for service in self.services if service.running}
        return names == {recipe.name for recipe in RECIPES}


@dataclass(frozen=True)
class _Entry:
    """What ``stack.json`` remembers of a service."""

    pid: int
    started: str
    port: int

    def __post_init__(self) -> None:
        if not (type(self.pid) is int and self.pid > 1):
            raise ValueError(f"{self.pid!r} is no pid")
        if type(self.started) is not str or not self.started:
            raise ValueError(f"{self.started!r} is no start time")
        if not (type(self.port) is int and 0 < self.port < 65_536):
            raise ValueError(f"{self.port!r} is no port")

    def is_running(self) -> bool:
        return started_at(self.pid) == self.started


class _State(dict[str, _Entry]):
    """What ``stack.json`` holds; ``earlier`` is True for that of an earlier version."""

    earlier = False


def find_programs() -> dict[str, Program]:
    """The programs of the services; ConfigurationError if the extra is not installed."""
    if os.name != "posix":
        raise ConfigurationError(
            "the local stack runs on Linux and macOS; use Docker Compose or your own services here"
        )
    found = {recipe.name: recipe.find() for recipe in RECIPES}
    return {name: program for name, program in found.items() if program is not None}


def up_here(folder: Path, programs: Programs, report: Report) -> Stack:
    """What :func:`up` does, as the account that we are."""
    _prepare_home(folder)
    with locked(folder, report):
        state = _read(folder, os.geteuid())
        if state.earlier and any(entry.is_running() for entry in state.values()):
            report("stopping the stack that an earlier version has started")
            _stop(folder, state, [recipe.name for recipe in reversed(RECIPES)])
        missing = [recipe for recipe in RECIPES if not _is_running(state, recipe.name)]
        if missing:
            _start(folder, state, missing, programs, report)
            ports = {name: entry.port for name, entry in state.items()}
            write_whole(folder / _PORTS, json.dumps(ports).encode() + b"\n", mode=0o600)
        else:
            report("the local stack is already up")
        return _describe(folder, state)


def down_here(folder: Path, report: Report) -> list[str]:
    """What :func:`down` does, as the account that we are."""
    check_own(folder)
    with locked(folder, report):
        state = _read(folder, os.geteuid())
        return _stop(folder, state, [recipe.name for recipe in reversed(RECIPES)])


def status_of(folder: Path, owner: int) -> Stack | None:
    """The stack in a folder of its own, or None when no service of it runs."""
    state = _read(folder, owner)
    if not any(entry.is_running() for entry in state.values()):
        return None
    return _describe(folder, state)


def is_up(folder: Path, owner: int) -> Stack | None:
    """The stack if all of it runs already and nothing of it is an earlier version's."""
    state = _read(folder, owner)
    if state.earlier or not all(_is_running(state, recipe.name) for recipe in RECIPES):
        return None
    return _describe(folder, state)


def _start(
    folder: Path, state: _State, recipes: list[Recipe], programs: Programs, report: Report
) -> None:
    """Start all, then wait for each: the quick ones come up while initdb is at work."""
    begun: list[str] = []
    ports = _ports(folder)

    def begin(recipe: Recipe) -> None:
        program = programs.get(recipe.name, Path())
        recipe.prepare(folder, program, report)
        wanted = ports.get(recipe.name, recipe.default_port)
        if recipe.name in state:
            wanted = state[recipe.name].port
        port = choose_port(wanted, [state[name].port for name in begun if name != recipe.name])
        if port != wanted:
            report(f"{recipe.name}: port {wanted} is taken, using {port}")
        command = recipe.command(folder, program, port)
        with held_signals():
            try:
                pid = spawn(command, folder, _log(folder, recipe.name))
            except OSError as error:
                raise UnreachableError(f"{recipe.name} cannot be run: {error}") from error
            # A process that is gone already has no start time; the wait below says so.
            state[recipe.name] = _Entry(pid, started_at(pid) or "gone", port)
            begun.append(recipe.name)
            _write(folder, state)

    try:
        for recipe in sorted(recipes, key=lambda recipe: recipe.name == "postgres"):
            begin(recipe)
        for recipe in recipes:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    _wait(folder, recipe, state[recipe.name])
                    break
                except UnreachableError:
                    entry = state[recipe.name]
                    if entry.is_running() or not is_listening(entry.port) or attempt == _ATTEMPTS:
                        raise
                    # Another program was quicker: the port was free when it was chosen.
                    begin(recipe)
            entry = state[recipe.name]
            report(f"{recipe.name}: up at {_address(recipe.name, entry.port)} (pid {entry.pid})")
    except BaseException:  # Ctrl-C as well: nothing half-started stays behind
        _stop(folder, state, begun)
        raise


def _wait(folder: Path, recipe: Recipe, entry: _Entry) -> None:
    deadline = time.monotonic() + _PATIENCE
    log = _log(folder, recipe.name)
    started = Started(folder, entry.port, entry.pid)
    while True:
        if not entry.is_running():
            raise UnreachableError(f"{recipe.name} did not start; see {log}: {last_line(log)}")
        if recipe.is_ready(started):
            return
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{recipe.name} did not answer at port {entry.port} within {_PATIENCE:.0f} s; "
                f"see {log}: {last_line(log)}"
            )
        time.sleep(0.02)


def _stop(folder: Path, state: _State, names: list[str]) -> list[str]:
    """Stop these services, forget them in ``state`` and its file, return which were running."""
    stopped = []
    for name in names:
        entry = state.get(name)
        if entry is not None and entry.is_running():
            signals = next(recipe.signals for recipe in RECIPES if recipe.name == name)
            try:
                gone = stop(entry.pid, entry.started, signals)
            except PermissionError as error:
                raise ConfigurationError(
                    f"{name} (pid {entry.pid}) was started by another user; stop it as that user"
                ) from error
            if not gone:
                raise UnreachableError(f"{name} (pid {entry.pid}) does not stop")
            stopped.append(name)
        state.pop(name, None)
        _write(folder, state)
    return stopped


def _is_running(state: _State, name: str) -> bool:
    return name in state and state[name].is_running()


def _describe(folder: Path, state: _State) -> Stack:
    ports = {
        recipe.name: state[recipe.name].port if recipe.name in state else recipe.default_port
        for recipe in RECIPES
    }
    return Stack(
        postgres_url=_postgres.url(ports["postgres"]),
        kafka_bootstrap=_broker.bootstrap(ports["kafka"]),
        schema_registry=_registry.url(ports["schema-registry"]),
        services=tuple(
            Service(
                name=recipe.name,
                address=_address(recipe.name, state[recipe.name].port),
                pid=state[recipe.name].pid,
                running=state[recipe.name].is_running(),
                log=_log(folder, recipe.name),
            )
            for recipe in RECIPES
            if recipe.name in state
        ),
    )


def _address(name: str, port: int) -> str:
    """Where a service is, without a password."""
    return _registry.url(port) if name == "schema-registry" else _broker.bootstrap(port)


def _prepare_home(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_own(folder)
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{account_name(os.geteuid())} cannot use the folder {folder} ({error.strerror}); set "
        "DATAGEN_HOME to a folder of that user, or to one that is not there yet"
    )


def check_is_folder(folder: Path, found: os.stat_result) -> None:
    """Raise ConfigurationError for a file, or anything else that is no folder."""
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"{folder} is no folder; set DATAGEN_HOME to one")


def check_own(folder: Path) -> None:
    """Raise ConfigurationError unless the folder is ours and no other account can write to it."""
    import pwd

    try:
        found = folder.stat()
        readable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise unusable(folder, error) from error
    check_is_folder(folder, found)
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"the folder {folder} belongs to {account_name(found.st_uid)}: run `datagen local` as "
            "that user, or set DATAGEN_HOME to a folder of your own"
        )
    if not readable:
        raise ConfigurationError(f"the folder {folder} is closed to you; run: chmod u+rwx {folder}")
    try:
        own_groups = {0, pwd.getpwuid(found.st_uid).pw_gid}
    except KeyError:
        own_groups = {0}
    shared = found.st_mode & stat.S_IWGRP and found.st_gid not in own_groups
    if found.st_mode & stat.S_ISVTX and found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"{folder} is for everybody; set DATAGEN_HOME to a folder in it that is not there yet"
        )
    if shared or found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"others may write to the folder {folder}, and so into what is kept there; "
            f"run: chmod go-w {folder}"
        )


def account_name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _log(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


@contextlib.contextmanager
def locked(folder: Path, report: Report) -> Iterator[None]:
    """One command at a time; the lock goes with the process, however it ends."""
    try:
        descriptor = open_own(folder / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        take_lock(descriptor, _LOCK_PATIENCE, report)
        yield
    finally:
        os.close(descriptor)


def take_lock(descriptor: int, patience: float, report: Report) -> None:
    """Lock what is open, once other commands have done with it; UnreachableError in time."""
    import fcntl

    deadline = time.monotonic() + patience
    warned = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        if not warned:
            report("waiting for another `datagen local` command")
            warned = True
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"another `datagen local` command has not ended within {patience:.0f} s"
            )
        time.sleep(0.05)


def _read(folder: Path, owner: int) -> _State:
    path = folder / "stack.json"
    try:
        content = json.loads(read_own(path, owner))
        state = _State()
        for recipe in RECIPES:
            if recipe.name in content["services"]:
                state[recipe.name] = _Entry(**content["services"][recipe.name])
        state.earlier = content.get("format") != _FORMAT
    except FileNotFoundError:
        return _State()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); remove it") from error
    return state


def _ports(folder: Path) -> dict[str, int]:
    """The ports that the services had when they were last up; none where that is not known."""
    try:
        found = json.loads(read_own(folder / _PORTS, os.geteuid())).items()
        return {str(name): port for name, port in found if type(port) is int and 0 < port < 65_536}
    except (OSError, ValueError, AttributeError):
        return {}


def _write(folder: Path, state: _State) -> None:
    path = folder / "stack.json"
    if not state:
        path.unlink(missing_ok=True)
        return
    services = {name: asdict(entry) for name, entry in state.items()}
    content = {"format": _FORMAT, "services": services}
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode(), mode=0o600)
