"""The literature's figures: literal definitions, time_interpret's where it is right, and the calibration table."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, average_precision_score, precision_recall_curve

from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.ranking.order_statistics import TieGroups
from xrnnbench.metrics.truth.mask_figures import (
    AreaUnderPrecision,
    AreaUnderRecall,
    Information,
    MaskEntropy,
    _min_max_scaled,
)
from xrnnbench.metrics.truth.retrieval import AveragePrecision
from xrnnbench.tasks.data.batch import Batch, Truth

FIGURES = [AreaUnderPrecision, AreaUnderRecall, Information, MaskEntropy]
EPSILON = 1e-5


def literal(values, relevant):
    """Return the four figures of one sequence, one threshold after the other."""
    low, high = min(values), max(values)
    mask = [(value - low) / (high - low) / (1 + EPSILON) if high > low else 0.0 for value in values]
    inside = [m for m, hit in zip(mask, relevant, strict=True) if hit]
    if not inside:
        return [math.nan] * 4
    points = []
    for level in sorted(set(mask)):
        found = [hit for m, hit in zip(mask, relevant, strict=True) if m >= level]
        points.append((level, sum(found) / len(found), sum(found) / len(inside)))
    areas = [sum((b[0] - a[0]) * (a[curve] + b[curve]) / 2 for a, b in itertools.pairwise(points)) for curve in (1, 2)]
    information = sum(abs(math.log2(1 - m + EPSILON)) for m in inside)
    entropy = sum(m * abs(math.log2(EPSILON + m)) + (1 - m) * abs(math.log2(EPSILON + 1 - m)) for m in inside)
    return [*areas, information, entropy]


def told(values, relevant, lengths=None, *, signed=False):
    """Return evidence of float[B, T, D] with a planted truth of that shape."""
    values, relevant = torch.as_tensor(values), torch.as_tensor(relevant)
    size = torch.as_tensor(lengths or [values.shape[1]] * len(values))
    like = specimen("regression", (1,))
    batch = Batch(torch.zeros(values.shape), size, torch.zeros(len(values), 1), {})
    batch = replace(batch, truths={"main": Truth(relevant.float() * batch.valid[:, :, None], "planted", "the value")})
    subject = replace(
        like, batch=batch, reference=torch.zeros(values.shape), target=torch.zeros(len(values), dtype=torch.int64)
    )
    cell = evidence(like, StandIn("constant"))
    return replace(cell, subject=subject, attribution=Attribution(values, signed))


def four(cell):
    return torch.stack([metric().measure(cell) for metric in FIGURES], 1)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("digits", [0, 8])
def test_the_figures_are_their_definitions(signed, digits):
    """With ties (no digits) and without; with padding, and a sequence of one feature."""
    rng = np.random.default_rng(1)
    values = torch.tensor(rng.normal(size=(6, 7, 3)).round(digits))
    relevant = torch.tensor(rng.random((6, 7, 3)) < 0.3)
    lengths = [7, 5, 4, 3, 2, 1]
    values *= (torch.arange(7) < torch.tensor(lengths)[:, None])[:, :, None]
    measured = four(told(values, relevant, lengths, signed=signed))
    for row, length in enumerate(lengths):
        said = values[row, :length].abs() if signed else values[row, :length]
        expected = literal(said.flatten().tolist(), relevant[row, :length].flatten().tolist())
        assert measured[row].tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_edges():
    relevant = [[[1.0], [0], [0], [1]]]
    for constant in (0.0, 1.0, -3.0):
        small = abs(math.log2(1 + EPSILON)) * 2
        expected = [0, 0, small, small]
        assert four(told(torch.full((1, 4, 1), constant), relevant))[0].tolist() == pytest.approx(expected, abs=1e-9)
    assert four(told(torch.rand(1, 4, 1), torch.zeros(1, 4, 1))).isnan().all()
    everything = four(told([[[0.0], [0.5], [0.5], [1]]], torch.ones(1, 4, 1)))[0].tolist()
    assert everything == pytest.approx(literal([0, 0.5, 0.5, 1], [True] * 4), abs=1e-9)
    assert everything[0] == pytest.approx(1 / (1 + EPSILON))


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1.0, 1e6, 1e308])
def test_neither_scale_nor_place_matters(scale):
    rng = np.random.default_rng(2)
    values, relevant = rng.random((2, 5, 3)), rng.random((2, 5, 3)) < 0.4
    plain = four(told(values, relevant))
    assert torch.allclose(four(told(values * scale, relevant)), plain, rtol=1e-6)
    assert torch.allclose(four(told(values - 7.0, relevant)), plain, rtol=1e-6)


def test_no_board_ranks_by_them():
    for metric in FIGURES:
        assert metric.direction == "neither"
        assert math.isnan(metric.ideal)
        assert "only for comparison with papers" in metric.page()
        assert "rewards saturated maps" in " ".join(metric.page().split())


# ---- calibration on the rare-feature task, without any model ---------------------------------------------------------


def rare_features(seed, sequences=10):
    """Return x float64[B, 50, 50] and where the output is read: 5 of the features in the middle 25 steps."""
    rng = np.random.default_rng(seed)
    relevant = np.zeros((sequences, 50, 50), dtype=bool)
    for row in relevant:
        row[12:37, rng.choice(50, 5, replace=False)] = True
    return rng.normal(size=relevant.shape), relevant, rng


def published(maps, relevant):
    """Return AUP, AUR, information and entropy as the table gives them: means and sums over ten sequences."""
    found = four(told(maps, relevant))
    return [*found[:, :2].mean(0).tolist(), *found[:, 2:].sum(0).tolist()]


def precision_of(maps, relevant):
    """Return average precision and AUPRC by trapezoids, means over sequences."""
    ours = AveragePrecision().measure(told(maps, relevant)).mean()
    curves = [precision_recall_curve(hit.ravel(), said.ravel()) for said, hit in zip(maps, relevant, strict=True)]
    return [float(ours), float(np.mean([auc(recall, precision) for precision, recall, _ in curves]))]


def test_calibration_of_a_perfect_mask():
    _, relevant, _ = rare_features(0)
    aup, aur, information, entropy = published(relevant.astype(float), relevant)
    assert [aup, aur] == pytest.approx([0.525, 1.0], abs=2e-5)
    # the published 19510 is of float32, in which 1 − m + ε is 2.001 · 10⁻⁵
    assert information == pytest.approx(1250 * -math.log2(2e-5), abs=0.1)
    assert information == pytest.approx(19510, rel=2e-4)
    assert entropy == pytest.approx(0.2, abs=0.01)
    assert precision_of(relevant.astype(float), relevant) == pytest.approx([1, 1])


def test_calibration_of_an_empty_map():
    _, relevant, _ = rare_features(0)
    zeros = np.zeros(relevant.shape)
    assert published(zeros, relevant) == pytest.approx([0, 0, 0, 0], abs=0.02)
    average, trapezoids = precision_of(zeros, relevant)
    assert average == pytest.approx(0.05, abs=0.004)
    assert trapezoids == pytest.approx(0.525)


def test_calibration_of_random_maps():
    draws = []
    for seed in range(8):
        _, relevant, rng = rare_features(seed)
        maps = rng.random(relevant.shape)
        draws.append([*published(maps, relevant), *precision_of(maps, relevant)])
    mean, spread = np.mean(draws, 0), np.std(draws, 0, ddof=1)
    table = np.array([0.050, 0.501, 1813, 914, 0.050, 0.050])
    rounding = np.array([5e-4, 5e-4, 0.5, 0.5, 2e-3, 2e-3])
    assert (np.abs(mean - table) <= 4 * spread + rounding).all(), (mean, spread)
    # 1250 cells of 1 / ln 2 and of 1 / (2 ln 2) bits
    assert mean[2:4] == pytest.approx([1250 / math.log(2), 625 / math.log(2)], rel=0.04)


def test_calibration_of_exact_shapley_values():
    """How large the figures of x² are is the draw's: the largest of 125 squares decides them."""
    draws = []
    for seed in range(24):
        x, relevant, _ = rare_features(seed)
        draws.append(published(x**2 * relevant, relevant))
    mean, spread = np.mean(draws, 0), np.std(draws, 0, ddof=1)
    assert mean[0] == pytest.approx(1.0, abs=1e-3)
    assert (np.abs(mean[1:] - [0.133, 468, 478]) <= 2 * spread[1:]).all(), (mean, spread)
    assert precision_of(x**2 * relevant, relevant) == pytest.approx([1, 1])


