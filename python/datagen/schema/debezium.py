"""Debezium's connector for the tables in PostgreSQL, as Kafka Connect takes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .source import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..types import Relation
    from .source import Source


def readable(relation: Relation, source: Source) -> bool:  # noqa: ARG001
    return not relation.is_stream


def text(relations: Sequence[Relation], source: Source) -> str:
    at = source.postgres
    # A comma would end the name, and a dot that of the schema.
    schema = at.schema.replace("\\", "\\\\").replace(".", "\\.").replace(",", "\\,")
    secure = {"database.sslmode": at.sslmode} if at.sslmode else {}
    config = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": at.host,
        "database.port": at.port,
        "database.user": at.user,
        "database.password": PASSWORD,
        "database.dbname": at.database,
        **secure,
        "plugin.name": "pgoutput",
        "slot.name": "datagen",
        "publication.name": "datagen",
        # A publication of these tables alone; the usual one is of all tables, which takes a superuser.
        "publication.autocreate.mode": "filtered",
        "table.include.list": ",".join(f"{schema}.{one.name}" for one in relations),
        "topic.prefix": f"{source.topic_prefix}banking",
        # Exact, and a number that every converter can write.
        "decimal.handling.mode": "string",
    }
    return json.dumps({"name": "datagen", "config": config}, indent=2, ensure_ascii=False)
