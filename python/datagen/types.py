"""The catalogue as typed, frozen values, and what a sink is to the layers above it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from ._core import catalogue as _core_catalogue
from .errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core import Batch

__all__ = ["Catalogue", "Field", "ForeignKey", "Relation", "RowSink", "catalogue"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a table, or one field of an event."""

    name: str
    type: str
    nullable: bool
    doc: str
    precision: int | None = None
    scale: int | None = None
    length: int | None = None
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A field whose values must be primary keys of ``table``.

    ``only`` is a field of that table and the symbol that a parent must have there.
    """

    field: str
    table: str
    only: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A table (``unique`` and ``checks``) or a stream (``key``, ``time``, ``ce_type``)."""

    name: str
    fields: tuple[Field, ...]
    foreign_keys: tuple[ForeignKey, ...]
    avro_schema: str
    unique: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    key: str | None = None
    time: str | None = None
    ce_type: str | None = None

    @property
    def primary_key(self) -> str:
        """The row's own id: always the first field."""
        return self.fields[0].name

    @property
    def is_stream(self) -> bool:
        return self.key is not None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every table in the order of insertion, then every stream in the order of sending."""

    version: int
    tables: tuple[Relation, ...]
    streams: tuple[Relation, ...]

    def __iter__(self) -> Iterator[Relation]:
        yield from self.tables
        yield from self.streams

    def __getitem__(self, name: str) -> Relation:
        for relation in self:
            if relation.name == name:
                return relation
        raise OptionError("relation", name, "one of " + ", ".join(r.name for r in self))


class RowSink(Protocol):
    """Where batches go once their foreign keys are checked."""

    def write(self, batch: Batch) -> int:
        """Takes the rows of one table or stream; how many of them are new to the sink."""


@cache
def catalogue() -> Catalogue:
    """The core's catalogue, read once."""
    raw = _core_catalogue()
    return Catalogue(
        version=raw["version"],
        tables=tuple(map(_relation, raw["tables"])),
        streams=tuple(map(_relation, raw["streams"])),
    )


def _relation(raw: dict[str, Any]) -> Relation:
    return Relation(
        name=raw["name"],
        fields=tuple(map(_field, raw["fields"])),
        foreign_keys=tuple(map(_foreign_key, raw["foreign_keys"])),
        avro_schema=raw["avro_schema"],
        unique=tuple(raw.get("unique") or ()),
        checks=tuple((name, sql) for name, sql in raw.get("checks") or ()),
        key=raw.get("key"),
        time=raw.get("time"),
        ce_type=raw.get("ce_type"),
    )


def _field(raw: dict[str, Any]) -> Field:
    return Field(
        name=raw["name"],
        type=raw["type"],
        nullable=raw["nullable"],
        doc=raw["doc"],
        precision=raw.get("precision"),
        scale=raw.get("scale"),
        length=raw.get("length"),
        symbols=tuple(raw.get("symbols") or ()),
    )


def _foreign_key(raw: dict[str, Any]) -> ForeignKey:
    only = raw.get("only")
    return ForeignKey(raw["field"], raw["table"], (only[0], only[1]) if only else None)
