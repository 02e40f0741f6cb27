"""Origin of a model, as stored in results, and the switch that forces models to be trained anew."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN: Final = "given"  # weights set by hand, or a user's own module
PUBLISHED: Final = "published"  # see :mod:`xrnnbench.tasks.models.published`
TRAINED: Final = "trained"  # now or earlier, on this machine; a reason follows where another model is published
ANEW: Final = "trained anew"  # inside :func:`trained_anew`

_anew: ContextVar[bool] = ContextVar("_anew", default=False)


@contextmanager
def trained_anew() -> Iterator[None]:
    """Context in which models are trained even if they are published or in the cache."""
    token = _anew.set(True)
    try:
        yield
    finally:
        _anew.reset(token)


def anew() -> bool:
    """Whether the code runs inside :func:`trained_anew`."""
    return _anew.get()
