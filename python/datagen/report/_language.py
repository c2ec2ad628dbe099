"""The words and numbers of the page in a language.

A text is written once, in English, where it is used; `words.toml` has its Portuguese beside it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Languages of the page, and the tag of each in HTML.
LANGUAGES: Final = {"en": "en", "pt": "pt-BR"}
_POINTS: Final = str.maketrans(",.", ".,")


@dataclass(frozen=True)
class Number:
    """A number with its unit; `digits` come after the point."""

    value: float
    digits: int = 0
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Said:
    """A text in English, and what fills its braces: numbers, other texts, or names as they are."""

    text: str
    values: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return ENGLISH.say(self)


def say(text: str, **values: object) -> Said:
    """A text of the page, which has a translation."""
    return Said(text, tuple(values.items()))


@dataclass(frozen=True)
class Language:
    """What writes texts and numbers."""

    code: str
    #: By the English text; none for English itself.
    texts: Mapping[str, str] | None = None

    @property
    def tag(self) -> str:
        return LANGUAGES[self.code]

    def say(self, said: object) -> str:
        """A text in this language; a plain `str` is a name, which has none.

        Raises ``KeyError`` for a text without a translation.
        """
        match said:
            case Said(text, values):
                translated = text if self.texts is None or not text else self.texts[text]
                return translated.format(**{name: self.say(value) for name, value in values})
            case Number(value, digits, before, after):
                return f"{before}{self.number(value, digits)}{self._unit(after)}"
            case bool() | None:
                raise TypeError(said)
            case int():
                return self.number(said)
        return str(said)

    def number(self, value: float, digits: int = 0) -> str:
        # No minus before a zero, and a true one elsewhere.
        number = f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")
        return number if self.texts is None else number.translate(_POINTS)

    def word(self, text: str) -> str:
        """A text in this language; one without a translation is a name."""
        return text if self.texts is None else self.texts.get(text, text)

    def _unit(self, unit: str) -> str:
        space = " " if unit.startswith(" ") else ""
        return space + self.word(unit.strip())


ENGLISH: Final = Language("en")


def language(code: str) -> Language:
    """The language of a code, one of `LANGUAGES`."""
    return ENGLISH if code == "en" else Language(code, portuguese())


def portuguese() -> dict[str, str]:
    """The Portuguese of every text, by its English."""
    tables = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))
    return {english: text for table in tables.values() for english, text in table.items()}
