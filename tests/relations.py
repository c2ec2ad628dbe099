"""Every relation of the catalogue, and rows of each."""

from __future__ import annotations

from typing import Any

import pytest

from datagen import Batch, Plan, catalogue

CATALOGUE = catalogue()
RELATIONS = {relation.name: relation for relation in CATALOGUE}
PLAN = Plan(customers=40)

every_relation = pytest.mark.parametrize("name", RELATIONS)


def first(name: str, plan: Plan = PLAN) -> Batch:
    return next(plan.batches(name))


def python_rows(batch: Batch) -> list[dict[str, Any]]:
    return [batch.row(index) for index in range(len(batch))]


def fields_of(name: str, kind: str) -> list[str]:
    return [field.name for field in RELATIONS[name].fields if field.type == kind]


def some_row(name: str) -> dict[str, Any]:
    return first(name).row(0)
