"""Rows on a terminal and in a pipe: a table as wide as there is room for, or objects one a line."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NoReturn

import click

from .._secrets import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["FORMATS", "print_record", "print_table", "unknown_name"]

FORMATS: Final = ("table", "json")


def unknown_name(name: str, known: Iterable[str], option: str, what: str) -> NoReturn:
    """Refuses a name that is none of those known, and says which may have been meant."""
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    advice = f"did you mean {close[0]}?" if close else f"use one of {', '.join(names)}"
    raise click.BadParameter(f"{name!r} is no {what}; {advice}", param_hint=option)


def print_table(rows: Sequence[Mapping[str, str]], *, numbers: Iterable[str] = ()) -> None:
    """Prints rows that have the same columns; those of ``numbers`` are aligned to the right.

    On a terminal that is too narrow each row is a list of its columns, in which long values are wrapped.
    In a pipe or a file there is no width, and nothing is cut.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    right = set(numbers)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in rows[0] if rows else ():
        align = "right" if column in right else "left"
        table.add_column(column, justify=align, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(plain(value)) for value in row.values()))
    terminal = Console(file=sys.stdout, emoji=False, markup=False, highlight=False)
    width = Measurement.get(terminal, terminal.options.update(max_width=1 << 20), table).maximum
    if sys.stdout.isatty() and width > terminal.width:
        for number, row in enumerate(rows, 1):
            print_record(f"row {number}", row)
        return
    wide = Console(file=sys.stdout, width=width, emoji=False, markup=False, highlight=False)
    with wide.capture() as captured:
        wide.print(table)
    # Without the padding behind the last column.
    click.echo("\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines()))


def print_record(title: str, values: Mapping[str, str]) -> None:
    """Prints one row as a list of its columns, and an empty line; wrapped on a terminal, never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(f"  {plain(name)}"), Text(plain(value)))
    width = None if sys.stdout.isatty() else 1 << 20
    console = Console(file=sys.stdout, width=width, emoji=False, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(Text(plain(title), style="bold"), table, sep="\n")
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")
