"""LaTeX tables, split into parts that fit on a page of a paper."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from ...visible_text import visible
from .blocks import TableBlock, TableCell
from .latex_text import after_command, escape, escape_breakable, escape_numbers, split_lines, text_width
from .number_format import DASH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Points: the width of the text on A4 with margins of 25 mm, and the width of 1 em in the table and, in smaller type, in
# the interval after the mean. The gap between columns is twice the separation.
WIDTH = 455.0
_EM, _SMALL, _SEPARATION = 8.0, 7.4, 3.0
_BOLD = 1.16
# Em: wider labels, heads and words are split into several lines. Labels have several limits to try.
_LABELS, _HEAD, _WORDS = (26.0, 19.0, 13.0), 8.3, 12.0
# Lines on a page besides a caption, and characters of a note on a line.
_LINES = 52
_CHARACTERS = 115
_NUMBER = re.compile(r"-?[\d,]*\.?\d+(e[+-]\d+)?")


@dataclass(frozen=True)
class _Column:
    """A column of data.

    Attributes:
        head: its head, split into lines.
        cells: its cells.
    """

    head: tuple[str, ...]
    cells: tuple[TableCell, ...]

    @cached_property
    def doubled(self) -> bool:
        """Whether it takes two columns of LaTeX, one for numbers and one for their annotations."""
        return any(map(_annotation, self.cells))

    @cached_property
    def width(self) -> float:
        """The width in points, without the separation."""
        numbers = max((_cell_width(cell) for cell in self.cells if _is_aligned(cell)), default=0.0)
        annotations = (text_width(_annotation(cell)) * _SMALL + 2 for cell in self.cells)
        second = max(annotations, default=0.0) if self.doubled else 0.0
        words = max((_cell_width(cell) for cell in self.cells if not _is_aligned(cell)), default=0.0)
        return max(numbers + second, words, *(text_width(line) * _EM for line in self.head))


@dataclass(frozen=True)
class _Part:
    """Some columns and rows of a table that are on one page.

    Attributes:
        table: the table.
        columns: the columns of this part.
        rows: the indices of the rows of this part.
        labels: the labels of all rows of the table, split into lines.
        number: the number of this part, from 1.
        count: the number of parts.
    """

    table: TableBlock
    columns: tuple[_Column, ...]
    rows: range
    labels: tuple[tuple[str, ...], ...]
    number: int
    count: int

    @property
    def cells(self) -> list[TableCell]:
        """The cells of this part."""
        return [column.cells[row] for column in self.columns for row in self.rows]

    @property
    def width(self) -> float:
        """The width in points."""
        return _labels_width(self.labels) + sum(column.width + 2 * _SEPARATION for column in self.columns)


def table_environments(table: TableBlock, number: int) -> list[str]:
    """Return the environments ``table`` of a table, one for each of its parts.

    Args:
        table: the table.
        number: of its label, ``tab:board-<number>``.
    """
    columns = [_column(head, [row.cells[index] for row in table.rows]) for index, head in enumerate(table.heads[1:])]
    # the labels get the largest limit that does not need one more part
    choices = [tuple(split_lines(row.label, limit) for row in table.rows) for limit in _LABELS]
    widest = max((column.width for column in columns), default=0.0) + 2 * _SEPARATION
    fitting = [labels for labels in choices if _labels_width(labels) + widest <= WIDTH] or choices[-1:]
    labels, spans = min(
        ((labels, _column_spans(columns, _labels_width(labels))) for labels in fitting), key=lambda pair: len(pair[1])
    )
    parts = [(span, rows) for span in spans for rows in _row_spans(table, columns, labels)]
    return [
        _table(_Part(table, tuple(columns[index] for index in span), rows, labels, place, len(parts)), number)
        for place, (span, rows) in enumerate(parts, 1)
    ]


def _column(head: str, cells: Sequence[TableCell]) -> _Column:
    """Return a column; a sample size that all its numbers share moves from the cells into the head."""
    sizes = {cell.sample_size for cell in cells if _is_number(cell)}
    (size,) = sizes if len(sizes) == 1 else ("",)
    if size:
        cells = [replace(cell, sample_size="") for cell in cells]
    return _Column((*split_lines(head, _HEAD), *(split_lines(f"({size})", _HEAD) if size else ())), tuple(cells))


def _labels_width(labels: Sequence[Sequence[str]]) -> float:
    """Return the width of the column of labels in points."""
    return max((text_width(line) for label in labels for line in label), default=0.0) * _EM + 6.0


def _column_spans(columns: Sequence[_Column], labels_width: float) -> list[range]:
    """Return the columns of each part, next to labels of this width in points."""
    return _partition([column.width + 2 * _SEPARATION for column in columns], WIDTH - labels_width) or [range(0)]


def _row_spans(table: TableBlock, columns: Sequence[_Column], labels: Sequence[Sequence[str]]) -> list[range]:
    """Return the rows of each part, which leave room for the notes."""
    notes = sum(-(-len(text) // _CHARACTERS) for text in (*table.remarks, *table.notes)) + 2
    room = max(_LINES // 3, _LINES - notes - max((len(column.head) for column in columns), default=1))
    heights = [
        max(len(label), *(len(split_lines(cell.text, _WORDS)) for cell in row.cells), 1)
        for row, label in zip(table.rows, labels, strict=True)
    ]
    return _partition(heights, room) or [range(0)]


def _partition(sizes: Sequence[float], room: float) -> list[range]:
    """Partition items into as few runs as possible whose sizes fit into the room.

    The runs are of about equal length where that fits. An item that is larger than the room is a run of its own.
    """
    cuts = [0]
    for index in range(len(sizes)):
        if index > cuts[-1] and sum(sizes[cuts[-1] : index + 1]) > room:
            cuts.append(index)
    greedy = [range(start, end) for start, end in pairwise([*cuts, len(sizes)]) if start < end]
    ends = [round(part * len(sizes) / max(1, len(greedy))) for part in range(len(greedy) + 1)]
    even = [range(start, end) for start, end in pairwise(ends)]
    fits = all(sum(sizes[index] for index in run) <= room for run in even)
    return even if fits else greedy


def _table(part: _Part, number: int) -> str:
    """Return the environment of a part between two comments; ``number`` is that of the whole table."""
    of = f" ({part.number} of {part.count})" if part.count > 1 else ""
    name = visible(f"table {number}{of}: {part.table.title}").encode("ascii", "backslashreplace").decode()
    label = f"tab:board-{number}" + (f"-{part.number}" if part.count > 1 else "")
    notes = [*_legend(part), *_notes(part)]
    # notes longer than half a page follow the environment, where they may run over pages
    inside = notes if sum(map(len, notes)) < _LINES * _CHARACTERS // 2 else notes[:1]
    return "\n".join([
        f"% ==== {' '.join(name.split())} ====",
        r"\begin{table}[H]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape_breakable(part.table.title)}{of}}}\label{{{label}}}",
        rf"\begin{{tabular}}{{@{{}}l{''.join(map(_column_type, part.columns))}@{{}}}}",
        r"\toprule",
        _heads(part.table.heads[0], part.columns),
        r"\midrule",
        *(_row(part, row) for row in part.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip", _minipage(inside, part.width)] if inside else []),
        r"\end{table}",
        *([_small_print(notes[1:])] if len(inside) < len(notes) else []),
        "% ==== end ====",
    ])  # fmt: skip


def _minipage(paragraphs: Sequence[str], width: float) -> str:
    """Return notes that are as wide as their table, and at least half as wide as the text of the page."""
    points = min(WIDTH, max(width, WIDTH / 2))
    return f"\\begin{{minipage}}{{{points:.0f}pt}}\n{_small_print(paragraphs)}\n\\end{{minipage}}"


def _small_print(paragraphs: Sequence[str]) -> str:
    """Return paragraphs in small type."""
    return "\n".join([r"{\scriptsize\raggedright", *(f"{paragraph}\\par" for paragraph in paragraphs), "}"])


def _column_type(column: _Column) -> str:
    """Return the column types of a column in the preamble of ``tabular``."""
    return r"r@{\hspace{2pt}}l" if column.doubled else "r"


def _heads(first: str, columns: Sequence[_Column]) -> str:
    """Return the row of column heads."""
    cells = [escape(first)]
    for column in columns:
        text = _stacked(column.head, "c" if column.doubled else "r", "b")
        cells.append(rf"\multicolumn{{2}}{{c}}{{{text}}}" if column.doubled else text)
    return " & ".join(cells) + r" \\"


def _row(part: _Part, row: int) -> str:
    """Return a row; the label of a control is in italics with a dagger."""
    label = _stacked(part.labels[row], "l", "t")
    cells = [rf"\textit{{{label}}}$^\dagger$" if part.table.rows[row].control else label]
    cells += [_cell(column.cells[row], doubled=column.doubled) for column in part.columns]
    return after_command(" & ".join(cells)) + r" \\"


def _cell(cell: TableCell, *, doubled: bool) -> str:
    """Return a cell; ``doubled`` is whether it takes two columns of LaTeX."""
    text = escape_numbers(cell.text) if _is_number(cell) else _stacked(split_lines(cell.text, _WORDS), "r", "t")
    if cell.best:
        text = rf"{{\bfseries\boldmath {text}}}" if "$" in text else rf"\textbf{{{text}}}"
    if cell.note:
        text += f"$^{{{cell.note}}}$"
    if not doubled:
        return text
    if not _is_aligned(cell):
        return rf"\multicolumn{{2}}{{c}}{{{text}}}"
    annotation = _annotation(cell)
    return f"{text} & " + (rf"{{\scriptsize {escape_numbers(annotation)}}}" if annotation else "")


def _stacked(text: Sequence[str], side: str, anchor: str) -> str:
    r"""Return lines stacked in a nested ``tabular``; a single line is returned as it is."""
    if len(text) == 1:
        return escape(text[0])
    return (
        rf"\begin{{tabular}}[{anchor}]{{@{{}}{side}@{{}}}}"
        + r"\\".join(after_command(escape(line)) for line in text)
        + r"\end{tabular}"
    )


def _legend(part: _Part) -> Iterator[str]:
    """Yield the explanation of the symbols in this part, if it has any."""
    cells, rows = part.cells, [part.table.rows[row] for row in part.rows]
    last_remark = part.number == part.count and any(remark.startswith(DASH) for remark in part.table.remarks)
    symbols = {
        "In brackets: 95\\,\\% interval.": any(cell.interval for cell in cells),
        "\\#: rank range, the ranks that paired tests do not rule out.": any(cell.rank_range for cell in cells),
        "\\textbf{Bold}: best of its column, controls excluded.": any(cell.best for cell in cells),
        "$^\\dagger$: control.": any(row.control for row in rows),
        "--: not applicable, or not defined.": not last_remark and any(cell.text == DASH for cell in cells),
    }
    if any(symbols.values()):
        yield " ".join(text for text, used in symbols.items() if used)


def _notes(part: _Part) -> Iterator[str]:
    """Yield the notes this part refers to; the last part also has the remarks about the whole table."""
    if part.number == part.count:
        yield from map(escape_breakable, part.table.remarks)
    for note in sorted({cell.note for cell in part.cells} - {0}):
        yield f"$^{{{note}}}$\\,{escape_breakable(part.table.notes[note - 1])}"


def _annotation(cell: TableCell) -> str:
    """Return the text after the number, in smaller type: interval, rank range and sample size."""
    return " ".join(filter(None, [cell.interval, cell.rank_range and f"#{cell.rank_range}", cell.sample_size]))


def _is_number(cell: TableCell) -> bool:
    """Whether the text of a cell is a number."""
    return _NUMBER.fullmatch(cell.text) is not None


def _is_aligned(cell: TableCell) -> bool:
    """Whether a cell is aligned with the numbers of its column, and does not span both columns of LaTeX."""
    return _is_number(cell) or cell.text in {DASH, ""}


def _cell_width(cell: TableCell) -> float:
    """Return the width of a cell without its annotation, in points."""
    parts = [cell.text] if _is_number(cell) else split_lines(cell.text, _WORDS)
    return max(map(text_width, parts)) * _EM * (_BOLD if cell.best else 1.0) + (6.0 if cell.note else 0.0)
