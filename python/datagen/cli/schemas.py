"""``schema``: what datagen writes, as the DDL of those who read it."""

from __future__ import annotations

from typing import Any

import click

from .._secrets import without_user
from ..presets import ProducerConfig
from ..types import catalogue
from .load_options import local_stack, options_named
from .loading import as_in_load
from .rows import unknown_name

__all__ = ["schema"]

_ENGINES = ("flink", "spark", "ksqldb", "debezium", "postgres", "avro")


@click.command(
    name="schema",
    short_help="Print DDL for Flink, Spark, ksqlDB, Debezium, PostgreSQL or Avro.",
    epilog="Example: datagen schema banking.trades accounts --for flink",
    params=[
        click.Argument(["names"], metavar="[NAME]...", nargs=-1),
        click.Option(
            ["--for", "engine"],
            type=click.Choice(_ENGINES),
            required=True,
            help="Who reads: the engine whose statements or JSON are printed.",
        ),
        *as_in_load("master_topics", "topic_prefix", "kafka_bootstrap", "schema_registry"),
        *as_in_load("avro_enums", "postgres_url", "postgres_schema", "local"),
    ],
)
@click.pass_context
def schema(context: click.Context, /, **options: Any) -> None:
    """Print how an engine reads what datagen writes, as statements or JSON that work as they are.

    NAMEs are tables (accounts, ...) and streams (banking.trades, ...), by default all that the engine reads.
    Streams are read from their topics, as Avro; tables from PostgreSQL, with --master-topics from their
    topics. Nothing is connected to. A password is never printed: put it where <password> stands.
    """
    from .. import schema as schemas
    from ..sinks.postgres import location

    engine, known = options["engine"], {one.name: one for one in catalogue()}
    for name in options["names"]:
        if name not in known:
            unknown_name(name, known, "NAME", "table or stream")
    with options_named():
        config = ProducerConfig(
            bootstrap_servers=options["kafka_bootstrap"],
            schema_registry_url=options["schema_registry"],
            topic_prefix=options["topic_prefix"],
        )
        at = location(options["postgres_url"], options["postgres_schema"])
    kafka, registry = config.bootstrap_servers, config.schema_registry_url or ""
    if options["local"]:
        stack = local_stack(context, lambda text: click.echo(text, err=True))
        kafka, registry = stack.kafka_bootstrap, stack.schema_registry
        at = location(stack.postgres_url, options["postgres_schema"])
    source = schemas.Source(
        kafka=kafka,
        registry=without_user(registry),
        topic_prefix=config.topic_prefix,
        postgres=at,
        master_topics=options["master_topics"],
        avro_strings=options["avro_enums"] == "string",
    )
    # In the order of the catalogue: what is referred to comes first.
    asked = [one for name, one in known.items() if name in (options["names"] or known)]
    chosen = [one for one in asked if schemas.readable(engine, one, source)]
    if options["names"]:
        for one in asked:
            if one not in chosen:
                what = "stream" if one.is_stream else "table: add --master-topics"
                raise click.UsageError(f"{engine} does not read {one.name}, a {what}.")
    click.echo(schemas.text(engine, chosen, source))
