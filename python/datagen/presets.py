"""How the Kafka producer is set up: one checked configuration, and four of them ready-made."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal, get_args
from urllib.parse import unquote, urlsplit

from ._client_options import canonical
from ._client_settings import (
    RANGES,
    Acks,
    ClientSettings,
    Compression,
    Value,
    addresses,
    check_login,
    check_ranges,
    tidied,
)
from ._files import unfit
from ._secrets import HIDDEN, Secrets
from .errors import OptionError

__all__ = [
    "BULK",
    "DEFAULT_REGISTRY",
    "EVENT_BY_EVENT",
    "FAST",
    "PRESETS",
    "RELIABLE",
    "AvroEnums",
    "EngineChoice",
    "EngineName",
    "ProducerConfig",
    "RecordTimestamp",
    "check_url",
]

RecordTimestamp = Literal["production", "event"]
AvroEnums = Literal["enum", "string"]
EngineName = Literal["native", "confluent"]
EngineChoice = Literal["auto", EngineName]

#: Where a schema registry is looked for when the caller named none.
DEFAULT_REGISTRY: Final = "http://localhost:8081"

#: What is as short as this, in a query of an address, is no key.
_SHORTEST_KEY: Final = 3

#: The least of each number here; the most is librdkafka's.
_LEAST: Final[Mapping[str, int]] = {
    "batch_size": 1,
    "linger_ms": 0,
    "retries": 0,
    "queue_buffering_max_messages": 1,
    "queue_buffering_max_kbytes": 1,
    "message_timeout_ms": 1,
}
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "acks": get_args(Acks),
    "compression": get_args(Compression),
    "record_timestamp": get_args(RecordTimestamp),
    "engine": get_args(EngineChoice),
    "avro_enums": get_args(AvroEnums),
}
_FLAGS: Final = ("enable_idempotence", "cloudevents", "content_type", "avro")
_SECRET: Final = re.compile(
    r"password|secret|key|token|user\.info|jaas|oauthbearer\.config|assertion|\.pem|proxy",
    re.IGNORECASE,
)
#: The address of a file or a service is no secret, and a message about it has to name it.
_LOCATION: Final = re.compile(r"\.(location|file|url)$|^proxy$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, repr=False)
class ProducerConfig:
    """Where events go, and how.

    Raises ``OptionError`` for a value that cannot work, and ``ConfigurationError`` for options of
    clients that cannot work together, or anywhere but in Java.

    Sizes are bytes, times milliseconds. Without ``enable_idempotence`` a request whose answer got
    lost is sent again, so an event may arrive twice; ``ce_id`` shows it. The order of the events of
    one key holds with every configuration.

    ``schema_registry_url`` may list several with commas; None means no registry, hence JSON, as
    ``avro=False`` does. ``json_fallback`` says whether events may be JSON where no registry
    answers; None: only while ``schema_registry_url`` is the default address, which the caller has not named.
    ``client_options`` are librdkafka's own properties (TLS, SASL, …) by any of their names, Java's
    too, and win over the fields here; ``registry_options`` those of confluent-kafka's
    ``SchemaRegistryClient``, and of its serializers ``auto.register.schemas``,
    ``normalize.schemas`` and ``use.latest.version``.
    With ``avro_enums="string"`` Avro has strings in place of enumerations, for readers that know none.
    ``record_timestamp`` stamps records with the time of production or with that of their event:
    a record older than the topic's retention is deleted at once. ``topic_prefix`` goes before the
    name of each stream to make that of its topic, and of its subject.

    ``engine`` is the client that sends: ``native`` encodes record batches itself and is several times faster,
    ``confluent`` is librdkafka, which knows options that the other does not. ``auto`` takes the
    first unless it lacks something. Both send the same records, in the same order for each key.
    ``batch_size`` is that of a batch as it is sent for ``native``, as in Kafka's own producer, and
    that of its events before compression for ``confluent``.
    """

    bootstrap_servers: str = "localhost:9092"
    schema_registry_url: str | None = DEFAULT_REGISTRY
    acks: Acks = "all"
    batch_size: int = 16_384
    linger_ms: int = 5
    compression: Compression = "snappy"
    retries: int = 3
    enable_idempotence: bool = False
    queue_buffering_max_messages: int = 100_000
    queue_buffering_max_kbytes: int = 1_048_576
    message_timeout_ms: int | None = None
    """How long an event may take; None leaves librdkafka's 300 000."""
    cloudevents: bool = True
    content_type: bool = False
    avro: bool = True
    avro_enums: AvroEnums = "enum"
    json_fallback: bool | None = None
    """Whether events may be JSON where no registry answers; None: at the default address only."""
    record_timestamp: RecordTimestamp = "production"
    engine: EngineChoice = "auto"
    topic_prefix: str = ""
    client_options: Mapping[str, Value] = field(default_factory=dict, hash=False)
    registry_options: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("client_options", "registry_options"):
            object.__setattr__(self, name, _options(name, getattr(self, name)))
        client = canonical(self.client_options)
        check_ranges(client)
        object.__setattr__(self, "client_options", client)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                allowed = ", ".join(repr(word) for word in words)
                raise OptionError(name, getattr(self, name), allowed)
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise OptionError(name, getattr(self, name), "True or False")
        if self.json_fallback is not None and not isinstance(self.json_fallback, bool):
            raise OptionError("json_fallback", self.json_fallback, "True, False or None")
        for name, low in _LEAST.items():
            value, high = getattr(self, name), RANGES[name.replace("_", ".")][1]
            if value is None and name == "message_timeout_ms":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise OptionError(name, value, f"{low} to {high}")
        if self.message_timeout_ms is not None and self.message_timeout_ms <= self.linger_ms:
            raise OptionError("message_timeout_ms", self.message_timeout_ms, "more than linger_ms")
        if self.enable_idempotence and self.acks != "all":
            raise OptionError("enable_idempotence", True, "it with acks='all' only")
        if self.enable_idempotence and self.retries == 0:
            raise OptionError("retries", 0, "1 or more with enable_idempotence")
        if not isinstance(self.topic_prefix, str):
            raise OptionError("topic_prefix", self.topic_prefix, "text, such as 'team.'")
        _check_bootstrap(self.bootstrap_servers)
        object.__setattr__(self, "bootstrap_servers", tidied(self.bootstrap_servers))
        if "bootstrap.servers" in self.client_options:
            # Clients skip empty items of a list.
            _check_bootstrap(self.bootstrap, "client_options bootstrap.servers")
        for name, given in self.registry_options.items():
            if given == "":
                raise OptionError(f"registry_options {name}", given, "a value, or leave it out")
        if self.schema_registry_url is not None:
            check_url(self.schema_registry_url)
        check_login(self.client)

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.name}={self._shown(one.name)!r}" for one in fields(self))
        return f"ProducerConfig({shown})"

    @property
    def bootstrap(self) -> str:
        """The brokers that the client first connects to: those of ``client_options``, if given there."""
        return tidied(self.client.bootstrap_servers)

    @property
    def may_be_json(self) -> bool:
        """Whether events may be JSON where no registry answers."""
        if self.json_fallback is None:
            return self.schema_registry_url == DEFAULT_REGISTRY
        return self.json_fallback

    @property
    def delivery_timeout(self) -> float:
        """Seconds after which the client gives an event up."""
        limit = self.client.message_timeout_ms
        return (300_000 if limit is None else limit) / 1000 or math.inf  # 0 means no limit

    @cached_property
    def client(self) -> ClientSettings:
        """The settings of the client that sends, ``client_options`` last.

        Partitions follow Java's default partitioner, so that Kafka Streams and ksqlDB find a key
        where they expect it.
        """
        own = ClientSettings(
            bootstrap_servers=self.bootstrap_servers,
            client_id="datagen",
            acks=self.acks,
            batch_size=self.batch_size,
            # librdkafka's batch.size counts from the second message on; this counts from the first.
            batch_num_messages=1 if self.batch_size == 1 else None,
            linger_ms=self.linger_ms,
            compression_type=self.compression,
            retries=self.retries,
            enable_idempotence=self.enable_idempotence,
            queue_buffering_max_messages=self.queue_buffering_max_messages,
            queue_buffering_max_kbytes=self.queue_buffering_max_kbytes,
            message_timeout_ms=self.message_timeout_ms,
            partitioner="murmur2_random",
        )
        return own.with_options(self.client_options)

    def librdkafka(self) -> dict[str, str]:
        """The producer's properties for librdkafka, ``client_options`` last."""
        return self.client.librdkafka()

    def hide(self, text: str) -> str:
        """``text`` of others on one line, without control characters and without any secret."""
        return self._hide(text)

    @cached_property
    def _hide(self) -> Secrets:
        return Secrets(self._secrets())

    def _secrets(self) -> Iterator[str]:
        users = [str(self.registry_options.get("basic.auth.user.info", ""))]
        urls = (self.schema_registry_url or "").split(",")
        urls.append(str(self.registry_options.get("proxy", "")))
        for url in urls:
            # Not by `urlsplit`, which refuses some.
            user = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
            users += {user, unquote(user)}
            # A key may be in a query, or in what comes after it.
            for part in re.split("[?&#]", url)[1:]:
                value = part.partition("=")[2] or part
                yield from {one for one in (value, unquote(value)) if len(one) > _SHORTEST_KEY}
        for user in users:
            password = user.partition(":")[2]
            yield from {password, unquote(password)}
            if password:
                yield user
        for options in (self.client_options, self.registry_options):
            for name, value in options.items():
                if _is_secret(name):
                    yield str(value)

    def _shown(self, name: str) -> object:
        value = getattr(self, name)
        if name == "schema_registry_url" and value is not None:
            return _without_user(value)
        if isinstance(value, Mapping):
            return {k: HIDDEN if _SECRET.search(k) else v for k, v in value.items()}
        return value


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and not _LOCATION.search(name)


