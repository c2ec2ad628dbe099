"""Events in order of time, topics side by side: from the store, and in the topics of a real load."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datagen import Batch, FinancialDataStore, Plan, loader
from datagen._core import TimeOrder
from datagen.errors import OptionError
from datagen.loader import Load
from datagen.types import Relation, catalogue
from murmur2 import partition
from records import TOPICS, AvroReader, Record
from targets import Silent, to_kafka

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engines import Engine
    from own_topics import OwnTopics
    from services.registry import Registry

STREAMS = {stream.name: stream for stream in catalogue().streams}
HOUR = 3_600_000
SLICE = 8_192  # events, where an hour has fewer

#: An event apart from its batch: when, key, and the row as JSON.
Event = tuple[int, bytes, bytes]


def events(batches: Iterable[Batch]) -> dict[str, list[Event]]:
    """Of each stream, in the order of the batches."""
    found: dict[str, list[Event]] = {name: [] for name in STREAMS}
    for batch in batches:
        stream = STREAMS[batch.name]
        times = memoryview(batch.column(stream.time or "")).tolist()
        keys = batch.text(stream.key or "")
        found[batch.name] += zip(times, keys, batch.encode("json"), strict=True)
    return found


def planned(plan: Plan) -> dict[str, list[Event]]:
    """The events of a plan, in its own order: one entity after the other."""
    return events(batch for name in STREAMS for batch in plan.batches(name))


def in_order(given: dict[str, list[Event]]) -> dict[str, list[Event]]:
    """Python's sort is stable: what was first among equals stays first."""
    return {name: sorted(those, key=lambda event: event[0]) for name, those in given.items()}


def filled(plan: Plan, batch_rows: int = 8_192) -> FinancialDataStore:
    store = FinancialDataStore()
    for relation in catalogue():
        for batch in plan.batches(relation.name, batch_rows=batch_rows):
            store.add_batch(batch)
    return store


def times_of(batch: Batch) -> list[int]:
    times: list[int] = memoryview(batch.column(STREAMS[batch.name].time or "")).tolist()
    return times


def slices(times: dict[str, list[int]]) -> Iterator[dict[str, int]]:
    """How many events of each stream the slices have, counted from the times of all of them."""
    order = list(STREAMS)
    merged = sorted((when, order.index(name)) for name, those in times.items() for when in those)
    start = 0
    while start < len(merged):
        end = start
        while end < len(merged) and (
            end - start < SLICE or merged[end][0] < merged[start][0] + HOUR
        ):
            end += 1
        counts = Counter(order[place] for _, place in merged[start:end])
        yield {name: counts[name] for name in order if counts[name]}
        start = end


