r"""Reader of Penn Treebank trees with a label at every node: ``(3 (2 It) (4 (2 's) (4 good)))``, one tree a line.

Only U+0020 is a separator: tokens may hold U+00A0 and other spaces. Brackets within the text are written ``-LRB-`` and
``-RRB-`` and are not converted.

Source: Socher et al. 2013, the Stanford Sentiment Treebank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import plain_text
from .written import shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PART = re.compile(r"[()]|[^() ]+")


@dataclass(frozen=True)
class Phrase:
    """Node of a tree.

    Attributes:
        start, end: span of its tokens; ``end`` is exclusive.
        label: number at the node.
    """

    start: int
    end: int
    label: int


@dataclass(frozen=True)
class Tree:
    """Constituency tree of a sentence with a label at every node.

    Attributes:
        tokens: words of the sentence, in order.
        phrases: all nodes in preorder; the first is the sentence, and the single words are nodes too.
    """

    tokens: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    @property
    def label(self) -> int:
        """Label of the whole sentence."""
        return self.phrases[0].label

    @property
    def labels(self) -> tuple[int, ...]:
        """Label of each token; of several nodes that span the same single token, the lowest node's."""
        label_of = {phrase.start: phrase.label for phrase in self.phrases if phrase.end == phrase.start + 1}
        return tuple(label_of[index] for index in range(len(self.tokens)))


def read(path: Path, labels: int = 5) -> list[Tree]:
    """Read the trees of a file.

    Args:
        path: path of the file, in UTF-8.
        labels: number of labels; they are numbered from 0.

    Raises:
        DataError: the file does not exist, or a line is not exactly one tree; the message names the line.
    """
    return [_tree(path, number, line, labels) for number, line in enumerate(plain_text.lines(path), 1)]


def _tree(path: Path, number: int, line: str, labels: int) -> Tree:
    """Tree of a line; the path and the line number are used in the error message."""
    try:
        return parse(line, labels)
    except ValueError as error:
        raise plain_text.damaged(path, number, str(error)) from error


def parse(text: str, labels: int) -> Tree:
    """Parse a tree in bracket notation.

    Args:
        text: the tree.
        labels: number of labels; they are numbered from 0.

    Raises:
        ValueError: the text is not exactly one tree; the message completes the sentence "the text …".
    """
    parts = iter(_PART.findall(text))
    tokens: list[str] = []
    phrases: list[Phrase | None] = []
    labels_of: list[int] = []  # label of each phrase, complete or still open
    open_phrases: list[tuple[int, int]] = []  # index of the phrase, its first token
    for part in parts:
        if phrases and not open_phrases:
            raise ValueError(f"continues with {shown(part)} after its last bracket")
        if part == "(":
            open_phrases.append((len(phrases), len(tokens)))
            phrases.append(None)
            labels_of.append(_label(parts, labels))
        elif not open_phrases:
            raise ValueError(f"begins with {shown(part)}, not with a bracket")
        elif part == ")":
            index, start = open_phrases.pop()
            if start == len(tokens):
                raise ValueError("has a bracket without a token in it")
            phrases[index] = Phrase(start, len(tokens), labels_of[index])
        else:
            tokens.append(part)
    nodes = tuple(phrase for phrase in phrases if phrase is not None)
    if open_phrases or not nodes:
        raise ValueError(f"ends with {len(open_phrases)} brackets open" if open_phrases else "is empty")
    tree = Tree(tuple(tokens), nodes)
    _check_words(tree)
    return tree


def _label(parts: Iterator[str], labels: int) -> int:
    """Parse the label after an opening bracket."""
    part = next(parts, "")
    label = whole(part)
    if label is None:
        raise ValueError(f"has a bracket that begins with {shown(part)}, not with a label")
    if label >= labels:
        raise ValueError(f"has the label {label}, and labels go from 0 to {labels - 1}")
    return label


def _check_words(tree: Tree) -> None:
    """Refuse a tree with a token that has no node of its own."""
    preterminals = {phrase.start for phrase in tree.phrases if phrase.end == phrase.start + 1}
    for index, token in enumerate(tree.tokens):
        if index not in preterminals:
            raise ValueError(f"has the token {shown(token)} without a label of its own")
