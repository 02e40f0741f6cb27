"""Speech, diagnosis and other series: splits, standardising, gaps, padding, and what damaged data are answered."""

import re
import shutil
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from xrnnbench import plugins
from xrnnbench.errors import DataError, ParameterError
from xrnnbench.tasks.builtin.series import classification, digits, ecg, fetched, fsdd, mortality, packaged
from xrnnbench.tasks.builtin.series.classification import Labelled, Scale, Splits
from xrnnbench.tasks.builtin.series.speech_commands import SpeechCommands
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.data.batch import Names
from xrnnbench.tasks.downloads.locate import VARIABLE
from xrnnbench.tasks.readers import audio, physionet

from .shared_data import laid, original

PACKAGED = ("italy-power", "basic-motions", "gun-point")
ON_DEMAND = ("fsdd", "speech-commands", "physionet2012", "ucr", "uea", "ecg200", "ecg5000")


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """A data folder with a genuine set laid out in it on demand."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        yield lambda name: laid(name, folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def rows_of(batch):
    return [values[:length].numpy().tobytes() for values, length in zip(batch.inputs, batch.lengths, strict=True)]


def assert_disjoint(data):
    learnt = set(rows_of(data.train))
    assert not learnt & set(rows_of(data.test))
    assert set(rows_of(data.explained)) <= set(rows_of(data.test))


def assert_same_twice(task):
    first, again = task.dataset(), task.dataset()
    for part in ("train", "test", "explained", "background"):
        one, other = getattr(first, part), getattr(again, part)
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)


def assert_passes_the_kit(task):
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


def as_on_demand(name):
    task = plugins.build("task", name)
    return task, task.data_sets


# ---- what all have in common ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_DEMAND)
def test_missing_sets_are_said_with_the_way_out(name, folder, own_cache, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    task, (wanted,) = as_on_demand(name)
    with pytest.raises(DataError, match=re.escape(f"The data set {wanted!r} is not here")):
        task.dataset()


def test_sets_of_the_archives_follow_the_parameter():
    assert plugins.build("task", "ucr:data_set=Coffee").data_sets == ("ucr:Coffee",)
    assert plugins.build("task", "uea:data_set=Epilepsy").data_sets == ("uea:Epilepsy",)
    assert plugins.build("task", "ucr:data_set=Coffee").spec == "ucr:data_set=Coffee"
    assert ecg.Ecg200().data_sets == ecg.Ecg200.data_sets == ("ucr:ECG200",)
    assert ecg.Ecg5000().data_sets == ecg.Ecg5000.data_sets == ("ucr:ECG5000",)


@dataclass(frozen=True)
class Made(classification.ClassificationTask):
    """Series given by the class."""

    name: ClassVar[str] = "made"
    given: ClassVar[tuple[list, list]] = ([], [])
    instances: int = 1

    def splits(self):
        train, test = (
            Labelled(tuple(torch.tensor(series) for series in part), torch.arange(len(part)) % 2) for part in self.given
        )
        return Splits(train, test, Names(("a", "b"), ("x", "y")))


def made(monkeypatch, train, test):
    monkeypatch.setattr(Made, "given", (train, test))
    return Made().dataset()


NAN = float("nan")


def test_unequal_lengths_are_padded_on_the_right(monkeypatch):
    data = made(monkeypatch, [[[0.0, 5.0]] * 3, [[2.0, 5.0]]], [[[4.0, 6.0]] * 2])
    assert data.train.lengths.tolist() == [3, 1]
    assert data.train.inputs.shape == (2, 3, 2)
    assert not data.train.inputs[1, 1:].any()
    # mean .5 and deviation √.75 over the four training steps; a feature that never changes is moved only
    assert torch.allclose(data.train.inputs[0, :, 0], torch.tensor(-0.5 / 0.75**0.5))
    assert torch.allclose(data.test.inputs[0, :, 0], torch.tensor(3.5 / 0.75**0.5))
    assert data.test.inputs[0, :, 1].tolist() == [1, 1]
    assert data.reference.item() == 0


def test_missing_values_are_carried_forward_and_marked(monkeypatch):
    train = [[[1.0, 1.0], [NAN, 3.0], [3.0, 5.0]], [[2.0, 2.0]]]
    data = made(monkeypatch, train, [[[NAN, 1.0], [1.0, 1.0], [NAN, 1.0]]])
    assert data.names.features == ("a", "b", "a measured")
    first = data.test.inputs[0]
    lowest = -1 / (2 / 3) ** 0.5
    assert first[:, 0].tolist() == pytest.approx([0, lowest, lowest])
    assert first[:, 2].tolist() == [0, 1, 0]
    assert data.train.inputs[0, :, 2].tolist() == [1, 0, 1]
    assert data.train.inputs[1, 1:].abs().sum() == 0


def literal_forward(values):
    found, last = [], 0.0
    for value in values:
        last = last if value != value else value  # noqa: PLR0124  # NaN is unlike itself
        found.append(last)
    return found


def test_carrying_forward_is_step_by_step():
    rng = np.random.default_rng(0)
    values = np.where(rng.random((50, 3)) < 0.6, np.nan, rng.normal(size=(50, 3)))
    found = classification.carried_forward(torch.from_numpy(values))
    for column in range(3):
        assert found[:, column].tolist() == literal_forward(values[:, column].tolist())


def test_scale_is_that_of_the_measured_steps():
    rng = np.random.default_rng(1)
    values = np.where(rng.random((40, 2)) < 0.3, np.nan, rng.normal(5, 3, (40, 2)))
    scale = Scale.of([torch.from_numpy(values[:10]), torch.from_numpy(values[10:])])
    assert np.allclose(scale.mean, np.nanmean(values, 0), atol=1e-5)
    assert np.allclose(scale.deviation, np.nanstd(values, 0), atol=1e-5)
    unknown = Scale.of([torch.full((3, 1), NAN)])
    assert (unknown.mean.item(), unknown.deviation.item()) == (0, 1)
    # the mean of many 0.1 is not exactly 0.1
    assert Scale.of([torch.full((1000, 1), 0.1)]).deviation.item() == 1


def test_held_out_series_that_were_learnt_from_are_left_out(monkeypatch):
    train = [[[1.0, 2.0]], [[2.0, 3.0]]]
    data = made(monkeypatch, train, [[[1.0, 2.0]], [[1.5, 2.0]]])
    assert len(data.test) == 1
    assert data.test.targets.tolist() == [1]
    with pytest.raises(DataError, match="Task 'made' has no test series that is not also a training series"):
        made(monkeypatch, train, train)


# ---- offline --------------------------------------------------------------------------------------------------------


def test_digits_are_read_line_by_line():
    data = digits.Digits().data()
    assert data.train.inputs.shape == (1297, 8, 8)
    assert data.test.inputs.shape == (500, 8, 8)
    assert data.train.targets.bincount(minlength=10).min() > 100
    frames = data.train.inputs.flatten(0, 1)
    assert torch.allclose(frames.mean(0), torch.zeros(8), atol=1e-5)
    assert torch.allclose(frames.std(0, correction=0), torch.ones(8), atol=1e-4)
    assert_disjoint(data)
    assert_same_twice(digits.Digits())


@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("italy-power", (67, 24, 1), (1029, 24, 1), 2),
        ("basic-motions", (40, 20, 30), (40, 20, 30), 4),
        ("gun-point", (50, 30, 5), (150, 30, 5), 2),
    ],
)
def test_packaged_sets_have_their_published_sizes(name, train, test, classes):
    task = plugins.build("task", name)
    data = task.data()
    assert tuple(data.train.inputs.shape) == train
    assert tuple(data.test.inputs.shape) == test
    assert len(data.names.outputs) == classes
    assert len(data.names.features) == train[2]
    assert_disjoint(data)
    assert_same_twice(task)


@pytest.mark.parametrize("name", PACKAGED)
def test_missing_extra_is_said_with_the_way_out(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sktime.datasets", None)
    task = plugins.build("task", name)
    assert task.extra == "data"
    with pytest.raises(DataError, match=rf"Task '{name}' needs the extra 'data': pip install 'xrnnbench\[data\]'"):
        task.dataset()


def test_windows_keep_the_order_of_time():
    whole, cut = packaged.GunPoint(window=1).data(), packaged.GunPoint(window=5).data()
    assert cut.names.features[1] == "horizontal place of the hand (2 of 5)"
    # standardised apart, the values of a place in the window are still the same up to scale and shift
    for place in range(5):
        pairs = torch.stack([whole.test.inputs[:, place::5, 0].flatten(), cut.test.inputs[:, :, place].flatten()])
        assert torch.corrcoef(pairs)[0, 1] > 0.9999


def test_windows_have_to_fit():
    with pytest.raises(ParameterError, match=r"gun-point: window=7 does not fit \(it does not divide a series of 150"):
        packaged.GunPoint(window=7).dataset()


# ---- speech ---------------------------------------------------------------------------------------------------------


def write_tone(path, hertz, seconds, rate, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    sound = np.sin(2 * np.pi * hertz * time) * 0.3 + rng.normal(0, 0.01, len(time))
    wavfile.write(path, rate, (sound * 32767).astype(np.int16))


def lay_digits(folder, numbers=range(8)):
    rng = np.random.default_rng(0)
    for digit in range(10):
        for number in numbers:
            path = folder / "fsdd" / "any" / "recordings" / f"{digit}_anna_{number}.wav"
            # the last one is shorter than a window
            write_tone(path, 300 * (digit + 1), 0.02 if number == 7 else rng.uniform(0.1, 0.3), 8000, rng)
    return folder / "fsdd" / "any" / "recordings"


def test_recordings_are_split_by_their_number(folder):
    lay_digits(folder)
    data = fsdd.SpokenDigits(instances=10).dataset()
    assert (len(data.train), len(data.test)) == (30, 50)
    assert data.train.targets.bincount().tolist() == [3] * 10
    assert data.train.lengths.min() == 1
    assert not data.train.inputs[~data.train.valid].any()
    assert_disjoint(data)


def test_odd_recordings_are_refused(folder):
    recordings = lay_digits(folder, range(4, 6))
    task = fsdd.SpokenDigits(instances=1)
    shutil.copy(recordings / "0_anna_5.wav", recordings / "zero.wav")
    with pytest.raises(DataError, match=r"zero\.wav is not named digit_speaker_number\.wav"):
        task.dataset()
    (recordings / "zero.wav").unlink()
    write_tone(recordings / "1_anna_5.wav", 300, 0.1, 16000, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"1_anna_5\.wav has 16000 samples a second and .* has 8000: resample"):
        task.dataset()
    (recordings / "1_anna_5.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"1_anna_5\.wav is no wav file that can be read"):
        task.dataset()
    for path in recordings.glob("*_5.wav"):
        path.unlink()
    with pytest.raises(DataError, match="has no training recordings"):
        task.dataset()


@pytest.mark.full
def test_genuine_digits_are_split_officially(genuine):
    folder = genuine("fsdd")
    task = fsdd.SpokenDigits()
    data = task.data()
    assert (len(data.train), len(data.test)) == (2700, 300)
    assert data.test.targets.bincount().tolist() == [30] * 10
    frames = data.train.inputs[data.train.valid]
    assert torch.allclose(frames.mean(0), torch.zeros(40), atol=1e-3)
    assert torch.allclose(frames.std(0), torch.ones(40), atol=1e-3)
    assert data.names.features[0] == "54 Hz"
    path = next(folder.rglob("0_george_0.wav"))
    assert len(audio.log_mel(audio.read_recording(path))) in data.test.lengths.tolist()
    assert_disjoint(data)
    competence = task.subject(0).competence
    assert competence.score > 0.97
    assert competence.fit


def lay_commands(folder, each=12):
    rng = np.random.default_rng(0)
    root = folder / "speech-commands"
    lists = {"testing_list.txt": [], "validation_list.txt": []}
    for hertz, word in ((400, "low"), (3000, "high"), (1000, "_background_noise_")):
        for number in range(each):
            name = f"{word}/{number:08x}_nohash_0.wav"
            write_tone(root / name, hertz, rng.uniform(0.1, 0.2), 16000, rng)
            if word != "_background_noise_" and number < 5:
                lists["testing_list.txt" if number < 3 else "validation_list.txt"].append(name)
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_commands_are_split_by_the_lists(folder):
    lay_commands(folder)
    task = SpeechCommands(words=("low", "high"), instances=2)
    train, test = task.recordings()
    assert {path.name for path, _ in test} == {f"{number:08x}_nohash_0.wav" for number in range(3)}
    assert {path.name for path, _ in train} == {f"{number:08x}_nohash_0.wav" for number in range(5, 12)}
    assert [number for _, number in train] == [0] * 7 + [1] * 7
    few, _ = SpeechCommands(words=("low", "high"), recordings_each=4).recordings()
    assert len(few) == 8
    assert {path for path, _ in few} < {path for path, _ in train}
    data = task.data()
    assert data.names.outputs == ("low", "high")
    assert_passes_the_kit(task)


def test_commands_that_are_not_there_are_refused(folder):
    root = lay_commands(folder, each=6)
    with pytest.raises(ParameterError, match="speech-commands: the data set has no word 'loud'; there are high, low"):
        SpeechCommands(words=("low", "loud")).recordings()
    with pytest.raises(ParameterError, match="there are high, low"):
        SpeechCommands(words=("low", "_background_noise_")).recordings()
    (root / "low" / "00000001_nohash_0.wav").unlink()
    with pytest.raises(DataError, match=r"testing_list\.txt names 'low/00000001_nohash_0\.wav', which is not there"):
        SpeechCommands(words=("low", "high")).recordings()
    for path in (root / "high").glob("*.wav"):
        if path.name > "00000004":
            path.unlink()
    with pytest.raises(DataError, match="has no training recordings of 'high'"):
        SpeechCommands(words=("high", "low")).recordings()
    (root / "validation_list.txt").unlink()
    with pytest.raises(DataError, match=r"There is no 'validation_list\.txt'"):
        SpeechCommands(words=("low", "high")).recordings()


@pytest.mark.parametrize("words", ["yes", "yes/yes"])
def test_words_have_to_differ(words):
    with pytest.raises(ParameterError, match=f"speech-commands: words={words} are not two or more different words"):
        plugins.build("task", f"speech-commands:words={words}")


# ---- diagnosis ------------------------------------------------------------------------------------------------------


def lay_patients(folder, count=40, letter="a"):
    """Patients whose heart beats fast if they die; of the first ones nothing was measured."""
    rng = np.random.default_rng(0)
    root = folder / "physionet2012"
    (root / f"set-{letter}").mkdir(parents=True)
    outcomes = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for number in range(count):
        died = number % 4 == 1
        lines = ["Time,Parameter,Value", f"00:00,RecordID,{number + 1}", f"00:00,Age,{rng.integers(20, 90)}"]
        lines += ["00:00,Gender,-1", "00:00,Height,-1", f"00:00,ICUType,{1 + number % 4}", "00:00,Weight,-1"]
        if number >= 2:
            lines += [f"{hour:02}:30,HR,{(120 if died else 70) + rng.normal(0, 5):.1f}" for hour in range(0, 48, 5)]
        (root / f"set-{letter}" / f"{number + 1}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        outcomes.append(f"{number + 1},6,1,5,-1,{int(died)}")
    (root / f"Outcomes-{letter}.txt").write_text("\n".join(outcomes) + "\n", encoding="utf-8")
    return root


def test_patients_become_values_masks_and_gaps(folder):
    lay_patients(folder)
    data = mortality.Mortality(instances=4).dataset()
    assert data.train.inputs.shape == (30, 48, 37 * 3 + 8)
    assert data.test.targets.tolist().count(1) == 2  # a quarter of 10, rounded to even
    assert data.explained.targets.tolist().count(1) == 2
    assert len(data.names.features) == 37 * 3 + 8
    column = {name: place for place, name in enumerate(data.names.features)}
    every = torch.cat([data.train.inputs, data.test.inputs])
    measured = every[:, :, column["HR measured"]]
    assert set(measured.unique().tolist()) == {0, 1}
    assert measured.sum(1).unique().tolist() == [0, 10]
    nobody = measured.sum(1) == 0
    assert nobody.sum() == 2
    # who was not measured has the mean value throughout, and a gap that grows
    assert not every[nobody][:, :, column["HR"]].any()
    assert (every[nobody][:, :, column["HR hours since"]].diff(dim=1) > 0).all()
    # carried forward to the next measurement
    seen = every[~nobody][:, :, column["HR"]]
    assert torch.equal(seen[:, 0], seen[:, 4])
    assert not torch.equal(seen[:, 4], seen[:, 5])
    # never measured of anybody: nothing but 0
    assert not every[:, :, column["pH"]].any()
    assert not every[:, :, column["Height on admission"]].any()
    assert every[:, 0, column["unit: coronary care"] :].sum(1).eq(1).all()
    assert_disjoint(data)


def test_patients_are_told_apart_by_what_was_measured(folder):
    lay_patients(folder, 80)
    task = mortality.Mortality(hidden=8, instances=8)
    assert_passes_the_kit(task)
    subject = task.subject(0)
    assert subject.competence.measure == "AUROC"
    assert subject.target.tolist() == [1] * 8


def test_several_sets_are_split_each(folder):
    lay_patients(folder, letter="a")
    with pytest.raises(DataError, match=r"There is no 'Outcomes-b\.txt'"):
        mortality.Mortality(instances=2, sets=("a", "b")).dataset()
    lay_patients(folder / "other", letter="b")
    for path in (folder / "other" / "physionet2012").iterdir():
        shutil.move(path, folder / "physionet2012")
    data = mortality.Mortality(instances=4, sets=("a", "b")).dataset()
    assert (len(data.train), len(data.test)) == (60, 20)


def test_records_and_outcomes_have_to_match(folder):
    root = lay_patients(folder)
    (root / "set-a" / "7.txt").unlink()
    with pytest.raises(DataError, match="Patient 7 does not have exactly one record in set-a and one outcome"):
        mortality.Mortality().dataset()
    shutil.copy(root / "set-a" / "8.txt", root / "set-a" / "7.txt")
    with pytest.raises(DataError, match="Patient 7 does not have exactly one record"):
        mortality.Mortality().dataset()


def test_sets_and_instances_have_to_fit(folder):
    for sets in ("a/a", ""):
        with pytest.raises(ParameterError, match="physionet2012: sets="):
            plugins.build("task", f"physionet2012:sets={sets}")
    lay_patients(folder)
    with pytest.raises(ParameterError, match="physionet2012: instances=11, but only 10 are held out"):
        mortality.Mortality(instances=11).dataset()


@pytest.mark.full
def test_genuine_patients_are_as_published(genuine):
    folder = genuine("physionet2012")
    task = mortality.Mortality()
    data = task.data()
    assert (len(data.train), len(data.test)) == (3000, 1000)
    assert int(data.train.targets.sum() + data.test.targets.sum()) == 554
    assert int(data.explained.targets.sum()) == 32
    column = physionet.PARAMETERS.index("HR")
    assert abs(data.train.inputs[:, :, column].mean()) < 0.1
    assert_disjoint(data)
    known = physionet.read_stay(folder / "set-a" / "132539.txt")
    assert known.descriptors == {"Age": 54, "Gender": 0, "ICUType": 4}
    assert task.subject(0).competence.score > 0.8


@pytest.mark.full
def test_genuine_heartbeats_are_diagnosed(genuine):
    genuine("ucr:ECG200")
    task = ecg.Ecg200()
    data = task.data()
    assert data.train.inputs.shape == (700, 24, 4)
    assert data.test.inputs.shape == (100, 24, 4)
    assert data.names.outputs == ("infarction", "normal")
    assert data.names.features[3] == "electric potential (4 of 4)"
    assert (data.train.targets.bincount() // 7 + data.test.targets.bincount()).tolist() == [67, 133]
    assert_disjoint(data)
    assert task.subject(0).competence.fit


def test_training_beats_are_also_learnt_from_moved(genuine):
    genuine("ucr:ECG200")
    data = ecg.Ecg200(window=1).dataset()
    as_it_is, earlier, later, _, much_later, *_ = data.train.inputs.view(7, 100, 96).unbind()
    assert torch.equal(earlier[:, :-1], as_it_is[:, 1:])
    assert torch.equal(later[:, 1:], as_it_is[:, :-1])
    assert torch.equal(much_later[:, 2:], as_it_is[:, :-2])
    assert torch.equal(later[:, 0], as_it_is[:, 0])
    plain = fetched.Ucr().dataset()
    assert plain.train.inputs.shape == (100, 96, 1)
    assert plain.names.outputs == ("class -1", "class 1")


@pytest.mark.full
def test_five_kinds_of_beats_are_told_apart(folder):
    """Of ECG5000 only the training set is at hand, so every other beat of each class is held out here."""
    lines = original("ucr_ecg/ECG5000_TRAIN.ts").read_text(encoding="utf-8").rstrip("\n").split("\n")
    start = lines.index("@data") + 1
    by_class = sorted(lines[start:], key=lambda line: line.rpartition(":")[2])
    (folder / "ucr-ECG5000").mkdir()
    for part, chosen in (("TRAIN", by_class[::2]), ("TEST", by_class[1::2])):
        text = "\n".join([*lines[:start], *chosen]) + "\n"
        (folder / "ucr-ECG5000" / f"ECG5000_{part}.ts").write_text(text, encoding="utf-8")
    task = ecg.Ecg5000()
    data = task.data()
    assert data.train.inputs.shape == data.test.inputs.shape == (250, 35, 4)
    assert data.names.outputs[0] == "normal"
    assert_disjoint(data)
    assert task.subject(0).competence.fit


# ---- any set of the archives ----------------------------------------------------------------------------------------


def lay_series(folder, archive_name, train, test, header=""):
    root = folder / f"{archive_name}-Made"
    root.mkdir(exist_ok=True)
    for part, rows in (("TRAIN", train), ("TEST", test)):
        text = f"@problemName Made\n{header}@classLabel true up down\n@data\n" + "\n".join(rows) + "\n"
        (root / f"Made_{part}.ts").write_text(text, encoding="utf-8")
    return root


def test_series_of_any_length_with_gaps_are_learnt(folder):
    rng = np.random.default_rng(0)

    def row(kind):
        steps = rng.integers(5, 9)
        values = np.arange(steps) * (1 if kind == "up" else -1) + rng.normal(0, 0.1, steps)
        words = [f"{value:.4f}" for value in values]
        words[2] = "?"
        return ",".join(words) + ":" + ",".join(f"{value:.4f}" for value in rng.normal(size=steps)) + f":{kind}"

    train, test = ([row(kind) for kind in ("up", "down") * count] for count in (20, 10))
    lay_series(folder, "uea", train, test)
    task = fetched.Uea(data_set="Made", instances=5)
    data = task.data()
    assert data.names.features == ("dimension 1", "dimension 2", "dimension 1 measured")
    assert data.names.outputs == ("class up", "class down")
    assert data.train.lengths.min() >= 5
    assert not data.train.inputs[:, 2, 2].any()
    assert torch.equal(data.train.inputs[:, 2, 0], data.train.inputs[:, 1, 0])
    assert_passes_the_kit(task)
    # the gate lies halfway between the most frequent class and no error
    found = task.subject(0).competence
    assert found.gate == (1 + found.baseline) / 2
    with pytest.raises(ParameterError, match=r"uea: window=2 does not fit \(the data set has missing values"):
        fetched.Uea(data_set="Made", window=2).dataset()


def test_files_that_do_not_fit_together_are_refused(folder):
    task = fetched.Ucr(data_set="Made", instances=1)
    root = lay_series(folder, "ucr", ["1,2:up", "2,1:down"], ["1:2:up"])
    with pytest.raises(DataError, match="training series have 1 dimensions, test series 2"):
        task.dataset()
    (root / "Made_TEST.ts").write_text("@classLabel true up over\n@data\n1,2:over\n", encoding="utf-8")
    with pytest.raises(DataError, match="the test series have the class 'over', which no training series has"):
        task.dataset()
    (root / "Made_TEST.ts").unlink()
    with pytest.raises(DataError, match=r"There is no Made_TEST with one of the endings \.ts, \.tsv, \.txt"):
        task.dataset()


def test_series_without_a_header_serve_too(folder):
    root = folder / "ucr-Made"
    root.mkdir()
    (root / "Made_TRAIN.tsv").write_text("1\t0\t1\n2\t1\t0\tNaN\n", encoding="utf-8")
    (root / "Made_TEST.txt").write_text("  1.0 0.5 1\n", encoding="utf-8")
    data = fetched.Ucr(data_set="Made", instances=1).dataset()
    assert data.train.targets.tolist() == [0, 1]
    assert data.test.targets.tolist() == [0]
    assert data.names.outputs == ("class 1", "class 2")
