"""Tables, schemas and locks that are not the load's own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from datagen.errors import ConfigurationError, OptionError, RejectedError, UnreachableError
from datagen.sinks.postgres import PostgresSink
from postgres_tables import (
    OTHER_ROLE,
    constraints,
    execute,
    fill,
    fill_and_commit,
    load,
    query,
    rows,
    session,
    tables,
)

if TYPE_CHECKING:
    from services.postgres import Postgres

pytest_plugins = ["postgres_fixtures"]


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
        pg_dsn,
        "CREATE SCHEMA bank",
        f"CREATE SCHEMA shown; GRANT USAGE ON SCHEMA shown TO {OTHER_ROLE}",
    )
    for dsn, name, words in (
        (pg_dsn, "BANK", "schema 'BANK' does not exist.*schema=NAME"),
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


@pytest.mark.parametrize("path", ["pg_temp, public", "information_schema", "pg_catalog"])
def test_a_search_path_that_begins_with_no_place_for_tables(
    pg_dsn: str, parallel: bool, path: str
) -> None:
    execute(pg_dsn, f"ALTER DATABASE {urlsplit(pg_dsn).path[1:]} SET search_path = {path}")
    # A temporary schema is there once there has been something in it.
    execute(pg_dsn, "CREATE SCHEMA bank")
    with PostgresSink(pg_dsn, parallel=parallel, schema="bank") as sink:
        sink._load.execute("CREATE TEMPORARY TABLE t ()")
        sink._wanted_schema, sink._load.schema = None, ""
        with pytest.raises(ConfigurationError, match="no place for tables"):
            sink.begin()


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e12])
def test_a_lock_timeout_that_cannot_be(seconds: float) -> None:
    with pytest.raises(OptionError, match=r"lock_timeout.*0 to 2147483"):
        PostgresSink("postgresql://localhost/x", lock_timeout=seconds)


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
