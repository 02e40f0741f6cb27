"""Deep SHAP, expected gradients, SmoothGrad and saliency: literal definitions, captum, and what must hold of means."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import GradientShap as CaptumGradientShap
from captum.attr import NoiseTunnel
from captum.attr import Saliency as CaptumSaliency
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.methods.gradient.expected_gradients import Draws, GradientShap, SmoothGrad, expected_gradients
from xrnnbench.methods.gradient.gradients import GradientXInput, IntegratedGradients, Saliency
from xrnnbench.methods.propagation.background import background_references
from xrnnbench.methods.propagation.deep_shap import DeepShap, evenly_spaced
from xrnnbench.methods.propagation.deeplift import DeepLift
from xrnnbench.methods.surrogate.shapley import ExactShapley
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

ROWS, STEPS, FEATURES, OTHERS = 5, 6, 3, 7


@pytest.fixture(params=["cells", "tokens", "regression"])
def subject(request):
    torch.manual_seed(0)
    lengths, others = torch.tensor([6, 1, 4, 5, 2]), torch.tensor([3, 8, 6, 1, 5, 8, 2])
    valid, there = (torch.arange(steps) < own[:, None] for steps, own in ((STEPS, lengths), (8, others)))
    targets = torch.tensor([0, 1, 0, 1, 0])
    if request.param == "tokens":
        model = AttentiveRecurrentNet(4, 6, 2, bidirectional=True, pooling="attention", vocabulary_size=9)
        inputs, reference = torch.randint(2, 9, (ROWS, STEPS)) * valid, torch.ones(ROWS, STEPS).long() * valid
        background = torch.randint(2, 9, (OTHERS, 8)) * there
    else:
        inputs = torch.randn(ROWS, STEPS, FEATURES).double() * valid[..., None]
        background = torch.randn(OTHERS, 8, FEATURES).double() * there[..., None]
        reference = torch.full_like(inputs, 0.1)
        model = AttentiveRecurrentNet(FEATURES, 6, 2, cell="gru", pooling="dot-attention")
    if request.param == "regression":
        model, targets = RecurrentNet(FEATURES, 6, 1, cell="lstm"), torch.randn(ROWS, 1).double()
    outputs = "values" if request.param == "regression" else "logits"
    other = Batch(background, others, torch.zeros(OTHERS).long())
    batch = Batch(inputs, lengths, targets)
    return Subject(model.double(), batch, reference, background=other, outputs_are=outputs).check()


def in_place_of_the_reference(subject, number):
    """One background sequence as everybody's reference, step by step: its own step, or its last."""
    found, background = subject.batch.inputs.clone(), subject.background
    for row in range(len(subject)):
        for step in range(int(subject.batch.lengths[row])):
            found[row, step] = background.inputs[number, min(step, int(background.lengths[number]) - 1)]
    return found


def against(subject, number):
    """The same question with one background sequence as the reference."""
    return replace(subject, reference=in_place_of_the_reference(subject, number), background=None)


def scorer(subject, row):
    """The score as captum wants it: a function of embedded or real inputs [1, t, D]."""
    view = subject.continuous()
    length = subject.batch.lengths[row : row + 1]
    return lambda x: view.model(x, length.repeat(len(x)))[:, subject.target[row]]


# ---- deep-shap ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_deep_shap_is_the_mean_of_deeplifts(subject, count):
    found = DeepShap(baselines=count).explain(subject)
    numbers = {1: [0], 3: [0, 2, 4]}.get(count, range(OTHERS))
    expected = torch.stack([DeepLift().explain(against(subject, number)).values for number in numbers]).mean(0)
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-12)
    difference = subject.score - torch.stack([against(subject, number).reference_score for number in numbers]).mean(0)
    torch.testing.assert_close(found.values.flatten(1).sum(1), difference, rtol=1e-9, atol=1e-12)
    assert not found.complete


