"""The sign-flip test beside its literal definition: all choices of signs."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, wilcoxon

from xrnnbench.harness.statistics.sign_flip import _exact, sign_flip, signed_ranks, smallest_p_value

SIZES = {
    "normal": lambda rng, n: np.abs(rng.normal(size=n)),
    "heavy": lambda rng, n: np.abs(rng.standard_t(1.5, size=n)),
    "equal": lambda rng, n: np.ones(n),
    "lattice": lambda rng, n: rng.choice([0.25, 0.5, 1.0], size=n),
    "lognormal": lambda rng, n: np.exp(2 * rng.normal(size=n)),
}
DIFFERENCES = st.lists(st.integers(-20, 20).map(lambda value: value / 4), min_size=1, max_size=9).map(np.array)


def literal(differences):
    """The share of all choices of signs whose sum is no higher."""
    sizes, total = np.abs(differences), differences.sum()
    sums = [float(np.dot(signs, sizes)) for signs in itertools.product([-1, 1], repeat=len(sizes))]
    return np.mean([value <= total + 1e-9 for value in sums])


@given(DIFFERENCES)
def test_few_differences_are_enumerated(differences):
    assert sign_flip(differences) == pytest.approx(literal(differences))


@given(DIFFERENCES)
def test_zeros_and_the_order_and_the_unit_say_nothing(differences):
    found = sign_flip(differences)
    assert sign_flip(np.concatenate([differences, np.zeros(5)])) == found
    assert sign_flip(differences[::-1]) == pytest.approx(found)
    assert sign_flip(differences * 8) == found


@given(DIFFERENCES)
def test_no_p_value_is_below_the_least(differences):
    assert sign_flip(differences) >= smallest_p_value(differences) * (1 - 1e-12)
    assert sign_flip(-np.abs(differences)) == pytest.approx(smallest_p_value(differences))


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("share", [0.5, 0.65, 0.8, 0.95])
def test_the_approximation_is_close_to_enumeration(kind, share):
    """Of 20 differences all 2²⁰ sums; where they differ, on the safe side, at the very last sum the most."""
    rng = np.random.default_rng(7)
    for _ in range(3):
        sizes = SIZES[kind](rng, 20)
        differences = np.where(rng.random(20) < share, -sizes, sizes)
        exact, found = _exact(sizes, float(differences.sum())), sign_flip(differences)
        assert found <= 3 * exact
        if exact < 0.4:
            assert found >= 0.7 * exact


@pytest.mark.parametrize("kind", SIZES)
def test_p_values_are_no_smaller_than_they_say(kind):
    """If signs are chance, a p-value under α comes with probability α at most, far out as well."""
    rng = np.random.default_rng(3)
    found = np.array([sign_flip(SIZES[kind](rng, 60) * rng.choice([-1.0, 1.0], size=60)) for _ in range(4000)])
    for alpha in (0.2, 0.05, 0.01, 0.002):
        # three standard errors of a share
        assert (found < alpha).mean() <= alpha + 3 * np.sqrt(alpha / len(found))


def test_the_far_tail_agrees_with_a_binomial():
    """Of equal sizes the sum counts signs: P(at most 12 of 100 are positive)."""
    differences = np.concatenate([np.ones(12), -np.ones(88)])
    assert sign_flip(differences) == pytest.approx(binom.cdf(12, 100, 0.5), rel=0.05)
    assert sign_flip(differences) < 1e-14


def test_ranks_give_wilcoxons_test():
    rng = np.random.default_rng(5)
    differences = rng.normal(-0.2, 1, size=40)
    expected = wilcoxon(differences, alternative="less", method="exact").pvalue
    assert sign_flip(signed_ranks(differences)) == pytest.approx(expected, rel=0.05)


def test_both_sides_share_what_is_certain():
    differences = np.random.default_rng(1).normal(size=50)
    assert sign_flip(differences) + sign_flip(-differences) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n", [3, 40])
def test_nothing_changed_is_no_evidence(n):
    assert sign_flip(np.zeros(n)) == 1.0
    assert smallest_p_value(np.zeros(n)) == 1.0
