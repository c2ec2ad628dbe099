"""The compiled library as its users meet it: readers of Arrow, buffers, rows, refusals, threads."""

from __future__ import annotations

import collections
import copy
import importlib
import io
import itertools
import json
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import datagen
from datagen import Batch, EncodedRows, KeySet, Plan, _core, catalogue
from datagen.errors import OptionError

CATALOGUE = catalogue()
RELATIONS: dict[str, dict[str, Any]] = {
    relation["name"]: relation for relation in CATALOGUE["tables"] + CATALOGUE["streams"]
}
PLAN = Plan(customers=40)

every_relation = pytest.mark.parametrize("name", RELATIONS)


def first(name: str, plan: Plan = PLAN) -> Batch:
    return next(plan.batches(name))


def python_rows(batch: Batch) -> list[dict[str, Any]]:
    return [batch.row(index) for index in range(len(batch))]


def fields_of(name: str, kind: str) -> list[str]:
    return [field["name"] for field in RELATIONS[name]["fields"] if field["type"] == kind]


def some_row(name: str) -> dict[str, Any]:
    return first(name).row(0)


# --- Arrow ---------------------------------------------------------------------------------------


@every_relation
def test_pyarrow_reads_every_value(name: str) -> None:
    batch = first(name)
    record_batch = pa.record_batch(batch)
    record_batch.validate(full=True)
    assert record_batch.to_pylist() == python_rows(batch)
    assert record_batch.schema == pa.schema(batch)
    for field in RELATIONS[name]["fields"]:
        arrow = record_batch.schema.field(field["name"])
        assert arrow.nullable == field["nullable"]
        match field["type"]:
            case "uuid":
                assert arrow.type == pa.uuid()
            case "decimal":
                assert arrow.type == pa.decimal128(field["precision"], field["scale"])
            case "instant":
                assert arrow.type == pa.timestamp("ms", "UTC")
            case "date":
                assert arrow.type == pa.date32()
            case "enum":
                assert arrow.type == pa.dictionary(pa.int8(), pa.string())
                symbols = record_batch.column(field["name"]).dictionary.to_pylist()
                assert symbols == field["symbols"]


@every_relation
def test_polars_reads_every_value(name: str) -> None:
    batch = first(name)
    expected = python_rows(batch)
    for row, field in itertools.product(expected, fields_of(name, "uuid")):
        row[field] = row[field] and row[field].bytes
    assert pl.DataFrame(batch).rows(named=True) == expected


@every_relation
def test_pandas_reads_every_relation(name: str) -> None:
    batch = first(name)
    frame = pd.DataFrame.from_arrow(batch)  # type: ignore[attr-defined]
    assert list(frame.columns) == batch.column_names
    assert len(frame) == len(batch)
    for field in RELATIONS[name]["fields"]:
        column = frame[field["name"]]
        assert column.isna().sum() == 0 or field["nullable"]
        if field["type"] == "enum":
            assert list(column.cat.categories) == field["symbols"]
            assert [None if pd.isna(v) else v for v in column] == [
                row[field["name"]] for row in python_rows(batch)
            ]


@every_relation
def test_a_stream_has_all_rows_in_order(name: str) -> None:
    parts = [pa.record_batch(batch) for batch in PLAN.batches(name, batch_rows=100)]
    whole = pa.table(PLAN.batches(name, batch_rows=100))
    assert whole == pa.Table.from_batches(parts, schema=pa.schema(PLAN.batches(name)))
    assert whole.num_rows == PLAN.rows(name)
    assert pl.DataFrame(PLAN.batches(name)).height == PLAN.rows(name)


def test_a_stream_takes_what_iteration_left() -> None:
    batches = PLAN.batches("banking.transactions", batch_rows=100)
    taken = len(next(batches))
    assert pa.table(batches).num_rows == PLAN.rows("banking.transactions") - taken
    assert list(batches) == []
    assert pa.table(batches).num_rows == 0


def test_arrow_shares_the_memory_of_the_batch() -> None:
    batch = first("banking.transactions")
    arrow = pa.record_batch(batch)
    for name in ("occurred_at", "channel"):
        array = arrow.column(name)
        values = array.indices if name == "channel" else array
        view = np.asarray(batch.column(name))
        assert values.buffers()[1].address == view.__array_interface__["data"][0]
    first_row = batch.row(0)
    del batch
    assert arrow.slice(0, 1).to_pylist() == [first_row]


