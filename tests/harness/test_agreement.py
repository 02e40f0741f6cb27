"""What the board computes over methods: against literal definitions, and where the answer is known."""

import json
import subprocess
import sys
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.execution.benchmark import Run
from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
from xrnnbench.harness.reports.comparison_sections import format_correlation
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.results.cells import Axes, Cell, Competence, Failure, Key, Measured, PluginInfo, Record
from xrnnbench.harness.results.scored_cells import ScoredCell, StoredAttribution
from xrnnbench.harness.statistics.estimates import bootstrap_draws, percentile_interval
from xrnnbench.harness.statistics.method_agreement import Agreement, agreement_measures, agreements, mean_agreements
from xrnnbench.harness.statistics.rank_correlation import PairOrders, intervention_pairs, truth_pairs

from .conftest import cell_files, small_benchmark

# ---- methods beside methods -------------------------------------------------------------------------------------


def drawn_map(rng, shape, *, signed=True, levels=None, lengths=None):
    """Values of a few levels, so that many are tied and some are 0, or of any size."""
    values = rng.normal(size=shape) if levels is None else rng.integers(-levels, levels + 1, shape) / 4
    values = values if signed else np.abs(values)
    inside = np.arange(shape[1]) < lengths[:, None]
    return StoredAttribution(
        (values * inside.reshape(*inside.shape, *[1] * (len(shape) - 2))).astype(np.float32), lengths, signed
    )


def flat(each, sequence, *, by_steps):
    """The valid features of one sequence in float64."""
    values = each.values[sequence, : each.lengths[sequence]].astype(np.float64)
    if values.ndim == 2:
        values = values.sum(1) if by_steps else values.ravel()
    return values


def inclusion(relevance, k):
    """The probability that a random order of the tied features puts each among the first k, feature by feature."""
    found = []
    for value in relevance:
        above, tied = sum(relevance > value), sum(relevance == value)
        found.append(min(1.0, max(0.0, (k - above) / tied)))
    return np.array(found)


def literal(one, other, sequence):
    """The three measures of two maps for one sequence, by loops in float64; None where not defined."""
    by_steps = one.values.ndim == 2 or other.values.ndim == 2
    first, second = (flat(each, sequence, by_steps=by_steps) for each in (one, other))
    relevances = [np.abs(row) if each.signed else row for row, each in ((first, one), (second, other))]
    n = len(first)
    k = int(np.ceil(n / 10))
    ranks = None
    if min(np.ptp(row) for row in relevances) > 0:
        ranks = np.corrcoef(*(stats.rankdata(row) for row in relevances))[0, 1]
    tops = [inclusion(row, k) for row in relevances]
    equal = spoken = 0.0
    for feature in range(n):
        either = 1 - (1 - tops[0][feature]) * (1 - tops[1][feature])
        signs = {np.sign(first[feature]), np.sign(second[feature])}
        equal += either * (signs in ({1.0}, {-1.0}))
        spoken += either * (signs != {0.0})
    signs = equal / spoken if one.signed and other.signed and spoken else None
    return ranks, signs, sum(tops[0] * tops[1]) / k


def by_pair(found):
    return {(each.first, each.second): each for each in found}


@pytest.mark.parametrize("seed", range(4))
def test_all_pairs_agree_with_the_literal_definitions(seed):
    """Over methods by cells and by steps, signed and not, tied, constant, of several explainer seeds."""
    rng = np.random.default_rng(seed)
    models = []
    for _ in range(2):
        lengths = rng.integers(1, 8, 6)
        cells, steps = (6, 7, 3), (6, 7)
        models.append(
            {
                "cells": [drawn_map(rng, cells, lengths=lengths)],
                "tied": [drawn_map(rng, cells, levels=2, lengths=lengths) for _ in range(2)],
                "unsigned": [drawn_map(rng, cells, signed=False, levels=1, lengths=lengths)],
                "steps": [drawn_map(rng, steps, levels=3, lengths=lengths)],
                "zero": [drawn_map(rng, cells, levels=0, lengths=lengths)],
            }
        )
    found = by_pair(agreements(list(models[0]), models))
    assert set(found) == set(combinations(models[0], 2))
    for (first, second), each in found.items():
        expected = [
            literal(one, other, sequence)
            for maps in models
            for one in maps[first]
            for other in maps[second]
            for sequence in range(6)
        ]
        assert each.n == len(expected)
        assert each.undefined == sum(ranks is None for ranks, _, _ in expected)
        for measure, values in zip(("ranks", "signs", "tops"), zip(*expected, strict=True), strict=True):
            known = [value for value in values if value is not None]
            value = getattr(each, measure)
            assert value == (pytest.approx(np.mean(known), abs=1e-5) if known else None), (first, second, measure)


