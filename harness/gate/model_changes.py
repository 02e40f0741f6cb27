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
        retrained: how many of them are other models.
        reweighted: how many of them have other weights; the others have other code, or are functions.
        measure: name of the quality, such as ``"accuracy"``; empty if it is not known on both sides.
        baseline, run: mean quality of the models; NaN if it is not known.
        sequences: numbers of explained sequences that the quality was measured on, in the baseline and in the run; 0
            for held-out ones.
        shared: number of sequences that are compared, of those matched by their ids; 0 if the data are the same.
        of: numbers of explained sequences of the baseline and of the run.
    """

    task: str
    models: int
    retrained: int
    reweighted: int
    measure: str = ""
    baseline: float = math.nan
    run: float = math.nan
    sequences: tuple[int, int] = (0, 0)
    shared: int = 0
    of: tuple[int, int] = (0, 0)

    @property
    def loss(self) -> float:
        """Loss of quality; NaN if it is not known."""
        return self.baseline - self.run

    def __str__(self) -> str:
        parts = [self._models(), self._quality()]
        if self.shared:
            before, now = self.of
            missing = f"; {before - self.shared} of the baseline are missing" if self.shared < before else ""
            parts.append(
                f"the data were prepared otherwise; {self.shared} sequences are matched by their ids, of {before} of "
                f"the baseline and {now} of the run{missing}"
            )
        return f"{self.task}: {'; '.join(filter(None, parts))}"

    def _models(self) -> str:
        """What became of the weights, in words."""
        if not self.retrained:
            return "the weights are the same"
        which = f"{self.retrained} of {self.models} models" if self.models > 1 else "the model"
        if self.reweighted:
            return f"{which} {'were' if self.models > 1 else 'was'} trained again (other weights)"
        return f"{which} {'have' if self.models > 1 else 'has'} the same weights and other code or outputs"

    def _quality(self) -> str:
        """What became of the quality, in words."""
        if not self.measure:
            return "its accuracy is not known" if self.retrained else ""
        before, now = self.sequences
        if before != now:
            return (
                f"{self.measure} was {format_number(self.baseline)} on its {before} explained sequences and is "
                f"{format_number(self.run)} on its {now}"
            )
        return f"{self.measure} {f'on its {now} explained sequences' if now else 'on held-out data'} " + _moved(
            self.baseline, self.run
        )


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
    cells = [pair.cells for pair in models]
    run, baseline = ([_quality(sides[place]) for sides in cells] for place in (0, 1))
    every = (*run, *baseline)
    known = len({each[0] for each in every}) == 1 and not any(math.isnan(each[1]) for each in every)
    shared = models[0].shared
    new, old = cells[0]
    return ModelChange(
        task,
        len(models),
        sum(pair.retrained for pair in models),
        sum(sides[0].fingerprints.model != sides[1].fingerprints.model for sides in cells),
        measure=run[0][0] if known else "",
        baseline=sum(each[1] for each in baseline) / len(baseline) if known else math.nan,
        run=sum(each[1] for each in run) / len(run) if known else math.nan,
        sequences=(baseline[0][2], run[0][2]) if known else (0, 0),
        shared=0 if shared is None else len(shared[0]),
        of=(0, 0) if shared is None else (len(old.ids), len(new.ids)),
    )


def _quality(cell: Cell) -> tuple[str, float, int]:
    """Measure, score and number of explained sequences of a model's quality; NaN if it is not known."""
    if cell.competence is not None:
        return cell.competence.measure, cell.competence.score, 0
    if cell.quality is not None and cell.quality.score is not None:
        return cell.quality.measure, cell.quality.score, cell.quality.sequences
    return "", math.nan, 0
