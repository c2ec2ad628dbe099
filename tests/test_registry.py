"""Schema registries as they are met: what each answer means, and to whom a user is sent."""

from __future__ import annotations

import base64
import json
import logging
import re
import signal
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from datagen.errors import ConfigurationError, DatagenError, RejectedError, UnreachableError
from datagen.presets import ProducerConfig
from datagen.sinks.kafka import KafkaSink, schemas
from datagen.sinks.kafka.proxies import proxy_of
from datagen.types import catalogue
from own_topics import new_prefix
from services._net import free_port
from services.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.registry import Registry

STREAM = "banking.trades"
SUBJECT = f"{STREAM}-value"
SCHEMA = catalogue()[STREAM].avro_schema
SECRET = "Senha-Muito5ecreta"

Answer = tuple[int, object]


@dataclass
class Stub:
    """A registry that answers as `reply` says, and what it was asked: method, path, headers."""

    reply: Callable[[str, str, Any], Answer]
    url: str = ""
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        return [f"{method} {path.partition('?')[0]}" for method, path, _ in self.seen]

    @property
    def users(self) -> set[str]:
        return {headers.get("authorization", "") for _, _, headers in self.seen}


@contextmanager
def stub(
    reply: Callable[[str, str, Any], Answer], tls: ssl.SSLContext | None = None
) -> Iterator[Stub]:
    found = Stub(reply)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.seen.append((self.command, self.path, headers))
            form = "json" not in headers.get("content-type", "json")
            content: Any = None if form else json.loads(body or b"null")
            status, value = found.reply(self.command, self.path, content)
            answer = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names by http.server

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            found.url = f"https://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def refused(status: int, code: int, message: str = "no") -> Answer:
    return status, {"error_code": code, "message": message}


ABSENT = refused(404, 40401, "Subject not found")


def read_only(lookup: Answer, register: Answer) -> Callable[[str, str, Any], Answer]:
    """One answer for a schema that is looked up, and one for a schema to be registered."""

    def reply(_method: str, path: str, _body: Any) -> Answer:
        return register if "/versions" in path else lookup

    return reply


def config(url: str, **changes: Any) -> ProducerConfig:
    return ProducerConfig(bootstrap_servers="localhost:1", schema_registry_url=url, **changes)


def register(url: str, **options: Any) -> dict[str, int] | None:
    return schemas.register(config(url, registry_options=options), {SUBJECT: SCHEMA})


# --- looking up, and registering


def test_a_schema_that_is_there_is_not_registered_again() -> None:
    with stub(read_only((200, {"id": 7}), refused(403, 40301))) as there:
        assert register(there.url) == {SUBJECT: 7}
    assert there.asked == [f"POST /subjects/{SUBJECT}"]


def test_a_schema_that_is_not_there_is_registered() -> None:
    with stub(read_only(ABSENT, (200, {"id": 8}))) as there:
        assert register(there.url) == {SUBJECT: 8}
    assert there.asked == [f"POST /subjects/{SUBJECT}", f"POST /subjects/{SUBJECT}/versions"]


def test_who_may_write_and_not_read_can_register() -> None:
    with stub(read_only(refused(403, 40301), (200, {"id": 9}))) as there:
        assert register(there.url) == {SUBJECT: 9}


