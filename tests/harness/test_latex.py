"""The board as LaTeX: compiled, whatever anybody calls a plug-in, and no table wider than the page."""

import os
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from xrnnbench.harness.leaderboard.leaderboard import Leaderboard
from xrnnbench.harness.leaderboard.standings import Standing
from xrnnbench.harness.leaderboard.task_board import Entry, TaskTable
from xrnnbench.harness.reports.blocks import TableBlock, TableCell, TableRow
from xrnnbench.harness.reports.latex_tables import table_environments
from xrnnbench.harness.reports.latex_text import escape, escape_breakable, escape_numbers, split_lines, text_width
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.results.cells import Axes, PluginInfo
from xrnnbench.harness.statistics.estimates import Estimate

NASTY = (
    r"a_b%c#d&e{f}g~h^i\j$k<l>m|n`o'p\"q", "\\end{document}", "\\input{/etc/passwd}", "$x^2$ }{ }}", "% comment",
    "--dashes---and``quotes''and,,commas?`!`", "中文字符", "кириллица", "日本語:形式=はい", "مرحبا", "😀👩‍💻", "ﬁ ffi",
    "Ångström-żółć-ő-İstanbul-ĳ", "Φ·×−↑↓τρχ²≤∞", "line\nbreak\n\nparagraph\ttab", "\x00\x07\x7f", "x" * 200,
    "name:with=many,parameters=1,and=0.25,more=true,still=more,to=come", "^^M^^5c", "%\\", "\\", "{", " ", "é" * 60,
)  # fmt: skip

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")


def source(name, **facts):
    return PluginInfo(spec=name, identity={"name": name, "version": 1}, facts=facts)


def compiled(text, folder):
    """Compile with pdflatex, which must not find an error, and return its log with long lines."""
    text.encode("ascii")
    (folder / "board.tex").write_text(text, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "board.tex"]
    found = subprocess.run(
        command, cwd=folder, capture_output=True, check=False, timeout=300, env={**os.environ, "max_print_line": "1000"}
    )
    log = found.stdout.decode("latin-1")
    assert found.returncode == 0, log[-3000:]
    assert (folder / "board.pdf").stat().st_size > 1000
    return log


def overfull(log):
    """By how many points boxes are too wide, or too high."""
    return [float(each) for each in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt too", log)]


def value(rng, size=100):
    mean = rng.choice([rng.normal(), rng.normal() * 1e-6, rng.normal() * 1e5, 0.0])
    spread = abs(mean) * rng.uniform(0, 0.5)
    return Estimate(mean, mean - spread, mean + spread, size, 0, 3)


def entry(rng):
    kind = rng.choice(["scored", "few", "none", "failed", "missing", "unfit", "not applicable"], p=[0.7, *[0.05] * 6])
    if kind == "scored":
        return Entry("scored", value(rng), rank_range=(1, 3))
    if kind == "few":
        return Entry("scored", replace(value(rng, 3), undefined=97))
    if kind == "none":
        return Entry("scored", Estimate(np.nan, np.nan, np.nan, 0, 100, 0))
    return Entry(kind, notes=() if kind in {"missing", "unfit"} else (f"Error: {rng.choice(NASTY)}",))


def made_board(methods, tasks, metrics, seed=0):
    rng = np.random.default_rng(seed)
    tables = tuple(
        TaskTable(
            task,
            {0: None},
            (0,),
            {(method.spec, metric.spec): entry(rng) for method in methods for metric in metrics},
            methods,
        )
        for task in tasks
    )
    overall = {method.spec: value(rng) for method in methods[1:]}
    specs = [method.spec for method in methods]
    standing = Standing(
        "",
        tuple(task.spec for task in tasks),
        methods,
        {spec: 1.0 + place for place, spec in enumerate(specs)},
        (12.3, 0.004),
        2.5,
        (tuple(specs[:3]), tuple(specs[1:4])),
        {spec: value(rng) for spec in specs},
        {spec: float(place) for place, spec in enumerate(specs)},
        frozenset(specs[:2]),
        {task.spec: tuple(specs) for task in tasks},
        {task.spec: 0.9 for task in tasks},
    )
    return Leaderboard(
        "nasty_%",
        metrics,
        metrics[0],
        tables,
        overall,
        methods,
        {"command": "xrnnbench run -m ./a_b.py:C%D # & {}", "system": NASTY[0], "libraries": {NASTY[1]: "1_0"}},
        cells=10,
        failed=1,
        standings=(standing,),
    )


def nasty_board():
    methods = tuple(source(name, group="control" if place % 3 == 0 else "gradient") for place, name in enumerate(NASTY))
    families = ("faithfulness", "cost", NASTY[0])
    metrics = tuple(
        source(name, family=families[place % 3], direction=("higher", "lower", "")[place % 3], unit=NASTY[place - 1])
        for place, name in enumerate(NASTY)
    )
    return made_board(methods, tuple(source(name, application=NASTY[0]) for name in NASTY[:3]), metrics)


@needs_latex
def test_any_name_compiles_and_nothing_is_wider_than_the_page(tmp_path):
    log = compiled(render(nasty_board(), "tex"), tmp_path)
    assert not overfull(log)
    assert "Missing character" not in (tmp_path / "board.log").read_text("latin-1")


@needs_latex
def test_a_large_board_compiles_and_fits(tmp_path):
    methods = tuple(source(f"method-{place}:samples={10 * place}") for place in range(40))
    families = ("faithfulness", "truth", "stability", "cost")
    metrics = tuple(
        source(f"comprehensiveness-{place}:by=marginal:draws=2", family=families[place % 4], direction="higher")
        for place in range(30)
    )
    tasks = tuple(source(f"task-{place}", application="speech") for place in range(20))
    log = compiled(render(made_board(methods, tasks, metrics), "tex"), tmp_path)
    assert not overfull(log)


def test_every_table_is_marked_and_whole():
    text = render(nasty_board(), "tex")
    starts, ends = re.findall("(?m)^% ==== table .*", text), re.findall("(?m)^% ==== end ====$", text)
    assert len(starts) == len(ends) == text.count(r"\begin{table}") == text.count(r"\end{table}") > 10
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels)
    # a name may stand in a comment, which ends with its line
    code = [line for line in text.splitlines() if not line.startswith("%")]
    assert "\n".join(code).count(r"\end{document}") == 1


