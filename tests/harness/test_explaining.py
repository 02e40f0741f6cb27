"""A user's own module, explained by one call."""

import numpy as np
import pytest
import torch
from torch import nn

import xrnnbench
from xrnnbench.errors import DataError, UsageError

from .conftest import spec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.lstm(inputs)[0][:, -1])


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4, padding_idx=3)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs, lengths):
        return self.head(self.embedding(inputs).sum(1) / lengths[:, None])


@pytest.fixture
def inputs():
    return torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))


def test_one_call(inputs):
    found = xrnnbench.explain(Net(), inputs, method=spec("Gradient"))
    assert found.values.shape == inputs.shape
    assert found.signed


def test_lengths_are_respected(inputs):
    found = xrnnbench.explain(Net(), inputs, torch.tensor([6, 4, 2, 1]), method=spec("Gradient"))
    assert (found.values[1, 4:] == 0).all()
    assert (found.values[1, :4] != 0).all()


def test_target_for_all_or_each(inputs):
    model = Net()
    one = xrnnbench.explain(model, inputs, method=spec("Gradient"), target=1)
    each = xrnnbench.explain(model, inputs, method=spec("Gradient"), target=torch.ones(4, dtype=torch.int64))
    assert torch.equal(one.values, each.values)
    other = xrnnbench.explain(model, inputs, method=spec("Gradient"), target=0)
    assert not torch.equal(one.values, other.values)


def test_seed_decides(inputs):
    model = Net()
    found = [xrnnbench.explain(model, inputs, method=spec("Chance"), seed=seed).values for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_tokens_and_their_reference():
    tokens = torch.randint(4, 10, (3, 5), generator=torch.Generator().manual_seed(0))
    found = xrnnbench.explain(Words(), tokens, method=spec("Chance"))
    assert found.values.shape == (3, 5)


def test_reference_broadcasts(inputs):
    xrnnbench.explain(Net(), inputs, method=spec("Gradient"), reference=inputs.mean((0, 1)))
    with pytest.raises(DataError, match="does not broadcast"):
        xrnnbench.explain(Net(), inputs, method=spec("Gradient"), reference=torch.zeros(5))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model": lambda values: values}, DataError, "is a function, not a torch.nn.Module"),
        ({"inputs": np.zeros((2, 3, 3))}, DataError, "are a ndarray, not a tensor"),
        ({"inputs": torch.zeros(3)}, DataError, "are no sequences"),
        ({"inputs": torch.zeros(0, 3, 3)}, DataError, "There are no sequences"),
        ({"inputs": torch.full((2, 3, 3), torch.nan)}, DataError, "not finite"),
        ({"lengths": torch.tensor([6, 0, 1, 1])}, DataError, "Sequence 1 has length 0"),
        ({"target": 2}, DataError, "Target 2 is not among the 2 outputs"),
        ({"target": -1}, DataError, "Target -1 is not among"),
        ({"method": "no-such"}, UsageError, "no method named 'no-such'"),
        ({"method": spec("Attentive")}, UsageError, "cannot explain Net: the model shows no attention"),
        ({"model": nn.Sequential(Net(), nn.Softmax(1))}, DataError, "returns probabilities, not logits"),
        ({"model": nn.LSTM(3, 4, batch_first=True)}, UsageError, ""),
    ],
)
def test_what_does_not_fit_is_said(inputs, change, error, said):
    arguments = {"model": Net(), "inputs": inputs, "method": spec("Gradient")} | change
    with pytest.raises(error) as caught:
        xrnnbench.explain(**arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_background_reaches_the_method(inputs):
    assert xrnnbench.explain(Net(), inputs, method=spec("Chance"), background=inputs[:2]).values.isfinite().all()
