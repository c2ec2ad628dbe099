"""End offsets of partitions: those that the leaders list, and those that a consumer meets."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError, DatagenError, UnreachableError
from .cluster import TIMEOUT
from .interrupt import HeldInterrupt, held
from .librdkafka import consumer_properties, is_authorization, kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from .cluster import Cluster

    Partition = tuple[str, int]

__all__ = ["PATIENCE", "EndOffsets"]

_log = logging.getLogger(__name__)

#: Seconds for which end offsets are asked for although no further one is answered.
PATIENCE: Final = 30.0
#: Seconds for the leaders of topics that are about to be sent to.
_LEADERS: Final = 7.0
#: Seconds for the first request of a client, and for another.
_FIRST: Final = 0.4
_REQUEST: Final = 3.0
#: The errors of a broker that does not know a partition yet, or has only just become its leader.
_NOT_YET: Final = frozenset(
    {"OFFSET_NOT_AVAILABLE", "UNKNOWN_LEADER_EPOCH", "UNKNOWN_TOPIC_OR_PART"}
)


class EndOffsets:
    """Asks for end offsets by clients of its own, a new one after each that failed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._admin: AdminClient | None = None

    def close(self) -> None:
        self._admin = None

    def wait_for_leaders(self, topics: Iterable[str], metadata: Any) -> None:
        """Waits until the leaders of all partitions of topics have answered.

        A leader is known before it takes events; librdkafka, refused, would send the next request
        before it repeats the first. Of a new topic too, the leader lists the end offsets once it does.
        """
        names = list(topics)
        cluster = self._cluster
        left = _partitions(names, metadata)
        began = time.monotonic()
        _log.debug("waiting for the leaders of %s, %g s at most", ", ".join(names), _LEADERS)
        while left:
            leaders = {metadata.topics[name].partitions[number].leader for name, number in left}

            def check(leaders: Collection[int] = leaders) -> None:
                cluster.check_brokers(leaders, time.monotonic() - began)

            found, error = self._list_offsets(cluster.admin, left, check)
            left = [where for where in left if where not in found]
            if not left:
                return
            code = error.args[0].name() if error else ""
            if error and code not in _NOT_YET and kind_of(code) is not UnreachableError:
                raise cluster.failure(f"Cannot read the offsets of {left[0][0]}", error)
            if time.monotonic() - began >= _LEADERS:
                raise self._unanswered(left, metadata)
            if code == "FENCED_LEADER_EPOCH":
                cluster.renew()
            time.sleep(0.01)
            if code != "UNKNOWN_TOPIC_OR_PART":
                metadata = cluster.metadata()

    def read(self, topics: Iterable[str], patience: float = PATIENCE) -> dict[str, dict[int, int]]:
        """The next offset of each partition of the topics that exist.

        Asked for again, by a new client each time, until no further one is answered for ``patience``
        seconds: brokers may restart meanwhile, and connections break. The end is where a consumer
        meets it, since not every broker that speaks Kafka's protocol lists it right; where reading
        is not allowed, the listed offset is taken.
        """
        names = list(topics)
        listed: dict[Partition, int] = {}
        quiet_since = time.monotonic()
        _log.debug("reading the ends of %s, %g s at most without one", ", ".join(names), patience)
        while True:
            before, last_error = len(listed), ""
            end = quiet_since + patience
            try:
                if self._admin is None:
                    self._admin = self._cluster.new_admin()
                left = max(min(TIMEOUT, end - time.monotonic()), 1.0)
                metadata = self._cluster.metadata(left, self._admin)
                wanted = _partitions(names, metadata)
                asked = [where for where in wanted if where not in listed]
                found, error = self._list_offsets(self._admin, asked)
                listed |= found
                if listed.keys() >= set(wanted):
                    break
                if error is not None and is_authorization(error.args[0].name()):
                    raise self._cluster.failure("Cannot read the offsets of the topics", error)
                lost = next(where for where in wanted if where not in listed)
                last_error = f"{lost[0]} partition {lost[1]}: {_said(error)}"
            except (UnreachableError, ConfigurationError) as error:
                # A broker that is starting may look like one that refuses.
                if time.monotonic() >= end or _forbidden(error):
                    raise
                last_error = str(error)
            self._admin = None
            if len(listed) > before:
                quiet_since = time.monotonic()
            elif time.monotonic() >= end:
                raise UnreachableError(
                    f"Kafka at {self._cluster.address} told the end of no further partition for "
                    f"{patience:g} s; last error: {last_error}"
                )
            _log.info("Kafka: the ends of the topics are asked for again (%s)", last_error)
            time.sleep(0.25)
        met = self._high_watermarks(listed) if listed else {}
        ends: dict[str, dict[int, int]] = {}
        for (name, partition), offset in sorted(listed.items()):
            # A leader that has just become one may not know yet how far its followers are.
            ends.setdefault(name, {})[partition] = max(offset, met.get((name, partition), 0))
        return ends

    def _list_offsets(
        self, admin: AdminClient, wanted: Collection[Partition], check: Any = lambda: None
    ) -> tuple[dict[Partition, int], KafkaException | None]:
        """The end offsets that the leaders list in time, and the error of one of the others.

        A client that is new may ask for the leaders and never hear of them, which the next request does at once.
        """
        found, error = self._list_once(admin, wanted, check, _FIRST)
        left = [where for where in wanted if where not in found]
        if left and error is not None and error.args[0].name() == "_TIMED_OUT":
            more, error = self._list_once(admin, left, check, _REQUEST)
            found |= more
        return found, error

    def _list_once(
        self, admin: AdminClient, wanted: Collection[Partition], check: Any, seconds: float
    ) -> tuple[dict[Partition, int], KafkaException | None]:
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        if not wanted:
            return {}, None
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*where): latest for where in wanted}
        answers = admin.list_offsets(asked, request_timeout=seconds)
        self._cluster.wait(answers.values(), seconds + 1, admin, check)
        found: dict[Partition, int] = {}
        last_error: KafkaException | None = None
        for where, future in answers.items():
            if not future.done():
                continue
            try:
                offset = future.result().offset
            except KafkaException as error:
                last_error = error
            else:
                if offset >= 0:  # negative where no leader was asked in time
                    found[where.topic, where.partition] = offset
        return found, last_error

    def _unanswered(self, left: Collection[Partition], metadata: Any) -> UnreachableError:
        """The exception for partitions whose leaders have not answered."""
        name, number = min(left)
        leader = metadata.topics[name].partitions[number].leader
        broker = metadata.brokers.get(leader)
        if broker is None:
            return UnreachableError(
                f"Kafka at {self._cluster.address}: {name} partition {number} has no leader"
            )
        silent = f"{broker.host}:{broker.port}", "it does not answer"
        address, reason = self._cluster.events.unreached.get(leader, silent)
        return self._cluster.unreached(leader, address, reason)

    def _high_watermarks(self, listed: Mapping[Partition, int]) -> dict[Partition, int]:
        """The high watermarks that a fetch from there on returns, as far as the user may read.

        Tansu lists the first offset of the last batch plus one, however many records that has.
        """
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        cluster = self._cluster
        options = consumer_properties(cluster.config, cluster.events)
        met: dict[Partition, int] = {}
        end = time.monotonic() + TIMEOUT
        try:
            with closing(held(Consumer, options)) as consumer:
                consumer.assign(
                    [TopicPartition(*where, offset) for where, offset in listed.items()]
                )
                while len(met) < len(listed) and time.monotonic() < end:
                    with HeldInterrupt():
                        message: Any = consumer.poll(0.05)
                    error = message.error() if message is not None else None
                    if error and kind_of(error.name()) is ConfigurationError:
                        break
                    for where in listed.keys() - met.keys():
                        # Of the last fetch; negative before the first one.
                        _, high = consumer.get_watermark_offsets(
                            TopicPartition(*where), cached=True
                        )
                        if high >= 0:
                            met[where] = high
        except (KafkaException, ValueError) as error:
            _log.info("Kafka: the ends are those that the brokers list (%s)", type(error).__name__)
        if len(met) < len(listed):
            _log.info("Kafka: %d of %d ends were read", len(met), len(listed))
        return met


def _partitions(topics: Iterable[str], metadata: Any) -> list[Partition]:
    return [
        (name, number)
        for name in topics
        if name in metadata.topics
        for number in metadata.topics[name].partitions
    ]


def _said(error: KafkaException | None) -> str:
    return f"{error.args[0].str()} ({error.args[0].name()})" if error else "no answer"


def _forbidden(error: DatagenError) -> bool:
    return isinstance(error, ConfigurationError) and "_AUTHORIZATION_FAILED" in str(error)
