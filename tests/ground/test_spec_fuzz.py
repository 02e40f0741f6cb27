"""Specs of any text: a plug-in, or an error of the project; no other exception leaves."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrnnbench.errors import UsageError
from xrnnbench.plugins import FLOORS, Plugin, build, find, kebab, names, nearest
from xrnnbench.spec_files import file_spec, named_files, with_paths

FILES = {
    "good.py": "from xrnnbench import Explainer\nclass Mine(Explainer):\n    name = 'mine'\nvalue = 3\n",
    "bad.py": "1 / 0",
    "quits.py": "import sys\nsys.exit(0)",
    "deep.py": "x = " + "(" * 500 + ")" * 500,
    "deeper.py": "x = " + "-" * 100_000 + "1",
    "nul.py": "x = '\0'",
    "odd.py": "raise type('Odd', (Exception,), {'__str__': lambda self: 3})()",
    "long.py": "raise ValueError('x' * 1_000_000)",
    "number.py": "from xrnnbench import Explainer\nclass X(Explainer):\n    name = 3\n",
    "lazy.py": "def __getattr__(name):\n    raise RuntimeError(name)\n",
    "imports.py": "import good, " + ", ".join(f"no{number}" for number in range(50)),
    "circle_a.py": "import circle_b",
    "circle_b.py": "import circle_a",
}
PIECES = [
    *(":", "::", ",", ";", "=", "/", ".", "./", "../", "~", "~nobody-such/", ".py", ".py:", "\0", "\ud800", "\n"),
    *(" ", "-", "1", "0", "-1", "1e999", "nan", "9" * 5_000, "x" * 300, "true", "None", "path=", "by=", "samples="),
    *("steps=", "instances=", "data=", "predict=", "Mine", "value", "X", "__class__", "csv", "lime", "random", "roar"),
    *("é", "pipe", "pipe.py", "folder", "folder.py", "loop.py", "/dev/zero", "/", "./good.py:Mine", "./odd.py:X"),
    *FILES,
]
fuzzed = settings(max_examples=1_500, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "binary.py").write_bytes(bytes(range(256)))
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.py").symlink_to("loop.py")
    os.mkfifo(tmp_path / "pipe.py")


def judged(kind, spec):
    named_files(spec)
    file_spec(spec)
    with_paths(spec, lambda path: path)
    try:
        made = build(kind, spec)
    except UsageError:
        return
    assert isinstance(made, Plugin)


@pytest.mark.full
@fuzzed
@given(st.sampled_from(list(FLOORS)), st.text(max_size=60))
def test_any_text(kind, spec):
    judged(kind, spec)


@pytest.mark.full
@fuzzed
@given(st.sampled_from(list(FLOORS)), st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8))
def test_any_pieces(place, kind, pieces):
    judged(kind, "".join(pieces))


@st.composite
def with_parameters(draw):
    """A plug-in with values for its own parameters."""
    kind = draw(st.sampled_from(list(FLOORS)))
    name = draw(st.sampled_from(names(kind)))
    known = [*find(kind, name).__dataclass_fields__, "other"]
    pairs = draw(st.lists(st.tuples(st.sampled_from(known), st.sampled_from(PIECES) | st.text(max_size=8)), max_size=4))
    return kind, name + ":" + ",".join(f"{key}={value}" for key, value in pairs)


@pytest.mark.full
@fuzzed
@given(with_parameters())
def test_any_values_of_parameters(place, spec):
    judged(*spec)


@pytest.mark.full
@fuzzed
@given(st.text(max_size=200))
def test_any_name_has_a_kebab_and_a_nearest_one(text):
    assert kebab(text)
    nearest(text, ["lime", "random"])


@pytest.mark.parametrize("name", [*FILES, "binary.py", "folder.py", "loop.py", "pipe.py", "a\0b.py", "x" * 300 + ".py"])
def test_a_file_of_any_content_is_one_sentence(place, name):
    with pytest.raises(UsageError) as caught:
        build("method", f"./{name}:X")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_500
