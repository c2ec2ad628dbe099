"""Kafka clients that get their records ready-made: nothing is left to do but to send them.

A record has its key, its value in Avro with the frame of a schema registry, and the six CloudEvents
headers that datagen sends. Records are in order of time, as datagen sends them. Making them is not timed.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from classic import kept_apart

from datagen.benchmark import Round
from datagen.types import Relation, catalogue
from services._errors import ServiceError, ServiceUnavailableError
from services._java import java

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from classic import Record

    from datagen import Batch, Plan

PROJECT = Path(__file__).with_name("java")

#: Values that all records of a stream share, and those that each has of its own.
SAME, OWN = ("ce_specversion", "ce_type", "ce_source"), ("ce_id", "ce_time", "ce_subject")


def records(plan: Plan, stop: int) -> list[Record]:
    """The events of the first ``stop`` customers, for confluent-kafka's ``produce()``."""
    with kept_apart():
        return [
            (stream.name, value, key, [*same, *zip(OWN, own, strict=True)])
            for batch in plan.window(stop=stop)
            for stream in [catalogue()[batch.name]]
            for same in [list(zip(SAME, _same(stream), strict=True))]
            for key, value, *own in _columns(stream, batch)
        ]


class RecordFile:
    """The events of the first ``stop`` customers, as ``java/src/Producer.java`` reads them."""

    def __init__(self, path: Path, plan: Plan, stop: int) -> None:
        self.path = path
        self.events = _write(path, plan, stop)


class JavaProducer:
    """Kafka's own producer in a process of its own, with the records in its memory.

    The process stays between rounds, as its compiler takes a few of them to do its best.
    """

    def __init__(self, records: RecordFile, properties: Mapping[str, str]) -> None:
        self._events = records.events
        # A third of the memory, so that the records leave its garbage collector room.
        options = ["-XX:InitialRAMPercentage=33", "-XX:MaxRAMPercentage=33", "-XX:+UseParallelGC"]
        options += ["--enable-native-access=ALL-UNNAMED"]
        options += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        options += ["-cp", f"{_jar()}:{PROJECT / 'target' / 'lib'}/*"]
        settings = [f"{name}={value}" for name, value in properties.items()]
        self._process = subprocess.Popen(
            [java(), *options, "Producer", str(records.path), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if int(self._answer()) != self._events:
            raise ServiceError("the Java producer has read another number of records")

    def close(self) -> None:
        with self._process:
            self._process.kill()

    def send(self) -> Round:
        """One round, as the process itself has timed it: after metadata, up to the last answer."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found = json.loads(self._answer())
        if found["events"] != self._events:
            raise RuntimeError(f"{found['events']} of {self._events} events were acknowledged")
        return Round(found["events"], found["seconds"], found["cpu"])

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ServiceError(f"the Java producer ended with status {self._process.wait()}")
        return line


def _columns(stream: Relation, batch: Batch) -> Iterator[tuple[bytes, ...]]:
    """Key, value and own headers of each event."""
    keys, times = batch.text(str(stream.key)), batch.text(str(stream.time))
    values = batch.encode("avro", schema_id=1)
    return zip(keys, values, batch.text(stream.primary_key), times, keys, strict=True)


def _same(stream: Relation) -> tuple[bytes, ...]:
    return b"1.0", str(stream.ce_type).encode(), b"data-gen/financial"


def _write(path: Path, plan: Plan, stop: int) -> int:
    """Writes the file that ``java/src/Producer.java`` reads; how many records it has."""
    streams = catalogue().streams
    count = 0
    with path.open("wb") as file:
        file.write(bytes([len(streams)]))
        for stream in streams:
            file.write(_short(stream.name.encode()) + bytes([len(SAME) + len(OWN)]))
            for name, value in zip(SAME, _same(stream), strict=True):
                file.write(_short(name.encode()) + b"\1" + _short(value))
            for name in OWN:
                file.write(_short(name.encode()) + b"\0")
        numbers = {stream.name: number for number, stream in enumerate(streams)}
        for batch in plan.window(stop=stop):
            number = bytes([numbers[batch.name]])
            for parts in _columns(catalogue()[batch.name], batch):
                file.write(number + b"".join(map(_short, parts)))
            count += len(batch)
        # Now, since later the disk would write it while somebody is timed.
        file.flush()
        os.fsync(file)
    return count


def _short(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _jar() -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnavailableError("`mvn` (Apache Maven) is not on PATH, needed for the peer")
    command = [maven, "--batch-mode", "--quiet", "package"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ServiceError(f"`mvn package` failed:\n{result.stdout}")
    return PROJECT / "target" / "producer.jar"
