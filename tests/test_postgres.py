"""The PostgreSQL sink against a real server, which does the checking."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from datagen._core import Batch
from datagen.errors import (
    ConfigurationError,
    DatagenError,
    OptionError,
    RejectedError,
    UnreachableError,
)
from datagen.sinks.postgres import PostgresSink
from datagen.types import catalogue
from postgres_tables import (
    READER,
    SECRET,
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
    tables,
)
from services._net import free_port

if TYPE_CHECKING:
    pass

pytest_plugins = ["postgres_fixtures"]


# Loading


def test_rows_arrive_as_they_are(pg_dsn: str, parallel: bool) -> None:
    sink = load(pg_dsn, parallel=parallel)
    for name in TABLES:
        sent = [b.row(i) for b in plan().batches(name) for i in range(len(b))]
        columns = [field.name for field in catalogue()[name].fields]
        stored = [
            dict(zip(columns, row, strict=True))
            for row in query(pg_dsn, f"SELECT {', '.join(columns)} FROM {name}")
        ]
        for row in stored:
            for column, value in row.items():
                if isinstance(value, datetime):
                    row[column] = value.astimezone(UTC)
        key = columns[0]
        assert sorted(stored, key=lambda row: row[key]) == sorted(sent, key=lambda row: row[key])
        assert sink.rows_loaded[name] == len(sent) == plan().rows(name)
    assert sink.rows_before == dict.fromkeys(TABLES, 0)


def test_every_foreign_key_has_its_parent(pg_dsn: str) -> None:
    load(pg_dsn)
    for relation in catalogue().tables:
        for key in relation.foreign_keys:
            parent = catalogue()[key.table].primary_key
            orphans = query(
                pg_dsn,
                f"SELECT count(*) FROM {relation.name} c WHERE {key.field} IS NOT NULL AND NOT "
                f"EXISTS (SELECT FROM {key.table} p WHERE p.{parent} = c.{key.field})",
            )
            assert orphans == [(0,)]
            assert query(pg_dsn, f"SELECT count(*) FROM {relation.name}") > [(0,)]


def test_tables_have_their_keys(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    names = {name for _, name, _ in constraints(pg_dsn)}
    assert names >= {
        "customers_pkey",
        "customers_cpf_key",
        "customers_email_key",
        "customers_segment_check",
        "customers_credit_score_range_check",
        "accounts_customer_id_fkey",
        "accounts_customer_id_idx",
        "loans_property_id_key",
        "loans_property_id_fkey",
        "stocks_ticker_key",
    }
    assert all(len(name) < 64 for name in names)
    broken = [
        "UPDATE accounts SET customer_id = gen_random_uuid()",
        "UPDATE customers SET segment = 'GOLD'",
        "UPDATE customers SET state = 'xx'",
        "UPDATE customers SET cpf = (SELECT min(cpf) FROM customers)",
        "UPDATE loans SET outstanding_balance = principal + 1",
        "UPDATE stocks SET ticker = NULL",
        "INSERT INTO stocks SELECT * FROM stocks",
    ]
    for statement in broken:
        with pytest.raises(psycopg.IntegrityError):
            execute(pg_dsn, statement)


def test_counts(pg_dsn: str) -> None:
    with PostgresSink(pg_dsn) as sink:
        assert sink.counts() == dict.fromkeys(TABLES, 0)
        sink.begin()
        for name in TABLES:
            for batch in plan(20).batches(name):
                sink.write(batch)
        sink.commit()
        assert sink.counts() == {name: plan(20).rows(name) for name in TABLES}
        assert [*sink.counts()] == TABLES


@pytest.mark.parametrize("url", ["keywords", "?host=", "spaces"])
def test_other_forms_of_the_url(pg_dsn: str, url: str) -> None:
    parts = urlsplit(pg_dsn)
    database = parts.path[1:]
    password, port, host = parts.password, parts.port, parts.hostname
    forms = {
        "keywords": f"host={host} port={port} dbname={database} user=postgres password={password}",
        "?host=": f"postgresql://postgres:{password}@/{database}?host={host}&port={port}",
        "spaces": f"host = '{host}' port = {port} dbname='{database}' user='postgres' "
        f"password='{password}' sslmode=prefer",
    }
    load(forms[url], 20)
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]


def test_tables_go_to_the_first_schema(pg_dsn: str, parallel: bool) -> None:
    execute(pg_dsn, 'CREATE SCHEMA "Other one"')
    dsn = pg_dsn + "?options=" + quote('-csearch_path="Other\\ one",public')
    load(dsn, 20, parallel=parallel)
    load(dsn, 20, truncate=True, parallel=parallel)
    assert query(pg_dsn, 'SELECT count(*) FROM "Other one".loans') == [(plan(20).rows("loans"),)]
    assert tables(pg_dsn) == set()
    load(pg_dsn, 20, parallel=parallel)


def test_a_stream_is_not_a_table(pg_dsn: str) -> None:
    with PostgresSink(pg_dsn) as sink:
        sink.begin()
        with pytest.raises(OptionError, match=r"banking.trades.*customers"):
            sink.write(next(plan().batches("banking.trades")))


# Loading again


def test_truncate_replaces_all(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    made = constraints(pg_dsn)
    small = snapshot(pg_dsn)
    sink = load(pg_dsn, 200, truncate=True, parallel=parallel)
    assert sink.rows_before == dict.fromkeys(TABLES, 0)
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(200,)]
    assert constraints(pg_dsn) == made
    load(pg_dsn, 20, truncate=True, parallel=parallel)
    assert snapshot(pg_dsn) == small


def test_truncate_without_rows_empties(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    with PostgresSink(pg_dsn, truncate=True, parallel=parallel) as sink:
        sink.begin()
        sink.commit()
        assert not any(sink.counts().values())


def test_a_second_load_is_refused_whole(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    before = snapshot(pg_dsn), constraints(pg_dsn)
    with pytest.raises(
        RejectedError, match=r"refused customers.*nothing was loaded.*truncate=True"
    ):
        load(pg_dsn, 20, parallel=parallel)
    assert (snapshot(pg_dsn), constraints(pg_dsn)) == before


def test_a_load_grows(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    made = constraints(pg_dsn)
    sink = load(pg_dsn, 60, start=20, parallel=parallel)
    assert sink.rows_before == {name: plan(20).rows(name) for name in TABLES}
    # The stocks are the same for everybody, and there already.
    added = {name: plan(60).rows(name) - plan(20).rows(name) for name in TABLES}
    assert sink.rows_loaded == added
    assert added["stocks"] == 0
    assert constraints(pg_dsn) == made
    grown = snapshot(pg_dsn)
    load(pg_dsn, 60, truncate=True, parallel=parallel)
    assert snapshot(pg_dsn) == grown


def test_a_stock_with_other_values_is_refused(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    execute(
        pg_dsn, "UPDATE stocks SET lot_size = 1 WHERE ticker = (SELECT min(ticker) FROM stocks)"
    )
    with pytest.raises(RejectedError, match=r"refused stocks.*truncate=True"):
        load(pg_dsn, 60, start=20)
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]


def test_a_missing_table_is_made(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    made = constraints(pg_dsn)
    execute(pg_dsn, "DROP TABLE loans, stocks")
    load(pg_dsn, 60, start=20, parallel=parallel)
    assert constraints(pg_dsn) == made
    assert query(pg_dsn, "SELECT count(*) FROM loans") == [
        (plan(60).rows("loans") - plan(20).rows("loans"),)
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE customers DROP COLUMN occupation", "customers.*column occupation is missing"),
        ("ALTER TABLE accounts ADD COLUMN note text", "accounts.*column note is not one of ours"),
        (
            "ALTER TABLE stocks ALTER lot_size TYPE bigint",
            "stocks.*column lot_size is bigint NOT NULL, not integer NOT NULL",
        ),
        (
            "ALTER TABLE loans ALTER principal TYPE numeric(18,4)",
            r"loans.*principal is numeric\(18,4\) NOT NULL, not numeric\(15,2\)",
        ),
        (
            "ALTER TABLE customers ALTER street DROP NOT NULL",
            "customers.*column street is text, not text NOT NULL",
        ),
        (
            "ALTER TABLE properties DROP COLUMN built_year CASCADE, ADD COLUMN built_year smallint",
            "properties.*properties_built_year_of_land_check is missing",
        ),
        (
            "ALTER TABLE accounts DROP COLUMN balance CASCADE",
            "accounts.*column balance is missing.*accounts_balance_within_overdraft_check",
        ),
        (
            "ALTER TABLE accounts DROP CONSTRAINT accounts_customer_id_fkey",
            "accounts.*constraint accounts_customer_id_fkey is missing",
        ),
        (
            "ALTER TABLE loans DROP CONSTRAINT loans_pkey",
            "loans.*constraint loans_pkey is missing",
        ),
        (
            "ALTER TABLE customers ADD CHECK (pep OR NOT pep)",
            "customers.*constraint customers_pep_check is not one of ours",
        ),
        (
            (
                "ALTER TABLE customers DROP CONSTRAINT customers_email_key; "
                "ALTER TABLE customers ADD CONSTRAINT customers_email_key UNIQUE (email, name)"
            ),
            r"customers.*customers_email_key is UNIQUE \(email, name\), not UNIQUE \(email\)",
        ),
        ("DROP TABLE loans; CREATE VIEW loans AS SELECT 1 AS loan_id", "loans.*not an ordinary"),
    ],
)
@pytest.mark.parametrize("truncate", [False, True], ids=["append", "truncate"])
def test_another_shape_is_refused(pg_dsn: str, change: str, named: str, truncate: bool) -> None:
    load(pg_dsn, 20)
    execute(pg_dsn, *change.split("; "))
    before = constraints(pg_dsn)
    with pytest.raises(RejectedError, match=f"table {named}"):
        load(pg_dsn, 60, start=20, truncate=truncate)
    assert constraints(pg_dsn) == before
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]


def test_another_order_of_columns_is_refused(pg_dsn: str) -> None:
    load(pg_dsn, 20)
    execute(
        pg_dsn,
        "ALTER TABLE stocks DROP COLUMN company",
        "ALTER TABLE stocks ADD COLUMN company text NOT NULL DEFAULT ''",
    )
    with pytest.raises(RejectedError, match=r"table stocks.*order.*updated_at, company"):
        load(pg_dsn, 20, truncate=True)


def test_a_table_of_the_users_own_refers_to_ours(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    execute(
        pg_dsn,
        "CREATE TABLE notes (id int PRIMARY KEY, customer_id uuid "
        "CONSTRAINT notes_customer REFERENCES customers)",
        "INSERT INTO notes SELECT 1, min(customer_id::text)::uuid FROM customers",
    )
    before = snapshot(pg_dsn), constraints(pg_dsn)
    with pytest.raises(RejectedError, match=r"customers.*notes refers to it \(notes_customer\)"):
        load(pg_dsn, 20, truncate=True, parallel=parallel)
    assert (snapshot(pg_dsn), constraints(pg_dsn)) == before
    load(pg_dsn, 60, start=20, parallel=parallel)


def test_keys_that_others_need_stay_on(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    execute(
        pg_dsn,
        "CREATE VIEW named AS SELECT customer_id, name FROM customers GROUP BY customer_id",
    )
    before = snapshot(pg_dsn), constraints(pg_dsn)
    load(pg_dsn, 20, truncate=True, parallel=parallel)
    assert (snapshot(pg_dsn), constraints(pg_dsn)) == before


# Failures


def test_leaving_without_commit_leaves_nothing(pg_dsn: str, parallel: bool) -> None:
    def begin_and_write(sink: PostgresSink) -> None:
        sink.begin()
        sink.write(next(plan().batches("customers")))

    for never in ("", "begin"):
        with PostgresSink(pg_dsn, parallel=parallel) as sink:
            if never:
                sink.begin()
    with (
        pytest.raises(RuntimeError, match=r"commit\(\) was not called: nothing was loaded"),
        PostgresSink(pg_dsn, parallel=parallel) as sink,
    ):
        begin_and_write(sink)
    assert sink.outcome == "nothing"
    assert tables(pg_dsn) == set()
    with pytest.raises(ZeroDivisionError), PostgresSink(pg_dsn, parallel=parallel) as sink:
        broken_load(sink)
    assert tables(pg_dsn) == set()
    assert eventually(lambda: sessions(pg_dsn) == 0)


def broken_load(sink: PostgresSink) -> None:
    sink.begin()
    sink.write(next(plan().batches("customers")))
    raise ZeroDivisionError


def test_orphans_are_found_at_commit(pg_dsn: str, parallel: bool) -> None:
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        sink.write(next(plan().batches("accounts")))
        with pytest.raises(RejectedError, match=r"refused accounts.*accounts_customer_id_fkey"):
            sink.commit()
    assert tables(pg_dsn) == set()


def test_duplicates_are_found_at_commit(pg_dsn: str, parallel: bool) -> None:
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        for _ in range(2):
            sink.write(next(plan().batches("customers")))
        with pytest.raises(RejectedError, match=r"refused customers.*customers_pkey") as caught:
            sink.commit()
    assert "truncate=True" not in str(caught.value)
    assert tables(pg_dsn) == set()


def test_a_row_that_breaks_a_check_is_refused(pg_dsn: str, parallel: bool) -> None:
    row = next(plan().batches("customers")).row(0) | {"phone": "190"}
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        sink.write(Batch.from_rows("customers", [row]))
        with pytest.raises(RejectedError, match=r"customers.*customers_phone_format_check"):
            sink.commit()
    assert tables(pg_dsn) == set()


@pytest.mark.parametrize("when", ["write", "commit"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_a_lost_connection_leaves_nothing(
    pg_dsn: str, parallel: bool, when: str, existing: bool
) -> None:
    if existing:
        load(pg_dsn, 20, parallel=parallel)
    before = constraints(pg_dsn)
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        batches = [*plan().batches("customers", 20)]
        sink.write(batches[0])
        [(ended,)] = query(
            pg_dsn,
            "SELECT bool_and(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert ended
        batch = next(plan().batches("properties"))
        go_on = sink.commit if when == "commit" else lambda: sink.write(batch)
        with pytest.raises(UnreachableError, match=r"nothing was loaded|not known") as caught:
            go_on()
        assert caught.value.exit_code == 5
    assert constraints(pg_dsn) == before
    if existing:
        assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]
    load(pg_dsn, 60, start=20, parallel=parallel)


def test_nothing_is_visible_before_the_commit(pg_dsn: str, parallel: bool) -> None:
    with PostgresSink(pg_dsn, parallel=parallel) as sink:
        sink.begin()
        sink.write(next(plan().batches("customers")))
        assert tables(pg_dsn) == set()
        sink.commit()
        assert tables(pg_dsn) == set(TABLES)


def test_ctrl_c_while_waiting_for_another_session(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    with session(pg_dsn) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE customers")
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        try:
            with (
                pytest.raises(KeyboardInterrupt),
                PostgresSink(pg_dsn, truncate=True, parallel=parallel) as sink,
            ):
                sink.begin()
        finally:
            timer.join()
        other.execute("ROLLBACK")
        assert eventually(lambda: sessions(pg_dsn) == 0)
    assert query(pg_dsn, "SELECT count(*) FROM customers") == [(20,)]
    load(pg_dsn, 60, truncate=True, parallel=parallel)


def test_ctrl_c_within_a_copy(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    before = snapshot(pg_dsn)
    batch = next(plan(20_000).batches("customers"))
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))

    def load_for_ever(sink: PostgresSink) -> None:
        sink.begin()
        timer.start()
        while True:
            sink.write(batch)

    with (
        pytest.raises(KeyboardInterrupt),
        PostgresSink(pg_dsn, truncate=True, parallel=parallel) as sink,
    ):
        load_for_ever(sink)
    timer.join()
    assert snapshot(pg_dsn) == before
    assert eventually(lambda: sessions(pg_dsn) == 0)


def test_a_table_that_stays_locked_is_not_waited_for_for_ever(pg_dsn: str, parallel: bool) -> None:
    load(pg_dsn, 20, parallel=parallel)
    with session(pg_dsn) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE loans")
        with (
            PostgresSink(pg_dsn, truncate=True, lock_timeout=0.2, parallel=parallel) as sink,
            pytest.raises(UnreachableError, match=r"lock timeout.*loans is locked by"),
        ):
            sink.begin()


def test_limits_of_a_session_do_not_end_a_load(pg_dsn: str, parallel: bool) -> None:
    limits = ["statement_timeout", "idle_in_transaction_session_timeout"]
    [(version,)] = query(pg_dsn, "SELECT current_setting('server_version_num')::int")
    if version >= 170_000:
        limits.append("transaction_timeout")
    options = quote(" ".join(f"-c {limit}=300" for limit in limits))
    with PostgresSink(f"{pg_dsn}?options={options}", parallel=parallel) as sink:
        sink.begin()
        for batch in plan(20).batches("customers", batch_rows=10):
            sink.write(batch)
            time.sleep(0.5)
        sink.commit()
        assert sink.counts()["customers"] == 20


def test_two_loads_take_turns(
    pg_dsn: str, parallel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with PostgresSink(pg_dsn, truncate=True, parallel=parallel) as first:
        first.begin()
        second = threading.Thread(
            target=load, args=(pg_dsn, 60), kwargs={"truncate": True, "parallel": parallel}
        )
        second.start()
        assert eventually(lambda: "another load" in caplog.text)
        for name in TABLES:
            for batch in plan(20).batches(name):
                first.write(batch)
        first.commit()
        second.join(30)
        assert not second.is_alive()
        assert first.counts()["customers"] == 60


# Connecting


def test_a_role_without_rights(pg_dsn: str, parallel: bool, reader: str) -> None:
    with (
        PostgresSink(reader, parallel=parallel) as sink,
        pytest.raises(ConfigurationError, match="permission denied"),
    ):
        sink.begin()
    load(pg_dsn, 20, parallel=parallel)
    with (
        PostgresSink(reader, parallel=parallel) as sink,
        pytest.raises(ConfigurationError, match="permission denied"),
    ):
        sink.begin()


def test_a_role_that_does_not_own_the_tables(pg_dsn: str, parallel: bool, reader: str) -> None:
    load(pg_dsn, 20, parallel=parallel)
    execute(
        pg_dsn,
        f"GRANT SELECT, INSERT, TRUNCATE ON ALL TABLES IN SCHEMA public TO {READER}",
    )
    before = constraints(pg_dsn)
    load(reader, 60, start=20, parallel=parallel)
    load(reader, 60, truncate=True, parallel=parallel)
    assert constraints(pg_dsn) == before


def test_a_refused_login(pg_dsn: str) -> None:
    place = urlsplit(pg_dsn)
    at = f"{place.hostname}:{place.port}"
    wrong = {
        f"postgresql://postgres:{SECRET}@{at}{place.path}": "postgres",
        f"postgresql://nobody-here:{SECRET}@{at}{place.path}": "nobody-here",
        f"postgresql://postgres@{at}{place.path}": "no password",
        pg_dsn.replace(place.path, "/no_such_database"): "no_such_database",
        pg_dsn + "?sslmode=require": "SSL",
    }
    for url, named in wrong.items():
        with pytest.raises(ConfigurationError, match=named) as caught, PostgresSink(url):
            pass
        assert_quiet(caught.value, SECRET, str(place.password))
        assert at in str(caught.value)


def test_a_full_server_can_be_tried_again(pg_dsn: str, reader: str) -> None:
    execute(pg_dsn, f"ALTER ROLE {READER} CONNECTION LIMIT 0")
    with pytest.raises(UnreachableError, match="too many connections"), PostgresSink(reader):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "/no/such/folder"])
def test_nobody_answers(host: str) -> None:
    url = f"postgresql://user:{SECRET}@:{free_port()}/bank?host={host}"
    with pytest.raises(UnreachableError, match=host) as caught, PostgresSink(url):
        pass
    assert_quiet(caught.value, SECRET)
    assert caught.value.exit_code == 5


@pytest.mark.timing
def test_a_server_that_says_nothing() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://user:{SECRET}@127.0.0.1:{port}/bank?connect_timeout=2"
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="did not answer"), PostgresSink(url):
            pass
        assert time.monotonic() - began < 8


def test_order_of_calls(pg_dsn: str, parallel: bool) -> None:
    sink = PostgresSink(pg_dsn, parallel=parallel)
    with pytest.raises(RuntimeError, match="not connected"):
        sink.begin()
    with sink:
        batch = next(plan().batches("customers"))
        with pytest.raises(RuntimeError, match="begin"):
            sink.write(batch)
        with pytest.raises(RuntimeError, match="begin"):
            sink.commit()
        sink.begin()
        with pytest.raises(RuntimeError, match="already"):
            sink.begin()


# Connection strings


def assert_quiet(error: BaseException, *secrets: str) -> None:
    """Neither the message nor the traceback that would be printed holds a secret."""
    import traceback

    printed = "".join(traceback.format_exception(error))
    for secret in secrets:
        for text in (str(error), repr(error), printed):
            for part in (secret, secret[:6], secret[-6:]):
                assert part not in text


MALFORMED = [
    "postgresql://user:{}@ret@host:5432/bank",
    "postgresql://user:se@{}@host:5432/bank",
    "postgresql://user:sec/{}@host:5432/bank",
    "postgresql://user:{}/ret@host:5432/bank",
    "postgresql://user:{}%zz@host:5432/bank",
    "postgresql://user:%00{}@host:5432/bank",
    "postgresql://user:{}%ff@host:5432/bank",
    "postgresql://user:se {}@host:5432/bank",
    "postgresql://user:{}@[::1/bank",
    "postgresql://user:{}@host:port/bank",
    "postgresql://user:{}@host:99999/bank",
    "postgresql://user:{}@host:0/bank",
    "postgresql://user:{}@host:5432/bank?nothing=1",
    "postgresql://user:{}@host:5432/bank?sslmode",
    "postgresql://user:{}@host:5432/bank?sslmode=maybe",
    "postgresql://user:{}@host:5432/bank?connect_timeout=soon",
    "postgresql://host:{}",
    "postgresql+psycopg://user:{}@host:5432/bank",
    "mysql://user:{}@host/bank",
    "jdbc:postgresql://user:{}@host/bank",
    "user:{}@host/bank",
    "host=db password='{}",
    "host=db password={} bank",
    "host=db passwort={}",
    "host=db password={} port=many",
    "host=user:{}@db",
    "dbname=postgresql://user:{}@host/bank",
    "postgresql://host/password=%20{}",
    "{}",
    "host=db password={} \0",
    "host=db password={}\udc80",
]


@pytest.mark.parametrize("form", MALFORMED)
def test_a_malformed_url_is_not_quoted(form: str) -> None:
    url = form.format(SECRET)
    with pytest.raises(ConfigurationError, match="connection string is not valid") as caught:
        PostgresSink(url)
    assert_quiet(caught.value, SECRET)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://postgres:{}@localhost:5432/datagen", "localhost:5432/datagen"),
        ("postgresql://admin:{}@db.example.com:5432/bank?sslmode=require", "db.example.com"),
        ("postgresql://db/banking?sslpassword={}", "banking"),
        ("host=db port=6432 user=admin password='{} x' dbname=banking", "db:6432/banking"),
        ("postgresql://admin:{}@/banking?host=/run/postgresql&port=5433", "/run/postgresql"),
        ("postgresql://a%40b:{}%40%2F%3A%20@[::1]:5432/bank", "::1"),
        ("postgresql://admin:{}?x@db/bank", "db"),
    ],
)
def test_a_sink_shows_where_it_goes_and_no_password(url: str, shown: str) -> None:
    sink = PostgresSink(url.format(SECRET))
    assert shown in repr(sink)
    assert SECRET not in repr(sink)


@pytest.mark.parametrize("password", ["p@ss/w:rd%?#&= ", "ç~ã😀", "'\\\"", "a b", "%41", "x"])
def test_passwords_with_special_characters(pg_dsn: str, password: str) -> None:
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        literal = psycopg.sql.Literal(password)
        connection.execute(
            psycopg.sql.SQL("CREATE ROLE datagen_odd LOGIN PASSWORD {}").format(literal)
        )
        try:
            place = urlsplit(pg_dsn)
            at = f"{place.hostname}:{place.port}"
            right = place._replace(netloc=f"datagen_odd:{quote(password, safe='')}@{at}").geturl()
            with PostgresSink(right) as sink:
                assert sink.counts()["customers"] == 0
            wrong = place._replace(netloc=f"datagen_odd:{SECRET}{quote(password)}@{at}").geturl()
            with pytest.raises(DatagenError) as caught, PostgresSink(wrong):
                pass
            assert_quiet(caught.value, SECRET)
        finally:
            connection.execute("DROP ROLE datagen_odd")
