"""Stack of recurrent layers, bidirectional or not, with the interface of torch's recurrent modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ...engine.prefix_tree import reversed_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layer import RecurrentLayer


class RecurrentStack(nn.Module):
    """Stacked recurrent layers, in one or two directions; a direction reads what all directions below it return.

    Args:
        make: makes a layer from its input size and hidden size.
        input_size: D, features of a step.
        hidden_size: H, units of each layer and direction.
        num_layers: number of stacked layers.
        bidirectional: whether a second pass reads each sequence backwards, from its own last step.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(
        self,
        make: Callable[[int, int], RecurrentLayer],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers}: a network has at least one recurrent layer")
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        directions = 2 if bidirectional else 1
        sizes = [input_size, *[hidden_size * directions] * (num_layers - 1)]
        self.layers = nn.ModuleList([make(size, hidden_size) for size in sizes for _ in range(directions)])

    @property
    def values_per_step(self) -> int:
        """The most numbers that a step takes in a layer; see :attr:`RecurrentLayer.values_per_step`."""
        return max(self.hidden_size, *(layer.values_per_step for layer in self.direction(0)))

    def direction(self, direction: int) -> list[RecurrentLayer]:
        """Layers of one direction, from the lowest to the highest: 0 forwards, 1 backwards."""
        step = 2 if self.bidirectional else 1
        return cast("list[RecurrentLayer]", list(self.layers[direction::step]))

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The last layer's outputs float[B, T, H or 2H], meaningless on padding.

        Args:
            inputs: float[B, T, D], right-padded; what stands on the padding does not matter.
            lengths: int64[B].
        """
        padding = torch.arange(inputs.shape[1], device=inputs.device) >= lengths[:, None]
        if bool(padding.any()):
            # a weight of 0 does not keep out what is not finite
            inputs = inputs.masked_fill(padding[:, :, None], 0)
        for number in range(self.num_layers):
            outputs = self.direction(0)[number](inputs)
            if self.bidirectional:
                backwards = self.direction(1)[number](reversed_within(inputs, lengths))
                outputs = torch.cat([outputs, reversed_within(backwards, lengths)], 2)
            inputs = outputs
        return inputs
