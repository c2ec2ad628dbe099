"""Text of others, made fit for a terminal and a log: no secret and no control character in it."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["HIDDEN", "Secrets", "plain", "without_user"]

#: What stands in the place of a secret.
HIDDEN: Final = "***"

# Sequences of ECMA-48 (colours, titles, cursor), with what belongs to them.
_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, …
    r"|\x1b[ -/]*[0-~]?"  # two and three characters
)
# Characters that move the cursor or turn the direction of text, and halves of surrogate pairs.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS: Final = re.compile(r"[\t\n\x0b\x0c\r\x85\u2028\u2029]+")

# Secrets that the configuration does not hold, found by where they stand.
_AUTHORITY: Final = re.compile(r"//[^\s/@]*:[^\s/]*@|//[^\s/]*@")
_HEADER: Final = re.compile(
    r"(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|digest|negotiate)\s+)[^\s\"',]+",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"(\bbearer\s+)[\w-]+\.[\w-]+\.[\w-]+", re.IGNORECASE)
_PROPERTY: Final = re.compile(
    r"((?:password|passwd|pwd|secret|(?:access|auth|refresh)[._]?token|user\.info)[\"']?\s*[=:]\s*)"
    r"(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|(?<==)[^\s;,&\"')]+)",
    re.IGNORECASE,
)

#: A secret as long as this, and with more than letters in it, is part of no ordinary word.
_PECULIAR: Final = 8
#: A shorter one than this may be a word by itself: it is a secret where a value stands.
_SHORT: Final = 4


def plain(text: str) -> str:
    """``text`` on one line, without sequences and characters that a terminal would obey."""
    text = _BREAKS.sub(" ", _SEQUENCES.sub("", text))
    return _INVISIBLE.sub("", text)


def without_user(addresses: str) -> str:
    """URLs, with commas between them, without users and without queries, which may hold secrets."""
    urls = re.split(r",(?=[a-z]+://)", addresses)
    return ",".join(
        re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0]) for url in urls
    )


class Secrets:
    """Takes secrets out of text: whole values where they stand, not letters of other words.

    A secret of eight characters and more that are not all letters is hidden wherever it is, any
    other where no letter or digit is next to it, and one of less than four where a value stands:
    behind ``=``, between quotes, or between ``:`` and ``@``. ``public`` are values that the text
    may show elsewhere, such as the name of a user, and that are hidden there alone.
    """

    def __init__(self, values: Iterable[str], public: Iterable[str] = ()) -> None:
        shown = set(public)
        anywhere, apart, standing = set[str](), set[str](), set[str]()
        for value in set(values) - {""}:
            for form in _forms(value):
                if value in shown or len(form) < _SHORT:
                    standing.add(form)
                elif len(form) >= _PECULIAR and not form.isalpha():
                    anywhere.add(form)
                else:
                    apart.add(form)
        patterns = []
        if one := _any(anywhere):
            patterns.append(one)
        if one := _any(apart):
            patterns.append(rf"(?<!\w)(?:{one})(?!\w)")
        if one := _any(standing):
            patterns += [
                rf"(?<==)(?:{one})(?!\w)",
                rf"(?<=:)(?:{one})(?=@)",
                *(rf"(?<=[{mark}])(?:{one})(?=[{mark}])" for mark in "\"'`"),
                rf"(?<=password )(?:{one})(?!\w)",
            ]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """``text`` on one line, fit for a terminal, and without the secrets."""
        text = plain(text)
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        text = _AUTHORITY.sub(f"//{HIDDEN}@", text)
        for pattern in (_HEADER, _BEARER, _PROPERTY):
            text = pattern.sub(rf"\1{HIDDEN}", text)
        return text


def _any(values: Iterable[str]) -> str:
    """A pattern for any of these, the longest first."""
    return "|".join(re.escape(value) for value in sorted(values, key=lambda one: (-len(one), one)))


def _forms(value: str) -> Iterator[str]:
    """The ways in which drivers, servers and URLs write a secret."""
    if not value.isprintable():  # keys and certificates come on many lines
        yield from (line for line in map(plain, value.splitlines()) if len(line) >= 2 * _PECULIAR)
    text = plain(value)
    for one in {value, text, " ".join(text.split()), unquote(text), unquote_plus(text)} - {""}:
        yield one
        try:
            yield from {quote(one, safe=""), quote(one), quote_plus(one)}
            # As in a header of HTTP, with or without its padding.
            if ":" in one:
                yield base64.b64encode(one.encode()).decode().rstrip("=")
        except UnicodeEncodeError:  # half of a surrogate pair has no bytes
            pass
        # As in JSON, in a JAAS configuration, in Python's repr and in libpq's own strings.
        yield from {json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]}
        yield from {repr(one)[1:-1], one.replace("\\", "\\\\").replace("'", "\\'")}
