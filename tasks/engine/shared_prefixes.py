"""Running many variants of few sequences, with their shared prefixes run once.

A recurrent state depends only on the steps before it, and variants of one sequence differ in few places. Rows that have
read the same steps are one *node* of a prefix tree (:mod:`xrnnbench.tasks.engine.prefix_tree`): its state is computed
from that of its parent, and a step is multiplied by the input weights once, however many nodes read it. Nothing is
approximated: rows of one node have the same states.

Each direction has a tree of its own; the backward one shares suffixes. The model itself defines how it reads a step
(:class:`Reader`) and how its states become scores (:class:`Shareable`).
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch

from .hashing import unique_keys
from .prefix_tree import PrefixTree, Reading, States, build_prefix_tree, reversed_within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

# Cost of reading one step apart from its rows, in hidden values (rows × units). Measured: docs/engine.md.
_CALL: Final = 8000
# Hidden values of a row (steps × units) from which on the search for shared prefixes pays. Measured: docs/engine.md.
_LARGE: Final = 900
# Bytes that the rows of one tree may take, and hidden values of one step that still fit into the cache.
_BYTES_AT_ONCE: Final = 1 << 26
_VALUES_AT_ONCE: Final = 1 << 18
_LEAST_ROWS: Final = 64


class Reader(Protocol):
    """Step-by-step reader of one direction of a model; a state is a tuple of tensors [N, …]."""

    def begin(self) -> tuple[Tensor, ...]:
        """Initial state of one row."""

    def features(self, contents: Tensor) -> Tensor:
        """Features float[N, F] of steps [N(, D)]: the part of the computation that does not depend on the state."""

    def advance(self, features: Tensor, state: Any) -> tuple[Tensor, Any]:  # noqa: ANN401  # each reader has its own
        """Read one step of N rows; the arguments may be overwritten, unless they are part of a returned state.

        Returns:
            the outputs float[N, H], and the state after the step.
        """


class Shareable(Protocol):
    """Protocol of modules whose shared prefixes can be run once.

    Attributes:
        shared_directions: number of directions in which the module reads a sequence: 1, or 2 if also backwards; 0 if
            nothing can be shared.
        shared_width: H, units of a state of one direction.
        shared_rate: cost of reading a step of a row, relative to one step of a batch in ``forward``. It decides how
            much must be saved for sharing to pay.
        shared_reading: the outputs that :meth:`read_out` needs: ``"last"``, ``"mean"``, or ``"all"`` of them.
    """

    shared_directions: int
    shared_width: int
    shared_rate: float
    shared_reading: Reading

    def reader(self, direction: int) -> Reader:
        """Reader of a direction: 0 forwards, 1 backwards."""

    def read_out(self, states: list[States], lengths: Tensor) -> Tensor:
        """Scores float[R, K] of R rows with lengths int64[R], from the outputs of each direction."""


def shareable(model: nn.Module) -> bool:
    """Whether a module implements :class:`Shareable`, and has something to share.

    A subclass with a ``forward`` of its own must implement the protocol itself: what it inherits belongs to another
    ``forward``.
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
    """Number of rows like inputs [B, T(, D)] that are put into one prefix tree and run together."""
    steps, width = inputs.shape[1], model.shared_width
    outputs = steps * width * model.shared_directions if model.shared_reading == "all" else 0
    bytes_per_row = 4 * (outputs + 10 * width) + steps * 40 + inputs[0].numel() * inputs.element_size()
    return max(min(_BYTES_AT_ONCE // bytes_per_row, _VALUES_AT_ONCE // width), _LEAST_ROWS)


def search_pays(model: Shareable, steps: int) -> bool:
    """Whether running a row of so many steps costs more than finding the prefixes it shares with others."""
    return steps * model.shared_width * model.shared_directions >= _LARGE


def prefix_trees(model: Shareable, keys: Tensor, lengths: Tensor) -> list[PrefixTree]:
    """Prefix tree of rows for each direction in which a module reads.

    Args:
        model: the module.
        keys: int64[R, T], the hashes of the steps of different rows; 0 beyond a row's length.
        lengths: int64[R], at most T.
    """
    trees = [build_prefix_tree(keys, lengths)]
    if model.shared_directions == 1:
        return trees
    return [*trees, build_prefix_tree(reversed_within(keys, lengths), lengths)]


def sharing_pays(model: Shareable, trees: list[PrefixTree], lengths: Tensor) -> bool:
    """Whether running prefix trees costs less than running whole rows of lengths int64[R]."""
    steps = sum(model.shared_rate * tree.steps + len(tree.counts) * _CALL / model.shared_width for tree in trees)
    return steps < int(lengths.sum()) * len(trees)


def run_shared(
    model: Shareable,
    trees: list[PrefixTree],
    lengths: Tensor,
    at: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
) -> Tensor:
    """Scores float[R, K] of R rows, computed along the prefix tree of each direction.

    Args:
        model: the module.
        trees: one prefix tree for each direction.
        lengths: int64[R].
        at: gives single steps [N(, D)] of the rows, from row int64[N] and step int64[N].
        device: the module's device.
    """
    states = []
    lengths_there = lengths.to(device)
    for direction, tree in enumerate(trees):
        first, inverse = _distinct_contents(tree)
        row, step = tree.row[first], tree.step[first]
        contents = at(row, lengths[row] - 1 - step if direction else step).to(device)
        outputs = States(tree.to(device), lengths_there, model.shared_reading, backwards=direction == 1)
        _run_nodes(model.reader(direction), outputs, contents.split(step.bincount().tolist()), inverse)
        states.append(outputs)
    return model.read_out(states, lengths_there).cpu()


def _distinct_contents(tree: PrefixTree) -> tuple[Tensor, list[Tensor]]:
    """Distinct contents that the nodes of each step read.

    Returns:
        the nodes int64[U] that are the first in their step to read a content, and for each step the index int64[N] of
        the content that each node reads among those of the step.
    """
    first, inverse = zip(*(unique_keys(part) for part in tree.content.split(tree.counts)), strict=True)
    begins = accumulate(tree.counts[:-1], initial=0)
    return torch.cat([new + begin for new, begin in zip(first, begins, strict=True)]), list(inverse)


def _run_nodes(reader: Reader, states: States, contents: Sequence[Tensor], inverse: Sequence[Tensor]) -> None:
    """Run the nodes of a prefix tree step by step.

    Args:
        reader: of the direction.
        states: of the tree; they receive the outputs.
        contents: for each step [U, …], the distinct contents that are read.
        inverse: for each step int64[N], the index of the content that each node reads.
    """
    state = reader.begin()
    parents = states.tree.parent.split(states.tree.counts)
    for step, (distinct, index, parent) in enumerate(zip(contents, inverse, parents, strict=True)):
        features = reader.features(distinct)
        if len(distinct) < len(index):
            features = features.index_select(0, index.to(features.device))
        state = tuple(part.index_select(0, parent) for part in state)
        outputs, state = reader.advance(features, state)
        states.add(step, parent, outputs)
