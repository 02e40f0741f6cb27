"""Siblings of cells: the attributions of the same method on the other models of a task, which some metrics compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .cells import Cell, Key


class Siblings:
    """Siblings of the cells of one task.

    Models under their competence gate are left out, because agreement with them means nothing.

    Args:
        cells: the cells of the task; None if a cell is missing.
    """

    def __init__(self, cells: Mapping[Key, Cell | None]) -> None:
        self._cells = cells
        self._alike: dict[tuple[str, int], list[Key]] = {}
        for key in cells:
            self._alike.setdefault((key.method.folder, key.explainer_seed), []).append(key)

    def of(self, key: Key) -> dict[int, Key]:
        """Keys of the siblings of a cell, by model seed, as the cells are now."""
        alike = self._alike.get((key.method.folder, key.explainer_seed), [])
        return {other.model_seed: other for other in alike if self._counts(key, other)}

    def hash_of(self, key: Key) -> str:
        """Sha256 (64 hex digits) of the siblings of a cell, as records of metrics that compare models store it."""
        cells = {seed: self._cells[other] for seed, other in self.of(key).items()}
        return fingerprint(
            {
                str(seed): [cell.fingerprints.model, cell.fingerprints.attribution]
                for seed, cell in cells.items()
                if cell is not None
            }
        )

    def _counts(self, key: Key, other: Key) -> bool:
        cell = self._cells[other]
        return other.model_seed != key.model_seed and cell is not None and cell.explained and cell.fit
