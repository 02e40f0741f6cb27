"""Whether paired differences go one way: the sign-flip test.

If a rerun is as good as the baseline, it is chance which of the two values of an instance is whose, so each difference
is as likely as its opposite, given its size (Fisher, The Design of Experiments, 1935, §21). That needs no normal,
smooth or even continuous values: differences of 0 drop out, ties count as what they are. The sum of the differences is
compared with its sums over all choices of signs: all 2ᵏ of them for few differences that are not 0, else by the
saddlepoint approximation (Lugannani & Rice 1980, doi:10.2307/1426607; for this test Robinson 1982, JRSS B 44), whose
relative error stays small far out in the tail, where a correction for a thousand comparisons looks and drawn signs
would see nothing.

Student's t of :mod:`xrnnbench.harness.statistics.variance_components` asks more: whether other models would say the
same. Here the models are the same ones on both sides, so that only what differs from sequence to sequence is left to
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

_ENUMERATED = 14


def sign_flip(differences: Scores) -> float:
    """How likely a sum as low as this one, or lower, is if every difference had its sign by chance.

    One-sided: small if the differences speak for a fall; ``sign_flip(-differences)`` asks about a rise.

    Args:
        differences: float64[n], independent of each other; no NaN.

    >>> sign_flip(np.array([-1.0, -2.0, 0.0, -0.5]))
    0.125
    """
    found = differences[differences != 0]
    if not len(found):
        return 1.0
    sizes, total = np.abs(found), float(found.sum())
    if len(found) <= _ENUMERATED:
        return _exact(sizes, total)
    # from one sum to the next it is at least twice the smallest size where there are steps at all: the half of a
    # step corrects for them, and is nothing where there are none
    nearer = abs(total) - float(sizes.min())
    tail = _tail(sizes, nearer) if nearer > 0 else 0.5
    return tail if total < 0 else 1.0 - tail


def least(differences: Scores) -> float:
    """The smallest p-value differences of these sizes could have had, whatever their signs.

    >>> least(np.array([0.5, 0.0, -1.0]))
    0.25
    """
    return 0.5 ** int(np.count_nonzero(differences))


def signed_ranks(differences: Scores) -> Scores:
    """The ranks of the sizes with the signs of the differences: no single value rules their sum (Wilcoxon 1945).

    >>> signed_ranks(np.array([-0.5, 0.0, 90.0])).tolist()
    [-1.0, 0.0, 2.0]
    """
    there = differences != 0
    ranks = np.zeros(len(differences))
    ranks[there] = rankdata(np.abs(differences[there])) * np.sign(differences[there])
    return ranks


def _exact(sizes: Scores, total: float) -> float:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    # sums that are the same in another order of adding
    return float((sums <= total + 1e-9 * sizes.sum()).mean())


def _tail(sizes: Scores, total: float) -> float:
    """P(Σ ±sizes ≥ total), 0 < total < Σ sizes, by Lugannani and Rice."""
    scaled: np.ndarray[Any, Any] = sizes / math.sqrt(float(np.square(sizes).sum()))
    wanted = total * float(scaled[0] / sizes[0])
    if wanted < 0.05:
        # there the formula is 0/0, and the normal distribution good enough
        return float(norm.sf(wanted))

    def slope(tilt: float) -> float:
        return float((scaled * np.tanh(tilt * scaled)).sum()) - wanted

    high = 1.0
    while slope(high) < 0:
        high *= 2
    tilt = float(brentq(slope, 0.0, high, xtol=1e-12))
    generating = float((np.logaddexp(tilt * scaled, -tilt * scaled) - math.log(2)).sum())
    curvature = float((scaled**2 / np.cosh(np.minimum(tilt * scaled, 300)) ** 2).sum())
    root = math.sqrt(max(2 * (tilt * wanted - generating), 0.0))
    slanted = tilt * math.sqrt(curvature)
    found = float(norm.sf(root) + norm.pdf(root) * (1 / slanted - 1 / root))
    # no sum is rarer than the one of all signs alike
    return min(max(found, 0.5 ** len(sizes)), 1.0)
