"""The producer's configuration: checked when it is made, exact in what it tells librdkafka."""

from __future__ import annotations

import math
import pickle
import re
from dataclasses import replace

import pytest

from datagen.errors import ConfigurationError, OptionError
from datagen.presets import (
    BULK,
    EVENT_BY_EVENT,
    FAST,
    PRESETS,
    RELIABLE,
    ProducerConfig,
    check_url,
)

# acks, bytes, ms, codec, idempotence, requests in flight, messages and kilobytes of the queue
EXACT = {
    "RELIABLE": ("all", 16_384, 5, "snappy", "true", "5", 100_000, 1_048_576),
    "FAST": ("0", 65_536, 50, "snappy", "false", "1", 100_000, 1_048_576),
    "BULK": ("1", 524_288, 100, "lz4", "false", "1", 500_000, 2_097_152),
    "EVENT_BY_EVENT": ("all", 1, 0, "none", "false", "1", 100_000, 1_048_576),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_mean_exactly_this_to_librdkafka(name: str) -> None:
    options = PRESETS[name].librdkafka()
    names = (
        "acks",
        "batch.size",
        "linger.ms",
        "compression.type",
        "enable.idempotence",
        "max.in.flight.requests.per.connection",
        "queue.buffering.max.messages",
        "queue.buffering.max.kbytes",
    )
    assert tuple(options[one] for one in names) == tuple(str(value) for value in EXACT[name])
    assert options["partitioner"] == "murmur2_random"
    assert options.get("batch.num.messages") == ("1" if name == "EVENT_BY_EVENT" else None)


def test_defaults_are_those_of_the_guide() -> None:
    config = ProducerConfig()
    assert (config.bootstrap_servers, config.schema_registry_url) == (
        "localhost:9092",
        "http://localhost:8081",
    )
    assert (config.acks, config.batch_size, config.linger_ms) == ("all", 16_384, 5)
    assert (config.compression, config.retries) == ("snappy", 3)
    assert not config.enable_idempotence
    assert config.queue_buffering_max_messages == 100_000
    assert config.queue_buffering_max_kbytes == 1_048_576
    assert config.cloudevents
    assert config.avro
    assert not config.content_type
    assert config.record_timestamp == "production"
    assert config.delivery_timeout == 300.0


def test_presets_can_be_changed_compared_pickled_and_hashed() -> None:
    mine = replace(BULK, bootstrap_servers="broker:9093", client_options={"linger.ms": 7})
    assert mine.librdkafka()["bootstrap.servers"] == "broker:9093"
    assert mine.librdkafka()["linger.ms"] == "7"
    assert pickle.loads(pickle.dumps(mine)) == mine  # noqa: S301
    assert len({RELIABLE, FAST, BULK, EVENT_BY_EVENT, mine}) == 5


def test_client_options_win() -> None:
    config = ProducerConfig(
        bootstrap_servers="a:1",
        client_options={
            "bootstrap.servers": "b:1",
            "ssl.check.hostname": False,
            "message.timeout.ms": 2_000,
        },
    )
    assert config.bootstrap == "b:1"
    assert config.delivery_timeout == 2.0
    told = config.librdkafka()
    assert told["bootstrap.servers"] == "b:1"
    assert told["ssl.check.hostname"] == "false"


@pytest.mark.parametrize(
    ("base", "given", "in_flight"),
    [
        (RELIABLE, {"enable.idempotence": "false"}, "1"),
        (ProducerConfig(), {"enable.idempotence": True}, "5"),
        (BULK, {"max.in.flight": 3}, "3"),
    ],
)
def test_requests_in_flight_go_by_the_idempotence_that_holds(
    base: ProducerConfig, given: dict[str, str | int], in_flight: str
) -> None:
    told = replace(base, client_options=given).librdkafka()
    assert told["max.in.flight.requests.per.connection"] == in_flight


def test_both_engines_read_the_same_number() -> None:
    given = {"retries": "0x10", "batch.size": "1e3", "linger.ms": "0.5"}
    config = ProducerConfig(client_options=given)
    assert (config.client.retries, config.client.batch_size) == (16, 1_000)
    told = config.librdkafka()
    assert (told["retries"], told["batch.size"], told["linger.ms"]) == ("16", "1000", "0.5")


def test_what_has_no_type_here_reaches_librdkafka_as_it_was_given() -> None:
    given = {"acks": "2", "sasl.mechanism": "OAUTHBEARER", "debug": "broker", "retries": "many"}
    config = ProducerConfig(client_options=given)
    expected = {"acks": "2", "sasl.mechanisms": "OAUTHBEARER", "debug": "broker", "retries": "many"}
    assert config.client.others == expected
    assert config.librdkafka().items() >= expected.items()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("acks", "2"),
        ("acks", 1),
        ("batch_size", 0),
        ("batch_size", 2**31),
        ("batch_size", "16384"),
        ("linger_ms", -1),
        ("linger_ms", True),
        ("compression", "brotli"),
        ("retries", -1),
        ("queue_buffering_max_messages", 0),
        ("queue_buffering_max_kbytes", 0),
        ("message_timeout_ms", 0),
        ("message_timeout_ms", 5),  # librdkafka wants more than linger_ms
        ("enable_idempotence", "yes"),
        ("cloudevents", None),
        ("record_timestamp", "now"),
        ("bootstrap_servers", ""),
        ("bootstrap_servers", " , "),
        ("bootstrap_servers", "a:0"),
        ("bootstrap_servers", "a:65536"),
        ("bootstrap_servers", "a b:9092"),
        ("bootstrap_servers", "::1"),
        ("bootstrap_servers", "http://a:9092"),
        ("bootstrap_servers", "kafka://a:9092"),
        ("bootstrap_servers", "a:9092/topic"),
        pytest.param("batch_size", 10**5_000, id="a long number"),
        pytest.param("bootstrap_servers", f"a:{'9' * 5_000}", id="a long port"),
        ("bootstrap_servers", "a:٩٠٩٢"),
        ("json_fallback", 1),
        ("client_options", [("a", "b")]),
        ("client_options", {"": "b"}),
    ],
)
def test_impossible_values_are_named(field: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        ProducerConfig(**{field: value})  # type: ignore[arg-type]
    assert caught.value.option == field
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "servers",
    [
        *("a", "a:9092", "a:9092, b:9093", "[::1]:9092", "SASL_SSL://a:9092", "127.0.0.1:1"),
        *("a:9092,", ",a:9092,,b:9093"),
    ],
)
def test_bootstrap_servers_as_librdkafka_takes_them(servers: str) -> None:
    tidy = ",".join(filter(None, map(str.strip, servers.split(","))))
    assert ProducerConfig(bootstrap_servers=servers).bootstrap == tidy


