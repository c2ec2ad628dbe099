"""The command that streams: what it refuses, and that each event is there once after any end."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from command import DATAGEN, run, started
from datagen import Plan
from datagen.cli.command import group
from datagen.cli.streaming import _line
from datagen.errors import ConfigurationError
from datagen.pace import Delays
from datagen.position import Position
from datagen.sinks.base import streams
from datagen.stream import Status
from datagen.types import catalogue
from planned import planned, rows
from records import read_topics
from services._net import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from command import Process
    from own_topics import OwnTopics
    from running import Running

STREAM = (*DATAGEN, "stream")

#: No port, so that a connection would be seen.
NOWHERE = ("--kafka-bootstrap", "127.0.0.1:1", "--skip-postgres", "--start", "2026-06-20T15:00:00Z")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--speed", "0"], "--speed"),
        (["--speed", "-1"], "--speed"),
        (["--rate", "0"], "--rate"),
        (["--rate", "5", "--speed", "2"], "--rate and --speed"),
        (["--duration", "-5"], "--duration"),
        (["--duration", "5 weeks"], "write seconds, or 90s, 5m or 2h"),
        (["--until", "2026-06-20T14:59:59Z"], "--until"),
        (["--until", "2026-06-20T12:00"], "write 2026-07-01T00:00:00Z"),
        (["--as-of", "2026-06-01T00:00:00Z"], "--start"),
        (
            ["--start", "2020-01-01"],
            "--start: '2020-01-01T00:00:00.000Z' is not allowed; use 2021-04-01",
        ),
        (["--start", "2021-02-01"], "--days: 90 is not allowed; use 1 to 31, or a later --start"),
        (["--resume"], "--position"),
        (["--position", "/no/such/folder/file"], "--position"),
        (["--position", "-"], "is no file here"),
        (["--skip-kafka"], "No events are sent anywhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_connected(options: list[str], said: str) -> None:
    done = run(*STREAM, *NOWHERE, *options, timeout=20)
    assert done.code == 2, done
    assert said in done.err
    assert done.out == ""


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def idents(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [row[catalogue()[row["stream"]].primary_key] for row in rows]


SMALL = ("--customers", "40", "--as-of", "2026-07-01T00:00:00Z", "--days", "20")
SMALL_PLAN = Plan(42, 40, days=20)


def test_stdout_has_the_events_of_the_plan_and_nothing_else() -> None:
    start = ("--start", "2026-06-25T12:00:00Z", "--speed", "1e6")
    done = run(*STREAM, "--stdout", *SMALL, *start, timeout=60)
    assert done.code == 0, done
    rows = lines_of(done.out)
    expected = {
        name: [
            json.loads(bytes(row))
            for batch in SMALL_PLAN.batches(name, order="time")
            for row in batch.encode("json")
        ]
        for name in streams()
    }
    for name, wanted in expected.items():
        assert [row for row in rows if row["stream"] == name] == [
            {"stream": name, **row} for row in wanted
        ]
    assert len(rows) == sum(map(len, expected.values()))
    assert "the plan is at its end" in done.err


def test_stdout_alone_needs_no_service_whatever_the_environment_says(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    nowhere = {
        "DATAGEN_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "DATAGEN_POSTGRES_URL": "postgresql://127.0.0.1:1/x",
    }
    times = ("--start", "2026-06-20T00:00:00Z", "--speed", "1e7", "--until")
    first = (*times, "2026-06-21T00:00:00Z", "--position", file)
    done = run(*STREAM, "--stdout", *SMALL, *first, timeout=60, **nowhere)
    assert done.code == 0, done
    more = ("--resume", "--position", file, "--until", "2026-07-01T00:00:00Z")
    later = run(*STREAM, *more, timeout=60, **nowhere)
    assert later.code == 0, later
    found = idents(lines_of(done.out + later.out))
    assert sorted(found) == sorted(planned(SMALL_PLAN))


def test_a_reader_of_stdout_may_go() -> None:
    with started(*STREAM, "--stdout", *SMALL, "--start", "2026-06-25T12:00:00Z") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["stream"]
        process.stdout.close()
        assert process.wait(timeout=20) == 141


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The position of a stream to stdout that has come to its end by ``--until``."""
    file = tmp_path / "position.json"
    times = ("--start", "2026-06-20T00:00:00Z", "--until", "2026-06-20T00:00:00Z")
    done = run(*STREAM, "--stdout", *SMALL, *times, "--position", file, timeout=60)
    assert done.code == 0, done
    return file


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", "43"],
        ["--customers", "41"],
        ["--from-customer", "1"],
        ["--as-of", "2026-07-02T00:00:00Z"],
        ["--days", "21"],
        ["--start", "2026-06-21T00:00:00Z"],
        ["--topic-prefix", "other."],
        ["--no-backfill"],
    ],
)
def test_what_contradicts_a_position_is_refused(begun: Path, options: list[str]) -> None:
    done = run(*STREAM, "--position", begun, "--resume", *options, timeout=20)
    assert done.code == 2, done
    assert options[0] in done.err


