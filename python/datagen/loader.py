"""One run: a plan, checked row by row, into PostgreSQL and Kafka, and what became of it.

Everything that can be found wrong is found first: options, then connections, topics and schemas.
Then master data is committed, and only then is the first event sent, so that no consumer meets
an event whose account, card or loan is not there.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from .check import FinancialDataStore, MasterDataStore
from .errors import OptionError
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._core import Batch, Plan
    from .presets import ProducerConfig
    from .sinks.kafka import KafkaSink
    from .sinks.postgres import PostgresSink
    from .types import RowSink

__all__ = [
    "FAST_CUSTOMERS",
    "MAX_RETENTION_HOURS",
    "PARTITIONS",
    "Check",
    "Load",
    "Part",
    "Progress",
    "Report",
    "load",
]

#: From so many customers on, a load is fast without being asked.
FAST_CUSTOMERS: Final = 10_000
#: A hundred years; Kafka counts milliseconds in 64 bits.
MAX_RETENTION_HOURS: Final = 876_000
#: Partitions of the topics that a run creates.
PARTITIONS: Final = {stream.name: 3 for stream in catalogue().streams}

#: Rows of a batch: few enough to stay in the processor's cache on the way to a sink.
_BATCH_ROWS: Final = 8192
#: Seconds for events that nobody acknowledges to show up in their topic.
_SETTLE: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to load, and where to. ``postgres_url`` or ``producer`` None skips that side.

    ``fast`` forgets events once they are sent (``MasterDataStore``); otherwise the whole load is
    made and checked in memory before the first row leaves (``FinancialDataStore``).
    """

    plan: Plan
    postgres_url: str | None = None
    producer: ProducerConfig | None = None
    truncate: bool = False
    create_topics: bool = False
    retention_hours: int = 8
    partitions: Mapping[str, int] = field(default_factory=lambda: dict(PARTITIONS))
    fast: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.retention_hours <= MAX_RETENTION_HOURS:
            allowed = f"1 to {MAX_RETENTION_HOURS}"
            raise OptionError("retention_hours", self.retention_hours, allowed)


@dataclass(frozen=True)
class Part:
    """Rows of one table or stream, and the seconds that they took."""

    name: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class Check:
    """What a sink should hold of one table or topic after the run, and what it holds.

    ``expected`` and ``found`` count what this run added. ``note`` says what else was seen.
    """

    name: str
    expected: int
    found: int
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True)
class Report:
    """What a run did. ``format`` is avro, json, or None without Kafka."""

    generated: tuple[Part, ...]
    tables: tuple[Part, ...]
    topics: tuple[Part, ...]
    table_checks: tuple[Check, ...]
    topic_checks: tuple[Check, ...]
    format: str | None
    seconds: float

    @property
    def ok(self) -> bool:
        return all(check.ok for check in (*self.table_checks, *self.topic_checks))