def test_who_may_not_write_finds_the_schema_as_others_wrote_it() -> None:
    def reply(_method: str, path: str, _body: Any) -> Answer:
        if "/versions" in path:
            return refused(403, 40301)
        return (200, {"id": 10}) if "normalize=True" in path else refused(404, 40403)

    with stub(reply) as there:
        assert register(there.url) == {SUBJECT: 10}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refused(401, 40101), ConfigurationError, ["401", "user and password"]),
        (refused(402, 40201, "Payment Required"), ConfigurationError, ["402", "plan", "schemas"]),
        (refused(403, 40301), ConfigurationError, ["403", "right"]),
        (refused(404, 40400), ConfigurationError, ["404", "URL"]),
        (refused(409, 409), RejectedError, ["409", "incompatible", "delete the subject"]),
        (refused(422, 42201), RejectedError, ["422", "avro=False"]),
        (
            refused(422, 42205, "Subject is in read-only mode"),
            ConfigurationError,
            ["422", "read-only mode"],
        ),
        (refused(429, 42901), UnreachableError, ["429", "limit of requests"]),
        (refused(500, 50001), UnreachableError, ["500", "log"]),
        (refused(503, 50301), UnreachableError, ["503"]),
        ((301, b"moved"), ConfigurationError, ["301", "points elsewhere"]),
        ((407, b"who?"), ConfigurationError, ["407", "proxy"]),
    ],
)
def test_what_each_refusal_means(
    answer: Answer, error: type[DatagenError], words: list[str]
) -> None:
    with stub(read_only(ABSENT, answer)) as there, pytest.raises(error) as caught:
        register(there.url, **{"max.retries": 0})
    said = str(caught.value)
    for word in [there.url, SUBJECT, *words]:
        assert word in said
    assert ("delete the subject" in said) == (answer[0] == 409)
    assert not re.search("repeat|again", said, re.IGNORECASE)


def test_a_wrong_user_is_told_without_a_second_question() -> None:
    with (
        stub(read_only(refused(401, 40101), (200, {"id": 1}))) as there,
        pytest.raises(ConfigurationError, match="401"),
    ):
        register(there.url)
    assert len(there.seen) == 1


@pytest.mark.parametrize("ident", [-1, 2**31, "7", None, True, 1.5])
def test_an_id_that_is_none(ident: object) -> None:
    with (
        stub(read_only((200, {"id": ident}), (200, {"id": ident}))) as there,
        pytest.raises(ConfigurationError, match="does not answer as a Schema Registry"),
    ):
        register(there.url)


def test_what_a_registry_says_moves_no_cursor() -> None:
    said = "\x1b]0;owned\x07\x1b[2J\x1b[31mno\x1b[0m\r\nreally\x00\u202e"
    with (
        stub(read_only(ABSENT, refused(409, 409, said))) as there,
        pytest.raises(RejectedError, match=r"409 for .*: no really\. The") as caught,
    ):
        register(there.url)
    assert str(caught.value).isprintable()


