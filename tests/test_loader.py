"""`loader.load`, as the command and the benchmark call it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import psycopg
import pytest

from datagen import Batch, Plan, loader
from datagen.check import MasterDataStore
from datagen.errors import (
    ConfigurationError,
    CountingError,
    ReferentialIntegrityError,
    UnreachableError,
)
from datagen.loader import Load, memory
from datagen.loader import run as opening
from datagen.settlement import Delivered
from datagen.sinks.base import Check
from datagen.sinks.kafka import BULK, FAST, KafkaSink
from datagen.sinks.kafka import stage as kafka_stage
from datagen.types import catalogue
from records import TOPICS
from services._net import free_port
from services.kafka import delete_topics
from targets import Silent, to_kafka, to_postgres

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datagen.sinks.base import Window
    from own_topics import OwnTopics

TABLES = [table.name for table in catalogue().tables]


@pytest.mark.parametrize(("lag", "ok"), [(1, True), (10**6, False)], ids=["late", "lost"])
def test_events_that_nobody_acknowledged(
    monkeypatch: pytest.MonkeyPatch, clean_kafka: OwnTopics, lag: int, ok: bool
) -> None:
    """With acks=0 they count once they are in the topic, and they may be late."""
    ends = KafkaSink.end_offsets
    first = clean_kafka.name(TOPICS[0])
    asked = 0

    def late(sink: KafkaSink, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        nonlocal asked
        asked += 1
        found = ends(sink, topics)
        if 1 < asked <= 1 + lag:
            found[first] = dict.fromkeys(found[first], 0)
        return found

    monkeypatch.setattr(KafkaSink, "end_offsets", late)
    monkeypatch.setattr(kafka_stage, "SETTLE", 1.0)
    plan = Plan(customers=20)
    producer = clean_kafka.config(FAST)
    report = loader.load(Load(plan=plan, targets=to_kafka(producer)), Silent())
    assert report.ok is ok
    rows = plan.rows(TOPICS[0])
    assert report["kafka"].checks[0] == (
        Check(first, rows, rows) if ok else Check(first, rows, 0, "offsets moved by 0")
    )
    # One end has one set of figures.
    (delivered,) = report.settlement.sinks
    assert isinstance(delivered, Delivered)
    of_first = delivered.topics[0]
    assert (of_first.acknowledged, of_first.unknown) == ((rows, 0) if ok else (0, rows))
    assert report.settlement.complete is ok


def test_events_that_are_neither_acknowledged_nor_counted_are_unknown(
    monkeypatch: pytest.MonkeyPatch, clean_kafka: OwnTopics
) -> None:
    """With acks=0 nothing but the topics tells whether they arrived."""
    ends = KafkaSink.end_offsets
    asked = 0

    def once(sink: KafkaSink, topics: Iterable[str]) -> dict[str, dict[int, int]]:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise CountingError("the cluster is gone")
        return ends(sink, topics)

    monkeypatch.setattr(KafkaSink, "end_offsets", once)
    plan = Plan(customers=20)
    report = loader.load(Load(plan=plan, targets=to_kafka(clean_kafka.config(FAST))), Silent())
    assert report.uncounted == "the cluster is gone"
    (delivered,) = report.settlement.sinks
    assert isinstance(delivered, Delivered)
    assert [(one.acknowledged, one.unknown) for one in delivered.topics] == [
        (0, plan.rows(topic)) for topic in TOPICS
    ]
    assert report.settlement.advice.startswith("Do not run it again as it is")


@pytest.mark.timing
def test_a_topic_that_is_deleted_once_its_events_are_there(
    monkeypatch: pytest.MonkeyPatch, clean_kafka: OwnTopics
) -> None:
    flush = KafkaSink.flush
    gone_since: list[float] = []
    deleted = clean_kafka.name(TOPICS[2])

    def flush_and_delete(sink: KafkaSink, timeout: float | None = None) -> object:
        report = flush(sink, timeout)
        delete_topics(clean_kafka.bootstrap, [deleted])
        gone_since.append(time.monotonic())
        return report

    monkeypatch.setattr(KafkaSink, "flush", flush_and_delete)
    plan = Plan(customers=20)
    producer = clean_kafka.config(BULK)
    report = loader.load(Load(plan=plan, targets=to_kafka(producer)), Silent())
    assert time.monotonic() - gone_since[0] < 5, "nothing more can come to a topic that is gone"
    gone = "the topic is gone, deleted while the run went on"
    rows = plan.rows(TOPICS[2])
    assert [one for one in report["kafka"].checks if not one.ok] == [Check(deleted, rows, 0, gone)]


def test_a_topic_counts_from_where_it_was_when_the_run_began(clean_kafka: OwnTopics) -> None:
    """Whether it was there, with what another run has sent, or was made by this one."""
    producer = clean_kafka.config(BULK)
    run = Load(plan=Plan(customers=20), targets=to_kafka(producer), fast=True)
    for _ in range(2):
        report = loader.load(run, Silent())
        assert report.ok
        assert [check.note for check in report["kafka"].checks] == [""] * len(TOPICS)
        delete_topics(clean_kafka.bootstrap, clean_kafka.names[:1])


@pytest.mark.parametrize("fast", [False, True], ids=["standard", "fast"])
def test_an_option_that_only_readers_refuse_stops_no_load(
    clean_kafka: OwnTopics, fast: bool
) -> None:
    """What the brokers list as the ends of topics is enough to count by."""
    options = {"receive.message.max.bytes": "10000000"}  # librdkafka: less than a fetch may bring
    producer = clean_kafka.config(client_options=options)
    plan = Plan(customers=20)
    report = loader.load(Load(plan=plan, targets=to_kafka(producer), fast=fast), Silent())
    assert report.ok
    assert clean_kafka.ends() == {topic: plan.rows(topic) for topic in TOPICS}


def test_where_the_ends_of_topics_are_not_told_nothing_is_loaded(
    clean_kafka: OwnTopics,
    pg_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows are copied and events made by then, and neither is there."""

    def untold(_: KafkaSink, __: Iterable[str]) -> NoReturn:
        raise UnreachableError("not told")

    monkeypatch.setattr(KafkaSink, "end_offsets", untold)
    producer = clean_kafka.config(engine="native")
    plan = Plan(customers=20)
    run = Load(plan=plan, targets=to_postgres(pg_dsn) | to_kafka(producer), fast=True)
    with pytest.raises(UnreachableError, match="not told"):
        loader.load(run, Silent())
    assert set(clean_kafka.ends().values()) == {0}
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute("SELECT to_regclass('customers')").fetchone()
    assert found == (None,)
    assert "acknowledged" not in caplog.text


