"""Curve metrics against their definitions, under every intervention; what the literature's own code gets wrong."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from metric_literal import (
    KINDS,
    LENGTHS,
    Fixed,
    changed,
    evidence_of,
    falling,
    features_of,
    grid,
    outputs,
    sign,
    subject_of,
)

from xrnnbench.errors import ContractError, ParameterError, UnknownNameError
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.faithfulness.comprehensiveness import Comprehensiveness, LogOdds, LogProbability, Sufficiency
from xrnnbench.metrics.faithfulness.decision_flips import DecisionFlip, FlipFraction, NeverFlips
from xrnnbench.metrics.faithfulness.deletion_insertion import Abpc, Aopc, DeletionAuc, InsertionAuc, NormalisedDeletion
from xrnnbench.metrics.faithfulness.monotonicity import Cpd, Cpp, Monotonicity
from xrnnbench.metrics.removal import curves
from xrnnbench.metrics.removal.outcomes import outcome_of
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.interventions.base import intervention
from xrnnbench.tasks.subject import Subject

POINTS = 4
BYS = ("reference", "mean", "marginal:draws=3", "delete")


def said(subject, granularity, seed=3):
    """Return attributions without ties."""
    shape = subject.shape if granularity == "cell" else subject.shape[:2]
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def replacements(subject, row, by):
    """Return what stands for absence in each draw."""
    if by == "delete":
        return ["delete"]
    return [view.reference[row] for view in intervention(by).views(subject)]


def literal(subject, values, *, by="reference", rank="evidence", points=POINTS, signed=True):
    """Yield for each sequence its grid, and the outputs [K] along the curves of removal and of insertion, by draw."""
    granularity = "step" if values.dim() == 2 or by == "delete" else "cell"
    flat = (values.sum(2) if granularity == "step" and values.dim() == 3 else values).flatten(1)
    for row in range(len(subject)):
        n = features_of(subject, row, granularity)
        ranked = flat[row]
        if signed:
            ranked = ranked.abs() if rank == "size" else ranked * sign(subject, row)
        order = falling(ranked, n)
        counts = grid(n, points)
        removed, kept = [], []
        for other in replacements(subject, row, by):
            removed.append([outputs(subject, changed(subject, row, order[:k], granularity, other)) for k in counts])
            kept.append([outputs(subject, changed(subject, row, order[k:], granularity, other)) for k in counts])
        yield row, n, order, counts, removed, kept


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def area(scores, counts):
    n = counts[-1]
    pairs = range(len(counts) - 1)
    return sum((scores[j] + scores[j + 1]) / 2 * (counts[j + 1] - counts[j]) / n for j in pairs)


def scores_of(subject, row, curve):
    return [evidence_of(subject, row, found) for found in curve]


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("granularity", ["step", "cell"])
@pytest.mark.parametrize("kind", KINDS)
def test_areas_are_their_definitions(kind, granularity, by):
    subject = subject_of(kind)
    values = said(subject, granularity)
    cell = evidence(subject, Fixed(values=values))
    found = {
        cls: cls(points=POINTS, by=by).measure(cell) for cls in (DeletionAuc, InsertionAuc, Aopc, Abpc, Monotonicity)
    }
    for row, _, _, counts, removed, kept in literal(subject, values, by=by):
        falls = [scores_of(subject, row, curve) for curve in removed]
        rises = [scores_of(subject, row, curve) for curve in kept]
        deletion, insertion = (mean(area(curve, counts) for curve in sides) for sides in (falls, rises))
        assert float(found[DeletionAuc][row]) == pytest.approx(deletion, abs=1e-12)
        assert float(found[InsertionAuc][row]) == pytest.approx(insertion, abs=1e-12)
        assert float(found[Abpc][row]) == pytest.approx(insertion - deletion, abs=1e-12)
        aopc = mean(mean(curve[0] - score for score in curve) for curve in falls)
        assert float(found[Aopc][row]) == pytest.approx(aopc, abs=1e-12)
        # adding the least important first is removal, read from its end
        steady = mean(mean(after <= before for before, after in itertools.pairwise(c)) for c in falls)
        assert float(found[Monotonicity][row]) == pytest.approx(steady, abs=1e-12)


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("cls", [NormalisedDeletion, DeletionAuc])
@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_drawn_as_they_are(kind, cls, by):
    subject = subject_of(kind)
    values = said(subject, "step")
    metric = cls(points=POINTS, by=by)
    shown = metric.sketch(evidence(subject, Fixed(values=values)))
    shares = np.linspace(0, 1, metric.profiled)
    for row, n, _, counts, removed, _ in literal(subject, values, by=by):
        drawn = [np.interp(shares, np.array(counts) / n, scores_of(subject, row, curve)) for curve in removed]
        np.testing.assert_allclose(shown[row].numpy(), np.mean(drawn, axis=0), atol=1e-12)


def test_a_curve_that_is_not_one_is_refused():
    @dataclass(frozen=True)
    class Short(DeletionAuc):
        def profile(self, evidence):
            return super().profile(evidence)[:, 1:]

    @dataclass(frozen=True)
    class Open(DeletionAuc):
        def profile(self, evidence):
            return super().profile(evidence) * math.nan

    for cls in (Short, Open):
        with pytest.raises(ContractError, match="finite curve of 21 points"):
            cls().sketch(evidence(specimen("regression"), StandIn()))


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_area_between_curves_is_least_minus_most_relevant_first(kind, by):
    """Computed from removals of the least relevant first, which the metric never runs."""
    subject = subject_of(kind)
    values = said(subject, "step")
    found = Abpc(points=POINTS, by=by).measure(evidence(subject, Fixed(values=values)))
    for row, n, order, counts, removed, _ in literal(subject, values, by=by):
        least = order[::-1]
        gone = [n - k for k in reversed(counts)]
        areas = []
        for draw, other in enumerate(replacements(subject, row, by)):
            lerf = [outputs(subject, changed(subject, row, least[:k], "step", other)) for k in gone]
            areas.append(
                area(scores_of(subject, row, lerf), gone) - area(scores_of(subject, row, removed[draw]), counts)
            )
        assert float(found[row]) == pytest.approx(mean(areas), abs=1e-12)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("rank", ["size", "evidence"])
@pytest.mark.parametrize("kind", KINDS)
def test_cumulative_differences_are_their_definitions(kind, rank, signed):
    subject = subject_of(kind)
    values = said(subject, "cell")
    cell = evidence(subject, Fixed(values=values, is_signed=signed))
    found = [cls(points=POINTS, rank=rank).measure(cell) for cls in (Cpd, Cpp)]
    for row, _, _, _, removed, kept in literal(subject, values, rank=rank, signed=signed):
        for metric, (curve,) in zip(found, (removed, kept), strict=True):
            scaled = [outs.softmax(0) if kind == "logits" else outs for outs in curve]
            way = sum(float((a - b).abs().sum()) for a, b in itertools.pairwise(scaled))
            assert float(metric[row]) == pytest.approx(way, abs=1e-12)


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_decisions_are_their_definitions(kind, by):
    subject = subject_of(kind, seed=1)
    values = said(subject, "step")
    cell = evidence(subject, Fixed(values=values))
    first, fraction, never = (
        metric.measure(cell)
        for metric in (DecisionFlip(by=by), FlipFraction(points=POINTS, by=by), NeverFlips(points=POINTS, by=by))
    )
    flips = 0
    for row, n, order, counts, removed, _ in literal(subject, values, by=by):
        target = int(subject.target[row])
        others = replacements(subject, row, by)
        alone = [
            outputs(subject, changed(subject, row, order[:1], "step", other)).argmax() != target for other in others
        ]
        assert float(first[row]) == pytest.approx(mean(map(float, alone)))
        places = [
            [k / n for k, outs in zip(counts, curve, strict=True) if outs.argmax() != target] for curve in removed
        ]
        assert float(fraction[row]) == pytest.approx(mean(min(place, default=1.0) for place in places))
        assert float(never[row]) == pytest.approx(mean(float(not place) for place in places))
        flips += sum(map(len, places))
    assert flips  # something was tested


def test_decisions_of_a_model_that_does_not_decide_for_the_explained_class_are_undefined():
    subject = subject_of("logits")
    other = Subject(subject.model, subject.batch, subject.reference, target=(subject.target + 1) % 3)
    cell = evidence(other, Fixed(values=said(other, "step")))
    for metric in (DecisionFlip(), FlipFraction(), NeverFlips()):
        assert metric.measure(cell).isnan().all()


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_log_scores_are_their_definitions(kind):
    subject = subject_of(kind)
    values = said(subject, "cell")
    cell = evidence(subject, Fixed(values=values))
    odds, log = (
        metric.measure(cell) for metric in (LogOdds(fractions=(0.2, 0.5)), LogProbability(fractions=(0.2, 0.5)))
    )
    for row, length in enumerate(LENGTHS):
        n, target = 2 * length, int(subject.target[row])
        order = falling(values[row].flatten(), n)
        changes = []
        for gone in ([], *(order[: max(1, math.ceil(p * n))] for p in (0.2, 0.5))):
            found = outputs(subject, changed(subject, row, gone, "cell"))
            p = float((found.softmax(0) if kind == "logits" else found)[target])
            changes.append((math.log(p), math.log(p / (1 - p))))
        whole, *without = changes
        assert float(log[row]) == pytest.approx(mean(c[0] for c in without) - whole[0], abs=1e-12)
        assert float(odds[row]) == pytest.approx(mean(c[1] for c in without) - whole[1], abs=1e-12)


@pytest.mark.parametrize("by", BYS[1:])
@pytest.mark.parametrize("kind", ["logits", "values"])
def test_erasure_and_chance_follow_the_intervention(kind, by):
    subject = subject_of(kind)
    values = said(subject, "cell")
    cell = evidence(subject, Fixed(values=values))
    without = Comprehensiveness(by=by, fractions=(0.25, 0.5)).measure(cell)
    only = Sufficiency(by=by, fractions=(0.25, 0.5)).measure(cell)
    granularity = "step" if by == "delete" else "cell"
    for row, n, order, *_ in literal(subject, values, by=by):
        whole = evidence_of(subject, row, outputs(subject, changed(subject, row, [], granularity)))
        tops = [max(1, math.ceil(p * n)) for p in (0.25, 0.5)]
        others = replacements(subject, row, by)
        for measured, gone in ((without, [order[:k] for k in tops]), (only, [order[k:] for k in tops])):
            found = [
                evidence_of(subject, row, outputs(subject, changed(subject, row, features, granularity, other)))
                for features in gone
                for other in others
            ]
            assert float(measured[row]) == pytest.approx(whole - mean(found), abs=1e-12)
    constant = NormalisedDeletion(by=by).measure(evidence(subject, StandIn("constant")))
    assert constant[~constant.isnan()].abs().max() < 1e-12
    assert NormalisedDeletion(by=by).measure(cell)[:3].isfinite().all()


def test_log_odds_hold_where_probabilities_are_one():
    """A probability of 1 − 1e-12 is 1 in float32: its log-odds are infinite there, and clipped by others."""
    subject = subject_of("logits")
    raw = torch.tensor([[[40.0, 0.0, 0.0], [30.0, 0.0, 0.0]]])
    subject = replace(subject, target=torch.zeros(4, dtype=torch.int64))
    found = outcome_of(subject, raw, torch.tensor([0]), torch.ones(4).double())
    assert found.log_odds.tolist() == [pytest.approx([40 - math.log(2), 30 - math.log(2)])]
    assert raw[0].softmax(1)[:, 0].tolist() == [1.0, 1.0]
    clipped = torch.tensor(1.0).clamp(1e-7, 1 - 1e-7)
    assert float((clipped / (1 - clipped)).log()) < 17


def test_a_zero_probability_counts_as_the_least_there_is():
    subject = subject_of("probabilities")
    raw = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    subject = Subject(
        subject.model,
        subject.batch,
        subject.reference,
        target=torch.zeros(4, dtype=torch.int64),
        outputs_are="probabilities",
    )
    found = outcome_of(subject, raw, torch.tensor([0]), torch.ones(4).double())
    assert found.log_probability[0].tolist() == pytest.approx([math.log(2.0**-126), 0.0], abs=1e-12)
    assert found.log_odds.isfinite().all()


def both(first_pays):
    """Return a model of two steps, of whose features the second only counts beside the first."""

    class Both(torch.nn.Module):
        def forward(self, inputs):
            x = inputs[:, :, 0]
            return torch.stack([torch.zeros(len(x)), first_pays * x[:, 0] + 3 * x[:, 0] * x[:, 1] + x[:, 2] - 1.5], 1)

    inputs = torch.ones(1, 3, 1)
    return Subject(Both(), Batch(inputs, torch.tensor([3]), torch.ones(1, dtype=torch.int64)), torch.zeros_like(inputs))


def test_where_features_interact_the_better_order_is_told_from_the_worse():
    """What the kit cannot check on additive models: see ``needs_interaction``."""
    subject = both(1.0)
    good, bad = (evidence(subject, Fixed(values=torch.tensor([v]))) for v in ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]))
    assert float(FlipFraction().measure(good)) < float(FlipFraction().measure(bad))
    assert float(DecisionFlip().measure(good)) == 1.0
    assert float(DecisionFlip().measure(bad)) == 0.0


def test_on_additive_models_monotonicity_and_cumulative_differences_are_blind():
    subject = specimen("regression", (6, 5))
    for metric in (Monotonicity(points=60), Cpd(points=60)):
        values = [
            metric.measure(evidence(subject, StandIn(says))) for says in ("truth", "opposite", "random", "inverse")
        ]
        for other in values[1:]:
            assert torch.allclose(values[0], other, atol=1e-3)
    grouped = [Cpd(points=3).measure(evidence(subject, StandIn(says))).mean() for says in ("truth", "random")]
    assert grouped[0] < grouped[1]  # higher is better, and chance wins


def test_monotonicity_of_all_steps_is_zero_where_their_share_is_not():
    """Asked whether every step rises, one exception of twenty is as bad as twenty."""
    subject = specimen("classification")
    cell = evidence(subject, StandIn("truth"))
    share, every = Monotonicity().measure(cell), Monotonicity(form="all").measure(cell)
    long = subject.batch.lengths >= 4
    assert not every[long].any()
    assert share[long].min() > 0.3


def test_nothing_depends_on_how_many_instances_are_done_at_once(monkeypatch):
    subject = subject_of("logits")
    metrics = [DeletionAuc(), Abpc(by="marginal:draws=2"), Cpd(), FlipFraction(by="delete"), LogOdds(), Monotonicity()]
    together = [metric.measure(evidence(subject, StandIn("random"))) for metric in metrics]
    monkeypatch.setattr(curves, "_VALUES_AT_ONCE", 1)
    alone = [metric.measure(evidence(subject, StandIn("random"))) for metric in metrics]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-12, equal_nan=True)


def test_views_are_made_once_for_all_methods():
    subject = subject_of("logits")
    shared = Probes(subject)
    made = []
    cls = type(intervention("marginal"))
    plain = cls.views
    cls.views = lambda self, of: made.append(1) or plain(self, of)
    try:
        for seed in range(3):
            DeletionAuc(by="marginal").measure(evidence(subject, StandIn("random"), seed=seed, shared=shared))
            Comprehensiveness(by="marginal").measure(evidence(subject, StandIn("random"), seed=seed, shared=shared))
    finally:
        cls.views = plain
    assert len(made) == 1


@pytest.mark.parametrize("name", ["regression", "classification", "tokens"])
def test_every_metric_names_its_intervention_and_refuses_what_does_not_fit(name):
    subject = specimen(name)
    metric = DeletionAuc(by="pad")
    assert metric.intervention == "pad"
    reason = metric.applicable(StandIn(), subject)
    assert reason == ("" if name == "tokens" else "numbers have no padding token: remove by zero or mean")
    log = LogOdds().applicable(StandIn(), subject)
    assert log == ("the outputs are no scores of classes" if name == "regression" else "")


@pytest.mark.parametrize(
    ("make", "parameters", "error"),
    [
        (DeletionAuc, {"points": 0}, ParameterError),
        (InsertionAuc, {"breaks": 0}, ParameterError),
        (Aopc, {"by": "nought"}, UnknownNameError),
        (Abpc, {"by": "marginal:draws=0"}, ParameterError),
        (DecisionFlip, {"breaks": 0}, ParameterError),
        (LogOdds, {"fractions": (0.0,)}, ParameterError),
        (Cpd, {"points": -1}, ParameterError),
    ],
)
def test_parameters_that_mean_nothing_are_refused(make, parameters, error):
    with pytest.raises(error):
        make(**parameters)
