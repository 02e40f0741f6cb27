"""torch's kernels of recurrent layers: functions of inputs, states and weights, apart from the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layer_rows import Integers

States = tuple[Tensor, ...]

_KERNELS: Final[dict[str, Callable[..., Any]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}
# Measured on one core in float32 (docs/engine.md), in nanoseconds: a step of a row, by weight and by unit of a layer; a
# call, by layer and by weight; and finding and copying what is shared, by step of a row and by value.
_BY_WEIGHT: Final = 0.0215
_BY_UNIT: Final = 3.0
_BY_LAYER: Final = 120_000.0
_CALL_BY_WEIGHT: Final = 0.75
_BY_STEP: Final = 40.0
_BY_VALUE: Final = 0.7
# Time of a step relative to that of an LSTM with as many weights.
_RATES: Final = {"LSTM": 1.0, "GRU": 1.5, "RNN_TANH": 1.2, "RNN_RELU": 1.2}


@dataclass(frozen=True)
class FusedKernel:
    """Some levels of a recurrent layer, and one or both of their directions, as one call of torch's kernel.

    Attributes:
        mode: the kind of cell, as torch names it.
        weights: of each level and direction, in torch's order.
        bias: whether there are biases.
        levels: number of levels.
        both: whether both directions are run.
        units: H of a level and direction.
    """

    mode: str
    weights: list[Tensor]
    bias: bool
    levels: int
    both: bool
    units: int

    def run(self, values: Tensor, sizes: Integers, state: States) -> tuple[Tensor, States]:
        """Outputs float[P, H] and states after the last step of each row.

        Args:
            values: the steps of N rows: float[T, N, D]; or of several lengths, by falling length, float[P, D], all
                first steps before all second ones.
            sizes: int64[T], the number of rows that have each step.
            state: initial states float[L, N, …].
        """
        begin = state if self.mode == "LSTM" else state[0]
        options = (self.weights, self.bias, self.levels, 0.0, False, self.both)
        kernel = _KERNELS[self.mode]
        if values.dim() == 3:
            outputs, *after = kernel(values, begin, *options, False)  # noqa: FBT003  # the function has no names
            return outputs.flatten(0, 1), tuple(after)
        outputs, *after = kernel(values, torch.from_numpy(sizes), begin, *options)
        return outputs, tuple(after)

    @property
    def compiled_by_size(self) -> bool:
        """Whether the kernel is compiled for each number of rows and steps, as that of oneDNN is."""
        return self.mode == "LSTM" and self.weights[0].dtype == torch.float32

    @property
    def step(self) -> float:
        """Cost of a step of a row, in nanoseconds."""
        return _RATES[self.mode] * (_BY_WEIGHT * self._size + _BY_UNIT * self.units * self.levels)

    @property
    def call(self) -> float:
        """Cost of a call, in steps of a row."""
        return (_BY_LAYER * self.levels + _CALL_BY_WEIGHT * self._size) / self.step

    @property
    def sharing(self) -> float:
        """Cost of finding and copying what is shared, for each step of a row, in steps of a row."""
        width = self.weights[0].shape[1] + self.units
        return (_BY_STEP + _BY_VALUE * width) / self.step

    @property
    def _size(self) -> int:
        return sum(weight.numel() for weight in self.weights if weight.dim() == 2)


def kernel_of(layer: nn.RNNBase, levels: range, direction: int | None) -> FusedKernel:
    """Kernel of some levels of a layer.

    Args:
        layer: the layer.
        levels: the levels.
        direction: 0 forwards, 1 backwards, None for all that the layer has.
    """
    ways = 2 if layer.bidirectional else 1
    chosen = range(ways) if direction is None else [direction]
    weights: list[Tensor] = [
        weight for level in levels for way in chosen for weight in layer.all_weights[level * ways + way]
    ]
    return FusedKernel(layer.mode, weights, layer.bias, len(levels), len(chosen) == 2, layer.hidden_size)
