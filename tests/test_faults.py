"""What becomes of events when brokers and networks fail, with every producer.

In the midst of a load, with a third of the events acknowledged and a third under way, something
breaks. Then every record of the topic is read and compared with what was sent and what was claimed.
"""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from command import assert_failed, load, outcome_of, started, wait_until
from datagen import Batch, Plan
from datagen.errors import (
    ConfigurationError,
    DatagenError,
    RejectedError,
    UnreachableError,
)
from datagen.sinks.kafka import PRESETS, DeliveryReport, KafkaSink, ProducerConfig
from datagen.types import catalogue
from murmur2 import partition
from records import TOPICS, end_offsets, read_topics
from services._net import free_port
from services.kafka import KafkaBroker, KafkaCluster, Listener, delete_topics
from services.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from command import Outcome
    from engines import Engine

    Options = Mapping[str, str]
    from running import Running

STREAM = "banking.card-transactions"
PLAN = Plan(seed=7, customers=600)
PARTITIONS = 3
HANGS = 8.0  # seconds
GATED = Path(__file__).with_name("gated.py")
TOO_LARGE = "MSG_SIZE_TOO_LARGE"


# --- the brokers


def small_broker(**options: Any) -> KafkaBroker:
    return KafkaBroker(heap="320m", short_lived=True, **options)


@pytest.fixture(scope="module")
def proxied(own_kafka: Running) -> Iterator[tuple[KafkaBroker, Proxy]]:
    """A broker that clients also reach by way of a proxy."""
    port = free_port()
    broker = small_broker(listeners=[Listener("PROXY", advertised_port=port)])
    with own_kafka(broker), Proxy(broker.address("PROXY"), port) as proxy:
        yield broker, proxy


@pytest.fixture
def broker(proxied: tuple[KafkaBroker, Proxy]) -> KafkaBroker:
    """A running broker with an empty topic for each stream."""
    broker, _ = proxied
    create_topics(broker.bootstrap, 1)
    return broker


@pytest.fixture
def proxy(proxied: tuple[KafkaBroker, Proxy], broker: KafkaBroker) -> Iterator[Proxy]:
    _, proxy = proxied
    yield proxy
    proxy.restore()


@pytest.fixture(scope="module")
def three(own_kafka: Running) -> Iterator[KafkaCluster]:
    with own_kafka(KafkaCluster()) as cluster:
        yield cluster


@pytest.fixture
def cluster(three: KafkaCluster) -> KafkaCluster:
    """Three running brokers, each with a replica of an empty topic for each stream."""
    three.start()
    create_topics(three.bootstrap, 3)
    return three


def create_topics(bootstrap: str, replicas: int) -> None:
    """An empty topic for each stream, which can be sent to."""
    delete_topics(bootstrap, TOPICS)
    create([NewTopic(name, PARTITIONS, replicas) for name in TOPICS], bootstrap)


