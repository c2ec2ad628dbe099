"""What goes on beside a run, or stands in its way: what is left is what the run says, and ``verify`` says what it saw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql

from command import DATAGEN, LOAD, load, outcome_of, run, started, wait_until
from datagen import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from own_topics import OwnTopics

PLAN: Final = Plan(seed=11, customers=200)
SAID: Final = ("--customers", 200, "--seed", 11, "--no-avro")
#: Slow enough for something to happen meanwhile.
SLOW: Final = ("--preset", "EVENT_BY_EVENT", "--engine", "confluent")
TRANSACTIONS: Final = "banking.transactions"


# --- beside it ------------------------------------------------------------------------------------


@contextmanager
def others(topics: OwnTopics) -> Iterator[list[int]]:
    """Another producer of the topic, and another consumer group with offsets of its own; how many it has sent."""
    topic, end, sent = topics.name(TRANSACTIONS), threading.Event(), [0]

    def send() -> None:
        producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 5})
        while not end.is_set():
            producer.produce(topic, key=b"theirs", value=b"{}", headers=[("ce_source", b"theirs")])
            sent[0] += 1
            producer.poll(0)
            end.wait(0.02)
        assert producer.flush(30) == 0

    def receive() -> None:
        options = {
            "bootstrap.servers": topics.bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
        }
        with closing(Consumer(options)) as consumer:
            consumer.subscribe([topic])
            while not end.is_set():
                if consumer.poll(0.1) is not None:
                    consumer.commit(asynchronous=False)

    threads = [threading.Thread(target=one) for one in (send, receive)]
    for one in threads:
        one.start()
    try:
        yield sent
    finally:
        end.set()
        for one in threads:
            one.join(60)


def test_another_producer_and_another_group(topics: OwnTopics, tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.json"
    with others(topics) as sent:
        assert wait_until(lambda: sent[0] > 0)
        outcome = load(*SAID, *topics.options, "--skip-postgres", "--receipt", receipt, *SLOW)
    # Records of others are in no count of the run's own.
    assert outcome.code == 0, str(outcome)
    verified = run(*DATAGEN, "verify", receipt, "--json", "--show", 0)
    assert verified.code == 6, str(verified)
    found = {one["name"]: one for one in json.loads(verified.out)["compared"]}
    wrong = {name for name, one in found.items() if not one["ok"]}
    assert wrong == {TRANSACTIONS}
    one = found[TRANSACTIONS]
    assert one["planned"] == one["found"] == PLAN.rows(TRANSACTIONS)
    assert one["checksum"]
    kinds = {kind: one[kind] for kind in ("missing", "double", "altered", "misplaced", "late")}
    assert kinds == dict.fromkeys(kinds, 0)
    # Those that came before the run are before where it began.
    assert 0 < one["foreign"] <= sent[0]


def test_retention_during_the_run(topics: OwnTopics, tmp_path: Path) -> None:
    """What is deleted while events are sent has arrived; it cannot be seen any more, and that is said."""
    receipt = tmp_path / "receipt.json"
    topic = topics.name(TRANSACTIONS)
    options = (*SAID, *topics.options, "--skip-postgres", "--receipt", receipt, *SLOW)
    with started(*LOAD, *options) as process:
        assert wait_until(lambda: topics.ends()[TRANSACTIONS] >= 50)
        assert process.poll() is None
        admin = AdminClient({"bootstrap.servers": topics.bootstrap})
        deleted = {
            one.partition: result.result().low_watermark
            for one, result in admin.delete_records(
                [TopicPartition(topic, number, -1) for number in range(3)]
            ).items()
        }
        outcome = outcome_of(process)
    assert sum(deleted.values()) >= 50
    assert outcome.code == 0, str(outcome)
    verified = run(*DATAGEN, "verify", receipt, "--json")
    assert verified.code == 6, str(verified)
    [one] = [one for one in json.loads(verified.out)["compared"] if not one["ok"]]
    assert one["name"] == TRANSACTIONS
    for number, offsets in deleted.items():
        if offsets:
            assert f"{offsets:,} offsets below the log start ({topic}-{number})" in one["unseen"]
    kinds = {kind: one[kind] for kind in ("missing", "double", "altered", "misplaced", "late")}
    assert kinds == dict.fromkeys(kinds, 0)
    assert one["found"] == PLAN.rows(TRANSACTIONS) - sum(deleted.values())


# --- in its way -----------------------------------------------------------------------------------


@pytest.fixture
def full(pg_dsn: str) -> Iterator[str]:
    """A database whose tables are on a disk of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("this account may not mount")
    folder = Path(tempfile.mkdtemp(prefix="dg-full-"))
    folder.chmod(0o755)
    # The server runs as another account, to which the disk is given.
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("this account may not mount")
    name = f"small_{folder.name[-8:].lower()}"
    try:
        with psycopg.connect(pg_dsn, autocommit=True) as session:
            [(data,)] = session.execute("SHOW data_directory").fetchall()
            shutil.chown(folder, Path(data).stat().st_uid)
            session.execute(
                sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(
                    sql.Identifier(name), str(folder)
                )
            )
            database = sql.Identifier(session.info.dbname)
            session.execute(
                sql.SQL("ALTER DATABASE {} SET default_tablespace = {}").format(
                    database, sql.Identifier(name)
                )
            )
        yield pg_dsn
        with psycopg.connect(pg_dsn, autocommit=True) as session:
            session.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(name)))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.parametrize("command", ["load", "load-parallel"])
