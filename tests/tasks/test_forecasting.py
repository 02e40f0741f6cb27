"""Forecasting: windows and baselines against their literal definitions, the S&P 500, and sets that are read on demand.

The sets on demand are not here: files of their format, generated, stand for them.
"""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench import plugins
from xrnnbench.errors import DataError
from xrnnbench.tasks.builtin.series import beijing, el_nino, ett, forecasting, jena, sp500
from xrnnbench.tasks.builtin.series.forecasting import Series, baseline_scores
from xrnnbench.tasks.downloads.locate import VARIABLE

# ---- windows --------------------------------------------------------------------------------------------------------


def series(values, clock=None, **more):
    values = torch.as_tensor(values)
    clock = torch.arange(len(values)) if clock is None else torch.as_tensor(clock)
    words = {"steps": 3, "ahead": (1,), "unit": "day", "learnt_before": 10, "tested_from": 10} | more
    return Series(values, clock, tuple("abcdef"[: values.shape[1]]), **words)


def literal_windows(found, values):
    """Every window there could be, one by one."""
    rows = {int(time): row for row, time in enumerate(found.clock)}
    parts = {"learnt": [], "tested": []}
    for begin in rows:
        window = range(begin, begin + found.steps)
        targets = [begin + found.steps - 1 + ahead for ahead in found.ahead]
        whole = range(begin, max(targets) + 1)
        if not all(time in rows for time in whole):
            continue
        inputs = np.array([values[rows[time]].tolist() for time in window])
        known = [float(values[rows[time], 0]) for time in targets]
        if (np.isnan(inputs).any() and not found.filled) or np.isnan(known).any():
            continue
        if whole[-1] < found.learnt_before:
            parts["learnt"].append((begin, inputs, known))
        elif whole[0] >= found.tested_from:
            parts["tested"].append((begin, inputs, known))
    return [part[:: found.stride] for part in parts.values()]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 4),
    ahead=st.sampled_from([(1,), (1, 2), (3,), (2, 4)]),
    stride=st.integers(1, 3),
    gap=st.integers(0, 6),
    filled=st.booleans(),
)
def test_windows_are_those_of_the_definition(seed, steps, ahead, stride, gap, filled):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(80, 2))
    values[rng.random(values.shape) < 0.02] = np.nan
    clock = np.delete(np.arange(80), rng.choice(80, 3, replace=False))
    found = series(
        values[clock], clock, steps=steps, ahead=ahead, stride=stride, filled=filled, learnt_before=40,
        tested_from=40 + gap,
    )  # fmt: skip
    batches = found.windows(found.values)
    for batch, expected in zip(batches, literal_windows(found, found.values), strict=True):
        assert len(batch) == len(expected)
        assert torch.allclose(batch.targets, torch.tensor([known for _, _, known in expected]).float())
        for inputs, (_, window, _) in zip(batch.inputs, expected, strict=True):
            if filled:
                measured = ~np.isnan(window)
                assert torch.equal(inputs[:, 2:].bool(), torch.from_numpy(measured))
                window = pd.DataFrame(window).ffill().fillna(0).to_numpy()  # noqa: PLW2901  # the literal filling
            assert torch.allclose(inputs[:, :2], torch.tensor(window).float())


def test_nothing_is_both_learnt_from_and_tested_on():
    found = series(torch.arange(50.0)[:, None].double(), learnt_before=30, tested_from=30, ahead=(1, 2, 5))
    train, test = found.windows(found.values)
    learnt, tested = ({*batch.inputs.flatten().tolist(), *batch.targets.flatten().tolist()} for batch in (train, test))
    assert not learnt & tested
    assert max(learnt) == 29
    assert min(tested) == 30


