import pytest

from xrnnbench.errors import SuiteError
from xrnnbench.harness.suites.suite import Suite, packaged, read_suite

GOOD = 'name = "mine"\ntasks = ["adding"]\nmethods = ["random"]\nmetrics = ["auroc"]\nseeds = [0, 1]\n'


def written(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_is_read(tmp_path):
    suite = read_suite(written(tmp_path, GOOD))
    assert (suite.name, suite.tasks, suite.seeds, suite.explainer_seeds) == ("mine", ("adding",), (0, 1), (0,))


@pytest.mark.parametrize("name", packaged())
def test_packaged_suite_is_read_by_its_name(name):
    assert read_suite(name).name == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "metods = []", "unknown key 'metods', did you mean 'methods'"),
        (GOOD.replace('tasks = ["adding"]', 'tasks = "adding"'), "'tasks' must be a list of one or more names"),
        (GOOD.replace('["adding"]', "[1]"), "'tasks' must be a list of one or more names"),
        (GOOD.replace('["adding"]', "[]"), "'tasks' must be a list of one or more names"),
        (GOOD.replace("[0, 1]", '["0"]'), "'seeds' must be a list of one or more whole numbers"),
        (GOOD.replace("[0, 1]", "[-1]"), "'seeds' must be a list of one or more whole numbers"),
        (GOOD.replace("[0, 1]", "[true]"), "'seeds' must be a list of one or more whole numbers"),
        (GOOD.replace("[0, 1]", "[1.5]"), "'seeds' must be a list of one or more whole numbers"),
        (GOOD.replace("[0, 1]", "3"), "'seeds' must be a list of one or more whole numbers"),
        (GOOD.replace("[0, 1]", "[1, 1]"), "lists 1 twice in 'seeds'"),
        (GOOD.replace('"mine"', '"../mine"'), "'name' must be lower-case letters"),
        (GOOD.replace('"mine"', "7"), "'name' must be lower-case letters"),
        (GOOD.replace('name = "mine"\n', ""), "has no 'name': it must be"),
        (GOOD.replace('["adding"]', '["adding", "adding"]'), "lists 'adding' twice in 'tasks'"),
        ("tasks = [", "is not valid TOML"),
        ("", "has no 'name'"),
    ],
)
def test_bad_file_is_one_sentence_naming_the_key(tmp_path, text, said):
    with pytest.raises(SuiteError) as caught:
        read_suite(written(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(SuiteError, match="There is no suite file"):
        read_suite(str(tmp_path / "none.toml"))


def test_unknown_name_offers_the_nearest():
    with pytest.raises(SuiteError, match="did you mean 'quick'"):
        read_suite("quik")


def test_a_folder_and_a_binary_file_cannot_be_read(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("folder.toml", "binary.toml"):
        with pytest.raises(SuiteError, match="cannot be read"):
            read_suite(str(tmp_path / name))


def test_options_replace_only_what_they_name():
    suite = Suite.of({"name": "a", "tasks": ["t"], "methods": ["m"], "metrics": ["x"]}, "here")
    changed = suite.instead(methods=["n", "o"], seeds=[4])
    assert (changed.tasks, changed.methods, changed.seeds) == (("t",), ("n", "o"), (4,))
    with pytest.raises(SuiteError, match="The command line lists 'n' twice"):
        suite.instead(methods=["n", "n"])
