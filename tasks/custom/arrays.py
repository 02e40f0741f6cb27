"""Conversion of a user's arrays to the tensors of a batch.

Every function raises DataError with one sentence if a value does not fit. The tensors are copies on the CPU, so later
changes to the user's arrays do not change the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import DataError
from ..data.batch import Batch, Outputs, Truth
from ..engine.adapters import AdaptedModel, PredictFunction
from ..engine.signature import OUTPUT_STEP

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..models.retraining import Retraining


def _tensor(value: ArrayLike | Tensor, name: str) -> Tensor:
    """Copy of an array as a CPU tensor; the name is used in the error message."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The {name} cannot be made a tensor ({error}): give a tensor or an array of numbers, right-padded to one "
            "length."
        ) from error


def model_from(
    model: object, label: str, *, part: int | str | None = None, batch_first: bool = True, steps: bool = False
) -> nn.Module:
    """A user's model as a module that takes [B, T, …] and returns scores.

    A plain function is wrapped in a module.

    Args:
        model: a module on the CPU, or a function from arrays to scores.
        label: the model's name in error messages.
        part: position or name of the scores in a returned tuple or mapping; None if the model returns only scores.
        batch_first: whether the model takes [B, T, …]; if not, it takes [T, B, …].
        steps: whether one of several output steps is explained.

    Raises:
        DataError: the model is not on the CPU, is a class or is no model, or ``part`` is neither position nor name.
    """
    if isinstance(model, nn.Module):
        devices = {str(tensor.device) for tensor in model.parameters()} - {"cpu"}
        if devices:
            raise DataError(f"The model {label!r} is on {devices.pop()}: move it with model.cpu().")
        module = model
    elif isinstance(model, type):
        raise DataError(f"The model {label!r} is a class, {model.__name__}: make an instance of it.")
    elif callable(model):
        module = PredictFunction(model, label)
    else:
        raise DataError(
            f"The model {label!r} is a {type(model).__name__}: give a torch.nn.Module, or a function from arrays to "
            "scores."
        )
    if part is not None and (isinstance(part, bool) or not isinstance(part, int | str)):
        raise DataError(f"part={part!r} names no part of what the model returns: give a position or a name.")
    if part is None and batch_first and not steps:
        return module
    return AdaptedModel(module, part=part, batch_first=batch_first, steps=steps)


def context_from(
    context: Mapping[str, ArrayLike | Tensor] | None,
    step: int | ArrayLike | Tensor | None,
    count: int,
    model: nn.Module,
) -> dict[str, Tensor]:
    """Further inputs of the model, one row for each sequence; floats have the dtype of the model's weights.

    Args:
        context: arrays [B, …] by the name of forward's parameter.
        step: index of the explained output step, one for all sequences or int64[B].
        count: B.
        model: the module.

    Raises:
        DataError: a value is no array of numbers, or the steps are not whole numbers from 0, one for each sequence.
    """
    tensors = {}
    for name, value in (context or {}).items():
        tensor = _tensor(value, f"context {name!r}")
        tensors[str(name)] = tensor.to(_dtype(model) or tensor.dtype) if tensor.is_floating_point() else tensor
    if step is not None:
        steps = _tensor(step, "output step")
        if steps.is_floating_point() or steps.dtype == torch.bool or steps.dim() > 1 or (steps < 0).any():
            raise DataError("The output step is not a whole number from 0: give one for all sequences, or int64[B].")
        if steps.dim() == 1 and len(steps) != count:
            raise DataError(f"There are {len(steps)} output steps for {count} sequences: give one for each.")
        tensors[OUTPUT_STEP] = steps.long().expand(count).clone()
    return tensors


def inputs_from(inputs: ArrayLike | Tensor, model: nn.Module) -> Tensor:
    """Tokens int64[B, T], or features float[B, T, D] in the dtype of the model's weights.

    Raises:
        DataError: the inputs are no array of numbers, are boolean or complex, or are features but not floats.
    """
    values = _tensor(inputs, "inputs")
    if values.is_floating_point():
        return values.to(_dtype(model) or (torch.float64 if values.dtype == torch.float64 else torch.float32))
    if values.dtype == torch.bool or values.is_complex():
        raise DataError(f"The inputs are {values.dtype}: give tokens as whole numbers or features as floats.")
    if values.dim() == 3:
        raise DataError(
            f"The inputs are {values.dtype}{list(values.shape)}: features are floats, so convert them by .float()."
        )
    return values.long()


def _dtype(model: nn.Module) -> torch.dtype | None:
    """Floating-point dtype of the model's weights: float32 if it has none, None if the model wraps a function."""
    if any(isinstance(module, PredictFunction) for module in model.modules()):
        return None
    return next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)