def test_identical_negated_and_constant_maps():
    rng = np.random.default_rng(0)
    lengths = np.array([30, 21, 12, 30])
    one = drawn_map(rng, (4, 30), lengths=lengths)
    negated = StoredAttribution(-one.values, lengths, signed=True)
    constant = StoredAttribution(np.where(one.values != 0, 2.0, 0.0), lengths, signed=True)
    maps = {"one": [one], "same": [one], "negated": [negated], "constant": [constant]}
    found = by_pair(agreements(list(maps), [maps]))
    same, turned, flat_map = (found["one", other] for other in ("same", "negated", "constant"))
    assert (same.ranks, same.signs, same.tops) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert (turned.ranks, turned.signs, turned.tops) == (pytest.approx(1), 0, pytest.approx(1))
    assert (flat_map.ranks, flat_map.n, flat_map.undefined) == (None, 4, 4)
    # a constant map has each feature in its top with probability k/n
    assert flat_map.tops == pytest.approx(np.mean([np.ceil(n / 10) / n for n in lengths]))


def test_ties_at_the_edge_count_as_all_their_orders_do():
    """Over every order of three tied features of one map and four of the other: the expected overlap."""
    one, other = np.array([5.0, 1, 1, 1] + [0.5] * 8), np.array([3.0] * 4 + [0.0] * 8)
    tops = [
        [{0, order[0]} for order in permutations((1, 2, 3))],
        [set(order[:2]) for order in permutations(range(4))],
    ]
    expected = np.mean([len(first & second) / 2 for first in tops[0] for second in tops[1]])
    found = agreement_measures(np.stack([one, other])[None], np.ones((1, 12), bool), np.array([True, True]))
    assert found[2, 0, 0, 1] == pytest.approx(expected)


def test_random_maps_agree_by_chance_and_padding_does_not_show():
    rng = np.random.default_rng(1)
    lengths = rng.integers(15, 41, 200)
    maps = {name: [drawn_map(rng, (200, 40), lengths=lengths)] for name in ("one", "other")}
    (found,) = agreements(list(maps), [maps])
    assert abs(found.ranks) < 0.05
    assert found.signs == pytest.approx(0.5, abs=0.06)
    assert found.tops == pytest.approx(np.mean(np.ceil(lengths / 10) / lengths), abs=0.04)
    wider = {
        name: [StoredAttribution(np.pad(each.values, ((0, 0), (0, 9))), lengths, signed=True)]
        for name, (each,) in maps.items()
    }
    (padded,) = agreements(list(maps), [wider])
    assert [padded.ranks, padded.signs, padded.tops] == pytest.approx([found.ranks, found.signs, found.tops], abs=1e-6)


def test_tasks_count_alike_and_only_where_two_methods_meet():
    tasks = [
        [Agreement("a", "b", 0.2, None, 0.5, 10, 1), Agreement("a", "c", None, None, 0.1, 10, 10)],
        [Agreement("a", "b", 0.4, 0.6, 0.7, 30, 0)],
    ]
    first, second = mean_agreements(["a", "b", "c"], tasks)
    assert (first.ranks, first.signs, first.tops) == (pytest.approx(0.3), 0.6, pytest.approx(0.6))
    assert (first.n, first.undefined, first.tasks) == (40, 1, 2)
    assert (second.ranks, second.tasks) == (None, 1)


