"""Models seen from the output sequence of one of their layers, so that hidden features are explained like inputs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from ...errors import UnsupportedModelError
from .adapters import adapter_of
from .signature import MODEL_INPUTS, PADDING, ModuleWrapper, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """Output sequence of a layer, as the layer returns it: alone or in a tuple, with the steps or the rows first.

    Attributes:
        name: dotted name of the layer in the user's module.
        layer: the layer.
        position: place of the sequence in a tuple that the layer returns; None if it returns the sequence alone.
        time_first: whether the sequence is [T, B, H].
    """

    name: str
    layer: nn.Module
    position: int | None
    time_first: bool

    def sequence(self, output: Any) -> Tensor:  # noqa: ANN401  # whatever a layer returns
        """The output sequence [B, T, H]."""
        values = output if self.position is None else output[self.position]
        if isinstance(values, PackedSequence):
            return pad_packed_sequence(values, batch_first=True)[0]
        return cast("Tensor", values.transpose(0, 1) if self.time_first else values)

    def replaced(self, output: Any, hidden: Tensor, valid: Tensor) -> Any:  # noqa: ANN401  # as above
        """The same output with other values on the steps of the sequences.

        Args:
            output: what the layer returns.
            hidden: float[B, T, H], T at most the steps of the output.
            valid: bool[B, T], the steps that are replaced.
        """
        values = output if self.position is None else output[self.position]
        if isinstance(values, PackedSequence):
            new: Any = _packed_like(values, hidden)
        else:
            own = values.transpose(0, 1) if self.time_first else values
            steps = hidden.shape[1]
            first = torch.where(valid[..., None], hidden, own[:, :steps])
            together = first if own.shape[1] == steps else torch.cat([first, own[:, steps:]], 1)
            new = together.transpose(0, 1) if self.time_first else together
        if self.position is None:
            return new
        parts = [new if place == self.position else part for place, part in enumerate(output)]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)


def _packed_like(values: PackedSequence, hidden: Tensor) -> PackedSequence:
    """A packed sequence with the data of padded values float[B, T, H]."""
    ordered = hidden if values.sorted_indices is None else hidden[values.sorted_indices]
    data = torch.cat([ordered[:count, step] for step, count in enumerate(values.batch_sizes.tolist())])
    return PackedSequence(data, values.batch_sizes, values.sorted_indices, values.unsorted_indices)


@contextmanager
def watched(layer: nn.Module, hook: Callable[..., object]) -> Iterator[None]:
    """Context in which a forward hook watches a layer, and transformers of torch run layer by layer.

    In evaluation they may leave out their own layers, or hand them nested tensors.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    handle = layer.register_forward_hook(hook)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        handle.remove()


def find_layer_output(model: nn.Module, name: str, run: Callable[[], object], shape: tuple[int, int]) -> LayerOutput:
    """Output sequence of a layer, as the layer returns it, found by watching the model run once.

    Args:
        model: the user's own module.
        name: dotted name of the layer in it.
        run: runs the model on copies of one sequence of full length.
        shape: their number B and their number of steps T, equal only where the model takes batches of one size.

    Raises:
        UnsupportedModelError: there is no such layer, it is not called exactly once, or it returns no sequence.
    """
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        named = [each for each, _ in model.named_modules() if each]
        shown = ", ".join(named[:12]) + (", …" if len(named) > 12 else "")
        raise UnsupportedModelError(f"The model has no layer {name!r}; it has {shown or 'none'}.") from None
    outputs: list[Any] = []
    with watched(layer, lambda _, __, output: outputs.append(output)):
        run()
    if len(outputs) != 1:
        raise UnsupportedModelError(
            f"The layer {name!r} is called {len(outputs)} times for a sequence: one output sequence can be explained."
        )
    rows, steps = shape
    (output,) = outputs
    places: list[int | None] = [None] if isinstance(output, Tensor | PackedSequence) else []
    places += list(range(len(output))) if isinstance(output, tuple | list) and not places else []
    for place in places:
        values = output if place is None else output[place]
        if isinstance(values, PackedSequence):
            return LayerOutput(name, layer, place, time_first=False)
        if isinstance(values, Tensor) and values.dim() == 3 and values.is_floating_point():
            if values.shape[:2] == (rows, steps):
                return LayerOutput(name, layer, place, time_first=rows == steps and _alike_along_second(values))
            if values.shape[:2] == (steps, rows):
                return LayerOutput(name, layer, place, time_first=True)
    raise UnsupportedModelError(
        f"The layer {name!r} returns no sequence [B, T, H] of as many steps as the inputs: name one that does."
    )


def _alike_along_second(values: Tensor) -> bool:
    """Whether values float[N, N, H] of copies of one sequence differ less along the second axis than the first."""
    first, second = ((values - values.narrow(axis, 0, 1)).abs().max() for axis in (0, 1))
    return bool(second < first)


class LayerModel(ModuleWrapper):
    """A model seen from the output sequence of a layer: it takes float[B, T, H].

    The model runs on its own inputs, which its context holds, and the output of the layer is replaced on the way.
    Whatever reaches the scores beside this output stays as it is for these inputs.

    Args:
        model: the model.
        output: how the layer returns its sequence.
    """

    def __init__(self, model: nn.Module, output: LayerOutput) -> None:
        super().__init__()
        self.model = model
        self.output = output
        if hasattr(model, "forward_with_attention"):
            self.forward_with_attention = self._forward_with_attention

    def extra_repr(self) -> str:
        """The layer, by its name."""
        return f"layer={self.output.name!r}"

    @property
    def filled(self) -> frozenset[str]:
        """See :attr:`Wrapper.filled`."""
        return super().filled | {MODEL_INPUTS}

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The model's scores float[B, K] for hidden values float[B, T, H]."""
        own = context.pop(MODEL_INPUTS)[:, : inputs.shape[1]]
        with self._replaced_output(inputs, lengths, context):
            return cast("Tensor", call(self.model, own, lengths, context))

    def _forward_with_attention(self, inputs: Tensor, lengths: Tensor, **context: Tensor) -> tuple[Tensor, ...]:
        """Scores float[B, K] and attention weights of the model for hidden values float[B, T, H]."""
        own = context.pop(MODEL_INPUTS)[:, : inputs.shape[1]]
        with self._replaced_output(inputs, lengths, context):
            return cast("Any", self.model).forward_with_attention(  # type: ignore[no-any-return]  # the protocol Attentive
                own, lengths, **context
            )

    @contextmanager
    def _replaced_output(self, hidden: Tensor, lengths: Tensor | None, context: Mapping[str, Tensor]) -> Iterator[None]:
        """Context in which the layer returns other values; an adapter may run the model in several parts."""
        adapter = adapter_of(self.model)
        parts = [(hidden, lengths)]
        if adapter is not None:
            own = {name: value for name, value in context.items() if name != PADDING}  # of the inputs, in their shape
            parts = [(part.inputs, part.lengths) for part in adapter.arranged(hidden, lengths, own)[0]]
        number = 0

        def replace(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401  # whatever a layer returns
            nonlocal number
            values, own = parts[number]
            number += 1
            steps = torch.arange(values.shape[1], device=values.device)
            valid = torch.ones(values.shape[:2], dtype=torch.bool) if own is None else steps < own[:, None]
            return self.output.replaced(output, values, valid)

        with watched(self.output.layer, replace):
            yield
