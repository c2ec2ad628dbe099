"""The statements of the folder ``sql``, by name."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["query"]


@cache
def query(name: str) -> str:
    return (files(__package__) / "sql" / f"{name}.sql").read_text("utf-8")
