"""What topics hold: every committed record from an offset on, handed to who judges it."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ...errors import ConfigurationError, DatagenError
from ...types import catalogue
from ..base import Contents, streams, tables
from .cluster import TIMEOUT, Cluster
from .decoding import Decoder
from .end_offsets import EndOffsets
from .formats import formats_of
from .reader import read
from .reading import TopicReader
from .schemas import SchemaReader, avro_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from ..._core import Reconciliation
    from ...presets import ProducerConfig
    from ...types import Relation

__all__ = ["KafkaContents", "TopicContents"]

_log = logging.getLogger(__name__)


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
        self._schemas: SchemaReader | None = None
        self._decoder = Decoder(config)
        #: Offsets of each partition: where to begin, and the end.
        self._spans: dict[str, dict[int, tuple[int, int]]] = {}
        #: By topic: what was not seen of a partition, as offsets and why.
        self.unseen: dict[str, list[tuple[int, int, str]]] = {topic: [] for topic in self._topics}
        #: By topic: offsets that have no record, since it was compacted away or they are marks of transactions.
        self.empty: dict[str, int] = {}

    def __enter__(self) -> Self:
        cluster = self._cluster
        missing = [topic for topic in self._topics if topic not in cluster.metadata().topics]
        if missing:
            raise ConfigurationError(
                f"Kafka at {cluster.address}: there is no topic {', '.join(map(self._config.hide, missing))}; "
                "check --topic-prefix"
            )
        ends = EndOffsets(cluster).read(self._topics)
        for topic in self._topics:
            self._spans[topic] = {}
            for number, end in ends.get(topic, {}).items():
                first = self._begin.get(topic, {}).get(number, 0)
                if first > end:
                    why = f"the partition ends at {end}, and the run began at {first}"
                    self.unseen[topic].append((number, 0, why))
                    first = 0
                self._spans[topic][number] = first, end
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()
        if self._schemas is not None:
            self._schemas.close()

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
        spans = [(topic, number, *offsets) for number, offsets in self._spans[topic].items()]
        taken = 0

        def advance(count: int) -> None:
            nonlocal taken
            taken += count
            progress(count)

        def accepts(ident: int) -> bool:
            return self._is_of(ident, relation)

        unread = read(
            self._config,
            self._cluster,
            lambda reader: reader.reconcile(spans, found, accepts, advance),
        )
        if not again:
            self.unseen[topic] += [(number, count, why) for _, number, count, why in unread]
            offsets = sum(end - begin for _, _, begin, end in spans)
            self.empty[topic] = offsets - taken - sum(count for _, _, count, _ in unread)

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


def _meaning(schema: Any) -> Any:
    """A schema without what only people read."""
    if isinstance(schema, dict):
        return {name: _meaning(value) for name, value in schema.items() if name != "doc"}
    return [_meaning(one) for one in schema] if isinstance(schema, list) else schema


class KafkaContents(Contents):
    """Topics are read from where the run began, or else whole, to where they end by now.

    A receipt says how records were made; without one the configuration does.
    """

    def __init__(
        self, config: ProducerConfig, relations: Sequence[str], receipt: Mapping[str, Any]
    ) -> None:
        self._of_run: Mapping[str, Any] = receipt.get("topics", {})
        # Without a receipt nothing says that they do not.
        self._follows = bool(receipt.get("follows", not receipt))
        made = {
            name: receipt.get(name, getattr(config, name))
            for name in ("avro_enums", "cloudevents", "content_type", "record_timestamp")
        }
        self._format = receipt.get("format")
        self._config = replace(
            config, **made, avro=config.avro if self._format is None else self._format == "avro"
        )
        self._names = {
            name: self._of_run.get(name, {}).get("topic")
            or f"{config.topic_prefix}{catalogue()[name].topic}"
            for name in relations
        }
        begin = {
            self._names[name]: {
                int(number): int(part["first"]) for number, part in one["partitions"].items()
            }
            for name, one in self._of_run.items()
            if name in self._names
        }
        self._topics = TopicContents(self._config, self._names.values(), begin)
        #: Those of topics of which single records were asked for.
        self._readers: dict[str, TopicReader] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._topics.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()
        self._topics.__exit__(*raised)

    def has_versions(self, name: str) -> bool:
        return self._follows and name in tables()

    def shape(self, name: str, order: str) -> dict[str, Any]:
        is_stream, config = name in streams(), self._config
        topic = self._names[name]
        # Partitions that were added since have none of the run's records.
        partitions = len(self._of_run.get(name, {}).get("partitions", ()))
        value = self._format or ("avro" if config.avro and not self._is_json(topic) else "json")
        return {
            "partitions": partitions or self._topics.partitions(topic),
            "value": value,
            "avro_enums": config.avro_enums,
            "cloudevents": config.cloudevents and is_stream,
            "content_type": config.content_type,
            "event_time": config.record_timestamp == "event" and is_stream,
            "in_time": order == "time" and is_stream,
        }

    def _is_json(self, topic: str) -> bool:
        """Whether a load would have sent JSON, no registry having answered: then the topic holds no Avro."""
        return self._config.may_be_json and not self._topics.holds_avro(topic)

    def read(
        self, name: str, held: Reconciliation, progress: Callable[[int], None], *, again: bool
    ) -> None:
        relation = catalogue()[name]
        self._topics.read(self._names[name], relation, held, progress, again=again)

    def place(self, name: str, partition: int | None = None, offset: int | None = None) -> str:
        topic = self._names[name]
        if partition is None:
            return topic
        return f"{topic}-{partition}" + ("" if offset is None else f"@{offset}")

    def decoded(self, name: str, ident: UUID, found: bytes) -> Mapping[str, Any] | None:  # noqa: ARG002
        return self._topics.decoded(found, catalogue()[name])

    def value_at(self, name: str, partition: int, offset: int) -> bytes:
        try:
            if name not in self._readers:
                one = TopicReader(replace(self._config, topic_prefix=""), self._names[name])
                self._readers[name] = self._open.enter_context(one)
            return self._readers[name].value(partition, offset)
        except DatagenError as error:
            # The verdict stands without it.
            _log.warning("%s", error)
            return b""

    def ends(self, name: str) -> Mapping[int, int]:
        parts = self._of_run.get(name, {}).get("partitions", {})
        return {
            int(number): part["first"] if part["last"] is None else part["last"] + 1
            for number, part in parts.items()
            if part["last"] is not None or part["acknowledged"] == 0
        }

    def unseen(self, name: str) -> Sequence[str]:
        topic = self._names[name]
        return [
            f"{count:,} offsets {why} ({topic}-{number})" if count else f"{topic}-{number}: {why}"
            for number, count, why in self._topics.unseen[topic]
        ]

    def hidden(self, name: str) -> Mapping[int, int]:
        hidden: dict[int, int] = {}
        for number, count, _ in self._topics.unseen[self._names[name]]:
            hidden[number] = hidden.get(number, 0) + count
        return hidden

    def notes(self, name: str) -> Sequence[str]:
        empty = self._topics.empty.get(self._names[name], 0)
        return [f"{empty:,} offsets have no record"] if empty > 0 else []
