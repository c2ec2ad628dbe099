"""``python -m datagen.local.proxy``: the broker, and in front of it what has consumer groups begin soon.

Tansu answers a member that joins a group after half the session timeout of the group: with the 45 s that
clients ask for, their first message comes after 23 s. The broker so listens at a port of its own, and
each connection goes through here, byte by byte, but for one number: a request JoinGroup that asks for a
longer session asks for 4 s. That is more than the 3 s between heartbeats of Java's client, librdkafka
and others, and has the first message come after 2 s.

Of a request the first eight bytes are read (its length, kind and version), and the rest is passed on as it
comes; answers are not read at all.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self

from ._process import LOOPBACK, is_listening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["SESSION_MS", "main", "serve", "shorten_session"]

#: The longest session that a member gets; half of it passes before a group begins.
SESSION_MS: Final = 4_000

_JOIN_GROUP: Final = 11  # its number among the kinds of requests
_FLEXIBLE: Final = 6  # the version of JoinGroup from which on texts are compact
_LARGEST_JOIN: Final = 1 << 20
_CHUNK: Final = 1 << 18
_HEAD: Final = 8
#: The signals that end it.
_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: More of the same request follows, so that a packet can wait for it.
_MORE: Final = getattr(socket, "MSG_MORE", 0)


def shorten_session(request: bytearray | memoryview) -> None:
    """Has a whole request JoinGroup, with its length before it, ask for 4 s at most.

    Layout (Kafka's protocol guide): length, kind, version, correlation and client id; from version 6 on
    tagged fields; the group's id; the session timeout in ms. One that is laid out otherwise stays as it is.
    """
    (version,) = struct.unpack_from(">h", request, 6)
    with suppress(struct.error, IndexError):
        (client,) = struct.unpack_from(">h", request, 12)
        at = 14 + max(client, 0)
        if version >= _FLEXIBLE:
            if request[at] != 0:  # tagged fields in the header: no client sends any
                return
            length, at = _varint(request, at + 1)
            length -= 1
        else:
            (length,) = struct.unpack_from(">h", request, at)
            at += 2
        if length < 0:  # a group has an id
            return
        at += length
        (session,) = struct.unpack_from(">i", request, at)
        if session > SESSION_MS:
            struct.pack_into(">i", request, at, SESSION_MS)


def _varint(text: bytearray | memoryview, at: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte, five bytes at most, and where it ends; -1 for none."""
    value = 0
    for place in range(5):
        byte = text[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    return -1, at


def _pass_requests(client: socket.socket, broker: socket.socket) -> None:
    head = memoryview(bytearray(_HEAD))
    with _Pipe(client, broker) as pipe:
        while _fill(client, head):
            length, kind = struct.unpack_from(">ih", head)
            left = length + 4 - _HEAD
            if left < 0:
                return  # no request of Kafka's is so short
            if kind == _JOIN_GROUP and left <= _LARGEST_JOIN:
                join = bytearray(_HEAD + left)
                join[:_HEAD] = head
                if not _fill(client, memoryview(join)[_HEAD:]):
                    return
                shorten_session(join)
                broker.sendall(join)
                continue
            broker.sendall(head, _MORE if left else 0)
            while left:
                passed = pipe.move(left)
                if not passed:
                    return
                left -= passed


def _fill(client: socket.socket, part: memoryview) -> bool:
    """Whether so many bytes came before the end."""
    filled = 0
    while filled < len(part):
        got = client.recv_into(part[filled:])
        if not got:
            return False
        filled += got
    return True


def _pass_answers(broker: socket.socket, client: socket.socket) -> None:
    with _Pipe(broker, client) as pipe:
        while pipe.move(_CHUNK):
            pass


class _Pipe:
    """Passes bytes on from one socket to another; by Linux's splice they are never copied to here."""

    def __init__(self, source: socket.socket, to: socket.socket) -> None:
        self._source, self._to = source, to
        self._ends = os.pipe() if hasattr(os, "splice") else ()
        self._buffer = memoryview(b"" if self._ends else bytearray(_CHUNK))
        if self._ends:
            import fcntl

            with suppress(OSError):  # the account has too many pages in pipes
                fcntl.fcntl(self._ends[1], fcntl.F_SETPIPE_SZ, _CHUNK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            os.close(end)

    def move(self, most: int) -> int:
        """How many bytes were passed on, once some came; 0 at the end."""
        most = min(most, _CHUNK)
        if not self._ends:
            got = self._source.recv_into(self._buffer, most)
            self._to.sendall(self._buffer[:got])
            return got
        reading, writing = self._ends
        left = got = os.splice(self._source.fileno(), writing, most)
        while left:
            left -= os.splice(reading, self._to.fileno(), left)
        return got


def _accept(listener: socket.socket, port: int) -> NoReturn:
    """Passes on what comes over each connection, by two threads of its own."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            time.sleep(0.1)  # too many files are open: some will be closed
            continue
        try:
            broker = socket.create_connection((LOOPBACK, port))
        except OSError:
            client.close()
            continue
        for one in (client, broker):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _begin(_pass_answers, broker, client)
        _begin(_pass_requests, client, broker)


def _begin(
    work: Callable[[socket.socket, socket.socket], None], source: socket.socket, to: socket.socket
) -> None:
    def run() -> None:
        with suppress(OSError):
            work(source, to)
        # The other thread then comes to its end as well.
        for one in (source, to):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=run, daemon=True).start()


def serve(port: int, program: Path, cluster: str, environment: Mapping[str, str]) -> NoReturn:
    """Runs the broker and serves it at 127.0.0.1:``port``; ends with it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    own = _free_port()
    argv: Sequence[str | Path] = [
        program,
        *("--cluster-id", cluster),
        *("--listener-url", f"tcp://{LOOPBACK}:{own}"),
        *("--advertised-listener-url", f"tcp://{LOOPBACK}:{port}"),
        *("--storage-engine", "memory://tansu/"),
    ]
    # A signal that comes meanwhile would end this process and leave the broker: it waits until both end.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    tie = partial(_die_with, os.getpid())
    broker = subprocess.Popen(argv, env=dict(environment), preexec_fn=tie)  # noqa: PLW1509

    def end(*_: object) -> NoReturn:
        # There is nothing to save, and on SIGTERM it would wait for clients that stay connected. This may
        # interrupt `broker.wait`, which holds a lock.
        with suppress(OSError):
            os.kill(broker.pid, signal.SIGKILL)
            os.waitpid(broker.pid, 0)
        os._exit(0)

    for number in _ENDING:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    while not is_listening(own) and broker.poll() is None:
        time.sleep(0.01)
    if broker.poll() is None:
        listener.listen(128)
        threading.Thread(target=_accept, args=(listener, own), daemon=True).start()
    os._exit(broker.wait() or 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _die_with(parent: int) -> None:
    """Has Linux end the broker, of which this is the process, when its parent is killed."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # which was killed before Linux was asked
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def main() -> NoReturn:
    """Serves as the arguments say: port, program, id of the cluster."""
    port, program, cluster = sys.argv[1:]
    serve(int(port), Path(program), cluster, os.environ)


if __name__ == "__main__":
    main()
