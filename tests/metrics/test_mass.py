"""Mass accuracy against its literal definition."""

from dataclasses import replace

import pytest
import torch

from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.truth.mass_accuracy import MassAccuracy
from xrnnbench.tasks.data.batch import Truth


def told(subject, values, *, signed=True):
    return replace(evidence(subject, StandIn("constant")), attribution=Attribution(values, signed))


def marked(subject, values, semantics="planted", **options):
    truth = Truth(torch.as_tensor(values), semantics, "the output", **options)
    return replace(subject, batch=replace(subject.batch, truths={"main": truth}))


def literal_mass(values, relevant):
    """Return the share of positive relevance on what is relevant, one feature after the other."""
    inside = total = 0.0
    for value, hit in zip(values, relevant, strict=True):
        total += max(value, 0.0)
        inside += max(value, 0.0) if hit else 0.0
    if not any(relevant):
        return float("nan")
    return inside / total if total else 0.0


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("granularity", ["truth", "step"])
def test_mass_is_its_definition(signed, granularity):
    subject = specimen("regression", (6, 3, 2, 1))
    rng = torch.Generator().manual_seed(3)
    subject = marked(subject, (torch.rand(4, 6, 3, generator=rng) < 0.4) * subject.batch.valid[:, :, None])
    values = torch.randn(4, 6, 3, generator=rng, dtype=torch.float64) * subject.batch.valid[:, :, None]
    measured = MassAccuracy(granularity=granularity).measure(told(subject, values, signed=signed))
    relevant = subject.batch.truth.relevant
    for row, length in enumerate(subject.batch.lengths.tolist()):
        said, hits = values[row, :length], relevant[row, :length]
        if granularity == "step":
            said, hits = said.sum(1), hits.any(1)
        expected = literal_mass(said.flatten().tolist(), hits.flatten().tolist())
        assert float(measured[row]) == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_mass_at_the_edges():
    subject = marked(specimen("tokens", (4,)), [[1.0, 0, 0, 1]])
    for values, expected in (
        ([1.0, 1, 1, 1], 0.5),
        ([0.0, 0, 0, 0], 0.0),
        ([-1.0, -2, -1, -5], 0.0),
        ([3.0, -9, 1, -2], 0.75),
        ([7.0, 0, 0, 0], 1.0),
        ([1e38, 1e38, 1e38, 1e38], 0.5),
        ([1e-42, 0, 0, 0], 1.0),
    ):
        assert float(MassAccuracy().measure(told(subject, torch.tensor([values])))) == pytest.approx(expected)
    huge = torch.full((1, 4), 1.7e308, dtype=torch.float64)
    assert float(MassAccuracy().measure(told(subject, huge))) == pytest.approx(0.5)
    ones = torch.ones(1, 4)
    assert MassAccuracy().measure(told(marked(subject, torch.zeros(1, 4)), ones)).isnan().all()
    assert float(MassAccuracy().measure(told(marked(subject, ones), ones))) == 1.0


def test_mass_of_a_method_by_step_is_shared_by_its_cells():
    subject = marked(specimen("regression", (3,)), torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]))
    assert float(MassAccuracy().measure(told(subject, torch.tensor([[2.0, 1, 1]])))) == pytest.approx(2 / 3 / 4)