def check_url(url: str, option: str = "schema_registry_url") -> None:
    """Raises ``OptionError`` unless ``url`` is one or, with commas, several registry addresses."""
    for one in url.split(","):
        try:
            parts = urlsplit(one.strip())
            # `port` raises for what is no number below 65536.
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        # An @ behind the host is a password that holds a slash.
        if not good or re.search(r"[\s\x00-\x1f]|://[^/?#]*[/?#].*@", one.strip()):
            allowed = "http://HOST:PORT or https://HOST:PORT"
            raise OptionError(option, _without_user(url), allowed)


def _check_bootstrap(servers: str, option: str = "bootstrap_servers") -> None:
    # Empty items are skipped, as Kafka's clients do.
    if not addresses(servers):
        allowed = "HOST:PORT,HOST:PORT,… with commas between them"
        if any(map(_is_ipv6, servers.split(","))):
            allowed += ", with brackets around an IPv6 address"
        # Addresses with something else between them have no password: they are shown as they were given.
        items = re.split(r"[\s;|,]+", servers.strip(" \t\r\n;|,"))
        if len(items) > 1 and all(re.fullmatch(r"[\w.-]+:\d{1,5}", one) for one in items):
            raise OptionError(option, servers.strip(), f"commas between them: {','.join(items)}")
        raise OptionError(option, _without_user(servers), allowed)


