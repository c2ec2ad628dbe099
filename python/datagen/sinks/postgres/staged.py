"""The six tables built apart, each over a COPY session of its own, and swapped in at once.

They are made in a schema of this run's own, which nothing else refers to. What a run that died has
left there is dropped by the next one.
"""

from __future__ import annotations

import logging
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import DatagenError, UnreachableError
from .copy_session import CopySession
from .ddl import shapes
from .inspection import STAGING_PREFIX
from .key_plan import KeyPlan
from .server import begin, pooled
from .session import WORK, waiting
from .staging_schema import drop_schema, drop_tables, keeps_tables, may_stage
from .strategies import Fresh, Strategy, refuse_fewer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psycopg

    from ..._core import Batch
    from .ddl import TableShape
    from .inspection import Found
    from .load_session import LoadSession

__all__ = ["Staged"]

_log = logging.getLogger(__name__)

#: The server's process of another session; sessions of one role see one another.
_BESIDE: Final = "SELECT FROM pg_stat_activity WHERE pid = %s AND datname = current_database()"
#: Seconds that each connection may take. One is there already: others are no longer worth it.
_CONNECTION: Final = 3


class Staged(Strategy):
    """Tables in a schema of their own, with a COPY session each.

    Every session is in a transaction of its own from ``prepare`` until its table has its keys.
    """

    def __init__(self, load: LoadSession, existing: Mapping[str, Found]) -> None:
        plan = KeyPlan.of((), truncate=False, followed=False)
        super().__init__(load, plan, {table.name: 0 for table in shapes()})
        self.schema = STAGING_PREFIX + secrets.token_hex(6)
        self._existing = existing
        self._sessions: dict[str, CopySession] = {}
        self._advancing = threading.Lock()
        self._given_up = False

    @classmethod
    def prepare(cls, load: LoadSession, existing: Mapping[str, Found]) -> Self | None:
        """Makes the tables, ready for COPY; None where they could not replace the old ones.

        The load is in its transaction and has locked the tables that exist.
        """
        import psycopg

        main, target = load.connection, load.schema
        if pooled(main):
            _log.info(
                "one connection has to do: a connection pooler is in front of PostgreSQL at %s",
                load.server.where,
            )
            return None
        staged = cls(load, existing)
        try:
            # A statement that fails must not end the load's transaction.
            with main.transaction():
                if may_stage(main, target):
                    staged._make()
                    if not existing or not keeps_tables(main, target, staged.schema, checks=True):
                        staged._of_each_table(staged._empty)
                        return staged
        except (DatagenError, psycopg.Error) as error:
            # Too few connections, for example.
            _log.info("one connection has to do: %s", load.server.text(error))
        except BaseException:
            staged._give_up()
            raise
        staged._give_up()
        return None

    def write(self, table: TableShape, batch: Batch) -> int:
        self._sessions[table.name].write(batch, self.schema, table)
        self._advance()
        return len(batch)

    def finish(self, table: TableShape) -> None:
        """A table has all its rows; the server adds its keys, which are not awaited."""
        keys = self._plan[table.name].add_keys(self.schema)
        self._sessions[table.name].finish("; ".join(keys))
        self._advance()

    def complete(self) -> None:
        """Awaits the keys, adds foreign keys, and swaps the tables in.

        Where something was attached to the old tables since ``prepare``, or to their schema, these
        stay, and ``Fresh`` takes over with rows that are copied into them.
        """
        self._add_foreign_keys()
        sent = {name: one.rows for name, one in self._sessions.items()}
        self.rows_loaded.update(sent)
        if not self._swap_in():
            _log.info("rows are copied into tables that have got something meanwhile")
            fresh = Fresh.prepare(self._load, self._existing)
            self.rows_loaded.update(self._copy_into_target())
            for name, rows in self.rows_loaded.items():
                refuse_fewer(self._load, name, rows, sent[name])
            fresh.complete()

    def end_copy(self) -> None:
        """COPYs have sessions of their own."""

    def roll_back(self) -> None:
        """Ends the sessions, takes back the load's transaction, and drops what was made."""
        import psycopg

        self.disconnect()
        super().roll_back()
        main = self._load.connection
        try:
            if (
                not main.closed
                and main.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            ):
                drop_schema(main, self.schema)
                return
        except psycopg.Error as error:
            _log.info("schema %s: %s", self.schema, self._load.server.text(error))
        self._drop_over_another()

    def _add_foreign_keys(self) -> None:
        self._wait()
        for name, one in self._sessions.items():
            with waiting(f"COMMIT of {name}", WORK):
                one.session.execute(b"COMMIT")
        children = [table for table in shapes() if table.foreign_keys]
        first = self._sessions[children[0].name].session
        begin(first, self._load.lock_timeout)
        for table in children:
            first.execute(table.add_foreign_keys(self.schema, valid=False).encode())
        first.execute(b"COMMIT")
        # They are checked all at once: none of these locks shuts out another.
        for table in children:
            one = self._sessions[table.name]
            begin(one.session, self._load.lock_timeout)
            one.finish(f"{table.validate_foreign_keys(self.schema)}; COMMIT")
        self._wait()

    def _swap_in(self) -> bool:
        """Moves the tables to where the old ones were, in the load's transaction.

        False where that would lose something of the old ones; then nothing is changed.
        """
        load, target = self._load, self._load.schema
        load.execute("SAVEPOINT swap")
        with waiting("the old tables to be dropped", load.lock_timeout + WORK):
            if self._existing:
                names = ", ".join(f"{target}.{name}" for name in self._existing)
                load.execute(f"DROP TABLE {names}")
        # From here on a change of what was dropped waits for this transaction. Another session sees
        # what was there until now: all changes that would be lost.
        witness = self._first().session
        begin(witness, load.lock_timeout, read_only=True)
        lossless = may_stage(witness, target) and not (
            self._existing and keeps_tables(witness, target, self.schema)
        )
        witness.execute(b"COMMIT")
        if not lossless:
            load.execute("ROLLBACK TO SAVEPOINT swap")
            return False
        for table in shapes():
            load.execute(f"ALTER TABLE {self.schema}.{table.name} SET SCHEMA {target}")
        load.execute(f"DROP SCHEMA {self.schema}")
        return True

    def _copy_into_target(self) -> dict[str, int]:
        """Copies the rows into the tables of the target, which are empty; how many each took."""
        taken = {}
        for table in shapes():
            with waiting(f"rows of {table.name} to be copied", WORK):
                done = self._load.connection.execute(
                    f"INSERT INTO {self._load.schema}.{table.name} ({table.column_names}) "  # noqa: S608
                    f"SELECT {table.column_names} FROM {self.schema}.{table.name}".encode()
                )
            taken[table.name] = done.rowcount
        drop_tables(self._load.connection, self.schema)
        return taken

    # Sessions

    def _make(self) -> None:
        self._of_each_table(self._connect)
        # In the order of the tables, whichever connected first.
        self._sessions = {table.name: self._sessions[table.name] for table in shapes()}
        first = self._first().session
        begin(first, self._load.lock_timeout)
        first.execute(f"CREATE SCHEMA {self.schema}".encode())
        for table in self._plan.tables:
            for statement in table.create(self.schema):
                first.execute(statement.encode())
        first.execute(b"COMMIT")

    def _connect(self, table: TableShape) -> None:
        main = self._load.connection
        session = self._load.server.connect(beside=main, timeout=_CONNECTION)
        self._sessions[table.name] = CopySession(session, table.name)
        if self._given_up:
            session.close()
        begin(session, self._load.lock_timeout, read_only=True)
        row = session.execute(_BESIDE.encode(), [main.info.backend_pid]).fetchone()
        session.execute(b"COMMIT")
        if row is None:
            raise UnreachableError("another connection leads to another server")
        if session.info.server_version >= 140_000:
            session.execute(b"SET idle_session_timeout = 0")

    def _empty(self, table: TableShape) -> None:
        """A session truncates its table in the transaction of the COPY, as FREEZE wants it."""
        import psycopg

        session = self._sessions[table.name].session
        begin(session, self._load.lock_timeout)
        # The commit that swaps the tables in makes all of it durable.
        session.execute(b"SET LOCAL synchronous_commit = off")
        # A server that builds an index would not miss a process that is gone; those on Windows
        # cannot be asked to.
        with suppress(psycopg.Error), session.transaction():
            session.execute(b"SET LOCAL client_connection_check_interval = '1s'")
        session.execute(f"TRUNCATE {self.schema}.{table.name}".encode())

    def _of_each_table(self, work: Callable[[TableShape], None]) -> None:
        """Does it for all tables at once: most of the time goes to waiting for the server."""
        threads = ThreadPoolExecutor(len(shapes()))
        try:
            for _ in threads.map(work, shapes()):
                pass
        except BaseException as error:
            # Ctrl-C does not wait for connections that may not come.
            self._given_up = not isinstance(error, Exception)
            threads.shutdown(wait=not self._given_up, cancel_futures=True)
            raise
        threads.shutdown()

    def _first(self) -> CopySession:
        return self._sessions[shapes()[0].name]

    def _advance(self) -> None:
        # With writers of several threads, one of them is enough.
        if self._advancing.acquire(blocking=False):
            try:
                for one in self._sessions.values():
                    one.advance()
            finally:
                self._advancing.release()

    def _wait(self) -> None:
        for one in self._sessions.values():
            one.advance(wait=True)

    def disconnect(self) -> None:
        """Ends the sessions at once, whatever they are at."""
        import psycopg

        sessions = [one.session for one in self._sessions.values()]
        self._sessions.clear()
        active = psycopg.pq.TransactionStatus.ACTIVE
        busy = [one for one in sessions if one.info.transaction_status == active]

        def cancel(session: psycopg.Connection[Any]) -> None:
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=1)

        if busy:
            with ThreadPoolExecutor(len(busy)) as threads:
                threads.map(cancel, busy)
        for session in sessions:
            session.close()

    def _give_up(self) -> None:
        import psycopg

        first = self._sessions.pop(shapes()[0].name, None)
        self.disconnect()
        if first is None:
            return
        try:
            with first.session as session:
                session.rollback()
                drop_schema(session, self.schema)
        except psycopg.Error as error:
            if not self._given_up:
                _log.info("schema %s: %s", self.schema, self._load.server.text(error))
                self._drop_over_another()

    def _drop_over_another(self) -> None:
        """Drops what was made over a connection that lives."""
        import psycopg

        try:
            with self._load.server.connect(timeout=2) as another:
                drop_schema(another, self.schema)
        except (DatagenError, psycopg.Error):
            _log.warning("schema %s could not be dropped; the next load will do it", self.schema)
