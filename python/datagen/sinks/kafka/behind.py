"""What is in topics behind a place: read from where an earlier run had got to, or began."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..._core import KeySet
from ...errors import ConfigurationError, UnreachableError
from ...types import catalogue
from .cluster import TIMEOUT
from .interrupt import HeldInterrupt
from .librdkafka import consumer_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..base import Window
    from .cluster import Cluster

    Offsets = Mapping[str, Mapping[int, int]]

__all__ = ["There", "begins", "ids_behind", "rows_behind"]

_log = logging.getLogger(__name__)

#: What begins at the offsets from which a stream goes on.
_POSITION: Final = "the position is"
#: Bytes before an Avro value: the magic byte, the number of the schema, and the length of an id.
_AVRO_ID: Final = slice(6, 42)
#: Seconds within which what a process has sent before it was killed is in its topic.
_ON_ITS_WAY: Final = 1.0
#: Characters of an id.
_ID: Final = 36
#: Ids that are looked at together.
_AT_ONCE: Final = 10_000


@dataclass
class There:
    """The rows and events of a window that topics hold, as far as these were read.

    ``names`` has the table or stream of each topic. ``counts`` has how many rows of the window are in each partition, and
    ``first`` the least offset of one, by topic and partition.
    """

    window: Window
    names: Mapping[str, str]
    ids: KeySet = field(default_factory=KeySet)
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    first: dict[str, dict[int, int]] = field(default_factory=dict)

    def read(
        self, cluster: Cluster, offsets: Offsets, ends: Callable[[], dict[str, dict[int, int]]]
    ) -> None:
        """Takes what there is from ``offsets`` on, until no more has come for a while.

        What others send meanwhile is no reason to wait. Raises as ``ids_behind`` does.
        """
        found = len(self.ids)
        while True:
            asked, end = time.monotonic(), ends()
            self._take(cluster, offsets, end)
            # Partitions that no place was asked of have nothing of the window.
            offsets = {
                topic: {number: end[topic][number] for number in partitions}
                for topic, partitions in offsets.items()
            }
            if len(self.ids) == found and self._settled:
                return
            found, self._settled = len(self.ids), True
            time.sleep(max(0.0, _ON_ITS_WAY - (time.monotonic() - asked)))

    #: Whether all was read once.
    _settled: bool = field(default=False, init=False, repr=False)

    def _take(self, cluster: Cluster, offsets: Offsets, ends: Offsets) -> None:
        waiting: dict[tuple[str, int], list[tuple[int, bytes]]] = {}

        def take(message: Any) -> None:
            topic, number = message.topic(), message.partition()
            ident = _ident(message, catalogue()[self.names[topic]].primary_key)
            if ident is not None:
                those = waiting.setdefault((topic, number), [])
                those.append((message.offset(), ident))
                if len(those) >= _AT_ONCE:
                    self._add(topic, number, waiting.pop((topic, number)))

        _read(cluster, offsets, ends, take, "the run began")
        for where, those in waiting.items():
            self._add(*where, those)

    def _add(self, topic: str, number: int, those: list[tuple[int, bytes]]) -> None:
        window, name = self.window, self.names[topic]
        counts = self.counts.setdefault(topic, {})
        if catalogue()[name].is_reference:
            # They belong to no customer, and are few.
            new = sum(self.ids.add(ident.decode()) for _, ident in those if len(ident) == _ID)
        else:
            texts = [ident for _, ident in those]
            new = self.ids.add_owned(texts, window.plan, name, window.first_customer)
        counts[number] = counts.get(number, 0) + new
        if new and number not in self.first.setdefault(topic, {}):
            own = (offset for offset, ident in those if ident.decode("latin-1") in self.ids)
            self.first[topic][number] = next(own)


def begins(cluster: Cluster, offsets: Offsets) -> dict[str, dict[int, int]]:
    """The offset of the first record that each of these partitions still has, or would have."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    found: dict[str, dict[int, int]] = {topic: {} for topic in offsets}
    try:
        with closing(Consumer(consumer_properties(cluster.config, cluster.events))) as consumer:
            for topic, partitions in offsets.items():
                for number in partitions:
                    with HeldInterrupt():
                        low, _ = consumer.get_watermark_offsets(
                            TopicPartition(topic, number), timeout=TIMEOUT
                        )
                    found[topic][number] = low
    except KafkaException as error:
        raise cluster.failure("Cannot read where the topics begin", error) from None
    return found


