"""Notices about stored results: what was left out, in a few lines, however much it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Names in a sentence, and sentences of one command.
_NAMES, _SENTENCES = 3, 5


def shortened(names: Sequence[str]) -> str:
    """The first names of a list, and how many there are more."""
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def few(notices: Iterable[str], folder: str) -> list[str]:
    """The first notices, each once, and how many there are more.

    Args:
        notices: the notices.
        folder: of the results that they are about.
    """
    different = list(dict.fromkeys(notices))
    more = len(different) - _SENTENCES
    if more <= 0:
        return different
    return [*different[:_SENTENCES], f"There are {more} more of these; 'xrnnbench doctor {folder}' lists them all."]
