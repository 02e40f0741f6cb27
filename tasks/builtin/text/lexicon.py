"""The VADER sentiment lexicon: words rated by ten people each, negators and boosters."""

from __future__ import annotations

import importlib.resources
import math
import re
from dataclasses import dataclass

from ...trained import missing_extra

# Adjectives fit the slots of the sentences, and unlike other parts of the lexicon they contain no offensive words.
_ADJECTIVE = re.compile("[a-z]{2,}(ful|less|ous|able|ible|ive|ant|(?<!m)ent)")


@dataclass(frozen=True)
class Lexicon:
    """The part of the VADER lexicon that the task ``valence`` uses.

    Attributes:
        ratings: mean human rating of each word, from −4 to 4.
        negators: words that invert the valence of the words after them.
        boosters: words that raise (+) or lower (−) the size of the valence of the next word, with the amount.
        negation: the factor of a negated valence.
    """

    ratings: dict[str, float]
    negators: tuple[str, ...]
    boosters: dict[str, float]
    negation: float

    def value(self, word: str, booster: str = "", *, negated: bool = False) -> float:
        """A word's valence in its context: first boosted away from or towards 0, then negated, in VADER's order."""
        rating = self.ratings[word]
        boosted = rating + math.copysign(1.0, rating) * self.boosters[booster] if booster else rating
        return boosted * self.negation if negated else boosted


def load(task: str, least: float, spread: float) -> Lexicon:
    """Load the adjectives of VADER, recognised by their endings, that are clearly rated and no negators or boosters.

    Args:
        task: the name of the task, for the error message.
        least: smallest size of a mean rating.
        spread: largest standard deviation between the ten raters.

    Raises:
        DataError: the package vaderSentiment is not installed.
    """
    try:
        from vaderSentiment import vaderSentiment  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra(task, "data") from error
    boosters: dict[str, float] = vaderSentiment.BOOSTER_DICT
    negators = tuple(vaderSentiment.NEGATE)
    ratings = {}
    table = importlib.resources.files("vaderSentiment") / "vader_lexicon.txt"
    for line in table.read_text(encoding="utf-8").splitlines():
        word, mean, deviation, _ = line.split("\t")
        eligible = _ADJECTIVE.fullmatch(word) and word not in boosters and word not in negators
        if eligible and abs(float(mean)) >= least and float(deviation) <= spread:
            ratings[word] = float(mean)
    return Lexicon(ratings, negators, boosters, vaderSentiment.N_SCALAR)
