"""Master data into PostgreSQL: all or nothing, binary COPY, keys checked by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sink import PostgresSink

__all__ = ["PostgresSink"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for, so that the options of the sink come without the sink.
    if name != "PostgresSink":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .sink import PostgresSink

    return PostgresSink
