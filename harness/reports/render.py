"""Rendering of a leaderboard: Markdown and HTML to read, LaTeX for papers, CSV and JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..leaderboard.exhibits import Gallery
from .csv_json import as_csv, as_json
from .latex import latex
from .markdown import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..leaderboard.leaderboard import Leaderboard

_EMPTY = Gallery()


def render(board: Leaderboard, ending: str, gallery: Gallery | None = None) -> str:
    """Return the text of a file with the leaderboard.

    Args:
        board: the leaderboard.
        ending: the file format: ``"md"``, ``"tex"``, ``"csv"``, ``"json"`` or ``"html"``.
        gallery: removal curves and sample attributions for the HTML page; None to show none.
    """
    if ending == "html":
        from .html import render_page  # noqa: PLC0415  # late: it takes 0.1 s to load, and only HTML needs it

        return render_page(board, gallery or _EMPTY)
    return _RENDERERS[ending](board)


_RENDERERS: dict[str, Callable[[Leaderboard], str]] = {
    "md": markdown,
    "tex": latex,
    "csv": as_csv,
    "json": as_json,
}
