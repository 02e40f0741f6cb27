"""How variants are run: each different one once, in parts that stay small, with what they share run once.

Two passes. The first asks for the prints of all variants and keeps one number of each, by which equal ones are known:
a few such numbers are all that grows with the variants. The second runs the different ones, those of one sequence
together: by common beginnings if that saves enough, else as rows built batch by batch, in order of length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ..data.batch import Batch
from .batching import evenly, in_batches
from .cost import Cost
from .hashing import mixed, same
from .shared_prefixes import Shareable, plans, rows_at_once, run, worth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .prefix_tree import Plan
    from .variants import Variants

# Values of rows printed at once, and prints kept from the first pass for the second: 8 MiB each.
_VALUES_AT_ONCE: Final = 1 << 20
_PRINTS_KEPT: Final = 1 << 20


@dataclass(frozen=True)
class Runner:
    """Runs variants of a batch's sequences.

    Attributes:
        batch: the sequences.
        reference: what absent features are replaced with.
        call: scores float[N, K] of inputs [N, T(, D)], lengths int64[N] and the sequences they come from, int64[N]; it
            counts what it runs.
        check: sees that what a shared run gave are scores.
        cost: what shared runs are counted in.
        size: how many rows the model is given at once.
        equal: whether only sequences of one length may be together.
        device: where the model is.
        shared: the model, if it offers to have common beginnings run once.
    """

    batch: Batch
    reference: Tensor
    call: Callable[[Tensor, Tensor, Tensor], Tensor]
    check: Callable[[Tensor, int], Tensor]
    cost: Cost
    size: int
    equal: bool
    device: torch.device
    shared: Shareable | None = None

    def run(self, variants: Variants) -> Tensor:
        """Scores float[V, K]; identical variants are run once, and counted once."""
        lengths, instance = variants.lengths(self.batch), variants.instance
        whole, keys = self._printed(variants, lengths)
        first, inverse = same(whole)
        different = first[instance[first].argsort(stable=True)]  # those of one sequence have most in common
        self.cost.forward += len(lengths) - len(first)
        order, found = zip(*self._parts(variants, different, lengths, keys), strict=True)
        place = torch.empty_like(lengths)
        place[torch.cat(order)] = torch.arange(len(first))
        return torch.cat(found)[place[first][inverse]]

    def shared_run(self, variants: Variants, chosen: Tensor, lengths: Tensor, planned: list[Plan]) -> Tensor:
        """Scores of some different variants by what they have in common, as planned."""

        def at(row: Tensor, step: Tensor) -> Tensor:
            return variants.at(chosen[row], step, self.batch, self.reference)

        return self.check(run(self._offer, planned, lengths, at, self.device), len(chosen))

    def planned(self, keys: Tensor, lengths: Tensor) -> list[Plan]:
        """What rows of prints int64[R, T] have in common."""
        return plans(self._offer, keys[:, : int(lengths.max())], lengths)

    def prints(self, variants: Variants, chosen: Tensor, lengths: Tensor) -> Tensor:
        """The prints int64[R, T] of some variants' steps, 0 beyond their lengths."""
        found = variants.prints(chosen, self.batch, self.reference)
        if int(lengths.min()) == found.shape[1]:
            return found
        return found * (torch.arange(found.shape[1]) < lengths[:, None])

    @property
    def _offer(self) -> Shareable:
        if self.shared is None:
            raise TypeError("The model offers nothing to share.")
        return self.shared

    def _printed(self, variants: Variants, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """What tells variants apart, int64[V], and their prints, if they are few and wanted again."""
        values = self.batch.inputs[0].numel()
        keep = self.shared is not None and len(lengths) * self.batch.inputs.shape[1] <= _PRINTS_KEPT
        whole, kept = [], []
        for part in torch.arange(len(lengths)).split(max(1, _VALUES_AT_ONCE // values)):
            keys = self.prints(variants, part, lengths[part])
            owner = variants.instance[part] if self.batch.context else torch.zeros_like(part)
            whole.append(mixed(torch.cat([lengths[part, None], owner[:, None], keys], 1)))
            kept += [keys] if keep else []
        return torch.cat(whole), torch.cat(kept) if keep else None

    def _parts(
        self, variants: Variants, different: Tensor, lengths: Tensor, keys: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Different variants, and their scores."""
        if self.shared is None:
            yield from self._plain(variants, different, lengths)
            return
        for chosen in evenly(different, rows_at_once(self.shared, self.batch.inputs)):
            own = lengths[chosen]
            planned = self.planned(self.prints(variants, chosen, own) if keys is None else keys[chosen], own)
            if worth(self.shared, planned, own):
                yield chosen, self.shared_run(variants, chosen, own, planned)
                self.cost.ran(len(chosen), 0)
                self.cost.steps += sum(part.steps for part in planned) // len(planned)
            else:
                yield from self._plain(variants, chosen, lengths)

    def _plain(self, variants: Variants, different: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The same, by the model itself."""
        for part in in_batches(lengths[different], self.size, equal=self.equal):
            chosen = different[part]
            own = lengths[chosen]
            rows = variants.rows(chosen, self.batch, self.reference)[:, : int(own.max())]
            yield chosen, self.call(rows, own, variants.instance[chosen])