def test_what_agrees_with_a_position_is_taken(begun: Path) -> None:
    same = (*SMALL, "--stdout", "--seed", "42", "--start", "2026-06-20T00:00:00Z")
    more = ("--until", "2026-06-23T00:00:00Z", "--speed", "1e6")
    done = run(*STREAM, "--position", begun, "--resume", *same, *more, timeout=60)
    assert done.code == 0, done
    part = {"since": "2026-06-20T00:00:00Z", "until": "2026-06-23T00:00:00Z"}
    assert sorted(idents(lines_of(done.out))) == sorted(planned(SMALL_PLAN, **part))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "position format 99"),
        ({"catalogue": 1}, "version 1 of the catalogue"),
        ({"plan": {}}, "not a whole position"),
        (None, "is not the position of a stream"),
    ],
)
def test_a_position_of_another_kind_is_refused(
    begun: Path, change: dict[str, Any] | None, said: str
) -> None:
    content = json.loads(begun.read_text())
    begun.write_text("[]" if change is None else json.dumps(content | change))
    with pytest.raises(ConfigurationError, match=said):
        Position.read(begun)
    done = run(*STREAM, "--position", begun, "--resume", timeout=20)
    assert done.code == 3, done
    assert said in done.err


def test_a_position_that_is_there_is_not_overwritten(begun: Path) -> None:
    text = begun.read_text()
    done = run(*STREAM, "--stdout", *SMALL, "--position", begun, timeout=20)
    assert done.code == 3, done
    assert "--resume" in done.err
    assert begun.read_text() == text


def test_a_position_keeps_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    secret = "hunter-two-and-a-half"
    times = ("--start", "2026-06-20T00:00:00Z", "--until", "2026-06-20T00:00:00Z")
    done = run(
        *(*STREAM, "--stdout", *SMALL, *times, "--position", file),
        *("--registry-user", f"me:{secret}", "--kafka-option", f"sasl.password={secret}"),
        *("--skip-kafka", "--schema-registry", f"http://127.0.0.1:1/?token={secret}"),
        timeout=60,
    )
    assert done.code == 0, done
    assert secret not in file.read_text()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stdout_into_a_file_goes_on_after_any_end(end: signal.Signals, tmp_path: Path) -> None:
    file, out = tmp_path / "position.json", tmp_path / "events.jsonl"
    begin = ("--stdout", *SMALL, "--start", "2026-06-12T00:00:00Z", "--speed", "200000")
    shell = ("sh", "-c", 'exec "$@" >> "$0"', out, *STREAM, "--position", file)
    for options in (begin, ("--resume",)):
        with started(*shell, *options) as process:
            wait_until_written(file, process)
            time.sleep(0.7)
            process.send_signal(end)
            code = process.wait(timeout=20)
            assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[end]
    done = run(*shell, "--resume", "--speed", "1e7", timeout=60)
    assert done.code == 0, done
    found = idents(lines_of(out.read_text()))
    assert len(found) == len({*found})
    assert {*found} == {*planned(SMALL_PLAN)}


def test_a_second_signal_ends_it_at_once() -> None:
    # A pipe that nothing reads: the first signal waits for what is being written.
    options = ("--stdout", "--customers", "3000", "--start", "2026-06-25T12:00:00Z")
    with started(*STREAM, *options) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=2) == 143


def test_the_plan_ends_in_the_future_by_default() -> None:
    done = run(*STREAM, "--stdout", "--customers", "5", "--duration", "0.1", timeout=30)
    assert done.code == 0, done
    end = (datetime.now(UTC).replace(hour=0, minute=0, second=0) + timedelta(days=365)).date()
    usual = "(seed 42, 90 days up to 2026-07-01T00:00:00Z)"
    assert f"455 days up to {end}" in done.err or usual in done.err


def test_metrics_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    runner = CliRunner()
    done = runner.invoke(group, ["stream", "--stdout", "--customers", "5", "--metrics", "9"])
    assert isinstance(done.exception, ConfigurationError)
    assert "pip install 'datagen[metrics]'" in str(done.exception)


