"""A damaged ``run.json`` is said by one sentence, and costs no cell."""

import json

import pytest

from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.benchmark import Run

from .conftest import small_benchmark, write_sealed


def malformed(whole):
    """Every way a whole run.json may be wrong that would be met later, with what is said."""
    cell = next(iter(whole["cells"]))
    grid, origin = whole["grid"], whole["provenance"]
    nameless = [{**grid["tasks"][0], "identity": {}}]
    return {
        "suite": {**whole, "suite": {}},
        "no suite": {key: value for key, value in whole.items() if key != "suite"},
        "grid": {**whole, "grid": {"tasks": []}},
        "nameless": {**whole, "grid": {**grid, "tasks": nameless}},
        "no parameters": {**whole, "grid": {**grid, "metrics": [{**grid["metrics"][0], "identity": PLAIN}]}},
        "no metrics": {**whole, "grid": {**grid, "metrics": []}},
        "twice": {**whole, "grid": {**grid, "metrics": 2 * grid["metrics"]}},
        "text": {**whole, "grid": {**grid, "methods": "chance"}},
        "cells": {**whole, "cells": [cell]},
        "stranger": {**whole, "cells": {**whole["cells"], cell.replace("small-", "large-"): ""}},
        "elsewhere": {**whole, "cells": {"../../secret": ""}},
        "complete": {**whole, "complete": "yes"},
        "origin": {**whole, "provenance": {**origin, "libraries": ["torch"]}},
        "plug-ins": {**whole, "provenance": {**origin, "plug-ins": ["mine"]}},
        "boards": {**whole, "boards": None},
        "format": {**whole, "format": 3},
        "empty": {},
        "list": [],
        "number": 3,
    }


PLAIN = {"name": "plain", "parameters": None}
KINDS = (
    "no parameters",
    "suite",
    "no suite",
    "grid",
    "nameless",
    "no metrics",
    "twice",
    "text",
    "cells",
    "stranger",
    "elsewhere",
)
KINDS += ("complete", "origin", "plug-ins", "boards", "format", "empty", "list", "number", "not JSON", "\x00", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_run_file_is_said_and_goes_the_long_way(tmp_path, kind, calls):
    benchmark = small_benchmark(tasks=("SmallTask",), metrics=("Size",), seeds=(0,))
    path = benchmark.run(tmp_path).folder / "run.json"
    wrong = malformed(json.loads(path.read_text("utf-8")))
    if isinstance(wrong.get(kind), dict):
        write_sealed(path, wrong[kind])
    else:
        path.write_text(json.dumps(wrong[kind]) if kind in wrong else kind, "utf-8")
    with pytest.raises(UsageError, match=r"run.json is damaged \(.+\): 'xrnnbench run' with the same suite") as caught:
        Run.load(path.parent)
    assert "\n" not in str(caught.value)
    calls()
    run = benchmark.run(tmp_path)
    assert run.complete
    assert not run.nothing_to_do
    assert any("run.json is damaged" in notice for notice in run.store.notices)
    assert calls() == []
    assert benchmark.run(tmp_path).nothing_to_do
