"""A schema registry for the local stack: the Confluent REST calls that Avro clients make.

``python -m datagen.local.registry --port 8081 --file registry.json`` serves on 127.0.0.1.
Avro only, without schema references, contexts or authentication. Calls and error codes follow
Confluent's "Schema Registry API Reference".

Since no client has to log in, what a web page can make a browser send is refused: a request for
another host, and a change whose body is not declared to be JSON. A request has a limit of size
and of time, and connections have one of number.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import re
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from ._process import LOOPBACK
from ._subjects import RegistryError, Subjects

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
#: What a body may be declared as.
BODY_TYPES = ("application/json", "application/vnd.schemaregistry+json", CONTENT_TYPE)
MAX_BODY = 1_000_000
#: Seconds for one request to arrive, and for its answer to leave.
REQUEST_SECONDS = 10.0
MAX_CONNECTIONS = 64

_log = logging.getLogger(__name__)


class Call:
    """One request as the functions below see it: the path's variable parts, query and body."""

    def __init__(self, subjects: Subjects, groups: tuple[str, ...], query: str, body: bytes):
        self.subjects = subjects
        self.parts = [unquote(group) for group in groups]
        if not all(part.isprintable() for part in self.parts):
            raise RegistryError(42208, "A name holds characters that cannot be printed")
        self.query = {name: values[-1] for name, values in parse_qs(query).items()}
        self.deleted = self.flag("deleted")
        self.permanent = self.flag("permanent")
        self._body = body

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() == "true"

    @property
    def number(self) -> int:
        """The id of a schema; the route lets digits alone through."""
        digits = self.parts[0]
        if len(digits) > 10:
            raise RegistryError(40403, f"Schema {digits[:10]}... not found")
        return int(digits)

    def body(self) -> dict[str, Any]:
        try:
            content = json.loads(self._body)
        except ValueError as error:
            raise RegistryError(400, f"The body is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise RegistryError(400, "The body is not a JSON object")
        return content

    def schema(self) -> str:
        """The text of the Avro schema in the body."""
        content = self.body()
        kind = content.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise RegistryError(42201, f"Only AVRO is supported, not {kind}")
        if content.get("references"):
            raise RegistryError(42201, "Schema references are not supported")
        if not isinstance(content.get("schema"), str):
            raise RegistryError(42201, "Empty schema")
        return str(content["schema"])


def _register(call: Call) -> object:
    added = call.subjects.register(call.parts[0], call.schema())
    return {"id": added["id"], "version": added["version"], "schema": added["schema"]}


def _version(call: Call) -> dict[str, Any]:
    return call.subjects.version(*call.parts, deleted=call.deleted)


def _compatibility(call: Call) -> object:
    subject, *version = call.parts
    problems = call.subjects.problems(subject, call.schema(), *version)
    messages = {"messages": problems} if call.flag("verbose") else {}
    return {"is_compatible": not problems, **messages}


_SUBJECT = r"/subjects/([^/]+)"
_VERSION = _SUBJECT + r"/versions/([^/]+)"
_LEVEL: dict[str, Callable[[Call], object]] = {
    "GET": lambda call: {
        "compatibilityLevel": call.subjects.level(
            *call.parts, or_global=call.flag("defaultToGlobal")
        )
    },
    "PUT": lambda call: {
        "compatibility": call.subjects.set_level(call.body().get("compatibility"), *call.parts)
    },
    "DELETE": lambda call: {"compatibilityLevel": call.subjects.clear_level(*call.parts)},
}
_ROUTES: dict[str, dict[str, Callable[[Call], object]]] = {
    r"/": {"GET": lambda _: {}},
    # By the pid, `datagen local up` knows that its own child answers.
    r"/v1/metadata/id": {"GET": lambda _: {"scope": {}, "id": f"datagen-local-{os.getpid()}"}},
    r"/mode(?:/[^/]+)?": {"GET": lambda _: {"mode": "READWRITE"}},
    r"/schemas/types": {"GET": lambda _: ["AVRO"]},
    r"/schemas/ids/([0-9]+)": {
        "GET": lambda call: {"schema": call.subjects.schema(call.number)},
    },
    r"/schemas/ids/([0-9]+)/schema": {
        "GET": lambda call: json.loads(call.subjects.schema(call.number)),
    },
    r"/schemas/ids/([0-9]+)/subjects": {
        "GET": lambda call: sorted(
            {use["subject"] for use in call.subjects.uses(call.number, deleted=call.deleted)}
        ),
    },
    r"/schemas/ids/([0-9]+)/versions": {
        "GET": lambda call: call.subjects.uses(call.number, deleted=call.deleted),
    },
    r"/subjects": {
        "GET": lambda call: [
            name
            for name in call.subjects.names(deleted=call.deleted)
            if name.startswith(call.query.get("subjectPrefix", ""))
        ],
    },
    _SUBJECT: {
        "POST": lambda call: call.subjects.lookup(
            call.parts[0], call.schema(), deleted=call.deleted
        ),
        "DELETE": lambda call: call.subjects.delete(call.parts[0], permanent=call.permanent),
    },
    _SUBJECT + r"/versions": {
        "GET": lambda call: call.subjects.versions(call.parts[0], deleted=call.deleted),
        "POST": _register,
    },
    _VERSION: {
        "GET": _version,
        "DELETE": lambda call: call.subjects.delete_version(*call.parts, permanent=call.permanent),
    },
    _VERSION + r"/schema": {"GET": lambda call: json.loads(_version(call)["schema"])},
    r"/config": _LEVEL,
    r"/config/([^/]+)": _LEVEL,
    r"/compatibility" + _SUBJECT + r"/versions": {"POST": _compatibility},
    r"/compatibility" + _VERSION: {"POST": _compatibility},
}


def answer(subjects: Subjects, method: str, target: str, body: bytes) -> tuple[int, object]:
    """The HTTP status and the JSON value for a request; every refusal has an error code."""
    parts = urlsplit(target)
    path = parts.path.rstrip("/") or "/"
    try:
        function, groups = _route(method, path)
        return 200, function(Call(subjects, groups, parts.query, body))
    except RegistryError as error:
        return error.status, _refusal(error)
    except RecursionError:
        return 422, _refusal(RegistryError(42201, "Invalid Avro schema: it is nested too deeply"))


def _refusal(error: RegistryError) -> dict[str, object]:
    return {"error_code": error.code, "message": str(error)}


def _route(method: str, path: str) -> tuple[Callable[[Call], object], tuple[str, ...]]:
    for route, methods in _ROUTES.items():
        match = re.fullmatch(route, path)
        if match and method in methods:
            return methods[method], match.groups()
        if match:
            raise RegistryError(405, "HTTP 405 Method Not Allowed")
    raise RegistryError(404, "HTTP 404 Not Found")


def check_head(headers: Message, target: str, method: str, port: int) -> int:
    """The length of the body of a request that may be read; RegistryError says why it may not."""
    hosts = headers.get_all("Host", [])
    # By this name a page elsewhere that has its own name lead to 127.0.0.1 is recognised.
    known = {f"{name}:{port}" for name in (LOOPBACK, "localhost", "[::1]")}
    if len(hosts) != 1 or hosts[0].strip().lower() not in known:
        raise RegistryError(403, f"This registry answers to the hosts {', '.join(sorted(known))}")
    if not target.startswith("/"):
        raise RegistryError(400, "The target of the request is not a path")
    if headers.get_all("Transfer-Encoding"):
        raise RegistryError(411, "Send the body with a Content-Length")
    lengths = headers.get_all("Content-Length", ["0"])
    if len(lengths) != 1 or not re.fullmatch("[0-9]{1,19}", lengths[0].strip(), re.ASCII):
        raise RegistryError(400, "The Content-Length is not a number")
    length = int(lengths[0])
    if length > MAX_BODY:
        raise RegistryError(413, f"The body has {length} bytes, and may have {MAX_BODY}")
    # A form, or text, is what a browser sends for a page elsewhere without asking first.
    if (method in ("POST", "PUT") or length) and headers.get_content_type() not in BODY_TYPES:
        raise RegistryError(415, f"Set Content-Type to one of {', '.join(BODY_TYPES)}")
    return length


class _TooSlowError(Exception):
    """A request did not arrive in time."""


class _Arriving(io.RawIOBase):
    """What a connection receives, up to a deadline however often something arrives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = time.monotonic() + REQUEST_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise _TooSlowError
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        except TimeoutError:
            raise _TooSlowError from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        #: Open connections; those that wait for a request to arrive are in the order of waiting.
        self._waiting: dict[socket.socket, None] = {}
        self._busy: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((LOOPBACK, port), handler)

    def server_bind(self) -> None:
        # As in HTTPServer but for getfqdn(), which may ask a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection; the one that has waited longest gives way to it."""
        with self._lock:
            full = len(self._waiting) + len(self._busy) >= MAX_CONNECTIONS
            longest = next(iter(self._waiting), None)
            if full and longest is not None:
                del self._waiting[longest]
                _hang_up(longest)  # which its thread notices
            if not full or longest is not None:
                self._waiting[request] = None
        if full and longest is None:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def mark(self, request: socket.socket, *, busy: bool) -> None:
        """Notes whether a request has arrived and is being answered."""
        with self._lock:
            if request not in self._waiting and request not in self._busy:
                return  # it was hung up on
            self._waiting.pop(request, None)
            self._busy.discard(request)
            if busy:
                self._busy.add(request)
            else:
                self._waiting[request] = None

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._waiting.pop(request, None)
            self._busy.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that goes in the midst of a request is a line in the log, if that."""
        _log.debug("a connection was lost", exc_info=True)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection; ``subjects`` is set by ``make_server``."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True
    subjects: Subjects
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._arriving = _Arriving(self.connection)
        self.rfile = self._reader = io.BufferedReader(self._arriving)

    def handle_one_request(self) -> None:
        self.server.mark(self.connection, busy=False)
        self.close_connection = True
        self.request_version = self.command = ""
        self._arriving.deadline = time.monotonic() + REQUEST_SECONDS
        try:
            if not self._reader.peek(1):
                return
        except _TooSlowError:
            return  # it asked nothing
        # From its first byte on; a connection may have been kept open for the next request.
        self._arriving.deadline = time.monotonic() + REQUEST_SECONDS
        try:
            super().handle_one_request()
        except _TooSlowError:
            self._refuse(408, f"The request did not arrive within {REQUEST_SECONDS:.0f} seconds")

    def _answer(self) -> None:
        try:
            length = self._length()
        except RegistryError as error:
            self._refuse(error.code, str(error))
            return
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self.server.mark(self.connection, busy=True)
        try:
            status, value = answer(self.subjects, self.command, self.path, body)
        except Exception as error:  # noqa: BLE001 - a bug here; the client gets an answer
            self.log_error("%s %s: %r", self.command, self.path, error)
            status, value = 500, {"error_code": 50001, "message": type(error).__name__}
        self._reply(status, value)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names by http.server
    do_HEAD = do_OPTIONS = do_PATCH = _answer  # noqa: N815

    def _length(self) -> int:
        return check_head(self.headers, self.path, self.command, self.server.server_port)

    def handle_expect_100(self) -> bool:
        """Asks for the body, unless it would be refused."""
        try:
            self._length()
        except RegistryError as error:
            self._refuse(error.code, str(error))
            return False
        return super().handle_expect_100()

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002 - by http.server
    ) -> None:
        """What http.server cannot parse, as a refusal in JSON."""
        status = {501: 405, 505: 400}.get(int(code), int(code))
        self._refuse(status, message or "The request is not HTTP")

    def _refuse(self, code: int, message: str) -> None:
        """Answers a request whose body is not read, and closes."""
        self.close_connection = True
        self.request_version = self.protocol_version  # to HTTP/0.9 no head would be sent
        error = RegistryError(code, message)
        self._reply(error.status, _refusal(error))
        # What still arrives is thrown away for a moment: closing at once would reset the
        # connection, and the client might never see the answer.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        self._arriving.deadline = time.monotonic() + 1
        with contextlib.suppress(_TooSlowError, OSError):
            while self._reader.read1(65536):
                pass

    def _reply(self, status: int, value: object) -> None:
        content = json.dumps(value).encode()
        self.connection.settimeout(REQUEST_SECONDS)
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass  # the log is for what goes wrong


def make_server(port: int, file: Path) -> _Server:
    """A server bound to 127.0.0.1:``port`` (0: any), whose schemas are kept in ``file``."""
    return _Server(port, type("Handler", (_Handler,), {"subjects": Subjects(file)}))


def serve(port: int, file: Path) -> None:
    """Serves until a signal ends the process."""
    try:
        server = make_server(port, file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(f"FATAL: port {port} or {file} cannot be used: {error!r}") from None
    with server:
        sys.stdout.write(f"schema registry at http://{LOOPBACK}:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m datagen.local.registry", description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--file", type=Path, required=True, help="JSON file of the schemas")
    options = parser.parse_args()
    serve(options.port, options.file)


if __name__ == "__main__":
    main()
