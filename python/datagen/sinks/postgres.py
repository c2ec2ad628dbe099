"""Master data into PostgreSQL: all or nothing, binary COPY, keys checked by the server."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from ..errors import (
    ConfigurationError,
    CountingError,
    DatagenError,
    OptionError,
    RejectedError,
    UnreachableError,
)
from ..types import catalogue
from ._ddl import Column, TableShape, differences, shape
from ._server import Server, begin, is_lost, pooled
from ._session import ANSWER, WORK, waiting
from ._staging import PREFIX, Staging, drop_leftovers
from ._wire import CopyIn, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import psycopg

    from .._core import Batch
    from ._server import Target

    Outcome = Literal["nothing", "committed", "unknown"]

__all__ = ["PostgresSink"]

_log = logging.getLogger(__name__)

#: Two loads into one database take turns: both hold this transaction-level advisory lock.
_LOAD_LOCK = int.from_bytes(b"datagen")

#: Seconds without progress until rows that are committed are not counted, or until it stays open
#: whether they are.
_PATIENCE: Final = 30.0
#: The same after Ctrl-C.
_AFTER_INTERRUPT: Final = 0.8

#: What the server's 32 bits of milliseconds hold.
_MAX_LOCK_TIMEOUT: Final = 2_147_483

#: Bytes of a name (NAMEDATALEN - 1).
_NAME_BYTES: Final = 63

#: Whether keys or their indexes have something that would be lost if they were made anew.
_KEYS_HAVE_MORE = """
WITH tables AS (
    SELECT oid FROM pg_class WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)
)
SELECT EXISTS (
    SELECT FROM tables JOIN pg_index x ON x.indrelid = tables.oid
    JOIN pg_class i ON i.oid = x.indexrelid
    WHERE i.relname = ANY(%s) AND (
        i.reloptions IS NOT NULL OR i.reltablespace <> 0 OR x.indisclustered OR x.indisreplident
        OR obj_description(i.oid, 'pg_class') IS NOT NULL
    )
) OR EXISTS (
    SELECT FROM tables JOIN pg_constraint k ON k.conrelid = tables.oid
    WHERE k.contype IN ('p', 'u', 'f') AND obj_description(k.oid, 'pg_constraint') IS NOT NULL
) OR EXISTS (
    SELECT FROM tables JOIN pg_trigger g ON g.tgrelid = tables.oid
    WHERE g.tgisinternal AND g.tgenabled <> 'O'
)
"""


#: Whether somebody reads the changes of this database.
_FOLLOWED = """
SELECT EXISTS (SELECT FROM pg_publication) OR EXISTS (
    SELECT FROM pg_replication_slots WHERE database = current_database()
)
"""

#: Sessions that hold a lock on a table, or the lock of loads.
_HOLDERS = """
SELECT DISTINCT a.pid, a.usename, a.application_name, coalesce(host(a.client_addr), ''), a.state,
       round(extract(epoch FROM clock_timestamp() - a.xact_start))::int
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
) AND CASE WHEN %(table)s::text IS NULL
    THEN l.locktype = 'advisory' AND (l.classid::bigint << 32 | l.objid::bigint) = %(lock)s
    ELSE l.locktype = 'relation' AND l.relation = to_regclass(%(table)s)
