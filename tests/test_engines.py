"""The two engines beside each other: the same records, and which of them is taken."""

from __future__ import annotations

import logging
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from confluent_kafka.admin import AdminClient

from command import run
from datagen import KeySet, Plan
from datagen.check import MasterDataStore
from datagen.errors import (
    ConfigurationError,
    OptionError,
    ReferentialIntegrityError,
    UnreachableError,
)
from datagen.presets import BULK, EVENT_BY_EVENT, PRESETS, RELIABLE, ProducerConfig
from datagen.sinks.base import Order
from datagen.sinks.kafka import DeliveryReport, KafkaSink
from datagen.sinks.kafka.cluster import Cluster
from datagen.sinks.kafka.event_producer import choose_engine
from datagen.sinks.kafka.native import NativeEngine, producer_arguments
from datagen.sinks.kafka.topics import Topics
from datagen.types import catalogue
from records import Record, read_topic
from services.kafka import KafkaBroker, delete_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from own_topics import OwnTopics
    from running import Running
    from services.registry import Registry

STREAMS = tuple(stream.name for stream in catalogue().streams)
#: More than one range of customers, so that several threads have something to do.
PLAN = Plan(seed=11, customers=3_300)
FEW = Plan(seed=11, customers=60)


@pytest.fixture(scope="module")
def broker(own_kafka: Running) -> Iterator[KafkaBroker]:
    with own_kafka(KafkaBroker()) as broker:
        yield broker


@pytest.fixture
def where(broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """The broker, without topics afterwards."""
    yield broker
    topics = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10).topics
    delete_topics(broker.bootstrap, [name for name in topics if "." in name])


def config_of(broker: KafkaBroker, base: ProducerConfig = BULK, **changes: Any) -> ProducerConfig:
    usual = {"schema_registry_url": None, "record_timestamp": "event"}
    return replace(base, bootstrap_servers=broker.bootstrap, **(usual | changes))


def send(config: ProducerConfig, plan: Plan, partitions: int = 3, order: Order = "entity") -> None:
    with KafkaSink(config) as sink:
        sink.create_topics({sink.topic(name): partitions for name in STREAMS}, 876_000)
        for batch in plan.window(order=order, batch_rows=500):
            sink.send_batch(batch)


def send_by_threads(
    config: ProducerConfig, plan: Plan, workers: int, order: Order = "time"
) -> list[int]:
    store = filled(plan)
    told: list[int] = []
    with KafkaSink(config) as sink:
        sink.create_topics({sink.topic(name): 3 for name in STREAMS}, 876_000)
        with sink.begin_plan(plan, store.parents, workers, order=order) as sending:
            sent = sending.finish(told.append)
        assert {name: count for name, (count, _) in sent.items()} == {
            name: plan.rows(name) for name in STREAMS
        }
        assert sum(told) == sum(map(plan.rows, STREAMS))
        assert sink.flush().complete
    return told


def filled(plan: Plan) -> MasterDataStore:
    store = MasterDataStore()
    for table in catalogue().tables:
        for batch in plan.batches(table.name):
            store.add_batch(batch)
    return store


def by_partition(messages: list[Record]) -> dict[int, list[tuple[Any, ...]]]:
    """Everything of each record, in the order of its partition."""
    found = defaultdict(list)
    for one in messages:
        when = one.timestamp_type, one.timestamp
        found[one.partition].append((one.key, one.value, one.headers, when))
    return found


def segments(broker: KafkaBroker, prefix: str) -> dict[str, bytes]:
    """What the broker keeps of each partition, byte for byte."""
    data: Path = broker.directory / "data"
    # A segment ends with the week of its events.
    return {
        folder.name.removeprefix(prefix): b"".join(
            log.read_bytes() for log in sorted(folder.glob("*.log"))
        )
        for folder in data.iterdir()
        if folder.name.startswith(prefix)
    }


@pytest.mark.parametrize("name", PRESETS)
def test_both_engines_send_the_same_records(
    name: str, where: KafkaBroker, registry: Registry
) -> None:
    for engine in ("native", "confluent"):
        changes: dict[str, Any] = {"engine": engine, "topic_prefix": f"{engine}."}
        if name == "FAST":
            # Where nobody confirms anything, nobody knows when all is there.
            changes["acks"] = "1"
        changes |= {"schema_registry_url": registry.url, "content_type": name == "RELIABLE"}
        send(config_of(where, PRESETS[name], **changes), FEW)
    for stream in STREAMS:
        native, other = (
            read_topic(where.bootstrap, f"{one}.{stream}") for one in ("native", "confluent")
        )
        # Subjects are different, so schema ids may be too; what follows them is the same.
        found, expected = (
            {
                number: [(key, value[5:], *rest) for key, value, *rest in records]
                for number, records in by_partition(messages).items()
            }
            for messages in (native, other)
        )
        assert found == expected
        assert sum(map(len, found.values())) == FEW.rows(stream)


