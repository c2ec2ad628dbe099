"""How far a stream has come, in a small file: enough to go on exactly there, on another day."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ._core import Plan
from ._files import read_whole, reason, write_whole
from .errors import ConfigurationError, DatagenError
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Position", "instant_text", "millis_of", "moment"]

#: The layout of the file.
_FORMAT: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def millis_of(instant: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def moment(millis: int) -> datetime:
    """Aware, in UTC."""
    return _EPOCH + timedelta(milliseconds=millis)


def instant_text(instant: datetime) -> str:
    """As the command takes it."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class Position:
    """All events of the plan before ``time`` are there for good, and none from it on was sent.

    Where a process ends at once, what it had sent since then is behind the ``marks`` of its sinks, by name.
    ``options`` are those of the command that the stream was begun with, as JSON has them; none is a
    secret. ``events`` counts what has been sent of each stream, and ``follows`` names the sinks whose tables
    follow: these have all changes before ``time``, and know themselves how many more. One that is not ``loaded`` was written
    before the tables were, which may be there or not, or in part, as of ``start``; no event was sent.
    """

    plan: Plan
    from_customer: int
    time: datetime
    start: datetime
    marks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    follows: tuple[str, ...] = ()
    loaded: bool = True

    def write(self, path: Path) -> None:
        """Replaces the file; raises ``ConfigurationError`` where it cannot be written."""
        content = {
            "format": _FORMAT,
            "catalogue": catalogue().version,
            "plan": {
                "seed": self.plan.seed,
                "customers": self.plan.customers,
                "from_customer": self.from_customer,
                "as_of": instant_text(self.plan.as_of),
                "days": self.plan.days,
                "labels": self.plan.labels,
            },
            "time": instant_text(self.time),
            "start": instant_text(self.start),
            "written": instant_text(datetime.now(UTC)),
            "events": dict(self.events),
            "marks": self.marks,
            "options": self.options,
            "follows": [*self.follows],
            "loaded": self.loaded,
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        try:
            write_whole(path, text.encode() + b"\n")
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the position cannot be written ({reason(error)})"
            ) from None

    @classmethod
    def read(cls, path: Path) -> Position:
        """The position that a file holds.

        Raises ``ConfigurationError`` for a file that is none, or is one of another version of datagen.
        """
        try:
            text = read_whole(path)
        except OSError as error:
            raise ConfigurationError(f"{path}: no position can be read ({reason(error)})") from None
        try:
            content = json.loads(text)
            versions = content["format"], content["catalogue"]
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"{path} is not the position of a stream") from None
        if versions[0] != _FORMAT:
            raise ConfigurationError(
                f"{path} has the position format {versions[0]}, and this version of datagen reads "
                f"{_FORMAT}; go on with the version that wrote it, or begin a new stream"
            )
        if versions[1] != catalogue().version:
            raise ConfigurationError(
                f"{path} is of version {versions[1]} of the catalogue, and this datagen makes version "
                f"{catalogue().version}, whose values differ; go on with the version that wrote it, or begin "
                "a new stream"
            )
        try:
            plan = content["plan"]
            return cls(
                plan=Plan(
                    plan["seed"],
                    plan["customers"],
                    as_of=plan["as_of"],
                    days=plan["days"],
                    labels=plan.get("labels"),
                ),
                from_customer=int(plan["from_customer"]),
                time=datetime.fromisoformat(content["time"]).astimezone(UTC),
                start=datetime.fromisoformat(content["start"]).astimezone(UTC),
                marks={name: dict(mark) for name, mark in content["marks"].items()},
                events={name: int(content["events"].get(name, 0)) for name in content["events"]},
                options=dict(content["options"]),
                follows=tuple(map(str, content.get("follows", ()))),
                loaded=bool(content.get("loaded", True)),
            )
        except (
            *(ValueError, KeyError, TypeError, OverflowError, AttributeError, DatagenError),
        ) as error:
            raise ConfigurationError(
                f"{path} is not a whole position of a stream ({type(error).__name__}: {error})"
            ) from None
