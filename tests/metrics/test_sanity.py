"""Randomised models, and how methods fare on them, against literal re-implementations."""

import random
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_subjects import Jittered, Product, wild
from scipy import stats
from torch import nn

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.fingerprints import seed_from
from xrnnbench.methods.base import Explainer
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.sanity.parameter_randomisation import (
    EfficientParameterRandomisation,
    ParameterRandomisation,
    histogram_entropy,
)
from xrnnbench.metrics.sanity.randomised_models import cascade, stages
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import PredictFunction
from xrnnbench.tasks.models.networks import AttentionRNN, EncoderDecoder, RecurrentNet
from xrnnbench.tasks.subject import Subject


class Sum(nn.Module):
    """Two linear layers on the sum of the steps: gradient times input is the product of their weights times x."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.lower = nn.Linear(3, 4)

    def forward(self, inputs, lengths):
        valid = torch.arange(inputs.shape[1]) < lengths[:, None]
        return self.head(self.lower((inputs * valid[:, :, None]).sum(1)))


def summing():
    subject = specimen("classification")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Subject(Sum(), subject.batch, subject.reference)


def fresh(layer, name, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from("randomised", seed, name))
        return layer()


def flat(subject, row, product):
    length = int(subject.batch.lengths[row])
    return (product[subject.target[row]] * subject.batch.inputs[row, :length]).detach().double().flatten().numpy()


@pytest.mark.parametrize("sign", [False, True])
def test_parameter_randomisation_is_its_definition(sign):
    subject = summing()
    head, lower = fresh(lambda: nn.Linear(4, 2), "head", 5), fresh(lambda: nn.Linear(3, 4), "lower", 5)
    products = [
        subject.model.head.weight @ subject.model.lower.weight,
        head.weight @ subject.model.lower.weight,
        head.weight @ lower.weight,
    ]
    found = ParameterRandomisation(seed=5, sign=sign).measure(evidence(subject, Product()))
    for row in range(len(subject)):
        maps = [flat(subject, row, product) for product in products]
        maps = maps if sign else [abs(values) for values in maps]
        expected = [stats.spearmanr(maps[0], values).statistic for values in maps[1:]]
        assert float(found[row]) == pytest.approx(sum(expected) / 2, abs=1e-12)
    assert found.min() < 0.9


def test_emprt_is_its_definition():
    subject = summing()
    head, lower = fresh(lambda: nn.Linear(4, 2), "head"), fresh(lambda: nn.Linear(3, 4), "lower")
    products = subject.model.head.weight @ subject.model.lower.weight, head.weight @ lower.weight
    for bins in (0, 7):
        found = EfficientParameterRandomisation(bins=bins).measure(evidence(subject, Product()))
        for row in range(len(subject)):
            maps = [flat(subject, row, product) for product in products]
            count = bins or int(np.ceil(np.sqrt(len(maps[0]))))
            before, after = (stats.entropy(np.histogram(values, bins=count)[0]) for values in maps)
            assert float(found[row]) == pytest.approx((after - before) / before, abs=1e-9)
    assert found.isfinite().all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=2, max_size=30), st.integers(2, 9))
def test_entropy_is_that_of_a_histogram(values, bins):
    values = np.array(values)
    found = histogram_entropy(values, bins)
    scaled = values / np.abs(values).max() if values.any() else values
    # numpy's own edges differ in their last bits, which moves a value that stands on one
    edges = (scaled - scaled.min()) / max(np.ptp(scaled), 1e-300) * bins
    if np.ptp(values) == 0:
        assert found == 0
    elif np.abs(edges - edges.round())[(edges > 0.5) & (edges < bins - 0.5)].min(initial=1) > 1e-9:
        assert found == pytest.approx(stats.entropy(np.histogram(values, bins=bins)[0]), abs=1e-12)
    for scale in (1e300, 1e-300):
        assert histogram_entropy(np.array([1.0, 2.0, 4.0]) * scale, 4) == pytest.approx(np.log(3))


def test_the_rules_of_quantus_take_the_dimensions_of_a_map_for_its_size():
    """Quantus 0.6, functions/n_bins_func.py, square_root_choice: n = a_batch[0].ndim."""
    maps = np.random.default_rng(0).standard_normal((8, 30, 30))
    theirs = int(np.sqrt(maps[0].ndim))
    assert theirs == 1
    # one bin holds everything: an entropy of 0, and a relative rise that is 0 / 0
    assert stats.entropy(np.histogram(maps[0], bins=theirs)[0]) == 0
    assert histogram_entropy(maps[0].ravel(), 0) > 2


@pytest.mark.parametrize("name", ["regression", "classification"])
@pytest.mark.parametrize("method", ["magnitude", "random", "recency", "oracle"])
def test_a_method_that_ignores_the_model_scores_exactly_one(name, method):
    subject = specimen(name)
    cell = evidence(subject, build("method", method))
    found = ParameterRandomisation().measure(cell)
    assert torch.allclose(found[found.isfinite()], torch.ones(1, dtype=torch.float64), rtol=0, atol=1e-12)
    assert len(found[found.isfinite()]) >= 6
    emprt = EfficientParameterRandomisation().measure(cell)
    assert emprt[emprt.isfinite()].eq(0).all()


def test_random_maps_of_other_seeds_score_nothing():
    @dataclass(frozen=True)
    class Fickle(Explainer):
        """Draws anew at every call, as nobody may: the same seed gives the same map otherwise."""

        name: ClassVar[str] = "fickle"
        calls: ClassVar[list] = []

        def attribute(self, subject, rng):
            self.calls.append(None)
            return torch.randn(subject.shape, generator=rng.manual_seed(len(self.calls)))

    subject = wild("regression")
    found = torch.stack([ParameterRandomisation(seed=seed).measure(evidence(subject, Fickle())) for seed in range(60)])
    assert found.nanmean(0)[:-1].abs().max() < 0.1
    assert ParameterRandomisation().measure(evidence(subject, build("method", "random"))).min() > 1 - 1e-12


def test_a_constant_explanation_or_one_feature_has_no_value():
    constant = evidence(specimen("regression"), StandIn("constant"))
    alone = evidence(specimen("tokens", (1, 1)), StandIn("follows"))
    for metric in (ParameterRandomisation(), EfficientParameterRandomisation()):
        assert metric.measure(constant).isnan().all()
        assert metric.measure(alone).isnan().all()


def test_stages_at_which_nothing_is_said_are_left_out():
    subject = summing()
    subject.model.head.reset_parameters = lambda: None
    untouched = ParameterRandomisation().measure(evidence(subject, Product()))

    class Silent(nn.Linear):
        def reset_parameters(self):
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    silent = Silent(3, 4)
    silent.load_state_dict(subject.model.lower.state_dict())
    subject.model.lower = silent
    found = ParameterRandomisation().measure(evidence(subject, Product()))
    # the head stayed what it was, so that its stage agrees fully; the one after it says 0 of everything
    assert torch.allclose(found, torch.ones(7, dtype=torch.float64))
    assert (untouched < 1 - 1e-6).any()


def test_explanations_and_models_are_shared():
    subject = wild("regression")
    shared = Probes(subject)
    cell = evidence(subject, Product(), shared=shared)
    Product.calls.clear()
    EfficientParameterRandomisation(instances=3).measure(cell)
    assert Product.calls == [3, 3]
    for metric in (ParameterRandomisation(instances=3), ParameterRandomisation(instances=3, sign=True)):
        metric.measure(cell)
    assert Product.calls == [3] * 4
    randomised = shared.get(("randomised", 3, 0), None)
    ParameterRandomisation(instances=3).measure(evidence(subject, Jittered(), shared=shared))
    assert shared.get(("randomised", 3, 0), None) is randomised
    assert [key for key, _ in shared.cache.items() if key[0] == "randomised"] == [("randomised", 3, 0)]


def test_only_some_instances_are_asked_of_and_padding_is_not_seen():
    for metric in (ParameterRandomisation, EfficientParameterRandomisation):
        every = metric(instances=0).measure(evidence(wild("classification"), Product()))
        some = metric(instances=3).measure(evidence(wild("classification", padding=3, noise=4.0), Product()))
        assert (~some.isnan()).nonzero().flatten().tolist() == [0, 2, 4]
        assert torch.allclose(some[[0, 2, 4]], every[[0, 2, 4]], rtol=1e-4)
        assert metric(instances=3).asked(7) == 3


def test_a_model_without_parameters_is_not_randomised():
    subject = wild("classification")
    plain = replace(subject, model=PredictFunction(lambda inputs: inputs[:, 0, :2], "a function"))
    for metric in (ParameterRandomisation(), EfficientParameterRandomisation()):
        assert metric.applicable(StandIn(), plain) == "the model has no parameters to randomise"
        assert metric.applicable(StandIn(), subject) == ""
    with pytest.raises(UnsupportedModelError, match="no parameters"):
        cascade(plain, 0)
    subject.model.secret = (number for number in range(3))
    with pytest.raises(UnsupportedModelError, match="cannot be copied"):
        cascade(subject, 0)


@pytest.mark.parametrize(
    ("metric", "parameters"),
    [
        (ParameterRandomisation, {"instances": -1}),
        (EfficientParameterRandomisation, {"bins": 1}),
        (EfficientParameterRandomisation, {"bins": -2}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(metric, parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        metric(**parameters)


# ---- the cascade -----------------------------------------------------------------------------------------------------


def subject_of(net, *, tokens=False, context=None):
    lengths = torch.tensor([5, 3])
    inputs = torch.ones(2, 5, dtype=torch.int64) if tokens else torch.randn(2, 5, 3)
    batch = Batch(inputs, lengths, torch.zeros(2, dtype=torch.int64), {}, context or {})
    return Subject(net, batch, torch.zeros_like(inputs))


def written(subject):
    return [
        [f"{stage.module}.{name}" for stage in together for name in stage.parameters] for together in stages(subject)
    ]


def test_stages_go_from_the_outputs_to_the_embedding():
    assert written(subject_of(AttentionRNN(3, 4, 2))) == [
        ["head.weight", "head.bias"],
        ["attention.query.weight"],
        ["attention.project.weight", "attention.project.bias"],
        ["recurrent.weight_hh_l0", "recurrent.bias_hh_l0"],
        ["recurrent.weight_ih_l0", "recurrent.bias_ih_l0"],
    ]
    net = RecurrentNet(3, 4, 2, cell="gru", layers=2, bidirectional=True, vocabulary_size=5)
    found = written(subject_of(net, tokens=True))
    assert [together[0] for together in found] == [
        *("head.weight", "recurrent.weight_hh_l1", "recurrent.weight_ih_l1"),
        *("recurrent.weight_hh_l0", "recurrent.weight_ih_l0", "embedding.weight"),
    ]
    assert found[1] == [f"recurrent.{part}_hh_l1{end}" for end in ("", "_reverse") for part in ("weight", "bias")]
    assert sorted(name for together in found for name in together) == sorted(name for name, _ in net.named_parameters())


def test_stages_of_a_translator_begin_at_its_head_and_end_at_its_source():
    net = EncoderDecoder(6, 7, 4)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, source, lengths, produced):
            return self.net(source, lengths, produced)[:, -1]

    produced = torch.ones(2, 3, dtype=torch.int64)
    found = written(subject_of(Last(), tokens=True, context={"produced": produced}))
    order = [together[0].split(".")[1] for together in found]
    assert order == [
        *("head", "combine", "energy", "decoder", "decoder", "target_embedding"),
        *("bridge", "encoder", "encoder", "source_embedding"),
    ]


class Odd(nn.Module):
    """A cell called step by step, weights shared by two modules, one that is never called, and a bare parameter."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4, bias=False)
        self.cell = nn.LSTMCell(4, 4)
        self.tied = nn.Linear(3, 4, bias=False)
        self.tied.weight = self.first.weight
        self.idle = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, inputs):
        state = None
        for step in inputs.unbind(1):
            state = self.cell(self.first(step), state)
        return (state[0] + self.tied(inputs[:, -1]))[:, :2] * self.scale


