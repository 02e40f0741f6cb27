"""Feature importance in time: what an observation added to the model's prediction when it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...plugins import register
from ...tasks.engine.variants import Prefix
from ..base import Explainer, Need
from .generating import LinearGaussian, normal_points
from .rewriting import Rewritten, background_steps, distance, divergence, predicted, streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tasks.subject import Subject

# Variants described at once.
_VARIANTS_AT_ONCE = 1 << 20


@register
@dataclass(frozen=True)
class Fit(Explainer):
    """How much of the shift of the prediction at step t is explained by one observation of it alone.

        KL(p(y | x_1…t) ‖ p(y | x_1…t−1)) − E KL(p(y | x_1…t) ‖ p(y | x_1…t−1, x_td, x̂))

    where x̂, the other columns of step t, is drawn given the past and x_td. Where a step is one feature nothing is left
    to be drawn and the second term is 0. Before the first step stands one step of the reference. p is the distribution
    over all classes; a regression is a normal distribution of unit variance around the explained value, so that KL is
    half the squared change.

    The generator is a linear-Gaussian model of a step given the last ones, fitted to the background in closed form, and
    the expectation runs over a fixed quasi-random set of points: the same question has one answer. (The paper trains a
    recurrent latent-variable network by gradient descent and draws at random.) The published program also squeezes the
    value through 2/(1 + e^−5v) − 1, which changes no order. A value below 0 is least of all important: the observation
    alone takes the prediction further off than no step at all.

    Parameters:
        samples: points of the expectation.
        lags: how many steps back the generator looks.

    Cost: T + 1 + samples · n forward sequence-equivalents for a sequence of T steps and n features; T + 1 where a step
        is one feature.
    Fails where: what comes later decides what an observation means, for each is judged when it comes; the generator is
        far from the data; and where the model says nothing sensible before the end.
    Source: Tonekaboni et al. 2020, arXiv:2003.02821.
    """

    name: ClassVar[str] = "fit"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"background"})
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Tonekaboni et al. 2020"

    samples: int = 16
    lags: int = 3

    def __post_init__(self) -> None:
        _at_least_one(self, "samples", "lags")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        instance, step = subject.batch.valid.nonzero(as_tuple=True)
        actual = predicted(subject, Prefix(instance, step + 1))
        shift = divergence(subject, actual, _before(subject, actual, instance, step))
        found = torch.zeros(subject.shape, dtype=torch.float64)
        if subject.granularity == "step":
            found[instance, step] = shift
        else:
            found[instance, step] = shift[:, None] - self._unexplained(subject, actual, instance, step)
        return found.to(subject.batch_outputs.dtype)

    def _unexplained(self, subject: Subject, actual: Tensor, instance: Tensor, step: Tensor) -> Tensor:
        """float64[V, D]: the mean divergence from the prediction when only one column of a step is known."""
        if subject.background is None:
            raise UnsupportedModelError(f"fit needs background sequences, and {subject.label} has none.")
        generator = LinearGaussian.fitted(subject.background, self.lags)
        columns = subject.shape[2]
        noise = normal_points(self.samples, columns)
        mean = generator.expected(subject.batch.inputs)
        found = torch.empty(len(instance), columns, dtype=torch.float64)
        for part in torch.arange(len(instance)).split(max(1, _VARIANTS_AT_ONCE // (columns * self.samples))):
            of, at = instance[part], step[part]
            known = subject.batch.inputs[of, at].double()
            drawn = generator.given_one(known, mean[of, at], generator.roots(at), noise).to(subject.batch.inputs.dtype)
            contents = drawn.reshape(-1, 1, columns)
            each = columns * self.samples
            of, at = of.repeat_interleave(each), at.repeat_interleave(each)
            other = predicted(subject, Rewritten(of, at + 1, at, contents, torch.arange(len(contents))))
            other = other.view(len(part), columns, self.samples, -1)
            found[part] = divergence(subject, actual[part, None, None], other).mean(2)
        return found


@register
@dataclass(frozen=True)
class WinIt(Explainer):
    """How much the predictions of the following steps change when an observation is unknown too, besides later ones.

        i(d, a…b) = E Σ|p(y | x_1…b) − p(y | x_1…b with column d of the steps a…b drawn)|
        I(d, a, b) = i(d, a…b) − i(d, a+1…b),   i of an empty window being 0
        value of (a, d) = mean of I(d, a, b) over the windows b = a … min(a + window − 1, T)

    I is what the observation at a matters to the prediction after step b, beyond what the column's later observations
    matter. Where a step is one feature, d is the step. A regression counts |change| of the explained value.

    What is drawn is, by default, what could have followed by a linear-Gaussian model of a step given the last ones,
    fitted to the background in closed form and continued from x_1…a−1; the paper trains a recurrent network. As it also
    says what the first step could be, the first step gets values, which it does not in the published program.

    Parameters:
        window: predictions that an observation is credited with, at most.
        samples: draws for each window.
        predictions: ``"every"``, as published, or ``"last"``: the value is I(d, a, T), and 0 before the last
            ``window`` steps.
        draws: ``"generator"``, or ``"background"``: each value from any step of the background. Tokens have no linear
            model, and are drawn from the background always.
        lags: how many steps back the generator looks.

    Cost: T + samples · D · W forward sequence-equivalents for a sequence of T steps of D features, of which
        W = Σ_b min(b, window); of the last prediction only, 1 + samples · D · min(T, window).
    Fails where: effects are delayed by more than the window; the generator is far from the data; and where the model
        says nothing sensible before the end.
    Source: Leung et al. 2023, arXiv:2107.14317, with the prediction difference as measure and the mean over
        windows, as in the published program.
    """

    name: ClassVar[str] = "winit"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"background"})
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
        draw = self._drawer(subject)
        rngs = streams(len(subject), rng)
        columns = subject.shape[2] if subject.granularity == "cell" else 1
        found = torch.zeros(*subject.shape[:2], columns, dtype=torch.float64)
        each = max(1, _VARIANTS_AT_ONCE // (found.shape[1] * min(self.window, found.shape[1]) * columns * self.samples))
        for rows in torch.arange(len(subject)).split(each):
            windows = [self._windows(int(subject.batch.lengths[row])) for row in rows.tolist()]
            contents = [draw(row, rngs[row]) for row in rows.tolist()]
            effects = self._effects(subject, rows, windows, contents)
            for row, own, effect in zip(rows.tolist(), windows, effects, strict=True):
                steps = int(subject.batch.lengths[row])
                found[row, :steps] = self._credited(own, effect, steps)
        return found.view(subject.shape).to(subject.batch_outputs.dtype)

    def _windows(self, steps: int) -> Tensor:
        """int64[2, W]: first and last step of each window of a sequence of so many steps."""
        last = range(steps) if self.predictions == "every" else [steps - 1]
        return torch.tensor([(start, end) for end in last for start in range(max(0, end + 1 - self.window), end + 1)]).T

    def _effects(self, subject: Subject, rows: Tensor, windows: list[Tensor], contents: list[Tensor]) -> list[Tensor]:
        """float64[W, D] of some sequences: i(d, a…b) of each of a sequence's windows int64[2, W].

        Args:
            subject: what is asked.
            rows: int64[R], the sequences.
            windows: of each.
            contents: [T, S, N(, D)] of each, what may be written from every step on.
        """
        sizes = [own.shape[1] for own in windows]
        of = rows.repeat_interleave(torch.tensor(sizes))
        start, last = torch.cat(windows, 1)
        asked, place = torch.stack([of, last]).unique(dim=1, return_inverse=True)
        actual = predicted(subject, Prefix(asked[0], asked[1] + 1))[place]
        offset = torch.tensor([0, *(len(own) * self.samples for own in contents[:-1])]).cumsum(0)
        first = offset.repeat_interleave(torch.tensor(sizes)) + start * self.samples
        columns = subject.shape[2] if subject.granularity == "cell" else 1
        each = columns * self.samples
        content = (first[:, None, None] + torch.arange(self.samples)).expand(-1, columns, -1).flatten()
        column = torch.arange(columns).repeat_interleave(self.samples).repeat(len(of))
        variants = Rewritten(
            of.repeat_interleave(each), last.repeat_interleave(each) + 1, start.repeat_interleave(each),
            torch.cat([own.flatten(0, 1) for own in contents]), content,
            column if subject.granularity == "cell" else None,
        )  # fmt: skip
        other = predicted(subject, variants).view(len(of), columns, self.samples, -1)
        return list(distance(subject, actual[:, None, None], other).mean(2).split(sizes))

    def _credited(self, windows: Tensor, effects: Tensor, steps: int) -> Tensor:
        """float64[T, D]: the values of a sequence's steps from the effects float64[W, D] of its windows."""
        start, last = windows
        dense = torch.zeros(steps + 1, steps, effects.shape[1], dtype=effects.dtype)
        dense[start, last] = effects
        alone = torch.zeros_like(dense[:-1])
        alone[start, last] = effects - dense[start + 1, last]  # an empty window, and it alone, was never filled
        if self.predictions == "last":
            return alone[:, -1]
        held = torch.arange(steps).add(self.window).clamp_max(steps) - torch.arange(steps)
        return alone.sum(1) / held[:, None]

    def _drawer(self, subject: Subject) -> Callable[[int, torch.Generator], Tensor]:
        """What draws a sequence's contents [T, S, N(, D)] with its random numbers."""
        inputs, lengths = subject.batch.inputs, subject.batch.lengths
        width = min(self.window, inputs.shape[1])
        if self.draws == "background" or subject.batch.tokens:
            pool = background_steps(subject, self.name)[:, 0]

            def draw(row: int, rng: torch.Generator) -> Tensor:
                chosen = torch.randint(len(pool), (self.samples, int(lengths[row]), *pool.shape[1:]), generator=rng)
                drawn = pool[chosen] if pool.dim() == 1 else pool.gather(0, chosen.flatten(0, 1)).view_as(chosen)
                return _from_each_step(drawn, width)

            return draw
        if subject.background is None:
            raise UnsupportedModelError(f"{self.name} needs background sequences, and {subject.label} has none.")
        generator = LinearGaussian.fitted(subject.background, self.lags)

        def continued(row: int, rng: torch.Generator) -> Tensor:
            steps = int(lengths[row])
            noise = torch.randn(self.samples, steps, inputs.shape[2], generator=rng, dtype=torch.float64)
            return generator.continued(inputs[row, :steps], _from_each_step(noise, width)).to(inputs.dtype)

        return continued


def _from_each_step(drawn: Tensor, width: int) -> Tensor:
    """[T, S, W, …]: from each step on, what was drawn for W steps [S, T, …]; zeros beyond the end."""
    samples, steps, *rest = drawn.shape
    padded = torch.cat([drawn, drawn.new_zeros(samples, width - 1, *rest)], 1)
    return padded[:, torch.arange(steps)[:, None] + torch.arange(width)].transpose(0, 1)


def _before(subject: Subject, actual: Tensor, instance: Tensor, step: Tensor) -> Tensor:
    """float64[V, K]: the predictions before each step, from those after it; before the first, of one absent step."""
    first = (step == 0).nonzero().squeeze(1)
    of = instance[first]
    absent = Rewritten(of, torch.ones_like(of), torch.zeros_like(of), subject.reference[:, :1], of)
    found = actual.roll(1, 0)
    found[first] = predicted(subject, absent)
    return found


def _at_least_one(method: Explainer, *names: str) -> None:
    """Refuse parameters below 1."""
    for name in names:
        if getattr(method, name) < 1:
            raise ParameterError(f"{method.name}: {name}={getattr(method, name)} does not fit (at least 1).")
