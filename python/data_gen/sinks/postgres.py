"""`datagen.sinks.postgres`, by its former name."""

from datagen.sinks.postgres import PostgresSink

__all__ = ["PostgresSink"]
