"""`datagen benchmark`: the rate of each stage here, beside a peer that does the same work.

Both run by turns, so that they meet the machine in the same state, and the ratio is what to go by.
PostgreSQL and Kafka are measured in a schema and in topics of the benchmark's own, which are gone in
the end; the user's tables, topics and subjects are not touched.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from .._core import Plan
from .._files import reason, write_whole
from ..errors import ConfigurationError
from ._contest import Comparison, Round, Side, Way, described, machine, timed
from ._scratch import own_schema, own_topics
from ._services import CopyFiles, ReadyRecords, check_options, kafka, postgres
from ._stages import stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import loader
    from ..sinks.kafka.stage import KafkaTarget
    from ..sinks.postgres.stage import PostgresTarget
    from ._contest import Ways

__all__ = [
    "Comparison",
    "Measured",
    "Round",
    "Side",
    "Way",
    "described",
    "machine",
    "measure",
    "show",
    "stages",
    "timed",
    "write",
]

# Peers get a part, the first customers, where all of them would fill the memory: the same mix.
#: Customers whose events are held as records for the Kafka client.
_RECORDS: Final = 2_500
#: Customers whose rows are copied from files.
_FILES: Final = 100_000
#: Customers of the load that warms a service up: it is slow until it has worked.
_WARM_UP: Final = 1_000


@dataclass(frozen=True)
class Measured:
    """What was found, on what, and in how many seconds."""

    plan: Plan
    machine: dict[str, Any]
    figures: tuple[Comparison, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "scale": self.plan.customers,
            "seed": self.plan.seed,
            "seconds": self.seconds,
            "figures": [
                {
                    "name": one.title,
                    "unit": _unit(one),
                    "datagen": one.ours.as_json(),
                    "peer": one.peers[0].as_json(),
                    "ratio": one.ratio(one.peers[0]),
                }
                for one in self.figures
            ],
        }


def measure(load: loader.Load, rounds: int, say: Callable[[str], None]) -> Measured:
    """Measures every stage of a load; ``say`` hears what is being done.

    A service that the load skips is left out. Raises what a load raises, before anything is
    measured where it can be known.
    """
    began = time.perf_counter()
    with ExitStack() as stack:
        services = _services(load, stack)
        figures = []
        for title, ways in (*stages(load.plan).items(), *services.items()):
            say(f"Measuring {title}")
            figures.append(_compare(title, *ways(), rounds=rounds))
    return Measured(load.plan, machine(), tuple(figures), time.perf_counter() - began)


def _services(load: loader.Load, stack: ExitStack) -> dict[str, Ways]:
    """The ways of the services that are not skipped; both are reached now."""
    check_options(load)
    found: dict[str, Ways] = {}
    plan = load.plan
    small = replace(load, plan=_first(plan, _WARM_UP))
    if "postgres" in load.targets:
        database = cast("PostgresTarget", load.targets["postgres"])
        schema = stack.enter_context(own_schema(database.url))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datagen-")))

        def into_postgres() -> tuple[Way, Way]:
            postgres(small, schema).run()
            files = CopyFiles(folder, plan, min(plan.customers, _FILES), schema)
            return postgres(load, schema), files.way()

        found["PostgreSQL"] = into_postgres
    if "kafka" in load.targets:
        cluster = cast("KafkaTarget", load.targets["kafka"])
        config = stack.enter_context(own_topics(cluster.producer))

        def into_kafka() -> tuple[Way, Way]:
            kafka(small, config).run()
            records = ReadyRecords(config, plan, min(plan.customers, _RECORDS))
            return kafka(load, config), records.way()

        found["Kafka"] = into_kafka
    return found


def _first(plan: Plan, customers: int) -> Plan:
    few = min(plan.customers, customers)
    return Plan(plan.seed, few, as_of=plan.as_of, days=plan.days, labels=plan.labels)


def _compare(title: str, *ways: Way, rounds: int) -> Comparison:
    sides = [Side(way.name) for way in ways]
    gc.collect()
    # What was made for the peers would else be looked at again and again, in their time.
    gc.freeze()
    try:
        for _ in range(rounds):
            for way, side in zip(ways, sides, strict=True):
                way.prepare()
                side.rounds.append(timed(way))
    finally:
        gc.unfreeze()
    return Comparison(title, sides[0], sides[1:])


def _unit(one: Comparison) -> str:
    return "events/s" if one.title == "Kafka" else "rows/s"


def show(report: Measured, file: IO[str]) -> None:
    """Writes a table of what was found, and of what machine."""
    from rich.box import MARKDOWN
    from rich.console import Console
    from rich.table import Table

    table = Table(box=MARKDOWN)
    table.add_column("stage")
    for name in ("rate", "s a round", "spread"):
        table.add_column(name, justify="right")
    table.add_column("peer")
    for name in ("its rate", "s a round", "spread", "ratio"):
        table.add_column(name, justify="right")
    for one in report.figures:
        [peer] = one.peers
        cells = [
            cell
            for side in (one.ours, peer)
            for cell in (
                f"{side.rate:,.0f} {_unit(one)}",
                f"{side.seconds:.3f}",
                f"{side.spread:.0f}%",
            )
        ]
        table.add_row(one.title, *cells[:3], peer.name, *cells[3:], f"{one.ratio(peer):.1f}×")
    # In a log lines may be long; on a terminal they break where it ends.
    console = Console(file=io.StringIO(), width=None if file.isatty() else 200)
    with console.capture() as text:
        console.print(table)
    # The box has a line above and below that are blank.
    print(text.get().strip(), file=file)
    print(described(report.machine), file=file)


def write(report: Measured, path: Path) -> None:
    """Writes every figure as JSON into a file, or to the output if its name is ``-``."""
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
    if path == Path("-"):
        sys.stdout.write(text)
        return
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"--json {path}: cannot be written ({reason(error)})") from None
