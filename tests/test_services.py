"""The servers that other tests rely on are real, ours, and reachable from this machine only."""

import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic  # admin has it too, but its types do not export it
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from own_topics import OwnTopics, new_prefix
from services._errors import ServiceError
from services._net import accepts, can_watch, listening
from services._process import ends_with_parent
from services._service import Service
from services.kafka import Kafka, KafkaBroker, delete_topics
from services.postgres import Postgres, PostgresServer
from services.registry import Registry


@pytest.fixture
def topic(clean_kafka: OwnTopics) -> Iterator[str]:
    name = clean_kafka.name("services")
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    yield name
    delete_topics(clean_kafka.bootstrap, [name])


def test_kafka_delivers_what_was_produced(kafka: Kafka, topic: str) -> None:
    sent = [str(number).encode() for number in range(10)]
    offsets: list[int | None] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None
        offsets.append(message.offset())

    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    for value in sent:
        producer.produce(topic, value, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert offsets == list(range(10))

    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "unused"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        assert [message.value() for message in consumer.consume(10, timeout=30)] == sent
    finally:
        consumer.close()


def test_kafka_has_its_command_line_tools(kafka: Kafka, topic: str) -> None:
    if not isinstance(kafka, KafkaBroker):
        pytest.skip("the tools run against a broker of our own only")
    printed = kafka.tool("org.apache.kafka.tools.GetOffsetShell", "--topic", topic)
    assert printed.split() == [f"{topic}:0:0"]


def test_topics_are_deleted_and_can_be_made_again(clean_kafka: OwnTopics) -> None:
    admin = AdminClient({"bootstrap.servers": clean_kafka.bootstrap})
    topic, absent = clean_kafka.name("banking.trades"), clean_kafka.name("banking.installments")
    for _ in range(3):
        admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
        delete_topics(clean_kafka.bootstrap, [topic, absent])


def test_registry_returns_a_registered_schema(registry: Registry) -> None:
    subject = f"{new_prefix()}services-value"
    with SchemaRegistryClient({"url": registry.url, "timeout": 10}) as client:
        schema = Schema('{"type":"record","name":"T","fields":[]}', "AVRO")
        schema_id = client.register_schema(subject, schema)
        assert client.get_schema(schema_id).schema_str == schema.schema_str
        assert client.get_latest_version(subject).schema_id == schema_id


def test_postgres_answers(pg_dsn: str) -> None:
    with psycopg.connect(pg_dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    if not isinstance(postgres, PostgresServer):
        pytest.skip("a server of someone else may trust its clients")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn.replace(postgres.password, "wrong"))


@pytest.mark.skipif(not can_watch(), reason="reads Linux's /proc")
@pytest.mark.parametrize("name", ["kafka", "registry", "postgres"])
def test_listens_on_loopback_only(
    name: str, kafka: Kafka, registry: Registry, postgres: Postgres
) -> None:
    service = {"kafka": kafka, "registry": registry, "postgres": postgres}[name]
    if not isinstance(service, Service):
        pytest.skip("not started by the tests")
    bound = listening(service.pid)
    assert {port for _, port in bound} == set(service.ports)
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in bound), bound


@pytest.fixture
def started_here(postgres: Postgres) -> PostgresServer:
    if not isinstance(postgres, PostgresServer):
        pytest.skip("not started by the tests")
    return postgres


def test_keeps_its_data_over_a_crash(started_here: PostgresServer) -> None:
    with PostgresServer({"fsync": "off"}) as server:
        first = server.pid
        dsn = server.database("kept")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(dsn)
        server.start()
        assert server.pid != first
        psycopg.connect(dsn).close()
    assert not server.directory.exists()


def test_does_not_start_on_a_taken_port(started_here: PostgresServer) -> None:
    other = PostgresServer()
    other.ports = started_here.ports
    with pytest.raises(ServiceError, match="is taken"), other:
        pass
    assert not other.directory.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ends_with_the_run_that_started_it(
    started_here: PostgresServer, number: signal.Signals
) -> None:
    if number is not signal.SIGINT and not ends_with_parent():
        pytest.skip("needs setpriv(1) of util-linux")
    script = """
import time
from services.postgres import PostgresServer
server = PostgresServer().start()
print(server.ports[0], server.directory, flush=True)
time.sleep(60)
"""
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with run:
        assert run.stdout is not None
        port, directory = run.stdout.readline().split()
        try:
            assert accepts(int(port))
            run.send_signal(number)
            run.wait(30)
            deadline = time.monotonic() + 30
            while accepts(int(port)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert number is not signal.SIGINT or not Path(directory).exists()
        finally:
            run.kill()
            shutil.rmtree(directory, ignore_errors=True)
