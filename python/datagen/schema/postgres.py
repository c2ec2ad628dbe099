"""The tables as a load creates them in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sinks.postgres import create_statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..types import Relation
    from .source import Source


def readable(relation: Relation, source: Source) -> bool:  # noqa: ARG001
    return not relation.is_stream


def text(relations: Sequence[Relation], source: Source) -> str:
    statements = create_statements(relations, source.postgres.schema)
    return "\n\n".join(f"{statement};" for statement in statements)
