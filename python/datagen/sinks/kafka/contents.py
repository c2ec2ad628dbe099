"""What topics hold: every committed record from an offset on, handed to who judges it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import ConfigurationError, UnreachableError
from .cluster import TIMEOUT, Cluster
from .decoding import Decoder
from .end_offsets import EndOffsets
from .formats import formats_of
from .interrupt import HeldInterrupt
from .librdkafka import consumer_properties, is_authorization
from .schemas import SchemaReader, avro_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from ..._core import Reconciliation
    from ...presets import ProducerConfig
    from ...types import Relation

__all__ = ["TopicContents"]

#: Messages that are taken at once.
_AT_ONCE: Final = 10_000


class TopicContents:
    """Reads topics whole as a context manager: committed records, with no offset kept for anyone.

    ``begin`` has the offsets to read from, by topic and partition; others are read from their first. Up to where they
    end as the block is entered. Raises ``ConfigurationError`` for topics that are missing or may not be read, and
    ``UnreachableError`` where the cluster is not reached.
    """

    def __init__(
        self,
        config: ProducerConfig,
        topics: Iterable[str],
        begin: Mapping[str, Mapping[int, int]],
    ) -> None:
        self._cluster = Cluster(config)
        self._config = config
        self._topics = [*topics]
        self._begin = begin
        self._consumer: Any = None
        self._schemas: SchemaReader | None = None
        self._decoder = Decoder(config)
        #: Offsets of each partition: where to begin, and the end.
        self._spans: dict[str, dict[int, tuple[int, int]]] = {}
        #: By topic: what was not seen of a partition, as offsets and why.
        self.unseen: dict[str, list[tuple[int, int, str]]] = {topic: [] for topic in self._topics}
        #: By topic: offsets that have no record, since it was compacted away or they are marks of transactions.
        self.empty: dict[str, int] = {}

    def __enter__(self) -> Self:
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        cluster = self._cluster
        missing = [topic for topic in self._topics if topic not in cluster.metadata().topics]
        if missing:
            raise ConfigurationError(
                f"Kafka at {cluster.address}: there is no topic {', '.join(map(self._config.hide, missing))}; "
                "check --topic-prefix"
            )
        ends = EndOffsets(cluster).read(self._topics)
        options = {
            **consumer_properties(cluster.config, cluster.events),
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            # Half a second of reading, so that the broker is never waited for.
            "queued.min.messages": "200000",
            "queued.max.messages.kbytes": "131072",
            "fetch.message.max.bytes": "4194304",
            "check.crcs": "true",
        }
        try:
            self._consumer = Consumer(options)
            for topic in self._topics:
                self._spans[topic] = {}
                for number, end in ends.get(topic, {}).items():
                    with HeldInterrupt():
                        low, _ = self._consumer.get_watermark_offsets(
                            TopicPartition(topic, number), timeout=TIMEOUT
                        )
                    first = self._begin.get(topic, {}).get(number, 0)
                    if first > end:
                        self.unseen[topic].append(
                            (
                                number,
                                0,
                                f"the partition ends at {end}, and the run began at {first}",
                            )
                        )
                        first = low
                    if low > first:
                        self.unseen[topic].append((number, low - first, "below the log start"))
                    self._spans[topic][number] = max(low, first), end
        except KafkaException as error:
            raise self._failure(error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._decoder.close()
        if self._schemas is not None:
            self._schemas.close()
        if self._consumer is not None:
            self._consumer.close()

    def partitions(self, topic: str) -> int:
        return len(self._spans[topic])

    def holds_avro(self, topic: str) -> bool:
        """Whether the last records of a topic are framed Avro."""
        config, events = self._config, self._cluster.events
        return "avro" in formats_of([topic], config, events, TIMEOUT).get(topic, set())

    def read(
        self,
        topic: str,
        relation: Relation,
        found: Reconciliation,
        progress: Callable[[int], None],
        *,
        again: bool = False,
    ) -> None:
        """Hands over every record; ``again`` where that was done, and what is not seen is known."""
        from confluent_kafka import KafkaException, TopicPartition

        spans = self._spans[topic]
        left = {number: end for number, (begin, end) in spans.items() if begin < end}
        ends = dict(left)
        empty = sum(end - begin for begin, end in spans.values())
        unread: list[tuple[int, int, str]] = []
        heard = time.monotonic()

        def accepts(ident: int) -> bool:
            return self._is_of(ident, relation)

        try:
            self._consumer.assign(
                [TopicPartition(topic, number, spans[number][0]) for number in left]
            )
            while left:
                with HeldInterrupt():
                    messages: Any = self._consumer.consume(_AT_ONCE, 0.1)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard >= TIMEOUT:
                    raise UnreachableError(
                        f"Kafka at {self._cluster.address} did not let {topic} partition {min(left)} be read "
                        f"within {TIMEOUT:g} s"
                    )
                taken, last, errors = found.find(messages, ends, accepts)
                empty -= taken
                progress(taken)
                for number, offset in last.items():
                    if offset + 1 >= left.get(number, offset + 2):
                        del left[number]
                for number, offset in _ended(errors, topic, self._cluster.address).items():
                    end = left.pop(number, offset)
                    if offset < end:
                        # Of a transaction that is open nothing is read, nor of what comes after it.
                        unread.append((number, end - offset, "behind a transaction that is open"))
                        empty -= end - offset
            self._consumer.unassign()
        except KafkaException as error:
            raise self._failure(error) from None
        if not again:
            self.unseen[topic] += unread
            self.empty[topic] = empty

    def decoded(self, value: bytes, relation: Relation) -> dict[str, Any] | None:
        """A value without its frame as fields; None for what is none."""
        import fastavro

        if value[:1] == b"\0" or value[:1] == b"{":
            said = self._decoder(value).value
            return said if isinstance(said, dict) else None
        import io

        schema = fastavro.parse_schema(json.loads(avro_schema(relation, self._config.avro_enums)))
        try:
            said = fastavro.schemaless_reader(io.BytesIO(value), schema, None)
        except Exception:  # noqa: BLE001  # of bytes of others anything may come
            return None
        return said if isinstance(said, dict) else None

    def _is_of(self, ident: int, relation: Relation) -> bool:
        """Whether a schema of the registry is the one that the catalogue has for a relation."""
        self._schemas = self._schemas or SchemaReader(self._config)
        schema = self._schemas.find(ident)
        if schema is None or schema.kind != "AVRO":
            return False
        wanted = avro_schema(relation, self._config.avro_enums)
        return bool(_meaning(json.loads(schema.text)) == _meaning(json.loads(wanted)))

    def _failure(self, error: Any) -> Exception:
        return self._cluster.failure("Cannot read the topics", error)


def _ended(errors: Iterable[Any], topic: str, address: str) -> dict[int, int]:
    """The partitions that are at their end, and where that is."""
    ended = {}
    for message in errors:
        name = message.error().name()
        if name == "_PARTITION_EOF":
            ended[message.partition()] = message.offset()
        elif is_authorization(name) or name in {"UNKNOWN_TOPIC_OR_PART", "_AUTO_OFFSET_RESET"}:
            raise ConfigurationError(f"Kafka at {address}: {topic} cannot be read ({name})")
    return ended


def _meaning(schema: Any) -> Any:
    """A schema without what only people read."""
    if isinstance(schema, dict):
        return {name: _meaning(value) for name, value in schema.items() if name != "doc"}
    return [_meaning(one) for one in schema] if isinstance(schema, list) else schema
