"""Markdown renderer of a leaderboard and of any report blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Bold, Code, Heading, Listing, Text
from .board_sections import board_blocks
from .markdown_text import code, escape, escape_cell, escape_line, escape_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from .blocks import Block, Inline, TableBlock, TableCell, TableRow


def markdown(board: Leaderboard) -> str:
    """Return a leaderboard as Markdown."""
    return blocks_to_markdown(board_blocks(board))


def blocks_to_markdown(blocks: Sequence[Block]) -> str:
    """Return report blocks as Markdown."""
    return "\n\n".join(part for block in blocks for part in _parts(block)) + "\n"


def _parts(block: Block) -> list[str]:
    """Return a block as paragraphs."""
    if isinstance(block, Heading):
        return [_heading(block.level, block.text)]
    if isinstance(block, Text):
        return [_text(block)]
    if isinstance(block, Listing):
        return ["\n".join(f"- {_text(item)}" for item in block.items)]
    return _table_block(block)


def _heading(level: int, text: str) -> str:
    """Return a heading."""
    return f"{'#' * level} {escape_line(text)}"


def _text(text: Text) -> str:
    """Return a paragraph; only a part that begins with a line feed begins a new line of it."""
    first, *others = text.parts
    beginning = escape_start(first) if isinstance(first, str) else _inline(first)
    return "".join([beginning, *map(_inline, others)])


def _inline(part: Inline) -> str:
    """Return a part of a paragraph with its markup."""
    if isinstance(part, Bold):
        return f"**{escape(part.text)}**"
    if isinstance(part, Code):
        return code(part.text)
    return f"\n{escape_start(part)}" if part.startswith("\n") else escape(part)


def _table_block(block: TableBlock) -> list[str]:
    """Return a table with its heading, remarks and notes as paragraphs."""
    parts = [_heading(block.level, block.title)] if block.level else []
    parts += [_table(block.heads, map(_row, block.rows)), *map(escape_line, block.remarks)]
    notes = [f"{number}. {escape_line(note)}" for number, note in enumerate(block.notes, 1)]
    return [*parts, "\n".join(notes)] if notes else parts


def _row(row: TableRow) -> list[str]:
    """Return the texts of a row, its label first."""
    label = f"{row.label} (control)" if row.control else row.label
    return [escape_cell(label), *map(_cell, row.cells)]


def _cell(cell: TableCell) -> str:
    """Return the text of a cell; of the best, the mean is bold and the interval is not."""
    text = escape_cell(cell.text)
    if cell.note:
        return f"{text} [{cell.note}]"
    text = f"**{text}**" if cell.best else text
    return " ".join(filter(None, [text, cell.interval, cell.rank_range and f"#{cell.rank_range}", cell.sample_size]))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is aligned to the left and whose others are aligned to the right."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [[*map(escape_cell, heads)], rule, *rows])
