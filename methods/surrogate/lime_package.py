"""Explainers of the ``lime`` package, for comparison with the ``lime`` of this project."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Given, Masked
from ..base import Explainer, Need, background_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject

FloatArray = npt.NDArray[np.float64]
# The package estimates how cells vary over the background, which takes two sequences.
_LEAST_BACKGROUND = 2
_SEEDS = 2**32
_REMOVED = "UNKWORDZ"


@register
@dataclass(frozen=True)
class LimeText(Explainer):
    """LimeTextExplainer of the ``lime`` package, for token models; the original that ``lime`` is compared with.

    Each position of the sequence is a separate word (bow=False), and the package's mask word UNKWORDZ becomes the token
    of the reference. The explanation holds all words; masks, kernel and regression of class probabilities are the
    package's.

    Parameters:
        samples: masks for each sequence, the full one included.
        width: kernel width.

    Cost: samples forward sequence-equivalents for each sequence; repeated masks are run once.
    Fails where: n is large compared with samples; and where the probability is far from linear in the features.
    Source: Ribeiro, Singh & Guestrin 2016; lime 0.2.0.1, ``lime.lime_text.LimeTextExplainer``.
    """

    name: ClassVar[str] = "lime-text"
    group: ClassVar[str] = "surrogate"
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Ribeiro et al. 2016"

    samples: int = 1000
    width: float = 25.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ParameterError(f"lime-text: samples={self.samples} does not fit (at least 2).")
        if not 0 < self.width < float("inf"):
            raise ParameterError(f"lime-text: width={self.width} does not fit (above 0).")

    def prepare(self) -> None:
        """See :meth:`Explainer.prepare`."""
        importlib.import_module("lime.lime_text")

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if not subject.batch.tokens:
            return "its inputs are numbers, and LimeTextExplainer explains words"
        if not subject.classification:
            return "its outputs are values, and LimeTextExplainer explains probabilities of classes"
        return super().applicable(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        values = torch.zeros(subject.shape, dtype=torch.float64)
        seeds = torch.randint(_SEEDS, (len(subject),), generator=rng).tolist()
        for row, (steps, seed) in enumerate(zip(subject.batch.lengths.tolist(), seeds, strict=True)):
            values[row, :steps] = self._coefficients(subject, row, steps, seed)
        return values.to(subject.batch_outputs.dtype)

    def _coefficients(self, subject: Subject, row: int, steps: int, seed: int) -> Tensor:
        """Coefficients of the package's explanation of one sequence, float64[steps]."""
        from lime.lime_text import LimeTextExplainer  # noqa: PLC0415  # lime takes a second to import

        def probabilities(texts: list[str]) -> FloatArray:
            kept = torch.tensor([[word != _REMOVED for word in text.split()] for text in texts])
            keep = torch.ones(len(texts), subject.batch.inputs.shape[1], dtype=torch.bool)
            keep[:, :steps] = kept
            return _probabilities(subject, subject.outputs(Masked(keep, torch.full((len(texts),), row))))

        explainer = LimeTextExplainer(
            kernel_width=self.width,
            feature_selection="none",
            bow=False,
            mask_string=_REMOVED,
            random_state=np.random.RandomState(seed),
        )
        target = int(subject.target[row])
        explanation = explainer.explain_instance(
            " ".join(f"word{step}" for step in range(steps)),
            probabilities,
            labels=(target,),
            num_features=steps,
            num_samples=self.samples,
        )
        return _coefficient_vector(explanation.as_map()[target], steps)


