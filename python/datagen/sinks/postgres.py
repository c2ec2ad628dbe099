"""Master data into PostgreSQL: one transaction, binary COPY, keys checked by the server."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from ..errors import (
    ConfigurationError,
    DatagenError,
    OptionError,
    RejectedError,
    UnreachableError,
)
from ..types import catalogue
from ._ddl import Column, TableShape, differences, shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import psycopg

    from .._core import Batch

__all__ = ["PostgresSink"]

_log = logging.getLogger(__name__)

# The file header of binary COPY: signature, flags, length of the header's extension; and its
# trailer (PostgreSQL documentation, COPY, "Binary Format").
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"

#: Two loads into one database take turns: both hold this transaction-level advisory lock.
_LOAD_LOCK = int.from_bytes(b"datagen")

#: Rows that are the same for every seed: those that are there already are not a conflict.
_REFERENCE_TABLES = frozenset({"stocks"})

_FORM = (
    "write postgresql://user:password@host:port/database, with special characters of the "
    "password percent-encoded (@ is %40, / is %2F, : is %3A, % is %25, space is %20)"
)

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: What libpq puts before the reason.
_PREAMBLE = re.compile(
    r"(connection (failed|is bad): )*"
    r"(connection to server (at|on socket) \".*?\"( \(.*?\))?(, port \d+)? failed: )?"
    r"(FATAL:\s+|fe_sendauth: )?"
)

# Classes and codes of PostgreSQL's appendix A, "Error Codes".
#: invalid authorization, invalid catalog (database), invalid schema name
_REFUSED_CLASSES = frozenset({"28", "3D", "3F"})
#: insufficient privilege, read-only transaction (a standby)
_REFUSED_STATES = frozenset({"42501", "25006"})
#: too many connections, shutdowns and cancellation, lock timeout, deadlock and serialization,
#: time limits on sessions
_LOST_STATES = frozenset({"53300", "57P01", "57P02", "57P03", "57P05", "57014", "55P03"}) | {
    *("40P01", "40001", "25P03", "25P04")
}

#: A server that answered, but will let us in later; servers may speak Portuguese.
_BUSY = re.compile(
    r"starting up|shutting down|recovery|too many|remaining connection slots|not yet accepting"
    r"|inicializando|sendo desligado|recuperação|muitos clientes|não está aceitando",
    re.IGNORECASE,
)
#: Failures of libpq's own that no retry will mend.
_SETTING = re.compile(
    r"no password supplied|SSL(?! SYSCALL)|certificate|: invalid |requirepeer"
    r"|definition of service|service file",
    re.IGNORECASE,
)


class PostgresSink:
    """Loads the master tables in one transaction.

    ``with PostgresSink(url) as sink``, then ``begin()``, ``write(batch)`` for each batch, in the
    order of the catalogue's tables, and ``commit()``. Leaving without a commit leaves nothing
    behind, not even tables. Tables that are missing are made; tables of another shape are refused.

    With ``truncate`` all six tables are emptied first, in the same transaction. Primary, unique
    and foreign keys of tables that are new or emptied are added at ``commit``, which is several
    times faster than checking them row by row; where rows were there before, the keys stay on.
    Waits at most ``lock_timeout`` seconds for sessions that hold the tables.
    """

    def __init__(self, url: str, *, truncate: bool = False, lock_timeout: float = 60.0) -> None:
        self._params = _parse(url)
        self._where = _place(self._params)
        self._scrub = _Scrubber(url, self._params)
        self._truncate = truncate
        self._lock_timeout = lock_timeout
        self._connection: psycopg.Connection[Any] | None = None
        self._schema = ""
        self._began = False
        self._fresh: set[str] = set()
        self._keyless: list[str] = []
        self._rows_before: dict[str, int] = {}
        self._rows_loaded: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<PostgresSink {self._where}>"

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
    def rows_before(self) -> Mapping[str, int]:
        """Rows of each table when the load began, after truncation."""
        return dict(self._rows_before)

    @property
    def rows_loaded(self) -> Mapping[str, int]:
        """Rows that this load added to each table."""
        return dict(self._rows_loaded)

    def connect(self) -> None:
        """Connects, and waits ten seconds at most unless the URL says otherwise."""
        if self._connection is not None:
            return
        import psycopg
        from psycopg.conninfo import make_conninfo

        params = {"fallback_application_name": "datagen", "keepalives_idle": "60", **self._params}
        if "PGCONNECT_TIMEOUT" not in os.environ:
            params.setdefault("connect_timeout", "10")
        # COPY converts text from the client's encoding, and ours is always UTF-8.
        params["client_encoding"] = "UTF8"
        try:
            self._connection = psycopg.connect(make_conninfo(**params), autocommit=True)
        except psycopg.Error as error:
            raise self._connection_error(error) from None
        info = self._connection.info
        self._where = _place({"host": info.host, "port": str(info.port), "dbname": info.dbname})

    def close(self) -> None:
        """Closes the connection; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        self._began = False
        if connection is None:
            return
        import psycopg

        try:
            # Closing alone would do, but later: the server notices when it next reads. A session
            # in the midst of a statement (Ctrl-C while the server hangs) would not answer.
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    connection.rollback()
        finally:
            connection.close()

    def begin(self) -> None:
        """Starts the transaction; creates, checks and (with ``truncate``) empties the tables.

        Raises ``RejectedError`` for a table of another shape, or one that cannot be emptied since
        a table of the user's own refers to it.
        """
        if self._began:
            raise RuntimeError("begin() was called already")
        with self._errors():
            self._execute("BEGIN")
            self._began = True
            self._settings()
            self._take_turn()
            self._schema = self._current_schema()
            existing = self._check_shapes()
            if self._truncate and existing:
                self._empty(existing)
            self._rows_before = self._count(existing)
            self._fresh = {t.name for t in _shapes() if t.name not in existing or self._truncate}
            self._keyless = [t.name for t in _shapes() if t.name not in existing]
            if self._truncate and existing and self._drop_keys(existing):
                self._keyless = [t.name for t in _shapes()]
            for table in _shapes():
                if table.name not in existing:
                    self._execute(table.create(self._schema))
            self._rows_loaded = dict.fromkeys(self._rows_before, 0)

    def write(self, batch: Batch) -> int:
        """Copies a batch of a master table; how many rows it added.

        All of them, but for stocks that were there before the load: these are the same for every
        seed. A stock that is there with other values is refused.
        """
        table = _shape(batch.name)
        if not self._began:
            raise RuntimeError("call begin() before write()")
        with self._errors(table.name):
            if table.name in _REFERENCE_TABLES and self._rows_before[table.name]:
                added = self._merge(table, batch)
            else:
                added = self._copy(f"{self._schema}.{table.name}", table, batch)
        self._rows_loaded[table.name] += added
        return added

    def commit(self) -> None:
        """Adds the keys that were left out, and makes the load visible."""
        if not self._began:
            raise RuntimeError("call begin() before commit()")
        tables = [table for table in _shapes() if table.name in self._keyless]
        for table in tables:
            with self._errors(table.name):
                self._execute(table.add_keys(self._schema))
                for index in table.add_indexes(self._schema):
                    self._execute(index)
        for table in tables:
            with self._errors(table.name):
                self._execute(table.add_foreign_keys(self._schema))
        with self._errors(committing=True):
            self._execute("COMMIT")
        self._began = False

    def counts(self) -> dict[str, int]:
        """Rows of each table now, by ``SELECT count(*)``; 0 for a table that does not exist."""
        with self._errors():
            self._schema = self._schema or self._current_schema()
            return self._count(self._existing())

    def _settings(self) -> None:
        """A load may be long and may pause between batches: like pg_restore, lift time limits."""
        limits = {
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "transaction_timeout": "0",  # from PostgreSQL 17
            "lock_timeout": f"{max(1, round(self._lock_timeout * 1000))}ms",
        }
        self._rows(
            "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) "
            "AS wanted (name, value) JOIN pg_settings USING (name)",
            [*limits],
            [*limits.values()],
        )

    def _take_turn(self) -> None:
        [(mine,)] = self._rows("SELECT pg_try_advisory_xact_lock(%s)", _LOAD_LOCK)
        if not mine:
            _log.warning("another load into %s is running; waiting for it", self._where)
            self._rows("SELECT pg_advisory_xact_lock(%s)", _LOAD_LOCK)

    def _current_schema(self) -> str:
        [(schema,)] = self._rows("SELECT quote_ident(current_schema())")
        if schema is None:
            raise ConfigurationError(
                f"PostgreSQL at {self._where}: no schema of the search_path exists; "
                f"create one, or correct search_path"
            )
        return str(schema)

    def _existing(self) -> dict[str, tuple[str, bool]]:
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
        existing = self._existing()
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
                    f"table {name} at {self._where} has another shape: "
                    f"{'; '.join(differs[:3])}{more}. "
                    f"Rename or drop it, or load into another database"
                )
        return {name: ours for name, (_, ours) in existing.items()}

    def _empty(self, existing: Mapping[str, bool]) -> None:
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
                f"{parent} at {self._where} cannot be truncated: table {referrer} refers to it "
                f"({constraint}). Drop that constraint or table, or load without --truncate"
            )
        # In one statement, so that foreign keys among them do not matter, and without CASCADE.
        self._execute("TRUNCATE " + ", ".join(f"{self._schema}.{name}" for name in existing))

    def _drop_keys(self, existing: Mapping[str, bool]) -> bool:
        """Whether the keys of all emptied tables could be dropped; if not, they stay on."""
        import psycopg

        if not all(existing.values()):
            return False
        tables = [table for table in _shapes() if table.name in existing]
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

    def _copy(self, target: str, table: TableShape, batch: Batch) -> int:
        columns = ", ".join(column.name for column in table.columns)
        # FREEZE spares a later vacuum; it needs a table made or emptied in this transaction.
        freeze = ", FREEZE" if table.name in self._fresh else ""
        statement = f"COPY {target} ({columns}) FROM STDIN (FORMAT BINARY{freeze})"
        with self._session().cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                copy.write(_COPY_HEADER)
                copy.write(memoryview(batch.encode("pgcopy")))
                copy.write(_COPY_TRAILER)
            return cursor.rowcount

    def _merge(self, table: TableShape, batch: Batch) -> int:
        """Adds the rows that are not there, by way of a temporary table."""
        target, staging = f"{self._schema}.{table.name}", f"datagen_{table.name}"
        self._execute(f"CREATE TEMPORARY TABLE {staging} (LIKE {target}) ON COMMIT DROP")
        self._copy(f"pg_temp.{staging}", table, batch)
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
            raise self._error(error, table, committing=committing) from error

    def _error(self, error: psycopg.Error, table: str | None, *, committing: bool) -> DatagenError:
        """What a failure of a statement means to the caller."""
        state = error.sqlstate or ""
        outcome = "; nothing was loaded" if self._began else ""
        server = f"PostgreSQL at {self._where}"
        text = self._scrub(_one_line(error))
        if _is_lost(state):
            if committing:
                outcome = "; whether the load was committed is not known: count the rows"
            return UnreachableError(f"{server}: {text}{outcome}. Try again")
        if state[:2] in _REFUSED_CLASSES or state in _REFUSED_STATES:
            return ConfigurationError(
                f"{server}: {text}{outcome}. Grant the role what it needs, or use another"
            )
        table = table or error.diag.table_name
        subject = f"{server} refused {table}" if table else f"{server} refused the load"
        hint = ""
        if state == "23505" and table not in self._fresh:
            hint = ". Load with --truncate to replace the rows that are there"
        return RejectedError(f"{subject}: {text}{outcome}{hint}")

    def _connection_error(self, error: psycopg.Error) -> DatagenError:
        """What a failure to connect means; libpq gives a text but no SQLSTATE."""
        import psycopg

        server = f"PostgreSQL at {self._where}"
        if isinstance(error, psycopg.errors.ConnectionTimeout):
            return UnreachableError(
                f"{server} did not answer in time; check host and port, and that it is running"
            )
        if not isinstance(error, psycopg.OperationalError):
            return ConfigurationError(f"{server}: a parameter of the connection is not valid")
        full, text = str(error), self._scrub(_one_line(error))
        answered = "FATAL" in full or (error.pgconn is not None and error.pgconn.used_password)
        if answered and not _BUSY.search(full):
            user = self._params.get("user") or "the default user"
            return ConfigurationError(
                f"{server} refused {user}: {text}. Check user, password and database name"
            )
        if not answered and _SETTING.search(full):
            return ConfigurationError(f"{server}: {text}. Correct the connection string")
        return UnreachableError(
            f"{server} cannot be reached: {text}. Check host and port, and that it is running"
        )


