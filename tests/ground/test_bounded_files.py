"""Files of users: what is no ordinary file, too large, or no JSON or TOML is one sentence."""

import os

import pytest

from xrnnbench.bounded_files import (
    NoFileError,
    json_value,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    shown_path,
)
from xrnnbench.errors import DataError, SuiteError

MOST = 1_000_000
BAD_JSON = {
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "digits": b"[" + b"9" * 5_000 + b"]",
    "NaN": b"[NaN]",
    "infinity": b"[-Infinity]",
    "a key twice": b'{"a": 1, "a": 2}',
    "half of a character": rb'["\ud800"]',
    "not UTF-8": b'["\xff"]',
    "UTF-16": '["a"]'.encode("utf-16"),
    "NUL": b'["\x00"]',
    "empty": b"",
    "cut": b'{"a": ',
    "two": b"1 2",
    "large": b" " * (MOST + 1),
}
BAD_TOML = {
    "deep": b"a = " + b"[" * 100_000,
    "deep and closed": b"a = " + b"[" * 50_000 + b"]" * 50_000,
    "deep tables": b"a = " + b"{a=" * 50_000,
    "digits": b"a = " + b"9" * 5_000,
    "a key twice": b"a = 1\na = 2",
    "not UTF-8": b'a = "\xff"',
    "NUL": b'a = "\x00"',
    "a date that there is not": b"a = 2024-02-31",
    "large": b"#" * (MOST + 1),
}


def written(folder, data):
    path = folder / "file"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_one_sentence(tmp_path, name):
    path = written(tmp_path, BAD_JSON[name])
    with pytest.raises(DataError) as caught:
        read_json(path, MOST)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", BAD_TOML)
def test_bad_toml_is_one_sentence(tmp_path, name):
    path = written(tmp_path, BAD_TOML[name])
    with pytest.raises(DataError) as caught:
        read_toml(path, MOST)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_good_is_read(tmp_path):
    assert read_json(written(tmp_path, b'\xef\xbb\xbf{"a": [1, 2.5, null, "\xc3\xa9", "\\u00e9"]}'), MOST) == {
        "a": [1, 2.5, None, "é", "é"]
    }
    assert read_toml(written(tmp_path, b'\xef\xbb\xbfa = "b"\r\n'), MOST) == {"a": "b"}
    assert read_text(written(tmp_path, b"as it is\r\n"), MOST) == "as it is\r\n"
    assert read_bytes(written(tmp_path, b"x" * MOST), MOST) == b"x" * MOST
    assert json_value('{"a": 1}', DataError) == {"a": 1}


def test_only_ordinary_files_are_opened_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to(written(tmp_path, b"1"))
    assert read_json(tmp_path / "link", MOST) == 1
    for path, reason in (
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path, "a folder"),
        ("/dev/zero", "a device"),
        (tmp_path / "circle", "in a circle"),
        (tmp_path / ("n" * 300), "name too long"),
        ("a\0b", "that no file name has"),
        ("a\ud800b", "that no file name has"),
    ):
        with pytest.raises(DataError) as caught:
            read_bytes(path, MOST)
        assert reason in str(caught.value).lower()
        str(caught.value).encode()


@pytest.mark.parametrize("name", ["none", "file/none", ""])
def test_a_missing_file_is_told_from_a_bad_one(tmp_path, name):
    written(tmp_path, b"")
    with pytest.raises(NoFileError, match="There is no file"):
        read_bytes(str(tmp_path / name) if name else "", MOST)


def test_a_complaint_of_the_callers_own(tmp_path):
    with pytest.raises(SuiteError, match=r"^Bad: it is not JSON"):
        read_json(written(tmp_path, b"x"), MOST, lambda reason: SuiteError(f"Bad: {reason}"))


def test_a_file_of_the_system_that_says_it_is_empty_is_read_up_to_the_limit():
    assert read_bytes("/proc/self/status", MOST).startswith(b"Name:")
    with pytest.raises(DataError, match="larger than"):
        read_bytes("/proc/self/status", 5)


def test_a_path_is_shown_on_one_line():
    assert len(shown_path("x" * 10_000)) < 300
    assert shown_path("a\ud800") == r"'a\ud800'"
