"""A TCP proxy in front of a Kafka listener, with the faults of a network on demand.

It reads the frames of both directions (a length, then for a request its kind and number, for an
answer the number alone), so that it can treat requests to produce differently from all others.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from ._net import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PRODUCE = 0  # ApiKeys.PRODUCE


class Proxy:
    """Connects clients of `port` to a broker's listener at `target` (HOST:PORT).

    For a listener that is advertised at `port`, so that clients stay with the proxy:

        port = free_port()
        with KafkaBroker(listeners=[Listener("PROXY", advertised_port=port)]) as broker,
                Proxy(broker.address("PROXY"), port) as proxy: ...

    `produced` and `swallowed` count the requests to produce that went through whole, and the
    answers to them that were thrown away.
    """

    def __init__(self, target: str, port: int) -> None:
        self._host, _, target_port = target.rpartition(":")
        self._target_port = int(target_port)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.delay = 0.0  # seconds that every answer is late
        self.produced = self.swallowed = 0
        self.to_swallow = self.to_cut = 0

    @property
    def address(self) -> str:
        """Where clients come in, HOST:PORT."""
        return f"{LOOPBACK}:{self._port}"

    def swallow(self, answers: int) -> None:
        """Throw away the next so many answers to requests to produce: the records are written.

        The connection is reset after the last one, or as soon as it awaits no more.
        """
        self.to_swallow = answers

    def cut(self, requests: int) -> None:
        """Reset the connection in the midst of each of the next so many requests to produce."""
        self.to_cut = requests

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones."""
        self._call(self._close)

    def accept(self) -> None:
        """Let connections through, as a proxy does that was just entered."""
        self._call(self._listen)

    def restore(self) -> None:
        """Be a plain proxy again."""
        self.delay = 0.0
        self.to_swallow = self.to_cut = 0
        self.accept()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.accept()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, what: Callable[[], Awaitable[None]]) -> None:
        async def done() -> None:
            await what()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = [connection.task for connection in self._connections]
        for connection in list(self._connections):
            connection.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            streams = await asyncio.open_connection(self._host, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), streams)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


class _Connection:
    """A client's connection and the one to the broker that was made for it."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_broker, self._to_broker = broker
        self._awaited: set[bytes] = set()  # the numbers of requests to produce
        task = asyncio.current_task()
        assert task is not None
        self.task = task

    async def run(self) -> None:
        """Passes frames on until either side has hung up."""
        both = [asyncio.ensure_future(one()) for one in (self._requests, self._answers)]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for writer in (self._to_client, self._to_broker):
                writer.transport.abort()

    def reset(self) -> None:
        """End both connections with RST, and forget what is under way."""
        for writer in (self._to_client, self._to_broker):
            end = writer.get_extra_info("socket")
            with suppress(OSError):  # ended by the other side
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _requests(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(self._from_client)
                kind, number = int.from_bytes(frame[4:6], "big"), frame[8:12]
                if kind == _PRODUCE:
                    if self._proxy.to_cut:
                        self._proxy.to_cut -= 1
                        self._to_broker.write(frame[: len(frame) // 2])
                        await self._to_broker.drain()
                        self.reset()
                        return
                    self._awaited.add(number)
                    self._proxy.produced += 1
                self._to_broker.write(frame)
                await self._to_broker.drain()

    async def _answers(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(self._from_broker)
                number = frame[4:8]
                if number in self._awaited:
                    self._awaited.discard(number)
                    if self._proxy.to_swallow:
                        self._proxy.to_swallow -= 1
                        self._proxy.swallowed += 1
                        if not (self._proxy.to_swallow and self._awaited):
                            self.reset()
                            return
                        continue
                await asyncio.sleep(self._proxy.delay)
                self._to_client.write(frame)
                await self._to_client.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """A request or an answer, with its length in front."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big"))