@pytest.mark.parametrize("rows", [1, 12, 10**6])
def test_deep_shap_in_portions_is_the_same(subject, rows, monkeypatch):
    whole = DeepShap().explain(subject).values
    monkeypatch.setattr("xrnnbench.methods.propagation.deep_shap._ROWS_AT_ONCE", rows)
    torch.testing.assert_close(DeepShap().explain(subject).values, whole, rtol=1e-12, atol=1e-12)


def test_deep_shap_of_one_product_is_the_mean_of_its_shapley_values():
    class Product(nn.Module):
        def forward(self, x):
            return (x[:, 0, 0] * x[:, 0, 1])[:, None]

    rng = torch.Generator().manual_seed(0)
    inputs, others = torch.randn(4, 1, 2, generator=rng).double(), torch.randn(6, 1, 2, generator=rng).double()
    ones = torch.ones(6, dtype=torch.int64)
    batch, background = Batch(inputs, ones[:4], inputs[:, 0, :1]), Batch(others, ones, others[:, 0, :1])
    subject = Subject(Product(), batch, torch.zeros_like(inputs), background=background, outputs_are="values").check()
    shapley = torch.stack([ExactShapley().explain(against(subject, number)).values for number in range(6)]).mean(0)
    torch.testing.assert_close(DeepShap().explain(subject).values, shapley, rtol=0, atol=1e-12)


def test_background_sequences_are_evenly_spaced():
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, 5).tolist() == [0, 1, 2]
    assert evenly_spaced(100, 100).equal(torch.arange(100))


def test_a_background_sequence_stands_in_step_by_step_and_differs_nowhere_on_padding(subject):
    view = subject.continuous()
    padded = torch.where(view.batch.valid[..., None], view.batch.inputs, 100.0)  # whatever lies there
    view = replace(view, batch=replace(view.batch, inputs=padded))
    rows, donor = torch.arange(ROWS).repeat(OTHERS), torch.arange(OTHERS).repeat_interleave(ROWS)
    found = background_references(view, view.background, rows, donor).view(OTHERS, *padded.shape)
    valid = view.batch.valid
    for number in range(OTHERS):
        assert found[number][valid].equal(against(subject, number).continuous().reference[valid])
        assert (found[number][~valid] == 100).all()


class Branches(nn.Module):
    """Decides by the sign of the first step; by the decision as an index, or as a selection."""

    def __init__(self, *, index):
        super().__init__()
        self.index = index

    def forward(self, x):
        if self.index:
            return x[:, 0] + nn.functional.embedding((x[:, 0, 0] > 0).long(), torch.tensor([[2.0], [-1.0]]))
        return torch.where(x[:, :1, 0] > 0, x[:, 0], -x[:, 1])


def branching(*, index):
    inputs = torch.tensor([[[1.0], [2.0]]])
    background = Batch(torch.tensor([[[-1.0], [3.0]]]), torch.tensor([2]), torch.tensor([0]))
    batch = Batch(inputs, torch.tensor([2]), torch.ones(1, 1))
    model, reference = Branches(index=index), torch.ones_like(inputs)
    return Subject(model, batch, reference, background=background, outputs_are="values").check()


def test_deep_shap_refuses_what_deeplift_refuses():
    subject = branching(index=True)
    assert float(DeepLift().explain(subject).values.sum()) == pytest.approx(0)  # the reference decides alike
    with pytest.raises(UnsupportedModelError, match=r"gt .* as an index in torch.nn.functional.embedding"):
        DeepShap().explain(subject)


def test_deep_shap_follows_a_decision_that_selects():
    values = DeepShap().explain(branching(index=False)).values
    assert float(values.sum()) == pytest.approx(1 - -3)


