"""Plug-ins: found by name, made from a spec, refused by a sentence that says the way out."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from xrnnbench import plugins
from xrnnbench.errors import ParameterError, UnknownNameError, UsageError
from xrnnbench.plugins import FLOORS, Plugin, build, configure, load_file, names, nearest, register

HEAD = """
from dataclasses import dataclass
from typing import ClassVar
from xrnnbench import Explainer, register
"""
PLUGIN = """
@dataclass(frozen=True)
class Mine(Explainer):
    '''Mine.

    At length.
    '''

    name: ClassVar[str] = "{name}"
    steps: int = 3
"""

ASK = """
try:
    plugins.names("method")
except plugins.UsageError as error:
    print(error)
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test registers into a copy."""
    for kind in FLOORS:
        names(kind)
    monkeypatch.setattr(plugins, "_registry", dict(plugins._registry))


@dataclass(frozen=True)
class Sample(Plugin):
    """A plug-in with a parameter of every type."""

    kind: ClassVar[str] = "metric"
    name: ClassVar[str] = "sample"
    count: int = 1
    rate: float = 0.5
    label: str = "a"
    on: bool = False
    fractions: tuple[float, ...] = (0.1, 0.2)
    pair: tuple[int, str] = field(default_factory=lambda: (1, "x"))


@dataclass(frozen=True)
class Needy(Plugin):
    """Has a parameter without default."""

    kind: ClassVar[str] = "metric"
    name: ClassVar[str] = "needy"
    size: int


def written(folder, text, name="mine"):
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_left_out_of_the_spec():
    assert Sample().spec == "sample"
    changed = Sample(count=2, on=True, fractions=(0.5,), rate=1e-05)
    assert changed.spec == "sample:count=2,rate=1e-05,on=true,fractions=0.5"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "count=7",
        "rate=2",
        "label=b",
        "on=true",
        "fractions=0.1/0.5/1.0",
        "fractions=0.3",
        "pair=4/y",
        " count=2 , on=1 ",
    ],
)
def test_spec_and_plugin_are_each_other(text):
    made = configure(Sample, text)
    assert configure(Sample, made.spec.partition(":")[2]) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cuont=1", "has no parameter 'cuont', did you mean 'count'"),
        ("zzz=1", "has no parameter 'zzz'; it has count, fractions"),
        ("count=many", "count=many does not fit"),
        ("count=1.5", "count=1.5 does not fit"),
        ("on=perhaps", "on=perhaps does not fit"),
        ("fractions=0.1/b", "does not fit"),
        ("pair=1", "does not fit"),
        ("count", "'count' is not of the form key=value"),
        ("name=other", "has no parameter 'name'"),
    ],
)
def test_bad_parameters(text, said):
    with pytest.raises(ParameterError, match=r"^sample") as caught:
        configure(Sample, text)
    assert said in str(caught.value)


@dataclass(frozen=True)
class Explosive(Plugin):
    """Raises what it likes when it is made."""

    kind: ClassVar[str] = "metric"
    name: ClassVar[str] = "explosive"

    def __post_init__(self):
        raise ZeroDivisionError("boom")


def test_a_plugin_that_cannot_be_made_is_a_sentence():
    with pytest.raises(UsageError, match=r"explosive cannot be made \(ZeroDivisionError: boom\)"):
        configure(Explosive, "")


def test_missing_parameter_and_none_at_all():
    with pytest.raises(ParameterError, match="needs a value for 'size': write needy:size="):
        configure(Needy, "")
    assert configure(Needy, "size=3").spec == "needy:size=3"


def test_identity_is_ready_for_json():
    assert Sample().identity() == {
        "kind": "metric",
        "name": "sample",
        "version": 1,
        "parameters": {"count": 1, "rate": 0.5, "label": "a", "on": False, "fractions": (0.1, 0.2), "pair": (1, "x")},
    }
    assert Sample.page() == "A plug-in with a parameter of every type."


def test_unknown_names_offer_the_nearest():
    register(Sample)
    with pytest.raises(UnknownNameError, match="no metric named 'sampel', did you mean 'sample'"):
        build("metric", "sampel")
    with pytest.raises(UnknownNameError, match="'xrnnbench list methods' shows all"):
        build("method", "qqqqqq")
    with pytest.raises(UsageError, match="no kind of plug-in named 'thing'"):
        build("thing", "sample")
    assert nearest("abc", ["xyz"]) == ""


def test_instance_is_returned_if_its_kind_fits():
    plugin = Sample()
    assert build("metric", plugin) is plugin
    with pytest.raises(UsageError, match="'sample' is a metric, and a task was asked for"):
        build("task", plugin)


def test_a_class_must_be_a_frozen_dataclass():
    with pytest.raises(UsageError, match="is not a frozen dataclass: put @dataclass"):
        register(type("Plain", (), {"kind": "metric", "name": "plain"}))


@pytest.mark.parametrize("name", ["", "Upper", "two words", "under_score", "-lead", "trail-", "dot.ted"])
def test_names_are_kebab_case(name):
    cls = dataclass(frozen=True)(type("Odd", (Plugin,), {"kind": "metric", "name": name}))
    with pytest.raises(UsageError, match="a name is kebab-case"):
        register(cls)


def test_kind_must_be_known():
    cls = dataclass(frozen=True)(type("Odd", (Plugin,), {"kind": "thing", "name": "odd"}))
    with pytest.raises(UsageError, match="derive it from Task, Explainer, Metric or Intervention"):
        register(cls)


def test_duplicates_name_both_modules():
    register(Sample)
    register(Sample)
    other = dataclass(frozen=True)(
        type("Twin", (Plugin,), {"kind": "metric", "name": "sample", "__module__": "elsewhere"})
    )
    with pytest.raises(UsageError) as caught:
        register(other)
    assert "test_plugins" in str(caught.value)
    assert "elsewhere.Twin" in str(caught.value)
    # the same name in another kind is another plug-in
    register(dataclass(frozen=True)(type("Cousin", (Plugin,), {"kind": "task", "name": "sample"})))


def test_file_plugin(tmp_path):
    path = written(tmp_path, HEAD + PLUGIN.format(name="mine"))
    made = build("method", f"{path}:Mine:steps=5")
    assert made.spec == "mine:steps=5"
    assert made.identity()["source"] == made.source_hash
    assert type(build("method", f"{path}:Mine")) is type(made)
    assert build("method", "mine").steps == 3


def test_changed_file_is_another_plugin(tmp_path):
    path = written(tmp_path, HEAD + PLUGIN.format(name="mine"))
    before = build("method", f"{path}:Mine").identity()
    written(tmp_path, HEAD + PLUGIN.format(name="mine") + "    more: int = 1\n")
    after = build("method", f"{path}:Mine").identity()
    assert before != after
    assert after["parameters"] == {"steps": 3, "more": 1}


def test_two_files_with_one_name(tmp_path):
    one, other = (written(tmp_path, HEAD + PLUGIN.format(name="mine"), name) for name in ("one", "other"))
    build("method", f"{one}:Mine")
    with pytest.raises(UsageError, match="Two plug-ins are named method 'mine'"):
        build("method", f"{other}:Mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "cannot be imported .ZeroDivisionError"),
        ("def", "cannot be imported .SyntaxError"),
        ("import no_such_module_at_all", "cannot be imported .ModuleNotFoundError"),
        ("", "has no class 'Mine'"),
        ("Mine = 3", "is no method"),
        ("class Mine: pass", "is no method"),
        (HEAD + PLUGIN.replace("frozen=True", "").format(name="mine"), "cannot be imported"),
        (HEAD + PLUGIN.format(name="Not Kebab"), "kebab-case"),
        (HEAD + "@register\n" + PLUGIN.format(name="Not Kebab").lstrip(), "kebab-case"),
    ],
)
def test_bad_files(tmp_path, text, said):
    path = written(tmp_path, text)
    for _ in range(2):
        with pytest.raises(UsageError, match=said) as caught:
            build("method", f"{path}:Mine")
        assert "\n" not in str(caught.value).removesuffix(" mend it first.")


def test_missing_file_and_near_class(tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        load_file(str(tmp_path / "none.py"))
    path = written(tmp_path, HEAD + PLUGIN.format(name="mine"))
    with pytest.raises(UnknownNameError, match="did you mean 'Mine'"):
        build("method", f"{path}:Mien")


def distribution(folder, target, text, name="fake-plugins"):
    """Write what an installed package looks like: its module and its metadata."""
    (folder / "fake_plugins.py").write_text(text, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[xrnnbench.plugins]\nfake = {target}\n", encoding="utf-8")


def asked(folder, program):
    """Run a program that sees the folder as installed packages."""
    head = f"import sys\nsys.path.insert(0, {str(folder)!r})\nfrom xrnnbench import plugins\n"
    return subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True, check=False)


@pytest.mark.full
def test_entry_points(tmp_path):
    distribution(tmp_path, "fake_plugins", HEAD + "@register" + PLUGIN.format(name="from-afar"))
    done = asked(tmp_path, "print(plugins.build('method', 'from-afar:steps=4'), plugins.sources())")
    assert "Mine(steps=4) {'fake-plugins': '1.2'}" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("target", "text", "said"),
    [
        ("fake_plugins", "1 / 0", "'fake' of fake-plugins cannot be loaded (ZeroDivisionError: division by zero)"),
        ("no_such_module", "", "'fake' of fake-plugins cannot be loaded (ModuleNotFoundError"),
        ("fake_plugins", HEAD + "@register" + PLUGIN.format(name="random"), "Two plug-ins are named method 'random'"),
    ],
)
@pytest.mark.full
def test_bad_entry_points_name_their_distribution(tmp_path, target, text, said):
    distribution(tmp_path, target, text)
    done = asked(tmp_path, ASK)
    assert said in done.stdout, done.stderr


@pytest.mark.full
def test_a_bad_entry_point_is_said_each_time(tmp_path):
    distribution(tmp_path, "fake_plugins", "1 / 0")
    assert asked(tmp_path, ASK * 2).stdout.count("cannot be loaded") == 2


def test_floors_are_loaded_at_the_first_lookup_only():
    done = asked(".", "print([floor for floor in plugins.FLOORS.values() if f'xrnnbench.{floor}' in sys.modules])")
    assert done.stdout == "[]\n"


def test_an_edit_within_the_second_is_what_runs(tmp_path, monkeypatch):
    """Same size, same time: Python's cache of compiled code cannot tell the two."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "mine.py"
    found = []
    for value in (1, 2, 3):
        file.write_text(f"VALUE = {value}\n", "utf-8")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        found.append(load_file(str(file)).VALUE)
    assert found == [1, 2, 3]


def test_fields_without_a_dataclass_of_their_own_are_refused():
    """The base class is a frozen dataclass, and its fields alone would be the parameters."""

    class Bare(Sample):
        name: ClassVar[str] = "bare"

        points: int = 8

    with pytest.raises(UsageError, match=r"is not a frozen dataclass: put @dataclass\(frozen=True\) below @register"):
        register(Bare)
