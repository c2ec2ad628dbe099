"""Master data into PostgreSQL: all or nothing, binary COPY, keys checked by the server."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from ...errors import OptionError, RejectedError
from ...types import catalogue
from . import counting, inspection, locks, presence
from .commit import Commit
from .ddl import shape_of, shapes
from .follower import Follower, followed_to, forget_streams, lacks_streams, make_streams
from .load_session import LoadSession
from .server import Server
from .staged import Staged
from .staging_schema import drop_leftovers
from .strategies import Append, Fresh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from ..._core import Batch, Plan
    from .commit import Outcome
    from .inspection import Found
    from .strategies import Strategy

__all__ = ["PostgresSink", "ReplicaIdentity"]

#: What of the row before a change the log tells its readers: the primary key, or all columns.
ReplicaIdentity = Literal["default", "full"]

_log = logging.getLogger(__name__)

#: What the server's 32 bits of milliseconds hold.
_MAX_LOCK_TIMEOUT: Final = 2_147_483


class _Phase(Enum):
    """How far a load is."""

    NOT_BEGUN = auto()
    LOADING = auto()
    #: An error has been raised, so that the caller knows.
    FAILED = auto()
    COMMITTED = auto()
    #: COMMIT was sent, and what became of it cannot be found out.
    UNKNOWN = auto()


_UNDER_WAY: Final = (_Phase.LOADING, _Phase.FAILED)
_ENDS: Final[dict[Outcome, _Phase]] = {
    "nothing": _Phase.FAILED,
    "committed": _Phase.COMMITTED,
    "unknown": _Phase.UNKNOWN,
}


class PostgresSink:
    """Loads the master tables, all or nothing.

    ``with PostgresSink(url) as sink``, then ``begin()``, ``write(batch)`` for each batch, and
    ``commit()``. An error in between leaves nothing behind, not even tables; leaving without a
    commit after rows were written raises RuntimeError, unless the sink had raised an error. Tables
    that are missing are made; tables of another shape are refused. They are in ``schema``, which
    must exist, or else in the first schema of the session's search_path that does.

    With ``truncate`` all six tables are emptied first. Primary, unique and foreign keys of tables
    that are new or emptied are added once their rows are there, which is several times faster than
    checking them row by row; where rows were there before, the keys stay on, and batches have to
    come in the order of the catalogue's tables. Waits at most ``lock_timeout`` seconds for
    sessions that hold the tables, and for another load into the same database.

    With ``parallel``, a load that owns all six tables (all new, or ``truncate``) builds them apart,
    over a COPY session each, and swaps them in at ``commit()``, in one transaction. Then ``write``
    may be called from several threads, one for each table, in any order of tables;
    ``finish(name)`` lets the keys of a table be made while others still load. Where it cannot be
    done without loss (views, triggers, grants and the like on the tables that are there, too few
    rights or connections, a connection pooler), one connection and one transaction do it all, as
    without ``parallel``.

    ``replica_identity`` is set on all six tables; with None it is as it was, ``default`` for new ones.
    """

    def __init__(
        self,
        url: str,
        *,
        truncate: bool = False,
        parallel: bool = False,
        schema: str | None = None,
        lock_timeout: float = 60.0,
        replica_identity: ReplicaIdentity | None = None,
    ) -> None:
        server = Server(url)
        self._truncate = truncate
        self._parallel = parallel
        if replica_identity not in (None, *get_args(ReplicaIdentity)):
            raise OptionError("replica_identity", replica_identity, "default or full")
        self._replica_identity = replica_identity
        self._wanted_schema = None if schema is None else inspection.checked_name(schema)
        if not 0 <= lock_timeout <= _MAX_LOCK_TIMEOUT:
            raise OptionError("lock_timeout", lock_timeout, f"0 to {_MAX_LOCK_TIMEOUT} seconds")
        self._load = LoadSession(server, lock_timeout)
        self._phase = _Phase.NOT_BEGUN
        self._strategy: Strategy | None = None
        self._written: set[str] = set()
        self._finished: set[str] = set()
        self._rows_before: dict[str, int] = {}
        self._rows_loaded: dict[str, int] = {}
        self._shared = False
        #: Whether ``begin`` has found that an earlier attempt has committed, or that none has.
        self.was_there = False
        self.nothing_before = False

    def __repr__(self) -> str:
        return f"<PostgresSink {self._load.server.where}>"

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = self._phase is _Phase.LOADING and self._written
        self.close()
        if left and kind is None:
            raise RuntimeError("commit() was not called: nothing was loaded")

    @property
    def outcome(self) -> Outcome:
        """What became of the rows; unknown where the answer to COMMIT got lost."""
        return next((end for end, phase in _ENDS.items() if phase is self._phase), "nothing")

    @property
    def where(self) -> str:
        """The server as host:port/database."""
        return self._load.server.where

    @property
    def schema(self) -> str:
        """The schema of the tables as SQL writes it; empty until it is known."""
        return self._load.schema

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
        if self._load.connected:
            return
        self._load.connect()
        try:
            with self._errors():
                self._begin_transaction()
                self._load.execute("ROLLBACK")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connections; what was not committed is taken back."""
        import psycopg

        strategy, self._strategy = self._strategy, None
        if self._phase in _UNDER_WAY:
            self._phase = _Phase.NOT_BEGUN
        if not self._load.connected:
            return
        try:
            (strategy or self._load).roll_back()
        except psycopg.Error as error:
            server = self._load.server
            _log.info("PostgreSQL at %s: %s", server.where, server.text(error))
        finally:
            self._load.close()

    def make_tables(self, reference: Iterable[Batch], *, streams: bool = False) -> None:
        """Makes what is missing of the tables, with their keys and these rows, in a transaction of its own.

        So loads that are ``shared`` find tables that all of them only add to; with ``streams`` also that of the instants
        of streams.
        """
        load = self._load
        with self._errors():
            load.reconnect_if_ended()
            self._begin_transaction()
            ready = self._has_tables() and not (streams and lacks_streams(load))
            load.execute("ROLLBACK")
            if ready:
                return
            self._begin_transaction()
            locks.take_load_lock_patiently(load)
            if not self._has_tables():
                existing = inspection.check_shapes(load)
                inspection.check_code(load, existing)
                strategy = Append.prepare(load, existing)
                for batch in reference:
                    strategy.write(shape_of(batch.name), batch)
                    strategy.finish(shape_of(batch.name))
                strategy.complete()
                self._set_replica_identity()
            if streams and lacks_streams(load):
                make_streams(load)
            load.execute("COMMIT")

    def _has_tables(self) -> bool:
        """Whether all tables are there, with reference rows and the replica identity that was asked for."""
        load = self._load
        if len(inspection.find_tables(load)) < len(shapes()):
            return False
        for table in (one for one in catalogue().tables if one.is_reference):
            [(filled,)] = load.rows(f"SELECT EXISTS (SELECT FROM ONLY {load.schema}.{table.name})")  # noqa: S608
            if not filled:
                return False
        if self._replica_identity is None:
            return True
        [(same,)] = load.rows(
            "SELECT bool_and(relreplident = %s) FROM pg_class "
            "WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)",
            self._replica_identity[0],
            load.schema,
            [table.name for table in shapes()],
        )
        return bool(same)

    def begin(
        self,
        ends: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        *,
        shared: bool = False,
        fresh: bool = False,
    ) -> None:
        """Starts the load; creates, checks and (with ``truncate``) empties or locks the tables.

        ``ends`` are rows, by table, that are there only if an earlier attempt at this load has committed: then
        nothing is done, the load counts as committed and ``was_there`` is true. Where some are there and some are not,
        the tables are replaced with ``truncate``, and refused without. Others may load other rows at the same time where
        all are ``shared``. With ``fresh`` none of the ``ends`` may be there.

        Raises ``RejectedError`` for a table of another shape, or one that cannot be emptied since
        a table of the user's own refers to it.
        """
        if self._phase in _UNDER_WAY or self._strategy is not None:
            raise self._misused("begin() was called already")
        load = self._load
        with self._errors():
            load.reconnect_if_ended()
            self._phase = _Phase.NOT_BEGUN
            self._written.clear()
            self._finished.clear()
            drop_leftovers(load.connection)
            self._begin_transaction()
        self._phase = _Phase.LOADING
        with self._errors():
            (locks.share_load_lock if shared else locks.take_load_lock)(load)
            if ends is not None and self._find(ends, fresh=fresh):
                return
            ordinary = [
                name for name, found in inspection.find_tables(load).items() if found.kind == "r"
            ]
            locks.lock_tables(load, ordinary, exclusive=self._truncate)
            existing = inspection.check_shapes(load)
            inspection.check_code(load, existing)
            if self._truncate:
                inspection.check_references(load)
                forget_streams(load)
            self._shared = shared
            self._strategy = self._prepare(existing)
            self._rows_before = self._strategy.rows_before
            self._rows_loaded = self._strategy.rows_loaded

    def _find(self, ends: Mapping[str, Sequence[Mapping[str, Any]]], *, fresh: bool) -> bool:
        """Whether an earlier attempt has committed, which then is what became of this one."""
        load = self._load
        found = presence.look(load, inspection.check_shapes(load), ends)
        self.nothing_before = found.none
        if fresh:
            if not found.none:
                raise RejectedError(
                    f"PostgreSQL at {load.server.where} has rows of this stream's customers already; go on from its "
                    "position, or delete these rows and begin anew"
                )
            return False
        if found.all:
            self.was_there = True
            load.execute("ROLLBACK")
            self._phase = _Phase.COMMITTED
        elif not found.none and not self._truncate:
            raise RejectedError(
                f"PostgreSQL at {load.server.where} has some rows of this load and not all ({found}), which no attempt at "
                f"it leaves: rows were deleted or changed, or are of another plan; nothing was loaded. Delete them, or "
                f"replace all with --truncate"
            )
        return found.all

    def write(self, batch: Batch) -> int:
        """Takes a batch of a master table; how many of its rows are new to the table.

        All of them, but for stocks that were there before the load: these are the same for every
        seed. A stock that is there with other values is refused. The server may refuse a row while
        later ones are written, or at ``finish`` or ``commit``.
        """
        table = shape_of(batch.name)
        strategy = self._under_way("write")
        if table.name in self._finished:
            raise self._misused(f"finish({table.name!r}) was called already")
        self._written.add(table.name)
        with self._errors(table.name):
            return strategy.write(table, batch)

    def finish(self, name: str) -> None:
        """Says that a table has all its rows: the server may go on with its keys.

        Only speed depends on it: ``commit`` does it for the tables that are left.
        """
        table = shape_of(name)
        strategy = self._under_way("finish")
        if name in self._finished:
            return
        with self._errors(name):
            strategy.finish(table)
        self._finished.add(name)

    def commit(self) -> None:
        """Adds what keys are still missing, and makes the load visible.

        Where the answer to COMMIT gets lost, the server is asked what became of it.
        """
        strategy = self._under_way("commit")
        for table in shapes():
            self.finish(table.name)
        with self._errors():
            strategy.complete()
            if not self._shared:
                # It would wait for the others, and these for it.
                self._set_replica_identity()
            commit = Commit(self._load)
            try:
                commit.run()
            finally:
                self._phase = _ENDS[commit.outcome]
        with suppress(Exception):
            strategy.disconnect()
        self._strategy = None

    def run_lock(self) -> locks.RunLock:
        """A lock that one process at a time has for its run, over a session of its own."""
        return locks.RunLock(self._load.server, self._load.lock_timeout)

    def followed_to(self, plan: Plan, from_customer: int) -> datetime | None:
        """The instant that the tables are as of which follow a stream of these customers; None where they follow none."""
        with self._errors():
            self._load.reconnect_if_ended()
            self._begin_transaction()
            found = followed_to(self._load, plan, from_customer)
            self._load.execute("ROLLBACK")
        return found

    def follower(self, plan: Plan, from_customer: int) -> Follower:
        """What keeps the tables in step with a stream of these customers, over a session of its own."""
        load = self._load
        return Follower(load.server, load.schema, load.lock_timeout, plan, from_customer)

    def counts(self) -> dict[str, int]:
        """Rows of each table now, by ``SELECT count(*)``; 0 for a table that does not exist.

        After a commit over a fresh connection, since the old one may have been ended; raises
        ``CountingError`` where that cannot be done within half a minute without progress.
        """
        load = self._load
        if self._phase is _Phase.COMMITTED:
            return counting.count_committed(load)
        with self._errors():
            if self._phase in _UNDER_WAY:
                if self._strategy is not None:
                    self._strategy.end_copy()
                return counting.count_rows(load, inspection.find_tables(load))
            load.reconnect_if_ended()
            self._begin_transaction()
            counts = counting.count_rows(load, inspection.find_tables(load))
            load.execute("ROLLBACK")
        return counts

    def _begin_transaction(self) -> None:
        """Starts a transaction; finds the schema the first time, and looks whether it may be used."""
        load = self._load
        target = load.begin()
        if not load.schema:
            if self._wanted_schema is not None:
                inspection.check_schema(load, self._wanted_schema)
            name = self._wanted_schema or inspection.found_schema(load, target)
            [(load.schema,)] = load.rows("SELECT quote_ident(%s)", name)

    def _prepare(self, existing: Mapping[str, Found]) -> Strategy:
        if self._shared or (existing and not self._truncate):
            return Append.prepare(self._load, existing)
        staged = Staged.prepare(self._load, existing) if self._parallel else None
        return staged or Fresh.prepare(self._load, existing)

    def _set_replica_identity(self) -> None:
        if self._replica_identity is not None:
            for table in shapes():
                self._load.execute(
                    f"ALTER TABLE ONLY {self._load.schema}.{table.name} "
                    f"REPLICA IDENTITY {self._replica_identity.upper()}"
                )

    def _under_way(self, call: str) -> Strategy:
        if self._phase not in _UNDER_WAY or self._strategy is None:
            raise self._misused(f"call begin() before {call}()")
        return self._strategy

    def _misused(self, how: str) -> RuntimeError:
        self._fail()
        return RuntimeError(how)

    def _fail(self) -> None:
        if self._phase is _Phase.LOADING:
            self._phase = _Phase.FAILED

    @contextmanager
    def _errors(self, table: str | None = None) -> Iterator[None]:
        outcome = "; nothing was loaded" if self._phase in _UNDER_WAY else ""
        fresh = self._strategy.fresh if self._strategy else frozenset[str]()
        try:
            with self._load.errors(table, outcome=outcome, fresh=fresh):
                yield
        except BaseException:
            self._fail()
            raise
