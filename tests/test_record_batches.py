"""Kafka's own tool reads the record batches that the core writes."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import pytest

from datagen import Plan
from services._errors import ServiceUnavailableError
from services._java import java, kafka_jars

_ROOT = Path(__file__).parent.parent
#: What the example `record_batches` writes, once in each codec.
_PLAN = Plan(seed=42, customers=50)
_STREAM = "banking.transactions"
_CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
_HEADERS = "ce_specversion,ce_type,ce_source,ce_id,ce_time,ce_subject"

_BATCH = re.compile(
    r"baseOffset: (?P<base>\d+) lastOffset: (?P<last>\d+) count: (?P<count>\d+) .* magic: 2"
    r" compresscodec: (?P<codec>\w+) crc: \d+ isvalid: (?P<valid>\w+)"
)
_RECORD = re.compile(
    r"\| offset: (?P<offset>\d+) CreateTime: (?P<time>\d+) keySize: 36 valueSize: (?P<size>\d+)"
    r" sequence: (?P<sequence>\d+) headerKeys: \[(?P<headers>.*?)\] key: (?P<key>\S+)"
    r" payload: (?P<value>.*)"
)


# The first build of the example takes minutes.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `DumpLogSegments` prints of the example's segment, by lines."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("`cargo` is not on PATH")
    # The name of a segment is its first offset.
    segment = tmp_path_factory.mktemp("log") / "00000000000000000000.log"
    example = [cargo, "run", "--quiet", "--package", "datagen-core", "--example", "record_batches"]
    _run([*example, "--", str(segment)])
    try:
        command = [java(), "-Xmx256m", "-Dstdout.encoding=UTF-8", "-cp", f"{kafka_jars()}/*"]
    except ServiceUnavailableError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    tool = ["org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log"]
    return _run([*command, *tool, "--files", str(segment)]).splitlines()


def _run(command: list[str]) -> str:
    result = subprocess.run(
        command,
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=900,  # the first build takes its time
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _matches(pattern: re.Pattern[str], lines: list[str]) -> Iterator[re.Match[str]]:
    return (found for line in lines if (found := pattern.fullmatch(line)))


def test_batches_are_valid_in_every_codec(dump: list[str]) -> None:
    batches = list(_matches(_BATCH, dump))
    assert {batch["valid"] for batch in batches} == {"true"}
    # Several of each, in the order of the codecs.
    codecs = [batch["codec"] for batch in batches]
    assert list(dict.fromkeys(codecs)) == _CODECS
    assert all(codecs.count(codec) > 1 for codec in _CODECS)
    for batch in batches:
        assert int(batch["last"]) - int(batch["base"]) + 1 == int(batch["count"])
    for batch, after in pairwise(batches):
        assert int(after["base"]) == int(batch["last"]) + 1
    records = sum(line.startswith("| offset:") for line in dump)
    assert records == int(batches[-1]["last"]) + 1
    # Nothing else is said: neither of bytes left over nor of wrong offsets.
    assert len(dump) == len(batches) + records + 2


def test_records_are_the_rows_of_the_plan(dump: list[str]) -> None:
    batches = list(_PLAN.batches(_STREAM))
    keys = list(chain.from_iterable(batch.text("account_id") for batch in batches))
    values = list(chain.from_iterable(batch.encode("json") for batch in batches))
    found = list(_matches(_RECORD, dump))
    assert [record["key"].encode() for record in found] == keys * len(_CODECS)
    assert [record["value"].encode() for record in found] == values * len(_CODECS)
    assert [int(record["size"]) for record in found] == [len(one) for one in values] * len(_CODECS)
    assert {record["headers"] for record in found} == {_HEADERS}
    assert [int(record["offset"]) for record in found] == list(range(len(found)))
    # One millisecond earlier from each to the next, as the example has it.
    last = int(_PLAN.as_of.timestamp() * 1000)
    assert [last - int(record["time"]) for record in found] == [*range(len(keys))] * len(_CODECS)


def test_sequences_go_on_from_zero(dump: list[str]) -> None:
    sequences = [int(record["sequence"]) for record in _matches(_RECORD, dump)]
    assert sequences[0] == 2**31 - 1 - 1_000
    assert sequences == [
        number % 2**31 for number in range(sequences[0], sequences[0] + len(sequences))
    ]
