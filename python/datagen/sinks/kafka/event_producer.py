"""Events to the brokers by either engine: queued, waited for, and counted by outcome."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from ...types import catalogue
from .cluster import TIMEOUT
from .confluent import ConfluentEngine
from .delivery import DeliveryReport
from .engine import UnsupportedError, chosen
from .librdkafka import hint, kind_of
from .native import NativeEngine
from .transactional import TransactionalEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..._core import Batch, KeySet, Plan
    from ...presets import ProducerConfig
    from ..base import Order
    from .cluster import Cluster
    from .engine import Engine

__all__ = ["EventProducer", "Sending", "choose_engine", "flush_timeout"]

_log = logging.getLogger(__name__)

#: Seconds for answers of a broker to requests in flight when a run breaks off.
_GRACE: Final = 0.8
#: Seconds for which an engine waits at a time, so that signals and stalls are noticed.
_POLL: Final = 0.1
#: The beginning of an error's note with the delivery report.
_NOTE: Final = "acknowledged: "
#: What failed, by weight: refused data says more than a user who may not, or a broker that is away.
_WEIGHT: Final[tuple[type[DatagenError], ...]] = (
    RejectedError,
    ConfigurationError,
    UnreachableError,
)


def flush_timeout(events: int) -> float:
    """Seconds without an acknowledgement that end a load: 30, 1 for each 10 000 events, up to 300."""
    return min(30.0 + events / 10_000, 300.0)


def choose_engine(
    config: ProducerConfig,
    cluster: Cluster,
    lack: UnsupportedError | None = None,
    *,
    transactional_id: str | None = None,
) -> Engine:
    """The engine that the configuration names; ``auto`` takes native unless it has a ``lack``.

    With a ``transactional_id`` events are sent in transactions, which native lacks.
    """
    if transactional_id is not None:
        return TransactionalEngine(config, cluster, transactional_id)

    def native() -> Engine:
        return NativeEngine(config, cluster)

    def confluent() -> Engine:
        return ConfluentEngine(config, cluster)

    return chosen(config, native=native, confluent=confluent, lack=lack)


class EventProducer:
    """Sends event batches by an engine, and reports the delivery outcome of every event.

    One event that failed fails the run: it ends the wait for capacity, and no batch is taken after it.
    Errors of an incomplete delivery carry the report.
    """

    def __init__(
        self, config: ProducerConfig, cluster: Cluster, transactional_id: str | None = None
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._sending: Sending | None = None
        #: Called ten times a second while a batch waits for capacity; what it raises breaks the wait off.
        self.when_waiting: Callable[[], None] = lambda: None
        self.engine = choose_engine(config, cluster, transactional_id=transactional_id)
        # Values of client options may be secrets.
        _log.debug(
            "Kafka at %s: engine %s, acks %s, batches of %d bytes, linger %d ms, compression %s, idempotence %s; "
            "client options: %s",
            cluster.address,
            self.engine.name,
            config.acks,
            config.batch_size,
            config.linger_ms,
            config.compression,
            "on" if config.enable_idempotence else "off",
            ", ".join(config.client_options) or "none",
        )

    def find(self, topics: list[str], limits: Mapping[str, int]) -> None:
        """Has the engine find topics, once it knows how many bytes of a batch each topic takes."""
        for name, max_message_bytes in limits.items():
            self.engine.limit(name, max_message_bytes)
        try:
            self.engine.find(topics)
        except UnsupportedError as lack:
            if self.report().attempted:
                raise
            self.engine.close()
            self.engine = choose_engine(self._config, self._cluster, lack)
            self.find(topics, limits)

    def send(
        self, batch: Batch, topic: str, schema_id: int | None, *, timestamp: int | None = None
    ) -> None:
        """Queues a batch, waiting for capacity; raises for failures of earlier events."""
        self._stop_on_failure()
        with self._counting():
            self.engine.send(batch, topic, schema_id, self._wait_for_capacity, timestamp=timestamp)

    def begin_plan(
        self,
        plan: Plan,
        topics: Mapping[str, tuple[str, int | None]],
        parents: Callable[[str], list[KeySet]],
        workers: int,
        first_customer: int,
        *,
        order: Order,
        there: KeySet | None = None,
    ) -> Sending:
        """Begins to make a plan's events in the background, after all before them are acknowledged.

        ``topics`` has the topic and the schema id of each stream. Events whose ids are ``there`` are not sent.
        """
        if not isinstance(self.engine, NativeEngine):
            raise TypeError("the engine confluent takes batches only")
        # Events in the queue would be held back too.
        before = self.flush()
        sending = self.engine.send_plan(
            plan, topics, parents, workers, first_customer, order=order, there=there
        )
        self._sending = Sending(self.engine, sending, before, self._stop_on_failure)
        return self._sending

    def committed_before(self, topic: str) -> int:
        """Events of a topic that an earlier process has committed."""
        engine = self.engine
        return engine.committed_before(topic) if isinstance(engine, TransactionalEngine) else 0

    @property
    def transactional(self) -> TransactionalEngine:
        """The engine, if it is one of transactions; raises ``TypeError`` for others."""
        if not isinstance(self.engine, TransactionalEngine):
            raise TypeError("there are no transactions without a transactional id")
        return self.engine

    def begin_at(self, ends: Mapping[str, Mapping[int, int]]) -> Mapping[str, Mapping[int, int]]:
        """Says where topics end before the first event; where they did for the first process of the run."""
        engine = self.engine
        return engine.begin_at(ends) if isinstance(engine, TransactionalEngine) else ends

    def report(self) -> DeliveryReport:
        """The outcomes so far, without events of a plan that were made and never sent."""
        return self._sending.report() if self._sending else self._delivered()

    def flush(self, timeout: float | None = None) -> DeliveryReport:
        """Waits as long as outcomes come in, and raises unless every event was acknowledged.

        Gives up after ``timeout`` seconds without any, by default ``flush_timeout`` of what was sent.
        """
        report = self._delivered()
        wait = flush_timeout(report.attempted) if timeout is None else timeout
        if not report.complete:
            _log.info("Kafka: waiting for acknowledgements, %.3g s at most without any", wait)
        stall, settled = _Stall(self.engine, wait), -1
        with self._counting():
            while not self._flushed(min(_POLL, wait)):
                report = self._delivered()
                if report.attempted - report.pending != settled:
                    stall, settled = _Stall(self.engine, wait), report.attempted - report.pending
                elif stall.is_over():
                    raise self.incomplete(f" for {wait:.3g} s")
        report = self._delivered()
        if not report.complete:
            raise self.incomplete()
        return report

    def settle(self, seconds: float) -> bool:
        """Whether every event is acknowledged, after so many seconds at most; raises for a failed one."""
        self._stop_on_failure()
        with self._counting():
            if not self._flushed(seconds):
                self._stop_on_failure()
                return False
        if not self._delivered().complete:
            raise self.incomplete()
        return True

    def abandon(self) -> None:
        """Drops the queue, and gives the brokers a moment to answer requests in flight."""
        _log.info("Kafka: dropping the queue; %g s for the last answers", _GRACE)
        with suppress(DatagenError):  # the exception that ends the run says more
            self.engine.purge(in_flight=False)
            if not self._settled_within(_GRACE):
                self.engine.purge(in_flight=True)
                self._settled_within(_GRACE)

    def close(self) -> None:
        """Drops whatever is still queued."""
        self.engine.close()

    def add_counts(self, error: DatagenError) -> DatagenError:
        """``error``, with the report as it is now as its ``delivery`` and as a note."""
        report = self.report()
        if report.attempted:
            notes = getattr(error, "__notes__", [])
            notes[:] = [note for note in notes if not note.startswith(_NOTE)]
            error.delivery = report
            error.add_note(f"{_NOTE}{report}")
        return error

    def incomplete(self, when: str = "") -> DatagenError:
        """The exception for events that did not arrive, which says why."""
        return self.add_counts(self._why_incomplete(when))

    def _delivered(self) -> DeliveryReport:
        return DeliveryReport.of(self.engine.outcomes())

    def _stop_on_failure(self) -> None:
        if self.engine.has_failures:
            raise self.incomplete()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Adds to errors how many events were acknowledged when they were raised."""
        try:
            yield
        except DatagenError as error:
            self.add_counts(error)
            raise

    def _wait_for_capacity(self) -> None:
        """Waits as long as events are acknowledged, or a broker has asked for a pause."""
        timeout = self._config.delivery_timeout
        stall = _Stall(self.engine, timeout + TIMEOUT)
        while not self.engine.wait_for_capacity(_POLL):
            self._stop_on_failure()
            self.when_waiting()
            if stall.is_over():
                raise self.incomplete(f" within {timeout:.3g} s")
        self._stop_on_failure()  # events that are given up leave the queue too

    def _flushed(self, seconds: float) -> bool:
        """Whether every event has an outcome, after so many seconds at most."""
        try:
            return self.engine.flush(seconds)
        except DatagenError:
            # An error after the last acknowledgement takes nothing back.
            if self._delivered().complete:
                return True
            raise

    def _settled_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self.engine.flush(_POLL):
            if time.monotonic() >= end:
                return False
        return True

    def _why_incomplete(self, when: str) -> DatagenError:
        report, engine = self._delivered(), self.engine
        if engine.failure:
            name, text = engine.failure
            return self._cluster.failed(name, text)
        cause = f" Last error: {engine.last_error}." if engine.last_error else ""
        failed = [(one, name) for one in report.topics.values() for name in one.failed]
        incomplete = [one for one in report.topics.values() if one.acknowledged != one.attempted]
        if not any(kind_of(name) is RejectedError for _, name in failed):
            absent = self._cluster.absent(one.topic for one in incomplete) if incomplete else []
            if absent:
                return self._cluster.deleted(absent)
        if failed:
            topic, name = min(failed, key=lambda one: _WEIGHT.index(kind_of(one[1])))
            if (kind := kind_of(name)) is not UnreachableError:
                advice = hint(name, topic.topic, self._config)
                return kind(
                    f"Kafka at {self._cluster.address} refused events of topic {topic.topic}: {name}"
                    f"{f'; {advice}' if advice else ''}.{cause}"
                )
        if not incomplete:
            return UnreachableError(
                f"Kafka at {self._cluster.address} was not sent all events.{cause}"
            )
        late = incomplete[0]
        names = [name for name in late.failed if not name.startswith("_PURGE")]
        why = f": {names[0]}" if names else ""
        advice = hint(names[0], late.topic, self._config) if names else ""
        return UnreachableError(
            f"Kafka at {self._cluster.address} did not acknowledge events of topic {late.topic}"
            f"{when}{why}{f'; {advice}' if advice else ''}.{cause}"
        )


