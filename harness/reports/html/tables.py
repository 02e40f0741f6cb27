"""Tables of the HTML page: report tables with sort keys, CSS classes for the filters, and ids for the notes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from ..blocks import Heading, Listing, TableBlock, TableCell, Text
from ..number_format import DASH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..blocks import Block
    from .css_classes import CssClasses

# The CSS classes that highlight words in the place of a number.
_STATES = {"failed": "bad", "missing": "bad", "unfit": "odd"}


@dataclass(frozen=True)
class HtmlColumn:
    """A column of an HTML table.

    Attributes:
        head: its head.
        css_class: the CSS class of its metric or task.
        first: the order in which the first click sorts it: ``"ascending"`` or ``"descending"``.
    """

    head: str
    css_class: str
    first: str


@dataclass(frozen=True)
class HtmlCell:
    """A cell of an HTML table.

    Attributes:
        cell: the cell of the report's table.
        classes: the CSS classes of its column and its state.
        value: the sort key; cells without one are sorted last.
    """

    cell: TableCell
    classes: str
    value: str


@dataclass(frozen=True)
class HtmlRow:
    """A row of an HTML table.

    Attributes:
        label: the text of the first column.
        classes: the CSS classes of its method.
        control: whether its method is a control.
        cells: one for each column but the first.
    """

    label: str
    classes: str
    control: bool
    cells: tuple[HtmlCell, ...]


@dataclass(frozen=True)
class HtmlTable:
    """A table for the template.

    Attributes:
        key: its id, and the prefix of the ids of its notes.
        table: the report's table.
        columns: all columns.
        rows: all rows.
        css_class: the CSS class of its family of metrics, if all its columns are of one.
    """

    key: str
    table: TableBlock
    columns: tuple[HtmlColumn, ...]
    rows: tuple[HtmlRow, ...]
    css_class: str = ""
    block = "table"

    @property
    def sortable(self) -> bool:
        """Whether it has more than one row to sort."""
        return len(self.rows) > 1


@dataclass(frozen=True)
class HtmlText:
    """A heading, a paragraph or a list for the template.

    Attributes:
        block: which of them: ``"heading"``, ``"text"`` or ``"listing"``.
        content: the block of the report.
    """

    block: str
    content: Heading | Text | Listing


class HtmlBlocks:
    """Conversion of report blocks for the template; every table of a page gets its own id.

    Args:
        classes: the CSS classes of the page.
    """

    def __init__(self, classes: CssClasses) -> None:
        self._classes = classes
        self._count = count(1)

    def convert(self, blocks: Iterable[Block]) -> Iterator[HtmlTable | HtmlText]:
        """Yield the blocks for the template."""
        for block in blocks:
            if isinstance(block, TableBlock):
                yield self.table(block)
            else:
                yield HtmlText(type(block).__name__.lower(), block)

    def table(self, table: TableBlock) -> HtmlTable:
        """Return a table for the template."""
        columns = tuple(
            HtmlColumn(head, self._classes.column(head) if index else "", _first_order(head, index))
            for index, head in enumerate(table.heads)
        )
        rows = tuple(
            HtmlRow(
                row.label,
                _joined(self._classes.row(table.heads[0], row.label), "control" if row.control else ""),
                row.control,
                tuple(_cell(cell, column.css_class) for cell, column in zip(row.cells, columns[1:], strict=True)),
            )
            for row in table.rows
        )
        return HtmlTable(f"table-{next(self._count)}", table, columns, rows, self._classes.family_of(table.heads[1:]))


def _first_order(head: str, index: int) -> str:
    """Return the first sort order of a column: ascending for labels and where lower is better, else descending."""
    return "ascending" if not index or "↓" in head else "descending"


def _cell(cell: TableCell, css_class: str) -> HtmlCell:
    """Return a cell with the CSS classes of its column and of its state, and its sort key."""
    state = _STATES.get(cell.text, "none" if cell.text == DASH or cell.text.startswith("undefined") else "")
    value = "" if math.isnan(cell.value) else repr(cell.value)
    return HtmlCell(cell, _joined(css_class, state), value)


def _joined(*css_classes: str) -> str:
    """Return CSS classes as the value of an attribute; empty ones are left out."""
    return " ".join(filter(None, css_classes))
