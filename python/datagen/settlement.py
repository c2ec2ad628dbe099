"""How a run ended: what each sink holds of it, and whether it may be run again.

A settlement is made once, when a run is over, from what the server of a COMMIT and the delivery
reports of the events have said. Nothing else in a run says what arrived, so that there is one set
of figures.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ._words import worded

__all__ = [
    "Committed",
    "Delivered",
    "Outcome",
    "Settlement",
    "TopicSettlement",
    "attach",
    "settlement_of",
]

#: What became of the rows: they are committed, none of them is, or the answer to COMMIT got lost; or some went
#: where nothing can be taken back.
Outcome = Literal["committed", "nothing", "unknown", "partial"]

_OUTCOMES: dict[Outcome, str] = {
    "committed": "all rows committed",
    "nothing": "nothing committed",
    "unknown": "whether the rows are committed is not known",
    "partial": "an output that is not whole",
}


@dataclass(frozen=True)
class Committed:
    """What a sink that takes all rows or none has of a run.

    An output that takes nothing back, such as a pipe, may have a part of the rows: ``written`` says what.

    ``replaces`` says whether the run replaces the rows that are there: then rows that are committed
    do not stand in the way of the same run. ``skip`` is the option that leaves the sink out.
    """

    name: str
    title: str
    outcome: Outcome
    replaces: bool
    skip: str
    rows: Mapping[str, int] = field(default_factory=dict)
    written: str = ""

    @property
    def complete(self) -> bool:
        return self.outcome == "committed"

    @property
    def sentence(self) -> str:
        return f"{self.title}: {_OUTCOMES[self.outcome]}{self.written and ': '}{self.written}."

    def lines(self) -> list[str]:
        return []

    def as_json(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "rows": dict(self.rows)}


@dataclass(frozen=True)
class TopicSettlement:
    """What became of the planned events of one topic; the counts add up to ``planned``.

    ``refused`` events were answered with an error and are not there. ``unknown`` ones were sent, and
    no answer has come: they may be there. ``perhaps_twice`` of the acknowledged ones were sent
    again after an answer got lost.
    """

    topic: str
    planned: int
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    perhaps_twice: int = 0

    @property
    def not_sent(self) -> int:
        return self.planned - self.acknowledged - self.refused - self.unknown

    @property
    def arrived(self) -> int:
        """Events that are in the topic, or may be."""
        return self.acknowledged + self.unknown


@dataclass(frozen=True)
class Delivered:
    """What a sink that adds events one by one has of a run: the same events again are there twice."""

    name: str
    title: str
    topics: tuple[TopicSettlement, ...]
    #: Whether it is the receipt of an attempt before alone that says so, since what is there was not looked for.
    by_receipt: bool = False

    @property
    def planned(self) -> int:
        return sum(one.planned for one in self.topics)

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged for one in self.topics)

    @property
    def arrived(self) -> int:
        return sum(one.arrived for one in self.topics)

    @property
    def complete(self) -> bool:
        return self.acknowledged == self.planned

    @property
    def sentence(self) -> str:
        said = f"{self.title}: {self.acknowledged} of {self.planned} planned events acknowledged"
        if self.by_receipt:
            said += ", as the earlier attempt's receipt says; what is there was not looked for"
        return f"{said}."

    def lines(self) -> list[str]:
        return [
            f"  {one.topic}: planned {one.planned}, acknowledged {one.acknowledged}, "
            f"refused {one.refused}, unknown {one.unknown}"
            + (f", perhaps twice {one.perhaps_twice}" if one.perhaps_twice else "")
            for one in self.topics
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "planned": self.planned,
            "acknowledged": self.acknowledged,
            "refused": sum(one.refused for one in self.topics),
            "unknown": sum(one.unknown for one in self.topics),
            "topics": {
                one.topic: {
                    "planned": one.planned,
                    "acknowledged": one.acknowledged,
                    "refused": one.refused,
                    "unknown": one.unknown,
                    "not_sent": one.not_sent,
                    "perhaps_twice": one.perhaps_twice,
                }
                for one in self.topics
            },
        }


@dataclass(frozen=True)
class Settlement:
    """What one run left behind, by sink.

    ``objection`` says that a service, or a check, objected to what it was given, and would again. ``receipt`` is the
    path of the receipt by which the run can be resumed. Of one that ``stays`` what is there is not written again when it is begun again.
    """

    sinks: tuple[Committed | Delivered, ...]
    objection: bool = False
    receipt: str = ""
    stays: bool = False

    @property
    def _committed(self) -> list[Committed]:
        return [one for one in self.sinks if isinstance(one, Committed)]

    @property
    def _delivered(self) -> list[Delivered]:
        return [one for one in self.sinks if isinstance(one, Delivered)]

    @property
    def arrived(self) -> int:
        """Events that are in a topic, or may be."""
        return sum(one.arrived for one in self._delivered)

    @property
    def complete(self) -> bool:
        """Whether every row is committed and every event acknowledged."""
        return all(one.complete for one in self.sinks)

    @property
    def repeatable(self) -> bool:
        """Whether the same load, run again, ends with every row and event there once."""
        if self.stays:
            return not self.complete
        in_the_way = [one for one in self._staying if not one.replaces]
        return not self.complete and not self.arrived and not in_the_way

    @property
    def _staying(self) -> list[Committed]:
        """Sinks where rows of this run are, or may be."""
        return [one for one in self._committed if one.outcome in ("committed", "unknown")]

    @property
    def advice(self) -> str:
        """What to do next, in one or two sentences."""
        if self.complete:
            return self._all_there()
        if self.stays:
            what = "Once the cause is mended, the" if self.objection else "The"
            return f"{what} same {worded('command', 'load')} can be repeated: what is there of it stays."
        if self.receipt and not self.repeatable:
            return self._resume()
        if not self.arrived:
            return self._nothing_arrived()
        done = [one for one in self._committed if one.complete]
        added = worded(f" and {_skips(done)} added", f", and {_left_out(done)}") if done else ""
        names = " ".join(
            topic.topic for one in self._delivered for topic in one.topics if topic.arrived
        )
        return (
            "Do not run it again as it is: events that arrived would be there twice. Delete the "
            f"topics that have some ({names}), then run this {worded('command', 'load')} with the same "
            f"seed and options{added}; or keep them and let consumers drop doubles by ce_id."
        )

    def _all_there(self) -> str:
        if not self._delivered:
            return "Every row is committed: nothing is left to do."
        if self.stays:
            return (
                "Everything is there; the same load, begun again, finds that out and adds nothing."
            )
        what = "committed and acknowledged" if self._committed else "acknowledged"
        return f"Everything was {what}; do not repeat: each event would be there twice."

    def _resume(self) -> str:
        how = worded(
            f"datagen load --resume {shlex.quote(self.receipt)}",
            f"resume=Receipt.read(Path({self.receipt!r})) in its Load",
        )
        when = "Once the cause is mended, resume it" if self.objection else "Resume it"
        return (
            f"{when} with {how}: what is there stays, and what is missing is added. Do not run it again as it was: "
            "events that arrived would be there twice."
        )

    def _nothing_arrived(self) -> str:
        if self.repeatable:
            what = "No event arrived" if self._staying else "Nothing was loaded"
            if any(one.outcome == "partial" for one in self._committed):
                what = "Discard what was written"
            when = "once the cause is mended, " if self.objection else ""
            return f"{what}: {when}the same {worded('command', 'load')} can be repeated."
        done = worded(
            f"run the same command with {_skips(self._staying)} for the events",
            f"run the same load {_left_out(self._staying)} for the events",
        )
        if all(one.complete for one in self._staying):
            return f"The rows are there: {done}."
        if not self._delivered:
            done = "nothing is left to do"
        return f"Look whether the rows are there: if so, {done}; if not, run it as it was."

    @property
    def sentence(self) -> str:
        """All sinks in one line."""
        return " ".join(one.sentence for one in self.sinks)

    def lines(self) -> list[str]:
        """The settlement in plain words."""
        return [self.sentence, *(line for one in self.sinks for line in one.lines()), self.advice]

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON has; each sink by its name."""
        return {
            **{one.name: one.as_json() for one in self.sinks},
            "repeatable": self.repeatable,
            "advice": self.advice,
        }


def _skips(sinks: list[Committed]) -> str:
    return " and ".join(one.skip for one in sinks)


def _left_out(sinks: list[Committed]) -> str:
    return f"without {' and '.join(repr(one.name) for one in sinks)} among its targets"


def attach(error: BaseException, settlement: Settlement) -> None:
    """Gives the exception that ends a run its settlement."""
    error.settlement = settlement  # type: ignore[attr-defined]


def settlement_of(error: BaseException) -> Settlement | None:
    """The settlement of the run that this exception has ended; None if the run had not begun."""
    found = getattr(error, "settlement", None)
    return found if isinstance(found, Settlement) else None
