"""A schema registry for the local stack: the Confluent REST calls that Avro clients make.

``python -m datagen.local.registry --port 8081 --file registry.json`` serves on 127.0.0.1.
Avro only, without schema references, contexts or authentication. Calls and error codes follow
Confluent's "Schema Registry API Reference".
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from ._process import LOOPBACK
from ._subjects import RegistryError, Subjects

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class Call:
    """One request as the functions below see it: the path's variable parts, query and body."""

    def __init__(self, subjects: Subjects, groups: tuple[str, ...], query: str, body: bytes):
        self.subjects = subjects
        self.parts = [unquote(group) for group in groups]
        self.query = {name: values[-1] for name, values in parse_qs(query).items()}
        self.deleted = self.flag("deleted")
        self.permanent = self.flag("permanent")
        self._body = body

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() == "true"

    @property
    def number(self) -> int:
        return int(self.parts[0])

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


def _nothing(_: Call) -> object:
    return {}


def _metadata_id(_: Call) -> object:
    # By the pid, `datagen local up` knows that its own child answers.
    return {"scope": {}, "id": f"datagen-local-{os.getpid()}"}


def _mode(_: Call) -> object:
    return {"mode": "READWRITE"}


def _types(_: Call) -> object:
    return ["AVRO"]


def _id(call: Call) -> object:
    return {"schema": call.subjects.schema(call.number)}


def _id_schema(call: Call) -> object:
    return json.loads(call.subjects.schema(call.number))


def _id_subjects(call: Call) -> object:
    uses = call.subjects.uses(call.number, deleted=call.deleted)
    return sorted({use["subject"] for use in uses})


def _id_versions(call: Call) -> object:
    return call.subjects.uses(call.number, deleted=call.deleted)


def _names(call: Call) -> object:
    prefix = call.query.get("subjectPrefix", "")
    return [name for name in call.subjects.names(deleted=call.deleted) if name.startswith(prefix)]


def _lookup(call: Call) -> object:
    return call.subjects.lookup(call.parts[0], call.schema(), deleted=call.deleted)


def _delete(call: Call) -> object:
    return call.subjects.delete(call.parts[0], permanent=call.permanent)


def _versions(call: Call) -> object:
    return call.subjects.versions(call.parts[0], deleted=call.deleted)


def _register(call: Call) -> object:
    added = call.subjects.register(call.parts[0], call.schema())
    return {"id": added["id"], "version": added["version"], "schema": added["schema"]}


def _version(call: Call) -> object:
    return call.subjects.version(*call.parts, deleted=call.deleted)


def _version_schema(call: Call) -> object:
    return json.loads(call.subjects.version(*call.parts, deleted=call.deleted)["schema"])


def _delete_version(call: Call) -> object:
    return call.subjects.delete_version(*call.parts, permanent=call.permanent)


def _level(call: Call) -> object:
    or_global = call.flag("defaultToGlobal")
    return {"compatibilityLevel": call.subjects.level(*call.parts, or_global=or_global)}


def _set_level(call: Call) -> object:
    level = call.body().get("compatibility")
    return {"compatibility": call.subjects.set_level(level, *call.parts)}


def _clear_level(call: Call) -> object:
    return {"compatibilityLevel": call.subjects.clear_level(*call.parts)}


def _compatibility(call: Call) -> object:
    subject, *version = call.parts
    problems = call.subjects.problems(subject, call.schema(), *version)
    messages = {"messages": problems} if call.flag("verbose") else {}
    return {"is_compatible": not problems, **messages}


_SUBJECT = r"/subjects/([^/]+)"
_VERSION = _SUBJECT + r"/versions/([^/]+)"
_ROUTES: dict[str, dict[str, Callable[[Call], object]]] = {
    r"/": {"GET": _nothing},
    r"/v1/metadata/id": {"GET": _metadata_id},
    r"/mode(?:/[^/]+)?": {"GET": _mode},
    r"/schemas/types": {"GET": _types},
    r"/schemas/ids/([0-9]+)": {"GET": _id},
    r"/schemas/ids/([0-9]+)/schema": {"GET": _id_schema},
    r"/schemas/ids/([0-9]+)/subjects": {"GET": _id_subjects},
    r"/schemas/ids/([0-9]+)/versions": {"GET": _id_versions},
    r"/subjects": {"GET": _names},
    _SUBJECT: {"POST": _lookup, "DELETE": _delete},
    _SUBJECT + r"/versions": {"GET": _versions, "POST": _register},
    _VERSION: {"GET": _version, "DELETE": _delete_version},
    _VERSION + r"/schema": {"GET": _version_schema},
    r"/config": {"GET": _level, "PUT": _set_level, "DELETE": _clear_level},
    r"/config/([^/]+)": {"GET": _level, "PUT": _set_level, "DELETE": _clear_level},
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
        return error.status, {"error_code": error.code, "message": str(error)}


def _route(method: str, path: str) -> tuple[Callable[[Call], object], tuple[str, ...]]:
    for route, methods in _ROUTES.items():
        match = re.fullmatch(route, path)
        if match and method in methods:
            return methods[method], match.groups()
        if match:
            raise RegistryError(405, "HTTP 405 Method Not Allowed")
    raise RegistryError(404, "HTTP 404 Not Found")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        # As in HTTPServer but for getfqdn(), which may ask a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])


def make_server(port: int, file: Path) -> ThreadingHTTPServer:
    """A server bound to 127.0.0.1:``port`` (0: any), whose schemas are kept in ``file``."""
    subjects = Subjects(file)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave in one packet
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            try:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, value = answer(subjects, self.command, self.path, body)
            except Exception as error:  # noqa: BLE001 - a bug here; the client gets an answer
                self.log_error("%s %s: %r", self.command, self.path, error)
                status, value = 500, {"error_code": 50001, "message": repr(error)}
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names by http.server

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass  # the log is for what goes wrong

    return _Server((LOOPBACK, port), Handler)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m datagen.local.registry", description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--file", type=Path, required=True, help="JSON file of the schemas")
    options = parser.parse_args()
    with make_server(options.port, options.file) as server:
        sys.stdout.write(f"schema registry at http://{LOOPBACK}:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
