"""Conditional generator of steps: a linear-Gaussian model of a step given the steps before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...tasks.data.batch import Batch

# Added to the variances of standardized columns, so that a column that the others determine has a positive variance.
_JITTER: Final = 1e-6
# The penalty of the ridge regression, on standardized columns.
_PENALTY: Final = 1.0


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """Normal distribution of a step given the last p steps: a linear prediction with the full covariance of its errors.

    A background usually has few sequences, from which a larger model could not be estimated. Fitting needs no random
    seed, and conditioning on some columns of the step itself is exact. Steps before the first one count as the mean.
    The first step has the mean and the covariance of all steps.

    Attributes:
        centre: float64[D], mean of the steps.
        weights: float64[p·D, D], regression weights of the last p steps minus the mean, the latest step first.
        first: float64[D, D], a triangular root of the covariance of a step.
        later: float64[D, D], a triangular root of the covariance of the prediction errors.
    """

    centre: Tensor
    weights: Tensor
    first: Tensor
    later: Tensor

    @property
    def lags(self) -> int:
        """Number p of earlier steps in the prediction."""
        return len(self.weights) // len(self.centre)

    @classmethod
    def fitted(cls, background: Batch, lags: int) -> LinearGaussian:
        """Fit by ridge regression of every step on the steps before it.

        Args:
            background: sequences float[B, T, D].
            lags: p, number of earlier steps in the prediction.
        """
        inputs = background.inputs.double()
        steps = inputs[background.valid]
        centre, scale = steps.mean(0), steps.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        standard = ((inputs - centre) / scale) * background.valid[:, :, None]
        later = background.valid[:, 1:]
        past, now = _pasts(standard, lags)[:, 1:][later], standard[:, 1:][later]
        penalty = _PENALTY * torch.eye(past.shape[1], dtype=past.dtype)
        weights = torch.linalg.solve(past.T @ past + penalty, past.T @ now)
        first = _root(standard[background.valid])
        roots = first, _root(now - past @ weights) if len(now) else first
        weights = (weights.view(lags, len(scale), -1) / scale[:, None] * scale).flatten(0, 1)
        return cls(centre, weights, *(scale[:, None] * root for root in roots))

    def conditional_mean(self, inputs: Tensor) -> Tensor:
        """Conditional mean of each step given the steps before it, float64[B, T, D], for sequences [B, T, D]."""
        mean: Tensor = self.centre + _pasts(inputs.double() - self.centre, self.lags) @ self.weights
        return mean

    def roots(self, step: Tensor) -> Tensor:
        """Triangular root of the conditional covariance of each step int64[…], float64[…, D, D]."""
        return torch.where((step > 0)[..., None, None], self.later, self.first)

    def conditional_draws(self, actual: Tensor, mean: Tensor, root: Tensor, noise: Tensor) -> Tensor:
        """Draws of a step given one of its columns, for each column.

        An unconditional draw z becomes a conditional one by z + Σ_{·d} / Σ_dd · (x_d − z_d), which is exact for normal
        distributions.

        Args:
            actual: float64[V, D], x, the actual step.
            mean: float64[V, D], conditional mean of the step given the steps before it.
            root: float64[V, D, D], triangular root of its conditional covariance.
            noise: float64[S, D], standard normal numbers.

        Returns:
            float64[V, D, S, D]: for each known column d, S draws whose column d is x_d.
        """
        drawn = mean[:, None] + noise @ root.mT
        covariance = root @ root.mT
        slope = covariance / covariance.diagonal(dim1=1, dim2=2)[:, :, None]
        conditional = drawn[:, None] + slope[:, :, None] * (actual[:, None] - drawn).mT[..., None]
        columns = torch.arange(actual.shape[1])
        conditional[:, columns, :, columns] = actual.T[:, :, None]  # without rounding errors
        return conditional

    def continuations(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Random continuations of a sequence from each of its steps.

        Args:
            inputs: float[T, D], one sequence.
            noise: float64[T, S, W, D], standard normal numbers.

        Returns:
            float64[T, S, W, D]: S continuations of W steps from each step t, drawn one step after the other given x
            before t and the steps drawn so far.
        """
        steps, samples, width, columns = noise.shape
        step = torch.arange(steps)
        past = _pasts(inputs[None].double() - self.centre, self.lags)[0].view(steps, self.lags, columns)
        past = past[:, None].expand(-1, samples, -1, -1)
        continuations = torch.empty_like(noise)
        for offset in range(width):
            root = self.roots(step + offset)[:, None]
            drawn = past.flatten(2) @ self.weights + (root @ noise[:, :, offset, :, None]).squeeze(3)
            continuations[:, :, offset] = self.centre + drawn
            past = torch.cat([drawn[:, :, None], past[:, :, :-1]], 2)
        return continuations


def normal_points(count: int, columns: int) -> Tensor:
    """Quasi-random points of the standard normal distribution, float64[count, columns]; every call gives the same.

    The points are a scrambled Sobol sequence, whose means have smaller errors than those of random draws.
    """
    uniform = torch.quasirandom.SobolEngine(columns, scramble=True, seed=0).draw(count, dtype=torch.float64)
    points: Tensor = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
    return points


def _pasts(standard: Tensor, lags: int) -> Tensor:
    """Last steps before each step, [B, T, lags·D], the latest first; zeros before the first step."""
    steps = standard.shape[1]
    padded = torch.cat([standard.new_zeros(len(standard), lags, standard.shape[2]), standard], 1)
    return torch.cat([padded[:, lags - lag : lags - lag + steps] for lag in range(1, lags + 1)], 2)


def _root(values: Tensor) -> Tensor:
    """Triangular root of the second moments of values float64[N, D], float64[D, D]."""
    moments = values.T @ values / len(values)
    root: Tensor = torch.linalg.cholesky(moments + _JITTER * torch.eye(values.shape[1], dtype=values.dtype))
    return root
