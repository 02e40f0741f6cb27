"""Numbers and texts of data files: numbers in ASCII digits that fit float32, and texts as messages show them."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

# The largest number of float32, in which models compute.
LARGEST: Final = float(np.finfo(np.float32).max)

# Python would also read underscores and the digits of other scripts, which in a data file are damage.
_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_OTHER: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
# Most characters of a text that a message shows.
_SHOWN: Final = 60


def is_number(text: str) -> bool:
    """Whether a text is a number, NaN and infinity included."""
    return bool(_NUMBER.fullmatch(text) or _OTHER.fullmatch(text))


def whole(text: str) -> int | None:
    """Whole number from 0, of at most 15 digits; None if the text is none."""
    return int(text) if _WHOLE.fullmatch(text) else None


def finite(text: str) -> float:
    """Finite number within float32.

    Raises:
        ValueError: it is none; the message completes the sentence "line 7 holds '1e400', which …".
    """
    if not is_number(text):
        raise ValueError("is no number")
    value = float(text)
    if not np.isfinite(value) and _OTHER.fullmatch(text):
        raise ValueError("is not finite")
    if abs(value) > LARGEST:
        raise ValueError(f"is too large: numbers go up to {LARGEST:.1e}")
    return value


def shown(text: str) -> str:
    """A text as a message shows it: in quotes and on one line, and only its beginning if it is long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def is_text(text: str) -> bool:
    """Whether a text can be written in UTF-8: halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def reason(error: BaseException, most: int = 80) -> str:
    """Message of a library's error on one line, without its point, and only its beginning; its kind if it has none."""
    return " ".join(str(error).split()).rstrip(".")[:most] or type(error).__name__
