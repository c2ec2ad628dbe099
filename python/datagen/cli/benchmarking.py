"""``benchmark``: the rate of each stage here, beside a peer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..sinks.command_line import FileName, Option
from .console import Console
from .load_options import (
    GroupedCommand,
    check_target,
    grouped,
    on_local_stack,
    options_named,
    run_from,
)
from .loading import PARALLEL, as_in_load, load_parallel

__all__ = ["benchmark"]


@click.command(
    cls=GroupedCommand,
    name="benchmark",
    short_help="Measure each stage beside a peer.",
    epilog="Example: datagen benchmark --scale 10000 --json -",
    params=grouped(
        {
            "What": [
                Option(
                    "--scale",
                    type=int,
                    default=1000,
                    show_default=True,
                    help="Customers to generate and load.",
                ),
                *as_in_load("seed"),
                Option(
                    "--rounds",
                    type=click.IntRange(1, 1000),
                    default=3,
                    show_default=True,
                    help="Rounds of each stage; the one in the middle counts.",
                ),
            ],
            "Where to": as_in_load(
                *("postgres_url", "kafka_bootstrap", "schema_registry"),
                *("skip_postgres", "skip_kafka", "local"),
            ),
            "Kafka": as_in_load("kafka_config", "kafka_option"),
            "Schema Registry": as_in_load("registry_user", "registry_ca"),
            "How it runs": [
                Option(
                    "--json",
                    "json_file",
                    type=FileName(dash=True),
                    metavar="FILE",
                    help="Write every figure as JSON too; - is stdout, and then the table goes to stderr.",
                )
            ],
        }
    ),
)
@click.pass_context
def benchmark(context: click.Context, /, **options: Any) -> None:
    """Measure how fast generation, encoding, PostgreSQL and Kafka are here.

    Each stage runs in turns with a peer that does the same work without datagen. Tables and
    topics of the benchmark's own are used and removed; yours are not touched.
    """
    from .. import benchmark as stages

    given = {**options, "customers": options["scale"]}
    with options_named({"customers": "--scale"}):
        usual = load_parallel.make_context("load-parallel", []).params
        run = run_from(context, {**usual, **given}, **PARALLEL)
    file: Path | None = options["json_file"]
    if file is not None:
        check_target(file, "--json")
    if options["local"]:
        run = on_local_stack(context, run, Console(as_json=file == Path("-")).say)
    out = sys.stderr if file == Path("-") else sys.stdout
    report = stages.measure(run, options["rounds"], lambda text: click.echo(text, file=out))
    stages.show(report, out)
    if file is not None:
        stages.write(report, file)
