"""Values of any message or row, as JSON and as text, written as datagen's own encoder writes them."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

__all__ = ["as_json", "as_text"]


def as_json(value: Any) -> str:
    """A value as JSON on one line: decimals with all their digits, instants in UTC, bytes as hexadecimal."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict):
        members = (f"{_text(str(name))}:{as_json(one)}" for name, one in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_json, value)) + "]"
    if isinstance(value, Decimal | int):
        return str(value) if Decimal(value).is_finite() else _text(str(value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else _text(str(value))
    return _text(as_text(value))


def as_text(value: Any) -> str:
    """A value as a cell of a table; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat()
        exact = "milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
        return value.astimezone(UTC).isoformat(timespec=exact).replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, bool | int | float | Decimal | dict | list | tuple):
        return as_json(value)
    return str(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
