"""Who we are to a broker, and whether it is the one that we mean: SASL, TLS and their failures."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError

from command import assert_failed, load
from datagen import Plan, _core
from datagen.sinks.kafka import KafkaSink
from datagen.sinks.kafka.native import producer_arguments
from engines import ENGINES, Engine
from records import TOPICS, end_offsets
from services._net import LOOPBACK
from services.kafka import KafkaBroker, Listener
from services.tls import Authority
from test_faults import STREAM, create_topics, small_broker, to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Options = Mapping[str, str]
    from running import Running

USER, PASSWORD = "loader", "hunter2"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose own certificate a server has."""
    return Authority(tmp_path_factory.mktemp("alone"), host=LOOPBACK)


@pytest.fixture(scope="module")
def secured(own_kafka: Running, authority: Authority, alone: Authority) -> Iterator[KafkaBroker]:
    """A broker with every kind of listener, which knows one user."""
    here, elsewhere = authority.server(), authority.server("broker.example")
    listeners = [
        Listener("PASSWORD", "SASL_PLAINTEXT"),
        Listener("SCRAM", "SASL_PLAINTEXT", mechanisms=["SCRAM-SHA-256"]),
        Listener("BOTH", "SASL_SSL", certificate=here),
        Listener("TLS", "SSL", certificate=here),
        Listener("ELSEWHERE", "SSL", certificate=elsewhere),
        Listener("MUTUAL", "SSL", certificate=here, client_authority=authority.file),
        Listener("ALONE", "SSL", certificate=alone.itself()),
        Listener(
            "COMMONNAME",
            "SSL",
            certificate=authority.server_by_common_name("localhost"),
            advertised_host="localhost",
        ),
    ]
    with own_kafka(small_broker(listeners=listeners, users={USER: PASSWORD})) as broker:
        create_topics(broker.bootstrap, 1)
        yield broker


@pytest.fixture
def files(authority: Authority, alone: Authority, tmp_path: Path) -> Mapping[str, str]:
    """Files that options name: our certificate, who vouches for it, and somebody unknown."""
    stranger = Authority(tmp_path)
    return {
        "authority": str(authority.file),
        "alone": str(alone.file),
        "client": str(authority.client("loader")),
        "stranger": str(stranger.file),
        "forged": str(stranger.client("loader")),
    }


def sasl(
    mechanism: str, password: str = PASSWORD, protocol: str = "SASL_PLAINTEXT"
) -> dict[str, str]:
    return {
        "security.protocol": protocol,
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": password,
    }


TLS = {"security.protocol": "SSL", "ssl.ca.location": "{authority}"}
MUTUAL = {**TLS, "ssl.certificate.location": "{client}", "ssl.key.location": "{client}"}
OVER_TLS = {"ssl.ca.location": "{authority}"}
AUTHENTICATION = "[Aa]uthentication"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def with_files(options: Options, files: Mapping[str, str]) -> Options:
    return {name: value.format_map(files) for name, value in options.items()}


@pytest.mark.parametrize(
    ("listener", "options"),
    [
        *(("PASSWORD", sasl(mechanism)) for mechanism in MECHANISMS),
        *(("BOTH", sasl(mechanism, protocol="SASL_SSL") | OVER_TLS) for mechanism in MECHANISMS),
        ("TLS", TLS),
        ("MUTUAL", MUTUAL),
        ("ELSEWHERE", {**TLS, "ssl.endpoint.identification.algorithm": "none"}),
    ],
)
def test_a_broker_that_accepts_us(
    listener: str, options: Options, engine: Engine, secured: KafkaBroker, files: Mapping[str, str]
) -> None:
    client_options = with_files(options, files)
    before = end_offsets(secured.bootstrap)[STREAM]
    config = to(secured.address(listener), "RELIABLE", engine, client_options=client_options)
    (batch,) = Plan(customers=20).batches(STREAM)
    with KafkaSink(config) as sink:
        sink.send_batch(batch)
    assert sink.report().acknowledged == len(batch)
    assert PASSWORD not in repr(sink) + repr(config)
    assert end_offsets(secured.bootstrap)[STREAM] == before + len(batch)


