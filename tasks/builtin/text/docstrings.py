"""Topic classification of docstrings: the part of a library that a function belongs to."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from scipy import sparse

from ....errors import DataError
from ....fingerprints import fingerprint
from ....plugins import register
from ...models.training import Recipe
from ...readers import docstrings
from ...trained import sample
from .classification import TextTask
from .vocabulary import Text, words

if TYPE_CHECKING:
    from collections.abc import Sequence

# Topics, with the parts of the installed packages that make them up.
TOPICS: Final = {
    "statistics": ("scipy/stats",),
    "optimisation": ("scipy/optimize",),
    "signals": ("scipy/signal",),
    "linear algebra": ("scipy/linalg", "scipy/sparse"),
    "geometry": ("scipy/interpolate", "scipy/spatial"),
    "files": ("pandas/io",),
}
_HELD_OUT = 0.25
_SHORTEST = 3
# The Jaccard index of the words of two texts from which they count as duplicates.
_DUPLICATE = 0.7


@register
@dataclass(frozen=True)
class Docstrings(TextTask):
    """Topic classification of functions of scipy and pandas, from the first paragraph of the docstring.

    The six topics, parts of the two packages, are statistics, optimisation, signals, linear algebra (and sparse
    matrices), geometry (interpolation and spatial structures), and reading and writing files. The texts are taken from
    the source files of the installed packages, which are parsed and not run. With other versions of the packages this
    is another task, and its identity contains the fingerprint of all texts. Of about 2,750 texts, a quarter is held
    out. A repeated summary is used once, and not at all if it occurs in two topics. Held-out texts with a Jaccard index
    of 70 % or more with a training text (shared words, of those in either) are left out, because similar functions
    often have similar descriptions.

    The model is an embedding and a bidirectional GRU with additive attention. Logistic regression on tf-idf performs
    equally well: most topics can be recognised by their words, without their order.

    Truth: not known.

    Source: the docstrings of the installed scipy and pandas.
    """

    name: ClassVar[str] = "docstrings"
    application: ClassVar[str] = "topic classification"
    source: ClassVar[str] = (
        "https://scipy.org and https://pandas.pydata.org, the source files of the installed packages"
    )
    licence: ClassVar[str] = "BSD 3-Clause"
    citation: ClassVar[str] = (
        "P. Virtanen et al.: SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python. Nature Methods 17, "
        "261–272, 2020. doi:10.1038/s41592-019-0686-2; the pandas development team: pandas-dev/pandas. "
        "doi:10.5281/zenodo.3509134"
    )
    recipe: ClassVar[Recipe] = Recipe(epochs=8, learning_rate=1e-2, batch_size=32, weight_decay=0.3)
    outputs: ClassVar[tuple[str, ...]] = tuple(TOPICS)
    gate: ClassVar[float] = 0.68

    steps: int = 32

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        texts = [Text(tokens, list(TOPICS).index(topic)) for tokens, topic in summaries()]
        chosen = set(sample(len(texts), round(_HELD_OUT * len(texts)), self.name, "held out").tolist())
        train = [text for number, text in enumerate(texts) if number not in chosen]
        test = [text for number, text in enumerate(texts) if number in chosen]
        overlaps = zip(test, largest_jaccard(test, train), strict=True)
        return train, [text for text, overlap in overlaps if overlap < _DUPLICATE]

    def identity(self) -> dict[str, Any]:
        """See :meth:`TrainedTask.identity`; it includes the texts."""
        return super().identity() | {"texts": fingerprint(summaries())}


@functools.cache
def summaries() -> tuple[tuple[tuple[str, ...], str], ...]:
    """All summaries in tokens, each with its topic, sorted by their tokens.

    Raises:
        DataError: the source files of the packages are missing.
    """
    topics: dict[tuple[str, ...], set[str]] = {}
    for topic, parts in TOPICS.items():
        for part in parts:
            for summary in docstrings.read(_installed(part)):
                topics.setdefault(words(summary.text), set()).add(topic)
    return tuple(
        (tokens, labels.pop())
        for tokens, labels in sorted(topics.items())
        if len(labels) == 1 and len(tokens) >= _SHORTEST
    )


def _installed(part: str) -> Path:
    """The folder of a part of an installed package, located without importing it."""
    package, _, below = part.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"The package {package!r} is not installed: pip install {package}.")
    return Path(spec.submodule_search_locations[0], below)


def largest_jaccard(texts: Sequence[Text], others: Sequence[Text]) -> list[float]:
    """For each text, its largest Jaccard index with one of the others: shared words, of the words in either."""
    left, right = _occurrences(texts, others)
    common = (left @ right.T).toarray()
    either = left.sum(1)[:, None] + right.sum(1)[None, :] - common
    largest: list[float] = (common / either).max(1).tolist()
    return largest


def _occurrences(*parts: Sequence[Text]) -> list[Any]:
    """For each part a sparse matrix float64[texts, words], 1 where a text contains a word."""
    numbers: dict[str, int] = {}
    places_and_counts = []
    for texts in parts:
        pairs = [
            (row, numbers.setdefault(word, len(numbers))) for row, text in enumerate(texts) for word in set(text.tokens)
        ]
        places_and_counts.append((np.array(pairs).T, len(texts)))
    return [
        sparse.csr_array((np.ones(places.shape[1]), tuple(places)), shape=(count, len(numbers)))
        for places, count in places_and_counts
    ]
