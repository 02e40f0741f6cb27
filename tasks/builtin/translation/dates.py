"""Dates: English dates in German, French, Hungarian and Japanese, with the alignment known exactly."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import numpy as np
import torch

from ....errors import ParameterError
from ....fingerprints import fingerprint, seed_from
from ....plugins import register
from ...data.batch import Competence
from ...models.training import Recipe
from .base import Corpus, TranslationTask, references
from .calendar import WIDTHS, DateToken, Width, knowledge, links, written
from .pairs import SOURCE_SPECIAL, TARGET_SPECIAL, SentencePairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from ...trained import Dataset

_LANGUAGES: Final = {"German": "de", "French": "fr", "Hungarian": "hu", "Japanese": "ja"}
_FIRST: Final = dt.date(1600, 1, 1)
_LAST: Final = dt.date(2399, 12, 31)
_HELD_OUT: Final = 1000
# How often the patterns are used: the full one alone has a weekday.
_SHARES: Final = (0.4, 0.3, 0.3)


@dataclass(frozen=True)
class _Example:
    """A language and a date written in English, and the date written in that language."""

    language: str
    source: tuple[DateToken, ...]
    target: tuple[DateToken, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        return (f"<{self.language}>", *(token.text for token in self.source))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.target)


@register
@dataclass(frozen=True)
class Dates(TranslationTask):
    """English dates in German, French, Hungarian or Japanese: "Thursday, March 7, 2024" becomes "2024年3月7日木曜日".

    A source is the language asked for, as a token, and an English date from 1600 to 2399 in CLDR's full, long or medium
    pattern; its translation is the same date in the same pattern of that language. No date of a held-out sequence is in
    the training data, in any language or pattern. A source that two patterns write alike (May 5, 2024) is one of the
    longer pattern. Tokens are whole names, single digits, and what stands between the fields; joined, they are the date
    exactly as Babel writes it. One in ten training tokens is replaced by ``<unk>``, which is also the reference.

    The languages put the fields in other orders (Hungarian and Japanese begin with the year, which English ends with),
    write months by name or in digits, and fill up days and months to two digits, or not.

    The model is an encoder–decoder of GRUs with global attention. Explained are single tokens of held-out translations,
    given the right tokens before them.

    Truth: the alignment, exact by construction. A name is surely linked with the name of its field in the source; a
    digit of a year or day with the digit of the same place, or with the whole field if the source has no digit of that
    place: the 0 of "07" with 7, each digit of "03" with March. The token of the language is possibly linked with every
    token, since it decides which field is due and in which word, but not on which date. What stands between the fields
    translates nothing: it is linked with nothing surely, and not explained. Two readings: ``alignment`` has all links,
    ``sure`` only the sure ones.

    Source: Unicode CLDR in the package Babel; dates are generated. The task is another one with another CLDR.
    """

    name: ClassVar[str] = "dates"
    source: ClassVar[str] = "https://cldr.unicode.org, in the package Babel; the dates are generated"
    licence: ClassVar[str] = "Unicode License v3 (CLDR), BSD-3-Clause (Babel)"
    citation: ClassVar[str] = "The Unicode Consortium: Unicode Common Locale Data Repository (CLDR). cldr.unicode.org"
    extra: ClassVar[str] = "data"
    recipe: ClassVar[Recipe] = Recipe(epochs=12, learning_rate=5e-3, batch_size=32)
    again: ClassVar[Recipe | None] = Recipe(epochs=12, learning_rate=5e-3, batch_size=64)
    steps_again: ClassVar[int] = 8000

    sequences: int = 5000

    def corpus(self) -> Corpus:
        """See :meth:`TranslationTask.corpus`."""
        rng = np.random.default_rng(seed_from(self.name, "dates"))
        count = (_LAST - _FIRST).days + 1
        if self.sequences + _HELD_OUT > count:
            raise ParameterError(
                f"{self.name}: sequences={self.sequences} does not fit (there are {count} dates, of which {_HELD_OUT} "
                "are held out)."
            )
        days = rng.choice(count, self.sequences + _HELD_OUT, replace=False)
        examples = [_example(int(day), rng) for day in days]
        train, test = examples[: self.sequences], examples[self.sequences :]
        sources = (*SOURCE_SPECIAL, *sorted({text for one in examples for text in one.sources}))
        targets = (*TARGET_SPECIAL, *sorted({text for one in examples for text in one.targets}))
        return Corpus(
            train=_pairs(train, sources, targets),
            test=_pairs(test, sources, targets),
            sources=sources,
            targets=targets,
            links=tuple(_alignment(one) for one in test),
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Share of held-out dates translated without a mistake; the baseline is the most frequent translation."""
        test = cast("SentencePairs", data.test)
        said, wanted = self.translated(model, test, test.targets.shape[1]), references(test)
        usual, _ = Counter(map(tuple, references(cast("SentencePairs", data.train)))).most_common(1)[0]
        return Competence("exact match", _share(said, wanted), 0.95, _share([list(usual)] * len(wanted), wanted))

    def identity(self) -> dict[str, Any]:
        """See :meth:`TrainedTask.identity`; patterns and names of CLDR belong to it."""
        known = knowledge(("en", *_LANGUAGES.values()))
        return super().identity() | {"cldr": known["cldr"], "patterns and names": fingerprint(known)}


def _example(day: int, rng: np.random.Generator) -> _Example:
    """A date in a language and a pattern drawn at random."""
    date = _FIRST + dt.timedelta(day)
    language = tuple(_LANGUAGES)[rng.integers(len(_LANGUAGES))]
    width: Width = WIDTHS[rng.choice(len(WIDTHS), p=_SHARES)]
    source = written(date, width, "en")
    # the first pattern that writes the date so is the one that is meant
    width = next(one for one in WIDTHS if one == width or written(date, one, "en") == source)
    return _Example(language, tuple(source), tuple(written(date, width, _LANGUAGES[language])))


def _pairs(examples: Sequence[_Example], sources: Sequence[str], targets: Sequence[str]) -> SentencePairs:
    here = {text: number for number, text in enumerate(sources)}
    there = {text: number for number, text in enumerate(targets)}
    end = TARGET_SPECIAL.index("</s>")
    return SentencePairs.of(
        [[here[text] for text in one.sources] for one in examples],
        [[*(there[text] for text in one.targets), end] for one in examples],
    )


def _alignment(example: _Example) -> Tensor:
    """float[U, T]: 1 for a sure link, .5 for the possible one with the language."""
    sure = torch.tensor(links(example.source, example.target)).float()
    return torch.cat([torch.full((len(sure), 1), 0.5), sure], 1)


def _share(said: list[list[int]], wanted: list[list[int]]) -> float:
    return sum(one == other for one, other in zip(said, wanted, strict=True)) / len(wanted)