def joined(turns: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Where one slice ends with the stream that the next begins with, these are one turn."""
    return [
        (name, sum(count for _, count in those))
        for name, those in itertools.groupby(turns, key=lambda turn: turn[0])
    ]


def turns(batches: Iterable[Batch]) -> list[tuple[str, int]]:
    """The streams as they take turns, and the events of each turn."""
    return joined((batch.name, len(batch)) for batch in batches)


# --- the order -----------------------------------------------------------------------------------


@given(
    st.integers(0, 2**64 - 1),
    st.integers(1, 25),
    st.integers(1, 60),
    st.integers(1, 3_000),
    st.integers(1, 3_000),
    st.integers(1, 12),
)
@example(42, 1, 1, 1, 1, 1)
def test_any_plan_comes_in_order_of_time(
    seed: int, customers: int, days: int, made: int, sent: int, partitions: int
) -> None:
    plan = Plan(seed, customers, days=days)
    before = planned(plan)
    given_batches = [batch for name in STREAMS for batch in plan.batches(name, batch_rows=made)]
    batches = [*TimeOrder(given_batches, batch_rows=sent)]
    assert all(0 < len(batch) <= sent for batch in batches)
    after = events(batches)
    # Order, the order among equal times, and that nothing is missing, added or changed.
    assert after == in_order(before)
    for name in STREAMS:
        keys: dict[bytes, list[Event]] = defaultdict(list)
        parts: dict[int, int] = {}
        for event in after[name]:
            number = partition(event[1], partitions)
            assert parts.get(number, event[0]) <= event[0]
            parts[number] = event[0]
            keys[event[1]].append(event)
        planned_keys: dict[bytes, list[Event]] = defaultdict(list)
        for event in before[name]:
            planned_keys[event[1]].append(event)
        assert keys == planned_keys


@pytest.mark.parametrize("batch_rows", [700, 8_192, 100_000])
@pytest.mark.parametrize(("customers", "days"), [(600, 90), (3_000, 2)])
def test_streams_take_turns_slice_by_slice(batch_rows: int, customers: int, days: int) -> None:
    plan = Plan(3, customers, days=days)
    given_batches = [batch for name in STREAMS for batch in plan.batches(name)]
    times = {name: [event[0] for event in those] for name, those in planned(plan).items()}
    expected = joined(turn for counts in slices(times) for turn in counts.items())
    assert len(expected) > len(STREAMS)
    assert turns(TimeOrder(given_batches, batch_rows=batch_rows)) == expected
    # Neither the sizes of batches nor the order of the streams make a difference.
    others = [batch for name in reversed(STREAMS) for batch in plan.batches(name, batch_rows=311)]
    assert turns(TimeOrder(others, batch_rows=batch_rows)) == expected


def test_what_has_not_come_is_at_most_a_slice_older() -> None:
    """A reader who takes the topics in step has no topic behind another by more."""
    plan = Plan(5, 600, days=30)
    left = sorted(event[0] for those in planned(plan).values() for event in those)
    newest, came = left[0], 0
    missing = Counter(left)
    for batch in filled(plan).in_time():
        times = times_of(batch)
        newest = max(newest, times[-1])
        missing.subtract(times)
        older = sum(count for when, count in missing.items() if count and when < newest - HOUR)
        assert older <= SLICE
        came += len(times)
    assert came == len(left) > 2 * SLICE


def row(number: int, when: datetime, template: dict[str, Any]) -> dict[str, Any]:
    return template | {"transaction_id": uuid.UUID(int=number), "occurred_at": when}


def test_an_hour_with_many_events_is_one_slice() -> None:
    """Four events a second of each of two streams: 28 800 in an hour, in batches of 1 000."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    plan = Plan(customers=5)
    (movements,) = plan.batches("banking.transactions")
    (purchases,) = plan.batches("banking.card-transactions")
    movement, purchase = movements.row(0), purchases.row(0)
    often = [start + timedelta(milliseconds=250 * number) for number in range(20_000)]
    batches = [
        Batch.from_rows(
            "banking.card-transactions",
            [
                purchase | {"card_transaction_id": uuid.UUID(int=n), "occurred_at": when}
                for n, when in enumerate(often)
            ],
        ),
        Batch.from_rows(
            "banking.transactions", [row(n, when, movement) for n, when in enumerate(often)]
        ),
    ]
    found = [*TimeOrder(batches, batch_rows=1_000)]
    assert max(map(len, found)) == 1_000
    assert turns(found) == [
        ("banking.transactions", 14_400),
        ("banking.card-transactions", 14_400),
        ("banking.transactions", 5_600),
        ("banking.card-transactions", 5_600),
    ]


def test_times_of_any_year_and_equal_times() -> None:
    (movements,) = Plan(customers=5).batches("banking.transactions")
    template = movements.row(0)
    years = [9999, 1970, 1, 1969, 1970, 2026, 1, 1970]
    given_rows = [
        row(number, datetime(year, 1, 1, tzinfo=UTC), template) for number, year in enumerate(years)
    ]
    batches = [Batch.from_rows("banking.transactions", [one]) for one in given_rows]
    batches.insert(3, Batch.from_rows("banking.transactions", []))
    (found,) = TimeOrder(iter(batches))
    order = [found.row(index)["transaction_id"].int for index in range(len(found))]
    assert order == [2, 6, 3, 1, 4, 7, 5, 0]


def test_single_rows_take_part_and_later_ones_do_not() -> None:
    plan = Plan(7, 30)
    store, added = FinancialDataStore(), 0
    for relation in catalogue():
        for number, batch in enumerate(plan.batches(relation.name, batch_rows=100)):
            if relation.name == "banking.transactions" and number % 2:
                for index in range(len(batch)):
                    store.add_transaction(batch.row(index))
                    added += 1
            elif relation.name != "banking.installments":
                store.add_batch(batch)
    assert added > 100
    early = store.in_time()
    for batch in plan.batches("banking.installments"):
        store.add_batch(batch)
    expected = in_order(planned(plan))
    assert events(store.in_time()) == expected
    assert events(early) == expected | {"banking.installments": []}
    # Handing them on takes nothing away.
    assert events(store.in_time()) == expected


def test_some_streams() -> None:
    store = filled(Plan(7, 30, days=20))
    names = ["banking.trades", "banking.card-transactions"]
    expected = in_order(planned(Plan(7, 30, days=20)))
    found = events(store.in_time(reversed(names)))
    assert found == {name: expected[name] if name in names else [] for name in STREAMS}
    assert [*store.in_time([])] == []
    assert [*FinancialDataStore().in_time()] == []
    with pytest.raises(OptionError, match=r"names: 'accounts'.*banking\.transactions"):
        store.in_time(["accounts"])
    with pytest.raises(OptionError, match=r"batches: 'accounts'.*batches of streams"):
        TimeOrder(store.batches("accounts"))
    for size in (0, -1, 2**20 + 1, 2**70):
        with pytest.raises(OptionError, match=f"batch_rows: {size} .*1 to 1048576"):
            TimeOrder([], batch_rows=size)


# --- made in order -------------------------------------------------------------------------------


def test_windows_are_in_order_and_side_by_side() -> None:
    plan = Plan(7, 4_000, days=30)
    expected = planned(plan)
    assert events(plan.window(batch_rows=1_000)) == in_order(expected)
    # What has not come is at most a slice older: an hour, or 100 000 events.
    left = sorted(event[0] for those in expected.values() for event in those)
    newest, missing, slices_seen = left[0], Counter(left), 0
    for batch in plan.window():
        times = times_of(batch)
        slices_seen += times[0] > newest
        newest = max(newest, times[-1])
        missing.subtract(times)
        older = sum(count for when, count in missing.items() if count and when < newest - HOUR)
        assert older <= 100_000
    assert slices_seen > 1
    assert not any(missing.values())
    for name in STREAMS:
        one = events(plan.batches(name, order="time", batch_rows=700))
        assert one[name] == in_order(expected)[name]
    assert events(plan.window(order="entity")) == expected
    assert events(plan.window(["banking.trades"])) == {
        name: in_order(expected)[name] if name == "banking.trades" else [] for name in STREAMS
    }
    assert [*plan.window([])] == []


def test_windows_follow_one_another_in_time() -> None:
    plan = Plan(7, 200, days=30)
    day = plan.as_of - timedelta(days=25)
    cuts = [None, day, day, "2026-06-20T12:34:56.789Z", None]
    for order in ("time", "entity"):
        parts = [
            events(plan.window(since=since, until=until, order=order))
            for since, until in itertools.pairwise(cuts)
        ]
        for name in STREAMS:
            found = [event for part in parts for event in part[name]]
            assert sorted(found) == sorted(planned(plan)[name])
            assert order == "entity" or found == in_order(planned(plan))[name]


def test_bad_windows() -> None:
    plan = Plan(7, 20)
    with pytest.raises(OptionError, match=r"streams: 'accounts' .*banking\.transactions"):
        plan.window(["accounts"])
    with pytest.raises(OptionError, match=r"order: 'random' .*entity or time"):
        plan.window(order="random")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"since: '2026' .*"):
        plan.window(since="2026")
    with pytest.raises(OptionError, match=r"until: .*no instant before since"):
        plan.window(since="2026-06-02T00:00:00Z", until="2026-06-01T00:00:00Z")
    for asked in ({"order": "time"}, {"since": plan.as_of}):
        with pytest.raises(OptionError, match=r"accounts, whose rows have no time"):
            plan.batches("accounts", **asked)
    table = plan.batches("banking.trades", order="time").__arrow_c_schema__()
    assert table is not None


