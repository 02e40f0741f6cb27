"""The order over several tasks: against Demšar's example, scikit-posthocs, and literal definitions."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
from xrnnbench.harness.leaderboard.standings import cliques, corrected_scores, critical_difference, friedman, front
from xrnnbench.harness.results.cells import Axes, Cell, Key, Measured, Passes, PluginInfo, Record
from xrnnbench.harness.results.scored_cells import ScoredCell
from xrnnbench.harness.statistics.estimates import estimate

# AUC of C4.5 with none, one or both of its parameters tuned, on 14 data sets: Demšar 2006, table 2.
TUNED = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
]).T  # fmt: skip


def source(name, **facts):
    return PluginInfo(spec=name, identity={"name": name, "version": 1}, facts=facts)


HEADLINE = source("normalised-deletion", family="faithfulness", direction="higher", low="0", high="1")
METHODS = (*map(source, ("a", "b", "c", "d")), source("random", group="control"))
TASKS = (source("one", application="speech"), source("two", application="speech"), source("three", application="text"))


def scores(task, method, seed, headline=HEADLINE):
    rng = np.random.default_rng([TASKS.index(task), METHODS.index(method), seed])
    level = {"a": 0.8, "b": 0.7, "c": 0.6, "d": 0.65 if task is TASKS[2] else 0.2, "random": 0.1}[method.spec]
    return np.clip(level + 0.05 * rng.normal(size=30), 0, 1)


def board(tasks=TASKS, methods=METHODS, headline=HEADLINE, found=scores, absent=()):
    cells = {}
    for task in tasks:
        for method in methods:
            for seed in (0, 1, 2):
                key = Key(task, method, seed, 0)
                if (task.spec, method.spec) in absent:
                    record, rows = Record(metric=headline, status="not applicable", reason="no"), np.empty((0, 30))
                else:
                    rows = found(task, method, seed)[None]
                    undefined = int(np.isnan(rows).sum())
                    record = Record(metric=headline, status="scored", n=30 - undefined, undefined=undefined, row=0)
                forward = 30 * {"a": 10, "b": 100, "c": 2, "d": 1, "random": 0}.get(method.spec, 5)
                cell = Cell(
                    task=task, method=method, model_seed=seed, explainer_seed=0, status="explained", records=(record,),
                    passes=Passes(forward=forward, backward=30), measured=Measured(date=""),
                )  # fmt: skip
                cells[key] = ScoredCell(cell, rows, np.empty((0, 0)))
    return make_leaderboard("mine", Axes(tasks, methods, (headline,)), cells, {})


def test_the_paper_s_example():
    """Demšar rounds mean ranks to 3.143, 2.000, 2.893, 1.964, χ² to 9.28, the critical difference to 1.25."""
    ranks = stats.rankdata(-TUNED, axis=0)
    assert ranks.mean(1) == pytest.approx([3.143, 2.0, 2.893, 1.964], abs=5e-4)
    assert critical_difference(4, 14) == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=2e-4)
    chi, p = friedman(ranks)
    # the paper's formula leaves out the correction for ties that scipy makes
    uncorrected = 12 * 14 / (4 * 5) * (np.square(ranks.mean(1)).sum() - 4 * 25 / 4)
    assert uncorrected == pytest.approx(9.28, abs=0.05)
    assert chi >= uncorrected
    assert p == pytest.approx(stats.chi2.sf(chi, 3))


def test_the_critical_difference_is_where_scikit_posthocs_is_at_five_percent():
    posthocs = pytest.importorskip("scikit_posthocs", reason="the extra 'peers' is not installed")
    for methods, tasks in ((3, 5), (4, 14), (13, 5), (40, 23)):
        critical = critical_difference(methods, tasks)
        base = np.arange(methods, dtype=float)
        scores = np.tile(base, (tasks, 1))
        theirs = posthocs.posthoc_nemenyi_friedman(pd.DataFrame(scores)).to_numpy()
        differences = np.abs(base[:, None] - base[None])
        assert np.array_equal(theirs < 0.05, differences > critical)


def test_too_few_for_a_test():
    assert critical_difference(2, 10) is None
    assert critical_difference(5, 1) is None
    assert friedman(np.ones((5, 4))) is None
    assert cliques({"a": 1.0, "b": 2.0}, None) == ()


def test_cliques_are_the_largest():
    assert cliques({"a": 1.0, "b": 1.4, "c": 1.9, "d": 2.4}, 1.0) == (("a", "b", "c"), ("b", "c", "d"))
    assert cliques({"a": 1.0, "b": 5.0}, 1.0) == ()
    assert cliques({"b": 1.0, "a": 1.0, "c": 1.0}, 1.0) == (("b", "a", "c"),)


def test_the_front_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    quality = {str(place): float(value) for place, value in enumerate(rng.integers(0, 6, 30))}
    cost = {str(place): float(value) for place, value in enumerate(rng.integers(0, 6, 30))}

    def beats(one, other):
        return (
            quality[one] >= quality[other]
            and cost[one] <= cost[other]
            and (quality[one], cost[one]) != (quality[other], cost[other])
        )

    expected = {one for one in quality if not any(beats(other, one) for other in quality)}
    assert front(quality, cost) == expected
    assert front({"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 2.0}) == {"a", "b"}, "equals do not beat each other"


def test_methods_stand_by_their_mean_ranks():
    (standing, speech) = board().standings
    assert (standing.scope, standing.tasks) == ("", ("one", "two", "three"))
    assert [method.spec for method in standing.methods] == ["a", "b", "c", "d", "random"]
    assert standing.ranks == pytest.approx({"a": 1, "b": 2, "c": 10 / 3, "d": 11 / 3, "random": 5})
    ranks = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 4], [4, 4, 3], [5, 5, 5]])
    assert standing.friedman == pytest.approx(stats.friedmanchisquare(*ranks))
    assert standing.critical == pytest.approx(critical_difference(5, 3))
    assert standing.cost == {"a": 12.0, "b": 102.0, "c": 4.0, "d": 3.0, "random": 2.0}
    assert standing.front == {"a", "c", "d"}
    assert (speech.scope, speech.tasks) == ("speech", ("one", "two"))
    assert speech.ranks["d"] == 4.0
    assert speech.without == {"one": ("a", "b", "c", "d", "random"), "two": ("a", "b", "c", "d", "random")}


def test_a_task_less():
    standing = board().standings[0]
    assert standing.without["three"] == ("a", "b", "c", "d", "random")
    assert set(standing.without) == set(standing.firmness) == {"one", "two", "three"}
    assert standing.firmness["three"] == pytest.approx(1.0)
    expected = stats.kendalltau([1, 2, 3.5, 3.5, 5], [1, 2, 10 / 3, 11 / 3, 5]).statistic
    assert standing.firmness["one"] == pytest.approx(expected)


def test_chance_is_nought_and_the_best_is_one():
    standing = board().standings[0]
    assert standing.corrected["random"].mean == 0
    assert standing.corrected["a"].mean == pytest.approx(1.0)
    assert standing.corrected["a"].low == standing.corrected["a"].high == pytest.approx(1.0)
    for method in METHODS:
        ratios = []
        for task in TASKS:
            means = {each.spec: np.mean([scores(task, each, seed) for seed in (0, 1, 2)]) for each in METHODS}
            ratios.append((means[method.spec] - means["random"]) / (max(means.values()) - means["random"]))
        value = standing.corrected[method.spec]
        assert value.mean == pytest.approx(np.mean(ratios))
        assert value.low <= value.mean <= value.high
    assert 0 < standing.corrected["b"].high - standing.corrected["b"].low < 0.2


def test_the_spread_of_a_corrected_mean_is_that_of_the_ratio():
    """Against the ratio itself, computed anew from many drawn sets of sequences."""
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.1, 60)
    made = {
        name: [level + hard + rng.normal(0, 0.05, 60)] for name, level in (("random", 0.1), ("x", 0.5), ("best", 0.9))
    }
    found = estimate(corrected_scores(made, "random", "best")["x"])
    ratios = []
    for _ in range(4000):
        drawn = rng.integers(0, 60, 60)
        low, mean, high = (made[name][0][drawn].mean() for name in ("random", "x", "best"))
        ratios.append((mean - low) / (high - low))
    assert [found.low, found.high] == pytest.approx(np.quantile(ratios, [0.025, 0.975]), abs=0.004)


def test_lower_may_be_better():
    gap = source("normalised-deletion", family="faithfulness", direction="lower")
    standing = board(headline=gap, found=lambda *key: 1 - scores(*key)).standings[0]
    assert [method.spec for method in standing.methods] == ["a", "b", "c", "d", "random"]
    assert standing.corrected["a"].mean == pytest.approx(1.0)
    assert standing.front == {"a", "c", "d"}


def test_only_methods_scored_on_every_task_take_part():
    standing = board(absent={("two", "b")}).standings[0]
    assert [method.spec for method in standing.methods] == ["a", "c", "d", "random"]
    # the best known of a task may be a method that is not scored on all
    assert standing.corrected["a"].mean == pytest.approx(1.0)
    lost = board(absent={("two", "random")}).standings[0]
    assert lost.corrected == {}
    assert lost.front == {"a", "c", "d"}, "by mean rank where chance is not known"
    alone = board(absent={(task, method.spec) for task in ("one", "two") for method in METHODS[1:]})
    assert alone.standings == (), "one method is no order"


def test_chance_that_is_the_best_measures_nothing():
    standing = board(found=lambda task, method, seed: 1 - scores(task, method, seed)).standings[0]
    assert standing.methods[0].spec == "random"
    assert standing.corrected == {}


def test_no_direction_no_order():
    assert board(headline=source("size", direction="neither")).standings == ()


def test_equal_methods_share_their_rank():
    standing = board(found=lambda task, method, seed: scores(task, METHODS[0], seed)).standings[0]
    assert set(standing.ranks.values()) == {3.0}
    assert standing.friedman is None
    assert all(math.isnan(value) for value in standing.firmness.values())


def test_entries_say_what_is_left_open():
    table = board().tables[0]
    entries = {method.spec: table.entries[method.spec, HEADLINE.spec] for method in METHODS}
    assert {spec: entry.rank_range for spec, entry in entries.items()} == {
        "a": (1, 1), "b": (2, 2), "c": (3, 3), "d": (4, 4), "random": None
    }  # fmt: skip
    assert {spec: entry.like_random for spec, entry in entries.items()} == {
        "a": False, "b": False, "c": False, "d": False, "random": None
    }  # fmt: skip
    same = board(found=lambda task, method, seed: scores(task, METHODS[4], seed)).tables[0]
    assert same.entries["a", HEADLINE.spec].rank_range == (1, 4)
    assert same.entries["a", HEADLINE.spec].like_random
