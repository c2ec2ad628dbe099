"""Clusters as companies run them: quotas, replicas, policies, small messages, ACLs, wrong addresses.

What events would be refused or lost by is found before the first of them is sent, and what is slow
is waited for.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import RESOURCE_TOPIC, NewTopic

from command import assert_failed, load
from datagen import Batch, Plan
from datagen.errors import (
    ConfigurationError,
    CountingError,
    RejectedError,
    UnreachableError,
)
from datagen.presets import BULK, PRESETS, RELIABLE, ProducerConfig
from datagen.sinks.kafka import KafkaSink
from datagen.sinks.kafka.behind import read_ids
from datagen.sinks.kafka.cluster import Cluster
from records import TOPICS, end_offsets, read_topics
from services import policy
from services._net import free_port
from services.kafka import KafkaBroker, KafkaCluster, Listener, allow, forbid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engines import Engine
    from running import Running
    from services.kafka import Right

STREAM = "banking.transactions"
USER, PASSWORD = "loader", "hunter2"
NOWHERE = "no-such-host.invalid"
#: A quota's, in bytes a second: the load takes some seconds.
SLOW = 200_000
NOW = datetime.now(UTC)
_prefixes = (f"team{number}." for number in count())


@pytest.fixture(scope="module")
def closed_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def broker(own_kafka: Running, closed_port: int) -> Iterator[KafkaBroker]:
    """One broker that lets its user do what ACLs say, with a policy and a quota.

    Its plain listener is for whoever may do everything. Two more are advertised at addresses where
    there is nothing.
    """
    listeners = [
        Listener("USERS", "SASL_PLAINTEXT", mechanisms=["PLAIN"]),
        Listener("NAMELESS", advertised_host=NOWHERE),
        Listener("CLOSED", advertised_port=closed_port),
    ]
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        # A second is a short memory, so that a client is held back from the first seconds on.
        "quota.window.num": "3",
    }
    server = KafkaBroker(
        heap="320m",
        short_lived=True,
        listeners=listeners,
        users={USER: PASSWORD},
        properties=properties,
    )
    with own_kafka(server) as found:
        found.quota("slow", SLOW)
        yield found


@pytest.fixture(scope="module")
def three(own_kafka: Running) -> Iterator[KafkaCluster]:
    with own_kafka(KafkaCluster()) as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    return next(_prefixes)


@pytest.fixture
def config(broker: KafkaBroker, prefix: str, engine: Engine) -> ProducerConfig:
    """For topics of its own on the broker, without a registry, by each engine."""
    return config_of(broker.bootstrap, prefix, engine)


@pytest.fixture
def clustered(three: KafkaCluster, prefix: str, engine: Engine) -> ProducerConfig:
    """The same on three running brokers, for events that replicas acknowledge."""
    three.start()
    return config_of(three.bootstrap, prefix, engine, RELIABLE)


def config_of(
    bootstrap: str, prefix: str, engine: Engine, base: ProducerConfig = BULK
) -> ProducerConfig:
    where = {"bootstrap_servers": bootstrap, "schema_registry_url": None}
    changes: dict[str, Any] = {**where, **engine.fields, "topic_prefix": prefix}
    return replace(base, **changes)


def create(bootstrap: str, names: Sequence[str], config: Mapping[str, str] | None = None) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(
        [NewTopic(name, 3, 1, config=dict(config or {})) for name in names]
    ).values():
        future.result(30)
    end_offsets(bootstrap, names)


def topics_of(prefix: str) -> list[str]:
    return [f"{prefix}{name}" for name in TOPICS]


def there(bootstrap: str, prefix: str) -> set[str]:
    topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics
    return {name for name in topics if name.startswith(prefix)}


def batch_of(customers: int = 20) -> Batch:
    (batch,) = Plan(seed=7, customers=customers).batches(STREAM, batch_rows=1_000_000)
    return batch


def command(config: ProducerConfig, *options: object, **more: Any) -> Any:
    """`datagen load` of events alone with this configuration's addresses and engine."""
    return load(
        *("--kafka-bootstrap", config.bootstrap_servers, "--topic-prefix", config.topic_prefix),
        *("--skip-postgres", "--no-avro", "--engine", config.engine, *options),
        **more,
    )


