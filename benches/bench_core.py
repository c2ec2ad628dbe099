"""What a load does within its process, on one core: the stages of `datagen benchmark`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harness import Way

from datagen import Plan
from datagen.benchmark import stages
from datagen.check import MasterDataStore
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Contest

pytestmark = pytest.mark.usefixtures("one_core")

PLAN = Plan(customers=10_000)
STAGES = stages(PLAN)


@pytest.mark.parametrize("stage", STAGES)
def test_stage(stage: str, contest: Contest) -> None:
    ours, peer = STAGES[stage]()
    contest(f"{stage}, one core", ours, peer, rounds=5)


def test_checks(contest: Contest, note: Callable[[str, str], None]) -> None:
    """What the check of every row, of tables and streams, adds to making and encoding them."""
    batches = [batch for relation in catalogue() for batch in PLAN.batches(relation.name)]

    def check() -> None:
        store = MasterDataStore()
        for batch in batches:
            store.add_batch(batch)

    def make() -> None:
        for relation in catalogue():
            for batch in PLAN.batches(relation.name):
                batch.encode("avro" if relation.is_stream else "pgcopy")

    rows = sum(map(len, batches))
    found = contest(
        "all tables and streams, one core",
        Way("datagen: check keys", rows, check),
        Way("datagen: generate and encode", rows, make),
        rounds=5,
    )
    share = found.ours.seconds / found.peers[0].seconds
    note("checks of keys, as a share of making and encoding the rows", f"{share:.1%}")
