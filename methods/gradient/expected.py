"""Expectations: multipliers over a background, gradients on the way from one, and gradients under noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...plugins import register
from ...tasks.engine.variants import Given
from ..base import Explainer, Need
from ..propagation.rescale import multipliers
from .gradients import sizes

if TYPE_CHECKING:
    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject

# Points held at once, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24
# Rows propagated at once; DeepLIFT holds all of a run's activations, twice.
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of expected gradients for R sequences, S points each.

    Attributes:
        donor: int64[R, S], which background sequence.
        share: float[R, S], α, how far on the way from it.
        noise: float[R, S, T, D], added to the sequence; 0 on padding. None for none.
    """

    donor: Tensor
    share: Tensor
    noise: Tensor | None = None


@register
@dataclass(frozen=True)
class DeepShap(Explainer):
    """DeepLIFT against a background: the mean of m(x, x⁰ₖ)·(x − x⁰ₖ) over background sequences x⁰ₖ.

    m are the exact multipliers of ``deeplift``. A background sequence is cut to the explained one's length; one that is
    too short goes on with its last step. The values sum to f(x) minus the mean of f(x⁰ₖ), which is not f(x⁰): so no
    completeness is claimed.

    Parameters:
        baselines: how many background sequences, evenly spaced through the background; all if there are fewer.

    Cost: 3 forward and 1 backward sequence-equivalents for each baseline of each sequence: DeepLIFT's, and a plain run
        of the baseline to hold it against.
    Fails where: the score depends on the input by a decision that a background sequence decides otherwise; and where
        steps of the same number are not alike across sequences.
    Source: Lundberg & Lee 2017, section 4.2 (Deep SHAP), with the Rescale rule of Shrikumar et al. 2017.
    """

    name: ClassVar[str] = "deep-shap"
    group: ClassVar[str] = "propagation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "background"})
    source: ClassVar[str] = "Lundberg & Lee 2017"

    baselines: int = 16

    def __post_init__(self) -> None:
        if self.baselines < 1:
            raise ParameterError(f"deep-shap: baselines={self.baselines} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        found = torch.zeros_like(view.batch.inputs)
        background = _background(view, self.name)
        donors = spaced(len(background), self.baselines)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs = view.batch.inputs[rows, :steps]
            for part in donors.split(max(1, _ROWS_AT_ONCE // len(rows))):
                of = rows.repeat(len(part))
                others = baselines(view, background, of, part.repeat_interleave(len(rows)))
                expected = view.score[of], view.scores(Given(others, of))
                tiled, others = inputs.repeat(len(part), 1, 1), others[:, :steps]
                share = multipliers(score, tiled, others, expected).values * (tiled - others)
                found[rows, :steps] += share.view(len(part), *inputs.shape).sum(0) / len(donors)
                subject.cost.ran(len(of), steps)  # the baselines' side, beside the one that is counted at the model
        return subject.reduced(found)


@register
@dataclass(frozen=True)
class GradientShap(Explainer):
    """Expected gradients: the mean of (x − x⁰)·∂f/∂x (x⁰ + α(x − x⁰)) over background sequences x⁰ and α in [0, 1].

    For each sequence α is drawn once from each of ``samples`` equal parts of [0, 1], and background sequences without
    replacement, round after round: each draw is as in independent sampling, their mean has less variance. A background
    sequence is cut to the explained one's length; one that is too short goes on with its last step. The values sum to
    f(x) minus the mean of f(x⁰) in expectation only, and not to f(x) − f(x⁰): no completeness is claimed.

    Parameters:
        samples: points for each sequence.
        stdev: standard deviation of Gaussian noise added to x at each point, in units of the input.

    Cost: samples forward and samples backward sequence-equivalents for each sequence.
    Fails where: the straight line from another sequence leaves the data; and where samples are few: the values of two
        seeds differ by their standard error.
    Source: Erion et al. 2021, equation 3; captum.attr.GradientShap, which draws all independently.
    """

    name: ClassVar[str] = "gradient-shap"
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "background"})
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Erion et al. 2021"

    samples: int = 64
    stdev: float = 0.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ParameterError(f"gradient-shap: samples={self.samples} does not fit (at least 1).")
        if not 0 <= self.stdev < float("inf"):
            raise ParameterError(f"gradient-shap: stdev={self.stdev} does not fit (0 or more).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        background = _background(view, self.name)
        found = torch.zeros_like(view.batch.inputs)
        seeds = _row_seeds(view, rng)
        for rows in _portions(view, self.samples):
            draws = self.draws(view, rows, seeds[rows], len(background))
            found[rows] = expected_gradients(view, background, rows, draws)
        return subject.reduced(found)

    def draws(self, view: Subject, rows: Tensor, seeds: Tensor, count: int) -> Draws:
        """What is drawn for some sequences; each has its own stream, so that its mates and padding do not shift it.

        Args:
            view: of real-valued inputs.
            rows: int64[R], which of its sequences.
            seeds: int64[R], of their streams.
            count: how many background sequences there are.
        """
        dtype = view.batch.inputs.dtype
        noise = _blank(view, len(rows), self.samples) if self.stdev else None
        donor, share = [], []
        for place, (row, seed) in enumerate(zip(rows.tolist(), seeds.tolist(), strict=True)):
            own = torch.Generator().manual_seed(seed)
            rounds = [torch.randperm(count, generator=own) for _ in range(-(-self.samples // count))]
            donor.append(torch.cat(rounds)[: self.samples])
            within = torch.rand(self.samples, generator=own, dtype=torch.float64)
            share.append(((torch.arange(self.samples) + within) / self.samples).to(dtype))
            if noise is not None:
                there = noise[place, :, : int(view.batch.lengths[row])]
                there.copy_(self.stdev * torch.randn(there.shape, generator=own, dtype=dtype))
        return Draws(torch.stack(donor), torch.stack(share), noise)


@register
@dataclass(frozen=True)
class SmoothGrad(Explainer):
    """The mean gradient under noise: E ∂f/∂x (x + ε), with ε Gaussian of a share of the sequence's own range.

    What is given is its size, as of ``saliency``; or with times_input, x times it, as of ``gradient-x-input``. Padding
    gets no noise. The range is the largest value of the sequence less its smallest, of a token sequence those of its
    embedding.

    Parameters:
        samples: noisy copies of each sequence.
        spread: standard deviation of the noise as a share of the range.
        times_input: whether the mean gradient is multiplied by x, and keeps its sign.

    Cost: samples forward and samples backward sequence-equivalents for each sequence.
    Fails where: features have very different scales, for all get the same noise; and where saturation is wider than
        the noise.
    Source: Smilkov et al. 2017, section 3; captum.attr.NoiseTunnel.
    """

    name: ClassVar[str] = "smoothgrad"
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    stochastic: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Smilkov et al. 2017"

    samples: int = 32
    spread: float = 0.15
    times_input: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ParameterError(f"smoothgrad: samples={self.samples} does not fit (at least 1).")
        if not 0 < self.spread < float("inf"):
            raise ParameterError(f"smoothgrad: spread={self.spread} does not fit (above 0).")
        object.__setattr__(self, "signed", self.times_input)  # a size has no sign, a contribution has

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        found = torch.zeros_like(view.batch.inputs)
        seeds = _row_seeds(view, rng)
        for rows in _portions(view, self.samples):
            points = view.batch.inputs[rows, None] + self.noise(view, rows, seeds[rows])
            _, gradients = view.gradients(points.flatten(0, 1), rows.repeat_interleave(self.samples))
            found[rows] = gradients.view_as(points).mean(1)
        return subject.reduced(found * view.batch.inputs) if self.times_input else sizes(subject, found)

    def noise(self, view: Subject, rows: Tensor, seeds: Tensor) -> Tensor:
        """float[R, samples, T, D]: the noise of some sequences, 0 on padding; each has its own stream."""
        found = _blank(view, len(rows), self.samples)
        for place, (row, seed) in enumerate(zip(rows.tolist(), seeds.tolist(), strict=True)):
            own = torch.Generator().manual_seed(seed)
            there = found[place, :, : int(view.batch.lengths[row])]
            inputs = view.batch.inputs[row, : there.shape[1]]
            deviation = self.spread * (inputs.max() - inputs.min())
            there.copy_(deviation * torch.randn(there.shape, generator=own, dtype=found.dtype))
        return found


def baselines(view: Subject, background: Batch, rows: Tensor, donor: Tensor) -> Tensor:
    """Background sequences in the place of references.

    Args:
        view: of real-valued inputs.
        background: of the view.
        rows: int64[V], the sequences they stand against.
        donor: int64[V], which background sequence each is.

    Returns:
        float[V, T, D]; a donor that is too short goes on with its last step. On padding the sequence itself, so that
        no difference is there.
    """
    inputs = view.batch.inputs[rows]
    step = torch.minimum(torch.arange(inputs.shape[1]), background.lengths[donor, None] - 1)
    return torch.where(view.batch.valid[rows][:, :, None], background.inputs[donor[:, None], step], inputs)


def expected_gradients(view: Subject, background: Batch, rows: Tensor, draws: Draws) -> Tensor:
    """Mean over the draws of (x + noise − x⁰)·∂f/∂x on the way from x⁰ to x + noise, float[R, T, D].

    Args:
        view: of real-valued inputs.
        background: of the view.
        rows: int64[R], which of its sequences.
        draws: of these sequences.
    """
    inputs = view.batch.inputs[rows, None]
    count = draws.donor.shape[1]
    of = rows.repeat_interleave(count)
    others = baselines(view, background, of, draws.donor.flatten()).view(len(rows), count, *inputs.shape[2:])
    difference = (inputs if draws.noise is None else inputs + draws.noise) - others
    points = others + draws.share[:, :, None, None] * difference
    _, gradients = view.gradients(points.flatten(0, 1), of)
    return (difference * gradients.view_as(points)).mean(1)


def spaced(population: int, count: int) -> Tensor:
    """int64[min(count, population)]: places evenly spaced through a population."""
    count = min(count, population)
    return torch.arange(count) * population // count


def _background(view: Subject, method: str) -> Batch:
    if view.background is None:
        raise UnsupportedModelError(f"{method} needs background sequences, and {view.label} has none.")
    return view.background


def _row_seeds(view: Subject, rng: torch.Generator) -> Tensor:
    """int64[B]: a seed for each sequence's own stream."""
    return torch.randint(2**62, (len(view),), generator=rng)


def _portions(view: Subject, samples: int) -> tuple[Tensor, ...]:
    """The rows in parts whose points are not too many at once."""
    each = max(1, _POINTS_AT_ONCE // (samples * view.batch.inputs[0].numel()))
    found: tuple[Tensor, ...] = torch.arange(len(view)).split(each)
    return found


def _blank(view: Subject, rows: int, samples: int) -> Tensor:
    """float[rows, samples, T, D] of 0, of the inputs' type."""
    return view.batch.inputs.new_zeros(rows, samples, *view.batch.inputs.shape[1:])
