"""Mortality: who dies in hospital, by the first two days in intensive care."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
import torch

from ....errors import DataError, ParameterError
from ....plugins import register
from ...data.batch import Batch, Competence, Names
from ...downloads.locate import find, located
from ...models.evaluation import auroc
from ...models.networks import RecurrentNet
from ...models.training import Recipe
from ...readers.physionet import DESCRIPTORS, HOURS, PARAMETERS, Stay, gridded, read_deaths, read_stay
from ...trained import Dataset, TrainedTask, background, sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

_UNITS: Final = ("coronary care", "cardiac surgery recovery", "medical intensive care", "surgical intensive care")
_NUMBERS: Final = tuple(name for name in DESCRIPTORS if name != "ICUType")
_FEATURES: Final = (
    *PARAMETERS,
    *(f"{name} measured" for name in PARAMETERS),
    *(f"{name} hours since" for name in PARAMETERS),
    *(f"{name} on admission" for name in _NUMBERS),
    *(f"unit: {unit}" for unit in _UNITS),
)
# Of what was measured, the share at either end that is taken for a slip and set to the border.
_SLIPS: Final = 0.001
_HELD_OUT_SHARE: Final = 0.25


@register
@dataclass(frozen=True)
class Mortality(TrainedTask):
    """Whether a patient in intensive care dies in hospital, by what was measured in the first 48 hours.

    A step is an hour. Its features are, for each of 37 parameters (blood values, pressures, temperature, urine, …),

    * its value: the mean of what was measured in the hour, else the last one before; standardised by mean and deviation
      of the measurements in the training stays, and 0 before the first. The lowest and the highest thousandth of them
      are set to their borders first: among them are slips of the pen;
    * "… measured": 1 if it was measured in the hour, else 0;
    * "… hours since": hours since it was measured last, or since admission; standardised;

    and, the same in all steps, what is known on admission: age, gender (1 male), height and weight, standardised,
    unknown ones 0, and which of four units it is. Patients of whom nothing was measured are kept: so it was.

    A quarter of the patients of each of the ``sets`` (set a has 4,000), a fixed sample with its share of deaths, is
    held out; a patient has one stay. One patient in seven dies, so competence is AUROC, which no share of the classes
    changes; the baseline, one half, is that of chance. The explained output is death for everybody, whoever is held to
    survive, and half of the explained patients died (fewer, where there are not so many). The reference is 0: the mean
    value, not measured, at the mean distance from the last measurement. The model is a GRU; its states are averaged
    over the hours.

    Truth: not known.

    Source: Silva et al. 2012. Values, masks and time gaps: Che et al. 2018, "Recurrent Neural Networks for Multivariate
    Time Series with Missing Values", section 2 (there the gaps decay the values; here they are plain features).
    """

    name: ClassVar[str] = "physionet2012"
    application: ClassVar[str] = "medical diagnosis"
    source: ClassVar[str] = "https://physionet.org/content/challenge-2012/1.0.0/"
    licence: ClassVar[str] = "Open Data Commons Attribution 1.0"
    citation: ClassVar[str] = (
        "I. Silva, G. Moody, D. J. Scott, L. A. Celi, R. G. Mark: Predicting In-Hospital Mortality of ICU Patients: "
        "The PhysioNet/Computing in Cardiology Challenge 2012. Computing in Cardiology 39, 245–248, 2012"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("physionet2012",)
    recipe: ClassVar[Recipe] = Recipe(epochs=10, learning_rate=3e-3, batch_size=64, weight_decay=0.1)

    hidden: int = 32
    sets: tuple[Literal["a", "b", "c"], ...] = ("a",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sets or len(set(self.sets)) < len(self.sets):
            raise ParameterError(f"{self.name}: sets={'/'.join(self.sets)} does not name one or more different sets.")

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`.

        Raises:
            DataError: the data set is not here, or a file of it is damaged or missing.
            ParameterError: more are to be explained than are held out.
        """
        folder = located("physionet2012")
        stays: list[Stay] = []
        died: list[bool] = []
        held: list[bool] = []
        for letter in self.sets:
            here, deaths = _stays(folder, letter)
            stays += here
            died += deaths
            held += _held_out(deaths, letter).tolist()
        targets, test_rows = torch.tensor(died).long(), np.array(held)
        inputs = torch.from_numpy(_inputs(stays, ~test_rows))
        train, test = (_batch(inputs, targets, torch.from_numpy(rows)) for rows in (~test_rows, test_rows))
        return Dataset(
            train=train,
            test=test,
            explained=test.select(self._explained(test.targets)),
            reference=torch.zeros(()),
            background=background(train, self.name),
            names=Names(features=_FEATURES, outputs=("survived", "died")),
        )

    def network(self) -> nn.Module:
        """A GRU; the mean of its states is read out."""
        return RecurrentNet(len(_FEATURES), self.hidden, 2, cell="gru", pooling="mean", dropout=0.5)

    def target(self, data: Dataset) -> Tensor:
        """Death, for everybody."""
        return torch.ones(len(data.explained), dtype=torch.int64)

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """AUROC of death against survival, of the held-out patients; the baseline is chance."""
        scores = model(data.test.inputs, data.test.lengths)
        score = auroc(scores[:, 1] - scores[:, 0], data.test.targets)
        return Competence("AUROC", score, gate=0.8, baseline=0.5)

    def _explained(self, targets: Tensor) -> Tensor:
        """Rows of the test set, in order: half of them died, as far as there are so many."""
        if self.instances > len(targets):
            raise ParameterError(f"{self.name}: instances={self.instances}, but only {len(targets)} are held out.")
        survivors, dead = (targets == 0).nonzero().flatten(), (targets == 1).nonzero().flatten()
        count = max(min(self.instances // 2, len(dead)), self.instances - len(survivors))
        chosen = (
            dead[sample(len(dead), count, self.name, "explained", "died")],
            survivors[sample(len(survivors), self.instances - count, self.name, "explained", "survived")],
        )
        return torch.cat(chosen).sort().values


def _stays(folder: Path, letter: str) -> tuple[list[Stay], list[bool]]:
    """The stays of a set in the order of their numbers, and who died."""
    outcomes_file = find(folder, f"Outcomes-{letter}.txt")
    deaths = read_deaths(outcomes_file)
    stays = [read_stay(path) for path in sorted(find(folder, f"set-{letter}").glob("*.txt"))]
    known = [stay.identifier for stay in stays]
    if sorted(known) != sorted(deaths):
        strange = min(set(known) ^ set(deaths), default=max(known, key=known.count))
        raise DataError(
            f"Patient {strange} has not exactly one record in set-{letter} and one outcome in {outcomes_file}: fetch "
            "the data set again."
        )
    return stays, [deaths[identifier] for identifier in known]


def _held_out(deaths: list[bool], letter: str) -> NDArray[np.bool_]:
    """bool[N]: a fixed quarter of those who died, and one of those who did not."""
    held = np.zeros(len(deaths), dtype=np.bool_)
    for outcome in (False, True):
        rows = np.flatnonzero(np.array(deaths) == outcome)
        chosen = sample(len(rows), round(_HELD_OUT_SHARE * len(rows)), "physionet2012", letter, outcome)
        held[rows[chosen.numpy()]] = True
    return held


def _batch(inputs: Tensor, targets: Tensor, rows: Tensor) -> Batch:
    return Batch(inputs[rows], torch.full((int(rows.sum()),), HOURS), targets[rows])


def _inputs(stays: list[Stay], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32[N, 48, D]: every stay by the hour, standardised by the training stays."""
    grids = [gridded(stay) for stay in stays]
    values = np.stack([grid.values for grid in grids])
    measured = np.stack([grid.measured for grid in grids])
    gaps = np.stack([grid.hours_since for grid in grids])
    known = np.array([[stay.descriptors.get(name, np.nan) for name in _NUMBERS] for stay in stays])
    units = np.array([[stay.descriptors.get("ICUType") == number for number in range(1, 5)] for stay in stays])
    admission = np.concatenate([_columns(known, ~np.isnan(known), train), units], axis=1)
    parts = (
        _columns(values, measured, train),
        measured,
        (gaps - gaps[train].mean((0, 1))) / gaps[train].std((0, 1)),
        np.broadcast_to(admission[:, None], (len(stays), HOURS, admission.shape[1])),
    )
    return np.concatenate(parts, axis=2, dtype=np.float32)


def _columns(values: NDArray[np.float64], measured: NDArray[np.bool_], train: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values [N, …, P] without slips, standardised by what was measured in training; 0 where there is none."""
    found = np.zeros_like(values)
    for column in range(values.shape[-1]):
        learnt = values[train, ..., column][measured[train, ..., column]]
        if len(learnt) == 0:
            continue  # never measured: it stays 0
        lowest, highest = np.quantile(learnt, (_SLIPS, 1 - _SLIPS))
        deviation = learnt.clip(lowest, highest).std() or 1.0
        scaled = (values[..., column].clip(lowest, highest) - learnt.clip(lowest, highest).mean()) / deviation
        found[..., column] = np.nan_to_num(scaled)
    return found