def assert_all_there(bootstrap: str, prefix: str, plan: Plan) -> None:
    """Every planned event, once."""
    for name, records in read_topics(bootstrap, topics_of(prefix)).items():
        idents = [one.header("ce_id") for one in records]
        assert len(set(idents)) == len(idents) == plan.rows(name.removeprefix(prefix))


# --- slow


@pytest.mark.parametrize("preset", ["RELIABLE", "BULK"])
def test_a_quota_slows_a_load_and_ends_none(preset: str, config: ProducerConfig) -> None:
    """With less time than it takes, but for a broker that is silent."""
    slow = replace(
        PRESETS[preset],
        bootstrap_servers=config.bootstrap_servers,
        schema_registry_url=None,
        engine=config.engine,
        topic_prefix=config.topic_prefix,
        client_options={"client.id": "slow"},
        compression="none",
    )
    (batch,) = Plan(seed=7, customers=250).batches(STREAM, batch_rows=1_000_000)
    began = time.monotonic()
    with KafkaSink(slow) as sink:
        sink.create_topics({sink.topic(STREAM): 3}, -1)
        sink.send_batch(batch)
        report = sink.flush(timeout=5)
    took = time.monotonic() - began
    assert took > 6, "the quota did not slow it"
    assert report.acknowledged == len(batch)
    (records,) = read_topics(config.bootstrap, [sink.topic(STREAM)]).values()
    idents = [one.header("ce_id") for one in records]
    assert len(set(idents)) == len(idents) == len(batch)
    for each in report.topics.values():
        assert each.perhaps_twice == 0


@pytest.mark.timing
def test_silence_ends_a_flush(config: ProducerConfig, broker: KafkaBroker) -> None:
    sink = KafkaSink(config)
    sink.create_topics({sink.topic(STREAM): 3})
    sink.send_batch(batch_of())
    assert sink.flush().complete
    broker.pause()
    try:
        sink.send_batch(batch_of())
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"for 2 s") as caught:
            sink.flush(timeout=2)
        assert 2 <= time.monotonic() - began < 4
    finally:
        broker.resume()
    assert caught.value.delivery.topics[sink.topic(STREAM)].pending == len(batch_of())
    assert sink.close().complete


# --- counting


def test_brokers_restarted_one_after_the_other(
    clustered: ProducerConfig, three: KafkaCluster
) -> None:
    """While events are sent and while the ends are read: both are done by the rest of the cluster."""
    plan = Plan(seed=7, customers=1_500)
    batches = list(plan.batches(STREAM, batch_rows=500))
    restarted: list[int] = []

    def restart() -> None:
        for node in (1, 2):
            broker = three.broker(node)
            broker.stop()
            broker.start()
            restarted.append(node)

    restarting = threading.Thread(target=restart)
    with KafkaSink(clustered) as sink:
        topic = sink.topic(STREAM)
        sink.create_topics({topic: 3})
        before = sink.end_offsets([topic])
        assert before == {topic: {0: 0, 1: 0, 2: 0}}
        restarting.start()
        try:
            for batch in batches:
                sink.send_batch(batch)
                time.sleep(0.1)
            report = sink.flush()
            found = sink.end_offsets([topic])
        finally:
            restarting.join()
        again = sink.end_offsets([topic])
    assert restarted == [1, 2]
    assert report.acknowledged == plan.rows(STREAM)
    assert sum(found[topic].values()) == sum(again[topic].values()) == plan.rows(STREAM)
    idents = [one.header("ce_id") for one in read_topics(three.bootstrap, [topic])[topic]]
    assert len(set(idents)) == len(idents) == plan.rows(STREAM)


