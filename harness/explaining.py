"""Explain a user's own module by one call, without a task, a suite or a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import DataError, UsageError
from ..plugins import build
from ..tasks.data import Batch
from ..tasks.subject import Subject

if TYPE_CHECKING:
    from ..methods.base import Attribution, Explainer
    from ..tasks.data import Outputs


def explain(  # noqa: PLR0913, PLR0917  # one argument for each plain thing a user may have
    model: nn.Module,
    inputs: Tensor,
    lengths: Tensor | None = None,
    method: str | Explainer = "deeplift",
    target: int | Tensor | None = None,
    reference: Tensor | None = None,
    seed: int = 0,
    background: Tensor | None = None,
    outputs: Outputs = "logits",
) -> Attribution:
    """How much each step or feature of some sequences contributed to what a model said about them.

    Args:
        model: any module taking (inputs) or (inputs, lengths) and returning scores float[B, K] or float[B].
        inputs: int64[B, T] tokens or float[B, T, D] features.
        lengths: int64[B]; by default all sequences have T steps.
        method: a method or its spec, such as ``"integrated-gradients:steps=64"``.
        target: which output is explained, one for all or int64[B]; by default the predicted class, or output 0.
        reference: what stands for absence, of any shape that broadcasts to the inputs'; by default zeros, or for
            tokens the padding token.
        seed: of methods that draw random numbers.
        background: other sequences like the inputs, for methods that draw replacements from them.
        outputs: whether the model returns ``"logits"``, ``"probabilities"`` or ``"values"`` (regression).

    Returns:
        values float[B, T] or float[B, T, D], 0 beyond each sequence's length.

    Raises:
        DataError: the inputs, the target or the model's outputs do not fit each other.
        UsageError: there is no such method, or it cannot explain this model.
        UnsupportedModelError: the method has no exact answer for this model.
        ContractError: the method or the model broke its contract.
    """
    subject = subject_of(model, inputs, lengths, target, reference, background, outputs)
    return ask(subject, method, seed)


def ask(subject: Subject, method: str | Explainer, seed: int) -> Attribution:
    """One method's answer about a subject.

    Raises:
        UsageError: there is no such method, or it cannot explain this subject.
    """
    explainer: Explainer = build("method", method)  # type: ignore[assignment]  # the kind fixes the type
    if reason := explainer.applicable(subject):
        raise UsageError(f"{explainer.name!r} cannot explain {subject.label}: {reason}.")
    return explainer.explain(subject, seed)


def subject_of(  # as above
    model: nn.Module,
    inputs: Tensor,
    lengths: Tensor | None = None,
    target: int | Tensor | None = None,
    reference: Tensor | None = None,
    background: Tensor | None = None,
    outputs: Outputs = "logits",
) -> Subject:
    """A user's module and data as a subject that has been asked once; arguments as in :func:`explain`.

    Raises:
        DataError: they do not fit each other.
    """
    if not isinstance(model, nn.Module):
        raise DataError(f"The model is a {type(model).__name__}, not a torch.nn.Module: wrap it in one.")
    batch = _batch(inputs, lengths)
    chosen = None
    if target is not None:
        chosen = torch.as_tensor(target, dtype=torch.int64)
        chosen = chosen.expand(len(batch)) if chosen.dim() == 0 else chosen
    return Subject(
        model,
        batch,
        _reference(model, batch.inputs, reference),
        target=chosen,  # type: ignore[arg-type]  # None asks for the prediction
        background=None if background is None else _batch(background, None),
        outputs_are=outputs,
        label=type(model).__name__,
    ).check()


def _batch(inputs: Tensor, lengths: Tensor | None) -> Batch:
    if not isinstance(inputs, Tensor):
        raise DataError(f"The inputs are a {type(inputs).__name__}, not a tensor: use torch.as_tensor.")
    if inputs.dim() < 2:
        raise DataError(f"Inputs of shape {tuple(inputs.shape)} are no sequences: expected [B, T] or [B, T, D].")
    if lengths is None:
        lengths = torch.full((len(inputs),), inputs.shape[1], dtype=torch.int64)
    return Batch(inputs, lengths, targets=torch.zeros(len(inputs), dtype=torch.int64))


def _reference(model: nn.Module, inputs: Tensor, reference: Tensor | None) -> Tensor:
    if reference is None:
        padding = [layer.padding_idx for layer in model.modules() if isinstance(layer, nn.Embedding)]
        tokens = not inputs.is_floating_point()
        return torch.full_like(inputs, (padding[0] if padding else None) or 0) if tokens else torch.zeros_like(inputs)
    try:
        return torch.as_tensor(reference).to(inputs.dtype).expand(inputs.shape)
    except RuntimeError as error:
        raise DataError(
            f"The reference has shape {list(reference.shape)}, which does not broadcast to {list(inputs.shape)}."
        ) from error
