"""Events into Kafka: encoded by the core, sent by one of two engines, counted one by one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...presets import BULK, EVENT_BY_EVENT, FAST, PRESETS, RELIABLE, ProducerConfig, check_url

if TYPE_CHECKING:
    from .delivery import DeliveryReport, PartitionDelivery, TopicDelivery
    from .event_producer import Sending, flush_timeout
    from .reading import Message, TopicReader
    from .sink import KafkaSink
    from .stage import KafkaTarget
    from .topics import Topic

__all__ = [
    "BULK",
    "EVENT_BY_EVENT",
    "FAST",
    "PRESETS",
    "RELIABLE",
    "DeliveryReport",
    "KafkaSink",
    "KafkaTarget",
    "Message",
    "PartitionDelivery",
    "ProducerConfig",
    "Sending",
    "Topic",
    "TopicDelivery",
    "TopicReader",
    "check_url",
    "flush_timeout",
]

#: Imported when first asked for, so that the options of the sink come without the sink.
_MODULES = {
    "DeliveryReport": "delivery",
    "KafkaSink": "sink",
    "Message": "reading",
    "KafkaTarget": "stage",
    "PartitionDelivery": "delivery",
    "Sending": "event_producer",
    "Topic": "topics",
    "TopicDelivery": "delivery",
    "TopicReader": "reading",
    "flush_timeout": "event_producer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
