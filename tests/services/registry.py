"""A schema registry that speaks Confluent's API: Apicurio Registry, with its data in memory."""

import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Protocol

from ._java import java, registry_app
from ._net import LOOPBACK, free_port
from ._process import Process
from ._service import Service


class Registry(Protocol):
    """A schema registry to connect to."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class ExistingRegistry:
    """A registry that somebody else runs."""

    url: str


class SchemaRegistry(Service):
    """An empty registry; it forgets everything when it stops."""

    name = "registry"

    def __init__(self, *, heap: str = "512m") -> None:
        super().__init__(free_port(), free_port())
        self._port, self._management = self.ports
        self._heap = heap
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def url(self) -> str:
        """The root of the Confluent-compatible API."""
        return f"http://{LOOPBACK}:{self._port}/apis/ccompat/v7"

    def _prepare(self) -> None:
        registry_app()

    def _launch(self) -> Process:
        settings = {
            "java.net.preferIPv4Stack": "true",
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": self._port,
            # Metrics and health: else on port 9000 of every interface.
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": self._management,
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": "jdbc:h2:mem:registry",
        }
        options = [f"-D{key}={value}" for key, value in settings.items()]
        jar = registry_app() / "quarkus-run.jar"
        return Process(
            [java(), f"-Xmx{self._heap}", *options, "-jar", str(jar)],
            cwd=self.directory,
            log=self.log,
        )

    def _is_ready(self) -> bool:
        try:
            with self._http.open(f"{self.url}/subjects", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False
