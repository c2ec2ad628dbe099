"""Where relations are read from, and what all dialects of SQL have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..sinks.postgres import Location
    from ..types import Field, Relation

__all__ = [
    "PASSWORD",
    "Engine",
    "Source",
    "columns",
    "options",
    "quoted",
    "sql_type",
    "table_name",
]

#: What stands where a password belongs.
PASSWORD: Final = "<password>"  # noqa: S105


@dataclass(frozen=True)
class Source:
    """Where a load has put streams and tables; ``registry`` is without its user."""

    kafka: str
    registry: str
    topic_prefix: str
    postgres: Location
    #: Tables are read from their topics, not from PostgreSQL.
    master_topics: bool
    #: Avro has strings in place of enumerations.
    avro_strings: bool = False

    def topic(self, relation: Relation) -> str:
        return self.topic_prefix + relation.topic

    def avro_schema(self, relation: Relation) -> str:
        return relation.avro_schema_of_strings if self.avro_strings else relation.avro_schema

    @property
    def jdbc(self) -> str:
        at = self.postgres
        host = f"[{at.host}]" if ":" in at.host else at.host
        options = f"?sslmode={at.sslmode}" if at.sslmode else ""
        return f"jdbc:postgresql://{host}:{at.port}/{quote(at.database, safe='')}{options}"

    def in_kafka(self, relation: Relation) -> bool:
        return relation.is_stream or self.master_topics


class Engine(Protocol):
    """A module of this package."""

    def readable(self, relation: Relation, source: Source, /) -> bool: ...

    def text(self, relations: Sequence[Relation], source: Source, /) -> str: ...


def table_name(relation: Relation) -> str:
    """The name of a relation as SQL has it: ``card_transactions`` for ``banking.card-transactions``."""
    return relation.name.rpartition(".")[2].replace("-", "_")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def sql_type(field: Field, types: Mapping[str, str]) -> str:
    """The type of a field by a table of types, whose decimals name ``{precision}`` and ``{scale}``."""
    return types[field.type].format(precision=field.precision, scale=field.scale)


def columns(lines: Sequence[str]) -> str:
    return ",\n".join(f"  {line}" for line in lines)


def options(pairs: Mapping[str, str]) -> str:
    """Options as ``'name' = 'value'``, one a line."""
    return columns([f"{quoted(name)} = {quoted(value)}" for name, value in pairs.items()])
