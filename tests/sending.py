"""What the tests of the Kafka sink send, and with which settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from datagen import Batch, Plan
from datagen.presets import BULK, ProducerConfig

TRANSACTIONS = "banking.transactions"
PLAN = Plan(seed=7, customers=20)
#: Fields of a configuration unless a test says otherwise.
USUAL: dict[str, Any] = {"schema_registry_url": None}


def batch_of(stream: str = TRANSACTIONS) -> Batch:
    (batch,) = PLAN.batches(stream)
    return batch


def to(bootstrap: str, base: ProducerConfig = BULK, **changes: Any) -> ProducerConfig:
    return replace(base, bootstrap_servers=bootstrap, **{**USUAL, **changes})
