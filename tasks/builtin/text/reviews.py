"""Film reviews, whether they are positive or negative: IMDB, and the films of ERASER with human rationales."""

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
# All of them would take half a minute whenever a model is loaded.
_HELD_OUT = 5000
_OUTPUTS = ("negative", "positive")


@register
@dataclass(frozen=True)
class Imdb(TextTask):
    """Positive or negative: reviews of films by users of IMDb.

    25,000 reviews to learn from and 25,000 held out, of other films, half of each class; reviews of 5 and 6 stars are
    in neither. Of the held-out ones a fixed sample of 5,000 is used. A review is cut to its first ``steps`` tokens.

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
        learnt, kept = (imdb.read(find(folder, f"aclImdb/{split}")) for split in ("train", "test"))
        chosen = sample(len(kept), min(_HELD_OUT, len(kept)), self.name, "held out").tolist()
        return _reviews(learnt), _reviews([kept[place] for place in chosen])


@register
@dataclass(frozen=True)
class EraserMovies(TextTask):
    """Positive or negative: reviews of films, in which people have marked the passages that tell.

    1,600 reviews to learn from and 199 held out, half of each class; the 200 for validation are not used. They are in
    small letters and taken apart already, and have 770 tokens on average. Of a review the last ``steps`` tokens are
    read, for there it comes to its verdict: a linear model is right about 83 % of the reviews by their last 256 tokens
    as by all, by their first 256 about 73 %. What was marked before is not there, and a review may be left without a
    mark. Learnt from are also the marked passages of the training reviews, each as a text of its own (``passages``),
    because 1,600 reviews are few.

    The model is an embedding and a bidirectional GRU with additive attention. Its accuracy on 199 reviews is uncertain
    by 3 %, which the gate allows for.

    Truth, ``rationale``: 1 for tokens within a passage that people marked as a reason for the class, else 0, without
    sign. People were asked for some reasons in the training reviews (9 % of the tokens) and for all in the held-out
    ones (31 %), so that a truth of the one is not to be compared with a truth of the other. What convinces people need
    not be what a model goes by.

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
        learnt, kept = (eraser.read(find(folder, f"{split}.jsonl"), _CLASSES) for split in ("train", "test"))
        passages = [_part(each, *span) for each in learnt for span in each.spans] if self.passages else []
        return [*(self._end(each) for each in learnt), *passages], [self._end(each) for each in kept]

    def _end(self, document: eraser.Document) -> Text:
        """The last tokens of a document."""
        count = len(document.tokens)
        return _part(document, max(count - self.steps, 0), count)


def _reviews(reviews: list[imdb.Review]) -> list[Text]:
    return [Text(words(_BREAK.sub(" ", review.text)), review.label) for review in reviews]


def _part(document: eraser.Document, start: int, end: int) -> Text:
    """Some tokens of a document, with 1 for each that is marked and 0 for the others."""
    marked = {place for span in document.spans for place in range(*span)}
    tokens = tuple(map(str.lower, document.tokens[start:end]))
    marks = [float(place in marked) for place in range(start, end)]
    return Text(tokens, _CLASSES.index(document.label), {"rationale": marks})
