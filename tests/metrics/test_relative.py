"""Relative stabilities against their definitions, and against what Quantus makes of the same numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from metric_subjects import Jittered, Product, wild

from xrnnbench.errors import ParameterError
from xrnnbench.fingerprints import seed_from
from xrnnbench.metrics.conformance.specimens import StandIn, evidence
from xrnnbench.metrics.stability.relative import (
    NeighboursKept,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)
from xrnnbench.plugins import build
from xrnnbench.tasks.engine.adapters import PredictFunction
from xrnnbench.tasks.engine.embedding import EmbeddedModel
from xrnnbench.tasks.engine.variants import Given
from xrnnbench.tasks.subject import Subject

EVERY = RelativeInputStability, RelativeOutputStability, RelativeRepresentationStability
EPSILON = 1e-6


def undecided():
    """Return a classifier of which small steps change the class of some sequences."""
    subject = wild("classification")
    margin = subject.batch_outputs.diff(dim=1).median()
    with torch.no_grad():
        subject.model.head.bias[1] -= margin - 1e-3
    return Subject(subject.model, subject.batch, subject.reference)


def state(subject, inputs, row):
    """Float64[H]: the last state of the subject's network for one sequence of inputs or embeddings [L, D]."""
    net = subject.model.model if isinstance(subject.model, EmbeddedModel) else subject.model
    with torch.no_grad():
        return net.recurrent(inputs[None])[1][0, 0].double()


def literal(subject, method, seed, samples, radius):
    """For each sequence the values of all three for each neighbour that keeps its class, one run at a time."""
    smooth = subject.continuous()
    found = []
    for row, length in enumerate(subject.batch.lengths.tolist()):
        rng = torch.Generator().manual_seed(seed_from("neighbours", row))
        noise = torch.rand(samples, length, 3, generator=rng, dtype=torch.float64)
        x = smooth.batch.inputs[row, :length]
        rows = []
        for sample in range(samples):
            moved = smooth.batch.inputs.clone()
            moved[row, :length] += ((2 * noise[sample] - 1) * radius).float()
            outputs = [smooth.outputs(Given(inputs))[row].double() for inputs in (smooth.batch.inputs, moved)]
            if subject.classification and outputs[0].argmax() != outputs[1].argmax():
                continue
            maps = [
                method.explain(smooth.replaced(inputs), seed).values[row, :length].double()
                for inputs in (smooth.batch.inputs, moved)
            ]
            change = float(((maps[1] - maps[0]) / (maps[0].abs() + EPSILON)).norm())
            near = moved[row, :length]
            states = [state(smooth, inputs, row) for inputs in (x, near)]
            below = (
                float(((near.double() - x.double()) / (x.double().abs() + EPSILON)).norm()),
                float((outputs[1] - outputs[0]).norm()),
                float(((states[1] - states[0]) / (states[0].abs() + EPSILON)).norm()),
            )
            rows.append([change / max(distance, EPSILON) for distance in below])
        found.append(rows)
    return found


@pytest.mark.parametrize(
    ("subject", "method"),
    [
        (undecided(), Product()),
        (undecided(), Jittered()),
        (wild("regression"), Product()),
        (wild("tokens"), Product()),
    ],
)
def test_each_is_its_definition(subject, method):
    expected = literal(subject, method, 3, samples=4, radius=0.05)
    cell = evidence(subject, method, seed=3)
    for place, metric in enumerate(EVERY):
        found = metric(samples=4, radius=0.05, instances=0).measure(cell)
        for row, values in enumerate(expected):
            worst = max((value[place] for value in values), default=np.nan)
            assert float(found[row]) == pytest.approx(np.log10(worst), abs=2e-3, nan_ok=True)


def test_some_neighbours_of_the_undecided_change_their_class():
    kept = [len(rows) for rows in literal(undecided(), StandIn("constant"), 0, samples=4, radius=0.05)]
    assert max(kept) == 4
    assert 0 < min(kept) < 4


