"""Gini index and entropy of attributions against their literal definitions."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.complexity import AttributionEntropy, Gini
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.plugins import configure


def literal_gini(values):
    """Return the Gini index: the mean difference of two sizes over twice their mean."""
    sizes = [abs(value) for value in values]
    if not sum(sizes):
        return 0.0
    differences = sum(abs(left - right) for left in sizes for right in sizes)
    return differences / (2 * len(sizes) * sum(sizes))


def hurley_rickard(values):
    """Return the Gini index as it is written in the paper."""
    ordered, n = sorted(abs(value) for value in values), len(values)
    total = sum(ordered)
    return 1 - 2 * sum(size / total * (n - k + 0.5) / n for k, size in enumerate(ordered, 1))


def literal_entropy(values, *, normalised):
    sizes = [abs(value) for value in values]
    total, n = sum(sizes), len(sizes)
    shares = [size / total if total else 1 / n for size in sizes]
    entropy = -sum(share * math.log(share) for share in shares if share)
    return entropy / math.log(n) if normalised else entropy


def told(values, lengths, *, signed=True):
    """Return evidence of attributions float[B, T] or float[B, T, 3]."""
    subject = specimen("tokens" if values.dim() == 2 else "regression", lengths)
    return replace(evidence(subject, StandIn("constant")), attribution=Attribution(values, signed))


def one(metric, values):
    return float(metric.measure(told(torch.tensor([values], dtype=torch.float64), (len(values),))))


FIGURES = [
    (Gini(), literal_gini),
    (AttributionEntropy(), lambda values: literal_entropy(values, normalised=True)),
    (AttributionEntropy(normalised=False), lambda values: literal_entropy(values, normalised=False)),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=12))
def test_the_figures_are_their_definitions(values):
    for metric, literal in FIGURES:
        assert one(metric, values) == pytest.approx(literal(values), abs=1e-9)


def test_the_two_forms_of_the_gini_index_are_one():
    values = [0.5, -3.0, 2.0, 0.0, 1.0, 1.0]
    assert one(Gini(), values) == pytest.approx(hurley_rickard(values), abs=1e-12)
    # Hurley & Rickard's own example of a sparse vector: 1 − 1/n for a single coefficient
    assert one(Gini(), [0, 0, 7.0, 0]) == pytest.approx(0.75, abs=1e-12)


def test_each_sequence_alone_over_its_valid_cells():
    subject = specimen("regression")
    cell = evidence(subject, StandIn("random"))
    for metric, literal in FIGURES:
        measured = metric.measure(cell)
        for row, length in enumerate(subject.batch.lengths.tolist()):
            values = cell.attribution.values[row, :length].flatten().tolist()
            assert float(measured[row]) == pytest.approx(literal(values), abs=1e-9)


@pytest.mark.parametrize("scale", [1e-320, 1e-30, 1.0, 1e30, 1.7e308])
def test_constants_zeros_and_single_features(scale):
    for n in (2, 3, 50):
        flat, single, nothing = [scale] * n, [0.0] * (n - 1) + [-scale], [0.0] * n
        assert [one(Gini(), values) for values in (flat, nothing)] == pytest.approx([0, 0], abs=1e-12)
        assert one(Gini(), single) == pytest.approx(1 - 1 / n, abs=1e-12)
        found = [one(AttributionEntropy(), values) for values in (flat, nothing, single)]
        assert found == pytest.approx([1, 1, 0], abs=1e-12)
        found = [one(AttributionEntropy(normalised=False), values) for values in (flat, nothing, single)]
        assert found == pytest.approx([math.log(n), math.log(n), 0], abs=1e-12)


def test_one_feature_says_nothing():
    for metric, _ in FIGURES:
        values = metric.measure(told(torch.tensor([[3.0, 0], [3, 1]]), (1, 2)))
        assert values.isnan().tolist() == [True, False]


def test_padding_is_no_feature():
    values = torch.tensor([[3.0, -1, 0.5, 0, 0]], dtype=torch.float64)
    for metric, literal in FIGURES:
        subject = specimen("tokens", (3,), padding=2)
        cell = replace(evidence(subject, StandIn("constant")), attribution=Attribution(values, signed=True))
        assert float(metric.measure(cell)) == pytest.approx(literal([3, -1, 0.5]), abs=1e-12)


def test_sign_is_no_matter_and_unsigned_methods_are_read_alike():
    values = torch.tensor([[3.0, -1, 0.5]])
    for metric, _ in FIGURES:
        found = {
            float(metric.measure(told(said, (3,), signed=signed))) for said in (values, -values) for signed in (0, 1)
        }
        assert len(found) == 1


def test_complexity_is_never_ranked_alone():
    """A random map of one feature has the best figures there are, and the truth has not."""
    subject = specimen("regression", (9, 9))
    one_cell = torch.zeros(2, 9, 3)
    one_cell[:, 4, 2] = 1.0
    wrong = replace(evidence(subject, StandIn("constant")), attribution=Attribution(one_cell, signed=True))
    true = evidence(subject, StandIn("truth"))
    assert subject.batch.truth.values[:, 4, 2].tolist() == [0, 0]
    assert Gini().measure(wrong).min() == pytest.approx(1 - 1 / 27)
    assert Gini().measure(true).max() < 0.8
    assert AttributionEntropy().measure(wrong).max() == pytest.approx(0)
    assert AttributionEntropy().measure(true).min() > 0.7
    for metric in (Gini, AttributionEntropy):
        assert "Never rank by it" in metric.page()


def test_specs():
    assert configure(AttributionEntropy, "normalised=false") == AttributionEntropy(normalised=False)
