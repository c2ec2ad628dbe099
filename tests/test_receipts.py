"""Receipts: what they say of a run, however it ended, and that no secret is in them."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from command import DATAGEN, LOAD, Outcome, load, outcome_of, run, started, wait_until
from datagen import Plan
from datagen.errors import ConfigurationError
from datagen.loader import Load
from datagen.loader import load as load_by_library
from datagen.receipts import Receipt, Recorder, found
from datagen.sinks.kafka import KafkaTarget
from records import TOPICS

if TYPE_CHECKING:
    from own_topics import OwnTopics
    from services.registry import Registry

PLAN = Plan(seed=5, customers=20)
SAID = ("--customers", 20, "--seed", 5)
SECRETS = ("Tr0ub4dor&3", "geheim-wort", "another%20one", "s3cret-t0ken")


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def said_path(outcome: Outcome) -> Path:
    (line,) = [line for line in outcome.lines if line.startswith("Receipt: ")]
    return Path(line.removeprefix("Receipt: "))


class Quiet:
    """Takes no note of how a run goes."""

    def start(self, *_: object) -> None: ...
    def advance(self, *_: object) -> None: ...
    def finish(self, *_: object) -> None: ...


def test_a_load_says_what_is_there_and_where(
    pg_dsn: str, clean_kafka: OwnTopics, registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "load.json"
    options = (*SAID, "--postgres-url", pg_dsn, *clean_kafka.options, "--create-topics")
    outcome = load(*options, "--schema-registry", registry.url, "--receipt", path)
    assert outcome.code == 0, str(outcome)
    assert said_path(outcome) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    says = content(path)
    assert (says["outcome"], says["error"], says["command"]) == ("ok", None, "load")
    assert says["plan"] == {
        "seed": 5,
        "customers": 20,
        "from_customer": 0,
        "as_of": "2026-07-01T00:00:00.000Z",
        "days": 90,
    }
    planned = {name: PLAN.rows(name) for name in PLAN.names}
    assert says["rows"] == planned
    assert says["sinks"]["postgres"]["outcome"] == "committed"
    assert says["sinks"]["postgres"]["tables"] == {
        name: rows for name, rows in planned.items() if name not in TOPICS
    }
    kafka = says["sinks"]["kafka"]
    assert (kafka["format"], kafka["registry"]) == ("avro", registry.url)
    for name in TOPICS:
        topic = kafka["topics"][name]
        assert topic["topic"] == clean_kafka.name(name)
        assert topic["schema_id"] > 0
        assert topic["acknowledged"] == planned[name]
        records = clean_kafka.records(name)
        for number, part in topic["partitions"].items():
            offsets = [one.offset for one in records if one.partition == int(number)]
            assert part["acknowledged"] == len(offsets)
            assert (part["first"], part["last"]) == (0, max(offsets, default=None))
    assert says["options"]["customers"] == 20
    assert says["options"]["kafka_bootstrap"] == clean_kafka.bootstrap
    receipt = Receipt.read(path)
    assert receipt.as_plan() == PLAN
    assert receipt.outcome == "ok"


def test_a_second_load_begins_where_the_first_has_ended(clean_kafka: OwnTopics) -> None:
    options = (*SAID, "--skip-postgres", "--no-avro", *clean_kafka.options)
    first = content(said_path(load(*options, "--create-topics")))
    second = content(said_path(load(*options)))
    for name in TOPICS:
        before, after = (one["sinks"]["kafka"]["topics"][name] for one in (first, second))
        assert after["acknowledged"] == before["acknowledged"]
        for number, part in after["partitions"].items():
            last = before["partitions"][number]["last"]
            assert part["first"] == (0 if last is None else last + 1)


def test_runs_lists_the_last_one_first(pg_dsn: str, tmp_path: Path) -> None:
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 5)
    first = load(*options, XDG_STATE_HOME=str(tmp_path))
    # The same rows once more.
    second = load(*options, XDG_STATE_HOME=str(tmp_path))
    assert (first.code, second.code) == (0, 4)
    folder = tmp_path / "datagen/runs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "other.json").write_text("{}")
    assert said_path(first).parent == said_path(second).parent == folder
    listed = run(*DATAGEN, "runs", "--format", "json", XDG_STATE_HOME=str(tmp_path))
    assert listed.code == 0, str(listed)
    last, before = map(json.loads, listed.lines)
    # Within a second runs have names in no order.
    last, before = (last, before) if last["outcome"] == "failed" else (before, last)
    assert (before["outcome"], before["path"]) == ("ok", str(said_path(first)))
    assert (last["outcome"], last["path"]) == ("failed", str(said_path(second)))
    assert "customer_id" in last["error"] or "duplicate" in last["error"]
    assert (last["sinks"], last["command"]) == (["postgres"], "load")
    table = run(*DATAGEN, "runs", "-n", 1, XDG_STATE_HOME=str(tmp_path))
    assert table.code == 0
    assert "5 customers, seed 42, into postgres" in table.out
    assert len(run(*DATAGEN, "runs", folder, "--format", "json").lines) == 2
    nothing = run(*DATAGEN, "runs", XDG_STATE_HOME=str(tmp_path / "none"))
    assert (nothing.code, nothing.out) == (0, "")
    assert "No receipt" in nothing.err


def test_an_interrupted_load_says_how_far_it_came(clean_kafka: OwnTopics, tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    options = ("--customers", 300, "--skip-postgres", "--no-avro", "--create-topics")
    slow = ("--preset", "EVENT_BY_EVENT", "--engine", "confluent", "--receipt", path)
    with started(*LOAD, *options, *slow, *clean_kafka.options) as process:
        assert wait_until(path.exists)
        assert content(path)["outcome"] == "unfinished"
        assert wait_until(lambda: sum(clean_kafka.ends().values()) > 0)
        process.send_signal(signal.SIGTERM)
        outcome = outcome_of(process)
    assert outcome.code == 143, str(outcome)
    says = content(path)
    assert says["outcome"] == "interrupted"
    assert "SIGTERM" in says["error"]
    arrived = clean_kafka.ends()
    for name in TOPICS:
        assert says["sinks"]["kafka"]["topics"][name]["acknowledged"] <= arrived[name]
    assert 0 < sum(arrived.values()) < sum(Plan(customers=300).rows(name) for name in TOPICS)
    assert said_path(outcome) == path


def test_a_killed_load_has_not_ended(clean_kafka: OwnTopics, tmp_path: Path) -> None:
    path = tmp_path / "killed.json"
    options = ("--customers", 300, "--skip-postgres", "--no-avro", "--create-topics")
    slow = ("--preset", "EVENT_BY_EVENT", "--engine", "confluent", "--receipt", path)
    with started(*LOAD, *options, *slow, *clean_kafka.options) as process:
        assert wait_until(path.exists)
        process.kill()
        process.wait()
    receipt = Receipt.read(path)
    assert (receipt.outcome, receipt.ended) == ("unfinished", None)


def test_a_stream_says_up_to_which_instant_all_is_there(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    path = tmp_path / "stream.json"
    options = (*SAID, "--no-avro", "--create-topics", "--skip-postgres", *clean_kafka.options)
    span = ("--start", "2026-06-01", "--until", "2026-06-02", "--speed", 1_000_000)
    outcome = run(*DATAGEN, "stream", *options, *span, "--receipt", path)
    assert outcome.code == 0, str(outcome)
    says = content(path)
    assert (says["outcome"], says["command"]) == ("ok", "stream")
    assert says["stream"]["since"] is None
    assert says["stream"]["until"] == "2026-06-02T00:00:00.000Z"
    for name in TOPICS:
        sent = sum(map(len, PLAN.batches(name, until="2026-06-02T00:00:00Z")))
        assert says["sinks"]["kafka"]["topics"][name]["acknowledged"] == sent


def test_no_secret_is_in_a_receipt(clean_kafka: OwnTopics, pg_dsn: str, tmp_path: Path) -> None:
    """The password of the database is wrong as well as secret, so that the run fails after it began."""
    path = tmp_path / "secret.json"
    settings = tmp_path / "client.properties"
    settings.write_text(f"client.id=x\nssl.key.password={SECRETS[0]}\n")
    outcome = load(
        *("--customers", 5, "--no-avro", "--create-topics", *clean_kafka.options),
        *("--skip-postgres", "--postgres-url", f"postgresql://me:{SECRETS[2]}@127.0.0.1:1/x"),
        *("--schema-registry", f"http://user:{SECRETS[1]}@127.0.0.1:1/?token={SECRETS[3]}"),
        *("--registry-user", f"user:{SECRETS[1]}", "--kafka-config", settings),
        *("--registry-option", f"bearer.auth.token={SECRETS[3]}"),
        *("--kafka-option", f"ssl.keystore.password={SECRETS[0]}", "--receipt", path),
    )
    assert path.exists(), str(outcome)
    text = path.read_text("utf-8")
    for secret in SECRETS:
        assert secret not in text
        assert secret not in outcome.out + outcome.err
    options = content(path)["options"]
    assert options["kafka_option"] == ["ssl.keystore.password"]
    assert options["registry_option"] == ["bearer.auth.token"]
    assert options["schema_registry"] == "http://127.0.0.1:1/"
    assert {"postgres_url", "registry_user"} & {*options} == set()


def test_errors_in_receipts_have_no_secret(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.json")
    recorder.write("failed", {}, f"cannot reach postgresql://me:{SECRETS[0]}@host/x")
    assert SECRETS[0] not in recorder.path.read_text("utf-8")
    assert content(recorder.path)["error"] == "cannot reach postgresql://***@host/x"


def test_the_library_writes_a_receipt_where_it_is_asked_to(
    clean_kafka: OwnTopics, tmp_path: Path
) -> None:
    target = KafkaTarget(producer=clean_kafka.config(), create_topics=True)
    recorder = Recorder(tmp_path / "by_library.json")
    asked = Load(plan=PLAN, targets={"kafka": target}, recorder=recorder)
    report = load_by_library(asked, Quiet())
    assert report.ok
    assert recorder.written
    receipt = Receipt.read(recorder.path)
    assert (receipt.command, receipt.outcome, receipt.run) == ("library", "ok", recorder.run)


def test_a_run_that_cannot_begin_leaves_no_receipt(tmp_path: Path) -> None:
    path = tmp_path / "never.json"
    outcome = load(
        "--postgres-url", "postgresql://127.0.0.1:1/x", "--skip-kafka", "--receipt", path
    )
    assert outcome.code == 5
    assert "Receipt" not in outcome.out
    assert not path.exists()


def test_a_path_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "other.json")
    for path in (link, tmp_path / "none" / "a.json", tmp_path):
        outcome = load(
            *("--skip-kafka", "--postgres-url", "postgresql://127.0.0.1:1/x"), "--receipt", path
        )
        assert outcome.code == 2, str(outcome)
        assert "--receipt" in outcome.err


def test_a_folder_that_cannot_be_made_ends_no_run(pg_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "datagen").write_text("a file")
    options = ("--postgres-url", pg_dsn, "--skip-kafka", "--customers", 5)
    outcome = load(*options, XDG_STATE_HOME=str(tmp_path))
    assert outcome.code == 0, str(outcome)
    said = outcome.err
    assert said.count("the receipt cannot be written") == 1
    assert "can be neither resumed nor verified" in said
    assert "Receipt:" not in outcome.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not the receipt of a run"),
        ("[]", "not the receipt of a run"),
        ('{"format": 9}', "format 9"),
        ('{"format": 1, "run": "x"}', "not the receipt of a run"),
    ],
)
def test_files_that_are_no_receipts_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        Receipt.read(path)
    assert [*found(tmp_path)] == []
