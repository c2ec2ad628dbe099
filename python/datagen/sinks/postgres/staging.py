"""The six tables built apart, each on a connection of its own, and put into place at once.

They are made in a schema of this run's own, where nobody looks. What a run that died has left
there is dropped by the next one.
"""

from __future__ import annotations

import logging
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ...errors import DatagenError, UnreachableError
from ...types import catalogue
from .server import begin, pooled
from .session import ANSWER, WORK, waiting
from .wire import CopyIn, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import psycopg

    from ..._core import Batch
    from .ddl import TableShape
    from .server import Server

__all__ = ["PREFIX", "Staging", "drop_leftovers"]

_log = logging.getLogger(__name__)

#: Names of schemas in which loads build their tables.
PREFIX = "datagen_loading_"
#: Seconds for sessions that are about to end to let go of such a schema.
_DROP = 5.0

#: Why tables may not be built in one schema and moved to another, as others would notice:
#: subscribers would miss rows, event triggers see statements that are not the user's, and new
#: tables lack the rights that are the default of their schema.
_MAY_STAGE = """
SELECT CASE
    WHEN NOT has_database_privilege(current_database(), 'CREATE')
        THEN 'the role may not create a schema'
    WHEN NOT has_schema_privilege(%(schema)s::regnamespace, 'CREATE')
        THEN 'the role may not create tables'
    WHEN EXISTS (SELECT FROM pg_publication) THEN 'the database has a publication'
    WHEN EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
        THEN 'the database has a replication slot'
    WHEN EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')
        THEN 'the database has an event trigger'
    WHEN EXISTS (SELECT FROM pg_default_acl
                 WHERE defaclnamespace = %(schema)s::regnamespace AND defaclobjtype = 'r')
        THEN 'the schema has default privileges'
END
"""

#: What tables that exist have and freshly made ones would not: properties of the table, of a
#: column, the text of a CHECK; whatever depends on a table (views, triggers, policies, indexes and
#: more), whatever it depends on, comments, labels, subscriptions.
_ATTACHED = """
WITH tables AS (
    SELECT * FROM pg_class
    WHERE relnamespace = %(schema)s::regnamespace AND relname = ANY(%(tables)s)
), parts (class, object) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM tables
    UNION ALL SELECT 'pg_class'::regclass, t.oid
        FROM pg_class t JOIN tables ON t.oid = tables.reltoastrelid WHERE t.reloptions IS NULL
    UNION ALL SELECT 'pg_class'::regclass, indexrelid
        FROM pg_index JOIN tables ON indrelid = reltoastrelid
    UNION ALL SELECT 'pg_type'::regclass, t.oid
        FROM pg_type t JOIN tables ON t.oid = reltype OR t.typelem = reltype
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid
        FROM pg_constraint k JOIN tables ON tables.oid = k.conrelid
    UNION ALL SELECT 'pg_trigger'::regclass, g.oid
        FROM pg_trigger g JOIN tables ON tables.oid = g.tgrelid
        WHERE g.tgisinternal AND g.tgenabled = 'O'
    UNION ALL SELECT 'pg_class'::regclass, i.oid
        FROM pg_index x JOIN tables ON tables.oid = x.indrelid JOIN pg_class i ON i.oid = indexrelid
        WHERE i.relname = ANY(%(indexes)s) AND i.reltablespace = 0 AND i.reloptions IS NULL
        AND NOT x.indisclustered AND NOT x.indisreplident
)
(
    SELECT relname || ' itself' FROM (
        SELECT relname, to_jsonb(tables) - %(own)s::text[] FROM tables
        EXCEPT SELECT relname, to_jsonb(c) - %(own)s::text[]
        FROM pg_class c WHERE relnamespace = %(staging)s::regnamespace
    ) AS changed
) UNION ALL (
    SELECT relname || '.' || attname FROM (
        SELECT relname, attname, to_jsonb(a) - %(own)s::text[]
        FROM tables JOIN pg_attribute a ON a.attrelid = tables.oid WHERE NOT a.attisdropped
        EXCEPT SELECT relname, attname, to_jsonb(a) - %(own)s::text[]
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = %(staging)s::regnamespace
    ) AS changed
) UNION ALL (
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
    FROM pg_depend d JOIN parts ON (d.refclassid, d.refobjid) = (class, object)
    WHERE (d.classid, d.objid) NOT IN (SELECT class, object FROM parts)
) UNION ALL (
    SELECT pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
    FROM pg_depend d JOIN tables ON d.classid = 'pg_class'::regclass AND d.objid = tables.oid
    WHERE d.refclassid <> 'pg_namespace'::regclass
    AND (d.refclassid, d.refobjid) NOT IN (SELECT class, object FROM parts)
) UNION ALL (
    SELECT 'comment ' || description
    FROM pg_description JOIN parts ON (classoid, objoid) = (class, object)
) UNION ALL (
    SELECT 'label ' || label FROM pg_seclabel JOIN parts ON (classoid, objoid) = (class, object)
) UNION ALL (
    SELECT 'subscription' FROM pg_subscription_rel JOIN tables ON srrelid = tables.oid
)
"""

