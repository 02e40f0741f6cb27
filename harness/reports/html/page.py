"""The HTML page of a leaderboard: the content of its sections, and the environment of its templates."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ....visible_text import visible
from ..blocks import Heading
from ..board_sections import legend, origin, overview_table, task_blocks
from ..comparison_sections import comparison_blocks
from ..mean_sections import mean_blocks
from ..number_format import format_metric
from ..ranking_sections import ranking_blocks
from .cost_plot import cost_plot
from .css_classes import CssClasses
from .deeplift_section import deeplift_section
from .deletion_curves import curve_panels, methods_in_colour
from .forest_and_ranks import forest_plot, rank_diagram
from .matrices import methods_matrix, metrics_matrix, signs_and_tops_matrix
from .packed_maps import packed_exhibits
from .tables import HtmlBlocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...leaderboard.exhibits import Gallery
    from ...leaderboard.leaderboard import Leaderboard
    from ..blocks import Block
    from .cost_plot import CostPlot
    from .tables import HtmlTable, HtmlText

# The cost plot is drawn in two sizes, for wide and for narrow screens, because letters keep their size.
_WIDE, _NARROW = (860.0, 470.0), (340.0, 380.0)
# A name may be broken after punctuation.
_PARTS = re.compile(r"[^:,=/]+[:,=/]*|[:,=/]+")


def render_page(board: Leaderboard, gallery: Gallery) -> str:
    """Return the page as one HTML file; the same board and gallery give the same bytes.

    Args:
        board: the leaderboard.
        gallery: removal curves and sample attributions; sections without content are left out.
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
    """Return the variables of the template."""
    classes = CssClasses(board)
    html = HtmlBlocks(classes)
    comparisons = dict(_sections(comparison_blocks(board)))
    deeplift = deeplift_section(board, classes)
    return {
        "board": board,
        "classes": classes,
        "headline": format_metric(board.headline),
        "legend": list(html.convert(legend(board))),
        "forest": forest_plot(board, classes),
        "overview": html.table(overview_table(board)),
        "standings": _standings(board, classes, html),
        "means": [(title, list(html.convert(blocks))) for title, blocks in _sections(mean_blocks(board))],
        "tasks": list(_tasks(board, classes, html)),
        "curves": [(panel, html.table(panel.table)) for panel in curve_panels(board, gallery, classes)],
        "curve_metric": gallery.metric,
        "left_out": gallery.left_out,
        "in_colour": methods_in_colour(board, gallery),
        "methods_matrix": methods_matrix(board, classes),
        "signs_and_tops_matrix": signs_and_tops_matrix(board, classes),
        "metrics_matrix": metrics_matrix(board, classes),
        # the page shows the matrices as figures, so only their texts are needed
        "agreement": [
            block for block in html.convert(comparisons.pop("Do methods agree?", [])) if block.block == "text"
        ],
        "comparisons": [(title, list(html.convert(blocks))) for title, blocks in comparisons.items()],
        "deeplift": deeplift,
        "deeplift_table": html.table(deeplift.table) if deeplift is not None else None,
        "origin": list(html.convert(list(origin(board))[1:])),
        "data": _visible_values(
            classes.filters() | {"headline": board.headline.spec, "exhibits": packed_exhibits(board, gallery, classes)}
        ),
    }


def _standings(board: Leaderboard, classes: CssClasses, html: HtmlBlocks) -> list[dict[str, Any]]:
    """Return the figures of each standing; the first also has the tables of all standings."""
    standings: list[dict[str, Any]] = []
    for standing in board.standings:
        plots: list[CostPlot | None] = [cost_plot(standing, classes, *size) for size in (_WIDE, _NARROW)]
        figures = {"ranks": rank_diagram(standing, classes), "plots": list(filter(None, plots))}
        standings.append({"standing": standing, **figures})
    if standings:
        standings[0]["blocks"] = list(html.convert(list(ranking_blocks(board))[1:]))
    return standings


def _tasks(board: Leaderboard, classes: CssClasses, html: HtmlBlocks) -> Iterator[dict[str, Any]]:
    """Yield the blocks of each task, without their heading, with the facts that its summary shows."""
    for table in board.tables:
        blocks: list[HtmlTable | HtmlText] = list(html.convert(list(task_blocks(board, table))[1:]))
        application = table.task.facts.get("application", "")
        yield {
            "title": table.task.spec,
            "application": application,
            "css_class": classes.task(table.task.spec),
            "blocks": blocks,
            "unfit": len(table.unfit),
            "failed": sum(entry.status == "failed" for entry in table.entries.values()),
        }


def _sections(blocks: Iterable[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Yield the text of each heading of level 2 with the blocks below it."""
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
    """Return the environment of the templates, which escapes all text, and shows what cannot be seen in it."""
    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        finalize=_visible_value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _visible_value(value: Any) -> Any:  # noqa: ANN401  # whatever a template prints
    """Return a value of a template; of a text without markup, what can be seen of it."""
    return visible(value) if type(value) is str else value


def _visible_values(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Return JSON values with what can be seen of their texts."""
    if isinstance(value, dict):
        return {key: _visible_values(part) for key, part in value.items()}
    return list(map(_visible_values, value)) if isinstance(value, list | tuple) else _visible_value(value)


@lru_cache(maxsize=2**12)  # every table has the same names
def _breakable(text: str) -> Markup:
    """Return a name with line-break opportunities after its parts, isolated from the text direction around it."""
    text = re.sub(" (?=[↑↓])", "\u00a0", visible(text))  # an arrow stays with its metric
    parts = (Markup("{}").format(part) for part in _PARTS.findall(text))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(parts))


@cache
def _text(name: str) -> str:
    """Return the text of a file next to this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    """Return the script exactly as it is between its tags, which is the text that its hash covers."""
    return f"\n{_text('page.js')}"
