"""Statements about every row, each counted part by part, and what is said of them.

To find no exception says little of few rows: with one row in ten broken, thirty rows show none once
in twenty-four times. Below that a rule claims nothing, and says how many customers it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from datagen._core import Plan

from ._checks import Check, Result, enough
from ._language import say
from ._reading import Portion, gather

Rows = Callable[[Portion], pl.DataFrame]

TRANSACTIONS = "banking.transactions"
PURCHASES = "banking.card-transactions"
TRADES = "banking.trades"
INSTALLMENTS = "banking.installments"

CATALOGUE = "Data catalogue"

#: Rows from which on no exception means something.
FEWEST = 30


def cycle(day: pl.Expr) -> pl.Expr:
    """The month in which the cycle of a day closes; the closing day belongs to it."""
    later = (day.dt.day() > pl.col("closing_day")).cast(pl.Int32)
    return day.dt.year() * 12 + day.dt.month().cast(pl.Int32) + later


@dataclass(frozen=True)
class Rule:
    """A statement about each row of something."""

    name: str
    source: str
    #: One row for each that is looked at: its `id` as bytes or text, and whether it `holds`.
    rows: Rows

    def count(self, part: Portion) -> pl.DataFrame:
        rows = self.rows(part).select("id", holds=pl.col("holds").fill_null(value=False))
        broken = rows.filter(~pl.col("holds"))["id"].head(1)
        example = broken.bin.encode("hex") if broken.dtype == pl.Binary else broken
        return pl.DataFrame(
            {
                "name": [self.name],
                "rows": [rows.height],
                "broken": [rows.height - int(rows["holds"].sum())],
                "example": pl.Series(example.to_list() or [None], dtype=pl.String),
            }
        )

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        [(_, rows, broken, example)] = gather(counts, "name").iter_rows()
        return checked(self, plan, rows, broken, "{n} of {all}, such as {example}", example)


@dataclass(frozen=True)
class Distinct:
    """No two rows have the same value; compared by 64 bits of it."""

    name: str
    source: str
    values: Callable[[Portion], pl.Series]

    def count(self, part: Portion) -> pl.DataFrame:
        return self.values(part).hash().to_frame("value")

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        values = pl.concat(counts)["value"]
        twice = len(values) - values.n_unique()
        return checked(self, plan, len(values), twice, "{n} of {all} that were there before")


@dataclass(frozen=True)
class OnePrice:
    """A stock has one price in a minute, for every trade."""

    name: str
    source: str

    def count(self, part: Portion) -> pl.DataFrame:
        return (
            part[TRADES]
            .group_by(
                ticker=pl.col("ticker").str.strip_suffix("F"),
                minute=pl.col("executed_at").dt.truncate("1m"),
                price=pl.col("unit_price"),
            )
            .agg(n=pl.len())
        )

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        sums = gather(counts, "ticker", "minute", "price")
        minutes = sums.group_by("ticker", "minute").len()["len"]
        twice = int((minutes > 1).sum())
        return checked(self, plan, int(sums["n"].sum()), twice, "{n} of {all} minutes with two")


@dataclass(frozen=True)
class Legs:
    """What two customers share by a text: where both are there, they agree and are opposite.

    Beyond the customers of a load are the others of some, which are no exceptions.
    """

    name: str
    source: str
    #: The text that is shared, an amount, and whether it was sent.
    rows: Rows

    def count(self, part: Portion) -> pl.DataFrame:
        return self.rows(part).select(pl.col("shared").hash(), "amount", "sent")

    def check(self, counts: Sequence[pl.DataFrame], plan: Plan) -> Check:
        legs = (
            pl.concat(counts)
            .group_by("shared")
            .agg(
                n=pl.len(),
                amounts=pl.col("amount").n_unique(),
                sent=pl.col("sent").cast(pl.Int64).sum(),
            )
        )
        both = legs.filter(pl.col("n") > 1)
        right = (pl.col("n") == 2) & (pl.col("amounts") == 1) & (pl.col("sent") == 1)
        broken = both.height - both.filter(right).height
        alone = legs.height - both.height
        check = checked(self, plan, both.height, broken, "{n} of {all} pairs")
        if not both.height:
            return check
        found = say(
            "{n} of {all} pairs; of {alone} the other is no customer here",
            n=broken,
            all=both.height,
            alone=alone,
        )
        return replace(check, found=found)


AnyRule = Rule | Distinct | OnePrice | Legs


def checked(
    rule: AnyRule, plan: Plan, rows: int, broken: int, text: str, example: str | None = None
) -> Check:
    """`text` is said where there are exceptions."""
    needs = enough(plan.customers, FEWEST / rows) if 0 < rows < FEWEST else 0
    if not rows:
        result, found = Result.NOTHING, say("nothing to look at")
    elif broken:
        found = say(text, n=broken, all=rows, **({"example": example} if example else {}))
        result = Result.FAILS
    else:
        result = Result.POWERLESS if needs else Result.HOLDS
        found = say("{n} of {all}", n=0, all=rows)
    return Check(
        what=rule.name,
        published=say("0 exceptions"),
        source=rule.source,
        found=found,
        tolerance=say("none"),
        result=result,
        needs=0 if broken else needs,
    )
