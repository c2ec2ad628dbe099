"""Places of a benchmark's own, so that it never meets the user's rows and events.

Both are gone in the end, however it comes; where that cannot be, a warning names what is left.
"""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, DatagenError, UnreachableError
from ..types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..presets import ProducerConfig

__all__ = ["Schema", "own_schema", "own_topics"]

_log = logging.getLogger(__name__)


class Schema:
    """A schema and the parameters of connections that see it and no other."""

    def __init__(self, url: str) -> None:
        from psycopg.conninfo import conninfo_to_dict

        self.name = f"datagen_benchmark_{secrets.token_hex(4)}"
        params = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        params.setdefault("connect_timeout", "10")
        options = params.get("options") or os.environ.get("PGOPTIONS", "")
        # PostgreSQL takes the last of several settings.
        params["options"] = f"{options} -csearch_path={self.name}".strip()
        self.params = params

    @property
    def url(self) -> str:
        """A connection string."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(**self.params)

    def renew(self) -> None:
        """Makes it, empty."""
        self._execute(f"{self._gone}; CREATE SCHEMA {self.name}")

    def drop(self) -> None:
        self._execute(self._gone)

    @property
    def _gone(self) -> str:
        return f"DROP SCHEMA IF EXISTS {self.name} CASCADE"

    def _execute(self, statements: str) -> None:
        import psycopg

        where = "PostgreSQL"
        try:
            with psycopg.connect(self.url) as connection:
                info = connection.info
                where = f"PostgreSQL at {info.host}:{info.port}/{info.dbname}"
                # It would tell of each table that goes with the schema.
                connection.execute("SET LOCAL client_min_messages = warning")
                connection.execute(statements.encode())
        except psycopg.Error as error:
            if error.sqlstate is None:  # a driver's own words may hold the password
                raise UnreachableError(f"{where}: the connection was lost") from None
            said = error.diag.message_primary
            raise ConfigurationError(
                f"{where} refused schema {self.name} of the benchmark's own: {said}. Grant the "
                f"role CREATE on the database, or use another"
            ) from None


@contextmanager
def own_schema(url: str) -> Iterator[Schema]:
    """A schema in the database of ``url``, where a load with the schema's URL puts its tables."""
    from ..sinks.postgres import PostgresSink

    with PostgresSink(url):
        pass  # who cannot be reached says so as in a load
    schema = Schema(url)
    left = f"schema {schema.name}; remove it: DROP SCHEMA {schema.name} CASCADE"
    with ExitStack() as stack:
        stack.callback(_or_warn, schema.drop, left)
        try:
            schema.renew()
        except DatagenError:
            stack.pop_all()  # there is nothing to remove
            raise
        yield schema


@contextmanager
def own_topics(config: ProducerConfig) -> Iterator[ProducerConfig]:
    """A configuration whose topics and subjects have a prefix of their own.

    Without a registry it is one for JSON, so that one warning names the missing registry.
    """
    from ..sinks.kafka import KafkaSink

    streams = [stream.name for stream in catalogue().streams]
    own = replace(config, topic_prefix=f"datagen-benchmark-{secrets.token_hex(4)}.")
    with KafkaSink(own):
        pass  # as above
    left = f"topics and subjects whose names begin with {own.topic_prefix}"

    def delete() -> None:
        with KafkaSink(own) as sink:
            sink.delete(streams)

    with ExitStack() as stack:
        stack.callback(lambda: _or_warn(delete, left))
        try:
            with KafkaSink(own) as sink:
                sink.register_schemas(streams)
                own = replace(own, avro=sink.format == "avro")
        except UnreachableError:
            stack.pop_all()  # a registry that is not reached has nothing of ours
            raise
        yield own


def _or_warn(remove: Callable[[], None], left: str) -> None:
    """Whatever comes in between, a warning names what may be there still."""
    try:
        remove()
    except DatagenError as error:
        _log.warning("the benchmark could not remove its %s (%s)", left, error)
    except BaseException:
        _log.warning("the benchmark may have left its %s", left)
        raise