def test_a_secret_is_hidden_before_a_text_is_cut() -> None:
    said = "x" * (295 - len(SECRET) // 2) + f" {SECRET}"
    with (
        stub(read_only(ABSENT, refused(409, 409, said))) as there,
        pytest.raises(RejectedError) as caught,
    ):
        register(there.url, **{"basic.auth.user.info": f"me:{SECRET}"})
    assert "Senha" not in str(caught.value)


# --- options by the client's names


def test_a_registry_that_must_not_be_written_to() -> None:
    with stub(read_only(ABSENT, (200, {"id": 1}))) as there:
        with pytest.raises(ConfigurationError, match=rf"{SUBJECT}.*auto\.register\.schemas=false"):
            register(there.url, **{"auto.register.schemas": "false"})
        assert not any("versions" in path for _, path, _ in there.seen)
        there.reply = read_only((200, {"id": 3}), (200, {"id": 1}))
        assert register(there.url, **{"Auto.Register.Schemas": False}) == {SUBJECT: 3}


def latest(schema: str, **more: object) -> Callable[[str, str, Any], Answer]:
    version = {"subject": SUBJECT, "version": 4, "id": 12, "schema": schema, **more}

    def reply(method: str, path: str, _body: Any) -> Answer:
        assert (method, path) == ("GET", f"/subjects/{SUBJECT}/versions/latest")
        return 200, version

    return reply


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    schema = json.loads(SCHEMA)
    change(schema)
    return json.dumps(schema)


def without_docs(schema: dict[str, Any]) -> None:
    schema |= {"name": "Other", "namespace": "elsewhere", "doc": "ours"}
    for one in schema["fields"]:
        one.pop("doc", None)


@pytest.mark.parametrize("schema", [SCHEMA, changed(without_docs)])
def test_the_latest_version_is_used_where_it_means_the_same(schema: str) -> None:
    with stub(latest(schema)) as there:
        assert register(there.url, **{"use.latest.version": "true"}) == {SUBJECT: 12}


@pytest.mark.parametrize(
    ("schema", "more", "words"),
    [
        (changed(lambda one: one["fields"].pop()), {}, "lacks field executed_at"),
        (
            changed(lambda one: one["fields"].append({"name": "more", "type": "int"})),
            {},
            "field more is not sent",
        ),
        (changed(lambda one: one["fields"].reverse()), {}, "field trade_id is sent where"),
        (changed(lambda one: one["fields"][-1].update(type="string")), {}, "another type"),
        ('"string"', {}, "no schema of a record"),
        ("{", {}, "no schema of a record"),
        ("{}", {"schemaType": "JSON"}, "holds JSON, not Avro"),
    ],
)
def test_another_latest_version_is_refused(
    schema: str, more: dict[str, object], words: str
) -> None:
    with stub(latest(schema, **more)) as there, pytest.raises(ConfigurationError) as caught:
        register(there.url, **{"use.latest.version": "true", "auto.register.schemas": "false"})
    assert words in str(caught.value)
    assert SUBJECT in str(caught.value)


def test_no_latest_version() -> None:
    with (
        stub(lambda *_: ABSENT) as there,
        pytest.raises(ConfigurationError, match=f"{SUBJECT} has no schema"),
    ):
        register(there.url, **{"use.latest.version": "true"})


def test_a_bearer_token() -> None:
    with stub(read_only((200, {"id": 1}), ABSENT)) as there:
        register(there.url, **{"bearer.auth.token": SECRET})
        register(
            there.url,
            **{
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": SECRET,
                "bearer.auth.logical.cluster": "lsrc-1",
            },
        )
    assert there.users == {f"Bearer {SECRET}"}
    assert there.seen[1][2]["target-sr-cluster"] == "lsrc-1"


def test_a_token_of_a_provider() -> None:
    provider: Answer = 200, {"access_token": SECRET, "token_type": "bearer", "expires_in": 60}
    with stub(lambda *_: provider) as issuer, stub(lambda *_: (200, {"id": 1})) as there:
        options = {
            "bearer.auth.credentials.source": "OAUTHBEARER",
            "bearer.auth.issuer.endpoint.url": f"{issuer.url}/token",
            "bearer.auth.client.id": "me",
            "bearer.auth.client.secret": "hunter22",
            "bearer.auth.scope": "schemas",
            "bearer.auth.logical.cluster": "lsrc-1",
            "max.retries": 0,
        }
        # The provider is not https here.
        with pytest.MonkeyPatch.context() as inner:
            inner.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
            assert register(there.url, **options) == {SUBJECT: 1}
            assert there.users == {f"Bearer {SECRET}"}
            issuer.reply = lambda *_: (401, {"error": "invalid_client", "said": "hunter22"})
            with pytest.raises(ConfigurationError, match=r"no token.*bearer\.auth") as caught:
                register(there.url, **options)
    assert "hunter22" not in str(caught.value)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def test_a_registry_that_asks_for_a_certificate(authority: Authority, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.load_cert_chain(authority.server())
    context.verify_mode = ssl.CERT_REQUIRED
    client = str(authority.client("loader"))
    pem = load_pem_private_key(Path(client).read_bytes(), None)
    locked = tmp_path / "locked.pem"
    form, lock = PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter22")
    locked.write_bytes(pem.private_bytes(Encoding.PEM, form, lock))
    ours = {"ssl.ca.location": str(authority.file), "max.retries": 0}
    with stub(lambda *_: (200, {"id": 1}), context) as there:
        mutual = {**ours, "ssl.certificate.location": client}
        assert register(there.url, **mutual) == {SUBJECT: 1}
        assert register(there.url, **mutual, **{"ssl.key.location": client}) == {SUBJECT: 1}
        with_lock = {**mutual, "ssl.key.location": str(locked)}
        assert register(there.url, **with_lock, **{"ssl.key.password": "hunter22"})
        for wrong in ({}, {"ssl.key.password": "hunter33"}):
            with pytest.raises(ConfigurationError, match=r"ssl\.key\.password") as caught:
                register(there.url, **with_lock, **wrong)
            assert "hunter" not in str(caught.value)
        with pytest.raises(DatagenError, match=re.escape(there.url)):
            register(there.url, **ours)
        with pytest.raises(ConfigurationError, match=r"ssl\.ca\.location"):
            register(there.url, **{"ssl.certificate.location": client, "max.retries": 0})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"no.such.option": "1"}, ["no.such.option"]),
        ({"timeout": "soon"}, ["timeout"]),
        ({"timeout": "nan"}, ["timeout"]),
        ({"max.retries": "-1"}, ["max.retries"]),
        ({"max.retries": 2**70}, ["max.retries", "2147483647"]),
        ({"max.retries": "1e400"}, ["max.retries"]),
        ({"auto.register.schemas": "maybe"}, ["auto.register.schemas", "true or false"]),
        (
            {"auto.register.schemas": "true", "use.latest.version": "true"},
            ["auto.register.schemas", "use.latest.version"],
        ),
        ({"ssl.ca.location": "/no/such.pem"}, ["ssl.ca.location=/no/such.pem"]),
        ({"ssl.certificate.location": "/no/such.pem"}, ["ssl.certificate.location=/no/such.pem"]),
        ({"ssl.key.password": SECRET}, ["ssl.certificate.location"]),
        ({"ssl.certificate.location": __file__}, ["PEM"]),
        ({"basic.auth.user.info": SECRET}, ["basic.auth.user.info", "USER:PASSWORD"]),
        ({"bearer.auth.credentials.source": SECRET}, ["bearer.auth.credentials.source"]),
        ({"url": "http://other"}, ["url", "schema_registry_url"]),
        ({"proxy": f"socks5://me:{SECRET}@127.0.0.1:1"}, ["proxy", "socks"]),
        ({"proxy": f"gopher://me:{SECRET}@127.0.0.1:1"}, ["proxy"]),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KafkaSink(ProducerConfig(registry_options=options))
    for word in ["Schema Registry", *words]:
        assert word.lower() in str(caught.value).lower()
    assert SECRET not in str(caught.value)


