"""Seals: the last entry of a JSON file of a run is the checksum of all that stands before it.

A seal shows that a file is as xrnnbench wrote it: neither damaged nor edited. It has no key. Whoever computes the
checksum anew after an edit is not found out, and need not be: such a person could have written any file.

Whitespace between the entries may change, and line ends too, as editors and version control change them: then the
content is written again as it was written first, and that has the checksum.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SEAL = re.compile(rb',\n "checksum": "([0-9a-f]{64})"\n}\n\Z')
# Bytes at the end of a file that hold its seal.
_LENGTH = 96
_NAME = "checksum"


class SealError(ValueError):
    """A file is not as it was written."""


def json_text(content: Mapping[str, Any]) -> bytes:
    """JSON of a cell or a run, without its seal."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def sealed(text: bytes) -> bytes:
    """JSON of an object with its seal."""
    entries = _entries(text)
    return b"".join((entries, b',\n "checksum": "', _digest(entries), b'"\n}\n'))


def opened(text: bytes, written: Callable[[Mapping[str, Any]], bytes] = json_text) -> tuple[bytes, bool]:
    """Content of a file without its seal, and whether it has one; files of earlier versions have none.

    Args:
        text: the bytes of the file.
        written: writes its content, without the seal, as it was written first.

    Raises:
        SealError: the seal is not that of the content.
        ValueError: the file is not the JSON of an object.
    """
    match = _SEAL.search(text, max(0, len(text) - _LENGTH))
    if match is not None and _digest(entries := text[: match.start()]) == match[1]:
        return entries + b"\n}\n", True
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(content, dict):
        raise ValueError("no object")  # noqa: TRY004  # of the file, not of an argument
    if _NAME not in content:
        return text, False
    checksum = content.pop(_NAME)
    again = written(content)
    if not isinstance(checksum, str) or _digest(_entries(again)).decode() != checksum:
        raise SealError("it was changed after it was written: its checksum is that of other content")
    return again, True


def _entries(text: bytes) -> bytes:
    """An object without its closing brace."""
    return text.rstrip()[:-1].rstrip()


def _digest(entries: bytes) -> bytes:
    return hashlib.sha256(entries).hexdigest().encode()
