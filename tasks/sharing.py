"""Running many variants of few sequences: what they have in common is run once.

A recurrent state depends on what came before it and on nothing else, and variants of one sequence differ in few
places. The steps are cut into segments; at each, rows that arrive with the same state and read the same steps are one
row. The fused layer runs the different ones from their states, each gets a number of its own, and so on. Nothing is
approximated: a row's states are those of the row it was one with.

Each direction is a sequence of its own: the backward one shares what follows. States are kept by segment and node, and
gathered as the read-out wants them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch import Tensor

from .variants import mixed, prints, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

# A segment's rows cost more than their cell steps (gathering states, more and smaller calls of the fused layer): what
# is left of the steps must be below this share for sharing to be worth it. Measured: docs/engine.md.
_WORTH: Final = 0.8
# Hidden values of a row (steps × units) from which on looking for what can be shared pays. Measured: docs/engine.md.
_LARGE: Final = 900
# Hidden states kept while rows are assembled, in numbers: 128 MiB of float32.
_STATES_AT_ONCE: Final = 1 << 25


@dataclass(frozen=True)
class Plan:
    """Which rows are one at each segment, for one direction.

    Attributes:
        bounds: S + 1 steps, where segments begin and end.
        first: for each segment int64[N], a row of each of its N nodes.
        nodes: int64[S, R], the node of each row; of a row that ends before the segment, any.
    """

    bounds: list[int]
    first: list[Tensor]
    nodes: Tensor

    @property
    def steps(self) -> int:
        """How many cell steps are run."""
        sizes = (end - begin for begin, end in itertools.pairwise(self.bounds))
        return sum(len(first) * size for first, size in zip(self.first, sizes, strict=True))


@dataclass(frozen=True)
class States:
    """The outputs of one direction for R rows, kept by segment and node.

    Attributes:
        plan: which node of which segment is whose.
        outputs: for each segment float[N, L, H].
        lengths: int64[R].
        backwards: whether the direction reads from each row's end.
    """

    plan: Plan
    outputs: list[Tensor]
    lengths: Tensor
    backwards: bool

    def last(self) -> Tensor:
        """float[R, H]: the state after the whole sequence was read."""
        found = self.outputs[0].new_empty(len(self.lengths), self.outputs[0].shape[2])
        for own, (begin, end), node in self._segments():
            rows = ((self.lengths > begin) & (self.lengths <= end)).nonzero().squeeze(1)
            found[rows] = own[node[rows], self.lengths[rows] - 1 - begin]
        return found

    def mean(self) -> Tensor:
        """float[R, H]: the mean of the outputs over each row's steps."""
        found = self.outputs[0].new_zeros(len(self.lengths), self.outputs[0].shape[2])
        for own, (begin, end), node in self._segments():
            rows = (self.lengths > begin).nonzero().squeeze(1)
            ends = self.lengths[rows].clamp_max(end) - 1 - begin
            found.index_add_(0, rows, own.cumsum(1)[node[rows], ends])
        return found / self.lengths[:, None]

    def all(self, rows: slice) -> Tensor:
        """float[R', T, H]: every output of some rows, in the order of time; beyond a row's length they mean nothing."""
        found = torch.cat([own[node[rows]] for own, _, node in self._segments()], 1)
        return reversed_within(found, self.lengths[rows]) if self.backwards else found

    def _segments(self) -> Iterator[tuple[Tensor, tuple[int, int], Tensor]]:
        return zip(self.outputs, itertools.pairwise(self.plan.bounds), self.plan.nodes, strict=True)


class Shareable(Protocol):
    """What a module offers to have common beginnings run once.

    Attributes:
        shared_directions: how many ways it reads a sequence: 1, or 2 if also backwards; 0 if nothing can be shared.
        shared_width: H, units of a state of one direction.
    """

    shared_directions: int
    shared_width: int

    def advance(self, segment: Tensor, state: Any, direction: int) -> tuple[Tensor, Any]:  # noqa: ANN401  # its own affair
        """Read a segment [N, L(, D)] from states; None begins.

        Returns:
            the outputs float[N, L, H], and the state after it: a tensor whose first dimension is N, or a tuple of such.
        """

    def read_out(self, states: list[States], lengths: Tensor) -> Tensor:
        """The scores float[R, K] from the outputs of each direction."""


def shareable(model: nn.Module) -> bool:
    """Whether a module offers :class:`Shareable`, and has something to share.

    A class that has a forward of its own has to offer it anew: what it inherited speaks of another forward.
    """
    if not (getattr(model, "shared_directions", 0) and hasattr(model, "advance") and hasattr(model, "read_out")):
        return False
    order = type(model).__mro__
    place = {
        name: next((depth for depth, cls in enumerate(order) if name in vars(cls)), len(order))
        for name in ("forward", "advance", "read_out")
    }
    return "forward" not in vars(model) and place["forward"] >= max(place["advance"], place["read_out"])


