"""The compiled library as its users meet it: plans, key sets, threads, the catalogue."""

from __future__ import annotations

import collections
import copy
import importlib
import importlib.metadata
import io
import itertools
import json
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import numpy as np
import pyarrow as pa
import pytest

import datagen
import datagen.types
from datagen import Batch, EncodedRows, KeySet, Plan, _core
from datagen.errors import (
    ConfigurationError,
    DatagenError,
    OptionError,
    ReferentialIntegrityError,
    UnknownIdError,
)
from datagen.sinks.kafka.delivery import DeliveryReport
from datagen.sinks.kafka.engine import UnsupportedError
from relations import CATALOGUE, PLAN, RELATIONS, every_relation, first, python_rows

# --- Plans ---------------------------------------------------------------------------------------

U64 = "0 to 18446744073709551615"
CUSTOMERS = "1 to 99999990"
AS_OF = "an aware datetime or ISO-8601 text with an offset, in whole milliseconds"


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("seed", -1, U64),
        ("seed", 2**64, U64),
        ("seed", -(2**200), U64),
        ("customers", 0, CUSTOMERS),
        ("customers", -1, CUSTOMERS),
        ("customers", 99_999_991, CUSTOMERS),
        ("customers", 2**64, CUSTOMERS),
        ("customers", 2**200, CUSTOMERS),
        ("days", 0, "1 to 2007"),
        ("days", -1, "1 to 2007"),
        ("days", 3661, "1 to 2007"),
        ("days", 2**32 + 1, "1 to 2007"),
        ("as_of", datetime(2026, 7, 1), AS_OF),  # noqa: DTZ001
        ("as_of", "2026-07-01", AS_OF),
        ("as_of", "soon", AS_OF),
        ("as_of", "2026-07-01T00:00:00.0001Z", AS_OF),
        (
            "as_of",
            "2020-12-31T23:59:59Z",
            "2021-04-01 to 2099-12-31, with 90 days of history from 2021 on",
        ),
        (
            "as_of",
            datetime(2100, 1, 2, tzinfo=UTC),
            "2021-04-01 to 2099-12-31, with 90 days of history from 2021 on",
        ),
    ],
)
def test_a_plan_refuses_by_name_value_and_range(option: str, value: Any, allowed: str) -> None:
    with pytest.raises(OptionError) as refusal:
        Plan(**{option: value})
    assert (refusal.value.option, refusal.value.value) == (option, value)
    assert refusal.value.allowed == allowed
    assert str(refusal.value) == f"{option}: {value!r} is not allowed; use {allowed}"


@pytest.mark.parametrize("option", ["seed", "customers", "days", "as_of"])
@pytest.mark.parametrize("value", [1.5, None, [], "x"])
def test_a_plan_names_an_argument_of_a_wrong_type(option: str, value: Any) -> None:
    error = OptionError if (option, value) == ("as_of", "x") else TypeError
    with pytest.raises(error, match=option):
        Plan(**{option: value})


def test_a_plan_tells_what_it_is() -> None:
    brasilia = timezone(timedelta(hours=-3))
    plan = Plan(2**64 - 1, 7, as_of=datetime(2025, 1, 31, 21, 0, 0, 250_000, brasilia), days=3)
    assert (plan.seed, plan.customers, plan.days) == (2**64 - 1, 7, 3)
    assert plan.as_of == datetime(2025, 2, 1, 0, 0, 0, 250_000, UTC)
    assert plan.as_of.tzinfo is UTC
    assert eval(repr(plan)) == plan  # noqa: S307
    assert repr(Plan()) == "Plan(seed=42, customers=100, as_of='2026-07-01T00:00:00Z', days=90)"


def test_a_plan_names_its_tables_and_streams() -> None:
    assert Plan().names == tuple(RELATIONS)


def test_the_version_is_that_of_the_package() -> None:
    assert datagen.__version__ == _core.__version__ == importlib.metadata.version("datagen")


PLANS_EVENTS: dict[str, Callable[[], Iterator[Batch]]] = {
    "window": PLAN.window,
    "window, entity": lambda: PLAN.window(order="entity"),
    "until": lambda: PLAN.window().until(PLAN.as_of),
    "changes": lambda: PLAN.changes(since="2026-06-01T00:00:00Z").until(PLAN.as_of),
    "order of time": lambda: _core.TimeOrder(PLAN.batches("banking.trades"), batch_rows=9),
}


