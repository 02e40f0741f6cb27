"""FIT and WinIT: the effect of an observation on the predictions of the model at its step and right after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Prefix
from ..base import Explainer, Need, background_of
from .generating import LinearGaussian, normal_points
from .rewriting import Rewritten, background_steps, distance, divergence, predictions, random_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tasks.subject import Subject

# Limit of the variants described at once.
_VARIANTS_AT_ONCE = 1 << 20


@register
@dataclass(frozen=True)
class Fit(Explainer):
    """Feature importance in time (FIT): the part of the prediction's change at step t that one observation explains.

        KL(p(y | x_1…t) ‖ p(y | x_1…t−1)) − E KL(p(y | x_1…t) ‖ p(y | x_1…t−1, x_td, x̂))

    where x̂, the other columns of step t, is drawn given the past and x_td. Where a step is one feature, there are no
    other columns, and the second term is 0. The prediction before the first step is that for one step of the reference.
    p is the distribution over all classes; for a regression, it is a normal distribution of unit variance around the
    explained value, so that KL is half the squared change.

    The generator is a linear-Gaussian model of a step given the last ones, fitted to the background in closed form. The
    expectation runs over a fixed quasi-random set of points, so that the result does not depend on a seed. (The paper
    trains a recurrent latent-variable network by gradient descent and draws at random.) The published program also maps
    the value by 2/(1 + e^−5v) − 1, which keeps the order. Values below 0 are the least important: the observation alone
    takes the prediction further away than no step at all.

    Parameters:
        samples: points of the expectation.
        lags: number of earlier steps that the generator uses.

    Cost: T + 1 + samples · n forward sequence-equivalents for a sequence of T steps and n features; T + 1 where a step
        is one feature.
    Fails where: later steps decide what an observation means, because each is scored at its own step; the generator is
        far from the data; and where the outputs of the model are not meaningful before the end.
    Source: Tonekaboni et al. 2020, arXiv:2003.02821.
    """

    name: ClassVar[str] = "fit"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"background", "time"})
    generates: ClassVar[bool | None] = True
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Tonekaboni et al. 2020"

    samples: int = 16
    lags: int = 3

    def __post_init__(self) -> None:
        _at_least_one(self, "samples", "lags")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        instance, step = subject.batch.valid.nonzero(as_tuple=True)
        actual = predictions(subject, Prefix(instance, step + 1))
        shift = divergence(subject, actual, _predictions_before(subject, actual, instance, step))
        values = torch.zeros(subject.shape, dtype=torch.float64)
        if subject.granularity == "step":
            values[instance, step] = shift
        else:
            values[instance, step] = shift[:, None] - self._unexplained(subject, actual, instance, step)
        return values.to(subject.batch_outputs.dtype)

    def _unexplained(self, subject: Subject, actual: Tensor, instance: Tensor, step: Tensor) -> Tensor:
        """Mean divergence from the prediction when only one column of a step is known, float64[V, D].

        Args:
            subject: model and batch.
            actual: float64[V, K], predictions after the steps.
            instance: int64[V], sequences of the steps.
            step: int64[V], the steps.
        """
        generator = LinearGaussian.fitted(background_of(subject, self.name), self.lags)
        columns = subject.shape[2]
        noise = normal_points(self.samples, columns)
        mean = generator.conditional_mean(subject.batch.inputs)
        divergences = torch.empty(len(instance), columns, dtype=torch.float64)
        for part in torch.arange(len(instance)).split(max(1, _VARIANTS_AT_ONCE // (columns * self.samples))):
            of, at = instance[part], step[part]
            known = subject.batch.inputs[of, at].double()
            drawn = generator.conditional_draws(known, mean[of, at], generator.roots(at), noise).to(
                subject.batch.inputs.dtype
            )
            contents = drawn.reshape(-1, 1, columns)
            repeats = columns * self.samples
            of, at = of.repeat_interleave(repeats), at.repeat_interleave(repeats)
            changed = predictions(subject, Rewritten(of, at + 1, at, contents, torch.arange(len(contents))))
            changed = changed.view(len(part), columns, self.samples, -1)
            divergences[part] = divergence(subject, actual[part, None, None], changed).mean(2)
        return divergences


@register
@dataclass(frozen=True)
class WinIt(Explainer):
    """Windowed importance (WinIT): the effect of an observation on the predictions of the steps from it on.

        i(d, a…b) = E Σ|p(y | x_1…b) − p(y | x_1…b with column d of the steps a…b drawn)|
        I(d, a, b) = i(d, a…b) − i(d, a+1…b),   i of an empty window being 0
        value of (a, d) = mean of I(d, a, b) over the windows b = a … min(a + window − 1, T)

    I is the effect of the observation at step a on the prediction after step b, beyond the effect of the later
    observations of its column. Where a step is one feature, d is the whole step. For a regression, the effect is the
    absolute change of the explained value.

    By default, values are drawn from a linear-Gaussian model of a step given the last ones, which is fitted to the
    background in closed form and continues x_1…a−1; the paper trains a recurrent network. The model also has a
    distribution of the first step, so the first step gets values here, unlike in the published program.

    Parameters:
        window: largest number of predictions whose changes count for an observation.
        samples: draws for each window.
        predictions: ``"every"``, as published, or ``"last"``: the value is I(d, a, T), and 0 before the last
            ``window`` steps.
        draws: ``"generator"``, or ``"background"``, which draws each value from any step of the background. Tokens have
            no linear model and are always drawn from the background.
        lags: number of earlier steps that the generator uses.

    Cost: T + samples · D · W forward sequence-equivalents for a sequence of T steps of D features, of which
        W = Σ_b min(b, window); of the last prediction only, 1 + samples · D · min(T, window).
    Fails where: effects are delayed by more than the window; the generator is far from the data; and where the outputs
        of the model are not meaningful before the end.
    Source: Leung et al. 2023, arXiv:2107.14317, with the prediction difference as measure and the mean over
        windows, as in the published program.
    """

    name: ClassVar[str] = "winit"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"background", "time"})
    generates: ClassVar[bool | None] = True
    stochastic: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Leung et al. 2023"

    window: int = 10
    samples: int = 3
    predictions: Literal["every", "last"] = "every"
    draws: Literal["generator", "background"] = "generator"
    lags: int = 3

    def __post_init__(self) -> None:
        _at_least_one(self, "window", "samples", "lags")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        draw = self._content_sampler(subject)
        rngs = random_streams(len(subject), rng)
        columns = subject.shape[2] if subject.granularity == "cell" else 1
        values = torch.zeros(*subject.shape[:2], columns, dtype=torch.float64)
        rows_at_once = max(
            1, _VARIANTS_AT_ONCE // (values.shape[1] * min(self.window, values.shape[1]) * columns * self.samples)
        )
        for rows in torch.arange(len(subject)).split(rows_at_once):
            windows = [self._windows(int(subject.batch.lengths[row])) for row in rows.tolist()]
            contents = [draw(row, rngs[row]) for row in rows.tolist()]
            effects = self._effects(subject, rows, windows, contents)
            for row, row_windows, effect in zip(rows.tolist(), windows, effects, strict=True):
                steps = int(subject.batch.lengths[row])
                values[row, :steps] = self._values_of_steps(row_windows, effect, steps)
        return values.view(subject.shape).to(subject.batch_outputs.dtype)

    def _windows(self, steps: int) -> Tensor:
        """First and last step of each window of a sequence with this number of steps, int64[2, W]."""
        last = range(steps) if self.predictions == "every" else [steps - 1]
        return torch.tensor([(start, end) for end in last for start in range(max(0, end + 1 - self.window), end + 1)]).T

    def _effects(self, subject: Subject, rows: Tensor, windows: list[Tensor], contents: list[Tensor]) -> list[Tensor]:
        """Effects i(d, a…b) of the windows of some sequences, float64[W, D] for each sequence.

        Args:
            subject: model and batch.
            rows: int64[R], sequences of the batch.
            windows: first and last steps of the windows of each sequence, int64[2, W].
            contents: drawn values of each sequence from each step on, [T, S, N(, D)].
        """
        sizes = [window.shape[1] for window in windows]
        of = rows.repeat_interleave(torch.tensor(sizes))
        start, last = torch.cat(windows, 1)
        prefixes, place = torch.stack([of, last]).unique(dim=1, return_inverse=True)
        actual = predictions(subject, Prefix(prefixes[0], prefixes[1] + 1))[place]
        offset = torch.tensor([0, *(len(values) * self.samples for values in contents[:-1])]).cumsum(0)
        first = offset.repeat_interleave(torch.tensor(sizes)) + start * self.samples
        columns = subject.shape[2] if subject.granularity == "cell" else 1
        repeats = columns * self.samples
        content = (first[:, None, None] + torch.arange(self.samples)).expand(-1, columns, -1).flatten()
        column = torch.arange(columns).repeat_interleave(self.samples).repeat(len(of))
        variants = Rewritten(
            of.repeat_interleave(repeats), last.repeat_interleave(repeats) + 1, start.repeat_interleave(repeats),
            torch.cat([values.flatten(0, 1) for values in contents]), content,
            column if subject.granularity == "cell" else None,
        )  # fmt: skip
        changed = predictions(subject, variants).view(len(of), columns, self.samples, -1)
        return list(distance(subject, actual[:, None, None], changed).mean(2).split(sizes))

    def _values_of_steps(self, windows: Tensor, effects: Tensor, steps: int) -> Tensor:
        """Values of the steps of a sequence, float64[T, D].

        Args:
            windows: int64[2, W], first and last step of each window.
            effects: float64[W, D], effects of the windows.
            steps: T, the length of the sequence.
        """
        start, last = windows
        dense = torch.zeros(steps + 1, steps, effects.shape[1], dtype=effects.dtype)
        dense[start, last] = effects
        alone = torch.zeros_like(dense[:-1])
        alone[start, last] = effects - dense[start + 1, last]  # the entry of an empty window is 0
        if self.predictions == "last":
            return alone[:, -1]
        windows_from = torch.arange(steps).add(self.window).clamp_max(steps) - torch.arange(steps)
        return alone.sum(1) / windows_from[:, None]

    def _content_sampler(self, subject: Subject) -> Callable[[int, torch.Generator], Tensor]:
        """Function that draws the contents [T, S, N(, D)] of a sequence with its random number generator."""
        inputs, lengths = subject.batch.inputs, subject.batch.lengths
        width = min(self.window, inputs.shape[1])
        if self.draws == "background" or subject.batch.tokens:
            pool = background_steps(subject, self.name)[:, 0]

            def draw(row: int, rng: torch.Generator) -> Tensor:
                chosen = torch.randint(len(pool), (self.samples, int(lengths[row]), *pool.shape[1:]), generator=rng)
                drawn = pool[chosen] if pool.dim() == 1 else pool.gather(0, chosen.flatten(0, 1)).view_as(chosen)
                return _from_each_step(drawn, width)

            return draw
        generator = LinearGaussian.fitted(background_of(subject, self.name), self.lags)

        def draw_continuations(row: int, rng: torch.Generator) -> Tensor:
            steps = int(lengths[row])
            noise = torch.randn(self.samples, steps, inputs.shape[2], generator=rng, dtype=torch.float64)
            return generator.continuations(inputs[row, :steps], _from_each_step(noise, width)).to(inputs.dtype)

        return draw_continuations


def _from_each_step(drawn: Tensor, width: int) -> Tensor:
    """Windows of W steps from each step of drawn values [S, T, …], as [T, S, W, …]; zeros beyond the end."""
    samples, steps, *rest = drawn.shape
    padded = torch.cat([drawn, drawn.new_zeros(samples, width - 1, *rest)], 1)
    return padded[:, torch.arange(steps)[:, None] + torch.arange(width)].transpose(0, 1)


def _predictions_before(subject: Subject, actual: Tensor, instance: Tensor, step: Tensor) -> Tensor:
    """Predictions before each step, float64[V, K]; before the first step, that for one step of the reference.

    Args:
        subject: model and batch.
        actual: float64[V, K], predictions after each step.
        instance: int64[V], sequences of the steps, in order.
        step: int64[V], the steps, in order.
    """
    first = (step == 0).nonzero().squeeze(1)
    of = instance[first]
    absent = Rewritten(of, torch.ones_like(of), torch.zeros_like(of), subject.reference[:, :1], of)
    before = actual.roll(1, 0)
    before[first] = predictions(subject, absent)
    return before


def _at_least_one(method: Explainer, *names: str) -> None:
    """Raise an error for parameters below 1."""
    for name in names:
        if getattr(method, name) < 1:
            raise ParameterError(f"{method.name}: {name}={getattr(method, name)} does not fit (at least 1).")
