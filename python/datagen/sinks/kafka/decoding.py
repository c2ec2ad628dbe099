"""What the bytes of a message mean: Avro by the registry's schemas, JSON, text, or none of these."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ...errors import DatagenError
from .formats import format_of
from .schemas import SchemaReader, check_options

if TYPE_CHECKING:
    from ...presets import ProducerConfig

__all__ = ["Decoded", "Decoder"]

#: A zero byte and the four of a schema's id.
_HEAD = 5


@dataclass(frozen=True)
class Decoded:
    """A key, a header or a value.

    ``value`` is what it means: a dict, text, a number, None for no bytes at all. Of ``bytes`` it is these in
    hexadecimal digits, and ``note`` says why they were not decoded.
    """

    kind: Literal["none", "avro", "json", "text", "bytes"]
    value: Any
    schema_id: int | None = None
    note: str = ""


@dataclass(frozen=True)
class _Unread:
    """A schema by which nothing is decoded, and why."""

    why: str


class Decoder:
    """Decodes messages; asks the registry once for each schema."""

    def __init__(self, config: ProducerConfig) -> None:
        self._config = config
        self._schemas: SchemaReader | None = None
        self._known: dict[int, Any] = {}
        self._has_registry = check_options(config)

    def close(self) -> None:
        if self._schemas is not None:
            self._schemas.close()

    def __call__(self, data: bytes | None) -> Decoded:
        if data is None:
            return Decoded("none", None)
        kind = format_of(data)
        if kind == "avro":
            return self._framed(data)
        if kind == "json":
            return Decoded("json", _json(data))
        return self.text(data)

    def text(self, data: bytes | str | None, note: str = "no Avro, JSON or text") -> Decoded:
        """Bytes as text if they are that."""
        if data is None:
            return Decoded("none", None)
        if isinstance(data, str):
            return Decoded("text", data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if all(one.isprintable() or one in "\t\r\n" for one in text):
            return Decoded("text", text)
        return Decoded("bytes", data.hex(), note=note)

    def _framed(self, data: bytes) -> Decoded:
        """A value with the id of its schema before it."""
        ident = int.from_bytes(data[1:_HEAD], "big")
        schema = self._schema(ident)
        if isinstance(schema, _Unread):
            return Decoded("bytes", data.hex(), ident, note=schema.why)
        if schema is None:  # a schema of JSON
            try:
                return Decoded("json", _json(data[_HEAD:]), ident)
            except ValueError:
                return Decoded("bytes", data.hex(), ident, note=f"no JSON, as schema {ident} says")
        import fastavro

        rest = io.BytesIO(data[_HEAD:])
        try:
            value = fastavro.schemaless_reader(rest, schema, None)
        except Exception as error:  # noqa: BLE001  # of bytes of others anything may come
            why = f"not of schema {ident} ({type(error).__name__})"
            return Decoded("bytes", data.hex(), ident, note=why)
        left = len(data) - _HEAD - rest.tell()
        return Decoded("avro", value, ident, note=f"{left} bytes more" if left else "")

    def _schema(self, ident: int) -> Any:
        """A parsed Avro schema, None for one of JSON, or why there is none."""
        if ident not in self._known:
            self._known[ident] = self._asked(ident)
        return self._known[ident]

    def _asked(self, ident: int) -> Any:
        if not self._has_registry:
            return _Unread(f"schema {ident}, and no Schema Registry to ask")
        try:
            self._schemas = self._schemas or SchemaReader(self._config)
            found = self._schemas.find(ident)
        except DatagenError as error:
            # One that was named has to answer.
            if not self._config.may_be_json:
                raise
            return _Unread(f"schema {ident}: {error}")
        if found is None:
            return _Unread(f"the Schema Registry has no schema {ident}")
        if found.kind == "JSON":
            return None
        if found.kind != "AVRO":
            return _Unread(f"schema {ident} is of {found.kind}, which is not decoded")
        return _parsed(found.text, found.references)


def _parsed(text: str, references: list[str]) -> Any:
    import fastavro

    named: dict[str, Any] = {}
    try:
        for one in references:
            fastavro.parse_schema(json.loads(one), named_schemas=named)
        return fastavro.parse_schema(json.loads(text), named_schemas=named)
    except Exception as error:  # noqa: BLE001  # of schemas of others anything may come
        return _Unread(f"its schema does not parse ({type(error).__name__})")


def _json(data: bytes) -> Any:
    """JSON with its numbers as they are written."""
    return json.loads(data, parse_float=Decimal)
