"""Running variants: each distinct one once, in small parts, with shared prefixes run once.

There are two passes. The first hashes all variants and keeps one hash of each to find duplicates: only a few numbers
for each variant grow with their number. The second runs the distinct variants, those of one sequence together: by their
prefix tree if that saves enough, else as rows built batch by batch, in order of length. Within a batch, the recurrent
layers of a module may share what their rows have in common; the batches are larger then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ..data.batch import Batch
from .batching import equal_parts, in_batches
from .cost import Cost
from .hashing import row_hashes, unique_keys
from .layer_sharing import LayerSharing
from .prefix_tree import count_prefixes, reversed_within
from .shared_prefixes import Shareable, prefix_trees, rows_at_once, run_shared, sharing_pays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .prefix_tree import PrefixTree
    from .variants import Variants

# Values of rows hashed at once, and step hashes kept from the first pass for the second: 8 MiB each.
_VALUES_AT_ONCE: Final = 1 << 20
_HASHES_KEPT: Final = 1 << 20
# Parts of the variants from which it is judged how much they have in common.
_PARTS_JUDGED: Final = 2


@dataclass(frozen=True)
class Runner:
    """Runner of variants of a batch's sequences.

    Attributes:
        batch: the sequences.
        reference: values that replace absent features.
        call: runs the model: scores float[N, K] of inputs [N, T(, D)], lengths int64[N], the sequences they come
            from, int64[N], and the steps they come from, int64[N, T] or None; it counts its passes itself.
        check: checks that the output of a shared run is scores.
        cost: counter of the passes of shared runs.
        size: the most rows of one model call.
        equal: whether a batch holds sequences of one length only.
        device: the model's device.
        falling: whether the sequences of a batch are sorted by falling length.
        moves: whether context moves with the steps, so that variants with equal inputs may differ in it.
        shared: the model, if it can run shared prefixes once.
        layers: the recurrent layers of a model that cannot, if they can.
    """

    batch: Batch
    reference: Tensor
    call: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
    check: Callable[[Tensor, int], Tensor]
    cost: Cost
    size: int
    equal: bool
    device: torch.device
    falling: bool = False
    moves: bool = False
    shared: Shareable | None = None
    layers: LayerSharing | None = None

    def run(self, variants: Variants) -> Tensor:
        """Scores float[V, K]; identical variants are run once, and counted as executed once."""
        lengths, instance = variants.lengths(self.batch), variants.instance
        whole, keys = self._hash_all(variants, lengths)
        first, inverse = unique_keys(whole)
        distinct = first[instance[first].argsort(stable=True)]  # variants of one sequence have most in common
        self.cost.forward += len(lengths) - len(first)
        order, scores = zip(*self._parts(variants, distinct, lengths, keys), strict=True)
        place = torch.empty_like(lengths)
        place[torch.cat(order)] = torch.arange(len(first))
        return torch.cat(scores)[place[first][inverse]]

    def shared_run(self, variants: Variants, chosen: Tensor, lengths: Tensor, trees: list[PrefixTree]) -> Tensor:
        """Scores float[C, K] of some distinct variants, run by their prefix trees.

        Args:
            variants: all variants.
            chosen: int64[C], the positions of those that are run.
            lengths: int64[C], of these.
            trees: their prefix tree for each direction; see :meth:`trees`.
        """

        def at(row: Tensor, step: Tensor) -> Tensor:
            return variants.at(chosen[row], step, self.batch, self.reference)

        return self.check(run_shared(self._shareable, trees, lengths, at, self.device), len(chosen))

    def trees(self, keys: Tensor, lengths: Tensor) -> list[PrefixTree]:
        """Prefix tree for each direction, of rows with step hashes int64[R, T] and lengths int64[R]."""
        return prefix_trees(self._shareable, keys[:, : int(lengths.max())], lengths)

    def hashes(self, variants: Variants, chosen: Tensor, lengths: Tensor) -> Tensor:
        """Step hashes int64[R, T] of some variants, 0 beyond their lengths int64[R]."""
        keys = variants.prints(chosen, self.batch, self.reference)
        if int(lengths.min()) == keys.shape[1]:
            return keys
        return keys * (torch.arange(keys.shape[1]) < lengths[:, None])

    @property
    def _shareable(self) -> Shareable:
        if self.shared is None:
            raise TypeError("The model offers nothing to share.")
        return self.shared

    def _hash_all(self, variants: Variants, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Hash int64[V] of each variant, and the hashes int64[V, T] of its steps.

        The step hashes are None if they are too many to keep, or are not needed again.
        """
        values = self.batch.inputs[0].numel()
        keep = (self.shared is not None or self.layers is not None) and len(lengths) * self.batch.inputs.shape[
            1
        ] <= _HASHES_KEPT
        whole, by_step = [], []
        for part in torch.arange(len(lengths)).split(max(1, _VALUES_AT_ONCE // values)):
            keys = self.hashes(variants, part, lengths[part])
            owner = variants.instance[part] if self.batch.context else torch.zeros_like(part)
            columns = [lengths[part, None], owner[:, None], keys]
            origins = variants.origins(part, self.batch) if self.moves else None
            if origins is not None:
                columns.append(origins * (torch.arange(origins.shape[1]) < lengths[part, None]))
            whole.append(row_hashes(torch.cat(columns, 1)))
            by_step += [keys] if keep else []
        return torch.cat(whole), torch.cat(by_step) if keep else None

    def _parts(
        self, variants: Variants, distinct: Tensor, lengths: Tensor, keys: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions of distinct variants with their scores, part by part."""
        if self.shared is None:
            size = self.size if self.layers is None else self._size(self.layers, variants, distinct, lengths, keys)
            yield from self._plain(variants, distinct, lengths, size)
            return
        for chosen in equal_parts(distinct, rows_at_once(self.shared, self.batch.inputs)):
            own = lengths[chosen]
            trees = self.trees(self.hashes(variants, chosen, own) if keys is None else keys[chosen], own)
            if sharing_pays(self.shared, trees, own):
                yield chosen, self.shared_run(variants, chosen, own, trees)
                self.cost.ran(len(chosen), 0)
                self.cost.steps += sum(tree.steps for tree in trees) // len(trees)
            else:
                yield from self._plain(variants, chosen, lengths, self.size)

    def _size(
        self, layers: LayerSharing, variants: Variants, distinct: Tensor, lengths: Tensor, keys: Tensor | None
    ) -> int:
        """The most rows of one model call: more if the distinct variants have much in common.

        A few parts of them are judged.
        """
        parts = equal_parts(distinct, layers.rows)
        left = whole = 0
        for chosen in parts[:: -(-len(parts) // _PARTS_JUDGED)]:
            own = lengths[chosen]
            words = self.hashes(variants, chosen, own) if keys is None else keys[chosen]
            left += count_prefixes(words, own)
            whole += int(own.sum()) * layers.directions
            if layers.directions == 2:
                left += count_prefixes(reversed_within(words, own), own)
        batches = in_batches(lengths[distinct], layers.rows, equal=self.equal)
        layers.judge(left / whole, int(lengths[distinct].sum()) // len(batches))
        return layers.rows if layers.larger else self.size

    def _plain(
        self, variants: Variants, distinct: Tensor, lengths: Tensor, size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions of distinct variants with their scores, batch by batch, from plain forward passes."""
        for part in in_batches(lengths[distinct], size, equal=self.equal, falling=self.falling):
            chosen = distinct[part]
            own = lengths[chosen]
            rows = variants.rows(chosen, self.batch, self.reference)[:, : int(own.max())]
            origins = variants.origins(chosen, self.batch) if self.moves else None
            yield chosen, self.call(rows, own, variants.instance[chosen], origins)
