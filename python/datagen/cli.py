"""The ``datagen`` command: options in, calls out.

Exit codes: 0 done, 2 wrong usage, 3 configuration or authentication, 4 a sink rejected data,
5 unreachable or timed out, 6 verification failed or could not be done, 130 interrupted, 143 and 129
ended by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
import cloup

from . import Plan, _signals, loader
from ._console import Console
from ._files import refusal
from ._load_options import NAMES, is_given, load_options, options_named, run_from
from .errors import (
    CountingError,
    DatagenError,
    OptionError,
    VerificationError,
)
from .settlement import attach, settlement_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_EXIT_USAGE: Final = 2
_EXIT_INTERRUPTED: Final = 130
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_log = logging.getLogger(__name__)

#: What makes a load a parallel one.
_PARALLEL: Final[dict[str, Any]] = {
    "fast": True,
    "workers": 0,
    "partitions": loader.PARALLEL_PARTITIONS,
}


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and leaves the process with its exit code."""
    _open_closed_streams()
    code = _run(args)
    # What ends the process from here on changes nothing of what was said.
    _signals.ignore()
    # All that is left goes with the process; to search it for cycles first takes 0.05 s and more.
    gc.freeze()
    sys.exit(code)


def _open_closed_streams() -> None:
    """Has lines for a stream that the parent has closed (``>&-``) go nowhere.

    Otherwise the next connection would take the stream's number, and get them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def _run(args: Sequence[str] | None) -> int:
    debug = False
    try:
        _signals.listen()
        debug = _set_up_logging() == "DEBUG"
        _datagen.main(args, prog_name="datagen", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last to see any
        return _explain(error, debug=debug)
    return 0


def _explain(error: BaseException, *, debug: bool) -> int:
    """Says what ended the run; returns the exit code for it."""
    if isinstance(error, click.Abort) and error.__cause__ is not None:
        error = error.__cause__  # click hides the signal that it was
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return _EXIT_USAGE
    if isinstance(error, click.UsageError):
        _fail(_without_secrets(error.format_message()), debug=debug)
        if error.ctx is not None:
            click.echo(f"Try: {error.ctx.command_path} --help", err=True)
        return _EXIT_USAGE
    if isinstance(error, KeyboardInterrupt | click.Abort):
        begun = settlement_of(error) is not None
        _fail(
            f"{_interruption(error)}{'' if begun else ' before anything was loaded'}", debug=debug
        )
        return _exit_code(error)
    if isinstance(error, DatagenError):
        _fail(str(error), debug=debug)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    # A mistake of ours. Its text is not shown: nobody has made sure that it holds no password.
    _fail(f"unexpected {type(error).__name__}; LOG_LEVEL=DEBUG shows where", debug=debug)
    return 1


def _exit_code(error: BaseException) -> int:
    if isinstance(error, click.UsageError):
        return _EXIT_USAGE
    if isinstance(error, click.Abort):
        return _EXIT_INTERRUPTED
    usual = _EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return int(getattr(error, "exit_code", usual))


def _interruption(error: BaseException) -> str:
    if isinstance(error, _signals.Terminated):
        return f"ended by {error}"
    return "interrupted"


def _fail(message: str, *, debug: bool) -> None:
    if debug:
        # Called by handlers only.
        logging.getLogger(__name__).error("the run ended here", exc_info=True)  # noqa: LOG014
    click.echo(f"Error: {message}", err=True)


def _without_secrets(message: str) -> str:
    """A complaint about options that repeats no URL's user and no argument without a name."""
    message = re.sub(r"(Got unexpected extra arguments?) \(.*\)", r"\1", message, flags=re.DOTALL)
    return re.sub(r"://\S*@", "://***@", message)


def _set_up_logging() -> str:
    level = os.environ.get("LOG_LEVEL", "WARNING").upper()
    if level not in _LEVELS:
        raise OptionError("LOG_LEVEL", os.environ["LOG_LEVEL"], ", ".join(_LEVELS))
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.captureWarnings(capture=True)
    if level != "DEBUG":
        # It tells of sessions that are lost, as our errors do.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
    return level


@click.group(
    name="datagen",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="datagen", prog_name="datagen")
def _datagen() -> None:
    """Realistic Brazilian bank data from a seed, for PostgreSQL and Kafka.

    The same seed and options give the same bytes everywhere, and every foreign key is valid
    across both.
    """


@_datagen.command(
    cls=cloup.Command,
    name="load",
    short_help="Load a bank into PostgreSQL and Kafka.",
    epilog="Example: datagen load --customers 100 --seed 42 --create-topics --truncate",
)
@load_options(customers=100, parallel=False)
@click.pass_context
def _load(context: click.Context, /, **options: Any) -> None:
    """Load master data into PostgreSQL and events into Kafka."""
    fast = options["fast"] or options["customers"] >= loader.FAST_CUSTOMERS
    _carry_out(context, options, fast=fast)


