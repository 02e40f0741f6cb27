"""Scaling of calibrated figures: to other parameters, and to tasks of other sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .calibration import Calibration, MethodEntry, Shape

# Parameters that a cost is in proportion to.
EFFORT: Final = frozenset(
    {"samples", "draws", "steps", "iterations", "permutations", "baselines", "repeats", "masks", "seeds", "instances",
     "points", "epochs"}
)  # fmt: skip
# Exponents of features and steps that a fit may have: more passes for longer sequences, at most as their cube.
_EXPONENTS: Final = (0.0, 3.0)


def exponents(entry: MethodEntry, calibration: Calibration) -> tuple[float, float]:
    """Exponents of features and steps of the power law that fits a method's passes for a sequence best.

    Least squares of the logarithms over the calibrated tasks; (0, 0) for a method that takes no passes.
    """
    points = [
        (math.log(shape.features), math.log(shape.steps), math.log(figures.forward + 2 * figures.backward))
        for name, figures in entry.cells.items()
        if figures.forward > 0
        for shape in [calibration.tasks[name].shape]
    ]
    if len(points) < 3:
        return 0.0, 0.0
    table = np.array(points)
    design = np.column_stack([np.ones(len(table)), table[:, :2]])
    found = np.linalg.lstsq(design, table[:, 2], rcond=None)[0][1:].clip(*_EXPONENTS)
    return float(found[0]), float(found[1])


def growth(entry: MethodEntry | None, calibration: Calibration, base: Shape, shape: Shape) -> float:
    """Ratio of the passes for a sequence of two shapes, by the power law of a method; in proportion if it has none.

    Args:
        entry: the method; None if it is not calibrated.
        calibration: the calibration.
        base: the shape whose passes are known.
        shape: another one.
    """
    by_features, by_steps = (1.0, 0.0) if entry is None else exponents(entry, calibration)
    features, steps = math.log(shape.features / base.features), math.log(shape.steps / base.steps)
    return math.exp(by_features * features + by_steps * steps)


def differing(parameters: Mapping[str, object], known: Mapping[str, object]) -> list[str]:
    """Names of the parameters that differ from known ones."""
    return [name for name, value in parameters.items() if known.get(name) != value]


def equal_parameters(known: Mapping[str, object], parameters: Mapping[str, object]) -> int:
    """Number of equal parameters."""
    return sum(known.get(name) == value for name, value in parameters.items())


def effort_ratio(parameters: Mapping[str, object], known: Mapping[str, object], without: tuple[str, ...] = ()) -> float:
    """Ratio of the costs of two sets of parameters."""
    ratio = 1.0
    for name in EFFORT.intersection(parameters, known).difference(without):
        value, usual = parameters[name], known[name]
        if isinstance(value, int | float) and isinstance(usual, int | float) and value > 0 and usual > 0:
            ratio *= value / usual
    return ratio


def distance(shape: Shape, other: Shape) -> float:
    """Distance of two shapes: of the logarithms of features, steps and seconds of a pass."""
    names = ("features", "steps", "forward")
    return math.hypot(*(math.log(getattr(shape, name) / getattr(other, name)) for name in names))
