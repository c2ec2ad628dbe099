"""Avro schemas side by side: whether bytes that were written by one mean the same by the other."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["difference"]

#: Of a logical type's attributes, those that change what a value is.
_LOGICAL = ("logicalType", "precision", "scale")


def difference(ours: str, theirs: str) -> str:
    """Where two schemas of records differ in what is written; nothing if they do not.

    Names of types, documentation, aliases and defaults are nothing that is written.
    """
    one, other = (_fields(text) for text in (ours, theirs))
    if one is None or other is None:
        return "it is no schema of a record"
    for (name, kind), (their_name, their_kind) in zip(one, other, strict=False):
        if name != their_name:
            return f"field {name} is sent where it has {their_name}"
        if kind != their_kind:
            return f"field {name} is of another type"
    for name, _ in one[len(other) :]:
        return f"it lacks field {name}"
    for name, _ in other[len(one) :]:
        return f"field {name} is not sent"
    return ""


def _fields(text: str) -> list[tuple[str, Any]] | None:
    try:
        schema = json.loads(text)
        named: dict[str, Any] = {}
        return [(one["name"], _layout(one["type"], named, "")) for one in schema["fields"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _layout(schema: Any, named: dict[str, Any], space: str) -> Any:
    """A type without what is not written; ``named`` are the types that were met, by full name."""
    if isinstance(schema, str):
        return named.get(schema, named.get(f"{space}.{schema}", schema))
    if isinstance(schema, list):
        return [_layout(one, named, space) for one in schema]
    kind = schema["type"]
    if not isinstance(kind, str):
        return _layout(kind, named, space)
    name = schema.get("name", "")
    space = schema.get("namespace", name.rpartition(".")[0] or space)
    full = name if "." in name else f"{space}.{name}".lstrip(".")
    found: list[Any] = [kind]
    if kind in {"record", "enum", "fixed"}:
        named[full] = f"<{full}>"  # a type may hold itself
    if kind == "record":
        found += [(one["name"], _layout(one["type"], named, space)) for one in schema["fields"]]
    elif kind == "enum":
        found += schema["symbols"]
    elif kind == "fixed":
        found.append(schema["size"])
    elif kind == "array":
        found.append(_layout(schema["items"], named, space))
    elif kind == "map":
        found.append(_layout(schema["values"], named, space))
    else:
        # A UUID is written as any text.
        logical = [schema.get(one) for one in _LOGICAL if schema.get("logicalType") != "uuid"]
        return [kind, *logical] if any(logical) else _layout(kind, named, space)
    if kind in {"record", "enum", "fixed"}:
        named[full] = found
    return found
