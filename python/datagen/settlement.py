"""How a run ended: what PostgreSQL and Kafka hold of it, and whether it may be run again.

A settlement is made once, when a run is over, from what the server of a COMMIT and the delivery
reports of the events have said. Nothing else in a run says what arrived, so that there is one set
of figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .sinks.kafka import TopicDelivery

__all__ = ["Settlement", "Tables", "TopicSettlement", "attach", "settlement_of"]

#: What became of the rows: they are committed, none of them is, or the answer to COMMIT got lost.
Tables = Literal["committed", "nothing", "unknown"]


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

    @classmethod
    def of(cls, topic: str, planned: int, delivery: TopicDelivery | None) -> TopicSettlement:
        if delivery is None:
            return cls(topic, planned)
        return cls(
            topic,
            planned,
            delivery.acknowledged,
            delivery.refused,
            delivery.unknown,
            delivery.perhaps_twice,
        )

    @property
    def not_sent(self) -> int:
        return self.planned - self.acknowledged - self.refused - self.unknown

    @property
    def arrived(self) -> int:
        """Events that are in the topic, or may be."""
        return self.acknowledged + self.unknown


@dataclass(frozen=True)
class Settlement:
    """What one run left behind. ``tables`` or ``topics`` None: the run had nothing for that side.

    ``truncate`` tells whether the run replaces the rows that are there: then rows that are
    committed do not stand in the way of the same run. ``objection`` tells that a service, or a
    check, objected to what it was given, and would again.
    """

    tables: Tables | None
    truncate: bool
    topics: tuple[TopicSettlement, ...] | None
    rows: Mapping[str, int] = field(default_factory=dict)
    objection: bool = False

    @property
    def planned(self) -> int:
        return sum(one.planned for one in self.topics or ())

    @property
    def acknowledged(self) -> int:
        return sum(one.acknowledged for one in self.topics or ())

    @property
    def arrived(self) -> int:
        return sum(one.arrived for one in self.topics or ())

    @property
    def complete(self) -> bool:
        """Whether every row is committed and every event acknowledged."""
        return self.tables in (None, "committed") and self.acknowledged == self.planned

    @property
    def repeatable(self) -> bool:
        """Whether the same command, run again, ends with every row and event there once."""
        return not self.complete and not self.arrived and (self.truncate or not self.rows_stay)

    @property
    def rows_stay(self) -> bool:
        """Whether rows of this run are, or may be, in the way of the same rows."""
        return self.tables in ("committed", "unknown")

    @property
    def advice(self) -> str:
        """What to do next, in one or two sentences."""
        if self.complete:
            return _all_there(self)
        if not self.arrived:
            return _nothing_arrived(self)
        added = " and --skip-postgres added" if self.tables == "committed" else ""
        names = " ".join(one.topic for one in self.topics or () if one.arrived)
        return (
            "Do not run it again as it is: events that arrived would be there twice. Delete the "
            f"topics that have some ({names}), then run this command with the same seed and options{added}; "
            "or keep them and let consumers drop doubles by ce_id."
        )

    @property
    def sentence(self) -> str:
        """Both sides in one line."""
        parts = []
        if self.tables is not None:
            parts.append(f"PostgreSQL: {_TABLES[self.tables]}.")
        if self.topics is not None:
            parts.append(
                f"Kafka: {self.acknowledged} of {self.planned} planned events acknowledged."
            )
        return " ".join(parts)

    def lines(self) -> list[str]:
        """The settlement in plain words."""
        lines = [self.sentence]
        lines += (
            f"  {one.topic}: planned {one.planned}, acknowledged {one.acknowledged}, "
            f"refused {one.refused}, unknown {one.unknown}"
            + (f", perhaps twice {one.perhaps_twice}" if one.perhaps_twice else "")
            for one in self.topics or ()
        )
        return [*lines, self.advice]

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON has."""
        tables = None if self.tables is None else {"outcome": self.tables, "rows": dict(self.rows)}
        topics = None
        if self.topics is not None:
            topics = {
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
        return {
            "postgres": tables,
            "kafka": topics,
            "repeatable": self.repeatable,
            "advice": self.advice,
        }


_TABLES = {
    "committed": "all rows committed",
    "nothing": "nothing committed",
    "unknown": "whether the rows are committed is not known",
}


def _all_there(settlement: Settlement) -> str:
    if settlement.topics is None:
        return "Every row is committed: nothing is left to do."
    what = "committed and acknowledged" if settlement.tables else "acknowledged"
    return f"Everything was {what}; do not repeat: each event would be there twice."


def _nothing_arrived(settlement: Settlement) -> str:
    if settlement.repeatable:
        what = "No event arrived" if settlement.rows_stay else "Nothing was loaded"
        when = "once the cause is mended, " if settlement.objection else ""
        return f"{what}: {when}the same command can be repeated."
    if settlement.tables == "committed":
        return "The rows are there: run the same command with --skip-postgres for the events."
    done = "run the same command with --skip-postgres for the events"
    if settlement.topics is None:
        done = "nothing is left to do"
    return f"Look whether the rows are there: if so, {done}; if not, run it as it was."


def attach(error: BaseException, settlement: Settlement) -> None:
    """Gives the exception that ends a run its settlement."""
    error.settlement = settlement  # type: ignore[attr-defined]


def settlement_of(error: BaseException) -> Settlement | None:
    """The settlement of the run that this exception has ended; None if the run had not begun."""
    found = getattr(error, "settlement", None)
    return found if isinstance(found, Settlement) else None
