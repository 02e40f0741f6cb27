r"""LaTeX renderer of a leaderboard: a document that compiles on its own, with tables to paste into a paper.

Each table is enclosed by two comments, needs only ``booktabs`` and ``float``, and is no wider than the text of an A4
page with margins of 25 mm. A wider table is split by columns, and one longer than a page is split by rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Bold, Code, Heading, TableBlock, Text
from .board_sections import board_blocks
from .latex_tables import table_environments
from .latex_text import after_command, escape_breakable

if TYPE_CHECKING:
    from ..leaderboard.leaderboard import Leaderboard
    from .blocks import Block, Inline

_HEAD = r"""% A leaderboard of xrnnbench. It compiles on its own with pdflatex, xelatex or lualatex.
% To use a table in a paper, paste the lines between its two comments; the preamble needs
%   \usepackage{booktabs}  % the rules
%   \usepackage{float}     % placement [H]; not needed with [t], or with table* in two columns
\documentclass[10pt,a4paper]{article}
\usepackage[margin=25mm]{geometry}
\usepackage{booktabs}
\usepackage{float}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\setlength{\abovecaptionskip}{4pt}
\setlength{\belowcaptionskip}{4pt}
\setlength{\emergencystretch}{4em}
% a bullet of the common fonts: the one of the text fonts is not in every installation
\renewcommand{\labelitemi}{$\bullet$}
\raggedbottom
\begin{document}"""


def latex(board: Leaderboard) -> str:
    """Return a leaderboard as a LaTeX document in ASCII."""
    parts, tables = [_HEAD], 0
    for block in board_blocks(board):
        tables += isinstance(block, TableBlock)
        parts += _parts(block, tables)
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def _parts(block: Block, tables: int) -> list[str]:
    """Return a block as paragraphs; ``tables`` is the number of tables so far, this block included."""
    if isinstance(block, Heading):
        return [_heading(block)]
    if isinstance(block, Text):
        # a text introduces the block after it: no page break between them
        return [rf"{{\raggedright\small\interlinepenalty=10000 {_text(block)}\par}}\nopagebreak"]
    if isinstance(block, TableBlock):
        title = [_heading(Heading(block.level, block.title))] if block.level == 2 else []
        return [*title, *table_environments(block, tables)]
    items = "\n".join(rf"\item {after_command(_text(item))}" for item in block.items)
    return [f"\\begin{{itemize}}\\raggedright\\small\n{items}\n\\end{{itemize}}"]


def _heading(heading: Heading) -> str:
    """Return the title of the document, or a heading of a section."""
    text = escape_breakable(heading.text)
    return (
        rf"{{\LARGE\bfseries\raggedright {text}\par}}" if heading.level == 1 else rf"\section*{{\raggedright {text}}}"
    )


def _text(text: Text) -> str:
    """Return the text of a paragraph."""
    return "".join(map(_inline, text.parts))


def _inline(part: Inline) -> str:
    """Return a part of a paragraph with its commands."""
    if isinstance(part, Bold):
        return rf"\textbf{{{escape_breakable(part.text)}}}"
    return rf"\texttt{{{escape_breakable(part.text)}}}" if isinstance(part, Code) else escape_breakable(part)
