"""Sign-flip test of paired differences, with p-values that stay exact far out in the tail.

If a rerun is as good as the baseline, it is chance which of the two values of an instance belongs to which run. So each
difference is as likely as its opposite, given its size (Fisher, The Design of Experiments, 1935, §21). The test needs
no normal, smooth or even continuous values: differences of 0 drop out, and ties count as ties. The sum of the
differences is compared with its sums over all choices of signs. For few differences other than 0 all 2ᵏ choices are
enumerated. For more, the saddlepoint approximation is used (Lugannani & Rice 1980, doi:10.2307/1426607; for this test
Robinson 1982, JRSS B 44). Its relative error stays small far out in the tail, which a correction for a thousand
comparisons depends on and which random signs would never reach.

Student's t of :mod:`xrnnbench.harness.statistics.variance_components` tests more: whether other models would show the
same difference. Here both sides have the same models, so that only the variation from sequence to sequence is left to
chance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

if TYPE_CHECKING:
    from ..results.cells import Scores

# With at most so many differences other than 0, all choices of signs are enumerated.
_ENUMERATED = 14


def sign_flip(differences: Scores) -> float:
    """Return the p-value of the sum of the differences: the probability of a sum as low, or lower, under random signs.

    The test is one-sided: the p-value is small if values fell; ``sign_flip(-differences)`` tests for a rise.

    Args:
        differences: float64[n], independent of each other; no NaN.

    >>> sign_flip(np.array([-1.0, -2.0, 0.0, -0.5]))
    0.125
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    sizes, total = np.abs(nonzero), float(nonzero.sum())
    if len(nonzero) <= _ENUMERATED:
        return _exact(sizes, total)
    # continuity correction by half a step: where the sums are on a grid, its step is at least twice the smallest size;
    # where they are not, the correction is negligible
    nearer = abs(total) - float(sizes.min())
    tail = _tail(sizes, nearer) if nearer > 0 else 0.5
    return tail if total < 0 else 1.0 - tail


def smallest_p_value(differences: Scores) -> float:
    """Return the smallest p-value that differences of these sizes can have, whatever their signs.

    >>> smallest_p_value(np.array([0.5, 0.0, -1.0]))
    0.25
    """
    return 0.5 ** int(np.count_nonzero(differences))


def signed_ranks(differences: Scores) -> Scores:
    """Return the ranks of the sizes with the signs of the differences, whose sum no single value dominates.

    This is the statistic of Wilcoxon's signed-rank test (1945).

    >>> signed_ranks(np.array([-0.5, 0.0, 90.0])).tolist()
    [-1.0, 0.0, 2.0]
    """
    nonzero = differences != 0
    ranks = np.zeros(len(differences))
    ranks[nonzero] = rankdata(np.abs(differences[nonzero])) * np.sign(differences[nonzero])
    return ranks


def _exact(sizes: Scores, total: float) -> float:
    """Return the share of all choices of signs whose sum is at most ``total``."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    # the tolerance lets equal sums count as equal that rounding made differ
    return float((sums <= total + 1e-9 * sizes.sum()).mean())


def _tail(sizes: Scores, total: float) -> float:
    """Return P(Σ ±sizes ≥ total) for 0 < total < Σ sizes, by the formula of Lugannani and Rice."""
    scaled: np.ndarray[Any, Any] = sizes / math.sqrt(float(np.square(sizes).sum()))
    wanted = total * float(scaled[0] / sizes[0])
    if wanted < 0.05:
        # the formula is 0/0 at 0, and the normal distribution is good enough near it
        return float(norm.sf(wanted))

    def slope(tilt: float) -> float:
        """Return the derivative of the saddlepoint equation, which is 0 at the saddlepoint."""
        return float((scaled * np.tanh(tilt * scaled)).sum()) - wanted

    high = 1.0
    while slope(high) < 0:
        high *= 2
    tilt = float(brentq(slope, 0.0, high, xtol=1e-12))
    generating = float((np.logaddexp(tilt * scaled, -tilt * scaled) - math.log(2)).sum())
    curvature = float((scaled**2 / np.cosh(np.minimum(tilt * scaled, 300)) ** 2).sum())
    root = math.sqrt(max(2 * (tilt * wanted - generating), 0.0))
    slanted = tilt * math.sqrt(curvature)
    probability = float(norm.sf(root) + norm.pdf(root) * (1 / slanted - 1 / root))
    # no sum is rarer than the one with all signs equal
    return min(max(probability, 0.5 ** len(sizes)), 1.0)
