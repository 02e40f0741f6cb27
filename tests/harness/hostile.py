"""Texts that nobody should put into results, and boards that have one of them in every field that takes text."""

import numpy as np

from xrnnbench.harness.leaderboard.exhibits import make_gallery
from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
from xrnnbench.harness.results.cells import (
    Axes,
    Cell,
    Competence,
    Failure,
    Fingerprints,
    Key,
    Measured,
    Passes,
    PluginInfo,
    Record,
)
from xrnnbench.harness.results.samples import Reading, Sample, Samples
from xrnnbench.harness.results.scored_cells import ScoredCell, StoredAttribution

PAYLOADS = {
    "script": "<script>window.ran=1</script>",
    "script end": "</script><script>window.ran=1</script>",
    "picture": '<img src=x onerror="window.ran=1">',
    "svg": '"><svg onload=window.ran=1><script>window.ran=1</script></svg>',
    "attribute": "\" onmouseover=\"window.ran=1\" ' onfocus='window.ran=1' autofocus x=`",
    "frame": '<iframe srcdoc="<script>parent.ran=1</script>"></iframe>',
    "refresh": '<meta http-equiv=refresh content="0;url=http://example.invalid/"><base href="http://example.invalid/">',
    "form": "<form action=http://example.invalid/><button id=theme autofocus>x</button></form>",
    "link": '<a href="javascript:window.ran=1" id=theme>x</a>',
    "javascript": "javascript:window.ran=1",
    "title end": "</title></style></textarea><script>window.ran=1</script>",
    "style": "</style><style>*{display:none!important}</style>",
    "comment": "<!-- <script> --!> ]]> -->",
    "entities": "&lt;script&gt; &amp;amp; &#60;b&#62; &NewLine;",
    "templates": "{{ 7*7 }} {% raw %} ${7*7} <%= 7*7 %> #{7*7}",
    "unicode escapes": "\\u003cscript\\u003e \\x3cb\\x3e",
    "own names": "__proto__",
    "markdown link": "[x](javascript:window.ran=1) [y][z] [z]: http://example.invalid",
    "markdown picture": "![x](http://example.invalid/x.png)",
    "autolinks": "<http://example.invalid/> http://example.invalid/ www.example.invalid a@example.invalid @everyone",
    "markdown marks": "**bold** _em_ ~~gone~~ ~one~ $x^2$ `code` ``two`` a_b",
    "markdown blocks": "# heading\n\n- item\n\n| a | b |\n| - | - |\n| c | d |\n\n    code\n***\n1. one",
    "setext": "title\n===\n---",
    "bars": "a|b\\|c\\\\|d | e",
    "backslashes": "\\<b> \\[x](y) end\\",
    "reference": "[0.1, 0.2]: javascript:window.ran=1",
    "formula": '=HYPERLINK("http://example.invalid";"x")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-1+1",
    "at": "@SUM(1;1)",
    "wide formula": "\uff1d1+1",
    "tab formula": "\t=1+1",
    "return formula": "\r=1+1\n=2",
    "later formula": "a;=1+1,=2;@x",
    "tex": "\\input{/etc/passwd}\\write18{touch ran}^^5cinput{x} % gone & # _ { $",
    "tex end": "\\end{document}\\immediate\\write18{touch ran}\x0c\\par",
    "terminal": "\x1b]8;;http://example.invalid\x1b\\link\x1b]8;;\x1b\\ \x1b[2J\x1b[31mred\x07\x08\r",
    "controls": "\x00\x01\x7f\x85\x9b31m\x9d0;title\x9c",
    "directions": "\u202egnp.exe\u202c \u2066x\u2069\u2067 \u200f\u061c",
    "unseen": "ze\u200bro\u2060 \ufeff\u00ad a\u200db \U000e0041",
    "separators": "one\u2028two\u2029three",
    "rich": "[bold red]x[/] [link=http://example.invalid]y[/link] [/nothing] :smile:",
    "long": "<b>" * 200,
}  # fmt: skip
SIZE, POINTS, NONE = 6, 11, np.empty((0, 0))


