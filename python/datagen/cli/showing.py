"""``show``: rows of a table or a stream, made here and printed."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from ..sinks.base import Order
from ..types import catalogue
from .load_options import options_named, plan_from, plan_options
from .rows import FORMATS, print_table, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._core import Batch, Plan
    from ..types import Relation

__all__ = ["show"]

_NUMBERS: Final = ("decimal", "smallint", "int")
#: Spans from the first instant on in which the first events are looked for, before all time is.
_FIRST: Final = (timedelta(hours=1), timedelta(days=1))


@click.command(
    name="show",
    short_help="Make rows and print them, without any service.",
    epilog="Example: datagen show banking.trades -n 5 --format json",
    params=[
        click.Argument(["name"]),
        click.Option(
            ["-n", "--number"],
            type=click.IntRange(1, 1_000_000),
            default=10,
            show_default=True,
            help="Rows to print.",
        ),
        *plan_options(customers=100),
        click.Option(
            ["--order"],
            type=click.Choice(get_args(Order)),
            default="time",
            show_default=True,
            help="Order of a stream's events: time, or entity: all of one account, card or loan, then "
            "those of the next. Rows of tables are in the order of customers.",
        ),
        click.Option(
            ["--format"],
            type=click.Choice(FORMATS),
            default="table",
            show_default=True,
            help="A table, or JSON as it is sent to Kafka, an object a line.",
        ),
    ],
)
def show(**options: Any) -> None:
    """Print the first rows of a table (customers, loans, ...) or a stream (banking.trades, ...).

    The rows are those that a load with the same options sends. Only those that are shown are made. With
    --labels there is one more table, labels: which events belong to which scenario.
    """
    name, number = options["name"], options["number"]
    names = [*(relation.name for relation in catalogue()), catalogue().labels.name]
    if name not in names:
        unknown_name(name, names, "NAME", "table or stream")
    relation = catalogue()[name]
    if relation is catalogue().labels and not options["labels"]:
        raise click.UsageError("labels are of a bank that has scenarios: give --labels, too.")
    with options_named():
        plan = plan_from(options)
    first = 0 if relation.is_reference else options["from_customer"]
    if options["format"] == "json":
        out = sys.stdout.buffer
        for text in _first(plan, relation, first, options["order"], number):
            out.write(text + b"\n")
        out.flush()
        return
    rows = [
        {field: _cell(value) for field, value in json.loads(line, parse_float=str).items()}
        for line in _first(plan, relation, first, options["order"], number)
    ]
    numbers = [field.name for field in relation.fields if field.type in _NUMBERS]
    print_table(rows, numbers=numbers)


def _first(
    plan: Plan, relation: Relation, first: int, order: Order, number: int
) -> Iterator[bytes]:
    """The first rows as JSON."""

    def lines(batches: Iterator[Batch]) -> Iterator[bytes]:
        return islice((line for batch in batches for line in batch.encode("json")), number)

    some: dict[str, Any] = {"batch_rows": min(number, 8192)}
    if not relation.is_stream or order == "entity":
        return lines(plan.batches(relation.name, first, **some))
    some["order"] = order
    begin = plan.as_of - timedelta(days=relation.history_days or plan.days)
    for span in _FIRST:
        # Of an account without events in a span its state is not made.
        until = begin + span
        if until < plan.as_of:
            found = list(lines(plan.batches(relation.name, first, until=until, **some)))
            if len(found) == number:
                return iter(found)
    return lines(plan.batches(relation.name, first, **some))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