def ids_behind(
    cluster: Cluster, offsets: Offsets, ends: Offsets, primary: Mapping[str, str]
) -> set[bytes]:
    """The ids, as text, of the records from ``offsets`` to ``ends``, by topic and partition.

    ``primary`` has the field of each topic's ids, for records without CloudEvents headers. Records that have
    been deleted meanwhile are passed. Raises ``ConfigurationError`` for partitions that are shorter than
    ``offsets`` say, and ``UnreachableError`` once no record has come for a while.
    """
    found: set[bytes] = set()

    def take(message: Any) -> None:
        ident = _ident(message, primary[message.topic()])
        if ident is not None:
            found.add(ident)

    _read(cluster, offsets, ends, take, _POSITION)
    _log.info("Kafka: %d events lie behind the position", len(found))
    return found


def rows_behind(cluster: Cluster, offsets: Offsets, ends: Offsets) -> dict[str, dict[bytes, int]]:
    """The last timestamp of each key from ``offsets`` to ``ends``, by topic; raises as ``ids_behind``."""
    found: dict[str, dict[bytes, int]] = {topic: {} for topic in offsets}

    def take(message: Any) -> None:
        rows, key, (_, time) = found[message.topic()], message.key() or b"", message.timestamp()
        rows[key] = max(time, rows.get(key, time))

    _read(cluster, offsets, ends, take, _POSITION)
    _log.info("Kafka: %d rows lie behind the position", sum(map(len, found.values())))
    return found


def _left(offsets: Offsets, ends: Offsets, what: str) -> dict[tuple[str, int], int]:
    """The ends of the partitions that have something behind ``offsets``."""
    left: dict[tuple[str, int], int] = {}
    for topic, partitions in offsets.items():
        for number, offset in partitions.items():
            end = ends.get(topic, {}).get(number, -1)
            if end < offset:
                found = f"ends at {end}" if end >= 0 else "is not there"
                raise ConfigurationError(
                    f"Kafka topic {topic}, partition {number}: {found}, and {what} at {offset}. "
                    "Was the topic deleted, or is this another cluster? Begin anew without --resume."
                )
            if end > offset:
                left[topic, number] = end
    return left


def _read(
    cluster: Cluster, offsets: Offsets, ends: Offsets, take: Callable[[Any], None], what: str
) -> None:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    if not (left := _left(offsets, ends, what)):
        return

    options = {
        **consumer_properties(cluster.config, cluster.events),
        "auto.offset.reset": "earliest",
        # What was written is there, whether its transaction is at its end or not.
        "isolation.level": "read_uncommitted",
    }
    try:
        with closing(Consumer(options)) as consumer:
            consumer.assign([TopicPartition(*where, offsets[where[0]][where[1]]) for where in left])
            end = time.monotonic() + TIMEOUT
            while left:
                with HeldInterrupt():
                    messages: Any = consumer.consume(10_000, 0.1)
                if messages:
                    end = time.monotonic() + TIMEOUT
                elif time.monotonic() >= end:
                    topic, number = min(left)
                    raise UnreachableError(
                        f"Kafka at {cluster.address} did not let the end of {topic} partition {number} be "
                        f"read within {TIMEOUT:g} s"
                    )
                for message in messages:
                    where = message.topic(), message.partition()
                    if (error := message.error()) is not None:
                        if error.name() == "_PARTITION_EOF":
                            left.pop(where, None)
                        elif error.name().endswith("AUTHORIZATION_FAILED"):
                            raise ConfigurationError(
                                f"Kafka at {cluster.address}: {message.topic()} cannot be read "
                                f"({error.name()}), so that it is not known which events are there"
                            )
                        continue
                    take(message)
                    if where in left and message.offset() + 1 >= left[where]:
                        del left[where]
    except KafkaException as error:
        raise cluster.failure("Cannot read what the topics hold", error) from None


def _ident(message: Any, field: str) -> bytes | None:
    """The id of an event; None for a record that is none of ours."""
    for name, value in message.headers() or ():
        if name == "ce_id":
            return bytes(value or b"")
    value = message.value() or b""
    if value[:1] == b"\0":
        return bytes(value[_AVRO_ID])
    try:
        ident = json.loads(value)[field]
    except (ValueError, KeyError, TypeError):
        return None
    return str(ident).encode()
