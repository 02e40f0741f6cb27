"""Faithfulness against its definitions, computed in float64 by loops with one model call for each variant."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_literal import KINDS, LENGTHS, Fixed, changed, evidence_of, falling, outputs, subject_of

from xrnnbench.errors import ParameterError
from xrnnbench.methods.controls import greedy_search
from xrnnbench.methods.gradient.gradients import IntegratedGradients
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.faithfulness.completeness import CompletenessGap
from xrnnbench.metrics.faithfulness.comprehensiveness import Comprehensiveness, Sufficiency
from xrnnbench.metrics.faithfulness.decision_flips import DecisionFlip
from xrnnbench.metrics.faithfulness.deletion_insertion import Abpc, Aopc, DeletionAuc, InsertionAuc, NormalisedDeletion
from xrnnbench.metrics.removal import curves
from xrnnbench.metrics.removal.baselines import baselines
from xrnnbench.metrics.removal.curves import counts_of_curve, counts_of_fractions
from xrnnbench.metrics.removal.features import orders, random_orders
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import PredictFunction
from xrnnbench.tasks.subject import Subject

FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)


def literal_score(subject, row, gone, granularity):
    """Return the score on the evidence scale without some features: one call of the model."""
    return evidence_of(subject, row, outputs(subject, changed(subject, row, gone, granularity)))


def literal_area(subject, row, order, granularity, points):
    n = len(order)
    grid = [math.ceil(j * n / points) for j in range(points + 1)] if n > points else list(range(n + 1))
    scores = [literal_score(subject, row, order[:k], granularity) for k in grid]
    return sum((scores[j] + scores[j + 1]) / 2 * (grid[j + 1] - grid[j]) / n for j in range(len(grid) - 1))


def ordered(values, sign, n):
    return falling(sign * values, n)


def drawn(subject, granularity, count):
    """Return the random orders of each sequence as lists."""
    valid = subject.features(granularity)
    found = random_orders(valid, torch.arange(len(subject)), count)
    rows = found.ranks.view(len(subject), count, -1)
    return [[row.argsort().tolist()[: int(valid[i].sum())] for row in rows[i]] for i in range(len(subject))]


@pytest.mark.parametrize("granularity", ["step", "cell"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signed", [True, False])
def test_normalised_deletion_is_its_definition(kind, granularity, signed):
    subject = subject_of(kind)
    shape = subject.shape if granularity == "cell" else subject.shape[:2]
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    metric = NormalisedDeletion(points=4, breaks=3, threshold=1e-6)
    cell = evidence(subject, Fixed(values=values, is_signed=signed))
    measured = metric.measure(cell)
    base = baselines(cell, 4, 3, metric.budget)
    below = (subject.score < subject.reference_score).tolist()
    for row, random_rows in enumerate(drawn(subject, granularity, 3)):
        n = len(random_rows[0])
        sign = -1 if signed and kind == "values" and below[row] else 1
        method = literal_area(subject, row, ordered(values[row].flatten(), sign, n), granularity, 4)
        chance = sum(literal_area(subject, row, order, granularity, 4) for order in random_rows) / 3
        best_order = base.ranks[row].argsort().tolist()[:n]
        best = literal_area(subject, row, best_order, granularity, 4)
        assert float(base.random[row]) == pytest.approx(chance, abs=1e-12)
        assert float(base.best[row]) == pytest.approx(best, abs=1e-12)
        if n == 1:
            assert measured[row].isnan()
        else:
            assert float(measured[row]) == pytest.approx((chance - method) / (chance - best), rel=1e-9)


@pytest.mark.parametrize("granularity", ["step", "cell"])
@pytest.mark.parametrize("kind", KINDS)
def test_erasure_is_its_definition(kind, granularity):
    subject = subject_of(kind)
    shape = subject.shape if granularity == "cell" else subject.shape[:2]
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    cell = evidence(subject, Fixed(values=values))
    removed, kept = Comprehensiveness().measure(cell), Sufficiency().measure(cell)
    below = (subject.score < subject.reference_score).tolist()
    for row, length in enumerate(LENGTHS):
        n = length * (2 if granularity == "cell" else 1)
        order = ordered(values[row].flatten(), -1 if kind == "values" and below[row] else 1, n)
        tops = [max(1, math.ceil(p * n)) for p in FRACTIONS]
        whole = literal_score(subject, row, [], granularity)
        without = [whole - literal_score(subject, row, order[:k], granularity) for k in tops]
        only = [whole - literal_score(subject, row, order[k:], granularity) for k in tops]
        assert float(removed[row]) == pytest.approx(sum(without) / 5, abs=1e-12)
        assert float(kept[row]) == pytest.approx(sum(only) / 5, abs=1e-12)


def test_completeness_gap_is_its_definition():
    subject = subject_of("values")
    values = torch.randn(subject.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    cell = evidence(subject, Fixed(values=values))
    found = CompletenessGap().measure(cell)
    for row, length in enumerate(LENGTHS):
        delta = float(subject.score[row] - subject.reference_score[row])
        gap = abs(float(values[row, :length].sum()) - delta) / max(abs(delta), 1e-3)
        assert float(found[row]) == pytest.approx(gap, rel=1e-9)
    # a difference of less than epsilon counts as epsilon
    wide = CompletenessGap(epsilon=1e6).measure(cell)
    expected = (cell.attribution.values.flatten(1).sum(1) - subject.score + subject.reference_score).abs() / 1e6
    assert torch.allclose(wide, expected)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_best_order_found_is_the_best_there_is_where_contributions_add_up(kind):
    subject = specimen(kind, (2, 1))
    base = baselines(evidence(subject, StandIn("truth")), 20, 8, 1200)
    for row, n in enumerate((6, 3)):
        least = min(literal_area(subject, row, list(order), "cell", 20) for order in itertools.permutations(range(n)))
        assert float(base.best[row]) == pytest.approx(least, abs=1e-5)
    assert NormalisedDeletion().measure(evidence(subject, StandIn("truth"))).tolist() == pytest.approx([1, 1], abs=1e-3)


class _Saturated(torch.nn.Module):
    """tanh of a sum: in float32 the score does not move at all before most of the eight heavy, late steps are gone."""

    def forward(self, inputs, lengths=None):
        weights = torch.cat([torch.linspace(0, 0.01, 32), torch.full((8,), 3.0)]).to(inputs.dtype)
        return (inputs[:, :, 0] * weights).sum(1).tanh()[:, None]


class _Detached(_Saturated):
    def forward(self, inputs, lengths=None):
        return super().forward(inputs.detach())


def _saturated(model):
    inputs = torch.ones(1, 40, 1)
    batch = Batch(inputs, torch.tensor([40]), torch.zeros(1, 1))
    return Subject(model, batch, torch.zeros_like(inputs), outputs_are="values")


def test_where_no_single_removal_moves_the_score_the_best_order_is_that_of_integrated_gradients():
    subject = _saturated(_Saturated())
    cell = evidence(subject, IntegratedGradients())
    base = baselines(cell, 20, 8, 10)
    counts = counts_of_curve(subject.features("cell"), 20)
    heaviest = list(reversed(range(40)))
    best = literal_area(subject, 0, heaviest, "cell", 20)
    assert float(base.best) == pytest.approx(best, rel=1e-5)
    for ranks in greedy_search.removal_ranks(subject, "cell", torch.arange(1), counts, 10):
        assert literal_area(subject, 0, ranks[0].argsort().tolist(), "cell", 20) > best + 0.1
    assert float(NormalisedDeletion(budget=10).measure(cell)) == pytest.approx(1.0)


def test_a_model_without_gradients_is_measured_against_the_other_orders():
    function = PredictFunction(lambda inputs, lengths: _Saturated()(torch.as_tensor(inputs)).numpy(), "mine")
    found = []
    for model in (_Detached(), function):
        subject = _saturated(model)
        base = baselines(evidence(subject, StandIn("constant")), 20, 8, 10)
        chance = [literal_area(subject, 0, order, "cell", 20) for order in drawn(subject, "cell", 8)[0]]
        counts = counts_of_curve(subject.features("cell"), 20)
        searched = [
            literal_area(subject, 0, ranks[0].argsort().tolist(), "cell", 20)
            for ranks in greedy_search.removal_ranks(subject, "cell", torch.arange(1), counts, 10)
        ]
        assert float(base.best) == pytest.approx(min(chance + searched), rel=1e-5)
        found.append(float(base.best))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_random_orders_score_zero_on_average_and_a_constant_map_exactly():
    subject = subject_of("logits", lengths=(12, 9, 7, 5) * 4)
    shared = Probes(subject)
    metric = NormalisedDeletion(points=8)
    draws = torch.stack(
        [metric.measure(evidence(subject, StandIn("random"), seed=seed, shared=shared)) for seed in range(60)]
    )
    per_seed = draws.nanmean(1)
    # the baseline itself is a mean of 8 orders for each of 16 sequences: its error is shared by all seeds
    tolerance = 4 * float(draws.std(0).nanmean()) / math.sqrt(8 * len(subject)) + 4 * float(per_seed.std()) / 60**0.5
    assert abs(float(per_seed.mean())) < tolerance
    constant = metric.measure(evidence(subject, StandIn("constant"), shared=shared))
    assert constant[~constant.isnan()].abs().max() < 1e-12


def test_a_score_that_nothing_moves_is_undefined():
    subject = specimen("classification")
    with torch.no_grad():
        subject.model.head.weight.zero_()
    cell = evidence(Subject(subject.model, subject.batch, subject.reference), StandIn("random"))
    assert NormalisedDeletion().measure(cell).isnan().all()
    assert Comprehensiveness().measure(cell).abs().max() == 0


def test_a_single_output_and_a_negative_output_are_explained_in_their_own_direction():
    subject = specimen("regression")
    falls = subject.score < subject.reference_score
    assert falls.any()
    assert not falls.all()
    found = NormalisedDeletion().measure(evidence(subject, StandIn("truth")))
    assert found[~found.isnan()].min() > 0.95
    batch = Batch(subject.batch.inputs, subject.batch.lengths, subject.batch.targets[:, 0].long(), subject.batch.truths)
    alone = Subject(subject.model, batch, subject.reference, outputs_are="logits")
    # one logit has probability 1 whatever happens
    assert NormalisedDeletion().measure(evidence(alone, StandIn("truth"))).isnan().all()


def test_what_does_not_depend_on_the_method_is_run_once():
    subject = specimen("classification")
    shared = Probes(subject)
    NormalisedDeletion().measure(evidence(subject, StandIn("truth"), shared=shared))
    before = subject.cost.copy()
    NormalisedDeletion().measure(evidence(subject, StandIn("truth", scale=2.0), shared=shared))
    # the second method pays for its own curve only, and only for one order, as it ties nothing that differs
    assert subject.cost.since(before).forward <= 21 * 8 * len(subject)
    # what the metrics of a cell plan to ask is run when the first of them asks
    metrics = [Comprehensiveness(), Sufficiency(), DeletionAuc(), InsertionAuc(), Abpc(), Aopc(), DecisionFlip()]
    other = evidence(subject, StandIn("random"), shared=shared)
    other.planned = frozenset(ask for metric in metrics for ask in metric.asks)
    before = subject.cost.copy()
    metrics[0].measure(other)
    after = subject.cost.copy()
    assert after.since(before).forward == (2 * 5 + 2 * 21 + 1) * len(subject)
    for metric in metrics[1:]:
        metric.measure(other)
    assert subject.cost.since(after).forward == 0
    # alone, a metric pays for itself only
    alone = evidence(subject, StandIn("random"), shared=shared)
    before = subject.cost.copy()
    Comprehensiveness().measure(alone)
    assert subject.cost.since(before).forward == 5 * len(subject)


@pytest.mark.parametrize("budget", [1, 5, 20, 100, 5000])
def test_the_greedy_search_keeps_its_budget_and_returns_orders(budget):
    subject = subject_of("logits", lengths=(10, 6, 1))
    counts = counts_of_curve(subject.features("cell"), 7)
    before = subject.cost.copy()
    found = greedy_search.removal_ranks(subject, "cell", torch.arange(3), counts, budget)
    assert subject.cost.since(before).forward <= 3 * max(budget, 1)
    for ranks in found:
        for row, n in enumerate((20, 12, 2)):
            assert sorted(ranks[row, :n].tolist()) == list(range(n))


def test_a_larger_budget_finds_no_worse_orders():
    subject = subject_of("logits", lengths=(30, 25), features=3)
    areas = [baselines(evidence(subject, StandIn("constant")), 20, 2, budget).best.sum() for budget in (10, 90, 5000)]
    assert areas[0] >= areas[1] - 1e-3
    assert areas[1] >= areas[2] - 1e-3


def test_nothing_depends_on_how_many_instances_are_done_at_once(monkeypatch):
    subject = specimen("classification")
    metrics = [NormalisedDeletion(), Comprehensiveness(), Sufficiency()]
    together = [metric.measure(evidence(subject, StandIn("random"))) for metric in metrics]
    monkeypatch.setattr(curves, "_VALUES_AT_ONCE", 1)
    monkeypatch.setattr(greedy_search, "_VALUES_AT_ONCE", 1)
    alone = [metric.measure(evidence(subject, StandIn("random"))) for metric in metrics]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-6, equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 25))
def test_counts_are_the_grid_and_the_ceiling(lengths, points):
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    curve, tops = counts_of_curve(valid, points).tolist(), counts_of_fractions(valid, FRACTIONS).tolist()
    for row, n in enumerate(lengths):
        wanted = [math.ceil(j * n / points) for j in range(points + 1)] if n > points else [*range(n + 1)]
        assert sorted(set(curve[row])) == wanted
        assert tops[row] == [max(1, -(-int(p * 100) * n // 100)) for p in FRACTIONS]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=4), st.integers(1, 6))
def test_orders_fall_and_break_ties_as_random_orders_do(rows, breaks):
    width = max(map(len, rows))
    valid = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    priority = torch.tensor([row + [9] * (width - len(row)) for row in rows], dtype=torch.float64)
    found = orders(priority, valid, torch.arange(len(rows)), breaks)
    chance = random_orders(valid, torch.arange(len(rows)), breaks).ranks.view(len(rows), breaks, -1)
    for number, row in enumerate(rows):
        ranks = found.ranks[found.instance == number]
        assert len(ranks) == (breaks if len(set(row)) < len(row) else 1)
        for one, draw in zip(ranks.tolist(), chance[number].tolist(), strict=False):
            wanted = sorted(range(len(row)), key=lambda i, row=row, draw=draw: (-row[i], draw[i]))
            assert [one.index(place) for place in range(len(row))] == wanted


def test_reference_bug_no_feature_is_removed_from_short_texts():
    """time-interpret takes k = ⌊p·n⌋: at p = 1 %, 5 % and 10 % of a text of nine words, nothing."""
    assert [int(p * 9) for p in FRACTIONS] == [0, 0, 0, 1, 4]
    assert counts_of_fractions(torch.ones(1, 9, dtype=torch.bool), FRACTIONS).tolist() == [[1, 1, 1, 2, 5]]


def test_reference_bug_an_argsort_favours_early_steps():
    """A constant map ranked by argsort removes a prefix; on a model that reads early steps it looks like insight."""
    inputs = torch.zeros(1, 20, 3)
    inputs[0, :2, 0] = 1.0
    model = specimen("regression").model
    batch = Batch(inputs, torch.tensor([20]), torch.zeros(1, 1))
    early = Subject(model, batch, torch.zeros_like(inputs), outputs_are="values")
    ties = torch.full((1, 60), 0.5)
    prefix = ties.argsort(descending=True, stable=True)[0].tolist()
    assert prefix == list(range(60))
    cell = evidence(early, StandIn("constant"))
    base = baselines(cell, 20, 8, 1200)
    lexicographic = literal_area(early, 0, prefix, "cell", 20)
    assert float((base.random - lexicographic) / (base.random - base.best)) > 0.8
    assert abs(float(NormalisedDeletion().measure(cell))) < 1e-9


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (NormalisedDeletion, {"points": 0}),
        (NormalisedDeletion, {"threshold": 0.0}),
        (Comprehensiveness, {"fractions": ()}),
        (Comprehensiveness, {"fractions": (0.0,)}),
        (Sufficiency, {"fractions": (1.5,)}),
        (Sufficiency, {"breaks": 0}),
        (CompletenessGap, {"epsilon": 0.0}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(make, parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        make(**parameters)