#: The server's process of another session; sessions of one role see one another.
_BESIDE = "SELECT FROM pg_stat_activity WHERE pid = %s AND datname = current_database()"

#: Seconds that each connection may take. One is there already: others are no longer worth it.
_CONNECTION = 3

#: And the text of their CHECKs, which takes a lock to read.
_CHECKS = """
UNION ALL (
    SELECT conname FROM (
        SELECT relname, conname, pg_get_constraintdef(k.oid)
        FROM tables JOIN pg_constraint k ON k.conrelid = tables.oid WHERE k.contype = 'c'
        EXCEPT SELECT relname, conname, pg_get_constraintdef(k.oid)
        FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
        WHERE c.relnamespace = %(staging)s::regnamespace
    ) AS changed
)
"""

#: Columns of pg_class and pg_attribute that tell one table from another and not what it is like,
#: or that follow from its rows, keys, and columns of the past.
_OWN = [
    *("oid", "relnamespace", "reltype", "relfilenode", "reltoastrelid", "relfrozenxid"),
    *("relminmxid", "relpages", "reltuples", "relallvisible", "relallfrozen", "relhasindex"),
    *("relhastriggers", "relnatts", "attrelid", "attnum", "attcacheoff", "attmissingval"),
    "atthasmissing",
]


class _TableSession:
    """One table's session: it takes rows, and then a statement that is not waited for at once."""

    def __init__(self, session: psycopg.Connection[Any], table: str) -> None:
        self.session = session
        self.rows = 0
        self._table = table
        self._wire = Wire(session)
        self._copy: CopyIn | None = None
        self._next = ""
        self._busy = False

    def write(self, batch: Batch, schema: str, table: TableShape) -> None:
        if self._copy is None:
            self._copy = CopyIn(self._wire, schema, table, freeze=True)
        self._copy.write(batch)

    def finish(self, statement: str) -> None:
        """Says that there are no more rows, and what the server is to do then."""
        self._next = statement
        if self._copy is not None:
            self._copy.end()
            self._busy = True
        else:
            self._go_on()

    def advance(self, *, wait: bool = False) -> None:
        """Goes on to the statement once the rows have arrived; raises what the server objects."""
        while self._busy and (wait or self._wire.answered()):
            if self._copy is not None:
                self.rows, self._copy = self._copy.rows(), None
            else:
                with waiting(f"the keys of {self._table}", WORK):
                    self._wire.wait()
            self._go_on()

    def _go_on(self) -> None:
        statement, self._next = self._next, ""
        if statement:
            self._wire.send(statement)
        self._busy = bool(statement)