# ---- metrics beside metrics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_kendall_in_every_draw_agrees_with_scipy(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 4, (2, 7, 50)) / 3
    one[2] = np.nan
    other[5, :20] = np.nan
    found = PairOrders.from_means(one).kendall(PairOrders.from_means(other))
    for draw in range(50):
        known = ~np.isnan(one[:, draw] + other[:, draw])
        expected = stats.kendalltau(one[known, draw], other[known, draw]).statistic
        assert found[draw] == pytest.approx(expected, nan_ok=True)


def test_equal_means_are_tied_whatever_their_last_bits():
    one = np.array([[0.1 + 0.2], [0.3], [1.0]])
    found = PairOrders.from_means(one).kendall(PairOrders.from_means(np.array([[1.0], [2.0], [3.0]])))
    assert found == pytest.approx(stats.kendalltau([1, 1, 2], [1, 2, 3]).statistic)


def test_rows_are_drawn_together_and_as_alone_where_all_is_defined():
    rng = np.random.default_rng(0)
    rows = rng.exponential(size=(3, 70))
    clusters = [rows[1, :30], rows[1, 30:]]
    for statistic in ("mean", "median", "p95"):
        found = bootstrap_draws(rows, (30, 40), 5, statistic)
        alone = bootstrap_draws(np.concatenate(clusters)[None], (30, 40), 5, statistic)
        assert np.allclose(found[1], alone[0], rtol=1e-12)
    rows[0, 3:] = np.nan
    rows[2] = np.nan
    found = bootstrap_draws(rows, (30, 40), 5)
    assert np.nanmin(found[0]) >= rows[0, :3].min() - 1e-12
    assert 0 < np.isnan(found[0]).mean() < 0.5, "in some draws none of the three is there"
    assert np.isnan(found[2]).all()
    assert np.array_equal(np.isnan(found[0]), np.isnan(bootstrap_draws(rows, (30, 40), 5, "median")[0]))


def metric(spec, family="faithfulness", direction="higher", **parameters):
    identity = {"name": spec.partition(":")[0], "version": 1, "parameters": parameters}
    facts = {"family": family, "direction": direction, "intervention": parameters.get("by", "")}
    return PluginInfo(spec=spec, identity=identity, facts=facts)


DROP, DROP_MEAN = metric("drop", by="reference", bins=5), metric("drop:by=mean", by="mean", bins=5)
DROP_OTHER = metric("drop:bins=9", by="reference", bins=9)
GAP = metric("gap", direction="lower")
TRUTH, RANK = metric("average-precision", "truth"), metric("rank-accuracy", "truth")
COST, NEITHER = metric("passes", "cost", "lower"), metric("size", direction="neither")


def test_interventions_are_metrics_that_differ_in_by_alone():
    metrics = (DROP, GAP, DROP_OTHER, DROP_MEAN)
    assert intervention_pairs(metrics) == [(DROP, DROP_MEAN)]
    newer = DROP_MEAN.model_copy(update={"identity": DROP_MEAN.identity | {"version": 2}})
    assert intervention_pairs((DROP, newer)) == []


def test_the_judge_is_average_precision_or_else_the_first_by_truth():
    pairs = truth_pairs((RANK, GAP, COST, TRUTH, NEITHER, DROP))
    assert pairs == [(GAP, TRUTH), (DROP, TRUTH)]
    assert truth_pairs((RANK, GAP)) == [(GAP, RANK)]
    assert truth_pairs((GAP, COST)) == []


# ---- on a board ----------------------------------------------------------------------------------------------------

METRICS = (TRUTH, DROP, DROP_MEAN, GAP, NEITHER, COST)
METHODS = tuple(PluginInfo(spec=f"method-{place}", identity={"name": f"method-{place}"}) for place in range(8))
TASKS = (PluginInfo(spec="first", identity={"name": "first"}), PluginInfo(spec="second", identity={"name": "second"}))


