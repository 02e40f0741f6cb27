"""Changes of the explained models against a baseline: other weights, other quality, other preparation of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..reports.number_format import format_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..results.cells import Cell
    from .match_cells import CellPair


@dataclass(frozen=True)
class ModelChange:
    """Change of the models of one task whose explanations are compared.

    Attributes:
        task: spec.
        models: the number of models on each side.
        retrained: how many of them were trained again.
        measure: name of the quality, such as ``"accuracy"``; empty if it is not known on both sides.
        baseline, run: mean quality of the models; NaN if it is not known.
        sequences: number of explained sequences that the quality was measured on; 0 for held-out ones.
        shared: number of sequences that are compared, of those matched by their ids; 0 if the data are the same.
        of: number of explained sequences of the run.
    """

    task: str
    models: int
    retrained: int
    measure: str = ""
    baseline: float = math.nan
    run: float = math.nan
    sequences: int = 0
    shared: int = 0
    of: int = 0

    def __str__(self) -> str:
        parts = []
        if self.retrained:
            count = f"{self.retrained} of {self.models} models were" if self.models > 1 else "the model was"
            parts.append(f"{count} trained again (other weights)")
        else:
            parts.append("the weights are the same")
        if self.measure:
            where = f"on its {self.sequences} explained sequences" if self.sequences else "on held-out data"
            parts.append(f"{self.measure} {where} {_moved(self.baseline, self.run)}")
        elif self.retrained:
            parts.append("its accuracy is not known, because targets are not")
        if self.shared:
            parts.append(
                f"the data were prepared otherwise; {self.shared} of {self.of} sequences are matched by their ids"
            )
        return f"{self.task}: {'; '.join(parts)}"


def _moved(before: float, now: float) -> str:
    """Two figures in words."""
    if before == now:
        return f"is {format_number(now)}, as before"
    sign = "+" if now > before else ""
    return f"was {format_number(before)} and is {format_number(now)} ({sign}{format_number(now - before)})"


def model_changes(pairs: Mapping[tuple[str, str], Sequence[CellPair]]) -> tuple[ModelChange, ...]:
    """Changes of the models of a comparison, one for each task whose models or data are not those of the baseline.

    Args:
        pairs: cells by specs of task and method.
    """
    by_task: dict[str, dict[int, CellPair]] = {}
    for (task, _), cells in pairs.items():
        for cell in cells:
            by_task.setdefault(task, {}).setdefault(cell.key.model_seed, cell)
    return tuple(
        _change(task, list(models.values()))
        for task, models in by_task.items()
        if any(cell.retrained or cell.shared is not None for cell in models.values())
    )


def _change(task: str, models: Sequence[CellPair]) -> ModelChange:
    qualities = [tuple(map(_quality, pair.cells)) for pair in models]
    measures = {(each[0], each[2]) for sides in qualities for each in sides}
    known = len(measures) == 1 and all(not math.isnan(each[1]) for sides in qualities for each in sides)
    measure, sequences = next(iter(measures)) if known else ("", 0)
    shared = models[0].shared
    run, _ = models[0].cells
    return ModelChange(
        task,
        len(models),
        sum(pair.retrained for pair in models),
        measure,
        baseline=sum(old[1] for _, old in qualities) / len(qualities) if known else math.nan,
        run=sum(new[1] for new, _ in qualities) / len(qualities) if known else math.nan,
        sequences=sequences,
        shared=0 if shared is None else len(shared[0]),
        of=0 if shared is None else len(run.ids),
    )


def _quality(cell: Cell) -> tuple[str, float, int]:
    """Measure, score and number of explained sequences of a model's quality; NaN if it is not known."""
    if cell.competence is not None:
        return cell.competence.measure, cell.competence.score, 0
    if cell.quality is not None and cell.quality.score is not None:
        return cell.quality.measure, cell.quality.score, cell.quality.sequences
    return "", math.nan, 0
