"""Published figures and invariants hold in a bank of 100 000 customers."""

from __future__ import annotations

import pytest

from datagen import Plan, report
from datagen.report._checks import Check
from datagen.report.figures import FIGURES
from datagen.report.invariants import INVARIANTS

FIGURE_NAMES = [figure.name for figure in FIGURES]
RULE_NAMES = [rule.name for rule in INVARIANTS]


@pytest.fixture(scope="module")
def found() -> dict[str, Check]:
    known = report.measure(Plan(42, 100_000)).known
    return {check.what: check for check in known}


def test_every_check_has_a_name_of_its_own() -> None:
    names = [*FIGURE_NAMES, *RULE_NAMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_figure(found: dict[str, Check], name: str) -> None:
    assert found[name].holds, str(found[name])


@pytest.mark.parametrize("name", RULE_NAMES)
def test_invariant(found: dict[str, Check], name: str) -> None:
    assert found[name].holds, str(found[name])
