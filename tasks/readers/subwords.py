"""Subwords: words as the pieces that a text has often, so that a small vocabulary leaves no word out.

Byte-pair encoding (Sennrich, Haddow & Birch 2016) over the characters of words and of single punctuation marks, learnt
from a text alone: the same text and size give the same pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN: Final = "<unk>"
# What stands for the space before a word: each word begins with it.
_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"


@dataclass(frozen=True, eq=False)
class Subwords:
    """The pieces of a text; made by :func:`learnt`.

    Attributes:
        vocabulary: the pieces by number, special ones first; a piece that begins a word begins with "▁".
    """

    vocabulary: tuple[str, ...]
    _tokenizer: Any

    def encoded(self, lines: Sequence[str]) -> list[list[int]]:
        """The numbers of the pieces of each line. A character the text never had is :data:`UNKNOWN`."""
        return [list(found.ids) for found in self._tokenizer.encode_batch(list(lines), add_special_tokens=False)]

    def decoded(self, numbers: Sequence[int]) -> str:
        """The line with these pieces: :meth:`encoded` undone, up to spaces around it and unknown characters."""
        return joined(numbers, self.vocabulary)

    def words(self, numbers: Sequence[int]) -> list[int]:
        """Which word each piece belongs to, counting from 0; words are what single spaces part."""
        found, word = [], -1
        for number in numbers:
            word += self.vocabulary[number].startswith(_SPACE)
            found.append(max(word, 0))
        return found


def joined(numbers: Sequence[int], vocabulary: Sequence[str]) -> str:
    """The line with these pieces of a vocabulary."""
    return "".join(vocabulary[number] for number in numbers).replace(_SPACE, " ").strip()


def learnt(lines: Sequence[str], size: int, special: Sequence[str] = (UNKNOWN,), task: str = "subwords") -> Subwords:
    """The pieces of a text.

    Args:
        lines: the text.
        size: how many pieces at most, special ones included.
        special: pieces with a meaning of their own, numbered from 0; :data:`UNKNOWN` is among them. Text that looks
            like one is read as text.
        task: whose pieces they are, for messages.

    Raises:
        DataError: the package is not installed, or the size has no room for the characters of the text.
    """
    try:
        import tokenizers  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise DataError(f"Task {task!r} needs the extra 'data': pip install 'xrnnbench[data]'.") from error
    characters = {character for line in lines for character in line if character != " "} | {_SPACE}
    if size < len(characters) + len(special):
        raise DataError(
            f"Task {task!r}: a vocabulary of {size} pieces has no room for the {len(characters)} characters of the "
            f"text and {len(special)} special pieces: ask for more."
        )
    found = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=UNKNOWN))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always"),
            tokenizers.pre_tokenizers.Punctuation("isolated"),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False)
    found.train_from_iterator(lines, trainer)
    found.encode_special_tokens = True
    numbered = found.get_vocab()
    return Subwords(tuple(sorted(numbered, key=lambda piece: numbered[piece])), found)