class _Stall:
    """So many seconds without progress, counted from now on or from the last progress after that."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._since = time.monotonic()

    def is_over(self) -> bool:
        since = max(self._since, self._engine.last_progress)
        return time.monotonic() - since >= self._seconds


class Sending:
    """The events of a plan, made and sent by threads in the background.

    Leaving the block before ``finish`` has returned makes and sends no more.
    """

    def __init__(
        self,
        engine: NativeEngine,
        sending: Any,
        before: DeliveryReport,
        check: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._sending = sending
        self._before = before
        self._check = check
        self._began = time.perf_counter()
        self._opened = False

    def report(self) -> DeliveryReport:
        """The outcomes so far, without events that were made and never sent."""
        return DeliveryReport.of(self._engine.outcomes()) if self._opened else self._before

    @property
    def made(self) -> dict[str, tuple[int, int]]:
        """Of each stream, the events that were queued so far, and those that are left out."""
        sent, left_out = self._sending.sent(), self._sending.left_out()
        return {
            stream.name: (sent[stream.name], left_out[stream.name])
            for stream in catalogue().streams
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sending.cancel()
        if not self._opened:
            self._engine.discard()

    def finish(self, progress: Callable[[int], None]) -> dict[str, tuple[int, float]]:
        """Sends, and returns once all events are queued; how many of each stream, and when.

        Those that are left out, as they are there, are counted too.
        ``progress`` is called with the number of events queued since its last call. The seconds count
        from here to the last event of a stream. Raises ``ReferentialIntegrityError`` for an event whose parent
        is not known, and as ``flush`` does for events that failed.
        """
        before, held = 0, time.perf_counter() - self._began
        self._check()
        self._opened = True
        self._engine.open()
        while True:
            done = self._sending.wait(_POLL)
            total = sum(map(sum, self.made.values()))
            progress(total - before)
            before = total
            # An error after the last acknowledgement takes nothing back.
            if self._engine.has_failures and not (done and self.report().complete):
                self._check()
            if done:
                seconds = self._sending.seconds()
                return {
                    name: (sum(counts), max(seconds[name] - held, 0))
                    for name, counts in self.made.items()
                }
