"""An HTTP server that says the same to everybody, in the place of a schema registry."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def answering(
    status: int, body: bytes, *, answers: int | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every request so; its address and the users that it was told.

    After so many `answers` it hangs up instead.
    """
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the only method that registers a schema
            self.rfile.read(int(self.headers.get("content-length") or 0))
            seen.append(self.headers.get("authorization") or "")
            if answers is not None and len(seen) > answers:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join(10)
