"""The session of a load: it holds the locks, and its commit makes the rows visible."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ...errors import DatagenError
from .diagnosis import conflict_advice, is_lost, statement_failure
from .server import begin, pooled
from .session import AFTER_INTERRUPT, ANSWER, waiting

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    import psycopg

    from .server import Server, Target

__all__ = ["LoadSession", "in_query"]

_log = logging.getLogger(__name__)


def in_query(name: str) -> str:
    """A name, quoted already, as a query with parameters has it."""
    return name.replace("%", "%%")


class LoadSession:
    """A connection, which is replaced where it was lost, and the schema of the tables."""

    def __init__(self, server: Server, lock_timeout: float) -> None:
        self.server = server
        #: Seconds.
        self.lock_timeout = lock_timeout
        #: Quoted; empty until it is known.
        self.schema = ""
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise RuntimeError("the sink is not connected; use it as a context manager")
        return self._connection

    def connect(self, timeout: int | None = None) -> None:
        """Connects, and closes a connection that was there."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self.server.connect(timeout=timeout)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def begin(self, *, read_only: bool = False) -> Target:
        target = begin(self.connection, self.lock_timeout, read_only=read_only)
        if target.replication_role == "replica":
            # Foreign keys would not be checked.
            self.execute("SET LOCAL session_replication_role = origin")
        return target

    def execute(self, statement: str) -> None:
        if statement:
            self.connection.execute(statement.encode())

    def rows(self, statement: str, *positional: object, **named: object) -> list[tuple[Any, ...]]:
        """What a query gives; its parameters are ``%s``, or ``%(name)s``: names of users go through ``in_query``."""
        parameters = positional or named or None
        return self.connection.execute(statement.encode(), parameters).fetchall()

    def affected(self, statement: str, **named: object) -> int:
        """The number of rows that a statement affects; its parameters are as those of ``rows``."""
        return self.connection.execute(statement.encode(), named or None).rowcount

    def roll_back(self) -> None:
        """Takes back what was not committed, where the session can still be spoken to.

        Closing alone would do, but later: the server notices when it next reads. A session in the
        midst of a statement (Ctrl-C while the server hangs) would not answer.
        """
        import psycopg

        session = self.connection
        if session.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
            with suppress(psycopg.Error), waiting("a transaction to end", AFTER_INTERRUPT):
                session.rollback()

    def reconnect_if_ended(self) -> None:
        """A session that waited for the load to begin may have been ended, which harms nothing."""
        import psycopg

        try:
            with waiting("the session to be there", ANSWER):
                self.execute("SELECT")
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            _log.info("connecting again: %s", self.server.text(error))
            self.connect()

    def renew(self) -> None:
        """Takes a fresh connection, or keeps one that lives where the server gives no other."""
        import psycopg

        old = self.connection
        if pooled(old):
            # It may be the only one that the pool has.
            old.close()
        try:
            fresh = self.server.connect()
        except DatagenError:
            if old.closed or old.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                raise
            return
        old.close()
        self._connection = fresh

    @contextmanager
    def errors(
        self,
        table: str | None = None,
        *,
        outcome: str = "; nothing was loaded",
        fresh: Container[str | None] = (),
    ) -> Iterator[None]:
        """Errors of psycopg become those of datagen, which name the table.

        ``outcome`` says what has become of the load. A key that is twice in a table of ``fresh`` is
        so among the rows of the load itself.
        """
        import psycopg

        try:
            with waiting("an answer", self.lock_timeout + ANSWER):
                yield
        except psycopg.Error as error:
            known = (table or error.diag.table_name) in fresh
            raise statement_failure(
                self.server.conninfo,
                error,
                table,
                outcome=outcome,
                conflict="" if known else conflict_advice(error),
            ) from error