def test_odd_models_are_randomised_completely_and_once():
    # the tied layer is called after the cell, and its weights are the first layer's
    assert written(subject_of(Odd())) == [
        [".scale"],
        ["tied.weight"],
        ["cell.weight_hh", "cell.bias_hh"],
        ["cell.weight_ih", "cell.bias_ih", "idle.weight", "idle.bias"],
    ]
    subject = subject_of(Odd())
    last = cascade(subject, 0)[-1].model
    assert last.tied.weight is last.first.weight
    before = dict(subject.model.named_parameters())
    assert all(not torch.equal(parameter, before[name]) for name, parameter in last.named_parameters())


def test_what_cannot_reset_itself_becomes_normal_of_its_own_mean_and_deviation():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(5 + 0.1 * torch.randn(3, 2000))
            self.same = nn.Parameter(torch.ones(2000))

        def forward(self, inputs):
            return inputs.sum(1) @ self.weight[:, :2] + self.same[:2]

    subject = subject_of(Bare())
    (last,) = cascade(subject, 0)
    drawn = last.model.weight.detach()
    assert float(drawn.mean()) == pytest.approx(5, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.1, abs=0.01)
    assert not torch.equal(last.model.weight, subject.model.weight)
    assert torch.equal(last.model.same, subject.model.same)


