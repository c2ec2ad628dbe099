"""The options of the PostgreSQL sink."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import click

from ..command_line import Option, SinkOptions
from .stage import SKIP, PostgresTarget

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["OPTIONS"]


class _PostgresOptions(SinkOptions):
    skip = SKIP
    names: ClassVar = {"schema": "--postgres-schema"}
    addresses = ("postgres_url",)

    def groups(self, *, parallel: bool) -> Mapping[str, Sequence[Option]]:  # noqa: ARG002
        return {
            "Where to": [
                Option(
                    "--postgres-url",
                    metavar="URL",
                    envvar="DATAGEN_POSTGRES_URL",
                    default="postgresql://postgres:postgres@localhost:5432/datagen",
                    show_default=True,
                    show_envvar=True,
                    help="Where master data goes.",
                ),
                Option(SKIP, is_flag=True, help="Load nothing into PostgreSQL."),
            ],
            "PostgreSQL": [
                Option(
                    "--truncate",
                    is_flag=True,
                    help="Replace the rows that are there, all or nothing.",
                ),
                Option(
                    "--postgres-schema",
                    metavar="NAME",
                    envvar="DATAGEN_POSTGRES_SCHEMA",
                    show_envvar=True,
                    help="Schema of the tables [default: the first of search_path].",
                ),
                Option(
                    "--replica-identity",
                    type=click.Choice(["default", "full"]),
                    help="What logical replication tells of a row before its change: the primary key, or "
                    "all columns [default: as it is].",
                ),
            ],
        }

    def wanted(self, options: Mapping[str, Any]) -> bool:
        return not options["skip_postgres"]

    def target(
        self,
        context: click.Context,  # noqa: ARG002
        options: Mapping[str, Any],
        *,
        fast: bool,  # noqa: ARG002
        parallel: bool,  # noqa: ARG002
    ) -> PostgresTarget | None:
        if not self.wanted(options):
            return None
        return PostgresTarget(
            url=options["postgres_url"],
            schema=options["postgres_schema"],
            truncate=options["truncate"],
            replica_identity=options["replica_identity"],
        )

    def warning(self, options: Mapping[str, Any]) -> str:
        first = options["from_customer"]
        if not options["truncate"] or not first:
            return ""
        return f"--truncate removes the rows of customers before {first} too"

    def look(self, target: PostgresTarget, typed: Collection[str], *, local: bool) -> Sequence[str]:
        from .conninfo import ConnectionString

        where = shlex.quote(ConnectionString(target.url).without_secrets(target.schema))
        # The local stack's password is no secret: `local status` prints it.
        psql = shlex.quote(target.url) if local and target.schema is None else where
        words = ["--local"] if local else ["--postgres-url", where] if typed else []
        if target.schema is not None:
            words += ["--postgres-schema", shlex.quote(target.schema)]
        return f"psql {psql}", " ".join(["datagen peek customers", *words])

    def on_local_stack(self, target: PostgresTarget, stack: Any) -> PostgresTarget:
        return replace(target, url=stack.postgres_url)


OPTIONS: Final = _PostgresOptions()