def test_no_rows() -> None:
    batch = Batch.from_rows("customers", [])
    assert pa.record_batch(batch).num_rows == 0
    assert np.asarray(batch.column("monthly_income")).shape == (0,)
    encoded = batch.encode("json")
    assert (len(encoded), bytes(encoded), list(encoded)) == (0, b"", [])
    assert np.asarray(encoded.offsets).tolist() == [0]


# --- Buffers -------------------------------------------------------------------------------------

DTYPES = {
    "decimal": np.dtype("int64"),
    "instant": np.dtype("int64"),
    "date": np.dtype("int32"),
    "int": np.dtype("int32"),
    "smallint": np.dtype("int16"),
    "enum": np.dtype("uint8"),
    "bool": np.dtype("bool"),
}


@every_relation
def test_numeric_columns_are_views(name: str) -> None:
    batch = first(name)
    for field in RELATIONS[name]["fields"]:
        if field["type"] not in DTYPES:
            continue
        column = batch.column(field["name"])
        array = np.asarray(column)
        assert array.dtype == DTYPES[field["type"]]
        assert array.shape == (len(batch),) == (len(column),)
        assert not array.flags.writeable
        assert np.shares_memory(array, np.asarray(batch.column(field["name"])))
        if field["type"] in {"int", "smallint", "bool"}:
            expected = [row[field["name"]] or 0 for row in python_rows(batch)]
            assert array.tolist() == expected


def test_units_of_columns() -> None:
    batch = first("banking.installments")
    row = batch.row(0)
    column = {name: np.asarray(batch.column(name))[0] for name in ("amount_paid", "due_date")}
    assert Decimal(int(column["amount_paid"])).scaleb(-2) == row["amount_paid"]
    assert date(1970, 1, 1) + timedelta(days=int(column["due_date"])) == row["due_date"]
    millis = int(np.asarray(batch.column("occurred_at"))[0])
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(milliseconds=millis) == row["occurred_at"]


def test_a_view_outlives_its_batch() -> None:
    batch = first("accounts")
    view = memoryview(batch.column("balance"))
    expected = np.asarray(batch.column("balance")).tolist()
    del batch
    assert (view.format, view.ndim, view.readonly, view.strides) == ("q", 1, True, (8,))
    assert view.tolist() == expected
    with pytest.raises(TypeError):
        view[0] = 0


def test_a_writable_view_is_refused() -> None:
    batch = first("stocks")
    for source in (batch.encode("json"), batch.column("lot_size")):
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            np.asarray(source).setflags(write=True)
        with pytest.raises(TypeError, match="read-write bytes-like object"):
            io.BytesIO(b"x").readinto(source)


@pytest.mark.parametrize("encoding", ["avro", "json", "pgcopy"])
@every_relation
def test_encoded_rows_are_a_sequence_of_bytes(name: str, encoding: Any) -> None:
    batch = first(name)
    encoded = batch.encode(encoding)
    rows = list(encoded)
    assert len(rows) == len(encoded) == len(batch)
    assert b"".join(rows) == bytes(encoded) == bytes(memoryview(encoded))
    assert encoded.nbytes == len(bytes(encoded)) == memoryview(encoded).nbytes
    offsets = np.asarray(encoded.offsets)
    assert offsets.dtype == np.int64
    assert np.diff(offsets).tolist() == [len(row) for row in rows]
    assert [encoded[0], encoded[-1], encoded[np.int64(1)]] == [rows[0], rows[-1], rows[1]]
    for index in (len(rows), -len(rows) - 1):
        with pytest.raises(IndexError):
            encoded[index]


def test_schema_id_is_confluents_frame() -> None:
    batch = first("banking.trades")
    plain = list(batch.encode("avro"))
    framed = list(batch.encode("avro", schema_id=2**32 - 1))
    assert framed == [b"\x00\xff\xff\xff\xff" + row for row in plain]


@every_relation
def test_text(name: str) -> None:
    batch = first(name)
    for kind in ("uuid", "text", "char", "enum", "instant"):
        for field in fields_of(name, kind):
            texts = [text.decode() for text in batch.text(field)]
            values = [row[field] for row in python_rows(batch)]
            if kind == "instant":
                read = [datetime.fromisoformat(text) if text else None for text in texts]
                assert read == values
            else:
                assert texts == ["" if value is None else str(value) for value in values]


# --- Rows ----------------------------------------------------------------------------------------


