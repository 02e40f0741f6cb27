"""The page itself: what is on it, in which order, and how the templates write it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..blocks import Heading
from ..board_sections import legend, origin, overview, task_blocks
from ..comparison_sections import findings
from ..mean_sections import summaries
from ..number_format import titled
from ..ranking_sections import rankings
from .cost_plot import pareto
from .css_classes import Names
from .deeplift_section import rescale
from .deletion_curves import chosen, panels
from .forest_and_ranks import forest, ranks
from .matrices import methods_matrix, metrics_matrix, shared_matrix
from .packed_maps import exhibits
from .tables import Sheets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...leaderboard.exhibits import Gallery
    from ...leaderboard.leaderboard import Leaderboard
    from ..blocks import Block
    from .cost_plot import Plot
    from .tables import Prose, Sheet

# The plot is made for a desk and for a phone: letters keep their size.
_WIDE, _NARROW = (860.0, 470.0), (340.0, 380.0)
_PARTS = re.compile(r"[^:,=/]+[:,=/]*|[:,=/]+")


def page(board: Leaderboard, gallery: Gallery) -> str:
    """The page as one file of HTML; the same board and gallery give the same bytes.

    Args:
        board: the board.
        gallery: single explanations and curves; what it does not have is left out.
    """
    script = _script()
    return (
        _environment()
        .get_template("page.html")
        .render(
            **_content(board, gallery),
            style=Markup(_text("page.css")),  # noqa: S704  # our own file
            script=Markup(script),  # noqa: S704  # our own file
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        )
    )


def _content(board: Leaderboard, gallery: Gallery) -> dict[str, Any]:
    """What the template writes."""
    names = Names(board)
    sheets = Sheets(names)
    compared = dict(_sections(findings(board)))
    gap = rescale(board, names)
    return {
        "board": board,
        "names": names,
        "headline": titled(board.headline),
        "legend": list(sheets.blocks(legend(board))),
        "forest": forest(board, names),
        "overview": sheets.sheet(overview(board)),
        "standings": _standings(board, names, sheets),
        "summaries": [(title, list(sheets.blocks(blocks))) for title, blocks in _sections(summaries(board))],
        "tasks": list(_tasks(board, names, sheets)),
        "curves": [(panel, sheets.sheet(panel.sheet)) for panel in panels(board, gallery, names)],
        "curve_metric": gallery.metric,
        "chosen": chosen(board, gallery),
        "methods_matrix": methods_matrix(board, names),
        "shared_matrix": shared_matrix(board, names),
        "metrics_matrix": metrics_matrix(board, names),
        # the matrices are pictures here
        "agreement": [each for each in sheets.blocks(compared.pop("Do methods agree?", [])) if each.block == "text"],
        "findings": [(title, list(sheets.blocks(blocks))) for title, blocks in compared.items()],
        "rescale": gap,
        "rescale_sheet": sheets.sheet(gap.sheet) if gap is not None else None,
        "origin": list(sheets.blocks(list(origin(board))[1:])),
        "data": names.filters() | {"headline": board.headline.spec, "exhibits": exhibits(board, gallery, names)},
    }


def _standings(board: Leaderboard, names: Names, sheets: Sheets) -> list[dict[str, Any]]:
    """For each standing its pictures; the tables of all of them stand under the first."""
    found: list[dict[str, Any]] = []
    for standing in board.standings:
        plots: list[Plot | None] = [pareto(standing, names, *size) for size in (_WIDE, _NARROW)]
        found.append({"standing": standing, "ranks": ranks(standing, names), "plots": list(filter(None, plots))})
    if found:
        found[0]["blocks"] = list(sheets.blocks(list(rankings(board))[1:]))
    return found


def _tasks(board: Leaderboard, names: Names, sheets: Sheets) -> Iterator[dict[str, Any]]:
    for table in board.tables:
        blocks: list[Sheet | Prose] = list(sheets.blocks(list(task_blocks(board, table))[1:]))
        application = table.task.facts.get("application", "")
        yield {
            "title": table.task.spec,
            "application": application,
            "kind": names.task(table.task.spec),
            "blocks": blocks,
            "unfit": len(table.unfit),
            "failed": sum(entry.status == "failed" for entry in table.entries.values()),
        }


def _sections(blocks: Iterable[Block]) -> Iterator[tuple[str, list[Block]]]:
    """What stands under each heading of the second level, by its text."""
    title = ""
    under: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading) and block.level == 2:
            if title:
                yield title, under
            title, under = block.text, []
        else:
            under.append(block)
    if title:
        yield title, under


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["breakable"] = _breakable
    return found


@lru_cache(maxsize=2**12)  # the same names stand in every table
def _breakable(text: str) -> Markup:
    """A name that may be broken where its parts end, and does not turn the direction of what stands beside it."""
    text = re.sub(" (?=[↑↓])", "\u00a0", text)  # an arrow stays with its metric
    parts = (Markup("{}").format(part) for part in _PARTS.findall(text))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(parts))


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    # the hash is of what stands between the tags
    return f"\n{_text('page.js')}"