def scored_cell(key, rows, *, fit=True, status="explained", read=None):
    records = tuple(
        Record(metric=each, status="scored", n=len(rows[0]), row=place) for place, each in enumerate(METRICS)
    )
    failure = Failure(kind="KeyError", sentence="no") if status == "failed" else None
    competence = Competence(measure="accuracy", score=0.9 if fit else 0.1, gate=0.5, baseline=0.3)
    cell = Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=0,
        status=status,
        failure=failure,
        competence=competence,
        records=records if status == "explained" else (),
        measured=Measured(date=""),
    )
    return ScoredCell(cell, np.array(rows), np.empty((0, 0)), read)


def synthetic(rng, tasks=TASKS[:1], models=4, sequences=25):
    """Methods of rising truth; a metric that is the truth, a lower-is-better one, one whose methods are shuffled."""
    cells = {}
    lengths = np.full(sequences, 20)
    for task in tasks:
        for seed in range(models):
            truth = np.arange(8)[:, None] / 8 + 0.3 * rng.normal(size=(8, sequences))
            shuffled = rng.permuted(truth, axis=0)
            base = rng.normal(size=(sequences, 20))
            for place, method in enumerate(METHODS):
                key = Key(task, method, seed, 0)
                rows = [truth[place], truth[place], shuffled[place], -3 * truth[place] + 2, truth[place], truth[place]]
                # the higher its number the more of the same base has a method
                values = StoredAttribution(base * (place + 1) + rng.normal(size=base.shape), lengths, signed=True)
                cells[key] = scored_cell(key, rows, read=lambda values=values: values)
    return cells


def board(cells, tasks=TASKS[:1]):
    return make_leaderboard("mine", Axes(tasks, METHODS, METRICS), cells, {})


def test_a_metric_that_is_the_truth_and_one_that_is_shuffled():
    found = board(synthetic(np.random.default_rng(0)))
    comparisons = found.tables[0].comparisons
    by_truth = {each.first: each for each in comparisons.truth}
    assert set(by_truth) == {"drop", "drop:by=mean", "gap"}
    for spec in ("drop", "gap"):
        assert (by_truth[spec].tau, by_truth[spec].low, by_truth[spec].high) == (1, 1, 1)
    shuffled = by_truth["drop:by=mean"]
    assert abs(shuffled.tau) < 0.7
    assert shuffled.low < 0 < shuffled.high
    assert shuffled.high - shuffled.low > 0.5
    (between,) = comparisons.interventions
    assert (between.first, between.second, between.methods) == ("drop", "drop:by=mean", 8)
    assert between.tau == shuffled.tau
    assert (between.low, between.high) == (shuffled.low, shuffled.high), "the same draws for every metric"
    every = {(each.first, each.second): each.tau for each in found.comparisons.metrics}
    assert every["average-precision", "passes"] == pytest.approx(-1), "lower is better"
    assert every["average-precision", "gap"] == pytest.approx(1)
    assert not any("size" in pair for pair in every), "neither direction is better"


def test_tau_and_its_interval_agree_with_a_literal_bootstrap():
    cells = synthetic(np.random.default_rng(3), models=3)
    scores = {
        place: [cells[Key(TASKS[0], each, seed, 0)].scores for seed in range(3)] for place, each in enumerate(METHODS)
    }
    means = [[np.concatenate([row[metric] for row in scores[place]]).mean() for place in range(8)] for metric in (0, 2)]
    (found,) = board(cells).tables[0].comparisons.interventions
    assert found.tau == pytest.approx(stats.kendalltau(*means).statistic)
    rng = np.random.default_rng(0)
    taus = []
    for _ in range(1500):
        models = [(seed, rng.integers(0, 25, 25)) for seed in rng.integers(0, 3, 3)]
        drawn = [
            [np.mean([scores[place][seed][metric][chosen].mean() for seed, chosen in models]) for place in range(8)]
            for metric in (1, 2)
        ]
        taus.append(stats.kendalltau(*drawn).statistic)
    # τ of eight methods moves in steps of 1/14
    assert [found.low, found.high] == pytest.approx(percentile_interval(np.array(taus)), abs=0.08)


