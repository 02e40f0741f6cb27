"""Errors of propagation methods that end with the methods that do work: each was tried on the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...errors import UnsupportedModelError
from .decomposition import decompose
from .relevance import Shares, relevances
from .rescale import multipliers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tasks.subject import Subject


def advised(error: UnsupportedModelError, subject: Subject, method: str) -> UnsupportedModelError:
    """Error of a method with the names of those that explain the same subject.

    Args:
        error: says what the method cannot do; its message is one sentence.
        subject: the subject of the method.
        method: name of the method.
    """
    names = [*working(subject, method), "occlusion"]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return UnsupportedModelError(f"{str(error).removesuffix('.')}; use {listed}.")


def working(subject: Subject, but: str = "") -> list[str]:
    """Names of the methods by gradients and propagation that explain the first sequence of a subject.

    Args:
        subject: the model and the batch; its cost is not changed.
        but: name of a method that is not tried.
    """
    if subject.scripted or not subject.differentiable:
        return []
    view = subject.select(slice(0, 1)).continuous()
    return [name for name, trial in _TRIALS.items() if name != but and _works(trial, view)]


def _works(trial: Callable[[Subject], None], view: Subject) -> bool:
    """Whether a trial raises no error; a user's module may raise any."""
    try:
        trial(view)
    except Exception:  # noqa: BLE001  # whatever it is, the method does not work on this model
        return False
    return True


def _try_deeplift(view: Subject) -> None:
    for _, score in view.scorers():
        multipliers(score, view.batch.inputs, view.reference, (view.score, view.reference_score))


def _try_lrp(view: Subject) -> None:
    for _, score in view.scorers():
        relevances(score, view.batch.inputs, Shares(), view.score)


def _try_decomposition(view: Subject) -> None:
    for _, score in view.scorers():
        decompose(score, view.batch.inputs, torch.ones_like(view.batch.inputs[..., 0], dtype=torch.bool), view.score)


def _try_gradients(view: Subject) -> None:
    """One gradient; a model that reads categories has none that means anything.

    Raises:
        UnsupportedModelError: there is no finite gradient.
    """
    if view.categories or not bool(view.gradients(view.batch.inputs)[1].isfinite().all()):
        raise UnsupportedModelError("The model has no finite gradient.")


_TRIALS: dict[str, Callable[[Subject], None]] = {
    "deeplift": _try_deeplift,
    "lrp": _try_lrp,
    "contextual-decomposition": _try_decomposition,
    "integrated-gradients": _try_gradients,
}