def test_saturated_maps_are_rewarded():
    """A coin for every cell beats the truth by recall and information; and half a mask the whole one by entropy."""
    x, relevant, rng = rare_features(0)
    truth = published(x**2 * relevant, relevant)
    coin = published((rng.random(relevant.shape) < 0.5).astype(float), relevant)
    assert coin[1] > 3 * truth[1]
    assert coin[2] > 10 * truth[2]
    assert coin[3] < truth[3] / 100


# ---- time_interpret --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tint():
    return pytest.importorskip("tint.metrics.white_box")


def theirs(tint, maps, relevant):
    pair = torch.as_tensor(maps), torch.as_tensor(relevant).double()
    return [getattr(tint, name)(*pair) for name in ("aup", "aur", "information", "entropy")]


def test_peer_agrees_on_one_sequence_whose_range_is_one(tint):
    x, relevant, rng = rare_features(3, sequences=4)
    for maps in (
        x**2 * relevant,
        relevant.astype(float),
        rng.random(relevant.shape),
        rng.random(relevant.shape).round(1),
    ):
        stretched = maps - maps.min((1, 2), keepdims=True)
        stretched /= stretched.max((1, 2), keepdims=True)
        ours = four(told(stretched, relevant))
        for row in range(4):
            expected = theirs(tint, stretched[row : row + 1], relevant[row : row + 1])
            assert ours[row].tolist() == pytest.approx(expected, rel=1e-9)


