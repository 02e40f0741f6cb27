"""DeepLIFT's rules for torch's fused recurrent layers, which :mod:`..fused_recurrence` decomposes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import fused_recurrence as fused
from ..fused_recurrence import Schedule, Weights, direction
from .pairing import Pairing, rule
from .pairs import pair, reference_of
from .recurrence import Direction, Elman, Gru, Lstm, Recurrence

if TYPE_CHECKING:
    from torch import Tensor

    from ..operations import Operation


@rule(*fused.LAYERS)
def _layer(pairing: Pairing, func: Operation, *args: Any) -> tuple[Tensor, ...]:
    with pairing:
        return fused.layer(func, *args)


@rule(*fused.CELLS)
def _cell(pairing: Pairing, func: Operation, *args: Any) -> Any:
    with pairing:
        return fused.cell(func, *args)


@rule(direction.__name__)
def _direction(
    pairing: Pairing, func: Operation, kind: str, weights: Weights, schedule: Schedule, inputs: Tensor, *state: Tensor
) -> tuple[Tensor, ...]:
    references = _reference_side(inputs), tuple(_reference_side(part) for part in state)
    results = Direction.apply(_recurrence(kind, weights), schedule, references, inputs, *state)
    half = len(results) // 2
    return tuple(pair(actual, reference) for actual, reference in zip(results[:half], results[half:], strict=True))


def _recurrence(kind: str, weights: Weights) -> Recurrence:
    if kind == "lstm":
        return Lstm(weights)
    return Gru(weights) if kind == "gru" else Elman(weights, kind.removeprefix("rnn_"))


def _reference_side(part: Tensor) -> Tensor:
    """Reference side of a tensor; a constant is its own reference."""
    reference = reference_of(part)
    return part.detach() if reference is None else reference
