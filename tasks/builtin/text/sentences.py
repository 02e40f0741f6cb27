"""Sentence templates: frames of neutral words with slots for rated words."""

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
# {n} is a noun, {r} a rated word with its negator and booster; all other words are neutral and change no rating.
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
    """A sentence with its valence and the contributions of its words.

    Attributes:
        tokens: the words.
        ratings: the mean human rating of each word; 0 for words without one.
        contributions: the decrease of the valence by removal of each word.
        valence: the sum over the rated words in their contexts.
    """

    tokens: tuple[str, ...]
    ratings: tuple[float, ...]
    contributions: tuple[float, ...]
    valence: float


@dataclass(frozen=True)
class Writer:
    """Generator of sentences with the words of a lexicon.

    Attributes:
        lexicon: ratings, and the effects of negators and boosters.
        words: the rated words to use.
    """

    lexicon: Lexicon
    words: tuple[str, ...]

    @staticmethod
    def fillers() -> set[str]:
        """All neutral words of the templates."""
        frames = " ".join([*_RATED_CLAUSES, *_NEUTRAL_CLAUSES, *_CONNECTORS, *_NOUNS])
        return set(frames.replace("{n}", "").replace("{r}", "").split())

    def write(self, count: int, rng: np.random.Generator) -> list[Sentence]:
        """Generate sentences with a valence of size 1 or more, with each rated word about equally often."""
        deck = self._deal(rng)
        sentences: list[Sentence] = []
        while len(sentences) < count:
            sentence = self._sentence(deck, rng)
            if abs(sentence.valence) >= _LEAST_VALENCE:
                sentences.append(sentence)
        return sentences

    def _deal(self, rng: np.random.Generator) -> Iterator[str]:
        """An endless iterator over the rated words, reshuffled after every pass."""
        while True:
            yield from (self.words[i] for i in rng.permutation(len(self.words)))

    def _sentence(self, deck: Iterator[str], rng: np.random.Generator) -> Sentence:
        """Generate one sentence of one to three clauses."""
        parts: list[tuple[str, float, float]] = []
        for clause in range(int(rng.integers(1, _MOST_CLAUSES + 1))):
            if clause:
                parts += _neutral(_pick(_CONNECTORS, rng))
            neutral = clause and rng.random() < _NEUTRAL
            parts += self._clause(_pick(_NEUTRAL_CLAUSES if neutral else _RATED_CLAUSES, rng), deck, rng)
        tokens, ratings, contributions = zip(*parts, strict=True)
        rated = [contribution for contribution, rating in zip(contributions, ratings, strict=True) if rating]
        return Sentence(tokens, ratings, contributions, sum(rated))

    def _clause(self, frame: str, deck: Iterator[str], rng: np.random.Generator) -> list[tuple[str, float, float]]:
        """The words of a clause, each with rating and contribution."""
        parts: list[tuple[str, float, float]] = []
        for word in frame.split():
            if word == "{n}":
                parts += _neutral(_pick(_NOUNS, rng))
            elif word == "{r}":
                parts += self._rated(next(deck), rng)
            else:
                parts += _neutral(word)
        return parts

    def _rated(self, word: str, rng: np.random.Generator) -> list[tuple[str, float, float]]:
        """A rated word after its negator and booster, if it has them, each with rating and contribution."""
        negator = _pick(NEGATORS, rng) if rng.random() < _NEGATED else ""
        booster = _pick(BOOSTERS, rng) if rng.random() < _BOOSTED else ""
        value = self.lexicon.value(word, booster, negated=bool(negator))
        parts = []
        if negator:
            parts.append((negator, 0.0, value - self.lexicon.value(word, booster)))
        if booster:
            parts.append((booster, 0.0, value - self.lexicon.value(word, negated=bool(negator))))
        return [*parts, (word, self.lexicon.ratings[word], value)]


def _neutral(text: str) -> list[tuple[str, float, float]]:
    """The words of a text, with rating and contribution 0."""
    return [(word, 0.0, 0.0) for word in text.split()]


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """Draw one of several texts."""
    return choices[int(rng.integers(len(choices)))]
