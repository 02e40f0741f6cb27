"""Gradients averaged over random points: expected gradients (GradientSHAP) and SmoothGrad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ..base import Explainer, Need, background_of
from ..propagation.background import background_references

if TYPE_CHECKING:
    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject

# Limit of the points held at once, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of expected gradients for R sequences with S points each.

    Attributes:
        donor: int64[R, S], index of the background sequence.
        share: float[R, S], α, the position on the line from the background sequence (0) to the sequence (1).
        noise: float[R, S, T, D], added to the sequence; 0 on padding. None without noise.
    """

    donor: Tensor
    share: Tensor
    noise: Tensor | None = None


@register
@dataclass(frozen=True)
class GradientShap(Explainer):
    """Expected gradients: the mean of (x − x⁰)·∂f/∂x (x⁰ + α(x − x⁰)) over background sequences x⁰ and α in [0, 1].

    For each sequence, α is drawn once from each of ``samples`` equal parts of [0, 1] (stratified sampling), and
    background sequences are drawn without replacement until all are used, then again. Each draw has the distribution
    of independent sampling, and the mean of the draws has less variance. A background sequence is cut to the length of
    the explained sequence; if it is too short, it repeats its last step. The values sum to f(x) minus the mean of f(x⁰)
    in expectation only, and not to f(x) − f(x⁰): no completeness is claimed.

    Parameters:
        samples: points for each sequence.
        stdev: standard deviation of Gaussian noise added to x at each point, in units of the input.

    Cost: samples forward and samples backward sequence-equivalents for each sequence.
    Fails where: the straight line from another sequence leaves the data; and where samples are few: the values of two
        seeds then differ by their standard error.
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
        background = background_of(view, self.name)
        values = torch.zeros_like(view.batch.inputs)
        seeds = _row_seeds(view, rng)
        for rows in _chunks(view, self.samples):
            draws = self.draws(view, rows, seeds[rows], len(background))
            values[rows] = expected_gradients(view, background, rows, draws)
        return subject.reduced(values)

    def draws(self, view: Subject, rows: Tensor, seeds: Tensor, count: int) -> Draws:
        """Draw the random numbers of some sequences.

        Each sequence has its own random stream, so that its draws do not depend on other sequences or on padding.

        Args:
            view: subject of real-valued inputs.
            rows: int64[R], sequences of the view.
            seeds: int64[R], seeds of their random streams.
            count: number of background sequences.
        """
        dtype = view.batch.inputs.dtype
        noise = _zero_points(view, len(rows), self.samples) if self.stdev else None
        donor, share = [], []
        for place, (row, seed) in enumerate(zip(rows.tolist(), seeds.tolist(), strict=True)):
            stream = torch.Generator().manual_seed(seed)
            rounds = [torch.randperm(count, generator=stream) for _ in range(-(-self.samples // count))]
            donor.append(torch.cat(rounds)[: self.samples])
            within = torch.rand(self.samples, generator=stream, dtype=torch.float64)
            share.append(((torch.arange(self.samples) + within) / self.samples).to(dtype))
            if noise is not None:
                valid = noise[place, :, : int(view.batch.lengths[row])]
                valid.copy_(self.stdev * torch.randn(valid.shape, generator=stream, dtype=dtype))
        return Draws(torch.stack(donor), torch.stack(share), noise)


@register
@dataclass(frozen=True)
class SmoothGrad(Explainer):
    """The mean gradient under Gaussian noise, E ∂f/∂x (x + ε), with a deviation of a share of the sequence's range.

    The values are absolute as those of ``saliency``; with times_input, the mean gradient is multiplied by x as in
    ``gradient-x-input``. Padding gets no noise. The range is the largest value of the sequence minus its smallest; for
    a token sequence, of the values of its embedding; of several inputs, each has its own.

    Parameters:
        samples: noisy copies of each sequence.
        spread: standard deviation of the noise as a share of the range.
        times_input: whether the mean gradient is multiplied by x; the values are then signed.

    Cost: samples forward and samples backward sequence-equivalents for each sequence.
    Fails where: features have very different scales, because all get the same noise; and where the range over which the
        score is saturated is wider than the noise.
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
        object.__setattr__(self, "signed", self.times_input)  # an absolute gradient has no sign, a contribution has one

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        means = torch.zeros_like(view.batch.inputs)
        seeds = _row_seeds(view, rng)
        for rows in _chunks(view, self.samples):
            points = view.batch.inputs[rows, None] + self.noise(view, rows, seeds[rows])
            _, gradients = view.gradients(points.flatten(0, 1), rows.repeat_interleave(self.samples))
            means[rows] = gradients.view_as(points).mean(1)
        return subject.reduced(means * view.batch.inputs) if self.times_input else subject.sizes(means)

    def noise(self, view: Subject, rows: Tensor, seeds: Tensor) -> Tensor:
        """Noise of some sequences, float[R, samples, T, D], 0 on padding; each sequence has its own random stream.

        Args:
            view: subject of real-valued inputs.
            rows: int64[R], sequences of the view.
            seeds: int64[R], seeds of their random streams.
        """
        noise = _zero_points(view, len(rows), self.samples)
        for place, (row, seed) in enumerate(zip(rows.tolist(), seeds.tolist(), strict=True)):
            stream = torch.Generator().manual_seed(seed)
            valid = noise[place, :, : int(view.batch.lengths[row])]
            inputs = view.batch.inputs[row, : valid.shape[1]]
            deviation = self.spread * _ranges(view, inputs, row)
            valid.copy_(deviation * torch.randn(valid.shape, generator=stream, dtype=noise.dtype))
        return noise


