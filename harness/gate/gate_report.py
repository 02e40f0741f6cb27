"""What is said of a comparison: text for a terminal, Markdown for a pull request, JUnit XML and JSON for programs."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from pydantic_core import to_json

from ..reports.blocks import Bold, Datum, Grid, Heading, Listing, Row, said
from ..reports.markdown import written
from ..reports.number_format import NOTHING, number, titled
from ..reports.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..reports.blocks import Block
    from .changes import Change, Verdict
    from .gate import Comparison
    from .match_cells import Apart

WORDS = {0: "no worse", 1: "worse", 3: "nothing comparable"}
# A comment on a pull request holds 65,536 characters; a table of so many rows is no longer read anyway.
_ROWS = 40
_TITLES: dict[Verdict, str] = {"worse": "Worse", "better": "Better", "informs": "For information: never worse"}
# XML 1.0 has no way of writing these.
_CONTROLS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report(comparison: Comparison, form: str) -> str:
    """The comparison as the text of a file: ``"text"``, ``"md"``, ``"junit"`` or ``"json"``."""
    return FORMS[form](comparison)


def markdown(comparison: Comparison) -> str:
    """For a comment on a pull request."""
    return written(blocks(comparison))


def text(comparison: Comparison) -> str:
    """For a terminal or a log."""
    return plain(blocks(comparison))


def as_json(comparison: Comparison) -> str:
    """Everything there is to know; null is not known."""
    content = {
        "format": 1,
        "status": comparison.status,
        "verdict": WORDS[comparison.status],
        "run": comparison.run,
        "baseline": comparison.baseline,
        "rule": comparison.rule,
        "tests": comparison.tests,
        "changes": comparison.changes,
        "not comparable": comparison.apart,
        "gone": comparison.gone,
        "new": comparison.new,
    }
    return to_json(content, indent=1, inf_nan_mode="null").decode() + "\n"


def junit(comparison: Comparison) -> str:
    """JUnit XML: one case for each comparison; what is worse or gone fails, what cannot be told is skipped."""
    cases = [
        *map(_case, comparison.changes),
        *(_case_apart(each, "failure") for each in comparison.gone),
        *(_case_apart(each, "skipped") for each in comparison.apart),
    ]
    if comparison.status == 3:
        case = ET.Element("testcase", classname=_clean(comparison.run), name="comparable", time="0")
        ET.SubElement(case, "failure", message="nothing is comparable with the baseline")
        cases.append(case)
    counts = {what: sum(case.find(tag) is not None for case in cases) for what, tag in _TAGS.items()}
    facts = {"tests": str(len(cases)), **{what: str(count) for what, count in counts.items()}, "errors": "0"}
    root = ET.Element("testsuites", facts)
    suite = ET.SubElement(root, "testsuite", {"name": f"xrnnbench {_clean(comparison.run)}", **facts, "time": "0"})
    suite.extend(cases)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def blocks(comparison: Comparison) -> list[Block]:
    """The comparison for whoever reads it: what is worse first."""
    found: list[Block] = [Heading(2, f"{comparison.run}: {WORDS[comparison.status]}"), *_summary(comparison)]
    found += _gone(comparison.gone)
    for verdict in ("worse", "better", "informs"):
        found += _changes(comparison, verdict)
    return [*found, *_apart(comparison)]


def sentence(change: Change) -> str:
    """One change in words.

    >>> from .changes import Change
    >>> sentence(Change("adding", "lime", "auroc", "worse", 0.9, 0.8, -0.1, 0.02, 0.00012, 64))
    'lime on adding: auroc was 0.900 and is 0.800 (-0.100; margin 0.020; p = 1.2e-04; n = 64)'
    """
    head = f"{change.method} on {change.task}: {change.metric}"
    if math.isnan(change.run) or math.isnan(change.baseline):
        return f"{head}: {_flat(change.reason)}"
    details = [_signed(change.difference)]
    details += [f"margin {number(change.margin)}"] if change.margin else []
    details += [f"p = {number(change.p)}"] if change.p is not None else []
    details += [f"n = {change.n}", *filter(None, [_flat(change.reason)])]
    return f"{head} was {number(change.baseline)} and is {number(change.run)} ({'; '.join(details)})"


def _summary(comparison: Comparison) -> Iterator[Block]:
    worse, better, same = (len(comparison.of(verdict)) for verdict in ("worse", "better", "same"))
    gone = f", {len(comparison.gone)} gone" if comparison.gone else ""
    yield said(
        f"Of {comparison.gating:,} comparisons with the baseline: ",
        Bold(f"{worse:,} worse{gone}"),
        f", {better:,} better, {same:,} unchanged.",
    )
    rule, tests = comparison.rule, comparison.tests
    if tests:
        yield said(
            f"Scores that changed were tested, {tests:,} of them. A change counts if it is larger than its margin "
            f"({rule.margin:.3g} of the metric's scale) and significant, a false alarm anywhere having a probability "
            f"of {rule.alpha:.3g} at most."
        )


def _changes(comparison: Comparison, verdict: Verdict) -> Iterator[Block]:
    found = [change for change in comparison.of(verdict) if verdict != "informs" or change.reason or change.difference]
    if not found:
        return
    rows = tuple(_row(comparison, change) for change in found[:_ROWS])
    more = len(found) - len(rows)
    remarks = (f"And {more:,} more, which the JSON has.",) if more else ()
    heads = ("method", "task", "metric", "baseline", "run", "change", "margin", "p", "n", "")
    yield Grid(_TITLES[verdict], heads, rows, 3, remarks)


def _row(comparison: Comparison, change: Change) -> Row:
    p = NOTHING if change.p is None else number(change.p)
    cells = (
        change.task,
        titled(comparison.metrics[change.metric]),
        _known(change.baseline),
        _known(change.run),
        _signed(change.difference),
        number(change.margin) if change.margin else NOTHING,
        p,
        str(change.n) if change.n else NOTHING,
        _flat(change.reason),
    )
    return Row(change.method, tuple(map(Datum, cells)))


def _gone(gone: Sequence[Apart]) -> Iterator[Block]:
    if gone:
        yield Heading(3, "Gone: in the baseline, and not in the run")
        yield _listing(gone)


def _apart(comparison: Comparison) -> Iterator[Block]:
    if comparison.apart:
        yield Heading(3, "Not comparable")
        yield _listing(comparison.apart)
    if comparison.new:
        yield Heading(3, "New: not in the baseline")
        yield _listing(comparison.new)


def _listing(found: Sequence[Apart]) -> Listing:
    """Grouped by reason and task, so that a task whose models are others takes one line."""
    groups: dict[tuple[str, str], list[Apart]] = {}
    for each in found:
        groups.setdefault((each.reason, each.task), []).append(each)
    lines = [said(_grouped(reason, task, each)) for (reason, task), each in groups.items()]
    more = len(lines) - _ROWS
    return Listing((*lines[:_ROWS], *([said(f"and {more:,} more, which the JSON has")] if more > 0 else [])))


def _grouped(reason: str, task: str, found: Sequence[Apart]) -> str:
    methods = ", ".join(dict.fromkeys(each.method for each in found if each.method))
    metrics = ", ".join(dict.fromkeys(each.metric for each in found if each.metric))
    cells = sum(each.cells for each in found if not each.metric)
    what = " of ".join(filter(None, [metrics, methods]))
    where = f" on {task}" if task else ""
    count = f" ({cells} cell{'s' * (cells != 1)})" if cells else ""
    return f"{what}{where}{count}" + (f": {_flat(reason)}" if reason else "")


_TAGS = {"failures": "failure", "skipped": "skipped"}


def _case(change: Change) -> ET.Element:
    case = ET.Element("testcase", classname=f"{change.task} / {change.method}", name=change.metric, time="0")
    if change.verdict == "worse":
        ET.SubElement(case, "failure", message=sentence(change)).text = sentence(change)
    elif change.verdict == "informs":
        ET.SubElement(case, "skipped", message=_flat(change.reason) or "for information only")
    return case


def _case_apart(each: Apart, tag: str) -> ET.Element:
    place = " / ".join(filter(None, [each.task, each.method])) or "all"
    case = ET.Element("testcase", classname=_clean(place), name=_clean(each.metric or each.reason), time="0")
    ET.SubElement(case, tag, message=_flat(each.reason))
    return case


def _known(value: float) -> str:
    return NOTHING if math.isnan(value) else number(value)


def _signed(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{'+' * (value > 0)}{number(value)}"


def _flat(reason: str) -> str:
    return _clean(" ".join(reason.split()))


def _clean(text: str) -> str:
    return _CONTROLS.sub("�", text)


FORMS: dict[str, Callable[[Comparison], str]] = {"text": text, "md": markdown, "junit": junit, "json": as_json}
ENDINGS = {".txt": "text", ".md": "md", ".xml": "junit", ".json": "json"}
