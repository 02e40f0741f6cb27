"""One direction of a fused recurrent layer on streams; layers are taken apart in :mod:`..fused`."""
# ruff: noqa: ANN401  # a rule has the signature of torch's operation

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import fused_recurrence as fused
from .following import Following, rule
from .recurrence import Elman, Gru, Lstm, Recurrence, Sides
from .streams import Streams, attach, constant, streams_of

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
    following: Following,  # noqa: ARG001  # a rule is given it
    func: Operation,  # noqa: ARG001  # as above
    kind: str,
    weights: fused.Weights,
    course: fused.Course,
    inputs: Tensor,
    *state: Tensor,
) -> tuple[Tensor, ...]:
    given, begin = _streams(inputs), [_streams(part) for part in state]
    sides = _sides(given, begin, course)
    count = sides.streams
    found = _recurrence(kind, weights).run(
        _beside(given, count, 1), tuple(_beside(part, count, 0) for part in begin), course, sides
    )
    ends = course.final(torch.cat([sides.inside, sides.outside], -1), 1)
    last = ends[:, :1], ends[:, 1:]
    outputs, *final = found
    return _carrying(outputs, count, (sides.inside, sides.outside)), *(_carrying(part, count, last) for part in final)


def _streams(tensor: Tensor) -> Streams:
    found = streams_of(tensor)
    return constant(tensor) if found is None else found


def _sides(inputs: Streams, begin: list[Streams], course: fused.Course) -> Sides:
    """On which side each step lies, and whether a bias stream is needed."""
    inside, outside = inputs.inside.sum(-1, keepdim=True), inputs.outside.sum(-1, keepdim=True)
    amount = inside + outside
    counts = torch.tensor(course.counts, device=amount.device)
    there = torch.arange(amount.shape[1], device=amount.device) < counts[:, None]
    constants = bool(((amount[..., 0] == 0) & there).any())
    biased = any(bool((streams.bias != 0).any()) for streams in (inputs, *begin))
    amount = torch.where(amount > 0, amount, torch.ones_like(amount))
    return Sides(inside / amount, outside / amount, 3 if constants or biased else 2)


def _beside(streams: Streams, count: int, dim: int) -> Tensor:
    """The first streams in rows side by side."""
    parts = [streams.relevant, streams.irrelevant, streams.bias][:count]
    return torch.stack(parts, dim + 1).flatten(dim, dim + 1)


def _carrying(beside: Tensor, count: int, sides: tuple[Tensor, Tensor]) -> Tensor:
    """The totals of streams that lie side by side, carrying them."""
    relevant, irrelevant, *rest = (part.contiguous() for part in beside.unflatten(-2, (-1, count)).unbind(-2))
    bias = rest[0] if rest else torch.zeros_like(relevant)
    inside, outside = (side.expand_as(relevant).contiguous() for side in sides)
    return attach(relevant + irrelevant + bias, Streams(relevant, irrelevant, bias, inside, outside))
