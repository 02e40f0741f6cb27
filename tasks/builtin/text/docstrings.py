"""Docstrings: which part of a library a function belongs to, from the summary of what it does."""

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

# Topics, and the parts of the installed packages that they are.
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
# The share of their words, of those in either, that two texts may have in common before they are the same.
_ALIKE = 0.7


@register
@dataclass(frozen=True)
class Docstrings(TextTask):
    """Which of six topics a function of scipy or pandas is about, from the first paragraph of its docstring.

    The topics are parts of the two packages: statistics, optimisation, signals, linear algebra (and sparse matrices),
    geometry (interpolation and spatial structures), and reading and writing files. The texts are taken from the source
    files of the installed packages, which are read and not run; with other versions of the packages this is another
    task, and its identity says so by the fingerprint of all texts. Of about 2,750 texts, a quarter is held out. A
    summary found twice is used once, and not at all if it is found in two topics. Held-out texts of which a training
    text has 70 % of the words (in common, of those in either) are left out: functions that resemble each other are
    often described alike.

    The model is an embedding and a bidirectional GRU with additive attention. Logistic regression on tf-idf does as
    well as it: most topics show by their words, not their order.

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
        learnt = [text for number, text in enumerate(texts) if number not in chosen]
        kept = [text for number, text in enumerate(texts) if number in chosen]
        return learnt, [text for text, alike in zip(kept, most_alike(kept, learnt), strict=True) if alike < _ALIKE]

    def identity(self) -> dict[str, Any]:
        """See :meth:`TrainedTask.identity`; the texts belong to it."""
        return super().identity() | {"texts": fingerprint(summaries())}


@functools.cache
def summaries() -> tuple[tuple[tuple[str, ...], str], ...]:
    """All texts in tokens, each with its topic, in the order of their tokens.

    Raises:
        DataError: the packages' source files are not there.
    """
    topics: dict[tuple[str, ...], set[str]] = {}
    for topic, parts in TOPICS.items():
        for part in parts:
            for summary in docstrings.read(_installed(part)):
                topics.setdefault(words(summary.text), set()).add(topic)
    return tuple(
        (tokens, found.pop())
        for tokens, found in sorted(topics.items())
        if len(found) == 1 and len(tokens) >= _SHORTEST
    )


def _installed(part: str) -> Path:
    """The folder of a part of an installed package, found without importing it."""
    package, _, below = part.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"The package {package!r} is not installed: pip install {package}.")
    return Path(spec.submodule_search_locations[0], below)


def most_alike(texts: Sequence[Text], others: Sequence[Text]) -> list[float]:
    """Of each text, the largest share of words it has in common with one of the others, of the words in either."""
    left, right = _occurrences(texts, others)
    common = (left @ right.T).toarray()
    either = left.sum(1)[:, None] + right.sum(1)[None, :] - common
    found: list[float] = (common / either).max(1).tolist()
    return found


def _occurrences(*parts: Sequence[Text]) -> list[Any]:
    """For each part a sparse matrix of which text (row) has which word (column)."""
    numbers: dict[str, int] = {}
    found = []
    for texts in parts:
        pairs = [
            (row, numbers.setdefault(word, len(numbers))) for row, text in enumerate(texts) for word in set(text.tokens)
        ]
        found.append((np.array(pairs).T, len(texts)))
    return [
        sparse.csr_array((np.ones(places.shape[1]), tuple(places)), shape=(count, len(numbers)))
        for places, count in found
    ]
