"""Each page in Portuguese has the sections, blocks, tables, code, figures and links of the English one.

A failure names the section and what differs in it. Of prose, only the order of paragraphs, lists, tables
and blocks is compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import unified_diff
from itertools import zip_longest
from typing import TYPE_CHECKING

import pytest

from pages import CODE, FENCED, OPTION, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGES = [
    "README.md",
    "docs/consumers.md",
    "docs/docker.md",
    "docs/ingestion-guide.md",
    "docs/promises.md",
]
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
#: What stands for a block where its text does not matter.
BLOCK = "```"
ITEM = re.compile(r"^(?:- |\d+\. )", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A heading and the text below it, up to the next heading."""

    page: Path
    level: int
    title: str
    text: str

    @property
    def prose(self) -> str:
        return FENCED.sub("", self.text)


def sections(page: Path) -> list[Section]:
    text = page.read_text(encoding="utf-8")
    # A comment of a block is no heading.
    blank = FENCED.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    found = list(HEADING.finditer(blank))
    ends = [heading.start() for heading in found[1:]] + [len(text)]
    return [
        Section(page, len(heading[1]), heading[2], text[heading.end() : end])
        for heading, end in zip(found, ends, strict=True)
    ]


def sister(page: Path) -> Path:
    """The file that the page in the other language has, or would have."""
    if page.name.endswith(".pt.md"):
        return page.with_name(page.name.removesuffix(".pt.md") + ".md")
    return page.with_name(re.sub(r"\.md$", ".pt.md", page.name))


def anchors(page: Path) -> list[str]:
    titles = [section.title.lower() for section in sections(page)]
    return [re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles]


def translated(page: Path, target: str) -> str:
    """The link of the other language for a link of this page: to the sister, where there is one."""
    path, mark, anchor = target.partition("#")
    here = page.parent / path if path else page
    there = sister(here)
    if not there.is_file():
        return target
    if path:
        path = path.removesuffix(here.name) + there.name
    if anchor:
        anchor = anchors(there)[anchors(here).index(anchor)]
    return path + mark + anchor


def figures(text: str, page: Path) -> Iterator[str]:
    """Numbers outside code and links, written as 1234.5 in both languages."""
    text = LINK.sub("]", CODE.sub("", text))
    if page.name.endswith(".pt.md"):
        text = re.sub(r"(?<=\d)\.(?=\d{3}\b)", "", text)
        text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    else:
        text = re.sub(r"(?<=\d) (?=\d{3}\b)", "", text)
    yield from re.findall(r"\d+(?:\.\d+)*", text)


def blocks_of(section: Section) -> list[str]:
    blocks = (block[0] for block in FENCED.finditer(section.text))
    return [line for block in blocks for line in block.split("\n")]


def tables_of(section: Section) -> list[str]:
    """Rows, with what a cell has in common with its translation: code, figures, and whether it is empty."""
    rows = []
    for table in TABLE.findall(section.prose):
        for row in table.splitlines():
            cells = row.strip()[1:-1].split("|")
            rows.append(" | ".join(common_part(cell, section.page) for cell in cells))
        rows.append("end of table")
    return rows


def common_part(cell: str, page: Path) -> str:
    common = [*sorted(CODE.findall(cell)), *sorted(figures(cell, page))]
    return " ".join(common) or ("…" if cell.strip() else "empty")


def code_of(section: Section) -> list[str]:
    return sorted({*CODE.findall(section.prose), *OPTION.findall(section.prose)})


def links_of(section: Section) -> list[str]:
    """The targets of links, those of a page in Portuguese as the English page would write them."""
    targets = LINK.findall(section.prose)
    if section.page.name.endswith(".pt.md"):
        targets = [translated(section.page, target) for target in targets]
    return sorted(targets)


def figures_of(section: Section) -> list[str]:
    return sorted(figures(section.prose, section.page))


def layout_of(section: Section) -> list[str]:
    """What stands between empty lines: text, a list, a table or a block."""
    parts = re.split(r"\n\s*\n", FENCED.sub(BLOCK, section.text).strip())
    return [kind_of(part) for part in parts]


def kind_of(part: str) -> str:
    if items := ITEM.findall(part):
        return f"list of {len(items)}"
    if part.startswith("|"):
        return "table"
    return "block" if part == BLOCK else "text"


COMPARED: dict[str, Callable[[Section], list[str]]] = {
    "blocks": blocks_of,
    "tables": tables_of,
    "code": code_of,
    "links": links_of,
    "figures": figures_of,
    "layout": layout_of,
}


def test_every_page_in_portuguese_is_compared() -> None:
    found = {*ROOT.glob("*.pt.md"), *(ROOT / "docs").rglob("*.pt.md")}
    # The code makes the catalogue in both languages, and tests/test_data_catalog.py reads both.
    catalogue = ROOT / "docs" / "data-catalog.pt.md"
    assert found - {catalogue} == {sister(ROOT / page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_headings_have_the_same_levels(page: str) -> None:
    english, portuguese = sections(ROOT / page), sections(sister(ROOT / page))
    titles = [
        tuple(f"{'#' * each.level} {each.title}" if each else "none" for each in both)
        for both in zip_longest(english, portuguese)
        if len({each and each.level for each in both}) > 1
    ]
    assert titles == []


@pytest.mark.parametrize("page", PAGES)
def test_each_page_begins_with_a_link_to_the_other(page: str) -> None:
    for here in (ROOT / page, sister(ROOT / page)):
        assert LINK.findall(sections(here)[0].text)[0] == sister(here).name


@pytest.mark.parametrize("what", COMPARED)
@pytest.mark.parametrize("page", PAGES)
def test_sections_have_the_same(page: str, what: str) -> None:
    differing: list[str] = []
    # Sections that one page lacks are named by the test of headings.
    for english, portuguese in zip(
        sections(ROOT / page), sections(sister(ROOT / page)), strict=False
    ):
        ours, theirs = COMPARED[what](english), COMPARED[what](portuguese)
        if ours != theirs:
            differing += [f"{page}: {what} of {english.title!r} and {portuguese.title!r} differ:"]
            differing += unified_diff(ours, theirs, "English", "Portuguese", lineterm="", n=0)
    if differing:
        pytest.fail("\n".join(differing), pytrace=False)
