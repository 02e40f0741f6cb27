"""A DataFrame in the place of a CSV file: it means what the file means, keeps its types, and goes to no disk."""

import copy
import dataclasses
import datetime as dt
import pickle
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xrnnbench import Benchmark, Task, build, task_from_csv
from xrnnbench.errors import DataError, ParameterError, UsageError
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.custom.csv_forecast import SeriesFile
from xrnnbench.tasks.readers.frames import HeldFrame
from xrnnbench.tasks.readers.labelled import LabelledFile
from xrnnbench.tasks.readers.sequences import ColumnMap


def patients(count=60, seed=0):
    """A row a step: the ill have a quick pulse."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"p{patient:02}", hour, 70 + 15 * (patient % 2) + rng.normal(), rng.normal(), ("well", "ill")[patient % 2])
        for patient in range(count)
        for hour in range(int(rng.integers(3, 7)))
    ]
    frame = pd.DataFrame(rows, columns=["patient", "hour", "pulse", "pressure", "outcome"])
    return frame.round({"pulse": 3, "pressure": 3})


def beats(count=40, seed=0):
    """A row a sequence."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(count, 3)).round(3), columns=["t1", "t2", "t3"])
    frame.loc[frame.index % 3 == 0, "t3"] = np.nan
    return frame.assign(label=np.where(frame["t1"] > 0, "up", "down"), who=[f"b{n}" for n in range(count)])


def reviews(count=40, seed=0):
    rng = np.random.default_rng(seed)
    words = ["the", "a", "film", "plot", "actor", "was"]
    texts = [" ".join([*rng.choice(words, 6), ("bad", "good")[n % 2]]) for n in range(count)]
    return pd.DataFrame({"review": texts, "label": [n % 2 for n in range(count)]})


def weather(days=200, seed=0):
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2020-01-01", periods=days, freq="D")
    warm = 3 * np.sin(np.arange(days) * 2 * np.pi / 24) + 0.3 * rng.normal(size=days)
    return pd.DataFrame({"date": dates, "warm": warm.round(3), "wind": rng.normal(size=days).round(3)})


LONG = {"id": "patient", "time": "hour", "predict": "outcome"}
LAYOUTS = {
    "long": (patients, LONG),
    "wide": (beats, {"predict": "label", "id": "who"}),
    "texts": (reviews, {"text": "review", "predict": "label"}),
    "forecast": (weather, {"time": "date", "forecast": "warm", "features": "wind", "steps": 8}),
}


def written(frame, tmp_path):
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    return path


def same_batches(one, other):
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.lengths, other.lengths)
    assert torch.equal(one.targets, other.targets)
    assert one.ids == other.ids


# ---- the same as a file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frame_means_what_the_same_table_means_in_a_file(layout, tmp_path):
    make, options = LAYOUTS[layout]
    frame = make()
    held, filed = task_from_csv(frame, **options).data(), task_from_csv(written(frame, tmp_path), **options).data()
    assert held.names == filed.names
    for part in ("train", "test", "explained", "background"):
        same_batches(getattr(held, part), getattr(filed, part))


class Totals(nn.Module):
    """As many scores as outputs from the sum over the steps."""

    def __init__(self, features, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(features, outputs)

    def forward(self, inputs, lengths):
        inside = torch.arange(inputs.shape[1]) < lengths[:, None]
        return self.linear((inputs * inside[:, :, None]).sum(1))


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(4, 2, padding_idx=0)

    def forward(self, inputs):
        return self.embedding(inputs).sum(1)


@pytest.mark.parametrize(
    ("layout", "model", "more"),
    [
        ("long", Totals(2, 2), {}),
        ("wide", Totals(1, 2), {}),
        ("texts", Bag(), {"vocabulary": {"<unk>": 1, "good": 2, "bad": 3}}),
        ("forecast", Totals(2, 1), {"outputs": "values"}),
    ],
)
def test_frame_means_what_a_file_means_to_a_model_of_ones_own(layout, model, more, tmp_path):
    make, options = LAYOUTS[layout]
    frame = make()
    held = task_from_csv(frame, model, **options, **more).subject(0)
    filed = task_from_csv(written(frame, tmp_path), model, **options, **more).subject(0)
    same_batches(held.batch, filed.batch)
    assert torch.equal(held.reference, filed.reference)
    assert held.names == filed.names


def test_a_network_is_trained_on_a_frame():
    task = Task.from_csv(patients(), epochs=10, **LONG)
    assert task.training(0).competence.score > 0.9
    assert task.spec.startswith("csv:path=frame-")
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(seed):
    frame = patients(12)
    found = []
    for some in (frame, frame.sample(frac=1, random_state=seed)):
        sequences = ColumnMap(path=HeldFrame.of(some), **LONG | {"predict": ("outcome",)}).sequences()
        found.append(dict(zip(sequences.ids, [values.tolist() for values in sequences.values], strict=True)))
    assert found[0] == found[1]
    assert found[0]["p03"][0] == frame[frame["patient"] == "p03"].iloc[0][["pulse", "pressure"]].tolist()


# ---- types ----------------------------------------------------------------------------------------------------------


def numbers(column, **options):
    return HeldFrame.of(pd.DataFrame({"x": column, "y": "a"})).table.numbers("x", **options)


def test_numbers_keep_their_values_to_the_bit():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=3000) * 10.0 ** rng.integers(-250, 37, 3000)
    assert numbers(exact).tobytes() == exact.tobytes()
    assert numbers([*exact[:50].tolist(), "1.5"])[:50].tobytes() == exact[:50].tobytes()
    assert numbers(np.float32([0.1]))[0] == np.float32(0.1)
    assert numbers([Decimal("0.5"), Decimal(2)]).tolist() == [0.5, 2]
    assert numbers(["1.5", " 2e3 "]).tolist() == [1.5, 2000]


