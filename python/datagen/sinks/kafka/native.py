"""The engine that sends record batches encoded by the core, without an object for each event."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ... import _core
from ...errors import UnreachableError
from .cluster import TIMEOUT
from .delivery import PartitionDelivery
from .engine import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..._core import Batch, KeySet, Plan, Sending
    from ...presets import ProducerConfig
    from .cluster import Cluster
    from .engine import Outcome

__all__ = ["NativeEngine"]

_log = logging.getLogger(__name__)

#: Longer than any run; Rust's clock has an end.
_FOREVER_MS: Final = 10 * 365 * 86_400_000
_NO_LIMIT: Final = 2**31 - 1

#: Errors of this engine alone, once librdkafka has talked to the same brokers.
_LACKS: Final = frozenset({"_SSL", "_UNSUPPORTED_FEATURE"})

#: The names of librdkafka that mean the same.
_ALIASES: Final = {
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
    "queue.buffering.max.ms": "linger.ms",
    "compression.codec": "compression.type",
    "message.send.max.retries": "retries",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "delivery.timeout.ms": "message.timeout.ms",
    "sasl.mechanism": "sasl.mechanisms",
}
#: Options that are read, and the values that can be met; None: any.
_KNOWN: Final[Mapping[str, tuple[str, ...] | None]] = {
    "acks": ("0", "1", "all", "-1"),
    "batch.num.messages": None,
    "batch.size": None,
    "bootstrap.servers": None,
    "client.id": None,
    "compression.type": ("none", "gzip", "snappy", "lz4", "zstd"),
    "enable.idempotence": None,
    "enable.ssl.certificate.verification": None,
    "linger.ms": None,
    "max.in.flight.requests.per.connection": None,
    "message.timeout.ms": None,
    "partitioner": ("murmur2", "murmur2_random"),
    "queue.buffering.max.kbytes": None,
    "queue.buffering.max.messages": None,
    "request.timeout.ms": None,
    "retries": None,
    "retry.backoff.max.ms": None,
    "retry.backoff.ms": None,
    "sasl.mechanisms": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "sasl.password": None,
    "sasl.username": None,
    "security.protocol": ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
    "ssl.ca.location": None,
    "ssl.ca.pem": None,
    "ssl.certificate.location": None,
    "ssl.certificate.pem": None,
    "ssl.endpoint.identification.algorithm": ("https", "none"),
    "ssl.key.location": None,
    "ssl.key.pem": None,
}


class NativeEngine:
    """Sends by the core's own producer, on a thread of its own, and counts its acknowledgements.

    Raises ``UnsupportedError`` for options that it does not know.
    """

    name: Final = "native"

    def __init__(self, config: ProducerConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._options = _options(config)
        self._producer: _core.Producer | None = None
        self._partitions: dict[str, int] = {}
        #: Bytes of a batch that topics take.
        self._limits: dict[str, int] = {}
        self._final: list[Any] = []
        # Now, since it reads certificates and keys.
        self._connect()

    @property
    def has_failures(self) -> bool:
        return self._producer is not None and self._producer.has_failures()

    @property
    def failure(self) -> tuple[str, str] | None:
        found = self._producer and self._producer.failure()
        return (_name(found[0]), self._config.hide(found[1])) if found else None

    @property
    def last_error(self) -> str:
        return self._config.hide((self._producer and self._producer.trouble()) or "")

    @property
    def last_progress(self) -> float:
        idle = self._producer and self._producer.idle()
        return 0.0 if idle is None else time.monotonic() - idle

    def limit(self, topic: str, max_message_bytes: int) -> None:
        """Without it the limit is learned from refusals."""
        self._limits[topic] = max_message_bytes
        if self._producer is not None and topic in self._partitions:
            self._producer.limit(topic, max_message_bytes)

    def find(self, topics: Iterable[str]) -> None:
        """Learns the partitions of topics, and connects to the brokers that lead them.

        Raises ``UnsupportedError`` where the brokers, as far as librdkafka could talk to them, have
        something that this engine does not know, and ``UnreachableError`` for a leader that cannot be
        reached within ``TIMEOUT`` seconds.
        """
        unknown = [topic for topic in topics if topic not in self._partitions]
        if not unknown:
            return
        producer, end = self._connect(), time.monotonic() + TIMEOUT
        _log.debug("Kafka: looking for the leaders of %s, %g s at most", unknown, TIMEOUT)
        try:
            found = producer.partitions(unknown, TIMEOUT)
            unreached = producer.reach(unknown, max(end - time.monotonic(), 1.0)) if found else []
        except _core.ProducerError as error:
            code, text = error.args
            name, text = _name(code), self._config.hide(text)
            if name in _LACKS:
                self._forget()
                raise UnsupportedError(text) from None
            raise self._cluster.failed(name, text) from None
        if found is None:
            if absent := self._cluster.absent(unknown):
                raise self._cluster.missing(absent)
            cause = f" ({self.last_error})" if self.last_error else ""
            raise UnreachableError(
                f"Kafka at {self._cluster.address} did not tell the partitions of "
                f"{', '.join(unknown)} within {TIMEOUT:g} s{cause}"
            )
        if unreached:
            code, text = unreached[0]
            text = self._config.hide(text)
            if _name(code) == "LEADER_NOT_AVAILABLE":
                raise UnreachableError(f"Kafka at {self._cluster.address}: {text}")
            raise UnreachableError(
                f"Kafka at {self._cluster.address} answers, but not at the address that it names for "
                f"a leader of {', '.join(unknown)}: {text} ({_name(code)}). Check the broker's "
                "advertised.listeners."
            )
        self._partitions.update(zip(unknown, found, strict=True))
        for topic in unknown:
            if topic in self._limits:
                producer.limit(topic, self._limits[topic])

    def send(
        self, batch: Batch, topic: str, schema_id: int | None, wait: Callable[[], None]
    ) -> None:
        """Encodes every event and queues the batches that are full; waits before it does."""
        producer = self._connect()
        if not producer.wait_for_room(0):
            wait()
        producer.send(batch, topic, schema_id=schema_id)

    def send_plan(
        self,
        plan: Plan,
        topics: Mapping[str, tuple[str, int | None]],
        parents: Callable[[str], list[KeySet]],
        workers: int,
        start: int = 0,
        stop: int | None = None,
    ) -> Sending:
        """Begins to make the events of customers ``start`` to ``stop``; none is sent before ``open``.

        ``topics`` has the topic and the schema id of each stream, ``parents`` the keys that its
        events are checked against.
        """
        producer = self._connect()
        producer.hold()
        streams = [(name, topic, ident, parents(name)) for name, (topic, ident) in topics.items()]
        return producer.send_plan(plan, streams, workers, start, stop)

    def open(self) -> None:
        """Sends what ``send_plan`` has made so far, and goes on."""
        self._connect().open()

    def discard(self) -> None:
        """Forgets what ``send_plan`` has made and ``open`` has not sent."""
        producer = self._connect()
        producer.give_up(also_sent=True)
        producer.flush(TIMEOUT)

    def wait_for_capacity(self, seconds: float) -> bool:
        return self._connect().wait_for_room(seconds)

    def flush(self, seconds: float) -> bool:
        return self._producer is None or self._producer.flush(seconds)

    def purge(self, *, in_flight: bool) -> None:
        if self._producer is not None:
            self._producer.give_up(also_sent=in_flight)

    def outcomes(self) -> Iterator[Outcome]:
        """In the order in which topics were found, and by partition."""
        for topic, number, attempted, sure, twice, failed, there in self._rows():
            by_name = {_name(code): count for code, count in failed.items()}
            yield topic, number, attempted, PartitionDelivery(sure, by_name, twice, there)

    def close(self) -> None:
        if self._producer is not None:
            self._final = self._rows()
            self._forget()

    def _forget(self) -> None:
        if self._producer is not None:
            self._producer.close()
        self._producer = None
        self._partitions = {}

    def _connect(self) -> _core.Producer:
        if self._producer is None:
            try:
                self._producer = _core.Producer(**self._options)
            except _core.ProducerError as error:
                raise UnsupportedError(self._config.hide(str(error.args[1]))) from None
        return self._producer

    def _rows(self) -> list[Any]:
        if self._producer is None:
            return self._final
        order = {topic: position for position, topic in enumerate(self._partitions)}
        return sorted(self._producer.report(), key=lambda row: (order[row[0]], row[1]))


def _name(code: int) -> str:
    """The name that librdkafka has for one of its numbers."""
    from confluent_kafka import KafkaError

    return str(KafkaError(code).name())


def _options(config: ProducerConfig) -> dict[str, Any]:
    """The arguments of ``_core.Producer``; raises for what it cannot do."""
    given = {
        _ALIASES.get(name, name): value
        for name, value in {**config.librdkafka(), **_no_limit(config)}.items()
    }
    for name, value in given.items():
        if name not in _KNOWN:
            raise UnsupportedError(f"it does not know {name}")
        known = _KNOWN[name]
        if known is not None:
            # As librdkafka does, whatever the case.
            same = [one for one in known if one.lower() == value.lower()]
            if not same:
                raise UnsupportedError(f"it does not know {name}={config.hide(value)}")
            given[name] = same[0]
    number = _numbers(given, config)
    protocol = given.get("security.protocol", "plaintext")
    single = number("batch.num.messages", 0) == 1
    if not single and "batch.num.messages" in given:
        raise UnsupportedError("it does not know batch.num.messages")
    acks = given["acks"].replace("-1", "all")
    timeout = number("message.timeout.ms", 300_000) or _FOREVER_MS
    return {
        "bootstrap": [
            _address(one) for one in given["bootstrap.servers"].split(",") if one.strip()
        ],
        "client_id": given["client.id"],
        "acks": acks,
        "idempotent": _flag(given["enable.idempotence"]),
        "retries": number("retries", 0),
        "retry_backoff_ms": (
            number("retry.backoff.ms", 100),
            number("retry.backoff.max.ms", 1_000),
        ),
        "request_timeout_ms": number("request.timeout.ms", 30_000),
        "delivery_timeout_ms": min(timeout, _FOREVER_MS),
        "linger_ms": number("linger.ms", 5),
        "max_in_flight": 1 if single else number("max.in.flight.requests.per.connection", 5),
        "batch_size": 1 if single else number("batch.size", 16_384),
        "compression": given["compression.type"],
        "queue_records": number("queue.buffering.max.messages", 100_000) or _NO_LIMIT,
        "queue_bytes": number("queue.buffering.max.kbytes", 1_048_576) * 1_024,
        "tls": _tls(given) if protocol.endswith("ssl") else None,
        "sasl": _sasl(given) if protocol.startswith("sasl") else None,
        "cloudevents": config.cloudevents,
        "content_type": config.content_type,
        "event_time": config.record_timestamp == "event",
    }


def _no_limit(config: ProducerConfig) -> dict[str, str]:
    """What the configuration limits for librdkafka's sake only.

    Without idempotence that client has to have one request in flight to keep the order; here a
    partition has one, whatever others have.
    """
    name = "max.in.flight.requests.per.connection"
    given = any(_ALIASES.get(one, one) == name for one in config.client_options)
    return {} if given else {name: "5"}


def _numbers(given: Mapping[str, str], config: ProducerConfig) -> Callable[[str, int], int]:
    def number(name: str, default: int) -> int:
        text = given.get(name, str(default))
        try:
            return int(text, 0)
        except ValueError:
            pass
        try:
            return math.ceil(float(text))  # linger.ms may have a fraction
        except ValueError:
            raise UnsupportedError(f"it does not know {name}={config.hide(text)}") from None

    return number


def _flag(text: str) -> bool:
    return text.lower() in {"true", "t", "1"}


def _address(text: str) -> tuple[str, int]:
    # As librdkafka reads it, PROTOCOL:// may come first and the port be left out.
    place = text.strip().rpartition("://")[2]
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = place, "9092"
    return host.strip("[]"), int(port)


def _tls(given: Mapping[str, str]) -> dict[str, Any]:
    verify = _flag(given.get("enable.ssl.certificate.verification", "true"))
    found: dict[str, Any] = {
        "verify_certificate": verify,
        "verify_name": given.get("ssl.endpoint.identification.algorithm", "https") == "https",
    }
    for ours, theirs in (("ca", "ssl.ca"), ("certificate", "ssl.certificate"), ("key", "ssl.key")):
        pem, place = given.get(f"{theirs}.pem"), given.get(f"{theirs}.location")
        if pem:
            found[ours] = pem.encode()
        elif place:
            try:
                found[ours] = Path(place).read_bytes()
            except OSError as error:
                raise UnsupportedError(
                    f"{theirs}.location={place} is no file that can be read ({error.strerror})"
                ) from None
    return found


def _sasl(given: Mapping[str, str]) -> tuple[str, str, str]:
    if "sasl.mechanisms" not in given:
        raise UnsupportedError("it does not know Kerberos, librdkafka's default of sasl.mechanisms")
    return given["sasl.mechanisms"], given.get("sasl.username", ""), given.get("sasl.password", "")
