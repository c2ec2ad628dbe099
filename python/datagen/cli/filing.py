"""``files``: a bank as Parquet, CSV, JSON lines or Avro."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from .. import loader
from .._core import Plan
from ..errors import OptionError
from ..sinks.base import Order, labels, streams, tables
from ..sinks.command_line import Option, is_given
from ..sinks.files import FORMATS, FilesTarget, part_of
from .console import Console
from .load_options import (
    GroupedCommand,
    grouped,
    json_option,
    options_named,
    plan_from,
    plan_options,
    workers_option,
)
from .loading import asked, ending, judge, parts_of
from .outputs import check_takes_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["files"]

_NAMES: Final = {"format": "FORMAT", "location": "--output", "relations": "--tables"}


def _options() -> list[click.Parameter]:
    every = ", ".join((*tables(), *streams()))
    groups: dict[str, Sequence[Option]] = {
        "What": [
            *plan_options(customers=100),
            Option(
                "--tables",
                metavar="NAME,...",
                help=f"Tables and streams to write [default: all]: {every}; with --labels also {labels()}.",
            ),
            Option(
                "--order",
                type=click.Choice(get_args(Order)),
                help="Order of events: time, or entity: all events of one account, card or loan, then "
                "those of the next, which is faster and packs better [default: entity; time with "
                "--partition-by].",
            ),
        ],
        "Where to": [
            Option(
                "-o",
                "--output",
                metavar="FOLDER|URL",
                help="A folder, or a URL such as s3://bucket/folder, with credentials as its "
                "own tools take them.",
            ),
            Option("--stdout", is_flag=True, help="Write one table or stream to standard output."),
            Option(
                "--overwrite",
                is_flag=True,
                help="Replace the files of an earlier run, once all new ones are whole.",
            ),
        ],
        "How": [
            Option(
                "--compression",
                metavar="NAME",
                help="; ".join(
                    f"{name}: {', '.join(form.compressions)}" for name, form in FORMATS.items()
                )
                + ". The first is the default.",
            ),
            Option(
                "--uuids",
                type=click.Choice(["text", "binary"]),
                default="text",
                show_default=True,
                help="Ids as text, which every reader has, or in Parquet as its type UUID of 16 bytes.",
            ),
            Option(
                "--partition-by",
                type=click.Choice(["day", "month"]),
                help="A folder for each day or month of events (UTC): day=2026-06-30.",
            ),
            Option(
                "--parts",
                type=int,
                metavar="N",
                default=1,
                show_default=True,
                help="Files of each table and stream, by ranges of customers.",
            ),
            Option(
                "--part",
                type=int,
                metavar="I",
                help="Write only this part, from 1 to N; the others may be written anywhere, in any order.",
            ),
        ],
        "How it runs": [workers_option(), json_option()],
    }
    return [
        click.Argument(["format"], type=click.Choice([*FORMATS]), metavar="FORMAT"),
        *grouped(groups),
    ]


@click.command(
    cls=GroupedCommand,
    name="files",
    short_help="Write a bank as Parquet, CSV, JSON lines or Avro.",
    epilog="Example: datagen files parquet --customers 1000 -o bank",
    params=_options(),
)
@click.pass_context
def files(context: click.Context, /, **options: Any) -> None:
    """Write tables and streams as files: FORMAT is parquet, csv, jsonl or avro.

    Each table and stream is a file of its own, such as bank/customers.parquet; with --labels so are the labels,
    which say which events belong to which scenario. All files get their names once every one is
    whole; then manifest.json lists them with rows and checksums.
    """
    as_json, to_stdout = options["as_json"], options["stdout"]
    if to_stdout == (options["output"] is not None):
        raise click.UsageError("say where to: either --output FOLDER or --stdout.")
    if to_stdout and as_json:
        raise click.UsageError("--json and --stdout would both write to standard output.")
    if to_stdout and options["overwrite"]:
        raise click.UsageError("--overwrite replaces files: leave it out with --stdout.")
    if options["output"] == "-":
        raise click.UsageError(
            "--output is a folder: use --stdout for standard output, or ./- for a folder of that name."
        )
    if options["part"] is not None and not is_given(context, "parts"):
        raise click.UsageError("--part is one of several: say of how many with --parts N.")
    console = Console(as_json=as_json or to_stdout)
    parts = parts_of(["files"], ["format", "compression"])
    with ending(console, parts, as_json=as_json, to_stdout=to_stdout) as said:
        if to_stdout:
            check_takes_data()
        with options_named(_NAMES):
            run = _run_from(options)
        console.say(_head(run))
        said.update(asked(run))
        with options_named(_NAMES):
            report = loader.load(run, console)
        said.update(report.settlement.as_json(), **report.as_json({}))
        console.tail(report)
        judge(report)


def _run_from(options: Mapping[str, Any]) -> loader.Load:
    given = [name.strip() for name in (options["tables"] or "").split(",") if name.strip()]
    if options["tables"] is not None and not given:
        raise OptionError("tables", options["tables"], "names with commas between them")
    if labels() in given and not options["labels"]:
        raise click.UsageError("labels are of a bank that has scenarios: give --labels, too.")
    plan, first = plan_from(options), options["from_customer"]
    if not given and options["labels"]:
        given = [*tables(), *streams(), labels()]
    parts, part = options["parts"], options["part"]
    target = FilesTarget(
        format=options["format"],
        location=options["output"] or "",
        descriptor=os.dup(1) if options["stdout"] else None,
        relations=tuple(given),
        compression=options["compression"] or "",
        partition_by=options["partition_by"],
        parts=parts,
        part=part,
        whole=(first, plan.customers) if part is not None else None,
        uuids=options["uuids"],
        overwrite=options["overwrite"],
    )
    if part is not None:
        if parts > options["customers"]:
            raise OptionError(
                "parts", parts, f"1 to {options['customers']}, the number of customers"
            )
        first, stop = part_of(first, plan.customers, parts, part)
        plan = Plan(plan.seed, stop, as_of=plan.as_of, days=plan.days, labels=plan.labels)
    return loader.Load(
        plan=plan,
        from_customer=first,
        targets={"files": target},
        fast=True,
        workers=options["workers"],
        order=options["order"] or ("time" if options["partition_by"] else "entity"),
    )


def _head(run: loader.Load) -> str:
    plan, target = run.plan, run.targets["files"]
    first = f" from customer {run.from_customer:,} on" if run.from_customer else ""
    assert isinstance(target, FilesTarget)  # noqa: S101 - as made above
    return (
        f"Writing {run.customers:,} customers{first} as {target.format} (seed {plan.seed}, {plan.days} days "
        f"up to {plan.as_of:%Y-%m-%dT%H:%M:%SZ})"
    )
