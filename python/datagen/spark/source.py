"""The classes that Spark calls. They hold options and numbers alone, so that each can be pickled."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyspark.sql import datasource, types
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    InputPartition,
)

from datagen.errors import OptionError

from .options import Request, moment, parts
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from datagen.types import Field, Relation

__all__ = ["PUSHDOWN", "DatagenDataSource", "PushingDataSource"]

#: The setting without which Spark refuses a reader that takes filters; None where it has none that do.
PUSHDOWN: Final = (
    "spark.sql.python.filterPushdown.enabled" if hasattr(DataSourceReader, "pushFilters") else None
)
_MILLISECOND: Final = timedelta(milliseconds=1)
#: Few enough that Java finds a batch in its caches as it takes it apart: a tenth faster than four times as many.
_BATCH_ROWS: Final = 4_096

#: Spark's type and Arrow's, by the catalogue's.
_TYPES: Final[Mapping[str, tuple[Callable[[Field], Any], Callable[[Field], pa.DataType]]]] = {
    "uuid": (lambda _: types.StringType(), lambda _: pa.string()),
    "text": (lambda _: types.StringType(), lambda _: pa.string()),
    "char": (lambda _: types.StringType(), lambda _: pa.string()),
    "enum": (lambda _: types.StringType(), lambda _: pa.string()),
    "decimal": (
        lambda field: types.DecimalType(field.precision, field.scale),
        lambda field: pa.decimal128(field.precision, field.scale),
    ),
    "smallint": (lambda _: types.ShortType(), lambda _: pa.int16()),
    "int": (lambda _: types.IntegerType(), lambda _: pa.int32()),
    "bool": (lambda _: types.BooleanType(), lambda _: pa.bool_()),
    "date": (lambda _: types.DateType(), lambda _: pa.date32()),
    # Spark reads microseconds alone.
    "instant": (lambda _: types.TimestampType(), lambda _: pa.timestamp("us", "UTC")),
}


class DatagenDataSource(DataSource):
    """The format ``datagen``. Raises ``OptionError`` for options that are wrong."""

    @classmethod
    def name(cls) -> str:
        return "datagen"

    def schema(self) -> types.StructType:
        """All fields of the relation, with what they mean as comments."""
        relation = Request.of(self.options).found
        return types.StructType([_spark_field(field) for field in relation.fields])

    def reader(self, schema: types.StructType) -> DataSourceReader:
        return _Reader(Request.of(self.options, streaming=False), schema)

    def streamReader(self, schema: types.StructType) -> DataSourceStreamReader:  # noqa: N802
        return _STREAM_READER(Request.of(self.options, streaming=True), schema)


class PushingDataSource(DatagenDataSource):
    """The same, whose reader takes filters; for sessions with the setting ``PUSHDOWN``."""

    def reader(self, schema: types.StructType) -> DataSourceReader:
        return _PushingReader(Request.of(self.options, streaming=False), schema)


def _spark_field(field: Field) -> types.StructField:
    spark, _ = _TYPES[field.type]
    return types.StructField(field.name, spark(field), field.nullable, {"comment": field.doc})


def _arrow_schema(relation: Relation, schema: types.StructType) -> pa.Schema:
    """What batches must be like; raises ``OptionError`` for a schema with more than fields of the relation."""
    fields = []
    for asked in schema.fields:
        field = relation.field(asked.name) if asked.name in _names(relation) else None
        if field is None:
            allowed = f"fields of {relation.name}: {', '.join(_names(relation))}"
            raise OptionError("schema", asked.name, allowed)
        spark, arrow = _TYPES[field.type]
        if asked.dataType != spark(field) or (field.nullable and not asked.nullable):
            raise OptionError("schema", _ddl(asked), _ddl(_spark_field(field)))
        fields.append(pa.field(field.name, arrow(field), asked.nullable))
    return pa.schema(fields)


def _ddl(field: Any) -> str:
    """A field as DDL has it."""
    return f"{field.name} {field.dataType.simpleString()}{'' if field.nullable else ' NOT NULL'}"


def _names(relation: Relation) -> list[str]:
    return [field.name for field in relation.fields]


class _Rows:
    """Makes the rows of a partition, which says all that they depend on."""

    def __init__(self, request: Request, schema: types.StructType) -> None:
        self._request = request
        self._schema = _arrow_schema(request.found, schema)

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        request, part = self._request, partition.value
        asked = {request.found.field(name).type for name in self._schema.names}
        batches = request.plan.batches(
            request.relation,
            part.start,
            part.stop,
            order=request.order,
            since=part.since,
            until=part.until,
            batch_rows=_BATCH_ROWS,
            uuids="text" if "uuid" in asked else "binary",
            enums="text" if "enum" in asked else "dictionary",
        )
        for batch in batches:
            yield pa.record_batch(batch).select(self._schema.names).cast(self._schema)


class _Reader(_Rows, DataSourceReader):
    """A table or stream, as a batch."""

    def partitions(self) -> Sequence[InputPartition]:
        return [InputPartition(one) for one in parts(self._request)]


class _PushingReader(_Reader):
    """The same, of the events alone that filters of their time leave."""

    def pushFilters(self, filters: list[Any]) -> Iterable[Any]:  # noqa: N802
        """Takes the filters of the event time; gives back those that Spark has to apply itself."""
        relation = self._request.found
        for one in filters:
            span = None
            if relation.is_stream and getattr(one, "attribute", None) == (relation.time,):
                span = _span(one)
            if span is None:
                yield one
            else:
                self._request = _narrowed(self._request, *span)


def _span(one: Any) -> tuple[datetime | None, datetime | None] | None:
    """The instants that a filter leaves, from the first to before the second; None if these are not all it does."""
    if isinstance(one, datasource.IsNotNull):
        return None, None
    value = getattr(one, "value", None)
    if not isinstance(value, datetime):
        return None
    try:
        value = value.astimezone(UTC)
        # Events have whole milliseconds.
        floor = value.replace(microsecond=value.microsecond // 1000 * 1000)
        above = floor + _MILLISECOND
    except OverflowError:  # of the year 1 or 9999
        return None
    at_least = floor if floor == value else above
    match one:
        case datasource.EqualTo() | datasource.EqualNullSafe():
            return at_least, at_least if floor != value else above
        case datasource.GreaterThan():
            return above, None
        case datasource.GreaterThanOrEqual():
            return at_least, None
        case datasource.LessThan():
            return None, at_least
        case datasource.LessThanOrEqual():
            return None, above
    return None


def _narrowed(request: Request, since: datetime | None, until: datetime | None) -> Request:
    """A request of what is also within a span, which may reach beyond the history."""

    def within(instant: datetime) -> datetime:
        return min(max(instant, request.begin), request.end)

    return replace(
        request,
        since=within(since) if since else request.since,
        until=within(until) if until else request.until,
    )


class _StreamReader(_Rows, DataSourceStreamReader):
    """A stream from instant to instant: each event is of one batch, whichever are asked for."""

    def __init__(self, request: Request, schema: types.StructType) -> None:
        super().__init__(request, schema)
        self._progress = Progress(request)

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802
        return self._progress.initial()

    def latestOffset(self, start: dict[str, Any], limit: object) -> dict[str, Any]:  # noqa: ARG002, N802
        return self._progress.next(start, time.monotonic())

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        since, until = map(self._progress.millis, (start, end))
        window = replace(self._request, since=moment(since), until=moment(until))
        return [InputPartition(one) for one in parts(window)]


class _StreamReaderBefore42(_StreamReader):
    """For Spark 4.0 and 4.1, which do not say where a batch starts."""

    _at: dict[str, Any] | None = None

    def latestOffset(self) -> dict[str, Any]:  # type: ignore[override]  # noqa: N802
        self._at = super().latestOffset(self._at or self.initialOffset(), None)
        return self._at

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        # A query that goes on asks for what its checkpoint has last before it asks how far to go.
        if self._at is None:
            self._at = end
        return super().partitions(start, end)


if hasattr(DataSourceStreamReader, "getDefaultReadLimit"):
    from pyspark.sql.streaming.datasource import SupportsTriggerAvailableNow

    class _StreamReaderSince42(_StreamReader, SupportsTriggerAvailableNow):
        """Knows a query that ends with what is there: that is the whole stream, however fast."""

        _whole = False

        def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
            self._whole = True

        def latestOffset(self, start: dict[str, Any], limit: object) -> dict[str, Any]:  # noqa: N802
            return self._progress.last() if self._whole else super().latestOffset(start, limit)

    _STREAM_READER: Any = _StreamReaderSince42
else:
    _STREAM_READER = _StreamReaderBefore42
