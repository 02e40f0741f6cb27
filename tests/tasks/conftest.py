"""Models and batches small enough to know everything about, and one cache of trained models for the whole session."""

import os

import pytest
import torch
from torch import nn

from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models import cache
from xrnnbench.tasks.subject import Subject


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory):
    """Keep the models that the tests train out of the user's cache, and train each only once, whichever worker asks."""
    base = tmp_path_factory.getbasetemp()
    # of xdist's workers each has a folder of its own, in one that they share
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(folder))
        yield folder


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache for one test alone."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    return tmp_path


class Summing(nn.Module):
    """Two linear scores of the sum over all steps it is shown, padding included: it is not told lengths."""

    def __init__(self, features=3):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(features, 2)
        self.seen = []

    def forward(self, inputs):
        self.seen.append(inputs.detach().clone())
        return self.linear(inputs.sum(1))


def batch_of(lengths=(2, 5, 3, 5), features=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(len(lengths), max(lengths), features, generator=rng)
    lengths = torch.tensor(lengths)
    valid = torch.arange(inputs.shape[1]) < lengths[:, None]
    inputs[~valid] = 77.0
    return Batch(inputs, lengths, torch.zeros(len(lengths), dtype=torch.int64))


@pytest.fixture
def subject():
    batch = batch_of()
    return Subject(Summing(), batch, torch.zeros_like(batch.inputs))
