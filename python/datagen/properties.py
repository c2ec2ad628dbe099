"""Files of properties, as Kafka's own tools read them and managed services offer them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from . import _client_options
from ._files import read_whole, reason, unfit
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ._client_settings import Value

__all__ = ["Properties", "read_properties"]

#: Properties of consumers alone (Kafka's ConsumerConfig, librdkafka's column C).
_OF_CONSUMERS: Final = frozenset(
    {
        *("allow.auto.create.topics", "auto.commit.interval.ms", "auto.include.jmx.reporter"),
        *("auto.offset.reset", "check.crcs", "client.rack", "consume.callback.max.messages"),
        *("coordinator.query.interval.ms", "default.api.timeout.ms", "enable.auto.commit"),
        *("enable.auto.offset.store", "enable.partition.eof", "exclude.internal.topics"),
        *("fetch.error.backoff.ms", "fetch.max.bytes", "fetch.max.wait.ms", "fetch.min.bytes"),
        *("fetch.message.max.bytes", "fetch.queue.backoff.ms", "fetch.wait.max.ms", "group.id"),
        *("group.instance.id", "group.protocol", "group.protocol.type", "group.remote.assignor"),
        *("heartbeat.interval.ms", "isolation.level", "key.deserializer", "max.poll.interval.ms"),
        *("max.partition.fetch.bytes", "max.poll.records", "offset.store.method"),
        *("partition.assignment.strategy", "queued.max.messages.kbytes", "queued.min.messages"),
        *("session.timeout.ms", "value.deserializer"),
        *("specific.avro.reader", "avro.use.logical.type.converters", "json.value.type"),
        *("avro.reflection.allow.null", "specific.protobuf.value.type"),
    }
)
#: Properties that only Java's producer and its serializers know, and no event depends on.
_OF_JAVA: Final = frozenset(
    {
        *("avro.remove.java.properties", "compression.gzip.level", "compression.lz4.level"),
        *("compression.zstd.level", "enable.metrics.push", "id.compatibility.strict"),
        *("interceptor.classes", "key.serializer", "value.serializer", "latest.cache.ttl.sec"),
        *("latest.cache.size", "latest.compatibility.strict", "max.block.ms"),
        *("max.schemas.per.subject", "metadata.max.idle.ms", "metric.reporters"),
        *("metrics.num.samples", "metrics.recording.level", "metrics.sample.window.ms"),
        *("partitioner.class", "partitioner.ignore.keys", "partitioner.availability.timeout.ms"),
        *("partitioner.adaptive.partitioning.enable", "schema.format", "schema.reflection"),
        *("security.providers", "ssl.enabled.protocols", "ssl.engine.factory.class"),
        *("ssl.keymanager.algorithm", "ssl.protocol", "ssl.provider", "transaction.timeout.ms"),
        *("ssl.secure.random.implementation", "ssl.trustmanager.algorithm"),
        *("key.subject.name.strategy", "confluent.monitoring.interceptor.bootstrap.servers"),
    }
)
_OF_OTHERS: Final = (
    *("consumer.", "admin.", "main.consumer.", "restore.consumer.", "socket.connection.setup."),
    *("sasl.oauthbearer.jwks.", "sasl.oauthbearer.expected.", "sasl.oauthbearer.clock."),
    *("sasl.login.refresh.", "sasl.login.connect.", "sasl.login.read.", "sasl.login.retry."),
    *("sasl.kerberos.ticket.", "confluent.monitoring.", "confluent.metrics.", "metrics.jmx."),
)
#: Lines of the registry that stand without a prefix.
_OF_REGISTRY: Final = frozenset(
    {"auto.register.schemas", "normalize.schemas", "use.latest.version", "proxy.host", "proxy.port"}
)
_REGISTRY_PREFIX: Final = "schema.registry."
#: How Java's registry client is set up in ways that confluent-kafka's is not.
_OF_JAVA_REGISTRY: Final = frozenset(
    {
        *("basic.auth.credentials.source", "http.connect.timeout.ms", "http.read.timeout.ms"),
        *("ssl.enabled.protocols", "ssl.protocol", "ssl.truststore.password", "ssl.provider"),
        *("bearer.auth.cache.expiry.buffer.seconds", "bearer.auth.scope.claim.name"),
        *("bearer.auth.sub.claim.name", "request.timeout.ms", "group.id"),
    }
)
_PLACEHOLDER: Final = re.compile(r"\{\{.*\}\}|\$\{.*\}|<[\w -]+>")


@dataclass(frozen=True, kw_only=True)
class Properties:
    """The properties of each client in a file; ``ignored`` are names of no use here."""

    client: Mapping[str, Value] = field(default_factory=dict, repr=False)
    registry: Mapping[str, Value] = field(default_factory=dict, repr=False)
    bootstrap: str | None = None
    registry_url: str | None = field(default=None, repr=False)
    ignored: tuple[str, ...] = ()


def read_properties(path: Path) -> Properties:
    """Reads a file as Java's ``Properties`` does, and sorts its entries by client.

    Raises ``ConfigurationError`` for what cannot be read, or cannot be used and would be missed;
    without values, since any may be a secret.
    """
    client: dict[str, Value] = {}
    registry: dict[str, Value] = {}
    ignored = []
    for given, value in _lines(path):
        name = given.lower().removeprefix("producer.")  # as files for several clients have it
        if _PLACEHOLDER.fullmatch(value):
            raise ConfigurationError(
                f"--kafka-config {path}: {given} has a placeholder; write the value itself"
            )
        if name.startswith(_REGISTRY_PREFIX):
            registry[name.removeprefix(_REGISTRY_PREFIX)] = value
        elif name.startswith(("basic.auth.", "bearer.auth.")) or name in _OF_REGISTRY:
            # The longer name is the more definite one, wherever it stands.
            registry.setdefault(name, value)
        elif name in {"value.subject.name.strategy", "key.subject.name.strategy"}:
            if name.startswith("value") and not value.endswith("TopicNameStrategy"):
                raise ConfigurationError(
                    f"--kafka-config {path}: {name} can be TopicNameStrategy only; remove it"
                )
            ignored.append(name)
        elif name == "client.dns.lookup" and value in {"", "use_all_dns_ips", "default"}:
            ignored.append(name)  # what both engines do
        elif name in _OF_CONSUMERS or name in _OF_JAVA or name.startswith(_OF_OTHERS):
            ignored.append(name)
        else:
            client.pop(name, None)
            client[name] = value
    try:
        known = _client_options.canonical(client)
        url, options = _of_registry(registry, known, ignored)
    except ConfigurationError as error:
        raise ConfigurationError(f"--kafka-config {path}: {error}") from None
    bootstrap = known.pop("bootstrap.servers", None)
    for name, address in (("bootstrap.servers", bootstrap), ("schema.registry.url", url)):
        if address is not None and not _list(str(address)):
            raise ConfigurationError(f"--kafka-config {path}: {name} is empty; remove it")
    return Properties(
        client=known,
        registry=options,
        # Java skips empty items of a list.
        bootstrap=None if bootstrap is None else _list(str(bootstrap)),
        registry_url=None if url is None else _list(url),
        ignored=tuple(dict.fromkeys(ignored)),
    )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    import javaproperties

    try:
        content = read_whole(path)
    except OSError as error:
        raise ConfigurationError(
            f"--kafka-config {path}: cannot be read ({reason(error)})"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # Java's own encoding of such files
    if "\0" in text:
        raise ConfigurationError(f"--kafka-config {path}: cannot be read (it is no text)")
    number = 1
    elements = iter(javaproperties.parse(text))
    while True:
        try:
            element = next(elements, None)
        except ValueError:
            raise ConfigurationError(
                f"--kafka-config {path}, line {number} or after: a \\u needs four hexadecimal digits"
            ) from None
        if element is None:
            return
        if isinstance(element, javaproperties.KeyValue):
            if not element.key.strip():
                raise ConfigurationError(f"--kafka-config {path}, line {number}: write key=value")
            for text in (element.key, element.value):
                if why := unfit(text):
                    raise ConfigurationError(
                        f"--kafka-config {path}, line {number}: no client takes text that {why}"
                    )
            yield element.key.strip(), element.value.strip()
        number += len(element.source.splitlines())


def _list(text: str) -> str:
    return ",".join(one.strip() for one in text.split(",") if one.strip())


def _of_registry(
    lines: dict[str, Value], client: Mapping[str, Value], ignored: list[str]
) -> tuple[str | None, dict[str, Value]]:
    """The registry's URL and options by the names of confluent-kafka's client."""
    lines = dict(lines)
    url = lines.pop("url", None)
    source = str(lines.get("basic.auth.credentials.source", "")).upper()
    if source == "SASL_INHERIT":
        user = client.get("sasl.username"), client.get("sasl.password")
        if None in user:
            raise ConfigurationError(
                "basic.auth.credentials.source=SASL_INHERIT needs the user and password of SASL"
            )
        lines["basic.auth.user.info"] = f"{user[0]}:{user[1]}"
    elif source == "URL":
        lines.pop("basic.auth.user.info", None)
    elif source not in {"", "USER_INFO"}:
        raise ConfigurationError(
            "basic.auth.credentials.source can be USER_INFO, URL or SASL_INHERIT"
        )
    host, port = lines.pop("proxy.host", None), lines.pop("proxy.port", None)
    if host:
        lines["proxy"] = f"http://{host}:{port}" if port else f"http://{host}"
    stores = {name: lines.pop(name) for name in list(lines) if name.startswith("ssl.")}
    check_name = stores.pop("ssl.endpoint.identification.algorithm", "https")
    if str(check_name).lower() != "https":
        raise ConfigurationError(
            "schema.registry.ssl.endpoint.identification.algorithm can be https only; remove it"
        )
    lines |= _pem_of_registry(stores)
    options: dict[str, Value] = {}
    for name, value in lines.items():
        if name in _OF_JAVA_REGISTRY:
            if name != "basic.auth.credentials.source":
                ignored.append(f"{_REGISTRY_PREFIX}{name}")
        else:
            options[name] = value
    return None if url is None else str(url), options


def _pem_of_registry(stores: Mapping[str, Value]) -> dict[str, Value]:
    """Stores as the registry's client takes them, which is by files of PEM alone."""
    try:
        found = _client_options.canonical(stores)
    except ConfigurationError as error:
        raise ConfigurationError(
            str(error).replace("Kafka option ssl.", f"{_REGISTRY_PREFIX}ssl.", 1)
        ) from None
    for name in ("ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem", "ssl.keystore.location"):
        if name in found:
            location = name.replace(".pem", ".location").replace("keystore", "certificate")
            raise ConfigurationError(
                f"the registry's certificates and keys are read from files of PEM only: give "
                f"{_REGISTRY_PREFIX}{location}=FILE"
            )
    return found
