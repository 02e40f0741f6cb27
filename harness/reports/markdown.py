"""Markdown renderer of a leaderboard and of any report blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Bold, Code, Heading, Listing, Text
from .board_sections import board_blocks

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
        return [f"{'#' * block.level} {block.text}"]
    if isinstance(block, Text):
        return [_text(block)]
    if isinstance(block, Listing):
        return ["\n".join(f"- {_text(item)}" for item in block.items)]
    return _table_block(block)


def _text(text: Text) -> str:
    """Return a paragraph."""
    return "".join(map(_inline, text.parts))


def _inline(part: Inline) -> str:
    """Return a part of a paragraph with its markup."""
    if isinstance(part, Bold):
        return f"**{part.text}**"
    return f"`{part.text}`" if isinstance(part, Code) else part


def _table_block(block: TableBlock) -> list[str]:
    """Return a table with its heading, remarks and notes as paragraphs."""
    parts = [f"{'#' * block.level} {block.title}"] if block.level else []
    parts += [_table(block.heads, map(_row, block.rows)), *block.remarks]
    parts += ["\n".join(f"{number}. {note}" for number, note in enumerate(block.notes, 1))] if block.notes else []
    return parts


def _row(row: TableRow) -> list[str]:
    """Return the texts of a row, its label first."""
    return [f"{row.label} (control)" if row.control else row.label, *map(_cell, row.cells)]


def _cell(cell: TableCell) -> str:
    """Return the text of a cell; of the best, the mean is bold and the interval is not."""
    if cell.note:
        return f"{cell.text} [{cell.note}]"
    text = f"**{cell.text}**" if cell.best else cell.text
    return " ".join(filter(None, [text, cell.interval, cell.rank_range and f"#{cell.rank_range}", cell.sample_size]))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is aligned to the left and whose others are aligned to the right."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(_escape, row))} |" for row in [heads, rule, *rows])


def _escape(text: str) -> str:
    """Escape bars, which would end the cell, and angle brackets, which would start a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
