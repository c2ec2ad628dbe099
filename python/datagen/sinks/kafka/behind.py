"""What topics hold behind offsets: the ids of events, the keys of rows, and what an earlier attempt has left."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ..._core import KeySet
from ...errors import ConfigurationError
from ...types import catalogue
from .cluster import TIMEOUT
from .interrupt import HeldInterrupt, held
from .librdkafka import consumer_properties
from .reader import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..._core import Plan
    from ..base import Window
    from .cluster import Cluster

    Offsets = Mapping[str, Mapping[int, int]]

__all__ = ["There", "begins", "ids_behind", "read_ids", "rows_behind"]

_log = logging.getLogger(__name__)

#: What begins at the offsets from which a stream goes on.
_POSITION: Final = "the position is"
#: Seconds within which what a process has sent before it was killed is in its topic.
_ON_ITS_WAY: Final = 1.0
#: Bytes of an id.
_ID: Final = 16


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
        read_ids(cluster, offsets, ends, self.names, self._add, "the run began")

    def _add(self, topic: str, number: int, ids: bytes, offsets: bytes) -> None:
        window, name = self.window, self.names[topic]
        counts = self.counts.setdefault(topic, {})
        if catalogue()[name].is_reference:
            # They belong to no customer, and are few.
            places = range(0, len(ids), _ID)
            are_new = [self.ids.add(ids[at : at + _ID]) for at in places]
            new, first = sum(are_new), are_new.index(True) if True in are_new else None
        else:
            new, first = self.ids.add_owned(ids, window.plan, name, window.first_customer)
        counts[number] = counts.get(number, 0) + new
        if first is not None and number not in self.first.setdefault(topic, {}):
            self.first[topic][number] = memoryview(offsets).cast("q")[first]


def begins(cluster: Cluster, offsets: Offsets) -> dict[str, dict[int, int]]:
    """The offset of the first record that each of these partitions still has, or would have."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    found: dict[str, dict[int, int]] = {topic: {} for topic in offsets}
    try:
        with closing(
            held(Consumer, consumer_properties(cluster.config, cluster.events))
        ) as consumer:
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


def read_ids(
    cluster: Cluster,
    offsets: Offsets,
    ends: Offsets,
    relations: Mapping[str, str],
    take: Callable[[str, int, bytes, bytes], None],
    what: str = _POSITION,
) -> None:
    """Hands over the ids of the records from ``offsets`` to ``ends``: topic, partition, ids, offsets, many at once.

    Ids have 16 bytes each, one after the other, and offsets 8, as the machine has them. ``relations`` has the name of each
    topic's relation. Records that have been deleted meanwhile are passed. Raises ``ConfigurationError`` for partitions
    that are shorter than ``offsets`` say, and ``UnreachableError`` once no record has come for a while.
    """
    spans = _spans(offsets, ends, what)
    if spans:
        read(cluster.config, cluster, lambda reader: reader.ids(spans, relations, take))


@dataclass
class _Own:
    """Which ids are of the events and rows of a plan's customers from one on; topics may have other customers' too."""

    plan: Plan
    first: int
    seen: KeySet = field(default_factory=KeySet)

    def takes(self, ident: bytes, name: str) -> bool:
        """Whether an id of 16 bytes is one, the first time that it is asked about."""
        return bool(self.seen.add_owned(ident, self.plan, name, self.first)[0])


def ids_behind(
    cluster: Cluster,
    offsets: Offsets,
    ends: Offsets,
    relations: Mapping[str, str],
    plan: Plan,
    first: int = 0,
) -> set[bytes]:
    """The ids of ``read_ids`` that are of a plan's customers from ``first`` on, as text."""
    found, own = set[bytes](), _Own(plan, first)

    def take(topic: str, _number: int, ids: bytes, _offsets: bytes) -> None:
        for at in range(0, len(ids), _ID):
            if own.takes(ids[at : at + _ID], relations[topic]):
                found.add(str(UUID(bytes=ids[at : at + _ID])).encode())

    read_ids(cluster, offsets, ends, relations, take)
    _log.info("Kafka: %d events lie behind the position", len(found))
    return found


def rows_behind(
    cluster: Cluster,
    offsets: Offsets,
    ends: Offsets,
    relations: Mapping[str, str],
    plan: Plan,
    first: int = 0,
) -> dict[str, dict[bytes, int]]:
    """The last timestamp of each key of these customers from ``offsets`` to ``ends``, by topic.

    Raises as ``read_ids``.
    """
    found: dict[str, dict[bytes, int]] = {topic: {} for topic in offsets}
    own = _Own(plan, first)

    def take(topic: str, key: bytes, time: int) -> None:
        rows = found[topic]
        if key in rows or own.takes(_ident(key), relations[topic]):
            rows[key] = max(time, rows.get(key, time))

    if spans := _spans(offsets, ends, _POSITION):
        read(cluster.config, cluster, lambda reader: reader.keys(spans, take))
    _log.info("Kafka: %d rows lie behind the position", sum(map(len, found.values())))
    return found


def _ident(key: bytes) -> bytes:
    """An id that is a key of a record; nothing for one that is none, as of reference rows, which do not change."""
    try:
        return UUID(key.decode()).bytes
    except ValueError:
        return b""


def _spans(offsets: Offsets, ends: Offsets, what: str) -> list[tuple[str, int, int, int]]:
    """The partitions that have something behind ``offsets``."""
    spans = []
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
                spans.append((topic, number, offset, end))
    return spans
