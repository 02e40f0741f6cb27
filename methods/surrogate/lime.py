"""LIME: a linear model fitted to perturbed copies of one sequence, whose coefficients are the attribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Masked
from ..base import Explainer

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Limit of the masks held at once, in bytes.
_MASKS_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class Surrogate:
    """Local linear model of one sequence.

    Attributes:
        coefficients: float64[n], one for each valid feature.
        intercept: the predicted score of the sequence with all features removed.
        r2: R² of the fit, the share of the weighted variance of the scores that the model explains.
    """

    coefficients: Tensor
    intercept: float
    r2: float


def fit_ridge(masks: Tensor, scores: Tensor, weights: Tensor, alpha: float = 1.0) -> Surrogate:
    """Weighted ridge regression with an unpenalised intercept, as scikit-learn's ``Ridge(alpha)`` with sample weights.

    Args:
        masks: float64[S, n], 1 where a feature is kept.
        scores: float64[S], the targets of the regression.
        weights: float64[S], positive sample weights.
        alpha: penalty on the squared coefficients.
    """
    share = weights / weights.sum()
    centre, level = share @ masks, share @ scores
    x, y = masks - centre, scores - level
    weighted = x * weights[:, None]
    coefficients = torch.linalg.solve(weighted.T @ x + alpha * torch.eye(x.shape[1], dtype=x.dtype), weighted.T @ y)
    residual = weights @ (y - x @ coefficients) ** 2
    spread = weights @ y**2
    r2 = float(1 - residual / spread) if spread > 0 else 1.0
    return Surrogate(coefficients, float(level - centre @ coefficients), r2)


def similarity(masks: Tensor, width: float) -> Tensor:
    """Weights of masks in the regression, float64[S]: √exp(−d²/width²), d = 100 · cosine distance to the full mask.

    This is the kernel of the ``lime`` package (``lime_text``).

    Args:
        masks: float64[S, n] of 0 and 1.
        width: kernel width.
    """
    kept = masks.sum(1)
    cosine = kept / (kept.sqrt() * masks.shape[1] ** 0.5)
    distance = 100 * (1 - cosine.nan_to_num(nan=0.0))
    weights: Tensor = (-(distance**2) / width**2).exp().sqrt()
    return weights


@register
@dataclass(frozen=True)
class Lime(Explainer):
    """LIME: coefficients of a weighted ridge regression of the score on which features are kept.

    Masks, weights and regression are those of the ``lime`` package's text explainer: the number of removed features is
    uniform from 1 to n, and the unperturbed sequence comes first; the kernel is exponential on cosine distance; ridge
    regression with α = 1 keeps all features. Unlike the package, a removed feature is replaced by the reference, and
    all masks of all sequences are run in large batches. The R² of each fit is in :meth:`surrogates`.

    Parameters:
        samples: masks for each sequence, the full one included.
        width: kernel width.
        scale: target of the regression: the ``"probability"`` of the class as in the package, or the ``"raw"`` score.
            Regression models have raw scores only.

    Cost: samples forward sequence-equivalents for each sequence; short sequences repeat masks, which are run once.
    Fails where: n is large compared with samples; and where the score is far from linear in the features (low R²).
    Source: Ribeiro, Singh & Guestrin 2016, equation 1 and algorithm 1; lime 0.2.0.1, ``lime_text`` and ``lime_base``.
    """

    name: ClassVar[str] = "lime"
    group: ClassVar[str] = "surrogate"
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Ribeiro et al. 2016"

    samples: int = 1000
    width: float = 25.0
    scale: Literal["probability", "raw"] = "probability"

    def __post_init__(self) -> None:
        if self.samples < 2:  # the full mask and one other
            raise ParameterError(f"lime: samples={self.samples} does not fit (at least 2).")
        if self.width <= 0:
            raise ParameterError(f"lime: width={self.width} does not fit (above 0).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        values = torch.zeros(len(subject), subject.valid[0].numel(), dtype=torch.float64)
        valid = subject.valid.flatten(1)
        for row, surrogate in enumerate(self.surrogates(subject, rng)):
            values[row, valid[row]] = surrogate.coefficients
        return values.view(subject.shape).to(torch.get_default_dtype())

    def surrogates(self, subject: Subject, rng: torch.Generator) -> list[Surrogate]:
        """Return the fitted surrogate of each sequence."""
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        rows_at_once = max(1, _MASKS_AT_ONCE // (self.samples * subject.valid[0].numel()))
        surrogates: list[Surrogate] = []
        for rows in torch.arange(len(subject)).split(rows_at_once):
            masks = [self.masks(int(subject.valid[row].sum()), seeds[row]) for row in rows.tolist()]
            scores = self._scores(subject, rows, masks)
            surrogates += [
                fit_ridge(mask.double(), score.double(), similarity(mask.double(), self.width))
                for mask, score in zip(masks, scores, strict=True)
            ]
        return surrogates

    def masks(self, count: int, seed: int) -> Tensor:
        """Masks of a sequence of ``count`` features, bool[samples, count], True where a feature is kept.

        The first mask is full; the others are random and remove 1 to ``count`` features.
        """
        rng = torch.Generator().manual_seed(seed)
        removed = torch.randint(1, count + 1, (self.samples, 1), generator=rng)
        removed[0] = 0
        values = torch.rand(self.samples, count, generator=rng, dtype=torch.float64)
        # keep the features whose value is above the removed-th smallest: a threshold takes one sort, ranks take two
        lowest = torch.cat([values.new_full((self.samples, 1), -1.0), values.sort(1).values], 1)
        return values > lowest.gather(1, removed)

    def _scores(self, subject: Subject, rows: Tensor, masks: list[Tensor]) -> list[Tensor]:
        """Scores float[samples] of the masks of each sequence int64[R]; the sequences are run together."""
        keep = torch.ones(len(rows), self.samples, subject.valid[0].numel(), dtype=torch.bool)
        for place, (row, mask) in enumerate(zip(rows.tolist(), masks, strict=True)):
            keep[place][:, subject.valid[row].flatten()] = mask
        keep = keep.view(-1, *subject.shape[1:])
        scores = subject.scores(Masked(keep, rows.repeat_interleave(self.samples)), self.scale)
        return list(scores.view(len(rows), self.samples))
