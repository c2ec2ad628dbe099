"""Objects of classes that say of themselves what they like: Python exceptions, never a panic."""

from __future__ import annotations

import datetime
import uuid
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest

from datagen import Batch, FinancialDataStore, Plan
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

UTC = datetime.UTC
ANYTHING = (None, -(2**31), 2**31, 2**200, "x", "\ud800", b"\xff", 1e308, float("nan"), object())


def hostile(base: type, *arguments: Any, **more: Any) -> Iterator[Any]:
    """Objects of subclasses of `base` whose methods give what no such object has, or raise."""
    names = [
        *("toordinal", "utcoffset", "isoformat", "year", "days", "seconds", "microseconds"),
        *("adjusted", "bytes", "hex", "int", "tzinfo", "as_tuple"),
        *("__sub__", "__rsub__", "__index__", "__int__", "__rshift__", "__and__", "__lt__"),
        *("__repr__", "__str__", "__format__", "__len__", "__hash__", "__getattribute__"),
    ]
    for name in names:
        if not hasattr(base, name):
            continue
        for value in ANYTHING:
            kind = type(f"Hostile_{name}", (base,), {name: lambda *_, value=value: value})
            yield base.__new__(kind, *arguments, **more)

        def fail(*_: object) -> None:
            raise KeyError("no such thing")

        yield base.__new__(type(f"Failing_{name}", (base,), {name: fail}), *arguments, **more)


def every() -> Iterator[Any]:
    yield from ANYTHING
    yield from hostile(datetime.date, 2026, 1, 2)
    yield from hostile(datetime.datetime, 2026, 1, 2, tzinfo=UTC)
    yield from hostile(int, 2**70)
    yield from hostile(int, 7)
    yield from hostile(str, "2026-01-02T00:00:00Z")
    yield from hostile(Decimal, "1.5")
    yield from hostile(datetime.timedelta, 1)
    yield uuid.UUID(int=1)
    yield from (datetime.date.min, datetime.date.max)
    yield from (datetime.datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1899, 9999))


VALUES = list(every())


def expect_no_panic(call: Callable[..., object], *arguments: Any, **more: Any) -> None:
    """Runs it; any exception will do, but pyo3's PanicException is no Exception."""
    with suppress(Exception):
        call(*arguments, **more)


@pytest.mark.parametrize("argument", ["seed", "customers", "as_of", "days"])
def test_a_plan_of_anything(argument: str) -> None:
    for value in VALUES:
        expect_no_panic(Plan, **{"customers": 3, argument: value})


def rows_and_back(name: str, row: Mapping[str, Any]) -> None:
    """A batch of a row, and whatever can be made of it."""
    batch = Batch.from_rows(name, [row])
    batch.row(0)
    for encoding in ("avro", "json", "pgcopy"):
        batch.encode(encoding, schema_id=1 if encoding == "avro" else None)
    for column in batch.column_names:
        with suppress(ValueError):
            batch.column(column)
        with suppress(ValueError):
            batch.text(column)
    pyarrow.record_batch(batch)


@pytest.mark.parametrize("name", ["customers", "banking.transactions"])
def test_rows_of_anything(name: str) -> None:
    plan = Plan(1, 3)
    row = next(iter(plan.batches(name))).row(0)
    rows_and_back(name, row)
    for field in row:
        for value in VALUES:
            expect_no_panic(rows_and_back, name, {**row, field: value})


def test_stores_of_anything() -> None:
    row = next(iter(Plan(1, 3).batches("customers"))).row(0)
    [table] = [table for table in catalogue().tables if table.name == "customers"]
    for field in table.fields:
        for value in VALUES:
            expect_no_panic(FinancialDataStore().add_customer, {**row, field.name: value})


def test_a_subclass_counts_as_what_it_is() -> None:
    for moment in hostile(datetime.datetime, 2026, 1, 2, tzinfo=UTC):
        if type(moment).__name__.partition("_")[2] in ("utcoffset", "__sub__", "toordinal"):
            assert Plan(1, 3, as_of=moment) == Plan(1, 3, as_of="2026-01-02T00:00:00Z")
    row = next(iter(Plan(1, 3).batches("customers"))).row(0)
    for date in hostile(datetime.date, 1999, 12, 31):
        batch = Batch.from_rows("customers", [{**row, "birth_date": date}])
        assert batch.row(0)["birth_date"] == datetime.date(1999, 12, 31)
    for seed in hostile(int, 7):
        assert Plan(seed, 3).seed == 7


def test_what_cannot_be_shown_is_named_by_its_class() -> None:
    with pytest.raises(ValueError, match=r"^seed: a value of class int is not allowed; use 0 to "):
        Plan(10**5000)
    with pytest.raises(ValueError, match=r"^as_of: 'x{199}\.\.\. is not allowed; use "):
        Plan(as_of="x" * 10_000)
