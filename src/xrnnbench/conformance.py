"""What a conformance kit finds: one line for each promise of a plug-in's contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One promise, and whether it was kept.

    Attributes:
        check: what was promised, in a few words: ``"trained twice to the bit"``.
        passed: whether it held.
        detail: what was seen; where it did not hold, what was expected as well.
    """

    check: str
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        """``passed  check: detail``, as the command line prints it."""
        line = f"{'passed' if self.passed else 'FAILED'}  {self.check}"
        return f"{line}: {self.detail}" if self.detail else line
