"""Master data into PostgreSQL: all or nothing, binary COPY, keys checked by the server."""

from .sink import PostgresSink

__all__ = ["PostgresSink"]
