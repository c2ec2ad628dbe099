"""What the command offers, and what it says while it runs, fails or is interrupted."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner

from command import (
    DATAGEN,
    LOAD,
    SCRIPT,
    Outcome,
    Process,
    assert_failed,
    commands,
    environment_of,
    load,
    outcome_of,
    run,
    started,
    wait_until,
)
from datagen import Plan, cli, loader
from datagen.cli.console import Console, _rate
from datagen.sinks.base import Part
from datagen.sinks.kafka.stage import KAFKA
from datagen.types import catalogue
from records import TOPICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datagen.settlement import Settlement
    from engines import Engine
    from own_topics import OwnTopics
    from services.registry import Registry

# The guide's thirteen options with their defaults; None for a flag, which is off.
GUIDE = {
    "--customers": "100",
    "--seed": "42",
    "--postgres-url": "postgresql://postgres:postgres@localhost:5432/datagen",
    "--kafka-bootstrap": "localhost:9092",
    "--schema-registry": "http://localhost:8081",
    "--skip-postgres": None,
    "--skip-kafka": None,
    "--create-topics": None,
    "--truncate": None,
    "--no-cloudevents": None,
    "--fast": None,
    "--no-avro": None,
    "--retention-hours": "8",
}
SECRET = "Senha-Muito5ecreta"
CLOSED = "127.0.0.1:1"


def nowhere() -> tuple[str, ...]:
    """Services that do not exist, so that nobody's own are met by mistake."""
    postgres = f"postgresql://user:{SECRET}@{CLOSED}/bank"
    services = ("--postgres-url", postgres), ("--kafka-bootstrap", CLOSED)
    return *services[0], *services[1], "--schema-registry", f"http://{CLOSED}"


