"""One run: a plan, checked row by row, into PostgreSQL and Kafka, and what became of it.

Everything that can be found wrong is found first: options, then connections, topics and schemas.
Then master data is committed, and only then is the first event sent, so that no consumer meets
an event whose account, card or loan is not there.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from ._ahead import Ahead
from ._memory import available
from .check import FinancialDataStore, MasterDataStore, memory_needed
from .errors import ConfigurationError, DatagenError, OptionError, UnreachableError
from .settlement import Settlement, TopicSettlement, attach
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ._core import Batch, Plan
    from .presets import ProducerConfig
    from .sinks.kafka import KafkaSink, Sending
    from .sinks.postgres import PostgresSink
    from .types import RowSink

__all__ = [
    "FAST_CUSTOMERS",
    "MAX_PARTITIONS",
    "MAX_REPLICATION",
    "MAX_RETENTION_HOURS",
    "MAX_WORKERS",
    "PARALLEL_PARTITIONS",
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
PARTITIONS: Final = {stream.name: stream.partitions for stream in catalogue().streams}
#: The same for a load by several threads.
PARALLEL_PARTITIONS: Final = {one.name: one.parallel_partitions for one in catalogue().streams}
#: What a cluster of any size can bear, and Kafka's 16 bits.
MAX_PARTITIONS: Final = 10_000
MAX_REPLICATION: Final = 32_767
#: More threads than any machine has cores.
MAX_WORKERS: Final = 1_024

#: Rows of a batch: few enough to stay in the processor's cache on the way to a sink.
_BATCH_ROWS: Final = 8192
#: Batches of master rows that are made before a sink takes them: made while clients are imported,
#: connect and wait.
_BATCHES_AHEAD: Final = 32
#: Customers times days of a load whose rows have room anywhere: some 300 MB of them.
_SMALL: Final = 2_000_000
#: Seconds without a further event for those that nobody acknowledges to show up in their topic.
_SETTLE: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to load, and where to. ``postgres_url`` or ``producer`` None skips that side.

    ``from_customer`` is the first customer of the plan to load, counted from 0: a bank grows by
    ranges of one seed, whose ids never collide. Reference rows (stocks) belong to every range.

    ``postgres_schema`` None is the first schema of the session's search_path that exists.
    ``partitions`` (by stream), ``retention_hours`` (-1: no limit, None: the broker's default),
    ``replication_factor`` (None: the broker's default) and ``topic_config`` are those of topics that
    the run creates.

    ``fast`` forgets events once they are sent (``MasterDataStore``); otherwise the whole load is
    made and checked in memory before the first row leaves (``FinancialDataStore``). ``workers`` is
    the number of threads that make events of a fast load for the native engine, 0 for one a core;
    what they make does not depend on it.
    """

    plan: Plan
    from_customer: int = 0
    # A password may stand in it.
    postgres_url: str | None = field(default=None, repr=False)
    postgres_schema: str | None = None
    producer: ProducerConfig | None = None
    truncate: bool = False
    create_topics: bool = False
    retention_hours: int | None = 8
    replication_factor: int | None = None
    topic_config: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, int] = field(default_factory=lambda: dict(PARTITIONS))
    fast: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= MAX_WORKERS:
            raise OptionError("workers", self.workers, f"0 (one a core) to {MAX_WORKERS}")
        hours, factor = self.retention_hours, self.replication_factor
        if hours not in (None, -1) and not 1 <= hours <= MAX_RETENTION_HOURS:
            allowed = f"1 to {MAX_RETENTION_HOURS}, -1 for no limit, or the broker's own"
            raise OptionError("retention_hours", hours, allowed)
        if factor is not None and not 1 <= factor <= MAX_REPLICATION:
            raise OptionError("replication_factor", factor, f"1 to {MAX_REPLICATION}")
        for stream, count in self.partitions.items():
            given = f"{stream}={count}"
            if stream not in PARTITIONS:
                raise OptionError("partitions", given, "one of " + ", ".join(PARTITIONS))
            if not 1 <= count <= MAX_PARTITIONS:
                raise OptionError("partitions", given, f"1 to {MAX_PARTITIONS}")
        if not 0 <= self.from_customer < self.plan.customers:
            raise OptionError(
                "from_customer", self.from_customer, f"0 to {self.plan.customers - 1}"
            )

    @property
    def customers(self) -> int:
        """How many customers are loaded."""
        return self.plan.customers - self.from_customer

    def rows(self, name: str) -> int:
        """The rows of a table or stream that the run loads; counting events takes a while."""
        return self.plan.rows(name, self.first(name))

    def first(self, name: str) -> int:
        """The first customer whose rows are loaded; reference rows are loaded whole."""
        return 0 if catalogue()[name].is_reference else self.from_customer


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
    """What a run did.

    ``seconds_of`` has the seconds of each stage that there was: generate, postgres and kafka. A fast
    load makes master rows before the stage that takes them and meanwhile.
    ``format`` is avro or json and ``engine`` native or confluent, both None without Kafka.
    ``doubled`` counts events that were sent again after an acknowledgement got lost, and whose
    topic has grown by more than was acknowledged: they are likely to be there twice.
    ``uncounted`` says why a service could not be counted after everything had arrived, or is empty.
    """

    generated: tuple[Part, ...]
    tables: tuple[Part, ...]
    topics: tuple[Part, ...]
    seconds_of: Mapping[str, float]
    table_checks: tuple[Check, ...]
    topic_checks: tuple[Check, ...]
    format: str | None
    engine: str | None
    doubled: int
    uncounted: str
    settlement: Settlement
    seconds: float

    @property
    def ok(self) -> bool:
        checked = all(check.ok for check in (*self.table_checks, *self.topic_checks))
        return checked and not self.uncounted

    def as_json(self) -> dict[str, Any]:
        """Checks, times and how events were sent, as values that JSON has."""
        checks = {
            one.name: {"expected": one.expected, "found": one.found, "ok": one.ok}
            for one in (*self.table_checks, *self.topic_checks)
        }
        return {
            "ok": self.ok,
            "checks": checks,
            "uncounted": self.uncounted or None,
            "doubled": self.doubled,
            "format": self.format,
            "engine": self.engine,
            "seconds": round(self.seconds, 3),
            "seconds_of": {name: round(each, 3) for name, each in self.seconds_of.items()},
        }


