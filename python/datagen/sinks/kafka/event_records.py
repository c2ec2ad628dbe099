"""The records of events, for clients that take them one by one: values, keys, times and headers."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..._core import Batch
    from ...presets import ProducerConfig
    from ...types import Relation

    Headers = list[tuple[str, str | bytes | None]] | None
    #: Position in the batch, value, key, milliseconds (0: the time of production) and headers.
    Row = tuple[int, bytes, bytes, int, Headers]

__all__ = ["EventRecords"]


class EventRecords:
    """Makes the records of one stream; all that they have in common is found once."""

    def __init__(self, relation: Relation, config: ProducerConfig, schema_id: int | None) -> None:
        self._key, self._time = relation.key, relation.time
        self._ident = relation.primary_key
        self._ce_type = (relation.ce_type or "").encode()
        self._schema_id = schema_id
        # Rows of a table are no events, and bear the time of their last change.
        self._avro_enums = config.avro_enums
        self._cloudevents = config.cloudevents and relation.is_stream
        self._event_time = config.record_timestamp == "event" or not relation.is_stream
        kind = b"application/json" if schema_id is None else b"application/avro"
        #: The headers of an event without CloudEvents.
        self._plain: Headers = [("content-type", kind)] if config.content_type else None

    def rows(self, batch: Batch, *, timestamp: int | None = None) -> Iterator[Row]:
        """One row for each event of a batch, or for each row of a table (see ``Engine.send``)."""
        if self._schema_id is None:
            values = batch.encode("json")
        else:
            values = batch.encode("avro", schema_id=self._schema_id, avro_enums=self._avro_enums)
        keys = batch.text(self._key)
        times: Iterable[int] = repeat(0)
        if timestamp is not None:
            times = repeat(timestamp)
        elif self._event_time:
            times = memoryview(batch.column(self._time)).tolist()
        headers: Iterable[Headers] = repeat(self._plain)
        if self._cloudevents:
            idents, moments = batch.text(self._ident), batch.text(self._time)
            headers = map(self._binary_mode(), idents, moments, keys)
        return zip(range(len(batch)), values, keys, times, headers, strict=False)

    def _binary_mode(self) -> Callable[[bytes, bytes, bytes], Headers]:
        """A function of an event's id, time and key that makes its headers (CloudEvents, binary mode)."""
        version = ("ce_specversion", b"1.0")
        kind = ("ce_type", self._ce_type)
        source = ("ce_source", b"data-gen/financial")
        more = self._plain

        def own(ident: bytes, moment: bytes, key: bytes) -> Headers:
            # fmt: off
            return [
                version, kind, source,
                ("ce_id", ident), ("ce_time", moment), ("ce_subject", key),
            ]
            # fmt: on

        def longer(ident: bytes, moment: bytes, key: bytes) -> Headers:
            return [*(own(ident, moment, key) or ()), *(more or ())]

        return longer if more else own
