"""What cannot be loaded: a line or two that say why, the exit code for it, nothing half-loaded."""

from __future__ import annotations

import re
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from answering import answering
from command import Outcome, assert_failed, load
from datagen import Plan
from own_topics import OwnTopics
from records import TOPICS
from services._net import free_port
from services.kafka import KafkaBroker, Listener, allow, delete_topics, forbid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engines import Engine
    from running import Running
    from services.registry import Registry

SECRET = "Senha-Muito5ecreta"
HUGE = 2**64
FEW = ("--customers", "20")


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def tables(dsn: str) -> dict[str, int]:
    """Rows of each table that there is."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        counts = {}
        for (name,) in names.fetchall():
            [(counts[name],)] = connection.execute(f"SELECT count(*) FROM {name}".encode())
    return counts


def there(topics: OwnTopics) -> set[str]:
    """Those of the topics that exist."""
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    return {*topics.names} & {*admin.list_topics(timeout=10).topics}


def with_password(dsn: str, user: str, password: str) -> str:
    place = urlsplit(dsn)
    at = f"{place.hostname}:{place.port}"
    return place._replace(netloc=f"{user}:{quote(password, safe='')}@{at}").geturl()


# --- options, before anything is connected


@pytest.fixture(scope="module")
def trap() -> Iterator[socket.socket]:
    """A port that waits for somebody to connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def load_into(trap: socket.socket, *options: object) -> Outcome:
    """A load whose services are all at the trap; it must not have gone there."""
    port = trap.getsockname()[1]
    outcome = load(
        *("--postgres-url", f"postgresql://user:{SECRET}@127.0.0.1:{port}/bank"),
        *("--kafka-bootstrap", f"127.0.0.1:{port}"),
        *("--schema-registry", f"http://127.0.0.1:{port}"),
        *options,
    )
    with pytest.raises(BlockingIOError):
        trap.accept()
    return outcome


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--customers", 0, "1 to 99999990"),
        ("--customers", -1, "1 to 99999990"),
        ("--customers", 99_999_991, "1 to 99999990"),
        ("--customers", HUGE, "1 to 99999990"),
        ("--seed", -1, "0 to 18446744073709551615"),
        ("--seed", HUGE, "0 to 18446744073709551615"),
        ("--retention-hours", 0, "1 to 876000"),
        ("--retention-hours", -8, "1 to 876000"),
        ("--retention-hours", 876_001, "1 to 876000"),
        ("--retention-hours", HUGE, "1 to 876000"),
        ("--retention-hours", "ever", "-1 or broker"),
        ("--from-customer", -1, "0 to 99"),
        ("--from-customer", 99_999_891, "0 to 99999890"),
        ("--from-customer", HUGE, "0 to 99999890"),
        ("--partitions", 0, "1 to 10000"),
        ("--partitions", 10_001, "1 to 10000"),
        ("--partitions", HUGE, "1 to 10000"),
        pytest.param("--partitions", "9" * 5_000, "1 to 10000", id="a number of 5 000 digits"),
        ("--partitions", "banking.trades=" + "9" * 99, "1 to 10000"),
        ("--partitions", "many", "1 to 10000"),
        ("--partitions", "banking.trades=0", "1 to 10000"),
        ("--partitions", "trades=3", "banking.trades"),
        ("--replication-factor", 0, "1 to 32767"),
        ("--replication-factor", -1, "1 to 32767"),
        ("--replication-factor", HUGE, "1 to 32767"),
        ("--topic-config", "compact", "KEY=VALUE"),
        ("--registry-option", "token", "KEY=VALUE"),
        ("--days", 0, "1 to 2007"),
        ("--days", 100_000, "1 to 2007"),
        ("--days", 2008, "1 to 2007, or a later --as-of"),
        ("--days", HUGE, "1 to 2007"),
        ("--as-of", "yesterday", "ISO"),
        ("--as-of", "2026-07-01T00:00:00", "offset"),
        ("--as-of", "2026-02-30T00:00:00Z", "ISO"),
        ("--as-of", "1900-01-01T00:00:00Z", "2021"),
        ("--as-of", "2100-01-01T00:00:01Z", "2099"),
        ("--kafka-bootstrap", "", "HOST:PORT"),
        ("--kafka-bootstrap", "localhost:0", "HOST:PORT"),
        ("--kafka-bootstrap", "localhost:kafka", "HOST:PORT"),
        ("--kafka-bootstrap", "localhost:65536", "HOST:PORT"),
        ("--kafka-bootstrap", "http://localhost:9092", "HOST:PORT"),
        ("--kafka-bootstrap", "https://localhost", "HOST:PORT"),
        ("--kafka-bootstrap", "localhost:9092/topics", "HOST:PORT"),
        ("--schema-registry", "", "http://HOST:PORT"),
        ("--schema-registry", "localhost:8081", "http://HOST:PORT"),
        ("--schema-registry", "ftp://localhost", "http://HOST:PORT"),
        ("--schema-registry", "http://localhost:65536", "http://HOST:PORT"),
        ("--preset", "QUICK", "reliable"),
        ("--record-timestamp", "now", "production"),
    ],
)
def test_an_option_out_of_range(
    trap: socket.socket, option: str, value: object, allowed: str
) -> None:
    outcome = load_into(trap, option, value)
    # What may be a password is not repeated.
    hidden = {"localhost:kafka": "***", "compact": "there is no =", "token": "there is no ="}
    shown = hidden.get(str(value), str(value))
    # A value may be a file's whole content.
    assert_failed(outcome, 2, option, shown[:150], allowed)
    assert len(outcome.err) < 600
    assert outcome.out == ""