def test_a_broker_restarted_while_topics_are_read(
    clustered: ProducerConfig, three: KafkaCluster
) -> None:
    """Its partitions are waited for, or read from their new leaders, and nothing is read twice."""
    plan = Plan(seed=7, customers=300)
    with KafkaSink(clustered) as sink:
        topic = sink.topic(STREAM)
        sink.create_topics({topic: 3})
        for batch in plan.batches(STREAM):
            sink.send_batch(batch)
        sink.flush()
        ends = sink.end_offsets([topic])
    pieces: list[bytes] = []
    broker = three.broker(1)
    broker.stop()
    starting = threading.Timer(2, broker.start)
    starting.start()
    try:
        starts = {topic: dict.fromkeys(ends[topic], 0)}
        read_ids(
            Cluster(clustered), starts, ends, {topic: STREAM}, lambda *part: pieces.append(part[2])
        )
    finally:
        starting.join()
    found = b"".join(pieces)
    idents = [found[at : at + 16] for at in range(0, len(found), 16)]
    rows = [row["transaction_id"].bytes for batch in plan.batches(STREAM) for row in batch]
    assert sorted(idents) == sorted(rows)


@pytest.mark.timing
def test_ends_that_cannot_be_read_are_no_failure_of_what_arrived(
    config: ProducerConfig, broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.kafka.end_offsets.EndOffsets.read.__defaults__", (2.0,))
    with KafkaSink(config) as sink:
        sink.create_topics({sink.topic(STREAM): 3})
        sink.send_batch(batch_of())
        assert sink.flush().complete
        broker.pause()
        try:
            began = time.monotonic()
            with pytest.raises(CountingError, match=config.bootstrap) as caught:
                sink.end_offsets([sink.topic(STREAM)])
            assert time.monotonic() - began < 8
        finally:
            broker.resume()
            monkeypatch.undo()
        assert caught.value.delivery.acknowledged == len(batch_of())
        assert sum(sink.end_offsets([sink.topic(STREAM)])[sink.topic(STREAM)].values()) == len(
            batch_of()
        )


def test_what_a_client_meets_after_the_last_acknowledgement_is_no_failure(
    config: ProducerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = KafkaSink(config)
    sink.create_topics({sink.topic(STREAM): 3})
    sink.send_batch(batch_of())
    assert sink.flush().complete

    def give_up(_seconds: float) -> bool:
        raise UnreachableError("the client gave up")

    monkeypatch.setattr(sink._producer.engine, "flush", give_up)
    assert sink.close().acknowledged == len(batch_of())


# --- replicas


def test_replicas_are_the_brokers_own_unless_they_are_named(
    clustered: ProducerConfig, prefix: str
) -> None:
    """The cluster's brokers give three, and need two in sync."""
    with KafkaSink(clustered) as sink:
        sink.create_topics({sink.topic(STREAM): 3})
        sink.create_topics({"other." + prefix: 1}, replication_factor=2)
        for factor, said in ((1, "1 replica and needs 2 in sync"), (4, "3 brokers.* 4 replicas")):
            with pytest.raises(ConfigurationError, match=said) as caught:
                sink.create_topics({f"{prefix}few": 1}, replication_factor=factor)
            assert "replication_factor" in str(caught.value)
    topics = AdminClient({"bootstrap.servers": clustered.bootstrap}).list_topics(timeout=10).topics
    assert {len(one.replicas) for one in topics[sink.topic(STREAM)].partitions.values()} == {3}
    assert [len(one.replicas) for one in topics["other." + prefix].partitions.values()] == [2]
    assert f"{prefix}few" not in topics


def test_a_topic_with_fewer_replicas_than_it_needs(config: ProducerConfig, pg_dsn: str) -> None:
    create(config.bootstrap, topics_of(config.topic_prefix), {"min.insync.replicas": "2"})
    outcome = load(
        *("--kafka-bootstrap", config.bootstrap, "--topic-prefix", config.topic_prefix),
        *("--no-avro", "--engine", config.engine, "--postgres-url", pg_dsn),
    )
    assert_failed(outcome, 3, "has 1 replica and needs 2 in sync", "--replication-factor 2")
    # One answer of the leader is enough for what needs no other.
    with KafkaSink(replace(config, acks="1")) as sink:
        sink.send_batch(batch_of())
    with (
        pytest.raises(ConfigurationError, match="needs 2 in sync"),
        KafkaSink(replace(config, acks="all")) as sink,
    ):
        sink.send_batch(batch_of())


def test_replicas_that_are_away(clustered: ProducerConfig, three: KafkaCluster) -> None:
    with KafkaSink(clustered) as sink:
        needs = {"min.insync.replicas": "3"}
        sink.create_topics({sink.topic(STREAM): 3}, config=needs)
    broker = three.broker(3)
    broker.stop()
    try:
        began = time.monotonic()
        said = "2 of 3 replicas in sync and needs 3"
        with KafkaSink(clustered) as sink, pytest.raises(UnreachableError, match=said):
            sink.require_topics([sink.topic(STREAM)])
        assert time.monotonic() - began < 20
    finally:
        broker.start()


# --- policies and names


def test_the_options_of_topics(config: ProducerConfig) -> None:
    with KafkaSink(config) as sink:
        one, two, three = (sink.topic(name) for name in TOPICS[:3])
        sink.create_topics({one: 2}, -1)
        sink.create_topics({two: 1}, None)
        sink.create_topics({three: 1}, 5, config={"retention.ms": "7200000", "segment.ms": "60000"})
        assert sink.require_topics([one, two, three]) == {one: 2, two: 1, three: 1}
    found = settings_of(config.bootstrap, [one, two, three])
    assert found[one]["retention.ms"] == "-1"
    assert found[two]["retention.ms"] == "604800000"
    assert (found[three]["retention.ms"], found[three]["segment.ms"]) == ("7200000", "60000")


def settings_of(bootstrap: str, topics: list[str]) -> dict[str, dict[str, str]]:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    futures = admin.describe_configs([ConfigResource(RESOURCE_TOPIC, name) for name in topics])
    return {
        one.name: {key: entry.value for key, entry in future.result(10).items()}
        for one, future in futures.items()
    }


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"config": {"no.such": "1"}}, ["no.such", "topic_config"]),
        ({"config": {"retention.bytes": "many"}}, ["retention.bytes", "topic_config"]),
        ({"replication_factor": 2}, ["1 broker,", "2 replicas", "replication_factor=1"]),
    ],
)
def test_topics_that_the_broker_refuses(
    asked: dict[str, Any], words: list[str], config: ProducerConfig
) -> None:
    with KafkaSink(config) as sink, pytest.raises(ConfigurationError) as caught:
        sink.create_topics({sink.topic(STREAM): 1}, **asked)
    for word in words:
        assert word in str(caught.value)
    assert there(config.bootstrap, config.topic_prefix) == set()


