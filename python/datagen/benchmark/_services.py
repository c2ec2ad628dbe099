"""Loads into the services, beside the fastest that can be had without datagen.

The peers get their rows ready-made; ours are made, checked and encoded on the way. Both clocks begin
when the service is connected and tables or topics are there, and stop when the rows are committed or
acknowledged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from .. import loader
from ..errors import RejectedError, UnreachableError
from ..sinks.base import Window
from ..sinks.kafka import flush_timeout
from ..sinks.kafka.cluster import TIMEOUT
from ..sinks.kafka.event_records import EventRecords
from ..sinks.kafka.interrupt import HeldInterrupt, held
from ..sinks.kafka.librdkafka import ClientEvents, failure, kind_of
from ..sinks.postgres.copy_session import COPY_HEADER, COPY_TRAILER
from ..sinks.postgres.ddl import shape
from ..types import catalogue
from ._contest import Round, Way, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .._core import Plan
    from ..presets import ProducerConfig
    from ..sinks.base import Part, Stage
    from ..sinks.kafka.stage import KafkaTarget
    from ..sinks.postgres.stage import PostgresTarget
    from ._scratch import Schema

__all__ = ["CopyFiles", "ReadyRecords", "check_options", "kafka", "postgres"]

_FORM: Final = "(FORMAT binary, FREEZE)"
_CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())"
_POLL_EVERY: Final = 10_000
_BLOCK: Final = 256 * 1024


class _Stopwatch:
    """The time from the start of a stage's first part to the end of its last."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._began = self.seconds = 0.0

    def start(self, stage: Stage, name: str, rows: int) -> None:  # noqa: ARG002
        if stage.name == self._stage and not self._began:
            self._began = time.perf_counter()

    def advance(self, rows: int) -> None:
        """The clock alone counts."""

    def finish(self, stage: Stage, part: Part) -> None:  # noqa: ARG002
        if self._began:
            self.seconds = time.perf_counter() - self._began


def check_options(load: loader.Load) -> None:
    """Raises for what no connection could mend, before the first one."""
    window = Window(
        load.plan,
        load.from_customer,
        load.fast,
        load.workers,
        load.order,
        parents=lambda _: [],
        check=lambda batch: batch,
    )
    for target in load.targets.values():
        target.sink(window)


def postgres(load: loader.Load, schema: Schema) -> Way:
    """All tables of a load, keys and commit included."""
    target = cast("PostgresTarget", load.targets["postgres"])
    run = replace(load, targets={"postgres": replace(target, url=schema.url)})
    rows = sum(load.plan.rows(table.name) for table in catalogue().tables)
    return Way("datagen", rows, lambda: _load(run, "postgres", rows), schema.renew)


def kafka(load: loader.Load, config: ProducerConfig) -> Way:
    """All events of a load, up to the last acknowledgement."""
    target = cast("KafkaTarget", load.targets["kafka"])
    run = replace(load, targets={"kafka": replace(target, producer=config, create_topics=True)})
    rows = sum(load.plan.rows(stream.name) for stream in catalogue().streams)
    return Way("datagen", rows, lambda: _load(run, "kafka", rows))


def _load(run: loader.Load, stage: str, rows: int) -> Round:
    watch, cpu = _Stopwatch(stage), cpu_seconds()
    loader.load(run, watch, prefetch=False)
    return Round(rows, watch.seconds, cpu_seconds() - cpu)


