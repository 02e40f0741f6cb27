"""Stability: does the explanation stay what it is when the input is moved by next to nothing?

A constant map is perfectly stable: stability is never ranked alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ..errors import ParameterError, UnsupportedModelError
from ..fingerprints import seed_from
from ..plugins import register
from .base import Direction, Evidence, Family, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from ..methods.base import Explainer
    from ..tasks.subject import Subject

_VALUES_AT_ONCE: Final = 1 << 24


@register
@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """How much the explanation changes, at most, when the input moves within a small box around it.

        max over samples x′ of  ‖Φ(x′) − Φ(x)‖ / ‖Φ(x)‖,   x′ uniform within radius of x in every value (L∞)

    L2 norms over the valid features; ‖Φ(x)‖ = 0 counts as 1. The explained output stays that of x. Always defined for
    the sequences it is asked of.

    * Tokens cannot move by a little, their embeddings can: both explanations are then of the embedded sequence.
    * Padding does not move. The neighbours depend on the instance alone, and all methods see the same.
    * x and its neighbours are explained side by side. For a method without a seed all in one call. A stochastic method
      is called once for x and once for each set of neighbours, every time with the seed of its evidence: the same
      draws meet inputs that differ, so that what is measured is the effect of the input and not of the seed, which is
      ``explainer-seed-agreement``. Random attributions therefore score 0, as any map that ignores its input does.
    * What it costs is ``samples + 1`` explanations of each sequence, so only ``instances`` sequences, evenly spaced
      in the batch, are asked of; the others are NaN.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged; 0 for all.

    Source: Yeh et al. 2019, eq. 3, with their r = .02 and 10 samples, relative to ‖Φ(x)‖.
    """

    name: ClassVar[str] = "max-sensitivity"
    family: ClassVar[Family] = "stability"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"
    source: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392, eq. 3"

    radius: float = 0.02
    samples: int = 10
    instances: int = 8

    def __post_init__(self) -> None:
        if self.radius <= 0 or self.samples < 1 or self.instances < 0:
            raise ParameterError(
                f"{self.name}: radius={self.radius}, samples={self.samples}, instances={self.instances} does not fit; "
                "radius and samples must be positive, instances 0 or more."
            )

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
        subject = evidence.subject.continuous()
        found = torch.full((len(subject),), torch.nan, dtype=torch.float64)
        values_each = (self.samples + 1) * subject.batch.inputs[0].numel()
        for chosen in self._judged(len(subject)).split(max(1, _VALUES_AT_ONCE // values_each)):
            maps = self._explained(evidence, subject, chosen)
            changes = (maps[1:] - maps[:1]).norm(dim=2).amax(0)
            size = maps[0].norm(dim=1)
            found[chosen] = changes / torch.where(size > 0, size, 1.0)
        return found

    def asked(self, count: int) -> int:
        """See :meth:`Metric.asked`."""
        return len(self._judged(count))

    def _judged(self, count: int) -> Tensor:
        """int64: the sequences to ask of, evenly spaced."""
        if self.instances == 0 or self.instances >= count:
            return torch.arange(count)
        return torch.arange(self.instances) * count // self.instances

    def _explained(self, evidence: Evidence, subject: Subject, chosen: Tensor) -> Tensor:
        """float64[samples + 1, C, N]: attributions of some sequences, first as they are, then of their neighbours."""
        noise = evidence.shared.get(
            ("noise", self.radius, self.samples, tuple(chosen.tolist())), lambda _: self._noise(subject, chosen)
        )
        copies = torch.arange(self.samples + 1)
        calls = copies.split(1) if evidence.explainer.stochastic else (copies,)
        return torch.cat([self._call(evidence, subject, chosen, noise[call]) for call in calls])

    def _call(self, evidence: Evidence, subject: Subject, chosen: Tensor, noise: Tensor) -> Tensor:
        """float64[S, C, N]: attributions of some sequences moved by noise [S, C, T, D], from one explanation."""
        moved = subject.select(chosen.repeat(len(noise)))
        inputs = moved.batch.inputs + noise.flatten(0, 1)[:, : moved.batch.inputs.shape[1]]
        values = evidence.explainer.explain(moved.replaced(inputs), evidence.seed).values
        return values.double().view(len(noise), len(chosen), -1)

    def _noise(self, subject: Subject, chosen: Tensor) -> Tensor:
        """[samples + 1, C, T, D]: how each value moves; not at all in the first copy and on padding."""
        inputs = subject.batch.inputs
        noise = inputs.new_zeros(self.samples + 1, len(chosen), *inputs.shape[1:])
        for row, number in enumerate(chosen.tolist()):
            rng = torch.Generator().manual_seed(seed_from("neighbours", number))
            steps = int(subject.batch.lengths[number])
            drawn = torch.rand(self.samples, steps, inputs.shape[2], generator=rng, dtype=torch.float64)
            noise[1:, row, :steps] = ((2 * drawn - 1) * self.radius).to(inputs.dtype)
        return noise
