"""The command, which halts once in the midst of sending: `python gated.py EVENTS load …`.

After so many events it prints a line, and goes on when it is sent one.
"""

import sys

from datagen import cli
from datagen.cli import loading
from datagen.cli.console import Console


class GatedConsole(Console):
    """What the command tells how a run goes, which holds the run up."""

    _left = int(sys.argv.pop(1))

    def advance(self, rows: int) -> None:
        super().advance(rows)
        if self._title == "Kafka":
            before, self._left = self._left, self._left - rows
            if before > 0 >= self._left:
                print("at the gate", flush=True)
                sys.stdin.readline()


loading.Console = GatedConsole  # type: ignore[attr-defined]
cli.main()