@pytest.mark.parametrize("prefix", ["team one.", "bank/", "x" * 225, "ação."])
def test_a_prefix_that_no_topic_can_have(trap: socket.socket, prefix: str) -> None:
    outcome = load_into(trap, "--topic-prefix", prefix)
    assert_failed(outcome, 3, "banking" if len(prefix) < 80 else "x" * 80, "--topic-prefix", "249")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["sasl.mechanism=OAUTHBEARER"], 3, ["OAUTHBEARER", "sasl.oauthbearer.method=oidc"]),
        (["sasl.mechanisms=GSSAPI"], 3, ["GSSAPI", "sasl.kerberos.keytab"]),
        ([], 3, ["security.protocol=sasl_ssl", "sasl.mechanism"]),
        (["linger.ms=18446744073709551616"], 2, ["--kafka-option linger.ms", "0 to 900000"]),
        (["delivery.timeout.ms=99999999999999999999"], 2, ["message.timeout.ms"]),
        (["metadata.broker.list=http://localhost:9092"], 2, ["bootstrap.servers", "HOST:PORT"]),
        (["bootstrap.servers="], 2, ["bootstrap.servers", "HOST:PORT"]),
    ],
)
def test_client_options_that_would_never_work(
    trap: socket.socket, options: list[str], code: int, words: list[str]
) -> None:
    given = ["security.protocol=sasl_ssl", *options]
    outcome = load_into(trap, *(f"--kafka-option={one}" for one in given))
    assert_failed(outcome, code, *words)


@pytest.mark.parametrize(
    "url",
    [
        "bank",
        f"postgresql://user:{SECRET}@host:port/bank",
        f"postgresql://user:{SECRET}@host:99999/bank",
        f"postgresql://user:sec/{SECRET}@host:5432/bank",
        f"postgresql://user:{SECRET}@[::1/bank",
        f"postgresql://user:{SECRET}@host:5432/bank?sslmode=maybe",
        f"mysql://user:{SECRET}@host/bank",
        f"host=db password='{SECRET}",
    ],
)
def test_a_malformed_connection_string(trap: socket.socket, url: str) -> None:
    outcome = load_into(trap, "--postgres-url", url)
    assert_failed(outcome, 3, "PostgreSQL connection string", "postgresql://user:password@host")
    assert SECRET not in outcome.out + outcome.err


def test_an_empty_connection_string_is_no_address(trap: socket.socket) -> None:
    assert_failed(load_into(trap, "--postgres-url", "", "--truncate"), 2, "--postgres-url", "''")


# --- services that are not there, or refuse


def test_no_postgresql(clean_kafka: OwnTopics, registry: Registry) -> None:
    place = f"127.0.0.1:{free_port()}"
    services = clean_kafka.options, ("--schema-registry", registry.url)
    options = (*services[0], *services[1], "--create-topics", *FEW)
    for host, seen in ((place, place), ("no-such-host.invalid:5432", "no-such-host.invalid:5432")):
        url = f"postgresql://user:{SECRET}@{host}/bank"
        outcome = load(*options, "--postgres-url", url)
        assert_failed(outcome, 5, "PostgreSQL", seen, "Check host and port")
        assert SECRET not in outcome.err
    assert there(clean_kafka) == set()


