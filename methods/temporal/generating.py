"""A conditional generator of steps: what could have been there, given what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ...tasks.data.batch import Batch

# Added to the variances of standardized columns, so that a column that follows from the others has some.
_JITTER: Final = 1e-6
# The penalty of the ridge regression, on standardized columns.
_PENALTY: Final = 1.0


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """x_t given the last steps is normal: a linear prediction with the full covariance of its errors.

    Given so few sequences as a background usually has, it is what can be estimated; it needs no training that depends
    on a seed, and conditioning on some columns of the step itself is exact. What was before the first step counts as
    the mean, and the first step itself has the mean and the covariance of all steps.

    Attributes:
        centre: float64[D], the mean of the steps.
        weights: float64[p·D, D], of the last p steps, the latest first, each less the mean.
        first: float64[D, D], a triangular root of the covariance of a step.
        later: float64[D, D], a triangular root of the covariance of the errors.
    """

    centre: Tensor
    weights: Tensor
    first: Tensor
    later: Tensor

    @property
    def lags(self) -> int:
        """p, how many steps back it looks."""
        return len(self.weights) // len(self.centre)

    @classmethod
    def fitted(cls, background: Batch, lags: int) -> LinearGaussian:
        """Ridge regression of every step on those before it.

        Args:
            background: sequences float[B, T, D].
            lags: p.
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
        own = _root(standard[background.valid])
        roots = own, _root(now - past @ weights) if len(now) else own
        weights = (weights.view(lags, len(scale), -1) / scale[:, None] * scale).flatten(0, 1)
        return cls(centre, weights, *(scale[:, None] * root for root in roots))

    def expected(self, inputs: Tensor) -> Tensor:
        """float64[B, T, D]: the mean of each step given those before it, for sequences [B, T, D]."""
        found: Tensor = self.centre + _pasts(inputs.double() - self.centre, self.lags) @ self.weights
        return found

    def roots(self, step: Tensor) -> Tensor:
        """float64[…, D, D]: a root of the covariance of each step int64[…] given those before it."""
        return torch.where((step > 0)[..., None, None], self.later, self.first)

    def given_one(self, actual: Tensor, mean: Tensor, root: Tensor, noise: Tensor) -> Tensor:
        """Draws of a step of which one column is known, for each of its columns.

        A draw z of the whole step becomes one under the condition by z + Σ_{·d} / Σ_dd · (x_d − z_d), which is exact
        for normal distributions.

        Args:
            actual: float64[V, D], x, the step as it is.
            mean: float64[V, D], of the step given those before it.
            root: float64[V, D, D], of its covariance.
            noise: float64[S, D], standard normal.

        Returns:
            float64[V, D, S, D]: for each known column d the draws, whose column d is x_d.
        """
        drawn = mean[:, None] + noise @ root.mT
        covariance = root @ root.mT
        slope = covariance / covariance.diagonal(dim1=1, dim2=2)[:, :, None]
        found = drawn[:, None] + slope[:, :, None] * (actual[:, None] - drawn).mT[..., None]
        columns = torch.arange(actual.shape[1])
        found[:, columns, :, columns] = actual.T[:, :, None]  # exactly, and not up to rounding
        return found

    def continued(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """What could have followed instead, from every step of a sequence on.

        Args:
            inputs: float[T, D], one sequence.
            noise: float64[T, S, W, D], standard normal.

        Returns:
            float64[T, S, W, D]: from step t on, W steps drawn one after the other given x before t and what was drawn.
        """
        steps, samples, width, columns = noise.shape
        step = torch.arange(steps)
        past = _pasts(inputs[None].double() - self.centre, self.lags)[0].view(steps, self.lags, columns)
        past = past[:, None].expand(-1, samples, -1, -1)
        found = torch.empty_like(noise)
        for offset in range(width):
            root = self.roots(step + offset)[:, None]
            drawn = past.flatten(2) @ self.weights + (root @ noise[:, :, offset, :, None]).squeeze(3)
            found[:, :, offset] = self.centre + drawn
            past = torch.cat([drawn[:, :, None], past[:, :, :-1]], 2)
        return found


def normal_points(count: int, columns: int) -> Tensor:
    """float64[count, columns]: points spread as the standard normal distribution, always the same.

    A scrambled Sobol sequence, whose means err less than those of random draws.
    """
    uniform = torch.quasirandom.SobolEngine(columns, scramble=True, seed=0).draw(count, dtype=torch.float64)
    found: Tensor = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
    return found


def _pasts(standard: Tensor, lags: int) -> Tensor:
    """[B, T, lags·D]: the steps before each, the latest first; zeros before the first."""
    steps = standard.shape[1]
    padded = torch.cat([standard.new_zeros(len(standard), lags, standard.shape[2]), standard], 1)
    return torch.cat([padded[:, lags - lag : lags - lag + steps] for lag in range(1, lags + 1)], 2)


def _root(values: Tensor) -> Tensor:
    """float64[D, D]: the triangular root of the second moments of values float64[N, D]."""
    moments = values.T @ values / len(values)
    found: Tensor = torch.linalg.cholesky(moments + _JITTER * torch.eye(values.shape[1], dtype=values.dtype))
    return found
