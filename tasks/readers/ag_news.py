"""AG News: comma-separated files without a header, of class (from 1), title and description.

Source: Zhang, Zhao & LeCun 2015.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import plain_text

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS: Final = 3


@dataclass(frozen=True)
class Article:
    """The beginning of a news article.

    Attributes:
        label: number of its class, from 1.
        title, description: as they are in the file.
    """

    label: int
    title: str
    description: str


def read(path: Path, classes: int = 4) -> list[Article]:
    """The articles of a split.

    Args:
        path: of the file.
        classes: how many there are: 1 to classes.

    Raises:
        DataError: there is no such file, or a row is not class, title and description; the sentence names the line.
    """
    rows = csv.reader(io.StringIO(plain_text.read(path), newline=""), strict=True)
    try:
        return [_article(row, classes) for row in rows]
    except (csv.Error, ValueError) as error:
        what = f"is no row of comma-separated values ({error})" if isinstance(error, csv.Error) else str(error)
        raise plain_text.damaged(path, rows.line_num, what) from error


def _article(row: list[str], classes: int) -> Article:
    if len(row) != _COLUMNS:
        raise ValueError(f"has {len(row)} columns instead of {_COLUMNS}")
    label, title, description = row
    if label not in map(str, range(1, classes + 1)):
        raise ValueError(f"has the class {label!r}, and classes go from 1 to {classes}")
    if not (title.strip() or description.strip()):
        raise ValueError("has no text")
    return Article(int(label), title, description)
