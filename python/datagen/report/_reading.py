"""The data as frames, a part of the customers at a time: what figures, rules and charts read.

Frames come from the public batches by Arrow. Money is whole centavos in them, rates are millionths
and areas hundredths, so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from datagen._core import Plan, catalogue

from ._calendar import BRASILIA

#: Customers in a part: what is in memory at a time.
PART = 5_000
NAMES = tuple(relation.name for relation in catalogue())


@dataclass(frozen=True)
class Portion:
    """All that belongs to some of the customers, with every stock."""

    plan: Plan
    frames: Mapping[str, pl.DataFrame]
    _made: dict[Callable[[Portion], pl.DataFrame], pl.DataFrame] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.frames[name]

    def once(self, make: Callable[[Portion], pl.DataFrame]) -> pl.DataFrame:
        """What several looks have in common, made when the first asks for it."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]


def parts(plan: Plan, size: int = PART) -> Iterator[Portion]:
    """The whole plan, in the order of its customers."""
    for start in range(0, plan.customers, size):
        stop = min(start + size, plan.customers)
        yield Portion(plan, {name: _read(plan, name, start, stop) for name in NAMES})


def _read(plan: Plan, name: str, start: int, stop: int) -> pl.DataFrame:
    frame = pl.DataFrame(plan.batches(name, start, stop))
    decimals = [column for column, kind in frame.schema.items() if isinstance(kind, pl.Decimal)]
    symbols = [column for column, kind in frame.schema.items() if isinstance(kind, pl.Categorical)]
    return frame.with_columns(
        pl.col(decimals).to_physical().cast(pl.Int64), pl.col(symbols).cast(pl.String)
    )


def local(instant: str) -> pl.Expr:
    """A column of instants as Brazilian clocks show them."""
    return pl.col(instant).dt.replace_time_zone(None).dt.offset_by(f"{BRASILIA}h")


def gather(frames: Sequence[pl.DataFrame], *keys: str) -> pl.DataFrame:
    """Sums of several parts: numbers of equal keys are added, of texts the first stays."""
    whole = pl.concat(frames)
    texts = [name for name, kind in whole.schema.items() if kind == pl.String and name not in keys]
    numbers = [name for name in whole.columns if name not in {*keys, *texts}]
    return (
        whole.group_by(keys, maintain_order=True)
        .agg(pl.col(numbers).sum(), pl.col(texts).drop_nulls().first())
        .sort(keys)
    )


def has(relation: str, field: str, symbol: str | None = None) -> bool:
    """Whether the catalogue has a field, and a symbol of it."""
    found = next((one for one in catalogue()[relation].fields if one.name == field), None)
    return found is not None and (symbol is None or symbol in (found.symbols or ()))
