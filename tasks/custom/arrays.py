"""A user's arrays as the tensors of a batch, or a sentence about what is wrong with them.

All of these raise DataError; tensors are copies on the CPU, so that what is changed outside later does not change a
task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import DataError
from ..data.batch import Batch, Outputs, Truth
from ..engine.calling import OUTPUT_STEP, AdaptedModel, PredictFunction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..models.retraining import Retraining


def _tensor(value: ArrayLike | Tensor, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The {what} cannot be made a tensor ({error}): give a tensor or an array of numbers, right-padded to one "
            "length."
        ) from error


def model_from(
    model: object, label: str, *, part: int | str | None = None, batch_first: bool = True, steps: bool = False
) -> nn.Module:
    """A user's model as a module that takes [B, T, …] and returns scores; a plain function becomes one.

    Args:
        model: a module on the CPU, or a function from arrays to scores.
        label: what to call it in messages.
        part: which part of what it returns holds the scores.
        batch_first: whether it takes [B, T, …]; if not, [T, B, …].
        steps: whether one output step of several is explained.
    """
    if isinstance(model, nn.Module):
        devices = {str(tensor.device) for tensor in model.parameters()} - {"cpu"}
        if devices:
            raise DataError(f"The model {label!r} is on {devices.pop()}: move it with model.cpu().")
        found = model
    elif isinstance(model, type):
        raise DataError(f"The model {label!r} is a class, {model.__name__}: make an instance of it.")
    elif callable(model):
        found = PredictFunction(model, label)
    else:
        raise DataError(
            f"The model {label!r} is a {type(model).__name__}: give a torch.nn.Module, or a function from arrays to "
            "scores."
        )
    if part is not None and (isinstance(part, bool) or not isinstance(part, int | str)):
        raise DataError(f"part={part!r} names no part of what the model returns: give a position or a name.")
    if part is None and batch_first and not steps:
        return found
    return AdaptedModel(found, part=part, batch_first=batch_first, steps=steps)


def context_from(
    context: Mapping[str, ArrayLike | Tensor] | None,
    step: int | ArrayLike | Tensor | None,
    count: int,
    model: nn.Module,
) -> dict[str, Tensor]:
    """What else the model is given, one row for each sequence; floats in the type of the model's weights.

    Args:
        context: arrays [B, …] by the name of forward's parameter.
        step: which output step is explained, one for all or int64[B].
        count: B.
        model: the module.
    """
    found = {}
    for name, value in (context or {}).items():
        tensor = _tensor(value, f"context {name!r}")
        found[str(name)] = tensor.to(_dtype(model) or tensor.dtype) if tensor.is_floating_point() else tensor
    if step is not None:
        steps = _tensor(step, "output step")
        if steps.is_floating_point() or steps.dtype == torch.bool or steps.dim() > 1 or (steps < 0).any():
            raise DataError("The output step is no whole number from 0: give one for all sequences, or int64[B].")
        if steps.dim() == 1 and len(steps) != count:
            raise DataError(f"There are {len(steps)} output steps for {count} sequences: give one for each.")
        found[OUTPUT_STEP] = steps.long().expand(count).clone()
    return found


def inputs_from(inputs: ArrayLike | Tensor, model: nn.Module) -> Tensor:
    """Tokens int64[B, T], or features in the floating-point type of the model's weights."""
    found = _tensor(inputs, "inputs")
    if found.is_floating_point():
        return found.to(_dtype(model) or (torch.float64 if found.dtype == torch.float64 else torch.float32))
    if found.dtype == torch.bool or found.is_complex():
        raise DataError(f"The inputs are {found.dtype}: give tokens as whole numbers or features as floats.")
    if found.dim() == 3:
        raise DataError(
            f"The inputs are {found.dtype}{list(found.shape)}: features are floats, so convert them by .float()."
        )
    return found.long()


def _dtype(model: nn.Module) -> torch.dtype | None:
    """The floating-point type of the model's weights, float32 if it has none; None if it is a function."""
    if any(isinstance(module, PredictFunction) for module in model.modules()):
        return None
    return next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)


def lengths_from(lengths: ArrayLike | Tensor | None, inputs: Tensor) -> Tensor:
    """int64[B]; the full length of the inputs where none are given."""
    if lengths is None:
        return torch.full(inputs.shape[:1], inputs.shape[1] if inputs.dim() > 1 else 0)
    found = _tensor(lengths, "lengths")
    if found.is_floating_point() or found.dtype == torch.bool:
        raise DataError(f"The lengths are {found.dtype}, not whole numbers: convert them by .long().")
    return found.long()