def rows_at_once(model: Shareable, steps: int) -> int:
    """How many rows are planned and assembled together."""
    return max(1, _STATES_AT_ONCE // (steps * model.shared_width * model.shared_directions))


def large(model: Shareable, steps: int) -> bool:
    """Whether running a row of so many steps costs more than finding out what it has in common with others."""
    return steps * model.shared_width * model.shared_directions >= _LARGE


def bounds_of(longest: int, steps: int) -> list[int]:
    """Where the segments of so many steps begin and end.

    About √T of them: of so many, what a change makes run again within its own is as much as one more would cost.

    Args:
        longest: T, of the whole batch: it decides the size of a segment, so that equal rows have equal segments.
        steps: of the rows at hand, at most T.
    """
    return [*range(0, steps, max(1, round(math.sqrt(longest)))), steps]


def plans(model: Shareable, rows: Tensor, lengths: Tensor, keys: Tensor, bounds: list[int]) -> list[Plan]:
    """The plan of each direction in which a module reads.

    Args:
        model: the module.
        rows: [R, T(, D)].
        lengths: int64[R].
        keys: int64[R, S], the hashes of their segments.
        bounds: where these begin and end.
    """
    found = [_plan(keys, lengths, bounds)]
    if model.shared_directions == 1:
        return found
    if bool((lengths == rows.shape[1]).all()):  # the same segments, from the last to the first
        mirrored = [rows.shape[1] - bound for bound in reversed(bounds)]
        return [*found, _plan(keys.flip(1), lengths, mirrored)]
    return [*found, _plan(prints(reversed_within(rows, lengths), lengths, bounds), lengths, bounds)]


def _plan(keys: Tensor, lengths: Tensor, bounds: list[int]) -> Plan:
    """What rows have in common from their beginning on, by the hashes int64[R, S] of their segments."""
    found = Plan(bounds, [], torch.zeros(len(bounds) - 1, len(keys), dtype=torch.int64))
    node = torch.zeros(len(keys), dtype=torch.int64)
    for segment, begin in enumerate(bounds[:-1]):
        left = (lengths > begin).nonzero().squeeze(1)
        first, inverse = same(mixed(torch.stack([keys[left, segment], node[left]], 1)))
        node = torch.zeros_like(node).index_copy_(0, left, inverse)
        found.first.append(left[first])
        found.nodes[segment] = node
    return found


def worth(found: list[Plan], lengths: Tensor) -> bool:
    """Whether plans save enough cell steps."""
    return sum(own.steps for own in found) < _WORTH * int(lengths.sum()) * len(found)


def run(model: Shareable, rows: Tensor, lengths: Tensor, found: list[Plan], batch: int) -> Tensor:
    """Scores float[R, K] of rows [R, T(, D)] by each direction's plan, ``batch`` rows through a layer at once."""
    states = []
    for direction, own in enumerate(found):
        read = rows if direction == 0 else reversed_within(rows, lengths)
        states.append(States(own, _followed(model, read, own, direction, batch), lengths, direction == 1))
    return model.read_out(states, lengths)


def reversed_within(rows: Tensor, lengths: Tensor) -> Tensor:
    """[N, T(, D)] with each row's steps in reverse, its padding staying behind."""
    if bool((lengths == rows.shape[1]).all()):
        return rows.flip(1)
    step = torch.arange(rows.shape[1])
    place = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    return rows.gather(1, place.view(*place.shape, *[1] * (rows.dim() - 2)).expand_as(rows))


def _followed(model: Shareable, rows: Tensor, own: Plan, direction: int, batch: int) -> list[Tensor]:
    """For each segment float[N, L, H], the outputs of its nodes."""
    found: list[Tensor] = []
    node, state = own.nodes[0], None
    for first, current, (begin, end) in zip(own.first, own.nodes, itertools.pairwise(own.bounds), strict=True):
        outputs, ends = [], []
        for part in first.split(batch):
            entering = None if state is None else _chosen(state, node[part])
            output, after = model.advance(rows[part, begin:end], entering, direction)
            outputs.append(output)
            ends.append(after)
        found.append(torch.cat(outputs))
        node, state = current, _joined(ends)
    return found


def _chosen(state: Any, rows: Tensor) -> Any:  # noqa: ANN401  # a tensor or a tuple of them
    return tuple(part[rows] for part in state) if isinstance(state, tuple) else state[rows]


def _joined(states: list[Any]) -> Any:  # noqa: ANN401  # as above
    if isinstance(states[0], tuple):
        return tuple(torch.cat(parts) for parts in zip(*states, strict=True))
    return torch.cat(states)
