"""What others are told of the tables: where they are, and the statements that create them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .conninfo import ConnectionString
from .ddl import shape
from .inspection import checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...types import Relation

__all__ = ["Location", "create_statements", "identifier", "location"]


@dataclass(frozen=True)
class Location:
    """A schema of a database, and who reads it; there is no password. ``sslmode`` may be empty."""

    host: str
    port: str
    database: str
    user: str
    sslmode: str
    schema: str


def location(url: str, schema: str | None) -> Location:
    """Where a connection string leads, without connecting.

    Raises ``ConfigurationError`` for one that does not parse, and ``OptionError`` for a schema of the system.
    """
    conninfo = ConnectionString(url)

    def first(name: str, variable: str, usual: str) -> str:
        return conninfo.setting(name, variable).partition(",")[0] or usual

    user = first("user", "PGUSER", "postgres")
    host = first("host", "PGHOST", "localhost")
    return Location(
        # Clients of Java know no sockets of the file system.
        host="localhost" if host.startswith("/") else host,
        port=first("port", "PGPORT", "5432"),
        database=first("dbname", "PGDATABASE", user),
        user=user,
        sslmode=conninfo.setting("sslmode", "PGSSLMODE"),
        schema="public" if schema is None else checked_name(schema),
    )


def identifier(name: str) -> str:
    """A name as SQL writes it: in quotes, which a word of SQL such as ``user`` needs too, unless it is the usual one."""
    if name == "public":
        return name
    return '"' + name.replace('"', '""') + '"'


def create_statements(tables: Sequence[Relation], schema: str) -> Iterator[str]:
    """The statements that create tables as a load does, without semicolons; those referred to come first."""
    shapes, where = [shape(table) for table in tables], identifier(schema)
    for one in shapes:
        yield one.create(where)
    for one in shapes:
        yield one.add_keys(where)
        yield from one.add_indexes(where)
    yield from filter(None, (one.add_foreign_keys(where) for one in shapes))
