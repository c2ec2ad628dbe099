"""The phases of files: rows into files without a name, and names once all are whole."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import ConfigurationError, DatagenError
from ...settlement import Committed, Outcome
from ...types import catalogue
from ..base import Check, Sink, streams
from .manifest import clashes, manifest, of_another_run, replaced
from .place import Descriptor, Output, Place, Whole
from .target import FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..._core import Batch
    from ...types import Relation
    from ..base import Window
    from .formats import Writer
    from .target import FilesTarget

__all__ = ["Files"]

_log = logging.getLogger(__name__)

#: Rows of a batch of events: an encoder of columns works best on many.
_BATCH_ROWS: Final = 16_384


class Files(Sink):
    """Tables come as batches, one after the other; streams are made here, side by side."""

    stage = FILES
    commit_part = "names"

    def __init__(self, target: FilesTarget, window: Window) -> None:
        self._target, self._window = target, window
        self.relations = target.relations
        self._place: Place | None = None
        self._table: _Parts | None = None
        #: The files of relations that are whole, in the order of parts.
        self._written: dict[str, list[tuple[Whole, int]]] = {}
        self._outcome: Outcome = "nothing"
        #: What is written to a descriptor, which is no file to be taken away.
        self._shown: File | None = None

    def open(self) -> None:
        if self._target.descriptor is None:
            self._place = Place(str(self._target.location))

    def prepare(self) -> None:
        if self._place is None:
            return
        if self._target.overwrite:
            replaced(self._target, self._window, self._place)
            return
        found = of_another_run(self._target, self._window, self._place)
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            raise ConfigurationError(
                f"{self._place.name}/{found[0]} is there already{more}; "
                "choose another folder, or replace an earlier run with --overwrite"
            )

    def begin(self) -> None:
        target = self._target
        if self._place is not None:
            self._place.begin(target.manifest, lambda name: clashes(target, name))

    def write(self, batch: Batch) -> None:
        if self._table is None:
            self._table = self._parts(batch.name)
        self._table.write(batch)

    def finish(self, name: str) -> None:
        table = self._table = self._table or self._parts(name)
        self._written[name] = table.finish()
        self._table = None

    def _parts(self, name: str) -> _Parts:
        return _Parts(self, self._target, self._window, catalogue()[name])

    def transfer(self) -> _Streams | None:
        names = [name for name in streams() if name in self.relations]
        return _Streams(self, self._target, self._window, names) if names else None

    def file(self, relation: Relation, part: int, span: str = "") -> File:
        """A file of a relation, to be written."""
        if self._place is None:
            assert self._target.descriptor is not None  # noqa: S101 - one of both is asked for
            out: Output = Descriptor(self._target.descriptor)
        else:
            out = self._place.create(self._target.path(relation, part, span))
        target = self._target
        file = File(out, target.form.writer(out, relation, target.compression, target.uuids))
        if self._place is None:
            self._shown = file
        return file

    def took(self, name: str, files: list[tuple[Whole, int]]) -> None:
        """Takes note that a stream has all its events."""
        self._written[name] = files

    def commit(self) -> None:
        if {*self._written} != {*self.relations}:
            return  # events are to come
        if self._place is not None:
            written = {name: self._written[name] for name in self.relations}
            paths = [one.path for files in written.values() for one, _ in files]
            own = self._target.manifest
            with self._place.create(own) as out:
                out.write(manifest(self._target, self._window, written))
                out.finish()
            # The manifest last: where it is, all that it lists is.
            names = [*paths, own]
            with self._place.alone():
                going = []
                if self._target.overwrite:
                    going = replaced(self._target, self._window, self._place, names)
                else:
                    self.prepare()  # what has come there meanwhile
                    if taken := self._place.occupied(names):
                        raise ConfigurationError(
                            f"{self._place.name}/{taken[0]} has come meanwhile"
                        )
                self._place.publish(names, going)
        self._outcome = "committed"

    def verify(self) -> Iterator[Check]:
        for rank, name in enumerate(self.relations):
            files = self._written[name]
            expected = self._window.rows(name)
            sizes: Sequence[int | None] = [one.bytes for one, _ in files]
            if self._place is not None:
                sizes = self._place.sizes([one.path for one, _ in files])
            there = zip(files, sizes, strict=True)
            found = sum(rows for (one, rows), size in there if size == one.bytes)
            note = f"{len(files)} files" if len(files) > 1 else ""
            yield Check(name, expected, found, note=note, rank=rank)

    def facts(self) -> Mapping[str, Any]:
        target = self._target
        return {"format": target.format, "compression": target.compression}

    def settlement(self) -> Committed:
        rows = {name: sum(n for _, n in files) for name, files in self._written.items()}
        outcome, written = self._outcome, ""
        if outcome == "nothing" and self._shown is not None and self._shown.bytes:
            outcome, written = (
                "partial",
                f"at least {self._shown.rows:,} rows, {self._shown.bytes:,} bytes",
            )
        return Committed(
            FILES.name,
            FILES.title,
            outcome,
            replaces=self._target.overwrite,
            skip="",
            rows=rows if self._outcome == "committed" else {},
            written=written,
        )

    def close(self, error: BaseException | None) -> None:
        if self._table is not None:
            self._table.abandon()
        if self._place is not None:
            # What cannot be removed now has no name that a reader would take.
            with suppress(DatagenError) if error else nullcontext():
                self._place.clear()
            if self._place.unsettled:
                self._outcome = "unknown"
                _log.warning("what was there before is in %s", self._place.unsettled)


class File:
    """Rows on their way into one file."""

    def __init__(self, out: Output, writer: Writer) -> None:
        self._out, self._writer = out, writer
        self.rows = 0

    def write(self, rows: Any, start: int, stop: int) -> None:
        """Takes rows of a batch, which the format has converted."""
        step = max(self._writer.step or stop - start, 1)
        for first in range(start, stop, step):
            end = min(first + step, stop)
            self._writer.write(rows, first, end)
            self.rows += end - first

    def finish(self) -> tuple[Whole, int]:
        """The file, which is whole now, and its rows."""
        self._writer.close()
        return self._out.finish(), self.rows

    @property
    def bytes(self) -> int:
        """Bytes that have been written."""
        return self._out.tell()

    def abandon(self) -> None:
        self._out.abandon()
        # What it still writes goes nowhere.
        with suppress(Exception):
            self._writer.close()


class _Parts:
    """The files of a table, whose rows come in the order of customers: part by part."""

    def __init__(
        self, sink: Files, target: FilesTarget, window: Window, relation: Relation
    ) -> None:
        self._sink, self._relation, self._convert = sink, relation, target.convert
        parts = target.customers(window)
        if relation.is_reference:
            parts = parts[:1]
        #: Each part, and the rows that it has.
        self._ahead = [
            (part, window.plan.rows(relation.name, start, stop)) for part, start, stop in parts
        ]
        self._done: list[tuple[Whole, int]] = []
        self._open()

    def _open(self) -> None:
        part, self._left = self._ahead.pop(0)
        self._file = self._sink.file(self._relation, part)

    def write(self, batch: Batch) -> None:
        start, rows = 0, self._convert(batch)
        while start < len(batch):
            while not self._left:
                self._done.append(self._file.finish())
                self._open()
            stop = min(len(batch), start + self._left)
            self._file.write(rows, start, stop)
            self._left -= stop - start
            start = stop

    def finish(self) -> list[tuple[Whole, int]]:
        self._done.append(self._file.finish())
        while self._ahead:
            self._open()
            self._done.append(self._file.finish())
        return self._done

    def abandon(self) -> None:
        self._file.abandon()


class _Streams:
    """Makes, checks and writes the events of streams: a thread takes one part of one stream after the other."""

    def __init__(self, sink: Files, target: FilesTarget, window: Window, names: list[str]) -> None:
        self._sink, self._target, self._window, self._names = sink, target, window, names
        self._cancelled = threading.Event()
        self._events = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancelled.set()

    def finish(self, progress: Callable[[int], None]) -> Mapping[str, tuple[int, float]]:
        began = time.perf_counter()
        parts = self._target.customers(self._window)
        tasks = [(name, *part) for name in self._names for part in parts]
        # The longest first, so that threads end at about the same time.
        events = {name: self._window.about(name) for name in self._names}
        tasks.sort(key=lambda task: -events[task[0]] * (task[3] - task[2]))
        ends: dict[str, float] = {}
        files: dict[tuple[str, int], list[tuple[Whole, int]]] = {}

        def carry_out(name: str, part: int, start: int, stop: int) -> None:
            files[name, part] = self._write(catalogue()[name], part, start, stop)
            ends[name] = time.perf_counter() - began

        told = 0
        with ThreadPoolExecutor(self._window.workers, "datagen-files") as pool:
            try:
                pending = {pool.submit(carry_out, *task) for task in tasks}
                while pending:
                    # A signal is heard between two waits.
                    done, pending = wait(pending, 0.1, FIRST_EXCEPTION)
                    for one in done:
                        one.result()
                    made = sum(self._events.values())
                    progress(made - told)
                    told = made
            except BaseException:
                self._cancelled.set()
                pool.shutdown(cancel_futures=True)
                raise
        for name in self._names:
            self._sink.took(name, [file for part in parts for file in files[name, part[0]]])
        return {name: (self._events[name], ends[name]) for name in self._names}

    def _write(
        self, relation: Relation, part: int, start: int, stop: int
    ) -> list[tuple[Whole, int]]:
        """The files of a part of a stream."""
        window, spans = self._window, self._target.spans(relation)
        done: list[tuple[Whole, int]] = []
        batches = window.plan.batches(
            relation.name, start, stop, order=window.order, batch_rows=_BATCH_ROWS
        )
        span, end = "", 0
        file = None if spans else self._sink.file(relation, part)
        try:
            for batch in batches:
                if self._cancelled.is_set():
                    raise _CancelledError
                rows = self._target.convert(window.check(batch))
                times = memoryview(batch.column(relation.time)) if spans else None
                first = 0
                while first < len(batch):
                    last = len(batch)
                    if times is not None:
                        if file is None or times[first] >= end:
                            if file is not None:
                                done.append(file.finish())
                            span, end = self._target.span(times[first])
                            file = self._sink.file(relation, part, span)
                        last = bisect_left(times, end, lo=first)
                    assert file is not None  # noqa: S101 - made above
                    file.write(rows, first, last)
                    first = last
                with self._lock:
                    self._events[relation.name] += len(batch)
            if file is None:
                # Readers find the stream, and the values that its rows would have.
                file = self._sink.file(relation, part, self._target.first_span(relation, window))
            done.append(file.finish())
        except BaseException:
            if file is not None:
                file.abandon()
            raise
        return done


class _CancelledError(Exception):
    """Another part has failed, or the run is broken off."""
