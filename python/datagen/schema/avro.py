"""The Avro schemas that are registered, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..types import Relation
    from .source import Source


def readable(relation: Relation, source: Source) -> bool:  # noqa: ARG001
    return True


def text(relations: Sequence[Relation], source: Source) -> str:
    return "\n".join(map(source.avro_schema, relations))
