"""Start, describe and stop the local stack.

What runs is written in ``HOME/stack.json``: for each service its pid, the start time of that
process and its port. A process is ours only if both pid and start time still match.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.errors import ConfigurationError, UnreachableError

from . import _broker, _postgres, _registry
from ._process import choose_port, last_line, spawn, started_at, stop
from ._recipe import Recipe, Report, Started, missing_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RECIPES: tuple[Recipe, ...] = (_postgres.Postgres(), _broker.Broker(), _registry.Registry())
_PATIENCE = 60.0  # seconds until a service must answer


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


@dataclass(frozen=True)
class _Entry:
    """What ``stack.json`` remembers of a service."""

    pid: int
    started: str
    port: int

    def is_running(self) -> bool:
        return started_at(self.pid) == self.started


_State = dict[str, _Entry]


def _silent(_: str) -> None:
    pass


def up(home: Path | None = None, *, report: Callable[[str], None] = _silent) -> Stack:
    """Start whatever of the stack is not running, and return once all of it answers.

    ``home`` is the folder for all files (else ``DATAGEN_HOME``, else the user's data folder);
    ``report`` is called with one line for each thing that happens.

    Raises ConfigurationError if the stack cannot run here (the extra ``local`` is missing, a
    folder cannot be used), UnreachableError if a service does not start; then everything that
    this call started has been stopped again.
    """
    folder = _prepare_home(home)
    with _locked(folder, report):
        state = _read(folder)
        missing = [recipe for recipe in _RECIPES if not _is_running(state, recipe.name)]
        if missing:
            _start(folder, state, missing, report)
        else:
            report("the local stack is already up")
        return _describe(folder, state)


def status(home: Path | None = None) -> Stack | None:
    """The stack as it is now, or None when no service of it runs.

    After a crash or a reboot some services may be there with ``running`` False.
    """
    folder = _home(home)
    state = _read(folder)
    if not any(entry.is_running() for entry in state.values()):
        return None
    return _describe(folder, state)


def down(home: Path | None = None, *, report: Callable[[str], None] = _silent) -> list[str]:
    """Stop the services and return the names of those that were running.

    The database files and the registered schemas stay; topics live in memory and are gone.
    """
    folder = _home(home)
    if not folder.is_dir():
        return []
    with _locked(folder, report):
        state = _read(folder)
        return _stop(folder, state, [recipe.name for recipe in reversed(_RECIPES)])


def _start(folder: Path, state: _State, recipes: list[Recipe], report: Report) -> None:
    """Start all, then wait for each: the quick ones come up while initdb is at work."""
    for recipe in recipes:
        recipe.check_installed()
    begun: list[str] = []
    try:
        for recipe in sorted(recipes, key=lambda recipe: recipe.name == "postgres"):
            recipe.prepare(folder, report)
            wanted = state[recipe.name].port if recipe.name in state else recipe.default_port
            port = choose_port(wanted)
            if port != wanted:
                report(f"{recipe.name}: port {wanted} is taken, using {port}")
            try:
                pid = spawn(recipe.command(folder, port), folder, _log(folder, recipe.name))
            except OSError as error:
                raise UnreachableError(f"{recipe.name} cannot be run: {error}") from error
            # A process that is gone already has no start time; the wait below says so.
            state[recipe.name] = _Entry(pid, started_at(pid) or "gone", port)
            begun.append(recipe.name)
            _write(folder, state)
        for recipe in recipes:
            _wait(folder, recipe, state[recipe.name])
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
            signals = next(recipe.signals for recipe in _RECIPES if recipe.name == name)
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
        for recipe in _RECIPES
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
            for recipe in _RECIPES
            if recipe.name in state
        ),
    )


def _address(name: str, port: int) -> str:
    """Where a service is, without a password."""
    return _registry.url(port) if name == "schema-registry" else _broker.bootstrap(port)


def _home(home: Path | None) -> Path:
    chosen = home or os.environ.get("DATAGEN_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if os.name == "posix" and os.geteuid() == 0:
        # PostgreSQL will run as another user, who cannot enter root's own folders.
        return Path("/var/lib/datagen")
    try:
        import platformdirs
    except ImportError:
        raise missing_extra() from None
    return Path(platformdirs.user_data_dir("datagen"))


def _prepare_home(home: Path | None) -> Path:
    if os.name != "posix":
        raise ConfigurationError(
            "the local stack runs on Linux and macOS; use Docker Compose or your own services here"
        )
    folder = _home(home)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o011)  # the user of PostgreSQL passes through
    except OSError as error:
        raise ConfigurationError(f"the folder {folder} cannot be used: {error}") from error
    return folder


def _log(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


@contextlib.contextmanager
def _locked(folder: Path, report: Report) -> Iterator[None]:
    """One command at a time; the lock goes with the process, however it ends."""
    import fcntl

    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another `datagen local` command")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> _State:
    path = folder / "stack.json"
    try:
        services = json.loads(path.read_text(encoding="utf-8"))["services"]
        return {name: _Entry(**entry) for name, entry in services.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); remove it") from error


def _write(folder: Path, state: _State) -> None:
    path = folder / "stack.json"
    if not state:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_suffix(".json.new")
    content = {"services": {name: asdict(entry) for name, entry in state.items()}}
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
