"""What the stages of a run have done: as it goes, and in the end."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ..sinks.base import Part, Stage, StageReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..settlement import Settlement
    from ..sinks.base import Progress

__all__ = ["GENERATE", "RunReport", "StageLog"]

#: The stage of a run that only makes rows.
GENERATE: Final = Stage("generate", title="Generating", unit="rows", summary="Generation")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReport:
    """What a run did, by stage. Rows of tables that no sink takes are in the stage ``generate``.

    A fast load makes master rows before the stage that takes them, and meanwhile.
    """

    stages: tuple[StageReport, ...]
    settlement: Settlement
    seconds: float

    def __getitem__(self, name: str) -> StageReport:
        return next(one for one in self.stages if one.stage.name == name)

    @property
    def rows(self) -> int:
        """Rows and events that sinks have taken."""
        return sum(one.rows for one in self.stages if one.stage is not GENERATE)

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.stages)

    @property
    def uncounted(self) -> str:
        """Why services could not be counted after everything had arrived, or nothing."""
        return "; ".join(one.uncounted for one in reversed(self.stages) if one.uncounted)

    def as_json(self, unused: Mapping[str, Any]) -> dict[str, Any]:
        """Checks, times and how rows were sent, as values that JSON has.

        ``unused`` are the facts of sinks that took no part.
        """
        checks = {
            check.name: {"expected": check.expected, "found": check.found, "ok": check.ok}
            for one in self.stages
            for check in one.checks
        }
        used = {name: value for one in self.stages for name, value in one.facts.items()}
        return {
            "ok": self.ok,
            "checks": checks,
            "uncounted": self.uncounted or None,
            **unused,
            **used,
            "seconds": round(self.seconds, 3),
            "seconds_of": {one.stage.name: round(one.seconds, 3) for one in self.stages},
        }


class StageLog:
    """The parts of each stage that are done, and its seconds, which a display is told of too."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._parts: dict[Stage, list[Part]] = {}
        self._seconds: dict[Stage, float] = {}

    def start(self, stage: Stage, name: str, rows: int) -> None:
        """Says that a part starts, of so many rows."""
        self._progress.start(stage, name, rows)

    def advance(self, rows: int) -> None:
        self._progress.advance(rows)

    def finish(self, stage: Stage, part: Part) -> None:
        """Takes note that a part is done."""
        self._parts.setdefault(stage, []).append(part)
        _log.debug("%s %s: %d rows, %.3f s", stage.title, part.name, part.rows, part.seconds)
        self._progress.finish(stage, part)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Counts the seconds of a stage."""
        began = time.perf_counter()
        yield
        self.add_seconds(stage, time.perf_counter() - began)

    def add_seconds(self, stage: Stage, seconds: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0) + seconds

    def rows(self) -> dict[str, int]:
        """The rows of each part, as far as the stages have come."""
        rows: dict[str, int] = {}
        for parts in self._parts.values():
            for part in parts:
                rows[part.name] = max(rows.get(part.name, 0), part.rows)
        return rows

    def reports(self, verified: Mapping[Stage, StageReport]) -> tuple[StageReport, ...]:
        """The reports of all stages, with what their sinks hold in the end."""
        return tuple(
            replace(
                verified.get(stage) or StageReport(stage, (), 0.0),
                parts=tuple(parts),
                seconds=self._seconds[stage],
            )
            for stage, parts in self._parts.items()
        )
