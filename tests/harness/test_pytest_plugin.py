"""The plug-in of pytest, in runs of its own."""

import pytest

from xrnnbench import bless

from .conftest import METHODS, TASKS, small_benchmark, spec

pytest_plugins = ["pytester"]

METRICS = ("Size", "Passes")
SMALLER = f"""
from xrnnbench import Benchmark

BENCHMARK = Benchmark(
    {[spec(name) for name in TASKS]}, {[spec(name) for name in METHODS]}, {[spec(name) for name in METRICS]},
    seeds=(0, 1, 2), name="small",
)
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return the folder of a run and that of the baseline it became."""
    out = tmp_path_factory.mktemp("kept")
    run = small_benchmark(metrics=METRICS).run(out)
    bless(run, out / "baseline")
    return run.folder, out / "baseline"


@pytest.fixture
def outside(pytester, monkeypatch):
    """Return a function that runs pytest on a test of these lines, as in somebody else's repository."""
    # neither this run's workers nor its options
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)

    def run(body, *options):
        pytester.makepyfile(test_gate=body)
        return pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider", *map(str, options))

    return run


GATED = "def test_gate(explanation_gate):\n    assert explanation_gate({}).status == 0\n"


def test_without_a_baseline_the_test_is_skipped_and_says_why(outside):
    found = outside(GATED.format("None"))
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*there is no baseline to compare with: * --xrnnbench-baseline=FOLDER*"])


@pytest.mark.parametrize("name", ["", "archive.json"])
@pytest.mark.full_except("archive.json")
def test_a_run_that_is_no_worse_passes(outside, kept, name):
    run, baseline = kept
    outside(GATED.format(repr(str(run))), f"--xrnnbench-baseline={baseline / name}").assert_outcomes(passed=1)


@pytest.mark.full
def test_a_run_its_path_and_a_benchmark_can_be_given(outside, kept):
    run, baseline = kept
    body = f"""
from pathlib import Path
from xrnnbench import Run, read_results
{SMALLER}

def test_gate(explanation_gate):
    for given in (Run.load({str(run)!r}), read_results({str(baseline)!r}), Path({str(run)!r}), BENCHMARK):
        assert explanation_gate(given).status == 0

def test_the_gate_is_the_sessions(explanation_gate):
    assert explanation_gate.rule.margin == 0.25
    assert not Path("results").exists()
"""
    found = outside(body, f"--xrnnbench-baseline={baseline}", "--xrnnbench-margin", "0.25")
    found.assert_outcomes(passed=2)


@pytest.mark.full
def test_a_worse_run_fails_with_the_report(outside, kept):
    body = f"""
from xrnnbench import Run

def test_gate(explanation_gate):
    run = Run.load({str(kept[0])!r})
    for scored in run.scored_cells.values():
        scored.scores[:] += 1
    explanation_gate(run)
    print("not reached")
"""
    found = outside(body, f"--xrnnbench-baseline={kept[1]}")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["small: worse", "*Of * comparisons with the baseline: * worse*", "*passes*"])
    found.stdout.no_fnmatch_line("*Traceback*")
    found.stdout.no_fnmatch_line("*not reached*")


@pytest.mark.full
def test_failed_cells_are_told_by_the_comparison_and_not_by_a_warning(outside, kept):
    body = f"""
from xrnnbench import Benchmark

def test_gate(explanation_gate):
    tasks, methods, metrics = [{spec("SmallTask")!r}], [{spec("Broken")!r}], [{spec("Size")!r}]
    explanation_gate(Benchmark(tasks, methods, metrics, seeds=(0, 1, 2), name="small"))
"""
    found = outside(body, f"--xrnnbench-baseline={kept[1]}", "-W", "error")
    found.assert_outcomes(failed=1)
    found.stdout.no_fnmatch_line("*FailedCellsWarning*")
    found.stdout.fnmatch_lines(["small: *"])


@pytest.mark.full
def test_nothing_comparable_fails(outside, kept):
    body = f"""
from dataclasses import replace
from xrnnbench import read_results

def test_gate(explanation_gate):
    run = read_results({str(kept[1])!r})
    for key, scored in run.scored_cells.items():
        prints = scored.cell.fingerprints.model_copy(update={{"data": "another"}})
        run.scored_cells[key] = replace(scored, cell=scored.cell.model_copy(update={{"fingerprints": prints}}))
    explanation_gate(run)
"""
    found = outside(body, f"--xrnnbench-baseline={kept[1]}")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["small: nothing comparable"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--xrnnbench-baseline=nowhere"],
            "*'nowhere' does not exist: 'xrnnbench bless RUN nowhere' makes a baseline*",
        ),
        (["--xrnnbench-margin=-1"], "*'-1' is not a share such as 0.02, at least 0*"),
        (["--xrnnbench-margin=much"], "*'much' is not a share such as 0.02, at least 0*"),
        (["--xrnnbench-margin=nan"], "*'nan' is not a share such as 0.02, at least 0*"),
    ],
)
@pytest.mark.full
def test_options_that_do_not_fit_end_the_session(outside, options, said):
    found = outside("def test_nothing():\n    pass\n", *options)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines([said])


@pytest.mark.full
def test_a_damaged_baseline_fails_in_one_sentence(outside, tmp_path, kept):
    (tmp_path / "archive.json").write_text("{", "utf-8")
    found = outside(GATED.format(repr(str(kept[0]))), f"--xrnnbench-baseline={tmp_path}")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*archive.json is damaged (it is no JSON*"])
    found.stdout.no_fnmatch_line("*Traceback*")


def test_sessions_that_do_not_use_it_load_nothing(outside):
    body = """
import sys

def test_light():
    libraries = ("torch", "numpy", "scipy", "pandas", "pydantic", "typer")
    heavy = (*libraries, "xrnnbench.harness.gate.gate", "xrnnbench.errors")
    assert "xrnnbench.harness.gate.pytest_plugin" in sys.modules
    assert [name for name in heavy if name in sys.modules] == []
"""
    # plug-ins of other packages load what they like
    others = ["-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "no:xdist", "-p", "no:xdist.looponfail"]
    outside(body, *others, "-p", "no:cov", "-p", "no:pytest_cov").assert_outcomes(passed=1)


def test_the_options_are_in_the_help(outside):
    found = outside("", "--help")
    found.stdout.fnmatch_lines(["explanations of recurrent networks:", "*--xrnnbench-baseline=FOLDER*"])
