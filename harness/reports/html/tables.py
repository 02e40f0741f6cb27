"""Tables of a board as the page writes them: what is sorted by, what is filtered by, and where notes are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from ..blocks import Datum, Grid, Heading, Listing, Text
from ..number_format import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..blocks import Block
    from .css_classes import Names

# What stands in the place of a number, and what is to be seen at once.
_STATES = {"failed": "bad", "missing": "bad", "unfit": "odd"}


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        head: its title.
        kind: the class of what it is about.
        first: how the first click sorts it: ``"ascending"`` or ``"descending"``.
    """

    head: str
    kind: str
    first: str


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        datum: what is in it.
        kinds: the classes of its column and its state.
        value: what it is sorted by; empty if it is sorted last.
    """

    datum: Datum
    kinds: str
    value: str


@dataclass(frozen=True)
class Line:
    """A row.

    Attributes:
        label: what it is about.
        kinds: the classes of its method.
        control: whether that is a control.
        cells: one for each column but the first.
    """

    label: str
    kinds: str
    control: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """A table, ready to be written.

    Attributes:
        key: its id, and the start of those of its notes.
        grid: what is shown.
        columns: all of them.
        lines: all rows.
        kind: the class of the family of metrics it is about, if it is about one.
    """

    key: str
    grid: Grid
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    kind: str = ""
    block = "sheet"

    @property
    def sortable(self) -> bool:
        """Whether there is anything to sort."""
        return len(self.lines) > 1


@dataclass(frozen=True)
class Prose:
    """A heading, a text or a list, and which of them."""

    block: str
    content: Heading | Text | Listing


class Sheets:
    """Makes tables of one page, each with an id of its own."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._count = count(1)

    def blocks(self, blocks: Iterable[Block]) -> Iterator[Sheet | Prose]:
        """Blocks, ready to be written."""
        for block in blocks:
            if isinstance(block, Grid):
                yield self.sheet(block)
            else:
                yield Prose(type(block).__name__.lower(), block)

    def sheet(self, grid: Grid) -> Sheet:
        """A table, ready to be written."""
        columns = tuple(
            Column(head, self._names.column(head) if place else "", _first(head, place))
            for place, head in enumerate(grid.heads)
        )
        lines = tuple(
            Line(
                row.label,
                " ".join(filter(None, [self._names.row(grid.heads[0], row.label), "control" if row.control else ""])),
                row.control,
                tuple(_cell(datum, column.kind) for datum, column in zip(row.cells, columns[1:], strict=True)),
            )
            for row in grid.rows
        )
        return Sheet(f"table-{next(self._count)}", grid, columns, lines, self._names.family_of(grid.heads[1:]))


def _first(head: str, place: int) -> str:
    """Names from the start of the alphabet, what is better lower from the lowest, all else from the highest."""
    return "ascending" if not place or "↓" in head else "descending"


def _cell(datum: Datum, kind: str) -> Cell:
    state = _STATES.get(datum.text, "none" if datum.text == NOTHING or datum.text.startswith("undefined") else "")
    value = "" if math.isnan(datum.value) else repr(datum.value)
    return Cell(datum, " ".join(filter(None, [kind, state])), value)
