"""Texts of limits, such as ``10 min`` and ``4 GB``, read as seconds and bytes."""

from __future__ import annotations

import re
from typing import Final

from ...errors import UsageError

NONE: Final = "none"
TIME_EXAMPLES: Final = '"600" (seconds), "10 min", "1 h" or "none"'
MEMORY_EXAMPLES: Final = '"4 GB", "500 MiB" or "none"'
_SECONDS: Final = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip
_BYTES: Final = {
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"\s*(?P<number>\d{1,15}(\.\d{1,9})?)\s*(?P<unit>[a-z]*)\s*", re.IGNORECASE | re.ASCII)


def seconds_of(text: str, origin: str) -> float | None:
    """Seconds of a time limit; None if the text is ``none``.

    Args:
        text: a number above 0 with ``s``, ``min``, ``h`` or ``d``; seconds without a unit.
        origin: the option or key it comes from, for the error message.

    Raises:
        UsageError: the text is no time.

    >>> seconds_of("10 min", "--time-limit")
    600.0
    """
    seconds = _quantity(text, _SECONDS)
    if seconds == 0:
        raise UsageError(f"{origin} {text!r} is no time limit: write a time above 0, such as {TIME_EXAMPLES}.")
    return seconds or None


def bytes_of(text: str, origin: str) -> int | None:
    """Bytes of a memory limit; None if the text is ``none``.

    Args:
        text: a number above 0 with ``kB``, ``MB``, ``GB``, ``TB`` (powers of 1000) or ``KiB``, ``MiB``, ``GiB``,
            ``TiB`` (powers of 1024), in letters of any case.
        origin: the option or key it comes from, for the error message.

    Raises:
        UsageError: the text is no size.

    >>> bytes_of("500 MiB", "--memory-limit")
    524288000
    """
    size = _quantity(text, _BYTES)
    if size is not None and size < 1:
        raise UsageError(
            f"{origin} {text!r} is no memory limit: write a size with its unit, such as {MEMORY_EXAMPLES}."
        )
    return None if size is None else int(size)


def _quantity(text: str, units: dict[str, float] | dict[str, int]) -> float | None:
    """A number times its unit; None for ``none``, and 0 for what is no such text."""
    if text.strip().lower() == NONE:
        return None
    found = _QUANTITY.fullmatch(text)
    unit = units.get(found["unit"].lower()) if found else None
    return 0 if found is None or unit is None else float(found["number"]) * unit
