"""What services hold of a run, read again and held against the plan, row by row.

The plan's rows are made anew and hashed, and so is all that is there; sums by bucket tell which rows differ, and only
these are gone through one by one (``Reconciliation``). So any order, engine and number of partitions will do, and memory does
not grow with the run. What could not be read is said, and is never taken for right.
"""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ._core import Reconciliation
from .errors import ConfigurationError
from .receipts import as_text
from .sinks.base import Part, ReadableTarget, Stage, streams, tables
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from uuid import UUID

    from ._core import Batches, Plan
    from .receipts import Receipt
    from .sinks.base import Contents, Progress, Target

__all__ = ["WRONG", "Compared", "Named", "Verdict", "Verification", "verify"]

#: What is wrong with rows, in the order in which it is said.
WRONG: Final = ("missing", "double", "altered", "misplaced", "late", "foreign")

#: What is beside it.
_NO_MISTAKE: Final = ("elsewhere", "outside", "earlier", "copies")

#: Customers whose rows are made at a time.
_CUSTOMERS: Final = 1_000
#: Rows that are made and encoded at a time: as many as stay in a processor's cache.
_BATCH_ROWS: Final = 2_048
#: Rows that differ which are gone through at a time: some 130 MB.
_ROWS: Final = 2_000_000
#: How often all is read again at the most. What is left then is counted, and has no names.
_TIMES: Final = 4

