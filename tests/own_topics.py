"""The tool's topics as a test has them to itself, on a cluster that others use at the same time."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sending
from datagen.presets import BULK
from records import TOPICS, committed, end_offsets, read_topic, read_topics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datagen.presets import ProducerConfig
    from records import Record

_PREFIX = re.compile(r"test-[0-9a-f]{12}\.")


def new_prefix() -> str:
    return f"test-{secrets.token_hex(6)}."


def is_prefixed(name: str) -> bool:
    """Whether a topic or a subject is under a prefix of a test."""
    return _PREFIX.match(name) is not None


@dataclass(frozen=True)
class OwnTopics:
    """The four topics under a prefix that no other test has; they need not exist.

    What is asked by topic takes and gives the names without the prefix, as the tool's streams have them.
    """

    bootstrap: str
    prefix: str = field(default_factory=new_prefix)

    @property
    def names(self) -> list[str]:
        """The topics as the cluster knows them."""
        return [self.name(stream) for stream in TOPICS]

    @property
    def options(self) -> tuple[str, ...]:
        """Those of the command."""
        return "--kafka-bootstrap", self.bootstrap, "--topic-prefix", self.prefix

    def name(self, stream: str) -> str:
        return f"{self.prefix}{stream}"

    def config(self, base: ProducerConfig = BULK, **changes: Any) -> ProducerConfig:
        """A configuration that sends to these topics, without a registry unless that is named."""
        return sending.to(self.bootstrap, base, **{"topic_prefix": self.prefix, **changes})

    def ends(self) -> dict[str, int]:
        """The records that were ever written to each topic; 0 for one that does not exist."""
        found = end_offsets(self.bootstrap, self.names)
        return {stream: found[self.name(stream)] for stream in TOPICS}

    def read(
        self, streams: Iterable[str] = TOPICS, expected: int | None = None
    ) -> dict[str, list[Record]]:
        """All records of each topic, by partition and offset, as of topics without a prefix."""
        names = {self.name(stream): stream for stream in streams}
        found = read_topics(self.bootstrap, names, expected)
        return {
            stream: [replace(record, topic=stream) for record in found[name]]
            for name, stream in names.items()
        }

    def records(self, stream: str) -> list[Record]:
        """All records of one topic, which must exist, by partition and offset."""
        return [
            replace(record, topic=stream)
            for record in read_topic(self.bootstrap, self.name(stream))
        ]

    def committed_ids(self, stream: str) -> list[bytes]:
        """The ids of the records of one topic that readers of committed records find."""
        return [one.header("ce_id") for one in self.committed(stream)]

    def committed(self, topic: str) -> list[Record]:
        """The records of one topic that readers of committed records find, by partition and offset."""
        return committed(self.bootstrap, self.name(topic))