def test_series_are_standardised_by_what_is_learnt():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 3, size=(100, 2))
    values[4, 1] = np.nan
    found = series(values, learnt_before=60, tested_from=60).standardised()
    learnt = values[:60]
    expected = (values - np.nanmean(learnt, 0)) / np.nanstd(learnt, 0, ddof=1)
    assert np.allclose(found.numpy(), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clock": [0, 1, 1, 2]}, "Row 2 of the series is not later than the one before: sort the rows, and drop re"),
        ({"clock": [0, 1, 2]}, r"The series have shape \(4, 1\) for 3 times and 1 names: give a row for each time"),
        ({"tested_from": 9}, "The test data begin at 9, before the training data end at 10"),
    ],
)
def test_series_that_do_not_fit_are_refused(change, sentence):
    with pytest.raises(DataError, match=sentence):
        series(torch.zeros(4, 1), **change)


def test_series_without_windows_are_refused():
    found = series(torch.arange(12.0)[:, None])
    with pytest.raises(
        DataError, match=r"The test data have no window of 3 days and the 1 after it without a gap: take sh"
    ):
        found.windows(found.values)


def test_constant_series_are_refused():
    values = torch.stack([torch.arange(40.0), torch.ones(40)], 1)
    with pytest.raises(DataError, match="The series 'b' is constant in the training data: leave it out"):
        series(values).standardised()


# ---- baseline forecasts ----------------------------------------------------------------------------------------------


def literal_r_squared(predicted, truth):
    predicted, truth = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    return 1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()


@pytest.mark.parametrize("make", [el_nino.ElNino, sp500.SP500Volatility])
def test_baseline_scores_are_those_of_the_definition(make):
    data = make().data()
    past, future = data.train.inputs[:, :, 0].double().numpy(), data.train.targets[:, 0].double().numpy()
    # the normal equations, written out
    design = np.hstack([past, np.ones((len(past), 1))])
    weights = np.linalg.solve(design.T @ design, design.T @ future)
    tested = data.test.inputs[:, :, 0].double().numpy()
    found = baseline_scores(data)
    truth = data.test.targets[:, 0]
    expected = literal_r_squared(np.hstack([tested, np.ones((len(tested), 1))]) @ weights, truth)
    assert abs(found.autoregression - expected) < 1e-6
    assert abs(found.persistence - literal_r_squared(tested[:, -1], truth)) < 1e-9


def test_gate_lies_halfway_and_above_the_baseline():
    assert forecasting.BaselineScores(0.4, 0.8).gate == pytest.approx(0.6)
    assert forecasting.BaselineScores(-2.0, 0.8).gate == pytest.approx(0.4)
    assert forecasting.BaselineScores(0.9, 0.5).gate == pytest.approx(0.91)
    assert forecasting.BaselineScores(-2.0, 0.8).baseline == 0


def test_el_nino_is_what_it_was():
    """Its scores were published before it shared its windows with others."""
    found = el_nino.ElNino().training(0).competence
    assert (found.score, found.gate, found.baseline) == (
        pytest.approx(0.952, abs=0.002),
        0.9,
        pytest.approx(0.736, abs=0.001),
    )
    assert el_nino.ElNino().data().names.outputs[:2] == ("1 month ahead", "2 months ahead")


# ---- S&P 500 --------------------------------------------------------------------------------------------------------


def test_range_and_return_are_those_of_the_prices():
    table = pytest.importorskip("arch.data.sp500").load()
    found = sp500.SP500Volatility().series()
    assert len(table) == 5031
    assert found.values.shape == (5030, 2)
    for row in (0, 1000, 5029):
        high, low, close = (float(table[name].iloc[row + 1]) for name in ("High", "Low", "Close"))
        before = float(table["Close"].iloc[row])
        assert found.values[row].tolist() == pytest.approx([np.log(high / low), np.log(close / before)])
    assert int((table.index.year < 2010).sum()) - 1 == found.learnt_before


def test_volatility_is_foreseen_and_returns_are_not():
    data = sp500.SP500Volatility().data()
    found = baseline_scores(data)
    assert found.persistence == pytest.approx(0.199, abs=0.001)
    assert found.autoregression == pytest.approx(0.437, abs=0.001)
    # the page: of tomorrow's return nothing is known
    values = sp500.SP500Volatility().series().values
    past = values[:, 1].unfold(0, 21, 1)[:-1]
    weights = np.linalg.lstsq(past[:2700].numpy(), values[21:2721, 1].numpy())[0]
    assert literal_r_squared(past[2721:].numpy() @ weights, values[2742:, 1]) < 0.02


