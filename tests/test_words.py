"""Errors name the arguments of the library to its callers, and the options to users of the command."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import datagen
from command import DATAGEN, run
from datagen import Plan, _words
from datagen.errors import ConfigurationError, DatagenError, OptionError
from datagen.loader import Load
from datagen.presets import ProducerConfig
from datagen.properties import read_properties
from datagen.sinks.kafka import KafkaSink
from datagen.sinks.postgres import PostgresSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = Path(datagen.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
#: What speaks to users of the command alone, or to programs.
OF_THE_COMMAND = ("cli", "local", "benchmark", "_words.py")
#: What a module that is no part of the command declares for it.
DECLARED = {"--skip-kafka", "--skip-postgres"}


def texts(path: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


def test_every_option_that_a_message_names_has_a_word_in_the_library() -> None:
    named: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        inside = path.relative_to(PACKAGE).parts
        if inside[0] not in OF_THE_COMMAND and path.name not in ("options.py", "conninfo.py"):
            named |= {option for text in texts(path) for option in OPTION.findall(text)}
    assert len(named) > 20
    assert named - DECLARED - _words.OPTIONS.keys() == set()
    # None is kept that no message names any more.
    assert _words.OPTIONS.keys() - DECLARED - named == set()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("use --record-timestamp production", 'use record_timestamp="production"'),
        ("Use --engine confluent.", 'Use engine="confluent".'),
        ("--retention-hours broker, --partitions", "retention_hours=None, partitions"),
        ("(--retention-hours -1 where", "(retention_hours=-1 where"),
        ("--replication-factor 2, or", "replication_factor=2, or"),
        ("--kafka-option acks=all", "client_options acks=all"),
        ("ssl.* (--kafka-option).", "ssl.* (client_options)."),
        ("--schema-registry http://a:1/b to mix", "json_fallback=False to mix"),
        ("another by --schema-registry.", "another by schema_registry_url."),
        ("--kafka-config /a/--fast.txt: no", "/a/--fast.txt: no"),
        ("with --truncate, add", "with truncate=True, add"),
        ("--faster --fasten x--fast", "--faster --fasten x--fast"),
    ],
)
def test_options_become_arguments(message: str, said: str) -> None:
    assert str(ConfigurationError(message)) == said
    with _words.of_the_command():
        error = ConfigurationError(message)
    assert str(error) == message


REFUSED: dict[str, Callable[[Path], object]] = {
    "a file of properties": lambda folder: read_properties(folder / "none.properties"),
    "a topic": lambda _: KafkaSink(ProducerConfig(topic_prefix="ç")).topic("banking.trades"),
    "a schema": lambda _: PostgresSink("postgresql://h/d", schema="\0"),
    "a lock": lambda _: PostgresSink("postgresql://h/d", lock_timeout=-1),
    "a first customer": lambda _: Load(plan=Plan(customers=7), from_customer=7),
    "customers": lambda _: Plan(customers=0),
    "an engine": lambda _: KafkaSink(
        ProducerConfig(engine="native", client_options={"socket.nagle.disable": "true"})
    ).connect(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_error_of_the_library_names_no_option(what: str, tmp_path: Path) -> None:
    with pytest.raises(DatagenError) as refusal:
        REFUSED[what](tmp_path)
    assert not OPTION.search(str(refusal.value))
    if isinstance(refusal.value, OptionError):
        assert refusal.value.option.isidentifier()


def test_the_command_names_its_options(tmp_path: Path) -> None:
    file = tmp_path / "broken.properties"
    file.write_text("a=\\u00zz\n")
    refused = run(*DATAGEN, "load", "--kafka-config", file)
    assert refused.code == 3
    assert refused.err.startswith(f"Error: --kafka-config {file}, line 1")
    refused = run(*DATAGEN, "load", "--customers", 5, "--from-customer", 99_999_990)
    assert refused.code == 2
    assert "'--from-customer'" in refused.err or "--from-customer:" in refused.err
