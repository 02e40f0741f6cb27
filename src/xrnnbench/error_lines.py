"""Messages of foreign exceptions as printable lines: what a terminal or a file cannot take is written as its escape.

Names and tokens, which people read in many scripts, are shown by :mod:`.visible_text`, which escapes less.
"""

from __future__ import annotations

from typing import Final

_LONGEST_SENTENCE: Final = 500
# Characters of a message that are looked at for its sentence: more than a sentence takes, for white space is joined.
_LONGEST_LOOK: Final = 10_000
_LONGEST_KIND: Final = 100


def one_line(text: str) -> str:
    r"""A foreign text as one printable line of at most 500 characters.

    >>> one_line("two\nlines")
    'two lines'
    """
    line = printable(" ".join(text[:_LONGEST_LOOK].split()))
    cut = len(line) > _LONGEST_SENTENCE or len(text) > _LONGEST_LOOK
    return f"{line[:_LONGEST_SENTENCE]} …" if cut else line


def error_line(error: BaseException) -> str:
    r"""Kind and message of any exception as one printable line, whatever its class does when it is asked.

    >>> error_line(ValueError("two\nlines"))
    'ValueError: two lines'
    """
    kind = printable(str(type.__dict__["__name__"].__get__(type(error)))[:_LONGEST_KIND])
    try:
        message = one_line(str.__str__(str(error)))
    except BaseException:  # noqa: BLE001  # a foreign __str__ may exit, too
        message = "its message cannot be shown"
    return f"{kind}: {message}" if message else kind


def printable(text: str) -> str:
    r"""A text with escapes for what cannot be printed, such as NUL, control characters and lone surrogates.

    Line breaks and tabs stay as they are.

    >>> printable("bell \x07")
    'bell \\x07'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
