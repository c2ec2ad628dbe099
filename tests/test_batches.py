"""Batches as their users read and make them: Arrow, buffers, rows."""

from __future__ import annotations

import collections
import dataclasses
import io
import itertools
import types
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import Batch, Batches, Plan
from datagen.errors import OptionError
from datagen.types import catalogue
from relations import PLAN, RELATIONS, every_relation, fields_of, first, python_rows, some_row

if TYPE_CHECKING:
    from collections.abc import Callable

# --- Arrow ---------------------------------------------------------------------------------------


@every_relation
def test_pyarrow_reads_every_value(name: str) -> None:
    batch = first(name)
    record_batch = pa.record_batch(batch)
    record_batch.validate(full=True)
    assert record_batch.to_pylist() == python_rows(batch)
    assert record_batch.schema == pa.schema(batch)
    for field in RELATIONS[name].fields:
        arrow = record_batch.schema.field(field.name)
        assert arrow.nullable == field.nullable
        match field.type:
            case "uuid":
                assert arrow.type == pa.uuid()
            case "decimal":
                assert arrow.type == pa.decimal128(field.precision, field.scale)
            case "instant":
                assert arrow.type == pa.timestamp("ms", "UTC")
            case "date":
                assert arrow.type == pa.date32()
            case "enum":
                assert arrow.type == pa.dictionary(pa.int8(), pa.string())
                symbols = record_batch.column(field.name).dictionary.to_pylist()
                assert symbols == list(field.symbols)


@every_relation
@pytest.mark.parametrize("order", ["entity", "time"])
def test_uuids_and_enumerations_as_text(name: str, order: Any) -> None:
    if not RELATIONS[name].is_stream:
        order = "entity"
    expected = pa.table(PLAN.batches(name, order=order))
    table = pa.table(PLAN.batches(name, order=order, uuids="text", enums="text"))
    table.validate(full=True)
    assert table.schema == pa.schema(PLAN.batches(name, uuids="text", enums="text"))
    for field in RELATIONS[name].fields:
        found, original = table.column(field.name), expected.column(field.name)
        if field.type in {"uuid", "enum"}:
            assert found.type == pa.string()
            assert found.to_pylist() == [v if v is None else str(v) for v in original.to_pylist()]
        else:
            assert found.equals(original)
    one = next(PLAN.batches(name, order=order, uuids="text"))
    assert pa.record_batch(one).schema == pa.schema(PLAN.batches(name, uuids="text"))


def test_windows_have_texts_too() -> None:
    window = PLAN.window(uuids="text", enums="text")
    until = window.until(PLAN.as_of - timedelta(days=30))
    for batch in (next(iter(until)), next(iter(window))):
        types = {*pa.record_batch(batch).schema.types}
        assert pa.uuid() not in types
        assert not any(map(pa.types.is_dictionary, types))


@pytest.mark.parametrize("argument", ["uuids", "enums"])
def test_another_layout_is_refused(argument: str) -> None:
    with pytest.raises(OptionError, match=f"{argument}: 'string' is not allowed; use .* or text"):
        PLAN.batches("customers", **{argument: "string"})  # type: ignore[arg-type]


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
    for field in RELATIONS[name].fields:
        column = frame[field.name]
        assert column.isna().sum() == 0 or field.nullable
        if field.type == "enum":
            assert list(column.cat.categories) == list(field.symbols)
            assert [None if pd.isna(v) else v for v in column] == [
                row[field.name] for row in python_rows(batch)
            ]


@every_relation
def test_a_stream_has_all_rows_in_order(name: str) -> None:
    parts = [pa.record_batch(batch) for batch in PLAN.batches(name, batch_rows=100)]
    whole = pa.table(PLAN.batches(name, batch_rows=100))
    assert whole == pa.Table.from_batches(parts, schema=pa.schema(PLAN.batches(name)))
    assert whole.num_rows == PLAN.rows(name)
    assert pl.DataFrame(PLAN.batches(name)).height == PLAN.rows(name)


def rows_of(batches: Batches) -> int:
    return sum(map(len, batches))


def first_of(batches: Batches) -> int:
    return len(next(batches))


def arrow_rows(batches: Batches) -> int:
    return int(pa.table(batches).num_rows)


def polars_rows(batches: Batches) -> int:
    return pl.DataFrame(batches).height


def unread(batches: Batches) -> object:
    return batches.__arrow_c_stream__()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rows_of, rows_of),
        (rows_of, arrow_rows),
        (first_of, arrow_rows),
        (arrow_rows, arrow_rows),
        (arrow_rows, polars_rows),
        (arrow_rows, rows_of),
        (arrow_rows, first_of),
        (polars_rows, unread),
        (unread, unread),
        (unread, rows_of),
        (unread, first_of),
    ],
)
def test_batches_are_used_once(
    before: Callable[[Batches], object], after: Callable[[Batches], object]
) -> None:
    """A second use would have no rows, or what the first one left, without a word."""
    batches = PLAN.batches("customers", batch_rows=10)
    before(batches)
    for _ in range(2):
        how = "iterated" if before in {rows_of, first_of} else "streamed"
        with pytest.raises(RuntimeError, match=rf'{how} before.*plan\.batches\("customers"\)'):
            after(batches)


@pytest.mark.parametrize("use", [rows_of, arrow_rows])
def test_no_batches_are_used_once_too(use: Callable[[Batches], int]) -> None:
    batches = PLAN.batches("customers", 7, 7)
    assert use(batches) == 0
    with pytest.raises(RuntimeError, match="before"):
        use(batches)


