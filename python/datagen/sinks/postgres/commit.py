"""COMMIT, and what became of it where its answer gets lost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Literal

from ...errors import DatagenError, RejectedError
from .diagnosis import is_lost, statement_failure
from .session import AFTER_INTERRUPT, PATIENCE, WORK, waiting

if TYPE_CHECKING:
    import psycopg

    from .load_session import LoadSession

    Outcome = Literal["nothing", "committed", "unknown"]

__all__ = ["Commit"]

_log = logging.getLogger(__name__)

#: Outcomes by ``txid_status``.
_OUTCOMES: Final[dict[str | None, Outcome]] = {"committed": "committed", "aborted": "nothing"}


class Commit:
    """The commit of a load's transaction; ``outcome`` stands also where ``run`` raised."""

    def __init__(self, load: LoadSession) -> None:
        self._load = load
        self.outcome: Outcome = "nothing"

    def run(self) -> None:
        """Commits; asks the server what became of it if the answer gets lost.

        Raises an error unless the rows are committed.
        """
        import psycopg

        [(transaction,)] = self._load.rows("SELECT txid_current()")
        number, timeline = int(transaction), self._timeline()
        try:
            # From here on it is committed, or not, whatever becomes of this session.
            self.outcome = "unknown"
            with waiting("COMMIT", WORK), self._load.connection.cursor() as cursor:
                cursor.execute(b"COMMIT")
                status = cursor.statusmessage
        except psycopg.Error as error:
            if error.sqlstate and error.sqlstate[:2] not in ("08", "57"):
                self.outcome = "nothing"
            else:
                self.outcome = self._find_out(number, timeline, PATIENCE)
            self._raise_unless_committed(error)
        except BaseException:
            self.outcome = self._find_out(number, timeline, AFTER_INTERRUPT)
            raise
        else:
            self.outcome = "committed" if status == "COMMIT" else "nothing"
            if status != "COMMIT":
                raise RejectedError(
                    f"PostgreSQL at {self._load.server.where} refused the load: a statement of it "
                    f"had failed before; nothing was loaded"
                )

    def _raise_unless_committed(self, error: psycopg.Error) -> None:
        server = self._load.server
        if self.outcome != "committed":
            unknown = "; whether the load was committed is not known"
            outcome = "; nothing was loaded" if self.outcome == "nothing" else unknown
            raise statement_failure(server.conninfo, error, outcome=outcome) from error
        _log.warning(
            "PostgreSQL at %s: %s; the rows are committed nevertheless",
            server.where,
            server.text(error),
        )

    def _find_out(self, number: int, timeline: str, limit: float) -> Outcome:
        """What became of a transaction, by its number; that of another timeline tells nothing."""
        import psycopg

        self._load.connection.close()
        end = time.monotonic() + limit
        while True:
            try:
                self._load.connect(timeout=max(2, min(10, int(limit))))
                self._load.begin(read_only=True)
                [(standby,)] = self._load.rows("SELECT pg_is_in_recovery()")
                if not standby:
                    if self._timeline() != timeline:
                        return "unknown"
                    [(status,)] = self._load.rows("SELECT txid_status(%s)", number)
                    if status != "in progress":
                        return _OUTCOMES.get(status, "unknown")
            except (DatagenError, psycopg.Error) as error:
                text = self._load.server.text(error)
                _log.info("asking again what became of COMMIT: %s", text)
            if time.monotonic() > end:
                return "unknown"
            time.sleep(0.2)

    def _timeline(self) -> str:
        """The timeline of the server's log, which changes when another server takes over."""
        import psycopg

        try:
            with self._load.connection.transaction():
                [(name,)] = self._load.rows("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
                return str(name)[:8]
        except psycopg.Error as error:
            if is_lost(error):
                raise
            return ""
