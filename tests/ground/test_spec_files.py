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


def test_absolute_paths_are_changed_and_nothing_else():
    spec = "metric:by=/home/me/mine.py:Mine:draws=2,share=0.5"
    assert with_paths(spec, lambda path: Path(path).name) == "metric:by=mine.py:Mine:draws=2,share=0.5"
    assert with_paths("adding:instances=8", str.upper) == "adding:instances=8"
