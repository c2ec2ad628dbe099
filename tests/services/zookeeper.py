"""Apache ZooKeeper, without which brokers before KRaft do not run."""

from ._java import kafka_command
from ._net import LOOPBACK, accepts, free_port
from ._process import Process
from ._service import Service


class ZooKeeper(Service):
    """One server, from the jars of a version of Apache Kafka."""

    name = "zookeeper"

    def __init__(self, kafka_version: str) -> None:
        super().__init__(free_port())
        self._version = kafka_version

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.ports[0]}"

    def _prepare(self) -> None:
        settings = {
            "dataDir": self.directory / "data",
            "clientPort": self.ports[0],
            "clientPortAddress": LOOPBACK,
            "admin.enableServer": "false",  # else on port 8080 of every interface
        }
        file = self.directory / "zookeeper.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def _launch(self) -> Process:
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        command = kafka_command(main, "zookeeper.properties", heap="64m", version=self._version)
        return Process(command, cwd=self.directory, log=self.log)

    def _is_ready(self) -> bool:
        return accepts(self.ports[0])
