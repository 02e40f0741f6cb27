"""Texts from elsewhere act nowhere: Markdown, CSV, JSON, LaTeX, the terminal, pictures and JUnit show them as they are.

Each board has one hostile text in every field that takes text; the page is opened in a browser by
test_hostile_browser.py.
"""

import csv
import io
import json
import re
import time
import warnings
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

import xrnnbench
from xrnnbench.errors import UsageError, XrnnbenchWarning
from xrnnbench.harness import cli
from xrnnbench.harness.execution.progress import Bar, Lines
from xrnnbench.harness.explore.pictures import Picture, save_picture, terminal_picture
from xrnnbench.harness.gate.changes import Change, GateSettings
from xrnnbench.harness.gate.comparison import Comparison
from xrnnbench.harness.gate.gate_report import as_json, junit, markdown, text
from xrnnbench.harness.gate.match_cells import Unmatched
from xrnnbench.harness.reports.blocks import Bold, Code, Heading, Listing, TableBlock, TableCell, TableRow, paragraph
from xrnnbench.harness.reports.csv_json import plain_cell
from xrnnbench.harness.reports.markdown import blocks_to_markdown
from xrnnbench.harness.reports.plain_text import blocks_to_text
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.reports.terminal import print_overview
from xrnnbench.visible_text import visible, visible_json, visible_line

from . import hostile
from .hostile import PAYLOADS

html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
COLOURS = re.compile(r"\x1b\[[\d;]*m")
each_payload = pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)


@pytest.fixture(scope="module")
def boards():
    """Boards by payload, each made once."""
    made = {}

    def board(payload):
        if payload not in made:
            made[payload] = hostile.board(payload)
        return made[payload]

    return board


# ---- Markdown -------------------------------------------------------------------------------------------------------


