"""PostgreSQL as others run it: poolers, limits, hostile roles, servers that hang or stand by."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from datagen import Plan
from datagen.errors import (
    ConfigurationError,
    CountingError,
    OptionError,
    RejectedError,
    UnreachableError,
)
from datagen.sinks.postgres import PostgresSink, wire
from datagen.sinks.postgres import session as postgres_session
from datagen.sinks.postgres import sink as sinks_postgres
from datagen.sinks.postgres.server import Server
from datagen.types import catalogue
from running import running
from services._net import free_port
from services.pgbouncer import PgBouncer
from services.postgres import PostgresServer
from services.relay import Relay
from tables import (
    TABLES,
    constraints,
    eventually,
    execute,
    load,
    plan,
    query,
    session,
    sessions,
    snapshot,
    staging,
    tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Running
    from services.postgres import Postgres

ROLE = "datagen_other"
SECRET = "Senha-Muito5ecreta"


@pytest.fixture(params=[False, True], ids=["one-connection", "parallel"])
def parallel(request: pytest.FixtureRequest, pg_dsn: str) -> Iterator[bool]:
    """Both ways to load; neither leaves anything behind."""
    yield request.param
    assert staging(pg_dsn) == []
    assert eventually(lambda: sessions(pg_dsn) == 0)


@pytest.fixture
def relay(pg_dsn: str) -> Iterator[tuple[str, Relay]]:
    """A way to the database whose faults are the test's."""
    place = urlsplit(pg_dsn)
    with Relay((str(place.hostname), int(place.port or 5432))) as relay:
        login = place.netloc.rpartition("@")[0]
        yield place._replace(netloc=f"{login}@127.0.0.1:{relay.port}").geturl(), relay


@pytest.fixture
def role(pg_dsn: str) -> Iterator[str]:
    """The DSN of a role that may create in public, and no more."""
    execute(
        pg_dsn,
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{SECRET}'",
        f"GRANT CREATE, USAGE ON SCHEMA public TO {ROLE}",
    )
    place = urlsplit(pg_dsn)
    yield place._replace(netloc=f"{ROLE}:{SECRET}@{place.hostname}:{place.port}").geturl()
    execute(pg_dsn, f"DROP OWNED BY {ROLE} CASCADE", f"DROP ROLE {ROLE}")


def fill(sink: PostgresSink, customers: int = 60, start: int = 0) -> None:
    sink.begin()
    for name in TABLES:
        for batch in plan(customers).batches(name, start, batch_rows=64):
            sink.write(batch)


def fill_and_commit(sink: PostgresSink, customers: int = 60, start: int = 0) -> None:
    fill(sink, customers, start)
    sink.commit()


def rows(customers: int) -> dict[str, int]:
    return {name: plan(customers).rows(name) for name in TABLES}


# What has arrived is never called a failure


def test_an_idle_session_that_is_ended_is_not_missed(pg_dsn: str, parallel: bool) -> None:
    database = urlsplit(pg_dsn).path[1:]
    execute(pg_dsn, f"ALTER DATABASE {database} SET idle_session_timeout = '500ms'")
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        time.sleep(1)
        fill_and_commit(sink)
        time.sleep(1)
        assert sink.counts() == rows(60)
        time.sleep(1)
    assert sink.outcome == "committed"


def test_sessions_that_are_ended_after_the_commit(pg_dsn: str, parallel: bool) -> None:
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        fill_and_commit(sink)
        execute(
            pg_dsn,
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert sink.counts() == rows(60)


def test_a_role_that_has_one_connection_is_counted_over_it(pg_dsn: str, role: str) -> None:
    execute(pg_dsn, f"ALTER ROLE {ROLE} CONNECTION LIMIT 1")
    with PostgresSink(role, parallel=True) as sink:
        fill_and_commit(sink)
        assert sink.counts() == rows(60)


def test_rows_that_cannot_be_counted_are_committed_all_the_same(
    relay: tuple[str, Relay], pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_postgres, "_PATIENCE", 1.0)
    dsn, way = relay
    with PostgresSink(dsn) as sink:
        fill_and_commit(sink)
        way.refuse()
        with pytest.raises(CountingError, match="committed and could not be counted"):
            sink.counts()
    assert sink.outcome == "committed"
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(60,)]


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_commit_whose_answer_gets_lost_is_looked_up(
    relay: tuple[str, Relay], pg_dsn: str, parallel: bool, lost: Any
) -> None:
    dsn, way = relay
    with PostgresSink(dsn, parallel=parallel) as sink:
        fill(sink)
        # Only the load's own COMMIT: those of tables built apart come before.
        make_visible = sink._make_visible

        def cut() -> None:
            way.lose = (b"COMMIT\0", lost)
            make_visible()

        sink._make_visible = cut  # type: ignore[method-assign]
        if lost == "after":
            sink.commit()
            assert sink.outcome == "committed"
            assert sink.counts() == rows(60)
        else:
            with pytest.raises(UnreachableError, match="nothing was loaded"):
                sink.commit()
            assert sink.outcome == "nothing"
    assert tables(pg_dsn) == (set(TABLES) if lost == "after" else set())


