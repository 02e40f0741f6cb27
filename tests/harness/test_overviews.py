"""Means over tasks, by application and by family, and what the pages say of them, of places and of standings."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
from xrnnbench.harness.leaderboard.standings import Standing
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.results.cells import Axes, Cell, Key, Measured, PluginInfo, Record
from xrnnbench.harness.results.scored_cells import ScoredCell
from xrnnbench.harness.statistics.estimates import Estimate, scaled_quantile_draws
from xrnnbench.harness.statistics.variance_components import variance_estimate


def source(name, **facts):
    return PluginInfo(spec=name, identity={"name": name, "version": 1}, facts=facts)


TASKS = (source("a", application="speech"), source("b", application="speech"), source("c", application="text"))
METHODS = (source("one"), source("two"), source("random", group="control"))
HEADLINE = source("normalised-deletion", family="faithfulness", direction="higher")
TRUTH = source("average-precision", family="truth", direction="higher")
GAP = source("gap", family="faithfulness", direction="lower", statistic="median")
METRICS = (HEADLINE, GAP, TRUTH)


def scores(task, method, metric, seed):
    """Of every cell some other scores, the same whenever they are asked for; truth is not known of task c."""
    if metric is TRUTH and task.spec == "c":
        return None
    place = [METHODS.index(method), TASKS.index(task), METRICS.index(metric), seed]
    return np.random.default_rng(place).normal(size=20) - place[0]


def scored_cell(key, *, absent=(), undefined=()):
    records, rows = [], []
    for metric in METRICS:
        row = None if metric in absent else scores(key.task, key.method, metric, key.model_seed)
        if row is None:
            records.append(Record(metric=metric, status="not applicable", reason="no"))
            continue
        row = np.full(20, np.nan) if metric in undefined else row
        known = int(np.isfinite(row).sum())
        records.append(Record(metric=metric, status="scored", n=known, undefined=20 - known, row=len(rows)))
        rows.append(row)
    cell = Cell(
        task=key.task, method=key.method, model_seed=key.model_seed, explainer_seed=0, status="explained",
        records=tuple(records), measured=Measured(date=""),
    )  # fmt: skip
    return ScoredCell(cell, np.array(rows), np.empty((0, 0)))


def made(tasks=TASKS, change=None):
    cells = {}
    for task in tasks:
        for method in METHODS:
            for seed in (0, 1, 2):
                key = Key(task, method, seed, 0)
                cells[key] = scored_cell(key, **(change or {}).get((task.spec, method.spec), {}))
    return make_leaderboard("mine", Axes(tasks, METHODS, METRICS), cells, {})


def overview(board, name):
    return next(each for each in board.overviews if each.name == name)


def expected(method, metric, tasks, statistic=np.mean):
    """The mean over tasks and its interval, computed literally."""
    clusters = {task.spec: [scores(task, method, metric, seed) for seed in (0, 1, 2)] for task in tasks}
    mean = np.mean([statistic(np.concatenate(rows)) for rows in clusters.values()])
    if metric is GAP:
        streams = {task.spec: place for place, task in enumerate(TASKS)}
        draws = [scaled_quantile_draws([rows], streams[task], "median")[0] for task, rows in clusters.items()]
        return mean, *np.quantile(sum(draws) / len(draws), [0.025, 0.975])
    spreads = [variance_estimate(np.array(rows)[None]) for rows in clusters.values()]
    variance = sum(each.variance[0] for each in spreads)
    df = variance**2 / sum(each.variance[0] ** 2 / each.df[0] for each in spreads)
    reach = stats.t.ppf(0.975, df) * np.sqrt(variance) / len(tasks)
    return mean, mean - reach, mean + reach


def test_the_mean_of_an_application_is_over_its_tasks():
    board = made()
    assert [(each.scope, each.name) for each in board.overviews] == [
        ("application", "speech"), ("family", "faithfulness"), ("family", "truth")
    ]  # fmt: skip
    speech = overview(board, "speech")
    assert speech.tasks == {"normalised-deletion": ("a", "b")}
    for method in METHODS:
        value = speech.means[method.spec, HEADLINE.spec]
        assert (value.mean, value.low, value.high) == pytest.approx(expected(method, HEADLINE, TASKS[:2]))
        assert (value.n, value.seeds) == (120, 3)
    means = [speech.means[method.spec, HEADLINE.spec].mean for method in speech.methods]
    assert means == sorted(means, reverse=True)


def test_the_mean_of_a_metric_is_over_the_tasks_on_which_it_applies():
    board = made()
    truth, faithfulness = overview(board, "truth"), overview(board, "faithfulness")
    assert truth.tasks == {"average-precision": ("a", "b")}
    assert faithfulness.tasks["gap"] == ("a", "b", "c")
    for method in METHODS:
        value = truth.means[method.spec, TRUTH.spec]
        assert (value.mean, value.low, value.high) == pytest.approx(expected(method, TRUTH, TASKS[:2]))
        # the quantile of an inverted distribution function is one of the values
        middle = expected(method, GAP, TASKS, lambda row: np.sort(row)[(len(row) - 1) // 2])
        value = faithfulness.means[method.spec, GAP.spec]
        assert (value.mean, value.low, value.high) == pytest.approx(middle)


def test_the_headline_of_the_family_is_the_overall_mean():
    board = made()
    found = overview(board, "faithfulness").means
    assert {spec: found[spec, HEADLINE.spec] for spec in board.overall} == dict(board.overall)


def test_nothing_partial_is_averaged():
    change = {("a", "one"): {"absent": (TRUTH,)}, ("b", "two"): {"undefined": (TRUTH,)}}
    board = made(change=change)
    truth = overview(board, "truth")
    assert {spec for spec, _ in truth.means} == {"random"}
    text = render(board, "md")
    assert "Not shown, because they have no mean: one, two." in text
    everywhere = {("a", method.spec): {"undefined": (TRUTH,)} for method in METHODS}
    text = render(made(change=everywhere), "md")
    assert "No means of truth: no method is scored on every task to which a metric applies." in text


def test_one_task_and_one_application_are_no_overview():
    assert made(TASKS[:1]).overviews == ()
    assert {each.scope for each in made(TASKS[:2]).overviews} == {"family"}
    assert "By application" not in render(made(TASKS[:2]), "md")


def test_the_page_says_what_is_a_mean_over_what():
    text = render(made(), "md")
    assert (
        text.index("## Overview") < text.index("## By application") < text.index("## By family") < text.index("## a (")
    )
    assert "### speech: normalised-deletion ↑\n\n| method | mean over these | a | b |" in text
    truth = text.split("### Mean over tasks: truth")[1]
    assert "Over a, b.\n" in truth.split("##")[0]
    assert "Over all 3 tasks." in text


def test_csv_has_the_means_over_tasks_as_rows_of_their_own():
    rows = list(csv.DictReader(io.StringIO(render(made(), "csv"))))
    of = {scope: [row for row in rows if row["scope"] == scope] for scope in ("task", "application", "family")}
    assert len(rows) == sum(map(len, of.values()))
    assert (len(of["task"]), len(of["application"]), len(of["family"])) == (27, 3, 9)
    assert all(row["task"] and row["tasks"] == "1" for row in of["task"])
    assert not any(row["task"] for row in of["application"] + of["family"])
    assert {(row["application"], row["tasks"]) for row in of["application"]} == {("speech", "2")}
    assert {row["tasks"] for row in of["family"] if row["metric"] == TRUTH.spec} == {"2"}


def ranked():
    """A board with places and standings, as tests and ranks give them."""
    board = unranked(made())
    table = board.tables[0]
    entry = table.entries["one", HEADLINE.spec]
    entries = dict(table.entries) | {("one", HEADLINE.spec): replace(entry, rank_range=(1, 2))}
    value = Estimate(0.75, 0.5, 1.0, 60, 0, 3)
    standing = Standing(
        "", ("a", "b", "c"), METHODS, {"one": 1.33, "two": 1.67, "random": 3.0}, (4.67, 0.097), 1.91,
        (("one", "two"), ("two", "random")), {"one": value, "two": value, "random": replace(value, mean=0.0)},
        {"one": 32.0, "two": 1.0, "random": 0.0}, frozenset({"one", "two"}),
        {"a": ("two", "one", "random"), "b": ("one", "two", "random")}, {"a": 0.33, "b": 1.0},
    )  # fmt: skip
    return replace(board, tables=(replace(table, entries=entries), *board.tables[1:]), standings=(standing,))


def unranked(board):
    """The same without places and standings."""
    tables = [
        replace(table, entries={key: replace(entry, rank_range=None) for key, entry in table.entries.items()})
        for table in board.tables
    ]
    return replace(board, tables=tuple(tables), standings=())


def test_places_stand_beside_the_mean():
    text = render(ranked(), "md")
    assert text.count("] #1–2 |") == 3, "in the overview, by application, and on the task"
    assert "do not rule out any rank from 1 to 3" in text
    assert "#1–3" not in render(unranked(made()), "md")
    row = next(
        row
        for row in csv.DictReader(io.StringIO(render(ranked(), "csv")))
        if (row["task"], row["method"], row["metric"]) == ("a", "one", HEADLINE.spec)
    )
    assert (row["first"], row["last"]) == ("1", "2")


def test_standings_are_shown():
    text = render(ranked(), "md")
    assert "Standings" not in render(unranked(made()), "md")
    shown = text.split("## Standings")[1].split("\n## ")[0]
    assert "| method | mean rank ↓ | corrected mean ↑ | cost ↓ | front |" in shown
    assert "| one | **1.33** | **0.750** [0.500, 1.000] | 32.0 | yes |" in shown
    assert "| random (control) | 3.00 | 0.000 [0.500, 1.000] | 0 |  |" in shown
    assert (
        "Over 3 tasks. Friedman's χ² 4.670, p = 0.097. Critical difference of mean ranks (Nemenyi, 5 %): 1.91." in shown
    )
    assert "No significant difference in mean rank within: one, two; two, random." in shown
    assert "| a | .33 | two | one | random |" in shown
    assert shown.index("| a | .33") < shown.index("| b | 1.00")


def test_json_has_overviews_and_standings():
    found = json.loads(render(ranked(), "json"), parse_constant=pytest.fail)
    assert [each["name"] for each in found["overviews"]] == ["speech", "faithfulness", "truth"]
    assert found["overviews"][0]["scope"] == "application"
    assert found["overviews"][0]["tasks"] == {"normalised-deletion": ["a", "b"]}
    assert {each["method"] for each in found["overviews"][0]["means"]} == {"one", "two", "random"}
    (standing,) = found["standings"]
    assert standing["methods"] == ["one", "two", "random"]
    assert standing["front"] == ["one", "two"]
    assert standing["corrected"]["one"]["mean"] == 0.75
    assert standing["firmness"] == {"a": 0.33, "b": 1.0}
    entry = next(each for each in found["entries"] if (each["method"], each["metric"]) == ("one", HEADLINE.spec))
    assert (entry["first"], entry["last"]) == (1, 2)