def test_topics_of_which_some_are_made_are_named(config: ProducerConfig) -> None:
    with KafkaSink(config) as sink:
        one, two = (sink.topic(name) for name in TOPICS[:2])
        with pytest.raises(ConfigurationError, match=f"Cannot create topic {two}.*created: {one}"):
            sink.create_topics({one: 1, two: 0})
    assert there(config.bootstrap, config.topic_prefix) == {one}


def test_names_that_collide(config: ProducerConfig) -> None:
    """Kafka's metrics cannot tell '.' from '_'."""
    create(config.bootstrap, [f"{config.topic_prefix}{STREAM}".replace(".", "_")])
    with KafkaSink(config) as sink, pytest.raises(ConfigurationError, match="collides") as caught:
        sink.create_topics({sink.topic(STREAM): 1})
    assert "topic_prefix" in str(caught.value)


@pytest.fixture(scope="module")
def strict(own_kafka: Running) -> Iterator[KafkaBroker]:
    """A broker with a policy for topics."""
    with own_kafka(KafkaBroker(heap="320m", short_lived=True, topic_policy=True)) as broker:
        yield broker


def test_a_policy_of_the_cluster(strict: KafkaBroker, prefix: str, engine: Engine) -> None:
    config = config_of(strict.bootstrap, prefix, engine)
    outcome = command(config, "--create-topics", "--customers", 20)
    assert_failed(outcome, 3, policy.WORDS, "POLICY_VIOLATION", "--retention-hours broker")
    outcome = command(config, "--create-topics", "--customers", 20, "--retention-hours", "broker")
    assert outcome.code == 0, str(outcome)


