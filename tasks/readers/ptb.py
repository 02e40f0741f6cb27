r"""Trees in Penn brackets with a number at every node: ``(3 (2 It) (4 (2 's) (4 good)))``, one in a line.

Only the plain space separates: tokens may hold U+00A0 and other spaces. Brackets within the text are written ``-LRB-``
and ``-RRB-`` and are left so.

Source: Socher et al. 2013, the Stanford Sentiment Treebank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PART = re.compile(r"[()]|[^() ]+")


@dataclass(frozen=True)
class Phrase:
    """A node of a tree.

    Attributes:
        start, end: its tokens, from start up to and without end.
        label: its number.
    """

    start: int
    end: int
    label: int


@dataclass(frozen=True)
class Tree:
    """A sentence with a label at every node.

    Attributes:
        tokens: its words, in order.
        phrases: all nodes, each before what it is made of; the first is the sentence, the words are among them.
    """

    tokens: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    @property
    def label(self) -> int:
        """Of the whole sentence."""
        return self.phrases[0].label

    @property
    def labels(self) -> tuple[int, ...]:
        """Of each token by itself; of a token below another node of its own, the lower one's."""
        found = {phrase.start: phrase.label for phrase in self.phrases if phrase.end == phrase.start + 1}
        return tuple(found[place] for place in range(len(self.tokens)))


def read(path: Path, labels: int = 5) -> list[Tree]:
    """The trees of a file.

    Args:
        path: of the file, in UTF-8.
        labels: how many there are: 0 to labels − 1.

    Raises:
        DataError: there is no such file, or a line is not one whole tree; the sentence names the line.
    """
    return [_tree(path, number, line, labels) for number, line in enumerate(plain_text.lines(path), 1)]


def _tree(path: Path, number: int, line: str, labels: int) -> Tree:
    try:
        return parsed(line, labels)
    except ValueError as error:
        raise plain_text.damaged(path, number, str(error)) from error


def parsed(text: str, labels: int) -> Tree:
    """The tree that a text is.

    Raises:
        ValueError: it is none; the message goes on from "the text".
    """
    parts = iter(_PART.findall(text))
    tokens: list[str] = []
    phrases: list[Phrase | None] = []
    labelled: list[int] = []  # of each phrase, whether it has ended or not
    open_phrases: list[tuple[int, int]] = []  # number of the phrase, its first token
    for part in parts:
        if phrases and not open_phrases:
            raise ValueError(f"goes on with {part!r} after its last bracket")
        if part == "(":
            open_phrases.append((len(phrases), len(tokens)))
            phrases.append(None)
            labelled.append(_label(parts, labels))
        elif not open_phrases:
            raise ValueError(f"begins with {part!r}, not with a bracket")
        elif part == ")":
            which, start = open_phrases.pop()
            if start == len(tokens):
                raise ValueError("has a bracket without a token in it")
            phrases[which] = Phrase(start, len(tokens), labelled[which])
        else:
            tokens.append(part)
    whole = tuple(phrase for phrase in phrases if phrase is not None)
    if open_phrases or not whole:
        raise ValueError(f"ends with {len(open_phrases)} brackets open" if open_phrases else "is empty")
    tree = Tree(tuple(tokens), whole)
    _check_words(tree)
    return tree


def _label(parts: Iterator[str], labels: int) -> int:
    part = next(parts, "")
    if not (part.isascii() and part.isdigit()):
        raise ValueError(f"has a bracket that begins with {part!r}, not with a label")
    if int(part) >= labels:
        raise ValueError(f"has the label {part}, and labels go from 0 to {labels - 1}")
    return int(part)


def _check_words(tree: Tree) -> None:
    """Every token stands alone in a bracket."""
    alone = {phrase.start for phrase in tree.phrases if phrase.end == phrase.start + 1}
    for place, token in enumerate(tree.tokens):
        if place not in alone:
            raise ValueError(f"has the token {token!r} without a label of its own")
