"""Reports of a comparison: text for terminals, Markdown for pull requests, JUnit XML and JSON for programs."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from pydantic_core import to_json

from ...visible_text import visible_json
from ..reports.blocks import Bold, Heading, Listing, TableBlock, TableCell, TableRow, paragraph
from ..reports.markdown import blocks_to_markdown
from ..reports.number_format import DASH, format_metric, format_number
from ..reports.plain_text import blocks_to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..reports.blocks import Block
    from .changes import Change, Verdict
    from .comparison import Comparison
    from .match_cells import Unmatched

WORDS = {0: "no worse", 1: "worse", 3: "nothing comparable"}
# A comment on a pull request holds 65,536 characters, and nobody reads longer tables.
_ROWS = 40
_TITLES: dict[Verdict, str] = {"worse": "Worse", "better": "Better", "informs": "For information: never worse"}
# XML 1.0 cannot represent these characters.
_CONTROLS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report(comparison: Comparison, form: str) -> str:
    """Report in one of the formats ``"text"``, ``"md"``, ``"junit"`` and ``"json"``."""
    return FORMS[form](comparison)


def markdown(comparison: Comparison) -> str:
    """Markdown report, for a comment on a pull request."""
    return blocks_to_markdown(blocks(comparison))


def text(comparison: Comparison) -> str:
    """Plain-text report, for a terminal or a log."""
    return blocks_to_text(blocks(comparison))


def as_json(comparison: Comparison) -> str:
    """JSON report with all changes, also the unchanged ones; null is not known."""
    content = {
        "format": 1,
        "status": comparison.status,
        "verdict": WORDS[comparison.status],
        "run": comparison.run,
        "baseline": comparison.baseline,
        "rule": comparison.rule,
        "tests": comparison.tests,
        "changes": comparison.changes,
        "models": comparison.models,
        "not comparable": comparison.apart,
        "gone": comparison.gone,
        "new": comparison.new,
    }
    return visible_json(to_json(content, indent=1, inf_nan_mode="null").decode()) + "\n"


def junit(comparison: Comparison) -> str:
    """JUnit XML report with a test case for each comparison.

    Worse and gone are failures; not comparable and for information are skipped.
    """
    cases = [
        *map(_case, comparison.changes),
        *(_unmatched_case(unmatched, "failure") for unmatched in comparison.gone),
        *(_unmatched_case(unmatched, "skipped") for unmatched in comparison.apart),
    ]
    for model in comparison.less_accurate:
        case = ET.Element(
            "testcase", classname=_clean(model.task), name=_clean(f"{model.measure} of the model"), time="0"
        )
        ET.SubElement(case, "failure", message=_flat(str(model)))
        cases.append(case)
    if comparison.status == 3:
        case = ET.Element("testcase", classname=_clean(comparison.run), name="comparable", time="0")
        ET.SubElement(case, "failure", message="nothing is comparable with the baseline")
        cases.append(case)
    counts = {name: sum(case.find(tag) is not None for case in cases) for name, tag in _TAGS.items()}
    facts = {"tests": str(len(cases)), **{name: str(count) for name, count in counts.items()}, "errors": "0"}
    root = ET.Element("testsuites", facts)
    suite = ET.SubElement(root, "testsuite", {"name": f"xrnnbench {_clean(comparison.run)}", **facts, "time": "0"})
    suite.extend(cases)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def blocks(comparison: Comparison) -> list[Block]:
    """Blocks of the text and Markdown reports: the result, then gone, worse, better, information, not comparable."""
    content: list[Block] = [Heading(2, f"{comparison.run}: {WORDS[comparison.status]}"), *_summary(comparison)]
    content += _models(comparison)
    content += _unproven(comparison)
    content += _gone(comparison.gone)
    for verdict in ("worse", "better", "informs"):
        content += _changes(comparison, verdict)
    return [*content, *_unmatched(comparison)]


def sentence(change: Change) -> str:
    """Sentence about one change.

    >>> from .changes import Change
    >>> sentence(Change("adding", "lime", "auroc", "worse", 0.9, 0.8, -0.1, 0.02, 0.00012, 64))
    'lime on adding: auroc was 0.900 and is 0.800 (-0.100; margin 0.020; p = 1.2e-04; n = 64)'
    """
    head = f"{change.method} on {change.task}: {change.metric}"
    if math.isnan(change.run) or math.isnan(change.baseline):
        return f"{head}: {_flat(change.reason)}"
    details = [_signed(change.difference)]
    details += [f"margin {format_number(change.margin)}"] if change.margin else []
    details += [f"p = {format_number(change.p)}"] if change.p is not None else []
    details += [f"n = {change.n}", *filter(None, [_flat(change.reason)])]
    return f"{head} was {format_number(change.baseline)} and is {format_number(change.run)} ({'; '.join(details)})"


def _summary(comparison: Comparison) -> Iterator[Block]:
    """Counts of the verdicts, and the rule by which changes count."""
    worse, better, same = (len(comparison.of(verdict)) for verdict in ("worse", "better", "same"))
    gone = f", {len(comparison.gone)} gone" if comparison.gone else ""
    yield paragraph(
        f"Of {comparison.gating:,} comparisons with the baseline: ",
        Bold(f"{worse:,} worse{gone}"),
        f", {better:,} better, {same:,} unchanged.",
    )
    for model in comparison.less_accurate:
        yield paragraph(
            Bold(f"{model.task} lost {format_number(model.loss)} of {model.measure}"),
            f", and {format_number(comparison.rule.max_accuracy_loss or 0.0)} is accepted.",
        )
    rule, tests = comparison.rule, comparison.tests
    if tests:
        yield paragraph(
            f"Scores that changed were tested, {tests:,} of them. A change counts if it is larger than its margin "
            f"({rule.margin:.3g} of the metric's scale) and significant, a false alarm anywhere having a probability "
            f"of {rule.alpha:.3g} at most."
        )


def _models(comparison: Comparison) -> Iterator[Block]:
    """List of the models that were trained again and of data prepared otherwise, and what that means for the tests."""
    if not comparison.models:
        return
    yield Heading(3, "Other models or data")
    yield Listing(tuple(paragraph(str(change)) for change in comparison.models))
    if any(change.retrained for change in comparison.models):
        yield paragraph(
            "Scores of models that were trained again differ even if explainers do not. Their tests allow for the "
            "spread between models, as other methods, several models, and a prior show it, and so find large changes "
            "only."
        )


def _unproven(comparison: Comparison) -> Iterator[Block]:
    """Table of the changes beyond their margin that were not significant."""
    if comparison.unproven:
        yield _table("Not proven: larger than the margin, and chance may explain it", comparison, comparison.unproven)


def _changes(comparison: Comparison, verdict: Verdict) -> Iterator[Block]:
    """Table of the changes of one verdict; unchanged information is left out."""
    changes = [
        change for change in comparison.of(verdict) if verdict != "informs" or change.reason or change.difference
    ]
    if changes:
        yield _table(_TITLES[verdict], comparison, changes)


def _table(title: str, comparison: Comparison, changes: Sequence[Change]) -> TableBlock:
    """Table of some changes."""
    rows = tuple(_row(comparison, change) for change in changes[:_ROWS])
    more = len(changes) - len(rows)
    remarks = (f"And {more:,} more, which the JSON has.",) if more else ()
    heads = ("method", "task", "metric", "baseline", "run", "change", "margin", "p", "n", "")
    return TableBlock(title, heads, rows, 3, remarks)


def _row(comparison: Comparison, change: Change) -> TableRow:
    p = DASH if change.p is None else format_number(change.p)
    cells = (
        change.task,
        format_metric(comparison.metrics[change.metric]),
        _known(change.baseline),
        _known(change.run),
        _signed(change.difference),
        format_number(change.margin) if change.margin else DASH,
        p,
        str(change.n) if change.n else DASH,
        _flat(change.reason),
    )
    return TableRow(change.method, tuple(map(TableCell, cells)))


def _gone(gone: Sequence[Unmatched]) -> Iterator[Block]:
    """List of what is in the baseline only."""
    if gone:
        yield Heading(3, "Gone: in the baseline, and not in the run")
        yield _listing(gone)


def _unmatched(comparison: Comparison) -> Iterator[Block]:
    """Lists of what is not comparable and what is in the run only."""
    if comparison.apart:
        yield Heading(3, "Not comparable")
        yield _listing(comparison.apart)
    if comparison.new:
        yield Heading(3, "New: not in the baseline")
        yield _listing(comparison.new)


def _listing(entries: Sequence[Unmatched]) -> Listing:
    """List with one line for each reason and task, so that a task whose models differ takes one line."""
    groups: dict[tuple[str, str], list[Unmatched]] = {}
    for entry in entries:
        groups.setdefault((entry.reason, entry.task), []).append(entry)
    lines = [paragraph(_line(reason, task, group)) for (reason, task), group in groups.items()]
    more = len(lines) - _ROWS
    return Listing((*lines[:_ROWS], *([paragraph(f"and {more:,} more, which the JSON has")] if more > 0 else [])))


def _line(reason: str, task: str, entries: Sequence[Unmatched]) -> str:
    """Methods and metrics of one task that share a reason, with their number of cells."""
    methods = ", ".join(dict.fromkeys(entry.method for entry in entries if entry.method))
    metrics = ", ".join(dict.fromkeys(entry.metric for entry in entries if entry.metric))
    cells = sum(entry.cells for entry in entries if not entry.metric)
    plugins = " of ".join(filter(None, [metrics, methods]))
    where = f" on {task}" if task else ""
    count = f" ({cells} cell{'s' * (cells != 1)})" if cells else ""
    return f"{plugins}{where}{count}" + (f": {_flat(reason)}" if reason else "")


_TAGS = {"failures": "failure", "skipped": "skipped"}


def _case(change: Change) -> ET.Element:
    """JUnit test case of a change."""
    case = ET.Element(
        "testcase", classname=_clean(f"{change.task} / {change.method}"), name=_clean(change.metric), time="0"
    )
    if change.verdict == "worse":
        ET.SubElement(case, "failure", message=_clean(sentence(change))).text = _clean(sentence(change))
    elif change.verdict == "informs":
        ET.SubElement(case, "skipped", message=_flat(change.reason) or "for information only")
    return case


def _unmatched_case(entry: Unmatched, tag: str) -> ET.Element:
    """JUnit test case of cells or a metric that are gone or not comparable."""
    place = " / ".join(filter(None, [entry.task, entry.method])) or "all"
    case = ET.Element("testcase", classname=_clean(place), name=_clean(entry.metric or entry.reason), time="0")
    ET.SubElement(case, tag, message=_flat(entry.reason))
    return case


def _known(value: float) -> str:
    """A number, or a dash for NaN."""
    return DASH if math.isnan(value) else format_number(value)


def _signed(value: float) -> str:
    """A number with its sign, or a dash for NaN."""
    return DASH if math.isnan(value) else f"{'+' * (value > 0)}{format_number(value)}"


def _flat(reason: str) -> str:
    """A reason in one line."""
    return _clean(" ".join(reason.split()))


def _clean(text: str) -> str:
    """Text without the characters that XML cannot represent."""
    return _CONTROLS.sub("�", text)


FORMS: dict[str, Callable[[Comparison], str]] = {"text": text, "md": markdown, "junit": junit, "json": as_json}
ENDINGS = {".txt": "text", ".md": "md", ".xml": "junit", ".json": "json"}