class CopyFiles:
    r"""Tables as files of binary COPY, and psql's ``\copy`` of them; keys are added at the end.

    Where there is no psql, psycopg copies the same files.
    """

    def __init__(self, folder: Path, plan: Plan, stop: int, schema: Schema) -> None:
        self._schema = schema
        self._rows = 0
        self._files: dict[str, Path] = {}
        for table in catalogue().tables:
            path = self._files[table.name] = folder / f"{table.name}.copy"
            with path.open("wb") as file:
                file.write(COPY_HEADER)
                for batch in plan.batches(table.name, 0, stop):
                    file.write(batch.encode("pgcopy"))
                    self._rows += len(batch)
                file.write(COPY_TRAILER)

    def way(self) -> Way:
        # A key's password has no variable of its own, and none belongs on a command line.
        if shutil.which("psql") and "sslpassword" not in self._schema.params:
            name, run = r"psql \copy of binary files", self._psql
        else:
            name, run = "psycopg COPY of binary files", self._psycopg
        return Way(name, self._rows, run, self._schema.renew)

    def _psql(self) -> Round:
        """As its session sees it: neither psql's start nor its login counts."""
        from psycopg.conninfo import make_conninfo

        params = dict(self._schema.params)
        password = params.pop("password", None)
        script = [
            "BEGIN;",
            *(f"{statement};" for statement in self._tables()),
            f"{_CLOCK};",
            *(f"\\copy {name} FROM '{path}' {_FORM}" for name, path in self._files.items()),
            *(f"{statement};" for statement in self._keys()),
            "COMMIT;",
            f"{_CLOCK};",
        ]
        options = ["--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only"]
        options += ["--set=ON_ERROR_STOP=1", f"--dbname={make_conninfo(**params)}"]
        cpu = cpu_seconds()
        done = subprocess.run(
            ["psql", *options],
            input="\n".join(script),
            env={**os.environ, **({"PGPASSWORD": password} if password else {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = " ".join(done.stderr.split())[:300]
            raise RejectedError(f"psql, which is measured beside datagen, failed: {said}")
        began, ended = map(float, done.stdout.split())
        return Round(self._rows, ended - began, cpu_seconds() - cpu)

    def _psycopg(self) -> Round:
        import psycopg

        try:
            with psycopg.connect(self._schema.url) as connection:
                for statement in self._tables():
                    connection.execute(statement.encode())
                cpu, began = cpu_seconds(), time.perf_counter()
                for name, path in self._files.items():
                    command = f"COPY {name} FROM STDIN {_FORM}".encode()
                    with connection.cursor().copy(command) as copy, path.open("rb") as file:
                        while block := file.read(_BLOCK):
                            copy.write(block)
                for statement in self._keys():
                    connection.execute(statement.encode())
                connection.commit()
                return Round(self._rows, time.perf_counter() - began, cpu_seconds() - cpu)
        except psycopg.Error as error:
            said = error.diag.message_primary or "the connection was lost"
            raise RejectedError(
                f"psycopg's COPY, which is measured beside datagen, failed: {said}"
            ) from None

    def _tables(self) -> Iterator[str]:
        return (shape(table).create(self._schema.name) for table in catalogue().tables)

    def _keys(self) -> Iterator[str]:
        shapes = [shape(table) for table in catalogue().tables]
        for one in shapes:
            yield one.add_keys(self._schema.name)
            yield from one.add_indexes(self._schema.name)
        yield from filter(None, (one.add_foreign_keys(self._schema.name) for one in shapes))


class ReadyRecords:
    """Events with keys, values and headers ready, and confluent-kafka's ``produce()`` of them."""

    def __init__(self, config: ProducerConfig, plan: Plan, stop: int) -> None:
        self._config = config
        self._records = [
            (config.topic_prefix + stream.name, value, key, stamp, headers)
            for stream in catalogue().streams
            for records in (EventRecords(stream, config, 1 if config.avro else None),)
            for batch in plan.batches(stream.name, 0, stop)
            for _, value, key, stamp, headers in records.rows(batch)
        ]

    def way(self) -> Way:
        name = "confluent-kafka produce() of ready records"
        return Way(name, len(self._records), self._produce)

    def _produce(self) -> Round:
        from confluent_kafka import KafkaException, Producer

        events = ClientEvents(self._config)
        options = {"logger": events, "error_cb": events.on_error}
        producer = held(Producer, {**self._config.librdkafka(), **options})
        acknowledged = 0
        errors: list[str] = []

        def on_delivery(error: Any, _message: Any) -> None:
            nonlocal acknowledged
            if error is None:
                acknowledged += 1
            else:
                errors.append(error.name())

        records = iter(self._records)
        try:
            with HeldInterrupt():
                producer.list_topics(timeout=TIMEOUT)
            cpu, began = cpu_seconds(), time.perf_counter()
            while some := list(islice(records, _POLL_EVERY)):
                with HeldInterrupt() as signals:
                    for topic, value, key, stamp, headers in some:
                        while True:
                            try:
                                producer.produce(
                                    topic, value, key, -1, on_delivery, None, stamp, headers
                                )
                                break
                            except BufferError:
                                producer.poll(0.1)
                                signals.release()
                    producer.poll(0)
            end = time.monotonic() + flush_timeout(len(self._records))
            left = 1
            while left and time.monotonic() < end:
                with HeldInterrupt():
                    left = producer.flush(0.5)
        except KafkaException as error:
            what = "Kafka, with the client that is measured beside datagen"
            raise failure(what, error.args[0], self._config) from None
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        if acknowledged != len(self._records):
            kind = kind_of(errors[0]) if errors else UnreachableError
            raise kind(
                f"Kafka acknowledged {acknowledged} of {len(self._records)} events of the client "
                f"that is measured beside datagen ({errors[0] if errors else 'no answer'})"
            )
        return Round(acknowledged, seconds, cpu)
