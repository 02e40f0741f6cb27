"""Max-sensitivity and local Lipschitz against their definitions, and what asking of neighbours costs."""

from dataclasses import replace

import pytest
import torch
from metric_subjects import Jittered, Product, wild

from xrnnbench.errors import ParameterError
from xrnnbench.fingerprints import seed_from
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.conformance.specimens import StandIn, evidence
from xrnnbench.metrics.stability import neighbours
from xrnnbench.metrics.stability.relative import (
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)
from xrnnbench.metrics.stability.sensitivity import LocalLipschitz, MaxSensitivity
from xrnnbench.plugins import build
from xrnnbench.tasks.subject import Subject

EVERY = (
    MaxSensitivity,
    LocalLipschitz,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)


@pytest.mark.parametrize("method", [Product(), Jittered()])
@pytest.mark.parametrize("name", ["regression", "classification", "tokens"])
def test_max_sensitivity_and_lipschitz_are_their_definitions(name, method):
    subject = wild(name)
    settings = {"samples": 4, "instances": 0, "radius": 0.05}
    cell = evidence(subject, method, seed=3)
    smooth = subject.continuous()
    base = method.explain(smooth, 3).values.double()
    worst = torch.zeros(2, len(subject), dtype=torch.float64)
    for sample in range(4):
        moved = smooth.batch.inputs.clone()
        for row, length in enumerate(subject.batch.lengths.tolist()):
            rng = torch.Generator().manual_seed(seed_from("neighbours", row))
            noise = torch.rand(4, length, 3, generator=rng, dtype=torch.float64)[sample]
            moved[row, :length] += (0.1 * noise - 0.05).float()
        change = method.explain(smooth.replaced(moved), 3).values.double() - base
        for row in range(len(subject)):
            distance = float((moved[row].double() - smooth.batch.inputs[row].double()).norm())
            sizes = float(base[row].norm()) or 1.0, distance
            for place, size in enumerate(sizes):
                worst[place, row] = max(worst[place, row], float(change[row].norm()) / size)
    for metric, expected in zip((MaxSensitivity, LocalLipschitz), worst, strict=True):
        found = metric(**settings).measure(cell)
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)
        assert found.min() > 0


def test_a_method_without_a_seed_is_asked_once_and_one_with_a_seed_once_for_each_sample():
    subject = wild("regression")
    cells = [evidence(subject, method) for method in (Product(), Jittered())]
    Product.calls.clear()
    MaxSensitivity(samples=4).measure(cells[0])
    assert Product.calls == [5 * len(subject)]
    Product.calls.clear()
    MaxSensitivity(samples=4, instances=3).measure(cells[1])
    assert Product.calls == [3] * 5


@pytest.mark.parametrize("name", ["regression", "classification", "tokens"])
def test_all_metrics_of_neighbours_cost_what_max_sensitivity_costs(name):
    subject = wild(name)
    shared = Probes(subject)
    cells = [evidence(subject, Product(), shared=shared), evidence(subject, StandIn("follows"), shared=shared)]
    Product.calls.clear()
    for metric in EVERY:
        metric(samples=4, instances=3).measure(cells[0])
    assert Product.calls == [5 * 3]
    cost = subject.continuous().cost
    # outputs and representations, each of three sequences and their four neighbours, once for all methods
    before = cost.forward
    for metric in EVERY:
        metric(samples=4, instances=3).measure(cells[1])
    assert cost.forward == before
    fresh = subject.continuous().select(slice(None))
    near = neighbours.Neighbours.drawn(fresh, torch.tensor([0, 2, 4]), 0.02, 4)
    for _ in range(2):
        assert near.outputs.shape[:2] == near.representations.shape[:2] == (5, 3)
    assert fresh.cost.forward == 2 * 15


def test_another_radius_number_or_choice_is_asked_anew():
    cell = evidence(wild("regression"), Product())
    Product.calls.clear()
    for settings in ({}, {"radius": 0.1}, {"samples": 2}, {"instances": 2}, {}):
        LocalLipschitz(**settings).measure(cell)
    assert Product.calls == [77, 77, 21, 22]


def test_only_some_instances_are_asked_of():
    cell = evidence(wild("regression"), Product())
    for metric in EVERY:
        every = metric(samples=3, instances=0).measure(cell)
        some = metric(samples=3, instances=3).measure(cell)
        assert (~some.isnan()).nonzero().flatten().tolist() == [0, 2, 4]
        assert metric(instances=3).asked(7) == 3
        assert torch.allclose(some[[0, 2, 4]], every[[0, 2, 4]], rtol=1e-3)


@pytest.mark.parametrize("metric", EVERY)
def test_nothing_depends_on_padding_or_on_how_many_are_done_at_once(metric, monkeypatch):
    together = metric().measure(evidence(wild("classification"), Product()))
    noisy = wild("classification", padding=3, noise=5.0)
    assert torch.allclose(metric().measure(evidence(noisy, Product())), together, rtol=1e-3)
    monkeypatch.setattr(neighbours, "_VALUES_AT_ONCE", 1)
    assert torch.allclose(metric().measure(evidence(wild("classification"), Product())), together, rtol=1e-3)


def test_an_explanation_of_zeros_is_divided_by_one():
    subject = wild("regression")
    with torch.no_grad():
        subject.model.head.weight.zero_()
    cell = evidence(subject, Product())
    assert MaxSensitivity().measure(cell).abs().max() == 0
    assert LocalLipschitz().measure(cell).abs().max() == 0


def test_where_no_number_is_near_enough_to_move_there_is_no_slope():
    subject = wild("regression")
    far = replace(subject.batch, inputs=subject.batch.inputs.abs() + 1e6)
    cell = evidence(Subject(subject.model, far, subject.reference, outputs_are="values"), StandIn("constant"))
    assert LocalLipschitz(radius=1e-3).measure(cell).isnan().all()
    assert LocalLipschitz(radius=1.0).measure(cell).eq(0).all()


def test_a_method_that_looks_at_nothing_is_perfectly_stable():
    cell = evidence(wild("classification"), build("method", "random"))
    assert MaxSensitivity().measure(cell).eq(0).all()
    assert LocalLipschitz().measure(cell).eq(0).all()
    assert RelativeInputStability().measure(cell).eq(-6).all()


def test_a_model_without_one_embedding_cannot_be_moved_by_a_little():
    class Twice(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.second = inner, torch.nn.Embedding(100, 1)

        def forward(self, inputs, lengths):
            return self.inner(inputs, lengths) + self.second(inputs).sum(1)

    subject = wild("tokens")
    twice = replace(subject, model=Twice(subject.model))
    picky = type("Picky", (Product,), {"needs": frozenset({"attention"})})()
    for metric in EVERY:
        assert metric().applicable(Product(), twice) == "the inputs cannot be moved by a little"
        assert metric().applicable(picky, subject) == "the model shows no attention"


@pytest.mark.parametrize("metric", EVERY)
@pytest.mark.parametrize("parameters", [{"radius": 0.0}, {"samples": 0}, {"instances": -1}])
def test_parameters_that_mean_nothing_are_refused(metric, parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        metric(**parameters)
