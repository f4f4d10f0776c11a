"""Tables on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 140  # columns where no terminal tells its width


def new_table(title: str) -> Table:
    """Returns an empty table with a title."""
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)


def show(table: Table) -> None:
    """Prints a table; if standard output is no terminal, without cutting off long cells at 80 columns."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    Console(width=width, markup=False).print(table)  # names and messages of files may look like markup
