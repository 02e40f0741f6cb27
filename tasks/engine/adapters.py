"""Adapters: plain functions, and modules with another calling convention, wrapped as modules.

Each takes sequences [B, T, …] and returns scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ContractError
from .batching import device_of
from .signature import NO_CONTEXT, OUTPUT_STEP, ModuleWrapper, Wrapper, call, check_output, describe, signature


class PredictFunction(Wrapper):
    """A plain function from arrays to scores, wrapped as a module; it has no gradients and no layers.

    Args:
        function: takes an array [B, T(, D)]; lengths [B] if the name of its second parameter contains ``len``; and the
            context by name. Returns scores [B, K] or [B].
        label: the function's name in error messages.
    """

    def __init__(self, function: Callable[..., Any], label: str) -> None:
        super().__init__()
        self.function = function
        self.label = label

    def entry_point(self) -> tuple[Callable[..., Any], str]:
        """The function and its label."""
        return self.function, self.label

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The function's scores as a tensor; floats keep their type, integers become float32.

        Raises:
            ContractError: the function does not return an array of numbers.
        """
        arrays = {name: value.detach().numpy() for name, value in context.items()}
        positional = [] if lengths is None else [lengths.numpy()]
        if arrays:
            names = signature(self, context)
            by_name = {} if names.lengths is None else {names.lengths: positional[0]}
            output = self.function(**{names.inputs: inputs.detach().numpy()}, **by_name, **arrays)
        else:
            output = self.function(inputs.detach().numpy(), *positional)
        try:
            scores = torch.as_tensor(np.asarray(output))
        except (TypeError, ValueError) as error:
            raise ContractError(
                f"{self.label} returns a {type(output).__name__}, which is no array of scores ({error}): let it return "
                "numbers [B, K]."
            ) from error
        return scores if scores.is_floating_point() else scores.float()

    def extra_repr(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)


class AdaptedModel(ModuleWrapper):
    """Adapter of a user's module with another calling convention.

    It transposes the inputs, picks the part of the output that holds the scores, and picks the explained output step.

    Args:
        model: the module.
        part: the part of the module's output that holds the scores: a position in a tuple, a key of a mapping or the
            name of an attribute; None if the module returns the scores alone.
        batch_first: whether the module takes sequences [B, T, …]; if not, inputs, and scores of several steps, are
            [T, B, …].
        steps: whether the scores are float[B, U, K]; the context :data:`xrnnbench.tasks.engine.signature.OUTPUT_STEP`
            then holds the index of the explained output step.
    """

    def __init__(
        self, model: nn.Module, *, part: int | str | None = None, batch_first: bool = True, steps: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.part = part
        self.batch_first = batch_first
        self.steps = steps
        if hasattr(model, "forward_with_attention"):
            self.forward_with_attention = self._forward_with_attention

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """Scores float[B, K] of inputs [B, T, …].

        Raises:
            ContractError: the module's output has no such part or output step.
        """
        step = context.pop(OUTPUT_STEP, None)
        output = call(self.model, self._transposed(inputs), lengths, context)
        if self.part is not None:
            output = self._part_of(output)
        return cast("Tensor", self._at_step(output, step, inputs))

    def _forward_with_attention(
        self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor
    ) -> tuple[Tensor, ...]:
        """Scores float[B, K] with the attention; see :class:`xrnnbench.tasks.engine.signature.Attentive`."""
        step = context.pop(OUTPUT_STEP, None)
        scores, weights, *values = cast("Any", self.model).forward_with_attention(
            self._transposed(inputs), lengths, **context
        )
        # the weights as they are in the graph: derivatives with respect to them need the whole tensor, and the caller
        # picks the output step afterwards
        return self._at_step(scores, step, inputs), weights, *values

    def extra_repr(self) -> str:
        """The options of the adapter."""
        return f"part={self.part!r}, batch_first={self.batch_first}, steps={self.steps}"

    def _transposed(self, inputs: Tensor) -> Tensor:
        return inputs if self.batch_first else inputs.transpose(0, 1)

    def _part_of(self, output: Any) -> Any:  # noqa: ANN401  # whatever a user's model returns
        name = type(self.model).__name__
        try:
            if isinstance(self.part, str) and not isinstance(output, Mapping):
                return getattr(output, self.part)
            return output[self.part]
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ContractError(
                f"{name} returns {describe(output)}, which has no part {self.part!r}: say which part holds the scores."
            ) from error

    def _at_step(self, scores: Any, step: Tensor | None, inputs: Tensor) -> Any:  # noqa: ANN401  # as above
        """Scores float[B, K] of the explained output step int64[B]."""
        if step is None or not isinstance(scores, Tensor):
            return scores
        if scores.dim() < 3:
            raise ContractError(
                f"{type(self.model).__name__} returns {describe(scores)}, and an output step was asked for: leave step "
                "out, or return float[B, U, K], a score for each output step."
            )
        scores = scores if self.batch_first else scores.transpose(0, 1)
        if len(scores) != len(inputs) or int(step.max()) >= scores.shape[1]:
            raise ContractError(
                f"{type(self.model).__name__} returns {describe(scores)} for {len(inputs)} sequences, which has no "
                f"output step {int(step.max())}: steps count from 0."
            )
        return scores[torch.arange(len(scores)), step]


class TargetScore(nn.Module):
    """The explained score of some sequences as a module: it takes inputs and returns one number for each row.

    Rows may be repeated k times, as in ``tile(inputs, k)``: methods that evaluate many points of each sequence stack
    them so.

    Args:
        model: the module.
        lengths, target: int64[B], of the B sequences.
        label: the model's name in error messages.
        context: of these sequences.
    """

    def __init__(
        self, model: nn.Module, lengths: Tensor, target: Tensor, label: str, context: Mapping[str, Tensor] = NO_CONTEXT
    ) -> None:
        super().__init__()
        self.model = model
        self.lengths = lengths
        self.target = target
        self.label = label
        self.context = dict(context)

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw scores float[k·B] of inputs float[k·B, T, D]."""
        times, device = len(inputs) // len(self.lengths), device_of(self.model)
        lengths, target = self.lengths.repeat(times), self.target.repeat(times)
        context = {
            name: value.repeat(times, *[1] * (value.dim() - 1)).to(device) for name, value in self.context.items()
        }
        output = call(self.model, _on_device(inputs, device), lengths.to(device), context)
        scores = check_output(output, len(inputs), self.label)
        return _on_device(scores, inputs.device).gather(1, target[:, None]).squeeze(1)


def _on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; the same tensor if it is there already.

    Without a call of ``to``, a method that follows a model's operations has no such operation to follow.
    """
    return tensor if tensor.device == device else tensor.to(device)