@pytest.mark.parametrize("order", get_args(Order))
def test_threads_send_the_same_records_as_one_after_the_other(
    where: KafkaBroker, order: Order
) -> None:
    send(config_of(where, topic_prefix="one."), PLAN, order=order)
    send_by_threads(config_of(where, topic_prefix="three."), PLAN, 3, order)
    for stream in STREAMS:
        found, expected = (
            by_partition(read_topic(where.bootstrap, f"{prefix}.{stream}"))
            for prefix in ("three", "one")
        )
        assert found == expected
        assert sum(map(len, found.values())) == PLAN.rows(stream)


@pytest.mark.parametrize("order", get_args(Order))
def test_the_bytes_do_not_depend_on_the_number_of_threads(where: KafkaBroker, order: Order) -> None:
    for workers in (1, 2, 5):
        prefix = f"{order}{workers}."
        send_by_threads(config_of(where, topic_prefix=prefix), PLAN, workers, order)
    alone = segments(where, f"{order}1.")
    assert len(alone) == 12
    assert all(alone.values())
    assert segments(where, f"{order}2.") == alone
    assert segments(where, f"{order}5.") == alone


def test_a_range_of_customers_is_sent_alone(where: KafkaBroker) -> None:
    first = 2_400  # so that the ranges of the threads begin in the midst of those of the whole plan
    store = filled(PLAN)
    config = config_of(where)
    with KafkaSink(config) as sink:
        sink.create_topics(dict.fromkeys(STREAMS, 3), 876_000)
        with sink.begin_plan(PLAN, store.parents, 2, first_customer=first) as sending:
            sent = sending.finish(lambda _: None)
        assert sink.flush().complete
    for name in STREAMS:
        ident = catalogue()[name].primary_key
        expected = Counter(one for batch in PLAN.batches(name, first) for one in batch.text(ident))
        assert sent[name][0] == sum(expected.values()) == PLAN.rows(name, first)
        found = Counter(one.header("ce_id") for one in read_topic(where.bootstrap, name))
        assert found == expected


@pytest.mark.parametrize("idempotent", [False, True])
def test_batches_are_split_where_nobody_tells_the_limit(
    where: KafkaBroker, monkeypatch: pytest.MonkeyPatch, idempotent: bool
) -> None:
    """As where a user may not describe topics; by threads, and batch by batch."""
    monkeypatch.setattr(NativeEngine, "limit", lambda *_: None)
    changes: dict[str, Any] = {}
    if idempotent:
        changes = {"acks": "all", "retries": 5, "enable_idempotence": True}
    config = config_of(where, **changes)
    topics = {f"{way}.{name}": 2 for way in ("threads", "batches") for name in STREAMS}
    with KafkaSink(config) as sink:
        sink.create_topics(topics, 876_000, config={"max.message.bytes": "30000"})
    plan, store = Plan(seed=3, customers=600), filled(Plan(seed=3, customers=600))
    with KafkaSink(replace(config, topic_prefix="batches.")) as sink:
        for name in STREAMS:
            for batch in plan.batches(name, batch_rows=500):
                sink.send_batch(batch)
        reports = [sink.flush()]
    with KafkaSink(replace(config, topic_prefix="threads.")) as sink:
        with sink.begin_plan(plan, store.parents, 2) as sending:
            sending.finish(lambda _: None)
        reports.append(sink.flush())
    assert all(report.complete for report in reports)
    for name in STREAMS:
        expected = by_key(plan, name)
        for way in ("threads", "batches"):
            found = defaultdict(list)
            for record in read_topic(where.bootstrap, f"{way}.{name}"):
                found[record.key].append(record.header("ce_id"))
            assert found == expected, f"{way}.{name}"


def keys_of_customers(plan: Plan, name: str, stop: int) -> set[bytes]:
    """The keys of the events of the first customers."""
    key = catalogue()[name].key or ""
    return {one for batch in plan.batches(name, 0, stop) for one in batch.text(key)}


def by_key(plan: Plan, name: str) -> dict[bytes, list[bytes]]:
    """The ids of each key's events, in their order."""
    relation = catalogue()[name]
    found = defaultdict(list)
    for batch in plan.batches(name):
        keys, idents = batch.text(relation.key), batch.text(relation.primary_key)
        for key, ident in zip(keys, idents, strict=True):
            found[key].append(ident)
    return found


def test_memory_does_not_grow_with_the_days(where: KafkaBroker) -> None:
    queue = 50_000
    script = Path(__file__).with_name("waiting.py")
    for days in (90, 2_000):
        outcome = run(sys.executable, script, where.bootstrap, f"waiting{days}.", days, queue)
        assert outcome.code == 0, str(outcome)
        mebibytes, events = map(int, outcome.out.split())
        # The queue may be full to the last batches of each stream; and a thread has its own.
        assert queue <= events < 2 * queue
        assert mebibytes < 160, f"{mebibytes} MiB for {events} events in the queue, {days} days"