END ORDER BY 1
"""

#: Code that runs with the rights of who loads, in tables of a role that might not have them:
#: triggers, defaults, rules, expressions of indexes, and CHECKs that are not those of ours.
_FOREIGN_CODE = """
WITH tables AS (
    SELECT c.oid, c.relname, c.relowner, NOT o.rolsuper AS others
    FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname = ANY(%(tables)s)
)
SELECT relname, pg_get_userbyid(owner), what FROM (
    SELECT t.relname, CASE WHEN others THEN t.relowner ELSE p.proowner END,
        'trigger ' || g.tgname
    FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid JOIN pg_proc p ON p.oid = g.tgfoid
    JOIN pg_roles o ON o.oid = p.proowner
    WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND (others OR NOT o.rolsuper)
    UNION ALL SELECT t.relname, t.relowner, 'the default of a column'
    FROM tables t JOIN pg_attrdef d ON d.adrelid = t.oid WHERE others
    UNION ALL SELECT t.relname, t.relowner, 'rule ' || r.rulename
    FROM tables t JOIN pg_rewrite r ON r.ev_class = t.oid WHERE others
    UNION ALL SELECT t.relname, t.relowner, 'index ' || x.indexrelid::regclass::text
    FROM tables t JOIN pg_index x ON x.indrelid = t.oid
    WHERE others AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
    UNION ALL SELECT t.relname, t.relowner, 'constraint ' || k.conname
    FROM tables t JOIN pg_constraint k ON k.conrelid = t.oid
    WHERE others AND k.contype = 'c' AND pg_get_constraintdef(k.oid) NOT IN (
        SELECT pg_get_constraintdef(o.oid) FROM pg_constraint o
        WHERE o.conrelid = to_regclass('pg_temp.datagen_' || t.relname) AND o.conname = k.conname
    )
) AS code (relname, owner, what) ORDER BY 1, 3 LIMIT 1
"""


class PostgresSink:
    """Loads the master tables, all or nothing.

    ``with PostgresSink(url) as sink``, then ``begin()``, ``write(batch)`` for each batch, and
    ``commit()``. An error in between leaves nothing behind, not even tables; leaving without a
    commit after rows were written raises RuntimeError, unless the sink had raised an error. Tables
    that are missing are made; tables of another shape are refused. They are in ``schema``, which must exist, or else in the first schema
    of the session's search_path that does.

    With ``truncate`` all six tables are emptied first. Primary, unique and foreign keys of tables
    that are new or emptied are added once their rows are there, which is several times faster than
    checking them row by row; where rows were there before, the keys stay on, and batches have to
    come in the order of the catalogue's tables. Waits at most ``lock_timeout`` seconds for
    sessions that hold the tables, and for another load into the same database.

    With ``parallel``, a load that owns all six tables (all new, or ``truncate``) builds them apart,
    each on a connection of its own, and puts them into place at ``commit()``, in one transaction.
    Then ``write`` may be called from several threads, one for each table, in any order of tables;
    ``finish(name)`` lets the keys of a table be made while others still load. Where it cannot be
    done without loss (views, triggers, grants and the like on the tables that are there, too few
    rights or connections, a connection pooler), one connection and one transaction do it all, as
    without ``parallel``.
    """

    def __init__(
        self,
        url: str,
        *,
        truncate: bool = False,
        parallel: bool = False,
        schema: str | None = None,
        lock_timeout: float = 60.0,
    ) -> None:
        self._server = Server(url)
        self._truncate = truncate
        self._parallel = parallel
        self._wanted_schema = None if schema is None else _checked_name(schema)
        if not 0 <= lock_timeout <= _MAX_LOCK_TIMEOUT:
            raise OptionError("lock_timeout", lock_timeout, f"0 to {_MAX_LOCK_TIMEOUT} seconds")
        self._lock_timeout = lock_timeout
        self._connection: psycopg.Connection[Any] | None = None
        self._schema = ""
        self._began = self._wrote = False
        #: An error has been raised, so that the caller knows.
        self._failed = False
        self._outcome: Outcome = "nothing"
        self._existing: dict[str, bool] = {}
        self._fresh: set[str] = set()
        self._keyless: list[str] = []
        self._keyed: set[str] = set()
        self._staging: Staging | None = None
        self._copies: dict[str, CopyIn] = {}
        self._finished: set[str] = set()
        self._rows_before: dict[str, int] = {}
        self._rows_loaded: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<PostgresSink {self._server.where}>"

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = self._began and self._wrote and not self._failed
        self.close()
        if left and kind is None:
            raise RuntimeError("commit() was not called: nothing was loaded")

    @property
    def outcome(self) -> Outcome:
        """What became of the rows; unknown where the answer to COMMIT got lost."""
        return self._outcome

    @property
    def rows_before(self) -> Mapping[str, int]:
        """Rows of each table when the load began, after truncation."""
        return dict(self._rows_before)

    @property
    def rows_loaded(self) -> Mapping[str, int]:
        """Rows that this load added to each table, as far as the server has said so."""
        return dict(self._rows_loaded)

    def connect(self) -> None:
        """Connects, and finds the schema; waits ten seconds at most unless the URL says otherwise.

        Raises ``ConfigurationError`` if the schema does not exist or may not be used.
        """
        if self._connection is not None:
            return
        self._connection = self._server.connect()
        try:
            with self._errors():
                self._begin()
                self._execute("ROLLBACK")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connections; what was not committed is taken back."""
        connection, self._connection = self._connection, None
        staging, self._staging = self._staging, None
        self._began = False
        self._copies.clear()
        if connection is None:
            return
        import psycopg

        try:
            if staging is not None:
                staging.disconnect()
            # Closing alone would do, but later: the server notices when it next reads. A session
            # in the midst of a statement (Ctrl-C while the server hangs) would not answer.
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                with suppress(psycopg.Error), waiting("a transaction to end", _AFTER_INTERRUPT):
                    connection.rollback()
            if staging is not None:
                staging.discard(connection)
        except psycopg.Error as error:
            _log.info("PostgreSQL at %s: %s", self._server.where, self._server.text(error))
        finally:
            connection.close()

    def begin(self) -> None:
        """Starts the load; creates, checks and (with ``truncate``) empties or locks the tables.

        Raises ``RejectedError`` for a table of another shape, or one that cannot be emptied since
        a table of the user's own refers to it.
        """
        if self._began:
            raise self._misused("begin() was called already")
        self._session()
        self._wrote = self._failed = False
        with self._errors():
            self._finished.clear()
            self._outcome = "nothing"
            self._reconnect_if_ended()
            drop_leftovers(self._session(), _LOAD_LOCK)
            self._begin()
            self._began = True
            self._take_turn()
            self._lock()
            self._existing = self._check_shapes()
            self._check_code()
            if self._truncate:
                self._check_references()
            if self._parallel and (self._truncate or not self._existing):
                self._staging = Staging.prepare(
                    self._server,
                    self._session(),
                    self._schema,
                    _shapes(),
                    self._existing,
                    self._lock_timeout,
                )
            if self._staging is not None:
                self._rows_before = {table.name: 0 for table in _shapes()}
                self._fresh = set(self._rows_before)
            else:
                self._prepare_tables()
            self._rows_loaded = dict.fromkeys(self._rows_before, 0)

    def write(self, batch: Batch) -> int:
        """Takes a batch of a master table; how many of its rows are new to the table.

        All of them, but for stocks that were there before the load: these are the same for every
        seed. A stock that is there with other values is refused. The server may refuse a row while
        later ones are written, or at ``finish`` or ``commit``.
        """
        table = _shape(batch.name)
        if not self._began:
            raise self._misused("call begin() before write()")
        if table.name in self._finished:
            raise self._misused(f"finish({table.name!r}) was called already")
        self._wrote = True
        with self._errors(table.name):
            # Reference rows are the same for every seed: those that are there are no conflict.
            if catalogue()[table.name].is_reference and self._rows_before[table.name]:
                added = self._merge(table, batch)
                self._rows_loaded[table.name] += added
                return added
            if self._staging is not None:
                self._staging.write(table, batch)
                return len(batch)
            copy = self._copy(table)
            copy.write(batch)
            if table.name not in self._fresh:
                # The server checks keys, and frees the memory of that, at the end of a COPY.
                copy.end()
        return len(batch)

    def finish(self, name: str) -> None:
        """Says that a table has all its rows: the server may go on with its keys.

        For those who want it fast; ``commit`` does it for the tables that are left.
        """
        table = _shape(name)
        if not self._began:
            raise self._misused("call begin() before finish()")
        if name in self._finished:
            return
        with self._errors(name):
            if self._staging is not None:
                self._staging.finish(table)
            else:
                self._end_copy(name)
        self._finished.add(name)

    def commit(self) -> None:
        """Adds what keys are still missing, and makes the load visible.

        Where the answer to COMMIT gets lost, the server is asked what became of it.
        """
        if not self._began:
            raise self._misused("call begin() before commit()")
        for table in _shapes():
            self.finish(table.name)
        if self._staging is None:
            self._add_keys()
        else:
            with self._errors():
                sent = self._rows_loaded = self._staging.complete()
                put = self._staging.put_into_place(self._session(), self._schema, self._existing)
            if not put:
                _log.info("rows are copied into tables that have got something meanwhile")
                with self._errors():
                    self._prepare_tables()
                    self._rows_loaded = self._staging.copy_into(self._session(), self._schema)
                    for name, rows in self._rows_loaded.items():
                        self._refuse_fewer(name, rows, sent[name])
                self._add_keys()
        with self._errors():
            self._make_visible()
        self._began = False
        if self._staging is not None:
            with suppress(Exception):
                self._staging.disconnect()
            self._staging = None

    def counts(self) -> dict[str, int]:
        """Rows of each table now, by ``SELECT count(*)``; 0 for a table that does not exist.

        After a commit over a fresh connection, since the old one may have been ended; raises
        ``CountingError`` where that cannot be done within half a minute without progress.
        """
        if self._began:
            with self._errors():
                self._end_copies()
                return self._count(self._tables())
        self._session()
        if self._outcome != "committed":
            with self._errors():
                self._reconnect_if_ended()
                self._begin()
                counts = self._count(self._tables())
                self._execute("ROLLBACK")
            return counts
        return self._count_committed()

    # Beginning

    def _begin(self) -> None:
        """Starts a transaction; finds the schema the first time, and looks whether it may be used."""
        target = begin(self._session(), self._lock_timeout)
        if target.replication_role == "replica":
            # Foreign keys would not be checked.
            self._execute("SET LOCAL session_replication_role = origin")
        if not self._schema:
            if self._wanted_schema is not None:
                self._check_schema(self._wanted_schema)
            name = self._wanted_schema or self._found_schema(target)
            [(self._schema,)] = self._rows("SELECT quote_ident(%s)", name)

    def _reconnect_if_ended(self) -> None:
        """A session that waited for the load to begin may have been ended, which harms nothing."""
        import psycopg

        try:
            with waiting("the session to be there", ANSWER):
                self._execute("SELECT")
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            _log.info("connecting again: %s", self._server.text(error))
            self._session().close()
            self._connection = self._server.connect()

    def _found_schema(self, target: Target) -> str:
        """The schema of unqualified names, if the session is as it was asked to be."""
        asked = self._server.asked(self._session())
        for name, found in {"search_path": target.search_path, "role": target.role}.items():
            if asked.get(name, found) != found:
                raise ConfigurationError(
                    f"PostgreSQL at {self._server.where}: {name} is {found!r}, not "
                    f"{asked[name]!r} as the connection asks for, which a connection pooler may "
                    f"have dropped. Name the schema with --postgres-schema"
                )
        if pooled(self._session()) and "search_path" not in asked:
            [(usual,)] = self._rows("SELECT reset_val FROM pg_settings WHERE name = 'search_path'")
            if usual != target.search_path:
                raise ConfigurationError(
                    f"PostgreSQL at {self._server.where}: the connection pooler's session has the "
                    f"search_path {target.search_path!r}, and the role's is {usual!r}. Name the "
                    f"schema with --postgres-schema"
                )
        if target.schema is None:
            raise ConfigurationError(
                f"PostgreSQL at {self._server.where}: no schema of the search_path exists; "
                f"create one, correct search_path, or name one with --postgres-schema"
            )
        if not _may_be_ours(target.schema):
            # Temporary tables, for example, are gone as soon as they are loaded.
            raise ConfigurationError(
                f"PostgreSQL at {self._server.where}: {target.schema!r} is the first schema of the "
                f"search_path, and no place for tables of yours; name one with --postgres-schema"
            )
        return target.schema

    def _check_schema(self, name: str) -> None:
        import psycopg

        server = f"PostgreSQL at {self._server.where}"
        try:
            found = self._rows(
                "SELECT has_schema_privilege(n.oid, 'USAGE'), "
                "has_schema_privilege(n.oid, 'CREATE'), (SELECT count(*) FROM pg_class "
                "WHERE relnamespace = n.oid AND relname = ANY(%s)) "
                "FROM pg_namespace n WHERE nspname = %s",
                [table.name for table in _shapes()],
                name,
            )
        except psycopg.errors.UntranslatableCharacter:
            # The database's encoding cannot write the name.
            found = []
        if not found:
            raise ConfigurationError(
                f"{server}: schema {name!r} does not exist; create it, or name another with "
                f"--postgres-schema"
            )
        [(may_use, may_create, there)] = found
        if not may_use or not (may_create or there == len(_shapes())):
            right = "CREATE" if may_use else "USAGE"
            raise ConfigurationError(
                f"{server}: the role has no right {right} on schema {name!r}; grant it, or name "
                f"another with --postgres-schema"
            )

    def _take_turn(self) -> None:
        [(mine,)] = self._rows("SELECT pg_try_advisory_xact_lock(%s)", _LOAD_LOCK)
        if not mine:
            _log.warning(
                "another load into %s is running%s; waiting for it",
                self._server.where,
                self._holders(None),
            )
            with self._waiting_for_lock(None):
                self._rows("SELECT pg_advisory_xact_lock(%s)", _LOAD_LOCK)

    def _lock(self) -> None:
        """Locks the tables that are there, so that they stay as they are checked.

        Only for others who write where rows are added, and for all where they are emptied.
        """
        import psycopg

        mode = "ACCESS EXCLUSIVE" if self._truncate else "ROW EXCLUSIVE"
        for name, (kind, _) in self._tables().items():
            if kind != "r":
                continue
            lock = f"LOCK TABLE ONLY {self._schema}.{name} IN {mode} MODE"
            try:
                with self._session().transaction():
                    self._execute(f"{lock} NOWAIT")
            except psycopg.errors.LockNotAvailable:
                _log.info("waiting for %s, which is locked%s", name, self._holders(name))
                with self._waiting_for_lock(name):
                    self._execute(lock)

    @contextmanager
    def _waiting_for_lock(self, table: str | None) -> Iterator[None]:
        """A statement that waits for a lock; its error says which session holds that."""
        import psycopg

        what = f"the lock on {table}" if table else "another load"
        try:
            with waiting(what, self._lock_timeout + ANSWER):
                yield
        except psycopg.errors.LockNotAvailable as error:
            self._execute("ROLLBACK")
            begin(self._session(), self._lock_timeout)
            subject = f"{table} is locked" if table else "another load is running"
            raise UnreachableError(
                f"PostgreSQL at {self._server.where}: {self._server.text(error)} after "
                f"{self._lock_timeout:g} s: {subject}{self._holders(table)}; nothing was loaded. "
                f"End that session, or wait for it"
            ) from error

    def _holders(self, table: str | None) -> str:
        """Which sessions hold a table's lock, or that of loads, in words."""
        parameters = {"table": table and f"{self._schema}.{table}", "lock": _LOAD_LOCK}
        rows = self._session().execute(_HOLDERS.encode(), parameters).fetchall()
        found = []
        for pid, user, program, host, state, seconds in rows:
            words = " ".join(
                word
                for word in (
                    program or "",
                    f"of {user}" if user else "",
                    f"from {host}" if host else "",
                )
                if word
            )
            since = f"{state} for {seconds} s" if state and seconds is not None else ""
            details = ", ".join(filter(None, (words, since)))
            found.append(f"{pid} ({details})" if details else str(pid))
        return f" by session {' and '.join(found)}" if found else ""

    def _tables(self) -> dict[str, tuple[str, bool]]:
        """Of the relations with our names: what they are, and whether we may alter them."""
        rows = self._rows(
            "SELECT relname, relkind::text, pg_has_role(relowner, 'USAGE') FROM pg_class "
            "WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)",
            self._schema,
            [table.name for table in _shapes()],
        )
        found = {name: (kind, ours) for name, kind, ours in rows}
        return {table.name: found[table.name] for table in _shapes() if table.name in found}

    def _check_shapes(self) -> dict[str, bool]:
        """The tables that exist, and whether we may alter them; refuses those of another shape."""
        existing = self._tables()
        columns: dict[str, list[Column]] = {name: [] for name in existing}
        for name, *column in self._rows(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) || "
            "CASE WHEN a.attgenerated = '' THEN '' ELSE ' GENERATED' END, a.attnotnull "
            "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = %s::regnamespace AND c.relname = ANY(%s) "
            "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            self._schema,
            [*existing],
        ):
            columns[name].append(Column(*column))
        constraints: dict[str, dict[str, str]] = {name: {} for name in existing}
        for name, constraint, definition in self._rows(
            "SELECT c.relname, k.conname, pg_get_constraintdef(k.oid) "
            "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
            "WHERE c.relnamespace = %s::regnamespace AND c.relname = ANY(%s) "
            "AND k.contype IN ('p', 'u', 'f', 'c', 'x') ORDER BY k.conname",
            self._schema,
            [*existing],
        ):
            here = f"REFERENCES {self._schema}."
            constraints[name][constraint] = definition.replace(here, "REFERENCES ", 1)
        for name, (kind, _) in existing.items():
            if kind != "r":
                differs = ["it is not an ordinary table"]
            else:
                differs = differences(_shape(name), columns[name], constraints[name])
            if differs:
                more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
                raise RejectedError(
                    f"table {name} at {self._server.where} has another shape: "
                    f"{'; '.join(differs[:3])}{more}. "
                    f"Rename or drop it, or load into another schema with --postgres-schema"
                )
        return {name: ours for name, (_, ours) in existing.items()}

    def _check_references(self) -> None:
        """Refuses to empty tables to which a table of the user's own refers."""
        names = [table.name for table in _shapes()]
        foreign = self._rows(
            "SELECT k.conrelid::regclass::text, k.conname, p.relname "
            "FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid "
            "JOIN pg_class c ON c.oid = k.conrelid "
            "WHERE k.contype = 'f' AND p.relnamespace = %s::regnamespace AND p.relname = ANY(%s) "
            "AND NOT (c.relnamespace = p.relnamespace AND c.relname = ANY(%s)) ORDER BY 1, 2",
            self._schema,
            names,
            names,
        )
        if foreign:
            referrer, constraint, parent = foreign[0]
            raise RejectedError(
                f"{parent} at {self._server.where} cannot be truncated: table {referrer} refers to it "
                f"({constraint}). Drop that constraint or table, or load without --truncate"
            )

    def _check_code(self) -> None:
        """Refuses to run, with the rights of a superuser, what other roles have attached."""
        [(superuser,)] = self._rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not superuser or not self._existing:
            return
        parameters = {"schema": self._schema, "tables": [*self._existing]}
        # Tables to compare with: the server writes a CHECK in its own words.
        with self._session().transaction(force_rollback=True):
            for name in self._existing:
                ours = replace(_shape(name), name=f"datagen_{name}")
                self._execute(ours.create("pg_temp"))
            found = self._session().execute(_FOREIGN_CODE.encode(), parameters).fetchone()
        if found:
            table, owner, what = found
            raise ConfigurationError(
                f"PostgreSQL at {self._server.where}: {what} of table {table} is of the role "
                f"{owner}, and would run with the rights of a superuser. Load as {owner}, or drop it"
            )

    def _prepare_tables(self) -> None:
        """Tables for a load on one connection: some may be there, some emptied, some new."""
        existing = self._existing
        if self._truncate and existing:
            # In one statement, so that foreign keys among them do not matter; without CASCADE, and
            # without the tables that inherit from them.
            names = ", ".join(f"ONLY {self._schema}.{name}" for name in existing)
            with waiting("tables to be emptied", self._lock_timeout + WORK):
                self._execute(f"TRUNCATE {names}")
        self._rows_before = self._count(existing)
        self._fresh = {t.name for t in _shapes() if t.name not in existing or self._truncate}
        self._keyless = [t.name for t in _shapes() if t.name not in existing]
        # Whoever decodes changes identifies rows by the primary key.
        [(followed,)] = self._rows(_FOLLOWED)
        if self._truncate and existing and not followed and self._drop_keys(existing):
            self._keyless = [t.name for t in _shapes()]
        for table in _shapes():
            if table.name not in existing:
                self._execute(table.create(self._schema))
                if followed:
                    self._execute(table.add_keys(self._schema))
        self._keyed = set(self._keyless) if followed else set()

    def _add_keys(self) -> None:
        tables = [table for table in _shapes() if table.name in self._keyless]
        for table in tables:
            with self._errors(table.name), waiting(f"the keys of {table.name}", WORK):
                if table.name not in self._keyed:
                    self._execute(table.add_keys(self._schema))
                for index in table.add_indexes(self._schema):
                    self._execute(index)
        for table in tables:
            with self._errors(table.name), waiting(f"the foreign keys of {table.name}", WORK):
                self._execute(table.add_foreign_keys(self._schema))

    def _drop_keys(self, existing: Mapping[str, bool]) -> bool:
        """Whether the keys of all emptied tables could be dropped; if not, they stay on."""
        import psycopg

        if not all(existing.values()):
            return False
        tables = [table for table in _shapes() if table.name in existing]
        indexes = [name for table in tables for name in table.index_names]
        [(more,)] = self._rows(_KEYS_HAVE_MORE, self._schema, [*existing], indexes)
        if more:
            return False
        try:
            with self._session().transaction():
                for table in reversed(tables):
                    self._execute(table.drop_foreign_keys(self._schema))
                    for index in table.drop_indexes(self._schema):
                        self._execute(index)
                for table in tables:
                    self._execute(table.drop_keys(self._schema))
        except psycopg.Error as error:
            if is_lost(error):
                raise
            # A view that groups by a primary key, for example.
            _log.info("keys stay on: %s", self._server.text(error))
            return False
        return True

    # Ending

    def _make_visible(self) -> None:
        """Commits, and finds out whether it did if the answer gets lost."""
        import psycopg

        session = self._session()
        [(transaction,)] = self._rows("SELECT txid_current()")
        mark = (int(transaction), self._timeline())
        try:
            # From here on it is committed, or not, whatever becomes of this session.
            self._outcome = "unknown"
            with waiting("COMMIT", WORK), session.cursor() as cursor:
                cursor.execute(b"COMMIT")
                status = cursor.statusmessage
        except psycopg.Error as error:
            if error.sqlstate and error.sqlstate[:2] not in ("08", "57"):
                self._outcome = "nothing"
            else:
                self._outcome = self._find_out(mark, _PATIENCE)
            if self._outcome != "committed":
                known = "nothing was loaded"
                unknown = "whether the load was committed is not known"
                end = f"; {known if self._outcome == 'nothing' else unknown}"
                raise self._server.error(error, None, lost=end, refused=end, conflict="") from error
            _log.warning(
                "PostgreSQL at %s: %s; the rows are committed nevertheless",
                self._server.where,
                self._server.text(error),
            )
        except BaseException:
            self._outcome = self._find_out(mark, _AFTER_INTERRUPT)
            raise
        else:
            if status != "COMMIT":
                self._outcome = "nothing"
                raise RejectedError(
                    f"PostgreSQL at {self._server.where} refused the load: a statement of it had "
                    f"failed before; nothing was loaded"
                )
            self._outcome = "committed"

    def _find_out(self, mark: tuple[int, str], limit: float) -> Outcome:
        """What became of a transaction, by its number; that of another timeline tells nothing."""
        import psycopg

        self._session().close()
        end = time.monotonic() + limit
        while True:
            try:
                self._session().close()
                self._connection = self._server.connect(timeout=max(2, min(10, int(limit))))
                begin(self._session(), self._lock_timeout, read_only=True)
                [(standby,)] = self._rows("SELECT pg_is_in_recovery()")
                if not standby:
                    if self._timeline() != mark[1]:
                        return "unknown"
                    [(status,)] = self._rows("SELECT txid_status(%s)", mark[0])
                    if status != "in progress":
                        known: dict[str, Outcome] = {"committed": "committed", "aborted": "nothing"}
                        return known.get(status, "unknown")
            except (DatagenError, psycopg.Error) as error:
                _log.info("asking again what became of COMMIT: %s", self._server.text(error))
            if time.monotonic() > end:
                return "unknown"
            time.sleep(0.2)

    def _timeline(self) -> str:
        """The timeline of the server's log, which changes where another takes its place."""
        import psycopg

        try:
            with self._session().transaction():
                [(name,)] = self._rows("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
                return str(name)[:8]
        except psycopg.Error as error:
            if is_lost(error):
                raise
            return ""

    def _count_committed(self) -> dict[str, int]:
        import psycopg

        counts: dict[str, int] = {}
        moved = time.monotonic()
        while True:
            done = len(counts)
            try:
                self._renew()
                begin(self._session(), self._lock_timeout, read_only=True)
                [(standby,)] = self._rows("SELECT pg_is_in_recovery()")
                if standby:
                    raise UnreachableError("a standby may not have all rows yet")
                tables = self._tables()
                for table in _shapes():
                    if table.name not in counts:
                        counts |= (
                            self._count_one(table.name) if table.name in tables else {table.name: 0}
                        )
                self._execute("ROLLBACK")
                return {table.name: counts[table.name] for table in _shapes()}
            except (DatagenError, psycopg.Error) as error:
                final = isinstance(error, ConfigurationError) or (
                    isinstance(error, psycopg.Error) and not is_lost(error)
                )
                if len(counts) > done:
                    moved = time.monotonic()
                if final or time.monotonic() - moved > _PATIENCE:
                    raise CountingError(
                        f"rows in PostgreSQL at {self._server.where} are committed and could not be "
                        f"counted: {self._server.text(error)}"
                    ) from error
                _log.info("counting again: %s", self._server.text(error))
            time.sleep(0.5)

    def _renew(self) -> None:
        """A fresh session, or the old one where that lives and the server gives no other."""
        import psycopg

        old = self._session()
        if pooled(old):
            # It may be the only one that the pool has.
            old.close()
        try:
            fresh = self._server.connect()
        except DatagenError:
            if old.closed or old.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                raise
            return
        old.close()
        self._connection = fresh

    # Rows

    def _copy(self, table: TableShape) -> CopyIn:
        fresh = table.name in self._fresh
        if table.name not in self._copies or not fresh:
            self._end_copies()
            self._copies[table.name] = CopyIn(
                Wire(self._session()), self._schema, table, freeze=fresh
            )
        return self._copies[table.name]

    def _end_copies(self) -> None:
        for name in [*self._copies]:
            self._end_copy(name)

    def _end_copy(self, name: str) -> None:
        if name in self._copies:
            with self._errors(name):
                copy = self._copies.pop(name)
                rows = copy.rows()
                self._rows_loaded[name] += rows
                self._refuse_fewer(name, rows, copy.sent)

    def _refuse_fewer(self, name: str, rows: int, sent: int) -> None:
        """Refuses a table that does not keep what it is given: events would miss their parents."""
        if rows != sent:
            raise RejectedError(
                f"PostgreSQL at {self._server.where}: table {name} took {rows} of {sent} rows, as "
                f"a trigger or a rule can have it; nothing was loaded. Disable that, or load into "
                f"another schema with --postgres-schema"
            )

    def _merge(self, table: TableShape, batch: Batch) -> int:
        """Adds the rows that are not there, by way of a temporary table."""
        self._end_copies()
        target, staging = f"{self._schema}.{table.name}", f"datagen_{table.name}"
        self._execute(f"CREATE TEMPORARY TABLE {staging} (LIKE {target}) ON COMMIT DROP")
        temporary = replace(table, name=staging)
        copy = CopyIn(Wire(self._session()), "pg_temp", temporary, freeze=False)
        copy.write(batch)
        copy.rows()
        with self._session().cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {target} SELECT * FROM pg_temp.{staging} "  # noqa: S608 - our names
                f"EXCEPT SELECT * FROM ONLY {target}".encode()
            )
            added = cursor.rowcount
            cursor.execute(
                f"SELECT count(*) FROM (SELECT * FROM pg_temp.{staging} "  # noqa: S608 - our names
                f"EXCEPT SELECT * FROM ONLY {target}) AS missing".encode()
            )
            [(missing,)] = cursor.fetchall()
        self._refuse_fewer(table.name, len(batch) - missing, len(batch))
        self._execute(f"DROP TABLE pg_temp.{staging}")
        return added

    def _count(self, existing: Mapping[str, object]) -> dict[str, int]:
        counts = {table.name: 0 for table in _shapes()}
        for name in existing:
            counts |= self._count_one(name)
        return counts

    def _count_one(self, name: str) -> dict[str, int]:
        """The rows of one table, without those of tables that inherit from it."""
        with waiting(f"the rows of {name} to be counted", WORK):
            [(rows,)] = self._rows(f"SELECT count(*) FROM ONLY {self._schema}.{name}")  # noqa: S608
        return {name: int(rows)}

    def _execute(self, statement: str) -> None:
        if statement:
            self._session().execute(statement.encode())

    def _rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._session().execute(statement.encode(), parameters or None).fetchall()

    def _session(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise RuntimeError("the sink is not connected; use it as a context manager")
        return self._connection

    def _misused(self, how: str) -> RuntimeError:
        self._failed = True
        return RuntimeError(how)

    @contextmanager
    def _errors(self, table: str | None = None) -> Iterator[None]:
        import psycopg

        try:
            with waiting("an answer", self._lock_timeout + ANSWER):
                yield
        except BaseException as error:
            self._failed = True
            if not isinstance(error, psycopg.Error):
                raise
            unchanged = "; nothing was loaded" if self._began else ""
            fresh = (table or error.diag.table_name) in self._fresh
            raise self._server.error(
                error,
                table,
                lost=unchanged,
                refused=unchanged,
                conflict="" if fresh else _conflict(error),
            ) from error


def _conflict(error: psycopg.Error) -> str:
    """What to do about a key that is there already."""
    keys = {name: definition for table in _shapes() for name, definition in table.keys}
    columns = keys.get(error.diag.constraint_name or "", "").partition("(")[2].rstrip(")")
    subject = f"Column {columns} has values that are there" if columns else "Rows are there"
    return (
        f". {subject}: replace all rows with --truncate, add other customers of the same seed with "
        f"--from-customer, or load another seed into another schema with --postgres-schema"
    )


def _checked_name(schema: str) -> str:
    """A name that a schema of the user's can have."""
    try:
        length = len(schema.encode())
    except UnicodeEncodeError:
        length = 0
    if not 1 <= length <= _NAME_BYTES or "\0" in schema:
        raise OptionError("postgres_schema", schema, f"a name of 1 to {_NAME_BYTES} bytes")
    if not _may_be_ours(schema):
        raise OptionError("postgres_schema", schema, "a schema of your own")
    return schema


def _may_be_ours(schema: str) -> bool:
    return not schema.startswith(("pg_", PREFIX)) and schema != "information_schema"


def _shapes() -> tuple[TableShape, ...]:
    return tuple(shape(relation) for relation in catalogue().tables)


def _shape(name: str) -> TableShape:
    for table in _shapes():
        if table.name == name:
            return table
    raise OptionError("table", name, "one of " + ", ".join(table.name for table in _shapes()))
