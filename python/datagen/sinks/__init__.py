"""Where data goes. A sink is a package here, and one line in ``SINKS``.

Each sink imports its own driver, when it first needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from .command_line import SinkOptions

__all__ = ["SINKS", "options_of"]

#: The module with the options of each sink (see ``command_line.SinkOptions``), by the sink's name, in the
#: order in which sinks take rows.
SINKS: Final = {
    "postgres": "datagen.sinks.postgres.options",
    "kafka": "datagen.sinks.kafka.options",
}


def options_of(name: str) -> SinkOptions:
    """The options of a sink, by its name."""
    return cast("SinkOptions", import_module(SINKS[name]).OPTIONS)
