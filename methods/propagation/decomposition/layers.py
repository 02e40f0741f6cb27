"""Rules for fused recurrent layers, which :mod:`..fused_recurrence` decomposes, and for one direction on streams."""
# ruff: noqa: ANN401  # a rule has the signature of torch's operation

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import fused_recurrence as fused
from .following import Following, rule
from .recurrence import Elman, Gru, Lstm, Recurrence, Sides
from .streams import Streams, attach, constant_streams, streams_of

if TYPE_CHECKING:
    from ..operations import Operation


@rule(*fused.LAYERS)
def _layer(following: Following, func: Operation, *args: Any) -> Any:
    with following:
        return fused.layer(func, *args)


@rule(*fused.CELLS)
def _cell(following: Following, func: Operation, *args: Any) -> Any:
    with following:
        return fused.cell(func, *args)


def _recurrence(kind: str, weights: fused.Weights) -> Recurrence:
    if kind == "lstm":
        return Lstm(weights)
    return Gru(weights) if kind == "gru" else Elman(weights, torch.tanh if kind == "rnn_tanh" else torch.relu)


@rule("direction")
def _direction(  # the signature of fused.direction
    following: Following,  # noqa: ARG001  # every rule takes it
    func: Operation,  # noqa: ARG001  # as above
    kind: str,
    weights: fused.Weights,
    schedule: fused.Schedule,
    inputs: Tensor,
    *state: Tensor,
) -> tuple[Tensor, ...]:
    input_streams, initial = _streams(inputs), [_streams(part) for part in state]
    sides = _sides(input_streams, initial, schedule)
    count = sides.streams
    states = _recurrence(kind, weights).run(
        _interleaved(input_streams, count, 1), tuple(_interleaved(part, count, 0) for part in initial), schedule, sides
    )
    ends = schedule.final(torch.cat([sides.inside, sides.outside], -1), 1)
    last_sides = ends[:, :1], ends[:, 1:]
    outputs, *final = states
    return _attached(outputs, count, (sides.inside, sides.outside)), *(
        _attached(part, count, last_sides) for part in final
    )


def _streams(tensor: Tensor) -> Streams:
    """Streams of a tensor; a constant is all bias."""
    streams = streams_of(tensor)
    return constant_streams(tensor) if streams is None else streams


def _sides(inputs: Streams, initial: list[Streams], schedule: fused.Schedule) -> Sides:
    """Shares of each step's input inside and outside the span, and the number of streams: 3 if a bias is needed."""
    inside, outside = inputs.inside.sum(-1, keepdim=True), inputs.outside.sum(-1, keepdim=True)
    amount = inside + outside
    counts = torch.tensor(schedule.counts, device=amount.device)
    valid = torch.arange(amount.shape[1], device=amount.device) < counts[:, None]
    constants = bool(((amount[..., 0] == 0) & valid).any())
    biased = any(bool((streams.bias != 0).any()) for streams in (inputs, *initial))
    amount = torch.where(amount > 0, amount, torch.ones_like(amount))
    return Sides(inside / amount, outside / amount, 3 if constants or biased else 2)


def _interleaved(streams: Streams, count: int, dim: int) -> Tensor:
    """First ``count`` streams, interleaved along a dimension: S·V rows."""
    parts = [streams.relevant, streams.irrelevant, streams.bias][:count]
    return torch.stack(parts, dim + 1).flatten(dim, dim + 1)


def _attached(interleaved: Tensor, count: int, sides: tuple[Tensor, Tensor]) -> Tensor:
    """Total of interleaved streams, with the streams attached to it."""
    relevant, irrelevant, *rest = (part.contiguous() for part in interleaved.unflatten(-2, (-1, count)).unbind(-2))
    bias = rest[0] if rest else torch.zeros_like(relevant)
    inside, outside = (side.expand_as(relevant).contiguous() for side in sides)
    return attach(relevant + irrelevant + bias, Streams(relevant, irrelevant, bias, inside, outside))
