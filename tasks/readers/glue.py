"""Reader of GLUE's single-sentence tasks: tab-separated files with a header, a sentence and a class, without quoting.

Source: Wang et al. 2019, GLUE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import plain_text
from .written import shown

if TYPE_CHECKING:
    from pathlib import Path

HEADER: Final = ("sentence", "label")


@dataclass(frozen=True)
class Sentence:
    """Sentence with its class.

    Attributes:
        text: as in the file.
        label: number of the class, from 0.
    """

    text: str
    label: int


def read(path: Path, classes: int = 2) -> list[Sentence]:
    """Read the sentences of a split with labels; GLUE's test files have none.

    Args:
        path: path of the file.
        classes: number of classes; they are numbered from 0.

    Raises:
        DataError: the file does not exist, has another header, or a line is not a sentence with a class; the message
            names the line.
    """
    header, *rows = plain_text.lines(path)
    if tuple(header.split("\t")) != HEADER:
        raise plain_text.damaged(path, 1, f"is {shown(header)}, not the header 'sentence<tab>label'")
    sentences = []
    for number, row in enumerate(rows, 2):
        columns = row.split("\t")
        if len(columns) != len(HEADER):
            raise plain_text.damaged(path, number, f"has {len(columns)} columns instead of {len(HEADER)}")
        text, label = columns
        if label not in map(str, range(classes)):
            raise plain_text.damaged(
                path, number, f"has the class {shown(label)}, and classes go from 0 to {classes - 1}"
            )
        if not text.strip():
            raise plain_text.damaged(path, number, "has no sentence")
        sentences.append(Sentence(text, int(label)))
    return sentences
