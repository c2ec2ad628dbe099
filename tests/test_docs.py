"""The documents show the options that the commands have, with their defaults, and no others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from datagen import Plan, cli
from datagen.sinks.base import streams
from pages import CODE, FENCED, OPTION, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUIDE = ROOT / "docs" / "ingestion-guide.md"
#: The word of each guide for the default of a flag.
OFF = {GUIDE: "off", ROOT / "docs" / "ingestion-guide.pt.md": "desligada"}
DOCUMENTS = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md"))]

# Options of other programs, in blocks of commands.
OTHERS = {
    "docker": {"--build-arg", "--network", "--rm", "--wait"},
    "kafka-console-consumer": {
        "--bootstrap-server",
        "--from-beginning",
        "--max-messages",
        "--topic",
    },
    "kafka-get-offsets": {"--bootstrap-server", "--topic", "--topic-partitions"},
    "kafka-topics": {"--bootstrap-server", "--delete", "--list", "--topic"},
    "pip": {"--editable", "--quiet", "--upgrade"},
    "pytest": {"--benchmark-only", "--kafka-bootstrap", "--pg-dsn", "--schema-registry"},
}
SCRIPTS = {"benchmark.py": "benchmark", "load_data.py": "load"}


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, by the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if below := command.get_command(context, name):
                yield from commands(below, (*path, name))


def options(command: click.Command) -> dict[str, click.Option]:
    """By long name, in the order in which they are declared."""
    context = click.Context(command)
    return {
        next(name for name in option.opts if name.startswith("--")): option
        for option in command.get_params(context)
        if isinstance(option, click.Option)
    }


COMMANDS = dict(commands(cli.group))
ALL_OPTIONS = {name for command in COMMANDS.values() for name in options(command)}
LOAD = {name: option for name, option in options(COMMANDS["load",]).items() if name != "--help"}


def blocks(text: str) -> Iterator[str]:
    """What is within fences."""
    for _, block in FENCED.findall(text):
        yield block


def calls(text: str) -> Iterator[str]:
    """Commands in fences, each in one line, without comments."""
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"(^|\s)#.*", "", line)


def allowed_in(call: str) -> set[str]:
    """The options that may stand in a line of a block."""
    words = call.split()
    # It may be called within a container.
    around = OTHERS["docker"] if words[:1] == ["docker"] else set[str]()
    for at, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name == "datagen" and "=" not in call.partition("datagen")[0]:
            path: tuple[str, ...] = ()
            for below in words[at + 1 :]:
                if (*path, below) not in COMMANDS:
                    break
                path = (*path, below)
            return set(options(COMMANDS[path])) | around
        if name in SCRIPTS:
            return set(options(COMMANDS[SCRIPTS[name],]))
    return {option for name, known in OTHERS.items() if name in words for option in known}


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def document(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_the_documents_are_there() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS if path.is_file()}
    assert {
        "README.md",
        "README.pt.md",
        "docs/README.md",
        "docs/consumers.md",
        "docs/consumers.pt.md",
        "docs/data-catalog.md",
        "docs/data-catalog.pt.md",
        "docs/docker.md",
        "docs/docker.pt.md",
        "docs/ingestion-guide.md",
        "docs/ingestion-guide.pt.md",
        "docs/promises.md",
        "docs/promises.pt.md",
    } <= names


def test_every_command_shown_can_be_typed(document: str) -> None:
    wrong = {
        call: unknown
        for call in calls(document)
        if (unknown := set(OPTION.findall(call)) - allowed_in(call))
    }
    assert wrong == {}


def test_every_option_in_the_text_exists(document: str) -> None:
    prose = FENCED.sub("", document)
    for code in CODE.findall(prose):
        # It may be another program's call, such as `docker compose up --wait`.
        allowed = ALL_OPTIONS if code.startswith("-") else allowed_in(code)
        assert set(OPTION.findall(code)) - allowed == set(), code
    assert set(OPTION.findall(CODE.sub("", prose))) - ALL_OPTIONS == set()


def table_rows(text: str) -> dict[str, str]:
    """The table of options of a guide: the cell of the default by option."""
    rows = re.findall(r"^\| `(--[a-z-]+)` \|([^|]*)\|", text, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "an option has two rows"
    return {name: cell.strip() for name, cell in rows}


every_guide = pytest.mark.parametrize("guide", OFF, ids=lambda path: path.name)


@every_guide
def test_the_guides_table_has_exactly_the_options_of_load(guide: Path) -> None:
    assert list(table_rows(guide.read_text(encoding="utf-8"))) == list(LOAD)


@every_guide
@pytest.mark.parametrize("name", LOAD)
def test_the_guides_table_has_the_defaults(guide: Path, name: str) -> None:
    option, cell = LOAD[name], table_rows(guide.read_text(encoding="utf-8"))[name]
    if option.is_flag:
        assert cell == OFF[guide]
    elif isinstance(option.default, str | int):
        assert cell.strip("`") == str(option.default)
    else:  # none, or one that depends on other options
        assert cell == "" or "--fast" in cell


def test_the_guide_names_the_variables_of_the_environment() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"\bDATAGEN_[A-Z_]+\b", text))
    assert {option.envvar for option in LOAD.values() if option.envvar} <= named


def test_every_command_has_help() -> None:
    for path, command in COMMANDS.items():
        assert command.help, path
        for option in options(command).values():
            assert option.help, (path, option.name)


def test_relative_links_lead_somewhere(document: str, request: pytest.FixtureRequest) -> None:
    folder = request.node.callspec.params["document"].parent
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document):
        if "://" not in target:
            assert (folder / target).exists(), target


THOUSANDS = str.maketrans({"\N{NO-BREAK SPACE}": "", " ": "", ".": ""})


@every_guide
def test_volumes_are_those_of_a_run(guide: Path) -> None:
    rows = re.findall(
        r"^\| ([\d .]+) \| ([\d .]+) \| ([\d .]+) \| ([\d .]+) \| ([\d .]+) \|$",
        guide.read_text("utf-8"),
        re.MULTILINE,
    )
    found = [[int(cell.translate(THOUSANDS)) for cell in row] for row in rows]
    assert [row[0] for row in found] == [100, 1_000, 10_000]
    for customers, *volumes in found:
        plan = Plan(seed=42, customers=customers, days=90)
        assert volumes == [plan.rows(name) for name in streams()]


def test_json_is_as_much_larger_as_the_documents_say() -> None:
    sizes = {
        format_: sum(
            sum(map(len, batch.encode(format_)))
            for name in streams()
            for batch in Plan(customers=1_000).batches(name)
        )
        for format_ in ("avro", "json")
    }
    times = f"{sizes['json'] / sizes['avro']:.1f}"
    assert f"JSON, {times} times as large" in str(LOAD["--no-avro"].help)
    for guide, word in zip(OFF, ("times as large", "vezes maior"), strict=True):
        [row] = [
            line for line in guide.read_text("utf-8").splitlines() if "| `--no-avro` |" in line
        ]
        assert f"{times} {word}".replace(".", "," if word == "vezes maior" else ".") in row
