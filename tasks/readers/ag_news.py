"""Reader of AG News: CSV files without a header, with the columns class (from 1), title and description.

Source: Zhang, Zhao & LeCun 2015.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import plain_text
from .written import shown

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS: Final = 3


@dataclass(frozen=True)
class Article:
    """Title and first sentences of a news article, with its class.

    Attributes:
        label: number of the class, from 1.
        title, description: as in the file.
    """

    label: int
    title: str
    description: str


def read(path: Path, classes: int = 4) -> list[Article]:
    """Read the articles of a split.

    Args:
        path: path of the file.
        classes: number of classes; they are numbered from 1.

    Raises:
        DataError: the file does not exist, or a row is not class, title and description; the message names the line.
    """
    rows = csv.reader(io.StringIO(plain_text.read(path), newline=""), strict=True)
    try:
        return [_article(row, classes) for row in rows]
    except (csv.Error, ValueError) as error:
        problem = f"is no row of comma-separated values ({error})" if isinstance(error, csv.Error) else str(error)
        raise plain_text.damaged(path, rows.line_num, problem) from error


def _article(row: list[str], classes: int) -> Article:
    """Article of a row; a ValueError completes the sentence "line 7 …"."""
    if len(row) != _COLUMNS:
        raise ValueError(f"has {len(row)} columns instead of {_COLUMNS}")
    label, title, description = row
    if label not in map(str, range(1, classes + 1)):
        raise ValueError(f"has the class {shown(label)}, and classes go from 1 to {classes}")
    if not (title.strip() or description.strip()):
        raise ValueError("has no text")
    return Article(int(label), title, description)
