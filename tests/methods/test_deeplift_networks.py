"""DeepLIFT through the recurrent networks of today, and what it still refuses: each refusal names methods that work."""

import copy
import re
import warnings

import pytest
import torch
from method_networks import networks
from torch import nn
from torch.nn import functional as F

import xrnnbench
from xrnnbench.errors import AssumptionWarning, CompletenessWarning, UnsupportedModelError, UsageError
from xrnnbench.methods.gradient.gradients import IntegratedGradients
from xrnnbench.methods.propagation.deep_shap import DeepShap
from xrnnbench.methods.propagation.deeplift import DeepLift
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.subject import Subject

NETWORKS = networks()
X = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(0)).double()
REFERENCES = {"zero": torch.zeros_like(X), "mean": X.mean((0, 1)).expand_as(X)}


def subject_of(model, dtype=torch.float64, reference="zero", **others):
    inputs, lengths = X.to(dtype), torch.full((5,), 9)
    batch = Batch(inputs, lengths, torch.zeros(5, dtype=torch.int64))
    return Subject(model.to(dtype), batch, REFERENCES[reference].to(dtype).clone(), **others)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_today_sum_to_the_difference(name, reference):
    found = DeepLift().explain(subject_of(NETWORKS[name], reference=reference))
    size = (found.score - found.reference_score).abs().max()
    assert float(found.gap.abs().max()) <= 1e-9 * float(size)
    single = DeepLift().explain(subject_of(NETWORKS[name], torch.float32, reference))
    assert float(single.gap.abs().max()) <= 1e-4 * float(size)


@pytest.mark.parametrize("name", ["mLSTM", "minGRU", "LRU"])
def test_deep_shap_follows(name):
    background = Batch(X.flip(0), torch.full((5,), 9), torch.zeros(5, dtype=torch.int64))
    subject = subject_of(NETWORKS[name], background=background)
    values = DeepShap(baselines=5).explain(subject).values.flatten(1).sum(1)
    rows = torch.arange(5).repeat(5)
    expected = subject.forward(X.flip(0).repeat_interleave(5, 0), torch.full((25,), 9), rows)
    expected = expected.gather(1, subject.target[rows, None]).view(5, 5).mean(0).detach()
    torch.testing.assert_close(values, subject.score - expected, rtol=1e-9, atol=1e-12)


def test_evaluations_along_a_path_count_as_passes():
    plain, integrated = subject_of(NETWORKS["LRU"]), subject_of(NETWORKS["minGRU"])
    DeepLift().explain(plain)
    DeepLift().explain(integrated)
    assert (plain.cost.forward, plain.cost.backward) == (10, 5)
    assert integrated.cost.forward > 10
    assert integrated.cost.backward - 5 == integrated.cost.forward - 10


def test_integrated_gradients_refine_where_a_group_norm_bends():
    """With a reference of zeros and large weights, the normalised state turns at the very start of the path."""
    model = networks()["mLSTM"].double()
    with torch.no_grad():
        model.layer.qkv.weight.mul_(100)
    model.layer.norm.eps = 1e-12
    subject = subject_of(model)
    span = subject.score - subject.reference_score
    coarse = IntegratedGradients(steps=512, tolerance=0).attribute(subject, torch.Generator()).flatten(1).sum(1)
    refined = IntegratedGradients().explain(subject)
    assert float(((coarse - span) / span).abs().max()) > 0.03
    assert not refined.incomplete.any()
    assert float((refined.gap / span).abs().max()) < 0.01
    assert float(DeepLift().explain(subject).gap.abs().max()) < 1e-9 * float(span.abs().max())


