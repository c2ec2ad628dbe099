"""The report as one HTML page that fetches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from datagen._core import catalogue

if TYPE_CHECKING:
    from . import Report

_MARKS = {True: ("ok", "holds"), False: ("no", "FAILS"), None: ("none", "no data")}


def render(report: Report) -> str:
    """The page of a report; that of the same data is the same, byte for byte."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html.jinja").render(
        report=report,
        plan=report.plan,
        marks=_MARKS,
        version=catalogue().version,
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - a script, not text
    )
