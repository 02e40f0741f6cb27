"""Running many variants of few sequences: what they have in common is run once.

A recurrent state depends on what came before it and on nothing else, and variants of one sequence differ in few places.
Rows that have read the same up to a step are one *node* (:mod:`xrnnbench.tasks.engine.prefix_tree`): its state is made
from that of the node it comes from, and a step's content is put through the input weights once however many nodes read
it. Nothing is approximated: a row's states are those of the row it was one with.

Each direction is a sequence of its own: the backward one shares what follows. What a model does with a step is its own
affair (:class:`Reader`); how its states become scores too (:class:`Shareable`).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch

from .hashing import same
from .prefix_tree import Plan, Reading, States, plan_of, reversed_within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

# What reading one step costs beside its rows, in hidden values (rows × units). Measured: docs/engine.md.
_CALL: Final = 8000
# Hidden values of a row (steps × units) from which on looking for what can be shared pays. Measured: docs/engine.md.
_LARGE: Final = 900
# Bytes that rows planned and run together may take, and hidden values of one step that still stay in the cache.
_BYTES_AT_ONCE: Final = 1 << 26
_VALUES_AT_ONCE: Final = 1 << 18
_LEAST_ROWS: Final = 64


class Reader(Protocol):
    """Reads one direction of a model, step by step; a state is a tuple of tensors [N, …]."""

    def begin(self) -> tuple[Tensor, ...]:
        """The state before anything was read, of one row."""

    def features(self, contents: Tensor) -> Tensor:
        """float[N, F]: whatever can be said of steps [N(, D)] without knowing the state."""

    def advance(self, features: Tensor, state: Any) -> tuple[Tensor, Any]:  # noqa: ANN401  # its own affair
        """Read one step of N rows; what it is given may be overwritten if it is returned in no state.

        Returns:
            the outputs float[N, H], and the state after the step.
        """


class Shareable(Protocol):
    """What a module offers to have common beginnings run once.

    Attributes:
        shared_directions: how many ways it reads a sequence: 1, or 2 if also backwards; 0 if nothing can be shared.
        shared_width: H, units of a state of one direction.
        shared_rate: what reading a step of a row costs, one step of a batch in ``forward`` being 1. It decides from
            which savings on sharing is worth it.
        shared_reading: what :meth:`read_out` asks of the states: ``"last"``, ``"mean"``, or ``"all"`` of them.
    """

    shared_directions: int
    shared_width: int
    shared_rate: float
    shared_reading: Reading

    def reader(self, direction: int) -> Reader:
        """What reads a direction: 0 forwards, 1 backwards."""

    def read_out(self, states: list[States], lengths: Tensor) -> Tensor:
        """The scores float[R, K] from the outputs of each direction."""


def shareable(model: nn.Module) -> bool:
    """Whether a module offers :class:`Shareable`, and has something to share.

    A class that has a forward of its own has to offer it anew: what it inherited speaks of another forward.
    """
    if not (getattr(model, "shared_directions", 0) and hasattr(model, "reader") and hasattr(model, "read_out")):
        return False
    order = type(model).__mro__
    place = {
        name: next((depth for depth, cls in enumerate(order) if name in vars(cls)), len(order))
        for name in ("forward", "reader", "read_out")
    }
    return "forward" not in vars(model) and place["forward"] >= max(place["reader"], place["read_out"])


def rows_at_once(model: Shareable, inputs: Tensor) -> int:
    """How many rows of the kind of inputs [B, T(, D)] are planned and run together."""
    steps, width = inputs.shape[1], model.shared_width
    kept = steps * width * model.shared_directions if model.shared_reading == "all" else 0
    own = 4 * (kept + 10 * width) + steps * 40 + inputs[0].numel() * inputs.element_size()
    return max(min(_BYTES_AT_ONCE // own, _VALUES_AT_ONCE // width), _LEAST_ROWS)


def large(model: Shareable, steps: int) -> bool:
    """Whether running a row of so many steps costs more than finding out what it has in common with others."""
    return steps * model.shared_width * model.shared_directions >= _LARGE


def plans(model: Shareable, keys: Tensor, lengths: Tensor) -> list[Plan]:
    """The plan of each direction in which a module reads.

    Args:
        model: the module.
        keys: int64[R, T], the prints of the steps of different rows; 0 beyond a row's length.
        lengths: int64[R], at most T.
    """
    found = [plan_of(keys, lengths)]
    return found if model.shared_directions == 1 else [*found, plan_of(reversed_within(keys, lengths), lengths)]


def worth(model: Shareable, found: list[Plan], lengths: Tensor) -> bool:
    """Whether plans cost less than running rows of those lengths whole."""
    steps = sum(model.shared_rate * own.steps + len(own.counts) * _CALL / model.shared_width for own in found)
    return steps < int(lengths.sum()) * len(found)


def run(
    model: Shareable, found: list[Plan], lengths: Tensor, at: Callable[[Tensor, Tensor], Tensor], device: torch.device
) -> Tensor:
    """Scores float[R, K] of R rows, by the plan of each direction.

    Args:
        model: the module.
        found: the plans.
        lengths: int64[R].
        at: single steps [N(, D)] of the rows: step int64[N] of row int64[N].
        device: where the module is.
    """
    states = []
    lengths_there = lengths.to(device)
    for direction, own in enumerate(found):
        first, which = _read(own)
        row, step = own.row[first], own.step[first]
        contents = at(row, lengths[row] - 1 - step if direction else step).to(device)
        read = States(own.to(device), lengths_there, model.shared_reading, backwards=direction == 1)
        _follow(model.reader(direction), read, contents.split(step.bincount().tolist()), which)
        states.append(read)
    return model.read_out(states, lengths_there).cpu()


def _read(own: Plan) -> tuple[Tensor, list[Tensor]]:
    """What the nodes of a plan read.

    Returns:
        the nodes int64[U] that are the first in their step to read something, and for each step int64[N], which of the
        things read in it each node reads.
    """
    first, which = zip(*(same(part) for part in own.content.split(own.counts)), strict=True)
    begins = accumulate(own.counts[:-1], initial=0)
    return torch.cat([new + begin for new, begin in zip(first, begins, strict=True)]), list(which)


def _follow(reader: Reader, states: States, contents: Sequence[Tensor], which: Sequence[Tensor]) -> None:
    """Run the nodes of a plan step by step.

    Args:
        reader: of the direction.
        states: of the plan; they take the outputs.
        contents: for each step [U, …], what is read there.
        which: for each step int64[N], which of it each node reads.
    """
    state = reader.begin()
    parents = states.plan.parent.split(states.plan.counts)
    for step, (read, of, parent) in enumerate(zip(contents, which, parents, strict=True)):
        features = reader.features(read)
        if len(read) < len(of):
            features = features.index_select(0, of.to(features.device))
        state = tuple(part.index_select(0, parent) for part in state)
        outputs, state = reader.advance(features, state)
        states.add(step, parent, outputs)
