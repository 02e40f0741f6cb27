"""Sentiment classification on the Stanford Sentiment Treebank: as trees of rated phrases, and as the GLUE task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from torch import Tensor

from ....plugins import register
from ...data.batch import Truth
from ...downloads.locate import find, located
from ...models.training import Recipe
from ...readers import glue, ptb
from .classification import TextTask
from .vocabulary import Text, spaced

_NEUTRAL: Final = 2
_OUTPUTS = ("negative", "positive")
_CITATION = (
    "R. Socher, A. Perelygin, J. Wu, J. Chuang, C. D. Manning, A. Ng, C. Potts: Recursive Deep Models for Semantic "
    "Compositionality Over a Sentiment Treebank. EMNLP 2013, 1631–1642"
)
_signed = partial(
    Truth, semantics="human-rating", output="the class 'positive' against 'negative'", signed=True, toward=1
)


@register
@dataclass(frozen=True)
class SentimentTrees(TextTask):
    """Sentiment classification, positive or negative, of sentences from film reviews with human ratings of all phrases.

    There are 6,920 training sentences and 1,821 held-out sentences, of 19 tokens on average, in small letters; neutral
    sentences are in neither, as usual, and the 872 for validation are not used. Additional training texts are all
    phrases that were rated as positive or negative, each once (``phrases``): those of the training sentences, and of
    the neutral sentences of the training part.

    The model is an embedding and a bidirectional GRU with additive attention.

    Truth: the mean judgement of three people, from −2 (very negative) to 2 (very positive), who saw the word or phrase
    without its sentence, in random order. It is signed towards the positive class (``Truth.toward``); metrics that read
    the sign must use ``Truth.turned``. A word may have the opposite sign to the class of its sentence, and one in
    seventeen has the opposite sign to the next larger phrase.

    * ``word``: the rating of each word, 0 for the neutral ones, which are 85 %; one sentence in thirteen has no other.
    * ``phrase``: the rating of the smallest phrase of up to ``reach`` tokens, not the whole sentence, that contains the
      word and is not neutral, in equal shares for the tokens of the phrase: in "not good" the word "not" has a share of
      the phrase, and "good" its own rating. With larger phrases nearly every word would have a value, and the reading
      would only repeat the class.

    Source: Socher et al. 2013; sentences by Pang & Lee 2005.
    """

    name: ClassVar[str] = "sst-trees"
    application: ClassVar[str] = "sentiment"
    source: ClassVar[str] = "https://nlp.stanford.edu/sentiment/"
    licence: ClassVar[str] = "none stated: research use; the sentences are from Rotten Tomatoes"
    citation: ClassVar[str] = _CITATION
    data_sets: ClassVar[tuple[str, ...]] = ("sst-trees",)
    explaining: ClassVar[frozenset[str]] = frozenset({"instances", "reach"})
    recipe: ClassVar[Recipe] = Recipe(epochs=3, learning_rate=5e-3, batch_size=64, weight_decay=0.3)
    outputs: ClassVar[tuple[str, ...]] = _OUTPUTS
    gate: ClassVar[float] = 0.78
    truths: ClassVar[Mapping[str, Callable[[Tensor], Truth]]] = {"word": _signed, "phrase": _signed}

    phrases: bool = True
    reach: int = 4

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        folder = located(self.name)
        train, test = (
            [_RatedTree(tree, self.reach) for tree in ptb.read(find(folder, f"{split}.txt"))]
            for split in ("train", "test")
        )
        sentences = [text for rated in train for text in rated.polar(rated.tree.phrases[:1])]
        phrases = [text for rated in train for text in rated.polar(rated.tree.phrases[1:])] if self.phrases else []
        distinct = {text.tokens: text for text in reversed([*sentences, *phrases])}
        held_out = [text for rated in test for text in rated.polar(rated.tree.phrases[:1])]
        return list(reversed(distinct.values())), held_out


@register
@dataclass(frozen=True)
class Sst2(TextTask):
    """Sentiment classification, positive or negative, of sentences from film reviews, with the split of GLUE.

    There are 67,349 training texts, sentences and phrases of sentences, and 872 held-out sentences: GLUE's validation
    set, because the classes of its test set are not published. The texts are tokenised, in small letters.

    The model is that of ``sst-trees``, which has the same sentences with ratings of their words.

    Truth: not known; ``sst-trees`` has one.

    Source: Socher et al. 2013, as split by Wang et al. 2019 (GLUE).
    """

    name: ClassVar[str] = "sst2"
    application: ClassVar[str] = "sentiment"
    source: ClassVar[str] = "https://gluebenchmark.com/tasks"
    licence: ClassVar[str] = "none stated: research use; the sentences are from Rotten Tomatoes"
    citation: ClassVar[str] = f"{_CITATION}; split: A. Wang et al.: GLUE. ICLR 2019"
    data_sets: ClassVar[tuple[str, ...]] = ("sst2",)
    recipe: ClassVar[Recipe] = SentimentTrees.recipe
    outputs: ClassVar[tuple[str, ...]] = _OUTPUTS
    gate: ClassVar[float] = 0.78

    def texts(self) -> tuple[list[Text], list[Text]]:
        """See :meth:`TextTask.texts`."""
        folder = located(self.name)
        train, test = (
            [Text(spaced(sentence.text), sentence.label) for sentence in glue.read(find(folder, f"{split}.tsv"))]
            for split in ("train", "dev")
        )
        return train, test


class _RatedTree:
    """A sentiment tree with both readings of the truth from its ratings."""

    def __init__(self, tree: ptb.Tree, reach: int) -> None:
        self.tree = tree
        self._tokens = tuple(map(str.lower, tree.tokens))
        words = [float(label - _NEUTRAL) for label in tree.labels]
        self._readings = {"word": words, "phrase": phrase_ratings(tree, reach)}

    def polar(self, phrases: tuple[ptb.Phrase, ...]) -> list[Text]:
        """The phrases that are not neutral, as texts with their polarity as class."""
        return [
            Text(
                self._tokens[phrase.start : phrase.end],
                int(phrase.label > _NEUTRAL),
                {name: values[phrase.start : phrase.end] for name, values in self._readings.items()},
            )
            for phrase in phrases
            if phrase.label != _NEUTRAL
        ]


def phrase_ratings(tree: ptb.Tree, reach: int) -> list[float]:
    """The share of each token in the rating of the smallest phrase that contains it and is not neutral.

    Args:
        tree: a tree with the labels 0 to 4.
        reach: the largest number of tokens of a phrase.

    Returns:
        values from −2 to 2; 0 for tokens in no such phrase. A whole sentence of several words is not such a phrase.
    """
    ratings = [0.0] * len(tree.tokens)
    for phrase in sorted(tree.phrases, key=lambda phrase: phrase.start - phrase.end):
        size = phrase.end - phrase.start
        if phrase.label != _NEUTRAL and size <= reach and (size == 1 or size < len(tree.tokens)):
            ratings[phrase.start : phrase.end] = [(phrase.label - _NEUTRAL) / size] * size
    return ratings