def axes(text):
    """Return axes whose plug-ins have a text in every fact that is free."""
    facts = {"application": text, "group": text}
    methods = [PluginInfo(spec=f"{text}{end}", identity={"name": "m", "of": end}, facts=facts) for end in ("", " 2")]
    control = PluginInfo(spec="random", identity={"name": "random"}, facts={"group": "control"})
    metrics = [
        PluginInfo(
            spec=f"{text}{end}",
            identity={"name": "normalised-deletion" if not end else "x", "of": end},
            facts={"family": text, "direction": "higher", "unit": text, "intervention": text},
        )
        for end in ("", " 2")
    ]
    tasks = [PluginInfo(spec=f"{text}{end}", identity={"name": "t", "of": end}, facts=facts) for end in ("", " 2")]
    return Axes(tuple(tasks), (control, *methods), tuple(metrics))


def scored_cell(key, metrics, rng, text):
    """Return a cell of random scores with a text in its caveats; its second metric failed or does not apply."""
    scores = rng.normal(size=SIZE)
    curves = np.clip(np.linspace(1, 0, POINTS)[:, None] + rng.normal(size=(POINTS, SIZE)) * 0.1, 0, 1)
    rows = np.vstack([scores, curves])
    record = Record(metric=metrics[0], status="scored", mean=scores.mean(), n=SIZE, row=0, profile=POINTS)
    if key.method.spec == "random":
        other = Record(metric=metrics[1], status="not applicable", reason=text)
    else:
        other = Record(metric=metrics[1], status="failed", failure=Failure(kind=text, sentence=text, traceback=text))
    text_task = key.task.identity["of"] == ""
    values = rng.normal(size=(SIZE, 4) if text_task else (SIZE, 4, 2)).astype(np.float32)
    cell = Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=0,
        status="explained",
        caveats=(text,),
        competence=Competence(measure=text, score=0.9, gate=0.8, baseline=0.5),
        model_origin=text,
        fingerprints=Fingerprints(data="data", model=str(key.model_seed)),
        passes=Passes(forward=10, backward=5),
        records=(record, other),
        measured=Measured(date=text, device=text, origin=f"{text} {key.model_seed}"),
    )
    stored = StoredAttribution(values, np.full(SIZE, 4), signed=True, target=np.arange(SIZE) % 2)
    return ScoredCell(cell, rows, NONE, lambda: stored)


def failed_cell(key, text):
    """Return a cell whose method failed with a text."""
    failure = Failure(kind=text, sentence=text, traceback=text)
    cell = Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=0,
        status="failed",
        failure=failure,
        measured=Measured(date=text),
    )
    return ScoredCell(cell, NONE, NONE)


def samples(task, text):
    """Return samples whose tokens or features, targets and outputs are a text."""
    tokens = task.identity["of"] == ""
    inputs = () if tokens else ((0.0, 1.0), (1.0, 0.0), (0.5, 0.5), (1.0, 1.0))
    sample = Sample(
        place=0,
        length=4,
        steps=(text, f"{text} 2", "a", text) if tokens else ("0", "1", "2", "3"),
        inputs=inputs,
        target=text,
        truth=((1.0,), (0.0,), (1.0,), (0.0,)),
    )
    reading = Reading(name=text, semantics=text, output=text, signed=True, toward=1)
    return Samples(
        data="data", features=() if tokens else (text, f"{text} 2"), outputs=(text, f"{text} 2"), reading=reading,
        sequences=(sample,),
    )  # fmt: skip


def provenance(text):
    """Return a provenance of a text."""
    words = dict.fromkeys(("xrnnbench", "commit", "code", "python", "system", "device", "command", "date"), text)
    return words | {"threads": 1, "libraries": {text: text}, "plug-ins": {text: text}}


def board(text):
    """Return a board and a gallery that have a text in every field that takes text."""
    grid, rng = axes(text), np.random.default_rng(0)
    keys = [Key(task, method, seed, 0) for task in grid.tasks for method in grid.methods for seed in (0, 1)]
    cells = {key: scored_cell(key, grid.metrics, rng, text) for key in keys}
    cells[keys[-1]] = failed_cell(keys[-1], text)
    made = make_leaderboard(text, grid, cells, provenance(text))
    return made, make_gallery(grid, made.headline, cells, lambda task: samples(task, text))
