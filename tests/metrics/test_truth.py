"""Truth metrics against scikit-learn where nothing is tied, and against all orders of what is tied."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from xrnnbench.errors import ParameterError
from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.ranking.order_statistics import TieGroups, pearson
from xrnnbench.metrics.truth.mass_accuracy import MassAccuracy
from xrnnbench.metrics.truth.retrieval import Auroc, AveragePrecision, PrecisionAtK, RankAccuracy, TruthCorrelation
from xrnnbench.tasks.data.batch import Batch, Truth
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

METRICS = [AveragePrecision, Auroc, RankAccuracy]


def groups(values, relevant, valid=None):
    values, relevant = torch.tensor(values)[None].double(), torch.tensor(relevant)[None].bool()
    return TieGroups.of(values, relevant, torch.ones_like(relevant) if valid is None else valid)


def literal(order, relevant):
    """Return average precision, AUROC and rank accuracy of one order without ties."""
    hits = [relevant[i] for i in order]
    positives = sum(hits)
    precision = sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / positives
    pairs = [(i, j) for i, one in enumerate(hits) for j, other in enumerate(hits) if one and not other]
    return precision, sum(i < j for i, j in pairs) / max(len(pairs), 1), sum(hits[:positives]) / positives


def three(found):
    return [float(found.average_precision()), float(found.auroc()), float(found.rank_accuracy())]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=6))
def test_ties_count_by_the_mean_over_all_their_orders(features):
    values, relevant = [v for v, _ in features], [r for _, r in features]
    if all(relevant) or not any(relevant):
        return
    falls = [
        literal(order, relevant)
        for order in itertools.permutations(range(len(values)))
        if all(values[i] >= values[j] for i, j in itertools.pairwise(order))
    ]
    assert three(groups(values, relevant)) == pytest.approx(np.mean(falls, axis=0).tolist(), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_without_ties_it_is_what_scikit_learn_says(n, seed):
    rng = np.random.default_rng(seed)
    values, relevant = rng.permutation(n).astype(float), rng.random(n) < 0.3
    relevant[:2] = True, False
    found = groups(values, relevant)
    assert float(found.average_precision()) == pytest.approx(average_precision_score(relevant, values), abs=1e-12)
    assert float(found.auroc()) == pytest.approx(roc_auc_score(relevant, values), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_padding_is_no_feature(n, padding, seed):
    rng = np.random.default_rng(seed)
    values, relevant = rng.integers(0, 5, n + padding), rng.random(n + padding) < 0.5
    relevant[:2] = True, False
    valid = torch.arange(n + padding)[None] < n
    assert three(groups(values, relevant, valid)) == pytest.approx(three(groups(values[:n], relevant[:n])), abs=1e-12)


def rare_features():
    """Return x² of the rare-feature task's size, T = D = 50, and where 5 % of the cells are relevant."""
    rng = np.random.default_rng(0)
    relevant = np.zeros(2500, dtype=bool)
    relevant[rng.choice(2500, 125, replace=False)] = True
    return np.where(relevant, rng.normal(size=2500) ** 2, 0.0), relevant, rng


def test_calibration():
    """The table of docs/metrics.md: what each map of the rare-feature task scores."""
    exact, relevant, rng = rare_features()
    assert three(groups(exact, relevant)) == pytest.approx([1, 1, 1])
    assert three(groups(relevant.astype(float), relevant)) == pytest.approx([1, 1, 1])
    uniform = np.mean([three(groups(rng.random(2500), relevant)) for _ in range(40)], axis=0)
    assert uniform.tolist() == pytest.approx([0.05, 0.5, 0.05], abs=0.012)
    zeros = three(groups(np.zeros(2500), relevant))
    assert zeros == pytest.approx([0.05, 0.5, 0.05], abs=0.004)
    assert zeros[1:] == pytest.approx([0.5, 0.05], abs=1e-12)


def test_reference_bug_trapezoids_reward_an_empty_map():
    """Dynamask's AUPRC joins the points of the curve by lines: .525 for a map that says nothing."""
    _, relevant, _ = rare_features()
    precision, recall, _ = precision_recall_curve(relevant, np.zeros(2500))
    assert auc(recall, precision) == pytest.approx(0.525)
    assert float(groups(np.zeros(2500), relevant).average_precision()) == pytest.approx(0.05, abs=0.004)


