"""Blocks of a page as plain text, for terminals and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Bold, Code, Grid, Heading, Listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .blocks import Block, Row, Text


def plain(blocks: Sequence[Block]) -> str:
    """The blocks as text; tables as wide as they are.

    >>> from .blocks import Datum, Row, said
    >>> print(plain([Grid("Sizes", ("name", "size"), (Row("a", (Datum("10"),)), Row("bcd", (Datum("9.5"),))))]), end="")
    Sizes
      name  size
      a     10
      bcd   9.5
    """
    return "\n\n".join(map(_block, blocks)) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return block.text
    if isinstance(block, Listing):
        return "\n".join(f"  - {_text(item)}" for item in block.items)
    return _grid(block) if isinstance(block, Grid) else _text(block)


def _text(text: Text) -> str:
    return "".join(part.text if isinstance(part, Bold | Code) else part for part in text.parts)


def _grid(grid: Grid) -> str:
    rows = [list(grid.heads), *map(_row, grid.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"{place}. {note}" for place, note in enumerate(grid.notes, 1)]
    return "\n".join([grid.title, *(f"  {line}" for line in lines), *grid.remarks, *notes])


def _row(row: Row) -> list[str]:
    cells = (" ".join(filter(None, [each.text, each.interval, each.places, each.size])) for each in row.cells)
    return [f"{row.label} (control)" if row.control else row.label, *cells]
