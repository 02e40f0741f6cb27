"""What is said of a comparison, in every form."""

import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from xrnnbench import compare
from xrnnbench.harness.gate.gate_report import FORMS, report
from xrnnbench.harness.results.cells import Failure

from .results import BOUNDED, GLOBAL, METHOD, PASSES, TIME, UP, cell, results, source

N = 40
BASE = np.linspace(0.2, 0.8, N)
NOISE = np.random.default_rng(0).normal(0, 0.02, N)
FIRST, SECOND, THIRD = source("first"), source("second"), source("third")
BROKEN = Failure(kind="KeyError", sentence="a | b\n<c> & \x00 d")
METRICS = (UP, BOUNDED, PASSES, TIME)


OTHER_DATA = (
    "the data differ (sequences, targets, reference or background), and both have no ids to find the same sequences "
    "by: give ids=… to both"
)


def of_all_kinds():
    """A comparison with something in every part of its report."""

    def old(key):
        return {"up": BASE, "bounded": BASE, "passes": np.full(N, 9.0), "time": np.full(N, 0.5)}

    def new(key):
        rows = {**old(key), "up": BASE - 0.2 + NOISE, "bounded": BASE + 0.1 + NOISE, "time": np.full(N, 0.7)}
        if key.task.spec == "third":
            return cell(key, rows, data="another")
        return {**rows, "passes": BROKEN} if key.method.spec == "global" else rows

    tasks = (FIRST, SECOND, THIRD)
    base = results(old, tasks=tasks, methods=(METHOD, GLOBAL), metrics=METRICS)
    run = results(new, tasks=(FIRST, THIRD, source("fourth")), methods=(METHOD, GLOBAL), metrics=METRICS)
    return compare(run, base)


def nothing_in_common():
    return compare(results({"up": BASE}, data="another"), results({"up": BASE}))


def unchanged():
    return compare(results({"up": BASE}), results({"up": BASE}))


def test_json_says_everything():
    comparison = of_all_kinds()
    found = json.loads(report(comparison, "json"))
    assert (found["status"], found["verdict"], found["rule"]) == (
        1,
        "worse",
        {"margin": 0.02, "alpha": 0.01, "max_accuracy_loss": None},
    )
    assert len(found["changes"]) == len(comparison.changes)
    worst = next(change for change in found["changes"] if (change["method"], change["metric"]) == ("good", "up"))
    assert worst["verdict"] == "worse"
    assert worst["run"] - worst["baseline"] == pytest.approx(worst["difference"])
    assert worst["p"] < 0.01
    failed = next(
        change for change in found["changes"] if change["metric"] == "passes" and change["method"] == "global"
    )
    assert (failed["run"], failed["reason"]) == (None, "now failed: KeyError: a | b\n<c> & \x00 d")
    assert {each["task"] for each in found["gone"]} == {"second"}
    assert {each["reason"] for each in found["not comparable"]} == {OTHER_DATA}
    assert {each["task"] for each in found["new"]} == {"fourth"}


def test_junit_can_be_parsed_and_counts_what_it_has():
    comparison = of_all_kinds()
    root = ET.fromstring(report(comparison, "junit"))  # noqa: S314  # made by the line itself
    suite = root.find("testsuite")
    cases = suite.findall("testcase")
    failures = [case for case in cases if case.find("failure") is not None]
    assert len(failures) == len(comparison.of("worse")) + len(comparison.gone)
    assert suite.attrib["tests"] == str(len(cases))
    assert suite.attrib["failures"] == root.attrib["failures"] == str(len(failures))
    assert suite.attrib["skipped"] == str(sum(case.find("skipped") is not None for case in cases))
    named = {(case.attrib["classname"], case.attrib["name"]): case for case in failures}
    message = named["first / good", "up"].find("failure").attrib["message"]
    assert message.startswith("good on first: up was 0.500 and is 0.299 (-0.201; margin ")
    # what XML cannot say is replaced
    assert named["first / global", "passes"].find("failure").text.endswith("KeyError: a | b <c> & � d")


def test_junit_fails_where_nothing_is_comparable():
    root = ET.fromstring(report(nothing_in_common(), "junit"))  # noqa: S314  # as above
    assert root.attrib["failures"] == "1"
    assert "nothing is comparable" in report(nothing_in_common(), "junit")


def test_markdown_is_tables_a_reader_of_a_pull_request_sees():
    found = report(of_all_kinds(), "md")
    assert found.startswith("## mine: worse\n")
    assert "**2 worse, 2 gone**" in found
    lines = found.splitlines()
    tables = [line for line in lines if line.startswith("|")]
    # bars within a cell are escaped: all rows of a table have as many cells
    assert len({line.replace("\\|", "").count("|") for line in tables}) == 1
    # what a browser would take for a tag is text
    assert any("KeyError: a \\| b &lt;c> & �" in line for line in tables)
    assert any(line.startswith("| good | first | up ↑ | 0.500 | 0.299 | -0.201 |") for line in tables)
    for part in ("### Worse", "### Gone", "### Better", "### Not comparable", "### New", "### For information"):
        assert part in found
    assert "- global, good on second (2 cells): the run has no such task" in lines
    assert f"- global, good on third (2 cells): {OTHER_DATA}" in lines


def test_text_says_the_same():
    found = report(of_all_kinds(), "text")
    assert found.startswith("mine: worse\n")
    assert "**" not in found
    assert "|" not in found.replace("a | b", "")
    assert "global, good on second (2 cells): the run has no such task" in found


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_how_it_ended(form):
    for comparison, word in ((unchanged(), "no worse"), (nothing_in_common(), "nothing comparable")):
        found = report(comparison, form)
        assert found.endswith("\n")
        assert word in found or form == "junit"


def test_a_long_table_is_cut_and_says_so():
    methods = [source(f"m{place}") for place in range(60)]
    base = results({"up": BASE}, methods=methods)
    comparison = compare(results({"up": BASE - 0.3 + NOISE}, methods=methods), base)
    found = report(comparison, "md")
    assert len(re.findall(r"\n\| m\d+ ", found)) == 40
    assert "And 20 more, which the JSON has." in found
    assert len(found) < 65_536
    assert report(comparison, "json").count('"worse"') == 61