def test_model_of_volatility_is_better_than_a_line():
    found = sp500.SP500Volatility().training(0).competence
    assert found.fit
    assert found.gate > baseline_scores(sp500.SP500Volatility().data()).autoregression > found.baseline


@pytest.mark.full
def test_import_of_arch_is_quiet():
    program = (
        "import random, numpy, torch\n"
        "states = lambda: (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist())\n"
        "before = states()\nfrom arch.data import sp500\nsp500.load()\nassert states() == before"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_arch_is_said_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.data", None)
    with pytest.raises(DataError, match=r"Task 'sp500-volatility' needs the extra 'data': pip install"):
        sp500.SP500Volatility().dataset()


# ---- sets on demand -------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a function that puts a file where a data set is looked for."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def put(name, file, text):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text(text, encoding="utf-8")

    return put


JENA = ",".join(f'"{name}"' for name in ("Date Time", *jena._FEATURES))


def jena_rows(begin="2014-12-01", days=60, seed=0):
    """Rows of ten minutes as the file has them, such as 01.01.2009 00:10:00,996.52,-8.02,265.40 and so on."""
    rng = np.random.default_rng(seed)
    times = pd.date_range(begin, periods=days * 144, freq="10min")
    daily = 3 * np.sin(np.arange(len(times)) * 2 * np.pi / 144)
    values = daily[:, None] * rng.uniform(0.5, 2, 14) + rng.normal(0, 0.2, (len(times), 14)) + 50
    return [
        f"{time:%d.%m.%Y %H:%M:%S}," + ",".join(f"{value:.2f}" for value in row)
        for time, row in zip(times, values, strict=True)
    ]


def jena_text(rows):
    return "\n".join([JENA, *rows]) + "\n"


def test_jena_is_read_by_the_hour(place):
    rows = jena_rows()
    place("jena-climate", jena._FILE, jena_text(rows))
    found = jena.JenaClimate().series()
    assert found.features[0] == "T (degC)"
    assert found.values.shape == (60 * 24, 14)
    for hour in (0, 7, 700):
        cells = dict(zip(("Date Time", *jena._FEATURES), rows[6 * hour].split(","), strict=True))
        assert found.values[hour].tolist() == [float(cells[name]) for name in found.features]
    assert (found.clock.diff() == 1).all()
    assert pd.Timestamp(found.learnt_before, unit="h") == pd.Timestamp("2015-01-01")


def test_jena_takes_doubles_once_and_leaves_gaps_and_calms_out(place):
    rows = jena_rows()
    cells = rows[6 * 40].split(",")
    cells[12] = "-9999.00"
    rows[6 * 40] = ",".join(cells)
    del rows[6 * 60]
    place("jena-climate", jena._FILE, jena_text([*rows[:500], *rows[100:]]))
    found = jena.JenaClimate(steps=4, horizon=2).series()
    assert found.values.isnan().sum() == 1
    assert len(found.values) == 60 * 24 - 1
    whole = jena.JenaClimate(steps=4, horizon=2)
    train, _ = Series(**vars(found) | {"stride": 1}).windows(found.values)
    hours = 31 * 24
    # a window of 4 and 2 ahead: 4 begin so that they read hour 40, 6 so that they need hour 60
    assert len(train) == hours - 5 - 4 - 6
    assert whole.dataset().train.inputs.isfinite().all()


def test_jena_model_is_trained(place):
    place("jena-climate", jena._FILE, jena_text(jena_rows()))
    task = jena.JenaClimate(hidden=8, steps=12, horizon=3, instances=5)
    subject = task.subject(0)
    assert subject.batch.inputs.shape == (5, 12, 14)
    assert subject.batch_outputs.shape == (5, 1)
    assert subject.names.outputs == ("3 hours ahead",)
    assert subject.competence.gate > subject.competence.baseline


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda text: text.replace('"Tpot (K)"', '"Tpot (C)"'),
            "is not the published file: column 4 is 'Tpot .C.' ins",
        ),
        (
            lambda text: text.replace("01.12.2014 05:00:00", "2014-12-01 05:00:00"),
            r"row 32, column 'Date Time' holds '2",
        ),
        (lambda text: text[:-9], r"row 8641, has 14 cells, and the header 15: complete or drop it"),
        (lambda text: text + "29.01.2015 00:00:00" + ",1" * 14 + "\n", "two different rows for one hour, 8498 and 86"),
        (
            lambda text: re.sub(r"(01\.12\.2014 02:00:00),[\d.]+", r"\1,oops", text),
            r"row 14, column 'p \(mbar\)' holds 'oops', which is no number",
        ),
    ],
)
def test_damaged_jena_is_refused(place, damage, sentence):
    rows = jena_rows()
    place("jena-climate", jena._FILE, damage(jena_text(rows)))
    with pytest.raises(DataError, match=sentence):
        jena.JenaClimate().series()


