"""What is asked of the source: its options, checked, and the parts that it is made in.

Nothing here needs Spark.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from datagen import Plan, catalogue
from datagen.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datagen.types import Relation

__all__ = ["Part", "Request", "millis_of", "moment", "parts"]

#: Rows of a partition where no number of partitions is given: a task of half a second or less.
_ROWS: Final = 200_000
#: Customers of a partition of labels: a task of some seconds.
_LABELLED: Final = 20_000
_MOST: Final = 100_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Names of the library that Spark's options spell in their own way.
_SPELT: Final = {"as_of": "asOf", "labels": "labelRates"}


def millis_of(instant: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def moment(millis: int) -> datetime:
    """Aware, in UTC."""
    return _EPOCH + timedelta(milliseconds=millis)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Rows of a table, or events of a stream, of customers ``first`` to the plan's last.

    ``since`` and ``until`` are None where the options have none. ``speed`` (seconds of event time a
    second) or ``rate`` (events a second) holds a query of ``readStream`` back.
    """

    plan: Plan
    relation: str
    first: int
    order: Literal["entity", "time"]
    partitions: int | None
    by_time: bool
    since: datetime | None
    until: datetime | None
    speed: float | None = None
    rate: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, str], *, streaming: bool | None = None) -> Request:
        """What options say, whose names may be in any case; raises ``OptionError`` for the first that is wrong.

        ``streaming`` is whether ``readStream`` has them; without it that is seen from the options.
        """
        given = _values(options)
        if streaming is None:
            streaming = bool(given.keys() & _STREAM.keys())
        for name in given.keys() & (_BATCH if streaming else _STREAM).keys():
            where = "read" if streaming else "readStream"
            raise OptionError(name, given[name], f"it with spark.{where} alone")
        if "speed" in given and "rowsPerSecond" in given:
            raise OptionError("rowsPerSecond", given["rowsPerSecond"], "either this or speed")
        relation, first = given["relation"], given.get("fromCustomer", 0)
        labelled = given.get("labels", False)
        if relation == catalogue().labels.name and not labelled:
            raise OptionError("relation", relation, "it with the option labels, which is true")
        if "labelRates" in given and not labelled:
            raise OptionError("labelRates", given["labelRates"], "it with labels, which is true")
        if streaming and not catalogue()[relation].is_stream:
            names = ", ".join(one.name for one in catalogue().streams)
            raise OptionError("relation", relation, f"spark.read for tables, or one of {names}")
        request = cls(
            plan=_plan(given, first),
            relation=relation,
            first=first,
            order=given.get("order", "entity"),
            partitions=given.get("partitions"),
            by_time=given.get("partitionBy", "customers") == "time",
            since=given.get("start" if streaming else "since"),
            until=given.get("until"),
            speed=given.get("speed"),
            rate=given.get("rowsPerSecond"),
        )
        if request.by_time and not request.found.is_stream:
            allowed = f"customers for {relation}, whose rows have no time"
            raise OptionError("partitionBy", "time", allowed)
        # The library's own checks; nothing is made yet.
        try:
            request.plan.batches(
                relation, first, order=request.order, since=request.since, until=request.until
            )
        except OptionError as error:
            option = "start" if streaming and error.option == "since" else error.option
            raise OptionError(option, error.value, error.allowed) from None
        return request

    @property
    def found(self) -> Relation:
        """What the catalogue has."""
        return catalogue()[self.relation]

    @property
    def begin(self) -> datetime:
        """No event that is asked for is before."""
        days = self.found.history_days or self.plan.days
        return self.since or self.plan.as_of - timedelta(days=days)

    @property
    def end(self) -> datetime:
        """All events that are asked for are before."""
        return min(self.until or self.plan.as_of, self.plan.as_of)


@dataclass(frozen=True)
class Part:
    """Customers ``start`` to ``stop``, and the span of time of which their events are."""

    start: int
    stop: int
    since: datetime | None
    until: datetime | None


def parts(request: Request) -> list[Part]:
    """What together is all rows, each once, and the same each time; one without customers where there are none."""
    plan, first = request.plan, request.first
    if request.since and request.until and request.since >= request.until:
        return [Part(first, first, None, None)]
    if request.found.is_reference:
        # These rows belong to no customer.
        return [Part(first, plan.customers, request.since, request.until)]
    wanted = request.partitions or _usual(request)
    if request.by_time:
        low, high = millis_of(request.begin), millis_of(request.end)
        cuts = [moment(one) for one in _cuts(low, max(high, low + 1), wanted)[1:-1]]
        spans = zip([request.since, *cuts], [*cuts, request.until], strict=True)
        return [Part(first, plan.customers, since, until) for since, until in spans]
    customers = _cuts(first, plan.customers, wanted)
    return [Part(start, stop, request.since, request.until) for start, stop in pairwise(customers)]