class Progress(Protocol):
    """Who is told how the run goes: parts start, advance by rows, and finish."""

    def start(self, stage: str, name: str, rows: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def finish(self, part: Part) -> None: ...


def load(run: Load, progress: Progress) -> Report:
    """Carries out a run.

    Raises ``ConfigurationError`` and ``UnreachableError`` before anything is loaded; a sink's
    ``RejectedError`` or ``UnreachableError`` while it is, and then PostgreSQL holds either all of
    the run's rows or none. What the sinks hold in the end is compared in the report, not raised.
    """
    began = time.perf_counter()
    with ExitStack() as stack:
        postgres, kafka = _sinks(run)
        if kafka is not None:
            stack.enter_context(kafka)
        if postgres is not None:
            stack.enter_context(postgres)
        if kafka is not None:
            _prepare_topics(run, kafka)
        return _Run(run, postgres, kafka, progress, began).report()


def _sinks(run: Load) -> tuple[PostgresSink | None, KafkaSink | None]:
    """Makes both sinks before either connects, so that all options are checked first."""
    postgres: PostgresSink | None = None
    kafka: KafkaSink | None = None
    if run.postgres_url is not None:
        from .sinks.postgres import PostgresSink

        postgres = PostgresSink(run.postgres_url, truncate=run.truncate, parallel=run.fast)
    if run.producer is not None:
        from .sinks.kafka import KafkaSink

        kafka = KafkaSink(run.producer)
    return postgres, kafka


def _prepare_topics(run: Load, kafka: KafkaSink) -> None:
    streams = [stream.name for stream in catalogue().streams]
    if run.create_topics:
        partitions = {name: run.partitions[name] for name in streams}
        for topic in kafka.create_topics(partitions, run.retention_hours):
            _log.info(
                "topic %s: %s with %d partitions",
                topic.name,
                "created" if topic.created else "is there",
                topic.partitions,
            )
    else:
        kafka.require_topics(streams)
    kafka.register_schemas(streams)


class _Run:
    """The stages of one run, in order."""

    def __init__(
        self,
        run: Load,
        postgres: PostgresSink | None,
        kafka: KafkaSink | None,
        progress: Progress,
        began: float,
    ) -> None:
        self._run = run
        self._postgres = postgres
        self._kafka = kafka
        self._progress = progress
        self._began = began
        self._store = MasterDataStore() if run.fast else FinancialDataStore()
        self._parts: dict[str, list[Part]] = {"generate": [], "postgres": [], "kafka": []}

    def report(self) -> Report:
        tables = [table.name for table in catalogue().tables]
        streams = [stream.name for stream in catalogue().streams] if self._kafka else []
        if isinstance(self._store, FinancialDataStore):
            for name in (*tables, *streams):
                self._move("generate", name, self._batches(name), sink=None)
        # Before the tables too: where this cannot be done, nothing has been loaded yet.
        before = self._kafka.end_offsets(streams) if self._kafka else {}
        self._load_tables(tables)
        self._send_streams(streams)
        return Report(
            generated=tuple(self._parts["generate"]),
            tables=tuple(self._parts["postgres"]),
            topics=tuple(self._parts["kafka"]),
            table_checks=tuple(self._check_tables()),
            topic_checks=tuple(self._check_topics(before)),
            format=self._kafka.format if self._kafka else None,
            seconds=time.perf_counter() - self._began,
        )

    def _load_tables(self, tables: list[str]) -> None:
        if self._postgres is None:
            # Events are checked against master rows, so these are handed over all the same.
            if not isinstance(self._store, FinancialDataStore):
                for name in tables:
                    self._move("generate", name, self._batches(name), sink=None)
            return
        self._postgres.begin()
        for name in tables:
            self._move("postgres", name, self._source(name), self._postgres)
            self._postgres.finish(name)
        began = time.perf_counter()
        self._progress.start("postgres", "keys and commit", 0)
        self._postgres.commit()
        self._finish("postgres", Part("keys and commit", 0, time.perf_counter() - began))

    def _send_streams(self, streams: list[str]) -> None:
        if self._kafka is None:
            return
        for name in streams:
            self._move("kafka", name, self._source(name), self._kafka)
        began = time.perf_counter()
        self._progress.start("kafka", "acknowledgements", 0)
        self._kafka.flush()
        self._finish("kafka", Part("acknowledgements", 0, time.perf_counter() - began))

    def _source(self, name: str) -> Iterator[Batch]:
        """Batches to hand to a sink: every one has been through the store."""
        if isinstance(self._store, FinancialDataStore):
            return self._store.batches(name)
        return map(self._store.add_batch, self._batches(name))

    def _batches(self, name: str) -> Iterator[Batch]:
        return self._run.plan.batches(name, batch_rows=_BATCH_ROWS)

    def _move(
        self,
        stage: str,
        name: str,
        batches: Iterator[Batch],
        sink: RowSink | None,
    ) -> None:
        began = time.perf_counter()
        rows = 0
        self._progress.start(stage, name, self._run.plan.rows(name))
        for batch in batches:
            if sink is None:
                self._store.add_batch(batch)
            else:
                sink.write(batch)
            rows += len(batch)
            self._progress.advance(len(batch))
        self._finish(stage, Part(name, rows, time.perf_counter() - began))

    def _finish(self, stage: str, part: Part) -> None:
        self._parts[stage].append(part)
        self._progress.finish(part)

    def _check_tables(self) -> Iterator[Check]:
        if self._postgres is None:
            return
        counts, before = self._postgres.counts(), self._postgres.rows_before
        for name, loaded in self._postgres.rows_loaded.items():
            planned = self._run.plan.rows(name)
            # Reference data that was there before counts as loaded: it is the same rows.
            found = counts[name] - before[name] + (planned - loaded)
            yield Check(name, planned, found)

    def _check_topics(self, before: Mapping[str, Mapping[int, int]]) -> Iterator[Check]:
        if self._kafka is None:
            return
        deliveries = self._kafka.report().topics
        acknowledged = {
            stream.name: deliveries[stream.name].acknowledged if stream.name in deliveries else 0
            for stream in catalogue().streams
        }
        moved = self._moved(self._kafka, before)
        # With acks=0 the last events may still be on their way.
        end = time.monotonic() + _SETTLE
        while time.monotonic() < end and any(moved[one] < n for one, n in acknowledged.items()):
            time.sleep(0.1)
            moved = self._moved(self._kafka, before)
        for name, count in acknowledged.items():
            # Acknowledgements are the proof; offsets also count other producers' records, but
            # records that are not there at all were lost (acks=0 acknowledges nothing).
            found = min(count, moved[name])
            note = f"offsets moved by {moved[name]}" if moved[name] != count else ""
            yield Check(name, self._run.plan.rows(name), found, note)

    @staticmethod
    def _moved(kafka: KafkaSink, before: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
        """By how much the ends of each topic have moved, over all partitions."""
        moved = {stream.name: 0 for stream in catalogue().streams}
        for name, ends in kafka.end_offsets(moved).items():
            was = before.get(name, {})
            moved[name] = sum(end - was.get(partition, 0) for partition, end in ends.items())
        return moved