@pytest.mark.parametrize(
    ("listener", "options", "cause"),
    [
        pytest.param(listener, options, cause, id=name)
        for name, listener, options, cause in [
            ("wrong PLAIN password", "PASSWORD", sasl("PLAIN", "hunter3"), AUTHENTICATION),
            ("wrong SCRAM password", "SCRAM", sasl("SCRAM-SHA-256", "hunter3"), AUTHENTICATION),
            ("wrong mechanism", "SCRAM", sasl("SCRAM-SHA-512"), "SCRAM-SHA-256"),
            ("SASL to a plain port", "PLAINTEXT", sasl("PLAIN"), "SASL"),
            ("no SASL to a SASL port", "PASSWORD", {}, "SASL"),
            ("TLS to a plain port", "PLAINTEXT", TLS, "SSL|TLS"),
            ("no TLS to a TLS port", "TLS", {}, "TLS"),
            ("SASL without its TLS", "BOTH", sasl("PLAIN"), "TLS"),
            ("TLS without SASL", "BOTH", TLS, "SASL"),
            ("an unknown authority", "TLS", TLS | {"ssl.ca.location": "{stranger}"}, "certificate"),
            ("no authority", "TLS", {"security.protocol": "SSL"}, "certificate"),
            ("another host's certificate", "ELSEWHERE", TLS, "certificate"),
            ("no client certificate", "MUTUAL", TLS, "certificate"),
            (
                "a forged client certificate",
                "MUTUAL",
                {**TLS, "ssl.certificate.location": "{forged}", "ssl.key.location": "{forged}"},
                "certificate",
            ),
        ]
    ],
)
def test_a_broker_that_refuses_us(
    listener: str,
    options: Options,
    cause: str,
    engine: Engine,
    secured: KafkaBroker,
    files: Mapping[str, str],
) -> None:
    where = secured.address(listener)
    given = [f"--kafka-option={one}={value}" for one, value in with_files(options, files).items()]
    began = time.monotonic()
    outcome = load(
        *("--kafka-bootstrap", where, "--skip-postgres", "--no-avro", "--customers", 20),
        *(*given, *engine.options),
    )
    assert_failed(outcome, 3, where)
    assert re.search(cause, outcome.err), outcome.err
    assert time.monotonic() - began < 10
    assert "hunter" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("listener", "host", "options"),
    [
        ("ALONE", LOOPBACK, {"security.protocol": "SSL", "ssl.ca.location": "{alone}"}),
        ("COMMONNAME", "localhost", TLS),
    ],
)
def test_a_certificate_that_only_openssl_accepts(
    listener: str, host: str, options: Options, secured: KafkaBroker, files: Mapping[str, str]
) -> None:
    where = secured.address(listener).replace(LOOPBACK, host)
    given = [f"--kafka-option={one}={value}" for one, value in with_files(options, files).items()]
    prefix = f"{listener.lower()}."
    command = (
        *("--kafka-bootstrap", where, "--skip-postgres", "--no-avro", "--customers", 20),
        *("--topic-prefix", prefix, "--create-topics", *given),
    )
    outcome = load(*command, "--engine", "native")
    assert_failed(outcome, 3, where, "certificate", "--engine confluent")
    outcome = load(*command)
    assert outcome.code == 0, str(outcome)
    lines = [line for line in outcome.err.splitlines() if "Kafka engine: confluent" in line]
    assert len(lines) == 1
    assert "since native cannot do this" in lines[0]
    plan = Plan(customers=20)
    topics = [f"{prefix}{name}" for name in TOPICS]
    assert end_offsets(secured.bootstrap, topics) == {
        f"{prefix}{name}": plan.rows(name) for name in TOPICS
    }


