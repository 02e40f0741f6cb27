"""Categorical columns, the time since the last step, and the ids of the sequences, of a user's own table."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xrnnbench import Batch, build, task_from_csv
from xrnnbench.errors import DataError, ParameterError, UsageError
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.custom.csv_task import _unseen
from xrnnbench.tasks.readers.categories import encoded
from xrnnbench.tasks.readers.frames import HeldFrame
from xrnnbench.tasks.readers.labelled import LabelledFile

LONG = {"id": "who", "time": "hour", "predict": "outcome"}
SINCE = "time since the last step"


def stays(count=60, seed=0):
    """Patients on wards: the ill are in intensive care more often."""
    rng = np.random.default_rng(seed)
    rows = [
        (
            f"p{patient:02}",
            3 * hour + int(rng.integers(2)),
            round(rng.normal(), 3),
            rng.choice(["icu", "er", "home"], p=[0.8, 0.1, 0.1] if patient % 2 else [0.1, 0.3, 0.6]),
            rng.choice(["f", "m"]),
            ("well", "ill")[patient % 2],
            "test" if patient < 20 else "train",
        )
        for patient in range(count)
        for hour in range(int(rng.integers(3, 7)))
    ]
    return pd.DataFrame(rows, columns=["who", "hour", "pulse", "ward", "sex", "outcome", "part"])


def file_of(frame, **options):
    return LabelledFile(path=HeldFrame.of(frame), **LONG | {"predict": ("outcome",)} | options)


def encoded_of(frame, **options):
    sequences = file_of(frame, **options).sequences()
    training = np.array([id_ >= "p20" for id_ in sequences.ids])
    return sequences, encoded(sequences, torch.from_numpy(training))


# ---- features of levels ---------------------------------------------------------------------------------------------


def test_a_level_is_one_where_the_column_has_it():
    frame = stays()
    sequences, found = encoded_of(frame, features=("sex", "pulse", "ward"), categories=("ward", "sex"))
    expected = frame.assign(
        **{name: (frame[name.partition("=")[0]] == name.partition("=")[2]) * 1.0 for name in found.names if "=" in name}
    )
    assert found.names == ("sex=f", "sex=m", "pulse", "ward=er", "ward=home", "ward=icu")
    for id_, values in zip(sequences.ids, found.values, strict=True):
        own = expected[expected["who"] == id_].sort_values("hour")[list(found.names)]
        assert values.tolist() == own.to_numpy().tolist()


def test_file_and_frame_have_the_same_levels(tmp_path):
    frame = stays()
    frame.to_csv(tmp_path / "data.csv", index=False)
    options = {"categories": ("ward", "sex"), "split": "part"}
    held = task_from_csv(frame, **options, **LONG).data()
    filed = task_from_csv(tmp_path / "data.csv", **options, **LONG).data()
    assert held.names == filed.names
    assert torch.equal(held.train.inputs, filed.train.inputs)
    spec = f"csv:path={tmp_path}/data.csv,id=who,time=hour,predict=outcome,categories=ward/sex,split=part"
    assert torch.equal(build("task", spec).data().test.inputs, filed.test.inputs)


def test_numbers_are_ordered_by_value_and_named_columns_are_read_beside_the_features():
    frame = stays().assign(ward=np.arange(len(stays())) % 3 * 5)
    _, found = encoded_of(frame, features=("pulse",), categories=("w*",))
    assert found.names == ("pulse", "ward=0", "ward=5", "ward=10")


def test_pandas_categorical_declares_its_levels_and_their_order():
    frame = stays()
    frame["ward"] = pd.Categorical(frame["ward"], categories=["icu", "none", "home", "er"])
    _, found = encoded_of(frame, features=("ward", "pulse"))
    assert found.names == ("ward=icu", "ward=none", "ward=home", "ward=er", "pulse")
    assert not np.concatenate(found.values)[:, 1].any()
    data = task_from_csv(frame, features=("ward", "pulse"), split="part", **LONG).data()
    assert data.names.features == found.names
    assert not data.train.inputs[:, :, 1].any()


@pytest.mark.parametrize("declared", [False, True])
def test_level_that_no_training_sequence_has_is_absence_of_all_levels(declared):
    frame = stays()
    odd = frame["who"] < "p05"
    frame.loc[odd, "ward"] = "odd"
    more = {"categories": ("ward",)}
    if declared:
        frame["ward"] = pd.Categorical(frame["ward"], categories=["er", "home", "icu", "odd"])
        more = {}
    sequences, found = encoded_of(frame, features=("ward",), **more)
    assert found.names == ("ward=er", "ward=home", "ward=icu", "ward=odd")[: 4 if declared else 3]
    for id_, values in zip(sequences.ids, found.values, strict=True):
        assert (values.sum(1) == (0 if id_ < "p05" else 1)).all()


def test_missing_level_is_absence_of_all_levels_and_marked_if_asked():
    frame = stays()
    gone = np.arange(len(frame)) % 5 == 0
    frame["ward"] = frame["ward"].mask(gone)
    assert task_from_csv(frame, categories="ward", features="pulse", **LONG).names.features[0] == "pulse"
    task = task_from_csv(frame, categories="ward", features="pulse", missing="mask", split="part", **LONG)
    data = task.data()
    assert data.names.features == ("pulse", "ward=er", "ward=home", "ward=icu", "pulse measured", "ward measured")
    train = frame[frame["part"] == "train"]
    for batch, part in ((data.train, train), (data.test, frame[frame["part"] == "test"])):
        levels = batch.inputs[batch.valid][:, 1:4].double()
        own = part.sort_values(["who", "hour"])
        frequencies = torch.tensor([float((train["ward"] == ward).mean()) for ward in ("er", "home", "icu")])
        present = torch.tensor(np.stack([own["ward"] == ward for ward in ("er", "home", "icu")], 1).astype(float))
        assert torch.allclose(levels, present - frequencies, atol=1e-6)
        assert batch.inputs[batch.valid][:, 5].tolist() == own["ward"].notna().astype(float).tolist()
        assert batch.inputs[batch.valid][:, 4].all()


def test_reference_of_a_level_is_its_frequency():
    frame = stays()
    data = task_from_csv(frame, categories="ward", features="pulse", split="part", **LONG).data()
    steps = data.train.inputs[data.train.valid].double()
    assert data.reference == 0
    assert torch.allclose(steps.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-6)
    assert steps[:, 0].std(correction=0) == pytest.approx(1, abs=1e-5)
    for column in steps[:, 1:].T:
        assert (column.max() - column.min()).item() == pytest.approx(1, abs=1e-6)


def test_network_learns_from_categories():
    task = task_from_csv(stays(120), categories=("ward", "sex"), features="pulse", split="", epochs=10, **LONG)
    assert task.training(0).competence.score > 0.9
    assert task.names == task.subject(0).names
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


class Ward(nn.Module):
    """Ill if mostly in the last of the read wards."""

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(features)[-1])

    def forward(self, inputs, lengths):
        inside = torch.arange(inputs.shape[1]) < lengths[:, None]
        share = ((inputs @ self.weight) * inside).sum(1) / lengths
        return torch.stack([share - 0.5, 0.5 - share], 1)


def test_model_of_ones_own_reads_noughts_and_ones_in_the_order_of_the_names():
    frame = stays()
    task = task_from_csv(frame, Ward(4), categories="ward", features="pulse", split="part", **LONG)
    subject = task.subject(0)
    assert task.names.features == subject.names.features == ("pulse", "ward=er", "ward=home", "ward=icu")
    assert subject.batch.inputs[:, :, 1:].unique().tolist() == [0, 1]
    assert (subject.target == subject.batch.targets).float().mean() > 0.8
    own = frame[frame["who"] == subject.batch.ids[0]].sort_values("hour")
    assert subject.batch.inputs[0, : len(own), 3].tolist() == (own["ward"] == "icu").astype(float).tolist()
    shares = [float((frame["ward"] == ward).mean()) for ward in ("er", "home", "icu")]
    assert subject.reference[0, 0, 1:].tolist() == pytest.approx(shares)


def test_levels_of_a_model_of_ones_own_come_from_the_training_part():
    frame = stays()
    frame.loc[frame["who"] == "p00", "ward"] = "odd"
    read = {
        split: task_from_csv(frame, lambda x: x.sum(1)[:, :2], categories="ward", features="pulse", split=split, **LONG)
        for split in ("", "part")
    }
    assert read["part"].names.features == ("pulse", "ward=er", "ward=home", "ward=icu")
    assert read[""].names.features == ("pulse", "ward=er", "ward=home", "ward=icu", "ward=odd")
    place = read["part"].batch.ids.index("p00")
    assert not read["part"].batch.inputs[place, :, 1:].any()


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (
            {},
            {"features": ("pulse", "ward")},
            (
                "the frame, row 0, column 'ward' holds 'W', which is no number: say categories=ward if the column "
                "holds categories, or leave the column out."
            ),
        ),
        ({}, {"categories": "wrad"}, "the frame has no column 'wrad', did you mean 'ward'? It has 'who', 'hour', 'pu"),
        (
            {},
            {"categories": "outcome"},
            "The column 'outcome' of the frame has another role: leave it out of categories.",
        ),
        (
            {"ward": "er"},
            {"categories": "ward", "features": "pulse"},
            "The feature 'ward' of the frame is constant in the training data: leave it out.",
        ),
        (
            {"ward=er": 1.5, "ward": ["er", "icu"] * 40},
            {"categories": "ward", "features": ("pulse", "ward=er")},
            "Two features of the frame would be named 'ward=er': rename a column.",
        ),
        (
            {"r1": 0, "r2": 1},
            {"categories": "ward", "features": "pulse", "truth": ("r1", "r2")},
            "The number of truth columns of the frame is 2; expected one for all features.",
        ),
        (
            {"r1": 0, "r2": 1},
            {"time_gap": True, "features": ("pulse", "hour2"), "hour2": 1, "truth": ("r1", "r2")},
            "The number of truth columns of the frame is 2; expected one for all features.",
        ),
    ],
)
def test_what_is_wrong_with_categories_is_said_in_a_sentence(change, options, sentence):
    frame = stays(20)[:80].assign(hour=np.arange(80), hour2=np.arange(80) ** 2)
    frame = frame.assign(outcome=np.where(frame["who"] < "p10", "a", "b"), ward=["W", "er"] * 40).assign(**change)
    options = {name: value for name, value in options.items() if name != "hour2"}
    with pytest.raises(DataError) as caught:
        task_from_csv(frame, **options, **LONG).data()
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"categories": "ward", "predict": "outcome"},
            "categories=… needs rows that are steps: say time=…, the column that orders them.",
        ),
        (
            {"time_gap": True, "predict": "outcome"},
            "time_gap=true needs rows that are steps: say time=…, the column that orders them.",
        ),
        (
            {"categories": "ward", "predict": "outcome", "text": "ward"},
            "categories=… needs rows that are steps: say time=…, the column that orders them.",
        ),
    ],
)
def test_layouts_without_steps_have_neither_categories_nor_gaps(options, sentence):
    with pytest.raises(ParameterError) as caught:
        task_from_csv(stays(20), **options)
    assert str(caught.value) == sentence


def test_text_without_a_declaration_is_refused_in_a_file_too(tmp_path):
    stays(20).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(
        DataError, match=r"column 'ward' holds '\w+', which is no number: say categories=ward if the co"
    ):
        task_from_csv(tmp_path / "data.csv", **LONG).data()


# ---- the time since the last step -----------------------------------------------------------------------------------


def test_gap_is_the_time_since_the_last_step():
    frame = stays()
    sequences, found = encoded_of(frame, features=("pulse",), time_gap=True)
    assert found.names == ("pulse", SINCE)
    for id_, values in zip(sequences.ids, found.values, strict=True):
        hours = frame[frame["who"] == id_]["hour"].sort_values()
        assert values[:, 1].tolist() == hours.diff().fillna(0).tolist()


@pytest.mark.parametrize("write", [False, True])
def test_gap_of_dates_is_in_hours(write, tmp_path):
    frame = stays()
    frame["hour"] = pd.Timestamp("2024-03-31") + pd.to_timedelta(frame["hour"] * 90, unit="min")
    source = frame
    if write:
        source = tmp_path / "data.csv"
        frame.to_csv(source, index=False)
    task = task_from_csv(source, lambda x: x.sum(1)[:, :2], features="pulse", time_gap=True, **LONG)
    batch = task.subject(0).batch
    assert task.names.features == ("pulse", SINCE)
    for place, id_ in enumerate(batch.ids):
        hours = frame[frame["who"] == id_]["hour"].sort_values().diff().dt.total_seconds().fillna(0) / 3600
        assert batch.inputs[place, : batch.lengths[place], 1].tolist() == hours.tolist()


def test_gap_is_standardised_and_never_missing():
    frame = stays()
    frame["pulse"] = frame["pulse"].mask(np.arange(len(frame)) % 4 == 1)
    data = task_from_csv(frame, features="pulse", time_gap=True, missing="mask", split="part", **LONG).data()
    assert data.names.features == ("pulse", SINCE, "pulse measured")
    gaps = data.train.inputs[data.train.valid][:, 1].double()
    assert gaps.mean().item() == pytest.approx(0, abs=1e-6)
    assert gaps.std(correction=0).item() == pytest.approx(1, abs=1e-5)


# ---- ids ------------------------------------------------------------------------------------------------------------


def identified(batch, frame, column="pulse"):
    """Whether every sequence is, but for an affine map, the one that its id names."""
    steps = batch.inputs[batch.valid][:, 0].double()
    own = torch.tensor(
        np.concatenate([frame[frame["who"] == id_].sort_values("hour")[column].to_numpy() for id_ in batch.ids])
    )
    scale = torch.linalg.lstsq(torch.stack([own, torch.ones_like(own)], 1), steps[:, None]).solution
    return torch.allclose(torch.stack([own, torch.ones_like(own)], 1) @ scale, steps[:, None], atol=1e-4)


@pytest.mark.parametrize("split", ["", "part"])
@pytest.mark.parametrize("seed", [0, 1])
def test_ids_stay_with_their_sequences(split, seed):
    frame = stays(seed=seed).sample(frac=1, random_state=seed)
    # two pairs of twins: those that are held out are left out
    frame = pd.concat([frame, *(frame[frame["who"] == f"p{n}"].assign(who=f"p{n - 40:02}x") for n in (44, 47))])
    frame["part"] = np.where(frame["who"] < "p20", "test", "train")
    data = task_from_csv(frame, features="pulse", instances=9, split=split, **LONG).data()
    parts = [data.train, data.test, data.explained, data.background]
    assert [len(part.ids) for part in parts] == [len(part) for part in parts]
    assert all(identified(part, frame) for part in parts)
    assert not set(data.train.ids) & set(data.test.ids)
    if split:
        assert not {"p04x", "p07x"} & set(data.test.ids)
        assert len(data.test) == 20


def test_ids_of_what_a_model_of_ones_own_is_given():
    frame = stays().sample(frac=1, random_state=0)
    two = lambda x: x.sum(1).repeat(2, 1)  # noqa: E731  # a user's function
    task = task_from_csv(frame, two, features="pulse", split="part", instances=7, **LONG)
    batch = task.subject(0).batch
    assert len(batch.ids) == 7
    assert identified(batch, frame)
    assert all(id_ < "p20" for id_ in batch.ids)


def test_ids_of_rows_and_of_texts():
    frame = pd.DataFrame({"a": np.arange(20.0) ** 2, "b": 1.5, "s": [f"so {'good ' * (n + 1)}" for n in range(20)]})
    frame = frame.assign(who=[f"w{n}" for n in range(20)], y=["p", "q"] * 10)
    wide = task_from_csv(frame, id="who", features=("a", "b"), predict="y").data()
    for row, id_ in enumerate(wide.train.ids):
        assert wide.train.targets[row] == int(id_[1:]) % 2
    text = task_from_csv(frame, id="who", text="s", predict="y").data()
    assert len(text.train.ids) + len(text.test.ids) <= 20
    for row, id_ in enumerate(text.train.ids):
        assert text.train.targets[row] == int(id_[1:]) % 2
    assert task_from_csv(frame, text="s", predict="y").data().train.ids == ()
    with pytest.raises(DataError, match="the frame has several texts of one 'who': give each its own, or leave id out"):
        task_from_csv(frame.assign(who="w"), id="who", text="s", predict="y").data()
    with pytest.raises(DataError, match="the frame has several rows of one 'who'"):
        task_from_csv(frame.assign(who="w"), id="who", features="a", predict="y").data()


def batch_of(ids):
    return Batch(torch.arange(8.0).view(4, 2, 1), torch.tensor([2, 1, 2, 2]), torch.zeros(4).long(), ids=ids)


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        (slice(1, 3), ("b", "c")),
        (torch.tensor([3, 0]), ("d", "a")),
        (torch.tensor([True, False, False, True]), ("a", "d")),
        (torch.tensor([1, 1, 2]), ()),
    ],
)
def test_selection_carries_ids_but_for_copies(rows, ids):
    assert batch_of(("a", "b", "c", "d")).select(rows).ids == ids
    assert batch_of(()).select(rows).ids == ()


def test_ids_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="There are 4 sequences and 2 ids: give one for each"):
        batch_of(("a", "b"))
    with pytest.raises(DataError, match="Two sequences have the id 'b': give each its own"):
        batch_of(("a", "b", "c", "b"))


def test_what_is_left_of_the_held_out_keeps_its_ids():
    test = batch_of(("a", "b", "c", "d"))
    left = _unseen(test, test.select(torch.tensor([0, 2])))
    assert left.ids == ("b", "d")
    with pytest.raises(UsageError, match="Every held-out sequence is identical"):
        _unseen(test, test)