def create(topics: list[NewTopic], bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    deadline = time.monotonic() + 30
    for topic in topics:
        while True:
            try:
                admin.create_topics([topic])[topic.topic].result(30)
                break
            except KafkaException as error:
                # ZooKeeper may still have a topic that was deleted and that no broker lists.
                deleted = error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
                if not deleted or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def led() -> bool:
        there = admin.list_topics(timeout=10).topics
        found = [there[one.topic].partitions for one in topics if one.topic in there]
        return all(len(each) == PARTITIONS for each in found) and len(found) == len(topics)

    assert wait_until(led)
    end_offsets(bootstrap, [one.topic for one in topics])  # which a leader tells


# --- what is sent, what is claimed, and what is there


@dataclass(frozen=True)
class Delivery:
    """What a sink says that it did with the events of a stream."""

    stream: str
    report: DeliveryReport
    error: DatagenError | None
    seconds: float  # from the fault on
    settled: Mapping[int, int]  # events that were there before it, by partition

    def acknowledged(self, number: int) -> int:
        one = self.report.topics[self.stream].partitions.get(number)
        return one.acknowledged if one else 0


def to(bootstrap: str, preset: str, engine: Engine, **changes: Any) -> ProducerConfig:
    where = {"bootstrap_servers": bootstrap, "schema_registry_url": None}
    return replace(PRESETS[preset], **{**where, **engine.fields, **changes})


def deliver(
    config: ProducerConfig, fault: AbstractContextManager[None], stream: str = STREAM
) -> Delivery:
    """Sends all of `PLAN`'s events of one stream while something fails, and waits for their fate."""
    batches = list(PLAN.batches(stream, batch_rows=1_000))
    third = len(batches) // 3
    sink = KafkaSink(config)
    error, settled, began = None, dict[int, int](), 0.0

    def ends() -> int:
        return end_offsets(config.bootstrap, [stream])[stream]

    try:
        with sink:
            for batch in batches[:third]:
                sink.send_batch(batch)
            first = sink.flush()
            # Consumers see what all replicas have; with acks=0 nobody has waited for any.
            assert wait_until(lambda: ends() >= first.acknowledged)
            settled = {n: one.acknowledged for n, one in first.topics[stream].partitions.items()}
            for batch in batches[third : 2 * third]:
                sink.send_batch(batch)
            began = time.monotonic()
            with fault:
                for batch in batches[2 * third :]:
                    sink.send_batch(batch)
    except DatagenError as caught:
        error = caught
    assert began > 0, f"failed before the fault: {error}"
    return Delivery(stream, sink.report(), error, time.monotonic() - began, settled)


@dataclass(frozen=True)
class Partition:
    """The ids of a partition's events: as they were sent, and as they are there."""

    sent: list[bytes]
    there: list[bytes]

    @property
    def duplicates(self) -> int:
        return len(self.there) - len(set(self.there))

    @property
    def lost(self) -> int:
        return len(set(self.sent) - set(self.there))


def partitions_of(bootstrap: str, stream: str = STREAM) -> list[Partition]:
    """Every record there is of the stream."""
    sent: dict[int, list[bytes]] = defaultdict(list)
    there: dict[int, list[bytes]] = defaultdict(list)
    relation = catalogue()[stream]
    for batch in PLAN.batches(stream):
        keys, ids = batch.text(relation.key), batch.text(relation.primary_key)
        for key, ident in zip(keys, ids, strict=True):
            sent[partition(key, PARTITIONS)].append(ident)
    for record in read_topics(bootstrap, [stream])[stream]:
        there[record.partition].append(record.header("ce_id"))
    return [Partition(sent[number], there[number]) for number in range(PARTITIONS)]


def assert_exact(delivery: Delivery, found: list[Partition]) -> None:
    """Everything is there, once, in order, and the sink says so."""
    assert delivery.error is None
    assert delivery.report.complete
    for number, one in enumerate(found):
        assert (one.lost, one.duplicates) == (0, 0)
        assert one.there == one.sent
        assert delivery.acknowledged(number) == len(one.sent)


def assert_honest(delivery: Delivery, found: list[Partition]) -> None:
    """Everything acknowledged is there, in order; what is not acknowledged was told."""
    for number, one in enumerate(found):
        assert_kept(one, delivery.settled[number])
        assert len(set(one.there)) >= delivery.acknowledged(number)
    if delivery.error is None:
        assert delivery.report.complete
        assert sum(one.lost for one in found) == 0
    else:
        assert_told(delivery)


PROMISES = {"RELIABLE": assert_exact, "BULK": assert_honest}


def assert_kept(one: Partition, settled: int) -> None:
    """The first events are there, and all are in the order of sending, apart from repetitions."""
    assert set(one.sent[:settled]) <= set(one.there)
    place = {ident: at for at, ident in enumerate(one.sent)}
    first = [place[ident] for ident in dict.fromkeys(one.there)]
    assert first == sorted(first)


def assert_told(delivery: Delivery) -> None:
    """The error counts what was acknowledged and what was not."""
    assert delivery.error is not None
    assert delivery.error.exit_code in {4, 5}
    report = delivery.report
    assert report.acknowledged < report.attempted
    assert delivery.error.delivery == report
    assert f"acknowledged: {report}" in delivery.error.__notes__
    assert f"topic {delivery.stream}" in str(delivery.error)
    assert report.topics[delivery.stream].pending == 0


def says_may_be_double(outcome: Outcome) -> bool:
    """Whether a run tells that events may have arrived twice; librdkafka cannot know which."""
    if re.search(r"Error: \d+ events were sent again .* may be there twice", outcome.err):
        assert outcome.code == 6
        return True
    return re.search(r"\(offsets moved by \d+\)", outcome.out) is not None


# --- faults


@contextmanager
def hanging(broker: KafkaBroker) -> Iterator[None]:
    broker.pause()
    try:
        end = time.monotonic() + HANGS
        yield
        time.sleep(max(end - time.monotonic(), 0))
    finally:
        broker.resume()


@contextmanager
def crashing(broker: KafkaBroker) -> Iterator[None]:
    broker.kill()
    try:
        yield
    finally:
        broker.start()


@contextmanager
def dying(broker: KafkaBroker) -> Iterator[None]:
    broker.kill()
    yield


@contextmanager
def losing_answers(proxy: Proxy) -> Iterator[None]:
    before = proxy.swallowed
    proxy.swallow(3)
    yield
    assert wait_until(lambda: proxy.swallowed == before + 3)


@contextmanager
def cutting_requests(proxy: Proxy) -> Iterator[None]:
    proxy.cut(3)
    yield
    assert wait_until(lambda: proxy.to_cut == 0)


@contextmanager
def refusing(proxy: Proxy) -> Iterator[None]:
    proxy.refuse()
    try:
        yield
        time.sleep(1)
    finally:
        proxy.accept()


@contextmanager
def gone(proxy: Proxy) -> Iterator[None]:
    """As a broker that dies, to its clients."""
    proxy.refuse()
    yield


# --- brokers


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_broker_that_hangs_for_a_while(preset: str, engine: Engine, broker: KafkaBroker) -> None:
    delivery = deliver(to(broker.bootstrap, preset, engine), hanging(broker))
    PROMISES[preset](delivery, partitions_of(broker.bootstrap))


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_broker_that_crashes_and_comes_back(
    preset: str, engine: Engine, broker: KafkaBroker
) -> None:
    delivery = deliver(to(broker.bootstrap, preset, engine), crashing(broker))
    found = partitions_of(broker.bootstrap)
    PROMISES[preset](delivery, found)


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_leader_that_dies(preset: str, engine: Engine, cluster: KafkaCluster) -> None:
    leader = cluster.leader(STREAM, 0)
    led = [n for n in range(PARTITIONS) if cluster.leader(STREAM, n) is leader]
    config = to(cluster.bootstrap, preset, engine)
    delivery = deliver(config, dying(leader))
    found = partitions_of(cluster.bootstrap)
    if preset == "RELIABLE":
        assert_exact(delivery, found)
        return
    assert len(led) < PARTITIONS
    for number, one in enumerate(found):
        assert_kept(one, delivery.settled[number])
        # acks=1 is a leader's word for itself: what its followers had not fetched dies with it.
        if number not in led:
            assert len(set(one.there)) >= delivery.acknowledged(number)


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_broker_that_never_comes_back(
    preset: str, engine: Engine, broker: KafkaBroker, proxy: Proxy
) -> None:
    config = to(proxy.address, preset, engine, message_timeout_ms=6_000)
    delivery = deliver(config, gone(proxy))
    assert delivery.seconds < 6 + 10
    assert isinstance(delivery.error, UnreachableError)
    assert_told(delivery)
    assert_honest(delivery, partitions_of(broker.bootstrap))


@pytest.fixture(scope="module", params=["2.8.2", "3.9.1"])
def older(own_kafka: Running, request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    with own_kafka(small_broker(version=request.param)) as broker:
        yield broker


def test_an_older_broker(older: KafkaBroker, engine: Engine) -> None:
    create_topics(older.bootstrap, 1)
    for preset, stream in zip(PRESETS, TOPICS, strict=True):
        delivery = deliver(to(older.bootstrap, preset, engine), nullcontext(), stream)
        found = partitions_of(older.bootstrap, stream)
        if preset != "FAST":
            assert_exact(delivery, found)
        for number, one in enumerate(found):
            assert_kept(one, delivery.settled[number])


# --- the network


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
@pytest.mark.parametrize("fault", [losing_answers, cutting_requests, refusing])
def test_a_network_that_fails(
    fault: Any, preset: str, engine: Engine, broker: KafkaBroker, proxy: Proxy
) -> None:
    delivery = deliver(to(proxy.address, preset, engine), fault(proxy))
    found = partitions_of(broker.bootstrap)
    PROMISES[preset](delivery, found)
    assert delivery.error is None
    if fault is losing_answers and preset == "BULK":
        assert sum(one.duplicates for one in found) > 0


def test_a_slow_network(engine: Engine, broker: KafkaBroker, proxy: Proxy) -> None:
    proxy.delay = 0.05
    delivery = deliver(to(proxy.address, "BULK", engine), nullcontext())
    assert_exact(delivery, partitions_of(broker.bootstrap))


# --- what the command says


def load_through(bootstrap: str, fault: AbstractContextManager[None], *options: object) -> Outcome:
    """Runs the command, in JSON, with a fault after half of the events."""
    half = sum(map(PLAN.rows, TOPICS)) // 2
    command = (sys.executable, GATED, half, "load", "--skip-postgres", "--no-avro", *options)
    same = ("--seed", PLAN.seed, "--customers", PLAN.customers, "--kafka-bootstrap", bootstrap)
    with started(*command, *same) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        out = ""
        while "at the gate" not in out:
            line = process.stdout.readline()
            assert line, f"ended before the gate: {out}"
            out += line
        with fault:
            process.stdin.write("\n")
            process.stdin.flush()
        return outcome_of(process)


def ids_of(bootstrap: str) -> dict[str, list[bytes]]:
    """The ids of the events that are there, by topic."""
    records = read_topics(bootstrap)
    return {name: [one.header("ce_id") for one in records[name]] for name in TOPICS}


def test_a_run_says_what_may_be_double(engine: Engine, broker: KafkaBroker, proxy: Proxy) -> None:
    outcome = load_through(
        proxy.address, losing_answers(proxy), "--preset", "BULK", *engine.options
    )
    assert outcome.code == (6 if engine.name == "native" else 0), str(outcome)
    ids = ids_of(broker.bootstrap)
    assert {name: len(set(found)) for name, found in ids.items()} == {
        name: PLAN.rows(name) for name in TOPICS
    }
    assert sum(map(len, ids.values())) > sum(map(PLAN.rows, TOPICS))
    assert says_may_be_double(outcome), str(outcome)


def test_a_reliable_run_has_nothing_double(
    engine: Engine, broker: KafkaBroker, proxy: Proxy
) -> None:
    outcome = load_through(
        proxy.address, losing_answers(proxy), "--preset", "RELIABLE", *engine.options
    )
    assert outcome.code == 0, str(outcome)
    ids = ids_of(broker.bootstrap)
    assert {name: len(found) for name, found in ids.items()} == {
        name: PLAN.rows(name) for name in TOPICS
    }
    assert not says_may_be_double(outcome), str(outcome)


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_run_says_what_did_not_arrive(
    preset: str, engine: Engine, broker: KafkaBroker, proxy: Proxy
) -> None:
    limit = ("--kafka-option", "message.timeout.ms=6000")
    outcome = load_through(proxy.address, gone(proxy), "--preset", preset, *limit, *engine.options)
    assert_failed(outcome, 5, proxy.address)
    ids = ids_of(broker.bootstrap)
    claims = claims_of(outcome)
    assert claims
    assert any(claimed < tried for claimed, tried in claims.values())
    for name, (claimed, tried) in claims.items():
        assert claimed <= len(set(ids[name]))
        assert tried == PLAN.rows(name)


def test_a_run_without_acknowledgements_counts_what_is_there(
    engine: Engine, broker: KafkaBroker
) -> None:
    outcome = load_through(broker.bootstrap, hanging(broker), "--preset", "FAST", *engine.options)
    ids = ids_of(broker.bootstrap)
    complete = all(len(found) == PLAN.rows(name) for name, found in ids.items())
    assert outcome.code == (0 if complete else 6), str(outcome)
    counted = re.findall(r"\[(OK|FAIL)\] (banking\.[\w-]+): (\d+) events", outcome.out)
    assert [(name, int(count)) for _, name, count in counted] == [
        (name, len(set(found))) for name, found in ids.items()
    ]
    for said, name, count in counted:
        assert (said == "OK") == (int(count) == PLAN.rows(name))


def claims_of(outcome: Outcome) -> dict[str, tuple[int, int]]:
    """The events of each topic that a run says were acknowledged, and how many were planned."""
    found = re.findall(r"(banking\.[\w-]+): planned (\d+), acknowledged (\d+),", outcome.out)
    return {name: (int(claimed), int(planned)) for name, planned, claimed in found}


# --- topics


def test_events_too_large_for_their_topic(engine: Engine, broker: KafkaBroker) -> None:
    resize(broker.bootstrap, STREAM, 2_000)
    (batch,) = Plan(seed=7, customers=20).batches(STREAM)
    rows = [batch.row(at) for at in range(10)]
    sink = KafkaSink(to(broker.bootstrap, "EVENT_BY_EVENT", engine))
    with pytest.raises(RejectedError) as caught, sink:  # noqa: PT012
        sink.send_batch(Batch.from_rows(STREAM, rows))
        sink.flush()
        for row in rows[:3]:
            row["merchant_name"] = "x" * 5_000
        sink.send_batch(Batch.from_rows(STREAM, rows))
    report = sink.report()
    assert (report.attempted, report.acknowledged) == (20, 17)
    assert report.failed == {TOO_LARGE: 3}
    assert f"topic {STREAM}: {TOO_LARGE}; max.message.bytes" in str(caught.value)
    assert caught.value.delivery == report
    assert caught.value.exit_code == 4
    for one in report.topics[STREAM].partitions.values():
        assert one.attempted == one.acknowledged + sum(one.failed.values())
    assert end_offsets(broker.bootstrap)[STREAM] == 17


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_run_into_a_topic_that_takes_no_event(
    preset: str, engine: Engine, broker: KafkaBroker
) -> None:
    small = TOPICS[-1]
    resize(broker.bootstrap, small, 100)
    outcome = load(
        *("--kafka-bootstrap", broker.bootstrap, "--skip-postgres", "--no-avro"),
        *("--customers", 100, "--preset", preset, *engine.options),
    )
    plan = Plan(customers=100)
    assert_failed(outcome, 4, f"topic {small}: {TOO_LARGE}", "max.message.bytes")
    claims = claims_of(outcome)
    assert claims[small] == (0, plan.rows(small))
    assert {name: planned for name, (_, planned) in claims.items()} == {
        name: plan.rows(name) for name in TOPICS
    }
    # One event that failed ends the run, in the midst of the other topics.
    assert end_offsets(broker.bootstrap) == {name: n for name, (n, _) in claims.items()}


def resize(bootstrap: str, topic: str, max_message_bytes: int) -> None:
    delete_topics(bootstrap, [topic])
    config = {"max.message.bytes": str(max_message_bytes)}
    create([NewTopic(topic, PARTITIONS, 1, config=config)], bootstrap)


def test_a_topic_that_is_not_there(engine: Engine, broker: KafkaBroker) -> None:
    delete_topics(broker.bootstrap, [STREAM])
    config = to(broker.bootstrap, "BULK", engine, message_timeout_ms=3_000)
    began = time.monotonic()
    sink = KafkaSink(config)
    with pytest.raises(ConfigurationError, match="add create_topics") as caught, sink:  # noqa: PT012
        for batch in Plan(customers=20).batches(STREAM):
            sink.send_batch(batch)
    assert time.monotonic() - began < 3 + 10
    assert f"topic {STREAM} does not exist" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 3
    assert sink.report().acknowledged == 0


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_topic_that_is_deleted(preset: str, engine: Engine, broker: KafkaBroker) -> None:
    config = to(broker.bootstrap, preset, engine, message_timeout_ms=6_000)
    delivery = deliver(config, deleting(broker))
    assert delivery.seconds < 6 + 10
    assert delivery.error is not None
    assert delivery.error.exit_code == 4
    assert f"topic {STREAM} is gone, deleted while events were sent" in str(delivery.error)
    assert not delivery.report.complete
    assert end_offsets(broker.bootstrap)[STREAM] == 0


@contextmanager
def deleting(broker: KafkaBroker) -> Iterator[None]:
    delete_topics(broker.bootstrap, [STREAM])
    yield
