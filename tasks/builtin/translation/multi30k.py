"""Translation of image descriptions from English into German (Multi30k)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from ....plugins import register
from ...downloads.locate import find, located
from ...readers import parallel
from .text import Text, TextTranslation, disjoint

_GATE: Final = 25.0


@register
@dataclass(frozen=True)
class Multi30k(TextTranslation):
    """Translation of image descriptions from English into German, with 29,000 training pairs and 1,000 test pairs.

    The test pairs are "test 2016"; the validation part is not used. The texts are the published ones, with capitals and
    punctuation, in subwords learnt from the training texts: byte-pair encoding, ``vocabulary`` subwords of each
    language. A training sentence that is also a held-out one is left out. One in twenty training tokens is replaced by
    ``<unk>``, which is also the reference.

    The model is an encoder–decoder of GRUs with global attention and dropout. It is evaluated by the BLEU of its greedy
    translations (sacreBLEU's tokens, case-sensitive); the baseline is the BLEU of the untranslated English sentences.
    Single tokens of held-out translations are explained, given the tokens of the reference translation before them.

    Truth: not known.

    Source: Multi30k (WMT 2016, task 1), whose English descriptions come from Flickr30k.
    """

    name: ClassVar[str] = "multi30k"
    source: ClassVar[str] = "https://github.com/multi30k/dataset"
    licence: ClassVar[str] = "not stated; Flickr30k, which it rests on, is for non-commercial research and education"
    citation: ClassVar[str] = (
        "D. Elliott, S. Frank, K. Sima'an, L. Specia: Multi30K: Multilingual English-German Image Descriptions. "
        "Workshop on Vision and Language 2016. doi:10.18653/v1/W16-3210"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("multi30k",)

    def text(self) -> Text:
        """See :meth:`TextTranslation.text`."""
        folder = located("multi30k")
        train, test = (
            parallel.pairs(find(folder, f"{split}.en"), find(folder, f"{split}.de")) for split in ("train", "test")
        )
        return Text(disjoint(train, test, self.name), test)

    def least(self) -> float:
        """See :meth:`TextTranslation.least`: 25 BLEU."""
        return _GATE
