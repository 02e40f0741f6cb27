"""A CSV file of one's own: what is read of it, what is refused and how that is said, and that it runs to the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xrnnbench import Task, plugins
from xrnnbench.errors import DataError, ParameterError, UsageError
from xrnnbench.fingerprints import fingerprint
from xrnnbench.harness.execution.resume import plan_of
from xrnnbench.harness.results.provenance import written_command
from xrnnbench.harness.suites.suite import Suite
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.custom.csv_forecast import SeriesFile
from xrnnbench.tasks.readers.labelled import LabelledFile
from xrnnbench.tasks.readers.missing import marked
from xrnnbench.tasks.readers.sequences import ColumnMap
from xrnnbench.tasks.readers.tables import parse_table


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file and gives its path."""

    def write(text, name="data.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def patients(count=120, seed=0):
    """Rows patient,hour,pulse,pressure,outcome: the ill have a quick pulse."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(count):
        ill = patient % 2
        rows += [
            f"p{patient:03},{hour},{70 + 15 * ill + 4 * rng.normal():.2f},{rng.normal():.2f},{'ill' if ill else 'well'}"
            for hour in range(int(rng.integers(3, 7)))
        ]
    return rows


LONG = "patient,hour,pulse,pressure,outcome"
COLUMNS = {"id": "patient", "time": "hour", "predict": ("outcome",)}


def weather(days=400, seed=0):
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2020-01-01", periods=days, freq="D")
    warm = 3 * np.sin(np.arange(days) * 2 * np.pi / 24) + 0.3 * rng.normal(size=days)
    wind = rng.normal(size=days)
    return [f"{date:%Y-%m-%d},{a:.3f},{b:.3f}" for date, a, b in zip(dates, warm, wind, strict=True)]


WEATHER = "date,warm,wind"
FORECAST = {"time": "date", "forecast": "warm", "steps": 12}


# ---- tables ---------------------------------------------------------------------------------------------------------


def table_of(text, **more):
    return parse_table(text if isinstance(text, bytes) else text.encode(), "d.csv", **more)


def test_rows_are_counted_as_a_spreadsheet_counts_them():
    found = table_of('a,b\n1,"x,\ny"\n\n 3 ,4\n')
    assert found.header == ("a", "b")
    assert found.rows.tolist() == [2, 4]
    assert found.numbers("a").tolist() == [1, 3]
    assert found.texts("b").tolist() == ["x,\ny", "4"]


def test_marks_and_signs_of_other_programs_are_understood():
    assert table_of(b"\xef\xbb\xbfa\tb\r\n1\t2\r\n", separator="tab").numbers("b").tolist() == [2]
    assert table_of("a;b\n1,5;-2e3\n", separator=";", decimal="comma").numbers("a").tolist() == [1.5]
    assert table_of("ä\n1\n2\n".encode("latin-1"), encoding="latin-1").header == ("ä",)


def test_missing_values_are_nan_if_they_may_be():
    found = table_of("a,b\nNA,1\n,2\nnan,3\n4,4\n").numbers("a", missing=True)
    assert np.isnan(found).tolist() == [True, True, True, False]


def test_times_are_numbers_or_dates():
    hours = table_of("t\n2020-01-01\n2020-01-01 12:00\n").times("t")
    assert (hours[1] - hours[0]) / 3.6e12 == 12
    assert table_of("t\n3\n1.5\n").times("t").tolist() == [3, 1.5]
    assert table_of("t\n31.12.2020\n").times("t", "%d.%m.%Y")[0] == pd.Timestamp("2020-12-31").value


def test_levels_are_in_a_fixed_order():
    found = table_of("a\n10\nb\n1.0\n1\n2\nNA\nA\n1\n")
    levels, codes = found.categories("a")
    assert levels == ("1", "1.0", "2", "10", "A", "b")
    assert codes[[0, 3, 7]].tolist() == [3, 0, 0]
    assert np.isnan(codes[5])


def test_patterns_stand_for_columns():
    found = table_of("w1,w2,wind (m/s),x\n1,2,3,4\n")
    assert found.columns(["w?"]) == ("w1", "w2")
    assert found.columns(["wind (m?s)", "x"]) == ("wind (m/s)", "x")


@pytest.mark.parametrize(
    ("text", "more", "read", "sentence"),
    [
        ("", {}, None, "d.csv is empty: its first row must name the columns."),
        ("\n \n", {}, None, "d.csv is empty: its first row must name the columns."),
        ("a,b\n", {}, None, "d.csv has a header and no rows below it."),
        ("a,a\n1,2\n", {}, None, "d.csv names two columns 'a': give each its own name."),
        ("a,\n1,2\n", {}, None, "d.csv has no name for column 2: name it in the first row."),
        ("a;b\n1;2\n", {}, None, "The header of d.csv is one cell, 'a;b': say separator=;."),
        ("a\tb\n1\t2\n", {}, None, "The header of d.csv is one cell, 'a\\tb': say separator=tab."),
        ("a,b\n1,2\n3\n", {}, None, "d.csv, row 3, has 1 cell, and the header 2: complete or drop it."),
        (
            "a,b\n1,2\n3,4,5\n",
            {},
            None,
            "d.csv, row 3, has 3 cells, and the header 2: put quotes around a cell that holds the separator.",
        ),
        (
            'a,b\n1,2\n3,"4\n5,6\n',
            {},
            None,
            "d.csv, row 3, cannot be read (unexpected end of data): a quote is not closed, or is in the wrong place.",
        ),
        (
            b"a,b\n1,\xe4\n",
            {},
            None,
            "d.csv is not utf-8 (row 2, byte 0xe4): say how it is encoded, such as encoding=latin-1.",
        ),
        (b"\xff\xfea\x00", {}, None, "d.csv is UTF-16: say encoding=utf-16."),
        (
            "a\n1\n",
            {"encoding": "klingon"},
            None,
            "There is no encoding 'klingon': write one such as utf-8 or latin-1.",
        ),
        (
            "a\n1\n",
            {"separator": ",,"},
            None,
            (
                "separator=',,' and decimal='.' do not fit: use two different characters, the second '.' or ',', the "
                "first no letter, digit or quote."
            ),
        ),
        (
            "alpha,beta\n1,2\n",
            {},
            lambda table: table.column("alhpa"),
            "d.csv has no column 'alhpa', did you mean 'alpha'? It has 'alpha', 'beta'.",
        ),
        (
            "alpha,beta\n1,2\n",
            {},
            lambda table: table.columns(["z*"]),
            "d.csv has no column 'z*': it has 'alpha', 'beta'.",
        ),
        (
            "a,b\n1,2\n",
            {},
            lambda table: table.columns(["*", "a"]),
            "The column 'a' of d.csv is selected twice: name it once.",
        ),
        (
            "a,b\n1,x\n",
            {},
            lambda table: table.numbers("b"),
            "d.csv, row 2, column 'b' holds 'x', which is no number: correct it, or leave the column out.",
        ),
        (
            "a;b\n1;1,5\n",
            {"separator": ";"},
            lambda table: table.numbers("b"),
            "d.csv, row 2, column 'b' holds '1,5', which is no number: say decimal=comma if that is a fraction.",
        ),
        (
            "a;b\n1;1.000,5\n",
            {"separator": ";", "decimal": ","},
            lambda table: table.numbers("b"),
            "d.csv, row 2, column 'b' holds '1.000,5', which is no number: correct it, or leave the column out.",
        ),
        (
            "a,b\n1,-inf\n",
            {},
            lambda table: table.numbers("b"),
            "d.csv, row 2, column 'b' holds '-inf', which is no number: only finite numbers can be learnt from.",
        ),
        (
            "a,b\n1,2\n2,NA\n3,\n",
            {},
            lambda table: table.numbers("b"),
            (
                "d.csv, row 3, column 'b' is missing (2 of 3 cells of the column): fill them, or say what missing "
                "values mean (missing=mask)."
            ),
        ),
        (
            "a,b\n ,2\n",
            {},
            lambda table: table.texts("a"),
            "d.csv, row 2, column 'a' is empty: fill it, or drop the row.",
        ),
        (
            "a\n2020-01-01\n31.12.2020\n",
            {},
            lambda table: table.times("a"),
            (
                "d.csv, row 3, column 'a' holds '31.12.2020', which is no time: write dates as 2024-12-31 23:00, or "
                "say how they are written (time_format=%d.%m.%Y)."
            ),
        ),
        (
            "a\n2020-01-01\n",
            {},
            lambda table: table.times("a", "%d.%m.%Y"),
            "d.csv, row 2, column 'a' holds '2020-01-01', which is no time: it is not of the form '%d.%m.%Y'.",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_a_sentence(text, more, read, sentence):
    with pytest.raises(DataError) as caught:
        (read or len)(table_of(text, **more))
    assert str(caught.value) == sentence


# ---- sequences ------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_rows_does_not_matter(tmp_path_factory, seed):
    rows = patients(10)
    shuffled = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
    folder = tmp_path_factory.mktemp("order")
    found = []
    for name, some in (("sorted.csv", rows), ("shuffled.csv", shuffled)):
        (folder / name).write_text("\n".join([LONG, *some]), encoding="utf-8")
        read = ColumnMap(path=str(folder / name), **COLUMNS)
        sequences = read.sequences()
        ids = sequences.table.texts("patient")[sequences.rows]
        found.append(dict(zip(ids, [values.tolist() for values in sequences.values], strict=True)))
    assert found[0] == found[1]
    assert list(found[0]["p003"][0]) == [
        float(cell) for cell in next(r for r in rows if r[:6] == "p003,0").split(",")[2:4]
    ]


def test_wide_rows_end_where_the_last_value_stands(written):
    found = ColumnMap(path=written("t1,t2,t3,y\n1,2,3,a\n4,,,b\n"), predict=("y",)).sequences()
    assert [values.tolist() for values in found.values] == [[[1], [2], [3]], [[4]]]
    assert found.features == ("value",)


def test_steps_of_wide_rows_may_be_named(written):
    found = ColumnMap(path=written("id,t2,t1,y\n7,2,1,a\n8,3,4,b\n"), predict=("y",), id="id", features=("t1", "t2"))
    assert found.sequences().values[0].tolist() == [[1], [2]]


def test_texts_become_words_and_signs(written):
    found = ColumnMap(path=written('review,y\n"Good, isn\'t it?",1\n'), predict=("y",), text="review").sequences()
    assert found.words == [["good", ",", "isn", "'", "t", "it", "?"]]


def test_truths_are_read_beside_the_steps(written):
    long = written("id,t,x,y,where,cls\na,2,1,2,0.5,p\na,1,3,4,0,p\nb,1,5,6,1,q\n")
    found = LabelledFile(path=long, predict=("cls",), id="id", time="t", features=("x", "y"), truth=("where",))
    truth = found.truths_of(found.sequences())["given"]
    assert truth.values.tolist() == [[0, 0.5], [1, 0]]
    assert (truth.semantics, truth.output, truth.signed) == ("planted", "cls", False)
    both = LabelledFile(path=long, predict=("cls",), id="id", time="t", features=("x", "y"), truth=("where", "where2"))
    with pytest.raises(DataError, match="no column 'where2', did you mean 'where'"):
        both.sequences()


def test_truths_of_wide_rows_and_texts(written):
    wide = LabelledFile(path=written("t1,t2,r1,r2,y\n1,2,0,1,a\n3,,1,,b\n"), predict=("y",), truth=("r*",))
    assert wide.truths_of(wide.sequences())["given"].values.tolist() == [[0, 1], [1, 0]]
    text = LabelledFile(path=written("s,r,y\nso good,0 1,a\n"), predict=("y",), text="s", truth=("r",), signed=True)
    assert text.truths_of(text.sequences())["given"].values.tolist() == [[0, 1]]


def all_of(file):
    found = file.sequences()
    return file.targets_of(found), file.tested(found), file.truths_of(found)


def test_patterns_leave_out_what_is_no_feature(written):
    path = written("t,a,b,y\n2,1,2,p\n1,3,4,q\n")
    assert ColumnMap(path=path, predict=("y",), features=("*",)).sequences().values[0].tolist() == [[2], [1], [2]]
    series = SeriesFile(path=path, time="t", forecast="a", features=("?",), missing="skip")
    with pytest.raises(DataError, match="row 2, column 'y' holds 'p', which is no number"):
        series.read()


def test_signs_that_specs_use_are_written_out(written):
    file = ColumnMap(path=written("a\tb\n1,5\tx\n"), predict=("b",), separator="\t", decimal=",")
    assert (file.separator, file.decimal) == ("tab", "comma")
    assert file.sequences().values[0].tolist() == [[1.5]]


def literal_marks(column):
    """Carried forward, 0 before the first; and what was measured."""
    series = pd.Series(column)
    return series.ffill().fillna(0).tolist(), series.notna().astype(float).tolist()


def test_marks_of_missing_values_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 9, 3)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    lengths = torch.tensor([9, 1, 4, 9, 6, 2])
    found = marked(torch.tensor(values), torch.arange(9) < lengths[:, None])
    for row, length in enumerate(lengths.tolist()):
        assert not found[row, length:].any()
        for feature in range(3):
            filled, measured = literal_marks(values[row, :length, feature])
            assert found[row, :length, feature].tolist() == pytest.approx(filled)
            assert found[row, :length, 3 + feature].tolist() == measured


@pytest.mark.parametrize(
    ("text", "columns", "sentence"),
    [
        (
            "id,t,x,y\na,1,1,p\na,1,2,p\n",
            {"id": "id", "time": "t", "predict": ("y",)},
            "data.csv, row 3, column 't' is the time of row 2 too, in the same sequence 'a': drop one.",
        ),
        (
            "id,t,x,y\na,1,1,p\na,2,2,q\n",
            {"id": "id", "time": "t", "predict": ("y",)},
            (
                "data.csv, row 3, column 'y' holds 'q', but row 2 of the same sequence 'a' holds 'p': give each "
                "sequence one value."
            ),
        ),
        (
            "id,t,x,y\na,1,1,p\na,2,,p\n",
            {"id": "id", "time": "t", "predict": ("y",)},
            (
                "data.csv, row 3, column 'x' is missing (1 of 2 cells of the column): fill them, or say what missing "
                "values mean (missing=mask)."
            ),
        ),
        (
            "id,t,y\na,1,p\n",
            {"id": "id", "time": "t", "predict": ("y",)},
            "data.csv has no column left to be read as a feature: name some by features=….",
        ),
        (
            "id,x,y\na,1,p\na,2,p\n",
            {"id": "id", "predict": ("y",)},
            "data.csv has several rows of one 'id': say time=…, the column that orders the steps.",
        ),
        (
            "t1,t2,t3,y\n1,,3,a\n",
            {"predict": ("y",)},
            (
                "data.csv, row 2, column 't2' is missing within the sequence: fill it, or say what that means "
                "(missing=mask)."
            ),
        ),
        (
            "t1,t2,y\n1,2,a\n,,b\n",
            {"predict": ("y",)},
            "data.csv, row 3, column 't1' is missing, as is all of its row: drop the row.",
        ),
        ("t1,y\n1,\n", {"predict": ("y",)}, "data.csv, row 2, column 'y' is empty: fill it, or drop the row."),
        (
            "t1,label\n1,a\n",
            {"predict": ("labels",)},
            "data.csv has no column 'labels', did you mean 'label'? It has 't1', 'label'.",
        ),
        (
            "t1,y\n1,a\n2,b\n",
            {"predict": ("y",), "classes": ("b", "c")},
            "data.csv, row 2, column 'y' holds 'a', which is not in classes=….",
        ),
        (
            "t1,y,part\n1,a,train\n2,b,dev\n",
            {"predict": ("y",), "split": "part"},
            "data.csv, row 3, column 'part' holds 'dev': write train or test, or leave the row out.",
        ),
        (
            "t1,y,z\n1,a,b\n2,b,c\n",
            {"predict": ("y", "z"), "targets_are": "classes"},
            "Classes need one column, and 2 are given: name one, or say targets_are=values.",
        ),
        (
            "t1,y\n" + "".join(f"{n},{n}\n" for n in range(30)),
            {"predict": ("y",)},
            (
                "The column 'y' of data.csv holds 30 different whole numbers: say targets_are=classes or "
                "targets_are=values."
            ),
        ),
        (
            "s,r,y\nso good,0,a\n",
            {"predict": ("y",), "text": "s", "truth": ("r",)},
            "data.csv, row 2, column 'r' holds 1 numbers for 2 words and signs: write one for each.",
        ),
        (
            "s,r,y\nso good,0 x,a\n",
            {"predict": ("y",), "text": "s", "truth": ("r",)},
            "data.csv, row 2, column 'r' holds '0 x': write a number for each word, with blanks between.",
        ),
        (
            "t1,y\n1,2.5\n2,NA\n",
            {"predict": ("y",)},
            (
                "data.csv, row 3, column 'y' is missing (1 of 2 cells of the column): drop the rows, from which "
                "nothing can be learnt."
            ),
        ),
        (
            "t1,t2,y\n1,2,a\n",
            {"predict": ("y",), "features": ("t1", "y")},
            "The column 'y' of data.csv has another role: leave it out of the features.",
        ),
        (
            "t1,r,y\n1,-1,a\n",
            {"predict": ("y",), "truth": ("r",)},
            "The truth in data.csv holds negative values: say signed=true, or correct them.",
        ),
        (
            "t1,t2,r,y\n1,2,1,a\n",
            {"predict": ("y",), "truth": ("r",)},
            "The number of truth columns of data.csv is 1; expected one for each step.",
        ),
    ],
)
def test_what_is_wrong_with_sequences_is_said_in_a_sentence(written, text, columns, sentence):
    file = LabelledFile(path=written(text), **columns)
    with pytest.raises(DataError) as caught:
        all_of(file)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({}, "A task on a CSV file needs the column to be predicted: write predict=…."),
        (
            {"predict": "y", "time": "t1"},
            "Rows that are steps need a column that identifies their sequence: write id=…; a",
        ),
        (
            {"predict": "y", "text": "t1", "time": "t2"},
            "A file has either a column of texts or features: leave out text",
        ),
        ({"predict": "y", "hiden": 4}, "from_csv has no parameter 'hiden', did you mean 'hidden' or 'id'?"),
        ({"predict": "y", "hidden": "many"}, "from_csv: hidden='many' does not fit (Input should be a valid integer"),
        ({"predict": "y", "hidden": 0}, "csv: hidden=0 does not fit (it must be at least 1)."),
        (
            {"predict": "y", "held_out_share": 1.5},
            "csv: held_out_share=1.5 does not fit (it must lie between 0 and 1).",
        ),
        (
            {"predict": "y", "cell": "transformer"},
            "from_csv: cell='transformer' does not fit (Input should be 'rnn', 'l",
        ),
        ({"forecast": "t1"}, "A forecast from a CSV file needs a column for 'time': write time=…."),
        (
            {"forecast": "t1", "time": "t2", "held_out_share": 0},
            "csv-forecast: held_out_share=0.0 does not fit (it mus",
        ),
        (
            {"predict": "y", "model": nn.Identity(), "hidden": 3},
            "hidden=… is for a network that is trained here, and a",
        ),
        (
            {"predict": "y", "model": nn.Identity(), "refrence": 3},
            "from_csv has no parameter 'refrence', did you mean 'r",
        ),
        (
            {"predict": "y", "text": "t1", "model": nn.Identity()},
            "A model of yours reads texts as tokens: say vocabulary",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(written, columns, sentence):
    path = written("t1,t2,y\n1,2,a\n3,4,b\n")
    with pytest.raises(ParameterError) as caught:
        Task.from_csv(path, **columns)
    assert str(caught.value).startswith(sentence)


def test_file_that_is_not_there_is_said_with_the_nearest(written):
    path = written("a\n1\n", "weather.csv")
    with pytest.raises(DataError) as caught:
        Task.from_csv(path.replace("weather", "wether"), predict="y")
    assert str(caught.value).endswith("wether.csv', did you mean 'weather.csv'?")
    with pytest.raises(DataError, match=r"The file '.*' cannot be read \(it is a folder, not a file\)\."):
        Task.from_csv(Path(path).parent, predict="y")
    with pytest.raises(ParameterError, match=r"A task on a CSV file needs its path: write path=…\."):
        plugins.build("task", "csv")


# ---- a network trained on a file ------------------------------------------------------------------------------------


def test_ten_lines_train_a_network_on_a_file(written):
    task = Task.from_csv(written("\n".join([LONG, *patients()])), epochs=15, **COLUMNS)
    found = task.training(0).competence
    assert found.measure == "accuracy"
    assert found.gate == pytest.approx(found.baseline + 0.2 * (1 - found.baseline))
    assert found.score > 0.9
    subject = task.subject(0)
    assert subject.names.outputs == ("ill", "well")
    assert subject.names.features == ("pulse", "pressure")
    assert len(subject.batch) == 30
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


def values_file(seed=0, count=160):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 4))
    return [",".join(f"{v:.3f}" for v in row) + f",{row.sum():.4f},{10 * row[0]:.4f}" for row in rows]


def test_values_are_predicted_too(written):
    task = Task.from_csv(written("\n".join(["a,b,c,d,y,z", *values_file()])), predict=("y", "z"), pooling="last")
    found = task.training(0).competence
    assert (found.measure, found.gate, found.baseline) == ("R2", 0.2, 0.0)
    assert found.score > 0.9
    train = task.data().train
    assert torch.allclose(train.targets.mean(0), torch.zeros(2), atol=1e-5)
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


def reviews(count=120, seed=0):
    rng = np.random.default_rng(seed)
    words = ["the", "a", "film", "plot", "actor", "was", "it", "and", "then", "but"]
    rows = []
    for _ in range(count):
        good = int(rng.integers(2))
        text = [*rng.choice(words, 8)]
        text[rng.integers(8)] = ("bad", "good")[good]
        rows.append(f'"{" ".join(text)}, ok.",{("neg", "pos")[good]}')
    return rows


def test_texts_are_learnt_from(written):
    task = Task.from_csv(written("\n".join(["review,label", *reviews()])), text="review", predict="label", epochs=10)
    data = task.data()
    assert task.training(0).competence.score > 0.9
    assert data.names.vocabulary[:2] == ("<pad>", "<unk>")
    assert {"good", "bad", ","} <= set(data.names.vocabulary)
    assert data.reference == 1
    assert 0.05 < (data.train.inputs == 1).sum() / data.train.lengths.sum() < 0.15
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


def test_forecast_of_a_single_long_series(written):
    path = written("\n".join([WEATHER, *weather()]))
    task = Task.from_csv(path, features="wind", horizon=2, epochs=10, **FORECAST)
    found = task.training(0).competence
    assert found.baseline < found.gate
    assert found.score > 0.9
    data = task.data()
    assert data.names.features == ("warm", "wind")
    assert data.names.outputs == ("1 step ahead", "2 steps ahead")
    assert len(data.train) == 300 - 13
    assert len(data.test) == 100 - 13
    assert [str(finding) for finding in check_task(task) if "gate" not in finding.check and finding.failed] == []


def test_missing_values_are_marked_if_asked(written):
    rows = [row.replace(",", ",,", 1).rpartition(",")[0] if n % 7 == 3 else row for n, row in enumerate(weather())]
    rows = [row if row.count(",") == 2 else row + "," for row in rows]
    path = written("\n".join([WEATHER, *rows]))
    with pytest.raises(DataError, match=r"row 5, column '.*' is missing \(.* say what missing values mean"):
        Task.from_csv(path, features="wind", **FORECAST).data()
    task = Task.from_csv(path, features="wind", missing="mask", **FORECAST)
    data = task.data()
    assert data.names.features == ("warm", "wind", "warm measured", "wind measured")
    assert data.train.inputs[:, :, 2].mean() == pytest.approx(6 / 7, abs=0.02)
    skipping = Task.from_csv(path, features="wind", missing="skip", **FORECAST | {"steps": 3}).data()
    assert 0 < len(skipping.train) < len(data.train)
    long = [
        row if n % 5 else ",".join([*row.split(",")[:2], "NA", *row.split(",")[3:]]) for n, row in enumerate(patients())
    ]
    marks = Task.from_csv(written("\n".join([LONG, *long])), missing="mask", epochs=2, **COLUMNS).data()
    assert marks.names.features[2:] == ("pulse measured", "pressure measured")
    assert marks.train.inputs[marks.train.valid][:, 2].mean() == pytest.approx(0.8, abs=0.03)


def test_windows_do_not_cross_a_gap(written):
    rows = weather(60)
    del rows[20:25]
    path = written("\n".join([WEATHER, *rows]))
    whole = SeriesFile(path=path, **FORECAST | {"steps": 3}).read()
    assert whole.clock.tolist() == list(range(55))
    cut = SeriesFile(path=path, gap="4D", **FORECAST | {"steps": 3}).read()
    assert cut.clock.tolist() == [*range(20), *range(21, 56)]
    learnt = [len(found.windows(found.values)[0]) for found in (whole, cut)]
    assert learnt[0] - learnt[1] == 3


def windows_of(file):
    found = file.read()
    return found.windows(found.values)


@pytest.mark.parametrize(
    ("rows", "more", "sentence"),
    [
        (
            ["2020-01-01,1,2", "2020-01-01,2,3"],
            {},
            "data.csv, row 3, column 'date' is the time of row 2 too: drop one.",
        ),
        (
            ["2020-01-01,1,2", "2020-01-02,2,3"],
            {"gap": "soon"},
            "csv-forecast: gap=soon does not fit data.csv (it must be a span of time such as 4D, 1h or 10min).",
        ),
        (
            ["1,1,2", "2,2,3"],
            {"gap": "4D"},
            "csv-forecast: gap=4D does not fit data.csv (it must be a number, as the ti",
        ),
        (
            ["2020-01-01,1,2", "2020-01-02,2,3"],
            {"features": ("date",)},
            "The column 'date' of data.csv is the time: leave it out of forecast and features.",
        ),
        (
            ["2020-01-01,1,2", "2020-01-02,2,3"],
            {},
            "The training data have no window of 12 steps and the 1 after it without a gap: take",
        ),
    ],
)
def test_what_is_wrong_with_a_series_is_said_in_a_sentence(written, rows, more, sentence):
    file = SeriesFile(path=written("\n".join([WEATHER, *rows])), **FORECAST | more)
    with pytest.raises(UsageError) as caught:
        windows_of(file)
    assert str(caught.value).startswith(sentence)


def test_parts_are_those_of_the_split_column(written):
    rows = [f"{row},{'test' if row < 'p020' else 'train'}" for row in patients(60)]
    task = Task.from_csv(written("\n".join([LONG + ",part", *rows])), split="part", **COLUMNS)
    assert (len(task.data().train), len(task.data().test)) == (40, 20)


def test_share_is_held_out_of_each_class_alike(written):
    rows = [f"{n},{n % 3},{'a' if n % 10 else 'b'}" for n in range(100)]
    data = Task.from_csv(written("\n".join(["u,v,y", *rows])), predict="y", held_out_share=0.3).data()
    assert data.test.targets.bincount().tolist() == [27, 3]
    assert data.train.targets.bincount().tolist() == [63, 7]


def test_what_was_learnt_word_for_word_is_not_tested_on(written):
    rows = [f"{n % 4},1,{'ab'[n % 2]},{'test' if n < 8 else 'train'}" for n in range(12)]
    path = written("\n".join(["u,v,y,part", *rows]))
    with pytest.raises(DataError, match="Every held-out sequence is identical to a training sequence: hold others out"):
        Task.from_csv(path, predict="y", split="part", features="u").data()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            ["1,2,1.5", "3,4,1.5", "5,1,1.5", "2,2,1.5"],
            "The target 'y' is constant in the training data: there is not",
        ),
        (["1,2,a", "1,2,a", "1,2,b", "1,2,b"], "The feature 'value' of data.csv is constant in the training data"),
        (["1,2,a", "3,4,b"], "data.csv leaves no sequence to test on: give more, or another split."),
    ],
)
def test_files_that_teach_nothing_are_refused(written, rows, sentence):
    features = {"features": ("t1",)} if rows[0] == rows[1] else {}
    with pytest.raises(DataError, match=sentence):
        Task.from_csv(written("\n".join(["t1,t2,y", *rows])), predict="y", **features).data()


def test_truth_goes_with_what_is_explained(written):
    rows = [f"{row},{int(row[5] == '0')}" for row in patients(60)]
    path = written("\n".join([LONG + ",first", *rows]))
    options = COLUMNS | {"truth": "first", "semantics": "rationale"}
    task = Task.from_csv(path, missing="mask", **options)
    data = task.data()
    assert not data.train.truths
    truth = data.explained.truths["given"]
    assert truth.semantics == "rationale"
    assert torch.equal(truth.values[:, 0], torch.ones(len(data.explained)))
    assert not truth.values[:, 1:].any()
    given_truth = Task.from_csv(path, Pulse(), **options).subject(0).batch.truths["given"]
    assert given_truth.values[:, 0].all()
    cells = written("\n".join([LONG + ",r1,r2", *(f"{row},0,1" for row in patients(60))]))
    both = Task.from_csv(cells, missing="mask", truth=("r1", "r2"), **COLUMNS).data().explained
    assert both.truths["given"].values.shape == both.inputs.shape
    assert both.truths["given"].values[both.valid].unique(dim=0).tolist() == [[0, 1, 0, 0]]


# ---- found again by what the file holds -----------------------------------------------------------------------------


def test_model_is_found_again_wherever_the_file_lies(written, own_cache):
    text = "\n".join([LONG, *patients(40)])
    first = Task.from_csv(written(text), epochs=2, **COLUMNS)
    assert not first.training(0).cached
    folder = Path(first.place).parent / "elsewhere"
    folder.mkdir()
    (folder / "data.csv").write_text(text, encoding="utf-8")
    moved = Task.from_csv(folder / "data.csv", epochs=2, **COLUMNS)
    assert moved.training(0).cached
    assert moved.identity() == first.identity()


@pytest.mark.parametrize(
    ("parameters", "identity", "model"),
    [
        (
            "csv:path=data.csv,predict=outcome,id=patient,time=hour,features=pulse/pressure",
            "42bd50fcd54ed3c264b4f4152a9934223ccfe7c698cf69ed05a92dce1d3dc092",
            "d12db3338efa518e23864ef513e14af6fbf5c86e39cfd66964d01a55f41d98bb",
        ),
        (
            "csv:path=data.csv,predict=outcome,id=patient,time=hour,features=p*,split=part,missing=mask,gate=0.7,hidden=8",
            "df628f979083036863a8c88e3c59e2869b04c11b46844e2a9a7c3491857dc173",
            "de01863ef665a7579dfb0eeae8cf999fa7b28c40b3d8841c239daa23d73e9e68",
        ),
        (
            "csv:entropy=0.1,path=data.csv,predict=pulse/pressure,features=hour,targets_are=values,epochs=3",
            "22d0a0fc7346fd91a628e05240a0ce13df54545b380ad53a6756cac43d204ea0",
            "426cd3cb71901d629ce716e710141e65807996cbfaebbd392e0f493debe9fc7c",
        ),
        (
            "csv-forecast:path=data.csv,time=hour,forecast=pulse,steps=5,horizon=2,gate_at=0.2",
            "531052770382aff1ba28ae8bd695a1f6ba08381ba41e01448073af988c7ce617",
            "c8e0af8eaa35361e163152dc65d4abd89b210b045f5e91b04de7c185287ea603",
        ),
    ],
)
def test_parameters_that_were_added_later_change_no_identity(written, monkeypatch, parameters, identity, model):
    steps = [
        f"p{patient},{hour},{60 + 7 * patient + hour},{patient * hour % 5},{'ab'[patient % 2]},"
        f"{'test' if patient < 3 else 'train'}"
        for patient in range(9)
        for hour in range(3)
    ]
    monkeypatch.chdir(Path(written("\n".join(["patient,hour,pulse,pressure,outcome,part", *steps]))).parent)
    task = plugins.build("task", parameters)
    # recorded before categories, time_gap, class_weights, measure and label existed
    assert fingerprint(task.identity()) == identity
    assert task._model_parameters_hash() == model


def test_changed_file_is_another_task(written, own_cache):
    rows = patients(40)
    first = Task.from_csv(written("\n".join([LONG, *rows])), epochs=2, **COLUMNS)
    first.training(0)
    path = written("\n".join([LONG, *rows[:-1]]))
    changed = Task.from_csv(path, epochs=2, **COLUMNS)
    assert changed.identity() != first.identity()
    assert not changed.training(0).cached
    with pytest.raises(DataError, match="has changed since the task was made: make the task again"):
        first.dataset()


def test_gate_and_truth_do_not_retrain(written, own_cache):
    path = written("\n".join([LONG, *patients(40)]))
    Task.from_csv(path, epochs=2, **COLUMNS).training(0)
    found = Task.from_csv(path, epochs=2, gate=0.77, instances=3, **COLUMNS).training(0)
    assert found.cached
    assert found.competence.gate == 0.77


def test_names_and_paths_with_slashes_are_told_apart(written, monkeypatch):
    path = written("\n".join([LONG, *patients(40)]))
    monkeypatch.chdir(Path(path).parents[1])
    spec = f"csv:path={Path(path).parent.name}/data.csv,predict=outcome,id=patient,time=hour,features=pulse/pressure"
    task = plugins.build("task", spec)
    assert task.features == ("pulse", "pressure")
    assert task.spec == spec


def test_spec_says_where_the_file_is_from_here(written, monkeypatch):
    path = written("\n".join([LONG, *patients(40)]))
    monkeypatch.chdir(Path(path).parent)
    task = Task.from_csv(path, **COLUMNS)
    assert task.spec == "csv:path=data.csv,predict=outcome,id=patient,time=hour"
    assert plugins.build("task", task.spec) == task
    assert task.identity()["parameters"]["path"] == "data.csv"


# ---- with a model of the user's -------------------------------------------------------------------------------------


class Pulse(nn.Module):
    """Ill above 77 beats a minute, in the units of the file."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, inputs, lengths):
        inside = torch.arange(inputs.shape[1]) < lengths[:, None]
        mean = ((inputs @ self.weight) * inside).sum(1) / lengths
        return torch.stack([mean - 77, 77 - mean], 1)


def test_model_of_the_users_sees_the_units_of_the_file(written):
    rows = patients(30)
    task = Task.from_csv(written("\n".join([LONG, *rows])), Pulse(), name="pulse", **COLUMNS)
    assert task.spec == "pulse"
    subject = task.subject(0)
    assert (subject.target == subject.batch.targets).float().mean() > 0.9
    assert subject.batch.inputs[0, 0].tolist() == pytest.approx([float(cell) for cell in rows[0].split(",")[2:4]])
    table = pd.read_csv(task_path(written), usecols=["pulse", "pressure"])
    assert subject.reference[0, 0].tolist() == pytest.approx(table.mean().tolist(), abs=1e-3)
    assert subject.names.outputs == ("ill", "well")


def task_path(written):
    return written("\n".join([LONG, *patients(30)]))


def test_only_the_test_part_is_explained_by_a_given_model(written):
    rows = [f"{row},{'test' if row < 'p010' else 'train'}" for row in patients(30)]
    task = Task.from_csv(written("\n".join([LONG + ",part", *rows])), Pulse(), split="part", instances=4, **COLUMNS)
    assert len(task.subject(0).batch) == 4


def test_given_forecaster_sees_windows_in_the_units_of_the_file(written):
    rows = weather(100)
    last = lambda inputs: inputs[:, -1, :1]  # noqa: E731  # a user's function
    task = Task.from_csv(written("\n".join([WEATHER, *rows])), last, features="wind", instances=5, **FORECAST)
    subject = task.subject(0)
    assert subject.batch.inputs.shape == (5, 12, 2)
    values = {round(float(row.split(",")[1]), 3) for row in rows}
    assert {round(value, 3) for value in subject.batch.inputs[:, :, 0].flatten().tolist()} <= values


def test_given_model_reads_texts_by_its_own_vocabulary(written):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5, 2, padding_idx=0)

        def forward(self, inputs):
            return self.embedding(inputs).sum(1)

    path = written("s,y\nso good,0\nbad,1\n")
    words = {"<unk>": 1, "good": 2, "bad": 3}
    task = Task.from_csv(path, Bag(), text="s", predict="y", vocabulary=words)
    assert task.subject(0).batch.inputs.tolist() == [[1, 2], [3, 0]]
    del words["<unk>"]
    with pytest.raises(DataError, match="row 2, column 's' holds the word 'so', and the vocabulary has no '<unk>'"):
        Task.from_csv(path, Bag(), text="s", predict="y", vocabulary=words)


