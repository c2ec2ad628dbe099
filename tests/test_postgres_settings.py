"""Sessions and servers that are set up otherwise, and what errors say of them."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

from datagen.errors import ConfigurationError, OptionError, RejectedError, UnreachableError
from datagen.sinks.postgres import PostgresSink
from datagen.sinks.postgres.diagnosis import statement_failure
from datagen.sinks.postgres.server import Server
from postgres_tables import constraints, execute, load, plan, query, rows
from services._net import free_port
from services.postgres import PostgresServer

if TYPE_CHECKING:
    from running import Running

pytest_plugins = ["postgres_fixtures"]

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
        match=r"Column \w+ has values.*truncate=True.*same seed.*start .of plan.*schema=NAME",
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
        "sslnegotiation=direct": r'use "require".*Correct the connection string$',
        "gssencmode=require": "GSSAPI.*Correct the connection string$",
        "require_auth=md5": "requirement.*Correct the connection string$",
        "channel_binding=require": "channel binding.*Correct the connection string$",
        "options=-cno_such_setting%3D1": "Correct `options`",
        "target_session_attrs=standby": "target_session_attrs asks for",
    }.items():
        with pytest.raises(ConfigurationError, match=words):
            PostgresSink(f"{pg_dsn}?{more}").connect()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGSSLMODE", "bogus"),
        ("PGREQUIREAUTH", "md5"),
        ("PGCHANNELBINDING", "require"),
        ("PGCONNECT_TIMEOUT", "soon"),
    ],
)
def test_a_setting_of_the_environment_is_named(
    pg_dsn: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=rf"or the environment \(.*\b{variable}\b"):
        PostgresSink(pg_dsn).connect()


def test_letters_that_an_encoding_lacks(pg_dsn: str) -> None:
    with psycopg.connect(pg_dsn, autocommit=True) as session:
        name = f"{session.info.dbname}_latin2"
        session.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN2' LOCALE 'C'".encode()
        )
        try:
            with pytest.raises(RejectedError, match=r"\bLATIN2\b.*nothing was loaded.*UTF8"):
                load(urlsplit(pg_dsn)._replace(path=f"/{name}").geturl(), 30)
        finally:
            session.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_function_that_relies_on_a_search_path_is_named(pg_dsn: str) -> None:
    load(pg_dsn, 5)
    execute(pg_dsn, "CREATE TABLE audit (what text)")
    body = "BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END"
    execute(pg_dsn, f"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    execute(pg_dsn, "CREATE TRIGGER note AFTER TRUNCATE ON customers EXECUTE FUNCTION note()")
    with pytest.raises(RejectedError, match=r"\"audit\".*public\.note\(\) looks for it by the sea"):
        load(pg_dsn, 5, truncate=True)
    execute(pg_dsn, "ALTER FUNCTION note() SET search_path = public")
    load(pg_dsn, 5, truncate=True)
    assert query(pg_dsn, "SELECT what FROM audit") == [("TRUNCATE",)]


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("42501", ConfigurationError, "Grant the role"),
        ("3F000", ConfigurationError, "schema=NAME"),
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
    said = statement_failure(server.conninfo, error, outcome="; nothing")
    assert type(said) is kind
    assert words in str(said)
    assert "the server's words" in str(said)
    assert "again" not in str(said)
