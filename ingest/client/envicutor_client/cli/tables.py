"""Tables on standard output."""

import sys

from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 200
"""Columns of a table if standard output is no terminal, which would have a width."""


def plain_table() -> Table:
    """Return a table without lines, columns and rows. The caller adds columns and rows."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def show_table(table: Table) -> None:
    """Print a table to standard output. Text in square brackets is not markup."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(highlight=False, markup=False, width=width).print(table)
