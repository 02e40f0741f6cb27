"""Sentences from templates: frames of neutral words with slots for rated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .lexicon import Lexicon

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


NEGATORS = ("not", "never", "isn't", "wasn't", "can't", "didn't", "don't", "won't", "without", "rarely")
BOOSTERS = (
    "very", "really", "extremely", "totally", "quite", "highly", "deeply", "especially",
    "slightly", "somewhat", "almost", "barely", "hardly", "partly", "marginally",
)  # fmt: skip
# {n} is a noun, {r} a rated word with its negator and booster; none of the other words is rated or changes a rating.
_RATED_CLAUSES = (
    "the {n} was {r}", "{r} is how i describe the {n}", "we found the {n} {r}", "the {n} seemed {r} to everybody there",
    "our {n} looked {r}", "she called my {n} {r}", "they said it felt {r}", "{r} and that was it",
    "the word for this {n} is {r}", "everyone thought the {n} in the {n} was {r}", "it all sounded {r}",
    "another {r} {n}", "he wrote about the {n} and put {r} on every page", "yesterday again {r}",
)  # fmt: skip
_NEUTRAL_CLAUSES = (
    "the {n} is in the {n}", "we went to the {n} by {n}", "i told the {n} about it", "she sat at the {n} for two hours",
    "he read the {n} during the {n}", "it was part of the {n}", "they had one {n} and another {n}", "this came later",
)  # fmt: skip
_CONNECTORS = ("and", "but", "while", "because", "then", "though", "which is where")
_NOUNS = (
    "film", "book", "meal", "hotel", "room", "teacher", "lesson", "morning", "evening", "street", "garden", "window",
    "letter", "report", "phone", "camera", "train", "ticket", "driver", "neighbour", "colleague", "meeting", "speech",
    "music", "song", "show", "scene", "chapter", "author", "actor", "table", "station", "corner", "door",
)  # fmt: skip
_LEAST_VALENCE = 1.0
_MOST_CLAUSES = 3
_NEUTRAL, _NEGATED, _BOOSTED = 0.25, 0.25, 0.3


@dataclass(frozen=True)
class Sentence:
    """A sentence and what its words do to its valence.

    Attributes:
        tokens: the words.
        ratings: the mean human rating of each; 0 for words without one.
        contributions: by how much the valence falls when the word is taken away.
        valence: the sum over the rated words in their contexts.
    """

    tokens: tuple[str, ...]
    ratings: tuple[float, ...]
    contributions: tuple[float, ...]
    valence: float


@dataclass(frozen=True)
class Writer:
    """Writes sentences with the words of a lexicon.

    Attributes:
        lexicon: ratings, and what negators and boosters do.
        words: the rated words to use.
    """

    lexicon: Lexicon
    words: tuple[str, ...]

    @staticmethod
    def fillers() -> set[str]:
        """All words of the frames."""
        frames = " ".join([*_RATED_CLAUSES, *_NEUTRAL_CLAUSES, *_CONNECTORS, *_NOUNS])
        return set(frames.replace("{n}", "").replace("{r}", "").split())

    def write(self, count: int, rng: np.random.Generator) -> list[Sentence]:
        """Sentences of clear valence, each rated word about equally often."""
        deck = self._deal(rng)
        sentences: list[Sentence] = []
        while len(sentences) < count:
            sentence = self._sentence(deck, rng)
            if abs(sentence.valence) >= _LEAST_VALENCE:
                sentences.append(sentence)
        return sentences

    def _deal(self, rng: np.random.Generator) -> Iterator[str]:
        """Rated words without end: the whole pack, shuffled, again and again."""
        while True:
            yield from (self.words[i] for i in rng.permutation(len(self.words)))

    def _sentence(self, deck: Iterator[str], rng: np.random.Generator) -> Sentence:
        parts: list[tuple[str, float, float]] = []
        for clause in range(int(rng.integers(1, _MOST_CLAUSES + 1))):
            if clause:
                parts += _plain(_pick(_CONNECTORS, rng))
            neutral = clause and rng.random() < _NEUTRAL
            parts += self._clause(_pick(_NEUTRAL_CLAUSES if neutral else _RATED_CLAUSES, rng), deck, rng)
        tokens, ratings, contributions = zip(*parts, strict=True)
        rated = [contribution for contribution, rating in zip(contributions, ratings, strict=True) if rating]
        return Sentence(tokens, ratings, contributions, sum(rated))

    def _clause(self, frame: str, deck: Iterator[str], rng: np.random.Generator) -> list[tuple[str, float, float]]:
        """Words with rating and contribution."""
        parts: list[tuple[str, float, float]] = []
        for word in frame.split():
            if word == "{n}":
                parts += _plain(_pick(_NOUNS, rng))
            elif word == "{r}":
                parts += self._rated(next(deck), rng)
            else:
                parts += _plain(word)
        return parts

    def _rated(self, word: str, rng: np.random.Generator) -> list[tuple[str, float, float]]:
        """A rated word behind its negator and booster, if it has them."""
        negator = _pick(NEGATORS, rng) if rng.random() < _NEGATED else ""
        booster = _pick(BOOSTERS, rng) if rng.random() < _BOOSTED else ""
        value = self.lexicon.value(word, booster, negated=bool(negator))
        parts = []
        if negator:
            parts.append((negator, 0.0, value - self.lexicon.value(word, booster)))
        if booster:
            parts.append((booster, 0.0, value - self.lexicon.value(word, negated=bool(negator))))
        return [*parts, (word, self.lexicon.ratings[word], value)]


def _plain(text: str) -> list[tuple[str, float, float]]:
    return [(word, 0.0, 0.0) for word in text.split()]


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