# --- in the topics -------------------------------------------------------------------------------

PLAN = Plan(seed=11, customers=300)


def headers(stream: Relation, event: dict[str, Any], key: bytes) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", (stream.ce_type or "").encode()),
        ("ce_source", b"data-gen/financial"),
        ("ce_id", event[stream.primary_key].encode()),
        ("ce_time", event[stream.time or ""].encode()),
        ("ce_subject", key),
    )


def sent(
    topics: OwnTopics, engine: Engine, load: dict[str, Any] | None = None, **changes: Any
) -> dict[str, list[Record]]:
    """All records of a load, a standard one by default."""
    producer = topics.config(**engine.fields, **changes)
    run = Load(plan=PLAN, targets=to_kafka(producer), **(load or {}))
    report = loader.load(run, Silent())
    assert report.ok
    assert {part.name: part.rows for part in report["kafka"].parts if part.rows} == {
        name: PLAN.rows(name) for name in TOPICS
    }
    if not run.fast:
        # In a fast one so few events may be made before any is sent.
        stage = report["kafka"].seconds
        assert all(0 < part.seconds <= stage for part in report["kafka"].parts if part.rows)
    return topics.read()


@pytest.mark.parametrize("load", [{}, {"fast": True}, {"fast": True, "workers": 3}])
def test_a_load_is_in_order(clean_kafka: OwnTopics, engine: Engine, load: dict[str, Any]) -> None:
    began = int(time.time() * 1_000)
    found = sent(clean_kafka, engine, load)
    expected = planned(PLAN)
    for name, stream in STREAMS.items():
        # Records of the plan, and no other.
        rows = [(key, json.loads(text), text) for _, key, text in expected[name]]
        assert Counter((one.key, one.value, one.headers) for one in found[name]) == Counter(
            (key, text, headers(stream, event, key)) for key, event, text in rows
        )
        # In each partition event times never decrease; records are read by partition and offset.
        parts: dict[int, list[bytes]] = defaultdict(list)
        keys: dict[bytes, list[bytes]] = defaultdict(list)
        for record in found[name]:
            parts[record.partition].append(record.header("ce_time"))
            keys[record.key].append(record.header("ce_id"))
        assert len(parts) == 3
        for times in parts.values():
            # All have the same length and zone, so that they are ordered as texts.
            assert times == sorted(times)
        # The events of a key are in the order of the plan.
        planned_keys: dict[bytes, list[bytes]] = defaultdict(list)
        for key, event, _ in rows:
            planned_keys[key].append(event[stream.primary_key].encode())
        assert keys == planned_keys
    if not load:
        # In a fast load all of so few events are one slice.
        in_step(found, expected, began)