_STAGE: Final = Stage("verify", title="Verifying", unit="rows")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What to verify: the customers of a plan from one on, in the targets that took them.

    Streams are compared in the events from ``since`` on and before ``until``, None being all. ``receipt`` says where the
    run began in each partition, where it ended, and as of when tables are: else as of the plan's end. ``shards`` is how many may have
    sent reference rows, each for itself; ``show`` is how many rows of each kind are named.
    """

    plan: Plan
    targets: Mapping[str, Target]
    from_customer: int = 0
    order: str = "time"
    since: datetime | None = None
    until: datetime | None = None
    receipt: Receipt | None = None
    shards: int = 1
    show: int = 10
    workers: int = 0


@dataclass(frozen=True)
class Named:
    """A row that is wrong: its kind, id and place, and what is wrong about it."""

    kind: str
    id: UUID | None
    place: str
    why: str = ""


@dataclass(frozen=True)
class Compared:
    """A table or topic: rows that the plan has, rows of it that are there, and what is wrong, by kind.

    ``unseen`` says what could not be verified; ``notes`` what is no mistake. ``checksum`` is the sum of the hashes of
    the rows that are there, modulo 2**128.
    """

    sink: str
    name: str
    place: str
    planned: int
    found: int
    counts: Mapping[str, int]
    checksum: str
    planned_checksum: str
    named: tuple[Named, ...] = ()
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def may_follow(self) -> bool:
        """Whether what is wrong may be earlier versions of rows."""
        return any(self.counts[kind] for kind in ("double", "altered"))

    @property
    def ok(self) -> bool:
        same = self.planned == self.found and self.checksum == self.planned_checksum
        return same and not self.unseen and not any(self.counts[kind] for kind in WRONG)


@dataclass(frozen=True)
class Verdict:
    """All tables and topics."""

    compared: tuple[Compared, ...]
    seconds: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        return bool(self.compared) and all(one.ok for one in self.compared)

    @property
    def rows(self) -> int:
        """Rows that were found."""
        return sum(one.found for one in self.compared)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits for all that is there: the same for the same rows in the same formats."""
        lines = sorted(f"{one.sink} {one.name} {one.found} {one.checksum}" for one in self.compared)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON has."""
        return {
            "ok": self.ok,
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "compared": [
                {
                    "sink": one.sink,
                    "name": one.name,
                    "place": one.place,
                    "ok": one.ok,
                    "planned": one.planned,
                    "found": one.found,
                    **{kind: one.counts[kind] for kind in (*WRONG, *_NO_MISTAKE)},
                    "checksum": one.checksum,
                    "unseen": [*one.unseen],
                    "notes": [*one.notes],
                    "rows": [
                        {
                            "kind": row.kind,
                            "id": str(row.id) if row.id else None,
                            "place": row.place,
                            "why": row.why or None,
                        }
                        for row in one.named
                    ],
                }
                for one in self.compared
            ],
        }


def verify(asked: Verification, progress: Progress) -> Verdict:
    """Reads all that the targets hold and compares it with the plan; what is wrong is said and not raised.

    Raises ``ConfigurationError`` and ``UnreachableError`` where it cannot be read at all.
    """
    began = time.perf_counter()
    if not asked.targets:
        raise ConfigurationError("there is nothing to verify")
    compared: list[Compared] = []
    with closing(_Makers(asked.workers)) as makers:
        for name, target in asked.targets.items():
            compared += _compared(asked, name, target, progress, makers)
    return Verdict(tuple(compared), time.perf_counter() - began)


def _compared(
    asked: Verification, name: str, target: Target, progress: Progress, makers: _Makers
) -> Iterator[Compared]:
    if not isinstance(target, ReadableTarget):
        raise ConfigurationError(f"what {name} was given cannot be read again")
    receipt = asked.receipt
    kept = receipt.sinks.get(name, {}) if receipt else {}
    with target.contents(kept) as contents:
        at = receipt.tables_at(name) if receipt else None
        note = ""
        if at is not None:
            now = contents.tables_at(asked.plan, asked.from_customer)
            if now is not None and now > at:
                # The stream went on after the receipt was written, in whichever process.
                at, note = now, f"as of {as_text(now)}, which is after the receipt"

        def comparing(relation: str, *, follows: bool = False) -> _Comparing:
            follows = follows or bool(
                receipt and receipt.stream and contents.has_versions(relation)
            )
            of_one = _OfVersions if follows else _Comparing
            return of_one(asked, name, relation, contents, progress, at, note, makers)

        upcoming = map(comparing, target.relations)
        one = next(upcoming, None)
        while one is not None:
            following = next(upcoming, None)
            one.begin()
            # Where its rows are made sooner than what is there was read, no processor waits.
            if following is not None:
                following.begin()
            compared = one.compared()
            if receipt is None and compared.may_follow and contents.has_versions(one.name):
                # A stream's rows are there once after each of some changes, which options alone do not say.
                compared = comparing(one.name, follows=True).compared()
            yield compared
            one = following


class _Makers:
    """Threads on which the plan makes its rows, in the order in which they were asked for."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers or os.cpu_count() or 1)

    def submit(self, make: Callable[[int, int], None], customers: range) -> list[Future[None]]:
        """Has some customers after the others made."""
        first, stop = customers.start, customers.stop
        return [
            self._threads.submit(make, at, min(at + _CUSTOMERS, stop))
            for at in range(first, stop, _CUSTOMERS)
        ]

    def close(self) -> None:
        """Ends the threads; what is not begun is not made."""
        self._threads.shutdown(cancel_futures=True)


