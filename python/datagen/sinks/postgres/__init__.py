"""Master data into PostgreSQL: all or nothing, binary COPY, keys checked by the server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conninfo import where
    from .description import Location, create_statements, identifier, location
    from .reading import TableReader
    from .sink import PostgresSink
    from .stage import PostgresTarget

__all__ = [
    "Location",
    "PostgresSink",
    "PostgresTarget",
    "TableReader",
    "create_statements",
    "identifier",
    "location",
    "where",
]

#: Imported when first asked for, so that the options of the sink come without the sink.
_MODULES = {
    "Location": "description",
    "PostgresSink": "sink",
    "PostgresTarget": "stage",
    "TableReader": "reading",
    "create_statements": "description",
    "identifier": "description",
    "location": "description",
    "where": "conninfo",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
