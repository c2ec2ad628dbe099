"""Loads that build their tables apart, on a connection each, and put them into place at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from datagen._core import Batch
from datagen.errors import RejectedError, UnreachableError
from datagen.sinks.postgres import PostgresSink
from datagen.sinks.postgres.ddl import TableShape
from datagen.sinks.postgres.staged import Staged
from postgres_tables import (
    READER,
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
from services._net import free_port

if TYPE_CHECKING:
    pass

pytest_plugins = ["postgres_fixtures"]


def oids(dsn: str) -> dict[str, int]:
    return {name: query(dsn, f"SELECT '{name}'::regclass::oid")[0][0] for name in TABLES}


def properties(dsn: str) -> list[tuple[object, ...]]:
    """What users may change about tables, indexes and keys and nobody else would."""
    return query(
        dsn,
        """
        SELECT 'class', relname, concat_ws(' ', relowner, relacl, reloptions, relpersistence,
                                           relreplident, relrowsecurity, reltablespace)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'index', indexrelid::regclass::text, concat(indisclustered, indisreplident)
        FROM pg_index WHERE indrelid >= 16384 AND indexrelid::regclass::text !~ 'pg_toast'
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, string_agg(tgenabled, '' ORDER BY tgenabled) FROM pg_trigger
        GROUP BY tgrelid
        UNION ALL SELECT 'comment', objsubid::text, description FROM pg_description
        WHERE objoid >= 16384 ORDER BY 1, 2, 3
        """,
    )


def write(sink: PostgresSink, customers: int = 60) -> None:
    for name in TABLES:
        for batch in plan(customers).batches(name, batch_rows=16):
            sink.write(batch)


@pytest.fixture
def slow_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes a minute for the keys of accounts."""
    add = TableShape.add_keys

    def slowly(self: TableShape, schema: str) -> str:
        wait = "; SELECT pg_sleep(60)" if self.name == "accounts" else ""
        return add(self, schema) + wait

    monkeypatch.setattr(TableShape, "add_keys", slowly)


def wait_event(dsn: str, event: str) -> list[int]:
    """Processes of loads that wait for something."""
    rows = query(
        dsn,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        f"AND application_name = 'datagen' AND wait_event = '{event}'",
    )
    return [pid for (pid,) in rows]


WAITING_FOR_A_TABLE = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"


def terminate(dsn: str, pids: list[int]) -> None:
    execute(dsn, *(f"SELECT pg_terminate_backend({pid}, 10000)" for pid in pids))


# Loading


def test_both_ways_make_the_same(pg_dsn: str, nothing_stays: None) -> None:
    load(pg_dsn, parallel=True)
    apart = snapshot(pg_dsn), constraints(pg_dsn)
    execute(pg_dsn, f"DROP TABLE {', '.join(TABLES)}")
    load(pg_dsn)
    assert (snapshot(pg_dsn), constraints(pg_dsn)) == apart


def test_plain_tables_are_replaced(pg_dsn: str, nothing_stays: None) -> None:
    load(pg_dsn, 20)
    before = oids(pg_dsn)
    load(pg_dsn, 60, truncate=True, parallel=True)
    after = oids(pg_dsn)
    assert not set(before.values()) & set(after.values())
    load(pg_dsn, 20, truncate=True, parallel=True)
    assert not set(after.values()) & set(oids(pg_dsn).values())


def test_rows_are_frozen(pg_dsn: str) -> None:
    load(pg_dsn, parallel=True)
    execute(pg_dsn, "CREATE EXTENSION pg_visibility")
    for name in TABLES:
        assert query(pg_dsn, f"SELECT count(*) FROM pg_check_frozen('{name}')") == [(0,)]
        assert query(pg_dsn, f"SELECT all_frozen > 0 FROM pg_visibility_map_summary('{name}')") == [
            (True,)
        ]