def test_metrics_are_served_on_this_machine() -> None:
    port = free_port()
    options = ("--stdout", *SMALL, "--start", "2026-06-20T12:00:00Z", "--metrics", port)
    with started(*STREAM, *options) as process:
        assert process.stdout is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()
        deadline, text = time.monotonic() + 20, ""
        while "datagen_live 1.0" not in text:
            assert process.poll() is None
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                text = page.read().decode()
        process.terminate()
        assert process.wait(timeout=10) == 143
    sent = re.findall(r'^datagen_events_total\{stream="[a-z.-]+"\} ([0-9.]+)$', text, re.MULTILINE)
    assert sum(map(float, sent)) == len(planned(SMALL_PLAN, until="2026-06-20T12:00:00Z"))


# --- with a broker


def records_of(topics: OwnTopics) -> dict[str, list[tuple[int, str, str]]]:
    """Partition, time and id of each record by an independent reader, in their order."""
    found = read_topics(topics.bootstrap, topics.names)
    return {
        name: [
            (one.partition, one.header("ce_time").decode(), one.header("ce_id").decode())
            for one in found[name]
        ]
        for name in topics.names
    }


def assert_exact(topics: OwnTopics, plan: Plan) -> None:
    found = records_of(topics)
    everything = [ident for records in found.values() for _, _, ident in records]
    wanted = planned(plan)
    assert len(everything) == len(wanted)
    assert {*everything} == {*wanted}
    for records in found.values():
        for _, partition in itertools.groupby(records, key=lambda record: record[0]):
            times = [when for _, when, _ in partition]
            assert times == sorted(times)


def wait_until_written(file: Path, process: Process) -> None:
    """Waits until a process that has just begun writes its position."""
    before = file.read_text() if file.exists() else ""
    deadline = time.monotonic() + 60
    while not file.exists() or file.read_text() == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("engine_name", ["native", "confluent"])
def test_kafka_has_every_event_once_whatever_ends_the_stream(
    topics: OwnTopics, engine_name: str, tmp_path: Path
) -> None:
    file = tmp_path / "position.json"
    plan = Plan(42, 400, days=20)
    common = (*STREAM, *topics.options, "--skip-postgres", "--position", file)
    first = (
        *("--customers", "400", "--as-of", "2026-07-01T00:00:00Z", "--days", "20", "--no-avro"),
        *("--start", "2026-06-12T00:00:00Z", "--rate", "400", "--engine", engine_name),
    )
    for number in range(3):
        with started(*common, *(("--resume",) if number else first)) as process:
            wait_until_written(file, process)
            time.sleep(1.3 + number / 3)
            process.kill()
            process.wait(timeout=10)
    with started(*common, "--resume") as process:
        wait_until_written(file, process)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    done = run(*common, "--resume", "--rate", "1000000", timeout=120)
    assert done.code == 0, done
    assert "Validation: ALL OK" in done.out
    assert_exact(topics, plan)


def test_tables_are_those_of_where_it_ends_and_may_be_left_there(
    topics: OwnTopics, pg_dsn: str, tmp_path: Path
) -> None:
    import psycopg

    file, start = tmp_path / "position.json", "2026-06-24T00:00:00Z"
    options = (*topics.options, "--no-avro", "--postgres-url", pg_dsn, *SMALL)
    times = ("--start", start, "--until", "2026-06-25T00:00:00Z", "--speed", "1e6")
    done = run(*STREAM, *options, *times, "--position", file, timeout=60)
    assert done.code == 0, done
    with psycopg.connect(pg_dsn) as connection:
        query = "SELECT account_id, balance FROM accounts"
        found: list[Any] = connection.execute(query).fetchall()
    accounts = rows(SMALL_PLAN, "accounts", until="2026-06-25T00:00:00Z")
    assert dict(found) == {row["account_id"]: row["balance"] for row in accounts}
    # Where the tables need not follow any more, it goes on without them.
    more = (*topics.options, "--skip-postgres", "--until")
    done = run(*STREAM, *more, SMALL_PLAN.as_of.isoformat(), "--resume", "--position", file)
    assert done.code == 0, done
    assert_exact(topics, SMALL_PLAN)


def test_events_of_what_is_contracted_meanwhile_need_no_table_that_follows() -> None:
    # Two loans of this plan are contracted, and one pays, after the start.
    plan = Plan(50, 120, days=90)
    start = "2026-04-10T00:00:00Z"
    assert plan.rows("loans", until=start) < plan.rows("loans")
    options = ("--seed", "50", "--customers", "120", "--start", start, "--speed", "1e7")
    done = run(*STREAM, "--stdout", *options, "--as-of", "2026-07-01T00:00:00Z", timeout=60)
    assert done.code == 0, done
    assert sorted(idents(lines_of(done.out))) == sorted(planned(plan))


