"""Generation, Avro and integrity checks on one core, through the library."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import classic
import fastavro
import pytest
from harness import Way

from datagen import Plan
from datagen.check import MasterDataStore
from datagen.types import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Contest

pytestmark = pytest.mark.usefixtures("one_core")

PLAN = Plan(customers=10_000)
STREAMS = catalogue().streams
EVENTS = sum(PLAN.rows(stream.name) for stream in STREAMS)
#: Customers whose events the peer encodes.
SAMPLE = 500


def as_avro(batch_rows: int = 65_536) -> None:
    for stream in STREAMS:
        for batch in PLAN.batches(stream.name, batch_rows=batch_rows):
            batch.encode("avro", schema_id=1)


def test_events_as_avro(contest: Contest) -> None:
    """Ours makes the events too; fastavro encodes dicts that are there already."""
    events = classic.events(PLAN, SAMPLE)
    contest(
        "four streams as Avro, one core",
        Way("datagen: generate and encode", EVENTS, as_avro),
        Way("fastavro: encode", sum(map(len, events.values())), lambda: fastavro_encode(events)),
        rounds=5,
    )


def fastavro_encode(events: dict[str, list[classic.Event]]) -> None:
    for stream in STREAMS:
        schema = fastavro.parse_schema(json.loads(stream.avro_schema or ""))
        for event in events[stream.name]:
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, schema, event)
            buffer.getvalue()


def test_checks(contest: Contest, note: Callable[[str, str], None]) -> None:
    """What the check of every row, of tables and streams, adds to making and encoding them."""
    batches = [batch for relation in catalogue() for batch in PLAN.batches(relation.name)]

    def check() -> None:
        store = MasterDataStore()
        for batch in batches:
            store.add_batch(batch)

    def make() -> None:
        for table in catalogue().tables:
            for batch in PLAN.batches(table.name):
                batch.encode("pgcopy")
        as_avro()

    rows = sum(map(len, batches))
    found = contest(
        "all tables and streams, one core",
        Way("datagen: check keys", rows, check),
        Way("datagen: generate and encode", rows, make),
        rounds=5,
    )
    share = found.ours.seconds / found.peers[0].seconds
    note("checks of keys, as a share of making and encoding the rows", f"{share:.1%}")
