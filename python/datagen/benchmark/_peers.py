"""The same work in Python, as it is done without datagen: a dict for each row.

In the peers' favour: their fields are drawn independently, without any of a bank's rules, and
what comes before their own step (rows as dicts or tuples, keys as text) is made in advance.
"""

from __future__ import annotations

import csv
import io
import json
import random
import string
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..types import Field, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._core import Batch

__all__ = ["Rows", "as_avro", "as_csv", "as_json", "check", "make", "rows_of"]

Row = dict[str, Any]
#: Rows of each relation, by its name.
Rows = dict[str, list[Row]]

_DAY = date(2026, 6, 1)
_INSTANT = datetime(2026, 6, 1, tzinfo=UTC)
_DAY_MS = 86_400_000


def rows_of(batches: Iterable[Batch]) -> Rows:
    """What is in batches as Python values, with ids as text, which is what clients take."""
    rows: Rows = {}
    for batch in batches:
        rows.setdefault(batch.name, []).extend(
            {k: str(v) if isinstance(v, UUID) else v for k, v in batch.row(row).items()}
            for row in range(len(batch))
        )
    return rows


def make(counts: Mapping[str, int]) -> Rows:
    """Draws so many rows of each relation, each field at random."""
    draw = random.Random(42)  # noqa: S311 - made-up data
    rows: Rows = {}
    for name, count in counts.items():
        fields = catalogue()[name].fields
        names = [one.name for one in fields]
        columns = [_column(one, count, draw) for one in fields]
        rows[name] = [
            dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)
        ]
    return rows


def _column(field: Field, count: int, draw: random.Random) -> list[Any]:
    rows = range(count)
    match field.type:
        case "uuid":
            return [str(UUID(int=draw.getrandbits(128), version=4)) for _ in rows]
        case "decimal":
            scale = -(field.scale or 0)
            return [Decimal(draw.randrange(1_000_000)).scaleb(scale) for _ in rows]
        case "instant":
            return [_INSTANT + timedelta(milliseconds=draw.randrange(_DAY_MS)) for _ in rows]
        case "date":
            return [_DAY + timedelta(days=draw.randrange(90)) for _ in rows]
        case "enum":
            return draw.choices(field.symbols, k=count)
        case "bool":
            return [draw.random() < 0.5 for _ in rows]
        case "int" | "smallint":
            return [draw.randrange(100) for _ in rows]
        case "text" | "char":
            length = field.length or 12
            return ["".join(draw.choices(string.digits, k=length)) for _ in rows]


def check(rows: Rows) -> None:
    """Every foreign key, in sets of the ids that came before."""
    known: dict[str, set[str]] = {name: set() for name in rows}
    for name, some in rows.items():
        relation = catalogue()[name]
        keys = [(key.field, known[key.table]) for key in relation.foreign_keys]
        mine = known[name]
        for row in some:
            for field, parents in keys:
                if row[field] is not None and row[field] not in parents:
                    raise ValueError(f"{name}: {row[field]} is unknown")
            mine.add(row[relation.primary_key])


def as_avro(rows: Rows) -> None:
    from fastavro import parse_schema, schemaless_writer

    for stream in catalogue().streams:
        schema = parse_schema(json.loads(stream.avro_schema))
        for row in rows[stream.name]:
            buffer = io.BytesIO()
            schemaless_writer(buffer, schema, row)
            buffer.getvalue()


def as_json(rows: Rows) -> None:
    encode = json.JSONEncoder(default=str, ensure_ascii=False).encode
    for some in rows.values():
        for row in some:
            encode(row).encode()


def as_csv(rows: Rows) -> None:
    """For COPY … CSV: what Python can write at its fastest."""
    for some in rows.values():
        csv.writer(io.StringIO()).writerows(map(dict.values, some))