@pytest.mark.parametrize(
    "column",
    [
        [True, None, False],
        pd.array([True, None, False], dtype="boolean"),
        pd.array([1, None, 0], dtype="Int64"),
        [1.0, np.nan, 0.0],
        [1, None, 0],
        [1, pd.NA, 0],
        ["1", "", "0"],
        ["1", "NA", "0"],
        pd.array(["1", None, "0"], dtype="string"),
        pd.Categorical(["1", None, "0"]),
    ],
)
def test_booleans_are_numbers_and_what_is_missing_is_missing(column):
    found = numbers(column, missing=True)
    assert found[[0, 2]].tolist() == [1, 0]
    assert np.isnan(found[1])
    with pytest.raises(DataError, match=r"^the frame, row 1, column 'x' is missing \(1 of 3 cells of the column\)"):
        numbers(column)


@pytest.mark.parametrize(
    "column",
    [
        pd.to_datetime(["2020-01-01 00:00", "2020-01-01 12:00"]),
        pd.to_datetime(["2020-01-01 01:00", "2020-01-01 13:00"]).tz_localize("Europe/Berlin"),
        pd.to_datetime(["2020-01-01 00:00", "2020-01-01 12:00"]).astype("datetime64[s]"),
        np.array([pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01 12:00")], dtype=object),
        pd.PeriodIndex(["2020-01-01 00:00", "2020-01-01 12:00"], freq="h"),
        ["2020-01-01", "2020-01-01 12:00"],
        pd.Categorical(["2020-01-01", "2020-01-01 12:00"]),
    ],
)
def test_dates_stay_dates(column):
    times = HeldFrame.of(pd.DataFrame({"x": column})).table.times("x")
    assert times.tolist() == [pd.Timestamp("2020-01-01").value, pd.Timestamp("2020-01-01 12:00").value]


def test_spans_of_time_and_days_are_times():
    spans = HeldFrame.of(pd.DataFrame({"x": pd.to_timedelta(["1h", "3h"])})).table.times("x")
    assert (spans / 3.6e12).tolist() == [1, 3]
    days = HeldFrame.of(pd.DataFrame({"x": [dt.date(2020, 1, 1), dt.date(2020, 1, 2)]})).table.times("x")
    assert np.diff(days).tolist() == [24 * 3.6e12]


def test_times_written_otherwise_are_read_by_their_format():
    table = HeldFrame.of(pd.DataFrame({"x": ["31.12.2020"], "n": [20201231]})).table
    assert table.times("x", "%d.%m.%Y")[0] == table.times("n", "%Y%m%d")[0] == pd.Timestamp("2020-12-31").value


def test_whole_numbers_too_large_for_floating_point_are_told_apart():
    ids = [2**53, 2**53 + 1]
    frame = pd.DataFrame({"id": np.repeat(ids, 2), "t": [0, 1] * 2, "x": [1.0, 2, 3, 4], "y": list("aabb")})
    found = ColumnMap(path=HeldFrame.of(frame), id="id", time="t", predict=("y",)).sequences()
    assert found.ids == (str(2**53), str(2**53 + 1))
    one, other = (HeldFrame.of(frame.assign(id=np.array(ids)[[0, 0, 1, n]])) for n in (0, 1))
    assert one != other


def test_a_categorical_that_is_predicted_keeps_the_order_of_its_classes():
    frame = beats()
    frame["label"] = pd.Categorical(frame["label"], categories=["up", "never", "down"], ordered=True)
    assert task_from_csv(frame, predict="label", id="who").names.outputs == ("up", "down")
    frame["label"] = pd.Categorical(frame.index % 30 // 10)
    assert task_from_csv(frame, predict="label", id="who").names.outputs == ("0", "1", "2")


def test_blank_rows_are_dropped_as_in_a_file():
    frame = pd.DataFrame({"x": [1, None, 2], "y": ["a", None, "b"]})
    assert HeldFrame.of(frame).table.rows.tolist() == [0, 2]


# ---- refusals -------------------------------------------------------------------------------------------------------

STEPS = pd.DataFrame({"id": list("aabb"), "t": [0, 1, 0, 1], "x": [1.0, 2, 3, 4], "y": list("ppqq")})


@pytest.mark.parametrize(
    ("frame", "options", "sentence"),
    [
        (
            STEPS.set_index("id"),
            {},
            "the frame has no column 'id': it is the index, so say frame.reset_index().",
        ),
        (
            STEPS.set_index(["id", "t"]),
            {},
            "the frame has no column 'id': it is the index, so say frame.reset_index().",
        ),
        (
            STEPS.rename(columns={"t": "time"}),
            {},
            "the frame has no column 't': it has 'id', 'time', 'x', 'y'.",
        ),
        (STEPS[:0], {}, "the frame has no rows."),
        (pd.DataFrame(index=[1, 2]), {}, "the frame has no rows."),
        (
            STEPS.rename(columns={"t": "id"}),
            {},
            "the frame names two columns 'id': give each its own name.",
        ),
        (
            STEPS.rename(columns={"t": " "}),
            {},
            "the frame has no name for column 2: rename it, frame.rename(columns=…).",
        ),
        (
            pd.concat({"top": STEPS}, axis=1),
            {},
            "The columns of the frame have several levels: give each one name, frame.columns = [….].",
        ),
        (
            STEPS.assign(x=[1, None, 2, 3]),
            {},
            (
                "the frame, row 1, column 'x' is missing (1 of 4 cells of the column): fill them, or say what missing "
                "values mean (missing=mask)."
            ),
        ),
        (
            STEPS.assign(x=[1, 2, np.inf, 3]),
            {},
            "the frame, row 2, column 'x' holds 'inf', which is no number: only finite numbers can be learnt from.",
        ),
        (
            STEPS.assign(x=["1", "2", "3,5", "4"]),
            {},
            "the frame, row 2, column 'x' holds '3,5', which is no number: say decimal=comma if that is a fraction.",
        ),
        (
            STEPS.assign(x=["1", "er", 2, 3]),
            {},
            (
                "the frame, row 1, column 'x' holds 'er', which is no number: say categories=x if the column holds "
                "categories, or leave the column out."
            ),
        ),
        (
            STEPS.assign(x=[1j, 2, 3, 4]),
            {},
            (
                "the frame, row 0, column 'x' holds '1j', which is no number: say categories=x if the column holds "
                "categories, or leave the column out."
            ),
        ),
        (
            STEPS.assign(t=0),
            {},
            "the frame, row 1, column 't' is the time of row 0 too, in the same sequence 'a': drop one.",
        ),
        (
            STEPS.assign(t=pd.to_datetime(["2020-01-01", None, "2020-01-01", "2020-01-02"])),
            {},
            "the frame, row 1, column 't' is empty: fill it, or drop the row.",
        ),
        (
            STEPS.assign(y=list("pqqq")),
            {},
            (
                "the frame, row 1, column 'y' holds 'q', but row 0 of the same sequence 'a' holds 'p': give each "
                "sequence one value."
            ),
        ),
        (
            STEPS.assign(y=["p", "p", None, "q"]),
            {},
            "the frame, row 2, column 'y' is empty: fill it, or drop the row.",
        ),
        (
            STEPS.set_index(pd.Index([7, 8, 9, 10])).assign(y=["p", "p", None, "q"]),
            {},
            "the frame, row 2 (index 9), column 'y' is empty: fill it, or drop the row.",
        ),
        (
            STEPS.assign(x=pd.Categorical.from_codes([0, 1, 0, 1], [1, "1"])),
            {},
            "The column 'x' of the frame has two categories '1', or an empty one: rename it.",
        ),
        (STEPS, {"separator": ";"}, "separator=… says how a file is written, and a frame is given: leave it out."),
        (STEPS, {"encoding": "latin-1"}, "encoding=… says how a file is written, and a frame is given: leave it out."),
    ],
)
def test_what_is_wrong_with_a_frame_is_said_in_a_sentence(frame, options, sentence):
    with pytest.raises(UsageError) as caught:
        task_from_csv(frame, **{"id": "id", "time": "t", "predict": "y"} | options).data()
    assert str(caught.value) == sentence


def test_decimal_commas_in_texts_of_a_frame_are_read():
    frame = STEPS.assign(x=["1,5", "2", "3", "4"])
    found = LabelledFile(path=HeldFrame.of(frame), id="id", time="t", predict=("y",), decimal=",").sequences()
    assert found.values[0].tolist() == [[1.5], [2]]


def test_something_else_than_a_path_or_a_frame_is_refused():
    with pytest.raises(DataError, match="the path of a file or a pandas DataFrame, and got a pandas Series"):
        task_from_csv(STEPS["x"], predict="y")
    with pytest.raises(DataError, match="the path of a file or a pandas DataFrame, and got a builtins dict"):
        task_from_csv({"x": [1]}, predict="y")


def test_a_series_of_a_frame_is_refused_by_position():
    frame = weather(40)
    frame.loc[3, "date"] = frame.loc[2, "date"]
    with pytest.raises(DataError, match=r"^the frame, row 3, column 'date' is the time of row 2 too: drop one\.$"):
        SeriesFile(path=HeldFrame.of(frame), time="date", forecast="warm").read()


# ---- identity -------------------------------------------------------------------------------------------------------


def test_content_alone_identifies_a_frame():
    frame = patients(20)
    first = task_from_csv(frame, **LONG)
    for same in (frame.copy(), frame.set_index(frame["patient"] + "x"), frame.astype({"hour": "int16"})):
        task = task_from_csv(same, **LONG)
        assert task == first
        assert hash(task) == hash(first)
        assert task.identity() == first.identity()
    changed = [frame.assign(pulse=np.nextafter(frame["pulse"], 0)), frame[::-1], frame.rename(columns={"pulse": "p"})]
    changed += [frame.astype({"outcome": "category"}), frame.assign(patient=frame["patient"].str.replace("p", "q"))]
    changed += [frame.assign(pressure=frame["pressure"].mask(frame.index == 3))]
    identities = [task_from_csv(some, missing="mask", **LONG).identity()["content"] for some in changed]
    assert len({*identities, first.content}) == len(changed) + 1


def test_model_trained_on_a_frame_is_found_again(own_cache):
    frame = patients(20)
    assert not task_from_csv(frame, epochs=2, **LONG).training(0).cached
    assert task_from_csv(frame.copy(), epochs=2, **LONG).training(0).cached
    assert not task_from_csv(frame.assign(pulse=frame["pulse"] * 2), epochs=2, **LONG).training(0).cached


def test_later_changes_to_the_frame_change_nothing():
    frame = patients(20)
    task = task_from_csv(frame, **LONG)
    identity = task.identity()
    frame.loc[:, "pulse"] = 0.0
    frame.drop(columns="pressure", inplace=True)  # noqa: PD002  # a user may
    assert task.identity() == identity
    same_batches(task.dataset().train, task_from_csv(patients(20), **LONG).data().train)


def test_copies_of_a_task_hold_the_frame_too():
    task = task_from_csv(patients(20), **LONG)
    for made in (copy.deepcopy(task), pickle.loads(pickle.dumps(task)), dataclasses.replace(task, instances=3)):  # noqa: S301  # made here
        assert made.content == task.content
        same_batches(made.dataset().train, task.data().train)


def benchmark(task, out):
    """Files of the cells and the times of their writing, after a run of a benchmark of a task."""
    run = Benchmark([task], ["saliency"], ["sufficiency"]).run(out)
    assert run.complete
    return {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("cells/**/*") if path.is_file()}


def test_benchmark_of_a_frame_is_resumed_with_a_frame_of_the_same_content(tmp_path):
    made = [task_from_csv(patients(20), epochs=2, instances=4, name="My patients", **LONG) for _ in range(2)]
    first, second = (benchmark(task, tmp_path) for task in made)
    assert first == second
    assert {path.relative_to(tmp_path).parts[3].rsplit("-", 1)[0] for path in first} == {"my-patients"}
    other = task_from_csv(patients(20, seed=1), epochs=2, instances=4, name="My patients", **LONG)
    assert len(benchmark(other, tmp_path)) == 2 * len(first)
    board = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "My patients" in board


SECOND = """
import sys
import numpy as np
import pandas as pd
from xrnnbench import Benchmark, task_from_csv

wrote = []
def note(event, args):
    if event == "open" and args[1] and set(args[1]) & set("wax+"):
        wrote.append(args[0])
sys.addaudithook(note)
n = np.arange(240)
frame = pd.DataFrame({"who": n // 4, "t": n % 4, "x": np.sin(n) + n // 4 % 2, "y": np.where(n // 4 % 2, "a", "b")})
task = task_from_csv(frame, id="who", time="t", predict="y", epochs=2, instances=4, name="My patients")
task.data()
print("wrote", wrote)
run = Benchmark([task], ["saliency"], ["sufficiency"]).run(sys.argv[1])
"""


@pytest.mark.full
def test_benchmark_of_a_frame_is_resumed_in_another_process_and_the_frame_is_written_nowhere(tmp_path):
    states = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SECOND, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "wrote []"
        states.append({path: path.stat().st_mtime_ns for path in tmp_path.rglob("cells/**/*") if path.is_file()})
    assert states[0] == states[1] != {}


# ---- names ----------------------------------------------------------------------------------------------------------


def test_name_is_any_text_and_changes_no_number(own_cache):
    frame = patients(20)
    plain, named, other = (
        task_from_csv(frame, epochs=2, **more, **LONG) for more in ({}, {"name": "My  patiënts\n"}, {"name": "B"})
    )
    assert named.spec == "My patiënts"
    assert named.identity()["name"] == "my-patients"
    assert len({str(task.identity()) for task in (plain, named, other)}) == 3
    same_batches(plain.data().explained, named.data().explained)
    assert not plain.training(0).cached
    assert named.training(0).cached
    assert plain.spec.startswith("csv:")
    forecast = task_from_csv(weather(), name="Weather!", **LAYOUTS["forecast"][1])
    assert (forecast.spec, forecast.identity()["name"]) == ("Weather!", "weather")


def test_name_is_part_of_a_spec_too(tmp_path, monkeypatch):
    written(patients(20), tmp_path)
    monkeypatch.chdir(tmp_path)
    task = build("task", "csv:path=data.csv,id=patient,time=hour,predict=outcome,label=my patients")
    assert task.spec == "my patients"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("  ", "The name '  ' is blank: give the task a name, or leave it out."),
        ("x" * 101, f"The name {'x' * 20!r}… has over 100 characters: give a shorter one."),
    ],
)
def test_names_that_name_nothing_are_refused(name, sentence):
    with pytest.raises(ParameterError) as caught:
        task_from_csv(patients(20), name=name, **LONG)
    assert str(caught.value) == sentence


def test_two_frames_can_stand_on_one_board(tmp_path):
    frame = patients(30)
    names = ("one | a", "<b>two</b>", "A & B_1 100% #$")
    tasks = [task_from_csv(frame, name=name, epochs=2, instances=4, **LONG) for name in names]
    Benchmark(tasks, ["saliency"], ["sufficiency"]).run(tmp_path)
    folders = (tmp_path / "runs" / "benchmark" / "cells").iterdir()
    assert sorted(path.name.rsplit("-", 1)[0] for path in folders) == ["a-b-1-100", "b-two-b", "one-a"]
    assert r"A \& B\_1 100\% \#\$" in (tmp_path / "leaderboard.tex").read_text(encoding="utf-8")
    page, board = ((tmp_path / f"leaderboard.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    assert "<b>two</b>" not in page
    assert not [line for line in board.splitlines() if line.startswith("|") and "one | a" in line]


def test_a_model_of_ones_own_reads_no_zeros_before_the_first_measurement():
    """In the units of the file, 0 is no mean: a newcomer found body temperatures of 0."""
    frame = pd.DataFrame(
        {
            "patient": ["a"] * 3 + ["b"] * 2,
            "hour": [0, 1, 2, 0, 1],
            "pulse": [np.nan, 60.0, np.nan, 70.0, 80.0],
            "heat": [37.0, 38.0, 39.0, 36.0, 40.0],
            "outcome": ["ill", "ill", "ill", "well", "well"],
        }
    )

    def model(inputs, lengths):
        return np.stack([inputs[:, 0].sum(1), lengths], 1)

    task = task_from_csv(frame, model, id="patient", time="hour", predict="outcome", missing="mask", name="own")
    subject = task.subject(0)
    assert subject.names.features == ("pulse", "heat", "pulse measured", "heat measured")
    assert subject.batch.inputs[0].tolist() == [[70, 37, 0, 1], [60, 38, 1, 1], [60, 39, 0, 1]]
    # means of what was measured; heat is always measured, which cannot be absent
    assert subject.reference[0, 0].tolist() == [70, 38, 0, 1]
