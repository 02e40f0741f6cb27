"""The gate is silent where nothing changed, and speaks where an explainer got worse: a small simulation.

The scores are genuine: built-in methods under built-in metrics on a small task. tests/benchmarks/gate_simulation.py is
the large one, whose figures are in docs/gate.md.
"""

import numpy as np
import pytest

from xrnnbench import Benchmark, compare
from xrnnbench.harness.gate.changes import GateSettings
from xrnnbench.harness.results.cells import Key

from ..benchmarks.gate_simulation import Mixed, by_margin_alone, cut, independent, kept
from .conftest import spec

pytestmark = [pytest.mark.full, pytest.mark.no_cover]  # see pyproject.toml

DRAWS, GATES = 8, 60
STOCHASTIC = ("random", "lime:samples=30", "smoothgrad:samples=4", "permutation-importance:repeats=1")
METRICS = ("normalised-deletion", "comprehensiveness", "insertion-auc", "sensitivity-n", "gini", "forward-passes")
TASK = f"{spec('SmallTask')}:size=100"
LEVELS = (0.0, 0.2, 0.4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run of methods that draw random numbers, and of methods with noise in them."""
    methods = [*STOCHASTIC, *(Mixed("gradient-x-input", level) for level in LEVELS)]
    tasks = [TASK, f"{spec('OtherTask')}:size=10"]
    return Benchmark(tasks, methods, METRICS, (0,), range(DRAWS), name="nulls").run(tmp_path_factory.mktemp("runs"))


def reruns(run, rng):
    """Return two sides of a gate: for each task and method another explainer seed."""
    drawn, sides = {}, ({}, {})
    for key, scored in run.scored_cells.items():
        place = key.task.spec, key.method.spec
        drawn.setdefault(place, rng.choice(DRAWS, 2, replace=False))
        for side, seed in zip(sides, drawn[place], strict=True):
            if key.explainer_seed == seed:
                side[Key(key.task, key.method, key.model_seed, 0)] = scored
    return [kept(run, side, run.axes.methods) for side in sides]


@pytest.mark.full
def test_reruns_raise_no_alarm_and_what_the_rule_consists_of_is_needed(run):
    rng = np.random.default_rng(0)
    pairs = [reruns(run, rng) for _ in range(GATES)]
    alarms = [compare(*pair).status for pair in pairs]
    # one in a hundred is what α allows
    assert sum(alarms) <= 2
    assert set(alarms) <= {0, 1}
    assert sum(compare(*pair, GateSettings(margin=0)).status for pair in pairs) <= 3
    # the margin alone, and a hundred sequences of one draw taken for a hundred draws, cry wolf
    assert sum(by_margin_alone(compare(*pair)) for pair in pairs) > GATES / 2
    assert sum(compare(*map(independent, pair)).status for pair in pairs) > 5


def mixed(run, level, draw, rows):
    """Return one side of a gate: the method with some noise, cut to some sequences."""
    (base,) = (method for method in run.axes.methods if method.spec == "mixed")
    (method,) = (
        method
        for method in run.axes.methods
        if method.identity["name"] == "mixed" and method.identity["parameters"]["noise"] == level
    )
    cells = {
        Key(key.task, base, key.model_seed, 0): cut(scored, rows)
        for key, scored in run.scored_cells.items()
        if (key.task.spec, key.method.spec, key.explainer_seed) == (run.axes.tasks[0].spec, method.spec, draw)
    }
    return kept(run, cells, [base])


@pytest.mark.parametrize(
    ("level", "n", "least", "most"), [(0.4, 100, 1, 1), (0.2, 100, 0.3, 1), (0.4, 8, 0, 0.5), (0, 100, 0, 0)]
)
def test_noise_in_an_explainer_is_detected(run, level, n, least, most):
    rng = np.random.default_rng(1)
    found = []
    for gate in range(20):
        rows = rng.choice(100, n, replace=False)
        found.append(compare(mixed(run, level, gate % DRAWS, rows), mixed(run, 0.0, 0, rows)).status)
    assert least <= np.mean(found) <= most
