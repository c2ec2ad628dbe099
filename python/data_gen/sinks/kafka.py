"""`datagen.sinks.kafka`, by its former name."""

from datagen.sinks.kafka import (
    BULK,
    EVENT_BY_EVENT,
    FAST,
    PRESETS,
    RELIABLE,
    KafkaSink,
    ProducerConfig,
)

__all__ = [
    "BULK",
    "EVENT_BY_EVENT",
    "FAST",
    "PRESETS",
    "RELIABLE",
    "KafkaSink",
    "ProducerConfig",
]
