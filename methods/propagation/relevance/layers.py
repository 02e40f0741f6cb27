"""The rules for torch's fused recurrent layers, which :mod:`methods.fused` takes apart, and for attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import composite_operations as decompositions
from .. import fused_recurrence as fused
from ..fused_recurrence import Course, Weights, direction
from .recurrence import Direction, Elman, Gru, Lstm, Recurrence
from .tracking import WHO, Tracking, rule

if TYPE_CHECKING:
    from torch import Tensor

    from ..operations import Operation
    from .shares import Shares


@rule(*fused.LAYERS)
def _layer(tracking: Tracking, func: Operation, *args: Any) -> tuple[Tensor, ...]:
    with tracking:
        return fused.layer(func, *args)


@rule(*fused.CELLS)
def _cell(tracking: Tracking, func: Operation, *args: Any) -> Any:
    with tracking:
        return fused.cell(func, *args)


@rule(direction.__name__)
def _direction(
    tracking: Tracking, func: Operation, kind: str, weights: Weights, course: Course, inputs: Tensor, *state: Tensor
) -> tuple[Tensor, ...]:
    inputs = tracking.grounded(inputs, f"the inputs of {kind}")
    begin = [tracking.grounded(part, f"the initial {name} of {kind}") for name, part in zip("hc", state, strict=False)]
    found: tuple[Tensor, ...] = Direction.apply(_recurrence(kind, weights, tracking.shares), course, inputs, *begin)
    return tuple(tracking.mark(part) for part in found)


def _recurrence(kind: str, weights: Weights, shares: Shares) -> Recurrence:
    if kind == "lstm":
        return Lstm(weights, shares)
    return Gru(weights, shares) if kind == "gru" else Elman(weights, shares, kind.removeprefix("rnn_"))


@rule("scaled_dot_product_attention")
def _attention(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    with tracking:
        return decompositions.scaled_dot_product_attention(WHO, *args, **kwargs)


@rule("multi_head_attention_forward")
def _heads(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    with tracking:
        return decompositions.multi_head_attention(WHO, *args, **kwargs)
