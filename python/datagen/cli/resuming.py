"""What a receipt says of a run's options, so that they need not be given again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from .._core import Plan
from ..errors import ConfigurationError
from ..receipts import Receipt
from ..sinks import SINKS, options_of
from ..sinks.command_line import is_given
from .load_options import labels_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["check_database", "check_properties", "resumed"]

#: What a receipt has only the names of.
_PROPERTIES: Final = ("kafka_option", "registry_option")
#: The plan and its order, of which a receipt has more than the options that were given.
_PLAN: Final = (
    "customers",
    "seed",
    "from_customer",
    "as_of",
    "days",
    "labels",
    "label_rate",
    "order",
)
#: What a further attempt may do otherwise: where services are reached, and how fast it is.
_FREE: Final = frozenset(
    {
        *(address for name in SINKS for address in options_of(name).addresses),
        *("kafka_option", "kafka_config", "registry_option", "registry_user", "registry_ca"),
        *("preset", "engine", "workers", "fast", "local", "as_json", "resume"),
    }
)


def resumed(context: click.Context, options: dict[str, Any], path: Path) -> Receipt:
    """The receipt of the load that is to be resumed; completes the options by what it says.

    Raises ``click.UsageError`` for options that contradict it, and for addresses and secrets that it lacks, and
    ``ConfigurationError`` for a receipt of anything but a load by the command.
    """
    receipt = Receipt.read(path)
    if receipt.command == "stream":
        position = receipt.options.get("position", "FILE")
        raise ConfigurationError(
            f"{path} is of a stream, which goes on from its position: datagen stream --resume --position {position}"
        )
    if not receipt.command.startswith("load"):
        raise ConfigurationError(
            f"{path} is of a run by the {receipt.command}, which alone knows its targets: resume it there"
        )
    _take_over_plan(context, options, receipt)
    kept = receipt.options
    # Where the command line says where services are, it says so of all.
    elsewhere = any(
        is_given(context, address) for name in SINKS for address in options_of(name).addresses
    )
    for param in context.command.params:
        name = param.name or ""
        if name in _PLAN or (name == "local" and elsewhere):
            continue
        if is_given(context, name):
            if name not in _FREE and options[name] != _usual(context, param, kept):
                raise _contradiction(name)
        elif name in kept and name not in _PROPERTIES:
            options[name] = _usual(context, param, kept)
            context.set_parameter_source(name, click.core.ParameterSource.COMMANDLINE)
    check_properties(context, options, receipt)
    if "postgres" in receipt.sinks and not options["local"]:
        check_database(context, options, receipt)
    return receipt


def _usual(context: click.Context, param: click.Parameter, kept: Mapping[str, Any]) -> Any:
    """What the run had for an option."""
    name = param.name or ""
    if name not in kept:
        return param.get_default(context)
    value = kept[name]
    if isinstance(value, list):
        value = tuple(tuple(one) if isinstance(one, list) else one for one in value)
    return param.type_cast_value(context, value)


def _take_over_plan(context: click.Context, options: dict[str, Any], receipt: Receipt) -> None:
    plan = receipt.as_plan()
    first = int(receipt.plan["from_customer"])
    own = {
        **receipt.plan,
        "customers": plan.customers - first,
        "labels": plan.labels is not None,
        "label_rate": tuple((plan.labels or {}).items()),
        "order": receipt.order,
    }
    for name in _PLAN:
        if is_given(context, name):
            given = options[name]
            if name == "as_of":
                same = Plan(as_of=given, days=1).as_of == plan.as_of
            elif name == "label_rate":
                same = Plan(labels=labels_from(options | {"labels": True})).labels == plan.labels
            else:
                same = given == own[name]
            if not same:
                raise _contradiction(name)
        options[name] = own[name]


def _contradiction(name: str) -> click.UsageError:
    option = "--" + name.replace("_", "-")
    return click.UsageError(
        f"{option} is not what the receipt says; leave it out, or begin another load without --resume."
    )


def check_properties(context: click.Context, options: Mapping[str, Any], receipt: Receipt) -> None:
    """Asks for properties of clients, of which no receipt has the values."""
    lacking = [
        f"--{name.replace('_', '-')} {key}"
        for name in _PROPERTIES
        if not is_given(context, name)
        for key in receipt.options.get(name, ())
    ]
    if lacking and not options["skip_kafka"]:
        raise click.UsageError(
            f"The run had {', '.join(lacking)}, whose values are in no receipt; give them again."
        )


def check_database(context: click.Context, options: Mapping[str, Any], receipt: Receipt) -> None:
    """Asks for an address where the default one is not that of the run: no receipt has it with its user."""
    from ..sinks.postgres import where

    reached = str(receipt.sinks["postgres"].get("address"))
    if not is_given(context, "postgres_url") and where(options["postgres_url"]) != reached:
        raise click.UsageError(
            f"The run loaded PostgreSQL at {reached}; give --postgres-url, which is in no receipt as it may have a "
            "password, or --skip-postgres."
        )
