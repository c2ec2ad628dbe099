"""ksqlDB: streams and, from compacted topics, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .source import columns, quoted, sql_type, table_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..types import Relation
    from .source import Source

_TYPES: Final[Mapping[str, str]] = {
    "uuid": "VARCHAR",
    "text": "VARCHAR",
    "char": "VARCHAR",
    "enum": "VARCHAR",
    "decimal": "DECIMAL({precision}, {scale})",
    "smallint": "INTEGER",
    "int": "INTEGER",
    "bool": "BOOLEAN",
    "date": "DATE",
    "instant": "TIMESTAMP",
}
#: Words of its grammar that one of our tables is called by.
_RESERVED: Final = frozenset({"PROPERTIES"})


def readable(relation: Relation, source: Source) -> bool:
    return source.in_kafka(relation)


def text(relations: Sequence[Relation], source: Source) -> str:
    return "\n\n".join(_source(relation, source) for relation in relations)


def _source(relation: Relation, source: Source) -> str:
    kind, key = ("STREAM", "KEY") if relation.is_stream else ("TABLE", "PRIMARY KEY")
    # The key is text, and the field of its name in the value is the same once more.
    lines = [f"{relation.key} VARCHAR {key}"]
    lines += [
        f"{field.name} {sql_type(field, _TYPES)}"
        for field in relation.fields
        if field.name != relation.key
    ]
    properties = {
        "KAFKA_TOPIC": source.topic(relation),
        "KEY_FORMAT": "KAFKA",
        "VALUE_FORMAT": "AVRO",
    }
    if relation.is_stream:
        properties["TIMESTAMP"] = relation.time
    given = columns([f"{name} = {quoted(value)}" for name, value in properties.items()])
    name = table_name(relation).upper()
    # Names without quotes are in capitals there.
    name = f"`{name}`" if name in _RESERVED else name.lower()
    return f"CREATE {kind} {name} (\n{columns(lines)}\n) WITH (\n{given}\n);"
