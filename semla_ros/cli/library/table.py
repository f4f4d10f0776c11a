"""Tables on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

UNLIMITED = 10_000  # columns
WIDTH = 140  # columns where no terminal tells its width


def new_table(title: str) -> Table:
    """Returns an empty table with a title."""
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)


def show(table: Table) -> None:
    """Prints a table; if standard output is no terminal, without cutting off long cells at 80 columns.

    A table whose columns must not be wrapped keeps its width: a narrow terminal wraps the lines.
    """
    from rich.console import Console

    width = None if sys.stdout and sys.stdout.isatty() else WIDTH
    console = Console(width=width, markup=False)  # names and messages of files may look like markup
    if all(column.no_wrap for column in table.columns):
        console.width = max(console.width, Console(width=UNLIMITED, markup=False).measure(table).maximum)
    console.print(table, crop=False)