def test_a_postgresql_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"postgresql://user:{SECRET}@{place}/bank?connect_timeout=2"
        outcome = load("--skip-kafka", "--postgres-url", url, *FEW)
    assert_failed(outcome, 5, place, "did not answer")


def test_a_postgresql_that_refuses(pg_dsn: str, clean_kafka: OwnTopics, registry: Registry) -> None:
    where = (*clean_kafka.options, "--schema-registry", registry.url)
    unknown = urlsplit(pg_dsn)._replace(path="/no_such_bank").geturl()
    for url, said in (
        (with_password(pg_dsn, "postgres", SECRET), "password authentication failed"),
        (with_password(pg_dsn, "nobody_here", SECRET), "nobody_here"),
        (unknown, "no_such_bank"),
        (f"{pg_dsn}?sslmode=require", "SSL"),
    ):
        outcome = load(*where, "--create-topics", *FEW, "--postgres-url", url)
        assert_failed(outcome, 3, "PostgreSQL", said)
        assert SECRET not in outcome.err
        assert str(urlsplit(pg_dsn).password) not in outcome.err.replace("postgres", "")
    assert there(clean_kafka) == set()


def test_no_kafka(pg_dsn: str, registry: Registry) -> None:
    place = f"127.0.0.1:{free_port()}"
    where = ("--postgres-url", pg_dsn, "--kafka-bootstrap", place)
    began = time.monotonic()
    outcome = load(*where, "--schema-registry", registry.url, "--create-topics", *FEW)
    assert_failed(outcome, 5, f"Kafka at {place}", "Is the broker running?")
    assert time.monotonic() - began < 15
    assert tables(pg_dsn) == {}


def test_a_password_for_a_kafka_that_wants_none(pg_dsn: str, clean_kafka: OwnTopics) -> None:
    began = time.monotonic()
    outcome = load(
        *("--postgres-url", pg_dsn, *clean_kafka.options, "--no-avro"),
        *("--kafka-option", "security.protocol=SASL_PLAINTEXT"),
        *("--kafka-option", "sasl.mechanism=PLAIN", "--kafka-option", "sasl.username=me"),
        *("--kafka-option", f"sasl.password={SECRET}", "--create-topics", *FEW),
    )
    assert_failed(outcome, 3, clean_kafka.bootstrap, "security.protocol", "--kafka-option")
    assert time.monotonic() - began < 12
    assert SECRET not in outcome.err
    assert tables(pg_dsn) == {}


# --- the registry


@contextmanager
def registry_that_answers(status: int) -> Iterator[str]:
    """A registry that answers every request so; its URL."""
    with answering(status, b'{"error_code":50001,"message":"out of order"}') as (address, _):
        yield f"http://{address}"


@pytest.mark.parametrize(("status", "code"), [(500, 5), (401, 3), (403, 3), (409, 4)])
def test_a_registry_that_refuses(
    pg_dsn: str, clean_kafka: OwnTopics, status: int, code: int
) -> None:
    with registry_that_answers(status) as url:
        where = ("--postgres-url", pg_dsn, *clean_kafka.options)
        user = ("--registry-user", f"clerk:{SECRET}")
        outcome = load(*where, "--schema-registry", url, *user, "--create-topics", *FEW)
    assert_failed(outcome, code, url, str(status), "banking.transactions-value")
    assert SECRET not in outcome.err
    assert tables(pg_dsn) == {}
    assert sum(clean_kafka.ends().values()) == 0


