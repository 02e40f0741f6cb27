"""Suite files of any content: a suite, or an error of the project in one printable line."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from xrnnbench.errors import SuiteError, UsageError
from xrnnbench.harness.suites.suite import Suite, packaged, read_suite

GOOD = (
    'name = "mine"\ntasks = ["adding", "csv:path=a.csv,predict=b"]\nmethods = ["random", "lime:samples=500"]\n'
    'metrics = ["auroc", "./mine.py:Mine:draws=2"]\nseeds = [0, 1]\nexplainer_seeds = [0]\n'
    'time_limit = "10 min"\nmemory_limit = "4 GB"\n'
)
KEYS = [
    *("name", "tasks", "methods", "metrics", "seeds", "explainer_seeds", "time_limit", "memory_limit", "beside"),
    *("variant", "skipped", "", "a.b", "é", "__class__", "model_config", "self"),
]
PIECES = [
    *("[", "]", "{", "}", '"', "'", '"""', "'''", "=", ".", ",", "\n", "\r", "#", "\\", "\\u0000", "\\ud800", "\0"),
    *("\ufeff", "nan", "-inf", "1e999", "0x", "2024-02-31", "07:32:00", "true", "[[a]]", "[a.b]", "9" * 4_400),
    *("0x" + "f" * 6_000, "[" * 2_000, "a." * 2_000, "{a=" * 1_000),
]
scalars = (
    st.text(max_size=30)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.sampled_from(["adding", "1 h", "none", "10 GB", "1e999 h", "-1 s", "inf", "٣ h", "x" * 5_000, 2**32])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3)
)
fuzzed = settings(max_examples=1_500, deadline=None, suppress_health_check=list(HealthCheck))


def written(value):
    """A value as TOML, as far as TOML has it."""
    if isinstance(value, bool | float):
        return repr(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{written(key)} = {written(each)}' for key, each in value.items())}}}"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return '"' + "".join(f"\\U{ord(sign):08x}" for sign in value) + '"'


def judged(path, content):
    path.write_bytes(content)
    try:
        suite = read_suite(str(path))
        suite.instead(methods=["random"], seeds=[3])
    except UsageError as error:
        said = str(error)
        assert said.isprintable(), said
        assert len(said) < 2_000, said
        return
    assert isinstance(suite, Suite)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("suites") / "mine.toml"


@pytest.mark.full
@fuzzed
@example(b"a = " + b"[" * 100_000)
@example(b"a" * 999_999)
@example(b"a" * 1_000_001)
@example(GOOD.replace("[0, 1]", f"[0x{'f' * 6_000}]").encode())
@example(GOOD.replace('"10 min"', f"0x{'f' * 6_000}").encode())
@example(b"seeds = [" + b"0," * 400_000 + b"]")
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes(path, content):
    judged(path, content)


@pytest.mark.full
@fuzzed
@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 8), st.sampled_from(PIECES) | st.text(max_size=3))))
def test_a_good_suite_with_mistakes(path, edits):
    text = GOOD
    for place, cut, piece in edits:
        text = text[:place] + piece + text[place + cut :]
    judged(path, text.encode(errors="surrogatepass"))


@pytest.mark.full
@fuzzed
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=8))
def test_any_values(path, content):
    lines = [f"{written(key)} = {written(value)}" for key, value in content.items()]
    judged(path, "\n".join(lines).encode())


@pytest.mark.full
@fuzzed
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=8), values, values)
def test_any_values_in_the_place_of_good_ones(path, content, task, seed):
    good = {"name": "mine", "tasks": [task], "methods": ["random"], "metrics": ["auroc"], "seeds": [seed]} | content
    judged(path, "\n".join(f"{written(key)} = {written(value)}" for key, value in good.items()).encode())


@pytest.mark.full
@settings(max_examples=500, deadline=None)
@given(st.text(max_size=50))
def test_any_name(name):
    if name not in packaged():
        with pytest.raises(SuiteError) as caught:
            read_suite(name)
        assert str(caught.value).isprintable()


def test_a_good_suite_is_one(path):
    path.write_text(GOOD, "utf-8")
    assert read_suite(str(path)).time_limit == "10 min"


def test_a_long_list_is_checked_at_once(path):
    path.write_text(GOOD.replace("[0, 1]", f"[{', '.join(map(str, range(100_000)))}]"), "utf-8")
    assert len(read_suite(str(path)).seeds) == 100_000
