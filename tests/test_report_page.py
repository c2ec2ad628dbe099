"""The page of the report, by what a browser draws of it: in the light and in the dark, on a screen and a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from datagen import Plan, report
from datagen.report import _charts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Literal

    from services.browser import Browser, Page

#: By name: a language, pixels across, and whether it is dark.
LOOKS: dict[str, tuple[Literal["en", "pt"], int, bool]] = {
    "light": ("en", 1400, False),
    "dark": ("en", 1400, True),
    "phone": ("en", 390, False),
    "dark phone": ("pt", 390, True),
    "Portuguese": ("pt", 1400, False),
}

#: Functions that the scripts below share. Colours are as the browser has computed them.
TOOLS = """
const shown = (element) => element.getClientRects().length > 0
    && getComputedStyle(element).visibility !== "hidden";
const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return {r, g, b, a};
};
const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map((c) => {
        const part = c / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const contrast = (one, other) => {
    const [more, less] = [light(one), light(other)].sort((a, b) => b - a);
    return (more + 0.05) / (less + 0.05);
};
const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
        const colour = channels(getComputedStyle(at).backgroundColor);
        if (colour.a > 0) return colour;
    }
    return channels("rgb(255, 255, 255)");
};
"""


def look(page: Page, expression: str) -> Any:
    """What an expression gives within the page, with the tools at hand."""
    return page.evaluate(f"(() => {{{TOOLS} return ({expression}); }})()")


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Literal["en", "pt"]], Path]:
    """The page in a language; the data is looked at once."""
    found = report.measure(Plan(42, 600))
    folder = tmp_path_factory.mktemp("page")

    def page(language: Literal["en", "pt"]) -> Path:
        path = folder / f"{language}.html"
        if not path.exists():
            report.write(found, path, language)
        return path

    return page


@pytest.fixture(scope="module", params=LOOKS)
def seen(
    request: pytest.FixtureRequest,
    browser: Browser,
    page_of: Callable[[Literal["en", "pt"]], Path],
) -> Any:
    language, width, dark = LOOKS[request.param]
    with browser.open(page_of(language), width=width, dark=dark) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        yield page, language, width, dark


def test_nothing_is_fetched_and_the_console_is_silent(seen: tuple[Page, str, int, bool]) -> None:
    page = seen[0]
    assert [url for url in page.requests if url != page.evaluate("location.href")] == []
    assert page.console == []


def test_it_fits_the_screen(seen: tuple[Page, str, int, bool]) -> None:
    page, _, width, _ = seen
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # A wide table scrolls within its own frame; all else stays within the screen.
    beyond = look(
        page,
        """
        [...document.querySelectorAll("body *")].filter((element) => shown(element)
            && !element.closest("details > div, .scroll details, .scroll table")
            && (element.getBoundingClientRect().right > innerWidth + 1
                || element.getBoundingClientRect().left < -1))
            .map((element) => element.outerHTML.slice(0, 120))
        """,
    )
    assert beyond == []


def test_every_chart_is_drawn_within_its_frame(seen: tuple[Page, str, int, bool]) -> None:
    page = seen[0]
    figures = look(
        page,
        """
        [...document.querySelectorAll("figure")].map((figure) => {
            const frame = figure.getBoundingClientRect();
            const parts = [...figure.querySelectorAll("svg rect, svg path, svg text")].filter(shown);
            return {
                name: figure.querySelector("h3").textContent,
                shapes: parts.filter((one) => one.tagName !== "text").length,
                texts: parts.filter((one) => one.tagName === "text").length,
                outside: parts.filter((one) => {
                    const box = one.getBoundingClientRect();
                    return box.left < frame.left || box.right > frame.right
                        || box.top < frame.top || box.bottom > frame.bottom;
                }).map((one) => one.textContent || one.outerHTML.slice(0, 80)),
            };
        })
        """,
    )
    assert len(figures) == len(_charts.CHARTS)
    for figure in figures:
        assert figure["shapes"], figure
        assert figure["texts"] > 2, figure
        assert figure["outside"] == [], figure["name"]


def test_names_of_an_axis_do_not_lie_on_one_another(seen: tuple[Page, str, int, bool]) -> None:
    page = seen[0]
    covered = look(
        page,
        """
        [...document.querySelectorAll("svg.plot")].flatMap((plot) => {
            const boxes = [...plot.querySelectorAll("text:not(.up)")].filter(shown)
                .map((text) => [text.textContent, text.getBoundingClientRect()]);
            return boxes.flatMap(([one, a], at) => boxes.slice(at + 1)
                .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1
                    && a.top < b.bottom - 3 && b.top < a.bottom - 3)
                .map(([other]) => `${one} / ${other}`));
        })
        """,
    )
    assert covered == []


def test_text_can_be_read(seen: tuple[Page, str, int, bool]) -> None:
    """WCAG 2.1, 1.4.3: a contrast of 4.5, of all text that is seen."""
    page = seen[0]
    faint = look(
        page,
        """
        [...document.querySelectorAll("body *")].filter((element) => shown(element)
            && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
            && element.tagName !== "title")
            .map((element) => {
                const style = getComputedStyle(element);
                const drawn = element.closest("svg");
                const ink = channels(drawn ? style.fill : style.color);
                let ground = behind(element);
                if (element.matches(".tile-name, .tile-number")) {
                    const box = element.getBoundingClientRect();
                    const tile = [...drawn.querySelectorAll("rect")].find((one) => {
                        const frame = one.getBoundingClientRect();
                        const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
                        return frame.left < x && x < frame.right && frame.top < y && y < frame.bottom;
                    });
                    ground = channels(getComputedStyle(tile).fill);
                }
                return [contrast(ink, ground), element.textContent.trim().slice(0, 40)];
            })
            .filter(([found]) => found < 4.5)
        """,
    )
    assert faint == []


def test_what_is_drawn_stands_out(seen: tuple[Page, str, int, bool]) -> None:
    """WCAG 2.1, 1.4.11: a contrast of 3, of what has a meaning; what others recede from has less."""
    page = seen[0]
    faint = look(
        page,
        """
        [...new Set([...document.querySelectorAll("svg rect, svg path, .legend i")]
            .filter((one) => shown(one)
                && !one.matches(".tile, .faded, .faint") && !one.closest(".faded, .faint"))
            .map((one) => {
                const style = getComputedStyle(one);
                const colour = one.tagName === "path" ? style.stroke
                    : one.tagName === "rect" ? style.fill : style.backgroundColor;
                return `${colour} ${contrast(channels(colour), behind(one.parentElement)).toFixed(2)}`;
            }))].filter((found) => Number(found.split(" ").at(-1)) < 3)
        """,
    )
    assert faint == []


def test_the_colours_are_those_of_the_scheme(seen: tuple[Page, str, int, bool]) -> None:
    page, _, _, dark = seen
    ground = look(page, "light(behind(document.querySelector('figure')))")
    assert (ground < 0.1) == dark
    assert (ground > 0.9) != dark


def test_every_chart_has_words_and_numbers(seen: tuple[Page, str, int, bool]) -> None:
    page = seen[0]
    charts = page.evaluate(
        """
        [...document.querySelectorAll("figure")].map((figure) => ({
            said: figure.querySelector("figcaption").textContent.trim(),
            rows: figure.querySelectorAll("details tbody tr").length,
            labels: [...figure.querySelectorAll("svg.plot")].map((plot) =>
                [plot.getAttribute("role"), plot.getAttribute("aria-label")]),
        }))
        """
    )
    for chart in charts:
        assert len(chart["said"]) > 10, chart
        assert chart["rows"], chart
        assert chart["labels"], chart
        assert all(role == "img" and label for role, label in chart["labels"]), chart


def test_it_says_its_language(seen: tuple[Page, str, int, bool]) -> None:
    page, language, _, _ = seen
    assert page.evaluate("document.documentElement.lang") == {"en": "en", "pt": "pt-BR"}[language]
    heading = page.evaluate("document.querySelector('main h2').textContent")
    assert (
        heading
        in {
            "en": {"What does not hold", "What has no power here", "Rows"},
            "pt": {"O que não passa", "O que não tem poder aqui", "Linhas"},
        }[language]
    )


def test_in_print_it_is_light_and_whole(
    browser: Browser, page_of: Callable[[Literal["en", "pt"]], Path]
) -> None:
    with browser.open(page_of("en"), width=794, dark=True, media="print") as page:
        ground = look(page, "light(behind(document.querySelector('figure')))")
        assert ground > 0.9
        assert page.evaluate("document.documentElement.scrollWidth") <= 794
        printed = page.send("Page.printToPDF", printBackground=True)["data"]
        assert len(printed) > 100_000


def test_a_page_is_small(page_of: Callable[[Literal["en", "pt"]], Path]) -> None:
    for language in ("en", "pt"):
        assert page_of(language).stat().st_size <= 600_000
