"""A board as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Bold, Code, Grid, Heading, Listing, Text
from .board_sections import contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from .blocks import Block, Datum, Inline, Row


def markdown(board: Leaderboard) -> str:
    """The board as Markdown."""
    return written(contents(board))


def written(blocks: Sequence[Block]) -> str:
    """Any blocks as Markdown."""
    return "\n\n".join(part for block in blocks for part in _parts(block)) + "\n"


def _parts(block: Block) -> list[str]:
    """A block as paragraphs."""
    if isinstance(block, Heading):
        return [f"{'#' * block.level} {block.text}"]
    if isinstance(block, Text):
        return [_text(block)]
    if isinstance(block, Listing):
        return ["\n".join(f"- {_text(item)}" for item in block.items)]
    return _grid(block)


def _text(text: Text) -> str:
    return "".join(map(_inline, text.parts))


def _inline(part: Inline) -> str:
    if isinstance(part, Bold):
        return f"**{part.text}**"
    return f"`{part.text}`" if isinstance(part, Code) else part


def _grid(grid: Grid) -> list[str]:
    parts = [f"{'#' * grid.level} {grid.title}"] if grid.level else []
    parts += [_table(grid.heads, map(_row, grid.rows)), *grid.remarks]
    parts += ["\n".join(f"{place}. {note}" for place, note in enumerate(grid.notes, 1))] if grid.notes else []
    return parts


def _row(row: Row) -> list[str]:
    return [f"{row.label} (control)" if row.control else row.label, *map(_datum, row.cells)]


def _datum(datum: Datum) -> str:
    """A cell; the mean in bold if it is the best, the interval beside it not."""
    if datum.note:
        return f"{datum.text} [{datum.note}]"
    text = f"**{datum.text}**" if datum.best else datum.text
    return " ".join(filter(None, [text, datum.interval, datum.places and f"#{datum.places}", datum.size]))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its numbers to the right."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in [heads, rule, *rows])


def _cell(text: str) -> str:
    """No bar that would end the cell, and nothing that would be taken for a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