class Staging:
    """Tables in a schema of their own, with a session each.

    Every session is in a transaction of its own from ``prepare`` until its table has its keys.
    """

    def __init__(self, server: Server, tables: Sequence[TableShape], lock_timeout: float) -> None:
        self.schema = PREFIX + secrets.token_hex(6)
        self._sessions: dict[str, _TableSession] = {}
        self._server = server
        self._tables = tables
        self._lock_timeout = lock_timeout
        self._turn = threading.Lock()
        self._given_up = False

    @classmethod
    def prepare(
        cls,
        server: Server,
        main: psycopg.Connection[Any],
        target: str,
        tables: Sequence[TableShape],
        existing: Collection[str],
        lock_timeout: float,
    ) -> Self | None:
        """Makes the tables, ready for COPY; None where they could not take the old ones' places.

        ``main`` is in the load's transaction and has locked those that exist in ``target``.
        """
        import psycopg

        if pooled(main):
            _log.info(
                "one connection has to do: a connection pooler is in front of PostgreSQL at %s",
                server.where,
            )
            return None
        staging = cls(server, tables, lock_timeout)
        try:
            # A statement that fails must not end the load's transaction.
            with main.transaction():
                if staging._may_stage(main, target):
                    staging._make(main)
                    if not existing or not staging._attached(main, target, _CHECKS):
                        staging._of_each_table(staging._empty)
                        return staging
        except (DatagenError, psycopg.Error) as error:
            # Too few connections, for example.
            _log.info("one connection has to do: %s", server.text(error))
        except BaseException:
            staging._give_up()
            raise
        staging._give_up()
        return None

    def write(self, table: TableShape, batch: Batch) -> None:
        self._sessions[table.name].write(batch, self.schema, table)
        self._advance()

    def finish(self, table: TableShape) -> None:
        """A table has all its rows; the server adds its keys, and is not waited for."""
        keys = [table.add_keys(self.schema), *table.add_indexes(self.schema)]
        self._sessions[table.name].finish("; ".join(keys))
        self._advance()

    def complete(self) -> dict[str, int]:
        """Waits for the keys of all tables, and adds foreign keys; how many rows there are."""
        self._wait()
        for name, one in self._sessions.items():
            with waiting(f"COMMIT of {name}", WORK):
                one.session.execute(b"COMMIT")
        children = [table for table in self._tables if table.foreign_keys]
        first = self._sessions[children[0].name].session
        begin(first, self._lock_timeout)
        for table in children:
            first.execute(table.add_foreign_keys(self.schema, valid=False).encode())
        first.execute(b"COMMIT")
        # They are checked all at once: none of these locks shuts out another.
        for table in children:
            one = self._sessions[table.name]
            begin(one.session, self._lock_timeout)
            one.finish(f"{table.validate_foreign_keys(self.schema)}; COMMIT")
        self._wait()
        return {name: one.rows for name, one in self._sessions.items()}

    def put_into_place(
        self, main: psycopg.Connection[Any], target: str, existing: Collection[str]
    ) -> bool:
        """Moves the tables to ``target`` in place of the old ones, in ``main``'s transaction.

        False where something was attached to the old ones since ``prepare``, or to their schema:
        then nothing is changed, and ``copy_into`` takes the rows there.
        """
        main.execute(b"SAVEPOINT swap")
        with waiting("the old tables to be dropped", self._lock_timeout + WORK):
            if existing:
                names = ", ".join(f"{target}.{name}" for name in existing)
                main.execute(f"DROP TABLE {names}".encode())
        # From here on a change of what was dropped waits for this transaction. Another session sees
        # what was there until now: all changes that would be lost.
        witness = self._sessions[self._tables[0].name].session
        begin(witness, self._lock_timeout, read_only=True)
        lossless = self._may_stage(witness, target) and not (
            existing and self._attached(witness, target)
        )
        witness.execute(b"COMMIT")
        if not lossless:
            main.execute(b"ROLLBACK TO SAVEPOINT swap")
            return False
        for table in self._tables:
            main.execute(f"ALTER TABLE {self.schema}.{table.name} SET SCHEMA {target}".encode())
        main.execute(f"DROP SCHEMA {self.schema}".encode())
        return True

    def copy_into(self, main: psycopg.Connection[Any], target: str) -> dict[str, int]:
        """Copies the rows into tables of ``target``, which are empty, in ``main``'s transaction.

        How many rows each has taken.
        """
        taken = {}
        for table in self._tables:
            with waiting(f"rows of {table.name} to be copied", WORK):
                done = main.execute(
                    f"INSERT INTO {target}.{table.name} ({table.column_names}) "  # noqa: S608
                    f"SELECT {table.column_names} FROM {self.schema}.{table.name}".encode()
                )
            taken[table.name] = done.rowcount
        _drop_tables(main, self.schema)
        return taken

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

    def discard(self, main: psycopg.Connection[Any]) -> None:
        """Drops what was made; ``main`` has left the load's transaction, or is lost."""
        import psycopg

        self.disconnect()
        try:
            if (
                not main.closed
                and main.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            ):
                _drop(main, self.schema)
                return
        except psycopg.Error as error:
            _log.info("schema %s: %s", self.schema, self._server.text(error))
        self._drop_over_another()

    def _drop_over_another(self) -> None:
        """Drops what was made over a connection that lives."""
        import psycopg

        try:
            with self._server.connect(timeout=2) as another:
                _drop(another, self.schema)
        except (DatagenError, psycopg.Error):
            _log.warning("schema %s could not be dropped; the next load will do it", self.schema)

    def _make(self, main: psycopg.Connection[Any]) -> None:
        self._of_each_table(partial(self._connect, main))
        # In the order of the tables, whichever connected first.
        self._sessions = {table.name: self._sessions[table.name] for table in self._tables}
        first = self._sessions[self._tables[0].name].session
        begin(first, self._lock_timeout)
        first.execute(f"CREATE SCHEMA {self.schema}".encode())
        for table in self._tables:
            first.execute(table.create(self.schema).encode())
        first.execute(b"COMMIT")

    @staticmethod
    def _may_stage(main: psycopg.Connection[Any], target: str) -> bool:
        row = main.execute(_MAY_STAGE.encode(), {"schema": target}).fetchone()
        if row and row[0]:
            _log.info("tables cannot be built apart: %s", row[0])
        return not (row and row[0])

    def _attached(self, main: psycopg.Connection[Any], target: str, more: str = "") -> bool:
        indexes = [name for table in self._tables for name in table.index_names]
        names = {"tables": [table.name for table in self._tables], "indexes": indexes}
        schemas = {"schema": target, "staging": self.schema, "own": _OWN}
        rows = main.execute((_ATTACHED + more).encode(), {**names, **schemas}).fetchall()
        found = sorted({str(what) for (what,) in rows})
        if found:
            _log.info("tables are kept, for what they alone have: %s", "; ".join(found))
        return bool(found)

    def _connect(self, main: psycopg.Connection[Any], table: TableShape) -> None:
        session = self._server.connect(beside=main, timeout=_CONNECTION)
        self._sessions[table.name] = _TableSession(session, table.name)
        if self._given_up:
            session.close()
        begin(session, self._lock_timeout, read_only=True)
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
        begin(session, self._lock_timeout)
        # The commit that puts the tables into place makes all of it durable.
        session.execute(b"SET LOCAL synchronous_commit = off")
        # A server that builds an index would not miss a process that is gone; those on Windows
        # cannot be asked to.
        with suppress(psycopg.Error), session.transaction():
            session.execute(b"SET LOCAL client_connection_check_interval = '1s'")
        session.execute(f"TRUNCATE {self.schema}.{table.name}".encode())

    def _of_each_table(self, work: Callable[[TableShape], None]) -> None:
        """Does it for all tables at once: mostly, the server is waited for."""
        threads = ThreadPoolExecutor(len(self._tables))
        try:
            for _ in threads.map(work, self._tables):
                pass
        except BaseException as error:
            # Ctrl-C does not wait for connections that may not come.
            self._given_up = not isinstance(error, Exception)
            threads.shutdown(wait=not self._given_up, cancel_futures=True)
            raise
        threads.shutdown()

    def _advance(self) -> None:
        # With writers of several threads, one of them is enough.
        if self._turn.acquire(blocking=False):
            try:
                for one in self._sessions.values():
                    one.advance()
            finally:
                self._turn.release()

    def _wait(self) -> None:
        for one in self._sessions.values():
            one.advance(wait=True)

    def _give_up(self) -> None:
        import psycopg

        first = self._sessions.pop(self._tables[0].name, None)
        self.disconnect()
        if first is None:
            return
        try:
            with first.session as session:
                session.rollback()
                _drop(session, self.schema)
        except psycopg.Error as error:
            if not self._given_up:
                _log.info("schema %s: %s", self.schema, self._server.text(error))
                self._drop_over_another()


