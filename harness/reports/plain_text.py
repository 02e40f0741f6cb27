"""Plain-text renderer of report blocks, for terminals and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...visible_text import visible, visible_line
from .blocks import Bold, Code, Heading, Listing, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .blocks import Block, TableRow, Text


def blocks_to_text(blocks: Sequence[Block]) -> str:
    """Return report blocks as plain text that a terminal may be given; wide tables are not wrapped.

    >>> from .blocks import TableCell, TableRow
    >>> rows = TableRow("a", (TableCell("10"),)), TableRow("bcd", (TableCell("9.5"),))
    >>> print(blocks_to_text([TableBlock("Sizes", ("name", "size"), rows)]), end="")
    Sizes
      name  size
      a     10
      bcd   9.5
    """
    return visible("\n\n".join(map(_block, blocks))) + "\n"


def _block(block: Block) -> str:
    """Return a block as text."""
    if isinstance(block, Heading):
        return block.text
    if isinstance(block, Listing):
        return "\n".join(f"  - {_text(item)}" for item in block.items)
    return _table(block) if isinstance(block, TableBlock) else _text(block)


def _text(text: Text) -> str:
    """Return a paragraph without markup."""
    return "".join(part.text if isinstance(part, Bold | Code) else part for part in text.parts)


def _table(block: TableBlock) -> str:
    """Return a table with its title above, and its remarks and notes below."""
    rows = [list(map(visible_line, row)) for row in (block.heads, *map(_row, block.rows))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"{number}. {visible_line(note)}" for number, note in enumerate(block.notes, 1)]
    return "\n".join([block.title, *(f"  {line}" for line in lines), *block.remarks, *notes])


def _row(row: TableRow) -> list[str]:
    """Return the texts of a row, its label first."""
    cells = (
        " ".join(filter(None, [cell.text, cell.interval, cell.rank_range, cell.sample_size])) for cell in row.cells
    )
    return [f"{row.label} (control)" if row.control else row.label, *cells]
