import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from xrnnbench.errors import ContractError
from xrnnbench.tasks.engine import isolation
from xrnnbench.tasks.engine.isolation import same_randomness, undisturbed


class BrokenError(Exception):
    pass


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    net[1].eval()
    net[0].weight.requires_grad_(False)  # noqa: FBT003  # torch's signature
    net[0].bias.grad = torch.ones(3)
    net[0].register_forward_hook(lambda *_: None)
    return net


def hooks(model):
    return [dict(getattr(module, name)) for module in model.modules() for name in vars(module) if "hooks" in name]


def disturb(model, error):
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_()
        parameter.grad = None
    model[0]._forward_hooks.clear()
    model[1].register_forward_pre_hook(lambda *_: None)
    model[2].register_full_backward_hook(lambda *_: None)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  # the global state is what is tested
    random.seed(5)
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    if error is not None:
        raise error


def state(model):
    return {
        "modes": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [None if parameter.grad is None else parameter.grad.tolist() for parameter in model.parameters()],
        "hooks": hooks(model),
        "hook kinds": [module._is_full_backward_hook for module in model.modules()],
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002  # as above
        "python": random.getstate(),
        "cudnn": (
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
    }


@pytest.mark.parametrize("error", [None, BrokenError])
def test_everything_is_as_it_was(model, error):
    before = state(model)
    with nullcontext() if error is None else pytest.raises(error), undisturbed(model, "a test"):
        assert not any(module.training for module in model.modules())
        disturb(model, error)
    assert state(model) == before


def test_changed_weight_is_reported_and_restored(model):
    before = model[0].weight.clone()
    with pytest.raises(ContractError, match=r"the culprit changed 0\.weight"), undisturbed(model, "the culprit"):
        model[0].weight.data += 1
    assert torch.equal(model[0].weight, before)


def test_changed_buffer_is_reported_and_restored(model):
    with pytest.raises(ContractError, match="running_mean"), undisturbed(model, "the culprit"):
        model.train()(torch.randn(4, 2))
    assert torch.equal(model[1].running_mean, torch.zeros(3))


def test_weights_are_restored_after_an_exception_too(model):
    before = model[0].weight.clone()
    with pytest.raises(ZeroDivisionError), undisturbed(model, "the culprit"):
        model[0].weight.data += 1 / 0 if model[0].weight.data.fill_(7).any() else 1
    assert torch.equal(model[0].weight, before)


def test_weights_that_were_nan_are_nobodys_doing(model):
    model[0].weight.data[0, 0] = torch.nan
    with undisturbed(model, "a test"):
        pass
    assert model[0].weight[0, 0].isnan()


def test_random_states_are_put_back():
    before = torch.get_rng_state()
    with same_randomness():
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_data_is_protected_like_weights(model):
    inputs = torch.ones(3)
    with pytest.raises(ContractError, match="method 'x' changed the inputs it explains; it has been restored"):  # noqa: SIM117
        with undisturbed(model, "method 'x'", {"the inputs": inputs}):
            inputs.mul_(0)
    assert inputs.tolist() == [1, 1, 1]


def test_torchs_settings_are_put_back(model):
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with undisturbed(model):
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(before[1] + 1)
        torch.use_deterministic_algorithms(not before[2])
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_a_model_that_changes_itself_is_said_to(model):
    with pytest.raises(ContractError, match=r"Running the model changes 0\.bias of the model"), undisturbed(model):
        model[0].bias.data.add_(1)


class Recurrent(nn.Module):
    """Dropout between the layers of an LSTM, and dropout of its own."""

    def __init__(self, rnn=nn.LSTM):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.dropout, self.head = (
            rnn(2, 5, 2, batch_first=True, dropout=0.5),
            nn.Dropout(0.5),
            nn.Linear(5, 3),
        )

    def forward(self, inputs):
        return self.head(self.dropout(self.rnn(inputs)[0][:, -1]))


class Own(nn.GRU):
    """What it does in training mode nobody knows."""


def cudnn_flags():
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32


@pytest.mark.parametrize("rnn", [nn.LSTM, nn.GRU, nn.RNN])
def test_on_a_gpu_recurrent_modules_are_trained_without_dropout_which_is_evaluation(rnn, monkeypatch):
    monkeypatch.setattr(isolation, "_on_gpu", lambda _: True)
    model, inputs = Recurrent(rnn).eval(), torch.randn(4, 7, 2)
    expected, before = model(inputs), cudnn_flags()
    model.train()
    with undisturbed(model, "a test"):
        assert (model.rnn.training, model.rnn.dropout, model.dropout.training) == (True, 0.0, False)
        assert cudnn_flags() == (before[0], False, before[2], False)
        assert torch.equal(model(inputs), expected)
    assert (model.rnn.training, model.rnn.dropout, model.dropout.training) == (True, 0.5, True)
    assert cudnn_flags() == before


@pytest.mark.parametrize("unknown", ["subclass", "scripted", "switched off"])
def test_on_a_gpu_what_nobody_knows_is_run_without_cudnn(unknown, monkeypatch):
    monkeypatch.setattr(isolation, "_on_gpu", lambda _: True)
    model = Recurrent(Own if unknown == "subclass" else nn.LSTM).eval()
    if unknown == "scripted":
        with pytest.warns(DeprecationWarning, match=r"torch\.jit\.script"):
            model.head = torch.jit.script(model.head)
    with torch.backends.cudnn.flags(enabled=unknown != "switched off"), undisturbed(model, "a test"):
        assert not torch.backends.cudnn.enabled
        assert model.rnn.training == (unknown == "switched off")
    assert model.rnn.dropout == 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("rnn", [nn.LSTM, nn.GRU, nn.RNN, Own])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_gradients_on_a_gpu_are_those_on_the_cpu(rnn, dtype, tolerance):
    model, inputs = Recurrent(rnn).to(dtype), torch.randn(64, 50, 2, dtype=dtype)
    found = []
    for device in ("cpu", "cuda"):
        model.to(device)
        points = inputs.to(device).requires_grad_()
        with undisturbed(model, "a test"):
            score = model(points)[:, 0]
            found.append([score.detach().cpu(), torch.autograd.grad(score.sum(), points)[0].cpu()])
    for here, there in zip(*found, strict=True):
        assert torch.allclose(here, there, atol=tolerance, rtol=0)
