"""The formats of topics, from their last records: formats are never mixed unasked."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Literal

from ..._secrets import without_user
from ...errors import ConfigurationError, UnreachableError
from .cluster import TIMEOUT
from .interrupt import HeldInterrupt, held
from .librdkafka import consumer_properties, failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...presets import ProducerConfig
    from .librdkafka import ClientEvents

__all__ = ["Format", "check", "format_of", "formats_of"]

Format = Literal["avro", "json"]

_log = logging.getLogger(__name__)

#: How many of a partition's last records are looked at: markers of transactions are none.
_LAST: Final = 16
#: librdkafka's word for so many before the end (RD_KAFKA_OFFSET_TAIL).
_TAIL: Final = -2000 - _LAST
#: A zero byte and the four of a schema's id.
_HEAD: Final = 5


def format_of(value: bytes) -> Format | None:
    """The format of a record's value; None if it is neither of the two."""
    if value[:1] == b"\0" and len(value) >= _HEAD:
        return "avro"
    if value[:1] == b"{":
        try:
            json.loads(value)
        except ValueError:
            return None
        return "json"
    return None


def check(
    topics: Iterable[str], sent: Format, config: ProducerConfig, events: ClientEvents
) -> None:
    """Raises ``ConfigurationError`` where topics hold the other format and none was chosen.

    A format that was chosen is mixed in with a warning.
    """
    names = list(topics)
    found = formats_of(names, config, events, TIMEOUT)
    other: Format = "json" if sent == "avro" else "avro"
    mixing = [topic for topic in names if other in found.get(topic, ())]
    if not mixing:
        return
    one = len(mixing) == 1
    mixed = f"{'Topic' if one else 'Topics'} {', '.join(mixing)} {'holds' if one else 'hold'}"
    if config.avro and config.may_be_json:  # none was chosen
        url = without_user(config.schema_registry_url or "")
        if other == "avro":
            raise ConfigurationError(
                f"{mixed} Avro; --no-avro to mix. No Schema Registry answers at {url}: start it, or "
                "name another by --schema-registry."
            )
        raise ConfigurationError(
            f"{mixed} JSON; --no-avro to go on with it. A Schema Registry answers at the default "
            f"address: --schema-registry {url} to mix."
        )
    held, added = ("Avro", "JSON") if other == "avro" else ("JSON", "Avro")
    _log.warning("%s %s; %s is added.", mixed, held, added)


def formats_of(
    topics: Iterable[str], config: ProducerConfig, events: ClientEvents, timeout: float
) -> dict[str, set[Format]]:
    """The formats at the ends of each topic's partitions, for those that exist and may be read.

    Raises ``UnreachableError`` when ``timeout`` seconds have passed without any progress.
    """
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    options = {**consumer_properties(config, events), "auto.offset.reset": "earliest"}
    found: dict[str, set[Format]] = {}
    last: dict[tuple[str, int], Format | None] = {}
    try:
        with closing(held(Consumer, options)) as consumer:
            # The whole cluster's: asking for a topic by name could create it.
            with HeldInterrupt():
                existing = consumer.list_topics(timeout=timeout).topics
            left = {
                (name, partition)
                for name in topics
                if name in existing
                for partition in existing[name].partitions
            }
            if not left:
                return {}
            _log.debug("looking at the last records of %d partitions", len(left))
            consumer.assign([TopicPartition(*where, _TAIL) for where in sorted(left)])
            end = time.monotonic() + timeout
            while left:
                with HeldInterrupt():
                    message: Any = consumer.poll(0.05)
                if message is None:
                    if time.monotonic() >= end:
                        name, partition = min(left)
                        raise UnreachableError(
                            f"Kafka at {config.bootstrap} did not let the end of {name} partition "
                            f"{partition} be read within {timeout:g} s"
                        )
                    continue
                end = time.monotonic() + timeout
                where = message.topic(), message.partition()
                error = message.error()
                if error is None:
                    if value := message.value():
                        last[where] = format_of(value)
                elif error.name() == "_PARTITION_EOF":
                    left.discard(where)
                elif message.topic() and error.name() in {
                    "TOPIC_AUTHORIZATION_FAILED",
                    "UNKNOWN_TOPIC_OR_PART",
                }:
                    left = {one for one in left if one[0] != message.topic()}
                    _log.info(
                        "what %s holds cannot be read (%s); its format is not compared",
                        *(message.topic(), error.name()),
                    )
    except KafkaException as error:
        name = error.args[0].name()
        if name.endswith("AUTHORIZATION_FAILED"):
            _log.info("what topics hold cannot be read (%s); formats are not compared", name)
            return {}
        raise failure("Cannot read what the topics hold", error.args[0], config) from None
    for (topic, _), one in last.items():
        if one is not None:
            found.setdefault(topic, set()).add(one)
    return found
