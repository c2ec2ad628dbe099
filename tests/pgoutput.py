"""What subscribers of logical replication read: changes of a publication, by a slot of pgoutput.

The messages are those of protocol 1 (PostgreSQL documentation, "Logical Replication Message Formats").
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SLOT = "datagen_test"


@dataclass(frozen=True)
class Change:
    """One change of a row, as text; ``before`` is what the log tells of the row as it was."""

    kind: str
    table: str
    row: dict[str, str | None]
    before: dict[str, str | None] | None = None


@dataclass
class Subscription:
    """A slot and its publication."""

    dsn: str

    def transactions(self) -> list[list[Change]]:
        """The changes of each transaction since the last call."""
        with psycopg.connect(self.dsn, autocommit=True) as session:
            messages = session.execute(
                "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, "
                "'proto_version', '1', 'publication_names', %s)",
                [_SLOT, _SLOT],
            ).fetchall()
        return _decoded([data for (data,) in messages])


@contextmanager
def subscribed(dsn: str, tables: Sequence[str]) -> Iterator[Subscription]:
    """Publishes tables that are there, and keeps what becomes of them from here on."""
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(f"CREATE PUBLICATION {_SLOT} FOR TABLE {', '.join(tables)}".encode())
        session.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [_SLOT])
    try:
        yield Subscription(dsn)
    finally:
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute("SELECT pg_drop_replication_slot(%s)", [_SLOT])
            session.execute(f"DROP PUBLICATION {_SLOT}".encode())


@dataclass
class _Reader:
    data: bytes
    place: int = 1
    relations: dict[int, tuple[str, list[str]]] = field(default_factory=dict)

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(">" + form, self.data, self.place)
        self.place += struct.calcsize(">" + form)
        return value

    def text(self) -> str:
        end = self.data.index(0, self.place)
        value, self.place = self.data[self.place : end].decode(), end + 1
        return value

    def letter(self) -> str:
        self.place += 1
        return chr(self.data[self.place - 1])

    def row(self, columns: list[str]) -> dict[str, str | None]:
        assert self.number("h") == len(columns)
        return {name: self._value() for name in columns}

    def _value(self) -> str | None:
        kind = self.letter()
        assert kind in "nt", kind
        if kind == "n":
            return None
        length = self.number("i")
        value = self.data[self.place : self.place + length].decode()
        self.place += length
        return value


def _decoded(messages: list[bytes]) -> list[list[Change]]:
    transactions: list[list[Change]] = []
    relations: dict[int, tuple[str, list[str]]] = {}
    for message in messages:
        reader = _Reader(bytes(message))
        kind = chr(message[0])
        if kind == "B":
            transactions.append([])
        elif kind == "R":
            ident = reader.number("I")
            reader.text()
            name = reader.text()
            reader.letter()
            columns = []
            for _ in range(reader.number("h")):
                reader.number("b")
                columns.append(reader.text())
                reader.number("I")
                reader.number("i")
            relations[ident] = (name, columns)
        elif kind in "IUD":
            name, columns = relations[reader.number("I")]
            part, before = reader.letter(), None
            if part in "KO":
                before = reader.row(columns)
                part = reader.letter() if kind == "U" else ""
            row = reader.row(columns) if part == "N" else before or {}
            transactions[-1].append(Change(kind, name, row, before))
        else:
            assert kind == "C", kind
    return transactions
