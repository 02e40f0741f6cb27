"""Tokenisation, vocabulary and word dropout of the text tasks.

The vocabulary is that of the training texts alone, the most frequent tokens first. Number 0 is padding, number 1 is the
unknown token, for every token that is not in the vocabulary. A share of the training tokens is replaced by it, so that
models are trained on it and it can replace a removed token.
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

from ....errors import DataError
from ...data.batch import Batch
from ...data.padding import padded

if TYPE_CHECKING:
    from torch import Tensor

PADDING: Final = "<pad>"
UNKNOWN: Final = "<unk>"
# Letters, digits, and combining accents after a letter where Unicode has no composed letter.
_LETTERS: Final = r"\w[\w\u0300-\u036f]*"
_WORD = re.compile(rf"{_LETTERS}(?:['\u2019]{_LETTERS})*|[^\w\s]")


def words(text: str) -> tuple[str, ...]:
    """Tokenise running text, in small letters: words with inner apostrophes, and each other symbol as its own token.

    Unicode characters are normalised first (NFKC).

    >>> words("It isn't 3 % off!")
    ('it', "isn't", '3', '%', 'off', '!')
    """
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


def spaced(text: str) -> tuple[str, ...]:
    r"""Split a tokenised text at its plain spaces, in small letters.

    Other kinds of spaces are part of their token, as in the tokenisation of the source.

    >>> spaced("It 's 1\xa01/2 hours ")
    ('it', "'s", '1\xa01/2', 'hours')
    """
    return tuple(token for token in text.lower().split(" ") if token)


@dataclass(frozen=True)
class Text:
    """A tokenised text with its class.

    Attributes:
        tokens: the tokens, at least one.
        target: number of the class.
        readings: the readings of the truth, by name, with a value for each token.

    Raises:
        DataError: the text has no tokens, or a reading does not have one value for each token.
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
        """The text truncated to its first ``steps`` tokens."""
        readings = {name: values[:steps] for name, values in self.readings.items()}
        return Text(self.tokens[:steps], self.target, readings)


@dataclass(frozen=True)
class Vocabulary:
    """The known tokens and their numbers.

    Attributes:
        tokens: the tokens by number; the first two are padding and the unknown token.
    """

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[Text], size: int, least: int) -> Vocabulary:
        """The vocabulary of the most frequent tokens of some texts; ties are sorted alphabetically.

        Args:
            texts: the training texts.
            size: the largest number of tokens, without padding and the unknown token.
            least: the least number of occurrences of a token.
        """
        counts = collections.Counter(token for text in texts for token in text.tokens)
        # a text may contain these as ordinary words, which must not be confused with the special tokens
        del counts[PADDING], counts[UNKNOWN]
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        return cls((PADDING, UNKNOWN, *(token for token in ordered[:size] if counts[token] >= least)))

    @property
    def unknown(self) -> int:
        """The number of the unknown token."""
        return self.tokens.index(UNKNOWN)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens) if token != PADDING}

    def numbers(self, tokens: Sequence[str]) -> Tensor:
        """The numbers int64[T] of tokens."""
        return torch.tensor([self._numbers.get(token, self.unknown) for token in tokens])

    def batch(self, texts: Sequence[Text]) -> Batch:
        """A batch of texts, tokens int64[B, T] and classes int64[B], without truths."""
        rows = [self.numbers(text.tokens) for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        return Batch(padded(rows), lengths, torch.tensor([text.target for text in texts]))


def readings(texts: Sequence[Text], name: str) -> Tensor:
    """The values float[B, T] of one reading of the truth, 0 on padding."""
    return padded([torch.tensor(text.readings[name], dtype=torch.float32) for text in texts])


def word_dropout(batch: Batch, unknown: int, share: float, rng: torch.Generator) -> Batch:
    """The batch with each token replaced by the unknown token with probability ``share``, independently."""
    chosen = (torch.rand(batch.inputs.shape, generator=rng) < share) & batch.valid
    return dataclasses.replace(batch, inputs=batch.inputs.masked_fill(chosen, unknown))