def test_a_registry_that_was_named_and_is_not_there(
    pg_dsn: str, clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    file = tmp_path / "client.properties"
    file.write_text(f"schema.registry.url={url}\nbootstrap.servers={clean_kafka.bootstrap}\n")
    where = ("--postgres-url", pg_dsn, "--create-topics", *FEW)
    kafka = clean_kafka.options
    for outcome in (
        load(*where, *kafka, "--schema-registry", url),
        load(*where, *kafka, DATAGEN_SCHEMA_REGISTRY=url),
        load(*where, "--kafka-config", file),
    ):
        assert_failed(outcome, 5, f"Schema Registry at {url} cannot be reached", "--no-avro")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        outcome = load(*where, *kafka, "--schema-registry", url)
        assert_failed(outcome, 5, f"Schema Registry at {url} cannot be reached")
        assert time.monotonic() - began < 20
    with answering(200, b"<html>hello</html>") as (address, _):
        outcome = load(*where, *kafka, "--schema-registry", f"http://{address}")
        assert_failed(outcome, 3, address, "does not answer as a Schema Registry does")
    assert tables(pg_dsn) == {}
    assert sum(clean_kafka.ends().values()) == 0


def test_a_registry_on_this_machine_and_a_proxy_elsewhere(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    proxy = f"socks5://127.0.0.1:{free_port()}"
    where = ("--postgres-url", pg_dsn, *clean_kafka.options)
    options = (*where, "--schema-registry", registry.url, "--create-topics", "--truncate", *FEW)
    for no_proxy in ("", "127.0.0.1"):
        outcome = load(*options, ALL_PROXY=proxy, NO_PROXY=no_proxy)
        assert outcome.code == 0, str(outcome)
        assert "Kafka (avro, native)" in outcome.out
        assert outcome.err == ""
    far = (*where, "--schema-registry", "http://registry.example.com:8081", *FEW)
    assert_failed(load(*far, ALL_PROXY=proxy), 3, "ALL_PROXY", "registry.example.com")


# --- tables


@pytest.mark.parametrize(
    ("change", "named", "mode"),
    [
        ("CREATE TABLE loans (id int)", "loans", []),
        ("CREATE TABLE loans (id int)", "loans", ["--truncate", "--fast"]),
        ("CREATE VIEW stocks AS SELECT 1 AS stock_id", "stocks", []),
    ],
    ids=["table", "truncated", "view"],
)
def test_a_table_of_another_shape(
    pg_dsn: str,
    clean_kafka: OwnTopics,
    registry: Registry,
    change: str,
    named: str,
    mode: list[str],
) -> None:
    execute(pg_dsn, change)
    before = tables(pg_dsn)
    where = ("--postgres-url", pg_dsn, *clean_kafka.options)
    outcome = load(*where, "--schema-registry", registry.url, "--create-topics", *FEW, *mode)
    assert_failed(outcome, 4, f"table {named} at ", "has another shape")
    assert tables(pg_dsn) == before
    assert sum(clean_kafka.ends().values()) == 0


def test_a_role_that_may_not_create_tables(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    execute(pg_dsn, f"CREATE ROLE datagen_guest LOGIN PASSWORD '{SECRET}'")
    try:
        url = with_password(pg_dsn, "datagen_guest", SECRET)
        where = ("--postgres-url", url, *clean_kafka.options)
        outcome = load(*where, "--schema-registry", registry.url, "--create-topics", *FEW)
    finally:
        execute(pg_dsn, "DROP ROLE datagen_guest")
    assert_failed(outcome, 3, "permission denied", "nothing was loaded")
    assert SECRET not in outcome.err
    assert tables(pg_dsn) == {}
    assert sum(clean_kafka.ends().values()) == 0


# --- topics


def test_topics_that_are_not_there(pg_dsn: str, clean_kafka: OwnTopics, registry: Registry) -> None:
    where = ("--postgres-url", pg_dsn, *clean_kafka.options)
    options = (*where, "--schema-registry", registry.url, *FEW)
    assert_failed(load(*options), 3, *clean_kafka.names, "do not exist", "--create-topics")
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    first, *others = clean_kafka.names
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in others]).values():
        future.result(30)
    outcome = load(*options)
    assert_failed(outcome, 3, f"topic {first} does not exist", "--create-topics")
    assert others[0] not in outcome.err
    assert tables(pg_dsn) == {}
    assert sum(clean_kafka.ends().values()) == 0


def test_a_topic_whose_name_is_taken(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    # Names of metrics write . as _, so Kafka does not let topics differ in that alone.
    wanted = clean_kafka.name("banking.trades")
    rival = wanted.replace(".", "_")
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    admin.create_topics([NewTopic(rival, 1, 1)])[rival].result(30)
    try:
        where = ("--postgres-url", pg_dsn, *clean_kafka.options)
        outcome = load(*where, "--schema-registry", registry.url, "--create-topics", *FEW)
    finally:
        delete_topics(clean_kafka.bootstrap, [rival])
    assert_failed(outcome, 3, f"Cannot create topic {wanted}", rival, "--topic-prefix")
    assert tables(pg_dsn) == {}
    assert sum(clean_kafka.ends().values()) == 0


@pytest.fixture(scope="module")
def guarded(own_kafka: Running) -> Iterator[KafkaBroker]:
    """A broker that knows a user, `clerk`, who has no rights at all."""
    with own_kafka(
        KafkaBroker(
            listeners=[Listener("SASL", "SASL_PLAINTEXT")],
            users={"clerk": SECRET},
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # whoever comes by the plain listener
            },
        )
    ) as broker:
        yield broker


def as_clerk(guarded: KafkaBroker, registry: Registry, password: str = SECRET) -> list[str]:
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "clerk",
        "sasl.password": password,
    }
    options = ["--kafka-bootstrap", guarded.address("SASL"), "--schema-registry", registry.url]
    return [*options, *(f"--kafka-option={name}={value}" for name, value in properties.items())]


