"""A plan of many days for six threads, of which nothing is sent.

Prints how many MiB the process has taken at most since it was ready to begin, and how many events are
in the queue.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace

from datagen import Plan
from datagen.check import MasterDataStore
from datagen.presets import BULK
from datagen.sinks.kafka import DeliveryReport, KafkaSink
from datagen.types import catalogue


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


def main(bootstrap: str, prefix: str, days: int, queue: int) -> None:
    plan = Plan(seed=1, customers=20_000, days=days)
    store = MasterDataStore()
    for table in catalogue().tables:
        for batch in plan.batches(table.name):
            store.add_batch(batch)
    config = replace(
        BULK,
        bootstrap_servers=bootstrap,
        schema_registry_url=None,
        topic_prefix=prefix,
        queue_buffering_max_messages=queue,
    )
    with KafkaSink(config) as sink:
        topics = [sink.topic(stream.name) for stream in catalogue().streams]
        sink.create_topics(dict.fromkeys(topics, 3), -1)
        before, seen, quiet = peak(), 0, 0
        with sink.begin_plan(plan, store.parents, 6):
            # Until the queue is full and has been for a while.
            while quiet < 6:
                time.sleep(0.5)
                count = DeliveryReport.of(sink._producer.engine.outcomes()).attempted
                quiet = quiet + 1 if count == seen >= queue else 0
                seen = count
            print(peak() - before, seen, flush=True)
            # Nothing of it is sent, and nothing is waited for.
            raise SystemExit


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