def test_a_disk_that_is_full(full: str, command: str, tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.json"
    options = ("--customers", 20_000, "--skip-kafka", "--postgres-url", full)
    outcome = run(*DATAGEN, command, *options, "--receipt", receipt)
    assert outcome.code == 4, str(outcome)
    assert "No space left on device" in outcome.err
    assert "disk space" in outcome.err
    with psycopg.connect(full) as session:
        tables = (
            "SELECT count(*) FROM pg_tables WHERE tablename IN ('customers', 'accounts', 'loans')"
        )
        assert session.execute(tables).fetchone() == (0,)
    says = json.loads(receipt.read_text("utf-8"))
    assert says["outcome"] == "failed"
    verified = run(*DATAGEN, "verify", receipt, "--postgres-url", full)
    assert verified.code == 6, str(verified)
    assert "there is no table customers" in verified.out


# --- what none of it says -------------------------------------------------------------------------

SECRETS: Final = ("Tr0ub4dor&3x", "geheim-w0rt9", "s3cret_t0ken.a.b", "y3t-another1")


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING"])
@pytest.mark.parametrize("command", ["load", "load-parallel", "stream", "peek", "verify"])
def test_no_level_and_no_command_says_a_secret(command: str, level: str, tmp_path: Path) -> None:
    """By each way in which one may be given, into services that are not there."""
    first, second, third, fourth = SECRETS
    settings = tmp_path / "client.properties"
    settings.write_text(f"sasl.password={first}\nsasl.username=me\nsasl.mechanism=PLAIN\n")
    receipt = tmp_path / "receipt.json"
    given: dict[str, Any] = {
        "--postgres-url": f"postgresql://me:{second}@127.0.0.1:1/x",
        "--kafka-bootstrap": "127.0.0.1:1",
        "--kafka-config": settings,
        "--kafka-option": f"ssl.key.password={fourth}",
        "--registry-user": f"me:{second}",
        "--registry-option": f"bearer.auth.token={third}",
        "--schema-registry": f"http://127.0.0.1:1/?token={third}",
    }
    options = [text for pair in given.items() for text in pair]
    of_its_own: dict[str, list[Any]] = {
        "peek": ["customers"],
        "verify": ["--customers", 2, "--skip-kafka"],
        "stream": ["--customers", 2, "--position", tmp_path / "position.json"],
    }
    own = of_its_own.get(command, ["--customers", 2])
    recorded = () if command in {"peek", "verify"} else ("--receipt", receipt)
    outcome = run(
        *(*DATAGEN, command, *own, *options, *recorded),
        LOG_LEVEL=level,
        PGPASSWORD=fourth,
        XDG_STATE_HOME=str(tmp_path / "state"),
    )
    assert outcome.code in {2, 3, 5}, str(outcome)
    texts = [outcome.out, outcome.err]
    texts += [one.read_text("utf-8") for one in tmp_path.rglob("*.json")]
    for secret in SECRETS:
        assert not [text for text in texts if secret in text]