def _options(name: str, options: Mapping[Any, Any]) -> dict[str, Value]:
    if not isinstance(options, Mapping):
        raise OptionError(name, type(options).__name__, "a mapping from names to values")
    checked: dict[str, Value] = {}
    for key, value in options.items():
        if not isinstance(key, str) or not key:
            raise OptionError(name, key, "names such as 'sasl.username'")
        if not isinstance(value, str | int | float):
            # Whatever it is, it may hold a password: its type is enough.
            raise OptionError(f"{name} {key}", type(value).__name__, "text, a number or a flag")
        if why := unfit(key) or (isinstance(value, str) and unfit(value)):
            raise OptionError(f"{name} {key}", f"text that {why}", "text that clients can take")
        checked[key] = value
    return checked


def _without_user(url: str) -> str:
    """``url`` without user and password; of a broken one it hides too much, not too little."""
    url = re.sub(r"^([A-Za-z][\w+.-]*://)?.*@", rf"\1{HIDDEN}@", url, flags=re.DOTALL)

    def shown(item: str) -> str:
        # What stands where a port should may be a password whose host was forgotten.
        without = re.sub(r":(?!//)(?!\d+(?:[/?#,]|$))[^/?#,]*", f":{HIDDEN}", item)
        # So may what a query has, or what comes after it.
        without = re.sub(r"([?#]).*", rf"\1{HIDDEN}", without, flags=re.DOTALL)
        return item if _is_ipv6(item) else without

    return ",".join(map(shown, url.split(",")))


def _is_ipv6(address: str) -> bool:
    """Whether an address is one of IPv6 without brackets, with or without a port."""
    address = address.strip()
    ports = address.rpartition(":")
    for one in (address, ports[0]) if ports[2].isdecimal() else (address,):
        with suppress(ValueError):
            ipaddress.IPv6Address(one)
            return True
    return False


RELIABLE: Final = ProducerConfig(
    enable_idempotence=True,
    # As Java's producer: message.timeout.ms ends the attempts, and not three of them, which a
    # broker that restarts uses up in a second.
    retries=2**31 - 1,
)
"""For production: every event once, in order, for as long as the process lives."""

FAST: Final = ProducerConfig(acks="0", batch_size=65_536, linger_ms=50)
"""For development: no broker confirms anything. Events counted as acknowledged were only sent."""

BULK: Final = ProducerConfig(
    acks="1",
    batch_size=524_288,
    linger_ms=100,
    compression="lz4",
    queue_buffering_max_messages=500_000,
    queue_buffering_max_kbytes=2_097_152,
)
"""For mass loads: big batches, confirmed by the leader."""

EVENT_BY_EVENT: Final = ProducerConfig(batch_size=1, linger_ms=0, compression="none")
"""For looking closely: one event to a request."""

PRESETS: Final[Mapping[str, ProducerConfig]] = MappingProxyType(
    {"RELIABLE": RELIABLE, "FAST": FAST, "BULK": BULK, "EVENT_BY_EVENT": EVENT_BY_EVENT}
)