@pytest.mark.parametrize(
    ("listener", "options", "name"),
    [
        pytest.param(listener, options, name, id=case)
        for case, listener, options, name in [
            ("PLAIN", "PASSWORD", sasl("PLAIN", "hunter3"), "SASL_AUTHENTICATION_FAILED"),
            ("SCRAM", "SCRAM", sasl("SCRAM-SHA-256", "hunter3"), "SASL_AUTHENTICATION_FAILED"),
            ("mechanism", "SCRAM", sasl("SCRAM-SHA-512"), "UNSUPPORTED_SASL_MECHANISM"),
            ("authority", "TLS", TLS | {"ssl.ca.location": "{stranger}"}, "_SSL"),
            ("no authority", "TLS", {"security.protocol": "SSL"}, "_SSL"),
            ("host", "ELSEWHERE", TLS, "_SSL"),
        ]
    ],
)
def test_the_native_producer_itself_is_refused_and_refuses(
    listener: str, options: Options, name: str, secured: KafkaBroker, files: Mapping[str, str]
) -> None:
    """The sink asks by librdkafka first, which finds all of this before the producer could."""
    client_options = with_files(options, files)
    config = to(secured.address(listener), "BULK", ENGINES["native"], client_options=client_options)
    producer = _core.Producer(**producer_arguments(config))
    try:
        with pytest.raises(_core.ProducerError) as caught:
            producer.partitions([STREAM], 8)
    finally:
        producer.close()
    code, text = caught.value.args
    assert KafkaError(code).name() == name, text
    assert secured.address(listener) in text
    assert "hunter" not in text


PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"
LOGIN = f"""username="{USER}" password="{PASSWORD}";"""
TRUST = "ssl.truststore.type=PEM\nssl.truststore.location={authority}\n"


@pytest.mark.parametrize(
    ("listener", "lines", "engine_name"),
    [
        pytest.param(listener, lines, engine_name, id=name)
        for name, listener, lines, engine_name in [
            (
                "PLAIN",
                "PASSWORD",
                f"security.protocol=SASL_PLAINTEXT\nsasl.jaas.config={PLAIN} {LOGIN}\n",
                "native",
            ),
            (
                "SCRAM over TLS",
                "BOTH",
                (
                    "security.protocol: SASL_SSL\nsasl.mechanism: SCRAM-SHA-512\n"
                    f"sasl.jaas.config: {SCRAM} \\\n    {LOGIN}\n{TRUST}"
                ),
                "native",
            ),
            (
                "mutual TLS",
                "MUTUAL",
                (
                    f"security.protocol SSL\n{TRUST}ssl.keystore.type PEM\n"
                    "ssl.keystore.location {client}\n"
                ),
                "native",
            ),
            (
                "no check of the name",
                "ELSEWHERE",
                f"security.protocol=SSL\n{TRUST}ssl.endpoint.identification.algorithm=\n",
                "native",
            ),
            (
                "PKCS12",
                "MUTUAL",
                (
                    f"security.protocol=SSL\n{TRUST}ssl.keystore.type=PKCS12\n"
                    "ssl.keystore.location={store}\nssl.keystore.password=hunter4\n"
                ),
                "confluent",
            ),
        ]
    ],
)
def test_a_file_for_java_works_as_it_is(
    listener: str,
    lines: str,
    engine_name: str,
    secured: KafkaBroker,
    files: Mapping[str, str],
    tmp_path: Path,
) -> None:
    store, client = tmp_path / "store.p12", files["client"]
    export = ("openssl", "pkcs12", "-export", "-in", client, "-inkey", client)
    subprocess.run([*export, "-out", store, "-passout", "pass:hunter4"], check=True)
    for name, value in {**files, "store": str(store)}.items():
        lines = lines.replace(f"{{{name}}}", value)
    file = tmp_path / "client.properties"
    file.write_text(
        f"\ufeff# for consumers too\nbootstrap.servers={secured.address(listener)}\n"
        f"group.id=loaders\nsession.timeout.ms=45000\nclient.dns.lookup=use_all_dns_ips\n{lines}",
        encoding="utf-8",
    )
    outcome = load(
        *("--kafka-config", file, "--skip-postgres", "--no-avro", "--create-topics"),
        *("--customers", 20, "--topic-prefix", "offered."),
    )
    assert outcome.code == 0, str(outcome)
    assert f"Kafka (json, {engine_name})" in outcome.out
    note = "ignored, being of no use here: group.id, session.timeout.ms, client.dns.lookup"
    assert outcome.err.count(note) == 1
    assert "hunter" not in outcome.out + outcome.err