@pytest.mark.parametrize("servers", ["a:1; b:2", "a:1;b:2", "a:1 b:2", "a:1\nb:2\n", "a:1, b:2;"])
def test_brokers_with_no_comma_between_them_are_shown(servers: str) -> None:
    """They have no password, which what stands for a port may be elsewhere."""
    with pytest.raises(OptionError, match="commas between them: a:1,b:2") as caught:
        ProducerConfig(bootstrap_servers=servers)
    assert repr(servers.strip()) in str(caught.value)


def test_a_list_of_brokers_is_said_without_what_clients_skip() -> None:
    config = ProducerConfig(bootstrap_servers=" ,a:1, b:2,,\n")
    assert config.bootstrap_servers == config.bootstrap == "a:1,b:2"


@pytest.mark.parametrize("address", ["::1", "::1:9092", "fe80::dead:beef:29092", "2001:db8::1"])
def test_an_address_of_ipv6_without_brackets_is_no_secret(address: str) -> None:
    with pytest.raises(OptionError) as caught:
        ProducerConfig(bootstrap_servers=f"a:9092,{address}")
    assert f"'a:9092,{address}'" in str(caught.value)
    assert "brackets around an IPv6 address" in str(caught.value)


@pytest.mark.parametrize("address", ["me:hunter2", "me:hunter2:9092", "cafe:dead:beef", "a:b"])
def test_what_may_be_a_password_in_the_place_of_a_port_is_not_shown(address: str) -> None:
    with pytest.raises(OptionError) as caught:
        ProducerConfig(bootstrap_servers=address)
    host, _, secret = address.partition(":")
    assert f"'{host}:***" in str(caught.value)
    assert f":{secret}" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({"metadata.broker.list": "b:1"}, {"bootstrap.servers": "b:1"}),
        ({"Bootstrap.Servers ": "b:1"}, {"bootstrap.servers": "b:1"}),
        ({"ACKS": "1"}, {"acks": "1"}),
        ({"request.required.acks": 1, "acks": "all"}, {"acks": "all"}),
        ({"acks": "all", "request.required.acks": 1}, {"acks": 1}),
        ({"sasl.mechanism": "PLAIN"}, {"sasl.mechanisms": "PLAIN"}),
        ({"delivery.timeout.ms": 9_000}, {"message.timeout.ms": 9_000}),
        ({"buffer.memory": 1_048_577}, {"queue.buffering.max.kbytes": 1_025}),
        ({"max.request.size": 5_000}, {"message.max.bytes": 5_000}),
        ({"ssl.truststore.certificates": "PEM"}, {"ssl.ca.pem": "PEM"}),
        ({"ssl.endpoint.identification.algorithm": ""},
         {"ssl.endpoint.identification.algorithm": "none"}),
        ({"no.such.option": "x"}, {"no.such.option": "x"}),
    ],
)  # fmt: skip
def test_options_of_clients_have_one_name_each(
    given: dict[str, str | int], known: dict[str, str | int]
) -> None:
    config = ProducerConfig(client_options=given)
    assert config.client_options == known
    assert replace(config).client_options == known
    told = config.librdkafka()
    assert {name: told[name] for name in known} == {name: str(one) for name, one in known.items()}
    assert config.bootstrap == known.get("bootstrap.servers", "localhost:9092")


