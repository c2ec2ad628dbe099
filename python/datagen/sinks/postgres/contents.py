"""What the tables hold: all of a table as binary COPY, and rows by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .follower import STREAMS
from .inspection import check_schema, checked_name, found_schema
from .load_session import LoadSession, in_query
from .server import Server
from .session import WORK, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from ..._core import Plan
    from ...types import Relation

__all__ = ["TableContents"]

#: Seconds for which a lock on a table is waited for.
_LOCK = 10.0
#: Bytes that are handed over at once: the server sends row by row.
_BLOCK = 1 << 20


class TableContents:
    """Reads tables whole as a context manager, each in a transaction that only reads.

    Raises ``ConfigurationError`` where the schema is missing or may not be used.
    """

    def __init__(self, url: str, schema: str | None = None) -> None:
        self._load = LoadSession(Server(url), _LOCK)
        self._schema = None if schema is None else checked_name(schema)

    def __enter__(self) -> Self:
        self._load.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._load.close()

    @property
    def where(self) -> str:
        """The server as host:port/database."""
        return self._load.server.where

    def copied(self, table: Relation) -> Iterator[bytes]:
        """All rows as a binary COPY, in blocks; nothing where the table does not exist."""
        load = self._load
        with load.errors(table.name, outcome=""):
            name = self._begin(table)
            if name is not None:
                columns = ", ".join(field.name for field in table.fields)
                # The names are the catalogue's own.
                statement = f"COPY (SELECT {columns} FROM ONLY {name}) TO STDOUT (FORMAT binary)"
                block = bytearray()
                with (
                    waiting(f"rows of {table.name}", WORK),
                    load.connection.cursor() as cursor,
                    cursor.copy(statement.encode()) as copy,
                ):
                    for data in copy:
                        block += data
                        if len(block) >= _BLOCK:
                            yield bytes(block)
                            block.clear()
                yield bytes(block)
            load.execute("ROLLBACK")

    def rows(self, table: Relation, keys: Sequence[UUID]) -> list[dict[str, Any]]:
        """The rows with these primary keys, as far as they are there."""
        load = self._load
        with load.errors(table.name, outcome=""):
            name = self._begin(table)
            columns = [field.name for field in table.fields]
            found: list[tuple[Any, ...]] = []
            if name is not None:
                found = load.rows(
                    f"SELECT {', '.join(columns)} FROM ONLY {in_query(name)} WHERE {table.primary_key} = ANY(%s)",
                    list(keys),
                )
            load.execute("ROLLBACK")
        return [dict(zip(columns, row, strict=True)) for row in found]

    def followed_to(self, plan: Plan, from_customer: int) -> datetime | None:
        """The instant that tables which follow a stream are as of; None where they follow none of this plan."""
        load, found = self._load, []
        with load.errors(STREAMS, outcome=""):
            name = self._named(STREAMS)
            if name is not None:
                found = load.rows(
                    f"SELECT tables_at FROM ONLY {in_query(name)} WHERE seed = %s AND from_customer = %s "
                    "AND customers = %s AND as_of = %s AND days = %s",
                    *(plan.seed, from_customer, plan.customers, plan.as_of, plan.days),
                )
            load.execute("ROLLBACK")
        return found[0][0] if found else None

    def _begin(self, table: Relation) -> str | None:
        """Begins a transaction; the table as SQL writes it, None where there is none."""
        return self._named(table.name)

    def _named(self, table: str) -> str | None:
        """The same of a table of any name."""
        load = self._load
        target = load.begin(read_only=True)
        if self._schema is not None:
            check_schema(load, self._schema)
        schema = self._schema or found_schema(load, target)
        [(quoted, there)] = load.rows(
            "SELECT quote_ident(%s), to_regclass(quote_ident(%s) || '.' || quote_ident(%s))",
            *(schema, schema, table),
        )
        return None if there is None else f"{quoted}.{table}"
