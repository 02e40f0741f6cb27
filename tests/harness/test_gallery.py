"""What a page shows beside the board: samples that a run keeps, explanations of them, and curves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from xrnnbench.errors import FailedCellsWarning
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.execution.steps.take_samples import samples_of
from xrnnbench.harness.leaderboard.exhibits import make_gallery
from xrnnbench.harness.results.cell_checks import ARRAYS
from xrnnbench.harness.results.cells import scores_hash
from xrnnbench.harness.results.samples import CELLS, COUNT, TOKENS, Samples, read_samples, samples_path
from xrnnbench.harness.results.scored_cells import ScoredCell
from xrnnbench.harness.statistics.estimates import estimate
from xrnnbench.tasks.data.batch import Batch, Names, Truth

from . import page_boards
from .conftest import small_benchmark


@pytest.fixture(scope="module")
def made():
    grid = page_boards.axes(("random", "slope", "other"), ("one", "two"), ("normalised-deletion", "gini"))
    return grid, page_boards.made_cells(grid)


def gallery(grid, cells, samples=page_boards.samples_of):
    kept = {task.spec: samples(place, ("yes", "no")) for place, task in enumerate(grid.tasks)}
    return make_gallery(grid, grid.metrics[0], cells, lambda task: kept[task.spec])


def key_of(cells, task, method, seed=0):
    return next(key for key in cells if (key.task.spec, key.method.spec, key.model_seed) == (task, method, seed))


# ---- curves ---------------------------------------------------------------------------------------------------------


def test_curves_are_means_with_bands_like_those_of_scores(made):
    grid, cells = made
    found = gallery(grid, cells)
    assert found.metric == grid.metrics[0]
    curve = found.curves["two"]["slope"]
    rows = [cells[key_of(cells, "two", "slope", seed)].scores[1 : 1 + page_boards.POINTS] for seed in (0, 1)]
    np.testing.assert_allclose(curve.mean, np.concatenate(rows, axis=1).mean(1))
    for place in (0, 7, 20):
        value = estimate([each[place] for each in rows])
        half = (value.high - value.low) / 2
        assert curve.high[place] - curve.mean[place] == pytest.approx(half, rel=0.2)
        assert curve.mean[place] - curve.low[place] == pytest.approx(half, rel=0.2)


def test_a_curve_of_which_a_model_is_missing_is_not_shown(made):
    grid, cells = made
    key = key_of(cells, "one", "other", 1)
    for change in (page_boards.failed(key), ScoredCell(None, page_boards.NONE, page_boards.NONE)):
        assert set(gallery(grid, cells | {key: change}).curves["one"]) == {"random", "slope"}


def test_models_under_their_gate_have_no_part_in_a_curve(made):
    grid, cells = made
    key = key_of(cells, "one", "other", 1)
    poor = cells[key].cell.competence.model_copy(update={"score": 0.1})
    unfit = replace(cells[key], cell=cells[key].cell.model_copy(update={"competence": poor}))
    curve = gallery(grid, cells | {key: unfit}).curves["one"]["other"]
    rows = cells[key_of(cells, "one", "other", 0)].scores[1 : 1 + page_boards.POINTS]
    np.testing.assert_allclose(curve.mean, rows.mean(1))


def test_without_curves_none_is_named(made):
    grid, cells = made
    bare = {}
    for key, scored in cells.items():
        records = tuple(record.model_copy(update={"profile": 0}) for record in scored.cell.records)
        bare[key] = replace(scored, cell=scored.cell.model_copy(update={"records": records}))
    found = gallery(grid, bare)
    assert found.metric is None
    assert found.curves == {}


# ---- explanations ---------------------------------------------------------------------------------------------------


def test_maps_are_those_of_the_first_fit_model(made):
    grid, cells = made
    found = gallery(grid, cells).exhibits["two"]
    assert found.seed == 0
    kept = cells[key_of(cells, "two", "slope")].read().values
    for sample, shown in zip(found.samples.sequences, found.maps["slope"], strict=True):
        np.testing.assert_array_equal(shown, kept[sample.place, : len(sample.steps)])
    # the target is output 0, then 1, then 0
    assert found.targets == (found.samples.outputs[0], found.samples.outputs[1], found.samples.outputs[0])


def test_the_truth_is_turned_to_the_explained_output(made):
    grid, cells = made
    found = gallery(grid, cells).exhibits["one"]
    targets = cells[key_of(cells, "one", "slope")].read().target
    for sample, shown in zip(found.samples.sequences, found.truth, strict=True):
        sign = 1 if targets[sample.place] == 1 else -1
        np.testing.assert_allclose(shown, sign * np.array(sample.truth))
        literal = Truth(torch.tensor([sample.truth])[..., 0], "planted", "", signed=True, toward=1)
        turned = literal.turned(torch.tensor([int(targets[sample.place])]))
        np.testing.assert_allclose(shown[:, 0], turned[0], rtol=1e-6)


def test_samples_of_other_data_are_not_shown(made):
    grid, cells = made

    def other(place, words):
        return page_boards.samples_of(place, words).model_copy(update={"data": "other"})

    assert gallery(grid, cells, other).exhibits == {}
    assert gallery(grid, cells, lambda place, words: None).exhibits == {}


# ---- samples --------------------------------------------------------------------------------------------------------


def batch(lengths, width=2):
    inputs = torch.randn(len(lengths), max(lengths), width, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    truth = Truth(inputs * valid[:, :, None], "coefficient", "the sum", signed=True)
    targets = torch.arange(len(lengths)) % 2
    return Batch(inputs, torch.tensor(lengths), targets, {"main": truth, "second": truth})


def test_the_first_sequences_that_are_short_enough_are_kept():
    long = CELLS // 2 + 1
    found = samples_of(batch((long, 4, long, 5, 6, 7)), Names(features=("a",), outputs=("no", "yes")), "data")
    assert [each.place for each in found.sequences] == [1, 3, 4]
    assert found.features == ("a", "x1")
    assert [each.target for each in found.sequences] == ["yes", "yes", "no"]
    assert (found.reading.name, found.reading.signed) == ("main", True)
    for each in found.sequences:
        assert len(each.steps) == len(each.inputs) == len(each.truth) == each.length
        np.testing.assert_allclose(each.inputs, each.truth)


def test_of_long_sequences_the_first_steps_of_the_shortest_are_kept():
    found = samples_of(batch((2000, 1500, 1000, 3000)), Names(), "data")
    assert [(each.place, each.length, len(each.steps)) for each in found.sequences] == [
        (0, 2000, CELLS // 2),
        (1, 1500, CELLS // 2),
        (2, 1000, CELLS // 2),
    ]


def test_of_long_texts_the_first_words_are_kept():
    long = Batch(torch.zeros(3, 900, dtype=torch.int64), torch.tensor([900, 800, 5]), torch.tensor([0, 0, 0]))
    assert [len(each.steps) for each in samples_of(long, Names(), "data").sequences] == [TOKENS, TOKENS, 5]


def test_samples_come_back_as_they_were(tmp_path):
    tokens = Batch(torch.tensor([[1, 0, 9]]), torch.tensor([2]), torch.tensor([0]))
    found = samples_of(tokens, Names(vocabulary=("the", "<b>")), "data")
    assert found.sequences[0].steps == ("<b>", "the")
    assert found.reading is None
    assert Samples.model_validate_json(found.model_dump_json()) == found


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_a_run_keeps_samples_and_shows_them(tmp_path, calls):
    run = small_benchmark().run(tmp_path)
    text = (tmp_path / "leaderboard.html").read_text("utf-8")
    task = run.axes.tasks[0]
    kept = read_samples(run.folder, task)
    assert len(kept.sequences) == COUNT
    shown = run.gallery(run.leaderboard().headline).exhibits
    assert set(shown) == {"small", "other"}
    assert set(shown["small"].maps) == {"chance", "slope"}
    told = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [len(each["sequences"]) for each in told["exhibits"]] == [COUNT, COUNT]
    assert Run.load(run.folder).publish(("html",))[0].read_text("utf-8") == text
    calls()
    again = small_benchmark().run(tmp_path)
    assert again.nothing_to_do
    assert not [each for each in calls() if each.startswith("train")]


def test_samples_that_are_gone_or_damaged_leave_the_page_without_and_train_nothing(tmp_path, calls):
    run = small_benchmark().run(tmp_path)
    paths = [samples_path(run.folder, task) for task in run.axes.tasks]
    paths[0].unlink()
    paths[1].write_text("{", encoding="utf-8")
    assert run.gallery(run.leaderboard().headline).exhibits == {}
    calls()
    more = small_benchmark(metrics=("Size", "Kinship", "Passes")).run(tmp_path)
    assert set(more.gallery(more.leaderboard().headline).exhibits) == {"small", "other"}
    assert len([each for each in calls() if each.startswith("train")]) == 6


# ---- curves that a run keeps ----------------------------------------------------------------------------------------


def test_a_run_keeps_the_curve_of_every_sequence_beside_its_score(tmp_path):
    run = small_benchmark(metrics=("Size", "Falling")).run(tmp_path)
    metric = run.axes.metrics[1]
    for scored in run.scored_cells.values():
        record = scored.cell.record(metric)
        assert scored.profile(record).shape == (3, 8)
        np.testing.assert_allclose(scored.profile(record).mean(0), scored.row(record))
        assert scored.profile(scored.cell.record(run.axes.metrics[0])).shape == (0, 8)
    curves = run.gallery(run.leaderboard().headline).curves
    assert len(curves["small"]["slope"].mean) == 3
    assert 'id="curves"' in (tmp_path / "leaderboard.html").read_text("utf-8")
    # as it is read from disk
    assert Run.load(run.folder).gallery(run.leaderboard().headline).curves == curves


def test_a_curve_that_is_not_kept_or_damaged_is_computed_again_and_nothing_else(tmp_path, calls):
    names = {"metrics": ("Size", "Falling")}
    run = small_benchmark(**names).run(tmp_path)
    before = {key: scored.scores for key, scored in run.scored_cells.items()}
    without, damaged = list(run.cells)[:2]
    cell = run.cells[without]
    arrays = run.store.arrays(without, cell, *ARRAYS)
    kept = tuple(
        record.model_copy(update={"profile": 0, "scores": scores_hash(arrays["scores"][record.row])})
        for record in cell.records
    )
    run.store.save(without, cell.model_copy(update={"records": kept}), arrays)
    arrays = run.store.arrays(damaged, run.cells[damaged], *ARRAYS)
    arrays["scores"][run.cells[damaged].record(run.axes.metrics[1]).row + 2, 0] += 1
    np.savez(run.folder / f"{damaged.path}.npz", **arrays)
    calls()
    again = small_benchmark(**names).run(tmp_path)
    made = calls()
    assert made.count("score-falling") == 2
    assert not [each for each in made if each.startswith(("explain", "score-size"))]
    for key, scored in again.scored_cells.items():
        np.testing.assert_array_equal(scored.scores, before[key])


def test_a_curve_of_the_wrong_length_is_a_failure_of_its_metric(tmp_path, broken):
    broken("curve")
    with pytest.warns(FailedCellsWarning, match="metric 'falling' of method 'chance'"):
        run = small_benchmark(metrics=("Size", "Falling")).run(tmp_path)
    entry = run.leaderboard().tables[0].entries["slope", "falling"]
    assert entry.status == "failed"
    assert "did not return a finite curve of 3 points" in entry.notes[0]
    assert run.leaderboard().tables[0].entries["slope", "size"].status == "scored"
