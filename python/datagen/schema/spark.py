"""Spark SQL: views of topics by `from_avro`, and of tables in PostgreSQL by JDBC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..sinks.postgres import identifier
from .source import PASSWORD, columns, table_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..types import Relation
    from .source import Source

_NEEDS: Final = {
    "kafka": "-- Spark 4 with spark-sql-kafka-0-10 and spark-avro. For a stream, make the view of the topic by\n"
    "-- spark.readStream.format('kafka') and the same options, and createOrReplaceTempView.",
    "jdbc": "-- Spark 4 with PostgreSQL's JDBC driver.",
}
#: Confluent's frame before an Avro value: a zero and the four bytes of a schema's id.
_VALUE: Final = "substring(value, 6)"


def readable(relation: Relation, source: Source) -> bool:  # noqa: ARG001
    return True


def text(relations: Sequence[Relation], source: Source) -> str:
    kinds = dict.fromkeys("kafka" if source.in_kafka(one) else "jdbc" for one in relations)
    needs = [_NEEDS[kind] for kind in kinds]
    made = [(_topic if source.in_kafka(one) else _jdbc)(one, source) for one in relations]
    return "\n\n".join(["\n".join(needs), *made])


def _topic(relation: Relation, source: Source) -> str:
    name = table_name(relation)
    given = {
        "kafka.bootstrap.servers": source.kafka,
        "subscribe": source.topic(relation),
        "startingOffsets": "earliest",
    }
    row = f"from_avro({_VALUE}, {_quoted(source.avro_schema(relation))})"
    if relation.is_stream:
        rows = f"SELECT {row} AS row FROM {name}_topic"
    else:
        # The last version of each row.
        rows = f"SELECT max_by({row}, offset) AS row FROM {name}_topic GROUP BY key"
    return (
        f"CREATE OR REPLACE TEMPORARY VIEW {name}_topic USING kafka OPTIONS (\n{_options(given)}\n);\n\n"
        f"CREATE OR REPLACE TEMPORARY VIEW {name} AS SELECT row.* FROM (\n  {rows}\n);"
    )


def _jdbc(relation: Relation, source: Source) -> str:
    at = source.postgres
    given = {
        "url": source.jdbc,
        "dbtable": f"{identifier(at.schema)}.{relation.name}",
        "user": at.user,
        "password": PASSWORD,
    }
    view = table_name(relation)
    return f"CREATE OR REPLACE TEMPORARY VIEW {view} USING jdbc OPTIONS (\n{_options(given)}\n);"


def _quoted(text: str) -> str:
    """As Spark reads it: two literals side by side are one, and a backslash begins an escape."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _options(given: Mapping[str, str]) -> str:
    return columns([f"`{name}` {_quoted(value)}" for name, value in given.items()])