def rendered(source):
    """Return the tree of Markdown that is rendered as GitHub does it: with tags, tables and struck-out text."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return html5lib.parse(renderer.render(source), namespaceHTMLElements=False)


def words(element):
    return "".join(element.itertext())


def line(payload):
    """A payload as Markdown shows it: in one line, and runs of spaces as HTML has them."""
    return " ".join(visible_line(payload).split())


OWN = {"html", "head", "body", "h1", "h2", "h3", "h4", "p", "strong", "code", "ul", "ol", "li"}
OWN |= {"table", "thead", "tbody", "tr", "th", "td"}


@each_payload
def test_markdown_has_no_element_of_a_text(payload, boards):
    board, gallery = boards(payload)
    source = render(board, "md", gallery)
    assert not ACTING.search(source)
    tree = rendered(source)
    assert {element.tag for element in tree.iter()} <= OWN
    assert not [name for element in tree.iter() for name in element.attrib if name not in {"style", "start"}]
    for table in tree.iter("table"):
        rows = [len(list(row)) for row in table.iter("tr")]
        assert len(set(rows)) == 1, words(table)
    labels = {" ".join(words(row[0]).split()) for row in tree.iter("tr")}
    assert {line(payload), f"{line(payload)} 2"} <= labels
    titles = [" ".join(words(element).split()) for element in tree.iter("h1")]
    assert titles == [f"Leaderboard: {line(payload)}"]
    items = [" ".join(words(element).split()) for element in tree.iter("li")]
    assert line(f"{payload}: {payload} (model seed 0, 1)") in items
    caveats = [words(element) for element in tree.iter("p") if "Caveat" in words(element)]
    assert caveats
    assert all(line(payload) in " ".join(caveat.split()) for caveat in caveats)
    codes = [" ".join(words(element).split()) for element in tree.iter("code")]
    assert codes == [line(payload)]


@each_payload
@pytest.mark.parametrize("before", ["", "text ", "\n"])
def test_every_block_of_markdown_shows_a_text(payload, before):
    given = f"{before}{payload}"
    row = TableRow(given, (TableCell(given, best=True), TableCell(given, note=1)))
    blocks = [
        Heading(2, given), paragraph(given, Bold(payload), given, Code(payload), given), paragraph(Bold(payload)),
        paragraph(Code(payload)), Listing((paragraph(given), paragraph(Bold(payload), given))),
        TableBlock(given, (given, given, given), (row,), 3, (given,), (given, given)),
    ]  # fmt: skip
    tree = rendered(blocks_to_markdown(blocks))
    assert {element.tag for element in tree.iter()} <= OWN
    shown = " ".join(words(tree).split())
    assert shown.count(line(payload)) >= 18
    assert len(list(tree.iter("table"))) == 1
    assert len(list(tree.iter("li"))) == 4
    assert [len(list(tree.iter(level))) for level in ("h2", "h3")] == [1, 1]


def test_ordinary_names_are_written_as_they_are():
    names = [
        "lime:samples=500",
        "csv:path=my_data.csv,predict=a_b",
        "f-fidelity",
        "n = 12 (R2), p < .1? 5 & 6",
        "C:\\data",
    ]
    source = blocks_to_markdown([Listing(tuple(map(paragraph, names)))])
    assert source == "".join(f"- {name}\n" for name in names).replace("<", "&lt;")


# ---- CSV and JSON ---------------------------------------------------------------------------------------------------

NUMBERS = ("mean", "low", "high", "n", "undefined", "seeds", "tasks", "first", "last")


@each_payload
def test_csv_has_no_formula_and_its_numbers_are_numbers(payload, boards):
    board, _ = boards(payload)
    source = render(board, "csv")
    assert not ACTING.search(source)
    rows = list(csv.DictReader(io.StringIO(source, newline="")))
    for row in rows:
        for name, value in row.items():
            if name not in NUMBERS:
                assert not re.match(r"\s*[-=+@\uff0b\uff0d\uff1d\uff20\t\r]", value), (name, value)
                assert not re.search(r";\s*[-=+@]", value), (name, value)
                assert "\n" not in value
    assert {visible_line(payload), plain_cell(payload)} & {row["method"] for row in rows}
    table = pd.read_csv(io.StringIO(source), float_precision="round_trip")
    assert all(pd.api.types.is_numeric_dtype(table[name]) for name in NUMBERS)
    entries = json.loads(render(board, "json"))["entries"]
    means = [np.nan if entry["mean"] is None else entry["mean"] for entry in entries]
    np.testing.assert_array_equal(table["mean"][: len(means)].astype(float), means)
    assert (table["mean"] < 0).any()


def test_numbers_of_a_csv_stay_and_texts_that_look_like_some_do_not_become_formulas():
    assert [plain_cell(value) for value in (-0.5, 0, None, float("-inf"))] == [-0.5, 0, None, float("-inf")]
    assert [plain_cell(text) for text in ("-0.5", " =1", "a=b", "a;b")] == ["'-0.5", "' =1", "a=b", "a;b"]


@each_payload
def test_json_has_the_same_values_and_no_character_that_acts(payload, boards):
    source = render(boards(payload)[0], "json")
    assert not ACTING.search(source)
    content = json.loads(source)
    assert content["suite"] == payload
    assert payload in {method["spec"] for method in content["methods"]}
    assert content["provenance"]["command"] == payload


def test_half_a_surrogate_pair_is_written_by_every_format(boards):
    board, gallery = boards(PAYLOADS["script"])
    broken = replace(board, provenance=hostile.provenance("half \ud800 pair"))
    for ending in ("md", "csv", "json", "tex", "html"):
        assert render(broken, ending, gallery).encode()
    assert json.loads(render(broken, "json"))["provenance"]["command"] == "half \ud800 pair"


# ---- LaTeX ----------------------------------------------------------------------------------------------------------


@each_payload
def test_latex_has_no_command_of_a_text(payload, boards):
    source = render(boards(payload)[0], "tex")
    assert source.isascii()
    assert not ACTING.search(source)
    body = source.partition(r"\begin{document}")[2]
    code = "\n".join(line for line in body.splitlines() if not line.startswith("% ===="))
    assert code.count(r"\end{document}") == 1
    assert code.endswith("\\end{document}")
    assert not re.search(r"(?<!\\)%|\^\^|\\(?:input|write|immediate|openout|catcode|def)\b", code)
    assert "\n[" not in code
    assert "\\item [" not in code
    assert "\\\\[" not in code
    bare = re.sub(r"\\[^a-zA-Z]", "", code)
    assert bare.count("{") == bare.count("}")


# ---- the terminal ---------------------------------------------------------------------------------------------------


def printed(show, **settings):
    """What a terminal is given, without its colours."""
    file = io.StringIO()
    show(Console(file=file, force_terminal=True, width=400, **settings))
    return COLOURS.sub("", file.getvalue())


@each_payload
def test_the_overview_obeys_nothing(payload, boards):
    board, _ = boards(payload)
    shown = printed(lambda console: print_overview(board, console))
    assert not ACTING.search(shown)
    piped = io.StringIO()
    print_overview(board, Console(file=piped))
    assert f" {visible_line(payload).strip()}" in piped.getvalue()
    assert not ACTING.search(piped.getvalue())


@each_payload
def test_lines_of_progress_obey_nothing(payload, capsys):
    Lines().line(payload)
    shown = printed(lambda console: Bar(console).line(payload))
    bar = io.StringIO()
    with Bar(Console(file=bar, force_terminal=True, width=400)) as reporter:
        reporter.begin(2)
        reporter.doing(payload)
        reporter.done()
    assert not ACTING.search(capsys.readouterr().err)
    assert not ACTING.search(shown)
    own = re.compile(r"\x1b\[(?:\?25[lh]|\d*[AKGm]|[\d;]*m|1A|2K)|\r")
    assert not ACTING.search(own.sub("", bar.getvalue()))


@each_payload
def test_plain_text_of_blocks_obeys_nothing(payload):
    row = TableRow(payload, (TableCell(payload, note=1),))
    shown = blocks_to_text([
        Heading(1, payload), paragraph(payload, Bold(payload), Code(payload)), Listing((paragraph(payload),)),
        TableBlock(payload, (payload, "b"), (row,), 3, (payload,), (payload,)),
    ])  # fmt: skip
    assert not ACTING.search(shown)
    assert visible_line(payload) in shown


@each_payload
@pytest.mark.parametrize("of", [UsageError, XrnnbenchWarning])
def test_errors_and_warnings_obey_nothing(of, payload, monkeypatch, capsys):
    def app():
        if of is UsageError:
            raise UsageError(payload)
        warnings.warn(payload, of, stacklevel=1)

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(cli.sys, "argv", ["xrnnbench"])
    with warnings.catch_warnings():
        warnings.simplefilter("always", of)
        with pytest.raises(SystemExit):
            cli.main()
    error = capsys.readouterr().err
    # a long sentence is cut in the middle
    assert visible(payload).splitlines()[0][:200] in error
    assert not ACTING.search(error)


# ---- pictures -------------------------------------------------------------------------------------------------------


NAMES = (*PAYLOADS.values(), "$x^{$", "_hidden", r"$\frac{$")


def pictures():
    """Pictures of all names: tokens with bars, tokens as text, and features with their legend and heat map."""
    rng = np.random.default_rng(0)
    yield Picture(NAMES[0], rng.normal(size=len(NAMES)), None, NAMES, ())
    yield Picture(NAMES[1], rng.normal(size=2 * len(NAMES)), None, NAMES * 2, ())
    for start in range(0, len(NAMES), 15):
        names = NAMES[start : start + 15]
        shape = (3, len(names))
        yield Picture("\n".join(names), rng.normal(size=shape), rng.normal(size=shape), ("0", "1", "2"), names)


@pytest.mark.parametrize(
    "picture", list(pictures()), ids=["bars", "text", *(f"features {number}" for number in range(1, 5))]
)
def test_pictures_are_whole_and_read_no_mathematics(picture, tmp_path):
    path = tmp_path / "picture.svg"
    save_picture(picture, path)
    root = ET.parse(path).getroot()  # noqa: S314  # written here
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags.isdisjoint({"script", "a", "foreignObject", "iframe"})
    shown = printed(lambda console: console.print(terminal_picture(picture, 100)))
    assert not ACTING.search(shown)


# ---- an inspection --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inspection():
    def model(inputs):
        return np.stack([inputs.sum((1, 2)), -inputs.sum((1, 2))], 1)

    return xrnnbench.inspect(model, np.random.default_rng(0).normal(size=(3, 4, 2)), outputs="logits")


@each_payload
def test_the_page_and_the_text_of_an_inspection_are_text(payload, inspection):
    words_of = {payload: payload, f"{payload} 2": ""}
    hostile_one = replace(
        inspection, name=payload, data=payload, call=(payload,), scores=payload, methods=words_of, defaults=words_of
    )
    assert not ACTING.search(str(hostile_one))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tree = html5lib.parse(hostile_one.page(), namespaceHTMLElements=False)
    own = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "section",
        "h2",
        "h3",
        "p",
        "ul",
        "li",
        "table",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert {element.tag for element in tree.iter()} <= own
    assert words(next(tree.iter("h2"))) == visible(payload)


# ---- the gate -------------------------------------------------------------------------------------------------------


@pytest.fixture
def comparison(payload):
    changes = tuple(
        Change(payload, payload, payload, verdict, 0.9, 0.8, -0.1, 0.02, 0.0001, 64, payload, payload)
        for verdict in ("worse", "better", "informs", "same")
    )
    unmatched = (Unmatched(payload, payload, payload, payload),)
    (metric,) = (metric for metric in hostile.axes(payload).metrics if metric.spec == payload)
    fields = {"run": payload, "baseline": payload, "rule": GateSettings(), "changes": changes, "tests": 4}
    return Comparison(**fields, metrics={payload: metric}, models=(), apart=unmatched, gone=unmatched, new=unmatched)


@each_payload
def test_reports_of_the_gate_obey_nothing(comparison, payload):
    assert not ACTING.search(text(comparison))
    source = as_json(comparison)
    assert not ACTING.search(source)
    assert json.loads(source)["run"] == payload
    assert {element.tag for element in rendered(markdown(comparison)).iter()} <= OWN
    root = ET.fromstring(junit(comparison))  # noqa: S314  # written here
    assert {element.tag for element in root.iter()} <= {"testsuites", "testsuite", "testcase", "failure", "skipped"}


# ---- the characters -------------------------------------------------------------------------------------------------


def test_what_acts_or_is_not_seen_is_an_escape():
    assert (
        visible("\x1b[2J\x07\r\x9b\u202e\u200b\ud800\U000e0041") == r"\x1b[2J\x07\x0d\x9b\u202e\u200b\ud800\U000e0041"
    )
    assert visible("tab\tand\nline\r\nfeed") == "tab\tand\nline\nfeed"
    assert visible_line(" a \r\n b\tc ") == " a b c "


def test_what_languages_and_emoji_need_stays():
    for word in (
        "👩\u200d💻",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "क्\u200dष",
        "❤\ufe0f",
        "naïve",
        "a\u00a0b",
    ):
        assert visible(word) == word
    for word in ("a\u200db", "\u200cx", "é\u200d", "é\u200d\u200dé"):
        assert visible(word) != word


def test_escaped_json_has_the_same_value():
    # a letter between them, because two halves make one character
    value = "a".join(map(chr, [*range(0x3000), *range(0xD7FF, 0xE001), 0xFEFF, 0x1F469, 0xE0041]))
    assert json.loads(visible_json(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize(
    "text", [" " * 200_000 + "\x00", "#" * 200_000 + "\x00 ", "&a" * 100_000 + "\t", "_" * 200_000]
)
def test_a_long_text_takes_no_long_time(text):
    start = time.perf_counter()
    for show in (visible, visible_line, visible_json, plain_cell):
        assert show(text)
    assert blocks_to_markdown([Heading(2, text), paragraph(text, Code(text))])
    assert time.perf_counter() - start < 5
