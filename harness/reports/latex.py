r"""A board as LaTeX: a document that compiles on its own, of tables that can be pasted into a paper one by one.

Each table stands between two comments, needs ``booktabs`` and ``float`` only, and is no wider than the text of a page
of A4 with margins of 25 mm; what is wider is cut by columns, what is longer than a page by rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Bold, Code, Grid, Heading, Text
from .board_sections import contents
from .latex_tables import tabulars
from .latex_text import breakable

if TYPE_CHECKING:
    from ..leaderboard.leaderboard import Leaderboard
    from .blocks import Block, Inline

_HEAD = r"""% A board of xrnnbench. It compiles on its own with pdflatex, xelatex or lualatex.
% To use a table in a paper, paste what stands between its two comments; the preamble needs
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
% of the common fonts, for the bullet of the text fonts is not in every installation
\renewcommand{\labelitemi}{$\bullet$}
\raggedbottom
\begin{document}"""


def latex(board: Leaderboard) -> str:
    """The board as a LaTeX document in ASCII."""
    parts, tables = [_HEAD], 0
    for block in contents(board):
        tables += isinstance(block, Grid)
        parts += _parts(block, tables)
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def _parts(block: Block, tables: int) -> list[str]:
    """A block in paragraphs; tables is the number of the last table."""
    if isinstance(block, Heading):
        return [_heading(block)]
    if isinstance(block, Text):
        # it speaks of what follows
        return [rf"{{\raggedright\small\interlinepenalty=10000 {_text(block)}\par}}\nopagebreak"]
    if isinstance(block, Grid):
        title = [_heading(Heading(block.level, block.title))] if block.level == 2 else []
        return [*title, *tabulars(block, tables)]
    items = "\n".join(rf"\item {_text(item)}" for item in block.items)
    return [f"\\begin{{itemize}}\\raggedright\\small\n{items}\n\\end{{itemize}}"]


def _heading(heading: Heading) -> str:
    text = breakable(heading.text)
    return (
        rf"{{\LARGE\bfseries\raggedright {text}\par}}" if heading.level == 1 else rf"\section*{{\raggedright {text}}}"
    )


def _text(text: Text) -> str:
    return "".join(map(_inline, text.parts))


def _inline(part: Inline) -> str:
    if isinstance(part, Bold):
        return rf"\textbf{{{breakable(part.text)}}}"
    return rf"\texttt{{{breakable(part.text)}}}" if isinstance(part, Code) else breakable(part)
