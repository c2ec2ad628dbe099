"""The PostgreSQL stage of a load: all tables, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ...settlement import Committed
from ...types import catalogue
from ..base import Check, Sink, Stage, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..._core import Batch
    from ..base import Window

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
    the rows that are there are replaced.
    """

    # A password may stand in it.
    url: str = field(repr=False)
    schema: str | None = None
    truncate: bool = False

    @property
    def relations(self) -> tuple[str, ...]:
        return tables()

    def sink(self, window: Window) -> _PostgresStage:
        return _PostgresStage(self, window)


class _PostgresStage(Sink):
    stage = POSTGRES
    relations = tables()
    commit_part = "keys and commit"

    def __init__(self, target: PostgresTarget, window: Window) -> None:
        from .sink import PostgresSink

        self._target = target
        self._window = window
        self._sink = PostgresSink(
            target.url, truncate=target.truncate, parallel=window.fast, schema=target.schema
        )

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

    def verify(self) -> Iterator[Check]:
        counts, before = self._sink.counts(), self._sink.rows_before
        loaded = self._sink.rows_loaded
        for table in catalogue().tables:
            name = table.name
            planned = self._window.rows(name)
            # Reference data that was there before counts as loaded: it is the same rows.
            there = planned - loaded[name] if table.is_reference else 0
            found = counts[name] - before[name] + there
            yield Check(name, planned, found, rank=table.validation_rank)

    def close(self, error: BaseException | None) -> None:
        self._sink.__exit__(None if error is None else type(error), error, None)

    def settlement(self) -> Committed:
        return Committed(
            POSTGRES.name,
            POSTGRES.title,
            self._sink.outcome,
            self._target.truncate,
            SKIP,
            self._sink.rows_loaded,
        )
