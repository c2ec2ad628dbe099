"""What a command does where its outputs take nothing: full, closed, without a reader, or not waited for."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from command import DATAGEN, LOAD, Outcome, environment_of, run
from datagen.receipts import Recorder
from postgres_tables import tables

if TYPE_CHECKING:
    from pathlib import Path

FULL = "Cannot write to standard output: No space left on device"
CLOSED = "Cannot write to standard output: it is closed"
#: Commands that print what was asked for.
DATA = {
    "help": "--help",
    "version": "--version",
    "help of one": "load --help",
    "show": "show customers -n 2",
    "show json": "show customers -n 2 --format json",
    "explain": "explain 26232290313",
    "schema": "schema --for postgres",
    "status": "local status",
    "runs": "runs",
    "files": "files csv --tables customers --customers 2 --stdout",
}


def redirected(words: str, where: str, environment: dict[str, str] | None = None) -> Outcome:
    command = ("bash", "-c", f'"$@" {where}', "bash", *DATAGEN, *words.split())
    return run(*command, timeout=60, **(environment or {}))


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A folder of state that has a receipt, and no stack."""
    runs = tmp_path / "datagen" / "runs"
    runs.mkdir(parents=True)
    plan = {"seed": 42, "customers": 2, "from_customer": 0, "as_of": "2026-07-01", "days": 90}
    content = {"plan": plan, "order": "time", "rows": {}, "sinks": {}}
    Recorder(runs / "a.json", command="load").write("failed", content, "cannot connect")
    return {"XDG_STATE_HOME": str(tmp_path), "DATAGEN_HOME": str(tmp_path / "local")}


@pytest.mark.parametrize(("where", "said"), [("> /dev/full", FULL), (">&-", CLOSED)])
@pytest.mark.parametrize("words", DATA.values(), ids=DATA)
def test_data_that_stdout_does_not_take(
    words: str, where: str, said: str, home: dict[str, str]
) -> None:
    outcome = redirected(words, where, home)
    assert outcome.code == 4, str(outcome)
    assert outcome.err.splitlines()[-1] == f"Error: {said}"
    assert redirected(words, f"{where} 2> /dev/full", home).code == 4


@pytest.mark.parametrize("words", DATA.values(), ids=DATA)
def test_lines_that_stderr_does_not_take_are_lost(words: str, home: dict[str, str]) -> None:
    whole = redirected(words, "2> /dev/null", home)
    for where in ("2> /dev/full", "2>&-"):
        assert redirected(words, where, home) == whole
    wrong = redirected("show nothing", "2> /dev/full")
    assert (wrong.code, wrong.err) == (2, "")


@pytest.mark.parametrize("words", DATA.values(), ids=DATA)
def test_a_reader_that_has_gone(words: str, home: dict[str, str]) -> None:
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*DATAGEN, *words.split()],
        stdout=written,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        env=environment_of(home),
    )
    os.close(written)
    assert (done.returncode, "Error" in done.stderr) == (141, False), done.stderr


def test_lines_of_a_load_go_to_stderr_where_stdout_is_full(pg_dsn: str) -> None:
    """What has arrived is no failure, which would have it loaded once more."""
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20)
    outcome = run("bash", "-c", '"$@" > /dev/full', "bash", *LOAD, *options)
    assert outcome.code == 0, str(outcome)
    first, *rest = outcome.err.splitlines()
    assert first == f"WARNING: {FULL}: the run goes on, and says the rest here"
    assert rest[-1] == "Validation: ALL OK"
    assert any(line.startswith("Receipt: ") for line in rest)
    assert len(tables(pg_dsn)) == 6


def test_lines_of_a_load_that_neither_output_takes(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20)
    outcome = run("bash", "-c", '"$@" > /dev/full 2> /dev/full', "bash", *LOAD, *options)
    assert outcome.code == 0, str(outcome)
    assert len(tables(pg_dsn)) == 6


def test_json_of_verify_that_stdout_does_not_take(pg_dsn: str) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 20)
    assert run(*LOAD, *options).code == 0
    outcome = run("bash", "-c", '"$@" > /dev/full', "bash", *DATAGEN, "verify", "--json", *options)
    assert outcome.code == 4, str(outcome)
    assert outcome.err.splitlines()[-1] == f"Error: {FULL}"


def test_an_output_that_is_not_waited_for_is_waited_for() -> None:
    """Another process that shares a pipe may have set O_NONBLOCK: what it holds at once is no limit then."""
    words = ["files", "csv", "--tables", "customers", "--customers", "2000", "--stdout"]
    read, written = os.pipe()
    fcntl.fcntl(written, fcntl.F_SETFL, os.O_NONBLOCK)
    with subprocess.Popen(
        [*DATAGEN, *words], stdout=written, stderr=subprocess.DEVNULL, env=environment_of({})
    ) as process:
        os.close(written)
        with os.fdopen(read, "rb") as file:
            found = file.read()
    assert process.returncode == 0
    assert found.count(b"\n") == 2_001


def test_a_terminal_that_is_gone_stops_no_load(pg_dsn: str) -> None:
    """Under `nohup`, or begun by a shell that has let go of it."""
    ours, theirs = pty.openpty()
    command = (*LOAD, "--postgres-url", pg_dsn, "--skip-kafka", "--customers", "2000")
    with subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_of({"TERM": "xterm"}),
    ) as process:
        os.close(theirs)
        os.read(ours, 1)
        os.close(ours)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    first, *rest = err.splitlines()
    assert first.startswith("WARNING: Cannot write to standard output: Input/output error: the run")
    assert rest[-1] == "Validation: ALL OK"
    assert len(tables(pg_dsn)) == 6
