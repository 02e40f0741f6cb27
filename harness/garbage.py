"""Making many small objects without looking for cycles among them again and again."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """What is made here has no cycles: the interpreter need not go through all objects there are to look for some.

    It does so whenever many were made, which took a fifth of the time of a board of 10,000 cells. Objects nothing
    refers to are freed all the same. Also a decorator.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
