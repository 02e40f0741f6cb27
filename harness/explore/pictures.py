"""Picture of an attribution or a truth: coloured tokens or a heat map by step, in the terminal and as an image file.

Positive values are red and negative values blue; unsigned attributions show red only.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Group
from rich.text import Text

from ...atomic import write_atomically
from ...visible_text import visible
from ..results.samples import name_of
from ..results.shown_inputs import ShownInputs

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    from torch import Tensor

    from ...methods.base import Attribution
    from ...tasks.data.batch import Batch, Names
    from ...tasks.subject import Subject

    Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_LARGEST = 5
_MOST_LABELS = 30
_MOST_LETTERS: Final = 24
# Sequences with more tokens are drawn as lines of text, because bars across a page would be too narrow.
_MOST_BARS: Final = 60
# A page of such lines: characters per line, font size in points, and width and height of a character in inches.
_ACROSS: Final = 110
_POINTS: Final = 9
_CHARACTER: Final = 0.6 * _POINTS / 72
_LINE: Final = 1.8 * _POINTS / 72


@dataclass(frozen=True)
class Picture:
    """Picture of one sequence with the values of its steps or features; its texts are shown without acting.

    Attributes:
        title: names the method, the model and the sequence.
        values: float64[T] for steps or float64[T, D] for features, without padding; None if there are only inputs.
        inputs: float64[T, D], or None for tokens.
        steps: names of the steps: the tokens, or their numbers.
        features: names of the features.
        quantity: name of the values, such as ``"attribution"``.
        columns: names of the columns of the values; by default the features.
    """

    title: str
    values: Values | None
    inputs: Values | None
    steps: tuple[str, ...]
    features: tuple[str, ...]
    quantity: str = "attribution"
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", visible(self.title))
        object.__setattr__(self, "columns", self.columns or self.features)
        for names in ("steps", "features", "columns"):
            object.__setattr__(self, names, tuple(map(_one_line, getattr(self, names))))

    @property
    def shown_values(self) -> Values:
        """Values to show: the values, or else the inputs, or 0 for tokens."""
        if self.values is not None:
            return self.values
        return self.inputs if self.inputs is not None else np.zeros(len(self.steps))

    @property
    def heat_map(self) -> Values:
        """Shown values as float64[D or 1, T], with one row for each feature."""
        return self.shown_values[None] if self.shown_values.ndim == 1 else self.shown_values.T

    @property
    def scale(self) -> float:
        """Largest absolute value, or 1 if all values are 0."""
        return float(np.nanmax(np.abs(self.shown_values))) or 1.0

    @property
    def largest(self) -> list[tuple[str, float]]:
        """Names and values of the steps or features with the largest absolute values; zeros are left out."""
        flat = self.shown_values.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:_LARGEST]  # NaN is sorted last
        return [
            (self._place(*np.unravel_index(place, self.shown_values.shape)), float(flat[place]))
            for place in order
            if flat[place] != 0 and not np.isnan(flat[place])
        ]

    def _place(self, step: np.intp, feature: np.intp | None = None) -> str:
        """Name of a step, or of a feature at a step."""
        name = self.steps[step] if self.inputs is None else f"step {self.steps[step]}"
        return name if feature is None else f"{self.columns[feature]} at {name}"


def _one_line(name: str) -> str:
    """Name of a step or a feature in one line."""
    return visible(name).replace("\n", "\\n").replace("\t", "\\t")


def _label(name: str) -> str:
    """Name for a place at the side of a picture, which a long one would leave no room."""
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


def attribution_picture(subject: Subject, attribution: Attribution, instance: int, title: str) -> Picture:
    """Picture of the attribution of one sequence of a subject."""
    return sequence_picture(subject.batch, subject.names, attribution.values, instance, title)


def sequence_picture(
    batch: Batch, names: Names | None, values: Tensor | None, instance: int, title: str, quantity: str = "attribution"
) -> Picture:
    """Picture of one sequence.

    Args:
        batch: the sequences.
        names: names of tokens and features; None if they have none.
        values: values float[B, T] or float[B, T, D] of the steps or features; None to show only inputs.
        instance: index of the sequence.
        title: title of the picture.
        quantity: name of the values.
    """
    if batch.layout is not None:
        return _picture_of_several(batch, ShownInputs.of(batch.layout), values, instance, (title, quantity))
    length = int(batch.lengths[instance])
    row = batch.inputs[instance, :length]
    vocabulary, feature_names = (names.vocabulary, names.features) if names is not None else ((), ())
    if batch.tokens:
        steps = tuple(name_of(vocabulary, token) for token in row.tolist())
        inputs = None
        features: tuple[str, ...] = ()
    else:
        steps = tuple(map(str, range(length)))
        inputs = row.double().numpy()
        features = feature_names or tuple(f"x{number}" for number in range(row.shape[1]))
    sequence_values = values[instance, :length].double().numpy() if values is not None else None
    return Picture(title, sequence_values, inputs, steps, features, quantity)


def _picture_of_several(
    batch: Batch, shown: ShownInputs, values: Tensor | None, instance: int, words: tuple[str, str]
) -> Picture:
    """Picture of one sequence of several inputs, whose rows are NaN where an input has no value."""
    cells = batch.cells[instance]
    inputs = shown.arranged(batch.inputs[instance].double().masked_fill(~cells, torch.nan).numpy())
    own = None
    if values is not None:
        mask = cells if values.dim() == 3 else cells.any(1)  # [B, S, D], or [B, S] of steps
        own = shown.arranged(values[instance].double().masked_fill(~mask, torch.nan).numpy())
    names = shown.features if own is None or own.shape == inputs.shape else shown.inputs
    title, quantity = words
    return Picture(title, own, inputs, shown.step_names, shown.features, quantity, names)


def terminal_picture(picture: Picture, width: int) -> Group:
    """Picture for the terminal: the coloured sequence, then the largest values as numbers."""
    parts: list[Text] = [Text(picture.title, style="bold")]
    if picture.inputs is None:
        text = Text()
        for token, value in zip(picture.steps, picture.shown_values, strict=True):
            text.append(token, style="" if picture.values is None else _style(float(value) / picture.scale)).append(" ")
        parts.append(text)
    else:
        parts += _heat(picture, width)
    if picture.largest:
        parts.append(Text("largest: " + ", ".join(f"{place} {value:+.3g}" for place, value in picture.largest)))
    return Group(*parts)


_ENDINGS: Final = (".png", ".svg", ".pdf")


def save_picture(picture: Picture, path: Path) -> None:
    """Write the picture to a file in the format of its ending (``.png``, ``.svg``, ``.pdf``).

    Raises:
        OSError: the file cannot be written.
        ValueError: there is no such format.
    """
    if path.suffix not in _ENDINGS:
        raise ValueError(f"the ending is none of {', '.join(_ENDINGS)}")
    if picture.inputs is not None:
        figure = _curves(picture)
    elif picture.values is not None and len(picture.steps) <= _MOST_BARS:
        figure = _bars(picture)
    else:
        figure = _text(picture)
    with warnings.catch_warnings():
        # a character that the font lacks is drawn as a box, which shows this without a warning
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        # wide or many names leave no room for a better layout, and are seen
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
        # to memory first: a full disk leaves no part of a picture
        figure.savefig(content := io.BytesIO(), dpi=150, format=path.suffix[1:])
    write_atomically(path, content.getvalue(), make_folder=False)


def _bars(picture: Picture) -> Figure:
    """Bar chart with a bar for each token."""
    figure = Figure(figsize=(min(4 + 0.18 * len(picture.steps), 18), 3.22), layout="constrained")
    axes = figure.subplots()
    colours = ["tab:red" if value >= 0 else "tab:blue" for value in picture.shown_values]
    axes.bar(range(len(picture.steps)), picture.shown_values, color=colours)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_ylabel(picture.quantity)
    axes.set_xticks(range(len(picture.steps)), [*map(_label, picture.steps)], rotation=90, parse_math=False)
    figure.suptitle(picture.title, parse_math=False, fontsize="medium", wrap=True)
    return figure


def _curves(picture: Picture) -> Figure:
    """Curves of the inputs and, if there are values, their heat map below."""
    width = min(4 + 0.18 * len(picture.steps), 18)
    if picture.values is None:
        figure = Figure(figsize=(width, 3), layout="constrained")
        above = figure.subplots()
        above.set_xlabel("step")
        above.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        figure = Figure(figsize=(width, 3.6 + 0.25 * len(picture.heat_map)), layout="constrained")
        above, axes = figure.subplots(2, 1, sharex=True)
        _heat_map(figure, axes, picture)
    # a different colour for each of 20 features: matplotlib's own cycle repeats after ten
    above.set_prop_cycle(color=[colormaps["tab20"](place % 20) for place in range(len(picture.features))])
    shown = np.asarray(picture.inputs)
    lines = above.plot(shown, linewidth=1)
    for line, column in zip(lines, shown.T, strict=True):
        if np.isfinite(column).sum() == 1:  # a single value makes no line
            line.set_marker("o")
    above.set_ylabel("input")
    if 1 < len(picture.features) <= _MOST_LABELS // 2:
        # matplotlib leaves out a name that begins with an underscore, and reads mathematics between dollars
        names = [f" {name}" if name.startswith("_") else name for name in map(_label, picture.features)]
        legend = above.legend(lines, names, fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for text in legend.get_texts():
            text.set_parse_math(False)
    figure.suptitle(picture.title, parse_math=False, fontsize="medium", wrap=True)
    return figure


def _text(picture: Picture) -> Figure:
    """Lines of text with the tokens, coloured as in the terminal."""
    places, line, column = [], 0, 0
    for token in picture.steps:
        if column and column + len(token) > _ACROSS:
            line, column = line + 1, 0
        places.append((line, column))
        column += len(token) + 1
    titles = [part for row in picture.title.splitlines() for part in textwrap.wrap(row, _ACROSS)]
    height = (line + len(titles) + 3) * _LINE
    figure = Figure(figsize=(_ACROSS * _CHARACTER + 0.6, height))
    font = {"family": "monospace", "fontsize": _POINTS, "parse_math": False, "verticalalignment": "top"}
    for row, title in enumerate(titles):
        _write(figure, title, row, 0, font | {"fontweight": "bold"})
    for token, value, (row, start) in zip(picture.steps, picture.shown_values, places, strict=True):
        colour = "none" if picture.values is None else _colour(float(value) / picture.scale)
        box = {"facecolor": colour, "edgecolor": "none", "pad": 1.0}
        _write(figure, token, row + len(titles) + 1, start, font | {"bbox": box})
    return figure


def _write(figure: Figure, text: str, row: int, column: int, font: dict[str, Any]) -> None:
    """Write text at a row and column of characters."""
    width, height = figure.get_size_inches()
    figure.text((0.3 + column * _CHARACTER) / width, 1 - (row + 1) * _LINE / height, text, **font)


def _heat_map(figure: Figure, axes: Any, picture: Picture) -> None:  # noqa: ANN401  # matplotlib types its axes as Any
    """Draw the heat map of the values with its colour bar."""
    limit = picture.scale
    image = axes.imshow(
        picture.heat_map, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    names = picture.columns if len(picture.heat_map) == len(picture.columns) else ("all",)
    if len(names) <= _MOST_LABELS:
        axes.set_yticks(range(len(names)), [*map(_label, names)], parse_math=False)
    axes.set_xlabel("step")
    # below the axes, because the legend of the curves takes the space at the side
    figure.colorbar(image, ax=axes, label=picture.quantity, location="bottom", shrink=0.6, aspect=40)


def _heat(picture: Picture, width: int) -> list[Text]:
    """Heat map for the terminal: a line of coloured blocks for each feature, wrapped at the width of the terminal."""
    names = picture.columns if len(picture.heat_map) == len(picture.columns) else ("",)
    margin = max(map(len, names)) + 1
    across = max(width - margin, 1)
    lines = []
    for start in range(0, len(picture.steps), across):
        if start:
            lines.append(Text())
        for name, row in zip(names, picture.heat_map, strict=True):
            line = Text(name.rjust(margin - 1) + " ")
            for value in row[start : start + across]:
                line.append(" ", style="" if np.isnan(value) else _style(float(value) / picture.scale))
            lines.append(line)
    return lines


def _style(value: float) -> str:
    """Style of a value between −1 and 1 for rich."""
    return "black on rgb({},{},{})".format(*_mixed(value))


def _colour(value: float) -> tuple[float, ...]:
    """Colour of a value between −1 and 1 for matplotlib."""
    return tuple(part / 255 for part in _mixed(value))


def _mixed(value: float) -> tuple[int, int, int]:
    """Background colour in RGB of a value: white for 0, red for 1, blue for −1."""
    pale = round(255 * (1 - min(abs(value), 1.0)))
    red, blue = (255, pale) if value >= 0 else (pale, 255)
    return red, pale, blue
