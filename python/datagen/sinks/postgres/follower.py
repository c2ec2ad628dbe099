"""Tables that follow a stream: each slice of changes in one transaction, with the instant it leads to.

That instant is in the table ``datagen_streams`` of the same schema, a row for each stream. A process that goes on
finds there which changes the tables have, whatever ended the one before it.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from ...types import catalogue
from . import inspection
from .copy_session import CopyIn
from .ddl import shape_of
from .load_session import LoadSession, in_query
from .session import WORK, waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from ..._core import Batch, Plan
    from .ddl import TableShape
    from .server import Server

__all__ = ["STREAMS", "Follower", "followed_to", "forget_streams", "lacks_streams", "make_streams"]

_log = logging.getLogger(__name__)

#: The table of the instants.
STREAMS: Final = "datagen_streams"
_CREATE: Final = """
CREATE TABLE {schema}.datagen_streams (
  seed numeric(20) NOT NULL,
  from_customer bigint NOT NULL,
  customers bigint NOT NULL,
  as_of timestamp with time zone NOT NULL,
  days integer NOT NULL,
  tables_at timestamp with time zone NOT NULL,
  CONSTRAINT datagen_streams_pkey PRIMARY KEY (seed, from_customer)
)
"""
_KEY: Final = "seed = %(seed)s AND from_customer = %(from_customer)s"
_SAME: Final = f"{_KEY} AND customers = %(customers)s AND as_of = %(as_of)s AND days = %(days)s"
#: Seconds between two attempts to reach a server that is away.
_AGAIN: Final = 0.5


class Follower:
    """Writes changed rows on a thread of its own; while the server is away, it tries again.

    ``at`` is the instant before which the tables have all changes.
    """

    def __init__(
        self, server: Server, schema: str, lock_timeout: float, plan: Plan, from_customer: int
    ) -> None:
        self._load = LoadSession(server, lock_timeout)
        self._load.schema = schema
        self._stream = _of_stream(plan, from_customer)
        self.at: datetime = plan.as_of
        self.last_error = ""
        self._slices: SimpleQueue[tuple[Sequence[Batch], datetime] | None] = SimpleQueue()
        self._done = Event()
        self._done.set()
        self._leaving = Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="datagen-follower", daemon=True)

    def begin(self, at: datetime) -> None:
        """Takes note of where the tables are, which this run has loaded."""
        self._load.connect()
        with self._load.errors(STREAMS, outcome=""):
            self._load.begin()
            if lacks_streams(self._load):
                make_streams(self._load)
            self._execute(f"DELETE FROM {self._table} WHERE {_KEY}")
            columns = ", ".join(self._stream)
            values = ", ".join(f"%({name})s" for name in self._stream)
            self._execute(
                f"INSERT INTO {self._table} ({columns}, tables_at) VALUES ({values}, %(at)s)", at=at
            )
            self._load.execute("COMMIT")
        self.at = at
        self._thread.start()

    def resume(self) -> None:
        """Finds where the tables are that an earlier process has left.

        Raises ``ConfigurationError`` if they are not those of this stream.
        """
        self._load.connect()
        with self._load.errors(STREAMS, outcome=""):
            self._load.begin()
            found = None if lacks_streams(self._load) else self._where()
            inspection.check_code(self._load, inspection.check_shapes(self._load))
            self._load.execute("ROLLBACK")
        if found is None:
            raise ConfigurationError(
                f"PostgreSQL at {self._load.server.where} has no tables of this stream in schema "
                f"{self._load.schema}, or they were loaded anew since; name the right database with "
                "--postgres-url, leave it out (--skip-postgres), or begin a new stream"
            )
        self.at = found
        self._thread.start()

    def follow(self, changes: Sequence[Batch], until: datetime) -> None:
        """Begins to write what has changed before an instant; nothing if the tables have it already."""
        if until > self.at:
            self._done.clear()
            self._slices.put((changes, until))

    def followed(self, seconds: float) -> bool:
        """Whether all that was given is committed, after so many seconds at most.

        Raises ``RejectedError`` or ``ConfigurationError`` where it cannot be.
        """
        done = self._done.wait(seconds)
        if self._error is not None:
            raise self._error
        return done

    def close(self) -> None:
        """Ends the session; a transaction that is under way is given up."""
        self._leaving.set()
        self._slices.put(None)
        if self._load.connected and not self._done.is_set():
            with suppress(Exception):
                self._load.connection.cancel_safe(timeout=_AGAIN)
        if self._thread.ident is not None:
            self._thread.join(timeout=2.0)
        self._load.close()

    @property
    def _table(self) -> str:
        """For statements with parameters."""
        return in_query(f"{self._load.schema}.{STREAMS}")

    def _run(self) -> None:
        while (task := self._slices.get()) is not None:
            try:
                self._keep_trying(*task)
            except BaseException as error:  # noqa: BLE001  # it is raised where the slice is awaited
                self._error = error
            self._done.set()

    def _keep_trying(self, changes: Sequence[Batch], until: datetime) -> None:
        while True:
            try:
                if not self._load.connected:
                    self._load.connect()
                with self._load.errors(outcome=""):
                    self._write(changes, until)
            except UnreachableError as error:
                self.last_error = str(error)
                _log.info("writing a slice again: %s", error)
                self._load.close()
                if self._leaving.wait(_AGAIN):
                    raise
            except DatagenError:
                with suppress(Exception):
                    self._load.roll_back()
                raise
            else:
                self.last_error = ""
                return

    def _write(self, changes: Sequence[Batch], until: datetime) -> None:
        """One slice, in one transaction; nothing where an answer to its COMMIT got lost."""
        self._load.begin()
        moved = self._execute(
            f"UPDATE {self._table} SET tables_at = %(until)s WHERE {_SAME} AND tables_at = %(at)s",
            until=until,
            at=self.at,
        )
        if moved:
            for name, batches in groupby(changes, key=lambda batch: batch.name):
                self._merge(shape_of(name), batches)
            with waiting("COMMIT", WORK):
                self._load.execute("COMMIT")
        else:
            found = self._where()
            self._load.execute("ROLLBACK")
            if found != until:
                raise RejectedError(
                    f"PostgreSQL at {self._load.server.where}: the tables do not belong to this stream any "
                    "more; they were loaded anew, or another process streams into them"
                )
        self.at = until

    def _merge(self, table: TableShape, batches: Iterable[Batch]) -> None:
        """Updates the rows that are there and adds the others, by way of a temporary table."""
        load, given = self._load, replace(table, name=f"datagen_changed_{table.name}")
        name, key = f"{load.schema}.{table.name}", catalogue()[table.name].primary_key
        load.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {given.name} (LIKE {name}) ON COMMIT DELETE ROWS"
        )
        copy = CopyIn(load.connection, "pg_temp", given, freeze=False)
        for batch in batches:
            copy.write(batch)
        copy.rows()
        values = ", ".join(f"{c.name} = given.{c.name}" for c in table.columns if c.name != key)
        source = f"pg_temp.{given.name} AS given"
        with waiting(f"changes of {table.name}", load.lock_timeout + WORK):
            rows = load.affected(
                f"UPDATE ONLY {name} AS kept SET {values} FROM {source} WHERE kept.{key} = given.{key}"
            )
            if rows < copy.sent:
                rows += load.affected(
                    f"INSERT INTO {name} ({table.column_names}) SELECT {table.column_names} FROM {source} "
                    f"WHERE NOT EXISTS (SELECT FROM ONLY {name} AS kept WHERE kept.{key} = given.{key})"
                )
        if rows != copy.sent:
            raise RejectedError(
                f"PostgreSQL at {load.server.where}: table {table.name} took {rows} of {copy.sent} changed "
                "rows, as a trigger or a rule can have it; the slice was taken back. Disable that"
            )

    def _execute(self, statement: str, **more: object) -> int:
        """The number of rows that a statement about the stream affects."""
        return self._load.affected(statement, **self._stream, **more)

    def _where(self) -> datetime | None:
        return _followed_to(self._load, self._stream)


def followed_to(load: LoadSession, plan: Plan, from_customer: int) -> datetime | None:
    """In the session's transaction: the instant before which tables have all changes; None where they follow no such stream."""
    return None if lacks_streams(load) else _followed_to(load, _of_stream(plan, from_customer))


