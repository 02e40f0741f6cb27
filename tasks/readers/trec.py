"""TREC questions by what they ask for: a line is ``COARSE:fine question``, in latin-1.

Source: Li & Roth 2002.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from . import plain_text

if TYPE_CHECKING:
    from pathlib import Path

COARSE: Final = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
_LINE = re.compile(r"([A-Z]+):(\w+) +(.*\S) *\r?", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """A question and what it asks for.

    Attributes:
        text: its words and signs, separated by spaces.
        coarse: one of the six classes :data:`COARSE`.
        fine: one of about fifty kinds within them.
    """

    text: str
    coarse: str
    fine: str


def read(path: Path) -> list[Question]:
    """The questions of a split.

    Raises:
        DataError: there is no such file, or a line is no question with its class; the sentence names the line.
    """
    found = []
    for number, line in enumerate(plain_text.lines(path, "latin-1"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise plain_text.damaged(path, number, "is not of the form 'COARSE:fine question'")
        coarse, fine, text = match.groups()
        if coarse not in COARSE:
            raise plain_text.damaged(path, number, f"has the class {coarse!r}, and there are {', '.join(COARSE)}")
        found.append(Question(text, coarse, fine))
    return found