def _usual(request: Request) -> int:
    """How many parts there are unless a number is asked for."""
    plan, first = request.plan, request.first
    if request.found is catalogue().labels:
        # Few rows, which are found by passing the events of many customers.
        return -(-(plan.customers - first) // _LABELLED)
    return -(-plan.rows(request.relation, first) // _ROWS) or 1


def _cuts(low: int, high: int, wanted: int) -> list[int]:
    """Both ends of a range, and what cuts it into equal pieces: as many as wanted, if none is to be empty."""
    pieces = min(wanted, high - low)
    return [low + (high - low) * piece // pieces for piece in range(pieces + 1)]


def _values(options: Mapping[str, str]) -> dict[str, Any]:
    """The values of options by their own names."""
    known: Mapping[str, Callable[[str, str], Any]] = {**_BOTH, **_BATCH, **_STREAM}
    spelt = {name.lower(): name for name in known}
    given = {}
    for key, text in options.items():
        name = spelt.get(key.lower())
        if name is None:
            raise OptionError(key, text, f"the options {', '.join(known)}")
        given[name] = known[name](name, text)
    if "relation" not in given:
        names = ", ".join(one.name for one in catalogue())
        raise OptionError("relation", None, f"one of {names}")
    return given


def _plan(given: Mapping[str, Any], first: int) -> Plan:
    try:
        return Plan(
            given.get("seed", 42),
            first + given.get("customers", 100),
            as_of=given.get("asOf", Plan().as_of),
            days=given.get("days", Plan().days),
            labels=given.get("labelRates") or given.get("labels", False),
        )
    except OptionError as error:
        value, allowed = error.value, error.allowed
        if first and error.option == "customers":
            value, allowed = given.get("customers", 100), f"{allowed} with those before them"
        raise OptionError(_SPELT.get(error.option, error.option), value, allowed) from None


# What turns the text of an option into its value.


def _relation(option: str, text: str) -> str:
    try:
        return catalogue()[text].name
    except OptionError as error:
        raise OptionError(option, text, error.allowed) from None


def _whole(option: str, text: str) -> int:
    """A whole number, whose bounds are the plan's to say."""
    try:
        return int(text)
    except ValueError:
        raise OptionError(option, text, "a whole number") from None


def _up_to(low: int, high: int) -> Callable[[str, str], int]:
    def read(option: str, text: str) -> int:
        number = _whole(option, text)
        if not low <= number <= high:
            raise OptionError(option, number, f"{low} to {high}")
        return number

    return read


def _some(option: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1e9:
        raise OptionError(option, text, "a number above 0, up to 1000000000")
    return number


def _instant(option: str, text: str) -> datetime:
    try:
        # What an instant may be is the library's to say.
        return Plan(as_of=text).as_of
    except OptionError as error:
        raise OptionError(option, text, error.allowed) from None


def _switch(option: str, text: str) -> bool:
    return _one_of("true", "false")(option, text) == "true"


def _rates(option: str, text: str) -> dict[str, float]:
    """Rates as ``NAME=SHARE,...``, whose names and bounds are the plan's to say."""
    rates = {}
    for one in text.split(","):
        name, _, share = one.partition("=")
        try:
            rates[name.strip()] = float(share)
        except ValueError:
            raise OptionError(option, text, "rates such as pix-scam=0.002,bust-out=0") from None
    return rates


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def read(option: str, text: str) -> str:
        if text.lower() not in allowed:
            raise OptionError(option, text, " or ".join(allowed))
        return text.lower()

    return read


_BOTH: Final[Mapping[str, Callable[[str, str], object]]] = {
    "relation": _relation,
    "customers": _whole,
    "seed": _whole,
    "fromCustomer": _up_to(0, 99_999_989),
    "asOf": _instant,
    "days": _whole,
    "order": _one_of("entity", "time"),
    "partitions": _up_to(1, _MOST),
    "until": _instant,
    "labels": _switch,
    "labelRates": _rates,
}
_BATCH: Final = {"partitionBy": _one_of("customers", "time"), "since": _instant}
_STREAM: Final = {"start": _instant, "speed": _some, "rowsPerSecond": _some}