@every_relation
def test_from_rows_is_the_inverse_of_row(name: str) -> None:
    batch = first(name)
    again = Batch.from_rows(name, iter(python_rows(batch)))
    assert pa.record_batch(again) == pa.record_batch(batch)
    assert bytes(again.encode("avro")) == bytes(batch.encode("avro"))
    assert bytes(again.encode("json")) == bytes(batch.encode("json"))
    assert bytes(again.encode("pgcopy")) == bytes(batch.encode("pgcopy"))
    single = Batch.from_rows(name, [batch.row(-1)])
    assert single.encode("pgcopy")[0] == batch.encode("pgcopy")[-1]


def as_text(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(timezone(timedelta(hours=-3))).isoformat()
        case date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value).upper()
        case _:
            return value


@every_relation
def test_from_rows_reads_text(name: str) -> None:
    rows = python_rows(first(name))
    texts = [{key: as_text(value) for key, value in row.items()} for row in rows]
    proxies = [collections.ChainMap(row) for row in texts]
    assert python_rows(Batch.from_rows(name, proxies)) == rows


def test_from_rows_reads_bytes_and_whole_numbers() -> None:
    row = some_row("stocks")
    given_row = row | {"stock_id": row["stock_id"].bytes, "reference_price": 7}
    expected = row | {"reference_price": Decimal("7.00")}
    assert Batch.from_rows("stocks", [given_row]).row(0) == expected


def is_one_instant(local: datetime) -> bool:
    """Not so where clocks were turned: Python calls such times unequal to any in another zone."""
    return local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset()


@given(
    st.decimals(
        min_value=Decimal("-9999999999999.99"), max_value=Decimal("9999999999999.99"), places=2
    ),
    st.datetimes(timezones=st.timezones())
    .filter(is_one_instant)
    .map(lambda t: t.replace(microsecond=417_000)),
    st.text().filter(lambda text: "\0" not in text),
)
def test_any_value_that_fits_comes_back(amount: Decimal, when: datetime, text: str) -> None:
    row = some_row("banking.transactions")
    row |= {"amount": amount, "occurred_at": when, "description": text}
    try:
        when.astimezone(UTC)
    except OverflowError:  # year 0 or 10000 there
        with pytest.raises(OptionError):
            Batch.from_rows("banking.transactions", [row])
    else:
        assert Batch.from_rows("banking.transactions", [row]).row(0) == row


BAD_VALUES = [
    ("customers", "customer_id", "0", "a UUID, its text or 16 bytes"),
    ("customers", "customer_id", "{" + "0" * 36 + "}", "a UUID, its text or 16 bytes"),
    ("customers", "customer_id", b"short", "a UUID, its text or 16 bytes"),
    ("customers", "customer_id", 7, "a UUID, its text or 16 bytes"),
    ("customers", "customer_id", None, "a UUID, its text or 16 bytes"),
    ("customers", "name", 7, "text without NUL"),
    ("customers", "name", "a\0b", "text without NUL"),
    ("customers", "name", "\ud800", "text without NUL"),
    ("customers", "complement", 7, "text without NUL, or None"),
    ("customers", "cpf", "1234567890", "text of 11 printable ASCII characters"),
    ("customers", "cpf", "1234567890é", "text of 11 printable ASCII characters"),
    ("customers", "birth_date", datetime(2000, 1, 1, tzinfo=UTC), "a date or its ISO-8601 text"),
    ("customers", "birth_date", "2000-02-30", "a date or its ISO-8601 text"),
    ("customers", "birth_date", 7, "a date or its ISO-8601 text"),
    ("customers", "credit_score", 2**15, "an int from -32768 to 32767"),
    ("customers", "credit_score", 2**70, "an int from -32768 to 32767"),
    ("customers", "credit_score", True, "an int from -32768 to 32767"),
    ("customers", "credit_score", 1.0, "an int from -32768 to 32767"),
    ("stocks", "lot_size", 2**31, "an int from -2147483648 to 2147483647"),
    ("customers", "segment", "varejo", "VAREJO, EXCLUSIVO or PRIVATE"),
    ("customers", "segment", 0, "VAREJO, EXCLUSIVO or PRIVATE"),
    ("customers", "pep", 1, "True or False"),
    *(
        (
            "customers",
            "monthly_income",
            value,
            "a Decimal, int or text with at most 13 digits before the point and 2 after",
        )
        for value in (
            Decimal("0.001"),
            Decimal("1e13"),
            Decimal("1e999999"),
            Decimal("-1e-999999"),
            Decimal("NaN"),
            Decimal("-Infinity"),
            "0.001",
            "10000000000000",
            "1e3",
            "",
            "-",
            ".5",
            "1.",
            "1_0",
            "1" * 40,
            "\u0661",
            10**13,
            -(2**80),
            1.5,
            True,
            None,
        )
    ),
    *(
        (
            "customers",
            "created_at",
            value,
            "an aware datetime or ISO-8601 text with an offset, in whole milliseconds",
        )
        for value in (
            datetime(2026, 1, 1),  # noqa: DTZ001
            datetime(2026, 1, 1, microsecond=1, tzinfo=UTC),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
            datetime.max.replace(microsecond=0, tzinfo=timezone(timedelta(hours=-1))),
            "2026-01-01",
            "2026-01-01T00:00:00",
            "yesterday",
            date(2026, 1, 1),
            0,
        )
    ),
]


