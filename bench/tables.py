"""Tables in Markdown, lined up so that they can also be read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float) -> str:
    """A figure with as many digits as mean something, thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join((line(head), line(rule), *map(line, rows)))
