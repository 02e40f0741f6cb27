"""Stability and agreement against their definitions."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xrnnbench.errors import ContractError, ParameterError
from xrnnbench.fingerprints import seed_from
from xrnnbench.methods.base import Attribution, Explainer
from xrnnbench.metrics import stability
from xrnnbench.metrics.agreement import ExplainerSeedAgreement, ModelSeedAgreement
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.ranking import kendall
from xrnnbench.metrics.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.stability import MaxSensitivity
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject


@dataclass(frozen=True)
class Product(Explainer):
    """Gradient times input, and who asked how often."""

    name: ClassVar[str] = "product"
    calls: ClassVar[list] = []

    def attribute(self, subject, rng):
        self.calls.append(len(subject))
        inputs = subject.batch.inputs
        reference = subject.reference
        values = subject.gradients(inputs)[1] * (inputs - reference)
        return values if subject.granularity == "cell" else values.sum(2)


@dataclass(frozen=True)
class Jittered(Product):
    """The same with noise from its seed."""

    name: ClassVar[str] = "jittered"
    stochastic: ClassVar[bool] = True

    def attribute(self, subject, rng):
        values = super().attribute(subject, rng)
        return values + torch.randn(values.shape, generator=rng)


def wild(name):
    """Return a specimen's batch with an untrained network of strong weights in float32."""
    subject = specimen(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = 9 if name == "tokens" else 0
        net = RecurrentNet(3, 6, 1 if name == "regression" else 2, cell="gru", vocabulary_size=words)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    return Subject(net, subject.batch, subject.reference, outputs_are=subject.outputs_are)


@pytest.mark.parametrize("method", [Product(), Jittered()])
@pytest.mark.parametrize("name", ["regression", "classification", "tokens"])
def test_max_sensitivity_is_its_definition(name, method):
    subject = wild(name)
    metric = MaxSensitivity(samples=4, instances=0, radius=0.05)
    cell = replace(evidence(wild("regression"), StandIn("constant")), subject=subject, explainer=method, seed=3)
    cell.shared = Probes(subject)
    found = metric.measure(cell)
    smooth = subject.continuous()
    base = method.explain(smooth, 3).values.double()
    worst = torch.zeros(len(subject), dtype=torch.float64)
    for sample in range(4):
        moved = smooth.batch.inputs.clone()
        for row, length in enumerate(subject.batch.lengths.tolist()):
            rng = torch.Generator().manual_seed(seed_from("neighbours", row))
            noise = torch.rand(4, length, 3, generator=rng, dtype=torch.float64)[sample]
            moved[row, :length] += (0.1 * noise - 0.05).float()
        change = method.explain(smooth.replaced(moved), 3).values.double() - base
        for row in range(len(subject)):
            norm = float(base[row].norm())
            worst[row] = max(worst[row], float(change[row].norm()) / (norm or 1.0))
    assert torch.allclose(found, worst, rtol=1e-3, atol=1e-6)
    assert found.min() > 0


def test_a_method_without_a_seed_is_asked_once_and_one_with_a_seed_once_for_each_sample():
    subject = wild("regression")
    cell = replace(evidence(subject, StandIn("constant")), explainer=Product())
    Product.calls.clear()
    MaxSensitivity(samples=4).measure(cell)
    assert Product.calls == [5 * len(subject)]
    Product.calls.clear()
    MaxSensitivity(samples=4, instances=3).measure(replace(cell, explainer=Jittered()))
    assert Product.calls == [3] * 5


def test_only_some_instances_are_asked_of():
    subject = wild("regression")
    cell = replace(evidence(subject, StandIn("constant")), explainer=Product())
    every = MaxSensitivity(samples=3, instances=0).measure(cell)
    some = MaxSensitivity(samples=3, instances=3).measure(cell)
    assert (~some.isnan()).nonzero().flatten().tolist() == [0, 2, 4]
    assert torch.allclose(some[[0, 2, 4]], every[[0, 2, 4]], rtol=1e-4)


def test_nothing_depends_on_how_many_instances_are_done_at_once(monkeypatch):
    subject = wild("classification")
    cell = replace(evidence(subject, StandIn("constant")), explainer=Product())
    together = MaxSensitivity().measure(cell)
    monkeypatch.setattr(stability, "_VALUES_AT_ONCE", 1)
    assert torch.allclose(MaxSensitivity().measure(cell), together, rtol=1e-3)


def test_an_explanation_of_zeros_is_divided_by_one():
    subject = wild("regression")
    with torch.no_grad():
        subject.model.head.weight.zero_()
    cell = replace(evidence(subject, StandIn("constant")), explainer=Product())
    assert MaxSensitivity().measure(cell).abs().max() == 0


def test_a_model_without_one_embedding_cannot_be_moved_by_a_little():
    class Twice(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.second = inner, torch.nn.Embedding(100, 1)

        def forward(self, inputs, lengths):
            return self.inner(inputs, lengths) + self.second(inputs).sum(1)

    subject = wild("tokens")
    subject = replace(subject, model=Twice(subject.model))
    assert MaxSensitivity().applicable(Product(), subject) == "the inputs cannot be moved by a little"
    other = wild("tokens")
    picky = type("Picky", (Product,), {"needs": frozenset({"attention"})})()
    assert MaxSensitivity().applicable(picky, other) == "the model shows no attention"
    assert "no seed" in ExplainerSeedAgreement().applicable(Product(), other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_kendall_counts_pairs(pairs):
    left, right = torch.tensor(pairs).T.double()
    valid = torch.ones(1, len(pairs) + 3, dtype=torch.bool)
    valid[0, len(pairs) :] = False
    padded = [torch.cat([side, torch.tensor([7.0, 9.0, 8.0])])[None] for side in (left, right)]
    found = float(kendall(*padded, valid))
    signs = [(left[:, None] - left).sign(), (right[:, None] - right).sign()]
    norms = [float(sign.abs().sum()) for sign in signs]
    if min(norms) == 0:
        assert found != found  # noqa: PLR0124  # NaN
    else:
        expected = float((signs[0] * signs[1]).sum()) / (norms[0] * norms[1]) ** 0.5
        assert found == pytest.approx(expected, abs=1e-12)


def test_explainer_seeds_are_compared_in_pairs():
    subject = wild("classification")
    cell = evidence(subject, Jittered(), seed=2)
    found = ExplainerSeedAgreement().measure(cell)
    seeds = [2, seed_from("explainer seed", 2, 0), seed_from("explainer seed", 2, 1)]
    maps = [Jittered().explain(subject, seed).values for seed in seeds]
    for row, length in enumerate(subject.batch.lengths.tolist()):
        flat = [values[row, :length].flatten().numpy() for values in maps]
        taus = [stats.kendalltau(flat[i], flat[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))]
        assert float(found[row]) == pytest.approx(sum(taus) / 3)
    constant = type("Flat", (StandIn,), {})("constant")
    assert ExplainerSeedAgreement().measure(evidence(subject, constant)).isnan().all()


def test_only_models_that_predict_the_same_are_compared():
    subject = wild("tokens")
    ours = Product().explain(subject.continuous(), 0)
    other = Attribution(-ours.values, signed=True)
    turned = subject.target.clone()
    turned[0] = 1 - turned[0]
    cell = replace(evidence(subject, StandIn("constant")), attribution=ours)
    cell.siblings = {1: (ours, turned), 2: (other, 1 - subject.target)}
    found = ModelSeedAgreement().measure(cell)
    # the first sequence's sibling predicts otherwise, the last has one step
    assert found[[0, -1]].isnan().all()
    assert torch.allclose(found[1:-1], torch.ones(5, dtype=torch.float64))
    cell.siblings = {1: (ours, subject.target), 2: (other, subject.target)}
    assert ModelSeedAgreement().measure(cell)[:-1].abs().max() < 1e-12
    cell.siblings = {}
    assert ModelSeedAgreement().measure(cell).isnan().all()
    cell.siblings = {1: (Attribution(ours.values[:, :3], signed=True), subject.target)}
    with pytest.raises(ContractError, match="share their batch"):
        ModelSeedAgreement().measure(cell)


@pytest.mark.parametrize("parameters", [{"radius": 0.0}, {"samples": 0}, {"instances": -1}])
def test_parameters_that_mean_nothing_are_refused(parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        MaxSensitivity(**parameters)
    with pytest.raises(ParameterError, match="does not fit"):
        ExplainerSeedAgreement(seeds=0)
