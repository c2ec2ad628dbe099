"""The options of the Kafka sink: topics, producer, and schema registry."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_args

import click

from ..._secrets import without_user
from ...errors import ConfigurationError
from ...presets import PRESETS, AvroEnums, EngineChoice, ProducerConfig, RecordTimestamp
from ...properties import Properties, read_properties
from ..base import streams
from ..command_line import FileName, KeyValue, Option, SinkOptions, is_given
from .stage import (
    MAX_PARTITIONS,
    MAX_RETENTION_HOURS,
    PARALLEL_PARTITIONS,
    PARTITIONS,
    KafkaTarget,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["OPTIONS"]


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
            allowed = f"1 to {MAX_RETENTION_HOURS}, -1 or broker"
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
            allowed = f"1 to {MAX_PARTITIONS}, or TOPIC=NUMBER"
            self.fail(f"{value!r} is not allowed; use {allowed}", param, ctx)
        return topic, int(number)


class _KafkaOptions(SinkOptions):
    skip = "--skip-kafka"
    names: ClassVar = {
        "bootstrap_servers": "--kafka-bootstrap",
        "schema_registry_url": "--schema-registry",
        "client_options": "--kafka-option",
        "registry_options": "--registry-option",
    }
    addresses = ("kafka_bootstrap", "schema_registry")
    facts: ClassVar = {"doubled": 0, "format": None, "engine": None}

    def groups(self, *, parallel: bool) -> Mapping[str, Sequence[Option]]:
        return {
            "Where to": [
                Option(
                    "--kafka-bootstrap",
                    metavar="HOST:PORT,...",
                    envvar="DATAGEN_KAFKA_BOOTSTRAP",
                    default="localhost:9092",
                    show_default=True,
                    show_envvar=True,
                    help="Where events go.",
                ),
                Option(
                    "--schema-registry",
                    metavar="URL",
                    envvar="DATAGEN_SCHEMA_REGISTRY",
                    default="http://localhost:8081",
                    show_default=True,
                    show_envvar=True,
                    help="Where Avro schemas are registered. Only where it is left to the default, "
                    "events are JSON if none answers.",
                ),
                Option("--skip-kafka", is_flag=True, help="Send nothing to Kafka."),
            ],
            "Kafka": [
                Option("--create-topics", is_flag=True, help="Create the topics that are missing."),
                Option(
                    "--master-topics",
                    is_flag=True,
                    help="Send tables too, each to a compacted topic (banking.customers, ...) by primary key.",
                ),
                Option(
                    "--topic-prefix",
                    metavar="TEXT",
                    envvar="DATAGEN_TOPIC_PREFIX",
                    default="",
                    show_envvar=True,
                    help="Text before the name of each topic, and of its subject.",
                ),
                Option(
                    "--partitions",
                    type=_Partitions(),
                    multiple=True,
                    help="Partitions of topics that are created [default: "
                    f"{'6 for transactions and card-transactions, ' if parallel else ''}3]; "
                    "TOPIC=NUMBER for one of them.",
                ),
                Option(
                    "--replication-factor",
                    type=int,
                    metavar="N",
                    help="Replicas of topics that are created [default: the broker's].",
                ),
                Option(
                    "--retention-hours",
                    type=_Retention(),
                    default=8,
                    show_default=True,
                    help="Retention of topics that are created; -1 is without limit, broker leaves it "
                    "to the cluster.",
                ),
                Option(
                    "--topic-config",
                    type=KeyValue(),
                    multiple=True,
                    help="One more setting of topics that are created.",
                ),
                Option("--no-cloudevents", is_flag=True, help="Send no CloudEvents headers."),
                Option(
                    "--record-timestamp",
                    type=click.Choice(get_args(RecordTimestamp)),
                    default="production",
                    show_default=True,
                    help="Time that Kafka stamps records with; it deletes those past the retention.",
                ),
                Option(
                    "--preset",
                    type=click.Choice(sorted(PRESETS), case_sensitive=False),
                    help="Producer settings [default: RELIABLE, with --fast BULK].",
                ),
                Option(
                    "--engine",
                    type=click.Choice(get_args(EngineChoice)),
                    default="auto",
                    show_default=True,
                    help="Who sends: native is several times faster, confluent knows every option of "
                    "librdkafka; auto takes native where it can.",
                ),
                Option(
                    "--exactly-once",
                    is_flag=True,
                    help="Send in Kafka transactions: readers of committed records find each event once, and "
                    "the same load, run again after any end, or a stream with --resume, goes on where the last "
                    "transaction ended.",
                ),
                Option(
                    "--kafka-config",
                    type=FileName(exists=True),
                    envvar="DATAGEN_KAFKA_CONFIG",
                    show_envvar=True,
                    help="File of client properties, as Java reads it (TLS, SASL, registry, ...).",
                ),
                Option(
                    "--kafka-option",
                    type=KeyValue(),
                    multiple=True,
                    envvar="DATAGEN_KAFKA_OPTION",
                    show_envvar=True,
                    help="One client property; wins over the file.",
                ),
            ],
            "Schema Registry": [
                Option("--no-avro", is_flag=True, help="Send JSON, 2.8 times as large."),
                Option(
                    "--avro-enums",
                    type=click.Choice(get_args(AvroEnums)),
                    default="enum",
                    show_default=True,
                    help="Symbols in Avro: an enumeration, or string for readers that know none.",
                ),
                Option(
                    "--registry-user",
                    metavar="USER:PASSWORD",
                    envvar="DATAGEN_REGISTRY_USER",
                    show_envvar=True,
                    help="User of the Schema Registry.",
                ),
                Option(
                    "--registry-ca",
                    type=FileName(exists=True),
                    help="Certificate authority of the Schema Registry (PEM).",
                ),
                Option(
                    "--registry-option",
                    type=KeyValue(),
                    multiple=True,
                    envvar="DATAGEN_REGISTRY_OPTION",
                    show_envvar=True,
                    help="One property of the registry's client (mTLS, bearer token, ...).",
                ),
            ],
        }

    def wanted(self, options: Mapping[str, Any]) -> bool:
        return not options["skip_kafka"]

    def target(
        self, context: click.Context, options: Mapping[str, Any], *, fast: bool, parallel: bool
    ) -> KafkaTarget | None:
        # Also where no event is sent: a value that is not allowed is a mistake.
        topics = KafkaTarget(
            producer=ProducerConfig(),
            master_topics=options["master_topics"],
            create_topics=options["create_topics"],
            retention_hours=options["retention_hours"],
            replication_factor=options["replication_factor"],
            topic_config=dict(options["topic_config"]),
            partitions=_partitions(options, PARALLEL_PARTITIONS if parallel else PARTITIONS),
        )
        if not self.wanted(options):
            return None
        return replace(
            topics,
            producer=_producer(context, options, fast=fast),
            exactly_once=options.get("exactly_once", False),
        )

    def look(self, target: KafkaTarget, typed: Collection[str], *, local: bool) -> Sequence[str]:
        producer = target.producer
        registry = without_user(producer.schema_registry_url or "")
        values = {"kafka_bootstrap": producer.bootstrap_servers, "schema_registry": registry}
        words = [f"--{name.replace('_', '-')} {values[name]}" for name in values if name in typed]
        peek = " ".join(
            [
                f"datagen peek {producer.topic_prefix}{streams()[0]}",
                *(["--local"] if local else words),
            ]
        )
        where = f"Kafka {producer.bootstrap_servers}"
        has_schemas = producer.avro and registry
        return (f"{where}, Schema Registry {registry}" if has_schemas else where), peek

    def on_local_stack(self, target: KafkaTarget, stack: Any) -> KafkaTarget:
        if target.exactly_once:
            raise ConfigurationError(
                "--exactly-once needs Apache Kafka: the broker of the local stack shows readers what a transaction has broken "
                "off, and keeps no metadata of offsets. Name another by --kafka-bootstrap"
            )
        producer = replace(
            target.producer,
            bootstrap_servers=stack.kafka_bootstrap,
            schema_registry_url=stack.schema_registry,
            json_fallback=False,
        )
        # A sandbox that was just started has no topics yet.
        return replace(target, producer=producer, create_topics=True)


def _partitions(options: Mapping[str, Any], usual: Mapping[str, int]) -> dict[str, int]:
    for_all = [count for topic, count in options["partitions"] if not topic]
    found = dict.fromkeys(usual, for_all[-1]) if for_all else dict(usual)
    return found | {topic: count for topic, count in options["partitions"] if topic}


def _producer(context: click.Context, options: Mapping[str, Any], *, fast: bool) -> ProducerConfig:
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
    if options.get("exactly_once") and preset.acks == "1":
        # Transactions need both; sizes stay those of the preset.
        reliable = PRESETS["RELIABLE"]
        preset = replace(preset, acks="all", enable_idempotence=True, retries=reliable.retries)
    return replace(
        preset,
        bootstrap_servers=bootstrap,
        schema_registry_url=url,
        json_fallback=not named,
        topic_prefix=options["topic_prefix"],
        cloudevents=not options["no_cloudevents"],
        avro=not options["no_avro"],
        avro_enums=options["avro_enums"],
        record_timestamp=options["record_timestamp"],
        engine=options["engine"],
        client_options=client,
        registry_options=registry,
    )


OPTIONS: Final = _KafkaOptions()
