r"""Escaping of any text for Markdown, so that it is shown as it is: no tag, link, picture, emphasis, table or heading.

Names come from plug-ins, from data and from other people's runs, and may hold any character. A character is escaped
only where it would act, so that ordinary names are written as they are. What GitHub adds to CommonMark counts too:
tables, struck-out text, mathematics, and addresses that become links without any markup.
"""

from __future__ import annotations

import re
from typing import Final

from ...visible_text import visible_line

_ACTIVE: Final = re.compile(
    r"(?P<marked>\\(?=[!-/:-@\[-`{-~]|$)|[`*\[$~]|(?<![^\W_])_|_(?![^\W_]))"
    r"|(?P<entity><|&(?=#?\w+;)|(?<=\w):(?=//)|(?<=www)\.|@(?=\w))",
    re.IGNORECASE,
)
# What makes a block of a line that begins with it; asterisks, backticks and tildes are escaped everywhere.
_BLOCK: Final = re.compile(r"\A(?:(?P<number>\d{1,9})(?=[.)](?:\s|$))|(?=[-+](?:\s|$)|#{1,6}(?:\s|$)|>|[-=|: ]+$))")
_ENTITIES: Final = {"<": "&lt;", "&": "&amp;", ":": "&#58;", ".": "&#46;", "@": "&#64;"}
_CLOSING: Final = re.compile(r"(?<= )#(?=#*\s*$)")


def escape(text: str) -> str:
    r"""Return a text for the middle of a line.

    >>> print(escape("a_b of [x](javascript:y) <b> & _c_"))
    a_b of \[x](javascript:y) &lt;b> & \_c\_
    """
    return _ACTIVE.sub(_mark, visible_line(text))


def escape_start(text: str) -> str:
    r"""Return a text for the beginning of a line, of which it makes no block.

    >>> [escape_start(text) for text in ("# no heading", "1. no item", "-0.5 ")]
    ['\\# no heading', '1\\. no item', '-0.5 ']
    """
    return _BLOCK.sub(lambda match: f"{match['number'] or ''}\\", escape(text).lstrip(), count=1)


def escape_line(text: str) -> str:
    """Return a text for a line of its own, such as a heading, which signs at its end would close."""
    return _CLOSING.sub(r"\#", escape_start(text).rstrip())


def escape_cell(text: str) -> str:
    r"""Return a text for a cell of a table, which a bar would end.

    >>> escape_cell("a|b")
    'a\\|b'
    """
    return escape(text).replace("|", "\\|")


def code(text: str) -> str:
    """Return literal text, in backticks that are longer than any in it.

    >>> code("a"), code("`a` and ``b``")
    ('`a`', '``` `a` and ``b`` ```')
    """
    line = visible_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " if "`" in line or line != line.strip() else ""
    return f"{fence}{room}{line}{room}{fence}"


def _mark(match: re.Match[str]) -> str:
    """Return a character that acts with a backslash, or as an entity where a backslash does not help."""
    return f"\\{match[0]}" if match["marked"] else _ENTITIES[match[0]]