def test_an_outcome_that_nobody_can_tell_is_unknown(
    relay: tuple[str, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_postgres, "_PATIENCE", 1.0)
    dsn, way = relay

    def commit(sink: PostgresSink) -> None:
        way.lose = (b"COMMIT\0", "after")
        way.open = False
        sink.commit()

    with PostgresSink(dsn) as sink:
        fill(sink)
        with pytest.raises(UnreachableError, match="whether the load was committed is not known"):
            commit(sink)
    assert sink.outcome == "unknown"


def test_a_commit_after_a_refusal_that_was_caught(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    batch = next(plan(20).batches("customers"))

    def write_twice(sink: PostgresSink) -> None:
        sink.write(batch)
        sink.write(batch)

    with PostgresSink(pg_dsn) as sink:
        sink.begin()
        with pytest.raises(RejectedError):
            write_twice(sink)
        with pytest.raises(RejectedError, match="nothing was loaded"):
            sink.commit()
    assert sink.outcome == "nothing"


# Slow is not dead, and what is dead is found out


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (postgres_session, wire):
        monkeypatch.setattr(module, "STALLED", 2.5)
    monkeypatch.setattr(postgres_session, "_OBSERVE_AFTER", 1.0)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Processes of the server that are there and do nothing."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def pids(dsn: str) -> list[int]:
    found = query(
        dsn,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'datagen'",
    )
    return [pid for (pid,) in found]


@pytest.mark.parametrize("enough", [True, False], ids=["while-sending", "at-the-end"])
def test_a_server_that_hangs_in_a_copy(
    pg_dsn: str, parallel: bool, short_limits: None, enough: bool
) -> None:
    batch = next(Plan(42, 20_000, days=30).batches("customers", batch_rows=8192))

    def go_on(sink: PostgresSink) -> None:
        for _ in range(40 if enough else 0):
            sink.write(batch)
        sink.commit()

    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        sink.write(next(plan().batches("customers", 199)))
        with stopped(pids(pg_dsn)):
            began = time.monotonic()
            with pytest.raises(UnreachableError, match=r"nothing has moved.*nothing was loaded"):
                go_on(sink)
            assert 2 < time.monotonic() - began < 20
            sink.close()
            assert time.monotonic() - began < 25
    assert eventually(lambda: sessions(pg_dsn) == 0)
    load(pg_dsn, 20)  # drops what could not be dropped then


def test_ctrl_c_while_a_server_hangs(pg_dsn: str, parallel: bool) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        fill(sink)
        with stopped(pids(pg_dsn)):
            timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
            timer.start()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                sink.commit()
            assert time.monotonic() - began < 0.5 + 1.5
            timer.join()
            sink.close()
            assert time.monotonic() - began < 8
    assert eventually(lambda: sessions(pg_dsn) == 0)
    load(pg_dsn, 20)  # drops what could not be dropped then


def test_a_slow_way_is_not_a_dead_one(
    relay: tuple[str, Relay], pg_dsn: str, short_limits: None
) -> None:
    dsn, way = relay
    way.rate = 50_000
    began = time.monotonic()
    with PostgresSink(dsn) as sink:
        sink.begin()
        for name in TABLES:
            for batch in plan(800).batches(name):
                sink.write(batch)
        sink.commit()
        assert sink.counts() == rows(800)
    assert time.monotonic() - began > 5  # several times the limit


def test_a_lock_is_said_to_be_whose(
    pg_dsn: str, parallel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    load(pg_dsn, 20)
    with session(pg_dsn) as other:
        other.execute("SET application_name = 'dbeaver'")
        other.execute("BEGIN")
        other.execute("LOCK TABLE loans")
        holder = rf"session {other.info.backend_pid} \(dbeaver of postgres"
        with (
            pytest.raises(UnreachableError, match=rf"loans is locked by {holder}.*idle in transac"),
            PostgresSink(pg_dsn, truncate=True, lock_timeout=0.3, parallel=parallel) as sink,
        ):
            sink.begin()
    assert "waiting for loans, which is locked by session" in caplog.text


def test_another_load_is_not_waited_for_for_ever(pg_dsn: str, parallel: bool) -> None:
    with PostgresSink(pg_dsn, parallel=parallel) as first:
        fill(first)
        with (
            pytest.raises(UnreachableError, match=r"another load is running by session \d+ \(data"),
            PostgresSink(pg_dsn, lock_timeout=0.3, parallel=parallel) as second,
        ):
            second.begin()
        first.commit()
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(60,)]


# Nothing that is not ours is emptied


def test_a_table_that_inherits_keeps_its_rows(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20)
    execute(
        pg_dsn,
        "CREATE TABLE vips (since date) INHERITS (customers)",
        "INSERT INTO vips SELECT *, '2020-01-01' FROM ONLY customers LIMIT 5",
        "CREATE TABLE old_stocks () INHERITS (stocks)",
        "INSERT INTO old_stocks SELECT * FROM ONLY stocks LIMIT 3",
    )
    before = query(pg_dsn, "SELECT * FROM vips ORDER BY 1"), constraints(pg_dsn)
    with PostgresSink(pg_dsn, truncate=True, parallel=parallel) as sink:
        fill_and_commit(sink)
        assert sink.counts() == rows(60)
    assert (query(pg_dsn, "SELECT * FROM vips ORDER BY 1"), constraints(pg_dsn)) == before
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        fill_and_commit(sink, 90, start=60)
        assert sink.counts() == rows(90)
    assert query(pg_dsn, "SELECT count(*) FROM old_stocks") == [(3,)]


def test_our_table_may_be_anothers_child(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20)
    execute(
        pg_dsn,
        "CREATE TABLE people (LIKE customers)",
        "INSERT INTO people SELECT * FROM customers LIMIT 5",
        "ALTER TABLE customers INHERIT people",
    )
    load(pg_dsn, 60, truncate=True, parallel=parallel)
    assert query(pg_dsn, "SELECT count(*) FROM ONLY people") == [(5,)]
    assert query(pg_dsn, "SELECT count(*) FROM people") == [(65,)]


@pytest.mark.parametrize("name", ["bank", "Bank", 'a "b" c', "água-100%", "x" * 63, "select"])
def test_a_schema_by_name(pg_dsn: str, parallel: bool, name: str) -> None:
    identifier = psycopg.sql.Identifier(name)
    with psycopg.connect(pg_dsn) as connection:
        connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(identifier))
    for customers in (20, 60):
        with PostgresSink(pg_dsn, schema=name, truncate=True, parallel=parallel) as sink:
            fill_and_commit(sink, customers)
            assert sink.counts() == rows(customers)
    with PostgresSink(pg_dsn, schema=name, parallel=parallel) as sink:
        fill_and_commit(sink, 70, start=60)
    with psycopg.connect(pg_dsn) as connection:
        count = psycopg.sql.SQL("SELECT count(*) FROM {}.customers").format(identifier)
        assert connection.execute(count).fetchone() == (70,)
    assert tables(pg_dsn) == set()


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, "a\0b", "\udc80", "pg_catalog"])
def test_a_schema_that_cannot_be(name: str) -> None:
    with pytest.raises(OptionError, match="postgres_schema"):
        PostgresSink("postgresql://host/bank", schema=name)


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e12])
def test_a_lock_timeout_that_cannot_be(seconds: float) -> None:
    with pytest.raises(OptionError, match=r"lock_timeout.*0 to 2147483"):
        PostgresSink("postgresql://localhost/x", lock_timeout=seconds)