def test_each_sequence_is_ranked_alone_over_its_valid_features():
    subject = specimen("regression")
    cell = evidence(subject, StandIn("random"))
    for metric in METRICS:
        measured = metric().measure(cell)
        for row, length in enumerate(subject.batch.lengths.tolist()):
            values = cell.attribution.values[row, :length].abs().flatten().tolist()
            relevant = (subject.batch.truth.values[row, :length] != 0).flatten().tolist()
            order = sorted(range(len(values)), key=lambda i, values=values: -values[i])
            assert float(measured[row]) == pytest.approx(literal(order, relevant)[METRICS.index(metric)])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_nothing_or_everything_relevant_is_undefined(metric, fill):
    subject = specimen("tokens")
    truth = Truth(fill * subject.valid, "planted", "the class")
    marked = replace(subject, batch=replace(subject.batch, truths={"all": truth}))
    assert metric().measure(evidence(marked, StandIn("constant"))).isnan().all()


def told(subject, values, *, signed=True):
    return replace(evidence(subject, StandIn("constant")), attribution=Attribution(values, signed))


def test_signed_methods_are_ranked_by_size_and_unsigned_ones_by_value():
    inputs = torch.ones(1, 4, 1)
    truth = Truth(torch.tensor([[1.0, 0, 0, 0]]), "planted", "the value")
    batch = Batch(inputs, torch.tensor([4]), torch.zeros(1, 1), {"main": truth})
    subject = Subject(RecurrentNet(1, 2, 1), batch, torch.zeros_like(inputs), outputs_are="values")
    values = torch.tensor([[-3.0, 1, 2, 0]])
    assert float(AveragePrecision().measure(told(subject, values))) == 1.0
    assert float(AveragePrecision().measure(told(subject, values, signed=False))) == 0.25


def test_a_method_by_step_ties_the_cells_of_a_step():
    subject = specimen("regression", (4, 3))
    steps = torch.rand(2, 4) * subject.batch.valid
    by_step, by_cell = told(subject, steps), told(subject, steps[:, :, None].expand(2, 4, 3).contiguous())
    for metric in METRICS:
        assert torch.equal(metric().measure(by_step), metric().measure(by_cell))
    # the steps compared as steps are another question: here every step is relevant
    assert AveragePrecision(granularity="step").measure(by_step).isnan().all()


def test_cells_are_compared_with_a_truth_by_step_as_sums():
    subject = specimen("regression", (3,))
    truth = Truth(torch.tensor([[0.0, 1.0, 0.0]]), "planted", "the value")
    marked = replace(subject, batch=replace(subject.batch, truths={"main": truth}))
    cells = torch.tensor([[[5.0, -5, 0], [1, 1, 1], [2, 0, 0]]])
    assert float(AveragePrecision().measure(told(marked, cells))) == 1.0
    # sizes are added for an unsigned method, and the first step says 10
    assert float(AveragePrecision().measure(told(marked, cells.abs(), signed=False))) == 0.5


def test_readings_are_chosen_by_name():
    subject = specimen("regression")
    main = subject.batch.truth
    other = Truth((main.values == 0).float() * subject.valid, "planted", "the rest")
    both = replace(subject, batch=replace(subject.batch, truths={"main": main, "rest": other}))
    cell = evidence(both, StandIn("truth"))
    assert AveragePrecision(reading="rest").measure(cell).nanmean() < AveragePrecision().measure(cell).nanmean()
    assert AveragePrecision(reading="rest").applicable(StandIn(), both) == ""
    assert AveragePrecision(reading="none").applicable(StandIn(), both) == "the truth has no reading 'none'"
    bare = replace(subject, batch=replace(subject.batch, truths={}))
    assert AveragePrecision().applicable(StandIn(), bare) == "the truth is not known"


def test_correlation_is_pearsons():
    subject = specimen("regression")
    cell = evidence(subject, StandIn("random"))
    measured = TruthCorrelation().measure(cell)
    by_step = TruthCorrelation(granularity="step").measure(cell)
    for row, length in enumerate(subject.batch.lengths.tolist()):
        said, true = cell.attribution.values[row, :length], subject.batch.truth.values[row, :length]
        assert float(measured[row]) == pytest.approx(stats.pearsonr(said.flatten(), true.flatten())[0], abs=1e-6)
        if length > 1:
            expected = stats.pearsonr(said.sum(1), true.sum(1))[0]
            assert float(by_step[row]) == pytest.approx(expected, abs=1e-6)
        else:
            assert by_step[row].isnan()
    assert TruthCorrelation().measure(evidence(subject, StandIn("truth"))).min() > 0.99999


def test_a_truth_about_one_class_is_turned_towards_the_predicted_one():
    subject = specimen("classification")
    assert len(subject.target.unique()) == 2
    sign = torch.where(subject.target == 1, 1.0, -1.0)[:, None, None]
    truth = Truth(subject.batch.truth.values * sign, "coefficient", "class 1 against 0", signed=True, toward=1)
    marked = replace(subject, batch=replace(subject.batch, truths={"main": truth}))
    cell = replace(evidence(subject, StandIn("truth")), subject=marked)
    assert TruthCorrelation().measure(cell).min() > 0.99999


