"""Roles that mean no good, and followers and others whose work a load must not undo."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from datagen.errors import ConfigurationError, RejectedError
from datagen.sinks.postgres import PostgresSink
from datagen.types import catalogue
from postgres_tables import (
    OTHER_ROLE,
    TABLES,
    constraints,
    eventually,
    execute,
    fill,
    fill_and_commit,
    load,
    query,
    rows,
    snapshot,
    staging,
)
from services._net import free_port
from services.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Running

pytest_plugins = ["postgres_fixtures"]

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
        pytest.raises(ConfigurationError, match=rf"{PLANTED[planted][1]}.*Load as {OTHER_ROLE}"),
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
    assert owners == [(OTHER_ROLE,)]


# What others do while a load runs, and tables that do not keep their rows


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
        sink._load.execute(rule)
        with pytest.raises(RejectedError, match=r"stocks took 0 of 42 rows"):
            sink.commit()
    assert snapshot(pg_dsn) == before


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
