"""What a subcommand gives back: text for people, the same as data for --json, and an exit code."""

import io
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from attention_influence.html_tables import cell_text

MOST_LINES = 20
"""Of a table or a list on the terminal."""
# Columns of characters: on narrower terminals numbers would be split; where no terminal is, no line is.
_NARROWEST, _ENDLESS = 60, 500


@dataclass(frozen=True)
class Result:
    """Goes to standard output; `exit_code` is 0 done or 1 failed in part."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns, the first to the left, the others to the right; floats with four decimals, None as a dash.

    On a terminal no wider than that: cells that do not fit take several lines.
    """
    width = max(_NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _ENDLESS
    grid = Table(box=None, pad_edge=False, header_style="")
    for i, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if i else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(cell_text, row))
    sink = io.StringIO()
    Console(file=sink, width=width, highlight=False, markup=False).print(grid)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines())


def range_text(bounds: tuple[float, float] | None) -> str | None:
    """An interval, or the smallest and the largest, for a cell of a table."""
    return None if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def table_of_largest(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of the rows with the largest second column, in the order given, and how many more there are."""
    largest = sorted(range(len(rows)), key=lambda place: -(rows[place][1] or 0))[:MOST_LINES]
    text = table(headings, [rows[place] for place in sorted(largest)])
    more = len(rows) - len(largest)
    return f"{text}\nthe largest; {more:,} more: --json lists all" if more else text


def some(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - MOST_LINES
    return [*lines] if more <= 0 else [*lines[:MOST_LINES], f"… and {more:,} more such lines: --json lists all"]
