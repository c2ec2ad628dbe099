"""Records from one offset to another, by either engine: held against a plan, or as ids and keys."""

from __future__ import annotations

import json
import logging
import time
from array import array
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from uuid import UUID

from ... import _core
from ...errors import ConfigurationError, UnreachableError
from ...types import catalogue
from .cluster import TIMEOUT
from .engine import UnsupportedError, chosen
from .interrupt import HeldInterrupt, held
from .librdkafka import consumer_properties, is_authorization, name_of
from .native import LACKS, client_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..._core import Reconciliation
    from ...presets import EngineName, ProducerConfig
    from .cluster import Cluster

    #: Topic, partition, first offset, and the one behind the last.
    Span = tuple[str, int, int, int]
    #: Takes topic, partition, ids and offsets of some records.
    TakeIds = Callable[[str, int, bytes, bytes], None]
    #: Topic, partition, a number of offsets that are not read, and why not.
    Unread = tuple[str, int, int, str]

__all__ = ["Reader", "read"]

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

#: Messages that librdkafka hands over at once.
_AT_ONCE: Final = 10_000
#: Bytes before an Avro value: the magic byte, the number of the schema, and the length of an id.
_AVRO_ID: Final = slice(6, 42)


class Reader(Protocol):
    """Reads spans of partitions, each once, keeping no offset for anyone.

    Each method returns the offsets that could not be read. They raise ``ConfigurationError`` for topics that may not be read,
    ``UnreachableError`` once nothing has come for ``TIMEOUT`` seconds, and ``UnsupportedError``, before anything was
    handed over, where the brokers ask for something that this engine lacks.
    """

    @property
    def name(self) -> EngineName: ...
    def reconcile(
        self,
        spans: Sequence[Span],
        found: Reconciliation,
        accepts: Callable[[int], bool],
        progress: Callable[[int], None],
    ) -> Sequence[Unread]:
        """Holds the committed records of one topic against a plan; ``progress`` is told how many came.

        ``accepts`` says of the id of a schema whether it is the catalogue's.
        """

    def ids(
        self, spans: Sequence[Span], relations: Mapping[str, str], take: TakeIds
    ) -> Sequence[Unread]:
        """Hands over the ids of records that are written, if not committed: topic, partition, ids and offsets of some.

        Ids have 16 bytes each, one after the other, and offsets 8, as the machine has them. ``relations`` has the name
        of each topic's relation. Records without an id are passed over.
        """

    def keys(
        self, spans: Sequence[Span], take: Callable[[str, bytes, int], None]
    ) -> Sequence[Unread]:
        """Hands over topic, key and timestamp in milliseconds of each record, in the order of each partition."""


def read(config: ProducerConfig, cluster: Cluster, work: Callable[[Reader], Result]) -> Result:
    """What ``work`` makes of a reader of the engine that the configuration names; ``auto`` is native where that can."""

    def reader(lack: UnsupportedError | None = None) -> Reader:
        def native() -> Reader:
            return _NativeReader(config, cluster)

        def confluent() -> Reader:
            return _ConfluentReader(cluster)

        found = chosen(config, native=native, confluent=confluent, lack=lack)
        _log.debug("Kafka at %s: read by engine %s", cluster.address, found.name)
        return found

    try:
        return work(reader())
    except UnsupportedError as lack:
        return work(reader(lack))


