"""A table of a board as tables of LaTeX, cut into parts that fit on a page of a paper."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from .blocks import Datum, Grid
from .latex_text import breakable, escaped, lines, mathematical, width
from .number_format import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Points: the width of the text on A4 with margins of 25 mm, and what a character of 1 em takes in the table and, in
# smaller type, in the interval beside the mean. Between columns there is twice the separation.
WIDTH = 455.0
_EM, _SMALL, _SEPARATION = 8.0, 7.4, 3.0
_BOLD = 1.16
# Em: how wide names and heads may be before they are set in several lines.
_LABELS, _HEAD, _WORDS = (26.0, 19.0, 13.0), 8.3, 12.0
# Lines on a page beside a caption.
_LINES = 52
_CHARACTERS = 115
_NUMBER = re.compile(r"-?[\d,]*\.?\d+(e[+-]\d+)?")


@dataclass(frozen=True)
class _Column:
    """One column of data: its head in lines, its cells, and whether something stands beside the numbers."""

    head: tuple[str, ...]
    cells: tuple[Datum, ...]

    @cached_property
    def paired(self) -> bool:
        return any(map(_beside, self.cells))

    @cached_property
    def width(self) -> float:
        """In points, without the separation."""
        first = max((_main_width(cell) for cell in self.cells if _aligned(cell)), default=0.0)
        beside = max((width(_beside(cell)) * _SMALL + 2 for cell in self.cells), default=0.0) if self.paired else 0.0
        whole = max((_main_width(cell) for cell in self.cells if not _aligned(cell)), default=0.0)
        return max(first + beside, whole, *(width(line) * _EM for line in self.head))


@dataclass(frozen=True)
class _Part:
    """Some columns and rows of a table, that stand together on a page.

    Attributes:
        grid: the table.
        columns: of it.
        rows: of it.
        labels: of all its rows, in lines.
        place: which part it is, from 1.
        count: of how many.
    """

    grid: Grid
    columns: tuple[_Column, ...]
    rows: range
    labels: tuple[tuple[str, ...], ...]
    place: int
    count: int

    @property
    def cells(self) -> list[Datum]:
        return [column.cells[row] for column in self.columns for row in self.rows]

    @property
    def width(self) -> float:
        """In points."""
        return _width(self.labels) + sum(column.width + 2 * _SEPARATION for column in self.columns)


def tabulars(grid: Grid, number: int) -> list[str]:
    """The environments ``table`` of a table, each to be pasted as it is.

    Args:
        grid: the table.
        number: of its label, ``tab:board-<number>``.
    """
    columns = [_column(head, [row.cells[place] for row in grid.rows]) for place, head in enumerate(grid.heads[1:])]
    # labels are as wide as can be without a part more
    tried = [tuple(tuple(lines(row.label, limit)) for row in grid.rows) for limit in _LABELS]
    widest = max((column.width for column in columns), default=0.0) + 2 * _SEPARATION
    fitting = [each for each in tried if _width(each) + widest <= WIDTH] or tried[-1:]
    labels, spans = min(((each, _spans(columns, _width(each))) for each in fitting), key=lambda pair: len(pair[1]))
    parts = [(span, rows) for span in spans for rows in _chunks(grid, columns, labels)]
    return [
        _table(_Part(grid, tuple(columns[each] for each in span), rows, labels, place, len(parts)), number)
        for place, (span, rows) in enumerate(parts, 1)
    ]


def _column(head: str, cells: Sequence[Datum]) -> _Column:
    """What all cells rest on is said in the head, once."""
    sizes = {cell.size for cell in cells if _is_number(cell)}
    (size,) = sizes if len(sizes) == 1 else ("",)
    if size:
        cells = [replace(cell, size="") for cell in cells]
    broken = lines(head, _HEAD)
    return _Column((*broken, *(lines(f"({size})", _HEAD) if size else ())), tuple(cells))


def _width(labels: Sequence[Sequence[str]]) -> float:
    """In points."""
    return max((width(line) for label in labels for line in label), default=0.0) * _EM + 6.0


def _spans(columns: Sequence[_Column], taken: float) -> list[range]:
    """Which columns stand in which part, beside labels that take so many points."""
    return _shared([column.width + 2 * _SEPARATION for column in columns], WIDTH - taken) or [range(0)]


def _chunks(grid: Grid, columns: Sequence[_Column], labels: Sequence[Sequence[str]]) -> list[range]:
    """Which rows stand in which part, so that each leaves room for its notes."""
    told = sum(-(-len(text) // _CHARACTERS) for text in (*grid.remarks, *grid.notes)) + 2
    room = max(_LINES // 3, _LINES - told - max((len(column.head) for column in columns), default=1))
    heights = [
        max(len(label), *(len(lines(cell.text, _WORDS)) for cell in row.cells), 1)
        for row, label in zip(grid.rows, labels, strict=True)
    ]
    return _shared(heights, room) or [range(0)]


def _shared(sizes: Sequence[float], room: float) -> list[range]:
    """As few runs as have room each, of about as many items where that fits; what has no room at all stands alone."""
    cuts = [0]
    for place in range(len(sizes)):
        if place > cuts[-1] and sum(sizes[cuts[-1] : place + 1]) > room:
            cuts.append(place)
    greedy = [range(start, end) for start, end in pairwise([*cuts, len(sizes)]) if start < end]
    ends = [round(part * len(sizes) / max(1, len(greedy))) for part in range(len(greedy) + 1)]
    even = [range(start, end) for start, end in pairwise(ends)]
    fits = all(sum(sizes[place] for place in run) <= room for run in even)
    return even if fits else greedy


def _table(part: _Part, number: int) -> str:
    of = f" ({part.place} of {part.count})" if part.count > 1 else ""
    name = f"table {number}{of}: {part.grid.title}".encode("ascii", "backslashreplace").decode()
    label = f"tab:board-{number}" + (f"-{part.place}" if part.count > 1 else "")
    under = [*_legend(part), *_notes(part)]
    # what is longer than half a page stands below the table, where it may run over pages
    inside = under if sum(map(len, under)) < _LINES * _CHARACTERS // 2 else under[:1]
    return "\n".join([
        f"% ==== {' '.join(name.split())} ====",
        r"\begin{table}[H]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{breakable(part.grid.title)}{of}}}\label{{{label}}}",
        rf"\begin{{tabular}}{{@{{}}l{''.join(map(_specified, part.columns))}@{{}}}}",
        r"\toprule",
        _heads(part.grid.heads[0], part.columns),
        r"\midrule",
        *(_row(part, row) for row in part.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip", _boxed(inside, part.width)] if inside else []),
        r"\end{table}",
        *([_small(under[1:])] if len(inside) < len(under) else []),
        "% ==== end ====",
    ])  # fmt: skip


def _boxed(paragraphs: Sequence[str], size: float) -> str:
    """Notes as wide as their table, if that is not too narrow to be read."""
    points = min(WIDTH, max(size, WIDTH / 2))
    return f"\\begin{{minipage}}{{{points:.0f}pt}}\n{_small(paragraphs)}\n\\end{{minipage}}"


def _small(paragraphs: Sequence[str]) -> str:
    return "\n".join([r"{\scriptsize\raggedright", *(f"{paragraph}\\par" for paragraph in paragraphs), "}"])


def _specified(column: _Column) -> str:
    return r"r@{\hspace{2pt}}l" if column.paired else "r"


def _heads(first: str, columns: Sequence[_Column]) -> str:
    found = [escaped(first)]
    for column in columns:
        text = _stacked(column.head, "c" if column.paired else "r", "b")
        found.append(rf"\multicolumn{{2}}{{c}}{{{text}}}" if column.paired else text)
    return " & ".join(found) + r" \\"


def _row(part: _Part, row: int) -> str:
    label = _stacked(part.labels[row], "l", "t")
    found = [rf"\textit{{{label}}}$^\dagger$" if part.grid.rows[row].control else label]
    found += [_cell(column.cells[row], paired=column.paired) for column in part.columns]
    return " & ".join(found) + r" \\"


def _cell(cell: Datum, *, paired: bool) -> str:
    text = mathematical(cell.text) if _is_number(cell) else _stacked(lines(cell.text, _WORDS), "r", "t")
    if cell.best:
        text = rf"{{\bfseries\boldmath {text}}}" if "$" in text else rf"\textbf{{{text}}}"
    if cell.note:
        text += f"$^{{{cell.note}}}$"
    if not paired:
        return text
    if not _aligned(cell):
        return rf"\multicolumn{{2}}{{c}}{{{text}}}"
    beside = _beside(cell)
    return f"{text} & " + (rf"{{\scriptsize {mathematical(beside)}}}" if beside else "")


def _stacked(text: Sequence[str], side: str, anchor: str) -> str:
    r"""Lines above each other, ``\\`` between them; one line as it is."""
    if len(text) == 1:
        return escaped(text[0])
    return rf"\begin{{tabular}}[{anchor}]{{@{{}}{side}@{{}}}}" + r"\\".join(map(escaped, text)) + r"\end{tabular}"


def _legend(part: _Part) -> Iterator[str]:
    """What the signs of this part mean."""
    cells, rows = part.cells, [part.grid.rows[row] for row in part.rows]
    said = ["In brackets: 95\\,\\% interval." if any(cell.interval for cell in cells) else ""]
    said += ["\\#: places that paired tests leave open." if any(cell.places for cell in cells) else ""]
    said += ["\\textbf{Bold}: best of its column, controls aside." if any(cell.best for cell in cells) else ""]
    said += ["$^\\dagger$: control." if any(row.control for row in rows) else ""]
    told = part.place == part.count and any(remark.startswith(NOTHING) for remark in part.grid.remarks)
    said += ["--: not applicable, or not defined." if not told and any(cell.text == NOTHING for cell in cells) else ""]
    if any(said):
        yield " ".join(filter(None, said))


def _notes(part: _Part) -> Iterator[str]:
    """The notes this part refers to; what is said of the whole table stands below its last part."""
    if part.place == part.count:
        yield from map(breakable, part.grid.remarks)
    for note in sorted({cell.note for cell in part.cells} - {0}):
        yield f"$^{{{note}}}$\\,{breakable(part.grid.notes[note - 1])}"


def _beside(cell: Datum) -> str:
    """What stands beside the number, in smaller type."""
    return " ".join(filter(None, [cell.interval, cell.places and f"#{cell.places}", cell.size]))


def _is_number(cell: Datum) -> bool:
    return _NUMBER.fullmatch(cell.text) is not None


def _aligned(cell: Datum) -> bool:
    """Whether it stands where the numbers of its column stand, not across what is beside them."""
    return _is_number(cell) or cell.text in {NOTHING, ""}


def _main_width(cell: Datum) -> float:
    parts = [cell.text] if _is_number(cell) else lines(cell.text, _WORDS)
    return max(map(width, parts)) * _EM * (_BOLD if cell.best else 1.0) + (6.0 if cell.note else 0.0)
