"""DeepLIFT's rules for torch's fused recurrent layers, which :mod:`methods.fused` takes apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import fused_recurrence as fused
from ..fused_recurrence import Course, Weights, direction
from .pairing import Pairing, pair, reference_of, rule
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
    pairing: Pairing, func: Operation, kind: str, weights: Weights, course: Course, inputs: Tensor, *state: Tensor
) -> tuple[Tensor, ...]:
    references = _other(inputs), tuple(_other(part) for part in state)
    found = Direction.apply(_recurrence(kind, weights), course, references, inputs, *state)
    half = len(found) // 2
    return tuple(pair(own, other) for own, other in zip(found[:half], found[half:], strict=True))


def _recurrence(kind: str, weights: Weights) -> Recurrence:
    if kind == "lstm":
        return Lstm(weights)
    return Gru(weights) if kind == "gru" else Elman(weights, kind.removeprefix("rnn_"))


def _other(part: Tensor) -> Tensor:
    """The reference side; of a constant, the constant."""
    found = reference_of(part)
    return part.detach() if found is None else found