def test_correlation_of_constants():
    valid = torch.ones(1, 4, dtype=torch.bool)
    rising, flat = torch.arange(4.0).double()[None], torch.full((1, 4), 0.1)
    assert float(pearson(flat, rising, valid)) == 0.0
    assert pearson(rising, flat, valid).isnan().all()
    assert float(pearson(rising * 1e300, rising * 1e-300, valid)) == pytest.approx(1.0)


def test_correlation_says_where_it_has_no_meaning():
    metric, method = TruthCorrelation(), StandIn()
    assert metric.applicable(method, specimen("regression")) == ""
    assert metric.applicable(method, specimen("classification")) == ""
    subject = specimen("regression")
    planted = replace(subject.batch.truth, semantics="planted")
    marked = replace(subject, batch=replace(subject.batch, truths={"main": planted}))
    assert "no signed contribution" in metric.applicable(method, marked)
    unsigned = type("Unsigned", (StandIn,), {"signed": False})()
    assert "no sign" in metric.applicable(unsigned, subject)


def test_contributions_to_every_steps_own_output_are_none_to_one_output():
    subject = specimen("regression")
    steps = replace(subject.batch.truth, retrospective=False)
    local = replace(subject, batch=replace(subject.batch, truths={"main": steps}))
    assert TruthCorrelation().applicable(StandIn(), subject) == ""
    assert "every step's own output" in TruthCorrelation().applicable(StandIn(), local)
    # what is relevant can be read: one output that all steps make has all of their causes
    for metric in (AveragePrecision(), Auroc(), RankAccuracy(), PrecisionAtK(), MassAccuracy()):
        assert metric.applicable(StandIn(), local) == ""


def test_a_truth_about_one_of_two_classes_is_not_read_for_other_outputs():
    subject, classes = specimen("regression"), specimen("classification")
    for where, refused in ((subject, True), (classes, False)):
        about = replace(where.batch.truth, toward=1)
        reason = TruthCorrelation().applicable(
            StandIn(), replace(where, batch=replace(where.batch, truths={"main": about}))
        )
        assert ("one of two classes" in reason) is refused


def literal_precision(order, relevant, k):
    """Return the precision among the first k features, or all of them, of one order without ties."""
    first = [relevant[i] for i in order[:k]]
    return sum(first) / len(first)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=6), st.integers(1, 8))
def test_precision_at_k_is_the_mean_over_all_orders_of_ties(features, k):
    values, relevant = [v for v, _ in features], [r for _, r in features]
    falls = [
        literal_precision(order, relevant, k)
        for order in itertools.permutations(range(len(values)))
        if all(values[i] >= values[j] for i, j in itertools.pairwise(order))
    ]
    assert float(groups(values, relevant).precision_at(k)) == pytest.approx(np.mean(falls), abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_precision_at_k_of_sequences(k):
    subject = specimen("regression")
    cell = evidence(subject, StandIn("random"))
    measured = PrecisionAtK(k=k).measure(cell)
    for row, length in enumerate(subject.batch.lengths.tolist()):
        values = cell.attribution.values[row, :length].abs().flatten().tolist()
        relevant = (subject.batch.truth.values[row, :length] != 0).flatten().tolist()
        order = sorted(range(len(values)), key=lambda i, values=values: -values[i])
        assert float(measured[row]) == pytest.approx(literal_precision(order, relevant, k))
    # the best ranking cannot find more than there is; of a constant map the base rate is expected
    best = PrecisionAtK(k=k).measure(evidence(subject, StandIn("truth")))
    n = 3.0 * subject.batch.lengths
    assert best.tolist() == pytest.approx((2 * n / 3 / n.clamp_max(k)).clamp_max(1).tolist())
    assert PrecisionAtK(k=k).measure(evidence(subject, StandIn("constant"))).tolist() == pytest.approx([2 / 3] * 7)


def test_precision_at_all_that_is_relevant_is_rank_accuracy():
    subject = specimen("regression", (6,))
    cell = evidence(subject, StandIn("random"))
    size = int(subject.batch.truth.relevant.sum())
    assert torch.equal(PrecisionAtK(k=size).measure(cell), RankAccuracy().measure(cell))


def test_precision_at_nothing_is_refused():
    with pytest.raises(ParameterError, match="k=0 does not fit; it must be positive"):
        PrecisionAtK(k=0)
    subject = specimen("tokens")
    truth = Truth(torch.zeros(subject.shape), "planted", "the class")
    marked = replace(subject, batch=replace(subject.batch, truths={"none": truth}))
    assert PrecisionAtK().measure(evidence(marked, StandIn("truth"))).isnan().all()
