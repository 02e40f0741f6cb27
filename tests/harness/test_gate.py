"""When a run is worse than its baseline: the rule, on results made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench import bless, compare
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.archive import Archive, write_archive
from xrnnbench.harness.gate.changes import RESOLUTION, GateSettings
from xrnnbench.harness.gate.match_cells import Selection
from xrnnbench.harness.results.cells import Failure
from xrnnbench.harness.statistics.pairwise_tests import holm

from .results import BOUNDED, DOWN, EITHER, GAP, GLOBAL, METHOD, PASSES, TASK, TIME, UP, absent, cell, results, source

N = 60
RNG = np.random.default_rng(0)
BASE = RNG.normal(1, 0.3, size=N)
NOISE = RNG.normal(0, 0.05, size=N)
BROKEN = Failure(kind="KeyError", sentence="no such thing")


def only(comparison):
    (change,) = comparison.changes
    return change


def verdict(new, old=BASE, metric=UP, rule=None, **more):
    found = compare(results({metric.spec: new}, **more), results({metric.spec: old}, **more), rule)
    return only(found).verdict


# ---- scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "sign"), [(UP, 1), (DOWN, -1), (BOUNDED, 1), (GAP, -1)])
def test_the_direction_says_which_way_is_worse(metric, sign):
    base = BASE / 3
    assert verdict(base - sign * 0.1 + NOISE, base, metric) == "worse"
    assert verdict(base + sign * 0.1 + NOISE, base, metric) == "better"


def test_the_same_to_the_bit_asks_nothing():
    found = compare(results({"up": BASE, "passes": [3.0] * N}), results({"up": BASE, "passes": [3.0] * N}))
    assert (found.status, found.tests) == (0, 0)
    assert [(change.verdict, change.p, change.difference) for change in found.changes] == [("same", None, 0)] * 2


def test_a_fall_within_the_margin_is_no_fall_however_sure():
    change = only(compare(results({"up": BASE * 0.99}), results({"up": BASE})))
    assert (change.verdict, change.p < 1e-9) == ("same", True)
    assert verdict(BASE * 0.99, rule=GateSettings(margin=0.005)) == "worse"


def test_a_large_fall_that_may_be_chance_is_no_fall():
    rng = np.random.default_rng(4)
    change = only(compare(results({"up": BASE - 0.05 + rng.normal(0, 1, N)}), results({"up": BASE})))
    assert abs(change.difference) > change.margin
    assert (change.verdict, change.p > 0.01) == ("same", True)


def test_what_is_compared_are_sequences_not_means():
    """Two models twice say no more than one: their sequences are the same."""
    rng = np.random.default_rng(2)
    new = BASE - 0.08 + rng.normal(0, 0.25, N)
    one = only(compare(results({"up": new}), results({"up": BASE})))
    many = only(compare(results({"up": new}, seeds=range(5)), results({"up": BASE}, seeds=range(5))))
    assert (many.p, many.n, many.difference) == (pytest.approx(one.p), N, pytest.approx(one.difference))
    own = {"data": None}

    def of(values):
        return lambda key: cell(key, {"up": values}, **{**own, "data": f"data-{key.model_seed}"})

    apart = only(
        compare(results(of(new), seeds=range(5), metrics=(UP,)), results(of(BASE), seeds=range(5), metrics=(UP,)))
    )
    assert (apart.n, apart.p < one.p) == (5 * N, True)


def test_the_number_of_comparisons_counts_only_what_changed():
    """A fall one comparison would be sure of is lost among many that changed, and not among many that did not."""
    rng = np.random.default_rng(8)
    methods = [source(f"m{place}") for place in range(200)]
    fall = BASE - 0.06 + rng.normal(0, 0.12, N)

    def run(others):
        return results(
            lambda key: {"up": fall if key.method.spec == "m0" else others()}, methods=methods, metrics=(UP,)
        )

    base = results({"up": BASE}, methods=methods)
    still, moving = compare(run(lambda: BASE), base), compare(run(lambda: BASE + rng.normal(0, 0.12, N)), base)
    assert (still.tests, moving.tests) == (1, 200)
    assert [change.method for change in still.of("worse")] == ["m0"]
    assert not moving.of("worse")


def test_p_values_are_holms():
    rng = np.random.default_rng(9)
    methods = [source(f"m{place}") for place in range(5)]
    falls = {method.spec: BASE - 0.02 * place + rng.normal(0, 0.2, N) for place, method in enumerate(methods)}
    found = compare(results(lambda key: {"up": falls[key.method.spec]}, methods=methods, metrics=(UP,)),
                    results({"up": BASE}, methods=methods))  # fmt: skip
    alone = [only(compare(results({"up": falls[method.spec]}), results({"up": BASE}))) for method in methods]
    by_method = {change.method: change for change in found.changes}
    falling = [change.difference < 0 for change in alone]
    # of one side: those on the other are the largest among the corrected ones
    single = [change.p if down else 1 - change.p for change, down in zip(alone, falling, strict=True)]
    for method, p, down in zip(methods, holm(np.array(single)), falling, strict=True):
        if down:
            assert by_method[method.spec].p == pytest.approx(p, rel=0.02)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([UP, DOWN, BOUNDED, GAP]))
def test_swapping_run_and_baseline_swaps_worse_and_better(seed, metric):
    rng = np.random.default_rng(seed)
    new, old = (rng.random(25) + rng.normal(0, 0.1) for _ in range(2))
    swapped = {"worse": "better", "better": "worse"}
    # a margin by the baseline's own size is another one from the other side
    rule = GateSettings(margin=1e-9)
    found = verdict(new, old, metric, rule)
    assert verdict(old, new, metric, rule) == swapped.get(found, found)


def test_the_mean_of_a_quantile_metric_does_not_judge_it():
    """One value of a thousand and all others a little better: the median rules."""
    old = np.full(N, 0.5) + NOISE
    new = old - 0.1
    new[0] = 1e6
    assert verdict(new, old, GAP) == "better"


@pytest.mark.parametrize(
    ("metric", "base", "expected"),
    [
        (BOUNDED, np.array([0.1, 0.3]), 0.02),
        (source("up", direction="higher", low="0.0", high="inf"), np.array([10.0, 10.2]), 0.02 * 10.1),
        (UP, np.array([10.0, 10.2]), 0.02 * 10.1),
        (UP, np.array([-3.0, 3.0]), 0.02 * 3),
        (GAP, np.array([1.0, 1.0, 1.0, 9.0]), 0.02 * 2),
        (UP, np.zeros(4), RESOLUTION),
    ],
)
def test_the_margin_is_a_share_of_the_range_the_size_or_the_spread(metric, base, expected):
    chosen = {"metrics": (metric,)}
    change = only(compare(results({metric.spec: base + 1e-3}, **chosen), results({metric.spec: base}, **chosen)))
    assert change.margin == pytest.approx(expected)


@pytest.mark.parametrize(
    "rule", [{"margin": -0.1}, {"margin": math.nan}, {"margin": math.inf}, {"alpha": 0}, {"alpha": 1}]
)
def test_a_rule_that_cannot_be_is_refused(rule):
    with pytest.raises(UsageError, match="does not fit"):
        GateSettings(**rule)


def test_too_few_to_tell_is_said():
    found = compare(
        results({"up": [0.1, 0.2, 0.3], "passes": [1.0] * 3}), results({"up": [0.9] * 3, "passes": [1.0] * 3})
    )
    change = next(each for each in found.changes if each.metric == "up")
    assert (change.verdict, change.reason) == ("informs", "3 differences are too few for a test")
    assert found.status == 0


def test_one_draw_for_all_sequences_is_one_piece_of_evidence():
    """A hundred sequences that rise and fall together are told apart from chance by explainer seeds alone."""
    new, old = BASE - 0.2 + NOISE, BASE
    found = compare(
        results({"up": new}, methods=[GLOBAL], seeds=range(3)), results({"up": old}, methods=[GLOBAL], seeds=range(3))
    )
    assert (only(found).verdict, only(found).reason) == ("informs", "1 difference is too few for a test")
    many = {"methods": [GLOBAL], "draws": range(8)}
    assert only(compare(results({"up": new}, **many), results({"up": old}, **many))).verdict == "worse"
    assert only(compare(results({"up": new}), results({"up": old}))).verdict == "worse"


# ---- counts, times, and what has no better ----------------------------------------------------------------------


@pytest.mark.parametrize(("more", "expected"), [(1, "worse"), (-1, "better"), (0, "same")])
@pytest.mark.parametrize("base", [5.0, 2.0**40])
def test_counts_are_exact(more, expected, base):
    old = np.full(4, base)
    new = old.copy()
    new[2] += more
    assert verdict(new, old, PASSES) == expected


def test_a_count_that_is_fewer_elsewhere_is_still_more_here():
    assert verdict([4.0, 7.0], [5.0, 6.0], PASSES) == "worse"


def test_a_count_that_is_gone_is_worse():
    assert verdict([4.0, math.nan], [4.0, 4.0], PASSES) == "worse"
    assert verdict([math.nan, 4.0], [math.nan, 4.0], PASSES) == "same"


@pytest.mark.parametrize("metric", [TIME, EITHER])
def test_times_and_what_has_no_better_only_inform(metric):
    found = compare(results({metric.spec: BASE * 9}), results({metric.spec: BASE}))
    assert (only(found).verdict, found.status) == ("informs", 3)
    assert only(found).difference == pytest.approx(8 * BASE.mean())


# ---- what is undefined, failed, gone, new or another thing -------------------------------------------------------


def test_more_undefined_values_are_worse_beyond_chance():
    new = BASE.copy()
    new[:20] = np.nan
    change = only(compare(results({"up": new}), results({"up": BASE})))
    assert (change.verdict, change.reason) == ("worse", "33.3% more values are undefined")
    assert only(compare(results({"up": BASE}), results({"up": new}))).verdict == "better"
    new = BASE.copy()
    new[0] = np.nan
    assert verdict(new) == "same"


@pytest.mark.parametrize("n", [2, N])
def test_nothing_defined_any_more_is_worse_however_few(n):
    change = only(compare(results({"up": np.full(n, np.nan)}), results({"up": BASE[:n]})))
    assert (change.verdict, change.reason) == ("worse", f"all {n} values are undefined now")


def test_nothing_defined_then_and_now_is_the_same():
    assert verdict(np.full(N, np.nan), np.full(N, np.nan)) == "same"


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ({"up": BROKEN}, "now failed: KeyError: no such thing"),
        ({"up": "it does not fit"}, "now not applicable: it does not fit"),
    ],
)
def test_a_score_that_is_lost_is_worse_and_one_that_is_found_is_better(new, reason):
    change = only(compare(results(new), results({"up": BASE})))
    assert (change.verdict, change.reason, change.size) == ("worse", reason, math.inf)
    back = only(compare(results({"up": BASE}), results(new)))
    assert (back.verdict, back.reason) == ("better", reason.replace("now", "before"))


def test_one_failed_cell_of_three_is_worse():
    def rows(key):
        return cell(key, {}, status="failed", failure=BROKEN, model="") if key.model_seed == 1 else {"up": BASE}

    found = compare(results(rows, seeds=range(3), metrics=(UP,)), results({"up": BASE}, seeds=range(3)))
    assert (only(found).verdict, found.status) == ("worse", 1)


def test_what_failed_then_and_now_is_said():
    both = {"up": BROKEN, "down": BASE}
    found = compare(results(both), results(both))
    assert [(each.metric, each.reason) for each in found.apart] == [("up", "failed in both")]
    assert found.status == 0


FIRST, SECOND = source("first"), source("second")


def test_what_the_run_no_longer_has_is_a_regression():
    base = results({"up": BASE, "down": BASE}, tasks=(FIRST, SECOND), methods=(METHOD, GLOBAL), seeds=(0, 1))
    run = results({"up": BASE}, tasks=(FIRST,), methods=(METHOD,), seeds=(0,))
    found = compare(run, base)
    assert found.status == 1
    assert {(each.task, each.method, each.metric, each.reason, each.cells) for each in found.gone} == {
        ("first", "good", "", "the run has no such seed", 1),
        ("first", "global", "", "the run has no such method", 2),
        ("second", "good", "", "the run has no such task", 2),
        ("second", "global", "", "the run has no such task", 2),
        ("", "", "down", "the run has no such metric", 0),
    }
    chosen = Selection(("first",), ("good",), ("up",))
    smaller = compare(
        run, results({"up": BASE, "down": BASE}, tasks=(FIRST, SECOND), methods=(METHOD, GLOBAL)), None, chosen
    )
    assert (smaller.status, smaller.gone) == (0, ())


def test_what_was_never_explained_cannot_be_lost():
    def rows(key):
        return {"up": BASE} if key.method.spec == "good" else cell(key, {}, status="failed", failure=BROKEN)

    found = compare(results({"up": BASE}), results(rows, methods=(METHOD, GLOBAL), metrics=(UP,)))
    assert (found.status, found.gone) == (0, ())


def test_what_is_new_is_told_and_does_not_matter():
    run = results({"up": BASE, "down": BASE}, tasks=(FIRST, SECOND), methods=(METHOD, GLOBAL))
    found = compare(run, results({"up": BASE}, tasks=(FIRST,)))
    assert found.status == 0
    assert {(each.task, each.method, each.metric) for each in found.new} == {
        ("first", "global", ""), ("second", "good", ""), ("second", "global", ""), ("", "", "down"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"data": "another"}, "both have no ids to find the same sequences by: give ids=… to both"),
        ({"data": "another", "ids": ("a", "b")}, "the baseline has no ids"),
        ({"score": 0.1}, "the model is under its gate"),
        ({"tasks": (source("first", version=2),)}, "the task has version 2, and had 1"),
    ],
)
def test_another_thing_is_not_comparable(more, reason):
    found = compare(results({"up": BASE - 1}, **more), results({"up": BASE}))
    assert (found.status, found.changes) == (3, ())
    (unmatched,) = found.apart
    assert reason in unmatched.reason


def test_other_sequences_and_other_metrics_are_not_comparable():
    found = compare(results({"up": BASE[:5]}), results({"up": BASE}))
    assert [each.reason for each in found.apart] == ["the sequences differ"]
    changed = results({"up": BASE})
    changed.axes = replace(changed.axes, metrics=(source("up", version=2, direction="higher"),))
    found = compare(results({"up": BASE}), changed)
    assert [(each.metric, each.reason) for each in found.apart] == [("up", "the metric has another version")]


def test_a_method_of_another_version_is_what_the_gate_is_for():
    run = results({"up": BASE - 0.2}, methods=(source("good", version=2),))
    assert compare(run, results({"up": BASE})).status == 1


def test_nothing_in_common_is_nothing_comparable_and_not_gone():
    run = results({"up": BASE}, tasks=(source("other"),))
    assert compare(run, results({"up": BASE})).status == 3


@pytest.mark.parametrize("kind", ["tasks", "methods", "metrics"])
def test_a_selection_of_what_there_is_not_is_refused(kind):
    with pytest.raises(UsageError, match=r"Neither the run nor the baseline has a .* 'frist'"):
        compare(results({"up": BASE}), results({"up": BASE}), None, Selection(**{kind: ("frist",)}))


def test_a_run_that_is_not_finished_is_refused():
    half = results(lambda key: absent() if key.model_seed else {"up": BASE}, seeds=(0, 1), metrics=(UP,))
    with pytest.raises(UsageError, match="mine is not finished: 1 of 2 cells are not computed"):
        compare(half, half)
    unjudged = results({"up": BASE}, metrics=(UP, DOWN))
    with pytest.raises(UsageError, match="1 of 1 cells lack scores"):
        compare(unjudged, unjudged)
    assert compare(unjudged, results({"up": BASE}), None, Selection(metrics=("up",))).status == 0


# ---- blessing ---------------------------------------------------------------------------------------------------


def test_a_run_is_no_worse_than_its_own_archive(tmp_path):
    rng = np.random.default_rng(0)

    def rows(_):
        return {"up": rng.normal(size=N) * 1e-3, "passes": rng.integers(0, 2**40, N), "time": rng.random(N)}

    run = results(rows, seeds=range(3), metrics=(UP, PASSES, TIME))
    bless(run, tmp_path)
    for found in (compare(run, Archive.load(tmp_path)), compare(Archive.load(tmp_path), run)):
        assert (found.status, found.tests, {change.difference for change in found.of("same")}) == (0, 0, {0})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (lambda key: cell(key, {}, status="failed", failure=BROKEN), "1 of 1 cells failed"),
        (lambda key: {"up": BROKEN}, "1 of 1 cells failed"),
        (absent, "1 of 1 cells are not computed"),
        (lambda key: {}, "1 of 1 cells lack scores"),
    ],
)
def test_what_is_not_whole_is_blessed_by_force_only(tmp_path, rows, said):
    run = results(rows, metrics=(UP,))
    with pytest.raises(UsageError, match=f"mine is no baseline: {said}.*--force"):
        bless(run, tmp_path)
    assert not list(tmp_path.iterdir())
    assert [path.name for path in bless(run, tmp_path, force=True)] == ["scores.npz", "archive.json"]
    # what is not there cannot get worse
    assert compare(results({"up": BASE}), Archive.load(tmp_path)).status in {0, 3}


def test_the_same_cells_give_the_same_bytes(tmp_path):
    for place in ("one", "other"):
        write_archive(results({"up": BASE, "passes": np.ones(N)}), tmp_path / place)
    for name in ("archive.json", "scores.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_changes_come_worst_first():
    methods = [source(f"m{place}") for place in range(4)]
    falls = dict(zip([each.spec for each in methods], (0.0, -0.3, -0.6, 0.5), strict=True))
    run = results(lambda key: {"up": BASE + falls[key.method.spec] + NOISE}, methods=methods, metrics=(UP,))
    found = compare(run, results({"up": BASE}, methods=methods, tasks=(TASK,)))
    assert [change.method for change in found.changes] == ["m2", "m1", "m3", "m0"]
