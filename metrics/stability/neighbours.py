"""Neighbours: sequences moved by next to nothing. They are asked of once, and all metrics of stability read it.

Where the neighbours stand depends on the instance alone, and so do the model's outputs there: both are shared by all
methods of a subject. What a method says of them is shared by all metrics of a cell, and kept until the cell is done.
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
    """Some sequences of a subject, each first as it is and then moved S times.

    Attributes:
        subject: one with real-valued inputs.
        chosen: int64[C], the sequences.
        inputs: float[S + 1, C, T, D]; padding does not move.
    """

    subject: Subject
    chosen: Tensor
    inputs: Tensor

    @classmethod
    def drawn(cls, subject: Subject, chosen: Tensor, radius: float, samples: int) -> Neighbours:
        """Neighbours uniform within ±radius of every value, embedded tokens' too; a sequence's own, whoever asks."""
        subject = subject.continuous()
        inputs = subject.batch.inputs
        noise = inputs.new_zeros(samples + 1, len(chosen), *inputs.shape[1:])
        for row, number in enumerate(chosen.tolist()):
            rng = torch.Generator().manual_seed(seed_from("neighbours", number))
            steps = int(subject.batch.lengths[number])
            drawn = torch.rand(samples, steps, inputs.shape[2], generator=rng, dtype=torch.float64)
            noise[1:, row, :steps] = ((2 * drawn - 1) * radius).to(inputs.dtype)
        return cls(subject, chosen, inputs[chosen] + noise)

    @cached_property
    def outputs(self) -> Tensor:
        """float[S + 1, C, K]: the raw outputs, run on first use."""
        return self._by_copy(self.subject.outputs(Given(self._rows, self._instance)))

    @cached_property
    def representations(self) -> Tensor:
        """float[S + 1, C, H]: what the model reads its scores from, run on first use."""
        return self._by_copy(self.subject.representations(self._rows, self._instance))

    @property
    def kept(self) -> Tensor:
        """bool[S, C]: the neighbours of which the model predicts the same class; all of a regression's."""
        if not self.subject.classification:
            return torch.ones(len(self.inputs) - 1, len(self.chosen), dtype=torch.bool)
        predicted = self.outputs.argmax(2)
        return predicted[1:] == predicted[:1]

    def explained(self, evidence: Evidence) -> Tensor:
        """Float[S + 1, C, N]: what a method says of each, flat and 0 on padding.

        A method without a seed is called once. A stochastic one is called for each copy with the same seed: the same
        draws meet inputs that differ.
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

    def _by_copy(self, values: Tensor) -> Tensor:
        return values.view(len(self.inputs), len(self.chosen), -1)


@dataclass(frozen=True)
class NeighbourMetric(Metric):
    """What the metrics that read neighbours share. Write one by giving it :meth:`compare`.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged, evenly spaced in the batch; 0 for all.
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
        """float64[C]: the value of some sequences.

        Args:
            near: the sequences and their neighbours.
            maps: float64[S + 1, C, N], what the method says of each, flat and 0 on padding.
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
        found = torch.full((len(evidence.subject),), torch.nan, dtype=torch.float64)
        for near, maps in self._parts(evidence):
            found[near.chosen] = self.compare(near, maps.double())
        return found

    def asked(self, count: int) -> int:
        """See :meth:`Metric.asked`."""
        return len(judged(count, self.instances))

    def _parts(self, evidence: Evidence) -> Iterator[tuple[Neighbours, Tensor]]:
        """The judged sequences in parts, so that not too much is explained at once, with what the method says."""
        subject = evidence.subject.continuous()
        values_each = (self.samples + 1) * subject.batch.inputs[0].numel()
        for chosen in judged(len(subject), self.instances).split(max(1, _VALUES_AT_ONCE // values_each)):
            key = ("neighbours", self.radius, self.samples, tuple(chosen.tolist()))
            draw = partial(Neighbours.drawn, chosen=chosen, radius=self.radius, samples=self.samples)
            near = evidence.shared.get(key, draw)
            yield near, evidence.get(key, near.explained)


def judged(count: int, instances: int) -> Tensor:
    """int64: the sequences to ask of, evenly spaced among count; all where instances is 0."""
    if instances == 0 or instances >= count:
        return torch.arange(count)
    return torch.arange(instances) * count // instances


def largest(values: Tensor, kept: Tensor) -> Tensor:
    """float64[C]: the largest of the kept values of float64[S, C]; NaN where none is kept."""
    found = values.masked_fill(~kept, -torch.inf).amax(0)
    return found.masked_fill(~kept.any(0), torch.nan)
