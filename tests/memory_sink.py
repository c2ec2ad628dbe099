"""A sink that keeps rows in memory: one module, and one line that registers it.

`register()` adds it to the sinks of the command, where `--memory` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from datagen.settlement import Committed
from datagen.sinks import SINKS
from datagen.sinks.base import Check, Sink, Stage, streams, tables
from datagen.sinks.command_line import Option, SinkOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import click

    from datagen import Batch
    from datagen.sinks.base import Transfer, Window

MEMORY: Final = Stage(
    "memory", title="Memory", unit="rows", counted="rows in memory", committed="kept"
)


@dataclass(frozen=True)
class MemoryTarget:
    """Everything, into `batches`; `loses` is a relation whose last batch is dropped."""

    batches: list[Batch] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    loses: str = ""
    relations: tuple[str, ...] = field(default_factory=lambda: (*tables(), *streams()))
    stage: Stage = MEMORY

    def sink(self, window: Window) -> MemorySink:
        self.phases.append("check")
        return MemorySink(self, window)


class MemorySink(Sink):
    def __init__(self, target: MemoryTarget, window: Window) -> None:
        self._target = target
        self._window = window
        self._committed = 0
        self.relations, self.stage = target.relations, target.stage

    def open(self) -> None:
        self._phase("open")

    def close(self, error: BaseException | None) -> None:
        self._phase("close")

    def prepare(self) -> None:
        self._phase("prepare")

    def transfer(self) -> Transfer | None:
        self._phase("transfer")
        return super().transfer()

    def begin(self) -> None:
        self._phase("begin")

    def write(self, batch: Batch) -> None:
        self._phase(f"write {batch.name}")
        self._target.batches.append(batch)

    def finish(self, name: str) -> None:
        self._phase(f"finish {name}")

    def commit(self) -> None:
        self._phase("commit")
        self._committed = len(self._target.batches)

    def verify(self) -> Iterator[Check]:
        self._phase("verify")
        for name in self.relations:
            kept = [len(batch) for batch in self._target.batches if batch.name == name]
            if name == self._target.loses:
                kept.pop()
            yield Check(name, self._window.rows(name), sum(kept))

    def settlement(self) -> Committed:
        whole = 0 < self._committed == len(self._target.batches)
        outcome: Any = "committed" if whole else "nothing"
        return Committed(MEMORY.name, MEMORY.title, outcome, replaces=True, skip="no --memory")

    def _phase(self, name: str) -> None:
        if self._target.phases[-1:] != [name]:
            self._target.phases.append(name)


class _MemoryOptions(SinkOptions):
    skip = "no --memory"

    def groups(self, *, parallel: bool) -> Mapping[str, Sequence[Option]]:
        return {"Where to": [Option("--memory", is_flag=True, help="Keep the rows in memory.")]}

    def wanted(self, options: Mapping[str, Any]) -> bool:
        return bool(options["memory"])

    def target(
        self, context: click.Context, options: Mapping[str, Any], *, fast: bool, parallel: bool
    ) -> MemoryTarget | None:
        return MemoryTarget() if self.wanted(options) else None


OPTIONS: Final = _MemoryOptions()


def register() -> None:
    SINKS["memory"] = "memory_sink"


if __name__ == "__main__":
    register()
    from datagen.cli import main

    main()