def test_tables_in_any_order_by_several_threads(pg_dsn: str, nothing_stays: None) -> None:
    load(pg_dsn)
    wanted = snapshot(pg_dsn), constraints(pg_dsn)

    def write_table(sink: PostgresSink, name: str) -> None:
        for batch in plan().batches(name, batch_rows=16):
            sink.write(batch)
        sink.finish(name)

    with PostgresSink(pg_dsn, truncate=True, parallel=True) as sink:
        sink.begin()
        threads = [threading.Thread(target=write_table, args=(sink, n)) for n in reversed(TABLES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sink.commit()
        assert sink.rows_loaded == {name: plan().rows(name) for name in TABLES}
    assert (snapshot(pg_dsn), constraints(pg_dsn)) == wanted


def test_tables_keep_their_order_whichever_connects_first(
    pg_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Staged._connect

    def late(self: Staged, table: TableShape) -> None:
        time.sleep(0.5 if table.name == TABLES[0] else 0)
        connect(self, table)

    monkeypatch.setattr(Staged, "_connect", late)
    assert [*load(pg_dsn, 20, parallel=True).rows_loaded] == TABLES


def test_a_finished_table_takes_no_more(pg_dsn: str) -> None:
    with PostgresSink(pg_dsn, parallel=True) as sink:
        with pytest.raises(RuntimeError, match="begin"):
            sink.finish("customers")
        sink.begin()
        batch = next(plan().batches("customers"))
        sink.write(batch)
        sink.finish("customers")
        sink.finish("customers")
        with pytest.raises(RuntimeError, match="finish"):
            sink.write(batch)


def test_transactions_that_see_a_snapshot(pg_dsn: str, nothing_stays: None) -> None:
    load(pg_dsn, 20)
    before = oids(pg_dsn)
    options = "-cdefault_transaction_isolation=serializable -cdefault_transaction_read_only=on"
    load(f"{pg_dsn}?options={quote(options)}", 60, truncate=True, parallel=True)
    assert not set(before.values()) & set(oids(pg_dsn).values())


def test_all_connections_go_to_the_same_of_several_servers(
    pg_dsn: str, nothing_stays: None
) -> None:
    place = urlsplit(pg_dsn)
    user, _, at = place.netloc.rpartition("@")
    several = place._replace(netloc=f"{user}@127.0.0.1:{free_port()},{at}").geturl()
    load(several, 20)
    before = oids(pg_dsn)
    load(several, 60, truncate=True, parallel=True)
    assert not set(before.values()) & set(oids(pg_dsn).values())


# What others have made of the tables stays

ATTACHED = {
    "view": "CREATE VIEW cards AS SELECT brand FROM credit_cards",
    "materialized view": "CREATE MATERIALIZED VIEW cities AS SELECT DISTINCT city FROM customers",
    "function": ("CREATE FUNCTION n() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM loans; END"),
    "row type": "CREATE FUNCTION f(l loans) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "grant": "GRANT SELECT ON stocks TO pg_monitor",
    "grant on a column": "GRANT SELECT (ticker) ON stocks TO pg_monitor",
    "trigger": (
        "CREATE TRIGGER t BEFORE UPDATE ON loans FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "disabled keys": "ALTER TABLE loans DISABLE TRIGGER ALL",
    "rule": "CREATE RULE r AS ON DELETE TO stocks DO INSTEAD NOTHING",
    "policy": "CREATE POLICY p ON accounts USING (true)",
    "row security": "ALTER TABLE accounts ENABLE ROW LEVEL SECURITY",
    "index": "CREATE INDEX by_city ON customers (city)",
    "unique index": "CREATE UNIQUE INDEX by_phone ON customers (phone, customer_id)",
    "index option": "ALTER INDEX customers_pkey SET (fillfactor = 70)",
    "cluster": "ALTER TABLE customers CLUSTER ON customers_pkey",
    "table option": "ALTER TABLE customers SET (fillfactor = 80)",
    "toast option": "ALTER TABLE customers SET (toast.autovacuum_enabled = false)",
    "unlogged": "ALTER TABLE stocks SET UNLOGGED",
    "statistics": "CREATE STATISTICS s ON city, state FROM customers",
    "statistics target": "ALTER TABLE customers ALTER city SET STATISTICS 500",
    "column option": "ALTER TABLE customers ALTER city SET (n_distinct = 5)",
    "storage": "ALTER TABLE customers ALTER street SET STORAGE EXTERNAL",
    "default": "ALTER TABLE customers ALTER pep SET DEFAULT false",
    "comment": "COMMENT ON TABLE customers IS 'ours'",
    "comment on a column": "COMMENT ON COLUMN customers.city IS 'where'",
    "comment on a key": "COMMENT ON CONSTRAINT customers_pkey ON customers IS 'id'",
    "comment on an index": "COMMENT ON INDEX accounts_customer_id_idx IS 'whose'",
    "replica identity": "ALTER TABLE stocks REPLICA IDENTITY FULL",
    "replica identity index": ("ALTER TABLE stocks REPLICA IDENTITY USING INDEX stocks_ticker_key"),
    "publication": "CREATE PUBLICATION p FOR TABLE stocks",
    "publication of all": "CREATE PUBLICATION p FOR ALL TABLES",
    "child": "CREATE TABLE more_stocks () INHERITS (stocks)",
    "check": (
        "ALTER TABLE stocks DROP CONSTRAINT stocks_lot_size_positive_check, "
        "ADD CONSTRAINT stocks_lot_size_positive_check CHECK (lot_size > -1)"
    ),
    "owner": "ALTER TABLE stocks OWNER TO pg_monitor",
    "default privileges": "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
    "event trigger": (
        "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e()"
    ),
}


@pytest.mark.parametrize("attached", ATTACHED)
def test_tables_with_something_attached_are_kept(
    pg_dsn: str, nothing_stays: None, attached: str
) -> None:
    load(pg_dsn, 20)
    execute(pg_dsn, ATTACHED[attached])
    before = oids(pg_dsn), constraints(pg_dsn), properties(pg_dsn)
    load(pg_dsn, 60, truncate=True, parallel=True)
    assert (oids(pg_dsn), constraints(pg_dsn), properties(pg_dsn)) == before
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(60,)]


def test_a_role_that_cannot_make_schemas(pg_dsn: str, reader: str, nothing_stays: None) -> None:
    execute(pg_dsn, f"GRANT CREATE ON SCHEMA public TO {READER}")
    load(reader, 20, parallel=True)
    before = oids(pg_dsn)
    load(reader, 60, truncate=True, parallel=True)
    assert oids(pg_dsn) == before
    execute(pg_dsn, f"GRANT CREATE ON DATABASE {urlsplit(pg_dsn).path[1:]} TO {READER}")
    load(reader, 60, truncate=True, parallel=True)
    assert not set(before.values()) & set(oids(pg_dsn).values())


def test_too_few_connections(pg_dsn: str, reader: str, nothing_stays: None) -> None:
    database = urlsplit(pg_dsn).path[1:]
    execute(
        pg_dsn,
        f"GRANT CREATE ON DATABASE {database} TO {READER}",
        f"GRANT CREATE ON SCHEMA public TO {READER}",
        f"ALTER ROLE {READER} CONNECTION LIMIT 3",
    )
    load(reader, 20, parallel=True)
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]


# Failures


@pytest.mark.parametrize("lost", ["main", "customers"])
def test_a_session_lost_while_rows_are_sent(pg_dsn: str, nothing_stays: None, lost: str) -> None:
    load(pg_dsn, 20)
    before = snapshot(pg_dsn), constraints(pg_dsn), oids(pg_dsn)

    def go_on(sink: PostgresSink) -> None:
        write(sink)
        sink.commit()

    with PostgresSink(pg_dsn, truncate=True, parallel=True) as sink:
        sink.begin()
        sink.write(next(plan(200).batches("customers", 60)))
        chosen = "query LIKE 'COPY %.customers %'" if lost == "customers" else "true"
        [(pid,)] = query(
            pg_dsn,
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            f"AND application_name = 'datagen' AND {chosen} ORDER BY backend_start LIMIT 1",
        )
        terminate(pg_dsn, [pid])
        with pytest.raises(UnreachableError, match="nothing was loaded"):
            go_on(sink)
    assert (snapshot(pg_dsn), constraints(pg_dsn), oids(pg_dsn)) == before


def test_all_sessions_lost_while_tables_are_made(
    pg_dsn: str, nothing_stays: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: Staged, table: TableShape) -> None:
        found = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        found += "AND application_name = 'datagen'"
        terminate(pg_dsn, [pid for (pid,) in query(pg_dsn, found)])
        empty(self, table)

    empty = Staged._empty
    monkeypatch.setattr(Staged, "_empty", lose)
    with (
        pytest.raises(UnreachableError, match="nothing was loaded"),
        PostgresSink(pg_dsn, parallel=True) as sink,
    ):
        sink.begin()
    assert staging(pg_dsn) == []


def test_a_session_lost_while_keys_are_made(
    pg_dsn: str, nothing_stays: None, slow_keys: None
) -> None:
    with PostgresSink(pg_dsn, parallel=True) as sink:
        sink.begin()
        stocks = next(plan().batches("stocks"))
        write(sink)
        sink.finish("accounts")
        sink.finish("loans")
        assert eventually(lambda: sink.write(stocks) == 42 and bool(wait_event(pg_dsn, "PgSleep")))
        terminate(pg_dsn, wait_event(pg_dsn, "PgSleep"))
        with pytest.raises(UnreachableError, match="nothing was loaded"):
            sink.commit()
    assert tables(pg_dsn) == set()


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("lost", UnreachableError),
        ("ctrl-c", KeyboardInterrupt),
        ("lock timeout", UnreachableError),
    ],
)
def test_a_load_that_ends_while_tables_are_put_into_place(
    pg_dsn: str, nothing_stays: None, end: str, error: type[BaseException]
) -> None:
    load(pg_dsn, 20)
    before = snapshot(pg_dsn), constraints(pg_dsn), oids(pg_dsn)
    main = threading.main_thread().ident
    assert main is not None

    def act() -> None:
        assert eventually(lambda: bool(wait_event(pg_dsn, "relation")))
        if end == "lost":
            terminate(pg_dsn, wait_event(pg_dsn, "relation"))
        elif end == "ctrl-c":
            signal.pthread_kill(main, signal.SIGINT)

    with (
        session(pg_dsn) as other,
        PostgresSink(
            pg_dsn,
            truncate=True,
            parallel=True,
            lock_timeout=1.0 if end == "lock timeout" else 60.0,
        ) as sink,
    ):
        sink.begin()
        write(sink)
        [schema] = staging(pg_dsn)
        other.execute("BEGIN")
        # Granted as soon as the new table is there for others.
        lock = f"LOCK TABLE {schema}.loans IN ACCESS SHARE MODE".encode()
        threads = [threading.Thread(target=other.execute, args=(lock,))]
        threads += [threading.Thread(target=act)]
        for thread in threads:
            thread.start()
        assert eventually(lambda: query(pg_dsn, WAITING_FOR_A_TABLE) == [(1,)])
        with pytest.raises(error):
            sink.commit()
        for thread in threads:
            thread.join()
        other.execute("ROLLBACK")
    assert (snapshot(pg_dsn), constraints(pg_dsn), oids(pg_dsn)) == before


