"""``report``: the data as one page, checked against published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import click

from .._core import Plan
from ..errors import VerificationError
from ..sinks.base import Stage
from ..sinks.command_line import FileName, Option
from .console import Console
from .load_options import GroupedCommand, check_target, grouped, options_named
from .loading import as_in_load

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["report"]

_COUNTING: Final = Stage("report", title="Counting", unit="customers")


@click.command(
    cls=GroupedCommand,
    name="report",
    short_help="Draw the data, and check it against published figures.",
    epilog="Example: datagen report --customers 10000 --out report.html",
    params=grouped(
        {
            "What": as_in_load("customers", "seed", "as_of", "days"),
            "Where to": [
                Option(
                    "--out",
                    type=FileName(),
                    metavar="FILE",
                    default="report.html",
                    show_default=True,
                    help="The page; one that is there is replaced.",
                ),
                Option(
                    "--language",
                    type=click.Choice(["en", "pt"]),
                    default="en",
                    show_default=True,
                    help="English, or Brazilian Portuguese.",
                ),
            ],
        }
    ),
)
def report(
    customers: int, seed: int, as_of: str, days: int, out: Path, language: Literal["en", "pt"]
) -> None:
    """Make the data of a seed and write one HTML page about it, which works without a network.

    It says first what holds, what does not and what so few customers cannot tell; then volumes,
    amounts and their endings, activity, balances over time, spending by income, prices, arrears and
    what goes together, as charts that also have their numbers; then published figures (census, Banco
    Central, B3) with their source beside what was found, and what must hold for every row and
    between products. Tolerances follow from the size of the sample: 10 000 customers take seconds and
    show more than 100. Needs the extra `report`; ends with exit code 6 if a check does not hold.
    """
    with options_named():
        plan = Plan(seed, customers, as_of=as_of, days=days)
    check_target(out, "--out")

    from .. import report as page

    click.echo(
        f"Looking at {customers:,} customers (seed {seed}, {days} days up to "
        f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ})"
    )
    console = Console()
    console.start(_COUNTING, "customers", customers)
    try:
        found = page.measure(plan, console.advance)
    finally:
        console.close()
    size = page.write(found, out, language)
    failed, known = found.failed, found.known
    for check in failed:
        console.say(f"  {console.mark('[FAIL]', 'red')} {check}")
    click.echo(
        f"Report: {out} ({size / 1e3:,.0f} kB, {sum(found.rows.values()):,} rows in "
        f"{found.seconds:.1f} s): {len(known) - len(failed)} of {len(known)} checks hold"
        + (f", {few} need more customers" if (few := len(found.powerless)) else "")
    )
    if failed:
        raise VerificationError(
            f"{len(failed)} of {len(known)} checks do not hold (see above, and {out} for all values)"
        )
