"""Costs of a grid before it runs: exact for simple methods, growing with the work, and never an error."""

from __future__ import annotations

import time

import pytest

from xrnnbench import Benchmark
from xrnnbench.harness.execution.forecast.calibration import packaged_calibration
from xrnnbench.harness.execution.forecast.costs import Costs
from xrnnbench.harness.execution.forecast.trial import measured_shape, tried_method
from xrnnbench.harness.execution.grid import Grid
from xrnnbench.harness.execution.steps.build_model import build_model
from xrnnbench.harness.execution.steps.explain_cell import explain_cell
from xrnnbench.harness.results.cells import Key, plugin_info
from xrnnbench.harness.suites.suite import read_suite
from xrnnbench.plugins import build

from .conftest import METHODS, METRICS, spec

# Methods whose passes are the same for every sequence and every draw.
EXACT = (
    *("random", "magnitude", "saliency", "gradient-x-input", "integrated-gradients:tolerance=0", "smoothgrad"),
    *("deeplift", "lime", "permutation:draws=4", "occlusion", "gradient-shap"),
)


def infos(kind, *specs):
    return [plugin_info(build(kind, each)) for each in specs]


def key_of(task, method, seed=0):
    return Key(*infos("task", task), *infos("method", method), seed, 0)


def costs_of(*tasks, **more):
    return Costs.of([(plugin_info(task), task) for task in (build("task", each) for each in tasks)], **more)


@pytest.mark.parametrize("method", EXACT)
def test_passes_of_simple_methods_are_those_counted(method):
    task = build("task", "adding:instances=32")
    model = build_model(task, 0)
    key = key_of("adding:instances=32", method)
    cell, _ = explain_cell(key, build("method", method), model)
    estimate = costs_of("adding:instances=32").explaining_estimate(key)
    assert (estimate.forward, estimate.backward) == pytest.approx((cell.passes.forward, cell.passes.backward), rel=0.01)


def test_passes_of_scoring_are_those_counted(tmp_path):
    metrics = ["comprehensiveness", "sufficiency", "insertion-auc", "deletion-auc", "gini"]
    run = Benchmark(["adding:instances=32"], ["random"], metrics).run(tmp_path)
    ((key, cell),) = run.cells.items()
    counted = sum(cost.forward for cost in cell.measured.scoring.values())
    estimate = costs_of("adding:instances=32").scoring_estimate(key, infos("metric", *metrics))
    # two metrics share the outputs of one curve
    assert estimate.forward == pytest.approx(counted, rel=0.01)
    assert set(cell.measured.scoring) == set(metrics)
    assert all(cost.seconds > 0 for cost in cell.measured.scoring.values())


def test_more_work_costs_more():
    costs = costs_of("adding:instances=32", "adding:instances=64", "moving-box")
    few, many = (costs.explaining(key_of(f"adding:instances={count}", "lime")) for count in (32, 64))
    assert few < many < costs.explaining(key_of("moving-box", "lime"))
    assert costs.explaining(key_of("moving-box", "lime:samples=500")) < costs.explaining(key_of("moving-box", "lime"))
    key, metrics = key_of("moving-box", "lime"), infos("metric", "comprehensiveness", "max-sensitivity")
    parts = [costs.scoring(key, [metric]) for metric in metrics]
    assert costs.scoring(key, metrics) == pytest.approx(sum(parts))
    assert costs.scoring(key, infos("metric", "max-sensitivity:samples=20")) > parts[1]


def test_shared_results_cost_once():
    costs, key = costs_of("adding:instances=32"), key_of("adding:instances=32", "lime")
    once, both = (
        costs.scoring_estimate(key, infos("metric", *names))
        for names in (["max-sensitivity"], ["max-sensitivity", "local-lipschitz"])
    )
    assert both.forward == once.forward


def test_metrics_that_do_not_apply_cost_nothing():
    costs = costs_of("adding:instances=32")
    metrics = infos("metric", "explainer-seed-agreement")
    assert costs.scoring(key_of("adding:instances=32", "saliency"), metrics) == 0
    assert costs.scoring(key_of("adding:instances=32", "lime"), metrics) > 0
    assert costs.explaining(key_of("adding:instances=32", "attention")) == 0


def test_ties_need_more_orders():
    costs, metrics = costs_of("adding:instances=32"), infos("metric", "deletion-auc")
    tied, untied = (
        costs.scoring_estimate(key_of("adding:instances=32", name), metrics).forward for name in ("uniform", "random")
    )
    assert tied == pytest.approx(8 * untied)


def test_unknown_plugins_cost_something_and_never_an_error():
    grid = Grid.of([spec("SmallTask")], [spec(name) for name in METHODS], [spec(name) for name in METRICS], [0], [0])
    costs = Costs.of(grid.tasks)
    metrics = [info for info, _ in grid.metrics]
    for key in grid.all_keys():
        assert costs.explaining(key) > 0
        assert costs.scoring(key, metrics) > 0
        assert costs.training(key.task, 0) == 0


def test_training_costs_nothing_where_a_model_is_there(monkeypatch, tmp_path):
    monkeypatch.setenv("XRNNBENCH_CACHE", str(tmp_path))
    costs = costs_of("adding")
    (info,) = infos("task", "adding")
    assert costs.training(info, 0) == 0  # published
    assert costs.training(info, 77) > 0
    assert costs_of("adding", retrain=True).training(info, 0) == costs.training(info, 77)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"adding-seed77-{'0' * 32}.safetensors").write_bytes(b"")
    assert costs_of("adding").training(info, 77) == 0
    assert Costs(costs.tasks, exact=True).training(info, 77) > 0


def test_core_is_quick():
    suite = read_suite("core")
    grid = Grid.of(suite.tasks, suite.methods, suite.metrics, suite.seeds, suite.explainer_seeds)
    packaged_calibration.cache_clear()
    start = time.process_time()
    costs, metrics = Costs.of(grid.tasks), [info for info, _ in grid.metrics]
    seconds = [costs.explaining(key) + costs.scoring(key, metrics) for key in grid.all_keys()]
    trainings = [costs.training(info, seed) for info, task in grid.tasks for seed in grid.seeds_of(task)]
    assert time.process_time() - start < 1
    assert len(seconds) == 2280
    assert set(trainings) == {0.0}


def test_every_builtin_method_and_task_of_core_is_calibrated():
    calibration, suite = packaged_calibration(), read_suite("core")
    assert {each.partition(":")[0] for each in suite.tasks} == set(calibration.tasks)
    assert set(suite.methods) <= set(calibration.methods)
    assert all(plugin_info(build("metric", each)).spec in calibration.metrics for each in suite.metrics)


def test_sizes_and_trials_are_measured():
    subject = build_model(build("task", "adding:instances=16"), 0).subject
    before = subject.cost.copy()
    shape = measured_shape(subject)
    assert (shape.instances, subject.cost) == (16, before)
    assert shape.features == pytest.approx(2 * shape.steps)
    assert shape.forward > 0
    figures = tried_method(build("method", "smoothgrad"), subject)
    assert (figures.forward, figures.backward) == (32, 32)
    assert tried_method(build("method", "attention"), subject) is None
