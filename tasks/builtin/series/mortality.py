"""In-hospital mortality prediction from the first two days in intensive care (PhysioNet 2012)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
import torch

from ....errors import DataError, ParameterError
from ....plugins import register
from ...data.batch import Batch, Competence, Names
from ...downloads.locate import find, located
from ...models.evaluation import auroc
from ...models.networks import Cell, RecurrentNet
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
# Share of the measurements at either end that are likely recording errors and are clipped.
_CLIPPED_SHARE: Final = 0.001
_HELD_OUT_SHARE: Final = 0.25


@register
@dataclass(frozen=True)
class Mortality(TrainedTask):
    """In-hospital mortality prediction from the measurements of the first 48 hours in intensive care.

    A step is an hour. Its features are, for each of 37 parameters (blood values, pressures, temperature, urine, …),

    * its value: the mean of the hour's measurements, or the last value before if there are none; standardised by mean
      and deviation of the measurements in the training stays, and 0 before the first. The lowest and the highest
      thousandth of the measurements are clipped first, because recording errors are among them;
    * "… measured": 1 if it was measured in the hour, else 0;
    * "… hours since": hours since the last measurement, or since admission; standardised;

    and, the same in all steps, the facts known on admission: age, gender (1 male), height and weight, standardised,
    unknown ones 0, and which of four units it is. Patients without any measurement are kept, as they occur in the data.

    A quarter of the patients of each of the ``sets`` (set a has 4,000) is held out: a fixed sample, stratified by
    outcome. A patient has one stay. One patient in seven dies, so competence is AUROC, which does not depend on the
    class frequencies; the baseline, one half, is chance. The explained output is death for every patient, whatever the
    model predicts, and half of the explained patients died (fewer, where there are not so many). The reference is 0:
    the mean value, not measured, at the mean distance from the last measurement. The model is a GRU; its states are
    averaged over the hours.

    ``cell=grud`` trains a GRU-D instead, which reads the masks and the time gaps as its equations say: the last
    measurement decays towards the mean, and the state towards 0, as the time since the measurement grows.

    Truth: not known.

    Attributes:
        cell: the recurrent cell; see :class:`xrnnbench.tasks.models.networks.RecurrentNet`.
        layers: number of stacked recurrent layers; 1 with ``cell=grud``, whose further layers would have no gaps.

    Source: Silva et al. 2012. Values, masks and time gaps: Che et al. 2018, "Recurrent Neural Networks for Multivariate
    Time Series with Missing Values", section 2 (there the gaps decay the values, as they do here with
    ``cell=grud``; for other cells they are plain features).
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

    later: ClassVar[frozenset[str]] = frozenset({"cell", "layers"})

    hidden: int = 32
    sets: tuple[Literal["a", "b", "c"], ...] = ("a",)
    cell: Literal[Cell, "grud"] = field(default="gru", kw_only=True)
    layers: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sets or len(set(self.sets)) < len(self.sets):
            raise ParameterError(f"{self.name}: sets={'/'.join(self.sets)} does not name one or more different sets.")
        if self.cell == "grud" and self.layers > 1:
            raise ParameterError(f"{self.name}: layers={self.layers} does not fit (a GRU-D has one layer: layers=1).")

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`.

        Raises:
            DataError: the data set is not downloaded, or a file of it is damaged or missing.
            ParameterError: ``instances`` exceeds the number of held-out patients.
        """
        folder = located("physionet2012")
        stays: list[Stay] = []
        died: list[bool] = []
        held: list[bool] = []
        for letter in self.sets:
            set_stays, deaths = _stays(folder, letter)
            stays += set_stays
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
        """A GRU with mean pooling over its states."""
        measured = len(PARAMETERS) if self.cell == "grud" else 0
        return RecurrentNet(
            len(_FEATURES),
            self.hidden,
            2,
            cell=self.cell,
            layers=self.layers,
            pooling="mean",
            dropout=0.5,
            measured=measured,
        )

    def target(self, data: Dataset) -> Tensor:
        """The output for death, for every patient, int64[B]."""
        return torch.ones(len(data.explained), dtype=torch.int64)

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """AUROC of death against survival on the held-out patients; the baseline is chance."""
        scores = model(data.test.inputs, data.test.lengths)
        score = auroc(scores[:, 1] - scores[:, 0], data.test.targets)
        return Competence("AUROC", score, gate=0.8, baseline=0.5)

    def _explained(self, targets: Tensor) -> Tensor:
        """Rows int64[B] of the test set to explain, in order; half of the patients died if there are enough."""
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
    """The stays of a set in the order of their numbers, and whether each patient died."""
    outcomes_file = find(folder, f"Outcomes-{letter}.txt")
    deaths = read_deaths(outcomes_file)
    stays = [read_stay(path) for path in sorted(find(folder, f"set-{letter}").glob("*.txt"))]
    identifiers = [stay.identifier for stay in stays]
    if sorted(identifiers) != sorted(deaths):
        unmatched = min(set(identifiers) ^ set(deaths), default=max(identifiers, key=identifiers.count))
        raise DataError(
            f"Patient {unmatched} does not have exactly one record in set-{letter} and one outcome in {outcomes_file}: "
            "fetch the data set again."
        )
    return stays, [deaths[identifier] for identifier in identifiers]


def _held_out(deaths: list[bool], letter: str) -> NDArray[np.bool_]:
    """Mask bool[N] of the held-out patients: a fixed quarter of those who died, and of those who survived."""
    held = np.zeros(len(deaths), dtype=np.bool_)
    for outcome in (False, True):
        rows = np.flatnonzero(np.array(deaths) == outcome)
        chosen = sample(len(rows), round(_HELD_OUT_SHARE * len(rows)), "physionet2012", letter, outcome)
        held[rows[chosen.numpy()]] = True
    return held


def _batch(inputs: Tensor, targets: Tensor, rows: Tensor) -> Batch:
    """The batch of the patients that the mask ``rows`` bool[N] selects."""
    return Batch(inputs[rows], torch.full((int(rows.sum()),), HOURS), targets[rows])


def _inputs(stays: list[Stay], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Inputs float32[N, 48, D] of all stays by the hour, standardised by the training stays."""
    grids = [gridded(stay) for stay in stays]
    values = np.stack([grid.values for grid in grids])
    measured = np.stack([grid.measured for grid in grids])
    gaps = np.stack([grid.hours_since for grid in grids])
    descriptors = np.array([[stay.descriptors.get(name, np.nan) for name in _NUMBERS] for stay in stays])
    units = np.array([[stay.descriptors.get("ICUType") == number for number in range(1, 5)] for stay in stays])
    admission = np.concatenate([_standardised(descriptors, ~np.isnan(descriptors), train), units], axis=1)
    parts = (
        _standardised(values, measured, train),
        measured,
        (gaps - gaps[train].mean((0, 1))) / gaps[train].std((0, 1)),
        np.broadcast_to(admission[:, None], (len(stays), HOURS, admission.shape[1])),
    )
    return np.concatenate(parts, axis=2, dtype=np.float32)


def _standardised(
    values: NDArray[np.float64], measured: NDArray[np.bool_], train: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Values float64[N, …, P], clipped and standardised by the training measurements; 0 where there is no value."""
    scaled = np.zeros_like(values)
    for column in range(values.shape[-1]):
        training = values[train, ..., column][measured[train, ..., column]]
        if len(training) == 0:
            continue  # never measured: it stays 0
        lowest, highest = np.quantile(training, (_CLIPPED_SHARE, 1 - _CLIPPED_SHARE))
        deviation = training.clip(lowest, highest).std() or 1.0
        scores = (values[..., column].clip(lowest, highest) - training.clip(lowest, highest).mean()) / deviation
        scaled[..., column] = np.nan_to_num(scores)
    return scaled
