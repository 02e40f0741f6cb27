r"""Text from elsewhere as it may be shown: names, tokens and messages without characters that act and are not read.

A terminal obeys control characters: it clears lines, changes titles and follows links. Other characters reverse the
order of what stands around them, or cannot be seen at all, so that two names look the same. All of them are shown as
escapes, such as ``\x1b`` and ``\u202e``. Two invisible characters are needed to write some languages and emoji: the
joiner and the non-joiner stay between two characters that are not ASCII.
"""

from __future__ import annotations

import re
from typing import Final

# Control characters but tab and line feed; soft hyphen, direction marks, overrides and isolates, invisible spaces and
# operators, separators of lines, annotations, halves of surrogate pairs, and tags.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e00ff]"
    "|(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\u200c\u200d])"
)
_SPACES: Final = re.compile("[ \t\n\v\f\r\x85\u2028\u2029]+")


def visible(text: str) -> str:
    r"""Text with an escape for each character that acts or is not seen; tabs and line feeds stay.

    >>> print(visible("red\x1b[31m, and \u202eback"))
    red\x1b[31m, and \u202eback
    """
    # most texts are printable, which is known at once
    return text if text.isprintable() else _UNSEEN.sub(_escape, text.replace("\r\n", "\n"))


def visible_line(text: str) -> str:
    """Text as :func:`visible` shows it, in one line: line breaks and tabs, with the spaces around, become a space."""
    return text if text.isprintable() else visible(_SPACES.sub(_one_space, text))


def visible_json(text: str) -> str:
    r"""JSON with an escape of JSON for each character that acts or is not seen; it has the same values.

    >>> print(visible_json('{"name": "\u202eback"}'))
    {"name": "\u202eback"}
    """
    return _UNSEEN.sub(_json_escape, text)


def _one_space(match: re.Match[str]) -> str:
    """A space in the place of line breaks and tabs with the spaces around; spaces alone as they are."""
    return " " if match[0].strip(" ") else match[0]


def _escape(match: re.Match[str]) -> str:
    """Escape of one character, as Python writes it."""
    number = ord(match[0])
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _json_escape(match: re.Match[str]) -> str:
    """Escape of one character, as JSON writes it: a pair of surrogates beyond the first 65,536."""
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
