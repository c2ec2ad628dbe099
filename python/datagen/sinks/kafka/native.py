"""The engine that sends record batches encoded by the core, without an object for each event."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from ... import _core
from ..._client_settings import addresses
from ..._files import read_whole, reason
from ...errors import UnreachableError
from .cluster import TIMEOUT
from .delivery import PartitionDelivery
from .engine import UnsupportedError
from .librdkafka import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..._client_settings import ClientSettings
    from ..._core import Batch, KeySet, Plan, Sending
    from ...presets import ProducerConfig
    from ..base import Order
    from .cluster import Cluster
    from .delivery import Outcome

__all__ = ["LACKS", "NativeEngine", "client_arguments", "producer_arguments"]

_log = logging.getLogger(__name__)

#: Longer than any run; Rust's clock has an end.
_FOREVER_MS: Final = 10 * 365 * 86_400_000
_NO_LIMIT: Final = 2**31 - 1

#: Errors of this engine alone, once librdkafka has talked to the same brokers.
LACKS: Final = frozenset({"_SSL", "_UNSUPPORTED_FEATURE"})


class NativeEngine:
    """Sends by the core's own producer, on a thread of its own, and counts its acknowledgements.

    Raises ``UnsupportedError`` for options that it does not know.
    """

    name: Final = "native"

    def __init__(self, config: ProducerConfig, cluster: Cluster) -> None:
        self._config = config
        self._cluster = cluster
        self._arguments = producer_arguments(config)
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
        return (name_of(found[0]), self._config.hide(found[1])) if found else None

    @property
    def last_error(self) -> str:
        return self._config.hide((self._producer and self._producer.last_error()) or "")

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
            name, text = name_of(code), self._config.hide(text)
            if name in LACKS:
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
            if name_of(code) == "LEADER_NOT_AVAILABLE":
                raise UnreachableError(f"Kafka at {self._cluster.address}: {text}")
            raise UnreachableError(
                f"Kafka at {self._cluster.address} answers, but not at the address that it names for "
                f"a leader of {', '.join(unknown)}: {text} ({name_of(code)}). Check the broker's "
                "advertised.listeners."
            )
        self._partitions.update(zip(unknown, found, strict=True))
        for topic in unknown:
            if topic in self._limits:
                producer.limit(topic, self._limits[topic])

    def send(
        self,
        batch: Batch,
        topic: str,
        schema_id: int | None,
        wait: Callable[[], None],
        *,
        timestamp: int | None = None,
    ) -> None:
        """Encodes every event and queues the batches that are full; waits before it does."""
        producer = self._connect()
        if not producer.wait_for_capacity(0):
            wait()
        producer.send(batch, topic, schema_id=schema_id, timestamp=timestamp)

    def send_plan(
        self,
        plan: Plan,
        topics: Mapping[str, tuple[str, int | None]],
        parents: Callable[[str], list[KeySet]],
        workers: int,
        start: int = 0,
        stop: int | None = None,
        *,
        order: Order = "time",
        there: KeySet | None = None,
    ) -> Sending:
        """Begins to make the events of customers ``start`` to ``stop``; none is sent before ``open``.

        ``topics`` has the topic and the schema id of each stream, ``parents`` the keys that its
        events are checked against; those whose ids are ``there`` are not sent.
        """
        producer = self._connect()
        producer.hold()
        streams = [(name, topic, ident, parents(name)) for name, (topic, ident) in topics.items()]
        return producer.send_plan(plan, streams, workers, start, stop, order=order, there=there)

    def open(self) -> None:
        """Sends the events that ``send_plan`` has made so far, and goes on."""
        self._connect().open()

    def discard(self) -> None:
        """Drops the events that ``send_plan`` has made and ``open`` has not sent."""
        producer = self._connect()
        producer.give_up(also_sent=True)
        producer.flush(TIMEOUT)

    def wait_for_capacity(self, seconds: float) -> bool:
        return self._connect().wait_for_capacity(seconds)

    def flush(self, seconds: float) -> bool:
        return self._producer is None or self._producer.flush(seconds)

    def purge(self, *, in_flight: bool) -> None:
        if self._producer is not None:
            self._producer.give_up(also_sent=in_flight)

    def outcomes(self) -> Iterator[Outcome]:
        """In the order in which topics were found, and by partition."""
        for topic, number, attempted, sure, twice, failed, there in self._rows():
            by_name = {name_of(code): count for code, count in failed.items()}
            yield topic, number, attempted, PartitionDelivery(sure, by_name, twice, there)

    def close(self) -> None:
        if self._producer is not None:
            self._final = self._rows()
            self._forget()

    def _forget(self) -> None:
        # A signal may come as close() returns: what is asked afterwards must not meet a closed producer.
        producer, self._producer = self._producer, None
        self._partitions = {}
        if producer is not None:
            producer.close()

    def _connect(self) -> _core.Producer:
        if self._producer is None:
            try:
                self._producer = _core.Producer(**self._arguments)
            except _core.ProducerError as error:
                raise UnsupportedError(self._config.hide(str(error.args[1]))) from None
        return self._producer

    def _rows(self) -> list[Any]:
        if self._producer is None:
            return self._final
        order = {topic: position for position, topic in enumerate(self._partitions)}
        return sorted(self._producer.report(), key=lambda row: (order[row[0]], row[1]))


def client_arguments(config: ProducerConfig) -> dict[str, Any]:
    """The arguments that every client of the core has; raises ``UnsupportedError`` for what none can do."""
    client = config.client
    for name, value in client.others.items():
        lacking = f"{name}={config.hide(value)}" if client.has_field(name) else name
        raise UnsupportedError(f"it does not know {lacking}")
    protocol = client.security_protocol or "plaintext"
    return {
        "bootstrap": addresses(client.bootstrap_servers),
        "client_id": client.client_id,
        "retry_backoff_ms": (client.retry_backoff_ms or 100, client.retry_backoff_max_ms or 1_000),
        "request_timeout_ms": client.request_timeout_ms or 30_000,
        "tls": _tls(client) if protocol.endswith("ssl") else None,
        "sasl": _sasl(client) if protocol.startswith("sasl") else None,
    }


def producer_arguments(config: ProducerConfig) -> dict[str, Any]:
    """The arguments of ``_core.Producer``; raises ``UnsupportedError`` for what it cannot do."""
    client = config.client
    shared = client_arguments(config)
    single = client.batch_num_messages == 1
    if not single and client.batch_num_messages is not None:
        raise UnsupportedError("it does not know batch.num.messages")
    timeout = 300_000 if client.message_timeout_ms is None else client.message_timeout_ms
    return {
        **shared,
        "acks": client.acks,
        "idempotent": client.enable_idempotence,
        "retries": client.retries,
        "delivery_timeout_ms": min(timeout or _FOREVER_MS, _FOREVER_MS),
        "linger_ms": math.ceil(client.linger_ms),
        # A partition has one request in flight, which keeps the order, whatever others have.
        "max_in_flight": 1 if single else client.max_in_flight_requests_per_connection or 5,
        "batch_size": 1 if single else client.batch_size,
        "compression": client.compression_type,
        "queue_records": client.queue_buffering_max_messages or _NO_LIMIT,
        "queue_bytes": client.queue_buffering_max_kbytes * 1_024,
        "cloudevents": config.cloudevents,
        "avro_strings": config.avro_enums == "string",
        "content_type": config.content_type,
        "event_time": config.record_timestamp == "event",
    }


def _tls(client: ClientSettings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "verify_certificate": client.enable_ssl_certificate_verification is not False,
        "verify_name": client.ssl_endpoint_identification_algorithm != "none",
    }
    for name, pem, location in (
        ("ca", client.ssl_ca_pem, client.ssl_ca_location),
        ("certificate", client.ssl_certificate_pem, client.ssl_certificate_location),
        ("key", client.ssl_key_pem, client.ssl_key_location),
    ):
        if pem:
            found[name] = pem.encode()
        elif location:
            try:
                found[name] = read_whole(location)
            except OSError as error:
                raise UnsupportedError(
                    f"ssl.{name}.location={location} is no file that can be read ({reason(error)})"
                ) from None
    return found


def _sasl(client: ClientSettings) -> tuple[str, str, str]:
    if client.sasl_mechanisms is None:
        raise UnsupportedError("it does not know Kerberos, librdkafka's default of sasl.mechanisms")
    return client.sasl_mechanisms, client.sasl_username or "", client.sasl_password or ""