# ---- gradient-shap -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stdev", [0.0, 0.3])
def test_expected_gradients_equal_captums_given_its_draws(subject, stdev):
    view, samples = subject.continuous(), 12
    subject.model.eval()
    for row in range(ROWS):
        length = int(subject.batch.lengths[row])
        inputs = view.batch.inputs[row : row + 1, :length]
        others = torch.cat(
            [against(subject, number).continuous().reference[row : row + 1, :length] for number in range(OTHERS)]
        )
        np.random.seed(row)  # noqa: NPY002  # captum draws from the global state
        torch.manual_seed(row)
        theirs = CaptumGradientShap(scorer(subject, row)).attribute(inputs, others, samples, stdevs=stdev).detach()
        # the same draws, in captum's order: noise, which baseline, how far
        torch.manual_seed(row)
        noise = torch.zeros(1, samples, STEPS, inputs.shape[2]).double()
        noise[0, :, :length] = torch.normal(0, torch.full((samples, *inputs.shape[1:]), stdev))
        np.random.seed(row)  # noqa: NPY002  # as above
        donor = np.random.choice(OTHERS, samples)  # noqa: NPY002  # as above
        share = np.random.uniform(0, 1, samples)  # noqa: NPY002  # as above
        draws = Draws(torch.from_numpy(donor)[None], torch.from_numpy(share)[None], noise if stdev else None)
        ours = expected_gradients(view, view.background, torch.tensor([row]), draws)
        torch.testing.assert_close(ours[:, :length], theirs, rtol=1e-9, atol=1e-12)
        assert (ours[:, length:] == 0).all()


def test_gradient_shap_converges_to_the_mean_of_integrated_gradients(subject):
    """E over x⁰ and α is the background's mean of integrated gradients; the sum, f(x) − mean f(x⁰)."""
    expected = torch.stack(
        [IntegratedGradients().explain(against(subject, number)).values for number in range(OTHERS)]
    ).mean(0)
    runs = torch.stack([GradientShap(samples=70).explain(subject, seed=seed).values for seed in range(40)])
    standard_error = runs.std(0) / len(runs) ** 0.5
    there = expected != 0
    assert float(((runs.mean(0) - expected).abs() / standard_error)[there].max()) < 4.5
    many = GradientShap(samples=7000).explain(subject).values
    assert float((many - expected).abs().max()) < 0.02 * float(expected.abs().max())


def test_gradient_shap_has_less_variance_than_independent_draws(subject):
    view, samples, rng = subject.continuous(), 28, torch.Generator().manual_seed(0)
    rows = torch.arange(ROWS)

    def independent():
        donor = torch.randint(OTHERS, (ROWS, samples), generator=rng)
        share = torch.rand(ROWS, samples, generator=rng, dtype=torch.float64)
        return subject.reduced(expected_gradients(view, view.background, rows, Draws(donor, share)))

    apart = torch.stack([independent() for _ in range(60)]).var(0).sum()
    ours = torch.stack([GradientShap(samples=samples).explain(subject, seed=seed).values for seed in range(60)])
    assert float(ours.var(0).sum()) < 0.5 * float(apart)


def test_gradient_shap_draws_each_part_once_and_everybody_as_often(subject):
    view, method = subject.continuous(), GradientShap(samples=21, stdev=0.5)
    draws = method.draws(view, torch.arange(ROWS), torch.arange(ROWS), OTHERS)
    assert (draws.share * 21).floor().equal(torch.arange(21.0).double().expand(ROWS, 21))
    for own in draws.donor:
        assert own.bincount(minlength=OTHERS).tolist() == [3] * OTHERS
        assert own[:7].sort().values.equal(torch.arange(OTHERS))
    assert not draws.donor[0].equal(draws.donor[1])
    valid = subject.batch.valid[:, None, :, None].expand(draws.noise.shape)
    assert (draws.noise[~valid] == 0).all()
    assert float(draws.noise[valid].std()) == pytest.approx(0.5, rel=0.08)
    assert method.draws(view, torch.arange(1), torch.arange(1), 100).donor.unique().numel() == 21


# ---- smoothgrad and saliency -------------------------------------------------------------------------------------


