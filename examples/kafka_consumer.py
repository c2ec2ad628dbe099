"""A consumer of the trades: Avro decoded by the registry's schema, duplicates dropped by `ce_id`.

    python examples/kafka_consumer.py localhost:9092 http://localhost:8081

It reads what is there, and ends. DATAGEN_TOPIC_PREFIX is that of `examples/kafka_events.py`.
"""

import os
import sys
from collections import Counter
from decimal import Decimal

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = os.environ.get("DATAGEN_TOPIC_PREFIX", "") + "banking.trades"

bootstrap, registry = sys.argv[1:3]
consumer = Consumer(
    {"bootstrap.servers": bootstrap, "group.id": "example", "enable.auto.commit": False}
)
# Without a timeout the client waits for ever for a registry that does not answer.
decode = AvroDeserializer(SchemaRegistryClient({"url": registry, "timeout": 10}))
context = SerializationContext(TOPIC, MessageField.VALUE)

partitions = [
    TopicPartition(TOPIC, number, 0)
    for number in consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
]
left = sum(consumer.get_watermark_offsets(one, timeout=10)[1] for one in partitions)
consumer.assign(partitions)

seen: set[bytes] = set()
trades: Counter[str] = Counter()
bought = Decimal(0)
while left > 0:
    messages = consumer.consume(min(left, 1_000), timeout=10)
    if not messages:
        sys.exit(f"{left} events did not come within 10 seconds")
    left -= len(messages)
    for message in messages:
        if message.error():
            sys.exit(str(message.error()))
        event_id = dict(message.headers())["ce_id"]
        if event_id in seen:
            continue
        seen.add(event_id)
        trade = decode(message.value(), context)
        trades[trade["side"]] += 1
        if trade["side"] == "BUY":
            bought += trade["gross_amount"]
consumer.close()

print(f"{len(seen)} trades: {dict(sorted(trades.items()))}, bought for R$ {bought:,.2f}")
