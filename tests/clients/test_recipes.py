"""The recipes of docs/consumers.md, as users run them: each says exactly what the plan holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from client_programs import command, jars

from command import DATAGEN, Outcome, environment_of, load, run, wait_until
from datagen import Plan
from own_topics import OwnTopics
from relations import python_rows
from services._java import kafka_command
from services._net import free_port
from services.kafka import KafkaBroker
from services.registry import SchemaRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a client needs may have to be fetched first.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1_500)]

EXAMPLES = Path(__file__).parents[2] / "examples"
#: That of the programs which make their own rows or files.
BANK = Plan(customers=1_000)
#: That of the topics.
PLAN = Plan(customers=60)
TRADES = "banking.trades"
#: How long a client may take, in seconds.
PATIENCE = 900


def python(name: str, folder: Path, *arguments: object) -> list[str]:
    """The lines that a program of examples/ prints, run in a folder."""
    done = within(folder, sys.executable, EXAMPLES / f"{name}.py", *arguments)
    assert (done.code, done.err) == (0, ""), str(done)
    return done.lines


def within(folder: Path, *words: object, timeout: float = PATIENCE) -> Outcome:
    """What a command says that is run in a folder."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment_of({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def rows(name: str, plan: Plan) -> list[dict[str, Any]]:
    return [row for batch in plan.batches(name) for row in python_rows(batch)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a bank was written as the recipes say."""
    folder = tmp_path_factory.mktemp("files")
    options = ("--customers", BANK.customers, "-o", folder / "bank")
    done = run(*DATAGEN, "files", "parquet", *options)
    assert done.code == 0, str(done)
    return folder


@pytest.fixture(scope="module")
def spent() -> list[str]:
    """What the recipes on files have to print."""
    state = {one["customer_id"]: one["state"] for one in rows("customers", BANK)}
    of_card = {one["card_id"]: state[one["customer_id"]] for one in rows("credit_cards", BANK)}
    purchases: dict[str, list[Decimal]] = defaultdict(list)
    for one in rows("banking.card-transactions", BANK):
        if one["status"] == "APPROVED":
            purchases[of_card[one["card_id"]]].append(one["amount"])
    most = sorted(purchases.items(), key=lambda one: sum(one[1]), reverse=True)[:3]
    return [f"{at}: {len(each)} purchases for R$ {sum(each):,.2f}" for at, each in most]


def test_files_by_pandas(files: Path, spent: list[str]) -> None:
    assert python("files_pandas", files) == spent


def test_files_by_polars(files: Path, spent: list[str]) -> None:
    assert python("files_polars", files) == spent


def test_files_by_duckdb(files: Path, spent: list[str]) -> None:
    assert python("files_duckdb", files) == spent


def traded() -> str:
    trades = rows(TRADES, BANK)
    return f"{len(trades)} trades for R$ {sum(one['gross_amount'] for one in trades):,.2f}"


def test_delta(tmp_path: Path) -> None:
    assert python("lake_delta", tmp_path) == [traded(), "2 versions"]


def test_iceberg(tmp_path: Path) -> None:
    assert python("lake_iceberg", tmp_path) == [traded(), "2 snapshots"]


@dataclass(frozen=True)
class Bank:
    """Where topics hold the plan."""

    topics: OwnTopics
    registry: str

    @property
    def options(self) -> tuple[str, ...]:
        return (*self.topics.options, "--schema-registry", self.registry)

    def sent(self, *options: object) -> Bank:
        """The plan once more, by a load with these options, in topics of their own."""
        other = Bank(OwnTopics(self.topics.bootstrap), self.registry)
        where = other.topics.options if "--no-avro" in options else other.options
        more = ("--customers", PLAN.customers, "--skip-postgres", "--create-topics")
        done = load(*where, *more, *options)
        assert done.code == 0, str(done)
        return other


@pytest.fixture(scope="module")
def bank() -> Iterator[Bank]:
    """A load by default: Avro, compressed by snappy."""
    with KafkaBroker() as broker, SchemaRegistry() as registry:
        yield Bank(OwnTopics(broker.bootstrap), registry.url).sent()


def counted() -> str:
    """What the consumers in Go and Node have to print."""
    trades = rows(TRADES, PLAN)
    bought = [one for one in trades if one["side"] == "BUY"]
    shares = sum(one["quantity"] for one in bought)
    sold = sum(one["quantity"] for one in trades) - shares
    money = sum(one["gross_amount"] for one in bought)
    first = min(one["executed_at"] for one in trades)
    when = first.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        f"{len(trades)} trades, {shares} shares bought for R$ {money}, {sold} sold, the first at "
        f"{when}"
    )


def program(name: str) -> str:
    """Its path; without it the recipe fails, since nothing here is skipped."""
    found = shutil.which(name)
    assert found is not None, f"`{name}` is not on PATH"
    return found


@pytest.fixture(scope="module")
def go_consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("go") / "consumer"
    done = within(EXAMPLES / "go", program("go"), "build", "-o", built, ".", timeout=1_000)
    assert done.code == 0, str(done)
    return built


@pytest.mark.parametrize("options", [(), ("--fast",)], ids=["snappy", "lz4"])
def test_go(bank: Bank, go_consumer: Path, options: tuple[str, ...], tmp_path: Path) -> None:
    read = bank.sent(*options) if options else bank
    where = (read.topics.bootstrap, read.registry, read.topics.prefix)
    done = within(tmp_path, go_consumer, *where)
    assert (done.code, done.lines) == (0, [counted()]), str(done)


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "consumer.js"):
        shutil.copy(EXAMPLES / "node" / name, folder)
    done = within(folder, program("npm"), "install", "--no-audit", "--no-fund", timeout=1_000)
    assert done.code == 0, str(done)
    return folder


@pytest.mark.parametrize("compression", ["snappy", "gzip", "lz4"])
def test_node(bank: Bank, node_folder: Path, compression: str) -> None:
    read = bank
    if compression != "snappy":
        read = bank.sent("--kafka-option", f"compression.type={compression}")
    where = (read.topics.bootstrap, read.registry, read.topics.prefix)
    done = within(node_folder, program("node"), "consumer.js", *where)
    if compression == "lz4":  # as the page says
        assert done.code == 1, str(done)
        assert "LZ4 compression not implemented" in done.err
    else:
        assert (done.code, done.lines) == (0, [counted()]), str(done)


def test_kafka_connect(bank: Bank, tmp_path: Path) -> None:
    topics = bank.sent("--no-avro").topics
    [connector] = jars("connect").glob("connect-file-*.jar")
    elsewhere = {
        "localhost:9092": topics.bootstrap,
        "localhost:8083": f"127.0.0.1:{free_port()}",
        "libs/connect-file-4.3.1.jar": str(connector),
        f"topics={TRADES}": f"topics={topics.name(TRADES)}",
    }
    for name in ("worker.properties", "sink.properties"):
        text = (EXAMPLES / "connect" / name).read_text("utf-8")
        for shown, other in elsewhere.items():
            text = text.replace(shown, other)
        (tmp_path / name).write_text(text)
    expected = sorted(line for batch in PLAN.batches(TRADES) for line in texts(batch))
    written = tmp_path / "trades.jsonl"
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    words = kafka_command(main, "worker.properties", "sink.properties", heap="512m")
    log = tmp_path / "log"
    with log.open("w") as out:
        worker = subprocess.Popen(
            words, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            wait_until(lambda: line_count(written) >= len(expected), 120)
        finally:
            worker.terminate()
            with suppress(subprocess.TimeoutExpired):
                worker.wait(30)
            worker.kill()
            worker.wait(30)
    found = written.read_text("utf-8").splitlines() if written.exists() else []
    assert sorted(found) == expected, log.read_text("utf-8")[-3_000:]


def texts(batch: Any) -> Iterator[str]:
    for line in batch.encode("json"):
        yield bytes(line).decode()


def line_count(file: Path) -> int:
    time.sleep(0.5)
    return file.read_bytes().count(b"\n") if file.exists() else 0


def days() -> list[list[str]]:
    """Day, trades and money of what is bought, as SQL has to find them."""
    bought: dict[str, list[Decimal]] = defaultdict(list)
    for one in rows(TRADES, PLAN):
        if one["side"] == "BUY":
            bought[one["executed_at"].date().isoformat()].append(one["gross_amount"])
    return [[day, str(len(each)), str(sum(each))] for day, each in sorted(bought.items())]


def by_day(engine: str, client: str, bank: Bank, folder: Path, *more: str, **changes: str) -> None:
    """The view `days` of an example, above what `datagen schema` prints."""
    printed = run(*DATAGEN, "schema", TRADES, "--for", engine, *bank.options)
    assert printed.code == 0, str(printed)
    view = (EXAMPLES / f"{engine}_days.sql").read_text("utf-8")
    file = folder / "bank.sql"
    file.write_text(printed.out + changes.get("between", "") + view)
    done = within(folder, *command(client, folder, file, *more, profile=engine))
    assert done.code == 0, done.err[-3_000:]
    found = [line.split("\t")[1:] for line in done.lines if line.startswith("days\t")]
    assert sorted([day[:10], *others] for day, *others in found) == days()


def test_flink(bank: Bank, tmp_path: Path) -> None:
    # A stream that ends, so that the last window comes out.
    ends = "ALTER TABLE trades SET ('scan.bounded.mode' = 'latest-offset');\n"
    by_day("flink", "FlinkSchema", bank, tmp_path, "days", "table", between=ends)


def test_spark(bank: Bank, tmp_path: Path) -> None:
    by_day("spark", "SparkSchema", bank, tmp_path, "", "", "", "days")
