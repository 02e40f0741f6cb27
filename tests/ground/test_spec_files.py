from pathlib import Path

import pytest

from xrnnbench.spec_files import file_spec, named_files, with_paths


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("mine.py:Mine", ("mine.py", "Mine", "")),
        ("/a b/c.py:Mine:x=1,by=d.py:E", ("/a b/c.py", "Mine", "x=1,by=d.py:E")),
        ("adding", None),
        ("comprehensiveness:by=mine.py:Mine", None),
        ("comprehensiveness:top=3,by=./mine.py:Mine:draws=2", None),
    ],
)
def test_a_class_in_a_file_is_told_from_a_name_with_parameters(spec, parts):
    assert file_spec(spec) == parts


@pytest.mark.parametrize(
    "spec",
    [
        "{0}:Mine",
        "{0}:Mine:by={1}:Other",
        "metric:by={0}:Mine:draws=2;part={1}",
        "parallel:sources={0},translations={1}",
    ],
)
def test_files_that_exist_are_named(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    files = [Path("one.py"), Path("two.py")]
    assert named_files(spec.format(*files)) == []
    for file in files:
        file.touch()
    assert named_files(spec.format(*files)) == [file for file, mark in zip(files, "01", strict=True) if mark in spec]


@pytest.mark.parametrize("folder", ["k=1", "a:b", "year=2020"])
def test_a_folder_may_be_named_with_an_equals_sign_or_a_colon(tmp_path, folder):
    file = tmp_path / folder / "mine.py"
    file.parent.mkdir()
    file.touch()
    for spec in (
        "{}:Mine",
        "{}:Mine:draws=2",
        "metric:by={}:Mine",
        "metric:top=3,by={}:Mine:a=1;b=2",
        "csv:path={},y=a",
    ):
        assert named_files(spec.format(file)) == [file], spec
        assert str(tmp_path) not in with_paths(spec.format(file), lambda path: Path(path).name)
    assert with_paths(f"--out={file}", lambda path: Path(path).name) == "--out=mine.py"


def test_absolute_paths_are_changed_and_nothing_else():
    spec = "metric:by=/home/me/mine.py:Mine:draws=2,share=0.5"
    assert with_paths(spec, lambda path: Path(path).name) == "metric:by=mine.py:Mine:draws=2,share=0.5"
    assert with_paths("adding:instances=8", str.upper) == "adding:instances=8"