@pytest.mark.parametrize("kind", PLANS_EVENTS)
def test_what_comes_once_is_not_iterated_twice_in_silence(kind: str) -> None:
    batches = PLANS_EVENTS[kind]()
    head = next(batches)
    rest = [*batches]  # goes on
    assert len(head) > 0
    assert len(rest) > 0
    assert next(batches, None) is None
    with pytest.raises(RuntimeError, match="was iterated before, and its batches come once"):
        iter(batches)


@pytest.mark.parametrize(
    "error",
    [
        OptionError("customers", 0, "1 to 9"),
        UnknownIdError("no id of this plan", 7),
        ConfigurationError("no such role"),
        ReferentialIntegrityError("loans", "customer_id", UUID(int=1), 3, "customer"),
        UnsupportedError("native has no such option"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_handed_over_between_processes(error: DatagenError) -> None:
    error.delivery = DeliveryReport({})
    error.add_note("while a pool was at work")
    for same in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):  # noqa: S301
        assert type(same) is type(error)
        assert (str(same), same.args) == (str(error), error.args)
        assert vars(same) == vars(error)


def test_every_error_can_be_read_by_another_process() -> None:
    kinds = [DatagenError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        one = kind.__new__(kind)
        one.args = ("what went wrong",)
        assert str(pickle.loads(pickle.dumps(one))) == "what went wrong"  # noqa: S301
    assert len(kinds) > 8


def test_plans_are_values() -> None:
    plan = Plan(1, 40, days=30)
    same = Plan(seed=1, customers=40, as_of="2026-07-01T02:00:00+02:00", days=30)
    assert plan == same
    assert hash(plan) == hash(same)
    others = {
        Plan(2, 40, days=30),
        Plan(1, 41, days=30),
        Plan(1, 40, days=31),
        Plan(1, 40, as_of="2026-07-01T00:00:00.001Z", days=30),
    }
    assert len(others) == 4
    assert plan not in others
    assert plan != 7
    for twin in (pickle.loads(pickle.dumps(plan)), copy.copy(plan), copy.deepcopy(plan)):  # noqa: S301
        assert twin == plan
        assert bytes(first("loans", twin).encode("json")) == bytes(
            first("loans", plan).encode("json")
        )


@every_relation
def test_rows_counts_what_batches_give(name: str) -> None:
    for start, stop in ((0, None), (7, None), (3, 29), (5, 5), (40, 40)):
        given_rows = sum(len(b) for b in PLAN.batches(name, start, stop, batch_rows=64))
        assert PLAN.rows(name, start, stop) == given_rows


@pytest.mark.parametrize(
    ("arguments", "option", "allowed"),
    [
        ({"start": -1}, "start", "0 to 40"),
        ({"start": 41}, "start", "0 to 40"),
        ({"start": 2**64}, "start", "0 to 40"),
        ({"stop": 41}, "stop", "0 to 40"),
        ({"start": 9, "stop": 8}, "stop", "9 to 40"),
        ({"batch_rows": 0}, "batch_rows", "1 to 1048576"),
        ({"batch_rows": 2**20 + 1}, "batch_rows", "1 to 1048576"),
        ({"batch_rows": -(2**64)}, "batch_rows", "1 to 1048576"),
        ({"name": "clients"}, "name", ", ".join(list(RELATIONS)[:-1])),
    ],
)
def test_batches_refuses(arguments: dict[str, Any], option: str, allowed: str) -> None:
    with pytest.raises(OptionError) as refusal:
        PLAN.batches(**{"name": "loans", **arguments})
    assert refusal.value.option == option
    assert refusal.value.value == arguments[option]
    assert refusal.value.allowed.startswith(allowed)
    if "batch_rows" not in arguments:
        with pytest.raises(OptionError):
            PLAN.rows(**{"name": "loans", **arguments})


def test_a_batch_refuses() -> None:
    batch = first("accounts")
    with pytest.raises(OptionError, match=r"^name: 'branch' .*use account_type, status, "):
        batch.column("branch")
    with pytest.raises(OptionError, match=r"^name: 'color' is not allowed; use account_type"):
        batch.column("color")
    with pytest.raises(OptionError, match=r"^name: 'balance' .*use account_id, customer_id, "):
        batch.text("balance")
    with pytest.raises(OptionError, match=r"^format: 'xml' .*use avro, json, jsonl or pgcopy$"):
        batch.encode("xml")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"^schema_id: -1 .*use 0 to 4294967295$"):
        batch.encode("avro", schema_id=-1)
    with pytest.raises(OptionError, match=r"^schema_id: 7 .*use None where the format is json$"):
        batch.encode("json", schema_id=7)
    with pytest.raises(IndexError):
        batch.row(len(batch))
    assert batch.row(-1) == batch.row(len(batch) - 1)


# --- Key sets ------------------------------------------------------------------------------------


def test_key_sets() -> None:
    accounts = first("accounts")
    keys = KeySet()
    assert keys.add_batch(accounts, "account_id") is None
    assert len(keys) == len(accounts)
    assert keys.add_batch(accounts, "account_id") == 0
    key = accounts.row(0)["account_id"]
    assert key in keys
    assert str(key) in keys
    assert key.bytes in keys
    assert UUID(int=0) not in keys
    assert "nonsense" not in keys
    assert 7 not in keys
    assert not keys.add(str(key))
    assert keys.add(UUID(int=0))
    assert keys.first_missing(first("banking.transactions"), "account_id") is None
    assert KeySet().first_missing(accounts, "customer_id") == 0


def test_a_key_set_of_some_rows() -> None:
    accounts = first("accounts")
    investing = [r for r in python_rows(accounts) if r["account_type"] == "INVESTIMENTOS"]
    keys = KeySet()
    assert keys.add_batch(accounts, "account_id", only=("account_type", "INVESTIMENTOS")) is None
    assert len(keys) == len(investing)
    assert all(row["account_id"] in keys for row in investing)


def test_a_key_set_refuses() -> None:
    accounts = first("accounts")
    keys = KeySet()
    for key in ("nonsense", b"", 7, None):
        with pytest.raises(OptionError, match=r"^key: .*use a UUID, its text or 16 bytes$"):
            keys.add(key)
    with pytest.raises(OptionError, match=r"^field: 'balance' .*use account_id or customer_id$"):
        keys.add_batch(accounts, "balance")
    with pytest.raises(OptionError, match=r"^only: 'balance' .*use account_type, status, "):
        keys.add_batch(accounts, "account_id", only=("balance", "X"))
    with pytest.raises(OptionError, match=r"^only: 'X' .*use CORRENTE, POUPANCA or INVESTIMENTOS"):
        keys.add_batch(accounts, "account_id", only=("account_type", "X"))
    assert len(keys) == 0


# --- Threads, signals, memory --------------------------------------------------------------------

LARGE = Plan(customers=200_000)


def test_other_threads_run_while_a_batch_is_made() -> None:
    batches = LARGE.batches("banking.transactions", batch_rows=2**19)
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.0005):
            ticks += 1

    thread = threading.Thread(target=tick)
    interval = sys.getswitchinterval()
    # The other thread gets a turn only where this one lets go of the GIL of its own accord.
    sys.setswitchinterval(10)
    try:
        thread.start()
        before = ticks
        next(batches)
        after = ticks
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
    assert after - before >= 3


def test_threads_share_batches() -> None:
    name = "banking.transactions"
    plan = Plan(customers=2_000)
    batches = plan.batches(name, batch_rows=1_000)
    keys = KeySet()
    taken: list[list[int]] = [[], [], []]
    encoded: list[EncodedRows] = []

    def take(counts: list[int]) -> None:
        for batch in batches:
            keys.add_batch(batch, "transaction_id")
            encoded.append(batch.encode("avro"))
            counts.append(pa.record_batch(batch).num_rows)

    threads = [threading.Thread(target=take, args=(counts,)) for counts in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = plan.rows(name)
    assert sum(map(sum, taken)) == expected
    assert sum(map(len, encoded)) == expected
    assert len(keys) == expected


@pytest.mark.timing
@pytest.mark.parametrize("work", ["batches", "rows"])
def test_signals_are_heard(work: str) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    # No line of Python runs within either, and each would take minutes.
    plan = Plan(customers=90_000_000)
    endless: dict[str, Callable[[], object]] = {
        "batches": lambda: collections.deque(plan.batches("customers"), maxlen=0),
        "rows": lambda: plan.rows("banking.transactions"),
    }
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    started = time.monotonic()
    try:
        with pytest.raises(Stop):
            endless[work]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_memory_is_given_back() -> None:
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096

    def use(batch: Batch) -> None:
        table = pa.record_batch(batch)
        view = np.asarray(batch.column("amount"))
        encoded = batch.encode("avro", schema_id=1)
        rows = [encoded[0], *itertools.islice(encoded, 100)]
        assert len(rows) <= table.num_rows + 1 == len(view) + 1
        batch.text("account_id")
        Batch.from_rows(batch.name, [batch.row(0)])
        pa.table(LARGE.batches("stocks"))

    batches = LARGE.batches("banking.transactions", batch_rows=10_000)
    for batch in itertools.islice(batches, 40):
        use(batch)
    before = resident()
    count = 0
    for batch in itertools.islice(batches, 200):
        use(batch)
        count += 1
    assert count == 200
    assert resident() - before < 24 * 2**20


# --- Catalogue -----------------------------------------------------------------------------------


def test_the_catalogue_says_what_there_is() -> None:
    assert CATALOGUE is datagen.types.catalogue()
    assert CATALOGUE.version >= 1
    assert len(CATALOGUE.tables) == 6
    assert len(CATALOGUE.streams) == 4
    assert (*CATALOGUE,) == CATALOGUE.tables + CATALOGUE.streams
    for relation in CATALOGUE:
        assert CATALOGUE[relation.name] is relation
        names = [field.name for field in relation.fields]
        assert first(relation.name).column_names == names
        assert relation.primary_key == names[0]
        assert relation.is_stream == (relation in CATALOGUE.streams)
        for key in relation.foreign_keys:
            assert key.field in names
            assert key.table in RELATIONS
    trades = RELATIONS["banking.trades"]
    key = trades.foreign_keys[0]
    assert (key.field, key.table) == ("account_id", "accounts")
    assert key.only == ("account_type", "INVESTIMENTOS")
    assert (trades.key, trades.time, trades.unique) == ("account_id", "executed_at", ())
    assert [table.name for table in CATALOGUE.tables if table.is_reference] == ["stocks"]
    assert sorted(table.validation_rank for table in CATALOGUE.tables) == [1, 2, 3, 4, 5, 6]


def test_the_fields_of_the_catalogue_say_their_types() -> None:
    customers, loans = RELATIONS["customers"], RELATIONS["loans"]
    rate, cpf, kind = loans.field("monthly_rate"), customers.field("cpf"), loans.field("loan_type")
    assert (rate.type, rate.precision, rate.scale) == ("decimal", 7, 6)
    assert (cpf.type, cpf.length, cpf.precision) == ("char", 11, None)
    assert (kind.type, kind.symbols[0], kind.nullable) == ("enum", "HOUSING", False)
    assert loans.field("property_id").nullable
    assert loans.foreign_key("property_id").table == "properties"
    with pytest.raises(AttributeError):
        rate.scale = 2  # type: ignore[misc]


LOANS = RELATIONS["loans"]
EVERY = f"one of {', '.join(RELATIONS)}"
PARENTS = "one of customer_id, property_id"
FIELDS = f"one of {', '.join(field.name for field in LOANS.fields)}"


@pytest.mark.parametrize(
    ("ask", "option", "value", "allowed"),
    [
        (lambda: CATALOGUE["clients"], "relation", "clients", EVERY),
        (lambda: CATALOGUE[7], "relation", 7, EVERY),  # type: ignore[index]
        (lambda: LOANS.foreign_key("term_months"), "field", "term_months", PARENTS),
        (lambda: LOANS.field("colour"), "field", "colour", FIELDS),
    ],
)
def test_the_catalogue_refuses_a_strange_name(
    ask: Callable[[], object], option: str, value: object, allowed: str
) -> None:
    with pytest.raises(OptionError) as refusal:
        ask()
    assert (refusal.value.option, refusal.value.value) == (option, value)
    assert refusal.value.allowed == allowed


def test_what_the_catalogue_has_is_there_once() -> None:
    for thing in (CATALOGUE, LOANS, LOANS.fields[3], LOANS.foreign_keys[1]):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(thing, protocol)) is thing  # noqa: S301
        assert copy.copy(thing) is copy.deepcopy(thing) is thing


@every_relation
def test_the_schema_reads_the_rows_in_avro(name: str) -> None:
    batch = first(name)
    schema = fastavro.parse_schema(json.loads(RELATIONS[name].avro_schema))
    rows = [fastavro.schemaless_reader(io.BytesIO(row), schema) for row in batch.encode("avro")]
    assert rows == python_rows(batch)


def test_a_debug_build_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "is_debug_build", lambda: True)
    with pytest.warns(RuntimeWarning, match="without optimisation"):
        importlib.reload(datagen)
