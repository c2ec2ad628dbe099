"""Rows of a table: those that changed last or first, and those that change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from ...errors import ConfigurationError, OptionError
from .inspection import check_schema, checked_name, found_schema
from .load_session import LoadSession, in_query
from .server import Server
from .session import WORK, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...types import Relation

    Row = dict[str, Any]

__all__ = ["TableReader"]

#: Seconds for which a lock on the table is waited for.
_LOCK: Final = 10.0
#: Seconds between two looks at a table that is followed.
_EVERY: Final = 1.0


class TableReader:
    """Reads one table as a context manager, by ``updated_at``, each time in a transaction that only reads.

    ``key`` is a primary key, whose row alone is read. Raises ``OptionError`` for one that is no UUID, and
    ``ConfigurationError`` where schema or table are missing.
    """

    def __init__(
        self, url: str, table: Relation, schema: str | None = None, key: str | None = None
    ) -> None:
        self._load = LoadSession(Server(url), _LOCK)
        self._table = table
        self._schema = None if schema is None else checked_name(schema)
        self._key = None
        if key is not None:
            try:
                self._key = UUID(key)
            except ValueError:
                raise OptionError("key", key, f"a {table.primary_key}, which is a UUID") from None
        self._seen: Any = None

    def __enter__(self) -> Self:
        self._load.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._load.close()

    def last(self, number: int) -> list[Row]:
        """The rows that changed last, in order of time."""
        rows = self._rows("DESC", number)[::-1]
        self._seen = rows[-1][self._table.time] if rows else None
        return rows

    def first(self, number: int) -> list[Row]:
        """The rows that changed first, in order of time."""
        return self._rows("ASC", number)

    def follow(self) -> Iterator[Row]:
        """Rows as they change after those of ``last``, without end; looks once a second."""
        while True:
            time.sleep(_EVERY)
            for row in self._rows("ASC", None):
                self._seen = row[self._table.time]
                yield row

    def _rows(self, order: str, number: int | None) -> list[Row]:
        load, table = self._load, self._table
        with load.errors(table.name, outcome=""):
            target = load.begin(read_only=True)
            if self._schema is not None:
                check_schema(load, self._schema)
            name = self._schema or found_schema(load, target)
            [(schema, there)] = load.rows(
                "SELECT quote_ident(%s), to_regclass(quote_ident(%s) || '.' || quote_ident(%s))",
                *(name, name, table.name),
            )
            if there is None:
                raise ConfigurationError(
                    f"PostgreSQL at {load.server.where}: table {table.name} does not exist in the "
                    f"schema {name}; check --postgres-schema, or load it"
                )
            columns = [field.name for field in table.fields]
            wanted: dict[str, Any] = {}
            if self._key is not None:
                wanted[f"{table.primary_key} = %s"] = self._key
            if number is None and self._seen is not None:
                wanted[f"{table.time} > %s"] = self._seen
            where = f"WHERE {' AND '.join(wanted)} " if wanted else ""
            # The other names are the catalogue's own.
            statement = (
                f"SELECT {', '.join(columns)} FROM {in_query(schema)}.{table.name} {where}"
                f"ORDER BY {table.time} {order}, {table.primary_key} {order} LIMIT %s"
            )
            with waiting(f"rows of {table.name}", WORK):
                rows = load.rows(statement, *wanted.values(), number)
            load.execute("ROLLBACK")
        return [dict(zip(columns, row, strict=True)) for row in rows]