def test_smoothgrad_equals_captums_noise_tunnel_given_its_noise(subject, monkeypatch):
    view, samples = subject.continuous(), 6
    subject.model.eval()
    noises = torch.zeros(ROWS, samples, *view.batch.inputs.shape[1:]).double()
    expected = torch.zeros_like(view.batch.inputs)
    for row in range(ROWS):
        length = int(subject.batch.lengths[row])
        inputs = view.batch.inputs[row : row + 1, :length]
        tunnel = NoiseTunnel(CaptumSaliency(scorer(subject, row)))
        torch.manual_seed(row)
        theirs = tunnel.attribute(inputs, nt_type="smoothgrad", nt_samples=samples, stdevs=0.2, abs=False)
        expected[row, :length] = theirs[0].detach()
        torch.manual_seed(row)
        noises[row, :, :length] = torch.normal(0, torch.full((samples, *inputs.shape[1:]), 0.2))
    monkeypatch.setattr(SmoothGrad, "noise", lambda self, view, rows, seeds: noises[rows])
    found = SmoothGrad(samples=samples).explain(subject)
    sizes = expected.norm(dim=2) if subject.batch.tokens else expected.abs()
    torch.testing.assert_close(found.values, sizes, rtol=1e-9, atol=1e-12)
    assert not found.signed
    times = SmoothGrad(samples=samples, times_input=True).explain(subject)
    torch.testing.assert_close(times.values, subject.reduced(expected * view.batch.inputs), rtol=1e-9, atol=1e-12)
    assert times.signed


def test_the_noise_is_a_share_of_the_sequences_own_range_and_none_on_padding(subject):
    view = subject.continuous()
    batch = replace(view.batch, inputs=torch.where(view.batch.valid[..., None], view.batch.inputs, 100.0))
    view = replace(view, batch=batch)  # whatever lies on padding
    noise = SmoothGrad(samples=4000, spread=0.5).noise(view, torch.arange(ROWS), torch.arange(ROWS))
    for row in range(ROWS):
        length = int(subject.batch.lengths[row])
        own = batch.inputs[row, :length]
        expected = 0.5 * float(own.max() - own.min())
        assert float(noise[row, :, :length].std()) == pytest.approx(expected, rel=0.05)
        assert (noise[row, :, length:] == 0).all()


def test_smoothgrad_of_a_cube_is_its_mean_derivative():
    """E 3(x + ε)² = 3(x² + σ²): the noise shows in the value, and of a linear score it does not."""

    class Powers(nn.Module):
        def forward(self, x):
            return torch.stack([(x**3).sum((1, 2)), (2 * x).sum((1, 2))], 1)

    inputs = torch.tensor([[[0.0], [1.0], [2.0]]]).double()
    batch = Batch(inputs, torch.tensor([3]), torch.zeros(1, 2).double())
    for target, expected in ((0, 3 * (inputs[0] ** 2 + 1)), (1, torch.full((3, 1), 2.0).double())):
        explained = torch.tensor([target])
        subject = Subject(Powers(), batch, torch.zeros_like(inputs), target=explained, outputs_are="values").check()
        found = SmoothGrad(samples=20000, spread=0.5).explain(subject).values[0]
        assert found.tolist() == pytest.approx(expected.flatten().tolist(), rel=0.04 if target == 0 else 1e-12)


def test_a_sequence_of_one_value_has_no_range_and_gets_its_plain_gradient():
    torch.manual_seed(0)
    inputs = torch.full((2, 3, 2), 0.7).double()
    batch = Batch(inputs, torch.tensor([3, 1]), torch.tensor([0, 1]))
    subject = Subject(RecurrentNet(2, 4, 2).double(), batch, torch.zeros_like(inputs)).check()
    found = SmoothGrad(times_input=True).explain(subject).values
    torch.testing.assert_close(found, GradientXInput().explain(subject).values)


