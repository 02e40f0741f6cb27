"""Metrics of single features and random subsets against their definitions; what reference libraries get wrong."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_literal import KINDS, Fixed, changed, features_of, outputs, sign, subject_of
from scipy import stats

from xrnnbench.errors import ParameterError
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.faithfulness.infidelity import ExplainedEffect, FaithfulnessCorrelation, Infidelity, SensitivityN
from xrnnbench.metrics.faithfulness.single_features import FaithfulnessEstimate, MonotonicityCorrelation
from xrnnbench.metrics.removal import effects
from xrnnbench.metrics.removal.effects import SubsetSampling
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.interventions.base import intervention
from xrnnbench.tasks.subject import Subject

BYS = ("reference", "mean", "marginal:draws=3", "delete")
MASKS, LEVELS = 12, 3


def said(subject, granularity, seed=5):
    shape = subject.shape if granularity == "cell" else subject.shape[:2]
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def level(values, by):
    return "step" if values.dim() == 2 or by == "delete" else "cell"


def flat(values, granularity):
    return (values.sum(2) if granularity == "step" and values.dim() == 3 else values).flatten(1)


def effects_of(subject, row, gone, granularity, by):
    """Return s·(f(x) − f(x without some features)) for each draw of the intervention."""
    target = int(subject.target[row])
    whole = outputs(subject, changed(subject, row, [], granularity))[target]
    others = ["delete"] if by == "delete" else [view.reference[row] for view in intervention(by).views(subject)]
    found = [outputs(subject, changed(subject, row, gone, granularity, other))[target] for other in others]
    return [sign(subject, row) * float(whole - score) for score in found]


def literal_subsets(subject, values, by, draw, *, signed=True):
    """Yield each sequence's sums and effects of the drawn subsets, and their sizes."""
    granularity = level(values, by)
    spoken = flat(values, granularity)
    for row in range(len(subject)):
        n = features_of(subject, row, granularity)
        sums, deltas, sizes = [], [], []
        for mask in draw.subsets(n, torch.arange(draw.masks)):
            gone = mask.nonzero().flatten().tolist()
            sums.append(float(spoken[row, gone].sum()) * (sign(subject, row) if signed else 1))
            deltas.append(float(np.mean(effects_of(subject, row, gone, granularity, by))))
            sizes.append(len(gone))
        yield row, np.array(sums), np.array(deltas), np.array(sizes)