# --- small messages


@pytest.mark.parametrize("fast", [False, True])
def test_batches_fit_the_topic(config: ProducerConfig, fast: bool) -> None:
    create(config.bootstrap, topics_of(config.topic_prefix), {"max.message.bytes": "100000"})
    plan = Plan(customers=300)
    options = ("--fast",) if fast else ("--preset", "BULK")
    outcome = command(config, "--customers", plan.customers, *options)
    assert outcome.code == 0, str(outcome)
    assert_all_there(config.bootstrap, config.topic_prefix, plan)


def test_an_event_too_large_by_itself(config: ProducerConfig) -> None:
    create(config.bootstrap, topics_of(config.topic_prefix), {"max.message.bytes": "2000"})
    rows = [batch_of().row(at) for at in range(10)]
    rows[4]["description"] = "".join(chr(97 + (n * n) % 26) for n in range(5_000))
    changed = replace(config, compression="none")
    with (
        pytest.raises(RejectedError, match="MSG_SIZE_TOO_LARGE") as caught,
        KafkaSink(changed) as sink,
    ):
        sink.send_batch(Batch.from_rows(STREAM, rows))
    for word in (sink.topic(STREAM), "max.message.bytes", "batch.size="):
        assert word in str(caught.value)
    assert sink.report().acknowledged == 9
    assert sink.report().failed == {"MSG_SIZE_TOO_LARGE": 1}


# --- what would not stay


@pytest.mark.parametrize("cleanup", ["compact", "compact,delete"])
def test_a_compacted_topic_is_refused(cleanup: str, config: ProducerConfig) -> None:
    create(config.bootstrap, topics_of(config.topic_prefix), {"cleanup.policy": cleanup})
    outcome = command(config, "--customers", 20)
    assert_failed(outcome, 3, f"{config.topic_prefix}banking", f"cleanup.policy={cleanup}")


DAYS = timedelta(days=90)