def test_iteration_goes_on_where_it_was_and_ends_once() -> None:
    batches = PLAN.batches("customers", batch_rows=10)
    head = next(batches)
    second = next(iter(batches))
    assert [len(head), len(second), rows_of(batches)] == [10, 10, 20]
    # What every iterator does at its end.
    assert [next(batches, None), next(batches, None)] == [None, None]
    with pytest.raises(RuntimeError, match="iterated before"):
        list(batches)


def test_a_schema_is_no_use() -> None:
    batches = PLAN.batches("customers")
    assert pa.schema(batches) == pa.schema(first("customers"))
    assert arrow_rows(batches) == 40
    assert pa.schema(batches) == pa.schema(first("customers"))


@every_relation
def test_memory_of_a_batch(name: str) -> None:
    """What its values take at least, and no more than room for some more rows."""
    batch = first(name)
    values = pa.record_batch(batch).nbytes
    assert 0.6 * values < batch.nbytes
    tight = Batch.from_rows(name, python_rows(batch))
    assert tight.nbytes < 4 * values
    assert Batch.from_rows(name, []).nbytes < 1_000


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
    for field in RELATIONS[name].fields:
        if field.type not in DTYPES:
            continue
        column = batch.column(field.name)
        array = np.asarray(column)
        assert array.dtype == DTYPES[field.type]
        assert array.shape == (len(batch),) == (len(column),)
        assert not array.flags.writeable
        assert np.shares_memory(array, np.asarray(batch.column(field.name)))
        if field.type in {"int", "smallint", "bool"}:
            expected = [row[field.name] or 0 for row in python_rows(batch)]
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
        Batch.from_rows("stocks", [row | {7: 7}])
    with pytest.raises(TypeError, match="stocks row 0: neither a mapping nor an object"):
        Batch.from_rows("stocks", [7])
    with pytest.raises(TypeError, match="not iterable"):
        Batch.from_rows("stocks", 7)  # type: ignore[arg-type]


# --- Rows ----------------------------------------------------------------------------------------


def test_a_batch_iterates_and_subscripts() -> None:
    batch = first("stocks")
    rows = [*batch]
    assert rows == python_rows(batch) == [batch.row(number) for number in range(len(batch))]
    assert (batch[0], batch[-1], batch[-len(batch)]) == (rows[0], rows[-1], rows[0])
    for chosen in (slice(3, 7), slice(None), slice(None, None, -5), slice(40, 99), slice(7, 3)):
        assert batch[chosen] == rows[chosen]
    assert rows[3] in batch
    assert bytes(Batch.from_rows("stocks", batch).encode("json")) == bytes(batch.encode("json"))
    one, other = iter(batch), iter(batch)
    assert next(one) == next(other) == rows[0]


@pytest.mark.parametrize("index", [42, -43, 2**80, -(2**80)])
def test_a_row_that_is_not_there_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"^row {index} of 42$"):
        first("stocks")[index]


@pytest.mark.parametrize("index", ["ticker", 1.5, None, (0, 1)])
def test_a_batch_has_no_other_subscripts(index: Any) -> None:
    with pytest.raises(TypeError, match=r"rows by int or slice, .*; column\(name\) gives a column"):
        first("stocks")[index]


def test_rows_may_be_objects_that_have_the_fields() -> None:
    batch = first("loans")
    named = collections.namedtuple("named", batch.column_names)  # type: ignore[misc]
    fields = [(name, Any) for name in batch.column_names]
    data = dataclasses.make_dataclass("data", fields, slots=True)
    kinds: list[Callable[..., object]] = [named, data, types.SimpleNamespace]
    for kind in kinds:
        again = Batch.from_rows("loans", [kind(**row) for row in batch])
        assert bytes(again.encode("avro")) == bytes(batch.encode("avro"))


def test_objects_lack_no_field_and_may_have_more() -> None:
    row = some_row("stocks")
    Batch.from_rows("stocks", [types.SimpleNamespace(**row, colour="blue")])
    less = types.SimpleNamespace(**{k: v for k, v in row.items() if k != "isin"})
    with pytest.raises(
        OptionError, match=r"^stocks row 1: .*SimpleNamespace.*use a row that has isin"
    ):
        Batch.from_rows("stocks", [row, less])
    with pytest.raises(OptionError, match=r"^stocks.lot_size row 0: 'many' is not allowed"):
        Batch.from_rows("stocks", [types.SimpleNamespace(**row | {"lot_size": "many"})])

    class Broken(types.SimpleNamespace):
        @property
        def isin(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Batch.from_rows("stocks", [Broken(**{k: v for k, v in row.items() if k != "isin"})])


# --- Births ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [table.name for table in catalogue().tables])
def test_births_are_the_first_versions_of_rows(name: str) -> None:
    plan = Plan(seed=5, customers=300)
    key = catalogue()[name].primary_key
    births = {row[key]: row for batch in plan.births(name, batch_rows=50) for row in batch}
    assert [*births] == [row[key] for batch in plan.batches(name) for row in batch]
    if catalogue()[name].is_reference:
        return
    rows = sorted(births.values(), key=lambda row: row["updated_at"])
    for row in (*rows[:3], *rows[-5:]):
        just_after = row["updated_at"] + timedelta(milliseconds=1)
        then = {one[key]: one for batch in plan.batches(name, until=just_after) for one in batch}
        assert then[row[key]] == row


def test_births_are_of_tables_and_parts_of_them() -> None:
    plan = Plan(seed=5, customers=30)
    (part,) = plan.births("accounts", 10, 20)
    (same,) = plan.batches("accounts", 10, 20)
    assert bytes(part.text("account_id")) == bytes(same.text("account_id"))
    with pytest.raises(OptionError, match="accounts"):
        plan.births("banking.trades")
    with pytest.raises(OptionError, match="start"):
        plan.births("accounts", 31)