def test_peer_adds_up_over_sequences(tint):
    x, relevant, _ = rare_features(4)
    maps = x**2 * relevant
    maps /= maps.max((1, 2), keepdims=True)
    expected = theirs(tint, maps, relevant)
    ours = published(maps, relevant)
    assert ours[2:] == pytest.approx(expected[2:], rel=1e-9)
    # one curve of all sequences is nearly, and not quite, the mean of their curves
    assert ours[:2] == pytest.approx(expected[:2], abs=0.02)
    assert abs(ours[1] - expected[1]) > 1e-5


def test_reference_bug_small_attributions_are_flattened(tint):
    """time_interpret adds ε to the range: the same map in another unit gets another figure."""
    x, relevant, _ = rare_features(5, sequences=1)
    maps = x**2 * relevant / (x**2 * relevant).max()
    unit, micro = theirs(tint, maps, relevant), theirs(tint, maps * 1e-6, relevant)
    assert micro[1] < unit[1] / 10
    assert four(told(maps * 1e-6, relevant))[0].tolist() == pytest.approx(unit, rel=1e-6)


def test_reference_bug_ranks_of_the_pooled_data_set(tint):
    """Two sequences, each ranked without a fault; pooled, their precision is not 1."""
    maps = np.array([[[1.0], [0.1], [0.0], [0.0]], [[1.0], [0.5], [0.4], [0.0]]])
    relevant = np.array([[[1], [1], [0], [0]], [[1], [0], [0], [0]]])
    assert AveragePrecision().measure(told(maps, relevant)).tolist() == [1.0, 1.0]
    pooled = tint.auprc(torch.tensor(maps), torch.tensor(relevant))
    assert pooled == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert pooled == pytest.approx(average_precision_score(relevant.ravel(), maps.ravel()))


def test_reference_bug_trapezoids_punish_a_perfect_mask(tint):
    """Every threshold above 0 has precision 1, and the line from (0, .05) to (1, 1) gives .525."""
    _, relevant, _ = rare_features(6, sequences=1)
    assert tint.aup(torch.tensor(relevant).double(), torch.tensor(relevant)) == pytest.approx(0.525, abs=1e-5)
    flat = torch.tensor(relevant).flatten(1)
    assert float(TieGroups.of(flat.double(), flat, torch.ones_like(flat)).average_precision()) == 1.0


def test_reference_bug_padding_is_normalised_too(tint):
    """A padded sequence whose values are all above 0 has padding for its least value."""
    maps, relevant = torch.tensor([[[1.0], [0.5], [0.0]]]), torch.tensor([[[1.0], [0], [0]]])
    ours = four(told(maps, relevant, [2]))[0].tolist()
    assert ours == pytest.approx(literal([1, 0.5], [True, False]), abs=1e-12)
    assert _min_max_scaled(maps.flatten(1).double(), torch.tensor([[True, True, False]]))[0].tolist() == pytest.approx(
        [1 / (1 + EPSILON), 0, 0]
    )
    assert theirs(tint, maps, relevant)[0] != pytest.approx(ours[0], abs=0.01)
