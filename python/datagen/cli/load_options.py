"""The options of commands that load: how they are written, and the load that they ask for."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from .. import loader
from .._core import Plan
from .._files import refusal
from .._secrets import without_user
from ..errors import OptionError
from ..receipts import Recorder, as_text
from ..sinks import SINKS, options_of
from ..sinks.base import Order
from ..sinks.command_line import FileName, KeyValue, Option, is_given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..local import Stack

__all__ = [
    "GroupedCommand",
    "Moment",
    "check_target",
    "grouped",
    "how_to_look",
    "json_option",
    "labels_from",
    "load_options",
    "local_stack",
    "on_local_stack",
    "option_groups",
    "options_named",
    "plan_from",
    "plan_options",
    "receipt_option",
    "recorded",
    "run_from",
    "shard_option",
    "workers_option",
]


#: Options that no receipt holds: an address of a database has its user, and perhaps a password.
_SECRET: Final = frozenset({"postgres_url", "registry_user"})
#: Options of which a receipt has the names of properties, whose values may be secrets.
_CLIENT_PROPERTIES: Final = frozenset({"kafka_option", "registry_option"})
#: Names of options that are longer have a line of their own.
_NAMES_WIDTH: Final = 30


class Moment(click.ParamType[Any]):
    """A moment as text, in which a date alone is its midnight, UTC."""

    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return value
        try:
            return f"{date.fromisoformat(value)}T00:00:00Z"
        except ValueError:
            self.fail(f"{value!r} is no day of the calendar", param, ctx)


def plan_options(*, customers: int) -> list[Option]:
    """What is made: the plan, and where it begins."""
    return [
        Option(
            "--customers",
            type=int,
            default=customers,
            show_default=True,
            help="Customers to load.",
        ),
        Option("--seed", type=int, default=42, show_default=True, help="Seed of every value."),
        Option(
            "--from-customer",
            type=int,
            metavar="N",
            default=0,
            show_default=True,
            help="The first customer to load. A bank grows by ranges of one seed: "
            "--from-customer 1000 goes on behind 1000 customers.",
        ),
        Option(
            "--as-of",
            type=Moment(),
            default="2026-07-01T00:00:00Z",
            show_default=True,
            help="Where the history ends; a date alone is its midnight, UTC.",
        ),
        Option(
            "--days",
            type=int,
            default=90,
            show_default=True,
            help="Days of history, from 2021-01-01 on; volumes grow with them.",
        ),
        Option(
            "--labels",
            is_flag=True,
            help="Weave scenarios of fraud into the events; `datagen show labels --labels` says which "
            "events these are, and `datagen files --labels` writes that, too.",
        ),
        Option(
            "--label-rate",
            type=KeyValue(),
            metavar="NAME=SHARE",
            multiple=True,
            help="With --labels: the share of accounts or cards that a scenario befalls in a month, "
            "such as pix-scam=0.002. May be repeated.",
        ),
    ]


def option_groups(
    *, customers: int, parallel: bool, history: Sequence[Option] = ()
) -> dict[str, list[Option]]:
    """What is loaded and where to, by the titles of groups; those of the sinks come last.

    ``history`` are options that replace those of the same name.
    """
    groups: dict[str, list[Option]] = {"What": plan_options(customers=customers), "Where to": []}
    for name in SINKS:
        for title, options in options_of(name).groups(parallel=parallel).items():
            groups.setdefault(title, []).extend(options)
    # Addresses first, then what leaves a sink out.
    groups["Where to"].sort(key=lambda option: option.is_flag)
    groups["Where to"].append(
        Option("--local", is_flag=True, help="Use the local stack; start it if need be.")
    )
    others = {option.name: option for option in history}
    groups["What"] = [others.get(option.name, option) for option in groups["What"]]
    return groups


def workers_option() -> Option:
    return Option(
        "--workers",
        type=int,
        default=0,
        show_default=True,
        help="Threads that make events; 0 is one a core. The values do not depend on it.",
    )


def json_option() -> Option:
    return Option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print the result as one JSON object; all else goes to stderr.",
    )


def receipt_option() -> Option:
    return Option(
        "--receipt",
        type=FileName(),
        metavar="PATH",
        help="Where the receipt of the run is written [default: a new file in the user's state folder].",
    )


class _Shard(click.ParamType[Any]):
    """``I/N``: the number of a shard, the first of which is 1, and how many there are."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", str(value))
        if found is None:
            self.fail(f"{value!r}: write I/N, such as 1/8", param, ctx)
        return int(found[1]), int(found[2])