@_datagen.command(
    cls=cloup.Command,
    name="load-parallel",
    short_help="The same by several threads, for 100 000 customers and more.",
    epilog="Example: datagen load-parallel --customers 1000000 --create-topics --truncate",
)
@load_options(customers=10_000, parallel=True)
@click.pass_context
def _load_parallel(context: click.Context, /, **options: Any) -> None:
    """Load as fast as the machine can: fast mode, and events made by several threads.

    The topics banking.transactions and banking.card-transactions are created with 6 partitions, the
    others with 3; topics that exist are used as they are.
    """
    _carry_out(context, options, **(_PARALLEL | {"workers": options["workers"]}))


def _carry_out(context: click.Context, options: dict[str, Any], **more: Any) -> None:
    console = Console(as_json=options["as_json"])
    said: dict[str, Any] = {}
    try:
        _load_and_judge(context, options, console, said, **more)
    except BaseException as error:
        _signals.last_words()
        settlement = settlement_of(error)
        if settlement is not None:
            console.settle(settlement)
            said.update(settlement.as_json())
        said.update(exit_code=_exit_code(error), error=_text(error))
        raise
    finally:
        console.close()
        if options["as_json"]:
            console.result({"exit_code": 0, "error": None, **said})


def _load_and_judge(
    context: click.Context,
    options: dict[str, Any],
    console: Console,
    said: dict[str, Any],
    **more: Any,
) -> None:
    """Loads, and raises where the outcome is not what was planned."""
    if options["skip_postgres"] and options["skip_kafka"]:
        raise click.UsageError("--skip-postgres and --skip-kafka together leave nothing to load.")
    with options_named(NAMES):
        run = run_from(context, options, **more)
    if options["local"]:
        run = _on_local_stack(context, run, console)
    if run.truncate and run.from_customer and run.postgres_url is not None:
        _log.warning("--truncate removes the rows of customers before %d too", run.from_customer)
    console.head(run)
    said.update(_as_json(run))
    with options_named(NAMES):  # the sinks check theirs as they are made
        report = loader.load(run, console)
    said.update(report.settlement.as_json(), **report.as_json())
    try:
        console.tail(run, report)
        _judge(run, report)
    except BaseException as error:
        # A signal while the summary waits for its reader; or something is not as it should be.
        if not isinstance(error, CountingError):
            attach(error, report.settlement)
        raise


def _judge(run: loader.Load, report: loader.Report) -> None:
    """Raises ``VerificationError`` where the outcome is not what was planned."""
    if report.uncounted:
        sides = [run.postgres_url is not None and "committed", run.producer and "acknowledged"]
        what = " and ".join(str(side) for side in reversed(sides) if side)
        raise CountingError(
            f"everything was {what}; counting failed: {report.uncounted.rstrip('.')}; do not repeat"
        )
    if not report.ok:
        raise VerificationError(
            "what the services hold is not what was loaded (see above); "
            "is something else writing to these tables or topics, or deleting them?"
        )
    if report.doubled:
        raise VerificationError(
            f"{report.doubled} events were sent again since their acknowledgements were lost, and "
            "may be there twice (ce_id tells). The preset RELIABLE rules that out."
        )


def _as_json(run: loader.Load) -> dict[str, Any]:
    """What was asked for."""
    plan = run.plan
    return {
        "seed": plan.seed,
        "customers": run.customers,
        "from_customer": run.from_customer,
        "days": plan.days,
        "as_of": f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ}",
    }