def test_saliency_equals_captums(subject):
    found = Saliency().explain(subject)
    view = subject.continuous()
    subject.model.eval()
    for row in range(ROWS):
        length = int(subject.batch.lengths[row])
        inputs = view.batch.inputs[row : row + 1, :length].clone().requires_grad_()
        theirs = CaptumSaliency(scorer(subject, row)).attribute(inputs).detach()[0]
        theirs = theirs.norm(dim=1) if subject.batch.tokens else theirs
        torch.testing.assert_close(found.values[row, :length], theirs, rtol=1e-9, atol=1e-12)
    assert not found.signed


# ---- the contract ------------------------------------------------------------------------------------------------


def test_costs_are_what_the_pages_say(subject):
    expected = {
        DeepShap(baselines=4): (3 * 4, 4),
        DeepShap(baselines=50): (3 * OTHERS, OTHERS),
        GradientShap(samples=9): (9, 9),
        SmoothGrad(samples=5): (5, 5),
        Saliency(): (1, 1),
    }
    for method, (forward, backward) in expected.items():
        before = subject.cost.copy()
        method.explain(subject)
        spent = subject.cost.since(before)
        assert (spent.forward, spent.backward) == (forward * ROWS, backward * ROWS), method.spec


@pytest.mark.parametrize("method", [GradientShap(samples=6, stdev=0.1), SmoothGrad(samples=6)], ids=lambda m: m.name)
def test_small_portions_give_the_same(subject, method, monkeypatch):
    whole = method.explain(subject).values
    monkeypatch.setattr("xrnnbench.methods.gradient.expected_gradients._POINTS_AT_ONCE", 1)
    torch.testing.assert_close(method.explain(subject).values, whole, rtol=0, atol=1e-12)


METHODS = (DeepShap(baselines=3), GradientShap(samples=4, stdev=0.2), SmoothGrad(samples=3), Saliency())


@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=5), extra=st.integers(0, 3), tokens=st.booleans())
def test_mates_and_padding_do_not_matter(lengths, extra, tokens):
    rng = torch.Generator().manual_seed(sum(lengths))
    lengths = torch.tensor(lengths)
    steps = int(lengths.max())
    valid = torch.arange(steps) < lengths[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = RecurrentNet(2, 5, 3, cell="lstm", bidirectional=True, vocabulary_size=8 if tokens else 0).double()
    if tokens:
        inputs, reference = torch.randint(2, 8, valid.shape, generator=rng) * valid, valid.long()
    else:
        inputs = torch.randn(*valid.shape, 2, generator=rng).double() * valid[..., None]
        reference = torch.zeros_like(inputs)
    batch = Batch(inputs, lengths, torch.zeros(len(lengths)).long())
    subject = Subject(model, batch, reference, background=batch).check()
    pads = (0, extra) if tokens else (0, 0, 0, extra)
    more = Batch(nn.functional.pad(inputs, pads), lengths, batch.targets)
    padded = replace(subject, batch=more, reference=nn.functional.pad(reference, pads))
    for method in METHODS:
        whole = method.explain(subject, seed=4).values
        part = method.explain(subject.select(slice(0, 1)), seed=4).values
        torch.testing.assert_close(part, whole[:1, : part.shape[1]], rtol=0, atol=1e-12)
        found = method.explain(padded, seed=4).values
        torch.testing.assert_close(found[:, :steps], whole, rtol=0, atol=1e-12)
        assert (found[:, steps:] == 0).all()
        assert (whole[~subject.valid] == 0).all()


@pytest.mark.parametrize("method", [DeepShap(), GradientShap()], ids=lambda m: m.name)
def test_without_background_they_are_not_applicable(subject, method):
    bare = replace(subject, background=None)
    assert method.applicable(bare) == "the task has no background data"
    with pytest.raises(UnsupportedModelError, match="background"):
        method.explain(bare)


@pytest.mark.parametrize(
    "spec",
    ["deep-shap:baselines=0", "gradient-shap:samples=0", "gradient-shap:stdev=-1", "gradient-shap:stdev=inf",
     "smoothgrad:samples=0", "smoothgrad:spread=0", "smoothgrad:spread=nan"],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("method", spec)