def correlation(left, right):
    if np.ptp(right) < 1e-12:
        return math.nan
    return 0.0 if np.ptp(left) < 1e-12 else float(np.corrcoef(left, right)[0, 1])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("granularity", ["step", "cell"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.pairwise
def test_subset_metrics_are_their_definitions(kind, granularity, by, signed):
    subject = subject_of(kind)
    values = said(subject, granularity)
    cell = evidence(subject, Fixed(values=values, is_signed=signed))
    given_ = {"by": by, "masks": MASKS, "levels": LEVELS}
    found = {
        "scaled": Infidelity(**given_).measure(cell),
        "plain": Infidelity(**given_, scaled=False).measure(cell),
        "share": ExplainedEffect(**given_).measure(cell),
        "correlation": FaithfulnessCorrelation(**given_).measure(cell),
        "n": SensitivityN(**given_).measure(cell),
    }
    draw = SubsetSampling(by, MASKS, LEVELS)
    for row, sums, deltas, sizes in literal_subsets(subject, values, by, draw, signed=signed):
        beta = max(0.0, (sums * deltas).mean() / (sums**2).mean())
        assert float(found["plain"][row]) == pytest.approx(((sums - deltas) ** 2).mean(), rel=1e-9)
        assert float(found["scaled"][row]) == pytest.approx(((beta * sums - deltas) ** 2).mean(), rel=1e-9)
        share = 1 - ((beta * sums - deltas) ** 2).mean() / (deltas**2).mean()
        assert float(found["share"][row]) == pytest.approx(share, abs=1e-9)
        assert float(found["correlation"][row]) == pytest.approx(correlation(sums, deltas), abs=1e-9, nan_ok=True)
        each = [correlation(sums[sizes == size], deltas[sizes == size]) for size in sorted(set(sizes))]
        defined = [value for value in each if not math.isnan(value)]
        expected = np.mean(defined) if defined else math.nan
        assert float(found["n"][row]) == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("granularity", ["step", "cell"])
@pytest.mark.parametrize("kind", ["logits", "values"])
def test_single_feature_metrics_are_their_definitions(kind, granularity, by):
    subject = subject_of(kind)
    values = said(subject, granularity)
    cell = evidence(subject, Fixed(values=values))
    estimate = FaithfulnessEstimate(by=by).measure(cell)
    ranks = MonotonicityCorrelation(by=by).measure(cell)
    features = level(values, by)
    spoken = flat(values, features)
    for row in range(len(subject)):
        n = features_of(subject, row, features)
        each = [effects_of(subject, row, [feature], features, by) for feature in range(n)]
        own = spoken[row, :n].numpy() * sign(subject, row)
        deltas = np.array([np.mean(draws) for draws in each])
        squares = [float(np.mean(np.square(draws))) for draws in each]
        assert float(estimate[row]) == pytest.approx(correlation(own, deltas), abs=1e-9, nan_ok=True)
        if n == 1:
            assert ranks[row].isnan()
        else:
            assert float(ranks[row]) == pytest.approx(stats.spearmanr(np.abs(own), squares).statistic, abs=1e-9)


def test_of_long_sequences_so_many_features_are_drawn():
    subject = subject_of("logits", (30, 7), features=3)
    values = said(subject, "cell")
    found = FaithfulnessEstimate(features=25).measure(evidence(subject, Fixed(values=values)))
    probe = effects.single_effects(evidence(subject, Fixed(values=values)), "reference", 25)
    assert probe.valid.sum(1).tolist() == [25, 21]
    drawn = probe.feature[0].tolist()
    assert drawn == sorted(set(drawn))
    deltas = [effects_of(subject, 0, [feature], "cell", "reference")[0] for feature in drawn]
    assert float(found[0]) == pytest.approx(correlation(values[0].flatten()[drawn].numpy(), np.array(deltas)), abs=1e-9)


def test_model_runs_do_not_depend_on_the_method():
    subject = subject_of("logits")
    shared = Probes(subject)
    metrics = [
        *(Infidelity(), ExplainedEffect(), FaithfulnessCorrelation(), SensitivityN()),
        *(FaithfulnessEstimate(), MonotonicityCorrelation()),
    ]
    before = subject.cost.copy()
    for metric in metrics:
        metric.measure(evidence(subject, StandIn("random"), shared=shared))
    n = int(subject.features("cell").sum())
    assert subject.cost.since(before).forward == 160 * len(subject) + n
    before = subject.cost.copy()
    for metric in metrics:
        metric.measure(evidence(subject, StandIn("random"), seed=1, shared=shared))
    assert subject.cost.since(before).forward == 0


def test_features_that_do_nothing_are_tied_however_their_effects_are_rounded():
    """What a dead feature leaves is a unit or two in the last place of the output, and on another processor another."""

    class Rounded(torch.nn.Module):
        def forward(self, inputs):
            x = inputs[:, :, 0]
            said = 2 * x[:, 0] + x[:, 1]  # 3, whose last place is worth 2.4e-7
            last = torch.stack([x[:, 2], -x[:, 3], 3 * x[:, 4]], 1).sum(1) * 2.4e-7
            return (said + last)[:, None]

    inputs = torch.ones(1, 5, 1)
    batch = Batch(inputs, torch.tensor([5]), torch.zeros(1))
    subject = Subject(Rounded(), batch, torch.zeros_like(inputs), outputs_are="values")
    said = torch.tensor([[5.0, 4.0, 2.0, 1.0, 3.0]])
    found = MonotonicityCorrelation().measure(evidence(subject, Fixed(values=said)))
    assert subject.score.dtype == torch.float32
    probe = effects.single_effects(evidence(subject, Fixed(values=said)), "reference", 5)
    assert len(probe.effect.abs().unique()) > 3  # as they come, they are not
    expected = stats.spearmanr([5, 4, 2, 1, 3], [4, 1, 0, 0, 0]).statistic
    assert float(found) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 12))
