"""Deep SHAP: DeepLIFT with background sequences as references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Given
from ..base import Explainer, Need, background_of
from .background import background_references
from .rescale import multipliers

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Rows propagated at once; DeepLIFT holds all activations of a run, twice.
_ROWS_AT_ONCE = 256


@register
@dataclass(frozen=True)
class DeepShap(Explainer):
    """DeepLIFT against a background: the mean of m(x, x⁰ₖ)·(x − x⁰ₖ) over background sequences x⁰ₖ.

    m are the exact multipliers of ``deeplift``. A background sequence is cut to the length of the explained sequence;
    if it is too short, it repeats its last step. The values sum to f(x) minus the mean of f(x⁰ₖ), which is not f(x⁰):
    no completeness is claimed.

    Parameters:
        baselines: how many background sequences, evenly spaced through the background; all if there are fewer.

    Cost: 3 forward and 1 backward sequence-equivalents for each baseline of each sequence: those of DeepLIFT, and a
        plain run of the baseline against which the result is checked; and those of DeepLIFT's paths.
    Fails where: the score depends on the input by a decision, used as an index, that a background sequence decides
        otherwise; and where steps of the same number are not alike across sequences.
    Source: Lundberg & Lee 2017, section 4.2 (Deep SHAP), with the Rescale rule of Shrikumar et al. 2017.
    """

    name: ClassVar[str] = "deep-shap"
    group: ClassVar[str] = "propagation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "background"})
    generates: ClassVar[bool | None] = False
    source: ClassVar[str] = "Lundberg & Lee 2017"

    baselines: int = 16

    def __post_init__(self) -> None:
        if self.baselines < 1:
            raise ParameterError(f"deep-shap: baselines={self.baselines} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        values = torch.zeros_like(view.batch.inputs)
        background = background_of(view, self.name)
        donors = evenly_spaced(len(background), self.baselines)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs = view.batch.inputs[rows, :steps]
            for part in donors.split(max(1, _ROWS_AT_ONCE // len(rows))):
                of = rows.repeat(len(part))
                references = background_references(view, background, of, part.repeat_interleave(len(rows)))
                expected = view.score[of], view.scores(Given(references, of))
                tiled, references = inputs.repeat(len(part), 1, 1), references[:, :steps]
                found = multipliers(score, tiled, references, expected)
                share = found.values * (tiled - references)
                values[rows, :steps] += share.view(len(part), *inputs.shape).sum(0) / len(donors)
                # of the baselines; the hook on the model counts the other half
                subject.cost.ran(len(of) + found.extra_passes, steps)
                subject.cost.backward += found.extra_passes
        return subject.reduced(values)


def evenly_spaced(population: int, count: int) -> Tensor:
    """Indices that are evenly spaced through a population, int64[min(count, population)]."""
    count = min(count, population)
    return torch.arange(count) * population // count
