"""The workflows call words, files and actions that are there, with the least permissions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
#: Files that a step writes before another reads them.
MADE = {"dist/*.whl", "page.html", "resolved.txt"}


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def text(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text("utf-8")


@pytest.fixture
def workflow(text: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(text)
    return found


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def triggers(workflow: dict[Any, Any]) -> dict[str, Any]:
    """What `on:` says; YAML 1.1 reads that word as true."""
    found: dict[str, Any] = workflow[True]
    return found


def test_the_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["audit", "check", "test", "wheels"]


def test_the_words_that_it_calls_exist(text: str) -> None:
    called = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert called <= TARGETS


def test_check_calls_the_words() -> None:
    text = (ROOT / ".github/workflows/check.yml").read_text("utf-8")
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) == {"check", "deny"}


def test_the_wheels_are_those_of_the_word() -> None:
    text = (ROOT / ".github/workflows/wheels.yml").read_text("utf-8")
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) == {"wheel"}


def test_the_tests_are_those_that_have_to_pass_before_a_change_lands() -> None:
    assert ".ci/run" in (ROOT / ".github/workflows/test.yml").read_text("utf-8")
    landing = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert landing[-2:] == ["make --jobs=2 --output-sync=target lint", "make test"]


def test_the_files_that_it_names_exist(workflow: dict[Any, Any]) -> None:
    commands = " ".join(step["run"] for step in steps(workflow) if "run" in step)
    words = [word.partition(")")[0].strip("'\"") for word in commands.split()]
    named = {word for word in words if re.search(r"/|\.(html|toml|txt|whl)$", word)} - MADE
    for event in triggers(workflow).values():
        named |= set((event or {}).get("paths", ()) if isinstance(event, dict) else ())
    for name in named:
        assert (ROOT / name.removesuffix("/**")).exists(), name


def test_it_has_the_least_permissions(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in triggers(workflow)
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


def test_actions_are_pinned_by_their_major_version(workflow: dict[Any, Any]) -> None:
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), step


def test_it_names_no_host_and_no_secret(text: str) -> None:
    assert not re.search(r"://|\b[\w-]+\.(com|dev|io|net|org)\b|\bsecrets\b|publish:", text)
