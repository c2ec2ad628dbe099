"""How the stack runs the schema registry of ``datagen.local.registry``."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

from ._process import LOOPBACK, Command
from ._recipe import Recipe, Started, plain_environment


class Registry(Recipe):
    """Our own small registry; its schemas are kept in ``HOME/registry.json``."""

    name = "schema-registry"
    default_port = 8081
    signals = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))

    def command(self, home: Path, program: Path, port: int) -> Command:  # noqa: ARG002
        argv: list[str | Path] = [
            *(sys.executable, "-P", "-m", "datagen.local.registry"),
            *("--port", str(port)),
            *("--file", home / "registry.json"),
        ]
        import avro

        # The child must find the same modules, also where only our sys.path knows them.
        folders = (Path(__file__).resolve().parents[2], Path(avro.__file__).resolve().parents[1])
        paths = [*dict.fromkeys(map(str, folders)), os.environ.get("PYTHONPATH", "")]
        env = {**plain_environment(), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if _can_start_python():
            return Command(argv, env)
        from .registry import serve

        return Command(argv, env, partial(serve, port, home / "registry.json"))

    def is_ready(self, started: Started) -> bool:
        import urllib.request

        # Never through a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{url(started.port)}/v1/metadata/id", timeout=2) as answer:
                return bool(json.load(answer)["id"] == f"datagen-local-{started.pid}")
        except (OSError, ValueError, KeyError):
            return False


def _can_start_python() -> bool:
    """Whether our account may read the interpreter, its library and datagen.

    What root installed for itself is in memory, but closed to the account it became.
    """
    import _socket

    import avro

    from datagen import _core

    needed = (os.__file__, json.__file__, avro.__file__, _core.__file__, __file__)
    more = [file for file in (getattr(_socket, "__file__", None),) if file]
    readable = all(os.access(file, os.R_OK) for file in (*needed, *more))
    return readable and os.access(sys.executable, os.R_OK | os.X_OK)


def url(port: int) -> str:
    """The base URL for ``schema.registry.url``."""
    return f"http://{LOOPBACK}:{port}"