def lengths_from(lengths: ArrayLike | Tensor | None, inputs: Tensor) -> Tensor:
    """Lengths int64[B]; without lengths, every sequence has the full length of the inputs.

    Raises:
        DataError: the lengths are not whole numbers.
    """
    if lengths is None:
        return torch.full(inputs.shape[:1], inputs.shape[1] if inputs.dim() > 1 else 0)
    tensor = _tensor(lengths, "lengths")
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise DataError(f"The lengths are {tensor.dtype}, not whole numbers: convert them by .long().")
    return tensor.long()


def targets_from(targets: ArrayLike | Tensor, outputs: Outputs | None) -> Tensor:
    """Targets: classes int64[B], or values float[B, K] if the targets are floats or ``outputs`` is ``"values"``.

    Raises:
        DataError: classes are not whole numbers or not of shape [B], or a value is not finite.
    """
    tensor = _tensor(targets, "targets")
    if outputs == "values" or (outputs is None and tensor.is_floating_point()):
        tensor = tensor.float() if tensor.dtype != torch.float64 else tensor
        if tensor.dim() == 1:
            tensor = tensor[:, None]
        if not torch.isfinite(tensor).all():
            row = int((~torch.isfinite(tensor)).flatten(1).any(1).nonzero()[0])
            raise DataError(f"The target of sequence {row} is not finite: drop it.")
        return tensor
    if tensor.is_floating_point():
        raise DataError(
            f"The targets are {tensor.dtype}, and classes are whole numbers: use .long() or outputs='values'."
        )
    if tensor.dim() != 1:
        raise DataError(
            f"The targets are classes of shape {list(tensor.shape)}; expected one for each sequence, int64[B]."
        )
    return tensor.long()


def truths_from(truth: Truth | Mapping[str, Truth] | None) -> dict[str, Truth]:
    """Readings of the truth by name; a single :class:`Truth` is named after its semantics.

    Raises:
        DataError: the truth is neither a :class:`Truth` nor a mapping of them.
    """
    if truth is None:
        return {}
    truths: object = {truth.semantics: truth} if isinstance(truth, Truth) else truth
    if not isinstance(truths, Mapping) or not all(isinstance(value, Truth) for value in truths.values()):
        raise DataError(f"The truth is a {type(truth).__name__}: give a Truth, or several by name.")
    return dict(truths)


def reference_from(reference: ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Tensor:
    """Reference with the shape and dtype of the inputs.

    A given reference is broadcast. The default is 0, and for tokens the padding token of the model's embedding.

    Raises:
        DataError: the reference holds a value that is not finite, or does not broadcast to the inputs.
    """
    if reference is None:
        embedding = only_embedding(model)
        padding = (embedding.padding_idx or 0) if embedding is not None and not inputs.is_floating_point() else 0
        return torch.full_like(inputs, padding)
    tensor = _tensor(reference, "reference").to(inputs.dtype)
    if not torch.isfinite(tensor).all():
        raise DataError("The reference holds a value that is not finite: impute it.")
    try:
        return tensor.broadcast_to(inputs.shape).clone()
    except RuntimeError as error:
        raise DataError(
            f"The reference has shape {list(tensor.shape)} and the inputs {list(inputs.shape)}: give one of that shape "
            "or one that broadcasts to it."
        ) from error


def background_from(background: Batch | ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Batch | None:
    """Background sequences as a batch; a bare array becomes full-length sequences whose targets are 0.

    Raises:
        DataError: its dtype or feature count differs from that of the inputs.
    """
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
    """The given recipe for retraining, checked against the model and the explained batch.

    Raises:
        DataError: the model cannot be retrained, or the data for retraining differ from the batch in dtype or features.
    """
    if retraining is None:
        return None
    if batch.context or isinstance(model, AdaptedModel | PredictFunction):
        raise DataError(
            f"{label!r} cannot be trained again: retraining is for a torch module that takes (inputs, lengths) and "
            "returns scores, without context, step, part or batch_first."
        )
    for part, data in (("train", retraining.train), ("test", retraining.test)):
        if data.inputs.dtype != batch.inputs.dtype or data.inputs.shape[2:] != batch.inputs.shape[2:]:
            raise DataError(
                f"The {part} data for retraining {label!r} are {data.inputs.dtype}{list(data.inputs.shape)}, and the "
                f"inputs are {batch.inputs.dtype}{list(batch.inputs.shape)}: they must be of one kind."
            )
    return retraining


def only_embedding(model: nn.Module) -> nn.Embedding | None:
    """The model's embedding if it has exactly one, else None: of several, it is unknown which reads the tokens."""
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    return embeddings[0] if len(embeddings) == 1 else None