def quantus(x, xs, e_x, e_xs, changed, eps_min=1e-6):
    """Quantus 0.6, metrics/robustness/relative_input_stability.py: the objective and the max over samples."""
    worst = []
    for near, e_near, flips in zip(xs, e_xs, changed, strict=True):
        nominator = np.linalg.norm((e_x - e_near) / (e_x + (e_x == 0) * eps_min), axis=(-1, -2))
        denominator = np.linalg.norm((x - near) / (x + (x == 0) * eps_min), axis=(-1, -2))
        denominator += (denominator == 0) * eps_min
        ris = nominator / denominator
        ris[flips] = np.nan
        worst.append(ris)
    return np.max(worst, axis=0)


def test_one_neighbour_of_another_class_undoes_quantus_and_not_us():
    subject, method = undecided(), Product()
    cell = evidence(subject, method)
    ours = RelativeInputStability(samples=4, radius=0.05, instances=0).measure(cell)
    near = next(value for key, value in cell.shared.cache.items() if key[0] == "neighbours")
    maps = cell.get(next(key for key, _ in cell.cache.items() if key[0] == "neighbours"), None)
    maps = maps.double().view(5, 7, 9, 3).numpy()
    inputs = near.inputs.double().numpy()
    theirs = quantus(inputs[0], inputs[1:], maps[0], maps[1:], ~near.kept.numpy())
    whole = near.kept.all(0).numpy()
    assert not whole.all()
    assert np.isnan(theirs[~whole]).all()
    assert not ours.isnan().any()
    # without a flip both say the same, but for what ε does to the smallest values
    assert np.allclose(np.log10(theirs[whole]), ours.numpy()[whole], atol=0.06)


def test_the_share_that_is_kept_is_shown_beside_it():
    subject = undecided()
    share = NeighboursKept(samples=4, radius=0.05, instances=0).measure(evidence(subject, StandIn("constant")))
    expected = [len(rows) / 4 for rows in literal(subject, StandIn("constant"), 0, samples=4, radius=0.05)]
    assert share.tolist() == pytest.approx(expected)
    assert 0 < share.mean() < 1


@pytest.mark.parametrize("metric", EVERY)
def test_an_explanation_that_never_changes_has_the_least_value(metric):
    cell = evidence(wild("regression"), StandIn("constant"))
    assert metric().measure(cell).eq(-6).all()
    assert metric(epsilon=1e-3).measure(cell).eq(-3).all()


def test_without_a_neighbour_of_the_same_class_there_is_no_value():
    class Edge(torch.nn.Module):
        """Says class 0 of what was given, and class 1 of anything else."""

        def __init__(self, inputs):
            super().__init__()
            self.known = inputs
            self.head = torch.nn.Linear(1, 2, bias=False)

        def forward(self, inputs):
            here = (inputs[:, None] == self.known[None, :, : inputs.shape[1]]).flatten(2).all(2).any(1)
            return self.head(torch.where(here, 1.0, -1.0)[:, None])

    subject = wild("classification")
    batch = replace(subject.batch, lengths=torch.full((7,), 9))
    subject = Subject(Edge(batch.inputs), batch, subject.reference)
    cell = evidence(subject, StandIn("random"))
    for metric in EVERY:
        assert metric().measure(cell).isnan().all()


def test_zeros_and_signs_divide_by_no_zero():
    subject = wild("regression")
    inputs = subject.batch.inputs.clone()
    inputs[:, 0] = 0.0
    inputs[:, 1] = -EPSILON  # a sum of x and ε, as some implementations take it, is 0 here
    batch = replace(subject.batch, inputs=inputs)
    subject = Subject(subject.model, batch, subject.reference, outputs_are="values")
    for metric in EVERY:
        found = metric().measure(evidence(subject, Product()))
        assert found.isfinite().all()


def test_what_has_no_state_to_read_has_no_representation():
    subject = wild("classification")
    plain = replace(subject, model=PredictFunction(lambda inputs: inputs[:, 0, :2], "a function"))
    occlusion = build("method", "occlusion")
    metric = RelativeRepresentationStability()
    assert metric.applicable(occlusion, plain) == "the model has no linear layer that reads one state"
    assert metric.applicable(occlusion, subject) == ""
    assert RelativeOutputStability().applicable(occlusion, plain) == ""


@pytest.mark.parametrize("metric", EVERY)
@pytest.mark.parametrize("parameters", [{"radius": 0.0}, {"epsilon": 0.0}])
def test_parameters_that_mean_nothing_are_refused(metric, parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        metric(**parameters)