@pytest.mark.timing
def test_ctrl_c_while_keys_are_made(pg_dsn: str, nothing_stays: None, slow_keys: None) -> None:
    main = threading.main_thread().ident
    assert main is not None
    pressed: list[float] = []

    def press() -> None:
        assert eventually(lambda: bool(wait_event(pg_dsn, "PgSleep")))
        time.sleep(0.3)
        pressed.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        load(pg_dsn, 60, parallel=True)
    assert time.monotonic() - pressed[0] < 2
    thread.join()
    assert tables(pg_dsn) == set()


def test_a_refusal_names_its_table(pg_dsn: str, nothing_stays: None) -> None:
    row = next(plan().batches("customers")).row(0) | {"phone": "190"}
    accounts = next(plan(200).batches("accounts"))

    def go_on(sink: PostgresSink) -> None:
        # Whenever the refusal comes, which is mostly while accounts are on their way.
        sink.write(Batch.from_rows("customers", [row]))
        sink.finish("customers")
        for _ in range(200):
            sink.write(accounts)
            time.sleep(0.01)

    with PostgresSink(pg_dsn, parallel=True) as sink:
        sink.begin()
        with pytest.raises(RejectedError, match=r"refused customers: .*customers_phone_format"):
            go_on(sink)


def test_a_refusal_ends_the_sending(pg_dsn: str, nothing_stays: None) -> None:
    batch = Batch.from_rows(
        "customers", [next(plan().batches("customers")).row(0) | {"phone": "190"}]
    )

    def go_on(sink: PostgresSink) -> None:
        for _ in range(200):
            sink.write(batch)
            time.sleep(0.01)

    with PostgresSink(pg_dsn, parallel=True) as sink:
        sink.begin()
        with pytest.raises(RejectedError, match=r"refused customers: .*customers_phone_format"):
            go_on(sink)


