"""Explanation of one cell: the attribution with its cost, time and memory, or the failure of the method."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ....errors import CompletenessWarning, XrnnbenchWarning
from ....fingerprints import seed_from
from ....tasks.engine.isolation import same_randomness, seed_generators
from ...results.cell_checks import array_hash
from ...results.cells import Cell, Measured, Passes
from ...results.provenance import now, origin
from ..guard.failures import failure_of, stored_text
from ..guard.limits import UNLIMITED
from .time_and_memory import measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ....methods.base import Explainer
    from ....tasks.data.batch import Batch
    from ...results.cells import Failure, Fingerprints, Key
    from ..guard.limits import Limits
    from .build_model import Model


def explainer_seed(key: Key) -> int:
    """Seed from 0 to 2³² − 1 that a method receives: different for each cell, the same in every run."""
    parts = (key.task.spec, key.method.spec, key.model_seed, key.explainer_seed)
    # NumPy's and scikit-learn's generators take 32 bits
    return seed_from(*parts) % 2**32


def explain_cell(
    key: Key, method: Explainer, model: Model, limits: Limits = UNLIMITED
) -> tuple[Cell, dict[str, Any] | None]:
    """Explain a model by a method.

    Args:
        key: the cell.
        method: the method.
        model: the model.
        limits: limits of time and memory.

    Returns:
        the cell, and its arrays if there is an attribution: attribution, target int64[B], lengths int64[B], and empty
        scores; None instead of arrays if the method is not applicable or failed.
    """
    subject, who = model.subject, f"Method {method.name!r}"
    try:
        with model.state.call((method,), limits), same_randomness():
            seed_generators(explainer_seed(key))
            if reason := method.applicable(subject):
                return _cell(
                    key, model, status="not applicable", reason=stored_text(reason, f"{who}: applicable()")
                ), None
            # costs that occur once in a process, such as an import, are no cost of this attribution
            method.prepare()
            before = subject.cost.copy()
            with measured() as effort, _said() as sentences:
                attribution = method.explain(subject, explainer_seed(key))
            cost = subject.cost.since(before)
            values = with_gaps(attribution.values, subject.batch).cpu().numpy()
            lengths = subject.batch.lengths.cpu().numpy()
    except Exception as error:  # noqa: BLE001  # whatever a plug-in raises fails its cell
        return failed_cell(key, failure_of(error), model), None
    hashes = {"attribution": array_hash(values), "lengths": array_hash(lengths)}
    cell = _cell(
        key,
        model,
        status="explained",
        signed=attribution.signed,
        complete=attribution.complete,
        caveats=(*subject.caveats, *sentences),
        incomplete=0 if method.group == "control" else int(attribution.incomplete.sum()),
        fingerprints=model.fingerprints.model_copy(update=hashes),
        passes=Passes(forward=cost.forward, backward=cost.backward, executed=cost.executed),
        measured=Measured(
            date=now(), origin=_origin(model), seconds=effort.seconds, peak_bytes=effort.peak_bytes, device=model.device
        ),
    )
    no_scores = np.empty((0, len(subject)))
    arrays = {"attribution": values, "target": subject.target.numpy().copy(), "lengths": lengths.copy()}
    return cell, arrays | {"scores": no_scores, "measured": no_scores}


def with_gaps(values: Tensor, batch: Batch) -> Tensor:
    """An attribution as it is stored: NaN where several inputs leave the layout empty, which 0 would not tell."""
    if batch.mask is None:
        return values
    return values.masked_fill(~(batch.valid if values.dim() == 2 else batch.mask), torch.nan)  # [B, S] of steps


@contextmanager
def _said() -> Iterator[list[str]]:
    """Context that collects the warnings of a method for the cell; that about completeness is a number of the cell.

    Warnings of others are given again afterwards.
    """
    sentences: list[str] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as recorded:
            caught = recorded
            warnings.simplefilter("always", XrnnbenchWarning)
            yield sentences
    finally:
        for each in caught:
            if not issubclass(each.category, XrnnbenchWarning):
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
            elif not issubclass(each.category, CompletenessWarning):
                sentences.append(stored_text(str(each.message), "A warning"))


def failed_cell(
    key: Key, failure: Failure, model: Model | None = None, *, fingerprints: Fingerprints | None = None
) -> Cell:
    """Cell of a method that failed, or whose model could not be built.

    Args:
        key: the cell.
        failure: the failure.
        model: the model; None if there is none here.
        fingerprints: of a model that was made in another process.
    """
    content = {"fingerprints": fingerprints} if fingerprints is not None else {}
    return _cell(key, model, status="failed", failure=failure, **content)


def _cell(key: Key, model: Model | None, **content: Any) -> Cell:  # noqa: ANN401  # the fields of Cell, which checks them
    """Cell with this content; the model adds its fingerprints, competence and origin."""
    if model is not None:
        subject = model.subject
        model_facts = {
            "competence": model.competence,
            "model_origin": subject.model_origin,
            "caveats": subject.caveats,
            "quality": model.quality,
            "ids": subject.batch.ids,
        }
        content = {"fingerprints": model.fingerprints, **model_facts, **content}
    return Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=key.explainer_seed,
        **{"measured": Measured(date=now(), origin=_origin(model), device=model.device if model else ""), **content},
    )


def _origin(model: Model | None) -> str:
    """Description of the code that ran and, if there is a model, of the device and the threads it ran on."""
    if model is None:
        return origin()
    plural = "" if model.threads == 1 else "s"
    return f"{origin()}, {model.device}, {model.threads} thread{plural}"
