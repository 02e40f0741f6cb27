"""The board, read off cells made by hand."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
from xrnnbench.harness.reports.number_format import format_number
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.reports.terminal import print_overview
from xrnnbench.harness.results.cells import Axes, Cell, Competence, Failure, Key, Measured, PluginInfo, Record
from xrnnbench.harness.results.scored_cells import ScoredCell

ORIGIN = {"xrnnbench": "1.2", "commit": "abc", "code": "def", "python": "3", "libraries": {"torch": "2"}}
ORIGIN |= {"device": "cpu", "threads": 2, "system": "X", "command": "xrnnbench run", "date": "today"}
NONE = np.empty((0, 0))


def source(name, **facts):
    return PluginInfo(spec=name, identity={"name": name, "version": 1}, facts=facts)


UP = source("normalised-deletion", family="faithfulness", direction="higher", deterministic="True")
DOWN = source("gap", family="faithfulness", direction="lower", deterministic="True")
TIME = source("time", family="cost", direction="lower", unit="s", deterministic="False")
TASKS = (source("first", application="speech"), source("second"))
METHODS = (source("good"), source("bad"), source("oracle", group="control"))


def competence(score=0.9):
    return Competence(measure="accuracy", score=score, gate=0.8, baseline=0.5)


def cell(key, rows, *, failed=None, absent=None, fit=True, status="explained", seconds=(0.5, 0.5)):
    """Build a cell whose records have these rows; None for a metric that failed or is not applicable."""
    failure = Failure(kind="KeyError", sentence=failed) if failed else None
    common = {
        "task": key.task,
        "method": key.method,
        "model_seed": key.model_seed,
        "explainer_seed": key.explainer_seed,
        "competence": competence(0.9 if fit else 0.6),
    }
    if status != "explained":
        return ScoredCell(
            Cell(**common, status=status, failure=failure, reason=absent or "", measured=Measured(date="")), NONE, NONE
        )
    records, scores = [], []
    for spec, row in rows.items():
        metric = next(each for each in (UP, DOWN) if each.spec == spec)
        if row is None:
            state = (
                {"status": "failed", "failure": failure} if failed else {"status": "not applicable", "reason": absent}
            )
            records.append(Record(metric=metric, **state))
        else:
            defined = np.isfinite(row)
            records.append(
                Record(
                    metric=metric,
                    status="scored",
                    n=int(defined.sum()),
                    undefined=int((~defined).sum()),
                    row=len(scores),
                )
            )
            scores.append(row)
    timed = Record(metric=TIME, status="scored", n=len(seconds), row=0)
    made = Cell(**common, status=status, records=tuple(records), measured=Measured(date="", records=(timed,)))
    return ScoredCell(made, np.array(scores), np.array([seconds]))


def keys(method, task=TASKS[0], seeds=(0, 1)):
    return [Key(task, method, seed, 0) for seed in seeds]


def board(cells, tasks=TASKS[:1], methods=METHODS, metrics=(UP, DOWN, TIME)):
    return make_leaderboard("mine", Axes(tasks, methods, metrics), cells, ORIGIN)


def full(up, down=(0.5, 0.5), **more):
    return {UP.spec: np.array(up), DOWN.spec: np.array(down)}, more


def standard(**changes):
    """Two models of one task, three methods; changes by method."""
    found = {}
    for method, up in (("good", (0.6, 0.8)), ("bad", (0.1, 0.3)), ("oracle", (1.0, 1.0))):
        plugin = next(each for each in METHODS if each.spec == method)
        for key in keys(plugin):
            change = changes.get(method, {}).get(key.model_seed, {})
            rows = change.pop("rows", {UP.spec: np.array(up), DOWN.spec: np.array((0.5, 0.7))})
            found[key] = cell(key, rows, **change)
    return found


def test_means_intervals_and_order():
    table = board(standard()).tables[0]
    assert [method.spec for method in table.methods] == ["oracle", "good", "bad"]
    value = table.entries["good", UP.spec].value
    assert value.mean == pytest.approx(0.7)
    assert value.low < 0.6, "two models that agree on two sequences say little of others"
    assert value.high > 0.8
    assert (value.n, value.undefined, value.seeds) == (4, 0, 2)
    assert table.entries["good", "time"].value.mean == 0.5


def test_order_of_cells_does_not_show():
    forwards = standard()
    backwards = dict(reversed(forwards.items()))
    for ending in ("md", "csv", "json"):
        assert render(board(forwards), ending) == render(board(backwards), ending)


def test_undefined_values_are_counted():
    rows = {UP.spec: np.array([0.6, np.nan]), DOWN.spec: np.array([np.nan, np.nan])}
    found = board(standard(good={0: {"rows": rows}, 1: {"rows": dict(rows)}}))
    entries = found.tables[0].entries
    assert (entries["good", UP.spec].value.n, entries["good", UP.spec].value.undefined) == (2, 2)
    assert entries["good", "gap"].status == "scored"
    text = render(found, "md")
    assert "0.600** #1–2 n = 2, 2 undefined |" in text
    assert "undefined (4)" in text


def test_a_failed_cell_is_never_averaged_away():
    found = board(standard(good={1: {"status": "failed", "failed": "the reason"}}))
    entry = found.tables[0].entries["good", UP.spec]
    assert (entry.status, entry.notes) == ("failed", ("KeyError: the reason (model seed 1)",))
    assert found.failed == 1
    text = render(found, "md")
    assert "failed [1]" in text
    assert "1. KeyError: the reason (model seed 1)" in text
    assert "**1 of 6 cells failed**" in text
    assert "good" not in found.overall


def test_a_failed_metric_leaves_the_others():
    rows = {UP.spec: np.array([0.6, 0.8]), DOWN.spec: None}
    found = board(standard(good={0: {"rows": rows, "failed": "no"}}))
    entries = found.tables[0].entries
    assert entries["good", UP.spec].status == "scored"
    assert entries["good", "gap"].status == "failed"


def test_not_applicable_missing_and_unfit():
    absent = {"status": "not applicable", "absent": "no attention"}
    cells = standard(good={0: absent | {"fit": False}, 1: absent}, bad={0: {"fit": False}}, oracle={0: {"fit": False}})
    found = board(cells)
    table = found.tables[0]
    assert table.unfit == (0,)
    assert table.entries["good", UP.spec].status == "not applicable"
    assert table.entries["bad", UP.spec].value.seeds == 1
    text = render(found, "md")
    assert "**Unfit** models, which score under the gate and are not averaged: seed 0." in text
    assert "Not shown: good (no attention)." in text
    some = dict(list(standard().items())[:-1])
    some[keys(METHODS[2])[1]] = ScoredCell(None, NONE, NONE)
    assert board(some).tables[0].entries["oracle", UP.spec].status == "missing"
    assert "missing" in render(board(some), "md")
    none_fit = standard(**{name: {0: {"fit": False}, 1: {"fit": False}} for name in ("good", "bad", "oracle")})
    assert board(none_fit).tables[0].entries["good", UP.spec].status == "unfit"


def test_best_is_bold_and_controls_do_not_compete():
    text = render(board(standard()), "md")
    assert "| oracle (control) | 1.000 |" in text
    assert "| good | **0.700** [" in text
    assert "normalised-deletion ↑" in text
    assert "gap ↓" in text
    assert "time ↓ (s)" in text
    assert text.count("**0.600**") == 2, "a tie is shown as one"


def test_overview_needs_every_task():
    cells = standard()
    for method in METHODS[:2]:
        for key in keys(method, TASKS[1]):
            cells[key] = cell(key, {UP.spec: np.array([0.2, 0.4]), DOWN.spec: np.array([0.0, 0.0])})
    for key in keys(METHODS[2], TASKS[1]):
        cells[key] = cell(key, {}, status="not applicable", absent="no")
    found = board(cells, tasks=TASKS)
    assert set(found.overall) == {"good", "bad"}
    assert found.overall["good"].mean == pytest.approx((0.7 + 0.3) / 2)
    assert found.overall["good"].low < 0.5 < found.overall["good"].high
    assert [method.spec for method in found.methods] == ["good", "bad", "oracle"]


def test_explainer_seeds_are_averaged_for_each_sequence():
    task, method = TASKS[0], METHODS[0]
    cells = {
        Key(task, method, 0, seed): cell(
            Key(task, method, 0, seed), {UP.spec: np.array(row), DOWN.spec: np.array([np.nan] * 2)}
        )
        for seed, row in ((0, [0.0, 0.4]), (1, [1.0, np.nan]))
    }
    value = board(cells, methods=(method,)).tables[0].entries["good", UP.spec].value
    assert (value.mean, value.n) == (pytest.approx(0.45), 2)


def test_headline_without_normalised_deletion():
    assert board(standard(), metrics=(TIME, DOWN)).headline.spec == "gap"
    assert board(standard(), metrics=(TIME,)).headline.spec == "time"
    lower = board(standard(bad={0: {"rows": full((0, 0), (0.1, 0.1))[0]}}), metrics=(DOWN,))
    assert lower.tables[0].methods[0].spec == "bad"


def test_csv_is_long_and_complete():
    rows = list(csv.DictReader(io.StringIO(render(board(standard()), "csv"))))
    assert len(rows) == 3 * 3
    row = next(each for each in rows if (each["method"], each["metric"]) == ("good", "normalised-deletion"))
    assert (row["status"], row["application"], row["n"], row["direction"]) == ("scored", "speech", "4", "higher")
    assert float(row["mean"]) == pytest.approx(0.7)


def test_json_has_no_nan():
    absent = {"status": "not applicable", "absent": "no attention"}
    found = json.loads(
        render(board(standard(good={0: dict(absent), 1: dict(absent)})), "json"), parse_constant=pytest.fail
    )
    assert found["entries"][0]["mean"] is not None
    assert found["tasks"][0]["models"]["0"]["measure"] == "accuracy"
    assert found["provenance"] == ORIGIN
    assert {each["mean"] for each in found["entries"] if each["status"] == "not applicable"} == {None}


def test_origin_is_at_the_foot():
    text = render(board(standard()), "md")
    assert text.endswith("- `xrnnbench run`\n- today\n")
    assert "- xrnnbench 1.2, commit abc, code def" in text


def test_pipes_do_not_break_tables():
    odd = source("a|b", family="faithfulness", direction="higher", deterministic="True")
    assert "a\\|b ↑" in render(board(standard(), metrics=(UP, odd)), "md")


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (-0.12345, "-0.123"), (1234.5, "1,234"), (99.94, "99.9")])
def test_numbers(value, text):
    assert format_number(value) == text


def shown(made, *, width, terminal):
    file = io.StringIO()
    print_overview(made, Console(file=file, width=width, force_terminal=terminal, highlight=False, color_system=None))
    return file.getvalue()


def wide_board(tasks=12):
    named = tuple(source(f"task-number-{number}") for number in range(tasks))
    found = {}
    for place, task in enumerate(named):
        for method in METHODS:
            for key in keys(method, task):
                found[key] = cell(key, {UP.spec: np.array((0.125, 0.125 + place / 100)), DOWN.spec: np.zeros(2)})
    return board(found, tasks=named)


def test_a_terminal_has_whole_columns_of_as_many_tasks_as_fit():
    text = shown(wide_board(), width=60, terminal=True)
    assert max(map(len, text.splitlines())) <= 60
    heads = next(line for line in text.splitlines() if "method" in line and "mean" in line)
    assert heads.split() == ["method", "mean", "task-number-0", "task-number-1"]
    assert "10 of 12 tasks do not fit here; the board has them all." in text
    assert text.count("0.125") >= 3, "numbers are whole"


def test_where_there_is_room_or_no_terminal_nothing_is_hidden():
    for text in (shown(wide_board(), width=400, terminal=True), shown(wide_board(), width=60, terminal=False)):
        heads = next(line for line in text.splitlines() if "method" in line and "mean" in line)
        assert heads.split() == ["method", "mean", *(f"task-number-{number}" for number in range(12))]
        assert "do not fit" not in text