def test_a_topic_that_was_made_anew_is_no_place_to_go_on(topics: OwnTopics, tmp_path: Path) -> None:
    file = tmp_path / "position.json"
    common = (*STREAM, *topics.options, "--skip-postgres", "--position", file)
    times = ("--start", "2026-06-12T00:00:00Z", "--until", "2026-06-12T00:00:00Z", "--no-avro")
    done = run(*common, *SMALL, *times, timeout=60)
    assert done.code == 0, done
    content = json.loads(file.read_text())
    mark = content["marks"]["kafka"]["topics"][topics.name("banking.transactions")]
    mark["0"] += 1
    file.write_text(json.dumps(content))
    done = run(*common, "--resume", timeout=60)
    assert done.code == 3, done
    assert "Was the topic deleted" in done.err


@pytest.mark.slow
def test_a_broker_that_is_away_for_long_is_waited_for(own_kafka: Running) -> None:
    from own_topics import OwnTopics
    from services.kafka import KafkaBroker

    with own_kafka(KafkaBroker(heap="320m", short_lived=True)) as broker:
        topics = OwnTopics(broker.bootstrap)
        options = (
            *("--customers", "400", "--as-of", "2026-07-01T00:00:00Z", "--days", "20", "--no-avro"),
            *("--start", "2026-06-12T00:00:00Z", "--rate", "800", "--create-topics"),
        )
        with started(*STREAM, *topics.options, "--skip-postgres", *options) as process:
            deadline = time.monotonic() + 60
            while sum(topics.ends().values()) < 4_000:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
            broker.kill()
            time.sleep(30)
            assert process.poll() is None, process.communicate()
            broker.start()
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, out + err
        assert "Kafka has not answered for" in out
        assert_exact(topics, Plan(42, 400, days=20))


@pytest.mark.slow
def test_a_broker_that_goes_while_the_queue_is_full_is_spoken_of(
    own_kafka: Running, tmp_path: Path
) -> None:
    from own_topics import OwnTopics
    from services.kafka import KafkaBroker

    # Some seconds are left to it when the broker goes.
    plan = ("--customers", "2000", "--as-of", "2026-07-01T00:00:00Z", "--days", "20", "--no-avro")
    pace = ("--start", "2026-06-12T00:00:00Z", "--rate", "5000", "--create-topics")
    # Full within a tenth of a second, and asked only each second whether all is there.
    queue = ("--kafka-option", "queue.buffering.max.messages=500")
    with own_kafka(KafkaBroker(heap="320m", short_lived=True)) as broker:
        for engine in ("native", "confluent"):
            topics, file = OwnTopics(broker.bootstrap), tmp_path / f"{engine}.json"
            common = (*STREAM, *topics.options, "--skip-postgres", "--position", file, *queue)
            with started(*common, *plan, *pace, "--engine", engine) as process:
                deadline = time.monotonic() + 60
                while sum(topics.ends().values()) < 25_000:
                    assert process.poll() is None, process.communicate()
                    assert time.monotonic() < deadline
                broker.kill()
                time.sleep(4)
                process.send_signal(signal.SIGINT)
                ended = time.monotonic()
                out, err = process.communicate(timeout=30)
                assert time.monotonic() - ended < 12
                assert process.returncode == 130, out + err
            said = re.findall(r"Kafka has not answered for (\d+) s: \S+", out)
            assert said, out
            assert int(said[0]) < 4
            assert "Not all that was sent since" in out
            broker.start()
            done = run(*common, "--resume", "--rate", "1e6", timeout=60)
            assert done.code == 0, done
            assert_exact(topics, Plan(42, 2_000, days=20))


def test_a_line_fits_its_terminal() -> None:
    status = Status(
        time=datetime(2026, 6, 20, 12, tzinfo=UTC),
        lag=0.1,
        rate=12_345.6,
        speed=3_600.0,
        events={"banking.trades": 1_234_567},
        live=True,
        waiting="Kafka does not answer",
        delays=Delays(),
    )
    whole = _line(status, speed=True)
    assert whole == (
        "2026-06-20T12:00:00Z live, 0.1 s late; 12,346 events/s; speed 3,600; 1,234,567 events; "
        "Kafka does not answer"
    )
    assert _line(status, speed=True, room=200) == whole
    narrow = _line(status, speed=True, room=61)
    assert narrow == "2026-06-20T12:00:00Z live, 0.1 s late; Kafka does not answer"
    assert _line(status, speed=True, room=20) == "2026-06-20T12:00:00…"
