"""Word alignments: which words of a sentence people linked with which words of its translation.

Two formats are read. In both, a link names a word of the source and a word of the target by their numbers.

* NAACL (Mihalcea & Pedersen 2003; the Europarl gold standards): a line for each link, ``sentence source target``, then
  ``S`` (sure, also where nothing is said) or ``P`` (possible), then perhaps a confidence, which is not read. Sentences
  count from 1. Words count from 1, and 0 is no word: such a link says that the other word is linked with nothing.
* Pharaoh: a line for each sentence, links parted by spaces: ``i-j`` is sure, ``i?j`` (also ``ipj``) possible. An empty
  line is a sentence without links. Words count from 0.

Either is also read with words counting from the other number, if that is said: a file does not show it.
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

_NAACL: Final = re.compile(r"(\d+)\s+(\d+)\s+(\d+)(?:\s+([SP]))?(?:\s+[\d.eE+-]+)?")
_PHARAOH: Final = re.compile(r"(\d+)([-?p])(\d+)")


@dataclass
class Links:
    """The links of one sentence; words count from 0.

    Attributes:
        where: the file and the line that a complaint about them names.
        sure: pairs of a source and a target word that are linked without doubt.
        possible: pairs that may be linked, or are so in part; those that are sure are not among them.
    """

    where: str
    sure: set[tuple[int, int]] = field(default_factory=set)
    possible: set[tuple[int, int]] = field(default_factory=set)

    def add(self, source: int, target: int, *, sure: bool) -> None:
        """A link, which stays sure if it is named twice."""
        link = source, target
        if sure:
            self.sure.add(link)
            self.possible.discard(link)
        elif link not in self.sure:
            self.possible.add(link)

    def values(self, sources: int, targets: int) -> Tensor:
        """float[targets, sources]: 1 where a link is sure, .5 where it is possible, else 0.

        Args:
            sources: how many words the sentence has.
            targets: how many its translation has.

        Raises:
            DataError: a link names a word that is not there.
        """
        found = torch.zeros(targets, sources)
        for links, value in ((self.possible, 0.5), (self.sure, 1.0)):
            for source, target in sorted(links):
                if source >= sources or target >= targets:
                    raise DataError(
                        f"{self.where}: a link joins words {source + 1} and {target + 1} of a sentence of {sources} "
                        f"words and a translation of {targets}: check that words count from the number the format "
                        "says, and that the files belong together."
                    )
                found[target, source] = value
        return found


def read(path: Path, form: Format = "pharaoh") -> dict[int, Links]:
    """The links by sentence, counted from 0.

    Of NAACL's format only sentences with a link are there; of Pharaoh's all.

    Args:
        path: of the file.
        form: ``"naacl"`` and ``"pharaoh"`` count words as those formats do, ``"naacl-0"`` from 0, ``"pharaoh-1"``
            from 1.

    Raises:
        DataError: the file cannot be read, or a line is not of the format.
        ParameterError: there is no such format.
    """
    if form not in get_args(Format):
        raise ParameterError(f"There is no format {form!r} of alignments: say one of {', '.join(get_args(Format))}.")
    found = _naacl(path, form) if form.startswith("naacl") else _pharaoh(path, form)
    if not any(one.sure or one.possible for one in found.values()):
        raise DataError(f"The alignments {str(path)!r} have no link: give a file of the format {form!r}.")
    return found


def _naacl(path: Path, form: Format) -> dict[int, Links]:
    first = 0 if form == "naacl-0" else 1
    found: dict[int, Links] = {}
    for where, line in _lines(path):
        if not line:
            continue
        match = _NAACL.fullmatch(line)
        if match is None or int(match[1]) < 1:
            raise DataError(
                f"{where} is {line[:40]!r}: expected 'sentence source target', with S or P behind, sentences from 1."
            )
        links = found.setdefault(int(match[1]) - 1, Links(where))
        source, target = int(match[2]) - first, int(match[3]) - first
        if min(source, target) >= 0:
            links.add(source, target, sure=match[4] != "P")
    return found


def _pharaoh(path: Path, form: Format) -> dict[int, Links]:
    first = 1 if form == "pharaoh-1" else 0
    found = {}
    for number, (where, line) in enumerate(_lines(path)):
        found[number] = links = Links(where)
        for part in line.split():
            match = _PHARAOH.fullmatch(part)
            if match is None or min(int(match[1]), int(match[3])) < first:
                raise DataError(
                    f"{where} has {part[:40]!r}: expected links such as '{first}-{first}', or "
                    f"'{first}?{first}' for a possible one, words counted from {first}."
                )
            links.add(int(match[1]) - first, int(match[3]) - first, sure=match[2] == "-")
    return found


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """What to call each line in a complaint, and the line without spaces around it."""
    found = text(path).split("\n")
    if not found[-1]:
        found.pop()
    for number, line in enumerate(found, 1):
        yield f"Line {number} of {str(path)!r}", line.strip()
