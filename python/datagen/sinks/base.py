"""What a sink is to a load: phases in one order, and stages that say what each of them did.

A load makes its sinks (which checks every option), opens them, has each prepare its tables or topics,
and begins. Tables are written, finished and committed before the first event is written; events are
committed last. Then each sink verifies what it holds, and is closed. A sink takes tables, streams or
both: one of both gets its tables once those that take tables alone have committed theirs. The load calls
it from one thread. A stream has no end while it is written: it is settled now
and then, and a mark says from where on to look for what was written after that. Tables follow a stream:
their changes come slice by slice, each before the events that make them.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from ..types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from uuid import UUID

    from .._core import Batch, KeySet, Plan, Reconciliation
    from ..settlement import Committed, Delivered

__all__ = [
    "Check",
    "Contents",
    "Order",
    "Part",
    "Progress",
    "ReadableTarget",
    "ResumingTarget",
    "Sink",
    "Stage",
    "StageReport",
    "Target",
    "Transfer",
    "Window",
    "labels",
    "streams",
    "tables",
]


#: The order of events: by time in each partition, or one account, card or loan after the other.
Order = Literal["time", "entity"]


@dataclass(frozen=True)
class Stage:
    """A stage of a run, in the words that are printed.

    ``title`` stands before each part and ``summary`` in the summary; ``counted`` is what the
    validation counts, and ``committed`` the word for what has arrived.
    """

    name: str
    title: str
    unit: str
    summary: str = ""
    counted: str = ""
    committed: str = ""


@dataclass(frozen=True)
class Part:
    """Rows of one table or stream, and the seconds that they took.

    Parts of one stage may run at the same time.
    """

    name: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class Check:
    """What a sink should hold of one table or topic after the run, and what it holds.

    ``expected`` and ``found`` count what this run added. ``note`` says what else was seen. Checks of
    a stage are printed by their ``rank``.
    """

    name: str
    expected: int
    found: int
    note: str = ""
    rank: int = 0

    @property
    def ok(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True)
class StageReport:
    """What one stage did: its parts, its seconds, and what its sink holds in the end.

    ``facts`` say how rows were sent (a name and a value that JSON has). ``uncounted`` says why the
    sink could not be counted after everything had arrived, and ``objection`` what is wrong although
    the counts are right; both are empty otherwise.
    """

    stage: Stage
    parts: tuple[Part, ...]
    seconds: float
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    uncounted: str = ""
    objection: str = ""

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def ok(self) -> bool:
        return not self.uncounted and all(check.ok for check in self.checks)


class Progress(Protocol):
    """How a run goes, for a display: parts start, advance by rows, and finish."""

    def start(self, stage: Stage, name: str, rows: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def finish(self, stage: Stage, part: Part) -> None: ...


_log = logging.getLogger(__name__)

#: Customers whose events take seconds to count.
_MANY = 500_000
#: Customers whose events are counted where only about how many there are is asked for.
_SAMPLE = 1_000


def _rounded(number: int) -> int:
    """A number of three digits and zeros."""
    step: int = 10 ** max(len(str(number)) - 3, 0)
    return round(number / step) * step


@dataclass(frozen=True)
class Window:
    """The rows that a run loads: those of a plan from one customer on.

    With ``fast`` events are not kept once they are sent; ``workers`` threads may make them, in this
    ``order``. ``parents`` gives, for a table or stream, the key set of each of its foreign keys, and
    ``check`` checks the foreign keys of a batch against these, on any thread.
    """

    plan: Plan
    first_customer: int
    fast: bool
    workers: int
    order: Order
    parents: Callable[[str], list[KeySet]]
    check: Callable[[Batch], Batch]
    #: Only a part of the streams is sent, as much as is written.
    open_ended: bool = False
    #: Where a part is sent, the instant of its first events: None for all up to where it ends.
    events_from: datetime | None = None
    #: Rows of tables are those of this instant, not of the plan's end.
    tables_at: datetime | None = None
    #: An earlier process has loaded the tables.
    tables_there: bool = False
    #: An earlier process may have loaded them: by sink, the mark that it made before. None where none has begun to.
    begun: Mapping[str, Mapping[str, Any]] | None = None
    #: What an earlier attempt at the same run has left stays: by sink, what its receipt says. None without one.
    before: Mapping[str, Mapping[str, Any]] | None = None
    #: Others load other customers of the bank into the same tables and topics at once.
    shared: bool = False
    _rows: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def first(self, name: str) -> int:
        """The first customer whose rows are loaded; reference rows are loaded whole."""
        return 0 if catalogue()[name].is_reference else self.first_customer

    def about(self, name: str) -> int:
        """About how many rows the run loads, for a display: of many customers' events only a sample is counted."""
        first = self.first(name)
        stands_for = (self.plan.customers - first) // _SAMPLE
        if not catalogue()[name].is_stream or name in self._rows or stands_for < 2:
            return self.rows(name)
        counted = self.plan.rows(name, first, first + _SAMPLE)
        return _rounded(counted * (self.plan.customers - first) // _SAMPLE)

    def made(self, name: str, rows: int) -> None:
        """Takes note that the events of a stream were made to the last one, and need not be counted any more."""
        if not self.open_ended:
            self._rows[name] = rows

    def rows(self, name: str) -> int:
        """The rows of a table or stream that the run loads; counting events that were not made takes a while."""
        if name not in self._rows:
            customers = self.plan.customers - self.first(name)
            if catalogue()[name].is_stream and customers >= _MANY:
                _log.warning("Counting %s of %s customers", name, f"{customers:,}")
            until = None if catalogue()[name].is_stream else self.tables_at
            self._rows[name] = self.plan.rows(name, self.first(name), until=until)
        return self._rows[name]


class Transfer(Protocol):
    """Whole streams that a sink makes, checks and sends by itself; leaving the block cancels it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def finish(self, progress: Callable[[int], None]) -> Mapping[str, tuple[int, float]]:
        """Sends all events, and returns the number and the seconds of each stream.

        ``progress`` is called with the number of events since its last call.
        """


class Sink(ABC):
    """A place that takes rows, phase by phase; a phase that a sink does not need does nothing.

    ``commit_part`` is the name of the part in which ``commit`` runs.
    """

    stage: Stage
    relations: tuple[str, ...]
    commit_part: str = "commit"
    #: Whether ``begin`` found that no earlier attempt has committed the tables, so that no event of it was sent.
    is_first: bool = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(error)

    @abstractmethod
    def open(self) -> None:
        """Reaches the service; raises ``ConfigurationError`` or ``UnreachableError``."""

    def prepare(self) -> None:  # noqa: B027  # not every sink needs it
        """Makes what is needed before rows come, and refuses what could not take them."""

    def transfer(self) -> Transfer | None:
        """Streams that the sink makes and sends by itself; None if it takes batches.

        Events may be made from here on; none is sent before ``finish`` of the transfer. Called once the
        sink has its own tables, if it takes any.
        """
        return None

    def nothing_sent(self) -> None:  # noqa: B027  # not every sink takes events
        """Says that no earlier attempt has sent an event. Called, if at all, before ``transfer`` and ``begin``."""

    @abstractmethod
    def begin(self) -> None:
        """Begins to take rows: called once, before the first table, or before tables are committed.

        Where the window has an attempt ``before``, rows that are there of it are taken and not written again. Raises
        ``ConfigurationError`` or ``RejectedError`` where it cannot be told which ones these are.
        """

    @abstractmethod
    def write(self, batch: Batch) -> None:
        """Takes the rows of one table or stream."""

    def when_waiting(self, call: Callable[[], None]) -> None:  # noqa: B027  # not every sink waits
        """Has ``write`` call this ten times a second while it waits for the service.

        What it raises breaks the write off, and some of the batch may have been sent.
        """

    def finish(self, name: str) -> None:  # noqa: B027  # not every sink needs it
        """Takes note that a table has all its rows."""

    @abstractmethod
    def commit(self) -> None:
        """Returns once all that was written is there for good, and raises if any of it is not.

        Called after the last table, and after the last event.
        """

    def settle(self, seconds: float) -> bool:  # noqa: ARG002
        """Whether all that was written is there for good, after so many seconds at most.

        More may be written after it. Raises as ``commit`` does if some of it cannot arrive any more.
        """
        self.commit()
        return True

    @property
    def confirmed(self) -> bool:
        """Whether the service says that rows are there."""
        return True

    @property
    def last_error(self) -> str:
        """The last error of the service that may pass, or an empty text."""
        return ""

    def mark(self) -> Mapping[str, Any]:
        """A place, as values that JSON has, behind which all lies that is written from now on.

        Called while all that was written is there.
        """
        return {}

    def written_since(self, mark: Mapping[str, Any]) -> set[bytes]:  # noqa: ARG002
        """The ids of events, as text, that lie behind a mark of an earlier run.

        Called once the sink has begun. Raises ``ConfigurationError`` for a mark of another place.
        """
        return set()

    def begin_following(self, at: datetime) -> datetime:
        """Has the tables follow a stream; returns the instant before which they have all changes.

        That is ``at`` where this run has loaded them. Called once after ``commit``, or in place of
        ``begin`` where an earlier process has loaded the tables; then raises ``ConfigurationError`` if
        they are not there.
        """
        return at

    def follow(self, changes: Sequence[Batch], until: datetime) -> None:  # noqa: ARG002
        """Begins to write the rows that have changed before an instant, each as it is then.

        A primary key that is not there is a new row. Called once what was given before is ``followed``.
        """
        for batch in changes:
            self.write(batch)

    def followed(self, seconds: float) -> bool:  # noqa: ARG002
        """Whether the changes are there for good, after so many seconds at most; raises as ``commit``."""
        return True

    @abstractmethod
    def verify(self) -> Iterable[Check]:
        """Counts what the sink holds; raises ``CountingError`` where it cannot be counted."""

    def facts(self) -> Mapping[str, Any]:
        """How rows were sent, and with an attempt before how many of them were there."""
        return {}

    def objection(self) -> str:
        """What is wrong although the counts are right, or nothing."""
        return ""

    def receipt(self) -> Mapping[str, Any]:
        """What a receipt keeps of the run: what was written and where, as values that JSON has.

        Without secrets. Called as the run begins, and once it has ended, however that was.
        """
        return {}

    @abstractmethod
    def settlement(self) -> Committed | Delivered:
        """What the sink has of the run, as far as the service has said."""

    @abstractmethod
    def close(self, error: BaseException | None) -> None:
        """Leaves the service; after ``error`` what was not committed is dropped."""


class Contents(ABC):
    """What a target holds, to be read again as a context manager; tables and streams go by their names."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def tables_at(self, plan: Plan, from_customer: int) -> datetime | None:  # noqa: ARG002
        """The instant that tables which follow a stream are as of, where the service itself says it."""
        return None

    def has_versions(self, name: str) -> bool:  # noqa: ARG002
        """Whether a table may have a row several times, once after each of some of its changes, where it follows a stream."""
        return False

    @abstractmethod
    def shape(self, name: str, order: str) -> dict[str, Any]:
        """What rows are there, as arguments of ``Reconciliation``."""

    @abstractmethod
    def read(
        self, name: str, held: Reconciliation, progress: Callable[[int], None], *, again: bool
    ) -> None:
        """Hands over all that is there; ``again`` where that was done before."""

    @abstractmethod
    def place(self, name: str, partition: int | None = None, offset: int | None = None) -> str:
        """Where a row is, or the table or topic."""

    @abstractmethod
    def decoded(self, name: str, ident: UUID, found: bytes) -> Mapping[str, Any] | None:
        """A row that is there as its fields; None for what is none."""

    def value_at(self, name: str, partition: int, offset: int) -> bytes:  # noqa: ARG002
        """The value of the record at an offset, for ``decoded``; nothing where it cannot be had any more."""
        return b""

    def ends(self, name: str) -> Mapping[int, int]:  # noqa: ARG002
        """The offsets, by partition, at which the run ended."""
        return {}

    def unseen(self, name: str) -> Sequence[str]:  # noqa: ARG002
        """What could not be read, and why."""
        return ()

    def hidden(self, name: str) -> Mapping[int, int]:  # noqa: ARG002
        """How many offsets of each partition could not be read."""
        return {}

    def notes(self, name: str) -> Sequence[str]:  # noqa: ARG002
        """What else was seen."""
        return ()


class Target(Protocol):
    """What a caller asks of a sink: checked as it is made, and connected to nothing."""

    @property
    def relations(self) -> tuple[str, ...]:
        """The tables and streams that the sink takes, in the catalogue's order."""

    def sink(self, window: Window) -> Sink:
        """A sink for one run; raises ``ConfigurationError`` for what no connection could mend."""


@runtime_checkable
class ResumingTarget(Target, Protocol):
    """A target whose sink may know by itself how far an earlier attempt at the same load came."""

    @property
    def goes_on(self) -> bool:
        """Whether it does, so that the load may be begun again as it is."""


@runtime_checkable
class ReadableTarget(Target, Protocol):
    """A target whose rows can be read again."""

    def contents(self, receipt: Mapping[str, Any]) -> Contents:
        """What it holds of a run, of which the sink has left a receipt, or an empty one."""


def tables() -> tuple[str, ...]:
    """The names of all tables, in the order of insertion."""
    return tuple(table.name for table in catalogue().tables)


def streams() -> tuple[str, ...]:
    """The names of all streams, in the order of sending."""
    return tuple(stream.name for stream in catalogue().streams)


def labels() -> str:
    """The name of the labels, which a sink has only if it is asked for them: of a plan that has some."""
    return catalogue().labels.name
