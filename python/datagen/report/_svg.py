"""Charts as SVG that reflows: places are in percent, so that text keeps its size at any width.

A plot is its own area; what is written beside its axes overflows into a margin that the style sheet
leaves. Colours are classes, so that the page's style decides them, in the light and in the dark.
Paths lie in a box of a thousand by a thousand that is stretched, under strokes that are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup, escape

#: Steps of the box that paths lie in.
_BOX: Final = 1_000


def _share(value: float) -> str:
    """A place in percent, as short as it can be."""
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") + "%"


@dataclass(frozen=True)
class Tick:
    """A mark of an axis; one that is `minor` is left out where there is little room."""

    at: float
    text: str
    minor: bool = False


@dataclass
class Plot:
    """One plot area; x goes from 0 to 1 from the left, y from 0 to 1 from the bottom."""

    height: int
    #: Room for what is written beside the y axis, in pixels.
    left: int = 46
    #: Room for what is written below the x axis, in pixels.
    below: int = 26
    heading: str = ""
    _shapes: list[str] = field(default_factory=list)
    _paths: list[str] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)

    def y_axis(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            y = _share(1 - tick.at)
            self._shapes.append(f'<line class="grid" x2="100%" y1="{y}" y2="{y}"/>')
            self._texts.append(
                f'<text class="y" dx="-6" dy=".35em" y="{y}">{escape(tick.text)}</text>'
            )

    def x_axis(self, ticks: Iterable[Tick], title: str = "") -> None:
        for tick in ticks:
            minor = " minor" if tick.minor else ""
            for line, text in enumerate(tick.text.split("\n")):
                self._texts.append(
                    f'<text class="x{minor}" x="{_share(tick.at)}" y="100%" '
                    f'dy="{1.3 + 1.15 * line:.2f}em">{escape(text)}</text>'
                )
        if title:
            self._texts.append(
                f'<text class="x title" x="50%" y="100%" dy="{self.below - 6}">{escape(title)}'
                "</text>"
            )

    def upright(self, ticks: Iterable[Tick]) -> None:
        """Names below the x axis, written upwards, where there are many."""
        self._texts.extend(
            f'<svg x="{_share(tick.at)}" y="100%"><text class="y up" transform="rotate(-90)" dx="-5" '
            f'dy=".35em">{escape(tick.text)}</text></svg>'
            for tick in ticks
        )

    def names(self, ticks: Iterable[Tick]) -> None:
        """Names beside the y axis, without lines of a grid."""
        self._texts.extend(
            f'<text class="y" dx="-6" dy=".35em" y="{_share(1 - tick.at)}">{escape(tick.text)}'
            "</text>"
            for tick in ticks
        )

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        places = [(round(_BOX * x), round(_BOX * (1 - y))) for x, y in points]
        if places:
            way = "".join(f"L{x} {y}" for x, y in places)
            self._paths.append(f'<path class="{style}" d="M{way[1:]}"/>')

    def bar(
        self, x: tuple[float, float], y: tuple[float, float], style: str, hint: str = ""
    ) -> None:
        """A rectangle from one place to another; `hint` is shown under the pointer."""
        title = f"<title>{escape(hint)}</title>" if hint else ""
        place = (
            f'x="{_share(x[0])}" width="{_share(max(x[1] - x[0], 0))}" '
            f'y="{_share(1 - y[1])}" height="{_share(max(y[1] - y[0], 0))}"'
        )
        close = f">{title}</rect>" if title else "/>"
        self._shapes.append(f'<rect class="{style}" {place}{close}')

    def mark(self, x: tuple[float, float], y: float, style: str) -> None:
        """A short line across, at a height."""
        height = _share(1 - y)
        self._shapes.append(
            f'<line class="{style}" x1="{_share(x[0])}" x2="{_share(x[1])}" y1="{height}" '
            f'y2="{height}"/>'
        )

    def pole(self, x: float, style: str) -> None:
        """A line from the bottom to the top."""
        place = _share(x)
        self._shapes.append(f'<line class="{style}" x1="{place}" x2="{place}" y2="100%"/>')

    def write(self, x: float, y: float, text: str, style: str, dy: str = ".35em") -> None:
        self._texts.append(
            f'<text class="{style}" x="{_share(x)}" y="{_share(1 - y)}" dy="{dy}">{escape(text)}'
            "</text>"
        )

    def svg(self, said: str) -> Markup:
        """The plot; `said` is what a reader who does not see it hears."""
        paths = ""
        if self._paths:
            paths = (
                f'<svg viewBox="0 0 {_BOX} {_BOX}" preserveAspectRatio="none" width="100%" '
                f'height="100%">{"".join(self._paths)}</svg>'
            )
        room = (
            f"height:{self.height}px;margin:8px 10px {self.below}px {self.left}px;"
            f"width:calc(100% - {self.left + 10}px)"
        )
        # All text has been escaped where it was put in.
        inside = f"{''.join(self._shapes)}{paths}{''.join(self._texts)}"
        return Markup('<svg class="plot" role="img" aria-label="{}" style="{}">{}</svg>').format(
            said,
            room,
            Markup(inside),  # noqa: S704
        )


def rounded(low: float, high: float, steps: int = 4) -> list[float]:
    """Round numbers from `low` to `high` or beyond it, with about so many steps."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / steps))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if span / (power * part) <= steps)
    first, last = math.floor(low / step + 1e-4), math.ceil(high / step - 1e-4)
    return [round(step * n, 10) for n in range(first, last + 1)]


def digits_of(values: Sequence[float]) -> int:
    """Digits after the point that tell numbers with equal steps from one another."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    return next(n for n in range(9) if abs(step * 10**n - round(step * 10**n)) < 1e-6)
