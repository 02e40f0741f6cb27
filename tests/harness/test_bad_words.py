"""Every option and argument of every command with every bad value: one sentence, no traceback, nothing waited for.

Values that name a device are given only where a file is read.
"""

import json
import os
import re

import pytest
import typer

from xrnnbench.harness import cli

from .conftest import spec

VALUES = {
    "empty": "",
    "space": " ",
    "NUL": "a\0b",
    "long name": "x" * 300,
    "long path": "x/" * 3_000,
    "no such user": "~nobody-such/x",
    "not text": "bad\udcffname",
    "circle of links": "circle",
    "pipe": "pipe",
    "folder": "folder",
    "file": "file",
    "two lines": "a\nb",
    "negative": "-1",
    "infinite": "1e999",
    "not a number": "nan",
    "digits": "9" * 5_000,
    "brackets": "[" * 5_000,
    "escape": "é∂\x1b[31m",
    "very long": "a" * 200_000,
    "here": ".",
    "no name": "./file.py:",
    "bytes": "./bytes.py:X",
    "deep": "./deep.py:X",
    "a folder's name": "./folder.py:X",
    "a pipe's name": "./pipe.py:X",
    "nested": "a:b=c:d=e;f",
    "colon": ":",
    "equals": "=",
    "comma": ",",
    "no value": "random:=",
    "many samples": "lime:samples=" + "9" * 5_000,
    "no samples": "lime:samples=nan",
    "format": "%s%n{}",
    "zero": "0",
    "list": "1,2,,",
    "foreign digit": "\u0663",
}
READ = {"zeroes": "/dev/zero", "nothing": "/dev/null", "another process": "/proc/self/mem"}
READ |= {f"{kind} {ending}": f"{kind}.{ending}" for kind in ("pipe", "circle", "folder", "bytes", "deep", "empty")
         for ending in ("toml", "npz", "json")}  # fmt: skip
# Parameters that name what is read.
READING = {"suite", "data", "run", "runs", "baseline", "check", "reference_rows", "about", "name", "task", "method"}
COMMAND_LINES = {
    "run": ["small.toml", "--out", "r"],
    "plan": ["small.toml", "--out", "r"],
    "merge": ["r", "--out", "merged"],
    "leaderboard": ["r"],
    "doctor": ["r"],
    "explain": [spec("SmallTask"), "-m", spec("Chance")],
    "inspect": [spec("SmallTask")],
    "compare": ["r", "baseline"],
    "bless": ["r", "blessed"],
    "costs": ["r"],
    "list": ["suites"],
    "show": ["quick"],
    "check": [spec("Chance")],
    "download": ["no-such"],
    "pages": ["interventions", "pages"],
    "publish": ["r", "published"],
}


@pytest.fixture
def place(tmp_path, monkeypatch, invoke):
    """A folder with a run, a baseline, and files that are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRNNBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XRNNBENCH_DATA", "")  # which --data-dir sets
    lists = {"tasks": ["SmallTask"], "methods": ["Chance"], "metrics": ["Size"]}
    lines = [f"{key} = {json.dumps([spec(name) for name in names])}" for key, names in lists.items()]
    (tmp_path / "small.toml").write_text("\n".join(['name = "small"', *lines]), "utf-8")
    assert invoke("run", "small.toml", "--out", "r")[0] == 0
    assert invoke("bless", "r", "baseline")[0] == 0
    for ending in ("", ".toml", ".npz", ".json", ".py"):
        os.mkfifo(f"pipe{ending}")
        (tmp_path / f"circle{ending}").symlink_to(f"circle{ending}")
        (tmp_path / f"folder{ending}").mkdir()
        (tmp_path / f"bytes{ending}").write_bytes(bytes(range(256)) * 40)
        (tmp_path / f"deep{ending}").write_bytes(b"[" * 100_000)
        (tmp_path / f"empty{ending}").write_bytes(b"")
    (tmp_path / "file").write_text("x", "utf-8")
    return tmp_path


def lines_with_bad_words(name):
    """Every command line of a command in which one word is bad, with the name of that word's value."""
    words = COMMAND_LINES[name]
    given = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    parameters = typer.main.get_command(cli.app).commands[name].params
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    for place in range(given):
        parameter = arguments[min(place, len(arguments) - 1)]
        for value, word in values_of(parameter):
            yield value, [name, *words[:place], word, *words[place + 1 :]]
    for parameter in parameters:
        if parameter.param_type_name == "option" and not parameter.is_flag:
            for value, word in values_of(parameter):
                yield value, [name, *words, f"{parameter.opts[-1]}={word}"]


def values_of(parameter):
    return (VALUES | READ if parameter.name in READING else VALUES).items()


def judged(invoke, value, words):
    status, _, err = invoke(*words)
    shown = (value, [word[:60] for word in words], status, err[-500:])
    assert status in {0, 1, 2, 3}, shown
    assert "Traceback" not in err, shown
    assert "nobody foresaw" not in err, shown
    assert "traceback" not in err, shown
    # a suite file may be somebody else's, so it is said first whose code it names
    err = re.sub(r"\A.* names Python files, whose code now runs: .*\n", "", err)
    if status == 2 and "Usage:" not in err:
        assert err.count("\n") == 1, shown
        assert err.startswith("xrnnbench: "), shown
        assert err.strip().isprintable(), shown
        assert len(err) < 3_300, shown


def test_every_command_has_a_line():
    assert COMMAND_LINES.keys() == cli.COMMANDS.keys()


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_some_bad_words(name, place, invoke):
    # a stride that shares no factor with the number of values, so that every value comes with some option
    for value, words in list(lines_with_bad_words(name))[::37]:
        judged(invoke, value, words)


@pytest.mark.full
@pytest.mark.parametrize("name", COMMAND_LINES)
def test_many_bad_words(name, place, invoke):
    # all 5,500 lines take a quarter of an hour
    for value, words in list(lines_with_bad_words(name))[::4]:
        judged(invoke, value, words)
