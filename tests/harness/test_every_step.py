"""All output steps explained at once."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xrnnbench import DataError, UsageError, explain
from xrnnbench.methods.perturbation.single_features import Occlusion

METHODS = ["occlusion", "deeplift", "integrated-gradients", "lime:samples=40", "kernel-shap", "permutation-shapley"]


class Horizons(nn.Module):
    """A forecast of four steps, whose runs are counted."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 8)
        self.rows = 0

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1]).view(len(x), 4, 2)


class Tagger(nn.Module):
    """A label of every step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0])


def series(rows=3, steps=6):
    return torch.randn(rows, steps, 2, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize("method", METHODS)
def test_every_horizon_is_explained_as_it_is_alone(method):
    model, x = Horizons().double().eval(), series()
    every = explain(model, x, step="all", method=method, outputs="values", target=1)
    assert len(every) == 4
    assert every.values.shape == (3, 4, 6, 2)
    for step, attribution in enumerate(every):
        alone = explain(model, x, step=step, method=method, outputs="values", target=1)
        assert torch.equal(attribution.values, alone.values)
        assert torch.equal(every.values[:, step], alone.values)
        assert torch.equal(every.score[:, step], alone.score)


@pytest.mark.parametrize("method", METHODS)
def test_every_label_of_sequences_of_different_lengths(method):
    model, x, lengths = Tagger().double().eval(), series(4, 5), torch.tensor([5, 2, 4, 1])
    every = explain(model, x, lengths, step="all", method=method)
    assert every.values.shape == (4, 5, 5, 2)
    for step in range(5):
        rows = (lengths > step).nonzero().squeeze(1)
        assert torch.equal(every.rows[step], rows)
        assert every.score[lengths <= step, step].isnan().all()
        assert (every.values[lengths <= step, step] == 0).all()
    if "lime" in method or "shapley" in method:  # their random draws are by the place of a sequence in the batch
        return
    for step in range(5):
        rows = every.rows[step]
        alone = explain(model, x[rows], lengths[rows], step=step, method=method)
        assert torch.allclose(every.values[rows, step, : alone.values.shape[1]], alone.values, atol=1e-12)
        assert torch.equal(every[step].target, alone.target)


def test_methods_that_only_run_the_model_pay_for_one_step():
    runs = []

    class Counted(Horizons):
        def forward(self, x):
            runs.append(len(x))
            return super().forward(x)

    x = series()
    explain(Counted().double().eval(), x, step=0, method="occlusion", outputs="values")
    one, runs[:] = sum(runs), []
    explain(Counted().double().eval(), x, step="all", method="occlusion", outputs="values")
    every = sum(runs)
    variants = 3 * (6 * 2 + 1)
    assert variants <= one
    # the other steps cost what a method reads of the model beside its variants
    assert every < one + 3 * variants / 2


def test_several_inputs_at_every_horizon():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.inner = Horizons()
            self.static = nn.Linear(3, 4)

        def forward(self, past, static):
            return self.inner(past) * torch.tanh(self.static(static))[..., None]

    model = Two().double().eval()
    x = {"past": series(), "static": torch.rand(3, 3).double()}
    every = explain(model, x, step="all", outputs="values", method="occlusion")
    assert {name: tuple(values.shape) for name, values in every.values.items()} == {
        "past": (3, 4, 6, 2), "static": (3, 4, 3),
    }  # fmt: skip
    alone = explain(model, x, step=2, outputs="values", method="occlusion")
    assert torch.equal(every.values["static"][:, 2], alone["static"])


def test_a_model_that_keeps_state_is_run_each_time():
    class Stateful(Horizons):
        def forward(self, x):
            self.state = torch.zeros(1, len(x), 5, dtype=x.dtype)
            return super().forward(x) + self.state.sum()

    every = explain(Stateful().double().eval(), series(), step="all", method="occlusion", outputs="values")
    expected = explain(Horizons().double().eval(), series(), step="all", method="occlusion", outputs="values")
    assert torch.allclose(every.values, expected.values, atol=1e-12)


def test_nothing_is_left_on_the_model():
    model = Horizons().double().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explain(model, series(), step="all", method=Occlusion(), outputs="values")
    assert not model._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_steps_are_refused():
    with pytest.raises(UsageError, match="step='each' is no output step: give a number, or 'all'"):
        explain(Horizons().double(), series(), step="each", outputs="values")
    with pytest.raises(DataError, match="output step was asked for"):
        explain(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double(), series(), step="all")
    with pytest.raises(UsageError, match="padded on the right"):
        explain(Tagger().double(), series(), torch.tensor([6, 3, 2]), step="all", padding_side="left")
