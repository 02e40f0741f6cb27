"""One explanation as a picture: coloured tokens or heat by step in the terminal, the same as a PNG.

Red raised the explained output, blue lowered it; a method that only says how much something mattered shows red alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from rich.console import Group
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    from ..methods.base import Attribution
    from ..tasks.subject import Subject

    Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_LARGEST = 5
_MOST_LABELS = 30


@dataclass(frozen=True)
class Picture:
    """One sequence and what was said about it.

    Attributes:
        title: what was explained, by what.
        values: float64[T] for steps or float64[T, D] for cells, without padding.
        inputs: float64[T, D], or None for tokens.
        steps: what each step is called: the token, or its number.
        features: what each feature is called.
    """

    title: str
    values: Values
    inputs: Values | None
    steps: tuple[str, ...]
    features: tuple[str, ...]

    @property
    def heat(self) -> Values:
        """float64[D or 1, T]: the values with one row for each feature."""
        return self.values[None] if self.values.ndim == 1 else self.values.T

    @property
    def largest(self) -> list[tuple[str, float]]:
        """The features of largest size, with their values."""
        flat = self.values.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:_LARGEST]
        return [(self._place(*np.unravel_index(place, self.values.shape)), float(flat[place])) for place in order]

    def _place(self, step: np.intp, feature: np.intp | None = None) -> str:
        name = self.steps[step] if self.inputs is None else f"step {self.steps[step]}"
        return name if feature is None else f"{self.features[feature]} at {name}"


def picture_of(subject: Subject, attribution: Attribution, instance: int, title: str) -> Picture:
    """The picture of one sequence of a subject."""
    batch = subject.batch
    length = int(batch.lengths[instance])
    row = batch.inputs[instance, :length]
    vocabulary = subject.names.vocabulary
    if batch.tokens:
        steps = tuple(vocabulary[token] if token < len(vocabulary) else str(token) for token in row.tolist())
        inputs = None
        features: tuple[str, ...] = ()
    else:
        steps = tuple(map(str, range(length)))
        inputs = row.double().numpy()
        features = subject.names.features or tuple(f"x{number}" for number in range(row.shape[1]))
    values = attribution.values[instance, :length].double().numpy()
    return Picture(title, values, inputs, steps, features)


def printed(picture: Picture, width: int) -> Group:
    """What the terminal shows: the coloured sequence, then the largest values as numbers."""
    scale = float(np.abs(picture.values).max()) or 1.0
    parts: list[Text] = [Text(picture.title, style="bold")]
    if picture.inputs is None:
        text = Text()
        for token, value in zip(picture.steps, picture.values, strict=True):
            text.append(token, style=_style(float(value) / scale)).append(" ")
        parts.append(text)
    else:
        parts += _heat(picture, scale, width)
    parts.append(Text("largest: " + ", ".join(f"{place} {value:+.3g}" for place, value in picture.largest)))
    return Group(*parts)


def draw(picture: Picture, path: Path) -> None:
    """Write the picture as a file of the kind its ending names (``.png``, ``.svg``, ``.pdf``).

    Raises:
        OSError: the file cannot be written.
        ValueError: there is no such kind of file.
    """
    figure = Figure(
        figsize=(min(4 + 0.18 * len(picture.steps), 18), 3 + 0.22 * len(picture.heat)), layout="constrained"
    )
    if picture.inputs is None:
        axes = figure.subplots()
        colours = ["tab:red" if value >= 0 else "tab:blue" for value in picture.values]
        axes.bar(range(len(picture.steps)), picture.values, color=colours)
        axes.axhline(0, color="black", linewidth=0.5)
        axes.set_ylabel("attribution")
        axes.set_xticks(range(len(picture.steps)), picture.steps, rotation=90)
    else:
        above, axes = figure.subplots(2, 1, sharex=True)
        # a colour for each feature: matplotlib's own cycle begins again after ten
        above.set_prop_cycle(color=[colormaps["tab20"](place % 20) for place in range(len(picture.features))])
        above.plot(picture.inputs, linewidth=1, label=picture.features)
        above.set_ylabel("input")
        if 1 < len(picture.features) <= _MOST_LABELS // 2:
            above.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
        _map(figure, axes, picture)
    figure.suptitle(picture.title)
    figure.savefig(path, dpi=150)


def _map(figure: Figure, axes: Any, picture: Picture) -> None:  # noqa: ANN401  # matplotlib types its axes as Any
    limit = float(np.abs(picture.values).max()) or 1.0
    image = axes.imshow(picture.heat, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    names = picture.features if len(picture.heat) == len(picture.features) else ("all",)
    if len(names) <= _MOST_LABELS:
        axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("step")
    figure.colorbar(image, ax=axes, label="attribution")


def _heat(picture: Picture, scale: float, width: int) -> list[Text]:
    """One line of coloured blocks for each feature, broken where the terminal ends."""
    names = picture.features if len(picture.heat) == len(picture.features) else ("",)
    margin = max(map(len, names)) + 1
    across = max(width - margin, 1)
    lines = []
    for start in range(0, len(picture.steps), across):
        for name, row in zip(names, picture.heat, strict=True):
            line = Text(name.rjust(margin - 1) + " ")
            for value in row[start : start + across]:
                line.append(" ", style=_style(float(value) / scale))
            lines.append(line)
    return lines


def _style(value: float) -> str:
    """A background between white (0), red (1) and blue (−1)."""
    pale = round(255 * (1 - min(abs(value), 1.0)))
    red, blue = (255, pale) if value >= 0 else (pale, 255)
    return f"black on rgb({red},{pale},{blue})"