class _NativeReader:
    """Fetches, checks and decompresses batches in the core, without an object for each record."""

    name: Final = "native"

    def __init__(self, config: ProducerConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._arguments = client_arguments(config)

    def reconcile(
        self,
        spans: Sequence[Span],
        found: Reconciliation,
        accepts: Callable[[int], bool],
        progress: Callable[[int], None],
    ) -> Sequence[Unread]:
        return self._read(spans, lambda one: one.reconcile(found, accepts), progress)

    def ids(
        self, spans: Sequence[Span], relations: Mapping[str, str], take: TakeIds
    ) -> Sequence[Unread]:
        names = dict(relations)

        def each(parts: list[tuple[str, int, bytes, bytes]]) -> None:
            for part in parts:
                take(*part)

        return self._read(spans, lambda one: one.ids(names), each, committed=False)

    def keys(
        self, spans: Sequence[Span], take: Callable[[str, bytes, int], None]
    ) -> Sequence[Unread]:
        def each(rows: list[tuple[str, bytes, int]]) -> None:
            for row in rows:
                take(*row)

        return self._read(spans, lambda one: one.keys(), each, committed=False)

    def _read(
        self,
        spans: Sequence[Span],
        ask: Callable[[_core.Reading], Result | None],
        take: Callable[[Result], None],
        *,
        committed: bool = True,
    ) -> Sequence[Unread]:
        came = False
        try:
            reading = _core.Reading(
                [*spans], **self._arguments, committed=committed, silence=TIMEOUT
            )
        except _core.ProducerError as error:
            raise UnsupportedError(self._config.hide(str(error.args[1]))) from None
        try:
            while (piece := ask(reading)) is not None:
                came = came or bool(piece)
                take(piece)
        except _core.ProducerError as error:
            code, text = error.args
            name, text = name_of(code), self._config.hide(text)
            if name in LACKS and not came:
                raise UnsupportedError(text) from None
            if name == "_TIMED_OUT":
                raise UnreachableError(f"Kafka at {self._cluster.address}: {text}") from None
            raise self._cluster.failed(name, f"the topics cannot be read: {text}") from None
        else:
            return reading.unread
        finally:
            reading.close()


class _ConfluentReader:
    """Reads by confluent-kafka, a Python object for each record."""

    name: Final = "confluent"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reconcile(
        self,
        spans: Sequence[Span],
        found: Reconciliation,
        accepts: Callable[[int], bool],
        progress: Callable[[int], None],
    ) -> Sequence[Unread]:
        topic = spans[0][0] if spans else ""
        ends = {number: end for _, number, _, end in spans}

        def take(messages: list[Any]) -> tuple[dict[tuple[str, int], int], list[Any]]:
            taken, last, errors = found.find(messages, ends, accepts)
            progress(taken)
            return {(topic, number): offset for number, offset in last.items()}, errors

        return self._read(spans, take)

    def ids(
        self, spans: Sequence[Span], relations: Mapping[str, str], take: TakeIds
    ) -> Sequence[Unread]:
        fields = {topic: catalogue()[name].primary_key for topic, name in relations.items()}

        def each(messages: list[Any]) -> None:
            parts: defaultdict[tuple[str, int], tuple[bytearray, array[int]]]
            parts = defaultdict(lambda: (bytearray(), array("q")))
            for message in messages:
                if (ident := _id_of(message, fields[message.topic()])) is not None:
                    ids, offsets = parts[message.topic(), message.partition()]
                    ids += ident
                    offsets.append(message.offset())
            for (topic, number), (ids, offsets) in parts.items():
                take(topic, number, bytes(ids), offsets.tobytes())

        return self._read(spans, _apart(spans, each), committed=False)

    def keys(
        self, spans: Sequence[Span], take: Callable[[str, bytes, int], None]
    ) -> Sequence[Unread]:
        def each(messages: list[Any]) -> None:
            for message in messages:
                take(message.topic(), message.key() or b"", message.timestamp()[1])

        return self._read(spans, _apart(spans, each), committed=False)

    def _read(
        self,
        spans: Sequence[Span],
        take: Callable[[list[Any]], tuple[Mapping[tuple[str, int], int], list[Any]]],
        *,
        committed: bool = True,
    ) -> Sequence[Unread]:
        """``take`` says which offset of each partition it saw last, and which messages are errors."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        cluster = self._cluster
        options = {
            **consumer_properties(cluster.config, cluster.events),
            "auto.offset.reset": "error",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            # Half a second of reading, so that the broker is never waited for.
            "queued.min.messages": "200000",
            "queued.max.messages.kbytes": "131072",
            "fetch.message.max.bytes": "4194304",
            "check.crcs": "true",
        }
        unread: list[Unread] = []
        left: dict[tuple[str, int], int] = {}
        try:
            with closing(held(Consumer, options)) as consumer:
                begin = []
                for topic, number, first, end in spans:
                    where = TopicPartition(topic, number)
                    with HeldInterrupt():
                        low, _ = consumer.get_watermark_offsets(where, timeout=TIMEOUT)
                    if low > first:
                        unread.append((topic, number, min(low, end) - first, "below the log start"))
                    if max(low, first) < end:
                        begin.append(TopicPartition(topic, number, max(low, first)))
                        left[topic, number] = end
                consumer.assign(begin)
                heard = time.monotonic()
                while left:
                    with HeldInterrupt():
                        messages: Any = consumer.consume(_AT_ONCE, 0.1)
                    if messages:
                        heard = time.monotonic()
                    elif time.monotonic() - heard >= TIMEOUT:
                        topic, number = min(left)
                        raise UnreachableError(
                            f"Kafka at {cluster.address} did not let {topic} partition {number} be read "
                            f"within {TIMEOUT:g} s"
                        )
                    last, errors = take(messages)
                    for place, offset in last.items():
                        if offset + 1 >= left.get(place, offset + 2):
                            del left[place]
                    for place, offset in self._ended(errors):
                        end = left.pop(place, offset)
                        if offset < end:
                            # Of a transaction that is open nothing is read, nor of what comes after it.
                            why = "behind a transaction that is open"
                            unread.append((*place, end - offset, why))
        except KafkaException as error:
            raise cluster.failure("Cannot read the topics", error) from None
        return unread

    def _ended(self, errors: list[Any]) -> list[tuple[tuple[str, int], int]]:
        """The partitions that are at their end, and where that is."""
        ended = []
        for message in errors:
            name, topic = message.error().name(), message.topic()
            if name == "_PARTITION_EOF":
                ended.append(((topic, message.partition()), message.offset()))
            elif is_authorization(name) or name in {"UNKNOWN_TOPIC_OR_PART", "_AUTO_OFFSET_RESET"}:
                raise ConfigurationError(
                    f"Kafka at {self._cluster.address}: {topic} cannot be read ({name})"
                )
        return ended


def _apart(
    spans: Sequence[Span], take: Callable[[list[Any]], None]
) -> Callable[[list[Any]], tuple[dict[tuple[str, int], int], list[Any]]]:
    """Messages of the spans, for ``take``; where they are; and errors."""
    ends = {(topic, number): end for topic, number, _, end in spans}

    def parted(messages: list[Any]) -> tuple[dict[tuple[str, int], int], list[Any]]:
        last, errors, within = {}, [], []
        for message in messages:
            if message.error() is not None:
                errors.append(message)
                continue
            place = message.topic(), message.partition()
            last[place] = offset = message.offset()
            if offset < ends[place]:
                within.append(message)
        take(within)
        return last, errors

    return parted


def _id_of(message: Any, field: str) -> bytes | None:
    """The id of an event; None for a record that is none of ours."""
    for name, value in message.headers() or ():
        if name == "ce_id":
            return _packed(value)
    value = message.value() or b""
    if value[:1] == b"\0":
        return _packed(value[_AVRO_ID])
    try:
        return _packed(str(json.loads(value)[field]).encode())
    except (ValueError, KeyError, TypeError):
        return None


def _packed(text: bytes | None) -> bytes | None:
    try:
        return UUID((text or b"").decode()).bytes
    except ValueError:
        return None
