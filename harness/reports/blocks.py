"""Blocks of a report: headings, paragraphs, lists and tables, independent of the format they are rendered to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Bold:
    """Bold text within a paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Literal text within a paragraph, such as a command."""

    text: str


Inline: TypeAlias = str | Bold | Code


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title of the report."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; renderers may keep its line breaks or not."""

    parts: tuple[Inline, ...]


@dataclass(frozen=True)
class Listing:
    """An unordered list."""

    items: tuple[Text, ...]


@dataclass(frozen=True)
class TableCell:
    """A cell of a table.

    Attributes:
        text: the number, or the word in its place.
        interval: ``"[low, high]"``, or empty.
        rank_range: the first and the last possible rank, or empty.
        sample_size: the number of values of the mean if it differs from that of most cells, or empty.
        note: the number of the note that explains it, from 1; 0 if there is none.
        best: whether it is the best of its column.
        value: the number that the text shows, to sort by; NaN if the text is not a number.
    """

    text: str
    interval: str = ""
    rank_range: str = ""
    sample_size: str = ""
    note: int = 0
    best: bool = False
    value: float = math.nan


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        label: the text of the first column.
        cells: one for each column but the first.
        control: whether its method is a control.
    """

    label: str
    cells: tuple[TableCell, ...]
    control: bool = False


@dataclass(frozen=True)
class TableBlock:
    """A table with its title, remarks and notes.

    Attributes:
        title: the title, or the caption where there is no heading.
        heads: of all columns, that of the labels first.
        rows: at least one.
        level: of the heading above it; 0 if the title is only a caption.
        remarks: sentences about the table, each a paragraph.
        notes: the texts that cells refer to by number.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[TableRow, ...]
    level: int = 0
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Block: TypeAlias = Heading | Text | Listing | TableBlock


def paragraph(*parts: Inline) -> Text:
    """Return a paragraph of these parts."""
    return Text(parts)