def targets_from(targets: ArrayLike | Tensor, outputs: Outputs | None) -> Tensor:
    """Classes int64[B], or values float[B, K] where the targets are floats or the outputs are said to be values."""
    found = _tensor(targets, "targets")
    if outputs == "values" or (outputs is None and found.is_floating_point()):
        found = found.float() if found.dtype != torch.float64 else found
        if found.dim() == 1:
            found = found[:, None]
        if not torch.isfinite(found).all():
            row = int((~torch.isfinite(found)).flatten(1).any(1).nonzero()[0])
            raise DataError(f"The target of sequence {row} is not finite: drop it.")
        return found
    if found.is_floating_point():
        raise DataError(
            f"The targets are {found.dtype}, and classes are whole numbers: use .long() or outputs='values'."
        )
    if found.dim() != 1:
        raise DataError(
            f"The targets are classes of shape {list(found.shape)}; expected one for each sequence, int64[B]."
        )
    return found.long()


def truths_from(truth: Truth | Mapping[str, Truth] | None) -> dict[str, Truth]:
    """The readings of a truth by name; one alone is named by its semantics."""
    if truth is None:
        return {}
    found: object = {truth.semantics: truth} if isinstance(truth, Truth) else truth
    if not isinstance(found, Mapping) or not all(isinstance(value, Truth) for value in found.values()):
        raise DataError(f"The truth is a {type(truth).__name__}: give a Truth, or several by name.")
    return dict(found)


def reference_from(reference: ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Tensor:
    """The shape and dtype of inputs: what was given, broadcast, or 0, or the padding token of the model."""
    if reference is None:
        embedding = only_embedding(model)
        padding = (embedding.padding_idx or 0) if embedding is not None and not inputs.is_floating_point() else 0
        return torch.full_like(inputs, padding)
    found = _tensor(reference, "reference").to(inputs.dtype)
    if not torch.isfinite(found).all():
        raise DataError("The reference holds a value that is not finite: impute it.")
    try:
        return found.broadcast_to(inputs.shape).clone()
    except RuntimeError as error:
        raise DataError(
            f"The reference has shape {list(found.shape)} and the inputs {list(inputs.shape)}: give one of that shape "
            "or one that broadcasts to it."
        ) from error


def background_from(background: Batch | ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Batch | None:
    """A batch as it is, or one of full-length inputs without targets; of the kind of the explained inputs."""
    if background is None:
        return None
    if not isinstance(background, Batch):
        values = inputs_from(background, model)
        values = values.to(inputs.dtype) if values.is_floating_point() and inputs.is_floating_point() else values
        background = Batch(values, lengths_from(None, values), torch.zeros(len(values), dtype=torch.int64))
    if background.inputs.shape[2:] != inputs.shape[2:] or background.inputs.dtype != inputs.dtype:
        raise DataError(
            f"The background is {background.inputs.dtype}{list(background.inputs.shape)} and the inputs are "
            f"{inputs.dtype}{list(inputs.shape)}: they must be of one kind."
        )
    return background


def retraining_from(retraining: Retraining | None, batch: Batch, model: nn.Module, label: str) -> Retraining | None:
    """How a user's model is trained again, as it is given, if it is for a model and sequences of that kind."""
    if retraining is None:
        return None
    if batch.context or isinstance(model, AdaptedModel | PredictFunction):
        raise DataError(
            f"{label!r} cannot be trained again: retraining is for a torch module that takes (inputs, lengths) and "
            "returns scores, without context, step, part or batch_first."
        )
    for what, other in (("train", retraining.train), ("test", retraining.test)):
        if other.inputs.dtype != batch.inputs.dtype or other.inputs.shape[2:] != batch.inputs.shape[2:]:
            raise DataError(
                f"What {label!r} is to {what} on is {other.inputs.dtype}{list(other.inputs.shape)} and the inputs are "
                f"{batch.inputs.dtype}{list(batch.inputs.shape)}: they must be of one kind."
            )
    return retraining


def only_embedding(model: nn.Module) -> nn.Embedding | None:
    """The embedding of a model that has exactly one; None otherwise, for then nobody knows which reads the tokens."""
    found = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    return found[0] if len(found) == 1 else None