def test_nothing_is_sent_before_it_is_told_to(where: KafkaBroker) -> None:
    config = config_of(where)
    with KafkaSink(config) as sink:
        sink.create_topics({sink.topic(name): 3 for name in STREAMS}, 8)
        with sink.begin_plan(FEW, filled(FEW).parents, 2) as sending:
            assert sending._sending.wait(20)
            assert not sink._producer.engine.flush(1.0)
            made = DeliveryReport.of(sink._producer.engine.outcomes())
            assert (made.attempted, made.acknowledged) == (sum(map(FEW.rows, STREAMS)), 0)
            assert sink.report().attempted == 0
            sending.finish(lambda _: None)
        assert sink.flush().complete


def test_a_run_that_breaks_off_before_it_is_told_to_sends_nothing(where: KafkaBroker) -> None:
    sink = KafkaSink(config_of(where))
    sink.create_topics({sink.topic(name): 3 for name in STREAMS}, 8)
    parents = filled(PLAN).parents
    with pytest.raises(RuntimeError, match="no commit"), sink, sink.begin_plan(PLAN, parents, 2):
        raise RuntimeError("no commit")
    ends = sink.end_offsets(STREAMS)
    assert {end for partitions in ends.values() for end in partitions.values()} == {0}


@pytest.mark.parametrize("order", get_args(Order))
def test_an_event_without_its_parent_ends_the_run(where: KafkaBroker, order: Order) -> None:
    """The accounts of the last customers were never handed over."""
    store = MasterDataStore()
    for table in catalogue().tables:
        for batch in PLAN.batches(table.name, 0, 2_500):
            store.add_batch(batch)
    sink = KafkaSink(config_of(where))
    sink.create_topics({sink.topic(name): 3 for name in STREAMS}, 876_000)
    with (
        pytest.raises(ReferentialIntegrityError) as raised,
        sink,
        sink.begin_plan(PLAN, store.parents, 3, order=order) as sending,
    ):
        sending.finish(lambda _: None)
    assert raised.value.stream in STREAMS
    assert raised.value.field in {"account_id", "card_id", "loan_id"}
    assert raised.value.parent in {"account", "credit card", "loan", "INVESTIMENTOS account"}
    sent = read_topic(where.bootstrap, raised.value.stream)
    if order == "entity":
        # Only whole ranges of customers before it were sent.
        assert len(sent) <= PLAN.rows(raised.value.stream, 0, 2_000)
    known = keys_of_customers(PLAN, raised.value.stream, 2_500)
    assert {one.key for one in sent} <= known


def test_threads_and_key_sets_are_checked(where: KafkaBroker) -> None:
    config = config_of(where)
    with KafkaSink(config) as sink:
        sink.create_topics({sink.topic(name): 1 for name in STREAMS}, 8)
        with pytest.raises(OptionError, match="workers: 0 is not allowed; use 1 to 1024"):
            sink.begin_plan(FEW, filled(FEW).parents, 0)
        with pytest.raises(OptionError, match="a key set for each foreign key"):
            sink.begin_plan(FEW, lambda _: [KeySet()] * 5, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sasl.mechanism": "OAUTHBEARER"}, "sasl.mechanisms=OAUTHBEARER"),
        (
            {
                "security.protocol": "sasl_plaintext",
                "sasl.mechanism": "GSSAPI",
                "sasl.kerberos.keytab": "/etc/loader.keytab",
            },
            "GSSAPI",
        ),
        ({"compression.level": "3"}, "compression.level"),
        ({"socket.keepalive.enable": "true"}, "socket.keepalive.enable"),
        ({"partitioner": "random"}, "partitioner=random"),
        ({"ssl.ca.location": "/no/such/file", "security.protocol": "ssl"}, "ssl.ca.location"),
    ],
)
def test_the_engine_that_can_is_taken_and_says_why(
    options: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = ProducerConfig(client_options=options)
    cluster = Cluster(ProducerConfig())
    with caplog.at_level(logging.WARNING):
        assert choose_engine(config, cluster).name == "confluent"
    (line,) = caplog.messages
    assert line.startswith("Kafka engine: confluent, since native cannot do this: ")
    assert reason in line
    with pytest.raises(ConfigurationError, match='Use engine="confluent"'):
        choose_engine(replace(config, engine="native"), cluster)


def test_what_native_knows_goes_to_native(caplog: pytest.LogCaptureFixture) -> None:
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "hunter2",
        "linger.ms": "7",
        "acks": "-1",
        "request.timeout.ms": "9000",
    }
    for preset in PRESETS.values():
        sink = KafkaSink(replace(preset, client_options=options))
        assert sink.engine == "native"
    assert KafkaSink(replace(RELIABLE, engine="confluent")).engine == "confluent"
    assert caplog.messages == []