def test_the_interval_covers_what_the_means_without_noise_would_give():
    """Methods that the metrics tell apart, in two orders that differ in the upper half."""
    rng = np.random.default_rng(0)
    heights = np.arange(8.0)
    turned = np.concatenate([heights[:4], heights[4:][::-1]])
    expected = stats.kendalltau(heights, turned).statistic
    hits = 0
    for trial in range(60):
        rows = {}
        for name, means in (("one", heights), ("other", turned)):
            values = means[:, None, None] + rng.normal(0, 0.6, (8, 8, 1)) + rng.normal(0, 1, (8, 8, 12))
            rows[name] = bootstrap_draws(values.reshape(8, -1), (12,) * 8, trial)
        low, high = percentile_interval(
            PairOrders.from_means(rows["one"]).kendall(PairOrders.from_means(rows["other"]))
        )
        hits += low <= expected <= high
    assert hits >= 54


def test_tasks_are_averaged_with_their_own_draws():
    found = board(synthetic(np.random.default_rng(0), tasks=TASKS), tasks=TASKS)
    (mean,) = found.comparisons.interventions
    each = [table.comparisons.interventions[0] for table in found.tables]
    assert mean.tau == pytest.approx(np.mean([one.tau for one in each]))
    assert mean.tasks == 2
    assert mean.high - mean.low < np.mean([one.high - one.low for one in each])
    pair = found.comparisons.methods[0]
    assert pair.n == sum(table.comparisons.methods[0].n for table in found.tables) == 200


def test_a_method_that_lacks_a_map_is_compared_with_none_and_unfit_models_do_not_count():
    cells = synthetic(np.random.default_rng(0))
    lost = Key(TASKS[0], METHODS[3], 2, 0)
    cells[lost] = scored_cell(lost, [[0.0]], status="failed")
    for method in METHODS:
        key = Key(TASKS[0], method, 0, 0)
        cells[key] = scored_cell(key, cells[key].scores, fit=False, read=lambda: pytest.fail("an unfit model was read"))
    comparisons = board(cells).tables[0].comparisons
    pairs = by_pair(comparisons.methods)
    assert len(pairs) == 7 * 6 / 2
    assert not any("method-3" in pair for pair in pairs)
    assert {each.n for each in pairs.values()} == {3 * 25}
    assert {each.methods for each in comparisons.truth} == {7}


def test_the_page_says_what_agrees():
    cells = synthetic(np.random.default_rng(0))
    constant = StoredAttribution(np.ones((25, 20)), np.full(25, 20), signed=False)
    for seed in range(4):
        key = Key(TASKS[0], METHODS[0], seed, 0)
        cells[key] = scored_cell(key, cells[key].scores, read=lambda: constant)
    text = render(board(cells), "md")
    ranks, tops = (text.split("## Do methods agree?")[1].split("| method | 1 |")[part] for part in (1, 2))
    assert "| 8. method-0 | – | – | – | – | – | – | – | – |" in ranks, "constant"
    assert "| 8. method-0 | – | – | – | – | – | – | – | – |" in tops, "no signs"
    assert tops.splitlines()[2].endswith("| .10 |"), "the top of a constant map is a random one"
    assert "| drop and drop:by=mean (reference, mean) | " in text.split("## Do interventions agree?")[1]
    truth = text.split("## Do metrics agree with the truth?")[1]
    assert "orders the methods as average-precision does" in truth
    assert "| drop | 1.00 | 1.00 |" in truth
    assert text.index("## first") < text.index("## Do methods agree?") < text.index("## Origin")
    assert "**reference**: drop; **mean**: drop:by=mean." in text, "a board names its interventions"


