"""A PostgreSQL session whose waits have a name and a limit, and give way to Ctrl-C."""

from __future__ import annotations

import logging
import selectors
import sys
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from psycopg.abc import PQGen
    from psycopg.waiting import Ready

    T = TypeVar("T")

__all__ = ["AFTER_INTERRUPT", "ANSWER", "PATIENCE", "STALLED", "WORK", "session_class", "waiting"]

_log = logging.getLogger(__name__)

#: Seconds for an answer that takes the server no work.
ANSWER: Final = 30.0
#: Seconds in which nothing moves, neither on the connection nor in the server.
STALLED: Final = 60.0
#: The same where the server may work without a sign of it: a sort in memory, the sync of a file.
WORK: Final = 600.0
#: Seconds without progress until an outcome stays open, or committed rows are not counted.
PATIENCE: Final = 30.0
#: The same after Ctrl-C.
AFTER_INTERRUPT: Final = 0.8

#: Seconds between looks at what else there is: Ctrl-C of another thread, signs of progress.
_TICK = 0.2
#: Seconds of silence until the server is asked what the session does.
_OBSERVE_AFTER = 5.0
_SAY_AFTER = 10.0
_SAY_AGAIN = 30.0
#: Seconds that a session has, after Ctrl-C, to end its statement in order.
_CANCEL = 0.4

#: What a session waits for, and how far it has come.
_SIGNS = """
SELECT a.state, a.wait_event_type, a.wait_event, array_to_string(pg_blocking_pids(a.pid), ', '),
       (SELECT p::text FROM pg_stat_progress_create_index AS p WHERE p.pid = a.pid), {copy}
FROM pg_stat_activity AS a WHERE a.pid = %s
"""
_COPY_SIGNS = "(SELECT p::text FROM pg_stat_progress_copy AS p WHERE p.pid = a.pid)"


@dataclass(frozen=True, slots=True)
class _Wait:
    what: str
    limit: float


_USUAL = _Wait("an answer", ANSWER)
_current: ContextVar[_Wait] = ContextVar("_current", default=_USUAL)


@contextmanager
def waiting(what: str, limit: float) -> Iterator[None]:
    """Statements of this thread wait for `what`, at most `limit` seconds after the last progress."""
    token = _current.set(_Wait(what, limit))
    try:
        yield
    finally:
        _current.reset(token)


@cache
def session_class() -> type[psycopg.Connection[Any]]:
    """The connection class of psycopg, with these waits instead of its own."""
    import psycopg

    class Session(psycopg.Connection[Any]):
        #: Opens a second session that tells what this one is at; None where there can be none.
        observer: Callable[[psycopg.Connection[Any]], psycopg.Connection[Any]] | None = None

        def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
            del interval
            wait = _current.get()
            silence = _Silence(self, wait if timeout is None else _Wait(wait.what, timeout))
            try:
                return _drive(self, gen, silence)
            except Exception:
                raise
            except BaseException:
                with suppress(psycopg.Error, OSError):
                    self.cancel_safe(timeout=_CANCEL)
                    _drive(self, _goes_on(gen), _Silence(self, _Wait("its end", _CANCEL)))
                raise
            finally:
                silence.end()

    return Session


def _drive(session: psycopg.Connection[Any], gen: PQGen[T], silence: _Silence) -> T:
    """Runs a generator of psycopg's to its end, each time that the connection is ready for it."""
    try:
        wanted = next(gen)
        with selectors.DefaultSelector() as selector:
            selector.register(session.fileno(), int(wanted))
            while True:
                events = selector.select(_TICK)
                if events:
                    silence.moved()
                    again = gen.send(_ready(events[0][1]))
                    if again != wanted:
                        selector.modify(session.fileno(), int(again))
                    wanted = again
                else:
                    silence.check()
    except StopIteration as done:
        value: T = done.value
        return value


def _ready(events: int) -> Ready:
    from psycopg.waiting import Ready

    return Ready(events)


