"""How variants are run: built in parts, each different one once, in order of length, with what they share run once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from .batching import in_batches
from .cost import Cost
from .data import Batch
from .sharing import Shareable, bounds_of, plans, rows_at_once, run, worth
from .variants import mixed, prints, same

if TYPE_CHECKING:
    from .variants import Variants

# Values of rows built at once: 32 MiB of float32.
_VALUES_AT_ONCE: Final = 1 << 23


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
        shared: the model, if it offers to have common beginnings run once.
    """

    batch: Batch
    reference: Tensor
    call: Callable[[Tensor, Tensor, Tensor], Tensor]
    check: Callable[[Tensor, int], Tensor]
    cost: Cost
    size: int
    equal: bool
    shared: Shareable | None

    def run(self, variants: Variants) -> Tensor:
        """Scores float[V, K]; identical variants are run once, and counted once."""
        lengths, instance = variants.lengths(self.batch), variants.instance
        together = instance.argsort(stable=True)  # those of one sequence have most in common
        seen: dict[int, int] = {}
        place = torch.empty_like(lengths)
        found: list[Tensor] = []
        for group in in_batches(lengths[together], self._rows_at_once, equal=self.equal):
            chosen = together[group]
            cut, owners = lengths[chosen], instance[chosen]
            rows = variants.rows(chosen, self.batch, self.reference)[:, : int(cut.max())]
            bounds = self._bounds(rows.shape[1])
            keys = prints(rows, cut, bounds)
            owner = owners if self.batch.context else torch.zeros_like(owners)
            whole = mixed(torch.cat([cut[:, None], owner[:, None], keys], 1))
            first, inverse = same(whole)
            known = torch.tensor([seen.get(key, -1) for key in whole[first].tolist()], dtype=torch.int64)
            new = first[known < 0]
            known[known < 0] = torch.arange(len(seen), len(seen) + len(new))
            seen.update(zip(whole[new].tolist(), range(len(seen), len(seen) + len(new)), strict=True))
            place[chosen] = known[inverse]
            if len(new) < len(rows):
                rows, cut, owners, keys = rows[new], cut[new], owners[new], keys[new]
            if len(new):
                found.append(self._run(rows, cut, owners, keys, bounds))
        self.cost.forward += len(lengths) - len(seen)
        return torch.cat(found)[place]

    @property
    def _rows_at_once(self) -> int:
        fitting = _VALUES_AT_ONCE // self.batch.inputs[0].numel()
        if self.shared is not None:
            fitting = min(fitting, rows_at_once(self.shared, self.batch.inputs.shape[1]))
        return max(self.size, fitting)

    def _bounds(self, steps: int) -> list[int]:
        return [0, steps] if self.shared is None else bounds_of(self.batch.inputs.shape[1], steps)

    def _run(self, rows: Tensor, lengths: Tensor, owners: Tensor, keys: Tensor, bounds: list[int]) -> Tensor:
        """Scores of different rows in order of length: what they have in common is run once, if that saves enough."""
        if self.shared is not None and len(rows) > 1:
            planned = plans(self.shared, rows, lengths, keys, bounds)
            if worth(planned, lengths):
                found = run(self.shared, rows, lengths, planned, self.size)
                self.cost.forward += len(rows)
                self.cost.executed += len(rows)
                self.cost.steps += sum(own.steps for own in planned) // len(planned)
                return self.check(found, len(rows))
        parts = []
        for part in torch.arange(len(rows)).split(self.size):
            cut = lengths[part]
            parts.append(self.call(rows[part, : int(cut.max())], cut, owners[part]))
        return torch.cat(parts)
