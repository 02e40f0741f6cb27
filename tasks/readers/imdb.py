"""Reader of the IMDB reviews: a folder for each class, a file for each review, named ``<number>_<stars>.txt``.

Source: Maas et al. 2011.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...errors import DataError
from . import plain_text

if TYPE_CHECKING:
    from pathlib import Path

# Folder of each class, and the stars of its reviews.
CLASSES: Final = {"neg": range(1, 5), "pos": range(7, 11)}
_NAME = re.compile(r"([0-9]+)_([0-9]+)\.txt")


@dataclass(frozen=True)
class Review:
    """Film review with its class.

    Attributes:
        text: as in the file, including HTML.
        label: 0 negative, 1 positive.
        stars: 1 to 4 for negative, 7 to 10 for positive reviews.
    """

    text: str
    label: int
    stars: int


def read(folder: Path) -> list[Review]:
    """Read the reviews of a split: first the negative ones, then the positive ones, each by ascending number.

    Args:
        folder: folder of the split, with the folders ``neg`` and ``pos``.

    Raises:
        DataError: a folder is missing or empty; or a file has another form of name, the stars of the other class, no
            content, or is not UTF-8.
    """
    return [review for label, name in enumerate(CLASSES) for review in _class(folder / name, label, CLASSES[name])]


def _class(folder: Path, label: int, stars: range) -> list[Review]:
    """Read the reviews of one class."""
    try:
        matches = [(path, _NAME.fullmatch(path.name)) for path in (folder.iterdir() if folder.is_dir() else ())]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): make it readable.") from error
    if not matches:
        raise DataError(f"{folder} is missing or holds no reviews: fetch the data set again.")
    reviews = []
    for path, match in matches:
        if match is None or int(match[2]) not in stars:
            raise DataError(
                f"{path} is not named <number>_<stars>.txt with {stars[0]} to {stars[-1]} stars: take it out of the "
                "folder, or fetch the data set again."
            )
        reviews.append((int(match[1]), Review(plain_text.read(path), label, int(match[2]))))
    return [review for _, review in sorted(reviews, key=lambda pair: pair[0])]