def shard_option(what: str) -> Option:
    """The option of a command that makes a part; ``what`` says of it what else there is to know."""
    return Option(
        "--shard",
        type=_Shard(),
        envvar="DATAGEN_SHARD",
        show_envvar=True,
        help=what,
    )


def resume_option() -> Option:
    return Option(
        "--resume",
        type=FileName(exists=True),
        metavar="RECEIPT",
        help="Go on with the load that a receipt is of, whatever ended it: rows and events that are there stay, and "
        "what is missing is added. Its options are taken from the receipt; those that may be secrets are given again.",
    )


class GroupedCommand(click.Command):
    """A command whose ``--help`` has its options by group, all texts in one column."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        options = (one for one in self.get_params(ctx) if isinstance(one, click.Option))
        for option in options:
            record = option.get_help_record(ctx)
            if record is not None:
                title = getattr(option, "group", None) or "Other options"
                sections.setdefault(title, []).append(record)
        widest = max(len(names) for rows in sections.values() for names, _ in rows)
        width = min(widest, _NAMES_WIDTH)
        for title, rows in sections.items():
            with formatter.section(title):
                padded = [(names.ljust(width), text) for names, text in rows]
                formatter.write_dl(padded, col_max=_NAMES_WIDTH)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # An example is one line, so that it can be copied.
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


def grouped(groups: Mapping[str, Sequence[Option]]) -> list[click.Parameter]:
    """All options, each of which knows its group."""
    for title, options in groups.items():
        for option in options:
            option.group = title
    return [option for options in groups.values() for option in options]


def load_options(*, customers: int, parallel: bool) -> list[click.Parameter]:
    """The options of a command that loads, in groups."""
    groups = option_groups(customers=customers, parallel=parallel)
    workers = workers_option()
    fast = Option(
        "--fast",
        is_flag=True,
        help="Keep no events in memory and use the preset BULK "
        f"(by itself from {loader.FAST_CUSTOMERS} customers on).",
    )
    as_json = json_option()
    groups["What"].append(
        shard_option(
            "Load only this one of N blocks of the customers. Shards may be loaded at once, in any order, by any "
            "machines, and again: what is there of a shard stays. See merge-receipts."
        )
    )
    order = Option(
        "--order",
        type=click.Choice(get_args(Order)),
        default="time",
        show_default=True,
        help="Order of events in a partition: time, with all topics side by side, or entity: all events "
        "of one account, card or loan, then those of the next.",
    )
    groups["How it runs"] = [
        *(workers if parallel else fast, order, as_json),
        *(receipt_option(), resume_option()),
    ]
    return grouped(groups)


@contextmanager
def options_named(names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Complaints about settings name the option; ``names`` are more of those that are not alike."""
    try:
        yield
    except OptionError as error:
        known = {key: text for sink in SINKS for key, text in options_of(sink).names.items()}
        known.update(names or {})
        # What is allowed may depend on another setting, which the core calls by its name.
        allowed = error.allowed.replace("a later as_of", "a later --as-of")
        allowed = f"{error.value!r} is not allowed; use {allowed}"
        setting, _, name = error.option.partition(" ")
        hint = f"{known.get(setting, '--' + setting.replace('_', '-'))} {name}".rstrip()
        raise click.BadParameter(allowed, param_hint=hint) from None


def run_from(
    context: click.Context,
    options: Mapping[str, Any],
    *,
    fast: bool,
    workers: int = 1,
    parallel: bool = False,
) -> loader.Load:
    """The load that options ask for."""
    options = _sharded(options)
    plan = plan_from(options)
    found = {
        name: options_of(name).target(context, options, fast=fast, parallel=parallel)
        for name in SINKS
    }
    targets = {name: target for name, target in found.items() if target is not None}
    return loader.Load(
        plan=plan,
        from_customer=options["from_customer"],
        targets=targets,
        fast=fast,
        workers=workers,
        order=options.get("order", "time"),
        shared=options.get("shard") is not None,
    )


