"""Avro schemas: whether they are valid, and whether one reads what another wrote.

The rules are those of the Avro specification 1.12, "Schema Declaration" and "Schema
Resolution". Defaults, logical types and aliases of fields are not looked into.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Writer's type -> the reader's types that it is promoted to.
_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class InvalidSchemaError(ValueError):
    """The text is not an Avro schema; the message says where it fails."""


class Schema:
    """A valid schema; ``text`` is its JSON without needless white space, in the given order."""

    def __init__(self, text: str) -> None:
        try:
            declared = json.loads(text)
            # No NaN, which JSON does not have, and no half of a character, which UTF-8 does not.
            self.text = json.dumps(
                declared, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            )
            self.text.encode()
        except ValueError as error:
            raise InvalidSchemaError(f"not JSON: {error}") from None
        self.named: dict[str, dict[str, Any]] = {}
        self.root = self._resolve(declared, "")

    def _resolve(self, node: Any, namespace: str) -> Any:
        """Check ``node``; return a primitive's name, a list (union) or a dict with full names.

        A named type is returned as its full name and kept in ``named``, so that a type which
        holds itself stays finite.
        """
        if isinstance(node, str):
            full = _full_name(node, namespace)
            if node in _PRIMITIVES or full in self.named:
                return node if node in _PRIMITIVES else full
            raise InvalidSchemaError(f"undefined type {node!r}")
        if isinstance(node, list):
            branches = [self._resolve(branch, namespace) for branch in node]
            kinds = [
                str(branch["type"]) if isinstance(branch, dict) else branch for branch in branches
            ]
            if any(isinstance(branch, list) for branch in branches) or not _distinct(kinds):
                raise InvalidSchemaError("a union holds another union or a type twice")
            return branches
        if not isinstance(node, dict) or "type" not in node:
            raise InvalidSchemaError(f"not a type: {json.dumps(node)[:80]}")
        kind = node["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._resolve_named(node, namespace)
        if kind == "array":
            return {"type": "array", "items": self._resolve(node.get("items"), namespace)}
        if kind == "map":
            return {"type": "map", "values": self._resolve(node.get("values"), namespace)}
        return self._resolve(kind, namespace)

    def _resolve_named(self, node: dict[str, Any], namespace: str) -> str:
        if not isinstance(node.get("name"), str):
            raise InvalidSchemaError(f"{node['type']} without a name")
        within = node.get("namespace", namespace)
        if not isinstance(within, str):
            raise InvalidSchemaError(f"{node['name']!r}: the namespace is no text")
        name = _full_name(node["name"], within)
        if not all(_NAME.fullmatch(part) for part in name.split(".")):
            raise InvalidSchemaError(f"illegal name {name!r}")
        if name in self.named:
            raise InvalidSchemaError(f"{name} is defined twice")
        kept = self.named[name] = {"type": node["type"]}
        if node["type"] == "fixed":
            if type(node.get("size")) is not int or node["size"] < 0:
                raise InvalidSchemaError(f"{name}: fixed needs a size")
            kept["size"] = node["size"]
        elif node["type"] == "enum":
            symbols = node.get("symbols")
            if not isinstance(symbols, list) or not _are_names(symbols):
                raise InvalidSchemaError(f"{name}: enum needs symbols, each of them once")
            kept.update(symbols=symbols, default=node.get("default"))
        else:
            kept["fields"] = self._resolve_fields(node.get("fields"), name)
        return name

    def _resolve_fields(self, fields: Any, record: str) -> list[dict[str, Any]]:
        if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
            raise InvalidSchemaError(f"{record}: a record needs fields")
        if not _are_names([field.get("name") for field in fields]):
            raise InvalidSchemaError(f"{record}: each field needs a name of its own")
        namespace = record.rpartition(".")[0]
        resolved = []
        for field in fields:
            if "type" not in field:
                raise InvalidSchemaError(f"{record}.{field['name']}: no type")
            kind = self._resolve(field["type"], namespace)
            resolved.append({"name": field["name"], "type": kind, "optional": "default" in field})
        return resolved


def incompatibilities(reader: Schema, writer: Schema) -> list[str]:
    """Why ``reader`` cannot read what ``writer`` wrote; empty if it can."""
    return _Reading(reader, writer).problems(reader.root, writer.root, "")


class _Reading:
    """One comparison; remembers the pairs of named types it is inside of."""

    def __init__(self, reader: Schema, writer: Schema) -> None:
        self.reader = reader
        self.writer = writer
        self.seen: set[tuple[str, str]] = set()

    def problems(self, reader: Any, writer: Any, path: str) -> list[str]:
        if isinstance(writer, list):
            return [text for branch in writer for text in self.problems(reader, branch, path)]
        if isinstance(reader, list):
            if any(not self.problems(branch, writer, path) for branch in reader):
                return []
            return [f"{path or '/'}: the reader's union has no branch for {_label(writer)}"]
        named = (reader, writer) if isinstance(reader, str) and isinstance(writer, str) else None
        if named in self.seen:
            return []
        read = self.reader.named.get(reader, reader) if isinstance(reader, str) else reader
        wrote = self.writer.named.get(writer, writer) if isinstance(writer, str) else writer
        if not isinstance(read, dict) or not isinstance(wrote, dict):
            fits = read == wrote or (
                isinstance(read, str)
                and isinstance(wrote, str)
                and read in _PROMOTIONS.get(wrote, ())
            )
            return [] if fits else [f"{path or '/'}: {_label(writer)} became {_label(reader)}"]
        # Of two names, the specification compares the part after the last dot.
        if read["type"] != wrote["type"] or (named and _short(reader) != _short(writer)):
            return [f"{path or '/'}: {_label(writer)} became {_label(reader)}"]
        if named:
            self.seen.add(named)
        found = self._problems_inside(read, wrote, path)
        if named and found:
            self.seen.discard(named)
        return found

    def _problems_inside(self, read: dict[str, Any], wrote: dict[str, Any], path: str) -> list[str]:
        if read["type"] == "array":
            return self.problems(read["items"], wrote["items"], f"{path}/items")
        if read["type"] == "map":
            return self.problems(read["values"], wrote["values"], f"{path}/values")
        if read["type"] == "fixed":
            return [] if read["size"] == wrote["size"] else [f"{path or '/'}: the size changed"]
        if read["type"] == "enum":
            unknown = [symbol for symbol in wrote["symbols"] if symbol not in read["symbols"]]
            if not unknown or read["default"] is not None:
                return []
            return [f"{path or '/'}: the reader's enum lacks {', '.join(unknown)}"]
        found = []
        written = {field["name"]: field["type"] for field in wrote["fields"]}
        for field in read["fields"]:
            inner = f"{path}/{field['name']}"
            if field["name"] in written:
                found += self.problems(field["type"], written[field["name"]], inner)
            elif not field["optional"]:
                found.append(f"{inner}: a new field needs a default")
        return found


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _label(node: Any) -> str:
    return node if isinstance(node, str) else str(node["type"])


def _distinct(values: list[Any]) -> bool:
    return len(values) == len({json.dumps(value) for value in values})


def _are_names(values: list[Any]) -> bool:
    legal = all(isinstance(value, str) and _NAME.fullmatch(value) for value in values)
    return legal and _distinct(values)
