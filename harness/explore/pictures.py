"""One explanation, or one truth, as a picture: coloured tokens or heat by step in the terminal, the same as a PNG.

Red raised the explained output, blue lowered it; what only says how much something mattered shows red alone.
"""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Group
from rich.text import Text

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
# More tokens than these are drawn as lines of text: bars of a page's width could not be read any more.
_MOST_BARS: Final = 60
# A page of such lines: characters, size of the letters in points, and inches.
_ACROSS: Final = 110
_POINTS: Final = 9
_CHARACTER: Final = 0.6 * _POINTS / 72
_LINE: Final = 1.8 * _POINTS / 72


@dataclass(frozen=True)
class Picture:
    """One sequence and what was said about it.

    Attributes:
        title: what was explained, by what.
        values: float64[T] for steps or float64[T, D] for cells, without padding; None where nothing is known of them.
        inputs: float64[T, D], or None for tokens.
        steps: what each step is called: the token, or its number.
        features: what each feature is called.
        quantity: what the values are.
    """

    title: str
    values: Values | None
    inputs: Values | None
    steps: tuple[str, ...]
    features: tuple[str, ...]
    quantity: str = "attribution"

    @property
    def seen(self) -> Values:
        """The values; where there are none, the inputs, or 0 for tokens."""
        if self.values is not None:
            return self.values
        return self.inputs if self.inputs is not None else np.zeros(len(self.steps))

    @property
    def heat(self) -> Values:
        """float64[D or 1, T]: what is seen, with one row for each feature."""
        return self.seen[None] if self.seen.ndim == 1 else self.seen.T

    @property
    def scale(self) -> float:
        """The largest size there is, or 1."""
        return float(np.abs(self.seen).max()) or 1.0

    @property
    def largest(self) -> list[tuple[str, float]]:
        """The features of largest size, with their values; those that are 0 are left out."""
        flat = self.seen.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:_LARGEST]
        return [
            (self._place(*np.unravel_index(place, self.seen.shape)), float(flat[place]))
            for place in order
            if flat[place] != 0
        ]

    def _place(self, step: np.intp, feature: np.intp | None = None) -> str:
        name = self.steps[step] if self.inputs is None else f"step {self.steps[step]}"
        return name if feature is None else f"{self.features[feature]} at {name}"


def picture_of(subject: Subject, attribution: Attribution, instance: int, title: str) -> Picture:
    """The picture of what a method said of one sequence of a subject."""
    return pictured(subject.batch, subject.names, attribution.values, instance, title)


def pictured(
    batch: Batch, names: Names | None, values: Tensor | None, instance: int, title: str, quantity: str = "attribution"
) -> Picture:
    """The picture of one sequence.

    Args:
        batch: the sequences.
        names: what tokens and features are called, if anything.
        values: float[B, T] or float[B, T, D], said of them; None if nothing is.
        instance: which sequence.
        title: what is seen.
        quantity: what the values are.
    """
    length = int(batch.lengths[instance])
    row = batch.inputs[instance, :length]
    vocabulary, known = (names.vocabulary, names.features) if names is not None else ((), ())
    if batch.tokens:
        steps = tuple(vocabulary[token] if token < len(vocabulary) else str(token) for token in row.tolist())
        inputs = None
        features: tuple[str, ...] = ()
    else:
        steps = tuple(map(str, range(length)))
        inputs = row.double().numpy()
        features = known or tuple(f"x{number}" for number in range(row.shape[1]))
    said = values[instance, :length].double().numpy() if values is not None else None
    return Picture(title, said, inputs, steps, features, quantity)


def printed(picture: Picture, width: int) -> Group:
    """What the terminal shows: the coloured sequence, then the largest values as numbers."""
    parts: list[Text] = [Text(picture.title, style="bold")]
    if picture.inputs is None:
        text = Text()
        for token, value in zip(picture.steps, picture.seen, strict=True):
            text.append(token, style="" if picture.values is None else _style(float(value) / picture.scale)).append(" ")
        parts.append(text)
    else:
        parts += _heat(picture, width)
    if picture.largest:
        parts.append(Text("largest: " + ", ".join(f"{place} {value:+.3g}" for place, value in picture.largest)))
    return Group(*parts)


def draw(picture: Picture, path: Path) -> None:
    """Write the picture as a file of the kind its ending names (``.png``, ``.svg``, ``.pdf``).

    Raises:
        OSError: the file cannot be written.
        ValueError: there is no such kind of file.
    """
    if picture.inputs is not None:
        figure = _curves(picture)
    elif picture.values is not None and len(picture.steps) <= _MOST_BARS:
        figure = _bars(picture)
    else:
        figure = _text(picture)
    with warnings.catch_warnings():
        # a letter that the font lacks is drawn as a box, which says as much
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(path, dpi=150)


