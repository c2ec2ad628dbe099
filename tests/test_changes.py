"""What changes in the rows of tables: overlaid on the rows of one instant, those of another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import Plan
from datagen.check import MasterDataStore
from datagen.errors import OptionError, ReferentialIntegrityError
from datagen.types import catalogue
from planned import rows

#: Midnight in Brazil, an hour in the midst of a day, and the usual end.
ENDS = ("2026-03-11T03:00:00Z", "2025-01-16T15:00:00.001Z", "2026-07-01T00:00:00Z")


def keyed(plan: Plan, name: str, first: int, **part: Any) -> dict[Any, dict[str, Any]]:
    key = catalogue()[name].primary_key
    found = (
        batch.row(row) for batch in plan.batches(name, first, **part) for row in range(len(batch))
    )
    return {row[key]: row for row in found}


@given(
    seed=st.integers(0, 2**64 - 1),
    customers=st.integers(1, 120),
    end=st.sampled_from(ENDS),
    days=st.sampled_from([1, 7, 40, 120]),
    places=st.lists(st.floats(-0.5, 1), min_size=2, max_size=4),
    first=st.floats(0, 1),
    batch_rows=st.sampled_from([1, 7, 8192]),
    bounded=st.booleans(),
)
def test_tables_of_an_instant_and_changes_are_those_of_another(
    seed: int,
    customers: int,
    end: str,
    days: int,
    places: list[float],
    first: float,
    batch_rows: int,
    *,
    bounded: bool,
) -> None:
    plan = Plan(seed, customers, as_of=end, days=days)
    start, row = plan.as_of - timedelta(days=days), int(first * customers)
    span = days * 86_400_000
    since, *steps = sorted(start + timedelta(milliseconds=int(span * place)) for place in places)
    until = steps[-1] if bounded else None
    changes = plan.changes(row, since=since, until=until, batch_rows=batch_rows)
    names = [table.name for table in catalogue().tables]
    kept = {name: keyed(plan, name, row, until=since) for name in names}
    for step in steps:
        next_change = changes.peek()
        seen: list[tuple[str, Any]] = []
        for batch in changes.until(step):
            assert 1 <= len(batch) <= batch_rows
            key = catalogue()[batch.name].primary_key
            for one in (batch.row(number) for number in range(len(batch))):
                seen.append((batch.name, one[key]))
                before = kept[batch.name].get(one[key])
                assert since <= one["updated_at"] < step
                assert before is None or before["updated_at"] <= one["updated_at"]
                assert before != one
                kept[batch.name][one[key]] = one
        assert len(seen) == len({*seen})
        # Parents come before their children.
        assert [names.index(name) for name, _ in seen] == sorted(
            names.index(name) for name, _ in seen
        )
        assert bool(seen) == (next_change is not None and next_change < step)
        since = step
        for name in names:
            assert kept[name] == keyed(plan, name, row, until=step)
            assert len(kept[name]) == plan.rows(name, row, until=step)


def test_a_balance_is_what_the_movements_make_of_it() -> None:
    plan, until = Plan(3, 200, days=30), "2026-06-20T12:00:00Z"
    accounts = keyed(plan, "accounts", 0, until=until)
    moved: dict[Any, dict[Any, Any]] = {}
    for batch in plan.window(["banking.transactions"], until=until):
        for row in range(len(batch)):
            event = batch.row(row)
            # What happens at one instant is one change.
            moved.setdefault(event["account_id"], {})[event["occurred_at"]] = event["balance_after"]
    assert moved
    for ident, account in accounts.items():
        balance, when = account["opening_balance"], account["opened_at"]
        for at, after in sorted(moved.get(ident, {}).items()):
            # A movement that fails leaves the balance, and the row.
            if after != balance:
                balance, when = after, at
        assert account["balance"] == balance
        assert account["updated_at"] == max(when, account["status_changed_at"] or when)


def test_reference_rows_never_change() -> None:
    plan = Plan(1, 5)
    names = {batch.name for batch in plan.changes(since="1970-01-01T00:00:00Z").until(plan.as_of)}
    assert names >= {"customers", "accounts"}
    assert "stocks" not in names
    assert len(rows(plan, "stocks", until="1990-01-01T00:00:00Z")) == 42


def test_a_store_takes_versions_of_rows_that_it_has_and_new_ones() -> None:
    plan = Plan(42, 120, days=30)
    store = MasterDataStore()
    for table in catalogue().tables:
        for batch in plan.batches(table.name, until="2026-06-09T10:13:20Z"):
            store.add_batch(batch)
    before = store.counts
    for batch in plan.changes(since="2026-06-09T10:13:20Z").until(plan.as_of):
        store.add_versions(batch)
    assert store.counts["loans"] == before["loans"] + 2 == plan.rows("loans")
    assert store.counts["accounts"] == before["accounts"]
    # Their events find them.
    for batch in plan.window():
        store.add_batch(batch)
    with pytest.raises(ReferentialIntegrityError):
        MasterDataStore().add_versions(next(plan.batches("accounts")))


def test_bad_arguments_are_named() -> None:
    plan = Plan(1, 5)
    with pytest.raises(OptionError, match="batch_rows"):
        plan.changes(since="2026-06-01T00:00:00Z", batch_rows=0)
    with pytest.raises(OptionError, match="until"):
        plan.changes(since="2026-06-01T00:00:00Z", until="2026-05-01T00:00:00Z")
    with pytest.raises(OptionError, match="until"):
        plan.rows("banking.trades", until="2026-06-01T00:00:00Z")


@given(
    seed=st.integers(0, 2**64 - 1),
    customers=st.integers(1, 60),
    days=st.sampled_from([1, 7, 40]),
    places=st.lists(st.floats(-0.5, 1), min_size=2, max_size=2),
    first=st.floats(0, 1),
    batch_rows=st.sampled_from([1, 7, 8192]),
)
def test_versions_are_the_rows_of_every_instant(
    seed: int, customers: int, days: int, places: list[float], first: float, batch_rows: int
) -> None:
    """Of each row the last one before an instant is what the table has then."""
    plan = Plan(seed, customers, as_of=ENDS[2], days=days)
    start, row = plan.as_of - timedelta(days=days), int(first * customers)
    span = days * 86_400_000
    since, until = sorted(start + timedelta(milliseconds=int(span * place)) for place in places)
    for table in catalogue().tables:
        key, name = table.primary_key, table.name
        last: dict[Any, dict[str, Any]] = {}
        begins = keyed(plan, name, row, until=since)
        count = 0
        for batch in plan.versions(name, row, since=since, batch_rows=batch_rows):
            for version in batch:
                count += 1
                before = last.get(version[key])
                if before is None:
                    assert begins.get(version[key], version) == version
                else:
                    assert before["updated_at"] < version["updated_at"]
                if before is None or version["updated_at"] < until:
                    last[version[key]] = version
        there = keyed(plan, name, row, until=until)
        assert {ident: last[ident] for ident in there} == there
        assert count >= len(keyed(plan, name, row))
    with pytest.raises(OptionError, match="name"):
        plan.versions("banking.trades")
