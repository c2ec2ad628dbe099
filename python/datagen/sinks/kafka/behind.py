"""What is in topics behind a place: read from where an earlier run had got to."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError, UnreachableError
from .cluster import TIMEOUT
from .interrupt import HeldInterrupt
from .librdkafka import consumer_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .cluster import Cluster

    Offsets = Mapping[str, Mapping[int, int]]

__all__ = ["ids_behind", "rows_behind"]

_log = logging.getLogger(__name__)

#: Bytes before an Avro value: the magic byte, the number of the schema, and the length of an id.
_AVRO_ID: Final = slice(6, 42)


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

    _read(cluster, offsets, ends, take)
    _log.info("Kafka: %d events lie behind the position", len(found))
    return found


def rows_behind(cluster: Cluster, offsets: Offsets, ends: Offsets) -> dict[str, dict[bytes, int]]:
    """The last timestamp of each key from ``offsets`` to ``ends``, by topic; raises as ``ids_behind``."""
    found: dict[str, dict[bytes, int]] = {topic: {} for topic in offsets}

    def take(message: Any) -> None:
        rows, key, (_, time) = found[message.topic()], message.key() or b"", message.timestamp()
        rows[key] = max(time, rows.get(key, time))

    _read(cluster, offsets, ends, take)
    _log.info("Kafka: %d rows lie behind the position", sum(map(len, found.values())))
    return found


def _left(offsets: Offsets, ends: Offsets) -> dict[tuple[str, int], int]:
    """The ends of the partitions that have something behind ``offsets``."""
    left: dict[tuple[str, int], int] = {}
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
                left[topic, number] = end
    return left


def _read(cluster: Cluster, offsets: Offsets, ends: Offsets, take: Callable[[Any], None]) -> None:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    if not (left := _left(offsets, ends)):
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
