"""Parallel text of the user's own, with the alignments that people drew, if there are any."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from ...errors import DataError
from ...plugins import register
from ..builtin.translation.text import Text, TextTranslation, disjoint
from ..readers import alignments as word_alignments
from ..readers import parallel
from ..readers.alignments import Format, Links
from ..trained import sample

# One in so many pairs is held out where the files do not say which.
_ONE_IN: Final = 10


@register
@dataclass(frozen=True)
class Parallel(TextTranslation):
    """Translation learnt from parallel text of your own: two files with a sentence a line, and word alignments.

    ``parallel:sources=train.en,translations=train.de,held_sources=test.en,held_translations=test.de,alignments=test.a``.
    Without held-out files, one in ten pairs is held out; with alignments, the pairs that have a link, or one in ten of
    these where they are more than half of all. A training sentence that is also a held-out one is left out.

    Text is UTF-8, split into subwords learnt from the training text; words are what spaces part. One in twenty training
    tokens is replaced by ``<unk>``, which is also the reference. The model is an encoder–decoder of GRUs with global
    attention and dropout, measured by the BLEU of its greedy translations, beside that of the sources left as they are.
    Explained are single tokens of held-out translations, given the reference's tokens before them.

    Truth: the alignment, if one is given: all pieces of a word are linked as their word is, and only tokens with a sure
    link are explained. Two readings: ``alignment`` has all links, ``sure`` only the sure ones. Without alignments the
    truth is not known.

    Attributes:
        sources: file of sentences, one a line.
        translations: file of their translations.
        held_sources: file of held-out sentences.
        held_translations: file of their translations.
        alignments: file of word alignments, of the held-out files if there are any, else of the other two.
        form: how they are written: ``pharaoh`` (``0-0 1?2``, words from 0), ``naacl`` (``1 1 1 S``, words from 1), or
            with words counted from the other number, ``pharaoh-1`` and ``naacl-0``.
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
            DataError: a file is missing or is not what it should be.
        """
        pairs = self._pairs("sources", "translations")
        aligned = self._aligned()
        if self.held_sources or self.held_translations:
            test = self._pairs("held_sources", "held_translations")
            self._check(aligned, test)
            links = tuple(aligned.get(row, Links("")) for row in range(len(test))) if aligned else ()
            return Text(disjoint(pairs, test, self.name), test, links)
        self._check(aligned, pairs)
        rows = self._held_out(len(pairs), aligned)
        test = [pairs[row] for row in rows]
        return Text(disjoint(pairs, test, self.name), test, tuple(aligned[row] for row in rows) if aligned else ())

    def least(self) -> float:
        """What the user asks for."""
        return self.gate

    def identity(self) -> dict[str, Any]:
        """See :meth:`TrainedTask.identity`; what the files hold belongs to it."""
        return super().identity() | {"files": {name: _digest(path) for name, path in self._files.items()}}

    @property
    def _files(self) -> dict[str, Path]:
        """The files there are, by the parameter that names them."""
        names = ("sources", "translations", "held_sources", "held_translations", "alignments")
        return {name: Path(getattr(self, name)).expanduser() for name in names if getattr(self, name)}

    def _pairs(self, sources: str, translations: str) -> list[tuple[str, str]]:
        for name in (sources, translations):
            if name not in self._files:
                raise DataError(
                    f"Task 'parallel' is not told its file {name!r}: write parallel:sources=PATH,translations=PATH, "
                    "with both or neither of held_sources and held_translations."
                )
        return parallel.pairs(self._files[sources], self._files[translations])

    def _aligned(self) -> dict[int, Links]:
        """The links by pair; empty if none are given."""
        path = self._files.get("alignments")
        return word_alignments.read(path, self.form) if path is not None else {}

    def _check(self, aligned: dict[int, Links], pairs: list[tuple[str, str]]) -> None:
        """There are no alignments of pairs that are not there; Pharaoh has a line for every pair."""
        count = max(aligned, default=-1) + 1
        if count > len(pairs) or (aligned and self.form.startswith("pharaoh") and count != len(pairs)):
            raise DataError(
                f"The alignments {self.alignments!r} are of {count} sentences, and there are {len(pairs)} pairs: give "
                "the alignments of these very files."
            )

    def _held_out(self, count: int, aligned: dict[int, Links]) -> list[int]:
        """Which pairs are held out, in their order."""
        rows = sorted(row for row, links in aligned.items() if links.sure) if aligned else list(range(count))
        if not rows:
            raise DataError(f"The alignments {self.alignments!r} have no sure link: nothing could be explained.")
        if aligned and 2 * len(rows) <= count:
            return rows
        chosen = sample(len(rows), max(1, len(rows) // _ONE_IN), self.name, "held out")
        return [rows[place] for place in chosen.tolist()]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The file {str(path)!r} cannot be read ({reason}): check its path.") from error
