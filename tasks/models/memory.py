"""How much memory something took at most."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESS = Path("/proc/self")


@dataclass
class Peak:
    """What :func:`peak_memory` found.

    Attributes:
        peak_bytes: how far the process's memory rose above its start; 0 where the platform cannot tell.
    """

    peak_bytes: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Inside, memory is watched; afterwards the :class:`Peak` knows how far it rose.

    Linux keeps the highest resident size of a process and lets it be set back; nothing is sampled, so nothing is
    missed and nothing is slowed down. Elsewhere the answer is 0. Uses do not nest: the inner sets the outer back.
    """
    peak = Peak()
    with contextlib.suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    start = _resident("VmRSS")
    try:
        yield peak
    finally:
        peak.peak_bytes = max(_resident("VmHWM") - start, 0)


def _resident(entry: str) -> int:
    try:
        lines = (_PROCESS / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    found = next((line.split()[1] for line in lines if line.startswith(f"{entry}:")), "0")
    return int(found) * 1024
