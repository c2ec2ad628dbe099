"""One Kafka cluster: the clients that talk to it, and what can be asked of it besides events."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError, DatagenError, OptionError, UnreachableError
from ._interrupt import HeldInterrupt
from ._librdkafka import ClientEvents, failure, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka import KafkaException, Producer
    from confluent_kafka.admin import AdminClient

    from ..presets import ProducerConfig

__all__ = ["TIMEOUT", "Cluster", "Topic"]

#: How long the cluster may take to answer, in seconds.
TIMEOUT: Final = 10.0
#: What a broker answers that has not heard of a partition, or has only just become its leader.
_NOT_YET: Final = frozenset(
    {"OFFSET_NOT_AVAILABLE", "UNKNOWN_LEADER_EPOCH", "UNKNOWN_TOPIC_OR_PART"}
)

_MAX_RETENTION_HOURS: Final = 2**63 // 3_600_000
#: What would take away something that the sink rests on: its counts, or the order of events.
_RESERVED: Final = frozenset({"delivery.report.only.error", "queuing.strategy", "transactional.id"})


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is in the cluster; ``created`` tells whether this run made it."""

    name: str
    partitions: int
    created: bool


class Cluster:
    """Checks the options when made; connects when first asked for something."""

    def __init__(self, config: ProducerConfig) -> None:
        self._config = config
        self.events = ClientEvents(config)
        self._options: dict[str, Any] = {
            **config.librdkafka(),
            "logger": self.events,
            "error_cb": self.events.on_error,
        }
        self._producer: Producer | None = None
        self._admin_client: AdminClient | None = None
        self._check_options()

    @property
    def address(self) -> str:
        return self._config.bootstrap

    @property
    def producer(self) -> Producer | None:
        """None as long as there is no connection."""
        return self._producer

    def connect(self, timeout: float = TIMEOUT) -> Producer:
        """Waits until the cluster has answered once, unless it has before."""
        if self._producer is None:
            self._metadata(timeout)
        assert self._producer is not None  # noqa: S101  # for the type checker
        return self._producer

    def disconnect(self) -> None:
        """Drops the clients, which ends their threads, and whatever is still queued."""
        if self._producer is not None:
            self._producer.purge(blocking=False)
        self._producer = self._admin_client = None

    def failure(self, what: str, error: KafkaException) -> DatagenError:
        """The exception to raise for a client's, saying first what failed."""
        return failure(what, error.args[0], self._config)

    def failed(self, name: str, text: str) -> DatagenError:
        """The exception for an error of the native engine, by librdkafka's name for it."""
        hint = " Check security.protocol, sasl.* and ssl.* (--kafka-option)."
        kind = kind_of(name)
        return kind(f"Kafka: {text}.{hint if kind is ConfigurationError else ''}")

    def create_topics(
        self,
        partitions: Mapping[str, int],
        retention_hours: int | None,
        *,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> tuple[Topic, ...]:
        """Makes the topics that are missing; others stay as they are."""
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        if retention_hours not in (None, -1) and not 1 <= retention_hours <= _MAX_RETENTION_HOURS:
            raise OptionError("retention_hours", retention_hours, f"1 to {_MAX_RETENTION_HOURS}")
        existing = self._metadata().topics
        settings = dict(config or {})
        if retention_hours is not None:
            span = str(-1 if retention_hours == -1 else retention_hours * 3_600_000)
            settings.setdefault("retention.ms", span)
        missing = [
            NewTopic(name, count, replication_factor=replication_factor or -1, config=settings)
            for name, count in partitions.items()
            if name not in existing
        ]
        created = set()
        futures = self._admin().create_topics(missing, request_timeout=TIMEOUT) if missing else {}
        for name, future in futures.items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":  # another run was faster
                    raise self.failure(f"Cannot create topic {name}", error) from None
            else:
                created.add(name)
        found = self._leaders(partitions)
        # A leader is known before it takes events; librdkafka, refused, would send the next request
        # before it repeats the first. Whoever made a topic, the leader lists its ends once it does.
        new = [(one.topic, each) for one in missing for each in range(found[one.topic])]
        if new:
            self._listed_ends(new)
        return tuple(Topic(name, found[name], name in created) for name in partitions)

    def require_topics(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic; raises ``ConfigurationError`` if one is missing.

        Nothing is created, not even where the broker makes topics as they are asked for.
        """
        existing = self._metadata().topics
        wanted = list(topics)
        missing = [name for name in wanted if name not in existing]
        if missing:
            raise self.missing(missing)
        return {name: len(existing[name].partitions) for name in wanted}

    def delete_topics(self, topics: Iterable[str]) -> None:
        """Deletes topics, and waits until no broker lists them; those that are missing are gone."""
        from confluent_kafka import KafkaException

        wanted = list(topics)
        futures = self._admin().delete_topics(
            wanted, operation_timeout=TIMEOUT, request_timeout=TIMEOUT
        )
        for name, future in futures.items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
                    raise self.failure(f"Cannot delete topic {name}", error) from None
        end = time.monotonic() + TIMEOUT
        while left := self._metadata().topics.keys() & wanted:
            if time.monotonic() >= end:
                raise UnreachableError(
                    f"Kafka at {self.address} still has {', '.join(sorted(left))} after {TIMEOUT:g} s"
                )
            time.sleep(0.05)

    def missing(self, topics: Iterable[str]) -> ConfigurationError:
        """The exception for topics that do not exist."""
        names = list(topics)
        several = "topics {} do not exist" if len(names) > 1 else "topic {} does not exist"
        said = several.format(", ".join(names))
        return ConfigurationError(f"Kafka at {self.address}: {said}; add --create-topics")

    def absent(self, topics: Iterable[str]) -> list[str]:
        """Those topics that do not exist, if the cluster still tells; asked after a failure."""
        try:
            existing = self._metadata(timeout=1.0).topics
        except DatagenError:
            return []
        return [name for name in topics if name not in existing]

    def end_offsets(self, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        """The next offset of each partition of the topics that exist.

        The difference of two snapshots is a hint, not a count: other producers and transaction
        markers take offsets too. The end is where a reader meets it, since not every broker that
        speaks Kafka's protocol lists it right; where we may not read, it is asked for.
        """
        existing = self._metadata().topics
        wanted = [
            (name, partition)
            for name in topics
            if name in existing
            for partition in existing[name].partitions
        ]
        listed = self._listed_ends(wanted) if wanted else {}
        met = self._met_ends(listed) if wanted else {}
        found: dict[str, dict[int, int]] = {}
        for (name, partition), offset in sorted((listed | met).items()):
            found.setdefault(name, {})[partition] = offset
        return found

    def _met_ends(self, listed: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """The ends that a fetch from there on tells; nothing if the broker lets us not read.

        Tansu lists the first offset of the last batch plus one, however many records that has.
        """
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        options = {
            **{name: str(value) for name, value in self._config.client_options.items()},
            "bootstrap.servers": self._config.bootstrap,
            "client.id": "datagen",
            "group.id": "datagen",  # the client wants a name; nothing is committed
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",  # so that poll returns when there is nothing to read
            "fetch.wait.max.ms": "10",
            "logger": self.events,
            "error_cb": self.events.on_error,
        }
        met: dict[tuple[str, int], int] = {}
        end = time.monotonic() + TIMEOUT
        try:
            with closing(Consumer(options)) as consumer:
                consumer.assign(
                    [TopicPartition(*where, offset) for where, offset in listed.items()]
                )
                while len(met) < len(listed):
                    with HeldInterrupt():
                        message: Any = consumer.poll(0.05)
                    error = message.error() if message is not None else None
                    if error and kind_of(error.name()) is ConfigurationError:
                        return {}
                    for where in listed.keys() - met.keys():
                        # What a fetch said last; negative before the first one.
                        _, high = consumer.get_watermark_offsets(
                            TopicPartition(*where), cached=True
                        )
                        if high >= 0:
                            met[where] = high
                    if time.monotonic() >= end and len(met) < len(listed):
                        name, partition = min(listed.keys() - met.keys())
                        raise UnreachableError(
                            f"Kafka at {self.address} did not tell the end of {name} partition "
                            f"{partition} within {TIMEOUT:g} s"
                        )
        except KafkaException as error:
            raise self.failure("Cannot read the offsets of the topics", error) from None
        return met

    def _listed_ends(self, wanted: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The ends as the brokers list them."""
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*where): latest for where in wanted}
        found: dict[tuple[str, int], int] = {}
        end = time.monotonic() + TIMEOUT
        while asked:
            answers = self._admin().list_offsets(asked, request_timeout=TIMEOUT)
            fenced = False
            for where, future in answers.items():
                try:
                    offset = future.result().offset
                except KafkaException as error:
                    # The leader of a partition that was just made may not know about it yet.
                    late = time.monotonic() >= end
                    code = error.args[0].name()
                    if late or (code not in _NOT_YET and kind_of(code) is not UnreachableError):
                        what = f"Cannot read the offsets of {where.topic}"
                        raise self.failure(what, error) from None
                    fenced = fenced or code == "FENCED_LEADER_EPOCH"
                else:
                    found[where.topic, where.partition] = offset
                    del asked[where]
            if fenced:
                # This client would go on asking with the epoch that it remembers.
                self._admin_client = None
            if asked:
                time.sleep(0.1 if fenced else 0.01)
        return found

    def _check_options(self) -> None:
        from confluent_kafka import KafkaException, Producer

        for name in sorted(_RESERVED & self._config.client_options.keys()):
            raise ConfigurationError(f"Kafka option {name} is reserved for datagen; remove it.")
        nowhere = {"bootstrap.servers": "", "metadata.broker.list": ""}
        try:
            # Without brokers the client checks everything and opens no connection.
            Producer({**self._options, **nowhere})
        except (KafkaException, TypeError, ValueError) as error:
            said = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            said = said.removeprefix("Failed to create producer: ")
            raise ConfigurationError(self._config.hide(f"Kafka option: {said}.")) from None

    def _admin(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        if self._admin_client is None:
            options = {**self._options, "enable.idempotence": "false"}
            self._admin_client = AdminClient(options)
        return self._admin_client

    def _metadata(self, timeout: float = TIMEOUT) -> Any:
        """The whole cluster's: asking for a topic by name could create it."""
        from confluent_kafka import KafkaException, Producer

        self.events.forget()
        if self._producer is None:
            self._producer = Producer(self._options)
        end = time.monotonic() + timeout
        wait = 0.5
        while True:
            # In turns with poll, which is when the client tells why there is no connection; longer
            # each time, for a cluster that is far away.
            wait = min(wait * 1.6, max(end - time.monotonic(), 0.1))
            try:
                with HeldInterrupt():
                    metadata = self._producer.list_topics(timeout=wait)
            except KafkaException as error:
                self._serve(self._producer)
                if self.events.problem:
                    raise ConfigurationError(
                        f"Kafka at {self.address} refused the connection: "
                        f"{self.events.problem}. Check security.protocol, sasl.* and ssl.* "
                        "(--kafka-option)."
                    ) from None
                if kind_of(error.args[0].name()) is not UnreachableError:
                    raise self.failure("Kafka's metadata", error) from None
            else:
                self._serve(self._producer)
                return metadata
            if time.monotonic() >= end:
                cause = f" ({self.events.cause})" if self.events.cause else ""
                raise UnreachableError(
                    f"Kafka at {self.address} did not answer within {timeout:g} s{cause}. "
                    "Is the broker running? `datagen local up` starts one; --kafka-bootstrap names "
                    "another."
                )
            time.sleep(0.05)

    def _serve(self, producer: Producer) -> None:
        """Serves the client's callbacks, by way of which it tells that it can never go on."""
        from confluent_kafka import KafkaException

        try:
            with HeldInterrupt():
                producer.poll(0)
        except KafkaException as error:
            raise self.failure(f"Kafka at {self.address} refused the producer", error) from None

    def _leaders(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of topics that were just made, once all can be sent to."""
        wanted = set(topics)
        end = time.monotonic() + TIMEOUT
        while True:
            found = {
                name: topic.partitions
                for name, topic in self._metadata().topics.items()
                if name in wanted
            }
            leaders = [one.leader for each in found.values() for one in each.values()]
            if found.keys() == wanted and min(leaders, default=0) >= 0:
                return {name: len(partitions) for name, partitions in found.items()}
            if time.monotonic() >= end:
                names = ", ".join(sorted(wanted - found.keys())) or ", ".join(sorted(wanted))
                raise UnreachableError(
                    f"Kafka at {self.address}: no leader for {names} after {TIMEOUT:g} s"
                )
            time.sleep(0.05)
