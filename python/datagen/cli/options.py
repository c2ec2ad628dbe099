"""The options of commands that load: how they are written, and the load that they ask for."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click
import cloup

from .. import loader
from .._core import Plan
from .._files import refusal
from ..errors import OptionError
from ..presets import PRESETS, EngineChoice, ProducerConfig, RecordTimestamp
from ..properties import Properties, read_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["NAMES", "check_target", "is_given", "load_options", "options_named", "run_from"]

#: Options whose setting has another name in the library.
NAMES: Final = {
    "bootstrap_servers": "--kafka-bootstrap",
    "schema_registry_url": "--schema-registry",
    "client_options": "--kafka-option",
    "registry_options": "--registry-option",
    "schema": "--postgres-schema",
}


class _Option(cloup.Option):
    """An option whose variable of the environment, where it is set, must say something."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        if isinstance(self.envvar, str) and os.environ.get(self.envvar, "-").strip() == "":
            raise click.UsageError(
                f"{self.envvar} is set and empty; give it a value, or unset it for the default."
            )
        return super().resolve_envvar_value(ctx)


class _KeyValue(click.ParamType[Any]):
    """``KEY=VALUE``; a complaint does not repeat the value, which may be a password."""

    name = "KEY=VALUE"
    # One to a line of the environment's variable.
    envvar_list_splitter = "\n"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [line for line in rv.split(self.envvar_list_splitter) if line.strip()]

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"{name!r}: write KEY=VALUE", param, ctx)
        return name.strip(), text


class _Retention(click.ParamType[Any]):
    """Hours, -1 for no limit, or ``broker`` for what the broker has."""

    name = "HOURS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value is None or str(value).lower() == "broker":
            return None
        try:
            return int(value)
        except ValueError:
            allowed = f"1 to {loader.MAX_RETENTION_HOURS}, -1 or broker"
            self.fail(f"{value!r} is not allowed; use {allowed}", param, ctx)


class _Partitions(click.ParamType[Any]):
    """A number for all topics, or ``TOPIC=NUMBER`` for one."""

    name = "[TOPIC=]NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        topic, _, number = str(value).rpartition("=")
        if not re.fullmatch("[0-9]{1,100}", number):
            allowed = f"1 to {loader.MAX_PARTITIONS}, or TOPIC=NUMBER"
            self.fail(f"{value!r} is not allowed; use {allowed}", param, ctx)
        return topic, int(number)


