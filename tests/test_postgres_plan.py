"""What a load does with tables, keys and statements, as far as no server is needed to tell."""

from __future__ import annotations

import re
from pathlib import Path

import datagen.sinks.postgres
from datagen.sinks.postgres.ddl import shapes
from datagen.sinks.postgres.key_plan import KeyPlan
from datagen.sinks.postgres.queries import query
from postgres_tables import TABLES


def added(plan: KeyPlan) -> dict[str, list[str]]:
    """The kinds of statements that each table gets once its rows are there."""
    return {
        table.shape.name: [
            "index" if statement.startswith("CREATE INDEX") else "keys"
            for statement in table.add_keys("bank")
        ]
        for table in plan.tables
        if table.adds
    }


def test_new_tables_get_their_keys_after_the_rows() -> None:
    plan = KeyPlan.of((), truncate=False, followed=False)
    assert plan.fresh == set(TABLES)
    assert [len(table.create("bank")) for table in plan.tables] == [1] * len(TABLES)
    assert added(plan) == {
        table.name: ["keys", *["index"] * len(table.indexes)] for table in shapes()
    }
    assert [*plan.drop_keys("bank")] == []


def test_new_tables_whose_changes_are_followed_have_primary_keys_at_once() -> None:
    plan = KeyPlan.of((), truncate=False, followed=True)
    assert [len(table.create("bank")) for table in plan.tables] == [2] * len(TABLES)
    assert added(plan) == {table.name: ["index"] * len(table.indexes) for table in shapes()}


def test_emptied_tables_drop_their_keys_children_first() -> None:
    plan = KeyPlan.of(TABLES, truncate=True, followed=False)
    assert plan.fresh == set(TABLES)
    assert all(not table.create("bank") for table in plan.tables)
    dropped = [one for one in plan.drop_keys("bank") if one.startswith("ALTER")]
    references = [n for n, one in enumerate(dropped) if "_fkey" in one]
    keys = [n for n, one in enumerate(dropped) if "_pkey" in one]
    assert max(references) < min(keys)
    assert len(keys) == len(TABLES)
    assert added(plan) == added(KeyPlan.of((), truncate=False, followed=False))


def test_emptied_tables_keep_their_keys_where_they_are_needed() -> None:
    for plan in (
        KeyPlan.of(TABLES, truncate=True, followed=True),
        KeyPlan.of(TABLES, truncate=True, followed=False).keeping_keys(),
    ):
        assert plan.fresh == set(TABLES)
        assert [*plan.drop_keys("bank")] == []
        assert added(plan) == {}


def test_tables_that_are_kept_stay_as_they_are_beside_new_ones() -> None:
    existing = [name for name in TABLES if name != "loans"]
    plan = KeyPlan.of(existing, truncate=False, followed=False)
    assert plan.fresh == {"loans"}
    assert [table.shape.name for table in plan.tables if table.create("bank")] == ["loans"]
    assert added(plan).keys() == {"loans"}
    assert [*plan.drop_keys("bank")] == []


def test_every_statement_of_a_file_is_asked_for() -> None:
    folder = Path(str(datagen.sinks.postgres.__file__)).parent
    asked = {
        name
        for path in folder.glob("*.py")
        for name in re.findall(r'\bquery\("(\w+)"\)', path.read_text("utf-8"))
    }
    assert asked == {path.stem for path in (folder / "sql").iterdir()}
    for name in asked:
        assert query(name).startswith("-- ")
