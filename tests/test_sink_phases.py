"""The phases of a sink, seen by one that keeps rows in memory: no service, no name of it anywhere."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import command
from datagen import Plan, loader
from datagen.check import MasterDataStore
from datagen.errors import OptionError
from datagen.loader import Load
from datagen.settlement import settlement_of
from datagen.sinks.base import Window, streams, tables
from memory_sink import MEMORY, MemoryTarget
from targets import Silent

if TYPE_CHECKING:
    from datagen import Batch

PLAN = Plan(customers=30)
RELATIONS = (*tables(), *streams())
MEMORY_LOAD = (sys.executable, str(Path(__file__).with_name("memory_sink.py")), "load")
ALONE = ("--memory", "--skip-postgres", "--skip-kafka", "--customers", 30)


def load(target: MemoryTarget, *, fast: bool) -> loader.RunReport:
    return loader.load(Load(plan=PLAN, targets={"memory": target}, fast=fast), Silent())


@pytest.mark.parametrize("fast", [False, True], ids=["standard", "fast"])
def test_all_rows_come_phase_by_phase(fast: bool) -> None:
    target = MemoryTarget()
    report = load(target, fast=fast)
    assert report.ok
    kept = Counter[str]()
    for batch in target.batches:
        kept[batch.name] += len(batch)
    assert kept == {name: PLAN.rows(name) for name in RELATIONS}
    writes = [step for name in tables() for step in (f"write {name}", f"finish {name}")]
    steps = [step for step in target.phases if step not in {f"write {name}" for name in streams()}]
    assert steps == [
        *("check", "open", "prepare", "begin", *writes, "commit", "transfer"),
        *("commit", "verify", "close"),
    ]
    first_event = next(i for i, step in enumerate(target.phases) if "banking." in step)
    before = target.phases[first_event - 2 : first_event]
    assert before == ["commit", "transfer"], "tables are committed before events leave"
    assert report["memory"].rows == sum(kept.values()) == report.rows
    assert report.settlement.complete


@pytest.mark.parametrize("fast", [False, True], ids=["standard", "fast"])
def test_a_load_counts_no_events_that_it_makes(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes as long as making a fifth of them; a display is content with what a sample says."""
    asked: list[str] = []
    rows = Window.rows

    def noted(window: Window, name: str) -> int:
        if name in streams() and name not in window._rows:
            asked.append(name)
        return rows(window, name)

    monkeypatch.setattr(Window, "rows", noted)
    plan, target = Plan(customers=3_000, days=30), MemoryTarget()
    run = Load(plan=plan, targets={"memory": target}, fast=fast)
    assert loader.load(run, Silent()).ok
    assert not asked
    window = Window(plan, 0, True, 1, "time", lambda _: [], lambda batch: batch)
    about, exact = (sum(map(of, streams())) for of in (window.about, window.rows))
    assert about != exact
    assert abs(about - exact) < exact / 10


def test_two_sinks_get_the_same_rows() -> None:
    stage = replace(MEMORY, name="other")
    one = MemoryTarget()
    other = MemoryTarget(relations=(*tables()[:3], *streams()[1:]), stage=stage, loses="stocks")
    run = Load(plan=PLAN, targets={"one": one, "other": other}, fast=True)
    report = loader.load(run, Silent())
    assert report["memory"].ok
    assert not report["other"].ok, "each sink is verified by itself"
    for name in other.relations:
        assert rows_of(one, name) == rows_of(other, name)
    assert {batch.name for batch in other.batches} == {*other.relations}


def test_only_tables_that_a_sink_takes_are_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are checked against the keys of others, which rows have from their birth on."""
    checked = MemoryTarget()
    add_batch = MasterDataStore.add_batch

    def noted(store: MasterDataStore, batch: Batch) -> Batch:
        checked.batches.append(batch)
        return add_batch(store, batch)

    monkeypatch.setattr(MasterDataStore, "add_batch", noted)
    target = MemoryTarget(relations=("credit_cards", *streams()[:2]))
    assert load(target, fast=True).ok
    whole = MemoryTarget([*PLAN.batches("credit_cards"), *PLAN.batches("accounts")])
    assert rows_of(target, "credit_cards") == rows_of(whole, "credit_cards")
    at_birth = MemoryTarget([*PLAN.births("accounts")])
    assert rows_of(checked, "accounts") == rows_of(at_birth, "accounts")
    assert rows_of(at_birth, "accounts") != rows_of(whole, "accounts")
    assert {batch.name for batch in checked.batches}.isdisjoint(["loans", "properties", "stocks"])


def test_two_sinks_of_one_kind_are_refused() -> None:
    run = Load(plan=PLAN, targets={"one": MemoryTarget(), "other": MemoryTarget()})
    with pytest.raises(OptionError, match="one of each kind"):
        loader.load(run, Silent())


def rows_of(target: MemoryTarget, name: str) -> list[bytes]:
    batches = [batch for batch in target.batches if batch.name == name]
    return [bytes(row) for batch in batches for row in batch.encode("json")]


def test_rows_that_are_lost_fail_the_validation() -> None:
    report = load(MemoryTarget(loses="loans"), fast=True)
    assert not report.ok
    assert [check.name for check in report["memory"].checks if not check.ok] == ["loans"]


def test_an_error_in_a_phase_closes_the_sink_and_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    target = MemoryTarget()
    made = MemoryTarget.sink

    def breaking(target: MemoryTarget, window: Window) -> object:
        sink = made(target, window)

        def write(batch: Batch) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(sink, "write", write)
        return sink

    monkeypatch.setattr(MemoryTarget, "sink", breaking)
    with pytest.raises(KeyboardInterrupt) as caught:
        load(target, fast=True)
    assert target.phases[-1] == "close"
    settlement = settlement_of(caught.value)
    assert settlement is not None
    assert settlement.lines() == [
        "Memory: nothing committed.",
        "Nothing was loaded: the same load can be repeated.",
    ]


def test_the_command_loads_validates_and_reports_it() -> None:
    outcome = command.run(*MEMORY_LOAD, *ALONE)
    assert outcome.code == 0, str(outcome)
    rows = sum(map(PLAN.rows, RELATIONS))
    summary = outcome.lines.index("Summary:")
    assert outcome.lines[summary + 2].startswith(f"  {MEMORY.title}: {rows:,} rows in ")
    checks = outcome.lines.index("Validating rows in memory...")
    assert outcome.lines[checks + 1 :] == [
        *(f"  [OK] {name}: {PLAN.rows(name)} rows" for name in RELATIONS),
        "Validation: ALL OK",
    ]
    assert "--memory" in command.run(*MEMORY_LOAD, "--help").out


def test_the_result_as_json_has_it() -> None:
    outcome = command.run(*MEMORY_LOAD, *ALONE, "--json")
    assert outcome.code == 0, str(outcome)
    found = json.loads(outcome.out)
    assert found["memory"] == {"outcome": "committed", "rows": {}}
    assert (found["postgres"], found["kafka"]) == (None, None)
    assert {name: check["found"] for name, check in found["checks"].items()} == {
        name: PLAN.rows(name) for name in RELATIONS
    }


def test_without_any_sink_there_is_nothing_to_load() -> None:
    outcome = command.run(*MEMORY_LOAD, "--skip-postgres", "--skip-kafka")
    command.assert_failed(outcome, 2, "--skip-postgres and --skip-kafka and no --memory together")
