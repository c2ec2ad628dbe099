"""Events into Kafka as Avro: every one acknowledged, or an exception says how many were.

    python examples/kafka_events.py localhost:9092 http://localhost:8081 [CUSTOMERS]

Topics have the prefix of DATAGEN_TOPIC_PREFIX, if it is set, as with the command.
`examples/kafka_consumer.py` reads them.
"""

import os
import sys
from dataclasses import replace

from datagen import MasterDataStore, Plan
from datagen.presets import RELIABLE
from datagen.sinks.kafka import KafkaSink

STREAM = "banking.trades"
PARENTS = ("customers", "stocks", "accounts")

bootstrap, registry = sys.argv[1:3]
plan = Plan(seed=42, customers=int(sys.argv[3]) if len(sys.argv) > 3 else 1_000)
config = replace(
    RELIABLE,
    bootstrap_servers=bootstrap,
    schema_registry_url=registry,
    topic_prefix=os.environ.get("DATAGEN_TOPIC_PREFIX", ""),
)

store = MasterDataStore()  # checks that an event's account and stock are known
for name in PARENTS:
    for batch in plan.batches(name):
        store.add_batch(batch)

with KafkaSink(config) as sink:
    sink.create_topics({sink.topic(STREAM): 3}, retention_hours=24)
    sink.register_schemas([STREAM])
    for batch in plan.batches(STREAM):
        sink.send_batch(store.add_batch(batch))
    report = sink.flush()

print(f"{sink.topic(STREAM)}: {report.acknowledged} of {plan.rows(STREAM)} events acknowledged")
