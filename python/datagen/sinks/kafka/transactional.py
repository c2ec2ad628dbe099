"""The engine that sends in Kafka transactions, each with the position that it reaches.

A consumer that reads committed records sees whole transactions only. The position of each topic (how many of its
events have been sent, in the order of the run) is committed as an offset of a consumer group, in the transaction
that has the events, so that both are there or neither is. A process that begins the same run again goes on from there,
and brokers shut out the one before it. So every event is there once, and nothing needs to be read again.

A stream is such a run too: its events of a topic have one order, however they are cut into slices. It goes on from a
position of its own, which says how many events of each topic were committed by then, and leaves out those that were since.
Rows of tables that follow it have no such order, since slices of another process have other ends: the rows of a slice are
in one transaction, and its position says up to which instant all changes are there.
"""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from ...types import catalogue
from .cluster import TIMEOUT
from .confluent import ConfluentEngine
from .delivery import PartitionDelivery
from .interrupt import HeldInterrupt, held
from .librdkafka import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from confluent_kafka import KafkaException, Producer, TopicPartition

    from ..._core import Batch
    from ...presets import ProducerConfig
    from ..base import Window
    from .cluster import Cluster
    from .delivery import Outcome

__all__ = ["TransactionalEngine", "identity_of"]

_log = logging.getLogger(__name__)

#: A transaction ends after so many events, or seconds.
_EVENTS: Final = 100_000
_SECONDS: Final = 1.0
#: Seconds for each call of the client, so that signals and stalls are noticed.
_STEP: Final = 0.5
#: Seconds for an answer of the transactions' coordinator, which may have to end what another process has left.
_COORDINATOR: Final = 60.0
_ABORT: Final = 5.0
#: What a broker's `offset.metadata.max.bytes` is at least, unless someone has made it less.
_METADATA: Final = 4_000
#: Errors that say that a later process has taken over.
_FENCED: Final = frozenset(
    {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "INVALID_TXN_STATE"}
)
#: Errors of a coordinator that is being looked for, or has just become one.
_PASSING: Final = frozenset(
    {
        "_TIMED_OUT",
        "_TRANSPORT",
        "_WAIT_COORD",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "NOT_COORDINATOR",
    }
)


