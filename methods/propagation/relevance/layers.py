"""LRP's rules for torch's fused recurrent layers, which :mod:`..fused_recurrence` decomposes, and for attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import composite_operations as composites
from .. import fused_recurrence as fused
from ..fused_recurrence import Schedule, Weights, direction
from .recurrence import Direction, Elman, Gru, Lstm, Recurrence
from .tracking import METHOD, Tracking, rule

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
    tracking: Tracking, func: Operation, kind: str, weights: Weights, schedule: Schedule, inputs: Tensor, *state: Tensor
) -> tuple[Tensor, ...]:
    inputs = tracking.as_leaf(inputs, f"the inputs of {kind}")
    initial = [tracking.as_leaf(part, f"the initial {name} of {kind}") for name, part in zip("hc", state, strict=False)]
    results: tuple[Tensor, ...] = Direction.apply(
        _recurrence(kind, weights, tracking.shares), schedule, inputs, *initial
    )
    return tuple(tracking.mark(part) for part in results)


def _recurrence(kind: str, weights: Weights, shares: Shares) -> Recurrence:
    if kind == "lstm":
        return Lstm(weights, shares)
    return Gru(weights, shares) if kind == "gru" else Elman(weights, shares, kind.removeprefix("rnn_"))


@rule("scaled_dot_product_attention")
def _attention(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    with tracking:
        return composites.scaled_dot_product_attention(METHOD, *args, **kwargs)


@rule("multi_head_attention_forward")
def _heads(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    with tracking:
        return composites.multi_head_attention(METHOD, *args, **kwargs)
