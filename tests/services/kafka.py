"""Apache Kafka: one KRaft node, broker and controller in one process."""

import base64
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ._errors import ServiceError
from ._java import java, kafka_jars
from ._net import LOOPBACK, accepts, free_port
from ._process import Process
from ._service import Service


class Kafka(Protocol):
    """A cluster to connect to."""

    @property
    def bootstrap(self) -> str: ...


@dataclass(frozen=True)
class ExistingKafka:
    """A cluster that somebody else runs."""

    bootstrap: str


@dataclass(frozen=True)
class Listener:
    """One more listener of a broker, for instance for SASL or for clients that come by a proxy.

    `advertised_port` is the one that clients are told to use, the listener's own when None.
    """

    name: str
    protocol: str = "PLAINTEXT"
    advertised_port: int | None = None


class KafkaBroker(Service):
    """A broker without topics; `properties` overrides and extends its server.properties.

    Clients come in at `bootstrap`, or at `address(name)` for each further listener.
    """

    name = "kafka"

    def __init__(
        self,
        *,
        auto_create_topics: bool = False,
        listeners: Sequence[Listener] = (),
        properties: Mapping[str, str] | None = None,
        heap: str = "768m",
    ) -> None:
        super().__init__(*(free_port() for _ in range(2 + len(listeners))))
        self._listeners = (Listener("PLAINTEXT"), *listeners)
        self._controller, *brokers = self.ports
        self._port_of = dict(zip((one.name for one in self._listeners), brokers, strict=True))
        self._auto_create_topics = auto_create_topics
        self._properties = properties or {}
        self._heap = heap
        self._admin: AdminClient | None = None
        # A Kafka Uuid: 16 bytes in URL-safe Base64 without padding.
        self.cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    @property
    def bootstrap(self) -> str:
        """The address of the plain listener, HOST:PORT."""
        return self.address("PLAINTEXT")

    def address(self, listener: str) -> str:
        """Where the named listener is bound, HOST:PORT."""
        return f"{LOOPBACK}:{self._port_of[listener]}"

    def tool(self, main: str, *args: str, timeout: float = 60.0) -> str:
        """Run a Kafka command line tool against this broker and return what it prints.

        `main` is a class, such as org.apache.kafka.tools.GetOffsetShell, .TopicCommand or
        .consumer.ConsoleConsumer. A tool that fails raises ServiceError with its output.
        """
        return self._java(main, "--bootstrap-server", self.bootstrap, *args, timeout=timeout)

    def _prepare(self) -> None:
        file = self.directory / "server.properties"
        file.write_text("".join(f"{k}={v}\n" for k, v in self._server_properties().items()))
        self._java(
            "kafka.tools.StorageTool", "format", f"--cluster-id={self.cluster_id}", "-c", str(file)
        )

    def _launch(self) -> Process:
        args = [f"-Xmx{self._heap}", *self._classpath(), "kafka.Kafka", "server.properties"]
        return Process([java(), *args], cwd=self.directory, log=self.log)

    def _is_ready(self) -> bool:
        if not accepts(self._port_of["PLAINTEXT"]):
            return False  # asking now would only make the client complain
        self._admin = self._admin or AdminClient({"bootstrap.servers": self.bootstrap})
        try:
            cluster = self._admin.list_topics(timeout=2)
        except KafkaException:
            return False
        if cluster.cluster_id != self.cluster_id:
            raise ServiceError(
                f"{self.bootstrap} is cluster {cluster.cluster_id}, not {self.cluster_id}"
            )
        if not cluster.brokers:
            return False
        self._admin = None
        return True

    def _server_properties(self) -> dict[str, str]:
        bound = {name: f"{name}://{LOOPBACK}:{port}" for name, port in self._port_of.items()}
        controller = f"{LOOPBACK}:{self._controller}"
        advertised = [
            f"{one.name}://{LOOPBACK}:{one.advertised_port or self._port_of[one.name]}"
            for one in self._listeners
        ]
        protocols = [f"{one.name}:{one.protocol}" for one in self._listeners]
        return {
            "node.id": "1",
            "process.roles": "broker,controller",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join([*bound.values(), f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": str(self._auto_create_topics).lower(),
            # A broker that comes back after a crash waits until its former session has expired.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "1000",
            # The internal topics, made for one node, and consumer groups without a first wait.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **self._properties,
        }

    def _classpath(self) -> list[str]:
        return [
            "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            str(kafka_jars() / "*"),
        ]

    def _java(self, main: str, *args: str, timeout: float = 60.0) -> str:
        result = subprocess.run(
            [java(), "-Xmx256m", *self._classpath(), main, *args],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout,
        )
        if result.returncode != 0:
            raise ServiceError(f"{main} failed:\n{result.stdout}{result.stderr}")
        return result.stdout


def delete_topics(bootstrap: str, topics: Iterable[str], timeout: float = 30.0) -> None:
    """Delete those of `topics` that exist, and wait until they are gone."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = set(topics)
    for future in admin.delete_topics(list(wanted), operation_timeout=timeout).values():
        try:
            future.result(timeout)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    deadline = time.monotonic() + timeout
    while wanted & set(admin.list_topics(timeout=timeout).topics):
        if time.monotonic() > deadline:
            raise ServiceError(f"topics of {bootstrap} still there after {timeout:.0f} s")
        time.sleep(0.02)
