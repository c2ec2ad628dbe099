"""Master data into PostgreSQL: all or nothing, binary COPY, keys checked by the server."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import ConfigurationError, OptionError, RejectedError
from ..types import catalogue
from ._ddl import Column, TableShape, differences, shape
from ._server import Server, begin
from ._staging import Staging, drop_leftovers
from ._wire import CopyIn, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import psycopg

    from .._core import Batch

__all__ = ["PostgresSink"]

_log = logging.getLogger(__name__)

#: Two loads into one database take turns: both hold this transaction-level advisory lock.
_LOAD_LOCK = int.from_bytes(b"datagen")

#: Rows that are the same for every seed: those that are there already are not a conflict.
_REFERENCE_TABLES = frozenset({"stocks"})


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


class PostgresSink:
    """Loads the master tables, all or nothing.

    ``with PostgresSink(url) as sink``, then ``begin()``, ``write(batch)`` for each batch, and
    ``commit()``. Leaving without a commit leaves nothing behind, not even tables. Tables that are
    missing are made; tables of another shape are refused.

    With ``truncate`` all six tables are emptied first. Primary, unique and foreign keys of tables
    that are new or emptied are added once their rows are there, which is several times faster than
    checking them row by row; where rows were there before, the keys stay on, and batches have to
    come in the order of the catalogue's tables. Waits at most ``lock_timeout`` seconds for
    sessions that hold the tables.

    With ``parallel``, a load that owns all six tables (all new, or ``truncate``) builds them apart,
    each on a connection of its own, and puts them into place at ``commit()``, in one transaction.
    Then ``write`` may be called from several threads, one for each table, in any order of tables;
    ``finish(name)`` lets the keys of a table be made while others still load. Where it cannot be
    done without loss (views, triggers, grants and the like on the tables that are there, too few
    rights or connections), one connection and one transaction do it all, as without ``parallel``.
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
        self._wanted_schema = schema
        self._outcome: Literal["nothing", "committed", "unknown"] = "nothing"
        self._lock_timeout = lock_timeout
        self._connection: psycopg.Connection[Any] | None = None
        self._schema = ""
        self._began = False
        self._existing: dict[str, bool] = {}
        self._fresh: set[str] = set()
        self._keyless: list[str] = []
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
        self.close()

    @property
    def outcome(self) -> Literal["nothing", "committed", "unknown"]:
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
        """Connects, and waits ten seconds at most unless the URL says otherwise."""
        if self._connection is None:
            self._connection = self._server.connect()

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
                with suppress(psycopg.Error):
                    connection.rollback()
                if staging is not None:
                    staging.discard(connection)
        finally:
            connection.close()

    def begin(self) -> None:
        """Starts the load; creates, checks and (with ``truncate``) empties or locks the tables.

        Raises ``RejectedError`` for a table of another shape, or one that cannot be emptied since
        a table of the user's own refers to it.
        """
        if self._began:
            raise RuntimeError("begin() was called already")
        with self._errors():
            session = self._session()
            self._finished.clear()
            drop_leftovers(session, _LOAD_LOCK)
            begin(session, self._lock_timeout)
            self._began = True
            self._take_turn()
            self._schema = self._current_schema()
            self._existing = self._check_shapes()
            if self._truncate and self._existing:
                self._lock()
            if self._parallel and (self._truncate or not self._existing):
                self._staging = Staging.prepare(
                    self._server,
                    session,
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
            raise RuntimeError("call begin() before write()")
        if table.name in self._finished:
            raise RuntimeError(f"finish({table.name!r}) was called already")
        with self._errors(table.name):
            if table.name in _REFERENCE_TABLES and self._rows_before[table.name]:
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
            raise RuntimeError("call begin() before finish()")
        if name in self._finished:
            return
        with self._errors(name):
            if self._staging is not None:
                self._staging.finish(table)
            else:
                self._end_copy(name)
        self._finished.add(name)

    def commit(self) -> None:
        """Adds what keys are still missing, and makes the load visible."""
        if not self._began:
            raise RuntimeError("call begin() before commit()")
        for table in _shapes():
            self.finish(table.name)
        if self._staging is not None:
            with self._errors():
                self._rows_loaded = self._staging.complete()
                self._staging.put_into_place(self._session(), self._schema, self._existing)
        else:
            self._add_keys()
        with self._errors(committing=True):
            self._outcome = "unknown"
            self._execute("COMMIT")
            self._outcome = "committed"
        self._began = False
        if self._staging is not None:
            self._staging.disconnect()
            self._staging = None

    def counts(self) -> dict[str, int]:
        """Rows of each table now, by ``SELECT count(*)``; 0 for a table that does not exist."""
        with self._errors():
            self._end_copies()
            self._schema = self._schema or self._current_schema()
            return self._count(self._tables())

    def _take_turn(self) -> None:
        [(mine,)] = self._rows("SELECT pg_try_advisory_xact_lock(%s)", _LOAD_LOCK)
        if not mine:
            _log.warning("another load into %s is running; waiting for it", self._server.where)
            self._rows("SELECT pg_advisory_xact_lock(%s)", _LOAD_LOCK)

    def _current_schema(self) -> str:
        [(schema,)] = self._rows("SELECT quote_ident(current_schema())")
        if schema is None:
            raise ConfigurationError(
                f"PostgreSQL at {self._server.where}: no schema of the search_path exists; "
                f"create one, or correct search_path"
            )
        return str(schema)

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
            constraints[name][constraint] = definition
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
                    f"Rename or drop it, or load into another database"
                )
        return {name: ours for name, (_, ours) in existing.items()}

    def _lock(self) -> None:
        """Locks the tables that are to be emptied, as TRUNCATE does."""
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
        self._execute(f"LOCK TABLE {self._names()} IN ACCESS EXCLUSIVE MODE")

    def _prepare_tables(self) -> None:
        """Tables for a load on one connection: some may be there, some emptied, some new."""
        existing = self._existing
        if self._truncate and existing:
            # In one statement, so that foreign keys among them do not matter; without CASCADE.
            self._execute(f"TRUNCATE {self._names()}")
        self._rows_before = self._count(existing)
        self._fresh = {t.name for t in _shapes() if t.name not in existing or self._truncate}
        self._keyless = [t.name for t in _shapes() if t.name not in existing]
        if self._truncate and existing and self._drop_keys(existing):
            self._keyless = [t.name for t in _shapes()]
        for table in _shapes():
            if table.name not in existing:
                self._execute(table.create(self._schema))

    def _add_keys(self) -> None:
        tables = [table for table in _shapes() if table.name in self._keyless]
        for table in tables:
            with self._errors(table.name):
                self._execute(table.add_keys(self._schema))
                for index in table.add_indexes(self._schema):
                    self._execute(index)
        for table in tables:
            with self._errors(table.name):
                self._execute(table.add_foreign_keys(self._schema))

    def _names(self) -> str:
        return ", ".join(f"{self._schema}.{name}" for name in self._existing)

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
        except psycopg.errors.DependentObjectsStillExist:
            # A view that groups by a primary key, for example.
            return False
        return True

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
                self._rows_loaded[name] += self._copies.pop(name).rows()

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
                f"EXCEPT SELECT * FROM {target}".encode()
            )
            added = cursor.rowcount
        self._execute(f"DROP TABLE pg_temp.{staging}")
        return added

    def _count(self, existing: Mapping[str, object]) -> dict[str, int]:
        counts = {table.name: 0 for table in _shapes()}
        for name in existing:
            statement = f"SELECT count(*) FROM {self._schema}.{name}"  # noqa: S608 - our names
            [(counts[name],)] = self._rows(statement)
        return counts

    def _execute(self, statement: str) -> None:
        if statement:
            self._session().execute(statement.encode())

    def _rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._session().execute(statement.encode(), parameters or None).fetchall()

    def _session(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise RuntimeError("the sink is not connected; use it as a context manager")
        return self._connection

    @contextmanager
    def _errors(self, table: str | None = None, *, committing: bool = False) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            unchanged = "; nothing was loaded" if self._began else ""
            unknown = "; whether the load was committed is not known: count the rows"
            conflict = ". Load with --truncate to replace the rows that are there"
            fresh = (table or error.diag.table_name) in self._fresh
            raise self._server.error(
                error,
                table,
                lost=unknown if committing else unchanged,
                refused=unchanged,
                conflict="" if fresh else conflict,
            ) from error


def _shapes() -> tuple[TableShape, ...]:
    return tuple(shape(relation) for relation in catalogue().tables)


def _shape(name: str) -> TableShape:
    for table in _shapes():
        if table.name == name:
            return table
    raise OptionError("table", name, "one of " + ", ".join(table.name for table in _shapes()))