@pytest.mark.parametrize("prefetch", [True, False])
def test_a_fast_load_makes_rows_before_it_connects_and_none_after_it_could_not(
    monkeypatch: pytest.MonkeyPatch, prefetch: bool
) -> None:
    """There are more rows than may be made ahead, so that the thread has to be ended."""
    add_batch, made = MasterDataStore.add_batch, 0

    def counted(store: MasterDataStore, batch: Batch) -> Batch:
        nonlocal made
        made += 1
        return add_batch(store, batch)

    monkeypatch.setattr(MasterDataStore, "add_batch", counted)
    running = threading.active_count()
    nowhere = f"postgresql://127.0.0.1:{free_port()}/nowhere"
    run = Load(plan=Plan(customers=1_000_000), targets=to_postgres(nowhere), fast=True)
    with pytest.raises(UnreachableError):
        loader.load(run, Silent(), prefetch=prefetch)
    assert threading.active_count() == running
    assert (made > 0) is prefetch


def test_master_rows_that_no_sink_takes_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are made and checked before Kafka is asked for anything, though there are many batches."""
    plan, stores = Plan(customers=100_000), []
    init = MasterDataStore.__init__

    def kept(store: MasterDataStore) -> None:
        init(store)
        stores.append(store)

    def not_before_all_are_made(run: Load, window: Window) -> NoReturn:
        end = time.monotonic() + 60
        while stores[0].counts["loans"] < plan.rows("loans"):
            assert time.monotonic() < end, f"only {stores[0].counts} in 60 s"
            time.sleep(0.01)
        raise UnreachableError("far enough")

    monkeypatch.setattr(MasterDataStore, "__init__", kept)
    monkeypatch.setattr(opening, "_sinks", not_before_all_are_made)
    with pytest.raises(UnreachableError, match="far enough"):
        loader.load(Load(plan=plan, targets=to_kafka(BULK), fast=True), Silent())


@pytest.mark.parametrize("fast", [False, True], ids=["standard", "fast"])
def test_a_load_without_postgresql_tells_what_it_generated(
    clean_kafka: OwnTopics, fast: bool
) -> None:
    plan = Plan(customers=20)
    producer = clean_kafka.config(BULK)
    run = Load(plan=plan, targets=to_kafka(producer), fast=fast)
    report = loader.load(run, Silent())
    assert report.ok
    # Events pass through in a fast load, and are counted as sent.
    made = TABLES if fast else (*TABLES, *TOPICS)
    assert {part.name: part.rows for part in report["generate"].parts} == {
        name: plan.rows(name) for name in made
    }
    assert report["generate"].seconds > 0
    assert report["kafka"].rows == sum(map(plan.rows, TOPICS))


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_row_that_is_refused_on_its_way_ends_a_fast_load(
    pg_dsn: str, monkeypatch: pytest.MonkeyPatch, prefetch: bool
) -> None:
    add_batch = MasterDataStore.add_batch

    def without_customers(store: MasterDataStore, batch: Batch) -> Batch:
        return batch if batch.name == "customers" else add_batch(store, batch)

    monkeypatch.setattr(MasterDataStore, "add_batch", without_customers)
    running = threading.active_count()
    run = Load(plan=Plan(customers=20), targets=to_postgres(pg_dsn), fast=True)
    with pytest.raises(ReferentialIntegrityError, match="customer"):
        loader.load(run, Silent(), prefetch=prefetch)
    assert threading.active_count() == running
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute("SELECT to_regclass('customers')").fetchone()
    assert found == (None,)


def test_a_standard_load_that_the_memory_has_no_room_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before anything is connected; a large one that fits is told of."""
    nowhere = f"postgresql://127.0.0.1:{free_port()}/nowhere"
    both = to_postgres(nowhere) | to_kafka(BULK)
    run = Load(plan=Plan(customers=9_000, days=1_000), targets=both)
    monkeypatch.setattr(memory, "available", lambda: 1 << 30)
    with pytest.raises(
        ConfigurationError, match=r"1\.\d GB, of which 1\.1 GB are free; use fast=True"
    ):
        loader.load(run, Silent())
    monkeypatch.setattr(memory, "available", lambda: 4 << 30)
    without_events = replace(run, targets=to_postgres(nowhere))
    with pytest.raises(UnreachableError):
        loader.load(without_events, Silent())
    assert caplog.text == ""
    monkeypatch.setattr(opening, "_open", lambda *_: pytest.fail("far enough"))
    with pytest.raises(pytest.fail.Exception, match="far enough"):
        loader.load(run, Silent())
    assert "standard mode keeps every row in memory" in caplog.text


def test_a_load_in_time_that_the_memory_has_no_room_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Since it keeps a state of each account, card and loan, which a load by entity does not."""
    plan = Plan(customers=3_000_000)
    nowhere = to_postgres(f"postgresql://127.0.0.1:{free_port()}/nowhere")
    run = Load(plan=plan, targets=nowhere | to_kafka(BULK), fast=True)
    monkeypatch.setattr(memory, "available", lambda: 1 << 30)
    monkeypatch.setattr(opening, "_open", lambda *_: pytest.fail("far enough"))
    with pytest.raises(
        ConfigurationError, match=r'\d\.\d GB, of which 1\.1 GB are free; use order="entity"'
    ):
        loader.load(run, Silent())
    with pytest.raises(ConfigurationError, match="are free; use fewer customers"):
        loader.carry_out(run, Silent(), loader.Running.load, tables_at=plan.as_of)
    for other in (replace(run, order="entity"), replace(run, targets=nowhere)):
        with pytest.raises(pytest.fail.Exception, match="far enough"):
            loader.load(other, Silent())


def test_a_load_shows_no_password() -> None:
    run = Load(plan=Plan(), targets=to_postgres("postgresql://user:Senha@host/bank"))
    assert "Senha" not in repr(run)
