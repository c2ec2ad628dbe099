"""`datagen show`: the rows of a load, made without a service."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest

from command import DATAGEN, assert_failed, run
from datagen import Plan
from datagen.types import catalogue
from terminals import run_on_terminal

SHOW = (*DATAGEN, "show")


def lines(name: str, plan: Plan, first: int = 0, **more: Any) -> list[str]:
    """All rows of a relation as Kafka's JSON has them."""
    batches = plan.batches(name, first, **more)
    return [bytes(row).decode() for batch in batches for row in batch.encode("json")]


@pytest.mark.parametrize("name", [relation.name for relation in catalogue()])
def test_json_is_what_a_load_sends(name: str) -> None:
    plan = Plan(seed=7, customers=40, days=30)
    order: dict[str, Any] = {"order": "time"} if catalogue()[name].is_stream else {}
    shown = run(
        *SHOW, name, "-n", 12, "--seed", 7, "--customers", 40, "--days", 30, "--format", "json"
    )
    assert shown.code == 0, shown
    assert shown.lines == lines(name, plan, **order)[:12]


def test_a_range_of_customers_in_the_order_of_entities() -> None:
    options = ("--from-customer", 30, "--customers", 10, "--order", "entity", "--format", "json")
    shown = run(*SHOW, "banking.installments", "-n", 1000, *options)
    assert shown.lines == lines("banking.installments", Plan(customers=40), 30)[:1000]
    stocks = run(*SHOW, "stocks", "--from-customer", 30, "--format", "json")
    assert stocks.lines == lines("stocks", Plan())[:10]


def test_a_table_in_a_pipe_is_not_cut() -> None:
    shown = run(*SHOW, "customers", "-n", 3)
    head, _, *rows = shown.out.strip("\n").splitlines()
    assert head.split() == [field.name for field in catalogue()["customers"].fields]
    for text, row in zip(rows, lines("customers", Plan()), strict=False):
        for value in json.loads(row, parse_float=str).values():
            assert value is None or str(value).replace("False", "false") in text
    assert len(rows) == 3
    assert "\x1b" not in shown.out


@pytest.mark.parametrize("width", [60, 120, 200])
@pytest.mark.parametrize("name", ["stocks", "banking.transactions"])
def test_a_terminal_of_any_width_shows_every_value(width: int, name: str) -> None:
    shown = run_on_terminal(width, *SHOW, name, "-n", 2)
    assert shown.code == 0, shown
    assert max(map(len, shown.lines)) <= width
    order: dict[str, Any] = {"order": "time"} if catalogue()[name].is_stream else {}
    together = "".join(shown.out.split())
    for row in lines(name, Plan(), **order)[:2]:
        for value in json.loads(row, parse_float=str).values():
            assert value is None or "".join(str(value).split()) in together
    # Where it fits it is a table.
    assert shown.out.startswith("row 1") == (width < 132 or name != "stocks")


def test_a_misspelt_name_gets_a_suggestion() -> None:
    assert_failed(run(*SHOW, "bankin.trade"), 2, "did you mean banking.trades?")
    assert_failed(run(*SHOW, "nothing"), 2, "use one of customers, ")
    assert_failed(run(*SHOW, "customers", "--customers", 0), 2, "--customers")
    assert_failed(run(*SHOW, "customers", "-n", 0), 2, "-n")


@pytest.mark.parametrize("order", ["time", "entity"])
def test_rows_of_tables_have_one_order(order: str) -> None:
    for name in ("stocks", "loans"):
        shown = run(*SHOW, name, "--order", order, "--format", "json")
        assert shown.lines == lines(name, Plan())[:10]


COMMANDS = [
    (*SHOW, "banking.transactions", "-n", 9000, "--format", "json"),
    (*SHOW, "customers", "-n", 400, "--customers", 400),
    (*DATAGEN, "schema", "--for", "avro"),
    (*DATAGEN, "stream", "--stdout", "--start", "2026-06-30", "--duration", "9s"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[3])
def test_output_that_takes_no_data(command: tuple[object, ...]) -> None:
    full = run("sh", "-c", '"$@" > /dev/full', "sh", *command)
    assert full.code == 4, full
    assert (
        full.err.splitlines()[-1]
        == "Error: Cannot write to standard output: No space left on device"
    )
    closed = run("sh", "-c", '"$@" >&-', "sh", *command)
    assert_failed(closed, 4, "Cannot write to standard output: it is closed")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[3])
def test_a_reader_that_goes_ends_it_quietly(command: tuple[object, ...]) -> None:
    # Python without buffers does not see that a part of a text was not taken.
    piped = ("sh", "-c", '{ "$@"; echo $? >&2; } | head -c 1', "sh", *command)
    done = run(*piped, PYTHONUNBUFFERED="")
    assert len(done.out) == 1
    said = [line for line in done.err.splitlines() if not line.startswith("Streaming ")]
    # All that a schema says has room in the pipe.
    assert said == ["0" if "schema" in command else "141"]


@pytest.mark.timing
@pytest.mark.parametrize("name", ["customers", "banking.transactions", "banking.installments"])
def test_a_large_bank_is_not_made(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    shown = run(*SHOW, name, "--customers", 1_000_000)
    assert len(shown.out.strip("\n").splitlines()) == 12
    # Seconds of work, where to make all events takes many more.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 12
