import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.tasks.models import evaluation as scores


@settings(deadline=None)  # scikit-learn is loaded by the first example
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs):
    positive, negative = ([value for value, label in pairs if label is wanted] for wanted in (True, False))
    if positive and negative:
        values, labels = map(list, zip(*pairs, strict=True))
        auroc = scores.auroc(torch.tensor(values, dtype=torch.float32), torch.tensor(labels))
        above = sum((one > other) + (one == other) / 2 for one in positive for other in negative)
        assert abs(auroc - above / (len(positive) * len(negative))) < 1e-12


def test_r_squared_is_the_share_of_the_variance_over_all_entries():
    rng = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randn(20, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    unexplained = sum((a - b) ** 2 for a, b in zip(truth.flatten(), predicted.flatten(), strict=True))
    variance = sum((a - truth.mean()) ** 2 for a in truth.flatten())
    assert abs(scores.r_squared(predicted, truth) - float(1 - unexplained / variance)) < 1e-9
    assert scores.r_squared(truth, truth) == 1
    assert scores.r_squared(truth.mean().expand_as(truth), truth) == 0


def test_a_model_that_diverged_scores_nan():
    labels, bad = torch.tensor([0, 1, 1]), torch.tensor([0.5, torch.nan, torch.inf])
    assert math.isnan(scores.auroc(bad, labels))
    assert math.isnan(scores.r_squared(bad, labels.double()))


def test_accuracy_and_majority():
    assert scores.accuracy(torch.eye(3), torch.tensor([0, 1, 1])) == 2 / 3
    assert scores.majority(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0, 0])) == 0.25


def test_pearson_of_a_line_is_one():
    line = torch.arange(6.0).view(2, 3)
    assert abs(scores.pearson(line, 2 * line + 1) - 1) < 1e-12
