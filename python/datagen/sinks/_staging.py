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

from ..errors import DatagenError
from ._server import begin
from ._wire import CopyIn, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import psycopg

    from .._core import Batch
    from ._ddl import TableShape
    from ._server import Server

__all__ = ["Staging", "drop_leftovers"]

_log = logging.getLogger(__name__)

_PREFIX = "datagen_loading_"

#: Whether tables may be built in one schema and moved to another without anybody noticing:
#: subscribers would miss rows, event triggers see statements that are not the user's, and new
#: tables lack the rights that are the default of their schema.
_MAY_STAGE = """
SELECT has_database_privilege(current_database(), 'CREATE')
   AND has_schema_privilege(%(schema)s::regnamespace, 'CREATE')
   AND NOT EXISTS (SELECT FROM pg_publication)
   AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database())
   AND NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')
   AND NOT EXISTS (SELECT FROM pg_default_acl
                   WHERE defaclnamespace = %(schema)s::regnamespace AND defaclobjtype = 'r')
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
    SELECT conname FROM (
        SELECT relname, conname, pg_get_constraintdef(k.oid)
        FROM tables JOIN pg_constraint k ON k.conrelid = tables.oid WHERE k.contype = 'c'
        EXCEPT SELECT relname, conname, pg_get_constraintdef(k.oid)
        FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
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

#: Columns of pg_class and pg_attribute that tell one table from another and not what it is like,
#: or that follow from its rows, keys, and columns of the past.
_OWN = [
    *("oid", "relnamespace", "reltype", "relfilenode", "reltoastrelid", "relfrozenxid"),
    *("relminmxid", "relpages", "reltuples", "relallvisible", "relallfrozen", "relhasindex"),
    *("relhastriggers", "relnatts", "attrelid", "attnum", "attcacheoff", "attmissingval"),
    "atthasmissing",
]


class _Lane:
    """One table's session: it takes rows, and then a statement that nobody waits for."""

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self.session = session
        self.rows = 0
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
        self.schema = _PREFIX + secrets.token_hex(6)
        self._lanes: dict[str, _Lane] = {}
        self._server = server
        self._tables = tables
        self._lock_timeout = lock_timeout
        self._turn = threading.Lock()

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

        staging = cls(server, tables, lock_timeout)
        try:
            # A statement that fails must not end the load's transaction.
            with main.transaction():
                row = main.execute(_MAY_STAGE.encode(), {"schema": target}).fetchone()
                if row and row[0]:
                    staging._make(main)
                    if not existing or not staging._attached(main, target):
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
        self._lanes[table.name].write(batch, self.schema, table)
        self._advance()

    def finish(self, table: TableShape) -> None:
        """A table has all its rows; the server adds its keys, and is not waited for."""
        keys = [table.add_keys(self.schema), *table.add_indexes(self.schema)]
        self._lanes[table.name].finish("; ".join(keys))
        self._advance()

    def complete(self) -> dict[str, int]:
        """Waits for the keys of all tables, and adds foreign keys; how many rows there are."""
        self._wait()
        for lane in self._lanes.values():
            lane.session.execute(b"COMMIT")
        children = [table for table in self._tables if table.foreign_keys]
        first = self._lanes[children[0].name].session
        begin(first, self._lock_timeout)
        for table in children:
            first.execute(table.add_foreign_keys(self.schema, valid=False).encode())
        first.execute(b"COMMIT")
        # They are checked all at once: none of these locks shuts out another.
        for table in children:
            lane = self._lanes[table.name]
            begin(lane.session, self._lock_timeout)
            lane.finish(f"{table.validate_foreign_keys(self.schema)}; COMMIT")
        self._wait()
        return {name: lane.rows for name, lane in self._lanes.items()}

    def put_into_place(
        self, main: psycopg.Connection[Any], target: str, existing: Collection[str]
    ) -> None:
        """Moves the tables to ``target`` in place of the old ones, in ``main``'s transaction."""
        if existing:
            names = ", ".join(f"{target}.{name}" for name in existing)
            main.execute(f"DROP TABLE {names}".encode())
        for table in self._tables:
            main.execute(f"ALTER TABLE {self.schema}.{table.name} SET SCHEMA {target}".encode())
        main.execute(f"DROP SCHEMA {self.schema}".encode())

    def disconnect(self) -> None:
        """Ends the sessions at once, whatever they are at."""
        import psycopg

        sessions = [lane.session for lane in self._lanes.values()]
        self._lanes.clear()
        with suppress(psycopg.Error):
            for session in sessions:
                if session.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    session.cancel_safe(timeout=1)
        for session in sessions:
            session.close()

    def discard(self, main: psycopg.Connection[Any]) -> None:
        """Drops what was made; ``main`` has left the load's transaction, or is lost."""
        import psycopg

        self.disconnect()
        try:
            if main.closed:
                with self._server.connect() as another:
                    _drop(another, self.schema)
            else:
                _drop(main, self.schema)
        except (DatagenError, psycopg.Error):
            _log.warning("schema %s could not be dropped; the next load will do it", self.schema)

    def _make(self, main: psycopg.Connection[Any]) -> None:
        self._of_each_table(partial(self._connect, main))
        # In the order of the tables, whichever connected first.
        self._lanes = {table.name: self._lanes[table.name] for table in self._tables}
        first = self._lanes[self._tables[0].name].session
        begin(first, self._lock_timeout)
        first.execute(f"CREATE SCHEMA {self.schema}".encode())
        for table in self._tables:
            first.execute(table.create(self.schema).encode())
        first.execute(b"COMMIT")

    def _attached(self, main: psycopg.Connection[Any], target: str) -> bool:
        indexes = [name for table in self._tables for name in table.index_names]
        names = {"tables": [table.name for table in self._tables], "indexes": indexes}
        schemas = {"schema": target, "staging": self.schema, "own": _OWN}
        rows = main.execute(_ATTACHED.encode(), {**names, **schemas}).fetchall()
        found = sorted({str(what) for (what,) in rows})
        if found:
            _log.info("tables are kept, for what they alone have: %s", "; ".join(found))
        return bool(found)

    def _connect(self, main: psycopg.Connection[Any], table: TableShape) -> None:
        self._lanes[table.name] = _Lane(self._server.connect(beside=main))

    def _empty(self, table: TableShape) -> None:
        """A session truncates its table in the transaction of the COPY, as FREEZE wants it."""
        import psycopg

        session = self._lanes[table.name].session
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
        with ThreadPoolExecutor(len(self._tables)) as threads:
            for _ in threads.map(work, self._tables):
                pass

    def _advance(self) -> None:
        # With writers of several threads, one of them is enough.
        if self._turn.acquire(blocking=False):
            try:
                for lane in self._lanes.values():
                    lane.advance()
            finally:
                self._turn.release()

    def _wait(self) -> None:
        for lane in self._lanes.values():
            lane.advance(wait=True)

    def _give_up(self) -> None:
        import psycopg

        first = self._lanes.pop(self._tables[0].name, None)
        self.disconnect()
        if first is not None:
            with suppress(psycopg.Error), first.session as session:
                session.rollback()
                _drop(session, self.schema)


def drop_leftovers(session: psycopg.Connection[Any], lock: int) -> None:
    """Drops what loads that died have left; every load that lives holds ``lock``."""
    import psycopg

    find = b"SELECT nspname FROM pg_namespace WHERE nspname ~ %s AND pg_has_role(nspowner, 'USAGE')"
    for (schema,) in session.execute(find, [f"^{_PREFIX}[0-9a-f]{{12}}$"]).fetchall():
        with suppress(psycopg.Error), session.transaction():
            row = session.execute(b"SELECT pg_try_advisory_xact_lock(%s)", [lock]).fetchone()
            if row and row[0]:
                _drop(session, schema)


def _drop(session: psycopg.Connection[Any], schema: str) -> None:
    with session.transaction():
        # Sessions of the load may be about to end.
        session.execute(b"SET LOCAL lock_timeout = '5s'")
        session.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
