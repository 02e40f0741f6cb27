"""Reader of the TREC question classification files: each line is ``COARSE:fine question``, in latin-1.

Source: Li & Roth 2002.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import plain_text
from .written import shown

if TYPE_CHECKING:
    from pathlib import Path

COARSE: Final = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
# Of a line without the blanks at its end: a pattern that also matched these would take quadratic time on many of them.
_LINE = re.compile(r"([A-Z]+):(\w+) +([^ ].*)", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """Question with its answer type.

    Attributes:
        text: words and punctuation marks, separated by spaces.
        coarse: one of the six classes :data:`COARSE`.
        fine: one of about fifty subclasses.
    """

    text: str
    coarse: str
    fine: str


def read(path: Path) -> list[Question]:
    """Read the questions of a split.

    Raises:
        DataError: the file does not exist, or a line is not a question with its class; the message names the line.
    """
    questions = []
    for number, line in enumerate(plain_text.lines(path, "latin-1"), 1):
        match = _LINE.fullmatch(line.removesuffix("\r").rstrip(" "))
        if match is None or match[3][-1].isspace():
            raise plain_text.damaged(path, number, "is not of the form 'COARSE:fine question'")
        coarse, fine, text = match.groups()
        if coarse not in COARSE:
            raise plain_text.damaged(path, number, f"has the class {shown(coarse)}, and there are {', '.join(COARSE)}")
        questions.append(Question(text, coarse, fine))
    return questions
