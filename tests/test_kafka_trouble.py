"""What goes wrong with the registry and the broker, and what the Kafka sink then does and says."""

from __future__ import annotations

import json
import logging
import signal
import socketserver
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from answering import answering
from datagen import Batch
from datagen.errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from datagen.sinks.kafka import RELIABLE, DeliveryReport, KafkaSink, ProducerConfig
from records import TOPICS
from sending import TRANSACTIONS, batch_of, to
from services._net import free_port
from services.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from own_topics import OwnTopics
    from running import Running
    from services.registry import Registry


@pytest.fixture(scope="module")
def kafka(own_kafka: Running) -> Iterator[KafkaBroker]:
    """A broker of this module, since some of its tests stop it."""
    with own_kafka(KafkaBroker(heap="320m", short_lived=True)) as broker:
        yield broker


@pytest.fixture
def broker(kafka: KafkaBroker) -> Iterator[KafkaBroker]:
    """The broker as something to be stopped; it goes on afterwards, for whoever comes next."""
    yield kafka
    kafka.resume()
    kafka.wait_until_ready()


# --- the registry


def test_json_with_a_warning_where_no_registry_answers(
    topics: OwnTopics, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://me:hunter2@127.0.0.1:{free_port()}"
    batch = batch_of()
    started = time.monotonic()
    with KafkaSink(topics.config(schema_registry_url=url, json_fallback=True)) as sink:
        sink.send_batch(batch)
        sink.send_batch(batch_of("banking.trades"))
        assert sink.format == "json"
    assert time.monotonic() - started < 10
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["datagen.sinks.kafka.schemas"]
    assert "not available. Using JSON serialization." in warnings[0].getMessage()
    assert "hunter2" not in caplog.text
    assert json.loads(topics.records(TRANSACTIONS)[0].value)


def test_json_with_a_warning_where_the_extra_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka.schema_registry", None)
    sink = KafkaSink()
    assert sink.format == "json"
    assert "confluent-kafka[avro] not installed. Using JSON serialization." in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b'{"error_code":50001,"message":"hunter2 of me"}', UnreachableError),
        (503, b"<html>busy</html>", UnreachableError),
        (401, b'{"error_code":40101,"message":"no"}', ConfigurationError),
        (403, b'{"error_code":40301,"message":"no"}', ConfigurationError),
        (404, b"<html>", ConfigurationError),
        (409, b'{"error_code":409,"message":"incompatible"}', RejectedError),
        (422, b'{"error_code":42201,"message":"invalid"}', RejectedError),
        (200, b"<html>", ConfigurationError),
        (200, b"{}", ConfigurationError),
        (200, b"[]", ConfigurationError),
    ],
)
def test_a_registry_that_answers_with_an_error_is_not_absent(
    status: int,
    body: bytes,
    error: type[DatagenError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with answering(status, body) as (address, seen):
        config = to("localhost:1", schema_registry_url=f"http://me:hunter2@{address}")
        started = time.monotonic()
        with pytest.raises(error) as caught:
            KafkaSink(config).register_schemas()
        assert time.monotonic() - started < 10
    assert address in str(caught.value)
    if status >= 400:
        assert "banking.transactions-value" in str(caught.value)
        assert str(status) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    assert set(seen) == {"Basic bWU6aHVudGVyMg=="}


def test_a_registry_that_stops_answering_is_not_absent(topics: OwnTopics) -> None:
    with answering(200, b'{"id": 1}', answers=1) as (address, seen):
        config = topics.config(schema_registry_url=f"http://{address}")
        with pytest.raises(UnreachableError, match="stopped answering"), KafkaSink(config) as sink:
            sink.register_schemas(TOPICS)
    assert len(seen) > 1


def test_a_registry_of_another_protocol_is_a_wrong_setting() -> None:
    with answering(200, b"{}") as (address, _):
        config = to("localhost:1", schema_registry_url=f"https://{address}")
        with pytest.raises(ConfigurationError, match="SSL"):
            KafkaSink(config).register_schemas()


@pytest.mark.parametrize(
    "options",
    [
        {"no.such.option": "1"},
        {"timeout": "soon"},
        {"ssl.ca.location": "/no/such/file.pem"},
        {"basic.auth.user.info": "hunter2"},
    ],
)
def test_wrong_registry_options_are_found_before_anything_is_connected(
    options: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match="Schema Registry") as caught:
        KafkaSink(ProducerConfig(registry_options=options))
    assert "hunter2" not in str(caught.value)


def test_two_users_for_one_registry() -> None:
    options = {"basic.auth.user.info": "me:hunter2"}
    with pytest.raises(ConfigurationError, match="twice"):
        KafkaSink(ProducerConfig(schema_registry_url="http://a:b@c", registry_options=options))


# --- what goes wrong with the broker


@pytest.mark.timing
def test_a_closed_port(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}.*refused") as caught:
        KafkaSink(to(f"127.0.0.1:{port}")).connect()
    assert time.monotonic() - started < 2
    assert "datagen local up" in str(caught.value)
    # librdkafka's own lines are in the log, a few of them, and nowhere else.
    lines = [one for one in caplog.records if one.name == "datagen.sinks.kafka.librdkafka"]
    assert 1 <= len(lines) <= 5
    assert {one.levelno for one in lines} == {logging.DEBUG}
    assert capfd.readouterr() == ("", "")


@pytest.mark.timing
def test_a_port_of_something_else(registry: Registry) -> None:
    bootstrap = urlsplit(registry.url).netloc
    started = time.monotonic()
    with pytest.raises(ConfigurationError, match=bootstrap) as caught:
        KafkaSink(to(bootstrap)).connect()
    assert time.monotonic() - started < 3
    assert "security.protocol" in str(caught.value)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"E\0\0\0\x10SFATAL\0\0\0\0\0\0"]
)
def test_a_port_that_is_not_kafka(answer: bytes) -> None:
    """A server that answers with something else, or hangs up; and one that awaits a line's end."""
    with listening(answer) as address:
        assert_no_kafka(address)


