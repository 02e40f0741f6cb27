"""The Stanford Sentiment Treebank: sentences of film reviews, as trees of rated phrases, and as GLUE has them."""

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
    """Positive or negative: sentences of film reviews, in which people have rated every phrase and every word.

    6,920 sentences to learn from and 1,821 held out, of 19 tokens on average, in small letters; sentences rated as
    neutral are in neither, as is the custom, and the 872 for validation are not used. Learnt from are also all
    phrases of the training sentences, the neutral sentences' too, that were rated as positive or negative, each once
    (``phrases``).

    The model is an embedding and a bidirectional GRU with additive attention.

    Truth: the mean judgement of three people, from −2 (very negative) to 2 (very positive), who saw the word or phrase
    by itself, in random order. It is signed towards the positive class (``Truth.toward``); whoever reads the sign must
    use ``Truth.turned``. A word may speak against the class of its sentence, and one in seventeen against the phrase
    next above it.

    * ``word``: the rating of each word, 0 for the neutral ones, which are 85 %; one sentence in thirteen has no other.
    * ``phrase``: the rating of the smallest phrase of up to ``reach`` tokens, not the whole sentence, that holds the
      word and is not neutral, in equal shares for the tokens of the phrase: of "not good" both words have a part, and
      "good" its own. With larger phrases nearly every word would have one, and the reading would say the class again.

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
        learnt, kept = (
            [_Rated(tree, self.reach) for tree in ptb.read(find(folder, f"{split}.txt"))] for split in ("train", "test")
        )
        sentences = [text for rated in learnt for text in rated.sided(rated.tree.phrases[:1])]
        phrases = [text for rated in learnt for text in rated.sided(rated.tree.phrases[1:])] if self.phrases else []
        once = {text.tokens: text for text in reversed([*sentences, *phrases])}
        held_out = [text for rated in kept for text in rated.sided(rated.tree.phrases[:1])]
        return list(reversed(once.values())), held_out


@register
@dataclass(frozen=True)
class Sst2(TextTask):
    """Positive or negative: sentences of film reviews, as GLUE splits them.

    67,349 sentences and phrases of sentences to learn from, 872 sentences held out: GLUE's set for validation, because
    the classes of its test set are not given away. They are in small letters and taken apart already.

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
        learnt, kept = (
            [Text(spaced(sentence.text), sentence.label) for sentence in glue.read(find(folder, f"{split}.tsv"))]
            for split in ("train", "dev")
        )
        return learnt, kept


class _Rated:
    """A tree with both readings of its ratings."""

    def __init__(self, tree: ptb.Tree, reach: int) -> None:
        self.tree = tree
        self._tokens = tuple(map(str.lower, tree.tokens))
        words = [float(label - _NEUTRAL) for label in tree.labels]
        self._readings = {"word": words, "phrase": phrase_ratings(tree, reach)}

    def sided(self, phrases: tuple[ptb.Phrase, ...]) -> list[Text]:
        """The phrases that are not neutral, by their side."""
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
    """Of each token its share in the rating of the smallest phrase it is in that is not neutral.

    Args:
        tree: with the labels 0 to 4.
        reach: how many tokens a phrase has at most.

    Returns:
        from −2 to 2; 0 for tokens in no such phrase. The whole sentence is none, if it is longer than a word.
    """
    found = [0.0] * len(tree.tokens)
    for phrase in sorted(tree.phrases, key=lambda phrase: phrase.start - phrase.end):
        size = phrase.end - phrase.start
        if phrase.label != _NEUTRAL and size <= reach and (size == 1 or size < len(tree.tokens)):
            found[phrase.start : phrase.end] = [(phrase.label - _NEUTRAL) / size] * size
    return found
