"""What Spark is told without Spark: options, the parts of a relation, and how far a stream should be.

tests/clients has Spark itself read it all.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

import datagen.spark
from datagen import Plan
from datagen.errors import ConfigurationError, DatagenError, OptionError
from datagen.spark.options import Part, Request, millis_of, moment, parts
from datagen.spark.progress import Progress
from planned import events_of
from relations import CATALOGUE, every_relation

TRADES = {"relation": "banking.trades", "customers": "500", "seed": "7"}
STREAMS = [one.name for one in CATALOGUE.streams]
HOUR = 3_600_000


def request(**options: object) -> Request:
    """What spark.read asks for."""
    return Request.of(texts(options), streaming=False)


def query(**options: object) -> Request:
    """What spark.readStream asks for."""
    return Request.of(texts(options), streaming=True)


def texts(options: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in {**TRADES, **options}.items()}


def ids(request: Request, found: list[Part]) -> list[tuple[int, str]]:
    """Time and id of each row of parts, as they are made."""
    return [
        row
        for part in found
        for batch in request.plan.batches(
            request.relation,
            part.start,
            part.stop,
            order=request.order,
            since=part.since,
            until=part.until,
        )
        for row in events_of(batch)
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"custmers": 5}, "custmers: '5' is not allowed; use the options relation, customers, "),
        (
            {"relation": "banking.trade"},
            "relation: 'banking.trade' is not allowed; use one of cust",
        ),
        ({"customers": 0}, "customers: 0 is not allowed; use 1 to 99999990"),
        ({"customers": "1.5"}, "customers: '1.5' is not allowed; use a whole number"),
        (
            {"customers": 99_999_990, "fromCustomer": 9},
            "customers: 99999990 is not allowed; use 1 t",
        ),
        ({"fromCustomer": -1}, "fromCustomer: -1 is not allowed; use 0 to 99999989"),
        ({"seed": -1}, "seed: -1 is not allowed; use 0 to 18446744073709551615"),
        (
            {"asOf": "tomorrow"},
            "asOf: 'tomorrow' is not allowed; use an aware datetime or ISO-8601",
        ),
        ({"days": 0}, "days: 0 is not allowed; use 1 to 2007"),
        ({"order": "key"}, "order: 'key' is not allowed; use entity or time"),
        ({"partitions": 0}, "partitions: 0 is not allowed; use 1 to 100000"),
        ({"partitions": 100_001}, "partitions: 100001 is not allowed; use 1 to 100000"),
        ({"partitionBy": "day"}, "partitionBy: 'day' is not allowed; use customers or time"),
        (
            {"since": "2026-06-01"},
            "since: '2026-06-01' is not allowed; use an aware datetime or IS",
        ),
        (
            {"since": "2026-06-02T00:00:00Z", "until": "2026-06-01T00:00:00Z"},
            "until: datetime.datetime(2026, 6, 1, 0, 0, tzinfo=datetime.timezone.utc) is not allowed; u",
        ),
        (
            {"relation": "accounts", "partitionBy": "time"},
            "partitionBy: 'time' is not allowed; use cu",
        ),
        (
            {"relation": "accounts", "order": "time"},
            "order: 'time' is not allowed; use entity and no",
        ),
        ({"relation": "accounts", "since": "2026-06-01T00:00:00Z"}, "since: "),
        ({"speed": 60}, "speed: 60.0 is not allowed; use it with spark.readStream alone"),
        ({"relation": "labels"}, "relation: 'labels' is not allowed; use it with the option label"),
        ({"labels": "yes"}, "labels: 'yes' is not allowed; use true or false"),
        (
            {"labelRates": "pix-scam=0.1"},
            "labelRates: {'pix-scam': 0.1} is not allowed; use it with labels, which is true",
        ),
        (
            {"labels": "true", "labelRates": "pix-scam"},
            "labelRates: 'pix-scam' is not allowed; use rates such as pix-scam=0.002,bust-out=0",
        ),
        (
            {"labels": "true", "labelRates": "bribery=0.1"},
            "labelRates: 'bribery' is not allowed; use rates of pix-scam",
        ),
        (
            {"labels": "true", "labelRates": "pix-scam=0.3"},
            "labelRates: 0.3 is not allowed; use ",
        ),
    ],
    ids=str,
)
def test_options_that_are_wrong(options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError) as raised:
        request(**options)
    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"relation": "accounts"},
            "relation: 'accounts' is not allowed; use spark.read for tables, o",
        ),
        ({"speed": 0}, "speed: '0' is not allowed; use a number above 0, up to 1000000000"),
        ({"speed": "nan"}, "speed: 'nan' is not allowed; use a number above 0, up to 1000000000"),
        (
            {"rowsPerSecond": "many"},
            "rowsPerSecond: 'many' is not allowed; use a number above 0, up",
        ),
        (
            {"speed": 1, "rowsPerSecond": 1},
            "rowsPerSecond: 1.0 is not allowed; use either this or s",
        ),
        ({"since": "2026-06-01T00:00:00Z"}, "since: "),
        (
            {"partitionBy": "time"},
            "partitionBy: 'time' is not allowed; use it with spark.read alone",
        ),
        ({"start": "2026-06-02T00:00:00Z", "until": "2026-06-01T00:00:00Z"}, "until: "),
    ],
    ids=str,
)
def test_options_of_streams_that_are_wrong(options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError) as raised:
        query(**options)
    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)


def test_a_relation_has_to_be_named() -> None:
    with pytest.raises(
        OptionError, match=r"^relation: None is not allowed; use one of customers, "
    ):
        Request.of({}, streaming=False)


def test_options_in_the_case_that_spark_gives_them() -> None:
    found = Request.of(
        {
            "relation": "banking.trades",
            "fromcustomer": "100",
            "CUSTOMERS": "50",
            "asof": "2026-05-01T00:00:00Z",
            "partitionby": "Time",
            "order": "TIME",
        },
        streaming=False,
    )
    assert found.plan == Plan(42, 150, as_of="2026-05-01T00:00:00Z")
    assert (found.first, found.by_time, found.order) == (100, True, "time")


def test_a_bank_has_frauds_where_labels_are_asked_for() -> None:
    assert request(labels="false").plan.labels is None
    assert request(labels="TRUE").plan == Plan(7, 500, labels=True)
    rates = {"pix-scam": 0.2, "bust-out": 0.0}
    asked = request(
        relation="labels", labels="true", labelRates="pix-scam=0.2, bust-out=0", partitions=3
    )
    assert asked.plan == Plan(7, 500, labels=rates)
    found = parts(asked)
    assert [(one.start, one.stop) for one in found] == [(0, 166), (166, 333), (333, 500)]
    rows = [batch.row(at) for batch in asked.plan.batches("labels") for at in range(len(batch))]
    made = [
        batch.row(at)
        for part in found
        for batch in asked.plan.batches("labels", part.start, part.stop)
        for at in range(len(batch))
    ]
    assert made == rows != []
    many = {"relation": "labels", "labels": "true", "customers": 100_000}
    assert len(parts(request(**many))) == 5


def test_a_checkpoint_is_of_a_bank_with_its_frauds() -> None:
    honest, other = Progress(query()), Progress(query(labels="true"))
    assert other.initial()["labels"] == Plan(labels=True).labels
    for one, another in ((honest, other), (other, honest)):
        with pytest.raises(ConfigurationError, match="checkpoint is of labels"):
            one.millis(another.initial())


@every_relation
@pytest.mark.parametrize("partitions", [1, 3, 64])
def test_parts_by_customers_are_the_whole(name: str, partitions: int) -> None:
    asked = request(relation=name, customers=40, fromCustomer=13, partitions=partitions)
    found = parts(asked)
    assert len(found) == (1 if asked.found.is_reference else min(partitions, 40))
    whole = [row for batch in asked.plan.batches(name, 13) for row in events_of(batch)]
    assert ids(asked, found) == whole
    assert parts(asked) == found


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("span", [{}, {"since": "2026-06-03T00:00:00Z"}])
def test_parts_by_time_are_the_whole_in_its_order(name: str, span: dict[str, str]) -> None:
    asked = request(relation=name, order="time", partitionBy="time", partitions=7, **span)
    found = parts(asked)
    assert len(found) == 7
    assert all(one.until == other.since for one, other in pairwise(found))
    whole = asked.plan.batches(name, order="time", since=asked.since)
    rows = [row for batch in whole for row in events_of(batch)]
    assert rows
    assert ids(asked, found) == rows


def test_a_span_of_a_few_instants_is_cut_into_as_many() -> None:
    span = {"since": "2026-06-03T00:00:00Z", "until": "2026-06-03T00:00:00.003Z"}
    asked = request(**span, partitionBy="time", partitions=9)
    assert [one.since for one in parts(asked)] == [
        datetime(2026, 6, 3, microsecond=each * 1000, tzinfo=UTC) for each in range(3)
    ]
    empty = request(since="2026-06-03T00:00:00Z", until="2026-06-03T00:00:00Z")
    assert ids(empty, parts(empty)) == []
    backwards = replace(empty, until=datetime(2026, 6, 2, tzinfo=UTC))
    assert ids(backwards, parts(backwards)) == []


def test_rows_say_how_many_parts_there_are() -> None:
    few, many = request(customers=1_000), request(customers=400_000)
    assert len(parts(few)) == 1
    found = parts(many)
    assert len(found) > 2
    rows = [many.plan.rows(many.relation, one.start, one.stop) for one in found]
    assert sum(rows) == many.plan.rows(many.relation)
    assert max(rows) <= 220_000
    assert max(rows) - min(rows) < 0.1 * max(rows)


@pytest.mark.parametrize("name", STREAMS)
def test_all_events_are_between_begin_and_end(name: str) -> None:
    asked = query(relation=name, customers=2_000)
    times = [when for when, _ in ids(asked, parts(asked))]
    assert millis_of(asked.begin) <= min(times)
    assert max(times) < millis_of(asked.end)


def test_a_stream_without_a_speed_goes_to_its_end() -> None:
    progress = Progress(query(until="2026-06-20T00:00:00Z"))
    first = progress.initial()
    assert first["time"] == "2026-04-02T00:00:00.000Z"
    last = progress.next(first, 0.0)
    assert last["time"] == "2026-06-20T00:00:00.000Z"
    assert progress.next(last, 5.0) == last


def test_event_time_goes_on_with_the_clock() -> None:
    asked = query(start="2026-06-29T00:00:00Z", speed=3600)
    progress = Progress(asked)
    at = progress.initial()
    begun = progress.millis(at)
    assert begun == millis_of(datetime(2026, 6, 29, tzinfo=UTC))
    hours = []
    for now in (100.0, 100.5, 102.0, 101.0, 147.0, 148.0, 900.0):
        at = progress.next(at, now)
        hours.append((progress.millis(at) - begun) / HOUR)
    # A clock that goes back is waited for, and at the end of the plan there is no more.
    assert hours == [0, 0.5, 2, 2, 47, 48, 48]
    # Another process goes on where that one was, whatever its clock says.
    other = Progress(asked)
    at = other._offset(begun + 7 * HOUR)
    assert other.next(at, 1e6) == at
    assert other.millis(other.next(at, 1e6 + 2)) == begun + 9 * HOUR


@pytest.mark.parametrize("customers", [500, 20_000])
def test_so_many_events_a_second(customers: int) -> None:
    asked = query(customers=customers, rowsPerSecond=100)
    progress = Progress(asked)
    times = sorted(when for when, _ in ids(asked, parts(asked)))
    at = progress.initial()
    for now in range(0, 20, 5):
        at = progress.next(at, float(now))
        events = bisect_left(times, progress.millis(at))
        # Exact where all customers are looked at, but for events of one millisecond.
        assert events == pytest.approx(100 * now, abs=1 if customers == 500 else 250)
    at = progress.next(at, 1e9)
    assert at == progress.last()
    assert progress.millis(at) == millis_of(asked.end)


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"customers": 501}, {"days": 91}, {"relation": "banking.installments"}],
    ids=str,
)
def test_an_offset_of_other_events_is_refused(change: dict[str, object]) -> None:
    before = Progress(query()).initial()
    progress = Progress(query(**change))
    [name] = change
    with pytest.raises(
        ConfigurationError, match=f"^the checkpoint is of {name} .*; go on as it was "
    ):
        progress.next(before, 0.0)


def test_an_instant_there_and_back() -> None:
    instant = datetime(2026, 6, 3, 1, 2, 3, 456_000, tzinfo=UTC)
    assert moment(millis_of(instant)) == instant
    assert millis_of(instant + timedelta(microseconds=999)) == millis_of(instant)


@pytest.mark.parametrize("missing", ["pyspark", "pyarrow"])
def test_without_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datagen.spark.source", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DatagenError, match=r"pip install 'datagen\[spark\]'") as raised:
        datagen.spark.register(None)
    assert isinstance(raised.value, ConfigurationError)
    with pytest.raises(AttributeError):
        _ = datagen.spark.Nothing
