"""Translation of running text: subwords, and BLEU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from ....errors import DataError
from ...data.batch import Competence
from ...models.training import Recipe
from ...readers import subwords
from ...readers.alignments import Links
from ...trained import Dataset, missing_extra
from .base import Corpus, TranslationTask
from .pairs import SOURCE_SPECIAL, TARGET_SPECIAL, SentencePairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from ...readers.subwords import Subwords

# By how many tokens a translation may be longer than the longest held-out one, before it is cut off.
_LONGER: Final = 10


@dataclass(frozen=True)
class Text:
    """Sentences with their translations, as they are written.

    Attributes:
        train: what is learnt from; no source of it is in test.
        test: what is held out.
        links: of each test pair, how people linked its words; empty if nobody did.
    """

    train: list[tuple[str, str]]
    test: list[tuple[str, str]]
    links: tuple[Links, ...] = ()


@dataclass(frozen=True)
class TextTranslation(TranslationTask):
    """Running text in subwords, translated greedily and measured by BLEU against one reference.

    Attributes:
        vocabulary: pieces of each language, at most, special ones included.
        epochs: passes over the training data.
    """

    extra: ClassVar[str] = "data"
    unknown: ClassVar[float] = 0.05
    dropout: ClassVar[float] = 0.2
    recipe: ClassVar[Recipe] = Recipe(epochs=12, learning_rate=2e-3, batch_size=64)

    hidden: int = 256
    embedding: int = 128
    vocabulary: int = 4000
    epochs: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        # how long it is trained is a parameter here
        object.__setattr__(self, "recipe", replace(type(self).recipe, epochs=self.epochs))

    def text(self) -> Text:
        """Load the sentences; the same every time."""
        raise NotImplementedError

    def least(self) -> float:
        """The gate: the BLEU, from 0 to 100, that a model must reach."""
        raise NotImplementedError

    def corpus(self) -> Corpus:
        """See :meth:`TranslationTask.corpus`."""
        text = self.text()
        sources = subwords.learnt([one for one, _ in text.train], self.vocabulary, SOURCE_SPECIAL, self.name)
        targets = subwords.learnt([one for _, one in text.train], self.vocabulary, TARGET_SPECIAL, self.name)
        return Corpus(
            train=_pairs(text.train, sources, targets),
            test=_pairs(text.test, sources, targets),
            sources=sources.vocabulary,
            targets=targets.vocabulary,
            links=_spread(text, sources, targets) if text.links else (),
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """BLEU on the held-out sentences; the baseline is that of the sentences left as they are."""
        test = self.text().test
        said = self.translated(model, data.test, data.test.targets.shape[1] + _LONGER)
        wanted = [target for _, target in test]
        score = bleu([subwords.joined(row, data.names.outputs) for row in said], wanted, self.name)
        return Competence("BLEU", score, self.least(), bleu([source for source, _ in test], wanted, self.name))


def bleu(said: Sequence[str], wanted: Sequence[str], task: str = "bleu") -> float:
    """Corpus BLEU, 0 to 100, of translations against one reference each, as sacreBLEU computes it by default.

    Raises:
        DataError: the package is not installed.

    Source: Post 2018, "A Call for Clarity in Reporting BLEU Scores".
    """
    try:
        import sacrebleu  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra(task, "data") from error
    # the texts are not tokenised, and a model that has learnt little may say so as it likes
    return float(sacrebleu.corpus_bleu(list(said), [list(wanted)], force=True).score)


def disjoint(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]], task: str) -> list[tuple[str, str]]:
    """The training pairs whose source is no held-out source.

    Raises:
        DataError: none is left.
    """
    held_out = {source for source, _ in test}
    found = [pair for pair in train if pair[0] not in held_out]
    if not found:
        raise DataError(f"Task {task!r} has no training sentence that is not also held out: give more text.")
    return found


def _pairs(text: Sequence[tuple[str, str]], sources: Subwords, targets: Subwords) -> SentencePairs:
    end = TARGET_SPECIAL.index("</s>")
    said = targets.encoded([target for _, target in text])
    return SentencePairs.of(sources.encoded([source for source, _ in text]), [[*row, end] for row in said])


def _spread(text: Text, sources: Subwords, targets: Subwords) -> tuple[Tensor, ...]:
    """Links of words as links of all pieces of the one with all pieces of the other, float[U, T] of each test pair."""
    here = sources.encoded([source for source, _ in text.test])
    there = targets.encoded([target for _, target in text.test])
    found = []
    for links, source, target in zip(text.links, here, there, strict=True):
        rows, columns = targets.words(target), sources.words(source)
        found.append(links.values(columns[-1] + 1, rows[-1] + 1)[rows][:, columns])
    return tuple(found)
