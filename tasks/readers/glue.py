"""GLUE's single-sentence tasks: tab-separated files with a header, sentence and class; nothing is quoted.

Source: Wang et al. 2019, GLUE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import plain_text

if TYPE_CHECKING:
    from pathlib import Path

HEADER: Final = ("sentence", "label")


@dataclass(frozen=True)
class Sentence:
    """A sentence and its class.

    Attributes:
        text: as it is in the file.
        label: number of its class.
    """

    text: str
    label: int


def read(path: Path, classes: int = 2) -> list[Sentence]:
    """The sentences of a split with labels: the test files of GLUE have none.

    Args:
        path: of the file.
        classes: how many there are: 0 to classes − 1.

    Raises:
        DataError: there is no such file, its header is another, or a line is no sentence with a class; the sentence
            names the line.
    """
    header, *rows = plain_text.lines(path)
    if tuple(header.split("\t")) != HEADER:
        raise plain_text.damaged(path, 1, f"is {header!r}, not the header 'sentence<tab>label'")
    found = []
    for number, row in enumerate(rows, 2):
        columns = row.split("\t")
        if len(columns) != len(HEADER):
            raise plain_text.damaged(path, number, f"has {len(columns)} columns instead of {len(HEADER)}")
        text, label = columns
        if label not in map(str, range(classes)):
            raise plain_text.damaged(path, number, f"has the class {label!r}, and classes go from 0 to {classes - 1}")
        if not text.strip():
            raise plain_text.damaged(path, number, "has no sentence")
        found.append(Sentence(text, int(label)))
    return found
