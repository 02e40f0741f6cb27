"""Conversion of a user's arrays to the tensors of a batch.

Every function raises DataError with one sentence if a value does not fit. The tensors are copies on the CPU, so later
changes to the user's arrays do not change the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...errors import DataError
from ..data.batch import Batch, Outputs, Truth
from ..engine.adapters import AdaptedModel, PredictFunction
from ..engine.signature import OUTPUT_STEP

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..models.retraining import Retraining


def tensor_from(value: ArrayLike | Tensor, name: str) -> Tensor:
    """Copy of an array as a CPU tensor; the name is used in the error message."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_nested or value.is_meta:
            raise DataError(f"The {name} are a sparse, nested or empty tensor: give a dense one, right-padded.")
        return value.detach().cpu().clone()
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        raise DataError(f"The {name} are a masked array: fill the masked values, as by .filled(0).")
    try:
        array = np.array(value)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The {name} cannot be made a tensor ({error}): give a tensor or an array of numbers, right-padded to one "
            "length."
        ) from error


def converted(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Values in another dtype.

    Raises:
        DataError: a finite number is beyond the largest one of the dtype, and would become infinite.
    """
    found = values.to(dtype)
    if dtype.is_floating_point and not torch.equal(torch.isinf(found), torch.isinf(values)):
        largest = values[torch.isinf(found) & ~torch.isinf(values)].abs().max().item()
        raise DataError(
            f"The {name} hold a number of the size {largest:.3g}, which {dtype} cannot hold "
            f"(up to {torch.finfo(dtype).max:.1e}): scale them."
        )
    return found


def model_from(model: object, label: str) -> nn.Module:
    """A user's model as a module; a plain function is wrapped in one.

    Args:
        model: a module on the CPU, or a function from arrays to scores.
        label: the model's name in error messages.

    Raises:
        DataError: the model is not on the CPU, is a class or is no model.
    """
    if isinstance(model, nn.Module):
        if any(is_lazy(parameter) for parameter in model.parameters()):
            raise DataError(f"The model {label!r} has parameters that are not yet initialised: run it once before.")
        if any(parameter.is_inference() for parameter in model.parameters()):
            raise DataError(f"The model {label!r} was made in torch.inference_mode: make it outside of it.")
        devices = {str(tensor.device) for tensor in model.parameters()} - {"cpu"}
        if devices:
            raise DataError(f"The model {label!r} is on {devices.pop()}: move it with model.cpu().")
        return model
    if isinstance(model, type):
        raise DataError(f"The model {label!r} is a class, {model.__name__}: make an instance of it.")
    if callable(model):
        return PredictFunction(model, label)
    raise DataError(
        f"The model {label!r} is a {type(model).__name__}: give a torch.nn.Module, or a function from arrays to scores."
    )


def context_from(
    context: Mapping[str, ArrayLike | Tensor] | None,
    step: int | ArrayLike | Tensor | None,
    count: int,
    model: nn.Module,
) -> dict[str, Any]:
    """Further inputs of the model, one row for each sequence; floats have the dtype of the model's weights.

    Args:
        context: arrays [B, …] by the name of forward's parameter; a hidden state may be a tuple of tensors.
        step: index of the explained output step, one for all sequences or int64[B].
        count: B.
        model: the module.

    Raises:
        DataError: a value is no array of numbers, or the steps are not whole numbers from 0, one for each sequence.
    """
    if context is not None and not isinstance(context, Mapping):
        raise DataError(
            f"The context is a {type(context).__name__}: give a mapping by the names of forward's parameters."
        )
    tensors: dict[str, Any] = {}
    for name, value in (context or {}).items():
        if value is None:  # not given
            continue
        several = isinstance(value, tuple | list) and len(value) > 1 and all(np.ndim(part) > 1 for part in value)
        given: Any = value if several else (value,)
        parts = [tensor_from(part, f"context {name!r}") for part in given]
        parts = [
            converted(part, dtype_of(model) or part.dtype, f"context {name!r}") if part.is_floating_point() else part
            for part in parts
        ]
        tensors[str(name)] = tuple(parts) if several else parts[0]
    if step is not None:
        steps = tensor_from(step, "output step")
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
    values = tensor_from(inputs, "inputs")
    if values.is_floating_point():
        if values.dim() == 2:
            raise DataError(
                f"The inputs are {values.dtype}{list(values.shape)}, without an axis of features: give [B, T, 1], as "
                "by inputs[..., None]; tokens are whole numbers."
            )
        default = torch.float64 if values.dtype == torch.float64 else torch.float32
        return converted(values, dtype_of(model) or default, "inputs")
    if values.dtype == torch.bool or values.is_complex():
        raise DataError(f"The inputs are {values.dtype}: give tokens as whole numbers or features as floats.")
    if values.dim() == 3:
        raise DataError(
            f"The inputs are {values.dtype}{list(values.shape)}, several whole numbers for each step: if they are "
            "measurements, give them as floats (.float()); if they are ids, give the ids [B, T] that are to be "
            "explained as inputs, and the others as context."
        )
    return values.long()


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Floating-point dtype of the model's weights or buffers; None if it has none, or wraps a function."""
    if any(isinstance(module, PredictFunction) for module in model.modules()):
        return None
    return next(
        (tensor.dtype for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()), None
    )


def lengths_from(lengths: ArrayLike | Tensor | None, inputs: Tensor) -> Tensor:
    """Lengths int64[B]; without lengths, every sequence has the full length of the inputs.

    Raises:
        DataError: the lengths are not whole numbers.
    """
    if lengths is None:
        return torch.full(inputs.shape[:1], inputs.shape[1] if inputs.dim() > 1 else 0)
    tensor = tensor_from(lengths, "lengths")
    if tensor.dtype == torch.bool:
        raise DataError("The lengths are a mask of truth values: give the numbers of steps, as by mask.sum(1).")
    if tensor.is_floating_point():
        raise DataError(f"The lengths are {tensor.dtype}, not whole numbers: convert them by .long().")
    return tensor.long()


def targets_from(targets: ArrayLike | Tensor, outputs: Outputs) -> Tensor:
    """Targets: classes int64[B], or values float[B, K] if ``outputs`` is ``"values"``.

    Classes of a model with one output are 0 and 1, whole numbers, floats or booleans, of shape [B] or [B, 1].

    Raises:
        DataError: classes are not whole numbers or not of shape [B], or a value is not finite.
    """
    tensor = tensor_from(targets, "targets")
    if outputs in {"binary-logit", "binary-probability"}:
        tensor = tensor[:, 0] if tensor.dim() == 2 and tensor.shape[1] == 1 else tensor
        if tensor.dim() != 1 or not ((tensor == 0) | (tensor == 1)).all():
            raise DataError(f"The targets of outputs={outputs!r} are the classes 0 and 1, one for each sequence, [B].")
        return tensor.long()
    if outputs == "values":
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
        single = tensor.dim() == 2 and tensor.shape[1] == 1
        way = "Give targets[:, 0]." if single else "If a sequence has several labels, say outputs='values'."
        raise DataError(
            f"The targets are classes of shape {list(tensor.shape)}; expected one for each sequence, int64[B]. {way}"
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


def reference_from(
    reference: ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module, lengths: Tensor | None = None
) -> Tensor:
    """Reference with the shape and dtype of the inputs.

    A given reference is broadcast. The default is 0, and for tokens the padding token of the model's embedding. Values
    beyond a sequence's length are not looked at; those that are not finite become 0.

    Raises:
        DataError: the reference is of another kind than the inputs, holds a value that is not finite, or does not
            broadcast to the inputs.
    """
    if reference is None:
        embedding = only_embedding(model)
        padding = (embedding.padding_idx or 0) if embedding is not None and not inputs.is_floating_point() else 0
        return torch.full_like(inputs, padding)
    if isinstance(reference, str):
        raise DataError(
            f"The reference is the text {reference!r}: give numbers; the name of a task is name={reference!r}."
        )
    tensor = tensor_from(reference, "reference")
    if tensor.is_complex() or tensor.dtype == torch.bool or (tensor.is_floating_point() > inputs.is_floating_point()):
        expected = "numbers like the inputs" if inputs.is_floating_point() else "tokens as whole numbers"
        raise DataError(f"The reference is {tensor.dtype}: give {expected}.")
    tensor = converted(tensor, inputs.dtype, "reference")
    try:
        tensor = tensor.broadcast_to(inputs.shape).clone()
    except RuntimeError as error:
        raise DataError(
            f"The reference has shape {list(tensor.shape)} and the inputs {list(inputs.shape)}: give one of that shape "
            "or one that broadcasts to it."
        ) from error
    finite = torch.isfinite(tensor)
    if lengths is not None and lengths.shape == inputs.shape[:1] and inputs.dim() == 3:
        beyond = (torch.arange(inputs.shape[1]) >= lengths[:, None])[..., None]
        tensor, finite = tensor.masked_fill(beyond & ~finite, 0.0), finite | beyond
    if not finite.all():
        raise DataError("The reference holds a value that is not finite: impute it.")
    return tensor


def background_from(background: Batch | ArrayLike | Tensor | None, inputs: Tensor, model: nn.Module) -> Batch | None:
    """Background sequences as a batch; a bare array becomes full-length sequences whose targets are 0.

    Steps at the end of its sequences that hold no finite number are padding.

    Raises:
        DataError: its dtype or feature count differs from that of the inputs.
    """
    if background is None:
        return None
    if not isinstance(background, Batch):
        values = inputs_from(background, model)
        both = values.is_floating_point() and inputs.is_floating_point()
        values = converted(values, inputs.dtype, "background") if both else values
        lengths = lengths_from(None, values)
        if values.is_floating_point() and values.dim() == 3 and values.numel():
            # steps at the end without any number are padding
            lengths = (torch.isfinite(values).any(2) * torch.arange(1, values.shape[1] + 1)).amax(1).clamp_min(1)
            beyond = torch.arange(values.shape[1]) >= lengths[:, None]
            values = values.masked_fill(beyond[..., None], 0.0)
        background = Batch(values, lengths, torch.zeros(len(values), dtype=torch.int64))
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
        found = "; ".join(model.described()) if isinstance(model, AdaptedModel) else ""
        raise DataError(
            f"{label!r} cannot be trained again: retraining is for a torch module that takes (inputs, lengths) and "
            f"returns scores, without context, step, part or batch_first{found and ', and this one '}{found}."
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