ETT = "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"


def ett_rows(months=20, seed=0):
    rng = np.random.default_rng(seed)
    times = pd.date_range("2016-07-01", periods=months * 720, freq="h")
    daily = np.sin(np.arange(len(times)) * 2 * np.pi / 24)
    values = daily[:, None] * rng.uniform(1, 3, 7) + rng.normal(0, 0.3, (len(times), 7)) + 10
    return [f"{time},{','.join(f'{value:.6f}' for value in row)}" for time, row in zip(times, values, strict=True)]


@pytest.mark.parametrize(("name", "file"), [("etth1", "ETTh1.csv"), ("etth2", "ETTh2.csv")])
def test_ett_is_split_as_published(place, name, file):
    rows = ett_rows(21)
    place("ett", file, "\n".join([ETT, *rows]))
    found = plugins.build("task", name).series()
    assert found.features == ("OT", "HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")
    assert len(found.values) == 20 * 720
    assert found.learnt_before - int(found.clock[0]) == 16 * 720
    assert found.values[0].tolist() == [float(rows[0].split(",")[place]) for place in (7, 1, 2, 3, 4, 5, 6)]


def test_ett_model_is_trained(place):
    place("ett", "ETTh1.csv", "\n".join([ETT, *ett_rows()]))
    task = ett.ETTh1(hidden=4, steps=24, horizon=3, instances=5)
    object.__setattr__(task, "recipe", forecasting_recipe(task))
    assert task.subject(0).batch.inputs.shape == (5, 24, 7)
    assert task.training(0).competence.fit


def forecasting_recipe(task):
    """One pass, fast: what is tested is that it goes through."""
    return type(task.recipe)(epochs=1, learning_rate=2e-2, batch_size=32)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n".join([ETT, *ett_rows(3)]), "ETTh1.csv ends before 20 months are over: fetch the file again."),
        ("\n".join([ETT.replace("OT", "TO"), *ett_rows(1)]), "column 8 is 'TO' instead of 'OT'"),
        ("\n".join([ETT + ",more", *(row + ",1" for row in ett_rows(1))]), "column 9 is 'more' instead of None"),
        ("\n".join([ETT, *ett_rows(1)]).replace(" 03:00:00", " 03:20:00"), "row 5, has no full hour"),
        ("\n".join([ETT, *ett_rows(1)]).replace("2016-07-02 03:00:00,", "2016-07-02 03:00:00,NA"), "row 29, column"),
    ],
)
def test_damaged_ett_is_refused(place, text, sentence):
    place("ett", "ETTh1.csv", text)
    with pytest.raises(DataError, match=sentence):
        ett.ETTh1().series()


BEIJING = "No,year,month,day,hour,pm2.5,DEWP,TEMP,PRES,cbwd,Iws,Is,Ir"