def test_a_schema_that_the_database_cannot_write(postgres: Postgres) -> None:
    name = "datagen_test_latin1"
    with session(postgres.dsn) as connection:
        statement = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        connection.execute(statement.encode())
    try:
        place = urlsplit(postgres.dsn)._replace(path=f"/{name}").geturl()
        with pytest.raises(ConfigurationError, match="does not exist"):
            PostgresSink(place, schema="\U0001f600").connect()
        load(place, 20)
    finally:
        postgres.drop(name)


def test_a_schema_that_is_not_there_or_not_ours(pg_dsn: str, role: str) -> None:
    execute(
        pg_dsn, "CREATE SCHEMA bank", f"CREATE SCHEMA shown; GRANT USAGE ON SCHEMA shown TO {ROLE}"
    )
    for dsn, name, words in (
        (pg_dsn, "BANK", "schema 'BANK' does not exist.*--postgres-schema"),
        (role, "bank", "no right USAGE on schema 'bank'"),
        (role, "shown", "no right CREATE on schema 'shown'"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            PostgresSink(dsn, schema=name).connect()


def test_tables_of_a_schema_that_refer_to_another_schema(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    execute(pg_dsn, "CREATE SCHEMA bank")
    with PostgresSink(pg_dsn, schema="bank") as sink:
        fill_and_commit(sink)
    execute(
        pg_dsn,
        "TRUNCATE bank.customers CASCADE",
        "ALTER TABLE bank.accounts DROP CONSTRAINT accounts_customer_id_fkey, "
        "ADD CONSTRAINT accounts_customer_id_fkey FOREIGN KEY (customer_id) "
        "REFERENCES public.customers(customer_id)",
    )
    with (
        PostgresSink(pg_dsn, schema="bank", truncate=True) as sink,
        pytest.raises(RejectedError, match=r"accounts_customer_id_fkey is .*public\.customers"),
    ):
        sink.begin()
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]


@pytest.mark.parametrize("kind", ["VIEW customers AS SELECT 1", "SEQUENCE customers"])
def test_something_else_of_our_name(pg_dsn: str, parallel: bool, kind: str) -> None:
    execute(pg_dsn, f"CREATE {kind}")
    with (
        pytest.raises(RejectedError, match=r"customers.*not an ordinary table"),
        PostgresSink(pg_dsn, truncate=True, parallel=parallel) as sink,
    ):
        sink.begin()


# Poolers


@contextmanager
def pool(postgres: Postgres, **settings: str) -> Iterator[PgBouncer]:
    with running(PgBouncer(postgres.dsn, {"pool_mode": "transaction", **settings})) as pooler:
        yield pooler


@pytest.fixture
def bank(pg_dsn: str) -> str:
    """A database with rows in public, and an empty schema beside it."""
    load(pg_dsn, 20)
    execute(pg_dsn, "CREATE SCHEMA bank")
    return pg_dsn


def test_a_pooler_that_drops_the_search_path(postgres: Postgres, bank: str, parallel: bool) -> None:
    before = snapshot(bank)
    with pool(postgres, ignore_startup_parameters="options") as pooler:
        dsn = f"{pooler.dsn(bank)}?options={quote('-csearch_path=bank')}"
        with pytest.raises(ConfigurationError, match=r"search_path is .*--postgres-schema"):
            load(dsn, 60, truncate=True, parallel=parallel)
        with PostgresSink(dsn, schema="bank", truncate=True, parallel=parallel) as sink:
            fill_and_commit(sink)
            assert sink.counts() == rows(60)
    assert snapshot(bank) == before
    assert query(bank, "SELECT count(*) FROM bank.customers") == [(60,)]


def test_a_pooler_that_refuses_options(postgres: Postgres, bank: str) -> None:
    with pool(postgres) as pooler:
        dsn = f"{pooler.dsn(bank)}?options={quote('-csearch_path=bank')}"
        with pytest.raises(ConfigurationError, match=r"unsupported startup.*--postgres-schema"):
            PostgresSink(dsn).connect()


def test_a_search_path_that_another_client_of_the_pool_left(postgres: Postgres, bank: str) -> None:
    before = snapshot(bank)
    with pool(postgres, default_pool_size="1") as pooler:
        with session(pooler.dsn(bank)) as other:
            other.execute("SET search_path = bank")
        with pytest.raises(ConfigurationError, match=r"search_path 'bank'.*--postgres-schema"):
            load(pooler.dsn(bank), 60, truncate=True)
        with PostgresSink(pooler.dsn(bank), schema="public", truncate=True) as sink:
            fill_and_commit(sink, 20)
    assert snapshot(bank) == before


@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pool_is_loaded_through_over_one_connection(
    postgres: Postgres, bank: str, caplog: pytest.LogCaptureFixture, mode: str, size: int
) -> None:
    caplog.set_level("INFO")
    with pool(postgres, pool_mode=mode, default_pool_size=str(size)) as pooler:
        began = time.monotonic()
        with PostgresSink(pooler.dsn(bank), truncate=True, parallel=True) as sink:
            fill_and_commit(sink)
            assert sink.counts() == rows(60)
        assert time.monotonic() - began < 15
    assert "one connection has to do: a connection pooler is in front" in caplog.text


def test_a_pool_that_is_busy(
    postgres: Postgres, bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datagen.sinks.postgres.server.ANSWER", 2.0)
    main = threading.main_thread().ident
    assert main is not None
    with (
        pool(postgres, default_pool_size="1") as pooler,
        session(pooler.dsn(bank)) as other,
    ):
        other.execute("BEGIN")
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"does not answer.*pooler"):
            PostgresSink(pooler.dsn(bank)).connect()
        assert time.monotonic() - began < 8
        timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            PostgresSink(pooler.dsn(bank)).connect()
        assert time.monotonic() - began < 2
        timer.join()
        other.execute("COMMIT")
        load(pooler.dsn(bank), 60, truncate=True, parallel=True)


def test_a_pool_of_statements_is_refused(postgres: Postgres, bank: str) -> None:
    with (
        pool(postgres, pool_mode="statement") as pooler,
        pytest.raises(ConfigurationError, match=r"statement pooling.*transaction or session mode"),
    ):
        PostgresSink(pooler.dsn(bank)).connect()


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_connections_that_lead_nowhere_are_not_waited_for(
    relay: tuple[str, Relay], caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level("INFO")
    dsn, way = relay
    with PostgresSink(dsn, parallel=True) as sink:
        way.open, way.silent = how != "refused", how == "silent"
        began = time.monotonic()
        fill_and_commit(sink)
        assert time.monotonic() - began < 15
        way.open, way.silent = True, False
        assert sink.counts() == rows(60)
    assert "one connection has to do" in caplog.text


def test_ctrl_c_while_connections_do_not_come(relay: tuple[str, Relay]) -> None:
    dsn, way = relay
    main = threading.main_thread().ident
    assert main is not None
    with PostgresSink(dsn, parallel=True) as sink:
        way.silent = True
        timer = threading.Timer(0.7, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            sink.begin()
        assert time.monotonic() - began < 0.7 + 1
        timer.join()


# Those who follow the changes


@pytest.fixture(scope="module")
def logical(own_postgres: Running) -> Iterator[PostgresServer]:
    with own_postgres(PostgresServer({"fsync": "off", "wal_level": "logical"})) as server:
        yield server


def relations(message: bytes) -> tuple[str, set[str]]:
    """The table and the key columns of a Relation message of pgoutput."""
    at = 5
    at = message.index(b"\0", at) + 1
    end = message.index(b"\0", at)
    table = message[at:end].decode()
    at = end + 2  # past the replica identity
    number = int.from_bytes(message[at : at + 2], "big")
    at += 2
    keys = set()
    for _ in range(number):
        end = message.index(b"\0", at + 1)
        if message[at] & 1:
            keys.add(message[at + 1 : end].decode())
        at = end + 9
    return table, keys


@pytest.mark.parametrize("published", ["ALL TABLES", "TABLE " + ", ".join(TABLES)])
@pytest.mark.parametrize("parallel", [False, True])
def test_rows_of_a_reload_carry_their_keys(
    logical: PostgresServer, published: str, parallel: bool
) -> None:
    name = f"followed_{free_port()}"
    dsn = logical.database(name)
    try:
        if published != "ALL TABLES":
            load(dsn, 20)
        execute(dsn, f"CREATE PUBLICATION followers FOR {published}")
        query(dsn, "SELECT pg_create_logical_replication_slot('follower', 'pgoutput')")
        for customers in (60, 30):
            load(dsn, customers, truncate=True, parallel=parallel)
            messages = query(
                dsn,
                "SELECT data FROM pg_logical_slot_get_binary_changes('follower', NULL, NULL, "
                "'proto_version', '1', 'publication_names', 'followers')",
            )
            seen = [relations(data) for (data,) in messages if data[:1] == b"R"]
            keys = {name: {catalogue()[name].primary_key} for name in TABLES}
            assert all(keys[table] == found for table, found in seen), seen
            assert {table for table, _ in seen} == set(TABLES)
            inserted = sum(data[:1] == b"I" for (data,) in messages)
            assert inserted == sum(rows(customers).values())
    finally:
        execute(dsn, "SELECT pg_drop_replication_slot('follower')")
        logical.drop(name)


# Roles that mean no good


TRAP = """
CREATE FUNCTION public.trap() RETURNS void LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.trapped VALUES (current_user); END $$
"""
HOSTILE = [
    ("oid", "regnamespace", "="),
    ("name", "text", "~"),
    ("name", "text", "="),
    ("oid", "oid", "="),
    ('"char"', "text", "="),
    ("name", "name", "="),
]


def test_what_others_define_in_public_is_not_run(pg_dsn: str, role: str, parallel: bool) -> None:
    execute(role, "CREATE TABLE public.trapped (by name)", TRAP, "GRANT ALL ON trapped TO PUBLIC")
    for number, (left, right, operator) in enumerate(HOSTILE):
        execute(
            role,
            f"CREATE FUNCTION public.h{number}({left}, {right}) RETURNS bool LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM public.trap(); RETURN true; END $$",
            f"CREATE OPERATOR public.{operator} (FUNCTION = public.h{number}, LEFTARG = {left}, "
            f"RIGHTARG = {right})",
        )
    execute(
        role,
        "CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM public.trap(); RETURN $1; END $$",
        "CREATE FUNCTION public.count(uuid) RETURNS bigint LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM public.trap(); RETURN 1; END $$",
        "CREATE FUNCTION public.length(character) RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM public.trap(); RETURN 1; END $$",
    )
    # The trap works: whoever says such a thing with public in the search_path runs it.
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert connection.execute("SELECT count(*) > 0 FROM trapped").fetchone() == (True,)
        connection.rollback()
    for customers in (20, 60):
        with PostgresSink(pg_dsn, truncate=True, parallel=parallel) as sink:
            fill_and_commit(sink, customers)
            sink.counts()
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        fill_and_commit(sink, 80, start=60)
    assert query(pg_dsn, "SELECT * FROM trapped") == []


PLANTED = {
    "trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON stocks FOR EACH STATEMENT EXECUTE FUNCTION fire()",
        "trigger t",
    ),
    "check": (
        (
            "ALTER TABLE stocks DROP CONSTRAINT stocks_lot_size_positive_check, ADD CONSTRAINT "
            "stocks_lot_size_positive_check CHECK (lot_size > 0 AND pg_backend_pid() > 0)"
        ),
        "constraint stocks_lot_size_positive_check",
    ),
    "default": ("ALTER TABLE stocks ALTER lot_size SET DEFAULT pg_backend_pid()", "default"),
    "rule": ("CREATE RULE r AS ON INSERT TO stocks DO ALSO SELECT pg_backend_pid()", "rule r"),
    "index": ("CREATE INDEX i ON stocks (lower(ticker))", "index public.i"),
}


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("truncate", [False, True])
def test_a_superuser_does_not_run_what_others_have_planted(
    pg_dsn: str, role: str, planted: str, truncate: bool
) -> None:
    load(role, 20)
    execute(
        role,
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        PLANTED[planted][0],
    )
    with (
        pytest.raises(ConfigurationError, match=rf"{PLANTED[planted][1]}.*Load as {ROLE}"),
        PostgresSink(pg_dsn, truncate=truncate) as sink,
    ):
        sink.begin()
    load(role, 60, start=20)


def test_a_superuser_loads_into_plain_tables_of_others(
    pg_dsn: str, role: str, parallel: bool
) -> None:
    load(role, 20)
    load(pg_dsn, 60, start=20, parallel=parallel)
    load(pg_dsn, 60, truncate=True, parallel=parallel)
    owners = query(pg_dsn, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [(ROLE,)]


MEANWHILE = {
    "grant": (
        "GRANT SELECT ON stocks TO pg_monitor",
        "SELECT has_table_privilege('pg_monitor', 'stocks', 'SELECT')",
    ),
    "grant on a column": (
        "GRANT SELECT (ticker) ON stocks TO pg_monitor",
        "SELECT has_column_privilege('pg_monitor', 'stocks', 'ticker', 'SELECT')",
    ),
    "comment": (
        "COMMENT ON TABLE loans IS 'ours'",
        "SELECT obj_description('loans'::regclass, 'pg_class') = 'ours'",
    ),
    "view": (
        "CREATE VIEW tickers AS SELECT ticker FROM stocks",
        "SELECT count(*) > 0 FROM tickers",
    ),
    "default privileges": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor",
        "SELECT count(*) = 1 FROM pg_default_acl",
    ),
    "publication": (
        "CREATE PUBLICATION p FOR ALL TABLES",
        "SELECT count(*) = 6 FROM pg_publication_tables",
    ),
}
#: Those that take no lock on a table, by any version: then the old tables stay.
UNLOCKED = {"default privileges", "publication"}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_others_do_while_a_load_runs_stays(pg_dsn: str, what: str) -> None:
    statement, holds = MEANWHILE[what]
    load(pg_dsn, 20)
    ids = [query(pg_dsn, f"SELECT '{name}'::regclass::oid") for name in TABLES]
    made = constraints(pg_dsn)
    with PostgresSink(pg_dsn, truncate=True, parallel=True) as sink:
        fill(sink)
        assert len(staging(pg_dsn)) == 1
        # Some versions have it wait for the load, and then it goes to the new tables.
        other = threading.Thread(target=execute, args=(pg_dsn, statement))
        other.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        assert eventually(lambda: not other.is_alive() or query(pg_dsn, waits) == [(1,)])
        done = not other.is_alive()
        sink.commit()
        other.join()
        assert sink.counts() == rows(60)
    assert query(pg_dsn, holds) == [(True,)]
    assert constraints(pg_dsn) == made
    kept = [query(pg_dsn, f"SELECT '{name}'::regclass::oid") for name in TABLES] == ids
    assert kept == done
    assert done or what not in UNLOCKED
    assert staging(pg_dsn) == []


HALVING = (
    "CREATE FUNCTION halve() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN IF random() < 0.5 THEN RETURN NULL; END IF; RETURN NEW; END'"
)


@pytest.mark.parametrize("truncate", [False, True])
def test_a_table_that_does_not_keep_its_rows_is_refused(
    pg_dsn: str, parallel: bool, truncate: bool
) -> None:
    load(pg_dsn, 20)
    before = snapshot(pg_dsn)
    trigger = "CREATE TRIGGER t BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION halve()"
    execute(pg_dsn, HALVING, trigger)
    with (
        pytest.raises(RejectedError, match=r"accounts took \d+ of \d+ rows.*nothing was loaded"),
        PostgresSink(pg_dsn, truncate=truncate, parallel=parallel) as sink,
    ):
        fill_and_commit(sink, 60, 0 if truncate else 20)
    assert snapshot(pg_dsn) == before


def test_stocks_that_a_rule_keeps_out_are_missed(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    execute(
        pg_dsn,
        "DELETE FROM stocks WHERE ticker = (SELECT min(ticker) FROM stocks)",
        "CREATE RULE none AS ON INSERT TO stocks DO INSTEAD NOTHING",
    )
    with (
        pytest.raises(RejectedError, match=r"stocks took 41 of 42 rows"),
        PostgresSink(pg_dsn) as sink,
    ):
        fill_and_commit(sink, 60, start=20)


def test_a_rule_that_comes_while_a_load_runs_loses_nothing(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    before = snapshot(pg_dsn)
    rule = "CREATE RULE none AS ON INSERT TO public.stocks DO INSTEAD NOTHING"
    with PostgresSink(pg_dsn, truncate=True, parallel=True) as sink:
        fill(sink)
        # The publication has the tables kept, and rows copied into them.
        execute(pg_dsn, "CREATE PUBLICATION p FOR ALL TABLES")
        sink._execute(rule)
        with pytest.raises(RejectedError, match=r"stocks took 0 of 42 rows"):
            sink.commit()
    assert snapshot(pg_dsn) == before


@pytest.mark.parametrize("path", ["pg_temp, public", "information_schema", "pg_catalog"])
def test_a_search_path_that_begins_with_no_place_for_tables(
    pg_dsn: str, parallel: bool, path: str
) -> None:
    execute(pg_dsn, f"ALTER DATABASE {urlsplit(pg_dsn).path[1:]} SET search_path = {path}")
    # A temporary schema is there once there has been something in it.
    execute(pg_dsn, "CREATE SCHEMA bank")
    with PostgresSink(pg_dsn, parallel=parallel, schema="bank") as sink:
        sink._execute("CREATE TEMPORARY TABLE t ()")
        sink._wanted_schema, sink._schema = None, ""
        with pytest.raises(ConfigurationError, match="no place for tables"):
            sink.begin()


# Sessions that are set up otherwise


SETTINGS = {
    "quote_all_identifiers": "on",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "session_replication_role": "replica",
    "standard_conforming_strings": "off",
    "search_path": '"$user", public, pg_catalog',
    "client_encoding": "LATIN1",
    "lock_timeout": "1",
    "statement_timeout": "'20ms'",
}


def test_settings_of_a_database_change_nothing(pg_dsn: str, parallel: bool) -> None:
    database = urlsplit(pg_dsn).path[1:]
    load(pg_dsn, 20)
    made = constraints(pg_dsn)
    set_all = (f"ALTER DATABASE {database} SET {name} = {to}" for name, to in SETTINGS.items())
    execute(pg_dsn, *set_all)
    load(pg_dsn, 60, truncate=True, parallel=parallel)
    sink = load(pg_dsn, 80, start=60, parallel=parallel)
    assert sink.rows_before == rows(60)
    with PostgresSink(pg_dsn) as counted:
        assert counted.counts() == rows(80)

    def load_orphans(sink: PostgresSink) -> None:
        for batch in plan(100).batches("accounts", 90):
            sink.write(batch)
        sink.commit()

    with PostgresSink(pg_dsn) as sink:
        sink.begin()
        with pytest.raises(RejectedError, match="accounts_customer_id_fkey"):
            load_orphans(sink)
    with psycopg.connect(pg_dsn, autocommit=True, options="-cstatement_timeout=0") as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {database} RESET ALL".encode())
    assert constraints(pg_dsn) == made


def test_rows_that_a_policy_hides_are_not_miscounted(pg_dsn: str, role: str) -> None:
    load(role, 20)
    execute(
        role,
        "CREATE POLICY few ON customers USING (pep)",
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    )
    with (
        pytest.raises(ConfigurationError, match="row-level security"),
        PostgresSink(role) as sink,
    ):
        sink.begin()


def test_another_seed_is_told_where_to_go(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 200)
    with pytest.raises(
        RejectedError,
        match=r"Column \w+ has values.*--truncate.*same seed.*--from-customer.*--postgres-schema",
    ):
        load(pg_dsn, 60, parallel=parallel)
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(200,)]


def test_without_poll(pg_dsn: str, parallel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll")
    load(pg_dsn, 60, parallel=parallel)


# Errors name the cause and the place


def test_a_hot_standby(own_postgres: Running) -> None:
    server = PostgresServer({"fsync": "off"})
    with own_postgres(server):
        load(server.dsn, 20)
        server.stop()
        (server.directory / "data" / "standby.signal").touch()
        server.start()
        with pytest.raises(ConfigurationError, match=r"recovery.*hot standby.*name the primary"):
            load(server.dsn, 60, truncate=True)
        with pytest.raises(ConfigurationError, match="target_session_attrs"):
            PostgresSink(f"{server.dsn}?target_session_attrs=read-write").connect()


def test_an_empty_string_is_no_address() -> None:
    for url in ("", "  ", "\n"):
        with pytest.raises(OptionError, match="postgres_url"):
            PostgresSink(url)


def test_the_place_that_was_tried_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    services = tmp_path / "services.conf"
    services.write_text(f"[bank]\nhost=127.0.0.1\nport={port}\ndbname=money\n")

    def refused(url: str) -> str:
        with pytest.raises(UnreachableError) as caught:
            PostgresSink(url).connect()
        return str(caught.value)

    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert f"127.0.0.1:{port}/money cannot be reached" in refused("service=bank")
    assert f"127.0.0.1:{port}/money cannot be reached" in refused("postgresql:///?service=bank")
    with pytest.raises(ConfigurationError, match=r"definition of service.*PGSERVICEFILE"):
        PostgresSink("service=vault").connect()
    monkeypatch.setenv("PGSERVICE", "bank")
    assert f"127.0.0.1:{port}/money cannot be reached" in refused("user=alice")
    monkeypatch.delenv("PGSERVICE")
    socket = f"{tmp_path}:5433/bank"
    assert socket in refused(f"host={tmp_path} port=5433 dbname=bank")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.2")
    said = refused(f"postgresql://db.example.com:{port}/bank")
    assert f"127.0.0.2:{port}/bank" in said
    assert "PGHOSTADDR" in said
    monkeypatch.delenv("PGHOSTADDR")
    other = free_port()
    said = refused(f"postgresql://127.0.0.1:{port},127.0.0.1:{other}/bank")
    assert f"127.0.0.1:{port}: Connection refused" in said
    assert f"127.0.0.1:{other}: Connection refused" in said


def test_settings_that_cannot_be(pg_dsn: str) -> None:
    for more, words in {
        "sslrootcert=system": "SSL|sslmode=verify-full",
        "sslrootcert=system&sslmode=require": "sslmode=verify-full with sslrootcert=system",
        "options=-cno_such_setting%3D1": "Correct `options`",
        "target_session_attrs=standby": "target_session_attrs asks for",
    }.items():
        with pytest.raises(ConfigurationError, match=words):
            PostgresSink(f"{pg_dsn}?{more}").connect()


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("42501", ConfigurationError, "Grant the role"),
        ("3F000", ConfigurationError, "--postgres-schema"),
        ("25006", ConfigurationError, "primary"),
        ("57P04", ConfigurationError, "name of the database"),
        ("53300", UnreachableError, "connections"),
        ("57P01", UnreachableError, "nothing"),
        ("57P02", UnreachableError, "nothing"),
        ("57P03", UnreachableError, "server is up"),
        ("55P03", UnreachableError, "lock"),
        ("40P01", UnreachableError, "nothing"),
        ("53100", RejectedError, "disk space"),
        ("53200", RejectedError, "memory"),
        ("23514", RejectedError, "refused the load"),
    ],
)
def test_what_an_error_means(state: str, kind: type[Exception], words: str) -> None:
    error = psycopg.errors.lookup(state)("the server's words")
    server = Server("postgresql://alice@db/bank")
    said = server.error(error, None, lost="; nothing", refused="; nothing", conflict="")
    assert type(said) is kind
    assert words in str(said)
    assert "the server's words" in str(said)
    assert "again" not in str(said)
