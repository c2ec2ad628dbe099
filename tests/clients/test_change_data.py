"""Debezium follows tables that follow a stream: it sees every change, in order, with its key."""

from __future__ import annotations

import itertools
import json
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from client_programs import command

from command import DATAGEN, run
from datagen import Plan
from datagen.types import catalogue
from services.postgres import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

# The jars may have to be fetched first.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1_500)]

START, END = "2026-06-15T00:00:00Z", "2026-06-20T00:00:00Z"
#: How long it may take, in seconds.
PATIENCE = 900


def test_debezium(tmp_path: Path) -> None:
    changes, position = tmp_path / "changes.jsonl", tmp_path / "position.json"
    with PostgresServer({"fsync": "off", "wal_level": "logical"}) as server:
        dsn = server.database("bank")
        stream = (*DATAGEN, "stream", "--stdout", "--postgres-url", dsn, "--position", position)
        bank = bank_in_which_loans_are_contracted()
        plan = ("--seed", bank.seed, "--customers", bank.customers, "--days", bank.days)
        begun = run(*stream, *plan, "--start", START, "--until", START, "--no-backfill", timeout=60)
        assert begun.code == 0, begun
        printed = run(*DATAGEN, "schema", "--for", "debezium", "--postgres-url", dsn)
        connector = tmp_path / "connector.json"
        connector.write_text(printed.out.replace("<password>", urlsplit(dsn).password or ""))
        args = (connector, END.replace("Z", ".000000Z"))
        follower = subprocess.Popen(
            command("Debezium", tmp_path, *args, changes, PATIENCE),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "ready\n"
            went_on = run(*stream, "--resume", "--until", END, "--speed", "20000", timeout=120)
            assert went_on.code == 0, went_on
            with psycopg.connect(dsn) as session:
                session.execute("UPDATE datagen_streams SET days = days")
            _, err = follower.communicate(timeout=PATIENCE)
        finally:
            follower.kill()
        assert follower.returncode == 0, err[-5_000:]
        seen = [json.loads(line) for line in changes.read_text().splitlines()]
        check(seen, dsn, bank)


def bank_in_which_loans_are_contracted() -> Plan:
    """The first of its seed whose loans become more from the one instant to the other."""
    banks = (Plan(seed, 500, days=30) for seed in itertools.count())
    return next(bank for bank in banks if contracted(bank))


def contracted(bank: Plan) -> int:
    return bank.rows("loans", until=END) - bank.rows("loans", until=START)


def check(seen: list[dict[str, Any]], dsn: str, bank: Plan) -> None:
    kept: dict[str, dict[str, dict[str, Any]]] = {one.name: {} for one in catalogue().tables}
    kinds = set()
    for change in seen:
        table, row = change["table"], change["after"]
        if table not in kept:
            continue
        key = catalogue()[table].primary_key
        assert change["key"] == {key: row[key]}
        before = kept[table].get(row[key])
        assert (change["op"] == "u") == (before is not None)
        if before is not None:
            assert before["updated_at"] < row["updated_at"]
        kept[table][row[key]] = row
        kinds.add((change["op"], table))
    assert {("u", "accounts"), ("u", "credit_cards"), ("u", "loans"), ("c", "loans")} <= kinds
    loans = sum((change["op"], change["table"]) == ("c", "loans") for change in seen)
    assert loans == contracted(bank)
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as session:
        for table in catalogue().tables:
            rows = session.execute(f"SELECT * FROM {table.name}".encode()).fetchall()
            found = {str(row[table.primary_key]): row for row in rows}
            assert found.keys() == kept[table.name].keys()
            for ident, row in kept[table.name].items():
                for name in ("balance", "available_limit", "outstanding_balance", "status"):
                    if name in row:
                        assert row[name] == str(found[ident][name])
    updates = sum(change["op"] == "u" for change in seen)
    print(f"Debezium: {updates} changes of {len(seen)}")