def test_each_stage_stands_on_those_before_it_and_the_model_is_not_touched():
    subject = subject_of(RecurrentNet(3, 4, 2, cell="gru"))
    weights = {name: value.clone() for name, value in subject.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002  # what is watched
    before = subject.cost.copy()
    with subject.isolated():
        found = cascade(subject, 0)
    assert len(found) == 3
    assert subject.cost == before
    kept = weights
    for later, names in zip(found, written(subject), strict=True):
        now = later.model.state_dict()
        assert {name for name in now if not torch.equal(now[name], kept[name])} == set(names)
        assert torch.equal(later.target, subject.target)
        assert [hook.count for hook in later.model._forward_hooks.values()] == [None]
        kept = now
    assert all(torch.equal(value, weights[name]) for name, value in subject.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002  # as above
    assert random.getstate() == states[2]
    again, other = cascade(subject, 0)[-1].model, cascade(subject, 1)[-1].model
    assert torch.equal(again.head.weight, found[-1].model.head.weight)
    assert not torch.equal(other.head.weight, again.head.weight)


def test_new_values_are_those_of_a_module_that_was_never_trained():
    subject = subject_of(RecurrentNet(3, 4, 2, cell="gru"))
    last = cascade(subject, 0)[-1].model
    made = fresh(lambda: nn.GRU(3, 4, batch_first=True), "recurrent")
    for name, value in made.state_dict().items():
        assert torch.equal(last.recurrent.state_dict()[name], value)
