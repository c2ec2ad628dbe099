"""What the end of a run says of itself, for every way in which a run can end."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest

from datagen._words import of_the_command
from datagen.settlement import (
    Committed,
    Delivered,
    Outcome,
    Settlement,
    TopicSettlement,
    attach,
    settlement_of,
)
from datagen.sinks.kafka import PartitionDelivery, TopicDelivery
from datagen.sinks.kafka.stage import settled

NOTHING = TopicSettlement("t", 10)
ENDS = {
    "nothing": NOTHING,
    "refused": TopicSettlement("t", 10, refused=10),
    "unknown": TopicSettlement("t", 10, unknown=1),
    "some": TopicSettlement("t", 10, acknowledged=3, refused=2, unknown=1),
    "all": TopicSettlement("t", 10, acknowledged=10),
}
TABLES: tuple[Outcome | None, ...] = (None, "nothing", "unknown", "committed")


def settlement_with(
    tables: Outcome | None,
    truncate: bool,
    topics: tuple[TopicSettlement, ...] | None,
    *,
    objection: bool = False,
) -> Settlement:
    """What PostgreSQL and Kafka have of a run; None is a sink that took no part."""
    sinks: list[Committed | Delivered] = []
    if tables is not None:
        sinks.append(Committed("postgres", "PostgreSQL", tables, truncate, "--skip-postgres"))
    if topics is not None:
        sinks.append(Delivered("kafka", "Kafka", topics))
    return Settlement(tuple(sinks), objection=objection)


def every() -> list[Settlement]:
    """Every combination of what tables and topics can have of a run."""
    return [
        settlement_with(tables, truncate, None if topic is None else (ENDS[topic],))
        for tables, truncate, topic in product(TABLES, (False, True), (None, *ENDS))
        if tables is not None or topic is not None
    ]


@pytest.mark.parametrize("settlement", every(), ids=str)
def test_repeated_is_said_only_where_nothing_can_be_there_twice(settlement: Settlement) -> None:
    text = "\n".join(settlement.lines())
    harmless = settlement.arrived == 0 and all(
        one.replaces or one.outcome == "nothing"
        for one in settlement.sinks
        if isinstance(one, Committed)
    )
    if "repeated" in text:
        assert harmless
        assert not settlement.complete
    assert settlement.repeatable == ("repeated" in text)
    # Whoever may not repeat it is told what to do instead.
    assert settlement.advice.endswith(".")
    found = json.loads(json.dumps(settlement.as_json()))
    assert found["repeatable"] == settlement.repeatable
    assert found["advice"] in text


def test_what_was_objected_to_would_be_again() -> None:
    end = settlement_with("nothing", False, (NOTHING,), objection=True)
    assert end.advice.startswith("Nothing was loaded: once the cause is mended, the same load")


@pytest.mark.parametrize("settlement", every(), ids=str)
def test_callers_of_the_library_are_told_of_targets_and_loads(settlement: Settlement) -> None:
    assert "--" not in settlement.advice
    assert "command" not in settlement.advice
    with of_the_command():
        words = settlement.advice
    assert ("'postgres' among its targets" in settlement.advice) == ("--skip-postgres" in words)
    assert "targets" not in words


def test_plain_words() -> None:
    topics = (
        TopicSettlement("banking.transactions", 2_000_000, acknowledged=280_313, unknown=7),
        TopicSettlement("banking.trades", 404_695),
    )
    assert settlement_with("committed", False, topics).lines()[:3] == [
        "PostgreSQL: all rows committed. Kafka: 280313 of 2404695 planned events acknowledged.",
        "  banking.transactions: planned 2000000, acknowledged 280313, refused 0, unknown 7",
        "  banking.trades: planned 404695, acknowledged 0, refused 0, unknown 0",
    ]


def test_the_counts_of_a_topic_are_its_plan() -> None:
    partitions = {
        0: PartitionDelivery(5, {"MSG_SIZE_TOO_LARGE": 2, "_PURGE_QUEUE": 4}),
        1: PartitionDelivery(1, {"_PURGE_INFLIGHT": 3}, perhaps_there=3),
    }
    one = settled("t", 30, TopicDelivery("t", 17, partitions))
    assert (one.acknowledged, one.refused, one.unknown) == (6, 2, 3 + 2)
    assert one.not_sent == 30 - 6 - 2 - 5
    assert settled("t", 30, None).not_sent == 30


def test_whatever_ends_a_run_carries_its_settlement() -> None:
    settlement = settlement_with("nothing", False, None)
    error = KeyboardInterrupt()
    assert settlement_of(error) is None
    attach(error, settlement)
    assert settlement_of(error) is settlement


@pytest.mark.parametrize("settlement", every(), ids=str)
def test_a_run_with_a_receipt_is_resumed_unless_it_is_whole(settlement: Settlement) -> None:
    known = replace(settlement, receipt="/of the run.json")
    assert known.repeatable == settlement.repeatable
    resumed = not settlement.complete and not settlement.repeatable
    assert ("resume=Receipt.read" in known.advice) == resumed
    with of_the_command():
        assert ("datagen load --resume '/of the run.json'" in known.advice) == resumed


@pytest.mark.parametrize("settlement", every(), ids=str)
def test_what_stays_may_be_begun_again_whatever_arrived(settlement: Settlement) -> None:
    """A shard, or a load in transactions."""
    known = replace(settlement, stays=True, receipt="/run.json")
    assert known.repeatable == (not known.complete)
    assert "twice" not in known.advice
    if not known.complete:
        assert known.advice == "The same load can be repeated: what is there of it stays."
