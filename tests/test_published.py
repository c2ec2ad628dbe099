"""Published figures, behaviour and rules hold in a bank of 100 000 customers."""

from __future__ import annotations

import pytest

from datagen import Plan, report
from datagen.report._checks import Check, Result
from datagen.report.behaviour import BEHAVIOUR
from datagen.report.figures import FIGURES
from datagen.report.invariants import INVARIANTS
from datagen.report.products import PRODUCTS, SHARES

EVERY_FIGURE = (*FIGURES, *BEHAVIOUR, *SHARES)
FIGURE_NAMES = [figure.name for figure in EVERY_FIGURE if figure.judged]
RULE_NAMES = [rule.name for rule in (*PRODUCTS, *INVARIANTS)]


@pytest.fixture(scope="module")
def found() -> dict[str, Check]:
    return {check.what: check for check in report.measure(Plan(42, 100_000)).checks}


def test_every_check_has_a_name_of_its_own() -> None:
    names = [*(figure.name for figure in EVERY_FIGURE), *RULE_NAMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_figure(found: dict[str, Check], name: str) -> None:
    # Within its tolerance, also where that is wide.
    assert found[name].result in {Result.HOLDS, Result.POWERLESS}, str(found[name])


@pytest.mark.parametrize("name", RULE_NAMES)
def test_invariant(found: dict[str, Check], name: str) -> None:
    assert found[name].holds, str(found[name])