class Compiled(nn.Module):
    """A part of the model is compiled, as users do it; the stand-in compiler runs the graph as it is."""

    def __init__(self, model):
        super().__init__()
        self.inner = torch.compile(model, backend="eager")

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("wrap", [Compiled, lambda model: torch.compile(model, backend="eager"), nn.DataParallel])
def test_a_compiled_or_wrapped_module_is_explained_as_it_was_written(wrap):
    model = NETWORKS["LRU"].double()
    expected = DeepLift().explain(subject_of(model)).values
    found = DeepLift().explain(subject_of(wrap(model)))
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_explained_in_single_precision_and_said(dtype):
    torch.manual_seed(5)
    model = Ending(lambda net, h: F.group_norm(h.transpose(1, 2), 2)[..., -1] @ net.table.weight).eval()
    half = copy.deepcopy(model).to(dtype)
    with pytest.warns(AssumptionWarning, match=f"is {str(dtype)[6:]}, and is explained by a copy in single precision"):
        found = xrnnbench.explain(half, X.to(dtype), method="deeplift", target=1)
    assert found.values.dtype == torch.float32
    assert float(found.gap.abs().max()) < 1e-5
    expected = xrnnbench.explain(model, X.float(), method="deeplift", target=1)
    torch.testing.assert_close(found.values, expected.values, rtol=0.1, atol=0.05)


class Ending(nn.Module):
    """A GRU and what is made of its states."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(4)
        self.layer, self.table, self.function = nn.GRU(3, 4, batch_first=True), nn.Embedding(4, 2), function

    def forward(self, x):
        return self.function(self, self.layer(x)[0])


def test_a_traced_module_is_refused_in_a_sentence_and_explained_by_others():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against tracing, and says what it fixes
        traced = torch.jit.trace(Ending(lambda net, h: h[:, -1] @ net.table.weight).eval(), X.float())
    with pytest.raises(UsageError, match="the model is TorchScript, whose operations cannot be followed"):
        xrnnbench.explain(traced, X.float(), method="deeplift", target=1)
    assert torch.isfinite(xrnnbench.explain(traced, X.float(), method="occlusion", target=1).values).all()


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
def test_an_operation_that_torch_cannot_differentiate_is_refused_in_a_sentence():
    def multiplied(_, h):
        return h[:, 0, :2].scatter(1, torch.zeros(len(h), 1).long(), h[:, -1, :1], reduce="multiply")

    with pytest.raises(UnsupportedModelError, match=r"cannot propagate through this model .*scatter"):
        DeepLift().explain(subject_of(Ending(multiplied)))


def branch(_, h):
    return h[:, -1, :2] if h.square().mean().item() > 1e-9 else h[:, 0, :2]


def through_numpy(_, h):
    return torch.from_numpy(h.detach().numpy())[:, -1, :2]


REFUSED = {
    "an id": (lambda net, h: net.table(h[:, -1].argmax(1)), "Tensor.argmax .* as an index in .*functional.embedding"),
    "one hot": (lambda net, h: F.one_hot(h[:, -1].argmax(1), 4)[:, :2].to(h.dtype), "argmax .* an index in .*one_hot"),
    "a rounded id": (
        lambda net, h: net.table((h[:, -1, 0] * 8).round().long().clamp(0, 3)),
        "as an index in torch.nn.functional.embedding",
    ),
    "rows by a mask": (
        lambda net, h: h[:, -1, :2] + h[h > 0.1].sum(),
        "torch.Tensor.gt .* as an index in torch.Tensor.__getitem__",
    ),
    "a branch": (branch, "decision by torch.Tensor.item"),
    "numpy": (through_numpy, "takes the numbers out of torch"),
    "random": (lambda net, h: torch.bernoulli(h[:, -1, :2].sigmoid()), "draws random numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_only_true_decisions_are_refused_and_the_refusal_names_methods_that_work(name):
    function, said = REFUSED[name]
    model = Ending(function).double()
    subject = subject_of(model)
    with pytest.raises(UnsupportedModelError, match=said) as refusal:
        DeepLift().explain(subject)
    assert all(parameter.requires_grad for parameter in model.parameters())
    named = re.findall(r"occlusion|kernel-shap|integrated-gradients", str(refusal.value))
    assert named
    for method in named if name != "random" else ():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompletenessWarning)  # integrated gradients may say that they miss the jump
            values = build("method", method).explain(subject).values
        assert torch.isfinite(values).all()


def test_a_decision_that_both_sides_share_stays_as_it_was():
    model = Ending(lambda net, h: net.table((h[:, -1] * 0).argmax(1)) * h[:, -1, :2]).double()
    found = DeepLift().explain(subject_of(model))
    assert float(found.gap.abs().max()) < 1e-14
