"""The settings of Kafka clients: librdkafka's properties, read once into values of their types."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from .errors import ConfigurationError, OptionError

__all__ = [
    "RANGES",
    "Acks",
    "ClientSettings",
    "Compression",
    "Value",
    "addresses",
    "check_login",
    "check_ranges",
    "number",
]

Value = str | int | float | bool

Acks = Literal["0", "1", "all"]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
HostCheck = Literal["https", "none"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Partitioner = Literal["murmur2", "murmur2_random"]
SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]

_INT32_MAX: Final = 2**31 - 1
_FLAGS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_SCHEME: Final = re.compile(rf"({'|'.join(get_args(SecurityProtocol))})://", re.IGNORECASE)


def number(value: Value) -> float | None:
    """A value as a number, as librdkafka reads it; None if it is none."""
    if isinstance(value, int | float):
        return None if isinstance(value, bool) else value
    text = value.strip()
    if len(text) > 400 and re.fullmatch(r"[+-]?\d+", text):  # more digits than Python reads
        return math.inf
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def addresses(servers: str) -> list[tuple[str, int]] | None:
    """Host and port of each broker in a list, as librdkafka reads it; None if one is no address.

    A protocol may come first, the port may be left out, and empty items are skipped.
    """
    found = []
    for server in filter(None, (one.strip() for one in servers.split(","))):
        address = _SCHEME.sub("", server, count=1)
        host, colon, port = address.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = address, "9092"
        good = re.fullmatch(r"[^\s:@/\[\]]+|\[[0-9a-fA-F:.]+(%\w+)?\]", host)
        if not good or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
            return None
        found.append((host.strip("[]"), int(port)))
    return found


def tidied(servers: str) -> str:
    """A list of brokers without what clients skip: blanks, ends of lines and empty items."""
    return ",".join(filter(None, (one.strip() for one in servers.split(","))))


@dataclass(frozen=True, kw_only=True, repr=False)  # with passwords
class ClientSettings:
    """The properties of a producer whose values have a meaning here; times are milliseconds.

    A field is the property of its name, with dots for underscores; None is not given. ``others`` are
    properties, and values of those that have a field, which only librdkafka knows.
    """

    bootstrap_servers: str
    client_id: str
    acks: Acks
    batch_size: Annotated[int, 1, _INT32_MAX]
    linger_ms: Annotated[float, 0, 900_000]
    compression_type: Compression
    retries: Annotated[int, 0, _INT32_MAX]
    enable_idempotence: bool
    queue_buffering_max_messages: Annotated[int, 0, _INT32_MAX]
    queue_buffering_max_kbytes: Annotated[int, 1, _INT32_MAX]
    partitioner: Partitioner
    batch_num_messages: Annotated[int, 1, 1_000_000] | None = None
    max_in_flight_requests_per_connection: Annotated[int, 1, 1_000_000] | None = None
    message_timeout_ms: Annotated[int, 0, _INT32_MAX] | None = None
    request_timeout_ms: Annotated[int, 1, 900_000] | None = None
    retry_backoff_ms: Annotated[int, 1, 300_000] | None = None
    retry_backoff_max_ms: Annotated[int, 1, 300_000] | None = None
    security_protocol: SecurityProtocol | None = None
    sasl_mechanisms: Mechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    enable_ssl_certificate_verification: bool | None = None
    ssl_endpoint_identification_algorithm: HostCheck | None = None
    ssl_ca_location: str | None = None
    ssl_ca_pem: str | None = None
    ssl_certificate_location: str | None = None
    ssl_certificate_pem: str | None = None
    ssl_key_location: str | None = None
    ssl_key_pem: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    def with_options(self, options: Mapping[str, Value]) -> ClientSettings:
        """The same settings with ``options``, by librdkafka's names, in their stead."""
        values, others = dict[str, Any](), dict(self.others)
        for name, value in options.items():
            known = _PROPERTIES.get(name)
            found = known.read(value) if known else None
            if known is None or found is None:
                others[name] = _text_of(value)
            else:
                values[known.field] = found
        return replace(self, **values, others=others)

    def has_field(self, name: str) -> bool:
        """Whether some values of a property have a meaning here."""
        return name in _PROPERTIES

    def librdkafka(self) -> dict[str, str]:
        """The properties by librdkafka's names.

        Without idempotence there is one request in flight to a broker at a time: with more, a
        repeated one would arrive behind all its successors. It can still arrive behind one, which
        librdkafka makes while it waits for the answer.
        """
        in_flight = "5" if self.enable_idempotence else "1"
        values = ((name, getattr(self, one.field)) for name, one in _PROPERTIES.items())
        return {
            "max.in.flight.requests.per.connection": in_flight,
            **{name: _text_of(value) for name, value in values if value is not None},
            **self.others,
        }


