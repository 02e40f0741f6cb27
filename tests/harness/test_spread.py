"""How far means may be off: against the textbook's sums of squares, and against simpler tests in the simplest cases."""

import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.statistics.variance_components import variance_estimate


def literal(values):
    """The variance of the mean of a full table, from its mean squares, by loops."""
    models, sequences = values.shape
    mean = values.mean()
    of_models = sequences * sum((row.mean() - mean) ** 2 for row in values) / (models - 1)
    of_sequences = models * sum((column.mean() - mean) ** 2 for column in values.T) / (sequences - 1)
    left = 0.0
    for row in range(models):
        for column in range(sequences):
            expected = values[row].mean() + values[:, column].mean() - mean
            left += (values[row, column] - expected) ** 2
    rest = left / ((models - 1) * (sequences - 1))
    count = models * sequences
    return max(of_models + of_sequences - rest, of_models, of_sequences) / count


@pytest.mark.parametrize(("models", "sequences"), [(2, 2), (2, 30), (3, 7), (5, 64), (12, 4)])
def test_the_variance_is_the_textbooks(models, sequences):
    rng = np.random.default_rng(models)
    values = (
        rng.normal(size=(4, models, sequences)) + rng.normal(size=(4, models, 1)) + rng.normal(size=(4, 1, sequences))
    )
    found = variance_estimate(values)
    assert np.allclose(found.mean, values.mean((1, 2)))
    assert np.allclose(found.variance, [literal(each) for each in values], rtol=1e-12)
    assert (found.df >= 1).all()


def test_one_model_is_a_paired_t_test():
    values = np.random.default_rng(1).normal(0.3, 1, (5, 1, 40))
    found = variance_estimate(values)
    for row, each in enumerate(values[:, 0]):
        theirs = stats.ttest_1samp(each, 0)
        assert found.df[row] == pytest.approx(39)
        assert found.p[row] == pytest.approx(theirs.pvalue, rel=1e-9)
        low, high = theirs.confidence_interval(0.95)
        assert (found.mean[row] - found.half_width[row], found.mean[row] + found.half_width[row]) == pytest.approx(
            (low, high), rel=1e-6
        )


def test_one_sequence_is_a_t_test_of_the_models():
    values = np.random.default_rng(2).normal(0.3, 1, (1, 12, 1))
    assert variance_estimate(values).p[0] == pytest.approx(stats.ttest_1samp(values.ravel(), 0).pvalue, rel=1e-9)


def test_models_that_differ_alone_leave_as_many_degrees_of_freedom_as_there_are():
    """All sequences alike: what is known of other models is what their means say, Student's t of S − 1."""
    values = np.broadcast_to(np.random.default_rng(3).normal(size=(6, 1)), (6, 50))[None]
    found, theirs = variance_estimate(values), stats.ttest_1samp(values[0, :, 0], 0)
    assert found.df[0] == pytest.approx(5, abs=1e-6)
    assert found.p[0] == pytest.approx(theirs.pvalue, rel=1e-6)


def test_gaps_hardly_matter():
    rng = np.random.default_rng(4)
    full = rng.normal(0.2, 1, (1, 4, 60)) + rng.normal(0, 0.3, (1, 4, 1))
    gaps = np.where(rng.random(full.shape) < 0.1, np.nan, full)
    one, other = variance_estimate(full), variance_estimate(gaps)
    assert other.mean[0] == pytest.approx(np.nanmean(gaps))
    assert other.half_width[0] == pytest.approx(one.half_width[0], rel=0.25)
    padded = np.full((1, 4, 80), np.nan)
    padded[:, :, :60] = full
    assert variance_estimate(padded).half_width[0] == pytest.approx(one.half_width[0], rel=1e-12)
    lost = np.concatenate([full, np.full((1, 2, 60), np.nan)], axis=1)
    assert variance_estimate(lost).half_width[0] == pytest.approx(one.half_width[0], rel=1e-12)


def test_rows_do_not_know_of_each_other():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(7, 3, 20))
    values[2, 1] = np.nan
    values[5, :, 3:9] = np.nan
    found = variance_estimate(values)
    for row, each in enumerate(values):
        alone = variance_estimate(each[None])
        for name in ("mean", "variance", "df", "half_width", "p"):
            assert getattr(found, name)[row] == pytest.approx(getattr(alone, name)[0], rel=1e-12, nan_ok=True)


def test_where_nothing_can_be_told():
    values = np.full((5, 2, 3), np.nan)
    values[1, 0, 0] = 2.0
    values[2] = 0.0
    values[3] = 0.1 + np.array([0, 1, -1]) * 2.0**-56
    values[4, :, 0] = 5.0
    found = variance_estimate(values)
    assert np.isnan(found.mean[0])
    assert (found.p[:3] == 1.0).all(), "nothing, a single value, and no difference at all"
    assert found.p[3] == stats.binomtest(3, 3).pvalue == 0.25, "the same everywhere: three signs are what is known"
    assert found.p[4] == 1.0, "one sequence says nothing of others"
    assert found.half_width[3] < 1e-15


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_the_paired_test_is_wrong_as_often_as_it_says(shift):
    """Without a difference in 5 % of studies at most, with one far more often: 2,000 studies."""
    rng = np.random.default_rng(6)
    shape = (2000, 3, 48)
    values = shift + 0.1 * rng.normal(size=(2000, 3, 1)) + rng.normal(size=(2000, 1, 48)) + rng.normal(size=shape)
    found = (variance_estimate(values).p < 0.05).mean()
    assert found <= 0.065 if shift == 0 else found >= 0.6
