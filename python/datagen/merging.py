"""The receipts of shards, put together to that of the bank that they are parts of."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigurationError
from .receipts import Receipt, Recorder
from .types import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .receipts import Ending

__all__ = ["merge"]

#: Which customers a shard has, and what its receipt alone is asked for.
_OWN: Final = frozenset({"shard", "customers", "from_customer"})


def merge(out: Path, receipts: Sequence[Receipt]) -> Receipt:
    """Writes the receipt of all shards, which says that they are several; returns it.

    Rows and acknowledged records are summed, and offsets are the first and the last of all. Raises
    ``ConfigurationError`` for receipts of other plans or places than the first one, of streams that have not come equally far, and
    for customers that none or several of them have; each is named. Shards that are not whole are in the outcome. Of
    streams that were resumed the receipt answers for the events since the last position from which one was.
    """
    if not receipts:
        raise ConfigurationError("there are no receipts to merge")
    ordered = sorted(receipts, key=lambda one: _customers(one).start)
    first = ordered[0]
    for one in ordered:
        if one.command == "stream" and one.stream is None:
            raise ConfigurationError(
                f"{one.path} does not say how far its stream came: begin that again, or go on from its position"
            )
        for what, value in _common(first).items():
            if _common(one)[what] != value:
                raise ConfigurationError(
                    f"{one.path} is of another {what} than {first.path}: {_common(one)[what]}, not {value}"
                )
    for one, after in pairwise(ordered):
        end, start = _customers(one).stop, _customers(after).start
        if start != end:
            which = f"customers {min(start, end)} to {max(start, end) - 1}"
            said = "are in neither" if end < start else "are in both"
            raise ConfigurationError(f"{which} {said} {one.path} and {after.path}")
    for one, is_first in ((first, True), (ordered[-1], False)):
        number, of = one.options.get("shard") or (1, 1)
        if number != (1 if is_first else of):
            beyond = "before" if is_first else "behind"
            raise ConfigurationError(
                f"customers {beyond} those of {one.path}, shard {number}/{of}, are in no receipt"
            )
    recorder = Recorder(
        out,
        command=first.command,
        options={
            name: value
            for name, value in first.options.items()
            if name not in _OWN and all(one.options.get(name) == value for one in ordered)
        },
    )
    broken = [f"{one.path.name} is {one.outcome}" for one in ordered if one.outcome != "ok"]
    outcome: Ending = "failed" if broken else "ok"
    ended = [one.ended for one in ordered if one.ended is not None]
    content = {
        "began": min(one.began for one in ordered),
        "ended": max(ended) if len(ended) == len(ordered) else None,
        "shards": sum(one.shards for one in ordered),
        "plan": {**ordered[-1].plan, "from_customer": first.plan["from_customer"]},
        "order": first.order,
        "rows": _rows(one.rows for one in ordered),
        "sinks": {name: _sink([one.sinks[name] for one in ordered]) for name in first.sinks},
        **_stream([one.stream for one in ordered if one.stream is not None]),
    }
    recorder.write(outcome, content, "; ".join(broken))
    if not recorder.written:
        raise ConfigurationError(f"{out} cannot be written")
    return Receipt.read(out)


def _customers(receipt: Receipt) -> range:
    return range(int(receipt.plan["from_customer"]), receipt.as_plan().customers)


def _common(receipt: Receipt) -> dict[str, Any]:
    """What all shards of a bank have in common, by what it is called."""
    plan = {name: receipt.plan.get(name) for name in ("seed", "as_of", "days", "labels")}
    kafka, postgres = (receipt.sinks.get(name, {}) for name in ("kafka", "postgres"))
    topics = {one["topic"]: len(one["partitions"]) for one in kafka.get("topics", {}).values()}
    made = ("format", "avro_enums", "cloudevents", "content_type", "record_timestamp")
    stream = receipt.stream or {}
    return {
        "kind of run": "load" if receipt.stream is None else "stream",
        "version of the catalogue": receipt.catalogue,
        "plan": plan,
        "order of events": receipt.order,
        "set of sinks": sorted(receipt.sinks),
        "cluster": kafka.get("cluster"),
        "set of topics and partitions": topics,
        "form of records": {name: kafka.get(name) for name in made},
        "schema of the tables": postgres.get("schema"),
        "start of the stream": stream.get("start"),
        "instant up to which events were sent": stream.get("until"),
        "instant of the tables": postgres.get("as_of"),
    }


def _stream(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the receipt says of a stream, if it is one."""
    if not shards:
        return {}
    since = [one["since"] for one in shards if one["since"] is not None]
    resumed = any(one["resumed"] for one in shards)
    last = max(since, key=datetime.fromisoformat, default=None)
    return {"stream": {**shards[0], "since": last, "position": None, "resumed": resumed}}


def _rows(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Rows of all shards together; each has the reference rows, which are the same ones."""
    total: dict[str, int] = {}
    for rows in counts:
        for name, count in rows.items():
            before = total.get(name, 0)
            total[name] = max(before, count) if catalogue()[name].is_reference else before + count
    return total


def _sink(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged = dict(shards[0])
    if "tables" in merged:
        merged["tables"] = _rows(one["tables"] for one in shards)
    if "outcome" in merged:
        merged["outcome"] = next(
            (one["outcome"] for one in shards if one["outcome"] != "committed"), "committed"
        )
    if "topics" in merged:
        merged["topics"] = {
            name: _topic([one["topics"][name] for one in shards]) for name in merged["topics"]
        }
    return merged


def _topic(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def partition(number: str) -> dict[str, Any]:
        parts = [one["partitions"][number] for one in shards]
        last = [part["last"] for part in parts if part["last"] is not None]
        return {
            "first": min(part["first"] for part in parts),
            "last": max(last) if last else None,
            "acknowledged": sum(part["acknowledged"] for part in parts),
        }

    return {
        **shards[0],
        "acknowledged": sum(one["acknowledged"] for one in shards),
        "partitions": {number: partition(number) for number in shards[0]["partitions"]},
    }
