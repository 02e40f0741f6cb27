"""The VADER lexicon: words rated by ten people each, negators and boosters."""

from __future__ import annotations

import importlib.resources
import math
import re
from dataclasses import dataclass

from ...trained import missing_extra

# They fit the slots of the sentences, and unlike the rest of the lexicon they are fit to be printed.
_ADJECTIVE = re.compile("[a-z]{2,}(ful|less|ous|able|ible|ive|ant|(?<!m)ent)")


@dataclass(frozen=True)
class Lexicon:
    """What of VADER the task ``valence`` is made from.

    Attributes:
        ratings: mean human rating of each word, from −4 to 4.
        negators: words that turn the valence of what follows.
        boosters: words that raise (+) or lower (−) the size of the valence of the next word, and by how much.
        negation: what a negator multiplies a valence by.
    """

    ratings: dict[str, float]
    negators: tuple[str, ...]
    boosters: dict[str, float]
    negation: float

    def value(self, word: str, booster: str = "", *, negated: bool = False) -> float:
        """A word's valence in its context: first boosted away from 0, then negated, as VADER does it."""
        rating = self.ratings[word]
        boosted = rating + math.copysign(1.0, rating) * self.boosters[booster] if booster else rating
        return boosted * self.negation if negated else boosted


def load(task: str, least: float, spread: float) -> Lexicon:
    """The part of VADER that is adjectives: by their endings, clearly rated, and neither negator nor booster.

    Args:
        task: who asks, for the message.
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
        plain = _ADJECTIVE.fullmatch(word) and word not in boosters and word not in negators
        if plain and abs(float(mean)) >= least and float(deviation) <= spread:
            ratings[word] = float(mean)
    return Lexicon(ratings, negators, boosters, vaderSentiment.N_SCALAR)