def test_every_cell_is_in_one_part():
    rng = np.random.default_rng(0)
    shape = (130, 17)
    texts = [
        [f"{rng.integers(100, 1000)}.{row:03d}{column:02d}" for column in range(shape[1])] for row in range(shape[0])
    ]
    rows = tuple(TableRow(f"row {place}", tuple(map(TableCell, row))) for place, row in enumerate(texts))
    found = "\n".join(
        table_environments(TableBlock("t", ("row", *(f"column {place}" for place in range(shape[1]))), rows), 1)
    )
    for row in texts:
        for text in row:
            assert found.count(text) == 1


def test_arrows_bold_controls_and_notes():
    grid = TableBlock(
        "t",
        ("method", "gap ↓ (s)", "up ↑"),
        (
            TableRow("good", (TableCell("-0.251", "[-0.3, 1.2e-05]", "1–3", best=True), TableCell("failed", note=1))),
            TableRow("oracle", (TableCell("0.5"), TableCell("–")), control=True),
        ),
        notes=("KeyError: a_b",),
    )
    (text,) = table_environments(grid, 3)
    assert r"gap~\ensuremath{\downarrow} (s)" in text
    assert r"up~\ensuremath{\uparrow}" in text
    assert r"{\bfseries\boldmath $-$0.251} & {\scriptsize [$-$0.3, $1.2{\cdot}10^{-5}$] \#1--3}" in text
    assert r"\textit{oracle}$^\dagger$" in text
    assert "failed$^{1}$" in text
    assert r"$^{1}$\,KeyError: a\_\allowbreak{}b" in text
    assert "$^\\dagger$: control." in text
    assert "not applicable" in text


def test_what_all_of_a_column_rest_on_is_in_its_head():
    rows = tuple(
        TableRow(name, (TableCell("0.5", sample_size="n = 12"), TableCell("0.5", sample_size=size)))
        for name, size in (("a", "n = 3"), ("b", ""))
    )
    (text,) = table_environments(TableBlock("t", ("method", "one", "two"), rows), 1)
    assert text.count("n = 12") == 1
    assert text.count("n = 3") == 1


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("a_b%", r"a\_b\%"),
        ("--", "-{}-"),
        ("\\x{}", r"\textbackslash{}x\{\}"),
        ("é İ ç", r"\'{e} \.{I} \c{c}"),
        ("Φ", r"\ensuremath{\Phi}"),
        ("中", r"{\scriptsize U+4E2D}"),
        ("a\n\nb", "a  b"),
    ],
)
def test_escaping(text, tex):
    assert escape(text) == tex


def test_everything_becomes_ascii():
    for code in [*range(0x3000), *range(0x4E00, 0x4F00), 0x1F600, 0x10FFFF]:
        character = chr(code)
        assert escape(character).isascii()
        assert text_width(character) > 0
    for name in NASTY:
        for each in (escape(name), escape_breakable(name), escape_numbers(name)):
            assert each.isascii()
            assert "\n" not in each


def test_lines_lose_nothing_and_are_no_wider_than_asked():
    for name in NASTY:
        broken = split_lines(name, 8.0)
        assert "".join(broken).replace(" ", "").replace("\u00a0", "") == name.replace(" ", "")
        assert all(text_width(line) <= 1.4 * 8.0 for line in broken)


def test_numbers():
    assert escape_numbers("-1,234.5") == "$-$1,234.5"
    assert escape_numbers("2.0e+06") == r"$2.0{\cdot}10^{6}$"
    assert escape_numbers("n = 12, 2 undefined") == "n = 12, 2 undefined"
    assert escape_numbers(".87") == ".87"
    assert escape_numbers("-.87") == "$-$.87"


def test_a_board_of_nothing_renders():
    found = Leaderboard("x", (source("m"),), source("m"), (), {}, ())
    assert r"\end{document}" in render(found, "tex")
    assert Axes((), (), ()).tasks == ()
