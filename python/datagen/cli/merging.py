"""``merge-receipts``: the receipts of shards as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..merging import merge
from ..receipts import Receipt
from ..sinks.command_line import FileName
from .console import Console
from .load_options import check_target

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["merge_receipts"]


@click.command(
    name="merge-receipts",
    short_help="Put the receipts of shards together to one.",
    epilog="Example: datagen merge-receipts bank.json shard-*.json, and then: datagen verify bank.json",
    params=[
        click.Argument(["out"], metavar="OUT", type=FileName()),
        click.Argument(
            ["receipts"],
            metavar="RECEIPT...",
            nargs=-1,
            required=True,
            type=FileName(exists=True),
        ),
    ],
)
def merge_receipts(out: Path, receipts: tuple[Path, ...]) -> None:
    """Write to OUT what all shards of a load or a stream have left, for `datagen verify OUT`.

    The shards have to be of one plan and of the same places, and to have every customer once; those of a stream have to begin at
    the same instant and to have come equally far. What does not fit is named, and nothing is written (exit code 3).
    """
    check_target(out, "OUT")
    if out.absolute() in {path.absolute() for path in receipts}:
        raise click.UsageError(f"OUT comes first, and {out} is a receipt to be merged.")
    merged = merge(out.absolute(), [Receipt.read(path.absolute()) for path in receipts])
    first, end = merged.plan["from_customer"], merged.plan["customers"]
    rows = sum(merged.rows.values())
    Console().say(
        f"{merged.shards} shards, customers {first:,} to {end - 1:,}, {rows:,} rows: {merged.outcome}"
        + (f" ({merged.error})" if merged.error else "")
    )