def tables(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        statement = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        [(count,)] = connection.execute(statement).fetchall()
    return int(count)


# --- help


def described(*command: object) -> dict[str, str]:
    """What --help says about each option, by its name."""
    outcome = run(*command, "--help")
    assert outcome.code == 0, str(outcome)
    assert outcome.err == ""
    parts = re.split(r"^  (?:-h, )?(--[a-z-]+)", outcome.out, flags=re.MULTILINE)
    # A default that does not fit its line is broken anywhere.
    return {
        name: "".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_help_has_the_guides_options_and_defaults() -> None:
    options = described(*LOAD)
    assert set(GUIDE) <= set(options)
    for name, default in GUIDE.items():
        shown = re.search(r"default:([^;\]]+)", options[name])
        assert (shown and shown[1]) == default, options[name]
    assert described(*SCRIPT) == options


SINK_GROUPS = ["What", "Where to", "PostgreSQL", "Kafka", "Schema Registry"]
GROUPS = {
    "load": [*SINK_GROUPS, "How it runs"],
    "load-parallel": [*SINK_GROUPS, "How it runs"],
    "stream": [*SINK_GROUPS, "Time", "Position"],
    "benchmark": ["What", "Where to", "Kafka", "Schema Registry", "How it runs"],
    "report": ["What", "Where to"],
}


@pytest.mark.parametrize("command", GROUPS)
def test_help_is_in_groups_that_have_each_option_once(command: str) -> None:
    text = run(*DATAGEN, command, "--help").out
    groups = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert groups == [*GROUPS[command], "Other options"]
    names = re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    declared = {one.opts[-1] for one in commands()[command].params}
    assert set(names) == declared | {"--help"}


def test_help_of_everything() -> None:
    outcome = run(*DATAGEN, "--help")
    for name in ("load", "local"):
        assert re.search(rf"^  {name} +\S", outcome.out, re.MULTILINE), str(outcome)
    assert "datagen load --customers 100 --seed 42" in run(*LOAD, "-h").out
    local = run(*DATAGEN, "local", "--help").out
    for name in ("up", "status", "down"):
        assert re.search(rf"^  {name} +\S", local, re.MULTILINE), local
    assert run(*DATAGEN).code == 2


def test_version() -> None:
    from importlib.metadata import version

    assert run(*DATAGEN, "--version").out == f"datagen, version {version('datagen')}\n"


def test_the_script_takes_all_of_the_guides_options(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    given = {
        **GUIDE,
        "--customers": "20",
        "--seed": "7",
        "--postgres-url": pg_dsn,
        "--kafka-bootstrap": clean_kafka.bootstrap,
        "--topic-prefix": clean_kafka.prefix,
        "--schema-registry": registry.url,
        "--retention-hours": "1",
    }
    for skipped in ("--skip-postgres", "--skip-kafka"):
        chosen = {name: value for name, value in given.items() if name != skipped}
        words = [word for pair in chosen.items() for word in pair if word is not None]
        outcome = run(*SCRIPT, *words)
        assert outcome.code == 0, str(outcome)
        assert outcome.lines[-1] == "Validation: ALL OK"


def test_addresses_from_the_environment(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    outcome = load(
        *("--customers", 20, "--create-topics", "--topic-prefix", clean_kafka.prefix),
        DATAGEN_POSTGRES_URL=pg_dsn,
        DATAGEN_KAFKA_BOOTSTRAP=clean_kafka.bootstrap,
        DATAGEN_SCHEMA_REGISTRY=registry.url,
    )
    assert outcome.code == 0, str(outcome)
    assert "Kafka (avro, native)" in outcome.out


# --- usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--custommers", "5"], "--custommers"),
        (["--customers", "many"], "--customers"),
        (["--customers"], "--customers"),
        (["--preset", "QUICK"], "--preset"),
        (["--record-timestamp", "now"], "--record-timestamp"),
        (["--kafka-config", "/no/such/file"], "--kafka-config"),
        (["--registry-ca", "/no/such/file"], "--registry-ca"),
        (["--kafka-option", "acks"], "--kafka-option"),
        (["--kafka-option", "=1"], "--kafka-option"),
        (["--skip-postgres", "--skip-kafka"], "nothing to load"),
        (["--local", "--postgres-url", "postgresql://a:b@c/d"], "--postgres-url"),
        (["--local", "--kafka-bootstrap", "localhost:9092"], "--kafka-bootstrap"),
        (["--local", "--schema-registry", "http://localhost:8081"], "--schema-registry"),
        (["surplus"], "extra argument"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    outcome = load(*words)
    assert_failed(outcome, 2, said)
    assert outcome.err.splitlines()[1:] in ([], ["Try: datagen load --help"])
    assert outcome.out == ""


def test_local_with_an_address_in_the_environment() -> None:
    outcome = load("--local", DATAGEN_POSTGRES_URL=f"postgresql://a:{SECRET}@b/c")
    assert_failed(outcome, 2, "DATAGEN_POSTGRES_URL")
    assert SECRET not in outcome.err


def test_an_unknown_command() -> None:
    assert_failed(run(*DATAGEN, "lod"), 2, "lod", "datagen --help")


@pytest.mark.parametrize(
    "words",
    [
        [f"postgresql://user:{SECRET}@host/bank"],
        [f"sasl.password={SECRET}"],
        ["--customers", f"postgresql://user:{SECRET}@host/bank"],
        ["--preset", f"http://user:{SECRET}@host"],
        ["--kafka-bootstrap", f"user:{SECRET}@host:9092"],
        ["--schema-registry", f"ftp://user:{SECRET}@host"],
        ["--registry-user", SECRET],
    ],
)
def test_a_password_in_the_wrong_place_is_not_repeated(words: list[str]) -> None:
    outcome = load(*nowhere(), *words)
    assert outcome.code in {2, 3}, str(outcome)
    assert_failed(outcome, outcome.code)
    assert SECRET not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("load --workers 2", "No such option '--workers'. `datagen load-parallel` has it."),
        ("load --custmers 2", "No such option '--custmers'. Did you mean --customers?"),
        ("laod", "No such command 'laod'. Did you mean 'load'?"),
        ("stream --truncat", "No such option '--truncat'. Did you mean --truncate?"),
        (
            "benchmark --bootstrap x:1",
            "No such option '--bootstrap'. Did you mean --kafka-bootstrap?",
        ),
        (
            "report --truncate",
            "`datagen load`, `datagen load-parallel`, `datagen stream`, `datagen verify` have it.",
        ),
        ("load --qqqq", "No such option '--qqqq'."),
    ],
)
def test_suggestions_fit(typed: str, said: str) -> None:
    outcome = run(*DATAGEN, *typed.split())
    assert_failed(outcome, 2)
    assert outcome.err.splitlines()[0].endswith(said)


def test_a_day_is_its_midnight(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20, "--truncate")
    outcome = load(*options, "--as-of", "2026-03-01")
    assert outcome.code == 0, str(outcome)
    assert "90 days up to 2026-03-01T00:00:00Z" in outcome.lines[0]
    assert_failed(load("--as-of", "2026-02-30"), 2, "--as-of", "'2026-02-30' is no day")
    times = ("--start", "2026-06-20", "--until", "2026-06-21", "--rate", 1e6, "--no-backfill")
    events = run(*DATAGEN, "stream", "--stdout", *times, "--as-of", "2026-06-22", "--customers", 20)
    assert events.code == 0, str(events)
    assert "live from 2026-06-20T00:00:00.000Z" in events.err
    assert "Ended at 2026-06-21T00:00:00.000Z" in events.err


# --- LOG_LEVEL


def test_a_traceback_only_for_debugging() -> None:
    options = (*nowhere(), "--skip-kafka", "--customers", 20)
    for level in ("INFO", "error"):
        assert_failed(load(*options, LOG_LEVEL=level), 5, CLOSED)
    outcome = load(*options, LOG_LEVEL="debug")
    assert outcome.code == 5
    assert "Traceback (most recent call last)" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("Error: PostgreSQL at")
    assert SECRET not in outcome.err


def test_an_end_of_a_line_is_no_part_of_a_value() -> None:
    """A variable that was read from a file, such as a mounted secret, has one."""
    where = {
        "DATAGEN_KAFKA_BOOTSTRAP": "127.0.0.1:1\n",
        "DATAGEN_POSTGRES_URL": "postgresql://127.0.0.1:1/bank\r\n",
        "DATAGEN_SCHEMA_REGISTRY": "http://127.0.0.1:1\n",
        "LOG_LEVEL": "error\n",
    }
    outcome = load(timeout=60, **where)
    assert_failed(outcome, 5, "Kafka at 127.0.0.1:1 refused", "PostgreSQL at 127.0.0.1:1/bank can")


@pytest.mark.parametrize("level", ["LOUD", "", "10"])
def test_no_such_log_level(level: str) -> None:
    assert_failed(load(LOG_LEVEL=level), 2, "LOG_LEVEL", repr(level), "DEBUG, INFO")


def test_debugging_tells_of_the_load(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    services = ("--postgres-url", pg_dsn), clean_kafka.options
    options = (*services[0], *services[1], "--schema-registry", registry.url, "--create-topics")
    secret = f"--kafka-option=sasl.password={SECRET}"
    said = load(*options, secret, "--customers", 20, LOG_LEVEL="DEBUG").err
    assert "plan: seed 42, customers 0 to 19, 90 days up to 2026-07-01T00:00:00+00:00" in said
    assert "engine native, acks all, batches of 16384 bytes" in said
    assert "client options: sasl.password" in said
    assert re.search(r"COPY customers: 20 rows, \d{4} bytes", said)
    assert re.search(rf"creating {clean_kafka.names[0]}", said)
    assert re.search(r"banking.transactions-value has the id \d+", said)
    trades = Plan(customers=20).rows("banking.trades")
    assert f"Kafka banking.trades: {trades} rows" in said
    # No news of other packages' connections.
    assert not re.search(r"send_request|connect_tcp|handshake|HTTP Request", said), said
    assert SECRET not in said


def test_info_says_more(pg_dsn: str, clean_kafka: OwnTopics, registry: Registry) -> None:
    services = ("--postgres-url", pg_dsn), clean_kafka.options
    options = (*services[0], *services[1], "--schema-registry", registry.url, "--create-topics")
    outcome = load(*options, "--customers", 20, LOG_LEVEL="INFO")
    assert outcome.code == 0, str(outcome)
    assert (
        f"INFO: topic {clean_kafka.name('banking.trades')}: created with 3 partitions"
        in outcome.err
    )


def test_a_mistake_of_ours_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object) -> None:
        raise LookupError(SECRET)

    monkeypatch.setattr(loader, "load", break_down)
    with pytest.raises(SystemExit) as caught:
        cli.main(["load"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "Error: unexpected LookupError; LOG_LEVEL=DEBUG shows where\n"
    )


# --- progress


def on_a_terminal(
    *command: object, columns: int = 120, added: Mapping[str, str] | None = None
) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    environment = environment_of({"TERM": "xterm-256color", **(added or {})})
    with subprocess.Popen(
        [str(part) for part in command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # Linux: the other end was closed
                piece = b""
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def plain(shown: str) -> list[str]:
    """The lines that stay on a terminal, without colours: a bar goes when its part is done."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", re.sub(r"[^\n]*\r(?!\n)", "", shown))
    return [line for line in text.splitlines() if line and "━" not in line]


def test_a_bar_on_a_terminal_and_lines_elsewhere(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--truncate", "--customers", 2_000)
    shown = on_a_terminal(*LOAD, *options)
    assert "━" in shown
    assert "\x1b[" in shown
    assert re.search(r"PostgreSQL accounts .*━.* [\d,]+/[\d,]+", shown)
    assert "\x1b[32m[OK]\x1b[0m customers: 2000 rows" in shown

    logged = load(*options)
    assert logged.code == 0, str(logged)
    assert not set("\x1b\r━") & set(logged.out + logged.err)
    assert "  [OK] customers: 2000 rows" in logged.lines
    assert re.search(r"^  PostgreSQL: [\d,]+ rows in \d+\.\d+ s", logged.out, re.MULTILINE)
    assert unfigured(plain(shown)) == unfigured(logged.lines)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_none_are_wanted(pg_dsn: str, variable: str, value: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20)
    shown = on_a_terminal(*LOAD, *options, added={variable: value})
    assert "\x1b[3" not in shown
    assert "  [OK] customers: 20 rows" in shown
    if variable == "TERM":
        assert not set("\x1b━") & set(shown)


def test_what_fails_is_red(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datagen.cli.console.Console._on_a_terminal", lambda _: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console()
    console.say(f"{console.mark('[FAIL]', 'red')} banking.trades")
    assert capsys.readouterr().out == "\x1b[31m[FAIL]\x1b[0m banking.trades\n"


@pytest.mark.parametrize("columns", [60, 200])
def test_lines_fit_the_terminal_and_use_it(pg_dsn: str, columns: int) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 12_000)
    shown = on_a_terminal(*LOAD, *options, columns=columns)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))
    # An address is never broken, nor is a path.
    broken = [line for line in lines if "://" not in line and not line.startswith("Receipt: ")]
    assert max(map(len, broken)) <= columns
    if columns == 200:
        assert max(map(len, lines)) > 190
        assert any(len(line) > 80 for line in lines if line.startswith("Loading "))
    assert "Validation: ALL OK" in lines


def test_a_small_load_says_little(pg_dsn: str) -> None:
    outcome = load("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20)
    heads = [line.split(":")[0] for line in outcome.lines]
    known = {"Loading 20 customers (seed 42, 90 days up to 2026-07-01T00", "Summary", "Look at it"}
    known |= {"Receipt"}
    known |= {"  Generation", "  PostgreSQL", "  Total", "Validating PostgreSQL row counts..."}
    checks = [head for head in heads if head.startswith("  [OK] ")]
    looks = [head for head in heads if head.startswith(("  psql ", "  datagen peek "))]
    assert {*heads} - known - {*checks} - {*looks} == {"Validation"}
    assert (len(checks), len(looks), len(heads)) == (6, 2, 17)


@pytest.mark.parametrize(
    ("rows", "seconds", "text"),
    [(40_234, 0.001, ""), (402_340, 0.5, "804,680/s"), (0, 2.0, ""), (3, 2.0, "2/s")],
)
def test_rates_mean_something(rows: int, seconds: float, text: str) -> None:
    assert _rate(rows, seconds) == text


def test_topics_side_by_side_have_no_rate_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.start(KAFKA, "events", 1_000_000)
    for name in ("banking.trades", "banking.transactions"):
        console.finish(KAFKA, Part(name, 500_000, 20.0))
    console.start(KAFKA, "banking.trades", 500_000)
    console.finish(KAFKA, Part("banking.trades", 500_000, 20.0))
    console.finish(KAFKA, Part("acknowledgements", 0, 0.9))
    assert capsys.readouterr().out == "  Kafka banking.trades: 500,000 in 20.00 s (25,000/s)\n"


@pytest.mark.parametrize(
    "options", [["load", "--help"], ["lod"], ["load", "--seed", "x"], ["load", *nowhere()]]
)
def test_the_language_of_the_user_changes_nothing(options: list[str]) -> None:
    ours, theirs = (
        run(*DATAGEN, *options, LANG=name, LC_ALL=name, LANGUAGE=name.partition(".")[0])
        for name in ("C.UTF-8", "pt_BR.UTF-8")
    )
    assert ours == theirs


def unfigured(lines: list[str]) -> list[str]:
    """Lines without seconds and rates, and without those of parts that took long and of a receipt."""
    apart = re.compile(r"  (Generating|PostgreSQL) [a-z_ ]+:|Receipt: ")
    kept = [line for line in lines if not apart.match(line)]
    return [re.sub(r"[\d.]+ s\b( \([\d,]+/s\))?", "N", line).strip() for line in kept]


def test_a_log_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 1.0, 5.0, 6.0, 10.0, 20.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    console = Console()
    console.start(KAFKA, "banking.trades", 500)
    for _ in range(5):
        console.advance(100)
    console.finish(KAFKA, Part("banking.trades", 500, 20.0))
    assert capsys.readouterr().out.splitlines() == [
        "  Kafka banking.trades: 200 of 500 (40/s, 8 s left)",
        "  Kafka banking.trades: 400 of 500 (40/s, 2 s left)",
        "  Kafka banking.trades: 500 in 20.00 s (25/s)",
    ]


def test_a_reader_that_goes_away_stops_no_load(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 2_000)
    with started(*LOAD, *options) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        outcome = outcome_of(process)
    assert outcome.code == 0, outcome.err
    first, *rest = outcome.err.splitlines()
    assert first.startswith("WARNING: The reader of standard output has gone: the run goes on")
    assert rest[-1] == "Validation: ALL OK"
    assert tables(pg_dsn) == 6


def test_an_output_that_is_full_stops_no_load(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20, "--json")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [str(word) for word in (*LOAD, *options)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env=environment_of({}),
        )
    assert done.returncode == 0, done.stderr
    assert tables(pg_dsn) == 6


def test_neither_output_has_a_reader(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 2_000)
    with started(*LOAD, *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        assert process.wait(60) == 0
    assert tables(pg_dsn) == 6


# --- Ctrl-C, SIGTERM and SIGHUP

ENDS = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "ended by SIGTERM"), "SIGHUP": (129, "")}


def copies(dsn: str) -> bool:
    """Whether a load is copying rows."""
    with psycopg.connect(dsn) as connection:
        statement = "SELECT query FROM pg_stat_activity WHERE application_name = 'datagen'"
        rows = connection.execute(statement).fetchall()
    return any("COPY" in query for (query,) in rows)


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_while_copying_leaves_nothing(pg_dsn: str, name: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 200_000)
    with started(*LOAD, *options) as process:
        assert wait_until(lambda: copies(pg_dsn))
        outcome = interrupted(process, name)
    assert outcome.lines[-2:] == [
        "PostgreSQL: nothing committed.",
        "Nothing was loaded: the same command can be repeated.",
    ]
    assert tables(pg_dsn) == 0
    with psycopg.connect(pg_dsn) as connection:
        statement = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^datagen_loading'"
        assert connection.execute(statement).fetchall() == []


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_while_sending_says_what_arrived(
    engine: Engine, clean_kafka: OwnTopics, registry: Registry, pg_dsn: str, name: str
) -> None:
    services = clean_kafka.options, ("--schema-registry", registry.url)
    more = ("--postgres-url", pg_dsn, "--create-topics", *engine.options)
    options = (*services[0], *services[1], *more)
    with started(*LOAD, *options, "--customers", 60_000) as process:
        assert wait_until(lambda: clean_kafka.ends()[TOPICS[0]] > 0, 120)
        outcome = interrupted(process, name)
    told = re.search(
        r"^PostgreSQL: all rows committed\. Kafka: (\d+) of (\d+) planned events acknowledged\.$",
        outcome.out,
        re.MULTILINE,
    )
    assert told, str(outcome)
    acknowledged = int(told[1])
    unknown = sum(int(one) for one in re.findall(r"unknown (\d+)", outcome.out))
    arrived = sum(clean_kafka.ends().values())
    assert acknowledged <= arrived <= acknowledged + unknown
    assert arrived < int(told[2])
    assert "repeated" not in outcome.out + outcome.err
    assert "Resume it with datagen load --resume" in outcome.out


def test_process_1_of_a_container_ends_by_sigterm(pg_dsn: str) -> None:
    """The kernel hands process 1 only signals that it listens to."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a namespace of processes takes root and unshare")
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 400_000)
    with started("unshare", "--pid", "--fork", "--kill-child", *LOAD, *options) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        assert wait_until(lambda: children.read_text().strip() != "")
        child = int(children.read_text())
        assert "NSpid" in (status := Path(f"/proc/{child}/status").read_text())
        assert re.search(r"NSpid:\s+\d+\s+1$", status, re.MULTILINE)
        assert wait_until(lambda: copies(pg_dsn))
        os.kill(child, signal.SIGTERM)
        outcome = outcome_of(process)
    assert outcome.code == 143, str(outcome)
    assert "PostgreSQL: nothing committed." in outcome.out
    assert tables(pg_dsn) == 0


@pytest.mark.timing
def test_ctrl_c_while_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = ("--kafka-bootstrap", f"127.0.0.1:{silent.getsockname()[1]}")
        with started(*LOAD, *nowhere(), *where, "--skip-postgres") as process:
            time.sleep(2)
            assert process.poll() is None
            assert "before anything was loaded" in interrupted(process).err


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["lines", "json"])
def test_a_signal_once_all_is_there_takes_nothing_back(
    as_json: tuple[str, ...],
    pg_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While the summary is said, which waits for its reader; and a second one meanwhile."""

    def end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    settle = Console.settle

    def settle_slowly(console: Console, settlement: Settlement) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        settle(console, settlement)

    monkeypatch.setattr(Console, "tail", end)
    monkeypatch.setattr(Console, "settle", settle_slowly)
    with pytest.raises(SystemExit) as caught:
        cli.main(["load", "--postgres-url", pg_dsn, "--skip-kafka", *as_json])
    assert caught.value.code == 143
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == "Error: ended by SIGTERM"
    lines = (said.err if as_json else said.out).splitlines()
    assert lines.count("PostgreSQL: all rows committed.") == 1
    if as_json:
        found = json.loads(said.out)
        assert (found["exit_code"], found["postgres"]["outcome"]) == (143, "committed")


def interrupted(process: Process, name: str = "SIGINT") -> Outcome:
    """Send a signal; the prompt is back within five seconds."""
    code, said = ENDS[name]
    began = time.monotonic()
    process.send_signal(getattr(signal, name))
    outcome = outcome_of(process)
    assert time.monotonic() - began < 5
    assert outcome.code == code, str(outcome)
    # An empty line, so that ours does not start behind the terminal's ^C.
    (error,) = filter(None, outcome.err.splitlines())
    assert error.startswith(f"Error: {said}"), outcome.err
    return outcome


# --- one JSON object


def test_json_has_what_the_lines_say(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry
) -> None:
    services = clean_kafka.options, ("--schema-registry", registry.url)
    options = (*services[0], *services[1], "--postgres-url", pg_dsn, "--create-topics", "--json")
    outcome = load(*options, "--customers", 20)
    found = json.loads(outcome.out)
    assert outcome.err.splitlines()[-1] == "Validation: ALL OK"
    assert (found["exit_code"], found["error"], found["ok"]) == (0, None, True)
    assert found["postgres"]["outcome"] == "committed"
    assert found["postgres"]["rows"]["customers"] == 20
    kafka = found["kafka"]
    assert kafka["acknowledged"] == kafka["planned"] == sum(clean_kafka.ends().values())
    assert set(kafka["topics"]) == set(clean_kafka.names)
    assert found["repeatable"] is False


def test_json_that_stdout_does_not_take_goes_to_stderr(pg_dsn: str) -> None:
    command = (*LOAD, "--postgres-url", pg_dsn, "--skip-kafka", "--json")
    outcome = run("sh", "-c", '"$@" > /dev/full', "sh", *command)
    assert outcome.code == 0, str(outcome)
    assert json.loads(outcome.err.splitlines()[-1])["ok"] is True


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_stop_nothing(pg_dsn: str, closed: str) -> None:
    command = (*LOAD, "--postgres-url", pg_dsn, "--skip-kafka")
    outcome = run("sh", "-c", f'"$@" {closed}', "sh", *command)
    assert outcome.code == 0, str(outcome)
    assert outcome.out == outcome.err == ""
    assert tables(pg_dsn) > 0


def test_json_of_a_run_that_could_not_begin() -> None:
    outcome = load(*nowhere(), "--json")
    found = json.loads(outcome.out)
    assert outcome.code == found["exit_code"] == 5
    assert f"Error: {found['error']}\n" in outcome.err
    assert found["seed"] == 42


@pytest.mark.timing
def test_both_services_that_are_down_are_named_in_one_run() -> None:
    began = time.monotonic()
    outcome = load(*nowhere())
    assert_failed(outcome, 5, "Kafka at 127.0.0.1:1", "PostgreSQL at 127.0.0.1:1/bank")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "name",
    ["DATAGEN_POSTGRES_URL", "DATAGEN_KAFKA_BOOTSTRAP", "DATAGEN_SCHEMA_REGISTRY"],
)
def test_an_empty_variable_is_no_address(name: str) -> None:
    empty: dict[str, Any] = {name: ""}
    outcome = load("--truncate", "--create-topics", **empty)
    assert_failed(outcome, 2, name, "empty")


# --- client properties


def test_client_properties_from_a_file(
    tmp_path: Path, clean_kafka: OwnTopics, registry: Registry
) -> None:
    file = tmp_path / "client.properties"
    file.write_text(
        "# where the brokers are\n"
        "! this too is a comment\n"
        "\n"
        f"bootstrap.servers = {clean_kafka.bootstrap}\n"
        f"schema.registry.url: {registry.url}\n"
        "  client.id=file=with=signs  \n"
        "group.id loaders\n"
        "auto.offset.reset=earliest\n"
        "acks=nonsense\n"
    )
    options = (
        *("--skip-postgres", "--create-topics", "--topic-prefix", clean_kafka.prefix),
        *("--preset", "BULK", "--kafka-config", file),
    )
    wrong = load(*options, "--customers", 20)
    assert wrong.code == 3, str(wrong)
    assert "acks" in wrong.err
    assert sum(clean_kafka.ends().values()) == 0
    right = load(*options, "--customers", 20, "--kafka-option", "acks=1")
    assert right.code == 0, str(right)
    assert right.err == (
        f"WARNING: {file}: ignored, being of no use here: group.id, auto.offset.reset\n"
    )
    assert "Kafka (avro, native)" in right.out
    # The command line wins over the file, and its last option over the others.
    last = load(
        *options, "--customers", 20, "--kafka-option", "acks=1", "--kafka-option", "acks=never"
    )
    assert last.code == 3, str(last)
    outcome = load(*options, "--kafka-option", "acks=1", "--kafka-bootstrap", CLOSED)
    assert outcome.code == 5, str(outcome)
    assert CLOSED in outcome.err


@pytest.mark.parametrize(("content", "line"), [(f"={SECRET}\n", 1), (f"#\n\n  = {SECRET}\n", 3)])
def test_a_malformed_file_of_properties(tmp_path: Path, content: str, line: int) -> None:
    file = tmp_path / "client.properties"
    file.write_text(content)
    outcome = load(*nowhere(), "--kafka-config", file)
    assert_failed(outcome, 3, f"{file}, line {line}", "key=value")
    assert SECRET not in outcome.err


def test_a_file_of_properties_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_bytes(b"\xff\xfe\x00" + SECRET.encode())
    outcome = load(*nowhere(), "--kafka-config", file)
    assert_failed(outcome, 3, str(file), "cannot be read")
    assert SECRET not in outcome.err


@pytest.mark.parametrize(
    "option", [f"no.such.property={SECRET}", f"acks={SECRET}", "ssl.ca.location=/no/such/file"]
)
def test_client_properties_that_cannot_be(option: str) -> None:
    options = ("--kafka-option", "security.protocol=ssl", "--kafka-option", option)
    outcome = load(*nowhere(), *options)
    assert_failed(outcome, 3, "Kafka option")
    assert SECRET not in outcome.err


# --- secrets


def test_no_secret_is_ever_printed(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "client.properties"
    file.write_text("sasl.username=loader\nsasl.password=FromTheFile\n")
    password = urlsplit(pg_dsn).password or ""
    user = f"clerk:{SECRET}"
    secrets = ["FromTheFile", "OnTheLine", SECRET, base64.b64encode(user.encode()).decode()]
    if password and password != "postgres":
        secrets.append(password)
    options: tuple[Any, ...] = (
        *("--kafka-config", file, "--kafka-option", "ssl.key.password=OnTheLine"),
        *("--registry-user", user, "--create-topics", "--customers", 20),
    )
    right = (
        *("--postgres-url", pg_dsn, *clean_kafka.options),
        *("--schema-registry", registry.url),
    )
    closed_registry = (*right[:-1], f"http://other:{SECRET}@{CLOSED}")
    for where, code in (
        (right, 0),
        (right, 4),  # the rows are there already
        ((*right[2:], "--postgres-url", f"postgresql://postgres:{SECRET}@{CLOSED}/bank"), 5),
        ((*right[2:], "--postgres-url", f"postgresql://postgres:{SECRET}@[::1/bank"), 3),
        (closed_registry, 3),  # two users
    ):
        outcome = load(*where, *options, LOG_LEVEL="DEBUG")
        assert outcome.code == code, str(outcome)
        assert code == 0 or "Traceback" in outcome.err
        for secret in secrets:
            assert secret not in outcome.out + outcome.err, secret


def test_help_does_not_show_the_environment() -> None:
    outcome = run(*LOAD, "--help", DATAGEN_POSTGRES_URL=f"postgresql://a:{SECRET}@b/c")
    assert SECRET not in outcome.out
    assert CliRunner().invoke(cli.group, ["load", "--help"]).exit_code == 0


# --- sinks that take no part


@pytest.mark.parametrize(
    "options",
    [
        ("--partitions", "0"),
        ("--partitions", "nope=1"),
        ("--retention-hours", "-2"),
        ("--replication-factor", "0"),
    ],
    ids=" ".join,
)
def test_an_option_of_a_sink_that_is_left_out_is_checked_all_the_same(
    pg_dsn: str, options: tuple[str, ...]
) -> None:
    outcome = load("--postgres-url", pg_dsn, "--skip-kafka", *options)
    assert_failed(outcome, 2, options[0])
    assert tables(pg_dsn) == 0


ASKED = ("exit_code", "error", "seed", "customers", "from_customer", "days", "as_of")
OUTCOME = ("repeatable", "advice", "ok", "checks", "uncounted")
TIMES = ("seconds", "seconds_of")


@pytest.mark.parametrize(
    ("code", "options"), [(5, ("--skip-kafka",)), (2, ("--postgres-schema", "x" * 70))]
)
def test_a_failure_before_the_load_says_nothing_of_sinks(
    code: int, options: tuple[object, ...]
) -> None:
    outcome = load(*nowhere(), *options, "--json")
    assert outcome.code == code, str(outcome)
    said = json.loads(outcome.out)
    assert list(said) == [
        *(*ASKED, "postgres", "kafka", *OUTCOME, "doubled", "format", "engine", *TIMES),
        "receipt",
    ]
    assert {said[name] for name in list(said)[7:-1]} == {None}


@pytest.mark.parametrize(
    ("code", "more", "ok"), [(0, (), True), (4, ("--topic-config", "max.message.bytes=100"), None)]
)
def test_json_has_the_same_parts_in_every_outcome(
    pg_dsn: str, clean_kafka: OwnTopics, code: int, more: tuple[str, ...], ok: bool | None
) -> None:
    where = ("--postgres-url", pg_dsn, *clean_kafka.options, "--create-topics", "--no-avro")
    outcome = load("--customers", 20, *where, *more, "--json")
    assert outcome.code == code, str(outcome)
    said = json.loads(outcome.out)
    parts = ("postgres", "kafka", *OUTCOME, "doubled", "format", "engine", *TIMES, "receipt")
    assert list(said) == [*ASKED, *parts]
    assert (said["exit_code"], said["ok"]) == (code, ok)
    assert said["kafka"]["planned"] > 0


def test_json_of_files_has_the_same_parts_in_every_outcome(tmp_path: Path) -> None:
    said = []
    for name in ("bank", "bank", "file/bank"):
        (tmp_path / "file").write_text("")
        command = (*DATAGEN, "files", "csv", "--customers", 3, "--output", tmp_path / name)
        said.append(json.loads(run(*command, "--json").out))
    assert [one["ok"] for one in said] == [True, None, None]
    assert list(said[0]) == list(said[1]) == list(said[2])
    assert list(said[0])[:7] == [*ASKED]


def test_the_result_has_its_parts_in_one_order(pg_dsn: str) -> None:
    outcome = load("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20, "--json")
    assert outcome.code == 0, str(outcome)
    said = json.loads(outcome.out)
    assert list(said)[7:] == [
        *("postgres", "kafka", "repeatable", "advice", "ok", "checks", "uncounted"),
        *("doubled", "format", "engine", "seconds", "seconds_of"),
        "receipt",
    ]
    assert list(said["checks"]) == [table.name for table in catalogue().tables]


def test_what_truncate_removes_is_said_before_a_sink_is_made() -> None:
    options = ("--truncate", "--from-customer", 5, "--postgres-schema", "x" * 70)
    outcome = load(*nowhere(), "--skip-kafka", *options)
    assert outcome.code == 2
    assert outcome.err.startswith("WARNING: --truncate removes the rows of customers before 5 too")
