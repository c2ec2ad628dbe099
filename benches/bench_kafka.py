"""Events into a real broker: whole loads, beside clients that only send.

How many customers is an option (``--customers``). The peers send the events of the first
``--peer-customers`` only, which are the same mix and take less memory than all of them as Python
and Java objects; where they send fewer, the broker's files are shorter for them too.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import classic
import pytest
import ready
from harness import TOPICS, Way

from datagen import Plan
from datagen.presets import BULK, PRESETS, ProducerConfig
from datagen.sinks.kafka import KafkaSink
from datagen.types import catalogue
from services._errors import ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from harness import Contest, Sizes, Stack

    Java = Callable[[str, Mapping[str, str]], list[Way]]

#: One of the loads that go to Kafka alone. Topics are made by it, as on the first run of a user.
KAFKA = ("--skip-postgres", "--create-topics")
#: Rounds that the Java process runs before those of its contest, since its compiler has work to do too.
JAVA_WARM_UP = 2
#: Rounds of each side before those that count: a broker spends four times as much CPU on its first load
#: as on its fourth, since its compiler works too, and anew for each codec and for many small batches.
WARM_UP = 3


@pytest.fixture
def java(tmp_path: Path, sizes: Sizes, stack: Stack) -> Iterator[Java]:
    """Kafka's own producer, by a name and its properties; nothing where it cannot be run.

    Each is a process of its own that has been warmed, and has read the records when it is handed out.
    """
    records = ready.RecordFile(tmp_path / "records", sizes.plan, sizes.peer_customers)
    with ExitStack() as stop:

        def ways(name: str, properties: Mapping[str, str]) -> list[Way]:
            try:
                producer = ready.JavaProducer(records, properties)
            except ServiceUnavailableError as missing:
                warnings.warn(f"without Kafka's own producer: {missing}", stacklevel=2)
                return []
            stop.callback(producer.close)
            for _ in range(JAVA_WARM_UP):
                _topics(stack)
                producer.send()
            name = f"Java KafkaProducer, {name}, ready-made records"
            return [Way(name, records.events, producer.send, lambda: _topics(stack))]

        yield ways
    records.path.unlink()


@pytest.mark.parametrize("in_flight", [1, 5])
def test_contest_with_java(
    contest: Contest, stack: Stack, sizes: Sizes, java: Java, in_flight: int
) -> None:
    """Ours makes, checks and encodes the events too, and includes the start of its process.

    Java has one request in flight, as ours has for a partition, or its own five: which of them is
    faster depends on the machine. They meet ours one after the other, since ready-made records take
    gigabytes: a broker that is left little memory to cache its files waits for its disk.
    """
    contest(
        f"events of {sizes.plan.customers:,} customers",
        _ours(stack, sizes),
        *java(f"{in_flight} in flight", _java_properties(stack, BULK, in_flight)),
        rounds=sizes.rounds,
        warm_up=WARM_UP,
    )


def test_contest_with_confluent(contest: Contest, stack: Stack, sizes: Sizes) -> None:
    """Ours as beside Java; librdkafka with ready-made records, and as most people use it."""
    records = ready.records(sizes.plan, sizes.peer_customers)
    contest(
        f"events of {sizes.plan.customers:,} customers",
        _ours(stack, sizes),
        Way(
            "confluent-kafka produce(), ready-made records",
            len(records),
            lambda: classic.produce(_config(stack), records),
            lambda: _topics(stack),
        ),
        _classic(stack, sizes),
        rounds=sizes.rounds,
        warm_up=WARM_UP,
    )


def test_orders(contest: Contest, stack: Stack, sizes: Sizes) -> None:
    """What order in time costs, beside one account, card or loan after the other."""
    contest(
        f"orders, events of {sizes.plan.customers:,} customers",
        _ours(stack, sizes),
        _kafka_alone("datagen load-parallel, --order entity", stack, sizes, "--order", "entity"),
        rounds=sizes.rounds,
        warm_up=WARM_UP,
    )


def test_presets(contest: Contest, stack: Stack, sizes: Sizes) -> None:
    """What it costs to be sure of every event: alone, in batches of the preset's size, in its snappy."""
    contest(
        f"presets, events of {sizes.plan.customers:,} customers",
        _preset(stack, sizes, "BULK"),
        _preset(stack, sizes, "BULK", "acks=all", "enable.idempotence=true"),
        _preset(stack, sizes, "RELIABLE", "compression.type=lz4"),
        _preset(stack, sizes, "RELIABLE"),
        rounds=sizes.rounds,
        warm_up=WARM_UP,
    )


