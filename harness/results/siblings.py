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
        self._hashes: dict[tuple[str, int], dict[int, list[str]]] = {}
        for key, cell in cells.items():
            if cell is not None and cell.explained and cell.fit:
                hashes = self._hashes.setdefault((key.method.folder, key.explainer_seed), {})
                hashes[key.model_seed] = [cell.fingerprints.model, cell.fingerprints.attribution]

    def hash_of(self, key: Key) -> str:
        """Sha256 (64 hex digits) of the siblings of a cell, as records of metrics that compare models store it."""
        hashes = self._hashes.get((key.method.folder, key.explainer_seed), {})
        return fingerprint({str(seed): value for seed, value in hashes.items() if seed != key.model_seed})