def _goes_on(gen: PQGen[T]) -> PQGen[T | None]:
    """What is left of a generator that has begun."""
    from psycopg.waiting import Wait

    wanted = Wait.R
    while True:
        ready = yield wanted
        try:
            wanted = gen.send(ready)
        except StopIteration as done:
            value: T = done.value
            return value


class _Silence:
    """How long nothing has moved in one wait."""

    def __init__(self, session: Any, wait: _Wait) -> None:
        self._session = session
        self._wait = wait
        self._began = self._moved = time.monotonic()
        self._say_at = self._began + _SAY_AFTER
        self._unsent = _unsent(session)
        self._observer: _Observer | None = None
        self._signs: tuple[Any, ...] | None = None

    def end(self) -> None:
        if self._observer is not None:
            self._observer.ended.set()

    def moved(self) -> None:
        self._moved = time.monotonic()

    def check(self) -> None:
        """Looks for progress; raises once there was none for too long."""
        import psycopg

        if self._session.closed:
            raise psycopg.OperationalError("the connection was closed")
        now = time.monotonic()
        unsent = _unsent(self._session)
        if unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        if self._observer is not None:
            if self._observer.signs != self._signs:
                self._signs, self._moved = self._observer.signs, now
        elif now - self._began > _OBSERVE_AFTER and self._session.observer is not None:
            self._observer = _Observer(self._session)
            self._observer.start()
        quiet = now - self._moved
        if now >= self._say_at:
            self._say_at = now + _SAY_AGAIN
            _log.info("waiting for %s for %.0f s%s", self._wait.what, now - self._began, self._at())
        if quiet > self._limit(now):
            raise psycopg.OperationalError(
                f"nothing has moved for {quiet:.0f} s while waiting for {self._wait.what}"
            )

    def _limit(self, now: float) -> float:
        observer = self._observer
        if observer is not None and (
            # A server that hangs gives no answer; a session that reads what has been sent long
            # ago does not work.
            now - observer.answered > STALLED or (observer.reads and not self._unsent)
        ):
            return min(self._wait.limit, STALLED)
        return self._wait.limit

    def _at(self) -> str:
        return f"; the server says: {self._observer.text}" if self._observer else ""


class _Observer(threading.Thread):
    """Asks the server from time to time what a session is at, over another one."""

    def __init__(self, session: Any) -> None:
        super().__init__(name="observer", daemon=True)
        self._observed = session
        self._pid = session.info.backend_pid
        self.ended = threading.Event()
        self.answered = time.monotonic()
        self.signs: tuple[Any, ...] | None = None
        self.reads = False
        self.text = "nothing"

    def run(self) -> None:
        import psycopg

        session: psycopg.Connection[Any] | None = None
        while not self.ended.wait(1.0):
            try:
                with waiting("what a session is at", _OBSERVE_AFTER):
                    session = session or self._observed.observer(self._observed)
                    copy = _COPY_SIGNS if session.info.server_version >= 140_000 else "NULL"
                    statement = _SIGNS.format(copy=copy).encode()
                    self._take(session.execute(statement, [self._pid]).fetchone())
            except psycopg.Error as error:
                # It lives, where it refuses another session.
                if error.sqlstate or "FATAL" in str(error):
                    self.answered = time.monotonic()
                if session is not None:
                    session.close()
                session = None
        if session is not None:
            session.close()

    def _take(self, row: tuple[Any, ...] | None) -> None:
        self.answered = time.monotonic()
        self.signs = row
        state, kind, event, blocking, *_ = row or ("gone", None, None, "")
        self.reads = event == "ClientRead"
        self.text = f"{state}, {f'waits for {kind} {event}' if event else 'works'}"
        if blocking:
            self.text += f" that session {blocking} holds"


def _unsent(session: Any) -> int:
    """Bytes that the network has not taken yet, where the system tells."""
    if not sys.platform.startswith("linux"):
        return 0
    import fcntl
    import termios

    with suppress(OSError):
        return int.from_bytes(
            fcntl.ioctl(session.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder
        )
    return 0
