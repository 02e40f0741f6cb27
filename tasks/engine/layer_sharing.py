"""Sharing of common prefixes inside any module: torch's recurrent layers are replaced while variants run.

While :meth:`LayerSharing.active` lasts, each ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` of a model has another ``forward``,
which runs equal beginnings of its rows once (:mod:`xrnnbench.tasks.engine.shared_layer`). The rest of the module, its
hooks included, runs as it is. A layer runs as torch runs it wherever anything is unusual: with gradients, with active
dropout, under autocast, in half precision, on another device than the CPU, for inputs of a class of their own or of
other shapes. Subclasses, and layers that are quantised, compiled or scripted, are not touched.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .shared_layer import Tally, overhead, pays, run_layer
from .signature import ModuleWrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .cost import Cost
    from .fused_kernel import States

_LAYERS: Final = (nn.LSTM, nn.GRU, nn.RNN)
_DTYPES: Final = (torch.float32, torch.float64)
# Hidden values (rows × steps × units) from which on a layer is looked at: some ten milliseconds.
_LARGE: Final = 1 << 20
# Least share of the steps that variants leave: a little more than a half in single occlusions.
_LEAST_LEFT: Final = 0.52
# Where the variants have little in common, a layer is looked at if finding and copying costs at most this share.
_LITTLE: Final = 0.1


class LayerSharing:
    """The recurrent layers of a model that can share.

    Args:
        model: the model.
        steps: T · V, the steps of all sequences that are to be run.
        rows: the most rows of one model call where much is shared.
        cost: counter of the passes, from whose steps those that were saved are taken.

    Attributes:
        rows: see above.
        much: whether the variants have so much in common that every layer looks for it.
        tally: steps of the layers in the present call of the model.
    """

    def __init__(self, model: nn.Module, steps: int, rows: int, cost: Cost) -> None:
        self._layers = [] if _speaks_for_itself(model) else _shareable_layers(model, steps)
        self._cost = cost
        self.rows = rows
        self.tally = Tally()
        self.much = False

    def __bool__(self) -> bool:
        """Whether there is any such layer."""
        return bool(self._layers)

    @property
    def directions(self) -> int:
        """2 if one of the layers reads backwards too, else 1."""
        return 2 if any(layer.bidirectional for layer in self._layers) else 1

    @property
    def larger(self) -> bool:
        """Whether larger batches are run: not if levels of a layer run whole rows, which are slower in them."""
        stacked = any(layer.bidirectional and layer.num_layers > 1 for layer in self._layers)
        return self.much and not stacked

    def judge(self, left: float, steps: int) -> None:
        """Decide by what the variants have in common whether every layer looks for it, and larger batches are run.

        What a layer reads may have less in common than the model's inputs, or more, so each layer decides again.

        Args:
            left: the share of the steps of rows that must be run.
            steps: of a batch.
        """
        self.much = any(pays(layer, left, steps) for layer in self._layers)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Context in which the layers share; afterwards they are as before."""
        replaced = [layer for layer in self._layers if "forward" not in vars(layer)]
        try:
            for layer in replaced:
                vars(layer)["forward"] = _SharingForward(layer, self)
            yield
        finally:
            for layer in replaced:
                vars(layer).pop("forward", None)

    def counted(self, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function that calls the model, and takes from the counted steps what its recurrent layers have saved."""

        @functools.wraps(call)
        def counting(*arguments: Any) -> Tensor:  # noqa: ANN401  # those of the function
            self.tally.whole = self.tally.run = 0
            before = self._cost.steps
            output = call(*arguments)
            saved, whole = self.tally.whole - self.tally.run, self.tally.whole
            if saved:
                self._cost.steps -= (self._cost.steps - before) * saved // whole
            return output

        return counting


class _SharingForward:
    """The ``forward`` of a recurrent layer that shares.

    Args:
        layer: the layer.
        sharing: of the model that the layer is in.
    """

    def __init__(self, layer: nn.RNNBase, sharing: LayerSharing) -> None:
        self._layer, self._sharing = layer, sharing
        self._always = overhead(layer) <= _LITTLE

    def __call__(self, input: Any, hx: Any = None) -> Any:  # noqa: A002, ANN401  # the signature of torch's layers
        """Outputs and last states, as the layer itself gives them."""
        layer = self._layer
        states = hx if hx is None or (isinstance(hx, tuple) and isinstance(layer, nn.LSTM)) else (hx,)
        looks = self._always or self._sharing.much
        if looks and _usual(layer) and _readable(layer, input) and (states is None or _fits(layer, input, states)):
            found = run_layer(layer, input, cast("States | None", states), self._sharing.tally)
            if found is not None:
                outputs, after = found
                return outputs, after if isinstance(layer, nn.LSTM) else after[0]
        return type(layer).forward(layer, input, hx)

    def __deepcopy__(self, memo: dict[int, object]) -> Any:  # noqa: ANN401  # a bound method
        # a copy of the layer that its model makes is another layer, and stays when the context ends
        copied = memo[id(self._layer)]
        return functools.partial(type(self._layer).forward, copied)


def _speaks_for_itself(model: nn.Module) -> bool:
    """Whether a module says by ``shared_directions`` what can be shared in it, even if that is nothing.

    One that is inherited belongs to the ``forward`` that is inherited with it.
    """
    while isinstance(model, ModuleWrapper):
        model = model.model
    if "shared_directions" in vars(model):
        return True
    classes = type(model).__mro__
    place = {
        name: next((depth for depth, cls in enumerate(classes) if name in vars(cls)), len(classes))
        for name in ("forward", "shared_directions")
    }
    return "forward" not in vars(model) and place["shared_directions"] <= place["forward"]


def _shareable_layers(model: nn.Module, steps: int) -> list[nn.RNNBase]:
    """Recurrent layers of a model whose ``forward`` may be replaced."""
    compiled = {
        inner
        for module in model.modules()
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for inner in module.modules()
    }
    layers = [
        cast("nn.RNNBase", module)
        for module in model.modules()
        if type(module) in _LAYERS and module not in compiled and "forward" not in vars(module)
    ]
    return [layer for layer in layers if steps * layer.hidden_size >= _LARGE and pays(layer, _LEAST_LEFT, steps)]


def _usual(layer: nn.RNNBase) -> bool:
    """Whether a layer is run now without gradients, dropout and rounding."""
    dropout = layer.training and layer.dropout > 0 and layer.num_layers > 1
    return not (torch.is_grad_enabled() or dropout or torch.is_autocast_enabled("cpu"))


def _readable(layer: nn.RNNBase, given: object) -> bool:
    """Whether a layer's input is rows [R, T, D] of plain numbers on the CPU, in the type of its weights."""
    values = given.data if isinstance(given, PackedSequence) else given
    weight = layer.all_weights[0][0]
    if not (_plain(values) and isinstance(weight, Tensor) and type(weight) in {Tensor, nn.Parameter}):
        return False
    dims = 2 if isinstance(given, PackedSequence) else 3
    values = cast("Tensor", values)
    right = values.dim() == dims and values.shape[-1] == layer.input_size and values.numel() > 0
    return right and values.dtype == weight.dtype and weight.dtype in _DTYPES and weight.device == values.device


def _fits(layer: nn.RNNBase, given: Tensor | PackedSequence, states: tuple[object, ...]) -> bool:
    """Whether initial states are of the shapes that a layer takes for its input."""
    if isinstance(given, PackedSequence):
        count = int(given.batch_sizes[0])
    else:
        count = given.shape[0 if layer.batch_first else 1]
    levels = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or layer.hidden_size, layer.hidden_size][: 2 if isinstance(layer, nn.LSTM) else 1]
    if len(states) != len(widths):
        return False
    dtype = layer.all_weights[0][0].dtype
    return all(
        _plain(state) and cast("Tensor", state).shape == (levels, count, width) and cast("Tensor", state).dtype == dtype
        for state, width in zip(states, widths, strict=True)
    )


def _plain(value: object) -> bool:
    """Whether a value is a tensor of torch's own class on the CPU, with memory of its own."""
    if type(value) not in {Tensor, nn.Parameter} or not isinstance(value, Tensor) or value.device.type != "cpu":
        return False
    try:
        value.data_ptr()
    except RuntimeError:  # inside a transformation such as vmap
        return False
    return value.layout == torch.strided
