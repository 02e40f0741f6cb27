"""Translation of English dates into German, French, Hungarian and Japanese, with exactly known alignments."""

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
from .calendar import WIDTHS, DateToken, Width, cldr_data, date_tokens, links
from .pairs import SOURCE_SPECIAL, TARGET_SPECIAL, SentencePairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from ...trained import Dataset

_LANGUAGES: Final = {"German": "de", "French": "fr", "Hungarian": "hu", "Japanese": "ja"}
_FIRST: Final = dt.date(1600, 1, 1)
_LAST: Final = dt.date(2399, 12, 31)
_HELD_OUT: Final = 1000
# Probabilities of the patterns; only the full one has a weekday.
_SHARES: Final = (0.4, 0.3, 0.3)


@dataclass(frozen=True)
class _Example:
    """A sentence pair: a date in English and in another language."""

    language: str
    source: tuple[DateToken, ...]
    target: tuple[DateToken, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The source tokens: the language, and the date in English."""
        return (f"<{self.language}>", *(token.text for token in self.source))

    @property
    def targets(self) -> tuple[str, ...]:
        """The target tokens: the date in the language."""
        return tuple(token.text for token in self.target)


@register
@dataclass(frozen=True)
class Dates(TranslationTask):
    """Translation of English dates into four languages: "Thursday, March 7, 2024" becomes "2024年3月7日木曜日".

    A source is a token for the target language (German, French, Hungarian or Japanese) and an English date from 1600 to
    2399 in CLDR's full, long or medium pattern; its translation is the same date in the same pattern of that language.
    No date of a held-out sequence is in the training data, in any language or pattern. A source that two patterns
    format alike (May 5, 2024) counts as one of the longer pattern. Tokens are names, single digits, and the text
    between fields; joined, they are the date exactly as Babel formats it. One in ten training tokens is replaced by
    ``<unk>``, which is also the reference.

    The languages differ in the order of the fields (Hungarian and Japanese begin with the year, English ends with it),
    format months by name or in digits, and pad days and months to two digits or not.

    The model is an encoder–decoder of GRUs with global attention. Single tokens of held-out translations are explained,
    given the correct tokens before them.

    Truth: the alignment, exact by construction. A name has a sure link with the name of its field in the source; a
    digit of a year or day with the digit of the same place, or with the whole field if the source has no digit of that
    place: the 0 of "07" with 7, each digit of "03" with March. The language token has a possible link with every token,
    since it decides the field and the word, but not the date. The text between fields translates nothing, so it has no
    sure link and is not explained. Two readings: ``alignment`` has all links, ``sure`` only the sure ones.

    Source: Unicode CLDR in the package Babel; dates are generated. Another version of CLDR makes another task.
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
        sources = (*SOURCE_SPECIAL, *sorted({text for example in examples for text in example.sources}))
        targets = (*TARGET_SPECIAL, *sorted({text for example in examples for text in example.targets}))
        return Corpus(
            train=_pairs(train, sources, targets),
            test=_pairs(test, sources, targets),
            sources=sources,
            targets=targets,
            links=tuple(_alignment(example) for example in test),
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Exact match on held-out dates; the baseline is the most frequent training translation."""
        test = cast("SentencePairs", data.test)
        translations, expected = self.translated(model, test, test.targets.shape[1]), references(test)
        most_frequent, _ = Counter(map(tuple, references(cast("SentencePairs", data.train)))).most_common(1)[0]
        baseline = _exact_match([list(most_frequent)] * len(expected), expected)
        return Competence("exact match", _exact_match(translations, expected), 0.95, baseline)

    def identity(self) -> dict[str, Any]:
        """See :meth:`TrainedTask.identity`; it includes the patterns and names of CLDR."""
        data = cldr_data(("en", *_LANGUAGES.values()))
        return super().identity() | {"cldr": data["cldr"], "patterns and names": fingerprint(data)}


def _example(day: int, rng: np.random.Generator) -> _Example:
    """The example of a day, counted from the first date, with random language and pattern."""
    date = _FIRST + dt.timedelta(day)
    language = tuple(_LANGUAGES)[rng.integers(len(_LANGUAGES))]
    width: Width = WIDTHS[rng.choice(len(WIDTHS), p=_SHARES)]
    source = date_tokens(date, width, "en")
    # where patterns give the same source, the first and longest of them decides the translation
    width = next(other for other in WIDTHS if other == width or date_tokens(date, other, "en") == source)
    return _Example(language, tuple(source), tuple(date_tokens(date, width, _LANGUAGES[language])))


def _pairs(examples: Sequence[_Example], sources: Sequence[str], targets: Sequence[str]) -> SentencePairs:
    """The examples as token numbers, with the end token after each translation."""
    source_numbers = {text: number for number, text in enumerate(sources)}
    target_numbers = {text: number for number, text in enumerate(targets)}
    end = TARGET_SPECIAL.index("</s>")
    return SentencePairs.of(
        [[source_numbers[text] for text in example.sources] for example in examples],
        [[*(target_numbers[text] for text in example.targets), end] for example in examples],
    )


def _alignment(example: _Example) -> Tensor:
    """The alignment float[U, T]: 1 for a sure link, .5 for the possible link with the language token."""
    sure = torch.tensor(links(example.source, example.target)).float()
    return torch.cat([torch.full((len(sure), 1), 0.5), sure], 1)


def _exact_match(translations: list[list[int]], expected: list[list[int]]) -> float:
    """The share of translations that equal their reference translation."""
    pairs = zip(translations, expected, strict=True)
    return sum(translation == reference for translation, reference in pairs) / len(expected)
