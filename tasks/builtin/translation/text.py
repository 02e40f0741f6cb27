"""Base class of translation of running text: subword vocabularies, and evaluation by BLEU."""

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

# Tokens by which a translation may be longer than the longest held-out one, before it is truncated.
_EXTRA_STEPS: Final = 10


@dataclass(frozen=True)
class Text:
    """A parallel corpus as plain text.

    Attributes:
        train: the training pairs of source and translation; none of their sources is in test.
        test: the held-out pairs.
        links: the human word alignment of each test pair; empty if there is none.
    """

    train: list[tuple[str, str]]
    test: list[tuple[str, str]]
    links: tuple[Links, ...] = ()


@dataclass(frozen=True)
class TextTranslation(TranslationTask):
    """Base class of translation of running text in subwords, evaluated by the BLEU of greedy translations.

    Each translation has one reference translation.

    Attributes:
        vocabulary: largest number of subwords of each language, special tokens included.
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
        # the number of epochs is a parameter here
        object.__setattr__(self, "recipe", replace(type(self).recipe, epochs=self.epochs))

    def text(self) -> Text:
        """Load the sentences; the same every time."""
        raise NotImplementedError

    def least(self) -> float:
        """The gate: the least BLEU, from 0 to 100, at which a model is explained."""
        raise NotImplementedError

    def corpus(self) -> Corpus:
        """See :meth:`TranslationTask.corpus`."""
        text = self.text()
        sources = subwords.learn([source for source, _ in text.train], self.vocabulary, SOURCE_SPECIAL, self.name)
        targets = subwords.learn([target for _, target in text.train], self.vocabulary, TARGET_SPECIAL, self.name)
        return Corpus(
            train=_pairs(text.train, sources, targets),
            test=_pairs(text.test, sources, targets),
            sources=sources.vocabulary,
            targets=targets.vocabulary,
            links=_subword_links(text, sources, targets) if text.links else (),
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """BLEU on the held-out sentences; the baseline is the BLEU of the untranslated sources."""
        test = self.text().test
        tokens = self.translated(model, data.test, data.test.targets.shape[1] + _EXTRA_STEPS)
        references = [target for _, target in test]
        score = bleu([subwords.join(row, data.names.outputs) for row in tokens], references, self.name)
        return Competence("BLEU", score, self.least(), bleu([source for source, _ in test], references, self.name))


def bleu(translations: Sequence[str], references: Sequence[str], task: str = "bleu") -> float:
    """Corpus BLEU, 0 to 100, of translations against one reference translation each, with sacreBLEU's defaults.

    Raises:
        DataError: the package sacreBLEU is not installed.

    Source: Post 2018, "A Call for Clarity in Reporting BLEU Scores".
    """
    try:
        import sacrebleu  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra(task, "data") from error
    # force: no warning if the output of a poorly trained model looks tokenised
    return float(sacrebleu.corpus_bleu(list(translations), [list(references)], force=True).score)


def disjoint(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]], task: str) -> list[tuple[str, str]]:
    """The training pairs whose source is no held-out source.

    Raises:
        DataError: no training pair is left.
    """
    held_out = {source for source, _ in test}
    remaining = [pair for pair in train if pair[0] not in held_out]
    if not remaining:
        raise DataError(f"Task {task!r} has no training sentence that is not also held out: give more text.")
    return remaining


def _pairs(text: Sequence[tuple[str, str]], sources: Subwords, targets: Subwords) -> SentencePairs:
    """The pairs in subwords, with the end token after each translation."""
    end = TARGET_SPECIAL.index("</s>")
    translations = targets.encoded([target for _, target in text])
    return SentencePairs.of(sources.encoded([source for source, _ in text]), [[*row, end] for row in translations])


def _subword_links(text: Text, sources: Subwords, targets: Subwords) -> tuple[Tensor, ...]:
    """Subword alignments float[U, T] of the test pairs: all subwords of linked words are linked."""
    encoded_sources = sources.encoded([source for source, _ in text.test])
    encoded_targets = targets.encoded([target for _, target in text.test])
    subword_links = []
    for links, source, target in zip(text.links, encoded_sources, encoded_targets, strict=True):
        rows, columns = targets.words(target), sources.words(source)
        subword_links.append(links.values(columns[-1] + 1, rows[-1] + 1)[rows][:, columns])
    return tuple(subword_links)
