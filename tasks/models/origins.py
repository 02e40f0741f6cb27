"""Where a model is from, in the words that results carry, and whether models are to be trained anew."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN: Final = "given"  # weights set by hand, or somebody's own module
PUBLISHED: Final = "published"  # see :mod:`xrnnbench.tasks.models.published`
TRAINED: Final = "trained"  # here, or on another day; more words say why, where another is published
ANEW: Final = "trained anew"  # because that was asked for

_anew: ContextVar[bool] = ContextVar("_anew", default=False)


@contextmanager
def trained_anew() -> Iterator[None]:
    """Inside, models are trained: neither published ones are taken nor those in the cache."""
    token = _anew.set(True)
    try:
        yield
    finally:
        _anew.reset(token)


def anew() -> bool:
    """Whether models are to be trained anew."""
    return _anew.get()
