"""The PostgreSQL stage of a load: all tables, in one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import OptionError
from ...receipts import as_text
from ...settlement import Committed
from ...types import catalogue
from ..base import Check, Contents, Sink, Stage, tables
from .presence import ends_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from ..._core import Batch, Plan, Reconciliation
    from ...settlement import Outcome
    from ..base import Window
    from .follower import Follower
    from .locks import RunLock
    from .sink import ReplicaIdentity

__all__ = ["POSTGRES", "SKIP", "PostgresTarget"]

POSTGRES: Final = Stage(
    "postgres",
    title="PostgreSQL",
    unit="rows",
    counted="PostgreSQL row counts",
    committed="committed",
)
_log = logging.getLogger(__name__)

#: The option that leaves this sink out.
SKIP: Final = "--skip-postgres"


@dataclass(frozen=True, kw_only=True)
class PostgresTarget:
    """A database to load all tables into.

    ``schema`` None is the first schema of the session's search_path that exists; with ``truncate``
    the rows that are there are replaced. ``replica_identity`` is that of the tables, as logical replication has
    it; None leaves it.
    """

    # A password may stand in it.
    url: str = field(repr=False)
    schema: str | None = None
    truncate: bool = False
    replica_identity: ReplicaIdentity | None = None

    @property
    def relations(self) -> tuple[str, ...]:
        return tables()

    def sink(self, window: Window) -> _PostgresStage:
        return _PostgresStage(self, window)

    def contents(self, receipt: Mapping[str, Any]) -> _PostgresContents:  # noqa: ARG002
        return _PostgresContents(self)


class _PostgresContents(Contents):
    def __init__(self, target: PostgresTarget) -> None:
        from .contents import TableContents

        self._tables = TableContents(target.url, target.schema)
        self._absent: set[str] = set()

    def __enter__(self) -> Self:
        self._tables.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._tables.__exit__(*raised)

    def tables_at(self, plan: Plan, from_customer: int) -> datetime | None:
        return self._tables.followed_to(plan, from_customer)

    def shape(self, name: str, order: str) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def read(
        self,
        name: str,
        held: Reconciliation,
        progress: Callable[[int], None],  # noqa: ARG002
        *,
        again: bool,  # noqa: ARG002
    ) -> None:
        there = False
        for block in self._tables.copied(catalogue()[name]):
            there = True
            held.find_copied(block)
        if not there:
            self._absent.add(name)

    def place(self, name: str, partition: int | None = None, offset: int | None = None) -> str:  # noqa: ARG002
        return name

    def decoded(self, name: str, ident: UUID, found: bytes) -> Mapping[str, Any] | None:  # noqa: ARG002
        return next(iter(self._tables.rows(catalogue()[name], [ident])), None)

    def notes(self, name: str) -> Sequence[str]:
        return [f"there is no table {name}"] if name in self._absent else []


class _PostgresStage(Sink):
    stage = POSTGRES
    relations = tables()
    commit_part = "keys and commit"

    def __init__(self, target: PostgresTarget, window: Window) -> None:
        from .sink import PostgresSink

        if window.shared and target.truncate:
            allowed = "no --truncate: a shard would empty the tables of the others"
            raise OptionError("truncate", value=True, allowed=allowed)
        self._target = target
        self._window = window
        self._sink = PostgresSink(
            target.url,
            truncate=target.truncate,
            parallel=window.fast,
            schema=target.schema,
            replica_identity=target.replica_identity,
        )
        self._follower: Follower | None = None
        #: That of a run which goes on with an attempt before, so that no two processes do.
        self._lock: RunLock | None = None
        #: Where an earlier process of the stream, which may have loaded the tables, has had them follow to.
        self._followed_to: datetime | None = None
        #: Whether it was looked for what an attempt before has left.
        self._looked = False
        #: Rows that are not of this run, by table.
        self._others: dict[str, int] = {}

    def open(self) -> None:
        self._sink.connect()

    def prepare(self) -> None:
        window, plan = self._window, self._window.plan
        if window.before is None and window.begun is None and not window.shared:
            return
        self._lock = self._sink.run_lock()
        whose = (plan.seed, window.first_customer, plan.customers, self._sink.schema)
        self._lock.take(f"datagen {whose}", needed=window.shared)

    def begin(self) -> None:
        window = self._window
        if window.shared:
            reference = (one.name for one in catalogue().tables if one.is_reference)
            self._sink.make_tables(
                (batch for name in reference for batch in window.plan.batches(name)),
                streams=window.tables_at is not None,
            )
        ends = None
        if window.begun is not None:
            # An earlier process of the stream may have committed them, and then had them follow, or not yet.
            self._followed_to = self._sink.followed_to(window.plan, window.first_customer)
            ends = ends_of(window, self._followed_to or window.tables_at)
        elif window.before is not None or window.shared:
            ends = ends_of(window)
        is_new_stream = window.tables_at is not None and window.begun is None
        self._sink.begin(ends, shared=window.shared, fresh=is_new_stream)
        self._looked = True
        if self._sink.was_there:
            _log.info("PostgreSQL: the rows are there, and stay")

    @property
    def is_first(self) -> bool:  # type: ignore[override]
        return self._sink.nothing_before

    def write(self, batch: Batch) -> None:
        if not self._sink.was_there:
            self._sink.write(batch)

    def finish(self, name: str) -> None:
        if not self._sink.was_there:
            self._sink.finish(name)

    def commit(self) -> None:
        if not self._sink.was_there:
            self._sink.commit()

    def _rows_loaded(self) -> dict[str, int]:
        """Rows that are committed, by whichever attempt, as far as the server has said so."""
        if self._sink.was_there:
            return {name: self._window.rows(name) for name in tables()}
        if self._earlier is not None:
            return dict(self._earlier.get("tables", {}))
        return dict(self._sink.rows_loaded)

    def facts(self) -> Mapping[str, Any]:
        if self._window.before is None:
            return {}
        return {"rows_there": sum(self._rows_loaded().values()) if self._sink.was_there else 0}

    def begin_following(self, at: datetime) -> datetime:
        window = self._window
        self._follower = follower = self._sink.follower(window.plan, window.first_customer)
        if window.tables_there or (self._sink.was_there and self._followed_to is not None):
            follower.resume()
            counts = self._sink.counts()
            self._others = {name: counts[name] - self._planned(name) for name in tables()}
        else:
            follower.begin(at)
        return follower.at

    def follow(self, changes: Sequence[Batch], until: datetime) -> None:
        self._following.follow(changes, until)

    def followed(self, seconds: float) -> bool:
        return self._following.followed(seconds)

    @property
    def last_error(self) -> str:
        return self._follower.last_error if self._follower else ""

    @property
    def _following(self) -> Follower:
        if self._follower is None:
            raise RuntimeError("call begin_following() first")
        return self._follower

    def _planned(self, name: str) -> int:
        """Rows that the run should have added by now."""
        if self._follower is None:
            return self._window.rows(name)
        window = self._window
        return window.plan.rows(name, window.first(name), until=self._follower.at)

    def verify(self) -> Iterator[Check]:
        counts, before = self._sink.counts(), self._sink.rows_before
        loaded = self._sink.rows_loaded
        for table in catalogue().tables:
            name = table.name
            if self._sink.was_there or self._window.shared:
                # Others add to the tables, too: which rows are the run's own only `verify` tells.
                mine = self._planned(name)
                if not table.is_reference and self._follower is None:
                    mine = self._rows_loaded()[name]
                self._others[name] = max(counts[name] - mine, 0)
            elif not self._window.tables_there:
                # Reference data that was there before counts as loaded: it is the same rows.
                there = self._window.rows(name) - loaded[name] if table.is_reference else 0
                self._others[name] = before[name] - there
            found = counts[name] - self._others[name]
            yield Check(name, self._planned(name), found, rank=table.validation_rank)

    def receipt(self) -> dict[str, Any]:
        following = self._follower.at if self._follower else self._window.tables_at
        return {
            "address": self._sink.where,
            "schema": self._sink.schema,
            "outcome": self.settlement().outcome,
            "tables": self._rows_loaded(),
            "as_of": as_text(following) if following else None,
        }

    def close(self, error: BaseException | None) -> None:
        if self._follower is not None:
            self._follower.close()
        if self._lock is not None:
            self._lock.release()
        self._sink.__exit__(None if error is None else type(error), error, None)

    @property
    def _outcome(self) -> Outcome:
        if self._window.tables_there:
            return "committed"
        if self._earlier is None:
            return self._sink.outcome
        # One that was killed may have committed since.
        return "committed" if self._earlier.get("outcome") == "committed" else "unknown"

    @property
    def _earlier(self) -> Mapping[str, Any] | None:
        """What the receipt says that an attempt before has left, as long as it was not looked for."""
        return None if self._looked else (self._window.before or {}).get(POSTGRES.name)

    def settlement(self) -> Committed:
        return Committed(
            POSTGRES.name,
            POSTGRES.title,
            self._outcome,
            self._target.truncate,
            SKIP,
            self._rows_loaded(),
        )
