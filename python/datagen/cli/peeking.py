"""``peek``: messages of a topic, or rows of a table, as they are there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ..settlement import Settlement, attach
from ..sinks.base import tables
from ..types import catalogue
from .load_options import on_local_stack, options_named, run_from
from .loading import PARALLEL, as_in_load, load_parallel
from .rows import FORMATS, print_record, print_table
from .values import as_json, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..sinks.kafka import Message

__all__ = ["peek"]


@click.command(
    name="peek",
    short_help="Print messages of a topic or rows of a table, decoded.",
    epilog="Example: datagen peek banking.transactions -n 3 --follow",
    params=[
        click.Argument(["name"], metavar="TOPIC|TABLE"),
        click.Option(
            ["-n", "--number"],
            type=click.IntRange(1, 100_000),
            default=10,
            show_default=True,
            help="Messages or rows to print.",
        ),
        click.Option(["--from-beginning"], is_flag=True, help="The first ones, not the last."),
        click.Option(["--follow"], is_flag=True, help="Go on with those that come, until Ctrl-C."),
        click.Option(
            ["--key"],
            metavar="KEY",
            help="Only messages with this key, or the row with this primary key.",
        ),
        click.Option(
            ["--format"],
            type=click.Choice(FORMATS),
            default="table",
            show_default=True,
            help="Text for reading, or JSON, an object a line.",
        ),
        *as_in_load("kafka_bootstrap", "schema_registry", "topic_prefix", "kafka_config"),
        *as_in_load("kafka_option", "registry_user", "registry_ca", "registry_option"),
        *as_in_load("postgres_url", "postgres_schema", "local"),
    ],
)
@click.pass_context
def peek(context: click.Context, /, **options: Any) -> None:
    """Print the last messages of a topic, or the rows of a table that changed last.

    Messages come in order of time over all partitions. TABLE is one of the six (accounts, ...) in PostgreSQL; any other name is a topic, also one that datagen has not
    written. Avro is decoded by the Schema Registry, JSON and text as they are, and what is none of these is shown
    as hexadecimal digits. Only what is committed is read, and no consumer group is left behind.
    """
    if options["follow"] and options["from_beginning"]:
        raise click.UsageError("--follow goes on from the end: leave out --from-beginning.")
    is_table = options["name"] in tables()
    try:
        with options_named():
            (_peek_table if is_table else _peek_topic)(context, options)
    except KeyboardInterrupt as error:
        attach(error, Settlement(()))  # there was nothing to load
        raise


def _peek_topic(context: click.Context, options: Mapping[str, Any]) -> None:
    from ..sinks.kafka import TopicReader

    config = _target(context, options, "kafka").producer
    with TopicReader(config, options["name"], options["key"]) as reader:
        show = _show_json if options["format"] == "json" else _show_text
        _show_each(reader, options, show)


def _peek_table(context: click.Context, options: Mapping[str, Any]) -> None:
    from ..sinks.postgres import TableReader

    target = _target(context, options, "postgres")
    table = catalogue()[options["name"]]
    with TableReader(target.url, table, target.schema, options["key"]) as reader:
        if options["format"] == "json":
            _show_each(reader, options, lambda row: click.echo(as_json(row)))
        elif options["follow"]:
            title = f"{table.singular} changed at"
            _show_each(
                reader,
                options,
                lambda row: print_record(f"{title} {as_text(row[table.time])}", _texts(row)),
            )
        else:
            read = reader.first if options["from_beginning"] else reader.last
            numbers = [
                one.name for one in table.fields if one.type in {"decimal", "int", "smallint"}
            ]
            print_table([_texts(row) for row in read(options["number"])], numbers=numbers)


def _target(context: click.Context, options: Mapping[str, Any], sink: str) -> Any:
    """What `load` would be told of a sink by the same options."""
    usual = load_parallel.make_context("load-parallel", []).params
    others = {"skip_postgres": sink != "postgres", "skip_kafka": sink != "kafka"}
    run = run_from(context, {**usual, **options, **others}, **PARALLEL)
    if options["local"]:
        run = on_local_stack(context, run, lambda text: click.echo(text, err=True))
    return run.targets[sink]


def _show_each(reader: Any, options: Mapping[str, Any], show: Callable[[Any], None]) -> None:
    found: Iterable[Any] = (reader.first if options["from_beginning"] else reader.last)(
        options["number"]
    )
    for one in found:
        show(one)
    if options["follow"]:
        for one in reader.follow():
            show(one)


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in row.items()}


def _when(message: Message) -> str | None:
    if message.timestamp is None:
        return None
    return as_text(datetime.fromtimestamp(message.timestamp / 1000, UTC))


def _show_text(message: Message) -> None:
    where = f"{message.topic} partition {message.partition} offset {message.offset}"
    when = _when(message)
    lines = {"key": as_text(message.key.value)}
    lines |= {f"header {name}": as_text(value.value) for name, value in message.headers}
    value = message.value
    if isinstance(value.value, dict):
        lines |= _texts(value.value)
    else:
        lines["value"] = "none" if value.kind == "none" else as_text(value.value)
    if notes := _notes(message):
        lines["note"] = notes
    print_record(where if when is None else f"{where} at {when}", lines)


def _show_json(message: Message) -> None:
    headers: dict[str, Any] = {}
    for name, value in message.headers:
        # One that comes again makes a list of its values.
        headers[name] = [*headers[name], value.value] if name in headers else [value.value]
    found = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": _when(message),
        "key": message.key.value,
        "headers": {name: all_ if len(all_) > 1 else all_[0] for name, all_ in headers.items()},
        "format": message.value.kind,
        "schema_id": message.value.schema_id,
        "value": message.value.value,
        "note": _notes(message) or None,
    }
    click.echo(as_json(found))


def _notes(message: Message) -> str:
    parts = {"key": message.key, "value": message.value, **dict(message.headers)}
    return "; ".join(f"{name}: {one.note}" for name, one in parts.items() if one.note)
