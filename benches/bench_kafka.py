"""Events into a real broker: the whole load, and the sink alone, beside the classic design."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import classic
from harness import TOPICS, Way

from datagen import Plan
from datagen.presets import BULK, ProducerConfig
from datagen.sinks.kafka import KafkaSink
from datagen.types import catalogue

if TYPE_CHECKING:
    from harness import Contest, Stack

PLAN = Plan(customers=10_000)
EVENTS = sum(PLAN.rows(topic) for topic in TOPICS)
#: Customers whose events the peer sends: a quarter of all, in the same mix, is steady enough.
SAMPLE = 2_500


def test_load(contest: Contest, stack: Stack) -> None:
    """Ours: `datagen load --customers 10000`, its process, PostgreSQL and validation included."""
    contest(
        "load of 10 000 customers, events",
        Way(
            "datagen load, PostgreSQL and Kafka",
            EVENTS,
            lambda: stack.load(PLAN.customers, "--create-topics", "--truncate"),
            stack.empty,
        ),
        _classic(stack),
        rounds=5,
        warm_up=True,
    )


def test_sink(contest: Contest, stack: Stack) -> None:
    """Ours: events are made, encoded and sent; no store, no PostgreSQL, no process to start."""
    config = _config(stack)

    def send() -> None:
        with KafkaSink(config) as sink:
            for topic in TOPICS:
                for batch in PLAN.batches(topic):
                    sink.send_batch(batch)

    contest(
        "events of 10 000 customers",
        Way("datagen.sinks.kafka", EVENTS, send, lambda: _topics(stack)),
        _classic(stack),
        warm_up=True,
    )


def _classic(stack: Stack) -> Way:
    config, events = _config(stack), classic.events(PLAN, SAMPLE)
    return Way(
        "dict, AvroSerializer, produce()",
        sum(map(len, events.values())),
        lambda: classic.send(config, events),
        lambda: _topics(stack),
    )


def _config(stack: Stack) -> ProducerConfig:
    return replace(BULK, bootstrap_servers=stack.bootstrap, schema_registry_url=stack.registry_url)


def _topics(stack: Stack) -> None:
    stack.empty()
    with KafkaSink(_config(stack)) as sink:
        sink.create_topics({stream.name: 3 for stream in catalogue().streams}, 8)
