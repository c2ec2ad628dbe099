"""``load`` and ``load-parallel``: a bank into its sinks, and what became of it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from .. import loader
from .._files import is_there
from ..errors import CountingError, VerificationError
from ..receipts import Receipt
from ..settlement import attach, settlement_of
from ..sinks import SINKS, options_of
from ..sinks.command_line import Option
from . import signals
from .console import Console
from .endings import exit_code, text_of
from .load_options import (
    GroupedCommand,
    how_to_look,
    load_options,
    on_local_stack,
    options_named,
    recorded,
    run_from,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


__all__ = [
    "PARALLEL",
    "as_in_load",
    "asked",
    "ending",
    "judge",
    "load",
    "load_parallel",
    "parts_of",
]

_log = logging.getLogger(__name__)

#: What makes a load a parallel one.
PARALLEL: Final[dict[str, Any]] = {"fast": True, "workers": 0, "parallel": True}


@click.command(
    cls=GroupedCommand,
    name="load",
    short_help="Load a bank into PostgreSQL and Kafka.",
    epilog="Example: datagen load --customers 100 --seed 42 --create-topics --truncate",
    params=load_options(customers=100, parallel=False),
)
@click.pass_context
def load(context: click.Context, /, **options: Any) -> None:
    """Load master data into PostgreSQL and events into Kafka."""
    _carry_out(context, options)


@click.command(
    cls=GroupedCommand,
    name="load-parallel",
    short_help="The same by several threads, for 100 000 customers and more.",
    epilog="Example: datagen load-parallel --customers 1000000 --create-topics --truncate",
    params=load_options(customers=10_000, parallel=True),
)
@click.pass_context
def load_parallel(context: click.Context, /, **options: Any) -> None:
    """Load as fast as the machine can: fast mode, and events made by several threads.

    Large topics are created with more partitions (see --partitions); topics that exist are used as
    they are.
    """
    _carry_out(context, options)


def _carry_out(context: click.Context, options: dict[str, Any]) -> None:
    console = Console(as_json=options["as_json"])
    facts = [fact for name in SINKS for fact in options_of(name).facts]
    parts = (*parts_of(SINKS, facts), "receipt")
    with ending(console, parts, as_json=options["as_json"]) as said:
        _load_and_judge(context, options, console, said)


def _mode(options: Mapping[str, Any], command: str) -> dict[str, Any]:
    """How fast a load is asked to be, by the command that began it."""
    if command == "load-parallel":
        return PARALLEL | {"workers": options.get("workers", 0)}
    return {"fast": options.get("fast") or options["customers"] >= loader.FAST_CUSTOMERS}


def parts_of(sinks: Iterable[str], facts: Iterable[str]) -> tuple[str, ...]:
    """The parts of a result as JSON, in their order: as many whatever ends the run, those that it did not come to being null."""
    return (
        *("seed", "customers", "from_customer", "days", "as_of"),
        *(*sinks, "repeatable", "advice"),
        *("ok", "checks", "uncounted", *facts, "seconds", "seconds_of"),
    )


@contextmanager
def ending(
    console: Console, parts: Iterable[str], *, as_json: bool, to_stdout: bool = False
) -> Iterator[dict[str, Any]]:
    """Says how a run ended; what the block puts into the dict is in the result as JSON too, which has all ``parts``.

    A run whose rows go ``to_stdout`` ends without a word when their reader has gone (``| head``).
    """
    said: dict[str, Any] = {}
    try:
        yield said
    except BaseException as error:
        signals.last_words()
        settlement = settlement_of(error)
        if to_stdout and isinstance(error, BrokenPipeError):
            console.recorder = None
        elif settlement is not None:
            # The last lines are those of what arrived.
            console.say_receipt()
            console.settle(settlement)
        if settlement is not None:
            said.update(settlement.as_json())
        said.update(exit_code=exit_code(error), error=text_of(error))
        raise
    finally:
        console.close()
        if console.recorder is not None:
            said["receipt"] = console.say_receipt()
        if as_json:
            console.result({"exit_code": 0, "error": None, **dict.fromkeys(parts), **said})


def _before(context: click.Context, options: dict[str, Any]) -> Receipt | None:
    """The receipt of an earlier attempt: that of ``--resume``, or the one that a shard was told to write."""
    path: Path | None = options["resume"]
    own: Path | None = options["receipt"]
    if path is None:
        return Receipt.read(own.absolute()) if options["shard"] and own and is_there(own) else None
    if own is not None:
        raise click.UsageError(
            "--resume writes the receipt anew that it reads; leave out --receipt."
        )
    from .resuming import resumed

    with options_named():
        receipt = resumed(context, options, path.absolute())
    options["shard"] = None
    return receipt


def _load_and_judge(
    context: click.Context,
    options: dict[str, Any],
    console: Console,
    said: dict[str, Any],
) -> None:
    """Loads, and raises where the outcome is not what was planned."""
    receipt = _before(context, options)
    command = receipt.command if receipt else context.info_name or ""
    if not any(options_of(name).wanted(options) for name in SINKS):
        skipped = " and ".join(options_of(name).skip for name in SINKS)
        raise click.UsageError(f"{skipped} together leave nothing to load.")
    with options_named():
        run = run_from(context, options, **_mode(options, command))
    if receipt is None:
        run = recorded(context, options, run)
    else:
        # Its customers are those of the shard already.
        run = replace(run, resume=receipt, shared=run.shared or "shard" in receipt.options)
    if options["local"]:
        run = on_local_stack(context, run, console.say)
    for name in run.targets:
        if warning := options_of(name).warning(options):
            _log.warning("%s", warning)
    console.head(run)
    said.update(asked(run))
    console.recorder = run.recorder
    with options_named():  # the sinks check theirs as they are made
        report = loader.load(run, console)
    # The last line is that of the validation.
    console.say_receipt()
    said.update(report.settlement.as_json(), **report.as_json(_unused_facts(run)))
    try:
        console.tail(report, how_to_look(context, run))
        judge(report)
    except BaseException as error:
        # A signal while the summary waits for its reader; or something is not as it should be.
        if not isinstance(error, CountingError):
            attach(error, report.settlement)
        raise


def judge(report: loader.RunReport) -> None:
    """Raises ``VerificationError`` where the outcome is not what was planned."""
    if report.uncounted:
        done = [one.stage.committed for one in report.stages if one.stage.committed]
        raise CountingError(
            f"everything was {' and '.join(reversed(done))}; counting failed: "
            f"{report.uncounted.rstrip('.')}; do not repeat"
        )
    if not report.ok:
        raise VerificationError(
            "what the services hold is not what was loaded (see above); "
            "is something else writing to these tables or topics, or deleting them?"
        )
    for one in report.stages:
        if one.objection:
            raise VerificationError(one.objection)


def _unused_facts(run: loader.Load) -> dict[str, Any]:
    """What the result says of how rows were sent to sinks that take no part."""
    unused = [name for name in SINKS if name not in run.targets]
    return {fact: value for name in unused for fact, value in options_of(name).facts.items()}


def asked(run: loader.Load) -> dict[str, Any]:
    """What was asked for, as values that JSON has."""
    plan = run.plan
    return {
        "seed": plan.seed,
        "customers": run.customers,
        "from_customer": run.from_customer,
        "days": plan.days,
        "as_of": f"{plan.as_of:%Y-%m-%dT%H:%M:%SZ}",
        **({"labels": plan.labels} if plan.labels else {}),
    }


def as_in_load(*names: str) -> list[Option]:
    """Options of ``load`` for another command, in the order of the names."""
    options = {option.name: option for option in load.params if isinstance(option, Option)}
    return [copy(options[name]) for name in names]
