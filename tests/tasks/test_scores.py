import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from xrnnbench.tasks.models import evaluation as scores


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_scikit_learns(pairs):
    values, labels = map(list, zip(*pairs, strict=True))
    if len(set(labels)) == 2:
        found = scores.auroc(torch.tensor(values, dtype=torch.float32), torch.tensor(labels))
        assert abs(found - metrics.roc_auc_score(labels, values)) < 1e-12


def test_r_squared_is_scikit_learns():
    rng = torch.Generator().manual_seed(0)
    truth, found = (torch.randn(20, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    assert abs(scores.r_squared(found, truth) - metrics.r2_score(truth, found)) < 1e-9
    assert scores.r_squared(truth, truth) == 1


def test_accuracy_and_majority():
    assert scores.accuracy(torch.eye(3), torch.tensor([0, 1, 1])) == 2 / 3
    assert scores.majority(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0, 0])) == 0.25


def test_pearson_of_a_line_is_one():
    line = torch.arange(6.0).view(2, 3)
    assert abs(scores.pearson(line, 2 * line + 1) - 1) < 1e-12