def _option(*names: str, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return cloup.option(*names, cls=_Option, **settings)


def load_options(
    *, customers: int, parallel: bool
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a command that loads, in groups."""
    workers = _option(
        "--workers",
        type=int,
        default=0,
        show_default=True,
        help="Threads that make events; 0 is one a core. The values do not depend on it.",
    )
    fast = _option(
        "--fast",
        is_flag=True,
        help="Keep no events in memory and use the preset BULK "
        f"(by itself from {loader.FAST_CUSTOMERS} customers on).",
    )
    groups = [
        cloup.option_group(
            "What",
            _option(
                "--customers",
                type=int,
                default=customers,
                show_default=True,
                help="Customers to load.",
            ),
            _option("--seed", type=int, default=42, show_default=True, help="Seed of every value."),
            _option(
                "--from-customer",
                type=int,
                metavar="N",
                default=0,
                show_default=True,
                help="The first customer to load. A bank grows by ranges of one seed: "
                "--from-customer 1000 goes on behind 1000 customers.",
            ),
            _option(
                "--as-of",
                default="2026-07-01T00:00:00Z",
                show_default=True,
                help="Where the history ends.",
            ),
            _option(
                "--days",
                type=int,
                default=90,
                show_default=True,
                help="Days of history; volumes grow with them.",
            ),
        ),
        cloup.option_group(
            "Where to",
            _option(
                "--postgres-url",
                metavar="URL",
                envvar="DATAGEN_POSTGRES_URL",
                default="postgresql://postgres:postgres@localhost:5432/datagen",
                show_default=True,
                show_envvar=True,
                help="Where master data goes.",
            ),
            _option(
                "--kafka-bootstrap",
                metavar="HOST:PORT,...",
                envvar="DATAGEN_KAFKA_BOOTSTRAP",
                default="localhost:9092",
                show_default=True,
                show_envvar=True,
                help="Where events go.",
            ),
            _option(
                "--schema-registry",
                metavar="URL",
                envvar="DATAGEN_SCHEMA_REGISTRY",
                default="http://localhost:8081",
                show_default=True,
                show_envvar=True,
                help="Where Avro schemas are registered. Only where it is left to the default, "
                "events are JSON if none answers.",
            ),
            _option("--skip-postgres", is_flag=True, help="Load nothing into PostgreSQL."),
            _option("--skip-kafka", is_flag=True, help="Send nothing to Kafka."),
            _option("--local", is_flag=True, help="Use the local stack; start it if need be."),
        ),
        cloup.option_group(
            "PostgreSQL",
            _option(
                "--truncate",
                is_flag=True,
                help="Replace the rows that are there, all or nothing.",
            ),
            _option(
                "--postgres-schema",
                metavar="NAME",
                envvar="DATAGEN_POSTGRES_SCHEMA",
                show_envvar=True,
                help="Schema of the tables [default: the first of search_path].",
            ),
        ),
        cloup.option_group(
            "Kafka",
            _option("--create-topics", is_flag=True, help="Create the topics that are missing."),
            _option(
                "--topic-prefix",
                metavar="TEXT",
                envvar="DATAGEN_TOPIC_PREFIX",
                default="",
                show_envvar=True,
                help="Text before the name of each topic, and of its subject.",
            ),
            _option(
                "--partitions",
                type=_Partitions(),
                multiple=True,
                help="Partitions of topics that are created [default: "
                f"{'6 for transactions and card-transactions, ' if parallel else ''}3]; "
                "TOPIC=NUMBER for one of them.",
            ),
            _option(
                "--replication-factor",
                type=int,
                metavar="N",
                help="Replicas of topics that are created [default: the broker's].",
            ),
            _option(
                "--retention-hours",
                type=_Retention(),
                default=8,
                show_default=True,
                help="Retention of topics that are created; -1 is without limit, broker leaves it "
                "to the cluster.",
            ),
            _option(
                "--topic-config",
                type=_KeyValue(),
                multiple=True,
                help="One more setting of topics that are created.",
            ),
            _option("--no-cloudevents", is_flag=True, help="Send no CloudEvents headers."),
            _option(
                "--record-timestamp",
                type=click.Choice(get_args(RecordTimestamp)),
                default="production",
                show_default=True,
                help="Time that Kafka stamps records with; it deletes those past the retention.",
            ),
            _option(
                "--preset",
                type=click.Choice(sorted(PRESETS), case_sensitive=False),
                help="Producer settings [default: RELIABLE, with --fast BULK].",
            ),
            _option(
                "--engine",
                type=click.Choice(get_args(EngineChoice)),
                default="auto",
                show_default=True,
                help="Who sends: native is several times faster, confluent knows every option of "
                "librdkafka; auto takes native where it can.",
            ),
            _option(
                "--kafka-config",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                envvar="DATAGEN_KAFKA_CONFIG",
                show_envvar=True,
                help="File of client properties, as Java reads it (TLS, SASL, registry, ...).",
            ),
            _option(
                "--kafka-option",
                type=_KeyValue(),
                multiple=True,
                envvar="DATAGEN_KAFKA_OPTION",
                show_envvar=True,
                help="One client property; wins over the file.",
            ),
        ),
        cloup.option_group(
            "Schema Registry",
            _option("--no-avro", is_flag=True, help="Send JSON, three to four times as large."),
            _option(
                "--registry-user",
                metavar="USER:PASSWORD",
                envvar="DATAGEN_REGISTRY_USER",
                show_envvar=True,
                help="User of the Schema Registry.",
            ),
            _option(
                "--registry-ca",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Certificate authority of the Schema Registry (PEM).",
            ),
            _option(
                "--registry-option",
                type=_KeyValue(),
                multiple=True,
                envvar="DATAGEN_REGISTRY_OPTION",
                show_envvar=True,
                help="One property of the registry's client (mTLS, bearer token, ...).",
            ),
        ),
        cloup.option_group(
            "How it runs",
            workers if parallel else fast,
            _option(
                "--json",
                "as_json",
                is_flag=True,
                help="Print the result as one JSON object; all else goes to stderr.",
            ),
        ),
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for group in reversed(groups):
            command = group(command)
        return command

    return decorate


@contextmanager
def options_named(names: Mapping[str, str]) -> Iterator[None]:
    """Complaints about settings name the option; ``names`` are those that are not alike."""
    try:
        yield
    except OptionError as error:
        allowed = f"{error.value!r} is not allowed; use {error.allowed}"
        setting, _, name = error.option.partition(" ")
        hint = f"{names.get(setting, '--' + setting.replace('_', '-'))} {name}".rstrip()
        raise click.BadParameter(allowed, param_hint=hint) from None


def run_from(
    context: click.Context, options: dict[str, Any], *, fast: bool, **more: Any
) -> loader.Load:
    producer = None if options["skip_kafka"] else _producer(context, options, fast=fast)
    return loader.Load(
        plan=_plan(options),
        from_customer=options["from_customer"],
        postgres_url=None if options["skip_postgres"] else options["postgres_url"],
        postgres_schema=options["postgres_schema"],
        producer=producer,
        truncate=options["truncate"],
        create_topics=options["create_topics"],
        retention_hours=options["retention_hours"],
        replication_factor=options["replication_factor"],
        topic_config=dict(options["topic_config"]),
        partitions=_partitions(options, more.pop("partitions", loader.PARTITIONS)),
        fast=fast,
        **more,
    )


def _plan(options: dict[str, Any]) -> Plan:
    """The plan with every customer up to the last that is loaded."""
    settings = {"as_of": options["as_of"], "days": options["days"]}
    plan = Plan(options["seed"], options["customers"], **settings)
    first = options["from_customer"]
    if first <= 0:
        return plan
    try:
        return Plan(options["seed"], first + options["customers"], **settings)
    except OptionError as error:
        most = int(error.allowed.rpartition(" ")[2]) - options["customers"]
        raise OptionError("from_customer", first, f"0 to {most}") from None


def _partitions(options: dict[str, Any], usual: Mapping[str, int]) -> dict[str, int]:
    for_all = [count for topic, count in options["partitions"] if not topic]
    found = dict.fromkeys(usual, for_all[-1]) if for_all else dict(usual)
    return found | {topic: count for topic, count in options["partitions"] if topic}


def _producer(context: click.Context, options: dict[str, Any], *, fast: bool) -> ProducerConfig:
    preset = PRESETS[options["preset"] or ("BULK" if fast else "RELIABLE")]
    file = read_properties(options["kafka_config"]) if options["kafka_config"] else Properties()
    if file.ignored:
        names = ", ".join(file.ignored)
        warning = "%s: ignored, being of no use here: %s"
        logging.getLogger(__name__).warning(warning, options["kafka_config"], names)
    client = {**file.client, **dict(options["kafka_option"])}
    bootstrap, url = options["kafka_bootstrap"], options["schema_registry"]
    if file.bootstrap is not None and not is_given(context, "kafka_bootstrap"):
        bootstrap = file.bootstrap
    named = is_given(context, "schema_registry")
    # The secrets of one registry are not for another.
    registry = dict(file.registry) if not named or file.registry_url in {None, url} else {}
    if file.registry_url is not None and not named:
        url, named = file.registry_url, True
    registry.update(options["registry_option"])
    if options["registry_user"]:
        registry["basic.auth.user.info"] = options["registry_user"]
    if options["registry_ca"]:
        registry["ssl.ca.location"] = str(options["registry_ca"])
    return replace(
        preset,
        bootstrap_servers=bootstrap,
        schema_registry_url=url,
        json_fallback=not named,
        topic_prefix=options["topic_prefix"],
        cloudevents=not options["no_cloudevents"],
        avro=not options["no_avro"],
        record_timestamp=options["record_timestamp"],
        engine=options["engine"],
        client_options=client,
        registry_options=registry,
    )


def is_given(context: click.Context, name: str) -> bool:
    """Whether the user has set an option, on the command line or in the environment."""
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def check_target(file: Path, option: str) -> None:
    """Refuses a file that could not be written, before any work is done for it."""
    refused = None if file == Path("-") and option == "--json" else refusal(file)
    if refused is not None:
        raise click.BadParameter(refused, param_hint=option)
