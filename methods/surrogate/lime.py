"""Surrogates: a simple model fitted around one sequence, whose coefficients are the explanation."""

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

# Masks held at once, in bytes.
_MASKS_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class Surrogate:
    """One sequence's local linear model.

    Attributes:
        coefficients: float64[n], one for each valid feature.
        intercept: the score it gives to nothing at all.
        r2: the share of the weighted variance of the scores it explains: how far it may be believed.
    """

    coefficients: Tensor
    intercept: float
    r2: float


def fit_ridge(masks: Tensor, scores: Tensor, weights: Tensor, alpha: float = 1.0) -> Surrogate:
    """Weighted ridge regression with a free intercept, as scikit-learn's ``Ridge(alpha)`` with sample weights.

    Args:
        masks: float64[S, n], 1 where a feature is kept.
        scores: float64[S].
        weights: float64[S], positive.
        alpha: the penalty on the squared coefficients.
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
    """lime's weight of a mask: √exp(−d²/width²), d = 100 · cosine distance to the full mask (``lime_text``).

    Args:
        masks: float64[S, n] of 0 and 1.
        width: kernel width.
    """
    kept = masks.sum(1)
    cosine = kept / (kept.sqrt() * masks.shape[1] ** 0.5)
    distance = 100 * (1 - cosine.nan_to_num(nan=0.0))
    found: Tensor = (-(distance**2) / width**2).exp().sqrt()
    return found


@register
@dataclass(frozen=True)
class Lime(Explainer):
    """LIME: coefficients of a weighted ridge regression on which features a perturbed sequence keeps.

    The masks are drawn, weighted and regressed as the ``lime`` package's text explainer does (number of removed
    features uniform from 1 to n, the unperturbed sequence first; exponential kernel on cosine distance; ridge with α =
    1 and all features kept), but a removed feature is replaced by the reference, and all masks of all sequences are
    run in large batches. The R² of each fit is in :meth:`surrogates`.

    Parameters:
        samples: masks for each sequence, the full one included.
        width: kernel width.
        scale: what is regressed: ``"probability"`` of the class as the package does, or the ``"raw"`` score. Regression
            models have raw scores only.

    Cost: samples forward sequence-equivalents for each sequence; short sequences repeat masks, which are run once.
    Fails where: n is large beside samples, and where the score is far from linear in the features (low R²).
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
        found = torch.zeros(len(subject), subject.valid[0].numel(), dtype=torch.float64)
        valid = subject.valid.flatten(1)
        for row, surrogate in enumerate(self.surrogates(subject, rng)):
            found[row, valid[row]] = surrogate.coefficients
        return found.view(subject.shape).to(torch.get_default_dtype())

    def surrogates(self, subject: Subject, rng: torch.Generator) -> list[Surrogate]:
        """The fitted surrogate of each sequence."""
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        each = max(1, _MASKS_AT_ONCE // (self.samples * subject.valid[0].numel()))
        found: list[Surrogate] = []
        for rows in torch.arange(len(subject)).split(each):
            masks = [self.masks(int(subject.valid[row].sum()), seeds[row]) for row in rows.tolist()]
            scores = self._scores(subject, rows, masks)
            found += [
                fit_ridge(own.double(), score.double(), similarity(own.double(), self.width))
                for own, score in zip(masks, scores, strict=True)
            ]
        return found

    def masks(self, count: int, seed: int) -> Tensor:
        """bool[samples, count]: the full mask, then random ones with 1 to ``count`` features removed."""
        rng = torch.Generator().manual_seed(seed)
        removed = torch.randint(1, count + 1, (self.samples, 1), generator=rng)
        removed[0] = 0
        values = torch.rand(self.samples, count, generator=rng, dtype=torch.float64)
        # what is kept has a value above the removed-th smallest; a threshold costs one sort, a ranking two
        lowest = torch.cat([values.new_full((self.samples, 1), -1.0), values.sort(1).values], 1)
        return values > lowest.gather(1, removed)

    def _scores(self, subject: Subject, rows: Tensor, masks: list[Tensor]) -> list[Tensor]:
        keep = torch.ones(len(rows), self.samples, subject.valid[0].numel(), dtype=torch.bool)
        for place, (row, own) in enumerate(zip(rows.tolist(), masks, strict=True)):
            keep[place][:, subject.valid[row].flatten()] = own
        keep = keep.view(-1, *subject.shape[1:])
        scores = subject.scores(Masked(keep, rows.repeat_interleave(self.samples)), self.scale)
        return list(scores.view(len(rows), self.samples))