def beijing_rows(begin="2013-11-01", days=120, seed=0):
    """Rows as the file has them, such as 1,2010,1,1,0,NA,-21,-11,1021,NW,1.79,0,0 for the first hour."""
    rng = np.random.default_rng(seed)
    times = pd.date_range(begin, periods=days * 24, freq="h")
    dust = 100 + 50 * np.sin(np.arange(len(times)) * 2 * np.pi / 24)
    winds = rng.choice(["NE", "NW", "SE", "cv"], len(times))
    return [
        f"{number},{time.year},{time.month},{time.day},{time.hour},{value + rng.normal():.0f},"
        f"{rng.integers(-20, 20)},{rng.integers(-10, 30)},{rng.integers(990, 1030)},{wind},{rng.uniform(0, 99):.2f},"
        f"{rng.integers(2)},{rng.integers(3)}"
        for number, (time, value, wind) in enumerate(zip(times, dust, winds, strict=True), 1)
    ]


def without_dust(row):
    cells = row.split(",")
    return ",".join([*cells[:5], "NA", *cells[6:]])


def test_beijing_leaves_hours_without_dust_out(place):
    rows = beijing_rows()
    rows[:24] = map(without_dust, rows[:24])
    rows[100] = without_dust(rows[100])
    place("beijing-pm25", beijing._FILE, "\n".join([BEIJING, *rows]))
    task = beijing.BeijingPM25(steps=4, horizon=2)
    found = task.series()
    assert found.features == (
        "pm2.5",
        "DEWP",
        "TEMP",
        "PRES",
        "Iws",
        "Is",
        "Ir",
        *(f"wind {w}" for w in beijing._WINDS),
    )
    assert found.values[:, 0].isnan().sum() == 25
    assert (found.values[:, 7:].sum(1) == 1).all()
    assert found.values[30, 7 + beijing._WINDS.index(rows[30].split(",")[9])] == 1
    train, test = Series(**vars(found) | {"stride": 1}).windows(found.values)
    # windows begin after the first day; 4 of them read hour 100, and one forecasts it
    assert len(train) == 61 * 24 - 5 - 24 - 5
    assert len(test) == 59 * 24 - 5
    assert task.dataset().train.inputs.isfinite().all()


def test_beijing_model_is_trained(place):
    place("beijing-pm25", beijing._FILE, "\n".join([BEIJING, *beijing_rows()]))
    subject = beijing.BeijingPM25(hidden=8, steps=12, horizon=6, instances=5).subject(0)
    assert subject.batch.inputs.shape == (5, 12, 11)
    assert subject.competence.score > subject.competence.baseline


@pytest.mark.parametrize(
    ("number", "row", "sentence"),
    [
        (7, "7,2013,11,1,6,120,-1,2,1000,WSW,1.0,0,0", "row 8, column 'cbwd' holds 'WSW', which is none of NE, NW, SE"),
        (7, "7,2013,11,31,6,120,-1,2,1000,NW,1.0,0,0", "row 8, column 'day' belongs to no date"),
        (
            7,
            "7,2013,11,1,6,120,NA,2,1000,NW,1.0,0,0",
            r"row 8, column 'DEWP' is missing \(1 of 2880 cells of the column\): fetch the file again",
        ),
        (7, "7,2013,11,1,6,120", "row 8, has 6 cells, and the header 13"),
        (7, "7,2013,11,1,5,120,-1,2,1000,NW,1.0,0,0", "two different rows for one hour, 7 and 8"),
        (7, '7,2013,11,1,6,"120,-1,2,1000,NW,1.0,0,0', "row 8, cannot be read .*: a quote is not closed"),
    ],
)
def test_damaged_beijing_is_refused(place, number, row, sentence):
    rows = beijing_rows()
    rows[number - 1] = row
    place("beijing-pm25", beijing._FILE, "\n".join([BEIJING, *rows]))
    with pytest.raises(DataError, match=sentence):
        beijing.BeijingPM25().series()


@pytest.mark.parametrize(
    ("name", "sets"),
    [("jena-climate", "jena-climate"), ("etth1", "ett"), ("etth2", "ett"), ("beijing-pm25", "beijing-pm25")],
)
def test_set_that_is_not_here_is_said_with_the_way_out(name, sets, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=f"'{sets}' is not here.*xrnnbench download {sets}"):
        plugins.build("task", name).dataset()
