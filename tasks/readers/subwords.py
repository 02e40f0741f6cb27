"""Subword tokenisation by byte-pair encoding, which covers every word with a small vocabulary.

The encoding is learnt over the characters of words and of single punctuation marks. It is deterministic: the same text
and size give the same pieces.

Source: Sennrich, Haddow & Birch 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN: Final = "<unk>"
# Replacement of the space before a word; the first piece of each word begins with it.
_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"


@dataclass(frozen=True, eq=False)
class Subwords:
    """Subword vocabulary with its tokenizer; made by :func:`learn`.

    Attributes:
        vocabulary: pieces by number, special pieces first; a piece at the start of a word begins with "▁".
    """

    vocabulary: tuple[str, ...]
    _tokenizer: Any

    def encoded(self, lines: Sequence[str]) -> list[list[int]]:
        """Numbers of the pieces of each line; characters that the training text lacks become :data:`UNKNOWN`."""
        return [list(encoding.ids) for encoding in self._tokenizer.encode_batch(list(lines), add_special_tokens=False)]

    def decoded(self, numbers: Sequence[int]) -> str:
        """Line of the given pieces: the inverse of :meth:`encoded`, up to outer spaces and unknown characters."""
        return join(numbers, self.vocabulary)

    def words(self, numbers: Sequence[int]) -> list[int]:
        """Index of the word of each piece, from 0; words are separated by single spaces."""
        indices, word = [], -1
        for number in numbers:
            word += self.vocabulary[number].startswith(_SPACE)
            indices.append(max(word, 0))
        return indices


def join(numbers: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Line of the given pieces of a vocabulary."""
    return "".join(vocabulary[number] for number in numbers).replace(_SPACE, " ").strip()


def learn(lines: Sequence[str], size: int, special: Sequence[str] = (UNKNOWN,), task: str = "subwords") -> Subwords:
    """Learn a subword vocabulary from a text.

    Args:
        lines: lines of the text.
        size: the largest number of pieces, special ones included.
        special: special pieces, numbered from 0; :data:`UNKNOWN` is among them. Text that looks like a special piece is
            encoded as ordinary text.
        task: name of the task, for error messages.

    Raises:
        DataError: the package tokenizers is not installed, or the size is too small for the characters of the text.
    """
    try:
        import tokenizers  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise DataError(f"Task {task!r} needs the extra 'data': pip install 'xrnnbench[data]'.") from error
    characters = {character for line in lines for character in line if character != " "} | {_SPACE}
    if size < len(characters) + len(special):
        raise DataError(
            f"Task {task!r}: a vocabulary of {size} pieces has no room for the {len(characters)} characters of the "
            f"text and {len(special)} special pieces: raise it."
        )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always"),
            tokenizers.pre_tokenizers.Punctuation("isolated"),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.encode_special_tokens = True
    index_of = tokenizer.get_vocab()
    return Subwords(tuple(sorted(index_of, key=lambda piece: index_of[piece])), tokenizer)
