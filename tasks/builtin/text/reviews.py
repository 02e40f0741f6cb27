"""Sentiment classification of film reviews: IMDB, and the films of ERASER with human rationales."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from ....plugins import register
from ...data.batch import Truth
from ...downloads.locate import find, located
from ...models.training import Recipe
from ...readers import eraser, imdb
from ...trained import sample
from .classification import TextTask
from .vocabulary import Text, words

_BREAK = re.compile(r"<br ?/?>")
_CLASSES = ("NEG", "POS")
# All held-out reviews would take half a minute whenever a model is loaded.
_HELD_OUT = 5000
_OUTPUTS = ("negative", "positive")


@register
@dataclass(frozen=True)
class Imdb(TextTask):
    """Sentiment classification, positive or negative, of film reviews by users of IMDb.

    There are 25,000 training reviews and 25,000 held-out reviews of other films, half of each class; reviews of 5 and 6
    stars are in neither. A fixed sample of 5,000 held-out reviews is used. A review is truncated to its first ``steps``
    tokens.

    The model is an embedding and a bidirectional GRU with additive attention.

    Truth: not known.

    Source: Maas et al. 2011.
    """

    name: ClassVar[str] = "imdb"
    application: ClassVar[str] = "sentiment"
    source: ClassVar[str] = "https://ai.stanford.edu/~amaas/data/sentiment/"
    licence: ClassVar[str] = "none stated: research use; the reviews are by users of IMDb"
    citation: ClassVar[str] = (
        "A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts: Learning Word Vectors for Sentiment "
        "Analysis. ACL 2011, 142–150"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("imdb",)
    recipe: ClassVar[Recipe] = Recipe(epochs=2, learning_rate=5e-3, batch_size=64, weight_decay=0.3)
    outputs: ClassVar[tuple[str, ...]] = _OUTPUTS
    gate: ClassVar[float] = 0.80

    steps: int = 256

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        folder = located(self.name)
        train, test = (imdb.read(find(folder, f"aclImdb/{split}")) for split in ("train", "test"))
        chosen = sample(len(test), min(_HELD_OUT, len(test)), self.name, "held out").tolist()
        return _reviews(train), _reviews([test[row] for row in chosen])


@register
@dataclass(frozen=True)
class EraserMovies(TextTask):
    """Sentiment classification, positive or negative, of film reviews with human rationales.

    There are 1,600 training reviews and 199 held-out reviews, half of each class; the 200 for validation are not used.
    They are tokenised, in small letters, and have 770 tokens on average. A review is truncated to its last ``steps``
    tokens, where the verdict usually is: a linear model classifies 83 % of the reviews correctly from their last 256
    tokens, as many as from all, and 73 % from their first 256. Earlier marked passages are cut off, so a review may be
    left without a mark. The marked passages of the training reviews are additional training texts (``passages``),
    because 1,600 reviews are few.

    The model is an embedding and a bidirectional GRU with additive attention. Its accuracy on 199 reviews is uncertain
    by 3 %, which the gate allows for.

    Truth, ``rationale``: 1 for tokens within a passage that people marked as a reason for the class, else 0, without
    sign. Annotators marked some reasons in the training reviews (9 % of the tokens) and all reasons in the held-out
    reviews (31 %), so the truths of the two parts are not comparable. Reasons that convince people need not be the
    evidence that a model uses.

    Source: DeYoung et al. 2020 (ERASER); reviews by Pang & Lee 2004, rationales by Zaidan et al. 2007.
    """

    name: ClassVar[str] = "eraser-movies"
    application: ClassVar[str] = "sentiment"
    source: ClassVar[str] = "https://www.eraserbenchmark.com/"
    licence: ClassVar[str] = "none stated for the data: research use, not to be passed on"
    citation: ClassVar[str] = (
        "J. DeYoung, S. Jain, N. F. Rajani, E. Lehman, C. Xiong, R. Socher, B. C. Wallace: ERASER: A Benchmark to "
        "Evaluate Rationalized NLP Models. ACL 2020, 4443–4458. doi:10.18653/v1/2020.acl-main.408"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("eraser-movies",)
    recipe: ClassVar[Recipe] = Recipe(epochs=4, learning_rate=5e-3, batch_size=32, weight_decay=0.3)
    outputs: ClassVar[tuple[str, ...]] = _OUTPUTS
    gate: ClassVar[float] = 0.76
    dropout: ClassVar[float] = 0.5
    least: ClassVar[int] = 3
    truths: ClassVar[Mapping[str, Callable[[Tensor], Truth]]] = {
        "rationale": partial(Truth, semantics="rationale", output="the class of the review")
    }

    steps: int = 256
    passages: bool = True

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        folder = located(self.name)
        train, test = (eraser.read(find(folder, f"{split}.jsonl"), _CLASSES) for split in ("train", "test"))
        passages = [_passage(review, *span) for review in train for span in review.spans] if self.passages else []
        return [*(self._end(review) for review in train), *passages], [self._end(review) for review in test]

    def _end(self, document: eraser.Document) -> Text:
        """The last ``steps`` tokens of a document."""
        count = len(document.tokens)
        return _passage(document, max(count - self.steps, 0), count)


def _reviews(reviews: list[imdb.Review]) -> list[Text]:
    """The reviews in tokens, with their class; line breaks of HTML become spaces."""
    return [Text(words(_BREAK.sub(" ", review.text)), review.label) for review in reviews]


def _passage(document: eraser.Document, start: int, end: int) -> Text:
    """The tokens of a document from ``start`` to before ``end``, with 1 for each marked token and 0 for the others."""
    marked = {place for span in document.spans for place in range(*span)}
    tokens = tuple(map(str.lower, document.tokens[start:end]))
    marks = [float(place in marked) for place in range(start, end)]
    return Text(tokens, _CLASSES.index(document.label), {"rationale": marks})
