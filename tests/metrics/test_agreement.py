"""Agreement of seeds and of models against its definitions; rank statistics against scipy."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_subjects import Jittered, Product, wild
from scipy import stats

from xrnnbench.errors import ContractError, ParameterError
from xrnnbench.fingerprints import seed_from
from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.ranking import order_statistics as ranking
from xrnnbench.metrics.ranking.order_statistics import kendall, overlap, spearman
from xrnnbench.metrics.stability.seed_agreement import (
    ExplainerSeedAgreement,
    ExplainerSeedOverlap,
    ModelSeedAgreement,
    ModelSeedOverlap,
)

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


def padded(pairs):
    """Return both sides float64[1, N] with three numbers of padding, and what is valid."""
    left, right = torch.tensor(pairs).T.double()
    valid = torch.ones(1, len(pairs) + 3, dtype=torch.bool)
    valid[0, len(pairs) :] = False
    return *(torch.cat([side, torch.tensor([7.0, 9.0, 8.0])])[None] for side in (left, right)), valid


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_kendall_counts_pairs(pairs):
    found = float(kendall(*padded(pairs)))
    left, right = torch.tensor(pairs).T.double()
    signs = [(left[:, None] - left).sign(), (right[:, None] - right).sign()]
    norms = [float(sign.abs().sum()) for sign in signs]
    if min(norms) == 0:
        assert math.isnan(found)
    else:
        expected = float((signs[0] * signs[1]).sum()) / (norms[0] * norms[1]) ** 0.5
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("paired", [0, 40, 300])
@pytest.mark.parametrize("ties", [False, True])
def test_kendall_is_scipys_row_by_row_whichever_way_it_is_counted(paired, ties, monkeypatch):
    monkeypatch.setattr(ranking, "_MAX_PAIRWISE", paired)
    monkeypatch.setattr(ranking, "_PAIRS_AT_ONCE", 5000)
    rng = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 40, 80, generator=rng)
    if ties:
        left, right = (left * 2).round(), (right * 2).round()
    valid = torch.rand(40, 80, generator=rng) < torch.rand(40, 1, generator=rng)
    valid[:, 0] = True
    found = kendall(left, right, valid)
    for row in range(40):
        sides = [side[row, valid[row]].double().numpy() for side in (left, right)]
        expected = stats.kendalltau(*sides).statistic if len(sides[0]) > 1 else math.nan
        assert float(found[row]) == expected or (math.isnan(expected) and math.isnan(found[row]))
    assert kendall(left[:0], right[:0], valid[:0]).shape == (0,)


@pytest.mark.filterwarnings("ignore:An input array is constant")
@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_spearman_is_scipys(pairs):
    expected = stats.spearmanr(*torch.tensor(pairs).T.numpy()).statistic if len(pairs) > 1 else math.nan
    assert float(spearman(*padded(pairs))) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5), st.integers(1, 5))
def test_overlap_is_the_mean_over_all_ways_to_break_ties(pairs, wanted):
    count = min(wanted, len(pairs))
    firsts = []
    for side in zip(*pairs, strict=True):
        orders = [
            order
            for order in itertools.permutations(range(len(side)))
            if all(side[a] >= side[b] for a, b in itertools.pairwise(order))
        ]
        firsts.append([set(order[:count]) for order in orders])
    shared = [len(left & right) / count for left in firsts[0] for right in firsts[1]]
    found = overlap(*padded(pairs), torch.tensor([count]))
    assert float(found) == pytest.approx(sum(shared) / len(shared))


def test_explainer_seeds_are_compared_in_pairs():
    subject = wild("classification")
    cell = evidence(subject, Jittered(), seed=2)
    found = ExplainerSeedAgreement().measure(cell)
    first = ExplainerSeedOverlap().measure(cell)
    seeds = [2, seed_from("explainer seed", 2, 0), seed_from("explainer seed", 2, 1)]
    maps = [Jittered().explain(subject, seed).values for seed in seeds]
    for row, length in enumerate(subject.batch.lengths.tolist()):
        flat = [values[row, :length].flatten().numpy() for values in maps]
        pairs = list(itertools.combinations(flat, 2))
        taus = [stats.kendalltau(*pair).statistic for pair in pairs]
        assert float(found[row]) == pytest.approx(sum(taus) / 3)
        k = math.ceil(round(0.2 * 3 * length, 9))
        shared = [len(set(abs(a).argsort()[-k:]) & set(abs(b).argsort()[-k:])) / k for a, b in pairs]
        assert float(first[row]) == pytest.approx(sum(shared) / 3)
    constant = StandIn("constant")
    assert ExplainerSeedAgreement().measure(evidence(subject, constant)).isnan().all()
    assert "no seed" in ExplainerSeedOverlap().applicable(Product(), subject)


def test_both_metrics_of_explainer_seeds_read_the_same_explanations():
    cell = evidence(wild("regression"), Jittered())
    Product.calls.clear()
    for metric in (ExplainerSeedAgreement(), ExplainerSeedOverlap(), ExplainerSeedOverlap(share=0.5)):
        metric.measure(cell)
    assert Product.calls == [7, 7]
    ExplainerSeedOverlap(seeds=3).measure(cell)
    assert Product.calls == [7, 7, 7]


def test_what_says_nothing_has_in_common_what_chance_has():
    subject = specimen("regression")
    n = subject.batch.lengths * 3
    chance = (0.2 * n - 1e-9).ceil() / n
    constant = ExplainerSeedOverlap().measure(evidence(subject, StandIn("constant")))
    assert torch.allclose(constant, chance.double())
    random = ExplainerSeedOverlap(seeds=60).measure(evidence(subject, StandIn("random")))
    assert torch.allclose(random, chance.double(), atol=0.05)
    assert ExplainerSeedOverlap(share=0.9).measure(evidence(specimen("tokens"), StandIn("random")))[-1].isnan()


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
    assert torch.equal(ModelSeedOverlap().measure(cell).isnan(), found.isnan())
    cell.siblings = {1: (ours, subject.target), 2: (other, subject.target)}
    assert ModelSeedAgreement().measure(cell)[:-1].abs().max() < 1e-12
    # turned round, the sizes and so the first features are the same
    assert ModelSeedOverlap().measure(cell)[:-1].eq(1).all()
    cell.siblings = {}
    assert ModelSeedAgreement().measure(cell).isnan().all()
    cell.siblings = {1: (Attribution(ours.values[:, :3], signed=True), subject.target)}
    with pytest.raises(ContractError, match="share their batch"):
        ModelSeedAgreement().measure(cell)


@pytest.mark.parametrize(
    ("metric", "parameters"),
    [
        (ExplainerSeedAgreement, {"seeds": 0}),
        (ExplainerSeedOverlap, {"seeds": 0}),
        (ExplainerSeedOverlap, {"share": 0.0}),
        (ModelSeedOverlap, {"share": 1.0}),
        (ModelSeedOverlap, {"share": math.nan}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(metric, parameters):
    with pytest.raises(ParameterError, match="does not fit"):
        metric(**parameters)