@pytest.mark.parametrize("name", ["BULK", "RELIABLE"])
def test_preset_with_java(
    contest: Contest, stack: Stack, sizes: Sizes, java: Java, name: str
) -> None:
    """Ours and Kafka's own producer with the settings of one preset."""
    contest(
        f"preset {name}, events of {sizes.plan.customers:,} customers",
        _preset(stack, sizes, name),
        *java(f"preset {name}", _java_properties(stack, PRESETS[name], 5)),
        rounds=sizes.rounds,
        warm_up=WARM_UP,
    )


def test_load(contest: Contest, stack: Stack, sizes: Sizes) -> None:
    """Ours: the load as users run it, PostgreSQL and validation included."""
    contest(
        f"load of {sizes.plan.customers:,} customers, events",
        Way(
            "datagen load-parallel, PostgreSQL and Kafka",
            _events(sizes.plan),
            lambda: stack.load(
                sizes.plan.customers, "--create-topics", "--truncate", job="load-parallel"
            ),
            stack.empty,
        ),
        _classic(stack, sizes),
        rounds=sizes.rounds,
        warm_up=WARM_UP,
    )


def _ours(stack: Stack, sizes: Sizes) -> Way:
    return _kafka_alone("datagen load-parallel, Kafka alone", stack, sizes)


def _preset(stack: Stack, sizes: Sizes, name: str, *options: str) -> Way:
    """Ours with a preset, and with options of Kafka's clients."""
    title = ", ".join((f"datagen load-parallel, preset {name}", *options))
    more = [word for option in options for word in ("--kafka-option", option)]
    return _kafka_alone(title, stack, sizes, "--preset", name, *more)


def _kafka_alone(title: str, stack: Stack, sizes: Sizes, *options: str) -> Way:
    customers = sizes.plan.customers
    return Way(
        title,
        _events(sizes.plan),
        lambda: stack.load(customers, *KAFKA, *options, job="load-parallel"),
        stack.empty,
    )


def _events(plan: Plan) -> int:
    return sum(map(plan.rows, TOPICS))


def _classic(stack: Stack, sizes: Sizes) -> Way:
    config, events = _config(stack), classic.events(sizes.plan, sizes.classic_customers)
    return Way(
        "dict, AvroSerializer, produce()",
        sum(map(len, events.values())),
        lambda: classic.send(config, events),
        lambda: _topics(stack),
    )


def _config(stack: Stack) -> ProducerConfig:
    return replace(BULK, bootstrap_servers=stack.bootstrap, schema_registry_url=stack.registry_url)


def _java_properties(stack: Stack, preset: ProducerConfig, in_flight: int) -> dict[str, str]:
    """A preset in Java's words, with room for more than Java's own 32 MiB."""
    return {
        "bootstrap.servers": stack.bootstrap,
        "acks": preset.acks,
        "compression.type": preset.compression,
        "batch.size": str(preset.batch_size),
        "linger.ms": str(preset.linger_ms),
        "enable.idempotence": str(preset.enable_idempotence).lower(),
        "max.in.flight.requests.per.connection": str(in_flight),
        "buffer.memory": str(256 * 2**20),
    }


def _topics(stack: Stack) -> None:
    stack.empty()
    with KafkaSink(_config(stack)) as sink:
        sink.create_topics({one.name: one.parallel_partitions for one in catalogue().streams}, 8)