@pytest.mark.parametrize(("name", "field", "value", "allowed"), BAD_VALUES)
def test_from_rows_refuses(name: str, field: str, value: object, allowed: str) -> None:
    row = some_row(name)
    with pytest.raises(OptionError) as refusal:
        Batch.from_rows(name, [row, row | {field: value}])
    assert refusal.value.option == f"{name}.{field} row 1"
    assert refusal.value.value is value
    assert refusal.value.allowed == allowed


def test_from_rows_names_missing_and_unknown_fields() -> None:
    row = some_row("stocks")
    with pytest.raises(OptionError, match=r"^stocks row 0: .*use a row that has isin$"):
        Batch.from_rows("stocks", [{k: v for k, v in row.items() if k != "isin"}])
    with pytest.raises(OptionError, match=r"^stocks row 1: 'colour' .*use stock_id, ticker.* or "):
        Batch.from_rows("stocks", [row, row | {"colour": "blue"}])
    with pytest.raises(OptionError, match=r"^stocks row 0: 7 is not allowed"):
        Batch.from_rows("stocks", [row | {7: 7}])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="stocks row 0: not a mapping"):
        Batch.from_rows("stocks", [7])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not iterable"):
        Batch.from_rows("stocks", 7)  # type: ignore[arg-type]


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
        ("days", 0, "1 to 3660"),
        ("days", -1, "1 to 3660"),
        ("days", 3661, "1 to 3660"),
        ("days", 2**32 + 1, "1 to 3660"),
        ("as_of", datetime(2026, 7, 1), AS_OF),  # noqa: DTZ001
        ("as_of", "2026-07-01", AS_OF),
        ("as_of", "soon", AS_OF),
        ("as_of", "2026-07-01T00:00:00.0001Z", AS_OF),
        ("as_of", "1999-12-31T23:59:59Z", "an instant of the years 2000 to 2099"),
        ("as_of", datetime(2100, 1, 2, tzinfo=UTC), "an instant of the years 2000 to 2099"),
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
    with pytest.raises(OptionError, match=r"^format: 'xml' .*use avro, json or pgcopy$"):
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
    with pytest.raises(OptionError, match=r"^only: 'balance' .*use account_type, status or "):
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


def test_the_catalogue_is_plain_data() -> None:
    assert CATALOGUE["version"] >= 1
    assert len(CATALOGUE["tables"]) == 6
    assert len(CATALOGUE["streams"]) == 4
    for relation in RELATIONS.values():
        names = [field["name"] for field in relation["fields"]]
        assert first(relation["name"]).column_names == names
        for key in relation["foreign_keys"]:
            assert key["field"] in names
            assert key["table"] in RELATIONS
    trades = RELATIONS["banking.trades"]
    assert trades["foreign_keys"][0] == {
        "field": "account_id",
        "table": "accounts",
        "only": ("account_type", "INVESTIMENTOS"),
    }


@every_relation
def test_the_schema_reads_the_rows_in_avro(name: str) -> None:
    batch = first(name)
    schema = fastavro.parse_schema(json.loads(RELATIONS[name]["avro_schema"]))
    rows = [fastavro.schemaless_reader(io.BytesIO(row), schema) for row in batch.encode("avro")]
    assert rows == python_rows(batch)


def test_a_debug_build_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "is_debug_build", lambda: True)
    with pytest.warns(RuntimeWarning, match="without optimisation"):
        importlib.reload(datagen)
