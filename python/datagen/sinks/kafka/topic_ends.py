"""Where the topics of a load end: as it begins, and later on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .delivery import TopicDelivery
    from .sink import KafkaSink

__all__ = ["TopicEnds"]


class TopicEnds:
    """The end offsets of ``topics``, by topic and partition, where there is one.

    ``before`` are those as the load began, in its first attempt.
    """

    def __init__(self, sink: KafkaSink, topics: Mapping[str, str]) -> None:
        self._sink = sink
        self._topics = topics
        self.before: dict[str, dict[int, int]] = {}
        self._after: dict[str, dict[int, int]] = {}

    def read(self) -> dict[str, dict[int, int]]:
        """The ends by now."""
        return self._sink.end_offsets(self._topics.values())

    def moved(self) -> dict[str, int]:
        """By how much the ends of each relation's topic, taken together, have moved; those without a topic are left out."""
        self._after = ends = self.read()
        return {
            name: sum(ends[topic].values()) - sum(self.before.get(topic, {}).values())
            for name, topic in self._topics.items()
            if topic in ends
        }

    def reached(self) -> dict[str, dict[str, int]]:
        """The ends before, and what was acknowledged since, as values that JSON has.

        Records of other producers are not counted, so that the end may be further: to read from here finds all
        that is written from now on.
        """
        acknowledged = self._sink.report().topics
        ends: dict[str, dict[str, int]] = {}
        for topic, partitions in self.before.items():
            sent = acknowledged[topic].partitions if topic in acknowledged else {}
            ends[topic] = {
                str(number): end + (sent[number].acknowledged if number in sent else 0)
                for number, end in partitions.items()
            }
        return ends

    def receipt(
        self,
        topic: str,
        begun: Mapping[int, int],
        there: Mapping[int, int],
        delivery: TopicDelivery | None,
    ) -> dict[str, Any]:
        """What a receipt says of each partition: its first and last offset, and what was acknowledged.

        ``begun`` is where an attempt before began, and ``there`` what it has left, by partition. The last offsets are those
        at the end of the run, of other producers' records too.
        """
        ends = self._after.get(topic, {})
        sent = delivery.partitions if delivery else {}
        first = {**self.before.get(topic, {}), **begun}
        return {
            str(number): {
                "first": first[number],
                "last": ends[number] - 1 if ends.get(number, 0) > first[number] else None,
                "acknowledged": there.get(number, 0)
                + (sent[number].acknowledged if number in sent else 0),
            }
            for number in sorted(first)
        }
