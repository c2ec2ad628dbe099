"""What an earlier attempt at a load has left in its topics, which stays."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...types import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._core import Batch, KeySet
    from ...presets import ProducerConfig
    from ..base import Window
    from .behind import There
    from .event_producer import Sending
    from .sink import KafkaSink

__all__ = ["EarlierAttempt"]

_log = logging.getLogger(__name__)


class EarlierAttempt:
    """The rows and events of a window that are there before this attempt sends any; none without one before.

    ``receipt`` is what the earlier attempt's says of this sink, or empty; ``topics`` has the topic of each relation. In
    transactions (``exactly_once``) the position that these keep says what is there, and nothing is read.

    ``begun`` is where the earlier attempt began, by topic and partition.
    """

    def __init__(
        self,
        sink: KafkaSink,
        window: Window,
        receipt: Mapping[str, Any],
        topics: Mapping[str, str],
        *,
        exactly_once: bool,
    ) -> None:
        self._sink = sink
        self._window = window
        self._receipt = receipt
        self._topics = topics
        self._exactly_once = exactly_once
        self.begun: dict[str, dict[int, int]] = {}
        self._there: There | None = None
        self._looked = False
        #: Rows that have come by, and how many of them were left out since they are there.
        self._passed = dict.fromkeys(topics, 0)
        self._left_out = dict.fromkeys(topics, 0)
        self._take_begin()
        self._check_records(sink.config)

    def _take_begin(self) -> None:
        """Takes note of where the attempt began; refuses one that has sent to other topics."""
        for name, one in self._receipt.get("topics", {}).items():
            if name not in self._topics or one["topic"] != self._topics[name]:
                raise ConfigurationError(
                    f"The earlier attempt has sent {name} to topic {one['topic']}, and this one would not; check "
                    "--topic-prefix and --master-topics"
                )
            begun = {int(number): int(part["first"]) for number, part in one["partitions"].items()}
            if begun:
                self.begun[one["topic"]] = begun

    def _check_records(self, producer: ProducerConfig) -> None:
        """Refuses an attempt that has sent records of another make."""
        for made in ("avro_enums", "cloudevents", "content_type", "record_timestamp"):
            now = getattr(producer, made)
            if self._receipt.get(made, now) != now:
                raise ConfigurationError(
                    f"The earlier attempt has sent records with {made}={self._receipt[made]}, and this one would with {now}"
                )

    def check_cluster(self) -> None:
        """Refuses an attempt that has sent to another cluster than the one that answers."""
        before, now = self._receipt.get("cluster"), self._sink.cluster_id
        if before and now and before != now:
            raise ConfigurationError(
                f"Kafka at {self._sink.config.bootstrap} is the cluster {now}, and the earlier attempt has sent to "
                f"{before} ({self._receipt.get('bootstrap')}); check --kafka-bootstrap"
            )

    def nothing_sent(self) -> None:
        """Says that nothing need be looked for; where a receipt says that it began, the topics are, all the same."""
        self._looked = not self.begun

    def look(self) -> None:
        """Finds out, once, what there is."""
        if self._looked or self._window.before is None or self._exactly_once:
            return
        self._looked = True
        # A receipt that does not say where it began may be older than what another process has sent since.
        names = {topic: name for name, topic in self._topics.items()}
        self._there = there = self._sink.there(self._window, names, self.begun or None)
        if not self.begun:
            ends = self._sink.end_offsets(names)
            self.begun = {topic: ends[topic] | there.first.get(topic, {}) for topic in names}
        _log.info("Kafka: %d records are there, and stay", len(there.ids))

    def look_for_rows(self, begun: Mapping[str, Mapping[int, int]]) -> None:
        """Finds out which rows of tables an earlier process has sent behind these offsets of their topics."""
        names = {one: name for name, one in self._topics.items() if one in begun}
        self._there = self._sink.there(self._window, names, begun)
        _log.info("Kafka: %d rows of tables are there, and stay", len(self._there.ids))

    def begin_at(self, ends: Mapping[str, Mapping[int, int]]) -> None:
        """Says where the topics end before the first event; transactions know where they did for the earlier attempt."""
        if not self._exactly_once:
            return
        self._looked = True
        begun = self._sink.begin_at(ends)
        if not self._window.open_ended:
            # A stream goes on for longer than topics keep what was sent.
            self._sink.check_log_start(
                {topic: of for topic, of in begun.items() if self._sink.committed_before(topic)},
                "the run began at",
            )
        self.begun = {topic: dict(offsets) for topic, offsets in begun.items()}

    @property
    def unseen(self) -> bool:
        """Whether only a receipt says what an attempt before has left, since it was not looked for."""
        return bool(self._receipt) and not self._looked and not self._window.open_ended

    @property
    def is_there(self) -> bool:
        """Whether an attempt before has left something that is counted with what this one sends."""
        if self._window.open_ended:
            return False
        return self._there is not None or any(
            map(self._sink.committed_before, self._topics.values())
        )

    @property
    def ids(self) -> KeySet | None:
        """The ids of what is there, where it was looked for."""
        return self._there.ids if self._there else None

    def missing(self, batch: Batch) -> Batch:
        """The rows that are not there."""
        rest = batch if self._there is None else self._there.ids.missing(batch)
        self._passed[batch.name] += len(batch)
        self._left_out[batch.name] += len(batch) - len(rest)
        return rest

    def rows(self, name: str, sending: Sending | None) -> int:
        """How many rows of a relation are there, as far as is known; events that ``sending`` makes do not come by.

        A stream counts its own.
        """
        if self._window.open_ended:
            return 0
        if self.unseen:
            said = self._receipt.get("topics", {}).get(name, {}).get("acknowledged", 0)
            return min(int(said), self._window.rows(name))
        if self._exactly_once:
            return self._sink.committed_before(self._topics[name])
        if self._there is None:
            return 0
        passed, left_out = self._passed[name], self._left_out[name]
        if sending is not None and catalogue()[name].is_stream:
            sent, left_out = sending.made[name]
            passed = sent + left_out
        planned = self._window.rows(name)
        if passed == planned:
            return left_out
        return min(sum(self.partitions(self._topics[name]).values()), planned)

    def partitions(self, topic: str) -> Mapping[int, int]:
        """How many rows were found in each partition."""
        return self._there.counts.get(topic, {}) if self._there else {}
