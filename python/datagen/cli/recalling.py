"""``runs``: the receipts of runs, the last one first."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from ..receipts import folder, found
from ..sinks.command_line import FileName
from .rows import FORMATS, print_table

if TYPE_CHECKING:
    from pathlib import Path

    from ..receipts import Receipt

__all__ = ["runs"]


@click.command(
    name="runs",
    short_help="List the receipts of runs, the last one first.",
    epilog="Example: datagen runs -n 5 --format json",
    params=[
        click.Argument(
            ["where"],
            metavar="[FOLDER]",
            required=False,
            type=FileName(exists=True, folder=True),
        ),
        click.Option(
            ["-n", "--number"],
            type=click.IntRange(1, 100_000),
            default=20,
            show_default=True,
            help="Runs to print.",
        ),
        click.Option(
            ["--format"],
            type=click.Choice(FORMATS),
            default="table",
            show_default=True,
            help="Text for reading, or JSON, an object a line.",
        ),
    ],
)
def runs(where: Path | None, number: int, format: str) -> None:  # noqa: A002  # as click calls it
    """List what was loaded, when, and what became of it, by the receipts in FOLDER.

    Without FOLDER it is the one in the user's state folder, where receipts are that were given no path. Outcomes are
    ok, failed, interrupted, and unfinished: of a run that goes on, or whose process was killed.
    """
    chosen = [*islice(found(where), number)]
    if format == "json":
        for one in chosen:
            click.echo(json.dumps(_as_json(one), ensure_ascii=False))
    elif chosen:
        print_table([_as_row(one) for one in chosen])
    else:
        click.echo(f"No receipt is in {where or folder()}.", err=True)


def _as_json(receipt: Receipt) -> dict[str, Any]:
    return {
        "run": receipt.run,
        "began": receipt.began,
        "ended": receipt.ended,
        "command": receipt.command,
        "plan": dict(receipt.plan),
        "sinks": [*receipt.sinks],
        "rows": sum(receipt.rows.values()),
        "outcome": receipt.outcome,
        "error": receipt.error,
        "path": str(receipt.path),
    }


def _as_row(receipt: Receipt) -> dict[str, str]:
    plan = receipt.plan
    first, end = plan.get("from_customer", 0), plan.get("customers", 0)
    customers = f"{end - first:,} customers{f' from {first:,}' if first else ''}"
    return {
        "run": receipt.run,
        "began": receipt.began.partition(".")[0] + "Z",
        "what": f"{receipt.command}, {customers}, seed {plan.get('seed')}, into {', '.join(receipt.sinks)}",
        "outcome": receipt.outcome,
        "path": str(receipt.path),
    }
