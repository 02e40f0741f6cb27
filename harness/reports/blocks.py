"""What a board is made of once it is laid out: headings, texts, lists and tables, for any renderer of pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Bold:
    """Words that must not be overlooked."""

    text: str


@dataclass(frozen=True)
class Code:
    """A command, as it is typed."""

    text: str


Inline: TypeAlias = str | Bold | Code


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; a line break in it may be kept or not."""

    parts: tuple[Inline, ...]


@dataclass(frozen=True)
class Listing:
    """Items in no order."""

    items: tuple[Text, ...]


@dataclass(frozen=True)
class Datum:
    """One cell of a table.

    Attributes:
        text: the number, or the word in its place.
        interval: ``"[low, high]"``, or empty.
        places: the first and the last place it may have, or empty.
        size: what it rests on where that is not what most others rest on, or empty.
        note: the number of the note that explains it, from 1; 0 if none does.
        best: whether it is the best of its column.
        value: the number that the text is of, for whoever sorts by it; NaN if it is none.
    """

    text: str
    interval: str = ""
    places: str = ""
    size: str = ""
    note: int = 0
    best: bool = False
    value: float = math.nan


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        label: what it is about.
        cells: one for each column but the first.
        control: whether it is a method that is there to be compared with.
    """

    label: str
    cells: tuple[Datum, ...]
    control: bool = False


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it shows.
        heads: of all columns, that of the labels first.
        rows: at least one.
        level: of the heading above it; 0 if it has none, its title being a caption only.
        remarks: sentences about it, each a paragraph.
        notes: what cells refer to by number.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    level: int = 0
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Block: TypeAlias = Heading | Text | Listing | Grid


def said(*parts: Inline) -> Text:
    """A paragraph of these parts."""
    return Text(parts)
