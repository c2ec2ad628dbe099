"""What tests ask of the sinks of a load, by the names that `Load` wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datagen.sinks.kafka.stage import KafkaTarget
from datagen.sinks.postgres.stage import PostgresTarget

if TYPE_CHECKING:
    from datagen.sinks.base import Part, Stage, Target
    from datagen.sinks.kafka import ProducerConfig


def to_kafka(producer: ProducerConfig, **settings: Any) -> dict[str, Target]:
    """A cluster, where the topics are created if need be."""
    return {"kafka": KafkaTarget(producer=producer, **{"create_topics": True, **settings})}


def to_postgres(url: str, **settings: Any) -> dict[str, Target]:
    """A database."""
    return {"postgres": PostgresTarget(url=url, **settings)}


class Silent:
    """Progress that no display shows."""

    def start(self, stage: Stage, name: str, rows: int) -> None: ...
    def advance(self, rows: int) -> None: ...
    def finish(self, stage: Stage, part: Part) -> None: ...
