"""The PostgreSQL stage of a load: all tables, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from ...receipts import as_text
from ...settlement import Committed
from ...types import catalogue
from ..base import Check, Contents, Sink, Stage, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from uuid import UUID

    from ..._core import Batch, Plan, Reconciliation
    from ..base import Window
    from .follower import Follower
    from .sink import ReplicaIdentity

__all__ = ["POSTGRES", "SKIP", "PostgresTarget"]

POSTGRES: Final = Stage(
    "postgres",
    title="PostgreSQL",
    unit="rows",
    counted="PostgreSQL row counts",
    committed="committed",
)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tables.__exit__(kind, error, trace)

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
        #: Rows that are not of this run, by table.
        self._others: dict[str, int] = {}

    def open(self) -> None:
        self._sink.connect()

    def begin(self) -> None:
        self._sink.begin()

    def write(self, batch: Batch) -> None:
        self._sink.write(batch)

    def finish(self, name: str) -> None:
        self._sink.finish(name)

    def commit(self) -> None:
        self._sink.commit()

    def begin_following(self, at: datetime) -> datetime:
        window = self._window
        self._follower = follower = self._sink.follower(window.plan, window.first_customer)
        if window.tables_there:
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
            if not self._window.tables_there:
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
            "tables": dict(self._sink.rows_loaded),
            "as_of": as_text(following) if following else None,
        }

    def close(self, error: BaseException | None) -> None:
        if self._follower is not None:
            self._follower.close()
        self._sink.__exit__(None if error is None else type(error), error, None)

    def settlement(self) -> Committed:
        return Committed(
            POSTGRES.name,
            POSTGRES.title,
            "committed" if self._window.tables_there else self._sink.outcome,
            self._target.truncate,
            SKIP,
            self._sink.rows_loaded,
        )
