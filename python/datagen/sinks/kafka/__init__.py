"""Events into Kafka: encoded by the core, sent by one of two engines, counted one by one."""

from ...presets import BULK, EVENT_BY_EVENT, FAST, PRESETS, RELIABLE, ProducerConfig, check_url
from .delivery import DeliveryReport, PartitionDelivery, TopicDelivery
from .event_producer import Sending, flush_timeout
from .sink import KafkaSink
from .topics import Topic

__all__ = [
    "BULK",
    "EVENT_BY_EVENT",
    "FAST",
    "PRESETS",
    "RELIABLE",
    "DeliveryReport",
    "KafkaSink",
    "PartitionDelivery",
    "ProducerConfig",
    "Sending",
    "Topic",
    "TopicDelivery",
    "check_url",
    "flush_timeout",
]
