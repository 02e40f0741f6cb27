"""Which methods are told apart: Holm's correction, paired tests, places, and how often they are wrong."""

import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.statistics.pairwise_tests import holm, pairwise_tests
from xrnnbench.harness.statistics.variance_components import VarianceComponents


def step_down(p):
    """Holm's procedure as he wrote it: the smallest level at which each hypothesis is rejected, found by trying."""
    found = []
    for wanted in range(len(p)):
        for level in np.linspace(0, 1, 2001):
            rejected = set()
            for step, place in enumerate(np.argsort(p, kind="stable")):
                if p[place] > level / (len(p) - step):
                    break
                rejected.add(int(place))
            if wanted in rejected:
                found.append(level)
                break
        else:
            found.append(1.0)
    return np.array(found)


def test_holm_is_the_step_down_procedure():
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.9, 0.02])
    assert np.allclose(holm(p), step_down(p), atol=6e-4)
    assert holm(np.array([])).shape == (0,)
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


def scores(rng, shifts, models=3, sequences=40, shared=2.0):
    """Methods that find the same sequences hard, and the same models."""
    hard = shared * (rng.normal(size=(models, 1)) + rng.normal(size=(1, sequences)))
    return {
        name: dict(enumerate(shift + hard + rng.normal(0, 0.3, (models, sequences)))) for name, shift in shifts.items()
    }


def test_pairing_sees_what_the_intervals_do_not():
    found = pairwise_tests(scores(np.random.default_rng(0), {"a": 0.5, "b": 0.0, "c": 0.0}))
    assert found.differ("a", "b")
    assert found.differ("c", "a")
    assert not found.differ("b", "c")
    assert found.difference[0, 1] == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(found.p, found.p.T)
    assert np.array_equal(found.difference, -found.difference.T)
    assert (np.diag(found.p) == 1).all()


def test_one_model_is_scipys_paired_test():
    made = scores(np.random.default_rng(1), {"a": 0.1, "b": 0.0, "c": 0.05}, models=1)
    found = pairwise_tests(made)
    theirs = [
        stats.ttest_rel(made[one][0], made[other][0]).pvalue for one, other in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    assert [found.p[0, 1], found.p[0, 2], found.p[1, 2]] == pytest.approx(list(holm(np.array(theirs))), rel=1e-9)


def test_places_are_what_the_tests_leave_open():
    made = pairwise_tests(scores(np.random.default_rng(2), {"a": 2.0, "b": 1.01, "c": 1.0, "d": 0.0}))
    assert made.rank_ranges(1, ["a", "b", "c", "d"]) == {"a": (1, 1), "b": (2, 3), "c": (2, 3), "d": (4, 4)}
    assert made.rank_ranges(-1, ["a", "b", "c", "d"]) == {"d": (1, 1), "b": (2, 3), "c": (2, 3), "a": (4, 4)}
    assert made.rank_ranges(1, ["b", "d"]) == {"b": (1, 1), "d": (2, 2)}, "only those that are named count"
    assert made.rank_ranges(1, []) == {}


def test_only_sequences_that_both_are_scored_on_count():
    made = scores(np.random.default_rng(3), {"a": 0.0, "b": 0.0})
    made["a"][1][5:] = np.nan
    made["b"][1][:9] = np.nan
    made["a"][1][5:9] = 1e6
    found = pairwise_tests(made)
    defined = [made["a"][seed] - made["b"][seed] for seed in (0, 1, 2)]
    assert found.difference[0, 1] == pytest.approx(np.nanmean(np.concatenate(defined)))
    assert abs(found.difference[0, 1]) < 1


def test_models_of_which_one_method_has_no_scores():
    made = scores(np.random.default_rng(4), {"a": 0.0, "b": 1.0})
    del made["b"][2]
    found = pairwise_tests(made)
    assert found.difference[1, 0] == pytest.approx(np.mean([made["b"][seed] - made["a"][seed] for seed in (0, 1)]))


def test_nothing_and_one_method():
    assert pairwise_tests({}).p.shape == (0, 0)
    assert pairwise_tests({"a": {0: np.array([1.0])}}).rank_ranges(1, ["a"]) == {"a": (1, 1)}
    lone = pairwise_tests({"a": {0: np.array([1.0])}, "b": {0: np.array([2.0])}})
    assert not lone.differ("a", "b"), "of a single sequence nothing is told"
    assert lone.rank_ranges(1, ["a", "b"]) == {"a": (1, 2), "b": (1, 2)}


@pytest.mark.parametrize("own", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("models", [2, 3, 5])
def test_among_equal_methods_hardly_any_is_told_apart(models, own):
    """13 methods that differ by models alone, and by chance: in few of 200 studies is any pair told apart."""
    rng = np.random.default_rng(models)
    wrong = 0
    for _ in range(200):
        made = scores(rng, dict.fromkeys("abcdefghijklm", 0.0), models)
        for rows in made.values():
            for seed in rows:
                rows[seed] = rows[seed] + own * rng.normal()
        wrong += (pairwise_tests(made).p < 0.05).any()
    assert wrong / 200 <= 0.06


def test_pairs_by_themselves_would_be_told_apart_by_chance():
    """What of_pairs is for: of 78 pairs on three models, some have models that happen to agree."""
    rng = np.random.default_rng(0)
    one, other = np.triu_indices(13, 1)
    wrong, together = 0, 0
    for _ in range(100):
        values = 0.5 * rng.normal(size=(13, 3, 1)) + rng.normal(size=(13, 3, 40))
        parts = VarianceComponents.from_scores(values[one] - values[other])
        wrong += (holm(parts.variance_estimate().p) < 0.05).any()
        together += (holm(parts.moderated(13).p) < 0.05).any()
    assert wrong >= 20
    assert together <= 6


def test_a_method_that_models_disagree_about_does_not_hide_the_others():
    rng = np.random.default_rng(1)
    made = scores(rng, {name: place / 2 for place, name in enumerate("abcdef")})
    for seed in made["f"]:
        made["f"][seed] = made["f"][seed] + 5 * rng.normal()
    found = pairwise_tests(made)
    assert all(found.differ(one, other) for one, other in ("ab", "bc", "cd", "ce"))
    assert not any(found.differ(one, "f") for one in "abcde")


def test_many_methods_are_tested_in_parts(monkeypatch):
    made = scores(np.random.default_rng(5), {str(place): place / 20 for place in range(12)})
    whole = pairwise_tests(made)
    monkeypatch.setattr("xrnnbench.harness.statistics.pairwise_tests._VALUES", 500)
    parts = pairwise_tests(made)
    assert np.array_equal(whole.p, parts.p)
    assert np.array_equal(whole.difference, parts.difference)
