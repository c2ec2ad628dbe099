"""What the tables hold: all of a table as binary COPY, and rows by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ...errors import VerificationError
from .ddl import shape
from .follower import STREAMS
from .inspection import check_schema, checked_name, found_schema
from .load_session import LoadSession, in_query
from .queries import query
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

    Raises ``ConfigurationError`` where the schema is missing or may not be used, and ``VerificationError`` where a
    table lacks a column, or has one of another type: its values could not be compared.
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
                statement = f"COPY (SELECT {columns} FROM {name}) TO STDOUT (FORMAT binary)"
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
                    f"SELECT {', '.join(columns)} FROM {in_query(name)} WHERE {table.primary_key} = ANY(%s)",
                    list(keys),
                )
            load.execute("ROLLBACK")
        return [dict(zip(columns, row, strict=True)) for row in found]

    def followed_to(self, plan: Plan, from_customer: int) -> datetime | None:
        """The instant that tables which follow a stream are as of; None where they follow none of this plan.

        Of several shards it is that of the furthest. One that has come as far, and whose last change is earlier, has the same
        rows as of then; one that is behind has not, and its own receipt is to be verified.
        """
        load, found = self._load, []
        with load.errors(STREAMS, outcome=""):
            name = self._named(STREAMS)
            if name is not None:
                found = load.rows(
                    f"SELECT max(tables_at) FROM {in_query(name)} WHERE seed = %s AND from_customer >= %s "
                    "AND customers <= %s AND as_of = %s AND days = %s",
                    *(plan.seed, from_customer, plan.customers, plan.as_of, plan.days),
                )
            load.execute("ROLLBACK")
        return found[0][0] if found else None

    def _begin(self, table: Relation) -> str | None:
        """Begins a transaction; the table as FROM has it, None where there is none."""
        name = self._named(table.name)
        if name is not None:
            self._check_columns(table)
        return name

    def _check_columns(self, table: Relation) -> None:
        """Refuses other columns than those that are read; more of them are the user's own affair."""
        load = self._load
        found = {
            name: kind
            for _, name, kind, _ in load.rows(
                query("columns"), schema=load.schema, tables=[table.name]
            )
        }
        differs = [
            f"column {one.name} is missing"
            if one.name not in found
            else f"column {one.name} is {found[one.name]}, not {one.type}"
            for one in shape(table).columns
            if found.get(one.name) != one.type
        ]
        if differs:
            more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
            raise VerificationError(
                f"table {table.name} at {self.where} has another shape: "
                f"{'; '.join(differs[:3])}{more}: its rows cannot be compared"
            )

    def _named(self, table: str) -> str | None:
        """The same of a table of any name; without the rows of those that inherit, but with those of partitions."""
        load = self._load
        target = load.begin(read_only=True)
        if self._schema is not None:
            check_schema(load, self._schema)
        schema = self._schema or found_schema(load, target)
        [(load.schema,)] = load.rows("SELECT quote_ident(%s)", schema)
        found = load.rows(
            "SELECT relkind::text FROM pg_class "
            "WHERE relnamespace = %s::regnamespace AND relname = %s",
            load.schema,
            table,
        )
        if not found:
            return None
        only = "" if found == [("p",)] else "ONLY "
        return f"{only}{load.schema}.{table}"
