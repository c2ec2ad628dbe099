"""A TCP relay in front of a server: slow, hung, or gone at the moment a test wants."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self

from ._net import LOOPBACK

if TYPE_CHECKING:
    pass

_PIECE = 1 << 14


class Relay:
    """Passes bytes between clients of `port` and the server at `target` (HOST, PORT).

    With `rate` it takes so many bytes a second of each client. `lose` names a word: once a client
    has said it, the connection ends, "before" the server hears of it or "after" it has answered.
    While it is not `open`, new connections end at once; while it is `silent`, they come to nothing.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.rate = 0
        self.lose: tuple[bytes, Literal["before", "after"]] | None = None
        self.open = True
        self.silent = False

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        with suppress(OSError):  # accept() wakes up
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def refuse(self) -> None:
        """End all connections, and each new one at once."""
        self.open = False
        for one in self._sockets:
            _end(one)

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.open:
                    client.close()
                    continue
                if self.silent:
                    self._sockets.append(client)
                    continue
                if self.rate:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._run(self._upwards, client, server)
                self._run(self._downwards, server, client)

    def _upwards(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_PIECE):
                lose = self.lose if self.lose and self.lose[0] in data else None
                if lose:
                    self.lose = None
                    if lose[1] == "after":
                        # The client must not see the answer.
                        client.shutdown(socket.SHUT_WR)
                        server.sendall(data)
                        time.sleep(0.5)
                    break
                server.sendall(data)
                if self.rate:
                    time.sleep(len(data) / self.rate)
        _end(client)
        _end(server)

    @staticmethod
    def _downwards(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(_PIECE):
                client.sendall(data)
        _end(client)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