def _bars(picture: Picture) -> Figure:
    """A bar for each token."""
    figure = Figure(figsize=(min(4 + 0.18 * len(picture.steps), 18), 3.22), layout="constrained")
    axes = figure.subplots()
    colours = ["tab:red" if value >= 0 else "tab:blue" for value in picture.seen]
    axes.bar(range(len(picture.steps)), picture.seen, color=colours)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_ylabel(picture.quantity)
    axes.set_xticks(range(len(picture.steps)), picture.steps, rotation=90, parse_math=False)
    figure.suptitle(picture.title, parse_math=False, fontsize="medium", wrap=True)
    return figure


def _curves(picture: Picture) -> Figure:
    """The inputs as curves and, where anything is said of them, its heat below."""
    wide = min(4 + 0.18 * len(picture.steps), 18)
    if picture.values is None:
        figure = Figure(figsize=(wide, 3), layout="constrained")
        above = figure.subplots()
        above.set_xlabel("step")
        above.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        figure = Figure(figsize=(wide, 3.6 + 0.25 * len(picture.heat)), layout="constrained")
        above, axes = figure.subplots(2, 1, sharex=True)
        _map(figure, axes, picture)
    # a colour for each feature: matplotlib's own cycle begins again after ten
    above.set_prop_cycle(color=[colormaps["tab20"](place % 20) for place in range(len(picture.features))])
    above.plot(np.asarray(picture.inputs), linewidth=1, label=picture.features)
    above.set_ylabel("input")
    if 1 < len(picture.features) <= _MOST_LABELS // 2:
        above.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(picture.title, parse_math=False, fontsize="medium", wrap=True)
    return figure


def _text(picture: Picture) -> Figure:
    """The tokens as lines of text, coloured as in the terminal."""
    places, line, column = [], 0, 0
    for token in picture.steps:
        if column and column + len(token) > _ACROSS:
            line, column = line + 1, 0
        places.append((line, column))
        column += len(token) + 1
    titles = [part for row in picture.title.splitlines() for part in textwrap.wrap(row, _ACROSS)]
    high = (line + len(titles) + 3) * _LINE
    figure = Figure(figsize=(_ACROSS * _CHARACTER + 0.6, high))
    font = {"family": "monospace", "fontsize": _POINTS, "parse_math": False, "verticalalignment": "top"}
    for row, title in enumerate(titles):
        _write(figure, title, row, 0, font | {"fontweight": "bold"})
    for token, value, (row, start) in zip(picture.steps, picture.seen, places, strict=True):
        colour = "none" if picture.values is None else _colour(float(value) / picture.scale)
        box = {"facecolor": colour, "edgecolor": "none", "pad": 1.0}
        _write(figure, token, row + len(titles) + 1, start, font | {"bbox": box})
    return figure


def _write(figure: Figure, text: str, row: int, column: int, font: dict[str, Any]) -> None:
    wide, high = figure.get_size_inches()
    figure.text((0.3 + column * _CHARACTER) / wide, 1 - (row + 1) * _LINE / high, text, **font)


def _map(figure: Figure, axes: Any, picture: Picture) -> None:  # noqa: ANN401  # matplotlib types its axes as Any
    limit = picture.scale
    image = axes.imshow(picture.heat, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    names = picture.features if len(picture.heat) == len(picture.features) else ("all",)
    if len(names) <= _MOST_LABELS:
        axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("step")
    # below: at the side it would be pushed away by the legend of the curves
    figure.colorbar(image, ax=axes, label=picture.quantity, location="bottom", shrink=0.6, aspect=40)


def _heat(picture: Picture, width: int) -> list[Text]:
    """One line of coloured blocks for each feature, broken where the terminal ends."""
    names = picture.features if len(picture.heat) == len(picture.features) else ("",)
    margin = max(map(len, names)) + 1
    across = max(width - margin, 1)
    lines = []
    for start in range(0, len(picture.steps), across):
        if start:
            lines.append(Text())
        for name, row in zip(names, picture.heat, strict=True):
            line = Text(name.rjust(margin - 1) + " ")
            for value in row[start : start + across]:
                line.append(" ", style=_style(float(value) / picture.scale))
            lines.append(line)
    return lines


def _style(value: float) -> str:
    return "black on rgb({},{},{})".format(*_mixed(value))


def _colour(value: float) -> tuple[float, ...]:
    return tuple(part / 255 for part in _mixed(value))


def _mixed(value: float) -> tuple[int, int, int]:
    """A background between white (0), red (1) and blue (−1)."""
    pale = round(255 * (1 - min(abs(value), 1.0)))
    red, blue = (255, pale) if value >= 0 else (pale, 255)
    return red, pale, blue
