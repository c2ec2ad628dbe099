"""What datagen writes, as the DDL of those who read it.

A module for each engine turns relations of the catalogue into text that works there as it is. No password
is in any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import avro, debezium, flink, ksqldb, postgres, spark
from .source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..types import Relation
    from .source import Engine

__all__ = ["ENGINES", "Source", "readable", "text"]

#: Each engine by the word that the command has for it.
ENGINES: Final[Mapping[str, Engine]] = {
    "flink": flink,
    "spark": spark,
    "ksqldb": ksqldb,
    "debezium": debezium,
    "postgres": postgres,
    "avro": avro,
}


def readable(engine: str, relation: Relation, source: Source) -> bool:
    """Whether an engine reads this relation from where it is."""
    return ENGINES[engine].readable(relation, source)


def text(engine: str, relations: Sequence[Relation], source: Source) -> str:
    """Statements or JSON for relations that are ``readable``."""
    return ENGINES[engine].text(relations, source)
