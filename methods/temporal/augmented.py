"""Augmented occlusion: a feature is replaced by values that it has elsewhere in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Given
from ..base import Explainer, Need
from .rewriting import Rewritten, background_steps, random_streams

if TYPE_CHECKING:
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class AugmentedOcclusion(Explainer):
    """Mean |f(x) − f(x with one feature replaced)|, with values drawn from any step of the background sequences.

    f is the probability of the explained class, or the explained value of a regression. Unlike ``permutation``, it
    ignores the step at which a value occurs, and the sign of the change.

    Parameters:
        draws: number of values drawn for each feature.

    Cost: draws · n + 1 forward sequence-equivalents for a sequence of n features; fewer are run where draws agree.
    Fails where: neighbouring steps determine each other, so that the mixture is not a realistic sequence.
    Source: Tonekaboni et al. 2020, arXiv:2003.02821 (augmented feature occlusion). The paper measures the change of the
        probabilities of all classes after each step; this method measures that of the explained output.
    """

    name: ClassVar[str] = "augmented-occlusion"
    group: ClassVar[str] = "perturbation"
    needs: ClassVar[frozenset[Need]] = frozenset({"background", "time"})
    stochastic: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Tonekaboni et al. 2020"

    draws: int = 10

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ParameterError(f"augmented-occlusion: draws={self.draws} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        pool = background_steps(subject, self.name)
        counts = subject.valid.flatten(1).sum(1).tolist()
        donor = torch.cat(
            [
                torch.randint(len(pool), (count, self.draws), generator=stream)
                for count, stream in zip(counts, random_streams(len(subject), rng), strict=True)
            ]
        )
        instance, step, *column = (index.repeat_interleave(self.draws) for index in subject.valid.nonzero().T)
        whole = subject.scores(Given(subject.batch.inputs), "probability")
        lengths = subject.batch.lengths[instance]
        changed = subject.scores(Rewritten(instance, lengths, step, pool, donor.flatten(), *column), "probability")
        values = whole.new_zeros(subject.shape)
        values[subject.valid] = (whole[instance] - changed).abs().view(-1, self.draws).mean(1)
        return values
