"""`datagen benchmark`: the rate of each stage here, beside a peer that does the same work.

Both run in turns, so that they meet the machine in the same state, and the ratio is what to go by.
PostgreSQL and Kafka are measured in a schema and in topics of the benchmark's own, which are gone in
the end; the user's tables, topics and subjects are not touched.
"""

from __future__ import annotations

import gc
import io
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from .._core import Plan
from ..check import MasterDataStore
from ..errors import ConfigurationError
from ..types import catalogue
from . import _peers
from ._contest import Comparison, Round, Side, Way, described, machine, often, timed
from ._scratch import own_schema, own_topics
from ._services import CopyFiles, ReadyRecords, check_options, kafka, postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .. import loader
    from .._core import Batch
    from ..types import Relation

    _Ways = Callable[[], tuple[Way, Way]]
    _Form = Literal["avro", "json", "pgcopy"]

__all__ = [
    "Comparison",
    "Report",
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
#: Customers whose rows are held in memory by columns, for the encoders and checks.
_ENCODED: Final = 10_000
#: Customers whose rows are held as Python objects.
_PYTHON: Final = 200
#: Customers whose events are held as records for the Kafka client.
_RECORDS: Final = 2_500
#: Customers whose rows are copied from files.
_FILES: Final = 100_000
#: Customers of the load that warms a service up: it is slow until it has worked.
_WARM_UP: Final = 1_000


@dataclass(frozen=True)
class Report:
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


def measure(load: loader.Load, rounds: int, say: Callable[[str], None]) -> Report:
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
    return Report(load.plan, machine(), tuple(figures), time.perf_counter() - began)


def _services(load: loader.Load, stack: ExitStack) -> dict[str, _Ways]:
    """The ways of the services that are not skipped; both are reached now."""
    check_options(load)
    found: dict[str, _Ways] = {}
    plan = load.plan
    small = replace(load, plan=_first(plan, _WARM_UP))
    if load.postgres_url is not None:
        schema = stack.enter_context(own_schema(load.postgres_url))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datagen-")))

        def into_postgres() -> tuple[Way, Way]:
            postgres(small, schema).run()
            files = CopyFiles(folder, plan, min(plan.customers, _FILES), schema)
            return postgres(load, schema), files.way()

        found["PostgreSQL"] = into_postgres
    if load.producer is not None:
        config = stack.enter_context(own_topics(load.producer))

        def into_kafka() -> tuple[Way, Way]:
            kafka(small, config).run()
            records = ReadyRecords(config, plan, min(plan.customers, _RECORDS))
            return kafka(load, config), records.way()

        found["Kafka"] = into_kafka
    return found


def _first(plan: Plan, customers: int) -> Plan:
    few = min(plan.customers, customers)
    return Plan(plan.seed, few, as_of=plan.as_of, days=plan.days)


def stages(plan: Plan) -> dict[str, _Ways]:
    """Ours and a peer for each stage within the process, made when they are asked for."""
    every, tables, streams = list(catalogue()), catalogue().tables, catalogue().streams

    def make() -> tuple[Way, Way]:
        counts = _counts(plan, every)
        return (
            _way("datagen", _total(plan, every), lambda: _drain(plan)),
            _way(
                "Python dicts, drawn at random", sum(counts.values()), lambda: _peers.make(counts)
            ),
        )

    def make_avro() -> tuple[Way, Way]:
        counts = _counts(plan, streams)
        return (
            _way("datagen", _total(plan, streams), lambda: _drain_avro(plan)),
            _way(
                "Python dicts, drawn at random, and fastavro",
                sum(counts.values()),
                lambda: _peers.as_avro(_peers.make(counts)),
            ),
        )

    def check() -> tuple[Way, Way]:
        batches, rows = _batches(plan, every, _ENCODED), _rows(plan, every)
        return (
            _way("datagen", _count(batches), lambda: _check(batches)),
            _way("Python sets", _size(rows), lambda: _peers.check(rows)),
        )

    def encode(
        relations: Sequence[Relation], form: _Form, name: str, peer: Callable[[_peers.Rows], None]
    ) -> tuple[Way, Way]:
        batches, rows = _batches(plan, relations, _ENCODED), _rows(plan, relations)
        return (
            _way("datagen", _count(batches), lambda: [one.encode(form) for one in batches]),
            _way(name, _size(rows), lambda: peer(rows)),
        )

    return {
        "generation": make,
        "generation and Avro": make_avro,
        "key checks": check,
        "Avro": lambda: encode(streams, "avro", "fastavro", _peers.as_avro),
        "JSON": lambda: encode(streams, "json", "json", _peers.as_json),
        "binary COPY": lambda: encode(tables, "pgcopy", "csv, for COPY … CSV", _peers.as_csv),
    }


def _way(name: str, rows: int, run: Callable[[], object]) -> Way:
    return Way(name, rows, often(rows, run))


def _total(plan: Plan, relations: Sequence[Relation]) -> int:
    return sum(plan.rows(one.name) for one in relations)


def _counts(plan: Plan, relations: Sequence[Relation]) -> dict[str, int]:
    """How many rows of each the peers draw."""
    stop = min(plan.customers, _PYTHON)
    return {one.name: plan.rows(one.name, 0, stop) for one in relations}


def _drain(plan: Plan) -> None:
    for relation in catalogue():
        for _ in plan.batches(relation.name):
            pass


def _drain_avro(plan: Plan) -> None:
    for stream in catalogue().streams:
        for batch in plan.batches(stream.name):
            batch.encode("avro")


def _check(batches: list[Batch]) -> None:
    store = MasterDataStore()
    for batch in batches:
        store.add_batch(batch)


def _batches(plan: Plan, relations: Sequence[Relation], customers: int) -> list[Batch]:
    stop = min(plan.customers, customers)
    return [batch for one in relations for batch in plan.batches(one.name, 0, stop)]


def _rows(plan: Plan, relations: Sequence[Relation]) -> _peers.Rows:
    return _peers.rows_of(_batches(plan, relations, _PYTHON))


def _count(batches: list[Batch]) -> int:
    return sum(map(len, batches))


def _size(rows: _peers.Rows) -> int:
    return sum(map(len, rows.values()))


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


def show(report: Report, file: IO[str]) -> None:
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


def write(report: Report, path: Path) -> None:
    """Writes every figure as JSON into a file, or to the output if its name is ``-``."""
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
    if path == Path("-"):
        sys.stdout.write(text)
        return
    # Nobody ever sees half of it.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ConfigurationError(f"--json {path}: cannot be written ({error.strerror})") from None
