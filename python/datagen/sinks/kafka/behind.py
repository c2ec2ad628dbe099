"""What is in topics behind a place: read from where an earlier run had got to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from .reader import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .cluster import Cluster

    Offsets = Mapping[str, Mapping[int, int]]

__all__ = ["ids_behind", "read_ids", "rows_behind"]

_log = logging.getLogger(__name__)

#: Bytes of an id.
_ID = 16


def read_ids(
    cluster: Cluster,
    offsets: Offsets,
    ends: Offsets,
    relations: Mapping[str, str],
    take: Callable[[bytes], None],
) -> None:
    """Hands over the ids of the records from ``offsets`` to ``ends``, 16 bytes each, many one after the other.

    ``relations`` has the name of each topic's relation. Records that have been deleted meanwhile are passed. Raises
    ``ConfigurationError`` for partitions that are shorter than ``offsets`` say, and ``UnreachableError`` once no
    record has come for a while.
    """
    spans = _spans(offsets, ends)
    if spans:
        read(cluster.config, cluster, lambda reader: reader.ids(spans, relations, take))


def ids_behind(
    cluster: Cluster, offsets: Offsets, ends: Offsets, relations: Mapping[str, str]
) -> set[bytes]:
    """The ids of ``read_ids``, as text."""
    found: set[bytes] = set()

    def take(ids: bytes) -> None:
        digits = ids.hex()
        for at in range(0, len(digits), 2 * _ID):
            one = digits[at : at + 2 * _ID]
            text = f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}"
            found.add(text.encode())

    read_ids(cluster, offsets, ends, relations, take)
    _log.info("Kafka: %d events lie behind the position", len(found))
    return found


def rows_behind(cluster: Cluster, offsets: Offsets, ends: Offsets) -> dict[str, dict[bytes, int]]:
    """The last timestamp of each key from ``offsets`` to ``ends``, by topic; raises as ``read_ids``."""
    found: dict[str, dict[bytes, int]] = {topic: {} for topic in offsets}

    def take(topic: str, key: bytes, time: int) -> None:
        rows = found[topic]
        rows[key] = max(time, rows.get(key, time))

    if spans := _spans(offsets, ends):
        read(cluster.config, cluster, lambda reader: reader.keys(spans, take))
    _log.info("Kafka: %d rows lie behind the position", sum(map(len, found.values())))
    return found


def _spans(offsets: Offsets, ends: Offsets) -> list[tuple[str, int, int, int]]:
    """The partitions that have something behind ``offsets``."""
    spans = []
    for topic, partitions in offsets.items():
        for number, offset in partitions.items():
            end = ends.get(topic, {}).get(number, -1)
            if end < offset:
                found = f"ends at {end}" if end >= 0 else "is not there"
                raise ConfigurationError(
                    f"Kafka topic {topic}, partition {number}: {found}, and the position is at {offset}. "
                    "Was the topic deleted, or is this another cluster? Begin a new stream without --resume."
                )
            if end > offset:
                spans.append((topic, number, offset, end))
    return spans