class TransactionalEngine(ConfluentEngine):
    """Sends by confluent-kafka in transactions; events count as acknowledged once theirs is committed.

    ``identity`` is the transactional id and the name of the group that has the positions. Events that an earlier
    process has committed are not sent again, and not counted.
    """

    def __init__(self, config: ProducerConfig, cluster: Cluster, identity: str) -> None:
        super().__init__(config, cluster)
        self._identity = identity
        #: By topic, how many events transactions had committed before this process.
        self._before: dict[str, int] = {}
        #: By topic, how many events were handed over, with those that are there.
        self._handed: dict[str, int] = {}
        #: By topic, how many of these were there.
        self._left_out: dict[str, int] = {}
        #: By topic and partition, the events of committed transactions of this process.
        self._committed: dict[str, dict[int, int]] = {}
        self._open_since: float | None = None
        self._in_transaction = 0
        #: The transaction takes no more events.
        self._full = False
        #: The coordinator was asked to commit, and has not answered.
        self._asked = False
        self._taken_back = False
        self._group: Any = None
        #: By topic, the offset of each partition at which the first process began.
        self._begun: dict[str, Mapping[int, int]] = {}
        #: Topics whose rows follow a stream, and the milliseconds before which all changes were found to be committed.
        self._following: tuple[str, ...] = ()
        self._changes_before: dict[str, int] = {}
        #: The same of the transaction that is committed next.
        self._reached: int | None = None
        #: The transaction takes all rows of a slice, however many.
        self._in_slice = False

    def begin_at(self, ends: Mapping[str, Mapping[int, int]]) -> Mapping[str, Mapping[int, int]]:
        """Says where topics end as this process begins; returns where the first process has begun."""
        for topic, offsets in ends.items():
            if not self._before.get(topic):
                self._begun[topic] = offsets
        return {topic: self._begun[topic] or dict.fromkeys(ends[topic], 0) for topic in ends}

    def committed_before(self, topic: str) -> int:
        """Events of a topic that an earlier process has committed."""
        return self._before.get(topic, 0)

    def handed(self, topic: str) -> int:
        """Events of a topic that were handed over since the run began, by whichever process."""
        return self._handed.get(topic, 0)

    def left_out(self, topic: str) -> int:
        """Events of a topic that this process was given and an earlier one has committed."""
        return self._left_out.get(topic, 0)

    def go_on_from(self, handed: Mapping[str, int]) -> None:
        """Has the next event of each topic be the one behind so many.

        Raises ``ConfigurationError`` where fewer are known to be committed.
        """
        for topic, count in handed.items():
            committed = self.committed_before(topic)
            if committed < count:
                raise ConfigurationError(
                    f"Kafka at {self._cluster.address}: the position says that {count:,} events of topic {topic} were "
                    f"committed, and the group {self._identity} says {committed:,}. Has the cluster forgotten its offsets "
                    "(offsets.retention.minutes), or is it another one? Begin a new stream"
                )
        self._handed.update(handed)

    def go_on_behind(self, topics: Iterable[str]) -> None:
        """Has no row of these topics be one that an earlier process has committed."""
        self._handed.update({topic: self.committed_before(topic) for topic in topics})

    def changes_before(self, topics: Iterable[str]) -> int | None:
        """The milliseconds before which an earlier process has committed all changes of tables that follow."""
        found = {self._changes_before.get(topic) for topic in topics}
        return found.pop() if len(found) == 1 else None

    def follow(self, topics: Iterable[str], reached: int) -> None:
        """Says that the rows of these topics follow a stream; the next position has all changes before ``reached``."""
        self._following, self._reached = tuple(topics), reached
        self._begin()

    @contextmanager
    def slice(self, until: int) -> Iterator[None]:
        """Has all rows that are sent in the block in one transaction, whose position has all changes before ``until``."""
        self._in_slice = True
        try:
            yield
        finally:
            self._in_slice = False
        self._reached = max(until, self._reached or until)

    def find(self, topics: Iterable[str]) -> None:
        """Takes over from an earlier process, and learns how far it came."""
        self._connect()
        wanted = [topic for topic in topics if topic not in self._before]
        for position in self._positions(wanted):
            self._before[position.topic] = max(position.offset, 0)
            if position.offset > 0:
                _log.info(
                    "Kafka topic %s: %d events are committed already",
                    position.topic,
                    position.offset,
                )
            # A table may have no row; a group that never committed has a negative offset.
            if position.offset >= 0:
                self._begun[position.topic], reached = _read(position.metadata)
                if reached is not None:
                    self._changes_before[position.topic] = reached

    def send(
        self,
        batch: Batch,
        topic: str,
        schema_id: int | None,
        wait: Callable[[], None],
        *,
        timestamp: int | None = None,
    ) -> None:
        handed = self._handed.get(topic, 0)
        first = min(max(self._before.get(topic, 0) - handed, 0), len(batch))
        self._handed[topic] = handed + len(batch)
        self._left_out[topic] = self._left_out.get(topic, 0) + first
        if first == len(batch):
            return
        self._begin()
        self._send(batch, topic, schema_id, wait, timestamp=timestamp, first=first)
        self._in_transaction += len(batch) - first
        if self._in_slice:
            return
        since = self._open_since or 0.0
        if self._in_transaction >= _EVENTS or time.monotonic() - since >= _SECONDS:
            self._full = True
            while self._full:
                wait()

    def wait_for_capacity(self, seconds: float) -> bool:
        if self._full:
            return self._commit(seconds)
        return super().wait_for_capacity(seconds)

    def flush(self, seconds: float) -> bool:
        """Whether every event is committed, after so many seconds at most."""
        return super().flush(seconds) if self._open_since is None else self._commit(seconds)

    def purge(self, *, in_flight: bool) -> None:
        """Takes back the transaction, unless it is being committed already."""
        super().purge(in_flight=in_flight)
        self._abort()

    def outcomes(self) -> Iterator[Outcome]:
        for name, topic in self._topics.items():
            settled, nowhere = 0, PartitionDelivery(0, {})
            for _, partition, _, delivery in topic.outcomes():
                committed = self._committed.get(name, {}).get(partition, 0)
                lost = 0 if self._taken_back else delivery.perhaps_there
                one = replace(delivery, acknowledged=committed, perhaps_there=lost)
                settled += one.attempted
                if partition < 0:
                    nowhere = replace(nowhere, failed={**nowhere.failed, **one.failed})
                else:
                    yield name, partition, one.attempted, one
            # What was taken back was never sent.
            left = 0 if self._taken_back else max(topic.attempted - settled, 0)
            yield name, -1, nowhere.attempted + left, nowhere

    def close(self) -> None:
        self._abort()
        super().close()

    # --- transactions

    def _connect(self) -> Producer:
        if self._producer is None:
            producer = self._producer = self._new_producer(
                {"transactional.id": self._identity, "enable.idempotence": "true"}
            )
            self._called(
                "the coordinator of transactions", _COORDINATOR, producer.init_transactions
            )
            with closing(self._reader()) as reader:
                self._group = reader.consumer_group_metadata()
        return self._producer

    def _reader(self) -> Any:
        from confluent_kafka import Consumer

        from .librdkafka import consumer_properties

        options = consumer_properties(self._cluster.config, self._cluster.events)
        return held(Consumer, {**options, "group.id": self._identity})

    def _positions(self, topics: list[str]) -> list[TopicPartition]:
        from confluent_kafka import TopicPartition

        if not topics:
            return []
        asked = [TopicPartition(topic, 0) for topic in topics]
        found: list[list[TopicPartition]] = []
        with closing(self._reader()) as reader:

            def ask(seconds: float) -> None:
                found.append(reader.committed(asked, timeout=seconds))

            self._called("the positions of an earlier process", TIMEOUT, ask)
        return found[-1]

    def _begin(self) -> None:
        if self._open_since is None:
            with HeldInterrupt():
                self._connect().begin_transaction()
            self._open_since = time.monotonic()
            self._taken_back = False

    def _commit(self, seconds: float) -> bool:
        """Whether the transaction is committed, after so many seconds at most."""
        from confluent_kafka import KafkaException, TopicPartition

        producer = self._connect()
        end = time.monotonic() + seconds
        try:
            if not super().flush(seconds):
                return False
            if self.has_failures:
                return False
            reached = dict.fromkeys(self._following, self._reached)
            positions = [
                TopicPartition(
                    topic, 0, count, _text(self._begun.get(topic, {}), reached.get(topic))
                )
                for topic, count in (dict.fromkeys(self._following, 0) | self._handed).items()
                if topic in reached or count > self._before.get(topic, 0)
            ]
            left = max(end - time.monotonic(), _STEP)
            with HeldInterrupt():
                # A coordinator that is slow to answer is asked for its answer, and for nothing else.
                if not self._asked:
                    producer.send_offsets_to_transaction(positions, self._group, left)
                self._asked = True
                producer.commit_transaction(left)
        except KafkaException as error:
            if error.args[0].retriable():
                return False
            raise self._failure("a transaction", error) from None
        self._committed = {name: dict(topic.acknowledged) for name, topic in self._topics.items()}
        self._open_since, self._in_transaction, self._full, self._asked = None, 0, False, False
        return True

    def _abort(self) -> None:
        """Takes back an open transaction; one whose COMMIT was not answered is settled by the next process."""
        if self._open_since is None or self._asked or self._producer is None:
            return
        from confluent_kafka import KafkaException

        self._open_since, self._in_transaction = None, 0
        # Without an answer the coordinator does it by itself; no reader of committed records sees any.
        self._taken_back = True
        with suppress(KafkaException), HeldInterrupt():
            self._producer.abort_transaction(_ABORT)

    def _called(self, what: str, seconds: float, call: Callable[[float], None]) -> None:
        """Calls until the client has its answer, so many seconds at most."""
        from confluent_kafka import KafkaException

        end = time.monotonic() + seconds
        while True:
            try:
                with HeldInterrupt():
                    call(_STEP)
            except KafkaException as error:
                again = error.args[0].retriable() or error.args[0].name() in _PASSING
                if not again:
                    raise self._failure(what, error) from None
                if time.monotonic() >= end:
                    cause = self._cluster.events.last_error or error.args[0].str()
                    raise UnreachableError(
                        f"Kafka at {self._cluster.address}: {what} did not answer within {seconds:g} s ({cause})"
                    ) from None
            else:
                return

    def _failure(self, what: str, error: KafkaException) -> DatagenError:
        name = error.args[0].name()
        if name in _FENCED:
            return RejectedError(
                f"Kafka at {self._cluster.address}: another process has begun the same run with --exactly-once, "
                "and sends in place of this one; or a transaction was open for longer than transaction.timeout.ms. What is "
                "committed stays: if no other is at work, go on from it"
            )
        if kind_of(name) is RejectedError and error.args[0].txn_requires_abort():
            return UnreachableError(
                f"Kafka at {self._cluster.address}: {what} was given up ({error.args[0].str()})"
            )
        return super()._failure(what, error)


