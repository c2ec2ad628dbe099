"""Servers for fixtures: started, closed again, and absent with a reason."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from services._errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from services._service import Startable

    S = TypeVar("S", bound=Startable)

    class Running(Protocol):
        """What `running` is, as fixtures give it."""

        def __call__(self, service: S, instead: str = "") -> AbstractContextManager[S]: ...


CI = os.environ.get("CI", "").lower() in {"1", "true"}


@contextmanager
def running(service: S, instead: str = "") -> Iterator[S]:
    """A started service, unless it is `absent`."""
    try:
        with absent(instead):
            service.start()
        yield service
    finally:
        service.close()


@contextmanager
def absent(instead: str = "") -> Iterator[None]:
    """Where the machine cannot run a service, what needs it is skipped, or fails in CI.

    `instead` says what else the user can do.
    """
    try:
        yield
    except ServiceUnavailableError as missing:
        if CI:
            raise
        pytest.skip(f"{missing}{instead}")
