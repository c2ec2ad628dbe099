"""Blocks of docs/consumers.md are pieces of programs that tests run; `make test-clients` has most of them.

Blocks in Portuguese are the same (tests/test_languages.py).
"""

from __future__ import annotations

import re

import pytest

from pages import FENCED, ROOT

PAGE = (ROOT / "docs" / "consumers.md").read_text("utf-8")
EXAMPLES = ROOT / "examples"
CLIENTS = ROOT / "tests" / "clients"
RECIPES = (CLIENTS / "test_recipes.py").read_text("utf-8")
#: What blocks may be pieces of.
PROGRAMS = [
    path
    for folder, pattern in ((EXAMPLES, "*"), (EXAMPLES, "*/*"), (CLIENTS, "*.java"))
    for path in sorted(folder.glob(pattern))
    if path.suffix in {".go", ".java", ".js", ".properties", ".py", ".sql"}
]
#: How blocks begin that nothing can execute; their sections say so.
NOT_EXECUTED = {"SELECT trades.ticker": "ksqlDB"}
#: What commands may begin with. Options of datagen's are held by tests/test_docs.py.
KNOWN = {
    "bin/connect-standalone.sh": "test_recipes.py runs its class",
    "cat": "test_recipes.py joins the same files",
    "cd": "test_recipes.py runs the rest in that folder",
    "curl": "Debezium.java reads the same file",
    "datagen": "the programs read what it writes",
    "pip": "requirements/clients.txt has the same packages",
    "python": "test_recipes.py runs the program",
}
BLOCKS = FENCED.findall(PAGE)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
PIECES = [(kind, text) for kind, text in BLOCKS if kind != "bash"]


def section(title: str) -> str:
    [found] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(("kind", "text"), PIECES)
def test_every_block_is_a_piece_of_a_program(kind: str, text: str) -> None:
    for start, title in NOT_EXECUTED.items():
        if text.startswith(start):
            assert text in section(title)
            assert "Not executed" in section(title)
            return
    found = [path for path in PROGRAMS if text in path.read_text("utf-8")]
    assert found, f"this block of {kind} is in no program:\n{text}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_known(command: str) -> None:
    assert command.split(maxsplit=1)[0] in KNOWN
    for name in re.findall(r"python examples/(\w+)\.py", command):
        assert f'python("{name}"' in RECIPES


def test_every_program_is_on_the_page_and_run() -> None:
    named = set(re.findall(r'python\("(\w+)"', RECIPES))
    assert named
    for name in named:
        assert f"(../examples/{name}.py)" in PAGE
    for path in ("flink_days.sql", "spark_days.sql", "go/main.go", "node/consumer.js", "connect"):
        assert (EXAMPLES / path).exists()
        assert f"(../examples/{path})" in PAGE


def test_packages_of_the_page_are_those_of_the_tests() -> None:
    files = (ROOT / "requirements" / "clients.txt", ROOT / "pyproject.toml")
    listed = re.sub(r"[\"' ]", "", "".join(file.read_text("utf-8") for file in files))
    lines = [each for each in COMMANDS if each.startswith("pip install ")]
    packages = {package for line in lines for package in re.sub(r"[\"']", "", line).split()[2:]}
    assert len(packages) == 6
    for package in packages - {"datagen[files]"}:
        assert re.search(rf"[\n,\[]{re.escape(package)}>=", listed), package