@pytest.mark.parametrize(
    ("settings", "oldest", "newest", "words"),
    [
        ({"retention.ms": "28800000"}, NOW - DAYS, NOW, ["8 hours", "retention_hours=-1"]),
        (
            {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"},
            NOW - DAYS,
            NOW,
            ["LogAppendTime", "CreateTime"],
        ),
        (
            {"message.timestamp.before.max.ms": "60000", "retention.ms": "-1"},
            NOW - DAYS,
            NOW,
            ["message.timestamp.before.max.ms=60000", "topic_config"],
        ),
        (
            {"message.timestamp.after.max.ms": "3600000", "retention.ms": "-1"},
            NOW - DAYS,
            NOW + DAYS,
            ["message.timestamp.after.max.ms=3600000"],
        ),
        ({"retention.ms": "-1"}, NOW - DAYS, NOW, []),
        ({"retention.ms": "8640000000"}, NOW - DAYS, NOW, []),
    ],
)
def test_topics_that_records_with_the_time_of_events_would_not_stay_in(
    settings: dict[str, str],
    oldest: datetime,
    newest: datetime,
    words: list[str],
    config: ProducerConfig,
) -> None:
    create(config.bootstrap, [f"{config.topic_prefix}{STREAM}"], settings)
    for before in (True, False):
        with KafkaSink(replace(config, record_timestamp="event")) as sink:
            topic = sink.topic(STREAM)
            if not before:
                sink.require_topics([topic])
            else:
                sink.check_event_time(oldest, newest)

            def check(sink: KafkaSink = sink, topic: str = topic, before: bool = before) -> None:
                if before:
                    sink.require_topics([topic])
                else:
                    sink.check_event_time(oldest, newest)

            if not words:
                check()
                continue
            with pytest.raises(ConfigurationError, match=topic) as caught:
                check()
            for word in (*words, 'record_timestamp="production"'):
                assert word in str(caught.value)
    with KafkaSink(config) as sink:
        sink.require_topics([topic])
        sink.check_event_time(oldest, newest)


@pytest.mark.parametrize("hours", [8, None, -1, 24 * 100])
def test_no_topic_is_made_that_events_would_not_stay_in(
    hours: int | None, config: ProducerConfig
) -> None:
    """A broker's own retention is a week."""
    with KafkaSink(replace(config, record_timestamp="event")) as sink:
        sink.check_event_time(NOW - DAYS)
        wanted = {sink.topic(STREAM): 1}
        if hours in {-1, 2400}:
            sink.create_topics(wanted, hours)
            return
        with pytest.raises(ConfigurationError, match="would be deleted"):
            sink.create_topics(wanted, hours)
    assert there(config.bootstrap, config.topic_prefix) == set()


# --- what a user may do


@contextmanager
def allowed(broker: KafkaBroker, *rights: Right) -> Iterator[None]:
    """Lets the user do so much, and nothing else."""
    allow(broker.bootstrap, USER, *rights)
    try:
        yield
    finally:
        forbid(broker.bootstrap)


def as_user(config: ProducerConfig, broker: KafkaBroker, **changes: Any) -> ProducerConfig:
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
    }
    return replace(
        config, bootstrap_servers=broker.address("USERS"), client_options=options, **changes
    )


TOPIC = ResourceType.TOPIC