# --- several addresses, each with its own user


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def test_a_user_is_sent_to_the_address_it_was_given_with() -> None:
    down = refused(503, 50301)
    with stub(lambda *_: down) as one, stub(lambda *_: down) as two, stub(lambda *_: down) as last:
        urls = (
            one.url.replace("//", f"//a:{SECRET}@"),
            two.url,
            last.url.replace("//", "//b%40c:other@"),
        )
        with pytest.raises(UnreachableError) as caught:
            register(",".join(urls), **{"max.retries": 0})
    assert one.users == {basic(f"a:{SECRET}")}
    assert two.users == {""}
    assert last.users == {basic("b@c:other")}
    assert f"{one.url},{two.url},{last.url}" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_first_address_that_answers_is_used() -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    with stub(read_only((200, {"id": 1}), ABSENT)) as there, stub(lambda *_: ABSENT) as spare:
        urls = f"{closed},{there.url},{spare.url}"
        options = {"max.retries": 0}
        found = schemas.register(
            config(urls, registry_options=options), {SUBJECT: SCHEMA, "other-value": SCHEMA}
        )
    assert found == {SUBJECT: 1, "other-value": 1}
    assert len(there.seen) == 2
    assert spare.seen == []


# --- no registry, and something else in its place


def test_a_registry_that_was_named_and_is_not_there() -> None:
    url = f"http://me:{SECRET}@127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=r"cannot be reached.*avro=False") as caught:
        register(url)
    assert SECRET not in str(caught.value)