def test_a_load_by_entity_has_one_entity_after_the_other(
    clean_kafka: OwnTopics, engine: Engine
) -> None:
    loads: list[dict[str, Any]] = [{}, {"fast": True}, {"fast": True, "workers": 3}]
    for number, load in enumerate(loads):
        found = sent(clean_kafka, engine, {"order": "entity", **load})
        expected = planned(PLAN)
        for name, stream in STREAMS.items():
            # What this load has added to each partition.
            parts: dict[int, list[bytes]] = defaultdict(list)
            for record in found[name]:
                parts[record.partition].append(record.header("ce_id"))
            wanted: dict[int, list[bytes]] = defaultdict(list)
            for _, key, text in expected[name]:
                wanted[partition(key, 3)].append(json.loads(text)[stream.primary_key].encode())
            assert {one: ids[number * len(wanted[one]) :] for one, ids in parts.items()} == wanted


def test_orders_are_checked() -> None:
    with pytest.raises(OptionError, match=r"order: 'random' .*time or entity"):
        Load(plan=PLAN, order="random")  # type: ignore[arg-type]


def in_step(found: dict[str, list[Record]], expected: dict[str, list[Event]], began: int) -> None:
    """Slices are produced one after the other: no topic is ahead of another by more than one."""
    reached = began - 60_000
    rest = {
        name: iter(sorted(those, key=lambda record: record.header("ce_time")))
        for name, those in found.items()
    }
    times = {name: [event[0] for event in those] for name, those in expected.items()}
    cut = list(slices(times))
    assert len(cut) > 2
    for counts in cut:
        produced = [
            record.timestamp
            for name, count in counts.items()
            for record in itertools.islice(rest[name], count)
        ]
        assert min(produced) >= reached
        reached = max(produced)
    assert [*itertools.chain(*rest.values())] == []


def test_avro_is_in_order_too(clean_kafka: OwnTopics, registry: Registry) -> None:
    from engines import ENGINES

    found = sent(clean_kafka, ENGINES["native"], schema_registry_url=registry.url)
    read = AvroReader(registry.url)
    for name, stream in STREAMS.items():
        parts: dict[int, list[Any]] = defaultdict(list)
        for record in found[name]:
            parts[record.partition].append(read(record.value)[stream.time or ""])
        assert all(times == sorted(times) for times in parts.values())
