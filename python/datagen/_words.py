"""What a message calls a setting: by its option to a user of the command, by its argument to a caller.

Messages are written with the options of the command. The errors of a process that is not the
command say the arguments of the library instead.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OPTIONS", "of_the_command", "spoken", "worded"]

#: What a pattern of options is called in the library; the first that fits is taken.
_PATTERNS: Final = (
    # An address that is the default one's is told from it by this alone.
    (r"--schema-registry https?://\S+", "json_fallback=False"),
    (r"--retention-hours broker", "retention_hours=None"),
    (r"--retention-hours (-?\d+)", r"retention_hours=\1"),
    (r"--replication-factor (\d+)", r"replication_factor=\1"),
    (r"--record-timestamp (event|production)", r'record_timestamp="\1"'),
    (r"--engine (native|confluent)", r'engine="\1"'),
    (r"--order (entity|time)", r'order="\1"'),
    # The path that follows says enough.
    (r"--(?:kafka-config|out) (?=\S)", ""),
)
#: The argument for each option that a message names.
OPTIONS: Final = {
    "--create-topics": "create_topics",
    "--customers": "customers",
    "--days": "days",
    "--engine": "engine",
    "--exactly-once": "exactly_once=True",
    "--fast": "fast=True",
    "--from-customer": "start (of plan.batches)",
    "--kafka-bootstrap": "bootstrap_servers",
    "--kafka-config": "the file",
    "--kafka-option": "client_options",
    "--master-topics": "master_topics",
    "--no-avro": "avro=False",
    "--no-cloudevents": "cloudevents=False",
    "--order": "order",
    "--out": "the file",
    "--overwrite": "overwrite=True",
    "--partitions": "partitions",
    "--postgres-schema": "schema=NAME",
    "--postgres-url": "its URL",
    "--record-timestamp": "record_timestamp",
    "--registry-ca": "registry_options",
    "--registry-user": "registry_options",
    "--replication-factor": "replication_factor",
    "--resume": "resuming",
    "--retention-hours": "retention_hours",
    "--schema-registry": "schema_registry_url",
    "--skip-postgres": "targets",
    "--topic-config": "topic_config",
    "--topic-prefix": "topic_prefix",
    "--truncate": "truncate=True",
}
_RULES: Final = tuple(
    (re.compile(rf"(?<![\w/-]){pattern}(?![\w-])" if to else rf"(?<![\w/-]){pattern}"), to)
    for pattern, to in (*_PATTERNS, *OPTIONS.items())
)

_is_command = False


@contextmanager
def of_the_command() -> Iterator[None]:
    """Has messages name options, since the process is the command."""
    global _is_command  # noqa: PLW0603 - threads of a run speak as the command does
    before, _is_command = _is_command, True
    try:
        yield
    finally:
        _is_command = before


def worded(command: str, library: str) -> str:
    """The one text or the other: what a user of the command is told, or a caller of the library."""
    return command if _is_command else library


def spoken(message: str) -> str:
    """A message that names options, in the words of who hears it."""
    if _is_command or "--" not in message:
        return message
    for pattern, to in _RULES:
        message = pattern.sub(to, message)
    return message