def _text(error: BaseException) -> str:
    """What the line `Error:` says."""
    if isinstance(error, click.UsageError):
        return _without_secrets(error.format_message())
    if isinstance(error, DatagenError):
        return str(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _interruption(error)
    return f"unexpected {type(error).__name__}"


def _on_local_stack(context: click.Context, run: loader.Load, console: Console) -> loader.Load:
    for name in ("postgres_url", "kafka_bootstrap", "schema_registry"):
        if is_given(context, name):
            option = "--" + name.replace("_", "-")
            if context.get_parameter_source(name) is click.core.ParameterSource.ENVIRONMENT:
                option = f"DATAGEN_{name.upper()}"
            raise click.UsageError(f"--local says where the services are; leave out {option}.")
    from . import local

    stack = local.up(report=console.say)
    producer = run.producer and replace(
        run.producer,
        bootstrap_servers=stack.kafka_bootstrap,
        schema_registry_url=stack.schema_registry,
        json_fallback=False,
    )
    # A sandbox that was just started has no topics yet.
    return replace(
        run,
        postgres_url=run.postgres_url and stack.postgres_url,
        producer=producer,
        create_topics=True,
    )


def _as_in_load(*names: str) -> list[click.Parameter]:
    return [option for option in _load.params if option.name in names]


def _check_target(file: Path, option: str) -> None:
    """Refuses a file that could not be written, before any work is done for it."""
    refused = None if file == Path("-") and option == "--json" else refusal(file)
    if refused is not None:
        raise click.BadParameter(refused, param_hint=option)


@_datagen.command(
    name="benchmark",
    short_help="Measure each stage beside a peer.",
    epilog="Example: datagen benchmark --scale 10000 --json -",
    params=[
        click.Option(
            ["--scale"],
            type=int,
            default=1000,
            show_default=True,
            help="Customers to generate and load.",
        ),
        *_as_in_load("seed", "skip_postgres", "skip_kafka"),
        *_as_in_load("postgres_url", "kafka_bootstrap", "schema_registry"),
        click.Option(
            ["--rounds"],
            type=click.IntRange(1, 1000),
            default=3,
            show_default=True,
            help="Rounds of each stage; the one in the middle counts.",
        ),
        click.Option(
            ["--json", "json_file"],
            type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
            metavar="FILE",
            help="Write every figure as JSON too; - is stdout, and then the table goes to stderr.",
        ),
        *_as_in_load("kafka_config", "kafka_option", "registry_user", "registry_ca", "local"),
    ],
)
@click.pass_context
def _benchmark(context: click.Context, /, **options: Any) -> None:
    """Measure how fast generation, encoding, PostgreSQL and Kafka are here.

    Each stage runs in turns with a peer that does the same work without datagen. Tables and
    topics of the benchmark's own are used and removed; yours are not touched.
    """
    from . import benchmark

    given = {**options, "customers": options["scale"]}
    with options_named({**NAMES, "customers": "--scale"}):
        usual = _load_parallel.make_context("load-parallel", []).params
        run = run_from(context, {**usual, **given}, **_PARALLEL)
    file: Path | None = options["json_file"]
    if file is not None:
        _check_target(file, "--json")
    if options["local"]:
        run = _on_local_stack(context, run, Console(as_json=file == Path("-")))
    out = sys.stderr if file == Path("-") else sys.stdout
    report = benchmark.measure(run, options["rounds"], lambda text: click.echo(text, file=out))
    benchmark.show(report, out)
    if file is not None:
        benchmark.write(report, file)


@_datagen.command(
    name="report",
    short_help="Draw the data, and check it against published figures.",
    epilog="Example: datagen report --customers 10000 --out report.html",
    params=[
        *_as_in_load("customers", "seed", "as_of", "days"),
        click.Option(
            ["--out"],
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            default="report.html",
            show_default=True,
            help="The page; one that is there is replaced.",
        ),
    ],
)
def _report(customers: int, seed: int, as_of: str, days: int, out: Path) -> None:
    """Make the data of a seed and write one HTML page about it, which works without a network.

    It shows volumes by day and hour, amounts, customers by state and age, balances, purchases by
    category, prices of stocks and the loan book; then published figures (census, Banco Central, B3)
    beside what was found, and what must hold for every row. Tolerances follow from the size of the
    sample: 10 000 customers take seconds and show more than 100. Needs the extra `report`; ends
    with exit code 6 if a check does not hold.
    """
    with options_named({}):
        plan = Plan(seed, customers, as_of=as_of, days=days)
    _check_target(out, "--out")
    from . import report

    click.echo(
        f"Looking at {customers} customers (seed {seed}, {days} days up to "
        f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ})"
    )
    console = Console()
    console.start("report", "customers", customers)
    try:
        found = report.measure(plan, console.advance)
    finally:
        console.close()
    size = report.write(found, out)
    failed, known = found.failed, found.known
    for check in failed:
        click.echo(f"  [FAIL] {check}")
    click.echo(
        f"Report: {out} ({size / 1e6:.1f} MB, {sum(found.rows.values())} rows in "
        f"{found.seconds:.1f} s): {len(known) - len(failed)} of {len(known)} checks hold"
    )
    if failed:
        raise VerificationError(
            f"{len(failed)} of {len(known)} checks do not hold (see above, and {out} for all values)"
        )


@_datagen.group(name="local")
def _local() -> None:
    """A stack to try datagen on: PostgreSQL, a Kafka broker and a registry, from pip alone."""


@_local.command(name="up")
def _up() -> None:
    """Start whatever of the stack is not running."""
    from . import local

    _print_stack(local.up(report=click.echo))


@_local.command(name="status")
def _status() -> None:
    """Say what runs, and where."""
    from . import local

    stack = local.status()
    if stack is None:
        click.echo("The local stack is down; start it with: datagen local up")
    else:
        _print_stack(stack)


@_local.command(name="down")
def _down() -> None:
    """Stop the stack. Tables and schemas stay on disk, topics are gone."""
    from . import local

    stopped = local.down(report=click.echo)
    click.echo(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing to stop.")


def _print_stack(stack: Any) -> None:
    for service in stack.services:
        state = f"pid {service.pid}" if service.running else f"NOT RUNNING, see {service.log}"
        click.echo(f"  {service.name}: {service.address} ({state})")
    click.echo(f"  --postgres-url {stack.postgres_url}")
    click.echo(f"  --kafka-bootstrap {stack.kafka_bootstrap}")
    click.echo(f"  --schema-registry {stack.schema_registry}")
