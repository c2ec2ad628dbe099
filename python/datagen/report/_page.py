"""The report as one HTML page that fetches nothing."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from plotly.offline import get_plotlyjs

from datagen._core import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from . import Report
    from ._checks import Check, Line

_MARKS = {True: ("ok", "holds"), False: ("no", "FAILS"), None: ("none", "no data")}

#: A browser refuses to fetch anything at all, whatever the page or its script may try.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"

_FIGURES = (
    "What is published, and what is in this data. The tolerance is what chance may do to a sample of "
    "this size (4.5 standard errors), and a slack where one is named."
)
_PRIVACY = (
    "The people are made up. A CPF, a card or a phone number may by chance be somebody’s: do not use "
    "them outside tests."
)
_DRAW = """.forEach((chart, n) => Plotly.newPlot(`chart-${n + 1}`,
  {...chart, config: {displayModeBar: false, responsive: true}}));"""

_STYLE = """
:root { color-scheme: light; --ink: #1b2430; --soft: #4a5563; --line: #e3e7ec; --back: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header { max-width: 1320px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 36px 0 12px; }
h3 { font-size: 16px; margin: 0; }
p { margin: 0 0 12px; color: var(--soft); }
a { color: #1d5fa6; }
.verdict { display: inline-block; padding: 8px 14px; border-radius: 8px; font-weight: 600; margin: 8px 0 16px;
  background: #e2f3e9; color: #125233; }
.verdict.no { background: #fbe4e2; color: #86160f; }
.rows { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 10px; }
.rows div { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.rows b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; }
.rows span { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(560px, 100%), 1fr)); gap: 16px;
  align-items: start; }
figure { margin: 0; min-width: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 14px 14px 8px; }
.charts .wide { grid-column: 1 / -1; }
figure p { font-size: 13px; margin: 2px 0 6px; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 8px 12px; border-bottom: 1px solid var(--line); }
th { background: #eef1f4; font-weight: 600; white-space: nowrap; }
tr:last-child > td { border-bottom: 0; }
td:nth-child(3) { color: var(--soft); }
td:nth-child(2), td:nth-child(5) { white-space: nowrap; }
details { margin-top: 4px; }
summary { cursor: pointer; color: #1d5fa6; }
details table { width: auto; font-size: 13px; font-variant-numeric: tabular-nums; margin-top: 4px; }
details th, details td { padding: 3px 10px; }
details td:nth-child(3) { color: inherit; }
.mark { white-space: nowrap; font-weight: 600; padding: 2px 8px; border-radius: 6px; font-size: 13px; }
.mark.ok { background: #e2f3e9; color: #125233; }
.mark.no { background: #b3261e; color: #fff; }
.mark.none { background: #eceff2; color: #4a5563; }
footer { max-width: 1320px; margin: 28px auto 0; padding: 0 20px 32px; color: var(--soft); font-size: 13px; }
@media (max-width: 720px) {
  main, header { padding-left: 12px; padding-right: 12px; }
  .checks, .checks tbody, .checks > tbody > tr, .checks > tbody > tr > td { display: block; }
  .checks > thead { display: none; }
  .checks > tbody > tr { border-bottom: 1px solid var(--line); padding: 10px 0; }
  .checks > tbody > tr > td { border: 0; padding: 1px 12px; white-space: normal; }
  .checks > tbody > tr > td[data-name]::before { content: attr(data-name) ": "; color: var(--soft); }
  .checks > tbody > tr > td:first-child { font-weight: 600; }
}
"""


def render(report: Report) -> str:
    """The page of a report; that of the same data is the same, byte for byte."""
    plan = report.plan
    title = f"datagen report: {plan.customers:,} customers, seed {plan.seed}"
    history = f"{plan.days} days up to {plan.as_of:%Y-%m-%dT%H:%M:%SZ}"
    failed, known = report.failed, report.known
    verdict = f"{len(known) - len(failed)} of {len(known)} checks hold"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<script>{get_plotlyjs()}</script></head><body>",
        f"<header><h1>{escape(title)}</h1>",
        f"<p>{escape(history)}; catalogue version {catalogue().version}</p>",
        f'<div class="verdict{" no" if failed else ""}">{escape(verdict)}</div>',
        '<div class="rows">',
        *(
            f"<div><b>{rows:,}</b><span>{escape(name)}</span></div>"
            for name, rows in report.rows.items()
        ),
        "</div></header><main>",
    ]
    if failed:
        parts += ["<h2>What does not hold</h2>", *_table(failed)]
    parts += ["<h2>Charts</h2>", '<div class="charts">']
    for number, chart in enumerate(report.charts, 1):
        parts += [
            f"<figure{' class=wide' if chart.wide else ''}>",
            f"<h3>{escape(chart.name)}</h3><p>{escape(chart.note)}</p>",
            f'<div id="chart-{number}" style="height:{chart.height}px"></div></figure>',
        ]
    parts += [
        "</div><h2>Published figures</h2>",
        f"<p>{_FIGURES}</p>",
        *_table(report.figures),
        "<h2>Invariants</h2>",
        "<p>What holds for every row; each was counted anew from the rows.</p>",
        *_table(report.invariants),
        f"</main><footer>{_PRIVACY}</footer>",
        # Once all is in place, so that each chart finds the width that it will have.
        f"<script>[{','.join(_in_script(chart.json) for chart in report.charts)}]{_DRAW}",
        "</script></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _in_script(json: str) -> str:
    """JSON that cannot end the script that it is in."""
    return json.replace("<", "\\u003c")


def _table(checks: Sequence[Check]) -> Iterable[str]:
    yield '<div class="scroll"><table class="checks"><thead><tr>'
    yield "<th>Check</th><th>Published</th><th>Source</th><th>Found</th><th>Tolerance</th><th>Result</th>"
    yield "</tr></thead><tbody>"
    for check in checks:
        cells = (("Published", check.published), ("Source", check.source))
        yield f"<tr><td>{escape(check.what)}</td>"
        yield from (f'<td data-name="{name}">{escape(text)}</td>' for name, text in cells)
        yield f'<td data-name="Found">{escape(check.found)}{"".join(_details(check.lines))}</td>'
        yield f'<td data-name="Tolerance">{escape(check.tolerance)}</td>'
        yield f"<td>{_mark(check.holds)}</td></tr>"
    yield "</tbody></table></div>"


def _details(lines: Sequence[Line]) -> Iterable[str]:
    if not lines:
        return
    yield "<details><summary>all values</summary><table>"
    yield "<tr><th></th><th>Published</th><th>Found</th><th>Tolerance</th><th></th></tr>"
    for line in lines:
        cells = (line.label, line.published, line.found, line.tolerance)
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        yield f"<tr>{row}<td>{_mark(line.holds)}</td></tr>"
    yield "</table></details>"


def _mark(holds: bool | None) -> str:
    kind, text = _MARKS[holds]
    return f'<span class="mark {kind}">{text}</span>'