def test_a_user_without_rights(pg_dsn: str, guarded: KafkaBroker, registry: Registry) -> None:
    options = (*as_clerk(guarded, registry), "--postgres-url", pg_dsn, *FEW, "--create-topics")
    outcome = load(*options, "--preset", "BULK")
    assert_failed(outcome, 3, "Cannot create topic banking.transactions", "AUTHORIZATION_FAILED")
    assert SECRET not in outcome.err
    # An idempotent producer may be refused even before.
    assert_failed(load(*options), 3, "AUTHORIZATION_FAILED")
    wrong = as_clerk(guarded, registry, password="guessed")
    outcome = load(*wrong, "--postgres-url", pg_dsn, *FEW, "--create-topics")
    assert_failed(outcome, 3, guarded.address("SASL"), "sasl.*")
    assert "guessed" not in outcome.err
    assert tables(pg_dsn) == {}
    assert there(OwnTopics(guarded.bootstrap, prefix="")) == set()


def test_a_user_who_may_describe_and_no_more(
    pg_dsn: str, guarded: KafkaBroker, registry: Registry, engine: Engine
) -> None:
    admin = AdminClient({"bootstrap.servers": guarded.bootstrap})
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in TOPICS]).values():
        future.result(30)
    allow(guarded.bootstrap, "clerk", (ResourceType.TOPIC, "banking.", AclOperation.DESCRIBE))
    options = (*as_clerk(guarded, registry), "--postgres-url", pg_dsn, *FEW, *engine.options)
    try:
        refused = load(*options, "--preset", "RELIABLE")
        plain = load(*options, "--preset", "BULK", "--truncate")
    finally:
        forbid(guarded.bootstrap)
        delete_topics(guarded.bootstrap, TOPICS)
    # Which of the two comes first is the broker's affair where records need a producer's id.
    assert_failed(refused, 3, "AUTHORIZATION_FAILED", "Write on")
    assert_failed(plain, 3, "TOPIC_AUTHORIZATION_FAILED", "the ACLs Describe and Write on topic")


def test_a_user_who_may_write_and_no_more(
    pg_dsn: str, guarded: KafkaBroker, registry: Registry
) -> None:
    admin = AdminClient({"bootstrap.servers": guarded.bootstrap})
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in TOPICS]).values():
        future.result(30)
    allow(guarded.bootstrap, "clerk", (ResourceType.TOPIC, "banking.", AclOperation.WRITE))
    try:
        outcome = load(*as_clerk(guarded, registry), "--postgres-url", pg_dsn, *FEW)
        assert outcome.code == 0, str(outcome)
        assert outcome.lines[-1] == "Validation: ALL OK"
    finally:
        forbid(guarded.bootstrap)
        delete_topics(guarded.bootstrap, TOPICS)


def test_topics_that_take_no_events(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry, engine: Engine
) -> None:
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    tiny = [NewTopic(name, 1, 1, config={"max.message.bytes": "10"}) for name in clean_kafka.names]
    for future in admin.create_topics(tiny).values():
        future.result(30)
    where = ("--postgres-url", pg_dsn, *clean_kafka.options)
    options = (*where, "--schema-registry", registry.url, *FEW, *engine.options)
    rows = Plan(customers=20).rows(TOPICS[0])
    outcome = load(*options)
    assert outcome.code == 4, str(outcome)
    assert "Traceback" not in outcome.err
    assert "max.message.bytes" in outcome.err
    assert re.search(r"key [0-9a-f-]{36}\b", outcome.err), "the event is named"
    assert f"  {clean_kafka.names[0]}: planned {rows}, acknowledged 0, refused" in outcome.out
    assert sum(clean_kafka.ends().values()) == 0
    # Master data came first and stays: it is what the next attempt will find.
    assert tables(pg_dsn)["customers"] == 20
