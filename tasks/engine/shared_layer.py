"""Running one recurrent layer of torch on rows of which many begin alike.

A state depends only on the layer's own input up to its step, wherever the layer is in a model. So equal beginnings of
the rows that it is given are run once (:mod:`xrnnbench.tasks.engine.prefix_chunks`): all levels together in a layer of
one direction; level by level in one of both, each direction from its own end of each row. Whether this costs less than
torch's own call is counted first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .fused_kernel import FusedKernel, States, kernel_of
from .layer_rows import Rows, packed_rows, padded_rows, row_ids
from .prefix_chunks import Beginnings, chunk_bounds, chunks, find_beginnings, run_steps, whole_rows

# Least share of the cost of a layer that must be saved: the constants of the costs are those of one machine.
_LEAST_GAIN: Final = 0.09
# Costs of a call that the rows of a layer must cost together for sharing to be looked for.
_LEAST_CALLS: Final = 8


@dataclass
class Tally:
    """Steps of recurrent layers.

    Attributes:
        whole: steps of whole rows, for each layer, level and direction.
        run: those of them that were run.
    """

    whole: int = 0
    run: int = 0

    def add(self, steps: int) -> None:
        """Count steps of whole rows that were run as such."""
        self.whole += steps
        self.run += steps


@dataclass(frozen=True)
class _Plan:
    """How one direction is run: beginnings, and the bounds of chunks."""

    rows: Rows
    kernel: FusedKernel
    beginnings: Beginnings
    bounds: list[int]


def run_layer(
    layer: nn.RNNBase, inputs: Tensor | PackedSequence, states: States | None, tally: Tally
) -> tuple[Tensor | PackedSequence, States] | None:
    """Outputs and last states of a layer, as its ``forward`` returns them; None if sharing does not pay.

    Args:
        layer: an LSTM, GRU or RNN on the CPU.
        inputs: padded [R, T, D] or [T, R, D], or packed.
        states: initial states float[L, R, …] in the order of the given rows, or None for zeros.
        tally: counts the steps.
    """
    if isinstance(inputs, PackedSequence):
        begin = None if states is None else _reordered(states, inputs.sorted_indices)
        found = _run_rows(layer, packed_rows(inputs), begin, tally)
        if found is None:
            return None
        outputs = PackedSequence(found[0], inputs.batch_sizes, inputs.sorted_indices, inputs.unsorted_indices)
        return outputs, _reordered(found[1], inputs.unsorted_indices)
    rows = padded_rows(inputs, batch_first=layer.batch_first)
    found = _run_rows(layer, rows, states, tally)
    if found is None:
        return None
    by_time = found[0].view(rows.steps, rows.count, -1)
    return by_time.transpose(0, 1) if layer.batch_first else by_time, found[1]


def _reordered(states: States, order: Tensor | None) -> States:
    """States of rows in another order; None is the given one."""
    return states if order is None else tuple(state.index_select(1, order) for state in states)


def _run_rows(layer: nn.RNNBase, rows: Rows, states: States | None, tally: Tally) -> tuple[Tensor, States] | None:
    """Outputs float[P, …] and last states of rows."""
    return (_run_both if layer.bidirectional else _run_forwards)(layer, rows, states, tally)


def _run_forwards(layer: nn.RNNBase, rows: Rows, states: States | None, tally: Tally) -> tuple[Tensor, States] | None:
    """Outputs float[P, H] and last states of a layer of one direction."""
    plan = _plan(rows, kernel_of(layer, range(layer.num_layers), 0), states, _most_left(layer))
    if plan is None:
        tally.add(rows.total * layer.num_layers)
        return None
    outputs = _empty_outputs(layer, rows, 1)
    return outputs, _run_plan(plan, states or _zeros(layer, rows, layer.num_layers), outputs, tally)


def _run_both(layer: nn.RNNBase, rows: Rows, states: States | None, tally: Tally) -> tuple[Tensor, States] | None:
    """Outputs float[P, 2H] and last states of a layer of both directions."""
    after: list[States] = []
    outputs = rows.values
    for level in range(layer.num_layers):
        own = [None if states is None else _levels(states, 2 * level + way, 1) for way in range(2)]
        kernels = [kernel_of(layer, range(level, level + 1), way) for way in range(2)]
        ways = (rows, rows.reversed())
        most = _most_left(layer, level)
        plans = [_plan(*each, most) for each in zip(ways, kernels, own, strict=True)]
        if not any(plans):
            tally.add(rows.total * 2 * (layer.num_layers - level))
            if not level:
                return None
            outputs, rest = _run_plain(layer, level, rows, states)
            return outputs, _stacked([*after, rest])
        outputs = _empty_outputs(layer, rows, 2)
        for way, columns in enumerate(outputs.chunk(2, 1)):
            plan = plans[way] or _Plan(ways[way], kernels[way], whole_rows(rows), [0, rows.steps])
            after.append(_run_plan(plan, own[way] or _zeros(layer, rows, 1), columns, tally))
        rows = rows.followed_by(outputs)
    return outputs, _stacked(after)


def overhead(layer: nn.RNNBase) -> float:
    """Cost of finding and copying what the rows of a layer share, as a share of the cost of the rows."""
    return _first_kernel(layer).sharing


def pays(layer: nn.RNNBase, left: float, steps: int) -> bool:
    """Whether sharing may pay in a layer.

    With chunks of the best length, calls and steps that are run again cost together √(2 · call · steps).

    Args:
        layer: the layer.
        left: the share of the steps of rows that must be run.
        steps: of all rows of a batch.
    """
    kernel = _first_kernel(layer)
    return left + math.sqrt(2 * kernel.call / steps) + kernel.sharing < _most_left(layer)


def _first_kernel(layer: nn.RNNBase) -> FusedKernel:
    return kernel_of(layer, range(1 if layer.bidirectional else layer.num_layers), 0)


def _most_left(layer: nn.RNNBase, level: int = 0) -> float:
    """Share of the cost of whole rows up to which sharing is worth while.

    The levels of a layer of both directions are run one by one, and the outputs of one that has shared have little in
    common. So the first level alone must save enough of all.
    """
    if not layer.bidirectional:
        return 1 - _LEAST_GAIN
    costs = [kernel_of(layer, range(each, each + 1), 0).step for each in range(level, layer.num_layers)]
    return 1 - _LEAST_GAIN * sum(costs) / costs[0]


def _plan(rows: Rows, kernel: FusedKernel, states: States | None, most: float) -> _Plan | None:
    """How to run the rows of one direction; None if that costs more than a share ``most`` of running whole rows."""
    most -= kernel.sharing
    if rows.count < 2 or rows.total < _LEAST_CALLS * kernel.call or most <= 0:
        return None
    beginnings = find_beginnings(rows, None if states is None else row_ids(list(states)), most)
    if beginnings is None:
        return None
    bounds = chunk_bounds(beginnings, rows.steps, kernel.call, rounded=kernel.compiled_by_size)
    cost = run_steps(beginnings, bounds) + (len(bounds) - 1) * kernel.call
    return _Plan(rows, kernel, beginnings, bounds) if cost < most * rows.total else None


def _run_plan(plan: _Plan, states: States, outputs: Tensor, tally: Tally) -> States:
    """Run the nodes of one direction.

    Args:
        plan: how.
        states: initial states of the rows.
        outputs: float[P, H], filled with the outputs.
        tally: counts the steps.

    Returns:
        the states after the last step of each row.
    """
    rows, kernel = plan.rows, plan.kernel
    after, state = tuple(map(torch.empty_like, states)), states
    for chunk in chunks(plan.beginnings, plan.bounds, rounded=kernel.compiled_by_size):
        values = rows.take(chunk.row, chunk.begin, chunk.end, chunk.sizes)
        source = torch.from_numpy(chunk.parent if chunk.begin else chunk.row)
        found, state = kernel.run(values, chunk.sizes, tuple(part.index_select(1, source) for part in state))
        rows.put(outputs, found, chunk.node, chunk.begin, chunk.sizes)
        tally.run += chunk.steps * kernel.levels
        ended = rows.ended(chunk.begin, chunk.end)
        if len(ended):
            for total, part in zip(after, state, strict=True):
                total[:, torch.from_numpy(ended)] = part[:, torch.from_numpy(chunk.node[ended])]
    tally.whole += rows.total * kernel.levels
    return after


def _empty_outputs(layer: nn.RNNBase, rows: Rows, ways: int) -> Tensor:
    return rows.values.new_empty(rows.total, (layer.proj_size or layer.hidden_size) * ways)


def _run_plain(layer: nn.RNNBase, level: int, rows: Rows, states: States | None) -> tuple[Tensor, States]:
    """Outputs float[P, 2H] and last states of the levels from one on, by one call for whole rows."""
    count = layer.num_layers - level
    kernel = kernel_of(layer, range(level, layer.num_layers), None)
    begin = _zeros(layer, rows, 2 * count) if states is None else _levels(states, 2 * level, 2 * count)
    return kernel.run(rows.values, rows.sizes, begin)


def _zeros(layer: nn.RNNBase, rows: Rows, count: int) -> States:
    """Initial states of so many levels and directions."""
    output = layer.proj_size or layer.hidden_size
    widths = (output, layer.hidden_size) if isinstance(layer, nn.LSTM) else (output,)
    return tuple(rows.values.new_zeros(count, rows.count, width) for width in widths)


def _levels(states: States, begin: int, count: int) -> States:
    return tuple(state[begin : begin + count] for state in states)


def _stacked(states: list[States]) -> States:
    """States of levels and directions, one above the other."""
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))