def test_nothing_to_compare_is_left_out():
    cells = {key: cell for key, cell in synthetic(np.random.default_rng(0)).items() if key.method == METHODS[0]}
    found = make_leaderboard("mine", Axes(TASKS[:1], METHODS[:1], (DROP, DROP_MEAN)), cells, {})
    assert "Do " not in render(found, "md")
    assert json.loads(render(found, "json"))["comparisons"] == {
        "methods": [], "interventions": [], "truth": [], "metrics": []
    }  # fmt: skip


def test_json_has_every_comparison_by_task_and_over_tasks():
    found = json.loads(render(board(synthetic(np.random.default_rng(0), tasks=TASKS), tasks=TASKS), "json"))
    comparisons = found["comparisons"]
    assert len(comparisons["methods"]) == 3 * 28
    assert [row["task"] for row in comparisons["interventions"]] == [None, "first", "second"]
    assert {row["task"] for row in comparisons["metrics"]} == {None}
    assert comparisons["truth"][0] == {
        "task": None, "first": "drop", "second": "average-precision",
        "tau": 1.0, "low": 1.0, "high": 1.0, "methods": 8, "tasks": 2,
    }  # fmt: skip
    assert "intervention" in render(board(synthetic(np.random.default_rng(0))), "csv").splitlines()[0].split(",")


@pytest.mark.parametrize(
    ("value", "text"), [(0.304, ".30"), (-0.996, "-1.00"), (-0.001, ".00"), (1.0, "1.00"), (None, "–")]
)
def test_short_numbers(value, text):
    assert format_correlation(value) == text


# ---- from a folder -------------------------------------------------------------------------------------------------


def test_lengths_are_kept_and_damage_to_them_is_found(tmp_path, calls):
    benchmark = small_benchmark(tasks=("SmallTask",), methods=("Gradient",), metrics=("Size",))
    benchmark.run(tmp_path)
    path = cell_files(tmp_path, "small-*/slope-*/seed-1-0.npz")[0]
    with np.load(path) as file:
        arrays = dict(file)
    assert arrays["lengths"].dtype == np.int64
    values = np.abs(arrays["attribution"]).sum(2)
    assert all((row[length:] == 0).all() for row, length in zip(values, arrays["lengths"], strict=True))
    before = path.read_bytes()
    np.savez(path, **(arrays | {"lengths": arrays["lengths"] + 1}))
    calls()
    run = benchmark.run(tmp_path)
    assert [call for call in calls() if call.startswith("explain")] == ["explain-slope"]
    assert any("missing or damaged" in notice for notice in run.store.notices)
    assert path.read_bytes() == before


def test_cells_of_the_format_before_are_computed_again(tmp_path, calls):
    benchmark = small_benchmark(tasks=("SmallTask",), methods=("Gradient",), metrics=("Size",))
    benchmark.run(tmp_path)
    path = cell_files(tmp_path, "small-*/slope-*/seed-1-0.json")[0]
    path.write_text(path.read_text("utf-8").replace('"format": 3', '"format": 1'), "utf-8")
    calls()
    assert benchmark.run(tmp_path).complete
    assert [call for call in calls() if call.startswith("explain")] == ["explain-slope"]


@pytest.mark.full
def test_a_run_is_compared_without_torch_or_a_plugin(tmp_path):
    run = small_benchmark(tasks=("SmallTask",)).run(tmp_path)
    (pair,) = run.leaderboard().comparisons.methods
    assert (pair.first, pair.second, pair.n) == ("chance", "slope", 3 * 8)
    assert Run.load(run.folder).leaderboard() == run.leaderboard()
    script = (
        "import sys; from xrnnbench.harness.execution.run import Run\n"
        "from xrnnbench.harness.reports.render import render\n"
        "print(render(Run.load(sys.argv[1]).leaderboard(), 'md'))\n"
        "loaded = [name for name in sys.modules if name == 'torch' or name.startswith(('xrnnbench.methods', "
        "'xrnnbench.metrics', 'xrnnbench.tasks'))]\n"
        "assert not loaded, loaded"
    )
    found = subprocess.run([sys.executable, "-c", script, str(run.folder)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == run.boards["md"].read_text("utf-8").strip()