def _shapes() -> tuple[TableShape, ...]:
    return tuple(shape(relation) for relation in catalogue().tables)


def _shape(name: str) -> TableShape:
    for table in _shapes():
        if table.name == name:
            return table
    raise OptionError("table", name, "one of " + ", ".join(table.name for table in _shapes()))


def _parse(url: str) -> dict[str, str]:
    """The parameters of a connection string, as libpq reads it.

    No text of libpq and no part of the string gets into an error: both may hold the password.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise ConfigurationError(
            "psycopg cannot be imported; run: pip install 'psycopg[binary]'"
        ) from None
    problem = None
    params: dict[str, str] = {}
    if not url.strip() or "\0" in url:
        problem = "it is empty" if not url.strip() else "it holds a zero byte"
    elif _misplaced_at(url):
        problem = "there is an @ too many"
    else:
        try:
            params = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        except (psycopg.Error, ValueError):
            problem = "it does not parse"
    if not problem and re.search("=|://", params.get("dbname", "")):
        problem = "the database is a connection string of its own"
    if not problem and re.search(".@", params.get("host", "")):
        problem = "the host holds an @"
    if not problem and not all(map(_is_port, params.get("port", "").split(","))):
        problem = "the port is not a number from 1 to 65535"
    if not problem and params.get("sslmode", "prefer") not in _SSL_MODES:
        problem = f"sslmode is not one of {', '.join(_SSL_MODES)}"
    if not problem and not re.fullmatch(r"-?\d+", params.get("connect_timeout", "10")):
        problem = "connect_timeout is not a whole number of seconds"
    if problem:
        raise ConfigurationError(
            f"the PostgreSQL connection string is not valid: {problem}; {_FORM}"
        )
    return params


def _misplaced_at(url: str) -> bool:
    """Whether libpq would take part of a password for host or database.

    It ends the user's part at the first @, and sees none if a / comes before.
    """
    scheme = re.match(r"postgres(ql)?://", url)
    if not scheme:
        return False
    rest = url[scheme.end() :]
    user_part = re.match(r"[^@/]*@", rest)
    place = rest[user_part.end() if user_part else 0 :].partition("?")[0]
    return "@" in place


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535)


def _place(params: Mapping[str, str]) -> str:
    """host:port/database, as far as the connection string tells."""
    host = params.get("host") or params.get("hostaddr") or os.environ.get("PGHOST") or "localhost"
    port = params.get("port") or os.environ.get("PGPORT") or "5432"
    database = params.get("dbname") or os.environ.get("PGDATABASE") or params.get("user") or ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}/{database}"


class _Scrubber:
    """Takes secrets out of text that a driver or server wrote."""

    def __init__(self, url: str, params: Mapping[str, str]) -> None:
        secrets = {params.get(key, "") for key in ("password", "sslpassword")}
        secrets |= {os.environ.get("PGPASSWORD", "")}
        written = re.match(r"postgres(?:ql)?://[^@/:]*:([^@/]*)@", url)
        secrets |= {quote(secret, safe="") for secret in secrets}
        secrets |= {written[1]} if written else set()
        # A password that is also the user's name would only garble the message.
        public = {params.get(key) for key in ("user", "host", "dbname")}
        self._secrets = sorted(secrets - public - {""}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _one_line(error: psycopg.Error) -> str:
    """The server's message and detail, or the driver's text without what we say ourselves."""
    parts = [part for part in (error.diag.message_primary, error.diag.message_detail) if part]
    text = " - ".join(parts) or _PREAMBLE.sub("", str(error).partition("\n")[0], count=1)
    text = " ".join(text.split()).rstrip(".;: ")
    return text if len(text) <= 300 else text[:299] + "…"


def _is_lost(state: str) -> bool:
    # Without a SQLSTATE it was not the server that spoke, but the network or the driver.
    return not state or state[:2] == "08" or state in _LOST_STATES
