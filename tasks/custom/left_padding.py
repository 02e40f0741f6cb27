"""Left-padded sequences of a user, brought to the right-padded form of batches, and a guard against those not declared.

Keras' ``pad_sequences`` and the tokenizers of many language models put the padding first. Read as right-padded, such
sequences are cut at the wrong end.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import DataError
from ..data.batch import Batch
from ..data.padding_side import leading, padded_right
from ..engine.signature import entry_point, is_lengths_name
from .arrays import inputs_from, lengths_from, only_embedding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class LeftPadded:
    """Left-padded inputs of a user.

    Args:
        values: int64[B, T] or float[B, T, D], each sequence in its last steps.
        lengths: [B]; None to count the padding tokens, or the steps without a finite number, that lead each sequence.
        token: the padding token.

    Raises:
        DataError: the lengths are not given, and the inputs do not tell them.
    """

    def __init__(self, values: Tensor, lengths: ArrayLike | Tensor | None, token: int) -> None:
        self.token = token
        self.lengths = lengths_from(lengths, values) if lengths is not None else self._counted(values)

    def right(self, values: Tensor) -> Tensor:
        """Values [B, T, …] of the user's layout with the padding last."""
        return padded_right(values, self.lengths)

    def background(self, background: Batch | ArrayLike | Tensor | None, model: nn.Module) -> Any:  # noqa: ANN401  # as the user gives it
        """Left-padded background sequences as a batch; a batch as it is."""
        if background is None or isinstance(background, Batch):
            return background
        values = inputs_from(background, model)
        lengths = values.shape[1] - leading(_padding(values, self.token)).clamp_max(values.shape[1] - 1)
        values = torch.nan_to_num(padded_right(values, lengths))
        return Batch(values, lengths, torch.zeros(len(values), dtype=torch.int64))

    def _counted(self, values: Tensor) -> Tensor:
        """Lengths int64[B] by the padding that leads each sequence."""
        if values.dim() < 2:
            return lengths_from(None, values)
        lengths = values.shape[1] - leading(_padding(values, self.token))
        if values.is_floating_point() and bool((lengths == values.shape[1]).all()):
            raise DataError(
                "padding_side='left' needs the lengths of sequences of features, whose padding may be any numbers: "
                "give lengths."
            )
        if not bool((lengths > 0).all()):
            raise DataError(f"Sequence {int(lengths.argmin())} holds nothing but padding: drop it.")
        return lengths


def padding_token(model: nn.Module) -> int:
    """The padding token of a model: that of its embedding, else 0."""
    embedding = only_embedding(model)
    return 0 if embedding is None else embedding.padding_idx or 0


def looks_left_padded(inputs: Tensor, lengths: Tensor, token: int, *, given: bool) -> str:
    """Note about inputs that may be left-padded without saying so; empty if nothing points to it.

    Args:
        inputs: int64[B, T] or float[B, T, D].
        lengths: int64[B].
        token: the padding token.
        given: whether the user gave the lengths.

    Raises:
        DataError: the given lengths are those of left-padded sequences: what they cut off are sequences, and what they
            leave is padding.
    """
    if inputs.dim() < 2 or lengths.shape != inputs.shape[:1]:
        return ""
    steps = inputs.shape[1]
    padding = _padding(inputs, token) if not inputs.is_floating_point() else _empty(inputs)
    first, ends = leading(padding), ~padding[:, -1]
    short = lengths < steps
    if given and bool(short.any()) and bool((ends & (first == steps - lengths))[short].all()):
        row = int(short.nonzero()[0])
        raise DataError(
            f"The inputs look left-padded: sequence {row} has length {int(lengths[row])} and begins with "
            f"{int(first[row])} steps of padding: say padding_side='left', or move the padding to the end."
        )
    padded = (first > 0) & ends
    if given or inputs.is_floating_point() or not bool(ends.all()) or len(first.unique()) < 2 or int(first.max()) < 2:
        return ""
    return (
        f"is given {int(padded.sum())} of {len(inputs)} sequences that begin with the padding token {token}, and no "
        "lengths: the padding is explained as steps; say padding_side='left' if it is padding"
    )


def ends_in_padding(inputs: Tensor, token: int, model: nn.Module) -> str:
    """Note about sequences that end in empty steps though no lengths are given; empty if nothing points to it.

    Args:
        inputs: int64[B, T] or float[B, T, D].
        token: the padding token.
        model: a model; only one that asks for lengths is told.
    """
    try:
        parameters = inspect.signature(entry_point(model)[0]).parameters.values()
    except ValueError:  # a traced module has no signature
        return ""
    if inputs.dim() < 2 or not any(is_lengths_name(one.name) and one.default is one.empty for one in parameters):
        return ""
    padding = _padding(inputs, token) if not inputs.is_floating_point() else _empty(inputs)
    short = leading(padding.flip(1)) > 1
    if not bool(short.any()):
        return ""
    empty = "of 0" if inputs.is_floating_point() else f"of the padding token {token}"
    empty = "of 0" if inputs.is_floating_point() else f"of the padding token {token}"
    return (
        f"asks for lengths, none are given, and {int(short.sum())} of {len(inputs)} sequences end in steps {empty}: "
        "they are explained as steps; give lengths if they are padding"
    )


def _padding(values: Tensor, token: int) -> Tensor:
    """Mask bool[B, T] of the steps that are padding: the padding token, or no finite number."""
    return values == token if not values.is_floating_point() else ~torch.isfinite(values).any(2)


def _empty(values: Tensor) -> Tensor:
    """Mask bool[B, T] of the steps of features that are all 0, or hold no finite number."""
    return ((values == 0) | ~torch.isfinite(values)).flatten(2).all(2)
