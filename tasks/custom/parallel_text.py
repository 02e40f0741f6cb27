"""Translation task of a user's parallel text, optionally with word alignments drawn by people."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ...bounded_files import user_path
from ...errors import DataError
from ...outside_files import read_bytes
from ...plugins import register
from ..builtin.translation.text import Text, TextTranslation, disjoint
from ..readers import alignments as word_alignments
from ..readers import parallel
from ..readers.alignments import Format, Links
from ..trained import sample

if TYPE_CHECKING:
    from pathlib import Path

# One in this many pairs is held out if no held-out files are given.
_ONE_IN: Final = 10


@register
@dataclass(frozen=True)
class Parallel(TextTranslation):
    """Translation task of the user's parallel text: two files with one sentence a line, and optional word alignments.

    ``parallel:sources=train.en,translations=train.de,held_sources=test.en,held_translations=test.de,alignments=test.a``.
    Without held-out files, one in ten pairs is held out. With alignments but no held-out files, the pairs with a sure
    link are held out; if these are more than half of all pairs, one in ten of them is. A training pair whose sentence
    is also held out is dropped.

    Text is UTF-8, split into subwords learnt from the training text; words are separated by spaces. One in twenty
    training tokens is replaced by ``<unk>``, which is also the reference. The model is an encoder–decoder of GRUs with
    global attention and dropout. Its score is the BLEU of its greedy translations; the baseline is the BLEU of the
    untranslated sources. Explained are single tokens of held-out translations, given the preceding tokens of the
    reference translation.

    Truth: the word alignment, if one is given. All pieces of a word have the links of their word, and only tokens with
    a sure link are explained. Two readings: ``alignment`` has all links, ``sure`` only the sure ones. Without
    alignments the truth is not known.

    Attributes:
        sources: file of sentences, one a line.
        translations: file of their translations.
        held_sources: file of held-out sentences.
        held_translations: file of their translations.
        alignments: file of word alignments, of the held-out files if there are any, else of the other two.
        form: format of the alignments: ``pharaoh`` (``0-0 1?2``, words counted from 0), ``naacl`` (``1 1 1 S``, words
            counted from 1), ``pharaoh-1`` (words counted from 1) or ``naacl-0`` (words counted from 0).
        gate: the BLEU that a model must reach.

    Source: the user's files.
    """

    name: ClassVar[str] = "parallel"
    source: ClassVar[str] = "the user's files"
    licence: ClassVar[str] = "the user's"
    citation: ClassVar[str] = "the user's"
    explaining: ClassVar[frozenset[str]] = frozenset({"instances", "gate"})

    sources: str = ""
    translations: str = ""
    held_sources: str = ""
    held_translations: str = ""
    alignments: str = ""
    form: Format = "pharaoh"
    gate: float = 20.0

    def text(self) -> Text:
        """See :meth:`TextTranslation.text`.

        Raises:
            DataError: a file is missing or malformed, or the files do not belong together.
        """
        pairs = self._pairs("sources", "translations")
        links_of = self._links()
        if self.held_sources or self.held_translations:
            test = self._pairs("held_sources", "held_translations")
            self._check(links_of, test)
            links = tuple(links_of.get(row, Links("")) for row in range(len(test))) if links_of else ()
            return Text(disjoint(pairs, test, self.name), test, links)
        self._check(links_of, pairs)
        rows = self._held_out(len(pairs), links_of)
        test = [pairs[row] for row in rows]
        return Text(disjoint(pairs, test, self.name), test, tuple(links_of[row] for row in rows) if links_of else ())

    def least(self) -> float:
        """The least BLEU at which a model is explained: the parameter ``gate``."""
        return self.gate

    def identity(self) -> dict[str, Any]:
        """See :meth:`TrainedTask.identity`; includes the SHA-256 of each file."""
        return super().identity() | {"files": {name: _digest(path) for name, path in self._files.items()}}

    @property
    def _files(self) -> dict[str, Path]:
        """Paths of the given files, by the parameter that names them."""
        names = ("sources", "translations", "held_sources", "held_translations", "alignments")
        return {name: user_path(getattr(self, name)) for name in names if getattr(self, name)}

    def _pairs(self, sources: str, translations: str) -> list[tuple[str, str]]:
        """Read the sentence pairs of the files that two parameters name."""
        for name in (sources, translations):
            if name not in self._files:
                raise DataError(
                    f"Task 'parallel' needs the file {name!r}: write parallel:sources=PATH,translations=PATH, "
                    "with both or neither of held_sources and held_translations."
                )
        return parallel.pairs(self._files[sources], self._files[translations])

    def _links(self) -> dict[int, Links]:
        """Links by index of the sentence pair; empty without a file of alignments."""
        path = self._files.get("alignments")
        return word_alignments.read(path, self.form) if path is not None else {}

    def _check(self, links_of: dict[int, Links], pairs: list[tuple[str, str]]) -> None:
        """Refuse alignments of pairs that do not exist; the Pharaoh format has a line for every pair."""
        count = max(links_of, default=-1) + 1
        if count > len(pairs) or (links_of and self.form.startswith("pharaoh") and count != len(pairs)):
            raise DataError(
                f"The alignments {self.alignments!r} are of {count} sentences, and there are {len(pairs)} pairs: give "
                "the alignments of these files."
            )

    def _held_out(self, count: int, links_of: dict[int, Links]) -> list[int]:
        """Indices of the held-out pairs, ascending."""
        rows = sorted(row for row, links in links_of.items() if links.sure) if links_of else list(range(count))
        if not rows:
            raise DataError(f"The alignments {self.alignments!r} have no sure link: nothing could be explained.")
        if links_of and 2 * len(rows) <= count:
            return rows
        chosen = sample(len(rows), max(1, len(rows) // _ONE_IN), self.name, "held out")
        return [rows[place] for place in chosen.tolist()]


def _digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The file {str(path)!r} cannot be read ({reason}): check its path.") from error
