"""Means and their intervals: against literal definitions, and against the truth in simulated studies."""

import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.spread import spread
from xrnnbench.harness.statistics import estimate, interval, resampled, resampled_together


def test_one_cluster_agrees_with_scipy():
    """As wide as Student's interval, and shaped as the percentiles are."""
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = estimate([values])
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=2).confidence_interval
    student = stats.t.interval(0.95, 79, values.mean(), stats.sem(values))
    assert ours.mean == pytest.approx(values.mean())
    assert ours.high - ours.low == pytest.approx(student[1] - student[0], rel=1e-6)
    share = (theirs.high - values.mean()) / (theirs.high - theirs.low)
    assert (ours.high - ours.mean) / (ours.high - ours.low) == pytest.approx(share, abs=0.03)


def literal(scores, resamples, rng, statistic):
    """Draw models, and sequences for all of them, by loops (Owen 2007)."""
    models, sequences = scores.shape
    found = []
    for _ in range(resamples):
        rows = rng.integers(0, models, models)
        columns = rng.integers(0, sequences, sequences)
        found.append(statistic(np.array([scores[row, column] for row in rows for column in columns])))
    return np.array(found)


def crossed(rng, models=4, sequences=30):
    """Scores that depend on the model, on the sequence, and on both."""
    return rng.normal(0, 1, (models, 1)) + rng.normal(0, 1, (1, sequences)) + rng.exponential(1, (models, sequences))


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("mean", np.mean),
        ("median", lambda values: np.quantile(values, 0.5, method="inverted_cdf")),
        ("p95", lambda values: np.quantile(values, 0.95, method="inverted_cdf")),
    ],
)
def test_draws_agree_with_the_literal_definition(name, statistic):
    rng = np.random.default_rng(3)
    scores = crossed(rng)
    ours = resampled_together(scores.reshape(1, -1), (30,) * 4, 0, name)[0]
    slow = literal(scores, 4000, rng, statistic)
    assert ours.mean() == pytest.approx(slow.mean(), abs=0.06 * slow.std() + 0.02)
    assert ours.std() == pytest.approx(slow.std(), rel=0.08)
    assert np.allclose(interval(ours), interval(slow), atol=0.25 * slow.std())


def test_draws_of_a_mean_are_as_wide_as_the_spread_says_and_keep_their_shape():
    scores = crossed(np.random.default_rng(4))
    bare = resampled_together(scores.reshape(1, -1), (30,) * 4)[0]
    found = resampled(list(scores))
    low, high = interval(found)
    assert high - low == pytest.approx(2 * spread(scores[None]).halfwidth[0], rel=1e-9)
    assert np.corrcoef(bare, found)[0, 1] == pytest.approx(1.0, abs=1e-12)


def study(rng, models, sequences, sizes, skewed):
    """One study: the scores of a method on models and sequences drawn from more of their kind; the true mean is 0."""

    def drawn(shape):
        return rng.exponential(size=shape) - 1 if skewed else rng.normal(size=shape)

    of_model, of_sequence, of_both = sizes
    return of_model * drawn((models, 1)) + of_sequence * drawn((1, sequences)) + of_both * drawn((models, sequences))


# Standard deviations of models, sequences and both: sequences matter most, models too, models most.
KINDS = {"sequences": (0.05, 1.0, 1.0), "both": (0.3, 1.0, 1.0), "models": (1.0, 0.5, 0.5)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("models", "sequences"), [(3, 32), (3, 64), (5, 64), (10, 128)])
def test_intervals_cover_the_truth_as_often_as_they_say(models, sequences, kind):
    """Of 95 % intervals, in 2,000 studies each; 3 standard errors of the count are 1.5 points."""
    rng = np.random.default_rng(hash((models, sequences)) % 2**32)
    values = np.array([study(rng, models, sequences, KINDS[kind], skewed=False) for _ in range(2000)])
    found = spread(values)
    assert 0.93 <= (np.abs(found.mean) <= found.halfwidth).mean() <= 0.985


@pytest.mark.parametrize("models", [3, 5])
def test_whole_intervals_cover_the_truth(models):
    """The same through the bootstrap, with skewed scores: 400 studies."""
    rng = np.random.default_rng(models)
    hits = 0
    for _ in range(400):
        found = estimate(list(study(rng, models, 40, KINDS["both"], skewed=True)))
        hits += found.low <= 0 <= found.high
    assert 0.90 <= hits / 400 <= 0.99


def test_the_bare_percentiles_of_three_models_would_cover_too_little():
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(300):
        values = study(rng, 3, 40, KINDS["models"], skewed=False)
        low, high = interval(resampled_together(values.reshape(1, -1), (40,) * 3)[0])
        hits += low <= 0 <= high
    assert hits / 300 < 0.85


def test_ignoring_the_models_would_be_too_sure():
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


def test_an_interval_stays_where_values_can_be():
    values = [np.array([0.9, 1.0, 1.0]), np.array([0.2, 1.0, 1.0])]
    free, bound = estimate(values), estimate(values, bounds=(0.0, 1.0))
    assert free.high > 1.0 > free.low > 0.0 or free.low < 0.0
    assert (bound.low, bound.high) == (max(free.low, 0.0), 1.0)
    assert bound.mean == free.mean


def test_nothing_to_resample_is_an_error():
    for statistic in ("mean", "median"):
        with pytest.raises(ValueError, match="no defined value"):
            resampled([np.array([np.nan])], statistic=statistic)
    with pytest.raises(ValueError, match="no defined value"):
        resampled([])


@pytest.mark.parametrize(("statistic", "share"), [("median", 0.5), ("p95", 0.95)])
def test_quantiles_are_those_of_the_values(statistic, share):
    rng = np.random.default_rng(0)
    clusters = [rng.exponential(size=40) * scale for scale in (1, 2, 3)]
    found = estimate(clusters, statistic=statistic)
    assert found.mean == np.quantile(np.concatenate(clusters), share, method="inverted_cdf")
    assert found.low < found.mean < found.high


def test_the_median_of_models_covers_the_truth():
    """As the mean does: the share of values up to the median is a mean, and lends it its width."""
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(300):
        values = study(rng, 4, 40, KINDS["both"], skewed=False)
        found = estimate(list(values), statistic="median")
        hits += found.low <= 0 <= found.high
    assert hits / 300 >= 0.90
