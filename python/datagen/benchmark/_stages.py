"""What a load does within its process, on one core, beside the same in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from ..check import MasterDataStore
from ..types import catalogue
from . import _peers
from ._contest import Way, often

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._core import Batch, Plan
    from ..types import Relation
    from ._contest import Ways

    _Form = Literal["avro", "json", "pgcopy"]

__all__ = ["stages"]

#: Customers whose rows are held in memory by columns, for the encoders and checks.
_ENCODED: Final = 10_000
#: Customers whose rows are held as Python objects.
_PYTHON: Final = 200


def stages(plan: Plan) -> dict[str, Ways]:
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
            _way("datagen", _count(batches), lambda: _encode(batches, form)),
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


def _encode(batches: list[Batch], form: _Form) -> None:
    for batch in batches:
        batch.encode(form)


def _batches(plan: Plan, relations: Sequence[Relation], customers: int) -> list[Batch]:
    stop = min(plan.customers, customers)
    return [batch for one in relations for batch in plan.batches(one.name, 0, stop)]


def _rows(plan: Plan, relations: Sequence[Relation]) -> _peers.Rows:
    return _peers.rows_of(_batches(plan, relations, _PYTHON))


def _count(batches: list[Batch]) -> int:
    return sum(map(len, batches))


def _size(rows: _peers.Rows) -> int:
    return sum(map(len, rows.values()))
