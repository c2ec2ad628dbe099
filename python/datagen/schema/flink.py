"""Flink SQL: streams and compacted topics by its Kafka connectors, tables in PostgreSQL by JDBC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..sinks.postgres import identifier
from .source import PASSWORD, columns, options, sql_type, table_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..types import Field, Relation
    from .source import Source

#: What Flink makes of the types of our Avro schemas: a schema that is given must match the columns.
_TYPES: Final[Mapping[str, str]] = {
    "uuid": "STRING",
    "text": "STRING",
    "char": "STRING",
    "enum": "STRING",
    "decimal": "DECIMAL({precision}, {scale})",
    "smallint": "INT",
    "int": "INT",
    "bool": "BOOLEAN",
    "date": "DATE",
    "instant": "TIMESTAMP(3)",
}
_JARS: Final = {
    "kafka": "flink-sql-connector-kafka and flink-sql-avro-confluent-registry",
    "jdbc": "flink-connector-jdbc-core, flink-connector-jdbc-postgres and PostgreSQL's JDBC driver",
}


def readable(relation: Relation, source: Source) -> bool:  # noqa: ARG001
    return True


def text(relations: Sequence[Relation], source: Source) -> str:
    kinds = dict.fromkeys("kafka" if source.in_kafka(one) else "jdbc" for one in relations)
    needs = [f"-- Needs {_JARS[kind]}." for kind in kinds]
    return "\n\n".join(["\n".join(needs), *(_table(one, source) for one in relations)])


def _table(relation: Relation, source: Source) -> str:
    lines = [
        f"{_name(field)} {sql_type(field, _TYPES)}{'' if field.nullable else ' NOT NULL'}"
        for field in relation.fields
    ]
    if relation.is_stream:
        lines.append(f"WATERMARK FOR {relation.time} AS {relation.time} - INTERVAL '5' SECOND")
        given = _topic(relation, source)
    else:
        lines.append(f"PRIMARY KEY ({relation.primary_key}) NOT ENFORCED")
        given = (_compacted if source.master_topics else _jdbc)(relation, source)
    return (
        f"CREATE TABLE {table_name(relation)} (\n{columns(lines)}\n) WITH (\n{options(given)}\n);"
    )


def _name(field: Field) -> str:
    return f"`{field.name}`"


def _topic(relation: Relation, source: Source) -> dict[str, str]:
    return {
        "connector": "kafka",
        "topic": source.topic(relation),
        "properties.bootstrap.servers": source.kafka,
        "scan.startup.mode": "earliest-offset",
        "format": "avro-confluent",
        "avro-confluent.url": source.registry,
        # Without it Flink takes symbols of an enumeration for text.
        "avro-confluent.schema": source.avro_schema(relation),
    }


def _compacted(relation: Relation, source: Source) -> dict[str, str]:
    return {
        "connector": "upsert-kafka",
        "topic": source.topic(relation),
        "properties.bootstrap.servers": source.kafka,
        "key.format": "raw",
        "value.format": "avro-confluent",
        "value.avro-confluent.url": source.registry,
        "value.avro-confluent.schema": source.avro_schema(relation),
    }


def _jdbc(relation: Relation, source: Source) -> dict[str, str]:
    at = source.postgres
    # The connector reads neither uuid nor timestamp with time zone.
    fields = ", ".join(map(_readable_by_jdbc, relation.fields))
    return {
        "connector": "jdbc",
        "url": source.jdbc,
        "username": at.user,
        "password": PASSWORD,
        "table-name": f"(SELECT {fields} FROM {identifier(at.schema)}.{relation.name}) AS rows",
    }


def _readable_by_jdbc(field: Field) -> str:
    casts = {"uuid": "{0}::text AS {0}", "instant": "{0} AT TIME ZONE 'UTC' AS {0}"}
    return casts.get(field.type, "{0}").format(field.name)
