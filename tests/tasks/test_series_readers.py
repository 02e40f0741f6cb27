"""Readers of recordings, patients' records and series: literal re-computations, published facts, damaged files."""

import math
import re
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from xrnnbench.errors import DataError, ParameterError
from xrnnbench.tasks.readers import audio, physionet, ucr

from .shared_data import original

# ---- recordings -----------------------------------------------------------------------------------------------------


def sound(count=1000, rate=8000, seed=0):
    samples = np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)
    return audio.Recording(samples, rate)


def literal_log_mel(samples, rate):
    """The docstring's formula word by word in float64, with a DFT that is a sum."""
    window, hop = round(0.025 * rate), round(0.010 * rate)
    size = 1
    while size < window:
        size *= 2
    samples = [float(value) for value in samples] + [0.0] * max(0, window - len(samples))
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)]
    frequencies = [k * rate / size for k in range(size // 2 + 1)]

    def mel(hertz):
        return 2595 * math.log10(1 + hertz / 700)

    corners = []
    for m in range(42):
        place = mel(20) + m * (mel(rate / 2) - mel(20)) / 41
        corners.append(700 * (10 ** (place / 2595) - 1))
    frames = []
    for begin in range(0, len(samples) - window + 1, hop):
        powers = []
        for k in range(len(frequencies)):
            angle = 2 * math.pi * k / size
            real = sum(hann[n] * samples[begin + n] * math.cos(angle * n) for n in range(window))
            imaginary = sum(hann[n] * samples[begin + n] * math.sin(angle * n) for n in range(window))
            powers.append((real**2 + imaginary**2) / size)
        bands = []
        for left, centre, right in zip(corners, corners[1:], corners[2:], strict=False):
            energy = 0.0
            for frequency, power in zip(frequencies, powers, strict=True):
                if left < frequency <= centre:
                    energy += power * (frequency - left) / (centre - left)
                elif centre < frequency < right:
                    energy += power * (right - frequency) / (right - centre)
            bands.append(math.log(max(energy, 1e-8)))
        frames.append(bands)
    return np.array(frames)


@pytest.mark.parametrize(("count", "rate"), [(520, 8000), (199, 8000), (1, 8000), (480, 16000)])
def test_log_mel_is_its_formula(count, rate):
    recording = sound(count, rate)
    found = audio.log_mel(recording)
    expected = literal_log_mel(recording.samples, rate)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("count", "frames"), [(1, 1), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_a_rest_shorter_than_a_hop_is_left_out(count, frames):
    assert audio.log_mel(sound(count)).shape == (frames, audio.BANDS)


def test_silence_is_at_the_floor():
    silent = audio.Recording(np.zeros(1000, dtype=np.float32), 8000)
    assert np.allclose(audio.log_mel(silent), math.log(1e-8))


def test_a_tone_is_loudest_in_the_band_around_it():
    centres = audio.band_centres(16000)
    assert len(centres) == audio.BANDS
    assert list(centres) == sorted(centres)
    for band in (5, 20, 35):
        time = np.arange(16000) / 16000
        tone = audio.Recording(np.sin(2 * np.pi * centres[band] * time).astype(np.float32), 16000)
        assert set(audio.log_mel(tone).argmax(1)) == {band}


def test_twice_the_amplitude_is_four_times_the_energy():
    quiet = sound()
    loud = audio.Recording(2 * quiet.samples, quiet.rate)
    assert np.allclose(audio.log_mel(loud) - audio.log_mel(quiet), math.log(4), atol=1e-4)


def test_too_low_a_rate_is_refused():
    for rate in (30, 1000):
        with pytest.raises(ParameterError, match=f"{rate} samples a second is too coarse for 40 mel bands"):
            audio.log_mel(sound(1000, rate))


def write_wave(path, values, width, channels=1, rate=8000):
    """Whole numbers of ``width`` bytes, as the standard library writes them."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            file.writeframes(bytes(value + 128 for value in values))
        else:
            file.writeframes(b"".join(value.to_bytes(width, "little", signed=True) for value in values))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_any_width_are_scaled_alike(tmp_path, width):
    largest = 2 ** (8 * width - 1)
    write_wave(tmp_path / "a.wav", [0, largest // 2, -largest, largest - 1], width)
    found = audio.read_recording(tmp_path / "a.wav")
    assert found.rate == 8000
    assert found.samples.dtype == np.float32
    assert np.allclose(found.samples, [0, 0.5, -1, 1 - 1 / largest])


def test_floats_are_taken_as_they_are(tmp_path):
    values = np.array([0.0, 0.25, -1.0], dtype=np.float32)
    wavfile.write(tmp_path / "a.wav", 16000, values)
    assert np.array_equal(audio.read_recording(tmp_path / "a.wav").samples, values)


def test_channels_are_averaged(tmp_path):
    write_wave(tmp_path / "a.wav", [100, 300, -100, -300], 2, channels=2)
    assert np.allclose(audio.read_recording(tmp_path / "a.wav").samples, np.array([200, -200]) / 32768)


def test_tags_are_passed_over(tmp_path):
    write_wave(tmp_path / "a.wav", [1, 2, 3], 2)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    tag = b"tagx" + struct.pack("<I", 4) + b"word"
    content[36:36] = tag
    content[4:8] = struct.pack("<I", len(content) - 8)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(audio.read_recording(tmp_path / "a.wav").samples) == 3


def test_damaged_recordings_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(DataError, match=r"There is no recording .*a\.wav: fetch its data set again\."):
        audio.read_recording(path)
    write_wave(path, [1, 2, 3, 4] * 10, 2)
    whole = path.read_bytes()
    for damaged in (b"", b"no sound at all", whole[:20], whole[:60]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.wav is no wav file that can be read \(.*\): fetch it again\."):
            audio.read_recording(path)
    write_wave(path, [], 2)
    with pytest.raises(DataError, match=r"a\.wav holds no sound"):
        audio.read_recording(path)


# ---- patients -------------------------------------------------------------------------------------------------------

ADMITTED = "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:00,Gender,-1\n00:00,Height,170\n00:00,ICUType,4\n"


def stay_of(tmp_path, lines=""):
    (tmp_path / "7.txt").write_text(ADMITTED + lines, encoding="utf-8")
    return physionet.read_stay(tmp_path / "7.txt")


def test_a_stay_is_read_line_by_line(tmp_path):
    stay = stay_of(tmp_path, "00:00,Weight,80\n00:00,HR,70\n\n00:07,Weight,81\n09:59,K,-1\n48:00,K,4.5\n10:00,,3\n")
    assert stay.identifier == 7
    assert stay.descriptors == {"Age": 54, "Height": 170, "ICUType": 4, "Weight": 80}
    assert stay.measurements == ((0, "Weight", 80), (0, "HR", 70), (7, "Weight", 81), (2880, "K", 4.5))


def literal_grid(stay):
    """Hour by hour and parameter by parameter."""
    values, measured, gaps = (np.full((48, 37), np.nan) for _ in range(3))
    for column, name in enumerate(physionet.PARAMETERS):
        last, since = math.nan, 0
        for hour in range(48):
            inside = [
                value
                for minute, parameter, value in stay.measurements
                if parameter == name and (minute // 60 == hour or (hour == 47 and minute == 2880))
            ]
            since = 0 if inside else since + 1
            last = sum(inside) / len(inside) if inside else last
            values[hour, column], measured[hour, column], gaps[hour, column] = last, bool(inside), since
    return values, measured, gaps


def test_the_grid_is_what_was_measured_hour_by_hour(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(3):
        chosen = rng.choice(physionet.PARAMETERS, 200)
        minutes = sorted(rng.integers(0, 2881, 200))
        lines = [
            f"{minute // 60:02}:{minute % 60:02},{name},{rng.normal():.3f}\n"
            for minute, name in zip(minutes, chosen, strict=True)
        ]
        stay = stay_of(tmp_path, "".join(lines))
        grid, (values, measured, gaps) = physionet.gridded(stay), literal_grid(stay)
        assert np.allclose(grid.values, values, equal_nan=True)
        assert np.array_equal(grid.measured, measured.astype(bool))
        assert np.array_equal(grid.hours_since, gaps)


def test_several_measurements_in_an_hour_count_by_their_mean(tmp_path):
    grid = physionet.gridded(stay_of(tmp_path, "01:00,HR,60\n01:00,HR,70\n01:59,HR,110\n02:00,HR,90\n"))
    column = physionet.PARAMETERS.index("HR")
    assert grid.values[1:4, column].tolist() == [80, 90, 90]
    assert np.isnan(grid.values[0, column])
    assert grid.measured[:4, column].tolist() == [False, True, True, False]
    assert grid.hours_since[:5, column].tolist() == [1, 0, 0, 1, 2]


def test_a_patient_of_whom_nothing_was_measured_has_a_grid(tmp_path):
    stay = stay_of(tmp_path)
    assert stay.measurements == ()
    grid = physionet.gridded(stay)
    assert np.isnan(grid.values).all()
    assert not grid.measured.any()
    assert np.array_equal(grid.hours_since[:, 0], np.arange(1, 49))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("00:07,HR", "line 7: '00:07,HR' is not of the form HH:MM,Parameter,Value"),
        ("7,HR,70", "line 7: '7,HR,70' is not of the form HH:MM,Parameter,Value"),
        ("00:60,HR,70", "line 7: '00:60,HR,70' is not of the form"),
        ("48:01,HR,70", "line 7: 48:01 is later than 48:00"),
        ("00:07,HR,fast", "line 7: 'fast' is no number"),
        ("00:07,HR,nan", "line 7: 'nan' is not finite"),
        ("00:07,Mood,3", "line 7: 'Mood' is not a parameter of the challenge that may occur here"),
        ("00:07,Age,54", "line 7: 'Age' is not a parameter of the challenge that may occur here"),
        ("00:00,Age,54", "line 7: 'Age' is not a parameter of the challenge that may occur here"),
    ],
)
def test_damaged_records_are_refused_with_their_line(tmp_path, line, what):
    with pytest.raises(DataError, match=re.escape(f"7.txt, {what}")):
        stay_of(tmp_path, line + "\n")


def test_records_without_a_head_are_refused(tmp_path):
    path = tmp_path / "7.txt"
    with pytest.raises(DataError, match=r"7\.txt cannot be read \(No such file"):
        physionet.read_stay(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"7\.txt, line 1: 'Time,Parameter,Value' is expected, not ''"):
        physionet.read_stay(path)
    path.write_text("Time,Parameter,Value\n00:00,Age,4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"7\.txt has no RecordID"):
        physionet.read_stay(path)
    path.write_bytes(b"Time,Parameter,Value\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"7\.txt is no text in UTF-8"):
        physionet.read_stay(path)


OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"


def deaths_of(tmp_path, text):
    (tmp_path / "Outcomes-a.txt").write_text(text, encoding="utf-8")
    return physionet.read_deaths(tmp_path / "Outcomes-a.txt")


def test_deaths_are_read(tmp_path):
    assert deaths_of(tmp_path, OUTCOMES + "7,6,1,5,-1,0\n9,16,8,8,3,1\n") == {7: False, 9: True}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "line 1: the columns 'RecordID' and 'In-hospital_death' are expected"),
        ("RecordID,Survival\n7,0\n", "line 1: the columns"),
        (OUTCOMES, "holds no outcomes"),
        (OUTCOMES + "7,6,1,5,-1\n", "line 2: '7,6,1,5,-1' is no outcome"),
        (OUTCOMES + "7,6,1,5,-1,2\n", "line 2: '7,6,1,5,-1,2' is no outcome"),
        (OUTCOMES + "7,6,1,5,-1,0\n7,6,1,5,-1,0\n", "line 3: patient 7 is listed twice"),
    ],
)
def test_damaged_outcomes_are_refused_with_their_line(tmp_path, text, what):
    with pytest.raises(DataError, match=re.escape(what)):
        deaths_of(tmp_path, text)


def test_deaths_of_set_a_are_as_published():
    deaths = physionet.read_deaths(original("physionet2012/Outcomes-a.txt"))
    assert len(deaths) == 4000
    assert sum(deaths.values()) == 554  # 13.85 %


# ---- the archives' series -------------------------------------------------------------------------------------------

HEADER = "# a comment\n@problemName Two\n@timeStamps false\n@missing false\n@classLabel true a b\n@data\n"


def table_of(tmp_path, text, suffix=".ts"):
    (tmp_path / f"two{suffix}").write_text(text, encoding="utf-8")
    return ucr.read_table(tmp_path / f"two{suffix}")


def test_dimensions_values_and_classes_are_told_apart(tmp_path):
    table = table_of(tmp_path, HEADER + "1,2,3:4,5,6e-1: b\n\n% another\n7:8:a\n")
    assert [series.tolist() for series in table.series] == [
        pytest.approx(np.array([[1, 4], [2, 5], [3, 0.6]])),
        [[7, 8]],
    ]
    assert table.labels == ("b", "a")
    assert table.classes == ("a", "b")


def test_missing_values_are_nan_where_the_header_allows_them(tmp_path):
    header = HEADER.replace("@missing false", "@missing true")
    series = table_of(tmp_path, header + "?,2,NaN:b\n").series[0]
    assert np.isnan(series[:, 0]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (HEADER + "1,x:a\n", "line 7: 'x' is no number"),
        (HEADER + "1,,2:a\n", "line 7: a field is empty, where '?' is a missing value"),
        (HEADER + "1,inf:a\n", "line 7: a value is infinite"),
        (HEADER + "1,2\n", "line 7: there is no ':' before the class"),
        (HEADER + "1,2:c\n", "line 7: the class 'c' is none of a, b"),
        (HEADER + "1,?:a\n", "line 7: a value is missing where the header says that none is"),
        (HEADER + "1,2:3:a\n", "line 7: its dimensions have 2, 1 values, not one"),
        (HEADER + "1,2:a\n1:2:a\n", "line 8: it has 2 dimensions where 1 are expected"),
        (HEADER, "has no series below @data"),
        (HEADER.replace("@data\n", ""), "has no line '@data'"),
        (HEADER.replace("@timeStamps false", "@timeStamps true"), "line 3: series with time stamps are not read"),
        (HEADER.replace("@timeStamps false", "@timeStamps no"), "line 3: 'true' or 'false' is expected, not 'no'"),
        (HEADER.replace("@classLabel true a b", "@classLabel false"), "line 5: series without classes are not read"),
        (HEADER.replace("@classLabel true a b\n", ""), "line 5: no classes were declared"),
        (HEADER.replace("@missing", "@targetLabel true\n@missing"), "line 4: targets that are not classes"),
        (
            HEADER.replace("@missing", "@seriesLength long\n@missing"),
            "line 4: @serieslength must be followed by a number",
        ),
        ("1,2,3\n", "line 1: every line before '@data' must begin with '@'"),
        (HEADER.replace("@missing", "@univariate true\n@missing") + "1:2:a\n", "line 8: it has 2 dimensions where 1"),
        (HEADER.replace("@missing", "@dimensions 3\n@missing") + "1:2:a\n", "line 8: it has 2 dimensions where 3"),
        (
            HEADER.replace("@missing", "@equalLength true\n@missing") + "1,2:a\n1:a\n",
            "line 9: it has 1 values where 2 are expected",
        ),
        (
            HEADER.replace("@missing", "@equalLength true\n@seriesLength 3\n@missing") + "1,2:a\n",
            "line 9: it has 2 values where 3 are expected",
        ),
    ],
)
def test_damaged_series_are_refused_with_their_line(tmp_path, text, what):
    with pytest.raises(DataError, match=re.escape(what)):
        table_of(tmp_path, text)


@pytest.mark.parametrize("suffix", [".txt", ".tsv"])
def test_series_without_a_header_begin_with_their_class(tmp_path, suffix):
    text = "-1.0e+00 1 NaN 3 NaN NaN\n  1.0\t4 5\n10,6,7\nword 8\n"
    table = table_of(tmp_path, text, suffix)
    assert table.labels == ("-1", "1", "10", "word")
    assert table.classes == ("-1", "1", "10", "word")
    assert [len(series) for series in table.series] == [3, 2, 2, 1]
    assert np.isnan(table.series[0][:, 0]).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 2 3\n1 2 x\n", "line 2: 'x' is no number"),
        ("1\n", "line 1: there is no value after the class"),
        ("1 NaN NaN\n", "line 1: there is no value after the class"),
        ("\n", "has no series"),
    ],
)
def test_damaged_series_without_a_header_are_refused_with_their_line(tmp_path, text, what):
    with pytest.raises(DataError, match=re.escape(what)):
        table_of(tmp_path, text, ".txt")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"two\.arff does not end in \.ts, \.tsv, \.txt"):
        table_of(tmp_path, "", ".arff")
    with pytest.raises(DataError, match=r"none\.ts cannot be read \(No such file"):
        ucr.read_table(tmp_path / "none.ts")
    (tmp_path / "two.ts").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"two\.ts is no text in UTF-8"):
        ucr.read_table(tmp_path / "two.ts")


@pytest.mark.parametrize("name", ["ItalyPowerDemand", "BasicMotions", "JapaneseVowels", "UnitTest"])
def test_series_are_those_that_sktime_reads(name):
    datasets = pytest.importorskip("sktime.datasets")
    path = Path(datasets.__file__).parent / "data" / name / f"{name}_TRAIN.ts"
    table = ucr.read_table(path)
    frame, labels = datasets.load_from_tsfile_to_dataframe(str(path))
    # sktime writes the classes in small letters
    assert [label.lower() for label in table.labels] == list(labels)
    assert len(frame) == len(table.series)
    for row, series in zip(frame.itertuples(index=False), table.series, strict=True):
        assert np.allclose(np.stack([np.asarray(channel) for channel in row], axis=1), series)


def test_heartbeats_are_as_published():
    train, test = (ucr.read_table(original(f"ucr_ecg/ECG200_{part}.txt")) for part in ("TRAIN", "TEST"))
    assert [len(train.series), len(test.series)] == [100, 100]
    assert train.classes == test.classes == ("-1", "1")
    assert [(*train.labels, *test.labels).count(label) for label in ("1", "-1")] == [133, 67]
    values = np.stack(train.series)
    assert values.shape == (100, 96, 1)
    # brought to mean 0 and deviation 1 by the archive
    assert np.allclose(values.mean(1), 0, atol=1e-5)
    beats = ucr.read_table(original("ucr_ecg/ECG5000_TRAIN.ts"))
    assert [beats.labels.count(label) for label in beats.classes] == [292, 177, 10, 19, 2]
    assert beats.series[0].shape == (140, 1)