def _text(offsets: Mapping[int, int], reached: int | None) -> str:
    """A position's metadata: where a topic's partitions began, if that fits, and before which instant all changes are there."""
    text = ",".join(str(offsets[number]) for number in sorted(offsets))
    instant = "" if reached is None else f"@{reached}"
    return f"{text if len(text) + len(instant) <= _METADATA else ''}{instant}"


def _read(text: str | None) -> tuple[dict[int, int], int | None]:
    """The offsets and the instant of a position's metadata."""
    begun, _, reached = (text or "").partition("@")
    offsets = {number: int(offset) for number, offset in enumerate(begun.split(",")) if offset}
    return offsets, int(reached) if reached else None


def identity_of(producer: ProducerConfig, window: Window) -> str:
    """The transactional id of a run, under which it goes on: the same for the same events in the same order."""
    plan = window.plan
    said = [
        *(producer.avro, producer.avro_enums, producer.cloudevents, producer.content_type),
        producer.record_timestamp,
        *(
            producer.topic_prefix,
            plan.seed,
            plan.customers,
            window.first_customer,
            plan.days,
        ),
        *(
            plan.as_of.isoformat(),
            sorted((plan.labels or {}).items()),
            window.order,
            catalogue().version,
        ),
        *((window.events_from,) if window.open_ended else ()),
    ]
    digest = hashlib.sha256(repr(said).encode()).hexdigest()[:16]
    return f"{producer.topic_prefix}datagen-{digest}"