class _Property:
    """A property that has a field, by the type of the field."""

    def __init__(self, name: str, kind: Any) -> None:
        self.field = name
        if get_origin(kind) in {Union, UnionType}:
            kind = next(one for one in get_args(kind) if one is not NoneType)
        #: The least and the most of a number.
        self.range: tuple[int, int] | None = None
        if get_origin(kind) is Annotated:
            kind, *bounds = get_args(kind)
            self.range = bounds[0], bounds[1]
        self._kind = kind
        self._words = {word.lower(): word for word in get_args(kind)}  # of a Literal

    def read(self, value: Value) -> Any:
        """The value by its type, whatever its case; None if it is none of that type."""
        if self.range is not None:
            found = number(value)
            return math.ceil(found) if found is not None and self._kind is int else found
        text = _text_of(value)
        if self._kind is str:
            return text
        return (_FLAGS if self._kind is bool else self._words).get(text.lower())


_PROPERTIES: Final = {
    name.replace("_", "."): _Property(name, kind)
    for name, kind in get_type_hints(ClientSettings, include_extras=True).items()
    if name != "others"
}
#: The least and the most of properties that are numbers, from librdkafka's CONFIGURATION.md.
RANGES: Final = {
    "message.max.bytes": (1_000, 1_000_000_000),
    **{name: one.range for name, one in _PROPERTIES.items() if one.range is not None},
}


def _text_of(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_ranges(options: Mapping[str, Value]) -> None:
    """Raises ``OptionError`` for numbers beyond their range."""
    for name, value in options.items():
        size = number(value)
        if size is None:
            continue
        low, high = RANGES.get(name, (-(2**63), 2**63 - 1))
        # Text may be a password of digits only.
        if (name in RANGES or not isinstance(value, str)) and not low <= size <= high:
            shown = value if abs(size) < 2**128 else "a number that long"
            raise OptionError(f"client_options {name}", shown, f"{low} to {high}")


def check_login(settings: ClientSettings) -> None:
    """Raises ``ConfigurationError`` for ways to log in that would wait for ever."""
    protocol, options = settings.security_protocol, settings.others
    if protocol is None or not protocol.startswith("sasl"):
        return
    mechanism = settings.sasl_mechanisms or options.get("sasl.mechanisms", "").upper()
    if not mechanism:
        raise ConfigurationError(
            f"Kafka option security.protocol={protocol} needs sasl.mechanism: PLAIN, "
            "SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
        )
    # How librdkafka would come by a token.
    by_itself = (
        options.get("sasl.oauthbearer.method", "").lower() == "oidc",
        _FLAGS.get(options.get("enable.sasl.oauthbearer.unsecure.jwt", "").lower()),
        options.get("sasl.oauthbearer.metadata.authentication.type", "none").lower() != "none",
    )
    if mechanism == "OAUTHBEARER" and not any(by_itself):
        raise ConfigurationError(
            "Kafka option sasl.mechanism=OAUTHBEARER needs a way to get tokens: "
            "sasl.oauthbearer.method=oidc with sasl.oauthbearer.token.endpoint.url, "
            "sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret."
        )
    own = "sasl.kerberos.keytab", "sasl.kerberos.kinit.cmd"
    if mechanism == "GSSAPI" and not any(options.get(name) for name in own):
        raise ConfigurationError(
            "Kafka option sasl.mechanism=GSSAPI (Kerberos) needs sasl.kerberos.keytab and "
            "sasl.kerberos.principal."
        )
