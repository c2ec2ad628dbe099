"""Patterns that find blocks, code and options in a page of the documents."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The language of a block and its text.
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
# Not the lines of a diagram (`||--o{`).
OPTION = re.compile(r"(?<![\w|-])--[a-z][a-z0-9-]*")
