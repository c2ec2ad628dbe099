"""COPY sessions: statements and rows are sent, and the server's answer is awaited later.

The ``copy`` of psycopg awaits each, and sees no refusal before the end of the rows.
"""

from __future__ import annotations

import logging
import selectors
from typing import TYPE_CHECKING, Any

from .session import STALLED, WORK, waiting

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import PQGen

    from ..._core import Batch
    from .ddl import TableShape

__all__ = ["COPY_HEADER", "COPY_TRAILER", "CopyIn", "CopySession"]

_log = logging.getLogger(__name__)

# The file header of binary COPY: signature, flags, length of the header's extension; and its
# trailer (PostgreSQL documentation, COPY, "Binary Format").
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

#: Bytes handed to libpq at once: it moves what the network has not taken yet to and fro.
_PIECE = 1 << 16


class _Pipe:
    """A session's connection as libpq has it.

    Between ``send`` and ``wait`` the session can do nothing else.
    """

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._session = session
        self._libpq = session.pgconn

    @property
    def observed(self) -> bool:
        """Whether progress within the server is seen."""
        return getattr(self._session, "observer", None) is not None

    def send(self, statements: str) -> None:
        self._libpq.send_query(statements.encode())
        self._session.wait(self._flush())

    def put(self, rows: memoryview | bytes) -> None:
        """Sends what comes next in a COPY; waits while the server is behind."""
        self._session.wait(self._put(memoryview(rows)))

    def end(self) -> None:
        self._session.wait(self._end())

    def answered(self) -> bool:
        """Whether the server has said something."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._session.fileno(), selectors.EVENT_READ)
            return bool(selector.select(0))

    def wait(self) -> int:
        """Waits until the server has done what was sent, or wants a COPY's rows.

        How many rows the last statement affected, where it is one that affects rows.
        """
        from psycopg.errors import error_from_result
        from psycopg.pq import ExecStatus

        rows, error = 0, None
        while True:
            self._session.wait(self._read())
            result = self._libpq.get_result()
            if result is None:
                break
            if result.status == ExecStatus.COPY_IN:
                return 0
            if result.status == ExecStatus.FATAL_ERROR:
                error = error or error_from_result(result)
            rows = result.command_tuples or 0
        if error is not None:
            raise error
        return rows

    def _put(self, rows: memoryview) -> PQGen[None]:
        for start in range(0, len(rows), _PIECE):
            while self._libpq.put_copy_data(rows[start : start + _PIECE]) == 0:
                yield from self._flush()
            yield from self._flush()

    def _end(self) -> PQGen[None]:
        while self._libpq.put_copy_end() == 0:
            yield from self._flush()
        yield from self._flush()

    def _flush(self) -> PQGen[None]:
        from psycopg.waiting import Ready, Wait

        while self._libpq.flush():
            if (yield Wait.RW) & Ready.R:
                self._libpq.consume_input()

    def _read(self) -> PQGen[None]:
        from psycopg.waiting import Wait

        while self._libpq.is_busy():
            yield Wait.R
            self._libpq.consume_input()


class CopyIn:
    """One binary COPY into a table, for as many batches as come.

    The server works while rows are sent, so it may refuse one some batches later. ``freeze``
    spares a later vacuum; it needs a table made or emptied in this transaction.
    """

    def __init__(
        self,
        session: psycopg.Connection[Any],
        schema: str,
        table: TableShape,
        *,
        freeze: bool,
    ) -> None:
        options = "FORMAT BINARY, FREEZE" if freeze else "FORMAT BINARY"
        self._statement = (
            f"COPY {schema}.{table.name} ({table.column_names}) FROM STDIN ({options})"
        )
        self._what = f"the server to take rows of {table.name}"
        self._pipe = _Pipe(session)
        self._rows = 0
        self.table = table
        #: Rows that were sent.
        self.sent = 0
        self._bytes = 0
        self._open = False
        self._start()

    def write(self, batch: Batch) -> None:
        # A server says nothing in the middle of a COPY unless something is wrong.
        if self._pipe.answered():
            self._rows = self.rows()
            self._start()
        with waiting(self._what, STALLED):
            rows = memoryview(batch.encode("pgcopy"))
            self._pipe.put(rows)
        self.sent += len(batch)
        self._bytes += rows.nbytes

    def end(self) -> None:
        """Says that these are all rows, and does not wait for what the server makes of them."""
        if self._open:
            self._open = False
            _log.debug("COPY %s: %d rows, %d bytes", self.table.name, self.sent, self._bytes)
            with waiting(self._what, STALLED):
                self._pipe.put(COPY_TRAILER)
                self._pipe.end()

    def rows(self) -> int:
        """How many rows the server has added, once it has added them all."""
        self.end()
        # Rows may take long to arrive, and only the server can tell that they do.
        with waiting(self._what, STALLED if self._pipe.observed else WORK):
            return self._rows + self._pipe.wait()

    def _start(self) -> None:
        with waiting(self._what, STALLED):
            self._pipe.send(self._statement)
            self._pipe.wait()
            self._pipe.put(COPY_HEADER)
        self._open = True


class CopySession:
    """One table's session: it takes rows, and then a statement that is not awaited at once."""

    def __init__(self, session: psycopg.Connection[Any], table: str) -> None:
        self.session = session
        #: Rows that the server has added.
        self.rows = 0
        self._table = table
        self._pipe = _Pipe(session)
        self._copy: CopyIn | None = None
        self._next = ""
        self._busy = False

    def write(self, batch: Batch, schema: str, table: TableShape) -> None:
        if self._copy is None:
            self._copy = CopyIn(self.session, schema, table, freeze=True)
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
        while self._busy and (wait or self._pipe.answered()):
            if self._copy is not None:
                self.rows, self._copy = self._copy.rows(), None
            else:
                with waiting(f"the keys of {self._table}", WORK):
                    self._pipe.wait()
            self._go_on()

    def _go_on(self) -> None:
        statement, self._next = self._next, ""
        if statement:
            self._pipe.send(statement)
        self._busy = bool(statement)