def test_a_user_who_may_only_write(
    config: ProducerConfig, broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither describing configurations nor reading is needed; Write implies Describe."""
    caplog.set_level("INFO", "datagen")
    create(broker.bootstrap, topics_of(config.topic_prefix))
    with (
        allowed(broker, (TOPIC, config.topic_prefix, AclOperation.WRITE)),
        KafkaSink(as_user(config, broker, acks="all")) as sink,
    ):
        topic = sink.topic(STREAM)
        before = sink.end_offsets([topic])
        sink.send_batch(batch_of())
        assert sink.flush().complete
        after = sink.end_offsets([topic])
    assert sum(after[topic].values()) - sum(before[topic].values()) == len(batch_of())
    assert f"Kafka does not describe {topic}" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_user_who_may_not(config: ProducerConfig, broker: KafkaBroker) -> None:
    mine = as_user(config, broker)
    topic = f"{config.topic_prefix}{STREAM}"
    with allowed(broker), KafkaSink(mine) as sink:
        with pytest.raises(
            ConfigurationError, match=f"{topic}.*TOPIC_AUTHORIZATION_FAILED"
        ) as caught:
            sink.require_topics([topic])
        assert "Describe and Write" in str(caught.value)
        with pytest.raises(
            ConfigurationError, match=f"{topic}.*TOPIC_AUTHORIZATION_FAILED"
        ) as caught:
            sink.create_topics({topic: 1})
        assert "ACL Create" in str(caught.value)
    create(broker.bootstrap, [topic])
    with allowed(broker, (TOPIC, config.topic_prefix, AclOperation.DESCRIBE)):
        with (
            pytest.raises(
                ConfigurationError, match=f"{topic}.*TOPIC_AUTHORIZATION_FAILED"
            ) as caught,
            KafkaSink(mine) as sink,
        ):
            sink.send_batch(batch_of())
        assert "Describe and Write" in str(caught.value)
        assert sink.report().acknowledged == 0
        with KafkaSink(mine) as sink, pytest.raises(ConfigurationError, match="ACL Delete"):
            sink.delete([STREAM])


@pytest.mark.timing
def test_counting_that_is_denied(config: ProducerConfig, broker: KafkaBroker) -> None:
    create(broker.bootstrap, topics_of(config.topic_prefix))
    with allowed(broker, (TOPIC, config.topic_prefix, AclOperation.WRITE)):
        sink = KafkaSink(as_user(config, broker))
        sink.send_batch(batch_of())
        assert sink.flush().complete
    try:
        began = time.monotonic()
        # A topic that may not be described is not listed, which is no end either.
        assert sink.end_offsets([sink.topic(STREAM)]) == {}
        assert time.monotonic() - began < 5
    finally:
        assert sink.close().complete


# --- refusals of a record


def test_a_time_that_the_topic_refuses(config: ProducerConfig) -> None:
    """Set after the sink has looked at it, as a topic that is changed meanwhile."""
    topic = f"{config.topic_prefix}{STREAM}"
    create(config.bootstrap, [topic], {"retention.ms": "-1"})
    changed = replace(config, record_timestamp="event")
    sink = KafkaSink(changed)
    sink.require_topics([topic])
    alter(config.bootstrap, topic, "message.timestamp.before.max.ms", "1000")
    alter(config.bootstrap, topic, "message.timestamp.after.max.ms", "1000")
    said = rf"{topic}: INVALID_(TIMESTAMP|RECORD)"
    with pytest.raises(RejectedError, match=said) as caught, sink:
        sink.send_batch(batch_of())
    assert 'record_timestamp="production"' in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_limit_that_shrinks(config: ProducerConfig) -> None:
    """As where a configuration may not be described: native splits, and librdkafka names an option."""
    topic = f"{config.topic_prefix}{STREAM}"
    create(config.bootstrap, [topic])
    sink = KafkaSink(replace(config, compression="none"))
    sink.require_topics([topic])
    alter(config.bootstrap, topic, "max.message.bytes", "20000")
    if config.engine == "confluent":
        with pytest.raises(RejectedError, match=f"{topic}: MSG_SIZE_TOO_LARGE") as caught, sink:
            sink.send_batch(batch_of())
        assert "client_options batch.size=" in str(caught.value)


def alter(bootstrap: str, topic: str, name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(RESOURCE_TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)
    time.sleep(0.3)


# --- wrong addresses


@pytest.mark.parametrize("listener", ["NAMELESS", "CLOSED"])
@pytest.mark.parametrize("creating", [False, True])
def test_a_broker_that_is_not_where_it_says(
    listener: str,
    creating: bool,
    config: ProducerConfig,
    broker: KafkaBroker,
    pg_dsn: str,
    closed_port: int,
) -> None:
    if not creating:
        create(broker.bootstrap, topics_of(config.topic_prefix))
    began = time.monotonic()
    outcome = load(
        *("--kafka-bootstrap", broker.address(listener), "--topic-prefix", config.topic_prefix),
        *("--no-avro", "--engine", config.engine, "--postgres-url", pg_dsn),
        *(["--create-topics"] if creating else []),
    )
    assert time.monotonic() - began < 12
    host = f"{NOWHERE}:" if listener == "NAMELESS" else f":{closed_port}"
    assert_failed(outcome, 5, host, "advertised.listeners")


@pytest.mark.timing
def test_ctrl_c_is_not_held_up(config: ProducerConfig) -> None:
    """While a port is tried that lets everybody in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        nobody = replace(config, bootstrap_servers=address)
        timer = threading.Timer(3.0, signal.raise_signal, [signal.SIGINT])
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            KafkaSink(nobody).connect()
        assert 2.5 < time.monotonic() - began < 4
        timer.join()