class Progress(Protocol):
    """Who is told how the run goes: parts start, advance by rows, and finish."""

    def start(self, stage: str, name: str, rows: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def finish(self, part: Part) -> None: ...


def load(run: Load, progress: Progress, *, ahead: bool = True) -> Report:
    """Carries out a run.

    A fast one makes master rows from its first moment on; without ``ahead`` none before the sinks are
    ready, so that the seconds of a stage have all that it takes.

    Raises ``ConfigurationError`` and ``UnreachableError`` before anything is loaded; a sink's
    ``RejectedError`` or ``UnreachableError`` while it is, and then PostgreSQL holds either all of
    the run's rows or none. Whatever ends a run that had begun to load (also Ctrl-C) carries its
    settlement: see ``settlement_of``. What the sinks hold in the end is compared in the report, not
    raised, and so is that they could not be counted.
    """
    began = time.perf_counter()
    if not run.fast:
        _check_memory(run)
    loading: _Run | None = None
    report: Report | None = None
    try:
        with ExitStack() as stack:
            master = _Master(run, taken=run.postgres_url is not None) if run.fast else None
            if master is not None:
                stack.enter_context(master.ahead)
                if ahead:
                    master.ahead.start()
            postgres, kafka = _sinks(run)
            _connect(stack, kafka, postgres)
            if kafka is not None:
                _prepare_topics(run, kafka)
            loading = _Run(run, master, postgres, kafka, progress, began)
            report = loading.report()
    except BaseException as error:
        if report is not None and isinstance(error, DatagenError):
            # Everything is there and counted: a farewell that fails is no failure of the run.
            _log.warning("%s", error)
            return report
        # The sinks are closed by now, and what they say is final.
        if loading is not None:
            settled = loading.settlement()
            if isinstance(error, DatagenError) and not isinstance(error, UnreachableError):
                settled = replace(settled, objection=True)
            attach(error, settled)
        raise
    return report


def _check_memory(run: Load) -> None:
    """Refuses a standard load that the memory has no room for, and says so of a large one."""
    if run.customers * run.plan.days <= _SMALL:
        return
    names = [table.name for table in catalogue().tables]
    if run.producer is not None:
        names += [stream.name for stream in catalogue().streams]
    needed = memory_needed(run.plan, run.from_customer, names=names)
    free = available()
    said = f"standard mode keeps every row in memory: {needed / 1e9:.1f} GB, of which"
    if needed > free:
        raise ConfigurationError(
            f"{said} {free / 1e9:.1f} GB are free; use --fast, fewer --customers or fewer --days"
        )
    if needed > free / 4:
        _log.warning("%s %.1f GB are free; --fast keeps none of the events", said, free / 1e9)


def _connect(stack: ExitStack, *sinks: KafkaSink | PostgresSink | None) -> None:
    """Connects all, so that one run names every service that cannot be reached."""
    failures: list[DatagenError] = []
    for sink in sinks:
        if sink is not None:
            try:
                stack.enter_context(sink)
            except DatagenError as error:
                failures.append(error)
    if len(failures) > 1:
        kinds = {type(error) for error in failures}
        kind = kinds.pop() if len(kinds) == 1 else UnreachableError
        raise kind("\n".join(map(str, failures)))
    if failures:
        raise failures[0]


def _sinks(run: Load) -> tuple[PostgresSink | None, KafkaSink | None]:
    """Makes both sinks before either connects, so that all options are checked first."""
    postgres: PostgresSink | None = None
    kafka: KafkaSink | None = None
    if run.postgres_url is not None:
        from .sinks.postgres import PostgresSink

        postgres = PostgresSink(
            run.postgres_url,
            truncate=run.truncate,
            parallel=run.fast,
            schema=run.postgres_schema,
        )
    if run.producer is not None:
        from .sinks.kafka import KafkaSink

        kafka = KafkaSink(run.producer)
    return postgres, kafka


def _prepare_topics(run: Load, kafka: KafkaSink) -> None:
    streams = [stream.name for stream in catalogue().streams]
    for name in streams:
        kafka.check_event_time(_oldest(run.plan, name), run.plan.as_of, streams=[name])
    if run.create_topics:
        partitions = {kafka.topic(name): run.partitions[name] for name in streams}
        topics = kafka.create_topics(
            partitions,
            run.retention_hours,
            replication_factor=run.replication_factor,
            config=run.topic_config,
        )
        for topic in topics:
            _log.info(
                "topic %s: %s with %d partitions",
                topic.name,
                "created" if topic.created else "is there",
                topic.partitions,
            )
    else:
        kafka.require_topics(map(kafka.topic, streams))
    kafka.register_schemas(streams)


def _oldest(plan: Plan, stream: str) -> datetime:
    """A time that no event of a stream is before."""
    return plan.as_of - timedelta(days=catalogue()[stream].history_days or plan.days)


class _Master:
    """The rows of all tables, made and checked on a thread of its own, ahead of who asks for them.

    Where a sink takes them, they come as batches, some of them ahead; else they are gone once they are
    checked, so that only their numbers come and the thread waits for nobody. ``store`` has the keys of
    a table once all that comes of it has, and ``seconds`` the time that the thread worked on it.
    """

    def __init__(self, run: Load, *, taken: bool) -> None:
        self.store = MasterDataStore()
        self.seconds: dict[str, float] = {}
        self.ahead = (
            Ahead[Any](self._made(run), _BATCHES_AHEAD)
            if taken
            else Ahead[Any](map(_rows, self._made(run)), None)
        )
        self._made_ahead = iter(self.ahead)

    def batches(self) -> Iterator[Batch]:
        """The batches of the next table, in the catalogue's order, where a sink takes them."""
        return iter(self._made_ahead.__next__, None)

    def rows(self) -> Iterator[int]:
        """The number of rows of each batch of the next table, where none does."""
        return iter(self._made_ahead.__next__, None)

    def _made(self, run: Load) -> Iterator[Batch | None]:
        """Batches, and None after those of each table."""
        for table in catalogue().tables:
            began = time.thread_time()
            for batch in _batches(run, table.name):
                yield self.store.add_batch(batch)
            self.seconds[table.name] = time.thread_time() - began
            yield None


def _rows(batch: Batch | None) -> int | None:
    return None if batch is None else len(batch)


def _batches(run: Load, name: str) -> Iterator[Batch]:
    return iter(run.plan.batches(name, run.first(name), batch_rows=_BATCH_ROWS))


def _cores() -> int:
    """Cores that this process may use; not every system tells which."""
    mine = getattr(os, "sched_getaffinity", None)
    return len(mine(0)) if mine else os.cpu_count() or 1


class _Run:
    """The stages of one run, in order."""

    def __init__(
        self,
        run: Load,
        master: _Master | None,
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
        self._master = master
        self._store = master.store if master else FinancialDataStore()
        self._parts: dict[str, list[Part]] = {"generate": [], "postgres": [], "kafka": []}
        self._seconds: dict[str, float] = {}
        # Counting the events of many customers takes a while.
        self._planned = cache(run.rows)

    def report(self) -> Report:
        tables = [table.name for table in catalogue().tables]
        streams = [stream.name for stream in catalogue().streams] if self._kafka else []
        if isinstance(self._store, FinancialDataStore):
            with self._stage("generate"):
                for name in (*tables, *streams):
                    self._move("generate", name, self._checked(name))
        with ExitStack() as stack:
            self._load_tables(tables)
            # Events are made while PostgreSQL adds its keys, and sent once it has them.
            sending = self._begin_streams(stack)
            # Where this cannot be done, nothing is committed and nothing is sent.
            before = self._ends(self._kafka) if self._kafka else {}
            self._commit()
            if sending is not None:
                self._finish_streams(sending)
            elif self._kafka is not None:
                self._send_streams(streams, self._kafka)
        # Everything has arrived: from here on nothing is raised that could be taken for a failure.
        uncounted: list[str] = []
        topic_checks = self._counted(lambda: self._check_topics(before), uncounted)
        table_checks = self._counted(self._check_tables, uncounted)
        return Report(
            generated=tuple(self._parts["generate"]),
            tables=tuple(self._parts["postgres"]),
            topics=tuple(self._parts["kafka"]),
            seconds_of=self._seconds,
            table_checks=table_checks,
            topic_checks=topic_checks,
            format=self._kafka.format if self._kafka else None,
            engine=self._kafka.engine if self._kafka else None,
            doubled=self._doubled(topic_checks),
            uncounted="; ".join(uncounted),
            settlement=self._counted_in(self.settlement(), topic_checks),
            seconds=time.perf_counter() - self._began,
        )

    def settlement(self) -> Settlement:
        """What the sinks have of the run, as far as they have said."""
        topics = None
        if self._kafka is not None:
            deliveries = self._kafka.report().topics
            topics = tuple(
                TopicSettlement.of(topic, self._planned(stream), deliveries.get(topic))
                for stream, topic in self._topics(self._kafka).items()
            )
        return Settlement(
            tables=self._postgres.outcome if self._postgres else None,
            truncate=self._run.truncate,
            topics=topics,
            rows=self._postgres.rows_loaded if self._postgres else {},
        )

    def _counted_in(self, settlement: Settlement, checks: Iterable[Check]) -> Settlement:
        """``settlement``; events that nobody confirmed are acknowledged by being in their topic."""
        if self._kafka is None or self._kafka.confirmed:
            return settlement
        found = {one.name: one.found for one in checks}
        topics = tuple(
            replace(
                one,
                acknowledged=found.get(one.topic, 0),
                unknown=one.unknown + one.acknowledged - found.get(one.topic, 0),
            )
            for one in settlement.topics or ()
        )
        return replace(settlement, topics=topics)

    @staticmethod
    def _counted(count: Callable[[], Iterable[Check]], uncounted: list[str]) -> tuple[Check, ...]:
        try:
            return tuple(count())
        except DatagenError as error:
            uncounted.append(str(error))
            return ()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0) + time.perf_counter() - began

    def _load_tables(self, tables: list[str]) -> None:
        if self._postgres is None:
            # Events are checked against master rows, so these are handed over all the same.
            if self._master is not None:
                for name in tables:
                    self._skip(name, self._master)
            return
        with self._stage("postgres"):
            self._postgres.begin()
            for name in tables:
                rows = self._master.batches() if self._master else self._source(name)
                self._move("postgres", name, rows, self._postgres)
                self._postgres.finish(name)

    def _commit(self) -> None:
        if self._postgres is None:
            return
        with self._stage("postgres"):
            began = time.perf_counter()
            self._progress.start("postgres", "keys and commit", 0)
            self._postgres.commit()
            self._finish("postgres", Part("keys and commit", 0, time.perf_counter() - began))

    def _begin_streams(self, stack: ExitStack) -> Sending | None:
        """Makes events in the background, where the engine can and they need not be kept."""
        if self._kafka is None or not self._run.fast or self._kafka.engine != "native":
            return None
        workers = self._run.workers or _cores()
        sending = self._kafka.begin_plan(
            self._run.plan, self._store.parents, workers, self._run.from_customer
        )
        return stack.enter_context(sending)

    def _finish_streams(self, sending: Sending) -> None:
        with self._stage("kafka"):
            events = sum(self._planned(stream.name) for stream in catalogue().streams)
            self._progress.start("kafka", "events", events)
            for name, (count, seconds) in sending.finish(self._progress.advance).items():
                self._store.count(name, count)
                self._finish("kafka", Part(name, count, seconds))
            self._flush()

    def _send_streams(self, streams: list[str], kafka: KafkaSink) -> None:
        with self._stage("kafka"):
            if isinstance(self._store, FinancialDataStore):
                self._send_in_time(streams, self._store, kafka)
            else:
                for name in streams:
                    self._move("kafka", name, self._source(name), kafka)
            self._flush()

    def _send_in_time(
        self, streams: list[str], store: FinancialDataStore, kafka: KafkaSink
    ) -> None:
        """Sends all topics side by side, in order of time: each one's seconds are to its end."""
        began = time.perf_counter()
        rows, seconds = dict.fromkeys(streams, 0), dict.fromkeys(streams, 0.0)
        self._progress.start("kafka", "events", sum(map(self._planned, streams)))
        for batch in store.in_time(streams):
            kafka.write(batch)
            rows[batch.name] += len(batch)
            seconds[batch.name] = time.perf_counter() - began
            self._progress.advance(len(batch))
        for name in streams:
            self._finish("kafka", Part(name, rows[name], seconds[name]))

    def _flush(self) -> None:
        assert self._kafka is not None  # noqa: S101  # for the type checker
        began = time.perf_counter()
        self._progress.start("kafka", "acknowledgements", 0)
        self._kafka.flush()
        self._finish("kafka", Part("acknowledgements", 0, time.perf_counter() - began))

    def _source(self, name: str) -> Iterator[Batch]:
        """Batches to hand to a sink: every one has been through the store."""
        if isinstance(self._store, FinancialDataStore):
            return self._store.batches(name)
        return self._checked(name)

    def _checked(self, name: str) -> Iterator[Batch]:
        return map(self._store.add_batch, _batches(self._run, name))

    def _skip(self, name: str, master: _Master) -> None:
        """Counts a table that no sink takes."""
        self._progress.start("generate", name, self._planned(name))
        rows = 0
        for made in master.rows():
            rows += made
            self._progress.advance(made)
        self._finish("generate", Part(name, rows, master.seconds[name]))
        self._seconds["generate"] = sum(master.seconds.values())

    def _move(
        self, stage: str, name: str, batches: Iterator[Batch], sink: RowSink | None = None
    ) -> None:
        began = time.perf_counter()
        rows = 0
        self._progress.start(stage, name, self._planned(name))
        for batch in batches:
            if sink is not None:
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
            planned = self._planned(name)
            # Reference data that was there before counts as loaded: it is the same rows.
            there = planned - loaded if catalogue()[name].is_reference else 0
            found = counts[name] - before[name] + there
            yield Check(name, planned, found)

    def _check_topics(self, before: Mapping[str, int]) -> Iterator[Check]:
        if self._kafka is None:
            return
        deliveries = self._kafka.report().topics
        topics = self._topics(self._kafka)
        acknowledged = {
            name: deliveries[topic].acknowledged if topic in deliveries else 0
            for name, topic in topics.items()
        }
        moved = self._moved(self._kafka, before)
        # With acks=0 the last events may still be on their way, for as long as topics grow.
        end = time.monotonic() + _SETTLE
        while time.monotonic() < end and any(moved[one] < acknowledged[one] for one in moved):
            time.sleep(0.1)
            last, moved = moved, self._moved(self._kafka, before)
            if moved != last:
                end = time.monotonic() + _SETTLE
        for name, count in acknowledged.items():
            # Acknowledgements are the proof; offsets also count other producers' records, but
            # records that are not there at all were lost (acks=0 acknowledges nothing).
            by = moved.get(name, 0)
            found = max(min(count, by), 0)
            note = f"offsets moved by {by}" if by != count else ""
            if name not in moved:
                note = "the topic is gone, deleted while the run went on"
            yield Check(topics[name], self._planned(name), found, note)

    def _doubled(self, checks: Iterable[Check]) -> int:
        """Events that may be there twice, in topics that have more than was acknowledged."""
        if self._kafka is None:
            return 0
        deliveries = self._kafka.report().topics
        grown = [one.name for one in checks if one.note and one.name in deliveries]
        return sum(deliveries[topic].perhaps_twice for topic in grown)

    @staticmethod
    def _topics(kafka: KafkaSink) -> dict[str, str]:
        return {stream.name: kafka.topic(stream.name) for stream in catalogue().streams}

    @staticmethod
    def _ends(kafka: KafkaSink) -> dict[str, int]:
        """The ends of all partitions of each stream's topic, together, where there is one."""
        topics = _Run._topics(kafka)
        ends = kafka.end_offsets(topics.values())
        return {name: sum(ends[topic].values()) for name, topic in topics.items() if topic in ends}

    @classmethod
    def _moved(cls, kafka: KafkaSink, before: Mapping[str, int]) -> dict[str, int]:
        """By how much the end of each stream's topic has moved."""
        return {name: end - before.get(name, 0) for name, end in cls._ends(kafka).items()}