class _Comparing:
    """One table or topic."""

    def __init__(
        self,
        asked: Verification,
        sink: str,
        name: str,
        contents: Contents,
        progress: Progress,
        tables_at: datetime | None,
        note: str,
        makers: _Makers,
    ) -> None:
        self._asked = asked
        self._sink = sink
        self.name = name
        self._contents = contents
        self._progress = progress
        self._tables_at = tables_at
        #: What is to be said of that instant.
        self._note = note
        self._makers = makers
        self._made: list[Future[None]] = []
        self._first = 0 if catalogue()[name].is_reference else asked.from_customer
        self._held = Reconciliation(
            asked.plan,
            name,
            self._first,
            **self._span(),
            show=asked.show,
            copies=asked.shards if catalogue()[name].is_reference else 1,
            **contents.shape(name, asked.order),
        )
        for partition, end in contents.ends(name).items():
            self._held.in_time_below(partition, end)

    def begin(self) -> None:
        """Has the rows made against which all is read at first, if that was not done."""
        self._made = self._made or self._make()

    def _span(self) -> dict[str, Any]:
        """What is compared, as arguments of ``Reconciliation``."""
        return {"since": self._asked.since, "until": self._asked.until}

    def _read_all(self) -> None:
        """Reads all that is there, and what differs once more."""
        self._pass(again=False)
        times = 0
        while times < _TIMES and self._held.next_exact(_ROWS):
            self._pass(again=True)
            self._held.finish()
            times += 1

    def compared(self) -> Compared:
        held = self._held
        self._read_all()
        unseen = [*self._contents.unseen(self.name)]
        counts, found = dict(held.counts), held.findings
        # What lies where nothing was seen may be there.
        hidden = self._contents.hidden(self.name)
        perhaps = sum(min(held.missing[number], count) for number, count in hidden.items())
        if perhaps:
            counts["missing"] -= perhaps
            unseen.append(f"{perhaps:,} rows may be where nothing was seen")
        if held.unexamined:
            unseen.append(
                f"{held.unexamined:,} rows differ, or are beside rows that do, and have no names"
            )
        receipt = self._asked.receipt
        behind = receipt is not None and receipt.killed_at is not None
        is_shard = receipt is not None and receipt.options.get("shard") is not None
        notes = [
            f"{counts[kind]:,} {what}"
            for kind, what in (
                (
                    "elsewhere",
                    "of other shards or customers of this seed"
                    if is_shard
                    else "of other customers of this seed",
                ),
                (
                    "outside",
                    "sent after the last position, not judged" if behind else "of other instants",
                ),
                ("earlier", "earlier values of these rows"),
                # They belong to every shard, and each has them there before its own events.
                ("copies", "copies by other shards"),
            )
            if counts[kind]
        ]
        if receipt is None and {kind for kind in WRONG if counts[kind]} == {"late"}:
            notes.append(
                "shards of a load are in order each by itself: --order entity asks for none, and so do their merged receipts"
            )
        if self._note and self.name in tables():
            notes.append(self._note)
        notes += self._contents.notes(self.name)
        (planned, sum_planned), (rows, checksum) = held.expected, held.found
        if counts["copies"] == rows - planned and not any(counts[kind] for kind in WRONG):
            rows, checksum = planned, sum_planned
        named = [
            self._named(*one)
            for one in found
            if one[0] in WRONG and not (one[0] == "missing" and one[2] in hidden)
        ]
        return Compared(
            sink=self._sink,
            name=self.name,
            place=self._contents.place(self.name),
            planned=planned,
            found=rows,
            counts=counts,
            checksum=checksum,
            planned_checksum=sum_planned,
            named=tuple(sorted(named, key=lambda one: WRONG.index(one.kind))),
            unseen=tuple(unseen),
            notes=tuple(notes),
        )

    def _pass(self, *, again: bool) -> None:
        """Has the plan make its rows, by several threads, while all that is there is read; before that, if ``again``.

        A row that is looked at by itself is right or wrong against the plan's, which so has to be there.
        """
        with self._timed():
            made = self._make() if again else self._made
            if again:
                _wait_for(made)
            self._contents.read(self.name, self._held, self._progress.advance, again=again)
            _wait_for(made)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        self._progress.start(_STAGE, self.name, 0)
        yield
        rows = self._held.found[0]
        self._progress.finish(_STAGE, Part(self.name, rows, time.perf_counter() - began))

    def _make(self) -> list[Future[None]]:
        """Has what is expected made."""
        is_reference = catalogue()[self.name].is_reference
        stop = self._first + 1 if is_reference else self._asked.plan.customers
        return self._makers.submit(self._expect, range(self._first, stop))

    def _expect(self, first: int, stop: int) -> None:
        for batch in self._batches(first, stop):
            self._held.expect(batch)

    def _batches(self, first: int, stop: int) -> Batches:
        """The plan's rows of some customers as they are to be there."""
        asked, rows = self._asked, _BATCH_ROWS
        if self.name in streams():
            since, until = asked.since, asked.until
        else:
            since, until = None, self._tables_at
        return asked.plan.batches(self.name, first, stop, batch_rows=rows, since=since, until=until)

    def _named(
        self,
        kind: str,
        ident: UUID | None,
        partition: int | None,
        offset: int | None,
        why: str,
        found: bytes,
    ) -> Named:
        place = self._contents.place(self.name, partition, offset)
        if kind == "altered" and ident is not None:
            found = found or self._again(partition, offset)
            why = (found and self._difference(ident, found)) or why
            if not found and partition is not None:
                why = why or "it has no value, or none that can be read any more"
        elif kind == "misplaced":
            why = "its key belongs to another partition"
        elif kind == "late" and not why:
            why = "an event of its partition before it happened after it"
        return Named(kind, ident, place, why)

    def _difference(self, ident: UUID, found: bytes) -> str:
        """The fields in which a row differs from the plan's."""
        planned = self._planned(ident)
        there = self._contents.decoded(self.name, ident, found)
        if not planned:
            return ""
        if there is None:
            return "its value cannot be decoded"
        nearest = min((_differing(there, one) for one in planned), key=len)
        return "; ".join(nearest[:3]) or "its key, its headers, its time or how it is encoded"

    def _planned(self, ident: UUID) -> list[dict[str, Any]]:
        """What the plan has of an id."""
        customer = self._held.customer_of(ident)
        first, stop = (0, 1) if customer is None else (customer, customer + 1)
        key = catalogue()[self.name].primary_key
        rows = (row for batch in self._all(first, stop) for row in batch)
        return [row for row in rows if row[key] == ident]

    def _all(self, first: int, stop: int) -> Batches:
        """All that may be there of some customers."""
        return self._batches(first, stop)

    def _again(self, partition: int | None, offset: int | None) -> bytes:
        """The value of a record that was not kept as it was judged."""
        if partition is None or offset is None:
            return b""
        return self._contents.value_at(self.name, partition, offset)


