"""Means and their intervals: against literal definitions, and against the truth in simulated studies."""

import math

import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.reports.number_format import format_estimate
from xrnnbench.harness.statistics.estimates import (
    MetricScores,
    bootstrap_draws,
    estimate,
    estimates_over,
    percentile_interval,
    scaled_quantile_draws,
)
from xrnnbench.harness.statistics.variance_components import variance_estimate


def test_one_model_is_students_interval():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours, theirs = estimate([values]), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(theirs, rel=1e-9)


def test_a_median_of_one_model_agrees_with_scipy():
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = estimate([values], statistic="median")
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=4000, rng=np.random.default_rng(2)
    ).confidence_interval
    # ours is a value, theirs the middle of two; ours is made as wide as Student's of the share below it
    assert abs(ours.low - theirs.low) < 0.2 * (theirs.high - theirs.low)
    assert abs(ours.high - theirs.high) < 0.2 * (theirs.high - theirs.low)


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
    ours = bootstrap_draws(scores.reshape(1, -1), (30,) * 4, 0, name)[0]
    slow = literal(scores, 4000, rng, statistic)
    assert ours.mean() == pytest.approx(slow.mean(), abs=0.06 * slow.std() + 0.02)
    assert ours.std() == pytest.approx(slow.std(), rel=0.08)
    assert np.allclose(percentile_interval(ours), percentile_interval(slow), atol=0.25 * slow.std())


def test_draws_of_a_quantile_are_as_wide_as_those_of_the_share_below_it_lack():
    scores = crossed(np.random.default_rng(4))
    bare = bootstrap_draws(scores.reshape(1, -1), (30,) * 4, 0, "median")[0]
    found, value = scaled_quantile_draws([list(scores)], 0, "median")[0], estimate(list(scores), statistic="median")
    assert percentile_interval(found) == pytest.approx((value.low, value.high), rel=1e-9)
    below = (scores <= value.mean).astype(float)
    low, high = percentile_interval(bootstrap_draws(below.reshape(1, -1), (30,) * 4)[0])
    wider = 2 * variance_estimate(below[None]).half_width[0] / (high - low)
    assert np.allclose(found - value.mean, wider * (bare - value.mean))
    assert wider > 1


def test_means_over_tasks_agree_with_a_literal_sum_of_variances():
    rng = np.random.default_rng(7)
    tasks = [crossed(rng, models, sequences) for models, sequences in ((3, 30), (4, 20), (5, 50))]
    (found,) = estimates_over([MetricScores({"a": list(scores)}, stream) for stream, scores in enumerate(tasks)], ["a"])
    each = [variance_estimate(scores[None]) for scores in tasks]
    variance = sum(one.variance[0] for one in each)
    df = variance**2 / sum(one.variance[0] ** 2 / one.df[0] for one in each)
    reach = stats.t.ppf(0.975, df) * np.sqrt(variance) / 3
    mean = np.mean([scores.mean() for scores in tasks])
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - reach, mean + reach))
    assert (found.n, found.seeds) == (90 + 80 + 250, 3)


def test_means_over_tasks_cover_the_truth():
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(500):
        tasks = [list(study(rng, 3, 30, sizes, skewed=False)) for sizes in KINDS.values()]
        (found,) = estimates_over([MetricScores({"a": scores}, stream) for stream, scores in enumerate(tasks)], ["a"])
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / 500 <= 0.99


def test_many_at_once_are_as_one_by_one():
    rng = np.random.default_rng(5)
    several = [[rng.normal(size=size) for size in sizes] for sizes in ((9, 9, 9), (4, 9), (9, 9, 9), (7,), (3, 3))]
    several[2][1][:5] = np.nan
    several[4] = [np.full(3, np.nan)] * 2
    for statistic in ("mean", "median"):
        column = MetricScores(dict(zip("abcde", several, strict=True)), 2, statistic)
        found = estimates_over([column], "abcde")
        for one, alone in zip(found, [estimate(each, 2, statistic) for each in several], strict=True):
            assert (one.n, one.undefined, one.seeds) == (alone.n, alone.undefined, alone.seeds)
            assert [one.mean, one.low, one.high] == pytest.approx([alone.mean, alone.low, alone.high], nan_ok=True)
        assert estimates_over([column], "cb") == [found[2], found[1]], "those asked for, in the order asked for"


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
    found = variance_estimate(values)
    assert 0.93 <= (np.abs(found.mean) <= found.half_width).mean() <= 0.985


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
        low, high = percentile_interval(bootstrap_draws(values.reshape(1, -1), (40,) * 3)[0])
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
    assert estimate(values, statistic="median") == estimate(values, statistic="median")
    assert estimate(values, 0, "median") != estimate(values, 1, "median")


def test_an_interval_stays_where_values_can_be():
    values = [np.array([0.9, 1.0, 1.0]), np.array([0.2, 1.0, 1.0])]
    free, bound = estimate(values), estimate(values, bounds=(0.0, 1.0))
    assert free.high > 1.0 > free.low > 0.0 or free.low < 0.0
    assert (bound.low, bound.high) == (max(free.low, 0.0), 1.0)
    assert bound.mean == free.mean


def test_nothing_to_resample_is_an_error():
    for clusters in ([np.array([np.nan])], []):
        with pytest.raises(ValueError, match="no defined value"):
            scaled_quantile_draws([clusters], 0, "median")
    assert estimates_over([MetricScores({})], []) == []
    assert np.isnan(estimate([]).mean)


@pytest.mark.parametrize(("statistic", "share"), [("median", 0.5), ("p95", 0.95)])
def test_quantiles_are_those_of_the_values(statistic, share):
    rng = np.random.default_rng(0)
    clusters = [rng.exponential(size=40) * scale for scale in (1, 2, 3)]
    found = estimate(clusters, statistic=statistic)
    assert found.mean == np.quantile(np.concatenate(clusters), share, method="inverted_cdf")
    if statistic == "median":
        assert found.low < found.mean < found.high
    else:  # over several models its interval would cover too little
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert format_estimate(found)[1] == ""
        tasks = [MetricScores({"m": part}, place, statistic) for place, part in enumerate((clusters[:1], clusters))]
        assert math.isnan(estimates_over(tasks, ["m"])[0].low)  # one of the tasks has several models
        alone = estimate(clusters[:1], statistic=statistic)
        assert alone.low < alone.mean < alone.high


def test_the_median_of_models_covers_the_truth():
    """As the mean does: the share of values up to the median is a mean, and lends it its width."""
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(300):
        values = study(rng, 4, 40, KINDS["both"], skewed=False)
        found = estimate(list(values), statistic="median")
        hits += found.low <= 0 <= found.high
    assert hits / 300 >= 0.90