# ---- from the command line ------------------------------------------------------------------------------------------


def command(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "xrnnbench", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
    )


GRID = ("-m", "saliency", "-m", "random", "-x", "comprehensiveness", "-x", "sufficiency", "--seeds", "0", "--out", "r")


def cells(folder):
    found = sorted((folder / "r" / "runs").rglob("cells/**/*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


@pytest.mark.full
def test_csv_runs_from_the_command_line(written, tmp_path):
    written("\n".join([LONG, *patients(80)]))
    spec = "csv:path=data.csv,id=patient,time=hour,predict=outcome,instances=8,epochs=5"
    done = command("run", "quick", "-t", spec, *GRID, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cells(tmp_path)) == 2
    (path,) = (tmp_path / "r" / "runs" / "quick").glob("leaderboard-*.md")
    board = path.read_text(encoding="utf-8")
    assert "csv:path=data.csv" in board
    assert str(tmp_path) not in board


@pytest.mark.full
def test_what_is_wrong_is_one_line_on_the_command_line(written, tmp_path):
    written("\n".join([LONG, *patients(80)]))
    done = command("run", "quick", "-t", "csv:path=data.csv,id=pateint,time=hour,predict=outcome", *GRID, cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith(
            "data.csv has no column 'pateint', did you mean 'patient'? It has 'patient', 'hour', 'pulse', 'pressure', "
            "'outcome'."
        )
    )


def test_changed_file_is_something_to_do(written):
    suite = {"name": "a", "methods": ["random"], "metrics": ["sufficiency"]}
    plans = []
    for rows in (patients(20), patients(21)):
        spec = f"csv:path={written(chr(10).join([LONG, *rows]))},id=patient,time=hour,predict=outcome"
        plans.append(plan_of(Suite.of(suite | {"tasks": [spec]}, "here")))
    assert plans[0] != plans[1]


def test_place_of_the_file_is_not_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["x", "run", "quick", "-t", f"csv:path={tmp_path}/data.csv,predict=y", "-t", "/a/m.py:M:path=/b/c.csv"]
    assert written_command(words) == "xrnnbench run quick -t csv:path=data.csv,predict=y -t m.py:M:path=c.csv"


MINE = '''
from dataclasses import dataclass
from typing import ClassVar

import torch
from xrnnbench import Batch, Competence, RecurrentNet, register
from xrnnbench.tasks.models.evaluation import accuracy, majority
from xrnnbench.tasks.trained import Dataset, TrainedTask, background, held_out


@register
@dataclass(frozen=True)
class MyTask(TrainedTask):
    """Whether the numbers sum to more than 0."""

    name: ClassVar[str] = "my-task"
    application: ClassVar[str] = "time series"

    def dataset(self):
        inputs = torch.randn(600, 6, 1, generator=torch.Generator().manual_seed(0))
        batch = Batch(inputs, torch.full((600,), 6), (inputs.sum((1, 2)) > 0).long())
        train, test = batch.select(slice(0, 400)), batch.select(slice(400, 600))
        explained = held_out(test, self.instances, self.name)
        return Dataset(train, test, explained, torch.zeros(()), background(train, self.name))

    def network(self):
        return RecurrentNet(1, 8, 2, cell="gru")

    def competence(self, model, data):
        score = accuracy(model(data.test.inputs, data.test.lengths), data.test.targets)
        return Competence("accuracy", score, 0.8, majority(data.train.targets, data.test.targets))
'''


@pytest.mark.full
def test_task_in_a_file_of_ones_own_runs_to_the_board(tmp_path):
    (tmp_path / "my_task.py").write_text(MINE, encoding="utf-8")
    done = command("run", "quick", "-t", "./my_task.py:MyTask:instances=8", *GRID, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cells(tmp_path)) == 2
    (path,) = (tmp_path / "r" / "runs" / "quick").glob("leaderboard-*.md")
    board = path.read_text(encoding="utf-8")
    assert "my-task" in board
    assert "unfit" not in done.stdout
