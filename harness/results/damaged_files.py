"""Files that were put aside because they are damaged: the folder ``damaged`` of a run.

A file keeps the path that it had, and gets the reason in a word before its ending:
``damaged/<task>/<method>/seed-0-0.changed.json``. Nothing reads the folder; it may be deleted at any time.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FOLDER: Final = "damaged"


def put_aside(folder: Path, files: Iterable[str], word: str) -> list[str]:
    """Move files into the folder for damaged ones.

    Args:
        folder: the folder of the run.
        files: their paths in it; one that is not there is left out.
        word: the reason.

    Returns:
        their new paths in the folder of the run.

    Raises:
        OSError: one cannot be moved.
    """
    moved = []
    for file in files:
        source = folder / file
        if not (source.is_symlink() or source.exists()):
            continue
        target = _free(folder / FOLDER / file.removeprefix("cells/"), word)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        moved.append(str(target.relative_to(folder)))
    return moved


def _free(path: Path, word: str) -> Path:
    """A path of no file, with the reason in its name, and a number from the second on."""
    for number in itertools.count(1):
        reason = word if number == 1 else f"{word}-{number}"
        target = path.with_name(f"{path.stem}.{reason}{path.suffix}")
        if not (target.is_symlink() or target.exists()):
            return target
    raise AssertionError  # unreachable: the numbers do not end
