"""Reader of word alignments: links that people drew between the words of a sentence and of its translation.

Two formats are read. In both, a link names a word of the source and a word of the target by their numbers.

* NAACL (Mihalcea & Pedersen 2003; the Europarl gold standards): a line for each link, ``sentence source target``, then
  an optional ``S`` (sure, the default) or ``P`` (possible), then an optional confidence, which is ignored. Sentences
  are numbered from 1. Words are numbered from 1, and 0 is the null word: a link to it marks the other word as
  unaligned.
* Pharaoh: a line for each sentence, links separated by spaces: ``i-j`` is sure, ``i?j`` (also ``ipj``) possible. An
  empty line is a sentence without links. Words are numbered from 0.

In variants of both formats, words are numbered from 1 instead of 0 or vice versa. The file does not show this, so the
caller states it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

import torch

from ...errors import DataError, ParameterError
from .parallel import text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

Format = Literal["pharaoh", "pharaoh-1", "naacl", "naacl-0"]

_NAACL: Final = re.compile(r"(N)\s+(N)\s+(N)(?:\s+([SP]))?(?:\s+[0-9.eE+-]+)?".replace("N", "[0-9]{1,9}"))
_PHARAOH: Final = re.compile(r"([0-9]{1,9})([-?p])([0-9]{1,9})")


@dataclass
class Links:
    """Word alignment of one sentence pair; words are numbered from 0.

    Attributes:
        where: file and line, for error messages.
        sure: (source word, target word) of the sure links.
        possible: (source word, target word) of the possible or partial links; sure links are not among them.
    """

    where: str
    sure: set[tuple[int, int]] = field(default_factory=set)
    possible: set[tuple[int, int]] = field(default_factory=set)

    def add(self, source: int, target: int, *, sure: bool) -> None:
        """Add a link; a link that is added as both sure and possible is sure."""
        link = source, target
        if sure:
            self.sure.add(link)
            self.possible.discard(link)
        elif link not in self.sure:
            self.possible.add(link)

    def values(self, sources: int, targets: int) -> Tensor:
        """Alignment matrix float[targets, sources]: 1 for a sure link, .5 for a possible one, else 0.

        Args:
            sources: number of words of the sentence.
            targets: number of words of its translation.

        Raises:
            DataError: a link names a word beyond the end of a sentence.
        """
        values = torch.zeros(targets, sources)
        for links, value in ((self.possible, 0.5), (self.sure, 1.0)):
            for source, target in sorted(links):
                if source >= sources or target >= targets:
                    raise DataError(
                        f"{self.where}: a link joins words {source + 1} and {target + 1} of a sentence of {sources} "
                        f"words and a translation of {targets}: check that words are numbered as the format says, and "
                        "that the files belong together."
                    )
                values[target, source] = value
        return values


def read(path: Path, form: Format = "pharaoh") -> dict[int, Links]:
    """Read the alignments by index of the sentence, from 0.

    A file in NAACL format yields only sentences with a link, one in Pharaoh format all sentences.

    Args:
        path: path of the file.
        form: format of the file. In ``"naacl"`` words are numbered from 1, in ``"naacl-0"`` from 0, in ``"pharaoh"``
            from 0 and in ``"pharaoh-1"`` from 1.

    Raises:
        DataError: the file cannot be read, has no links, or has a malformed line.
        ParameterError: the format does not exist.
    """
    if form not in get_args(Format):
        raise ParameterError(f"There is no format {form!r} of alignments: say one of {', '.join(get_args(Format))}.")
    links = _naacl(path, form) if form.startswith("naacl") else _pharaoh(path, form)
    if not any(sentence.sure or sentence.possible for sentence in links.values()):
        raise DataError(f"The alignments {str(path)!r} have no link: give a file of the format {form!r}.")
    return links


def _naacl(path: Path, form: Format) -> dict[int, Links]:
    """Read NAACL format."""
    first = 0 if form == "naacl-0" else 1
    links: dict[int, Links] = {}
    for place, line in _lines(path):
        if not line:
            continue
        match = _NAACL.fullmatch(line)
        if match is None or int(match[1]) < 1:
            raise DataError(
                f"{place} is {line[:40]!r}: expected 'sentence source target', with S or P behind, sentences from 1."
            )
        sentence = links.setdefault(int(match[1]) - 1, Links(place))
        source, target = int(match[2]) - first, int(match[3]) - first
        if min(source, target) >= 0:
            sentence.add(source, target, sure=match[4] != "P")
    return links


def _pharaoh(path: Path, form: Format) -> dict[int, Links]:
    """Read Pharaoh format."""
    first = 1 if form == "pharaoh-1" else 0
    links = {}
    for number, (place, line) in enumerate(_lines(path)):
        links[number] = sentence = Links(place)
        for part in line.split():
            match = _PHARAOH.fullmatch(part)
            if match is None or min(int(match[1]), int(match[3])) < first:
                raise DataError(
                    f"{place} has {part[:40]!r}: expected links such as '{first}-{first}', or "
                    f"'{first}?{first}' for a possible one, words counted from {first}."
                )
            sentence.add(int(match[1]) - first, int(match[3]) - first, sure=match[2] == "-")
    return links


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Name of each line for error messages, and the stripped line."""
    lines = text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        yield f"Line {number} of {str(path)!r}", line.strip()
