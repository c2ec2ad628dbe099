"""How the stack runs the schema registry of ``datagen.local.registry``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from ._process import LOOPBACK, Command
from ._recipe import Recipe, Started


class Registry(Recipe):
    """Our own small registry; its schemas are kept in ``HOME/registry.json``."""

    name = "schema-registry"
    default_port = 8081
    signals = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))

    def command(self, home: Path, port: int) -> Command:
        argv: list[str | Path] = [
            *(sys.executable, "-P", "-m", "datagen.local.registry"),
            *("--port", str(port)),
            *("--file", home / "registry.json"),
        ]
        # The child must find the same datagen, also where only our sys.path knows it.
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        return Command(argv, {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})

    def is_ready(self, started: Started) -> bool:
        import urllib.request

        # Never through a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{url(started.port)}/v1/metadata/id", timeout=2) as answer:
                return bool(json.load(answer)["id"] == f"datagen-local-{started.pid}")
        except (OSError, ValueError, KeyError):
            return False


def url(port: int) -> str:
    """The base URL for ``schema.registry.url``."""
    return f"http://{LOOPBACK}:{port}"
