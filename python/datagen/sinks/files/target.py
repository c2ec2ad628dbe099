"""What is asked of files: which rows, in which format, under which names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from ...errors import ConfigurationError, OptionError
from ...types import catalogue
from ..base import Stage, labels, streams, tables
from .formats import FORMATS
from .place import check_location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._core import Batch
    from ...types import Relation
    from ..base import Window
    from .formats import Format
    from .sink import Files

__all__ = ["FILES", "FilesTarget", "part_of"]

FILES: Final = Stage(
    "files", title="Files", unit="rows", summary="Files", counted="files", committed="written"
)

#: Parts of a relation; their numbers have as many digits as the last.
MAX_PARTS: Final = 10_000

Span = Literal["day", "month"]
Uuids = Literal["text", "binary"]


@dataclass(frozen=True, kw_only=True)
class FilesTarget:
    """The files of a run: one a table or stream, or as many as ``parts``, in a folder.

    ``location`` is a folder, as text or as a path, or a URL that pyarrow's file systems know
    (``s3://bucket/folder``). Without it the rows of the one relation are written to ``descriptor``.
    ``relations`` are those that are written, by default all tables and streams; ``labels`` may be one of
    them where the plan has labels.

    A part has the customers that ``part_of`` gives. The run writes the parts side by side, or, where
    ``part`` says which, that one: then its customers are those of the part, and ``whole`` has the first
    of all and the one behind the last. Reference rows (stocks) are in the first.

    ``partition_by`` has a folder for each day or month of event time (UTC), by the names of Hive. Tables have
    none, and a part without events has a file without rows in the first folder. With ``overwrite`` files of an earlier run are replaced, once all new ones are whole.
    """

    format: str
    location: str | os.PathLike[str] = ""
    descriptor: int | None = None
    relations: tuple[str, ...] = ()
    compression: str = ""
    partition_by: Span | None = None
    parts: int = 1
    part: int | None = None
    whole: tuple[int, int] | None = None
    uuids: Uuids = "text"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.format not in [*FORMATS]:
            raise OptionError("format", self.format, ", ".join(FORMATS))
        usual = (*tables(), *streams())
        every = (*usual, labels())
        if not isinstance(self.relations, tuple | list):
            raise OptionError("relations", self.relations, 'a tuple of names, such as ("loans",)')
        for name in self.relations:
            if name not in every:
                raise OptionError("relations", name, ", ".join(every))
        _check_number("parts", self.parts, 1, MAX_PARTS)
        if self.part is not None:
            _check_number("part", self.part, 1, self.parts, "the number of parts")
        wanted = self.relations or usual
        if self.part is not None and self.part > 1:
            wanted = tuple(name for name in wanted if not catalogue()[name].is_reference)
            if not wanted:
                raise OptionError("part", self.part, "1, which has all reference rows")
        object.__setattr__(self, "relations", tuple(name for name in every if name in wanted))
        compressions = self.form.compressions
        if not self.compression:
            object.__setattr__(self, "compression", compressions[0])
        if self.compression not in compressions:
            raise OptionError("compression", self.compression, ", ".join(compressions))
        if self.partition_by not in [None, *get_args(Span)]:
            raise OptionError("partition_by", self.partition_by, " or ".join(get_args(Span)))
        if self.uuids not in get_args(Uuids):
            raise OptionError("uuids", self.uuids, " or ".join(get_args(Uuids)))
        if self.uuids == "binary" and not self.form.binary_uuids:
            raise OptionError("uuids", self.uuids, f"text, which {self.format} has")
        if not isinstance(self.overwrite, bool):
            raise OptionError("overwrite", self.overwrite, "True or False")
        self._check_whole()
        self._check_place()

    def _check_whole(self) -> None:
        whole: Any = self.whole
        if whole is None:
            return
        if self.part is None:
            raise OptionError("whole", whole, "it with part only")
        bounds = [*whole] if isinstance(whole, tuple | list) else []
        if len(bounds) != 2 or not all(map(_is_number, bounds)) or not 0 <= bounds[0] < bounds[1]:
            raise OptionError("whole", whole, "the first customer, and the one behind the last")

    def _check_place(self) -> None:
        """Checks where to, and what of the rest goes with it."""
        if isinstance(self.location, os.PathLike):
            object.__setattr__(self, "location", os.fspath(self.location))
        if self.descriptor is None:
            check_location(self.location)
            return
        _check_number("descriptor", self.descriptor, 0, 2**31 - 1)
        if self.location != "":
            raise OptionError("location", self.location, "none for one stream of bytes")
        if self.overwrite:
            raise OptionError("overwrite", self.overwrite, "False for one stream of bytes")
        if len(self.relations) != 1:
            raise OptionError("relations", ",".join(self.relations), "one, for one stream of bytes")
        if self.parts > 1 and self.part is None:
            raise OptionError("parts", self.parts, "1, or one part, for one stream of bytes")
        if self.partition_by is not None:
            raise OptionError("partition_by", self.partition_by, "none for one stream of bytes")

    @property
    def form(self) -> Format:
        return FORMATS[self.format]

    def convert(self, batch: Batch) -> Any:
        """The rows of a batch as the format's writer takes them."""
        return self.form.convert(batch, self.uuids)

    def sink(self, window: Window) -> Files:
        customers = window.plan.customers - window.first_customer
        if self.part is None and self.parts > customers:
            raise OptionError("parts", self.parts, f"1 to {customers}, the number of customers")
        if labels() in self.relations and window.plan.labels is None:
            raise OptionError("relations", labels(), "them only for a plan that has labels")
        if self.partition_by is not None and window.order != "time":
            raise OptionError(
                "order", window.order, "time, in which the rows of a day come together"
            )
        try:
            import pyarrow  # noqa: F401 - whether it is there
        except ImportError:
            raise ConfigurationError(
                "files need pyarrow, which is not installed: pip install 'datagen[files]'"
            ) from None
        from .sink import Files

        return Files(self, window)

    def customers(self, window: Window) -> Sequence[tuple[int, int, int]]:
        """The number of each part that is written, and its customers from one to before another."""
        first, stop = window.first_customer, window.plan.customers
        if self.part is not None:
            return [(self.part, first, stop)]
        every = range(1, self.parts + 1)
        return [(part, *part_of(first, stop, self.parts, part)) for part in every]

    def path(self, relation: Relation, part: int, span: str = "") -> str:
        """The name of a file, below the folder. ``span`` is the day or month of its events."""
        suffix = self.form.suffix_of(self.compression)
        if self.parts == 1 and not span:
            return f"{relation.name}{suffix}"
        digits = len(str(self.parts))
        name = f"part-{part:0{digits}}-of-{self.parts}{suffix}"
        return f"{relation.name}/{span}/{name}" if span else f"{relation.name}/{name}"

    @property
    def manifest(self) -> str:
        """The name of the manifest."""
        if self.part is None or self.parts == 1:
            return "manifest.json"
        return f"manifest-{self.part:0{len(str(self.parts))}}-of-{self.parts}.json"

    def spans(self, relation: Relation) -> bool:
        """Whether the rows of a relation are in folders by time."""
        return self.partition_by is not None and relation.is_stream

    def first_span(self, relation: Relation, window: Window) -> str:
        """The folder of the first events that a stream could have."""
        history = timedelta(days=relation.history_days or window.plan.days)
        return self.span(_millis(window.plan.as_of - history))[0]

    def span(self, millis: int) -> tuple[str, int]:
        """The folder of an instant, and the first instant that is not in it; both in UTC."""
        day = datetime.fromtimestamp(millis // 1000, UTC).replace(hour=0, minute=0, second=0)
        if self.partition_by == "day":
            return f"day={day:%Y-%m-%d}", _millis(day) + 86_400_000
        start = day.replace(day=1)
        after = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        return f"month={start:%Y-%m}", _millis(after)


def part_of(first: int, stop: int, parts: int, part: int) -> tuple[int, int]:
    """The customers of a part: equal shares of those from ``first`` to before ``stop``, in order.

    Parts are counted from 1.
    """
    customers = stop - first
    return first + customers * (part - 1) // parts, first + customers * part // parts


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_number(name: str, value: Any, least: int, most: int, what: str = "") -> None:
    if not _is_number(value) or not least <= value <= most:
        raise OptionError(name, value, f"{least} to {most}{what and ', ' + what}")


def _millis(instant: datetime) -> int:
    return int(instant.timestamp()) * 1000