@register
@dataclass(frozen=True)
class LimeRecurrent(Explainer):
    """RecurrentTabularExplainer of the ``lime`` package, a ridge regression on sequences drawn cell by cell.

    Each cell is drawn independently from the distribution of the background at that step. With discretize, a quartile
    bin and a value within it are drawn, and the regressor is whether the cell is in the bin of the explained sequence.
    Without it, the draws are normal, and the coefficients are slopes in standard deviations. A sequence is explained
    with the background sequences that are at least as long, cut to its length; there must be at least two.

    With discretize, where a quarter of the background has a cell's smallest value, the package draws 0 instead of it.

    Parameters:
        samples: drawn sequences for each sequence, itself included.
        discretize: the package's discretize_continuous.

    Cost: samples forward sequence-equivalents for each sequence.
    Fails where: neighbouring steps determine each other, so that independently drawn cells do not form a realistic
        sequence; and where there are many cells compared with samples.
    Source: Ribeiro, Singh & Guestrin 2016; lime 0.2.0.1, ``lime.lime_tabular.RecurrentTabularExplainer``.
    """

    name: ClassVar[str] = "lime-recurrent"
    group: ClassVar[str] = "surrogate"
    needs: ClassVar[frozenset[Need]] = frozenset({"background", "time"})
    generates: ClassVar[bool | None] = True
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Ribeiro et al. 2016"

    samples: int = 1000
    discretize: bool = True

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ParameterError(f"lime-recurrent: samples={self.samples} does not fit (at least 2).")

    def prepare(self) -> None:
        """See :meth:`Explainer.prepare`."""
        importlib.import_module("lime.lime_tabular")

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if subject.batch.tokens:
            return "its inputs are tokens, and RecurrentTabularExplainer explains numbers"
        if reason := super().applicable(subject):
            return reason
        row = int(subject.batch.lengths.argmax())
        longest = int(subject.batch.lengths[row])
        if len(_at_least_as_long(background_of(subject, self.name), longest)) < _LEAST_BACKGROUND:
            return (
                f"sequence {row} has length {longest}, and fewer than {_LEAST_BACKGROUND} background sequences are as "
                "long"
            )
        return ""

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        values = torch.zeros(subject.batch.inputs.shape, dtype=torch.float64)
        seeds = torch.randint(_SEEDS, (len(subject),), generator=rng).tolist()
        for row, (steps, seed) in enumerate(zip(subject.batch.lengths.tolist(), seeds, strict=True)):
            values[row, :steps] = self._coefficients(subject, row, steps, seed)
        return subject.reduced(values).to(subject.batch_outputs.dtype)

    def _coefficients(self, subject: Subject, row: int, steps: int, seed: int) -> Tensor:
        """Coefficients of the package's explanation of one sequence, float64[steps, D]."""
        from lime.lime_tabular import RecurrentTabularExplainer  # noqa: PLC0415  # lime takes a second to import

        background = _at_least_as_long(background_of(subject, self.name), steps)[:, :steps]
        target = int(subject.target[row])
        columns = background.shape[2]
        explainer = RecurrentTabularExplainer(
            background.double().numpy(),
            mode="classification" if subject.classification else "regression",
            feature_names=[str(column) for column in range(columns)],
            feature_selection="none",
            discretize_continuous=self.discretize,
            random_state=np.random.RandomState(seed),
        )
        explanation = explainer.explain_instance(
            subject.batch.inputs[row, :steps].double().numpy(),
            _prediction_function(subject, row),
            labels=(target,),
            num_features=steps * columns,
            num_samples=self.samples,
        )
        # for a regression, label 1 is the larger value; the package numbers the steps of a column one after the other
        pairs = explanation.as_map()[target if subject.classification else 1]
        return _coefficient_vector(pairs, steps * columns).view(columns, steps).T


def _prediction_function(subject: Subject, row: int) -> Callable[[FloatArray], FloatArray]:
    """Function that the package calls with sequences [S, steps, D].

    It returns probabilities [S, K], or the explained values [S] of a regression.
    """

    def predict(sequences: FloatArray) -> FloatArray:
        inputs = subject.batch.inputs.new_zeros(len(sequences), *subject.batch.inputs.shape[1:])
        inputs[:, : sequences.shape[1]] = torch.from_numpy(np.ascontiguousarray(sequences))
        outputs = subject.outputs(Given(inputs, torch.full((len(inputs),), row)))
        if subject.classification:
            return _probabilities(subject, outputs)
        values: FloatArray = outputs[:, int(subject.target[row])].double().numpy()
        return values

    return predict


def _probabilities(subject: Subject, outputs: Tensor) -> FloatArray:
    """Class probabilities of outputs [S, K], as an array float64[S, K]."""
    probabilities: FloatArray = subject.scaled(outputs.double(), "probability").numpy()
    return probabilities


def _coefficient_vector(pairs: list[tuple[int, float]], count: int) -> Tensor:
    """Coefficients float64[count] from the package's list of feature numbers and coefficients."""
    coefficients = torch.zeros(count, dtype=torch.float64)
    for feature, coefficient in pairs:
        coefficients[int(feature)] = float(coefficient)
    return coefficients


def _at_least_as_long(background: Batch, steps: int) -> Tensor:
    """Background sequences of at least this number of steps, float[N, T, D]."""
    return background.inputs[background.lengths >= steps]
