"""Neighbours: slightly perturbed copies of sequences, whose explanations the stability metrics compare.

The perturbed inputs depend only on the instance, and so do the model's outputs for them: both are shared by all methods
of a subject. The explanations of the neighbours are shared by all metrics of a cell, and cached until the cell is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...fingerprints import seed_from
from ...tasks.engine.variants import Given
from ...tasks.subject import Subject
from ..base import Direction, Evidence, Family, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...methods.base import Explainer

_VALUES_AT_ONCE: Final = 1 << 24


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Some sequences of a subject, each unperturbed and with S perturbed copies.

    Attributes:
        subject: a subject with real-valued inputs.
        chosen: int64[C], the sequences.
        inputs: float[S + 1, C, T, D], the unperturbed ones first; padding is not perturbed.
    """

    subject: Subject
    chosen: Tensor
    inputs: Tensor

    @classmethod
    def drawn(cls, subject: Subject, chosen: Tensor, radius: float, samples: int) -> Neighbours:
        """Draw neighbours uniformly within ±radius of every value; of tokens, of every value of their embeddings.

        The draws of a sequence depend only on its index, so that all metrics and methods get the same.

        Args:
            subject: the sequences.
            chosen: int64[C], which of them.
            radius: largest change of a value, in the unit of the model's inputs or embeddings.
            samples: number of neighbours of each sequence.
        """
        subject = subject.continuous()
        inputs = subject.batch.inputs
        noise = inputs.new_zeros(samples + 1, len(chosen), *inputs.shape[1:])
        for row, number in enumerate(chosen.tolist()):
            rng = torch.Generator().manual_seed(seed_from("neighbours", number))
            steps = int(subject.batch.lengths[number])
            drawn = torch.rand(samples, steps, inputs.shape[2], generator=rng, dtype=torch.float64)
            noise[1:, row, :steps] = ((2 * drawn - 1) * radius).to(inputs.dtype)
        if subject.batch.mask is not None:
            noise *= subject.batch.mask[chosen]
        return cls(subject, chosen, inputs[chosen] + noise)

    @cached_property
    def outputs(self) -> Tensor:
        """Raw model outputs, float[S + 1, C, K]; run on first use."""
        return self._split_copies(self.subject.outputs(Given(self._rows, self._instance)))

    @cached_property
    def representations(self) -> Tensor:
        """Representations from which the model computes its scores, float[S + 1, C, H]; run on first use."""
        return self._split_copies(self.subject.representations(self._rows, self._instance))

    @property
    def kept(self) -> Tensor:
        """Whether the model predicts the same class for a neighbour, bool[S, C]; True for regression."""
        if not self.subject.classification:
            return torch.ones(len(self.inputs) - 1, len(self.chosen), dtype=torch.bool)
        predicted = self.outputs.argmax(2)
        return predicted[1:] == predicted[:1]

    def explanations(self, evidence: Evidence) -> Tensor:
        """Explanations of all copies by the method of a cell, float[S + 1, C, N], flat and 0 on padding.

        A method without a seed is called once. A stochastic one is called for each copy with the same seed, so that its
        random draws are the same for all inputs.
        """
        copies = torch.arange(len(self.inputs))
        calls = copies.split(1) if evidence.explainer.stochastic else (copies,)
        return torch.cat([self._call(evidence, self.inputs[call]) for call in calls])

    def _call(self, evidence: Evidence, inputs: Tensor) -> Tensor:
        moved = self.subject.select(self.chosen.repeat(len(inputs)))
        rows = inputs.flatten(0, 1)[:, : moved.batch.inputs.shape[1]]
        values = evidence.explainer.explain(moved.replaced(rows), evidence.seed).values
        return values.view(len(inputs), len(self.chosen), -1)

    @property
    def _rows(self) -> Tensor:
        return self.inputs.flatten(0, 1)

    @property
    def _instance(self) -> Tensor:
        return self.chosen.repeat(len(self.inputs))

    def _split_copies(self, values: Tensor) -> Tensor:
        return values.view(len(self.inputs), len(self.chosen), -1)


@dataclass(frozen=True)
class NeighbourMetric(Metric):
    """Base class of the metrics that compare explanations of neighbours. Derived classes implement :meth:`compare`.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
    """

    family: ClassVar[Family] = "stability"
    direction: ClassVar[Direction] = "lower"
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"

    radius: float = 0.02
    samples: int = 10
    instances: int = 8

    def __post_init__(self) -> None:
        if self.radius <= 0 or self.samples < 1 or self.instances < 0:
            raise ParameterError(
                f"{self.name}: radius={self.radius}, samples={self.samples}, instances={self.instances} does not fit; "
                "radius and samples must be positive, instances 0 or more."
            )

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:
        """Value of some sequences, float64[C].

        Args:
            near: the sequences and their neighbours.
            maps: float64[S + 1, C, N], their explanations, flat and 0 on padding.
        """
        raise NotImplementedError

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        try:
            return explainer.applicable(subject.continuous())
        except UnsupportedModelError:
            return "the inputs cannot be moved by a little"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        values = torch.full((len(evidence.subject),), torch.nan, dtype=torch.float64)
        for near, maps in self._explained_chunks(evidence):
            values[near.chosen] = self.compare(near, maps.double())
        return values

    def asked(self, count: int) -> int:
        """See :meth:`Metric.asked`."""
        return len(evenly_spaced(count, self.instances))

    def _explained_chunks(self, evidence: Evidence) -> Iterator[tuple[Neighbours, Tensor]]:
        """The scored sequences in chunks that fit in memory, with their explanations float[S + 1, C, N]."""
        subject = evidence.subject.continuous()
        values_each = (self.samples + 1) * subject.batch.inputs[0].numel()
        for chosen in evenly_spaced(len(subject), self.instances).split(max(1, _VALUES_AT_ONCE // values_each)):
            key = ("neighbours", self.radius, self.samples, tuple(chosen.tolist()))
            draw = partial(Neighbours.drawn, chosen=chosen, radius=self.radius, samples=self.samples)
            near = evidence.shared.get(key, draw)
            yield near, evidence.get(key, near.explanations)


def evenly_spaced(count: int, instances: int) -> Tensor:
    """Indices int64 of the sequences to score, evenly spaced among ``count``; all of them where ``instances`` is 0."""
    if instances == 0 or instances >= count:
        return torch.arange(count)
    return torch.arange(instances) * count // instances


def masked_max(values: Tensor, kept: Tensor) -> Tensor:
    """Maximum of the kept values of float64[S, C] over S, float64[C]; NaN where none is kept."""
    maxima = values.masked_fill(~kept, -torch.inf).amax(0)
    return maxima.masked_fill(~kept.any(0), torch.nan)
