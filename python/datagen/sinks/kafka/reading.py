"""Messages of any topic: its last or first ones, and those that come; decoded as far as can be."""

from __future__ import annotations

import time
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import ConfigurationError, UnreachableError
from .cluster import TIMEOUT, Cluster
from .decoding import Decoded, Decoder
from .end_offsets import EndOffsets
from .interrupt import HeldInterrupt, held
from .librdkafka import consumer_properties, is_authorization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...presets import ProducerConfig

    Span = tuple[int, int]

__all__ = ["Message", "TopicReader"]

#: Offsets of a partition that are looked through at first for a key, from the end on.
_SCAN: Final = 5_000
#: Most offsets that are looked through at a time.
_MOST: Final = 1_000_000
#: Seconds of silence after which a follower asks whether the cluster is there.
_QUIET: Final = 10.0


@dataclass(frozen=True)
class Message:
    """One message; ``timestamp`` is milliseconds since 1970, None where the topic has none."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: Decoded
    headers: tuple[tuple[str, Decoded], ...]
    value: Decoded


class TopicReader:
    """Reads one topic as a context manager: committed messages, with no offset kept for anyone.

    ``topic`` may lack the configuration's prefix. With a ``key`` only its messages are read, from the partition
    that Java's producer gives it. Raises ``ConfigurationError`` where the topic is missing or may not be read, and
    ``UnreachableError`` where the cluster, or a registry that was named, is not reached.
    """

    def __init__(self, config: ProducerConfig, topic: str, key: str | None = None) -> None:
        self._cluster = Cluster(config)
        self._decoder = Decoder(config)
        self._asked = topic
        self._key = None if key is None else key.encode()
        self._topic = ""
        self._consumer: Any = None
        #: The next offset of each partition, as far as it was looked at.
        self._next: dict[int, int] = {}
        self._low: dict[int, int] = {}

    def __enter__(self) -> Self:
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        cluster = self._cluster
        self._topic = self._found(cluster.metadata().topics)
        ends = EndOffsets(cluster).read([self._topic]).get(self._topic, {})
        if self._key is not None and ends:
            number = (_murmur2(self._key) & 0x7FFFFFFF) % len(ends)
            ends = {number: ends[number]}
        options = {
            **consumer_properties(cluster.config, cluster.events),
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
        try:
            self._consumer = held(Consumer, options)
            for number, end in ends.items():
                with HeldInterrupt():
                    low, _ = self._consumer.get_watermark_offsets(
                        TopicPartition(self._topic, number), timeout=TIMEOUT
                    )
                self._low[number], self._next[number] = min(low, end), end
        except KafkaException as error:
            raise self._failure(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()
        if self._consumer is not None:
            self._consumer.close()

    def last(self, number: int) -> list[Message]:
        """The last messages of all partitions together, in order of time."""
        found: dict[int, list[Any]] = {one: [] for one in self._next}
        begin = dict(self._next)
        step = number if self._key is None else max(number, _SCAN)
        while left := [
            one for one in begin if len(found[one]) < number and begin[one] > self._low[one]
        ]:
            spans = {one: (max(self._low[one], begin[one] - step), begin[one]) for one in left}
            # Before the end there may be markers of transactions, and gaps of a compacted topic.
            for one, more in self._read(spans).items():
                found[one] = more + found[one]
            begin.update({one: first for one, (first, _) in spans.items()})
            step = min(step * 4, _MOST)
        return self._decoded(found)[-number:]

    def first(self, number: int) -> list[Message]:
        """The first messages of all partitions together, in order of time."""
        spans = {one: (self._low[one], end) for one, end in self._next.items()}
        return self._decoded(self._read(spans, number))[:number]

    def value(self, partition: int, offset: int) -> bytes:
        """The bytes of the value at an offset; nothing where there is no message, or none with a value."""
        found = self._read({partition: (offset, offset + 1)})[partition]
        return b"".join(message.value() or b"" for message in found)

    def follow(self) -> Iterator[Message]:
        """What comes after the end as it was on entry, without end: at any time in order of time."""
        from confluent_kafka import KafkaException, TopicPartition

        try:
            self._consumer.assign(
                [TopicPartition(self._topic, *where) for where in self._next.items()]
            )
            heard = time.monotonic()
            while True:
                found: dict[int, list[Any]] = {}
                for message in self._consume(500)[0]:
                    if self._wanted(message):
                        found.setdefault(message.partition(), []).append(message)
                if found:
                    heard = time.monotonic()
                    yield from self._decoded(found)
                elif time.monotonic() - heard >= _QUIET:
                    self._cluster.metadata()
                    heard = time.monotonic()
        except KafkaException as error:
            raise self._failure(error) from None

    def _found(self, topics: Mapping[str, Any]) -> str:
        """The topic by its name with the prefix, or as it was asked for."""
        config = self._cluster.config
        for name in (config.topic_prefix + self._asked, self._asked):
            if name in topics:
                return name
        name = config.topic_prefix + self._asked
        close = get_close_matches(name, topics, n=1)
        advice = f"did you mean {close[0]}?" if close else "check its name and --topic-prefix"
        raise ConfigurationError(
            f"Kafka at {self._cluster.address}: topic {config.hide(name)} does not exist; {advice}"
        )

    def _wanted(self, message: Any) -> bool:
        return self._key is None or message.key() == self._key

    def _read(self, spans: Mapping[int, Span], number: int | None = None) -> dict[int, list[Any]]:
        """What is wanted of each span of offsets, at most ``number`` of each partition."""
        from confluent_kafka import KafkaException, TopicPartition

        found: dict[int, list[Any]] = {one: [] for one in spans}
        left = {one: end for one, (begin, end) in spans.items() if begin < end}
        quiet_since = time.monotonic()
        try:
            self._consumer.assign([TopicPartition(self._topic, one, spans[one][0]) for one in left])
            while left:
                messages, ended = self._consume(1_000)
                for message in messages:
                    one, offset = message.partition(), message.offset()
                    if one not in left:
                        continue
                    if offset < left[one] and self._wanted(message):
                        found[one].append(message)
                    if offset + 1 >= left[one] or len(found[one]) == number:
                        del left[one]
                for one in ended:
                    left.pop(one, None)
                if messages or ended:
                    quiet_since = time.monotonic()
                elif left and time.monotonic() - quiet_since >= TIMEOUT:
                    raise UnreachableError(
                        f"Kafka at {self._cluster.address} did not let {self._topic} partition {min(left)} "
                        f"be read within {TIMEOUT:g} s"
                    )
            self._consumer.unassign()
        except KafkaException as error:
            raise self._failure(error) from None
        return found

    def _consume(self, number: int) -> tuple[list[Any], set[int]]:
        """Messages, and the partitions that are at their end: of an open transaction none is read."""
        with HeldInterrupt():
            messages: Any = self._consumer.consume(number, 0.1)
        found, ended = [], set()
        for message in messages:
            error = message.error()
            if error is None:
                found.append(message)
            elif error.name() == "_PARTITION_EOF":
                ended.add(message.partition())
            elif is_authorization(error.name()) or error.name() == "UNKNOWN_TOPIC_OR_PART":
                raise ConfigurationError(
                    f"Kafka at {self._cluster.address}: {self._topic} cannot be read ({error.name()})"
                )
        return found, ended

    def _decoded(self, found: Mapping[int, list[Any]]) -> list[Message]:
        """Messages in order of time; of one partition in their own order where times are equal."""
        every = [message for messages in found.values() for message in messages]
        every.sort(key=lambda one: (one.timestamp()[1], one.partition(), one.offset()))
        return [self._message(one) for one in every]

    def _message(self, message: Any) -> Message:
        kind, timestamp = message.timestamp()
        return Message(
            topic=self._topic,
            partition=message.partition(),
            offset=message.offset(),
            timestamp=timestamp if kind else None,
            key=self._decoder(message.key()),
            headers=tuple(
                (name, self._decoder.text(value)) for name, value in message.headers() or ()
            ),
            value=self._decoder(message.value()),
        )

    def _failure(self, error: Any) -> Exception:
        return self._cluster.failure(f"Cannot read {self._topic}", error)


def _murmur2(key: bytes) -> int:
    """The hash by which Java's producer chooses a partition (Kafka's ``Utils.murmur2``)."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    whole = len(key) - len(key) % 4
    hashed = 0x9747B28C ^ len(key)
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * factor & mask
        hashed = hashed * factor & mask ^ (word ^ word >> 24) * factor & mask
    if rest := key[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * factor & mask
    hashed = (hashed ^ hashed >> 13) * factor & mask
    return hashed ^ hashed >> 15