def test_subsets_are_of_their_sizes(n, masks, levels):
    draw = SubsetSampling("reference", masks, min(levels, masks))
    found, sizes = draw.subsets(n, torch.arange(masks)), draw.sizes(n)
    assert found.shape == (masks, n)
    assert found.sum(1).tolist() == sizes.tolist()
    assert sizes.tolist() == sorted(sizes.tolist())
    assert int(sizes.min()) >= 1
    assert int(sizes.max()) <= max(1, n - 1)
    some = torch.arange(masks).flip(0)[:3]
    assert torch.equal(found[some], effects._draw_subsets(sizes, n, some))  # kept or drawn anew, the same
    single = SubsetSampling("reference", masks, 1, size=5)
    assert single.subsets(n, torch.arange(masks)).sum(1).tolist() == [min(5, n)] * masks


def test_masks_too_many_to_be_kept_are_drawn_part_by_part(monkeypatch):
    subject = subject_of("logits")
    metrics = [SensitivityN(), ExplainedEffect(by="delete")]
    kept = [metric.measure(evidence(subject, StandIn("random"))) for metric in metrics]
    monkeypatch.setattr(effects, "_KEPT", 1)
    for metric, before in zip(metrics, kept, strict=True):
        assert torch.allclose(metric.measure(evidence(subject, StandIn("random"))), before, equal_nan=True)


def test_each_feature_is_drawn_equally_often():
    counts = SubsetSampling("reference", 4000, 8).subsets(10, torch.arange(4000)).double().mean(0)
    expected = SubsetSampling("reference", 4000, 8).sizes(10).double().mean() / 10
    assert (counts - expected).abs().max() < 4 * math.sqrt(0.25 / 4000)


def test_the_truth_of_an_additive_model_explains_every_effect():
    for name in ("regression", "classification", "tokens"):
        subject = specimen(name)
        cell = evidence(subject, StandIn("truth"))
        share = ExplainedEffect().measure(cell)
        assert share[~share.isnan()].min() > 1 - 1e-4
        assert Infidelity(scaled=False).measure(cell).max() < 1e-6
        correlated = FaithfulnessEstimate().measure(cell)
        assert correlated[~correlated.isnan()].min() > 1 - 1e-4


def test_reference_bug_the_opposite_of_the_truth_scores_as_the_truth():
    """The authors' optimal β = E[Δ ΣΦ]/E[(ΣΦ)²] may be negative, and undoes the wrong sign."""
    subject = specimen("regression")
    truth, opposite = (evidence(subject, StandIn(says)) for says in ("truth", "opposite"))
    found = effects.subset_effects(opposite, SubsetSampling("reference", 160, 8))
    said_, effect = found.attribution_sums, found.effect
    beta = (said_ * effect).mean(1) / said_.square().mean(1)
    theirs = (beta[:, None] * said_ - effect).square().mean(1)
    assert beta.max() < 0
    assert theirs.max() < 1e-6
    ours = Infidelity().measure(opposite)
    assert torch.allclose(ours, effect.square().mean(1))
    assert Infidelity().measure(truth).max() < 1e-6


def test_a_score_that_nothing_moves_is_undefined():
    subject = specimen("classification")
    with torch.no_grad():
        subject.model.head.weight.zero_()
    cell = evidence(subject, StandIn("random"))
    for metric in (ExplainedEffect(), FaithfulnessCorrelation(), SensitivityN(), FaithfulnessEstimate()):
        assert metric.measure(cell).isnan().all()
    assert Infidelity().measure(cell).max() == 0


def test_a_constant_map_correlates_nothing():
    subject = subject_of("logits")
    cell = evidence(subject, StandIn("constant"))
    for metric in (SensitivityN(), FaithfulnessEstimate()):
        assert metric.measure(cell)[:3].tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (Infidelity, {"masks": 0}),
        (Infidelity, {"levels": 0}),
        (SensitivityN, {"masks": 4, "levels": 5}),
        (FaithfulnessCorrelation, {"size": -1}),
        (FaithfulnessEstimate, {"features": 0}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(make, parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        make(**parameters)
