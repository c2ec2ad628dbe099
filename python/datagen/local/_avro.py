"""Avro schemas: whether they are valid, and whether one reads what another wrote.

Apache's `avro` knows both. Defaults and logical types are not looked into.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityResult,
    SchemaCompatibilityType,
)
from avro.errors import AvroException
from avro.schema import parse

if TYPE_CHECKING:
    from avro.schema import RecordSchema

#: Characters that the messages of the parser may have in all.
MAX_MESSAGES = 200_000_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class InvalidSchemaError(ValueError):
    """The text is not an Avro schema; the message says where it fails."""


class Schema:
    """A valid schema; ``text`` is its JSON without needless white space, in the given order."""

    def __init__(self, text: str) -> None:
        # No NaN, which JSON does not have, and no half of a character, which UTF-8 does not.
        compact = partial(json.dumps, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        try:
            declared = json.loads(text)
            self.text = compact(declared)
            self.text.encode()
        except ValueError as error:
            raise InvalidSchemaError(f"not JSON: {error}") from None
        # For each type around a wrong one, Apache's parser repeats the message with all of its text.
        if _depth(declared) ** 2 * len(text) > MAX_MESSAGES:
            raise InvalidSchemaError("it is nested too deeply for its size")
        try:
            self.parsed = parse(compact(json.loads(text, object_hook=_as_apache_reads_it)))
        except (AvroException, AttributeError, TypeError, ValueError) as error:
            raise InvalidSchemaError(str(error)[:500]) from None


def _depth(node: Any) -> int:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _as_apache_reads_it(node: dict[str, Any]) -> Any:
    """A JSON object of a schema, less what Apache's parser warns of and what it does not know.

    That is logical types, and types and names of types within an object that says no more.
    """
    fields = node.get("fields")
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict) and not _NAME.fullmatch(str(field.get("name"))):
            raise InvalidSchemaError(f"illegal name of a field: {field.get('name')!r}")
    kept = {key: value for key, value in node.items() if key != "logicalType"}
    return kept["type"] if set(kept) == {"type"} else kept


def incompatibilities(reader: Schema, writer: Schema) -> list[str]:
    """Why ``reader`` cannot read what ``writer`` wrote; empty if it can."""
    checker = _Checker()  # type: ignore[no-untyped-call]
    found = checker.get_compatibility(reader.parsed, writer.parsed)
    if found.compatibility is SchemaCompatibilityType.compatible:
        return []
    where = sorted(found.locations - {"/"}) or ["/"]
    return [f"{', '.join(where)}: {'; '.join(sorted(found.messages))}"]


class _Checker(ReaderWriterCompatibilityChecker):
    """Apache's rules; fields are named in place of their index."""

    def check_reader_writer_record_fields(
        self, reader: RecordSchema, writer: RecordSchema, location: list[str]
    ) -> SchemaCompatibilityResult:
        found = super().check_reader_writer_record_fields(reader, writer, location)
        names = [field.name for field in reader.fields]
        inside = re.compile(re.escape("/".join(location)[1:]) + r"/fields/(\d+)(?:/type)?")
        missing = set(names) - set(writer.fields_dict)
        return SchemaCompatibilityResult(
            found.compatibility,
            found.incompatibilities,
            {"a new field needs a default" if m in missing else m for m in found.messages},
            {inside.sub(lambda at: f"/{names[int(at[1])]}", where) for where in found.locations},
        )