@contextmanager
def saying(words: bytes | None, *, slowly: bool = False) -> Iterator[str]:
    """A server that says so to everybody and hangs up; None: that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = threading.Event()

        def serve() -> None:
            while not end.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    if words is None:
                        end.wait(10)
                    elif slowly:
                        for byte in words:
                            with suppress(OSError):
                                connection.sendall(bytes([byte]))
                            end.wait(0.1)
                    else:
                        connection.sendall(words)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            end.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize("named", [True, False], ids=["named", "default"])
@pytest.mark.parametrize("words", [None, b""], ids=["hangs", "hangs up"])
def test_a_registry_that_says_nothing(
    named: bool, words: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"timeout": 0.2, "retries.wait.ms": 10}
    with saying(words) as url:
        there = config(url, json_fallback=not named, registry_options=options)
        if named:
            with pytest.raises(UnreachableError, match="cannot be reached"):
                schemas.register(there, {SUBJECT: SCHEMA})
            return
        assert schemas.register(there, {SUBJECT: SCHEMA}) is None
        assert caplog.text == ""
        assert KafkaSink(there).register_schemas([STREAM]) == {}
    (warning,) = (one for one in caplog.records if one.levelno == logging.WARNING)
    assert warning.getMessage() == (
        f"Schema Registry at {url} not available. Using JSON serialization."
    )


@pytest.mark.timing
def test_a_registry_that_answers_byte_by_byte() -> None:
    options = {"timeout": 0.5, "max.retries": 0}
    with saying(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 1_000, slowly=True) as url:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="no whole answer within 3 s"):
            register(url, **options)
        assert time.monotonic() - began < 6


@pytest.mark.timing
def test_ctrl_c_while_a_registry_hangs() -> None:
    with saying(None) as url:
        timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            register(url)
        assert time.monotonic() - began < 1.5
        timer.join()


@pytest.mark.parametrize("named", [True, False], ids=["named", "default"])
def test_another_server_is_no_registry(named: bool) -> None:
    other: list[Answer] = [
        (200, b"<html>"),
        (200, []),
        (200, {}),
        (404, b"<html>not found"),
        (404, {"message": "not found"}),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (405, b""),
    ]
    for answer in other:
        with (
            stub(lambda *_, said=answer: said) as there,
            pytest.raises(ConfigurationError, match=re.escape(there.url)),
        ):
            schemas.register(config(there.url, json_fallback=not named), {SUBJECT: SCHEMA})
    with saying(b"220 mail.example.com ESMTP\r\n\r\n") as url:
        where = config(url, json_fallback=not named, registry_options={"max.retries": 0})
        with pytest.raises(ConfigurationError, match="does not answer as a Schema Registry"):
            schemas.register(where, {SUBJECT: SCHEMA})


def test_json_is_for_the_default_address_alone() -> None:
    assert ProducerConfig().may_be_json
    assert not ProducerConfig(json_fallback=False).may_be_json
    assert not ProducerConfig(schema_registry_url="http://127.0.0.1:8081").may_be_json
    assert ProducerConfig(schema_registry_url="http://a:1", json_fallback=True).may_be_json


def test_a_client_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(ConfigurationError, match="pip install 'confluent-kafka"):
        KafkaSink(config("http://named:8081"))


# --- proxies of the environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("all", "http", "https", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("more", [{}, {"NO_PROXY": "localhost,127.0.0.1"}, {"no_proxy": "x"}])
def test_a_registry_on_this_machine_is_reached_directly(
    environment: pytest.MonkeyPatch, host: str, more: dict[str, str]
) -> None:
    closed = f"127.0.0.1:{free_port()}"
    for proxies in (
        {"ALL_PROXY": f"socks5://{closed}"},
        {"all_proxy": "socks4://x", "HTTP_PROXY": f"http://{closed}"},
        {"http_proxy": "nonsense://"},
    ):
        with environment.context() as inner:
            for name, value in {**proxies, **more}.items():
                inner.setenv(name, value)
            with stub(read_only((200, {"id": 1}), ABSENT)) as there:
                assert register(there.url.replace("127.0.0.1", host)) == {SUBJECT: 1}


@pytest.mark.parametrize("proxy", [f"socks5h://me:{SECRET}@127.0.0.1:1", f"x://me:{SECRET}@y"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY"])
def test_a_proxy_that_cannot_be_used_is_named(
    environment: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    environment.setenv(name, proxy)
    with pytest.raises(ConfigurationError, match=rf"proxy of {name}\b") as caught:
        KafkaSink(config("http://registry.example.com:8081"))
    assert SECRET not in str(caught.value)
    # Where it does not apply it is not looked at.
    environment.setenv("NO_PROXY", ".example.com")
    KafkaSink(config("http://registry.example.com:8081"))
    environment.delenv(name)
    environment.setenv("HTTPS_PROXY", proxy)
    KafkaSink(config("http://elsewhere.example.org:8081"))


def test_a_proxy_is_used_where_one_is_set(environment: pytest.MonkeyPatch) -> None:
    with stub(read_only((200, {"id": 5}), ABSENT)) as proxy:
        environment.setenv("HTTP_PROXY", proxy.url)
        assert register("http://registry.invalid:8081") == {SUBJECT: 5}
        environment.delenv("HTTP_PROXY")
        assert register("http://registry.invalid:8081", proxy=proxy.url) == {SUBJECT: 5}
    path = f"POST http://registry.invalid:8081/subjects/{SUBJECT}"
    assert proxy.asked == [path, path]
    environment.setenv("ALL_PROXY", proxy.url)
    with pytest.raises(UnreachableError, match="the proxy of ALL_PROXY"):
        register("http://registry.invalid:8081", **{"max.retries": 0})


@pytest.mark.parametrize(
    ("url", "no_proxy", "found"),
    [
        ("http://a:1", "", ("HTTP_PROXY", "http://proxy:1")),
        ("https://a:1", "", ("ALL_PROXY", "http://all:2")),
        ("http://a.b.example.com:1", "example.com", ("", None)),
        ("http://10.1.2.3:1", "10.0.0.0/8", ("", None)),
        ("http://11.1.2.3:1", "10.0.0.0/8", ("HTTP_PROXY", "http://proxy:1")),
        ("http://[::1]:1", "", ("", None)),
        ("http://[fd00::1]:1", "fd00::/8", ("", None)),
        ("http://127.9.9.9:1", "", ("", None)),
        ("http://registry.localhost", "", ("", None)),
        ("http://a:1", "*", ("", None)),
    ],
)
def test_which_proxy_leads_to_an_address(
    environment: pytest.MonkeyPatch, url: str, no_proxy: str, found: tuple[str, str | None]
) -> None:
    environment.setenv("HTTP_PROXY", "proxy:1")
    environment.setenv("ALL_PROXY", "http://all:2")
    environment.setenv("NO_PROXY", no_proxy)
    assert proxy_of(url) == found


# --- a real one


def test_a_real_registry(registry: Registry) -> None:
    prefix = new_prefix()
    there = config(registry.url, topic_prefix=prefix)
    sink = KafkaSink(there)
    missing = {"auto.register.schemas": "false"}
    with pytest.raises(ConfigurationError, match=rf"{prefix}{STREAM}-value"):
        KafkaSink(
            config(registry.url, topic_prefix=prefix, registry_options=missing)
        ).register_schemas([STREAM])
    found = sink.register_schemas([STREAM])
    for options in (missing, {"use.latest.version": "true"}, {"normalize.schemas": "true"}, {}):
        one = KafkaSink(config(registry.url, topic_prefix=prefix, registry_options=options))
        assert one.register_schemas([STREAM]) == found
    subject = f"{prefix}{STREAM}-value"
    other = changed(lambda one: one["fields"][-1].update(type="string"))
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.set_compatibility(subject, "BACKWARD")
    with pytest.raises(RejectedError, match=r"409.*delete the subject"):
        schemas.register(there, {subject: other})
    with pytest.raises(ConfigurationError, match="differs from what is sent"):
        schemas.register(
            config(registry.url, registry_options={"use.latest.version": "true"}), {subject: other}
        )
    schemas.delete(there, [subject])
    # Its root is a server of another kind.
    root = registry.url.partition("/apis")[0]
    with pytest.raises(ConfigurationError, match="404"):
        register(root)
