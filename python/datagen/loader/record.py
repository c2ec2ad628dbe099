"""What is known of a run at any moment: its receipt, and what its sinks have."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..receipts import as_text
from ..settlement import Settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..receipts import Ending
    from ..sinks.base import Sink, Window
    from .report import RunReport, StageLog
    from .request import Load

__all__ = ["RunRecord"]


class RunRecord:
    """Writes the receipt of a run, if it has one, with what the sinks know by then."""

    def __init__(
        self, run: Load, window: Window, sinks: Sequence[Sink], log: StageLog, began: float
    ) -> None:
        self._run = run
        self._window = window
        self._sinks = sinks
        self._log = log
        self._began = began
        #: What the work adds to the receipt.
        self.notes: dict[str, Any] = {}
        #: Whether rows or events may be there from here on.
        self.began_to_arrive = False

    def write(self, outcome: Ending, error: str = "") -> None:
        """Writes the receipt as of now."""
        recorder, plan = self._run.recorder, self._run.plan
        if recorder is None:
            return
        rows = self._log.rows()
        content = {
            "plan": {
                "seed": plan.seed,
                "customers": plan.customers,
                "from_customer": self._run.from_customer,
                "as_of": as_text(plan.as_of),
                "days": plan.days,
                **({"labels": plan.labels} if plan.labels else {}),
            },
            "order": self._run.order,
            "seconds": round(time.perf_counter() - self._began, 3),
            "rows": {name: rows[name] for name in plan.names if name in rows},
            "sinks": {sink.stage.name: dict(sink.receipt()) for sink in self._sinks},
            **self.notes,
        }
        recorder.write(outcome, content, error)

    def begin(self) -> None:
        """Says where the run begins before anything arrives, so that the receipt is enough to resume."""
        self.began_to_arrive = True
        if not self._window.open_ended:
            self.write("unfinished")

    def end(self, report: RunReport | None) -> None:
        """Writes the receipt of a run whose work is done; without a report it was interrupted."""
        if report is None:
            self.write("interrupted")
            return
        objection = next((one.objection for one in report.stages if one.objection), "")
        wrong = "" if report.ok else "what the services hold is not what was loaded"
        said = report.uncounted or wrong or objection
        self.write("failed" if said else "ok", said)

    def settlement(self) -> Settlement:
        """What the sinks have of the run, as far as they have said."""
        recorder = self._run.recorder
        resumable = recorder is not None and recorder.written and not self._window.open_ended
        return Settlement(
            tuple(sink.settlement() for sink in self._sinks),
            receipt=str(recorder.path) if recorder and resumable else "",
            stays=(self._run.stays or self._run.resume is not None) and not self._window.open_ended,
        )