def _sharded(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same options, of the customers of the shard alone."""
    if options.get("shard") is None:
        return options
    if options["truncate"]:
        raise click.UsageError(
            "--truncate would empty the tables of other shards: empty them before the first one, or leave it out."
        )
    plan_from(options)
    first = options["from_customer"]
    part = loader.shard(range(first, first + options["customers"]), *options["shard"])
    return {**options, "from_customer": part.start, "customers": len(part)}


def recorded(context: click.Context, options: Mapping[str, Any], run: loader.Load) -> loader.Load:
    """The same load, which writes a receipt."""
    path: Path | None = options["receipt"]
    if path is not None:
        check_target(path, "--receipt")
        path = path.absolute()
    command = context.info_name or ""
    recorder = Recorder(path, command=command, options=_without_secrets(context, options))
    return replace(run, recorder=recorder)


def _without_secrets(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as JSON has them: of those that may be secrets their names alone."""
    kept: dict[str, Any] = {}
    for name, value in options.items():
        if not is_given(context, name) or name in _SECRET or name == "receipt":
            continue
        if name in _CLIENT_PROPERTIES:
            kept[name] = [key for key, _ in value]
        elif name == "schema_registry":
            kept[name] = without_user(value)
        elif isinstance(value, datetime):
            kept[name] = as_text(value)
        elif isinstance(value, Path):
            kept[name] = str(value.absolute())
        else:
            kept[name] = value
    return kept


def on_local_stack(
    context: click.Context, run: loader.Load, report: Callable[[str], None]
) -> loader.Load:
    """The same load into the local stack, which is started if need be."""
    stack = local_stack(context, report)
    targets = {
        name: options_of(name).on_local_stack(target, stack) for name, target in run.targets.items()
    }
    return replace(run, targets=targets)


def local_stack(context: click.Context, report: Callable[[str], None]) -> Stack:
    """The local stack, started if need be; refuses addresses that are given beside ``--local``."""
    for name in (address for sink in SINKS for address in options_of(sink).addresses):
        if name in context.params and is_given(context, name):
            option = "--" + name.replace("_", "-")
            if context.get_parameter_source(name) is click.core.ParameterSource.ENVIRONMENT:
                option = f"DATAGEN_{name.upper()}"
            raise click.UsageError(f"--local says where the services are; leave out {option}.")
    from .. import local

    return local.up(report=report)


def how_to_look(context: click.Context, run: loader.Load) -> list[str]:
    """Lines that say how to look at what a load leaves."""
    typed = click.core.ParameterSource.COMMANDLINE
    lines: list[str] = []
    for name in filter(run.targets.__contains__, SINKS):
        sink = options_of(name)
        addresses = [one for one in sink.addresses if context.get_parameter_source(one) is typed]
        lines += sink.look(run.targets[name], addresses, local=context.params["local"])
    return lines


def plan_from(options: Mapping[str, Any]) -> Plan:
    """The plan with every customer up to the last that is loaded."""
    settings = {"as_of": options["as_of"], "days": options["days"]}
    settings["labels"] = labels_from(options)
    try:
        plan = Plan(options["seed"], options["customers"], **settings)
    except OptionError as error:
        name = "label_rate" if error.option == "labels" else error.option
        raise OptionError(name, error.value, error.allowed) from None
    first = options["from_customer"]
    if first <= 0:
        return plan
    try:
        return Plan(options["seed"], first + options["customers"], **settings)
    except OptionError as error:
        most = int(error.allowed.rpartition(" ")[2]) - options["customers"]
        raise OptionError("from_customer", first, f"0 to {most}") from None


def labels_from(options: Mapping[str, Any]) -> bool | dict[str, float]:
    """Whether there are scenarios, or the rates of those that are not to be as usual."""
    rates = {}
    for name, text in options.get("label_rate", ()):
        try:
            rates[name] = float(text)
        except ValueError:
            raise OptionError(f"label_rate {name}", text, "a share such as 0.002") from None
    if rates and not options["labels"]:
        raise click.UsageError("--label-rate is of scenarios: give --labels, too.")
    return rates or bool(options.get("labels"))


def check_target(file: Path, option: str) -> None:
    """Refuses a file that could not be written, before any work is done for it."""
    if str(file) == "-":
        if option == "--json":
            return
        raise click.BadParameter("- is no file here; name one", param_hint=option)
    refused = refusal(file)
    if refused is not None:
        raise click.BadParameter(refused, param_hint=option)
