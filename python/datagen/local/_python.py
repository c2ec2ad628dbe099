"""Services of the stack that are Python: how their processes are started."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ._process import Command
from ._recipe import plain_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def python_command(
    module: str, arguments: Sequence[str | Path], call: Callable[[], None]
) -> Command:
    """What runs a module of ours; ``call`` does the same where the interpreter cannot be started."""
    import avro

    argv = [sys.executable, "-P", "-m", module, *arguments]
    # The child must find the same modules, also where only our sys.path knows them.
    folders = (Path(__file__).resolve().parents[2], Path(avro.__file__).resolve().parents[1])
    paths = [*dict.fromkeys(map(str, folders)), os.environ.get("PYTHONPATH", "")]
    env = {**plain_environment(), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return Command(argv, env) if _can_start_python() else Command(argv, env, call)


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