@pytest.mark.timing
def test_a_port_that_awaits_a_line() -> None:
    with answering(200, b"") as (address, _):
        assert_no_kafka(address, "an HTTP server")


def assert_no_kafka(address: str, cause: str = "") -> None:
    started = time.monotonic()
    with pytest.raises(ConfigurationError, match=address) as caught:
        KafkaSink(to(address)).connect()
    assert time.monotonic() - started < 3
    assert cause in str(caught.value)
    assert "Expected is a Kafka broker's listener for plaintext" in str(caught.value)


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """A server that answers whoever connects with a few bytes, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "options",
    [
        {"no.such.option": "hunter2"},
        {"socket.timeout.ms": "hunter2"},
        {"acks": "1", "enable.idempotence": "true"},
        {"security.protocol": "SSL", "ssl.ca.location": "/no/such/file.pem"},
        {"security.protocol": "SSL", "ssl.key.pem": "hunter2"},
        {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.password": "x"},
        {"transactional.id": "mine"},
        {"delivery.report.only.error": "true"},
        {"on_delivery": "print"},
    ],
)
def test_wrong_client_options_are_found_before_anything_is_connected(
    options: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match="Kafka option") as caught:
        KafkaSink(ProducerConfig(schema_registry_url=None, client_options=options))
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_making_a_sink_connects_to_nothing() -> None:
    with answering(200, b"{}") as (address, seen):
        KafkaSink(
            ProducerConfig(bootstrap_servers=address, schema_registry_url=f"http://{address}")
        )
        time.sleep(0.3)
    assert seen == []


def test_too_large_for_the_client(topics: OwnTopics) -> None:
    row = batch_of().row(0) | {"description": "x" * 5_000}
    config = topics.config(client_options={"message.max.bytes": 1_000})
    with pytest.raises(RejectedError, match="MSG_SIZE_TOO_LARGE"), KafkaSink(config) as sink:
        sink.send_batch(Batch.from_rows(TRANSACTIONS, [batch_of().row(0), row]))
    report = sink.report()
    assert report.attempted == 2
    assert report.failed == {"MSG_SIZE_TOO_LARGE": 1, "_PURGE_QUEUE": 1}
    assert report.topics[topics.name(TRANSACTIONS)].partitions[-1].failed["MSG_SIZE_TOO_LARGE"] == 1


@pytest.mark.usefixtures("each_engine")
def test_a_broker_that_stops_answering(topics: OwnTopics, broker: KafkaBroker) -> None:
    config = topics.config(RELIABLE, message_timeout_ms=2_000)
    batch = batch_of()
    started = time.monotonic()
    with pytest.raises(UnreachableError) as caught, KafkaSink(config) as sink:  # noqa: PT012
        sink.send_batch(batch)
        sink.flush()
        broker.pause()
        sink.send_batch(batch)
    assert time.monotonic() - started < 20
    report = sink.report()
    assert report.attempted == 2 * len(batch)
    assert report.acknowledged == len(batch)
    assert report.topics[topics.name(TRANSACTIONS)].pending == 0
    assert f"topic {topics.name(TRANSACTIONS)}: _MSG_TIMED_OUT" in str(caught.value)
    assert_counted(caught.value, report)


@pytest.mark.usefixtures("each_engine")
def test_a_queue_that_stays_full(topics: OwnTopics, broker: KafkaBroker) -> None:
    config = topics.config(message_timeout_ms=2_000, queue_buffering_max_messages=10)
    started = time.monotonic()
    first = Batch.from_rows(TRANSACTIONS, [batch_of().row(0)])
    with pytest.raises(UnreachableError), KafkaSink(config) as sink:  # noqa: PT012
        sink.send_batch(first)
        sink.flush()
        broker.pause()
        while True:
            sink.send_batch(batch_of())
    assert time.monotonic() - started < 20
    assert sink.report().acknowledged == 1
    # The native engine takes whole batches, and the last of them goes over the limit.
    assert 10 <= sink.report().attempted < 2 * len(batch_of())


@pytest.mark.usefixtures("each_engine")
def test_a_flush_that_takes_too_long(topics: OwnTopics, broker: KafkaBroker) -> None:
    sink = KafkaSink(topics.config())
    sink.send_batch(batch_of())
    sink.flush()
    broker.pause()
    sink.send_batch(batch_of())
    with pytest.raises(
        UnreachableError, match=rf"topic {topics.name(TRANSACTIONS)} for 1 s"
    ) as caught:
        sink.flush(timeout=1.0)
    assert caught.value.delivery.topics[topics.name(TRANSACTIONS)].pending == len(batch_of())
    broker.resume()
    assert sink.close().complete
    assert len(topics.records(TRANSACTIONS)) == 2 * len(batch_of())


def assert_counted(error: DatagenError, report: DeliveryReport) -> None:
    """The error has the sink's last figures, as an attribute and as a note, and no text has any."""
    assert error.delivery == report
    assert error.__notes__ == [f"acknowledged: {report}"]
    assert " of " not in str(error).replace("events of topic", "")
    assert "again" not in str(error)
    assert "repeat" not in str(error)


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
@pytest.mark.timing
def test_an_exception_is_not_held_up(
    kind: type[BaseException],
    topics: OwnTopics,
    broker: KafkaBroker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = batch_of()
    with pytest.raises(kind), KafkaSink(topics.config()) as sink:  # noqa: PT012
        sink.send_batch(batch)
        sink.flush()
        broker.pause()
        sink.send_batch(batch)
        started = time.monotonic()
        raise kind
    assert time.monotonic() - started < 4
    report = sink.report()
    assert (report.acknowledged, report.attempted) == (len(batch), 2 * len(batch))
    assert report.topics[topics.name(TRANSACTIONS)].pending == 0
    # Only the settlement of a run says what arrived.
    assert caplog.text == ""


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("flushed", [False, True])
def test_the_report_of_a_sink_that_was_left_is_final(topics: OwnTopics, flushed: bool) -> None:
    batch = batch_of()
    with pytest.raises(KeyboardInterrupt), KafkaSink(topics.config()) as sink:  # noqa: PT012
        sink.send_batch(batch)
        if flushed:
            sink.flush()
        raise KeyboardInterrupt
    report = sink.report()
    assert report.attempted == len(batch)
    assert report.topics[topics.name(TRANSACTIONS)].pending == 0
    assert len(topics.records(TRANSACTIONS)) == report.acknowledged
    assert report.complete or not flushed
    assert sink.close() == report


@pytest.mark.usefixtures("each_engine")
def test_nothing_was_attempted_where_nothing_was_sent(topics: OwnTopics) -> None:
    with pytest.raises(KeyboardInterrupt), KafkaSink(topics.config()) as sink:  # noqa: PT012
        sink.require_topics([topics.name(TRANSACTIONS)])
        raise KeyboardInterrupt
    assert sink.report().attempted == 0


@pytest.mark.usefixtures("each_engine")
def test_ctrl_c_in_the_middle(topics: OwnTopics) -> None:
    batch = batch_of()
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt), KafkaSink(topics.config()) as sink:  # noqa: PT012
        timer.start()
        while True:
            sink.send_batch(batch)
    timer.join()
    report = sink.report()
    assert 0 < report.acknowledged <= report.attempted
    assert len(topics.records(TRANSACTIONS)) == report.acknowledged
    assert report.topics[topics.name(TRANSACTIONS)].pending == 0