def drop_leftovers(session: psycopg.Connection[Any], lock: int) -> None:
    """Drops what loads that died have left; every load that lives holds ``lock``."""
    import psycopg

    find = b"SELECT nspname FROM pg_namespace WHERE nspname ~ %s AND pg_has_role(nspowner, 'USAGE')"
    begin(session, _DROP)
    found = session.execute(find, [f"^{PREFIX}[0-9a-f]{{12}}$"]).fetchall()
    session.execute(b"COMMIT")
    for (schema,) in found:
        try:
            begin(session, _DROP)
            row = session.execute(b"SELECT pg_try_advisory_xact_lock(%s)", [lock]).fetchone()
            if row and row[0]:
                _drop_tables(session, schema)
            session.execute(b"COMMIT")
        except psycopg.Error as error:
            _log.info("schema %s, of a load that has ended, stays: %s", schema, error)
            session.execute(b"ROLLBACK")


def _drop(session: psycopg.Connection[Any], schema: str) -> None:
    # Sessions of the load may be about to end.
    begin(session, _DROP)
    _drop_tables(session, schema)
    session.execute(b"COMMIT")


def _drop_tables(session: psycopg.Connection[Any], schema: str) -> None:
    """What others have made of them is not dropped with them, but keeps them."""
    names = ", ".join(f"{schema}.{table.name}" for table in catalogue().tables)
    # Nothing says IF EXISTS of a table whose schema does not.
    found = session.execute(b"SELECT to_regnamespace(%s)", [schema]).fetchone()
    if found and found[0]:
        with waiting(f"schema {schema} to be dropped", _DROP + ANSWER):
            session.execute(f"DROP TABLE IF EXISTS {names}".encode())
            session.execute(f"DROP SCHEMA {schema}".encode())