class _OfVersions(_Comparing):
    """A table that follows a stream in a topic, which has a row once after each of some of its changes.

    Which ones these are depends on when it was streamed, and compaction leaves the last alone. So all that is there has to be a row at
    one of its changes, in their order, and the last change has to be there.
    """

    def begin(self) -> None:
        """Nothing: versions are held against records, which come first."""

    def _span(self) -> dict[str, Any]:
        since = None
        if self._stream.get("resumed"):
            # The rows of before are where an earlier process has sent them.
            since = max(filter(None, (self._start, self._asked.since)), default=None)
        return {"since": since, "until": self._tables_at, "versions": True}

    @property
    def _stream(self) -> Mapping[str, Any]:
        receipt = self._asked.receipt
        return (receipt and receipt.stream) or {}

    @property
    def _start(self) -> datetime | None:
        """As of when tables were loaded; None where nothing says so."""
        start = self._stream.get("start")
        return None if start is None else datetime.fromisoformat(start)

    def compared(self) -> Compared:
        found = super().compared()
        if self._asked.receipt is not None:
            return found
        end = as_text(self._asked.plan.as_of)
        taken = f"taken for a stream's up to {end}: a receipt says where one began and ended"
        return replace(found, notes=(*found.notes, taken))

    def _read_all(self) -> None:
        # Without a receipt all was read before.
        again = self._asked.receipt is None
        while self._held.next_exact(_ROWS):
            with self._timed():
                self._contents.read(self.name, self._held, self._progress.advance, again=again)
                _wait_for(self._make())
                self._held.finish()
            again = True

    def _all(self, first: int, stop: int) -> Batches:
        return self._asked.plan.versions(self.name, first, stop, since=self._start)

    def _expect(self, first: int, stop: int) -> None:
        for batch in self._all(first, stop):
            self._held.expect_versions(batch)
        for batch in self._batches(first, stop):
            self._held.expect_last(batch)


def _wait_for(made: list[Future[None]]) -> None:
    for one in made:
        one.result()


def _differing(there: Mapping[str, Any], planned: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_shown(there.get(name))}, planned {_shown(value)}"
        for name, value in planned.items()
        if not _same(there.get(name), value)
    ]


def _same(found: Any, planned: Any) -> bool:
    """Whether a value is the plan's, of a form that has instants and money as text or as numbers too."""
    if found == planned or str(found) == str(planned):
        return True
    with suppress(ValueError, TypeError, ArithmeticError):
        if isinstance(planned, datetime):
            return datetime.fromisoformat(str(found)) == planned
        if isinstance(planned, Decimal):
            return Decimal(str(found)) == planned
    return False


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
