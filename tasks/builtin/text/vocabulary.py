"""From texts to tokens to numbers: how all text tasks do it.

The vocabulary is that of the training texts alone, the most frequent tokens first. Number 0 is padding, number 1 stands
for every token that is not in the vocabulary. A share of the training tokens is replaced by it, so that it is a token
the model knows, and can stand for one that is taken away.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import torch
from torch.nn.utils.rnn import pad_sequence

from ....errors import DataError
from ...data.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor

PADDING: Final = "<pad>"
UNKNOWN: Final = "<unk>"
# Letters, digits, and the accents that stand behind a letter where Unicode has no letter for both.
_LETTERS: Final = r"\w[\w\u0300-\u036f]*"
_WORD = re.compile(rf"{_LETTERS}(?:['\u2019]{_LETTERS})*|[^\w\s]")


def words(text: str) -> tuple[str, ...]:
    """The tokens of running text, in small letters: words with their inner apostrophes, and each other sign by itself.

    Letters that Unicode holds to be the same are made the same first (NFKC).

    >>> words("It isn't 3 % off!")
    ('it', "isn't", '3', '%', 'off', '!')
    """
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


def spaced(text: str) -> tuple[str, ...]:
    r"""The tokens of a text that was taken apart already, in small letters: what plain spaces separate.

    Other spaces belong to their token, as they do where the tokens were counted.

    >>> spaced("It 's 1\xa01/2 hours ")
    ('it', "'s", '1\xa01/2', 'hours')
    """
    return tuple(token for token in text.lower().split(" ") if token)


@dataclass(frozen=True)
class Text:
    """A text in tokens, with its class.

    Attributes:
        tokens: at least one.
        target: number of the class.
        readings: of the truth, by name: a value for each token.
    """

    tokens: tuple[str, ...]
    target: int
    readings: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tokens:
            raise DataError("A text has no tokens: leave empty texts out.")
        for name, values in self.readings.items():
            if len(values) != len(self.tokens):
                raise DataError(
                    f"A text has {len(self.tokens)} tokens, but {len(values)} values of the truth {name!r}: give one "
                    "for each."
                )

    def cut(self, steps: int) -> Text:
        """Its first tokens, at most that many."""
        readings = {name: values[:steps] for name, values in self.readings.items()}
        return Text(self.tokens[:steps], self.target, readings)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that have numbers.

    Attributes:
        tokens: by number; the first two are padding and the unknown token.
    """

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[Text], size: int, least: int) -> Vocabulary:
        """The most frequent tokens of some texts; those that are as frequent as each other come by their letters.

        Args:
            texts: the training texts.
            size: how many tokens at most, padding and unknown not counted.
            least: how often a token has to occur.
        """
        counts = collections.Counter(token for text in texts for token in text.tokens)
        # a text may hold these as words of its own, which are not to be taken for the marks
        del counts[PADDING], counts[UNKNOWN]
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        return cls((PADDING, UNKNOWN, *(token for token in ordered[:size] if counts[token] >= least)))

    @property
    def unknown(self) -> int:
        """The number of every token that has no other."""
        return self.tokens.index(UNKNOWN)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens) if token != PADDING}

    def numbers(self, tokens: Sequence[str]) -> Tensor:
        """int64[T]."""
        return torch.tensor([self._numbers.get(token, self.unknown) for token in tokens])

    def batch(self, texts: Sequence[Text]) -> Batch:
        """Tokens int64[B, T] and classes int64[B] of some texts, without truths."""
        rows = [self.numbers(text.tokens) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        return Batch(pad_sequence(rows, batch_first=True), lengths, torch.tensor([text.target for text in texts]))


def readings(texts: Sequence[Text], name: str) -> Tensor:
    """float[B, T]: the values of one reading of the truth, 0 on padding."""
    return pad_sequence([torch.tensor(text.readings[name], dtype=torch.float32) for text in texts], batch_first=True)


def partly_unknown(batch: Batch, unknown: int, share: float, rng: torch.Generator) -> Batch:
    """The batch with a share of its tokens replaced by the unknown one, each by its own chance."""
    chosen = (torch.rand(batch.inputs.shape, generator=rng) < share) & batch.valid
    return dataclasses.replace(batch, inputs=batch.inputs.masked_fill(chosen, unknown))