def test_event_by_event_sends_one_event_to_a_request(where: KafkaBroker) -> None:
    send(config_of(where, EVENT_BY_EVENT, topic_prefix="single."), Plan(seed=1, customers=2))
    for name, log in segments(where, "single.").items():
        batches, place = 0, 0
        while place < len(log):
            batches += 1
            place += 12 + int.from_bytes(log[place + 8 : place + 12], "big")
        topic, _, number = name.rpartition("-")
        records = by_partition(read_topic(where.bootstrap, f"single.{topic}"))
        assert batches == len(records[int(number)])


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ({"bootstrap.servers": "a:1, b ,[::1],PLAINTEXT://c:2,"}, "bootstrap", None),
        ({"compression.type": "LZ4"}, "compression", "lz4"),
        ({"acks": "ALL"}, "acks", "all"),
        ({"linger.ms": "0.5"}, "linger_ms", 1),
        ({"retries": "0x10"}, "retries", 16),
        ({"queue.buffering.max.messages": "0"}, "queue_records", 2**31 - 1),
        ({"message.timeout.ms": "0"}, "delivery_timeout_ms", 10 * 365 * 86_400_000),
    ],
)
def test_options_are_read_as_librdkafka_reads_them(
    options: dict[str, str], name: str, expected: object
) -> None:
    places = [("a", 1), ("b", 9092), ("::1", 9092), ("c", 2)]
    found = producer_arguments(ProducerConfig(client_options=options))
    assert found[name] == (places if expected is None else expected)


@pytest.mark.parametrize(("given", "checked"), [("HTTPS", True), ("https", True), ("NONE", False)])
def test_names_in_certificates_are_checked_whatever_the_case(given: str, checked: bool) -> None:
    options = {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": given}
    assert (
        producer_arguments(ProducerConfig(client_options=options))["tls"]["verify_name"] is checked
    )


def test_the_native_engine_finds_several_topics_and_names_those_that_are_missing(
    clean_kafka: OwnTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.kafka.native.TIMEOUT", 1.0)
    trades, installments, nobody, nothing = map(
        clean_kafka.name, ("trades", "installments", "nobody", "nothing")
    )
    there = {trades: 2, installments: 4}
    config = clean_kafka.config(engine="native")
    cluster = Cluster(config)
    engine = NativeEngine(config, cluster)
    try:
        Topics(cluster, ()).create(there, 8, None, {})
        engine.find(there)
        assert engine._producer is not None
        assert engine._producer.partitions([*there], 0) == [2, 4]
        with pytest.raises(ConfigurationError) as caught:
            engine.find([nobody, trades, nothing])
    finally:
        engine.close()
        cluster.disconnect()
    assert f"topics {nobody}, {nothing} do not exist" in str(caught.value)


def test_the_report_of_a_plan_that_was_interrupted(where: KafkaBroker) -> None:
    store, events = filled(FEW), sum(map(FEW.rows, STREAMS))
    sink = KafkaSink(config_of(where))

    def interrupted() -> None:
        with sink:
            sink.create_topics(dict.fromkeys(STREAMS, 1), 876_000)

            def after_all_has_arrived(_: int) -> None:
                if sink.report().attempted == events:
                    assert sink._producer.engine.flush(30)
                    raise KeyboardInterrupt

            with sink.begin_plan(FEW, store.parents, 1) as sending:
                sending.finish(after_all_has_arrived)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sink.report().acknowledged == events


@pytest.mark.parametrize("sent_before", [False, True])
@pytest.mark.parametrize("by_kafka", [False, True])
def test_a_plan_that_was_never_sent_was_not_attempted(
    where: KafkaBroker, by_kafka: bool, sent_before: bool
) -> None:
    """But what was sent before it was, and had arrived by then."""
    store = filled(FEW)
    (batch,) = FEW.batches("banking.trades")
    sink = KafkaSink(config_of(where))

    def broken_off() -> None:
        with sink:
            sink.create_topics(dict.fromkeys(STREAMS, 1), 876_000)
            if sent_before:
                sink.send_batch(batch)
            with sink.begin_plan(FEW, store.parents, 1) as sending:
                assert sending._sending.wait(30)
                raise sink._producer.incomplete() if by_kafka else LookupError

    with pytest.raises(UnreachableError if by_kafka else LookupError) as caught:
        broken_off()
    report = sink.report()
    assert report.acknowledged == report.attempted == sent_before * len(batch)
    if by_kafka and sent_before:
        assert isinstance(caught.value, UnreachableError)
        assert caught.value.delivery == report
    assert len(read_topic(where.bootstrap, "banking.trades")) == sent_before * len(batch)