_STUCK = """
import sys, time
from datagen._core import Plan
from datagen.sinks.postgres import PostgresSink

with PostgresSink(sys.argv[1], truncate=True, parallel=True) as sink:
    sink.begin()
    for name in ("customers", "properties"):
        for batch in Plan(42, 5000, days=30).batches(name, batch_rows=1000):
            sink.write(batch)
    sink.finish("customers")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_load_leaves_the_old_rows_and_the_next_one_cleans_up(
    pg_dsn: str, nothing_stays: None
) -> None:
    load(pg_dsn, 20)
    before = snapshot(pg_dsn), constraints(pg_dsn), oids(pg_dsn)
    with subprocess.Popen([sys.executable, "-c", _STUCK, pg_dsn], stdout=subprocess.PIPE) as stuck:
        assert stuck.stdout is not None
        assert stuck.stdout.readline() == b"ready\n"
        stuck.kill()
    assert eventually(lambda: sessions(pg_dsn) == 0)
    assert len(staging(pg_dsn)) == 1
    assert (snapshot(pg_dsn), constraints(pg_dsn), oids(pg_dsn)) == before
    with PostgresSink(pg_dsn, truncate=True) as sink:
        sink.begin()
        assert staging(pg_dsn) == []


def test_what_a_live_load_builds_is_left_alone(pg_dsn: str, nothing_stays: None) -> None:
    with PostgresSink(pg_dsn, parallel=True) as first:
        first.begin()
        [schema] = staging(pg_dsn)
        waiting = threading.Thread(target=load, args=(pg_dsn, 20), kwargs={"truncate": True})
        waiting.start()
        assert eventually(lambda: bool(wait_event(pg_dsn, "advisory")))
        assert staging(pg_dsn) == [schema]
        write(first)
        first.commit()
        waiting.join()
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]