def _ranges(view: Subject, inputs: Tensor, row: int) -> Tensor:
    """Range of the values of a sequence, float[]; of several inputs, that of each, float[S, 1].

    Args:
        view: subject of real-valued inputs.
        inputs: float[T, D], those of the sequence.
        row: the sequence.
    """
    if view.batch.layout is None:
        return inputs.max() - inputs.min()
    ranges = inputs.new_zeros(len(inputs), 1)
    for part in view.batch.layout:
        own = inputs[part.span][view.batch.cells[row, part.span]]
        ranges[part.span] = own.max() - own.min() if own.numel() else 0.0
    return ranges


def expected_gradients(view: Subject, background: Batch, rows: Tensor, draws: Draws) -> Tensor:
    """Mean over the draws of (x + noise − x⁰)·∂f/∂x at a point of the line from x⁰ to x + noise, float[R, T, D].

    Args:
        view: subject of real-valued inputs.
        background: background sequences of the view.
        rows: int64[R], sequences of the view.
        draws: random numbers of these sequences.
    """
    inputs = view.batch.inputs[rows, None]
    count = draws.donor.shape[1]
    of = rows.repeat_interleave(count)
    references = background_references(view, background, of, draws.donor.flatten()).view(
        len(rows), count, *inputs.shape[2:]
    )
    difference = (inputs if draws.noise is None else inputs + draws.noise) - references
    points = references + draws.share[:, :, None, None] * difference
    _, gradients = view.gradients(points.flatten(0, 1), of)
    return (difference * gradients.view_as(points)).mean(1)


def _row_seeds(view: Subject, rng: torch.Generator) -> Tensor:
    """Seeds of the random streams of the sequences, int64[B]."""
    return torch.randint(2**62, (len(view),), generator=rng)


def _chunks(view: Subject, samples: int) -> tuple[Tensor, ...]:
    """Rows of the batch, in chunks whose points fit into memory."""
    rows_at_once = max(1, _POINTS_AT_ONCE // (samples * view.batch.inputs[0].numel()))
    chunks: tuple[Tensor, ...] = torch.arange(len(view)).split(rows_at_once)
    return chunks


def _zero_points(view: Subject, rows: int, samples: int) -> Tensor:
    """Zeros of the shape of some points, float[rows, samples, T, D], with the dtype of the inputs."""
    return view.batch.inputs.new_zeros(rows, samples, *view.batch.inputs.shape[1:])
