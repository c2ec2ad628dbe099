"""Files of properties: read as Java reads them, each line for whom it is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from datagen.errors import ConfigurationError
from datagen.presets import ProducerConfig
from datagen.properties import Properties, read_properties
from datagen.sinks.kafka import KafkaSink

if TYPE_CHECKING:
    from pathlib import Path


SECRET = "Senha-Muito5ecreta"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"

#: As a managed service offers it for Java, with a registry and a consumer's lines.
OFFERED = f"""\
# Required connection configs for Kafka producer, consumer, and admin
bootstrap.servers=pkc-1.eu-west-1.example.com:9092
security.protocol=SASL_SSL
sasl.jaas.config={PLAIN} required username='KEY' password='{SECRET}';
sasl.mechanism=PLAIN
# Required for correctness in Apache Kafka clients prior to 2.6
client.dns.lookup=use_all_dns_ips

# Best practice for higher availability in Apache Kafka clients prior to 3.0
session.timeout.ms=45000

# Best practice for Kafka producer to prevent data loss
acks=all

client.id=ccloud-java-client-1
group.id=loaders
key.deserializer=org.apache.kafka.common.serialization.StringDeserializer

# Required connection configs for Schema Registry
schema.registry.url=https://psrc-1.eu-west-1.example.com
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=SRKEY:{SECRET}+/
"""


def read(folder: Path, content: str | bytes) -> Properties:
    file = folder / "client.properties"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_properties(file)


def test_the_file_of_a_managed_service_works_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, OFFERED)
    assert found == Properties(
        client={
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "acks": "all",
            "client.id": "ccloud-java-client-1",
            "sasl.username": "KEY",
            "sasl.password": SECRET,
        },
        registry={"basic.auth.user.info": f"SRKEY:{SECRET}+/"},
        bootstrap="pkc-1.eu-west-1.example.com:9092",
        registry_url="https://psrc-1.eu-west-1.example.com",
        ignored=("client.dns.lookup", "session.timeout.ms", "group.id", "key.deserializer"),
    )
    assert SECRET not in repr(found)
    config = ProducerConfig(
        bootstrap_servers=found.bootstrap or "",
        schema_registry_url=found.registry_url,
        client_options=found.client,
        registry_options=found.registry,
    )
    assert KafkaSink(config).engine == "native"
    assert config.hide(f"{SECRET} {SECRET}+/") == "*** ***"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("client.id=a", "a"),
        ("client.id: a", "a"),
        ("client.id a", "a"),
        ("  client.id\t=  a b  ", "a b"),
        ("client.id=a=b:c", "a=b:c"),
        ("client.id : = a", "= a"),
        ("client.id=one\\\n   two", "onetwo"),
        ("client.id=\\u00e7\\u00E3o", "ção"),
        ("client.id=ção".encode(), "ção"),
        ("client.id=ção".encode("latin-1"), "ção"),
        ("client.id=a\r\n# client.id=b\r\n! client.id=c\r\n\r\n", "a"),
        ("client.id=a # no comment", "a # no comment"),
        ("# a comment \\\nclient.id=a", "a"),
        ("client.id=C\\:\\\\new\\=x", "C:\\new=x"),
        ("client.id=a\nclient.id=b", "b"),
        ("CLIENT.ID=a", "a"),
        ("\ufeffclient.id=a", "a"),
        ("client\\.id=a", "a"),
        ("client.id", ""),
    ],
)
def test_lines_are_read_as_java_reads_them(
    tmp_path: Path, content: str | bytes, value: str
) -> None:
    assert read(tmp_path, content).client == {"client.id": value}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"={SECRET}", ["line 1", "key=value"]),
        (f"acks=1\n\n# x\n  = {SECRET}\n", ["line 4", "key=value"]),
        (f"acks=1\nsasl.password={SECRET}\\u12\n", ["hexadecimal"]),
        (b"\xff\xfe\x00" + SECRET.encode(), ["cannot be read"]),
        ("sasl.password={{ PASSWORD }}", ["sasl.password", "placeholder"]),
        ("sasl.password=${file:/x:y}", ["sasl.password", "placeholder"]),
        ("bootstrap.servers=", ["bootstrap.servers is empty"]),
        ("schema.registry.url = ,", ["schema.registry.url is empty"]),
    ],
)
def test_what_is_no_file_of_properties(
    tmp_path: Path, content: str | bytes, words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content)
    for word in ["client.properties", *words]:
        assert word in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_properties(tmp_path / "absent")


# --- Java's names and values


@pytest.mark.parametrize(
    ("content", "client"),
    [
        ("buffer.memory=33554432", {"queue.buffering.max.kbytes": 32_768}),
        ("max.request.size=2000000", {"message.max.bytes": "2000000"}),
        ("delivery.timeout.ms=9000", {"message.timeout.ms": "9000"}),
        ("metadata.broker.list=a:1", {}),
        ("ssl.endpoint.identification.algorithm=", {"ssl.endpoint.identification.algorithm": "none"}),
        ("ssl.truststore.certificates=PEM", {"ssl.ca.pem": "PEM"}),
        (
            "ssl.truststore.type=PEM\nssl.truststore.location=/ca\nssl.truststore.password=x",
            {"ssl.ca.location": "/ca"},
        ),
        (
            "ssl.keystore.type=pem\nssl.keystore.location=/me\nssl.key.password=x",
            {
                "ssl.key.password": "x",
                "ssl.certificate.location": "/me",
                "ssl.key.location": "/me",
            },
        ),
        (
            "ssl.keystore.certificate.chain=C\nssl.keystore.key=K",
            {"ssl.certificate.pem": "C", "ssl.key.pem": "K"},
        ),
        (
            "ssl.keystore.type=PKCS12\nssl.keystore.location=/me\nssl.keystore.password=x",
            {"ssl.keystore.location": "/me", "ssl.keystore.password": "x"},
        ),
    ],
)  # fmt: skip
def test_names_of_java(tmp_path: Path, content: str, client: dict[str, object]) -> None:
    assert read(tmp_path, content).client == client


@pytest.mark.parametrize(
    ("value", "mechanism", "user", "password"),
    [
        (f'{PLAIN} required username="me" password="p";', "PLAIN", "me", "p"),
        (f"{PLAIN}   REQUIRED  username='me'  password='p' ;", "", "me", "p"),
        (f'{PLAIN} required password="p" username=me;', "plain", "me", "p"),
        (f'{PLAIN} required username="me" password="p q;=\'x";', "PLAIN", "me", "p q;='x"),
        (f'{PLAIN} required username="me" password="a\\\\"b\\\\\\\\c";', "PLAIN", "me", 'a"b\\c'),
        (f'{SCRAM} required username="me" password="p" ;', "SCRAM-SHA-512", "me", "p"),
        (f'{SCRAM} required \\\n  username="me" \\\n  password="p";', "SCRAM-SHA-256", "me", "p"),
    ],
)
def test_logins_of_java(
    tmp_path: Path, value: str, mechanism: str, user: str, password: str
) -> None:
    named = f"sasl.mechanism={mechanism}\n" if mechanism else ""
    found = read(tmp_path, f"{named}sasl.jaas.config={value}\n").client
    assert found == {
        "sasl.mechanisms": mechanism or "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            f"sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required x='{SECRET}';",
            ["sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule"],
        ),
        (
            (
                "sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule "
                f"required clientSecret='{SECRET}';"
            ),
            ["OAuthBearerLoginModule"],
        ),
        (f"sasl.jaas.config={SECRET}", ["sasl.jaas.config", "PlainLoginModule"]),
        (f"sasl.jaas.config={PLAIN} required username='{SECRET}';", ["password="]),
        (f"sasl.jaas.config={PLAIN} required username='me' password='{SECRET};", ["password="]),
        (f"sasl.jaas.config={SCRAM} required username=u password={SECRET};", ["SCRAM-SHA-512"]),
        (
            (
                f"sasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config={PLAIN} required username=u "
                f"password={SECRET};"
            ),
            ["PlainLoginModule", "SCRAM-SHA-256"],
        ),
        (
            (
                f"sasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config={SCRAM} required username=u "
                f"password={SECRET} tokenauth=true;"
            ),
            ["delegation tokens"],
        ),
        (
            "sasl.login.callback.handler.class=com.example.Handler",
            ["sasl.login.callback.handler.class", "Java"],
        ),
        ("ssl.truststore.location=/etc/trust.jks", ["/etc/trust.jks", "JKS", "ssl.ca.location"]),
        (
            "ssl.truststore.type=PKCS12\nssl.truststore.location=/etc/trust.p12",
            ["/etc/trust.p12", "PKCS12", "openssl pkcs12", "ssl.ca.location"],
        ),
        (
            "ssl.keystore.type=JKS\nssl.keystore.location=/etc/me.jks",
            ["/etc/me.jks", "ssl.key.location"],
        ),
        ("schema.registry.ssl.truststore.location=/t.jks", ["schema.registry.ssl", "/t.jks"]),
        (f"schema.registry.ssl.keystore.key={SECRET}", ["schema.registry.ssl.key.location"]),
        ("basic.auth.credentials.source=SASL_INHERIT", ["SASL_INHERIT"]),
        ("basic.auth.credentials.source=VAULT", ["basic.auth.credentials.source"]),
        (
            "value.subject.name.strategy=io.confluent.kafka.serializers.subject.RecordNameStrategy",
            ["value.subject.name.strategy"],
        ),
    ],
)
def test_what_only_java_can_do_is_named(tmp_path: Path, content: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, content)
    for word in ["client.properties", *words]:
        assert word in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_store_without_a_type_is_what_it_holds(tmp_path: Path) -> None:
    pem = tmp_path / "trust.jks"
    pem.write_text("# ours\n-----BEGIN CERTIFICATE-----\n")
    content = f"ssl.truststore.location={pem}"
    assert read(tmp_path, content).client == {"ssl.ca.location": str(pem)}
    pem.write_bytes(b"\x30\x82\x01")
    with pytest.raises(ConfigurationError, match="PKCS12"):
        read(tmp_path, content)


# --- the registry's lines


@pytest.mark.parametrize(
    ("content", "registry"),
    [
        (
            f"schema.registry.basic.auth.user.info=a:{SECRET}\nbasic.auth.user.info=c:d",
            {"basic.auth.user.info": f"a:{SECRET}"},
        ),
        (
            "basic.auth.credentials.source=sasl_inherit\nsasl.username=a\nsasl.password=b",
            {"basic.auth.user.info": "a:b"},
        ),
        ("basic.auth.credentials.source=URL\nbasic.auth.user.info=a:b", {}),
        (
            (
                "schema.registry.ssl.truststore.type=PEM\nschema.registry.ssl.truststore.location=/ca\n"
                "schema.registry.ssl.keystore.type=PEM\nschema.registry.ssl.keystore.location=/me\n"
                "schema.registry.ssl.key.password=x"
            ),
            {
                "ssl.ca.location": "/ca",
                "ssl.certificate.location": "/me",
                "ssl.key.location": "/me",
                "ssl.key.password": "x",
            },
        ),
        (
            (
                "bearer.auth.credentials.source=STATIC_TOKEN\nbearer.auth.token=t\n"
                "bearer.auth.logical.cluster=lsrc-1"
            ),
            {
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": "t",
                "bearer.auth.logical.cluster": "lsrc-1",
            },
        ),
        (
            "proxy.host=proxy\nproxy.port=3128\nauto.register.schemas=false",
            {"auto.register.schemas": "false", "proxy": "http://proxy:3128"},
        ),
    ],
)
def test_lines_of_the_registry_go_to_the_registry(
    tmp_path: Path, content: str, registry: dict[str, str]
) -> None:
    assert read(tmp_path, content).registry == registry


def test_a_file_for_several_clients(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "producer.acks=1\nconsumer.fetch.min.bytes=1\nconsumer.sasl.password=x\nadmin.retries=2\n",
    )
    assert found.client == {"acks": "1"}
    assert found.ignored == ("consumer.fetch.min.bytes", "consumer.sasl.password", "admin.retries")


def test_lists_with_empty_places(tmp_path: Path) -> None:
    found = read(
        tmp_path, "bootstrap.servers = a:1, b:2,\nschema.registry.url=http://a:1 ,http://b:2,"
    )
    assert found.bootstrap == "a:1,b:2"
    assert found.registry_url == "http://a:1,http://b:2"