@pytest.mark.parametrize(
    "value",
    [2**63, 2**64, -(2**70), 10**5_000, 1e300, math.inf, math.nan],
    ids=["63 bits", "64 bits", "negative", "digits", "float", "infinite", "none"],
)
@pytest.mark.parametrize(
    "name", ["linger.ms", "queue.buffering.max.ms", "delivery.timeout.ms", "buffer.memory", "more"]
)
def test_numbers_that_nothing_holds(name: str, value: float) -> None:
    with pytest.raises(OptionError, match="client_options"):
        ProducerConfig(client_options={name: value})


def test_a_password_of_digits_is_no_number() -> None:
    config = ProducerConfig(client_options={"sasl.password": "9" * 5_000})
    assert config.hide(f"no {'9' * 5_000}") == "no ***"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "sasl.mechanism"),
        ({"sasl.mechanism": "OAUTHBEARER"}, "sasl.oauthbearer.method=oidc"),
        ({"sasl.mechanism": "oauthbearer", "sasl.oauthbearer.method": "default"}, "oidc"),
        ({"sasl.mechanism": "GSSAPI"}, "sasl.kerberos.keytab"),
    ],
)
def test_ways_to_log_in_that_would_wait_for_ever(options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        ProducerConfig(client_options={"security.protocol": "SASL_SSL", **options})
    # Where nobody logs in, they are of no account.
    ProducerConfig(client_options={"security.protocol": "SSL", **options})


@pytest.mark.parametrize(
    "options",
    [
        {"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "OIDC"},
        {"sasl.mechanism": "OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt": True},
        {"sasl.mechanism": "GSSAPI", "sasl.kerberos.keytab": "/etc/loader.keytab"},
        {"sasl.mechanism": "PLAIN"},
    ],
)
def test_ways_to_log_in(options: dict[str, str | bool]) -> None:
    ProducerConfig(client_options={"security.protocol": "sasl_ssl", **options})


@pytest.mark.parametrize("name", ["bootstrap.servers", "metadata.broker.list"])
@pytest.mark.parametrize("value", ["", " , ", "http://a:1", "a:1,b/c"])
def test_addresses_among_the_options_are_checked_too(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=r"bootstrap\.servers"):
        ProducerConfig(client_options={name: value})


def test_an_empty_option_of_the_registry_is_none() -> None:
    with pytest.raises(OptionError, match=r"basic\.auth\.user\.info"):
        ProducerConfig(registry_options={"basic.auth.user.info": ""})


def test_idempotence_needs_all_acknowledgements_and_retries() -> None:
    with pytest.raises(OptionError, match="enable_idempotence"):
        replace(FAST, enable_idempotence=True)
    with pytest.raises(OptionError, match="retries"):
        replace(RELIABLE, retries=0)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8081",
        "https://user:secret@registry.example.com/path",
        "http://a:1,http://b:2",
        "http://[::1]:8081",
    ],
)
def test_registry_addresses(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8081",
        "ftp://localhost",
        "http://",
        "http://host:0",
        "http://host:65536",
        "http://host:80 81",
        "http://[::1",
        "http://a:1,",
        # The password is hunter2, and the URL broken around it.
        "http://me:hunter2",
        "me:hunter2@host:8081",
        "http://me:hunter2@host:0",
        "http://me:hunter2@host:port",
        "http://me:/hunter2@host:1",
        "http://me:1/hunter2@host:1",
        "http://me: hunter2@host:1",
        "http://me:\nhunter2@host:1",
        "http://me:a,hunter2@host:1",
        "http://me:?hunter2@host:1",
        "http://me:#hunter2@host:1",
        "http://me:@hunter2@host:0",
    ],
)
def test_bad_registry_addresses_without_their_passwords(url: str) -> None:
    with pytest.raises(OptionError, match="schema_registry_url") as caught:
        ProducerConfig(schema_registry_url=url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_passwords_are_never_shown() -> None:
    config = ProducerConfig(
        schema_registry_url="http://me:hunter2@a:1,http://me:hunter3%21@b:2",
        client_options={
            "sasl.username": "me",
            "sasl.password": "hunter4",
            "ssl.key.pem": "hunter5",
            "ssl.key.location": "/etc/key.pem",
            "sasl.oauthbearer.client.secret": "hunter6",
        },
        registry_options={"basic.auth.user.info": "me:hunter7", "bearer.auth.token": "hunter8"},
    )
    assert "hunter" not in repr(config.client)
    for shown in (repr(config), str(config), f"{config}"):
        assert "hunter" not in shown
        assert "'sasl.username': 'me'" in shown
        assert "/etc/key" not in shown
    passwords = "hunter2 hunter3%21 hunter3! hunter4 hunter5 hunter6 me:hunter7 hunter7 hunter8"
    assert config.hide(passwords) == " ".join(["***"] * 9)
    assert config.hide("POST http://x:hunter9@h/p") == "POST http://***@h/p"
    assert config.hide("no file /etc/key.pem") == "no file /etc/key.pem"


def test_no_password_in_errors_of_options() -> None:
    with pytest.raises(OptionError) as caught:
        ProducerConfig(client_options={"sasl.password": b"hunter2"})  # type: ignore[dict-item]
    assert "sasl.password" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(OptionError) as caught:
        ProducerConfig(bootstrap_servers="me:hunter2@broker:9092")
    assert "hunter2" not in str(caught.value)
