"""The report as one HTML page that fetches nothing, in English or in Portuguese."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from datagen._core import catalogue

from ._checks import Result
from ._language import language as language_of
from ._language import say

if TYPE_CHECKING:
    from . import Report

#: The style of what is said of a check.
STYLES = {
    Result.HOLDS: "ok",
    Result.FAILS: "no",
    Result.POWERLESS: "few",
    Result.NOTHING: "none",
    Result.BESIDE: "none",
}


def render(report: Report, code: str = "en") -> str:
    """The page of a report; that of the same data is the same, byte for byte."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    language = language_of(code)

    def translated(text: str, **values: object) -> str:
        return language.say(say(text, **values))

    return templates.get_template("page.html.jinja").render(
        report=report,
        plan=report.plan,
        styles=STYLES,
        version=catalogue().version,
        charts=[(counted.chart, counted.drawn(language)) for counted in report.charts],
        language=language,
        t=translated,
        said=language.say,
        word=language.word,
    )
