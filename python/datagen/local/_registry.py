"""How the stack runs the schema registry of ``datagen.local.registry``."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path

from ._process import LOOPBACK, Command
from ._python import python_command
from ._recipe import Recipe, Started


class Registry(Recipe):
    """Our own small registry; its schemas are kept in ``HOME/registry.json``."""

    name = "schema-registry"
    default_port = 8081
    signals = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))

    def command(self, home: Path, program: Path, port: int) -> Command:  # noqa: ARG002
        from .registry import serve

        file = home / "registry.json"
        arguments: list[str | Path] = ["--port", str(port), "--file", file]
        return python_command("datagen.local.registry", arguments, partial(serve, port, file))

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