def _of_stream(plan: Plan, from_customer: int) -> dict[str, Any]:
    return {
        "seed": plan.seed,
        "from_customer": from_customer,
        "customers": plan.customers,
        "as_of": plan.as_of,
        "days": plan.days,
    }


def _followed_to(load: LoadSession, stream: dict[str, Any]) -> datetime | None:
    table = in_query(f"{load.schema}.{STREAMS}")
    rows = load.rows(f"SELECT tables_at FROM {table} WHERE {_SAME}", **stream)
    return rows[0][0] if rows else None


def lacks_streams(load: LoadSession) -> bool:
    """Whether the table of the instants is not there; refuses one that another role has made."""
    owner = _owner(load)
    if owner is None:
        return True
    [(role,)] = load.rows("SELECT current_user")
    if owner != role:
        raise ConfigurationError(
            f"PostgreSQL at {load.server.where}: table {STREAMS} is of the role {owner}, and what "
            f"it has attached would run with the rights of {role}. Stream as {owner}, or drop it"
        )
    return False


def make_streams(load: LoadSession) -> None:
    """Makes the table of the instants, in the session's transaction."""
    load.execute(_CREATE.format(schema=load.schema))


def forget_streams(load: LoadSession) -> None:
    """Streams cannot go on into tables that are emptied."""
    [(role,)] = load.rows("SELECT current_user")
    if _owner(load) == role:
        load.execute(f"DELETE FROM {load.schema}.{STREAMS}")


def _owner(load: LoadSession) -> str | None:
    """The role that has made the table of the instants."""
    rows = load.rows(
        "SELECT pg_get_userbyid(relowner) FROM pg_class "
        "WHERE relnamespace = %s::regnamespace AND relname = %s",
        load.schema,
        STREAMS,
    )
    return rows[0][0] if rows else None
