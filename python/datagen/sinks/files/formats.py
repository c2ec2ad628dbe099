"""How rows become the bytes of a file, for each format: by pyarrow, or by the core's encoders."""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..._core import Batch, EncodedRows
    from ...types import Relation
    from .place import Output

__all__ = ["FORMATS", "Format", "Writer"]

#: Rows of a row group, at least: as many as DuckDB has in one, some 10 MB of ours.
_ROW_GROUP: Final = 122_880
#: Types of few values; the ids of rows would fill a dictionary for nothing.
_REPEATED: Final = ("enum", "text", "char", "smallint", "bool")
#: Codecs that look for repetitions alone, of which primary keys have none: a quarter of the time for a
#: tenth of their bytes.
_REPETITIONS: Final = ("snappy", "lz4")


class Writer(ABC):
    """Writes the rows of one relation to one file, which it does not close."""

    #: Rows that are written at once, where that makes no difference to the bytes: as many are known to be out.
    step: ClassVar[int] = 0

    @abstractmethod
    def write(self, rows: Any, start: int, stop: int) -> None:
        """Takes the rows of a converted batch from ``start`` to ``stop``."""

    @abstractmethod
    def close(self) -> None:
        """Writes what is left, and the end of the file."""


class _Parquet(Writer):
    """Row groups of some hundred thousand rows; enumerations and texts have dictionaries."""

    def __init__(self, out: Output, relation: Relation, compression: str, uuids: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._pa = pa
        self._waiting: list[Any] = []
        self._rows = 0
        schema = pa.schema(_arrow(_empty(relation), uuids, "dictionary"))
        codecs = dict.fromkeys(schema.names, compression)
        if compression in _REPETITIONS:
            codecs[relation.primary_key] = "none"
        self._file = parquet.ParquetWriter(
            out,
            schema,
            compression=codecs,
            use_dictionary=[one.name for one in relation.fields if one.type in _REPEATED],
            # Readers of Arrow would get dictionaries, and others texts.
            store_schema=False,
        )

    def write(self, rows: Any, start: int, stop: int) -> None:
        self._waiting.append(rows.slice(start, stop - start))
        self._rows += stop - start
        if self._rows >= _ROW_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        self._file.write_table(
            self._pa.Table.from_batches(self._waiting), row_group_size=self._rows
        )
        self._waiting, self._rows = [], 0

    def close(self) -> None:
        if self._waiting:
            self._write_group()
        self._file.close()


class _Csv(Writer):
    """A line of names, then a line a row: texts are in quotes, and nothing is a null."""

    step = 4_096

    def __init__(self, out: Output, relation: Relation, compression: str, uuids: str) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self._out = _compressed(out, compression)
        schema = pa.schema(_arrow(_empty(relation), uuids, "text"))
        # It would quote the names.
        self._out.write(",".join(schema.names).encode() + b"\n")
        options = csv.WriteOptions(include_header=False, quoting_style="needed")
        self._file = csv.CSVWriter(self._out, schema, write_options=options)

    def write(self, rows: Any, start: int, stop: int) -> None:
        self._file.write_batch(rows.slice(start, stop - start))

    def close(self) -> None:
        self._file.close()
        self._out.close()


class _JsonLines(Writer):
    """A JSON object a line, as in messages."""

    step = 4_096

    def __init__(self, out: Output, relation: Relation, compression: str, uuids: str) -> None:  # noqa: ARG002
        self._out = _compressed(out, compression)

    def write(self, rows: Any, start: int, stop: int) -> None:
        self._out.write(_part(rows, start, stop))

    def close(self) -> None:
        self._out.close()


class _Avro(Writer):
    """An object container file with the schema of messages, a block a batch.

    https://avro.apache.org/docs/1.12.0/specification/#object-container-files
    """

    _CODECS: Final = {
        "none": "null",
        "deflate": "deflate",
        "snappy": "snappy",
        "zstd": "zstandard",
    }

    def __init__(self, out: Output, relation: Relation, compression: str, uuids: str) -> None:  # noqa: ARG002
        self._out = out
        self._compress = _block_codec(compression)
        schema = relation.avro_schema.encode()
        # Any 16 bytes will do, and the same rows should give the same file.
        self._sync = hashlib.sha256(schema).digest()[:16]
        header = {"avro.schema": schema, "avro.codec": self._CODECS[compression].encode()}
        entries = b"".join(_bytes(key.encode()) + _bytes(value) for key, value in header.items())
        out.write(b"Obj\x01" + _long(len(header)) + entries + _long(0) + self._sync)

    def write(self, rows: Any, start: int, stop: int) -> None:
        block = self._compress(_part(rows, start, stop))
        self._out.write(_long(stop - start) + _long(len(block)))
        self._out.write(block)
        self._out.write(self._sync)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Format:
    """A format of files: its writer, the end of its names, and its compressions, the default first.

    ``convert`` makes of a batch what the writer takes, with uuids as text or binary.

    A compression that wraps the whole file adds the end that ``wrapped`` has for it.
    """

    writer: Callable[[Output, Relation, str, str], Writer]
    convert: Callable[[Batch, str], Any]
    suffix: str
    compressions: Sequence[str]
    wrapped: Mapping[str, str]
    #: Uuids may be 16 bytes.
    binary_uuids: bool = False

    def suffix_of(self, compression: str) -> str:
        return self.suffix + self.wrapped.get(compression, "")


_WRAPPED: Final = {"gzip": ".gz", "zstd": ".zst"}

FORMATS: Final[Mapping[str, Format]] = {
    "parquet": Format(
        _Parquet,
        lambda batch, uuids: _record_batch(batch, uuids, "dictionary"),
        ".parquet",
        ("snappy", "zstd", "gzip", "lz4", "none"),
        {},
        binary_uuids=True,
    ),
    "csv": Format(
        _Csv,
        lambda batch, uuids: _record_batch(batch, uuids, "text"),
        ".csv",
        ("none", "gzip", "zstd"),
        _WRAPPED,
    ),
    "jsonl": Format(
        _JsonLines,
        lambda batch, _: batch.encode("jsonl"),
        ".jsonl",
        ("none", "gzip", "zstd"),
        _WRAPPED,
    ),
    "avro": Format(
        _Avro,
        lambda batch, _: batch.encode("avro"),
        ".avro",
        ("deflate", "snappy", "zstd", "none"),
        {},
    ),
}


def _arrow(batch: Batch, uuids: Any, enums: Any) -> Batch:
    return batch.with_layout(uuids=uuids, enums=enums)


def _empty(relation: Relation) -> Batch:
    from ..._core import Batch as _Batch

    return _Batch.from_rows(relation.name, [])


def _record_batch(batch: Batch, uuids: str, enums: str) -> Any:
    import pyarrow as pa

    return pa.record_batch(_arrow(batch, uuids, enums))


def _part(rows: EncodedRows, start: int, stop: int) -> memoryview:
    offsets = memoryview(rows.offsets)
    return memoryview(rows)[offsets[start] : offsets[stop]]


def _compressed(out: Output, compression: str) -> Any:
    """A stream that compresses what is written to it; its end does not close ``out``."""
    import pyarrow as pa

    if compression == "none":
        return _Borrowed(out)
    return pa.CompressedOutputStream(pa.PythonFile(_Borrowed(out), mode="w"), compression)


class _Borrowed:
    """A file that is not closed by those who write to it."""

    closed = False

    def __init__(self, out: Output) -> None:
        self.write = out.write
        self.tell = out.tell

    def flush(self) -> None:
        """All is written at once."""

    def close(self) -> None:
        self.closed = True


def _block_codec(compression: str) -> Callable[[memoryview], Any]:
    if compression == "deflate":
        return _deflate
    if compression == "none":
        return lambda block: block
    import pyarrow as pa

    codec = pa.Codec(compression)
    if compression == "zstd":
        return lambda block: codec.compress(block, asbytes=True)
    # Snappy's blocks end in the checksum of what they were.
    return lambda block: codec.compress(block, asbytes=True) + zlib.crc32(block).to_bytes(4, "big")


def _deflate(block: memoryview) -> bytes:
    # Level 1: a third of the time for a tenth more bytes.
    deflater = zlib.compressobj(level=1, wbits=-15)
    return deflater.compress(block) + deflater.flush()


def _long(value: int) -> bytes:
    """A number as Avro has it: zigzag, seven bits a byte."""
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _bytes(value: bytes) -> bytes:
    return _long(len(value)) + value
