import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.statistics import estimate, interval, resampled, resampled_means


def test_one_cluster_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = estimate([values])
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=2).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.08 * width
    assert abs(ours.high - theirs.high) < 0.08 * width


def literal(clusters, resamples, rng):
    """Draw models, then sequences within each, by loops."""
    means = []
    for _ in range(resamples):
        drawn = [clusters[place] for place in rng.integers(0, len(clusters), len(clusters))]
        values = np.concatenate([each[rng.integers(0, len(each), len(each))] for each in drawn])
        means.append(values.mean())
    return np.array(means)


def test_clusters_agree_with_the_literal_definition():
    rng = np.random.default_rng(3)
    clusters = [rng.normal(shift, 1, size) for shift, size in ((0, 30), (1, 40), (3, 20), (2, 30))]
    ours, slow = resampled_means(clusters), literal(clusters, 8000, rng)
    assert ours.mean() == pytest.approx(slow.mean(), abs=0.06)
    assert ours.std() == pytest.approx(slow.std(), rel=0.06)
    assert np.allclose(interval(ours), interval(slow), atol=0.15)


def test_interval_covers_the_truth_when_there_are_many_models():
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(200):
        found = estimate([rng.normal(rng.normal(), 2, 20) for _ in range(25)], stream=trial)
        hits += found.low <= 0 <= found.high
    assert 0.89 <= hits / 200 <= 0.99


def test_ignoring_the_clusters_would_be_too_sure():
    rng = np.random.default_rng(5)
    clusters = [rng.normal(shift, 0.1, 50) for shift in (0.0, 1.0, 2.0)]
    clustered, pooled = estimate(clusters), estimate([np.concatenate(clusters)])
    assert clustered.high - clustered.low > 3 * (pooled.high - pooled.low)


def test_undefined_values_are_dropped_and_counted():
    found = estimate([np.array([1.0, np.nan, 3.0]), np.array([np.nan, np.nan])])
    assert (found.mean, found.n, found.undefined, found.seeds) == (2.0, 2, 3, 1)
    nothing = estimate([np.array([np.nan])])
    assert np.isnan(nothing.mean)
    assert (nothing.n, nothing.undefined, nothing.seeds) == (0, 1, 0)


def test_constant_values_have_no_width_and_repeats_agree():
    found = estimate([np.full(7, 0.1), np.full(5, 0.1)])
    assert (found.low, found.high) == (0.1, 0.1)
    values = [np.arange(9.0), np.arange(4.0)]
    assert estimate(values) == estimate(values)
    assert estimate(values) != estimate(values, stream=1)


def test_nothing_to_resample_is_an_error():
    with pytest.raises(ValueError, match="no defined value"):
        resampled_means([np.array([np.nan])])


@pytest.mark.parametrize(("statistic", "share"), [("median", 0.5), ("p95", 0.95)])
def test_a_quantile_is_resampled_as_a_mean_is(statistic, share):
    """Against a literal bootstrap: draw models, then sequences, sort, take the quantile."""
    rng = np.random.default_rng(0)
    clusters = [rng.exponential(size=size) * scale for size, scale in ((40, 1), (25, 2), (60, 3))]
    drawn = []
    for _ in range(4000):
        values = [rng.choice(clusters[place], len(clusters[place])) for place in rng.integers(0, 3, 3)]
        drawn.append(np.quantile(np.concatenate(values), share, method="inverted_cdf"))
    found = estimate(clusters, statistic=statistic)
    assert found.mean == np.quantile(np.concatenate(clusters), share, method="inverted_cdf")
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=0.1)
    with pytest.raises(ValueError, match="no defined value"):
        resampled([np.array([np.nan])], statistic=statistic)
