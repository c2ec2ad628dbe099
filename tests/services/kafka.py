"""Apache Kafka: brokers, alone or as a cluster, each with its controller in one process."""

import base64
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from . import policy
from ._errors import ServiceError
from ._java import kafka_command
from ._net import LOOPBACK, accepts, free_port
from ._process import Process
from ._service import Service, Startable
from .zookeeper import ZooKeeper

_JAAS = "org.apache.kafka.common.security"
# The first version whose KRaft knows all requests, InitProducerId among them.
_KRAFT_SINCE = (3, 3)


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

    `advertised_port` is the one that clients are told to use, the listener's own when None, and
    `advertised_host` the host.
    `mechanisms` are for SASL_PLAINTEXT and SASL_SSL. For SSL and SASL_SSL, `certificate` is a PEM
    file with a key and its certificate, and `client_authority` one with the certificate of whoever
    vouches for the clients, who then need one of their own.
    """

    name: str
    protocol: str = "PLAINTEXT"
    advertised_port: int | None = None
    advertised_host: str = LOOPBACK
    mechanisms: Sequence[str] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    certificate: Path | None = None
    client_authority: Path | None = None

    def properties(self, users: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """What server.properties has to say about this listener alone."""
        prefix = f"listener.name.{self.name.lower()}"
        if self.protocol.startswith("SASL_"):
            yield f"{prefix}.sasl.enabled.mechanisms", ",".join(self.mechanisms)
            for mechanism in self.mechanisms:
                if mechanism == "PLAIN":
                    known = "".join(f' user_{name}="{word}"' for name, word in users.items())
                    login = f"{_JAAS}.plain.PlainLoginModule required{known};"
                else:  # SCRAM looks its users up in the cluster
                    login = f"{_JAAS}.scram.ScramLoginModule required;"
                yield f"{prefix}.{mechanism.lower()}.sasl.jaas.config", login
        if self.certificate is not None:
            yield f"{prefix}.ssl.keystore.type", "PEM"
            yield f"{prefix}.ssl.keystore.location", str(self.certificate)
        if self.client_authority is not None:
            yield f"{prefix}.ssl.client.auth", "required"
            yield f"{prefix}.ssl.truststore.type", "PEM"
            yield f"{prefix}.ssl.truststore.location", str(self.client_authority)


def _cluster_id() -> str:
    # A Kafka Uuid: 16 bytes in URL-safe Base64 without padding.
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


@dataclass(frozen=True)
class Quorum:
    """The nodes of a cluster, by number: the ports of their controllers."""

    ports: Mapping[int, int]
    cluster_id: str = field(default_factory=_cluster_id)

    @classmethod
    def of(cls, nodes: int) -> Self:
        return cls({node: free_port() for node in range(1, nodes + 1)})

    @property
    def voters(self) -> str:
        return ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in self.ports.items())


class KafkaBroker(Service):
    """A broker without topics, by itself a cluster of one.

    Clients come in at `bootstrap`, or at `address(name)` for each further listener. `users` are
    names with their passwords, for PLAIN and, with KRaft, for SCRAM. `properties` overrides and
    extends server.properties. `version` is one of Apache Kafka, such as 2.8.2; up to 3.2 a broker
    runs with a ZooKeeper of its own. One that is `short_lived` starts faster and is slower later. With
    `topic_policy` it creates topics by the rules of `policy`.
    """

    name = "kafka"

    def __init__(
        self,
        *,
        auto_create_topics: bool = False,
        listeners: Sequence[Listener] = (),
        users: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        heap: str = "768m",
        short_lived: bool = False,
        topic_policy: bool = False,
        version: str | None = None,
        node: int = 1,
        quorum: Quorum | None = None,
    ) -> None:
        self._listeners = (Listener("PLAINTEXT"), *listeners)
        self._port_of = {one.name: free_port() for one in self._listeners}
        self._version = version
        self._zookeeper = None
        if version is not None and _version_numbers(version) < _KRAFT_SINCE:
            self._zookeeper = ZooKeeper(version)
        self.node = node
        self._quorum = quorum or Quorum.of(1)
        own = [] if self._zookeeper else [self._quorum.ports[node]]
        super().__init__(*own, *self._port_of.values())
        self._auto_create_topics = auto_create_topics
        self._users = users or {}
        self._properties = dict(properties or {})
        self._classes = self.directory / "classes" if topic_policy else None
        if self._classes is not None:
            policy.write(self._classes)
            self._properties["create.topic.policy.class.name"] = policy.NAME
        self._heap = heap
        self._short_lived = short_lived
        self._admin: AdminClient | None = None

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
        return self._run(main, "--bootstrap-server", self.bootstrap, *args, timeout=timeout)

    def quota(self, client: str, bytes_per_second: int) -> None:
        """Hold the answers to a client back, by its id, so that it sends no more than this."""
        entity = ("--entity-type", "clients", "--entity-name", client)
        rate = ("--alter", "--add-config", f"producer_byte_rate={bytes_per_second}")
        self.tool("kafka.admin.ConfigCommand", *entity, *rate)

    def close(self) -> None:
        """Stop the broker and delete its data."""
        try:
            super().close()
        finally:
            if self._zookeeper:
                self._zookeeper.close()

    def _prepare(self) -> None:
        file = self.directory / "server.properties"
        file.write_text("".join(f"{k}={v}\n" for k, v in self._server_properties().items()))
        if self._zookeeper:
            self._zookeeper.start()
            return
        users = [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for name, password in self._users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        main, cluster_id = "kafka.tools.StorageTool", f"--cluster-id={self._quorum.cluster_id}"
        self._run(main, "format", cluster_id, "-c", str(file), *users)

    def _launch(self) -> Process:
        command = kafka_command(
            *("kafka.Kafka", "server.properties"),
            heap=self._heap,
            version=self._version,
            short_lived=self._short_lived,
            classes=self._classes,
        )
        return Process(command, cwd=self.directory, log=self.log)

    def _is_ready(self) -> bool:
        if not accepts(self._port_of["PLAINTEXT"]):
            return False  # asking now would only make the client complain
        self._admin = self._admin or AdminClient({"bootstrap.servers": self.bootstrap})
        try:
            cluster = self._admin.list_topics(timeout=2)
        except KafkaException:
            return False
        # Without KRaft a broker makes up its cluster's id itself.
        if not self._zookeeper and cluster.cluster_id != self._quorum.cluster_id:
            raise ServiceError(
                f"{self.bootstrap} is cluster {cluster.cluster_id}, not {self._quorum.cluster_id}"
            )
        if self.node not in cluster.brokers:
            return False
        self._admin = None
        return True

    def _server_properties(self) -> dict[str, str]:
        bound = [f"{name}://{LOOPBACK}:{port}" for name, port in self._port_of.items()]
        advertised = [
            f"{one.name}://{one.advertised_host}:{one.advertised_port or self._port_of[one.name]}"
            for one in self._listeners
        ]
        protocols = [f"{one.name}:{one.protocol}" for one in self._listeners]
        if self._zookeeper:
            place = {"broker.id": str(self.node), "zookeeper.connect": self._zookeeper.address}
        else:
            bound.append(f"CONTROLLER://{LOOPBACK}:{self._quorum.ports[self.node]}")
            protocols.append("CONTROLLER:PLAINTEXT")
            place = {
                "node.id": str(self.node),
                "process.roles": "broker,controller",
                "controller.quorum.voters": self._quorum.voters,
                "controller.listener.names": "CONTROLLER",
                # A broker that comes back after a crash waits until its former session has expired.
                "broker.session.timeout.ms": "4000",
                "broker.heartbeat.interval.ms": "1000",
            }
        nodes = len(self._quorum.ports)
        secured = (one.properties(self._users) for one in self._listeners)
        return {
            **place,
            "listeners": ",".join(bound),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(protocols),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": str(self._auto_create_topics).lower(),
            # The internal topics, small, and consumer groups without a first wait.
            "offsets.topic.replication.factor": str(nodes),
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": str(nodes),
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": str(nodes),
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **{name: value for each in secured for name, value in each},
            **self._properties,
        }

    def _run(self, main: str, *args: str, timeout: float = 60.0) -> str:
        result = subprocess.run(
            kafka_command(main, *args, heap="256m", version=self._version, classes=self._classes),
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


class KafkaCluster(Startable):
    """Several brokers, three unless told otherwise, each of them one of the controllers too.

    Topics have a replica on each, of which `min_insync_replicas` must have a record before
    `acks=all` is answered. A broker is stopped, paused and started by itself: `broker(number)`.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        min_insync_replicas: int = 2,
        properties: Mapping[str, str] | None = None,
        heap: str = "320m",
    ) -> None:
        quorum = Quorum.of(nodes)
        replicas = {
            "default.replication.factor": str(nodes),
            "min.insync.replicas": str(min_insync_replicas),
            # A follower that hangs holds up `acks=all` no longer than a broker its session.
            "replica.lag.time.max.ms": "4000",
            **(properties or {}),
        }
        self._brokers = {
            node: KafkaBroker(
                node=node, quorum=quorum, properties=replicas, heap=heap, short_lived=True
            )
            for node in quorum.ports
        }

    @property
    def bootstrap(self) -> str:
        """The plain listeners of all brokers, with commas between them."""
        return ",".join(broker.bootstrap for broker in self._brokers.values())

    def broker(self, node: int) -> KafkaBroker:
        """One of the brokers, which count from 1."""
        return self._brokers[node]

    def leader(self, topic: str, partition: int, timeout: float = 30.0) -> KafkaBroker:
        """The broker that leads a partition, once there is one."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with suppress(KafkaException):  # asked one that is away
                found = admin.list_topics(timeout=2).topics.get(topic)
                leader = found.partitions[partition].leader if found and found.partitions else -1
                if leader in self._brokers:
                    return self._brokers[leader]
            time.sleep(0.05)
        raise ServiceError(f"{topic} {partition} has no leader after {timeout:.0f} s")

    def start(self) -> Self:
        """Start those brokers that are not running and wait until all know of each other."""
        stopped = [broker for broker in self._brokers.values() if not broker.is_running]
        with ThreadPoolExecutor() as pool:
            list(pool.map(KafkaBroker.prepare, stopped))
        for broker in stopped:
            broker.launch()
        for broker in stopped:
            broker.wait_until_ready()
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        deadline = time.monotonic() + KafkaBroker.start_timeout
        while len(admin.list_topics(timeout=10).brokers) < len(self._brokers):
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.bootstrap} did not become one cluster")
            time.sleep(0.05)
        return self

    def close(self) -> None:
        """End all brokers and delete their data."""
        with ExitStack() as stack:
            for broker in self._brokers.values():
                stack.callback(broker.close)
                if broker.is_running:
                    broker.kill()  # in order, the last ones would wait for the others


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


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


#: What ``allow`` lets a user do: a kind of resource, how its names begin, and the operation.
Right = tuple[ResourceType, str, AclOperation]


def allow(bootstrap: str, user: str, *rights: Right, timeout: float = 30.0) -> None:
    """Let `user` do so much, and wait until the broker goes by it, which is after the controller does."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    bindings = {
        AclBinding(
            kind,
            name,
            ResourcePatternType.PREFIXED
            if kind is ResourceType.TOPIC
            else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for kind, name, operation in rights
    }
    for future in admin.create_acls([*bindings]).values() if bindings else ():
        future.result(timeout)
    _await_rights(admin, lambda there: bindings <= there, timeout)


def forbid(bootstrap: str, timeout: float = 30.0) -> None:
    """Take what every user was allowed, and wait until the broker goes by it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_acls([_EVERY_RIGHT]).values():
        future.result(timeout)
    _await_rights(admin, lambda there: not there, timeout)


_EVERY_RIGHT = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)


def _await_rights(
    admin: AdminClient, is_so: Callable[[set[AclBinding]], bool], timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while not is_so(set(admin.describe_acls(_EVERY_RIGHT).result(timeout))):
        if time.monotonic() > deadline:
            raise ServiceError(f"the broker does not go by its new rules after {timeout:.0f} s")
        time.sleep(0.02)
