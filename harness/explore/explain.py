"""Explanation of a user's own module by one call, without a task, a suite or a folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import DataError, UsageError
from ...plugins import Plugin, build
from ...tasks.custom.arrays import (
    background_from,
    context_from,
    inputs_from,
    lengths_from,
    model_from,
    reference_from,
    targets_from,
)
from ...tasks.data.batch import Batch, Outputs
from ...tasks.engine.adapters import AdaptedModel, PredictFunction
from ...tasks.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from ...methods.base import Attribution, Explainer


def explain(  # noqa: PLR0913, PLR0917  # one argument for each plain thing a user may have
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None = None,
    method: str | Explainer = "deeplift",
    target: int | ArrayLike | Tensor | None = None,
    reference: ArrayLike | Tensor | None = None,
    seed: int = 0,
    background: Batch | ArrayLike | Tensor | None = None,
    outputs: Outputs = "logits",
    targets: ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    part: int | str | None = None,
    *,
    batch_first: bool = True,
) -> Attribution:
    """Attribution of a model's outputs to the steps or features of sequences.

    All arguments are copied and never changed.

    Args:
        model: any module that takes (inputs) or (inputs, lengths) and returns scores float[B, K] or float[B]; or such a
            function of arrays, which only methods without gradients can explain.
        inputs: int64[B, T] tokens or float[B, T, D] features; features are brought to the type of the model's weights.
        lengths: int64[B]; by default all sequences have T steps.
        method: a method or its spec, such as ``"integrated-gradients:steps=64"``.
        target: index of the explained output, one for all or int64[B]; by default the predicted class, or output 0.
        reference: values of removed features, of any shape that broadcasts to that of the inputs; by default zeros, or
            for tokens the padding token.
        seed: seed of methods that draw random numbers.
        background: other sequences like the inputs, for methods that draw replacements from them.
        outputs: whether the model returns ``"logits"``, ``"probabilities"`` or ``"values"`` (regression).
        targets: correct outputs, classes int64[B] or values float[B, K], for methods that measure the quality of the
            model.
        context: further inputs of the model, arrays [B, …] by the name of forward's parameter, which are not perturbed.
            A second sequence, such as the output of a decoder so far, is context.
        step: index of the explained output step, one for all or int64[B], for a model that returns scores
            float[B, U, K].
        part: index or key of the scores in the outputs of a model that returns a tuple or a mapping.
        batch_first: whether the model takes [B, T, …]; if not, inputs are handed to it as [T, B, …].

    Returns:
        values float[B, T] or float[B, T, D], 0 beyond each sequence's length.

    Raises:
        DataError: the inputs, the target or the model's outputs do not fit each other.
        UsageError: there is no such method, or it cannot explain this model.
        UnsupportedModelError: the method has no exact answer for this model.
        ContractError: the method or the model broke its contract.
    """
    model = model_from(model, _name(model), part=part, batch_first=batch_first, steps=step is not None)
    subject = subject_of(model, inputs, lengths, target, reference, background, outputs, targets, context, step)
    return explain_subject(subject, method, seed, targets=targets is not None)


def explain_subject(subject: Subject, method: str | Explainer, seed: int, *, targets: bool = True) -> Attribution:
    """Attribution of a subject by one method.

    Args:
        subject: the subject to explain.
        method: a method or its spec.
        seed: seed of methods that draw random numbers.
        targets: whether the targets of the batch are known, and not only placeholders.

    Raises:
        UsageError: there is no such method, or it cannot explain this subject.
    """
    if not isinstance(method, (str, Plugin)):
        raise UsageError(
            f"The method is a {type(method).__name__}: give its name, such as 'occlusion', or an instance."
        )
    explainer = cast("Explainer", build("method", method))
    if "targets" in explainer.needs and not targets:
        raise UsageError(
            f"{explainer.name!r} measures the quality of the model, which needs the correct outputs: give targets."
        )
    if reason := explainer.applicable(subject):
        raise UsageError(f"{explainer.name!r} cannot explain {subject.label}: {reason}.")
    return explainer.explain(subject, seed)


def subject_of(  # noqa: PLR0913, PLR0917  # as above
    model: nn.Module,
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None = None,
    target: int | ArrayLike | Tensor | None = None,
    reference: ArrayLike | Tensor | None = None,
    background: Batch | ArrayLike | Tensor | None = None,
    outputs: Outputs = "logits",
    targets: ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
) -> Subject:
    """Subject of a user's module and data, whose model was run once; arguments as in :func:`explain`.

    Raises:
        DataError: the module and the data do not fit each other.
    """
    if outputs not in get_args(Outputs):
        raise DataError(
            f"outputs={outputs!r} is none of {', '.join(map(repr, get_args(Outputs)))}: choose one of them."
        )
    values = inputs_from(inputs, model)
    # zeros are placeholders for missing targets; `explain_subject` refuses methods that would read them
    correct = torch.zeros(values.shape[:1], dtype=torch.int64) if targets is None else targets_from(targets, outputs)
    batch = Batch(values, lengths_from(lengths, values), correct, {}, context_from(context, step, len(values), model))
    subject = Subject(
        model,
        batch,
        _reference(reference, values, model),
        target=_target(target, len(batch)),  # type: ignore[arg-type]  # None asks for the prediction
        background=_background(background, values, model),
        outputs_are=outputs,
        label=_name(model),
    ).check()
    _check_outputs(subject, known=targets is not None)
    return subject


def _name(model: object) -> str:
    """Name of a model in messages: that of its class, or of its function."""
    while isinstance(model, AdaptedModel):
        model = model.model
    return model.label if isinstance(model, PredictFunction) else getattr(model, "__name__", type(model).__name__)


def _reference(reference: ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Tensor:
    """Reference as a tensor; tokens must be whole numbers, and features must be numbers."""
    tensor = reference_from(reference, inputs, model)
    if reference is None:
        return tensor
    kind = (reference if isinstance(reference, Tensor) else torch.from_numpy(np.array(reference))).dtype
    if kind.is_complex or kind == torch.bool or (kind.is_floating_point and not inputs.is_floating_point()):
        expected = "numbers like the inputs" if inputs.is_floating_point() else "tokens as whole numbers"
        raise DataError(f"The reference is {kind}: give {expected}.")
    return tensor


def _target(target: int | ArrayLike | Tensor | None, count: int) -> Tensor | None:
    """Target as int64[B]; None for the prediction."""
    if target is None:
        return None
    expected = "give the number of an output, from 0, or one for each sequence, int64[B]"
    try:
        indices = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"The target is a {type(target).__name__}: {expected}.") from error
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise DataError(f"The target is {indices.dtype}, not a whole number: {expected}.")
    indices = indices.detach().to("cpu", torch.int64, copy=True)
    return indices.expand(count).clone() if indices.dim() == 0 else indices


def _background(background: Batch | ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Batch | None:
    """Background as a batch of copied tensors."""
    batch = background_from(background, inputs, model)
    if batch is None:
        return None
    tensors = {name: getattr(batch, name).detach().clone() for name in ("inputs", "lengths", "targets")}
    return dataclasses.replace(batch, **tensors)


def _check_outputs(subject: Subject, *, known: bool) -> None:
    """Check that targets are indices of the outputs float[B, K] or have their shape, and that there are two classes."""
    outputs, targets, label = subject.batch_outputs, subject.batch.targets, subject.label
    if subject.classification and outputs.shape[1] == 1:
        raise DataError(
            f"{label} returns the probability of one class only, which is always 1: return one for each class, or give "
            "outputs='values' to explain a score itself."
        )
    if not known:
        return
    if not subject.classification and targets.shape != outputs.shape:
        raise DataError(
            f"The targets are values {list(targets.shape)}, and {label} returns {list(outputs.shape)}: give a target "
            "for each output."
        )
    wrong = (targets < 0) | (targets >= outputs.shape[1])
    if subject.classification and wrong.any():
        raise DataError(
            f"Sequence {int(wrong.nonzero()[0])} has target {int(targets[wrong][0])}, and {label} has "
            f"{outputs.shape[1]} outputs: classes go from 0 to {outputs.shape[1] - 1}."
        )
